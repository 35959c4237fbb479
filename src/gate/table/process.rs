//! Calls about processes: their identity, their limits and priorities, new ones, signals.
#![forbid(unsafe_code)]

use nix::errno::Errno;

use super::super::abi::Abi;
use super::super::row::Action::{self, Allow, Pretend, Refuse, RefuseIn};
use super::super::row::{At, Call, Class, Cond, Number, Op, Row, Rule};

/// Namespaces that `clone` and `unshare` make.
const CLONE_NEW: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

/// This one only of `unshare`: the bit is part of the signal number in the flags of `clone`.
const CLONE_NEWTIME: u32 = 0x80;

const CLONE_THREAD: u32 = libc::CLONE_THREAD as u32;
const CLONE_PARENT: u32 = libc::CLONE_PARENT as u32;
const CLONE_FS: u32 = libc::CLONE_FS as u32;

const RLIMIT_LOCKS: u32 = 10;

const NAMESPACE: Action = Refuse(Errno::EPERM, "in another namespace names mean something else");
const OTHERS: Action = Refuse(Errno::EPERM, "one of them could be outside, or the supervisor");
/// The kernel lost interest in the limit in 2.4.25, so nothing can tell the difference.
const TAG: Action = Pretend("the limit is where the sandbox keeps the state of the process");

/// Bit 0 of the flags: MAP_SHARED, and MAP_SHARED_VALIDATE.
static SHARED: &[Rule] = &[Rule::when(&[Cond::any(2, libc::PROT_WRITE as u32), Cond::any(3, 1)], WRITABLE)];
const WRITABLE: Action =
    RefuseIn(Class::SharedMemory, Errno::EPERM, "shared memory that can be written is not wanted");
const SHM_RDONLY: u32 = libc::SHM_RDONLY as u32;
/// As `ipc` numbers it.
const SHMAT: u32 = 21;

/// The umask is then no longer one of the whole process, and of that alone.
const FS: Action = Action::Notify(Class::Umask);

/// The supervisor's capabilities are then no longer the caller's.
const IDENTITY: Action = Action::Notify(Class::Always);

const fn identity(name: &'static str) -> Row {
    Row::notify(name, Class::Always, Call::new(Op::Identity, At::NONE))
}

const NUMBER: Action = Action::Notify(Class::Always);

/// Allowed for the caller itself, which these calls name with a zero, and for what turns out to be of its tree.
macro_rules! in_tree {
    ($name:literal, pid: $pid:literal) => {
        Row::new($name, &[Rule::when(&[Cond::not_zero($pid)], NUMBER)], Allow)
            .call(Call::new(Op::Adjust, At::NONE).value($pid))
    };
    // Of the ways to say whom, only one process: the supervisor may be of the group, and is of the user.
    ($name:literal, which: $which:literal) => {
        Row::new(
            $name,
            &[
                Rule::when(&[Cond::is(0, $which), Cond::is(1, 0)], Allow),
                Rule::when(&[Cond::is(0, $which)], NUMBER),
            ],
            OTHERS,
        )
        .call(Call::new(Op::Adjust, At::NONE).value(1))
    };
}

pub(super) static ROWS: &[Row] = &[
    Row::new("mmap", SHARED, Allow).number(Number::Only(Abi::X86_64)),
    // The old call, which has all its arguments in memory. Libraries use mmap2.
    Row::new("mmap", &[], RefuseIn(Class::SharedMemory, Errno::ENOSYS, "its flags are in memory"))
        .number(Number::Only(Abi::I386)),
    Row::new("mmap2", SHARED, Allow),
    Row::new("shmat", &[Rule::when(&[Cond::clear(2, SHM_RDONLY)], WRITABLE)], Allow),
    // The multiplexer of System V IPC: the version of a sub-call is in the upper half of its number.
    Row::new(
        "ipc",
        &[Rule::when(&[Cond::Low { arg: 0, mask: 0xffff, is: SHMAT }, Cond::clear(2, SHM_RDONLY)], WRITABLE)],
        Allow,
    ),
    // New processes. The flags of clone are an int in effect: the kernel cuts them to 32 bits.
    Row::allow("fork"),
    Row::allow("vfork"),
    Row::new(
        "clone",
        &[
            Rule::when(&[Cond::any(0, CLONE_NEW)], NAMESPACE),
            Rule::when(
                &[Cond::Low { arg: 0, mask: CLONE_THREAD | CLONE_PARENT, is: CLONE_PARENT }],
                Refuse(
                    Errno::EINVAL,
                    "the eldest's sibling is a child of the supervisor, which waits for its own only",
                ),
            ),
            // A thread shares the umask of its process, another process does not, unless they are made otherwise.
            Rule::when(&[Cond::Low { arg: 0, mask: CLONE_THREAD | CLONE_FS, is: CLONE_THREAD }], FS),
            Rule::when(&[Cond::any(0, CLONE_THREAD)], Allow),
            Rule::when(&[Cond::any(0, CLONE_FS)], FS),
        ],
        Allow,
    )
    .call(Call::new(Op::Identity, At::NONE)),
    Row::refuse("clone3", Errno::ENOSYS, "its flags are in memory; libraries use clone then"),
    Row::new(
        "unshare",
        &[
            Rule::when(&[Cond::any(0, CLONE_NEW | CLONE_NEWTIME)], NAMESPACE),
            Rule::when(&[Cond::any(0, libc::CLONE_FS as u32)], FS),
        ],
        Allow,
    )
    .call(Call::new(Op::Identity, At::NONE)),
    Row::new("setns", &[], NAMESPACE),
    // Who the caller is; the supervisor acts with the caller's identity.
    identity("setuid"),
    identity("setgid"),
    identity("setreuid"),
    identity("setregid"),
    identity("setresuid"),
    identity("setresgid"),
    identity("setfsuid"),
    identity("setfsgid"),
    identity("setgroups"),
    identity("capset"),
    identity("setuid32"),
    identity("setgid32"),
    identity("setreuid32"),
    identity("setregid32"),
    identity("setresuid32"),
    identity("setresgid32"),
    identity("setfsuid32"),
    identity("setfsgid32"),
    identity("setgroups32"),
    Row::notify("umask", Class::Umask, Call::new(Op::Umask, At::NONE).value(0)),
    Row::new(
        "prctl",
        &[
            // The supervisor could read the caller's arguments no more, and all that is mediated would fail.
            Rule::when(
                &[Cond::is(0, libc::PR_SET_DUMPABLE as u32), Cond::Null { arg: 1 }],
                Pretend("the supervisor must be able to read the caller's memory"),
            ),
            Rule::when(
                &[Cond::is(0, libc::PR_SET_MM as u32)],
                Refuse(Errno::EPERM, "it changes what /proc says the process runs"),
            ),
            // What these take away or leave shows when the process executes something.
            Rule::when(&[Cond::is(0, libc::PR_CAPBSET_DROP as u32)], IDENTITY),
            Rule::when(&[Cond::is(0, libc::PR_SET_SECUREBITS as u32)], IDENTITY),
            Rule::when(&[Cond::is(0, libc::PR_CAP_AMBIENT as u32)], IDENTITY),
            Rule::when(&[Cond::is(0, libc::PR_SET_PDEATHSIG as u32)], Action::Notify(Class::Always)),
        ],
        Allow,
    )
    .call(Call::new(Op::Prctl, At::NONE).value(0)),
    // Limits. RLIMIT_CORE needs no row of its own: the hard limit means none, and who has not CAP_SYS_RESOURCE
    // cannot raise it; programs that lower it (ssh-agent and gpg-agent insist) can.
    Row::new("setrlimit", &[Rule::when(&[Cond::is(0, RLIMIT_LOCKS), Cond::NotNull { arg: 1 }], TAG)], Allow),
    Row::new(
        "prlimit64",
        &[
            Rule::when(&[Cond::not_zero(0), Cond::NotNull { arg: 2 }], NUMBER),
            Rule::when(&[Cond::is(1, RLIMIT_LOCKS), Cond::NotNull { arg: 2 }], TAG),
        ],
        Allow,
    )
    .call(Call::new(Op::Adjust, At::NONE).value(0)),
    // Priorities and places, with which a process could starve the supervisor.
    in_tree!("setpriority", which: 0),
    in_tree!("ioprio_set", which: 1),
    in_tree!("sched_setscheduler", pid: 0),
    in_tree!("sched_setparam", pid: 0),
    in_tree!("sched_setattr", pid: 0),
    in_tree!("sched_setaffinity", pid: 0),
    in_tree!("migrate_pages", pid: 0),
    in_tree!("move_pages", pid: 0),
    // Filters of one's own can only be stricter, but for a listener: it could answer in place of the supervisor. The
    // errno is that of a kernel that has one listener for a process.
    Row::new(
        "seccomp",
        &[Rule::when(&[Cond::is(0, SECCOMP_SET_MODE_FILTER), Cond::any(1, NEW_LISTENER)], LISTENER)],
        Allow,
    ),
    // All bits: only a question.
    Row::new(
        "personality",
        &[
            Rule::when(&[Cond::is(0, u32::MAX)], Allow),
            Rule::when(&[Cond::any(0, READ_IMPLIES_EXEC)], EXECUTABLE),
        ],
        Allow,
    ),
    // Hands out descriptors of files, opened by the kernel, unless it reports mere names (FAN_REPORT_FID).
    Row::new(
        "fanotify_init",
        &[
            Rule::when(&[Cond::clear(0, FAN_REPORT_FID)], WATCH),
            Rule::when(&[Cond::any(0, FAN_CLASS_CONTENT | FAN_CLASS_PRE_CONTENT)], WATCH),
        ],
        Allow,
    ),
    Row::allow("fanotify_mark"),
];

const SECCOMP_SET_MODE_FILTER: u32 = libc::SECCOMP_SET_MODE_FILTER;
const NEW_LISTENER: u32 = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32;
const LISTENER: Action = Refuse(Errno::EBUSY, "another listener would answer for the supervisor");
const READ_IMPLIES_EXEC: u32 = libc::READ_IMPLIES_EXEC as u32;
const EXECUTABLE: Action = Refuse(Errno::EPERM, "all that can be read could be executed");

const FAN_CLASS_CONTENT: u32 = 4;
const FAN_CLASS_PRE_CONTENT: u32 = 8;
const FAN_REPORT_FID: u32 = 0x200;
const WATCH: Action = Refuse(Errno::EPERM, "it opens files, or holds up those who open them, without a path");

/// Calls that send a signal, or make what can send one. Where the backstop scopes signals they belong to
/// the kernel.
pub(super) static SIGNALS: &[Row] = &[
    Row::notify("kill", Class::Signal, Call::new(Op::Kill, At::NONE).value(0)),
    Row::notify("tkill", Class::Signal, Call::new(Op::Tkill, At::NONE).value(0)),
    Row::notify("tgkill", Class::Signal, Call::new(Op::Tgkill, At::NONE).value(0)),
    Row::notify("rt_sigqueueinfo", Class::Signal, Call::new(Op::Kill, At::NONE).value(0)),
    Row::notify("rt_tgsigqueueinfo", Class::Signal, Call::new(Op::Tgkill, At::NONE).value(0)),
    Row::notify("pidfd_send_signal", Class::Signal, Call::new(Op::PidfdSignal, At::fd(0)).value(1)),
    Row::allow("pidfd_open"),
    Row::allow("process_mrelease"),
];
