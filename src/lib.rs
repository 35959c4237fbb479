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
pub use report::Sink;
pub use sandbox::{Child, Sandbox, SandboxBuilder};
pub use status::Status;
