//! Why the command did not run, and the exit code that says so.
#![forbid(unsafe_code)]

use sydbox::ErrorKind;

/// sydbox itself failed.
pub(crate) const FAILED: u8 = 125;
/// The command exists and cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
/// There is no such command.
const NOT_FOUND: u8 = 127;

/// What is printed, and what is returned.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) text: String,
}

impl Failure {
    /// A mistake in what was asked for, or of the system.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { code: FAILED, text: text.into() }
    }
}

impl From<sydbox::Error> for Failure {
    fn from(error: sydbox::Error) -> Self {
        let code = match error.kind() {
            ErrorKind::NotFound => NOT_FOUND,
            ErrorKind::NotExecutable => NOT_EXECUTABLE,
            _ => FAILED,
        };
        Self { code, text: error.to_string() }
    }
}
