//! Every raw system call and every `unsafe` block, behind safe functions named as the kernel names them.
//!
//! A function takes borrowed descriptors and owned results, types for numbers that belong to another process
//! ([`Pid`], [`CallerFd`]), and answers with [`Errno`]. Nothing here knows of policy.

pub(crate) mod child;
pub(crate) mod creds;
pub(crate) mod diag;
pub(crate) mod fs;
pub(crate) mod inherit;
pub(crate) mod listing;
pub(crate) mod memory;
pub(crate) mod net;
pub(crate) mod outside;
pub(crate) mod probe;
pub(crate) mod process;
pub(crate) mod route;
pub(crate) mod seccomp;
pub(crate) mod signals;

pub(crate) use nix::errno::Errno;

/// The result of a system call.
pub(crate) type Result<T> = std::result::Result<T, Errno>;

/// In tests: held for writing by who forks, or opens or counts many descriptors, and for reading by who relies on a descriptor
/// being closed. A child has copies of all until it executes something.
#[cfg(test)]
pub(crate) static FORKS: std::sync::RwLock<()> = std::sync::RwLock::new(());

/// A thread or process id of the sandbox, always positive: 0 would name ourselves to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Pid(libc::pid_t);

impl Pid {
    /// `None` for 0 (a task outside our pid namespace) and for negative numbers.
    pub(crate) fn new(raw: i32) -> Option<Self> {
        (raw > 0).then_some(Self(raw))
    }

    /// The kernel's number.
    pub(crate) fn raw(self) -> libc::pid_t {
        self.0
    }
}

impl std::fmt::Display for Pid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A descriptor number of the caller's table: never to be used as one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallerFd(pub(crate) i32);

/// Whether a call failed only because there is no room at the moment: of what it asked about that says nothing. Callers can
/// bring it about, so it must never pass for "there is none".
pub(crate) fn is_want(errno: Errno) -> bool {
    matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS | Errno::EAGAIN)
}

/// What the standard library calls an error, as a number of the kernel's.
pub(crate) fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// The result of a call that answers with -1 and `errno`.
fn check(result: libc::c_long) -> Result<libc::c_long> {
    if result == -1 { Err(Errno::last()) } else { Ok(result) }
}

/// As [`check`], for calls of which only success matters.
fn unit(result: libc::c_long) -> Result<()> {
    check(result).map(|_| ())
}
