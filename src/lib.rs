//! A sandbox for Linux whose permissions change while it runs.
#![warn(missing_docs)]

#[cfg(not(target_os = "linux"))]
compile_error!("sydbox is built on seccomp user notification and Landlock, which only Linux has");

mod broker;
pub mod client;
mod error;
mod gate;
mod magic;
mod policy;
mod profile;
mod report;
mod resolve;
mod sandbox;
mod status;
mod sys;
mod tracee;

pub use error::{Error, ErrorKind, Result};
#[cfg(feature = "json")]
pub use report::JsonSink;
pub use report::{AccessKind, Note, Repeater, Sink, Subject, TextSink, Violation, escape};
pub use sandbox::{Child, Sandbox, SandboxBuilder};
pub use status::{Feature, State, Status};

/// What the command needs of the system beside the sandbox itself. Not part of the interface.
#[doc(hidden)]
pub mod command {
    pub use crate::sys::inherit::inherited;
    pub use crate::sys::signals::Forward;

    /// Every magic option and list, for the manual: name, operator and values, default, meaning.
    pub fn magic_options() -> impl Iterator<Item = (&'static str, String, String, &'static str)> {
        crate::magic::options().map(|option| (option.name, option.values, option.default, option.meaning))
    }

    /// The profiles that are built in.
    pub fn profiles() -> impl Iterator<Item = &'static str> {
        crate::profile::built_in_names()
    }
}
