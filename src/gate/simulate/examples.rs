//! Answers written down by hand, with the kernel's numbers: the other tests would believe a wrong table.
#![forbid(unsafe_code)]

use super::super::abi::Abi;
use super::super::filter::Verdict;
use super::super::row::Shape;
use super::{EVERYTHING, NETWORK, NOTHING, WRITE, answer};

#[test]
fn opening() {
    let (allow, notify) = (Verdict::Allow.value(), Verdict::Notify.value());
    let read = Shape { read: true, ..NOTHING };
    let cases: [(u64, u32, u32); 10] = [
        // Flags, in a sandbox that mediates writing, in one that mediates reading.
        (0o0, allow, notify),
        (0o1, notify, notify),
        (0o2, notify, notify),
        (0o3, notify, notify),
        (0o100, notify, notify),
        (0o1000, notify, notify),
        (0o2_0200000, notify, notify),
        (0o0200000, allow, notify),
        (0o1_0000000, allow, allow),
        (0o1_0001103, allow, allow),
    ];
    for (flags, writing, reading) in cases {
        for abi in Abi::ALL {
            for (shape, expected) in [(WRITE, writing), (read, reading), (NETWORK, allow)] {
                assert_eq!(answer(&shape, abi, "open", &[1, flags]), expected, "{flags:o} {shape:?}");
                assert_eq!(answer(&shape, abi, "openat", &[3, 1, flags]), expected, "{flags:o} {shape:?}");
            }
        }
    }
}

#[test]
fn requests_and_commands() {
    let (allow, notify) = (Verdict::Allow.value(), Verdict::Notify.value());
    let (enotty, eperm, eagain) = (libc::ENOTTY, libc::EPERM, libc::EAGAIN);
    for abi in Abi::ALL {
        // TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIOASYNC, FIOCLEX, TIOCSCTTY, FICLONE, FICLONERANGE,
        // FIDEDUPERANGE, FS_IOC_GETFLAGS, VIDIOC_S_FMT, SIOCGIFCONF.
        for request in [
            0x5401,
            0x5413,
            0x541b,
            0x5421,
            0x5452,
            0x5451,
            0x540e,
            0x4004_9409,
            0x4020_940d,
            0xc018_9436,
            0x8008_6601,
            0xc0d0_5605,
            0x8912,
        ] {
            assert_eq!(answer(&EVERYTHING, abi, "ioctl", &[0, request]), allow, "{request:x}");
        }
        for request in [0x4008_6602, 0x4004_6602, 0x401c_5820] {
            assert_eq!(answer(&WRITE, abi, "ioctl", &[0, request]), notify, "{request:x}");
            assert_eq!(answer(&NETWORK, abi, "ioctl", &[0, request]), allow, "{request:x}");
        }
        // ENABLE_VERITY, SET_ENCRYPTION_POLICY, FAT, six of btrfs, MOVE_EXT, SWAP_BOOT, PATH_TO_HANDLE, REFLINK.
        for request in [
            0x4080_6685,
            0x800c_6613,
            0x4004_7211,
            0x5000_9401,
            0x5000_940e,
            0x5000_940f,
            0x5000_9417,
            0x5000_9418,
            0x5000_943f,
            0xc028_660f,
            0x6611,
            0xc038_5869,
            0x4018_6f04,
        ] {
            let refused = Verdict::Errno(enotty).value();
            assert_eq!(answer(&WRITE, abi, "ioctl", &[0, request]), refused, "{request:x}");
            assert_eq!(answer(&NETWORK, abi, "ioctl", &[0, request]), allow, "{request:x}");
        }
        // TIOCSTI, TIOCLINUX, TIOCSETD, TIOCCONS, FIOSETOWN, NOTIF_SEND; KDSKBENT, VT_ACTIVATE.
        for (request, errno) in [
            (0x5412, eperm),
            (0x541c, eperm),
            (0x5423, eperm),
            (0x541d, eperm),
            (0x8901, eperm),
            (0xc018_2101, eperm),
            (0x4b47, enotty),
            (0x5606, enotty),
        ] {
            let refused = Verdict::Errno(errno).value();
            assert_eq!(answer(&NOTHING, abi, "ioctl", &[0, request]), refused, "{request:x}");
        }
        for (command, argument, expected) in [
            (0, 0, allow),
            (1030, 3, allow),
            (libc::F_SETOWN, 0, allow),
            (libc::F_SETOWN, 1, Verdict::Notify.value()),
            (libc::F_SETOWN, u64::MAX, Verdict::Errno(eperm).value()),
            (10, 9, Verdict::Errno(eperm).value()),
            (15, 0x1000, Verdict::Errno(eperm).value()),
            (libc::F_SETLEASE, 1, Verdict::Errno(eagain).value()),
        ] {
            assert_eq!(answer(&NOTHING, abi, "fcntl", &[3, command as u64, argument]), expected, "{command}");
        }
    }
    assert_eq!(answer(&NOTHING, Abi::I386, "fcntl64", &[3, 8, 1]), Verdict::Notify.value());
}

#[test]
fn sockets_and_options() {
    let (allow, notify) = (Verdict::Allow.value(), Verdict::Notify.value());
    let option = Verdict::Errno(libc::ENOPROTOOPT).value();
    for abi in Abi::ALL {
        for (domain, kind, protocol, expected) in [
            (1, 5, 0, allow),
            (2, 1 | 0o2004000, 6, allow),
            (2, 2, 17, allow),
            (10, 2, 58, allow),
            (10, 1, 0, allow),
            // SCTP, MPTCP, UDPLITE, raw, netlink, vsock.
            (2, 1, 132, notify),
            (2, 5, 132, notify),
            (2, 1, 262, notify),
            (10, 2, 136, notify),
            (2, 3, 1, notify),
            (16, 3, 0, notify),
            (40, 1, 0, notify),
        ] {
            assert_eq!(
                answer(&NETWORK, abi, "socket", &[domain, kind, protocol]),
                expected,
                "{domain} {kind}"
            );
            assert_eq!(answer(&WRITE, abi, "socket", &[domain, kind, protocol]), allow);
        }
        for (level, name, expected) in [
            (1, 2, notify),
            (1, 15, notify),
            (1, 9, allow),
            (1, 25, option),
            (1, 36, option),
            (132, 100, option),
            (132, 0, option),
            (6, 1, allow),
            (6, 30, option),
            (6, 31, option),
            (0, 4, option),
            (0, 1, allow),
            (41, 57, option),
            (41, 26, allow),
        ] {
            assert_eq!(answer(&NETWORK, abi, "setsockopt", &[3, level, name]), expected, "{level} {name}");
            assert_eq!(answer(&WRITE, abi, "setsockopt", &[3, level, name]), allow);
        }
        assert_eq!(answer(&NETWORK, abi, "getsockopt", &[3, 1, 77]), option);
        assert_eq!(answer(&NETWORK, abi, "getsockopt", &[3, 132, 111]), option);
        assert_eq!(answer(&NETWORK, abi, "getsockopt", &[3, 1, 17]), allow);
        // A name in the file system is made by bind as well.
        assert_eq!(answer(&WRITE, abi, "bind", &[3, 1, 110]), notify);
        assert_eq!(answer(&NETWORK, abi, "bind", &[3, 1, 110]), notify);
    }
    for (sub_call, network, write) in [
        (1, notify, allow),
        (2, notify, notify),
        (3, notify, allow),
        (5, allow, allow),
        (9, allow, allow),
        (14, notify, allow),
        (20, notify, allow),
        (21, notify, allow),
    ] {
        for (shape, expected) in [(NETWORK, network), (WRITE, write), (NOTHING, allow)] {
            let answer = answer(&shape, Abi::I386, "socketcall", &[sub_call]);
            assert_eq!(answer, expected, "{sub_call} {shape:?}");
        }
    }
}

#[test]
fn oneself_and_others() {
    let (allow, eperm) = (Verdict::Allow.value(), Verdict::Errno(libc::EPERM).value());
    let notify = Verdict::Notify.value();
    for abi in Abi::ALL {
        for name in ["sched_setscheduler", "sched_setparam", "sched_setattr", "migrate_pages", "move_pages"] {
            assert_eq!(answer(&NOTHING, abi, name, &[0]), allow, "{name}");
            assert_eq!(answer(&NOTHING, abi, name, &[1]), notify, "{name}");
        }
        for (name, process) in [("setpriority", 0), ("ioprio_set", 1)] {
            assert_eq!(answer(&NOTHING, abi, name, &[process, 0]), allow, "{name}");
            assert_eq!(answer(&NOTHING, abi, name, &[process, 77]), notify, "{name}");
            assert_eq!(answer(&NOTHING, abi, name, &[process + 1, 0]), eperm, "{name}");
            assert_eq!(answer(&NOTHING, abi, name, &[process + 2, 0]), eperm, "{name}");
        }
        // Namespaces. The bit of CLONE_NEWTIME is part of a signal number for clone: SIGCHLD with it is not.
        assert_eq!(answer(&NOTHING, abi, "unshare", &[0x80]), eperm);
        assert_eq!(answer(&NOTHING, abi, "unshare", &[0x200]), allow);
        assert_eq!(answer(&NOTHING, abi, "clone", &[0x80 | 17]), allow);
        for bit in [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
            assert_eq!(answer(&NOTHING, abi, "clone", &[bit | 17]), eperm, "{bit:x}");
            assert_eq!(answer(&NOTHING, abi, "unshare", &[bit]), eperm, "{bit:x}");
        }
        assert_eq!(answer(&NOTHING, abi, "setrlimit", &[10, 0x1000]), Verdict::Errno(0).value());
        assert_eq!(answer(&NOTHING, abi, "setrlimit", &[10, 0]), allow);
        assert_eq!(answer(&NOTHING, abi, "setrlimit", &[7, 0x1000]), allow);
        // FAN_REPORT_FID alone; nothing; with a permission class.
        assert_eq!(answer(&NOTHING, abi, "fanotify_init", &[0x200]), allow);
        assert_eq!(answer(&NOTHING, abi, "fanotify_init", &[0]), eperm);
        assert_eq!(answer(&NOTHING, abi, "fanotify_init", &[0x204]), eperm);
    }
}
