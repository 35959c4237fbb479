//! Calls that fail, whatever their arguments.
//!
//! Most of them the kernel refuses without a capability anyway; a sandbox that root starts has those.
//!
//! A profile can open a row that says what that costs. The others stay closed: they get round what is mediated (rings, handles),
//! change what names mean for the caller and not for the supervisor (mounts, roots), could hold the supervisor up, or would
//! gain nothing, because the tree has not the capability.
#![forbid(unsafe_code)]

use nix::errno::Errno;

use super::super::row::{Number, Row};

const OUTSIDE: &str = "it reaches into processes outside, or into the supervisor";
const MOUNT: &str = "in another tree of mounts names mean something else";
const SYSTEM: &str = "it changes or watches the whole system";
const MODULE: &str = "it puts code into the kernel";
const CLOCK: &str = "the clock belongs to the whole system";
const KEYS: &str = "keys are shared with the user's other processes, and a request runs a program outside";
const RING: &str = "it opens and connects without a system call that could be mediated";
const LENDS: &str = "a process can act through any other of the sandbox's, also one that may do more";
const READS: &str = "a process can look into any other of the sandbox's";
const SLOWS: &str = "a process can slow any other of the sandbox's down";
const SHARED: &str = "keys of the user's other processes can be read and changed";
const OWN: &str = "a program that confines itself so is not confined in what is mediated";
const KERNEL: &str = "more of the kernel can be attacked";
const GONE: &str = "there is no such call any more";

const fn eperm(name: &'static str, why: &'static str) -> Row {
    Row::refuse(name, Errno::EPERM, why)
}

/// Programs have another way, and take it when they are told that this one does not exist.
const fn enosys(name: &'static str, why: &'static str) -> Row {
    Row::refuse(name, Errno::ENOSYS, why)
}

pub(super) static ROWS: &[Row] = &[
    // Other processes.
    eperm("ptrace", OUTSIDE).openable_in_domain(LENDS),
    eperm("process_vm_readv", OUTSIDE).openable_in_domain(READS),
    eperm("process_vm_writev", OUTSIDE).openable_in_domain(LENDS),
    eperm("process_madvise", OUTSIDE).openable_in_domain(SLOWS),
    eperm("pidfd_getfd", OUTSIDE).openable_in_domain(LENDS),
    eperm("kcmp", OUTSIDE).openable_in_domain(READS),
    enosys("userfaultfd", "it stalls whoever reads the memory, the supervisor too"),
    enosys("memfd_secret", "the supervisor could not read arguments there")
        .openable("calls that are mediated fail if their arguments lie there"),
    // Files without a path.
    Row::refuse("name_to_handle_at", Errno::EOPNOTSUPP, "a handle names a file without a path")
        .openable("nothing, as long as no handle can be opened; programs may count on that"),
    eperm("open_by_handle_at", "a handle opens a file, a process or a namespace without a path"),
    enosys("io_uring_setup", RING),
    enosys("io_uring_enter", RING),
    enosys("io_uring_register", RING),
    // Names that mean something else.
    eperm("chroot", "in another root directory names mean something else"),
    eperm("mount", MOUNT),
    eperm("umount", MOUNT),
    eperm("umount2", MOUNT),
    eperm("pivot_root", MOUNT),
    eperm("move_mount", MOUNT),
    eperm("mount_setattr", MOUNT),
    eperm("fsopen", MOUNT),
    eperm("fsconfig", MOUNT),
    eperm("fsmount", MOUNT),
    eperm("fspick", MOUNT),
    eperm("open_tree", "without flags it opens any path"),
    eperm("open_tree_attr", "without flags it opens any path").number(Number::Everywhere(467)),
    // A program's own confinement, which what the supervisor does for it would not be under.
    Row::refuse(
        "landlock_create_ruleset",
        Errno::EOPNOTSUPP,
        "mediated calls would escape a domain made inside the sandbox",
    )
    .openable(OWN),
    eperm("lsm_set_self_attr", "mediated calls would escape a security context taken inside the sandbox")
        .number(Number::Everywhere(460))
        .openable(OWN),
    // Keys.
    enosys("add_key", KEYS).openable(SHARED),
    enosys("request_key", KEYS).openable(KEYS),
    enosys("keyctl", KEYS).openable(SHARED),
    // The whole system.
    eperm("bpf", SYSTEM).openable(KERNEL),
    eperm("perf_event_open", SYSTEM).openable_in_domain(KERNEL),
    eperm("syslog", SYSTEM).openable("what the kernel logged can be read, where it is not restricted"),
    eperm("reboot", SYSTEM),
    eperm("acct", SYSTEM),
    eperm("swapon", SYSTEM),
    eperm("swapoff", SYSTEM),
    eperm("quotactl", SYSTEM),
    eperm("quotactl_fd", SYSTEM),
    eperm("vhangup", SYSTEM),
    eperm("sethostname", SYSTEM),
    eperm("setdomainname", SYSTEM),
    eperm("iopl", "it gives access to the hardware"),
    eperm("ioperm", "it gives access to the hardware"),
    eperm("vm86", "it is a rarely used way into the kernel"),
    eperm("vm86old", "it is a rarely used way into the kernel"),
    eperm("kexec_load", MODULE),
    eperm("kexec_file_load", MODULE),
    eperm("init_module", MODULE),
    eperm("finit_module", MODULE),
    eperm("delete_module", MODULE),
    eperm("settimeofday", CLOCK),
    eperm("clock_settime", CLOCK),
    eperm("clock_settime64", CLOCK),
    eperm("stime", CLOCK),
    // Gone in recent kernels, and dangerous in those that still have them.
    enosys("uselib", "it maps a file of any path"),
    enosys("lookup_dcookie", "it turns a number into a path"),
    enosys("nfsservctl", GONE),
    enosys("_sysctl", GONE),
];

const fn never(name: &'static str) -> Row {
    enosys(name, "the kernel has no such call")
}

/// Numbers with a name and nothing behind it.
pub(super) static DEAD: &[Row] = &names!(never;
    afs_syscall bdflush break create_module epoll_ctl_old epoll_wait_old ftime get_kernel_syms getpmsg gtty
    idle lock mpx prof profil putpmsg query_module security stty tuxcall ulimit vserver
);
