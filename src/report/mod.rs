//! Violations: what one is, and where it goes.
//!
//! The broker fills in a [`Violation`] and hands it to a [`Sink`]. Every text in it comes from the sandboxed
//! process, so whatever writes it out goes through [`escape()`] first. Nothing here knows about system calls.
#![forbid(unsafe_code)]

use std::time::SystemTime;

use nix::errno::Errno;

pub(crate) mod arguments;
pub(crate) mod escape;
mod flood;
#[cfg(feature = "json")]
mod json;
mod log_sink;
mod outlet;
mod repeat;
mod text;
#[cfg(feature = "json")]
mod wire;

pub use escape::escape;
pub(crate) use flood::seldom;
#[cfg(feature = "json")]
pub use json::JsonSink;
pub(crate) use log_sink::LogSink;
pub use outlet::Outlet;
pub use repeat::Repeater;
pub use text::TextSink;

/// A call that the policy refuses, and who made it.
///
/// Byte strings are as the process gave them: neither UTF-8 nor free of control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// When it was refused.
    pub time: SystemTime,
    /// The kernel's name of the call.
    pub syscall: &'static str,
    /// What the call would have done.
    pub access: AccessKind,
    /// What it would have done it to.
    pub subject: Subject,
    /// The arguments for people, already rendered: what stands between the parentheses.
    pub arguments: String,
    /// What the caller is told.
    pub errno: Errno,
    /// The process that called (its thread group, as `ps` shows it).
    pub pid: u32,
    /// Its parent; 0 if that is not known.
    pub ppid: u32,
    /// The name of the calling thread, at most 15 bytes; empty if it is not known.
    pub comm: Vec<u8>,
    /// The name of the parent; empty if it is not known.
    pub parent_comm: Vec<u8>,
    /// The working directory; empty if it is not known.
    pub cwd: Vec<u8>,
    /// The arguments the process was started with; empty if they are not known.
    pub cmdline: Vec<Vec<u8>>,
    /// The deny rule that matched, as a magic command; `None` if it was the mode alone.
    pub rule: Option<String>,
    /// The magic command that would allow it.
    pub allow_with: Option<String>,
    /// 0 when this is reported for the first time. Else: how many times the same process did the same again since
    /// it was last reported.
    pub count: u64,
    /// Whether the call went ahead all the same, because the sandbox only reports.
    pub dry_run: bool,
}

impl Violation {
    /// A violation of which only the call itself is known.
    pub fn new(syscall: &'static str, access: AccessKind, subject: Subject, errno: Errno) -> Self {
        Self {
            time: SystemTime::now(),
            syscall,
            access,
            subject,
            arguments: String::new(),
            errno,
            pid: 0,
            ppid: 0,
            comm: Vec::new(),
            parent_comm: Vec::new(),
            cwd: Vec::new(),
            cmdline: Vec::new(),
            rule: None,
            allow_with: None,
            count: 0,
            dry_run: false,
        }
    }

    /// The name of the error, as in `errno.h`.
    pub fn errno_name(&self) -> String {
        format!("{:?}", self.errno)
    }
}

/// What a refused call would have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AccessKind {
    /// Execute a program.
    Exec,
    /// Look at the file system.
    Read,
    /// Change the file system.
    Write,
    /// Bind an address.
    Bind,
    /// Connect or send to an address.
    Connect,
    /// Make a socket of a family that is not allowed.
    Socket,
    /// Become another user or group.
    Identity,
    /// Signal a process outside.
    Signal,
}

impl AccessKind {
    /// The word for it in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Read => "read",
            Self::Write => "write",
            Self::Bind => "bind",
            Self::Connect => "connect",
            Self::Socket => "socket",
            Self::Identity => "identity",
            Self::Signal => "signal",
        }
    }
}

/// What a refused call was about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// A canonical path.
    Path(Vec<u8>),
    /// Two canonical paths, of rename or link: from and to.
    Path2(Vec<u8>, Vec<u8>),
    /// An address, in the notation of address rules: `inet:192.0.2.1@443`.
    Addr(String),
    /// Something else, in words: a family, a user, a process.
    Other(String),
}

/// What there is to say about violations beside each one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// There were so many at once that this number of them was counted only.
    Suppressed(u64),
}

/// Where violations go.
///
/// Called by the threads that serve the sandboxed processes, several at once: a sink that blocks makes the
/// process that it reports wait. Under root they act for that process at the time: what a sink opens is opened with its ids,
/// so open it before, or hand what is to be written to a thread of your own, as [`TextSink`] does.
pub trait Sink: Send + Sync {
    /// Takes one violation.
    fn violation(&self, violation: &Violation);

    /// Takes a remark on violations.
    fn note(&self, _note: &Note) {}

    /// Hands on whatever is still held back. Called when the sandbox has come to its end.
    fn flush(&self) {}
}

#[cfg(test)]
pub(crate) mod sample {
    //! The violation of the manual, for tests.
    use super::*;
    use std::time::Duration;

    pub(crate) fn violation() -> Violation {
        Violation {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250),
            arguments: "`/etc/passwd', O_WRONLY|O_TRUNC".into(),
            pid: 4711,
            ppid: 4700,
            comm: b"sh".into(),
            parent_comm: b"make".into(),
            cwd: b"/var/tmp/build".into(),
            cmdline: vec![b"sh".into(), b"-c".into(), b"echo > /etc/passwd".into()],
            allow_with: Some("allowlist/write+/etc/passwd".into()),
            ..Violation::new("open", AccessKind::Write, Subject::Path(b"/etc/passwd".into()), Errno::EPERM)
        }
    }
}
