//! The one error type of the public interface: opaque, with a kind to branch on.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;
use std::io;

/// What went wrong while a sandbox was set up or used.
///
/// The text names the call, its arguments and what to do; [`Error::kind`] is for programs.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    text: Cow<'static, str>,
    source: Option<io::Error>,
}

/// The kinds of [`Error`], to branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A magic command, an address, a pattern or a profile that is malformed.
    Syntax,
    /// A profile or configuration file that cannot be found or read.
    Profile,
    /// This kernel, or this container, lacks something that is needed.
    Unsupported,
    /// There is a sandbox already around this process, and the kernel allows one listener.
    Nested,
    /// The command does not exist.
    NotFound,
    /// The command exists and cannot be executed.
    NotExecutable,
    /// A system call failed.
    System,
}

/// The result of what can fail with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of this kind with this text.
    pub(crate) fn new(kind: ErrorKind, text: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, text: text.into(), source: None }
    }

    /// A failed system call: what was attempted, and the reason.
    pub(crate) fn system(text: impl Into<Cow<'static, str>>, source: impl Into<io::Error>) -> Self {
        Self { kind: ErrorKind::System, text: text.into(), source: Some(source.into()) }
    }

    /// The same error, of another kind.
    pub(crate) fn of_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{}: {source}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
