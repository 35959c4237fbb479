//! `ioctl` and `fcntl`: allowed, but for commands that write through a descriptor opened for reading, that
//! push input into a terminal, or that send signals to others.
#![forbid(unsafe_code)]

use nix::errno::Errno;

use super::super::row::Action::{self, Allow, Notify, Refuse, RefuseIn};
use super::super::row::{At, Call, Class, Cond, Op, Row, Rule};

/// Requests, by their full number: direction, size, type and number.
mod request {
    pub(super) const TIOCSTI: u32 = 0x5412;
    pub(super) const TIOCLINUX: u32 = 0x541c;
    pub(super) const TIOCCONS: u32 = 0x541d;
    pub(super) const TIOCSSERIAL: u32 = 0x541f;
    pub(super) const TIOCSETD: u32 = 0x5423;
    pub(super) const TIOCVHANGUP: u32 = 0x5437;
    pub(super) const FIOSETOWN: u32 = 0x8901;
    pub(super) const SIOCSPGRP: u32 = 0x8902;
    pub(super) const USERFAULTFD_IOC_NEW: u32 = 0xaa00;
    pub(super) const FS_IOC_SETFLAGS: u32 = 0x4008_6602;
    pub(super) const FS_IOC32_SETFLAGS: u32 = 0x4004_6602;
    pub(super) const FS_IOC_FSSETXATTR: u32 = 0x401c_5820;
    pub(super) const FAT_IOCTL_SET_ATTRIBUTES: u32 = 0x4004_7211;
    pub(super) const OCFS2_IOC_REFLINK: u32 = 0x4018_6f04;
    pub(super) const BTRFS_IOC_SUBVOL_SETFLAGS: u32 = 0x4008_941a;
    pub(super) const BTRFS_IOC_DEFAULT_SUBVOL: u32 = 0x4008_9413;
}

/// Type and number of a request, whose size differs between ABIs and versions.
const KIND: u32 = 0xffff;
/// The type of a request.
const TYPE: u32 = 0xff00;
/// All but the number of a request.
const ALL_BUT_NUMBER: u32 = 0xffff_ff00;

const fn ioctl(request: &'static [Cond; 1], action: Action) -> Rule {
    Rule::when(request, action)
}

const fn kind(kind: u32) -> Cond {
    Cond::Low { arg: 1, mask: KIND, is: kind }
}

const INPUT: Action =
    Refuse(Errno::EPERM, "it types into a terminal that others read, or takes it from them");
const CONSOLE: Action = Refuse(Errno::ENOTTY, "it takes over the keyboard or the screens of the console");
const LISTENER: Action = Refuse(Errno::EPERM, "a seccomp listener would answer for the supervisor");
const SIGNALS: Action = Refuse(Errno::EPERM, "it sends signals to processes outside");
const FAULTS: Action = Refuse(Errno::ENOTTY, "it stalls whoever reads the memory, the supervisor too");
/// As on a file system that has no such thing.
const EXOTIC: Action =
    RefuseIn(Class::Write, Errno::ENOTTY, "it writes through a descriptor opened for reading");

pub(super) static ROWS: &[Row] = &[
    Row::new(
        "ioctl",
        &[
            ioctl(&[Cond::is(1, request::FS_IOC_SETFLAGS)], Notify(Class::Write)),
            ioctl(&[Cond::is(1, request::FS_IOC32_SETFLAGS)], Notify(Class::Write)),
            ioctl(&[Cond::is(1, request::FS_IOC_FSSETXATTR)], Notify(Class::Write)),
            ioctl(&[Cond::is(1, request::TIOCSTI)], INPUT),
            ioctl(&[Cond::is(1, request::TIOCLINUX)], INPUT),
            ioctl(&[Cond::is(1, request::TIOCCONS)], INPUT),
            ioctl(&[Cond::is(1, request::TIOCSSERIAL)], INPUT),
            ioctl(&[Cond::is(1, request::TIOCSETD)], INPUT),
            ioctl(&[Cond::is(1, request::TIOCVHANGUP)], INPUT),
            ioctl(&[Cond::is(1, request::FIOSETOWN)], SIGNALS),
            ioctl(&[Cond::is(1, request::SIOCSPGRP)], SIGNALS),
            ioctl(&[Cond::is(1, request::USERFAULTFD_IOC_NEW)], FAULTS),
            ioctl(&[Cond::is(1, request::FAT_IOCTL_SET_ATTRIBUTES)], EXOTIC),
            ioctl(&[Cond::is(1, request::OCFS2_IOC_REFLINK)], EXOTIC),
            ioctl(&[Cond::is(1, request::BTRFS_IOC_SUBVOL_SETFLAGS)], EXOTIC),
            ioctl(&[Cond::is(1, request::BTRFS_IOC_DEFAULT_SUBVOL)], EXOTIC),
            // KD* and VT_*: neither direction nor size, so that V4L2's requests of type V are not meant.
            ioctl(&[Cond::Low { arg: 1, mask: ALL_BUT_NUMBER, is: 0x4b00 }], CONSOLE),
            ioctl(&[Cond::Low { arg: 1, mask: ALL_BUT_NUMBER, is: 0x5600 }], CONSOLE),
            // btrfs: everything that takes the name of a subvolume or a device; not FICLONE, which has its type.
            ioctl(&[Cond::Low { arg: 1, mask: ALL_BUT_NUMBER, is: 0x5000_9400 }], EXOTIC),
            // DEFRAG_RANGE, SET_RECEIVED_SUBVOL.
            ioctl(&[kind(0x9410)], EXOTIC),
            ioctl(&[kind(0x9425)], EXOTIC),
            // SECCOMP_IOCTL_NOTIF_*.
            ioctl(&[Cond::Low { arg: 1, mask: TYPE, is: 0x2100 }], LISTENER),
            // ext4: SETVERSION, MIGRATE, ALLOC_DA_BLKS, MOVE_EXT, SWAP_BOOT, SETFSUUID; and the general SETVERSION.
            ioctl(&[kind(0x6604)], EXOTIC),
            ioctl(&[kind(0x6609)], EXOTIC),
            ioctl(&[kind(0x660c)], EXOTIC),
            ioctl(&[kind(0x660f)], EXOTIC),
            ioctl(&[kind(0x6611)], EXOTIC),
            ioctl(&[kind(0x662c)], EXOTIC),
            ioctl(&[kind(0x7602)], EXOTIC),
            // fscrypt: SET_POLICY, ADD_KEY, REMOVE_KEY, REMOVE_KEY_ALL_USERS. fsverity: ENABLE.
            ioctl(&[kind(0x6613)], EXOTIC),
            ioctl(&[kind(0x6617)], EXOTIC),
            ioctl(&[kind(0x6618)], EXOTIC),
            ioctl(&[kind(0x6619)], EXOTIC),
            ioctl(&[kind(0x6685)], EXOTIC),
            // XFS: handles by path and by descriptor and what is done with them, SWAPEXT, EXCHANGE_RANGE,
            // COMMIT_RANGE.
            ioctl(&[kind(0x5868)], EXOTIC),
            ioctl(&[kind(0x5869)], EXOTIC),
            ioctl(&[kind(0x586a)], EXOTIC),
            ioctl(&[kind(0x586b)], EXOTIC),
            ioctl(&[kind(0x586c)], EXOTIC),
            ioctl(&[kind(0x586d)], EXOTIC),
            ioctl(&[kind(0x5881)], EXOTIC),
            ioctl(&[kind(0x5883)], EXOTIC),
            // F2FS and bcachefs, all of it: some of their requests change a file, or make a subvolume, through
            // any descriptor.
            ioctl(&[Cond::Low { arg: 1, mask: TYPE, is: 0xf500 }], EXOTIC),
            ioctl(&[Cond::Low { arg: 1, mask: TYPE, is: 0xbc00 }], EXOTIC),
        ],
        Allow,
    )
    .call(Call::new(Op::FsIoctl, At::fd(0)).value(1)),
    Row::new("fcntl", FCNTL, CONTROL).call(OWNER),
    Row::new("fcntl64", FCNTL, CONTROL).call(OWNER),
];

const F_SETSIG: u32 = 10;
const F_SETOWN_EX: u32 = 15;
const F_SETDELEG: u32 = 1040;

/// A command of fcntl that is not known to be harmless.
const CONTROL: Action =
    RefuseIn(Class::FileControl, Errno::EPERM, "only harmless commands of fcntl are wanted");

/// A command of fcntl that changes nothing but the caller's own descriptor, and locks.
macro_rules! harmless {
    ($($command:expr),*) => { [$(Rule::when(&[Cond::is(1, $command as u32)], Allow)),*] };
}

const OWNER: Call = Call::new(Op::Owner, At::NONE).value(2);

/// A descriptor's owner gets the signals that its events send, and no check is made at the time of the
/// event that could stop them: so it can only be the caller. Taking the owner away and choosing SIGIO (both zero) is harmless.
static FCNTL: &[Rule] = &[
    Rule::when(&[Cond::is(1, libc::F_SETOWN as u32), Cond::is(2, 0)], Allow),
    // The sign is that of a group.
    Rule::when(&[Cond::is(1, libc::F_SETOWN as u32), Cond::any(2, 1 << 31)], SIGNALS),
    Rule::when(&[Cond::is(1, libc::F_SETOWN as u32)], Notify(Class::Always)),
    Rule::when(&[Cond::is(1, F_SETSIG), Cond::is(2, 0)], Allow),
    Rule::when(&[Cond::is(1, F_SETSIG)], SIGNALS),
    Rule::when(&[Cond::is(1, F_SETOWN_EX)], SIGNALS),
    Rule::when(&[Cond::is(1, libc::F_NOTIFY as u32)], SIGNALS),
    Rule::when(&[Cond::is(1, libc::F_SETLEASE as u32)], LEASE),
    Rule::when(&[Cond::is(1, F_SETDELEG)], LEASE),
    // 12 to 14: F_GETLK64, F_SETLK64, F_SETLKW64 of 32-bit programs.
    HARMLESS[0],
    HARMLESS[1],
    HARMLESS[2],
    HARMLESS[3],
    HARMLESS[4],
    HARMLESS[5],
    HARMLESS[6],
    HARMLESS[7],
    HARMLESS[8],
    HARMLESS[9],
    HARMLESS[10],
    HARMLESS[11],
    HARMLESS[12],
    HARMLESS[13],
    HARMLESS[14],
    HARMLESS[15],
    HARMLESS[16],
    HARMLESS[17],
    HARMLESS[18],
    HARMLESS[19],
];

const HARMLESS: [Rule; 20] = harmless!(
    libc::F_DUPFD,
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
    libc::F_GETLK,
    libc::F_SETLK,
    libc::F_SETLKW,
    libc::F_GETOWN,
    12,
    13,
    14,
    libc::F_OFD_GETLK,
    libc::F_OFD_SETLK,
    libc::F_OFD_SETLKW,
    libc::F_DUPFD_CLOEXEC,
    libc::F_SETPIPE_SZ,
    libc::F_GETPIPE_SZ,
    libc::F_ADD_SEALS,
    libc::F_GET_SEALS
);

/// What the kernel answers when the file is open elsewhere, so programs are ready for it.
const LEASE: Action = Refuse(Errno::EAGAIN, "a lease stalls the supervisor's opens of the file");
