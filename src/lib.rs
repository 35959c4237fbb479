//! A sandbox for Linux whose permissions change while it runs.
//!
//! A command is started under a seccomp filter and in a Landlock domain. The filter hands the system calls that matter to
//! a supervisor, which asks the rules and makes the calls itself; the domain refuses what did not come that way. It takes
//! no root, no namespaces and no ptrace. Each process has its own state, which its children inherit and which it can change by
//! *magic commands* (see [`client`]) until it is locked. What is refused is reported as a [`Violation`], with the rule that
//! would have allowed it.
//!
//! ```no_run
//! use std::process::Command;
//! use sydbox::{ErrorKind, Sandbox};
//!
//! let sandbox = Sandbox::builder()
//!     .profile("build")?
//!     .magic("allowlist/write+/srv/cache/***")?
//!     .lock()
//!     .build()?;
//! let mut command = Command::new("make");
//! command.arg("check");
//! let mut child = match sandbox.spawn(command) {
//!     Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
//!     child => child?,
//! };
//! let status = child.wait()?;
//! println!("{status}; {} violations", child.violations());
//! # Ok::<(), sydbox::Error>(())
//! ```
//!
//! # Where it runs
//! On Linux 5.19 or later, on x86-64, with its 32-bit programs. [`Status`] says what is missing and what that costs;
//! [`SandboxBuilder::require_backstop`] makes a missing Landlock an error.
//!
//! # What it does to the process that spawns
//! The supervisor is threads of this process. Their names begin with `sydbox`: one that forked the command and stays
//! until the last process of the tree is gone, those that serve calls (one, and one more for each call that blocks), one that
//! watches over calls that block, and one for each sink that writes. In particular:
//!
//! - **The tree is bound to this process.** If it ends, or is killed, the command is killed (`PR_SET_PDEATHSIG`), and to
//!   whatever else is left of the tree all that is mediated answers ENOSYS. [`Child::detach`] leaves a supervisor behind.
//! - **A signal is used**: `SIGRTMAX-3` gets a handler that does nothing, and is sent to threads of the supervisor. They block
//!   all others. Do not block it for threads that spawn, and do not handle it.
//! - **The soft limit of open descriptors is raised** to the hard one (`RLIMIT_NOFILE`), for this process and so for what it
//!   spawns: each call that is served needs a few.
//! - **A sink is called from several threads** at once, and holds up whoever is reported while it runs.
//! - **Descriptors** that are not close-on-exec are handed down to the command, as by [`std::process::Command`].
//! - With a panic strategy of `abort` a panic in the supervisor ends this process; with `unwind` it refuses one call.
//!
//! # Features
//! `json`: `JsonSink`, reports for programs. `cli` (default): the command, with all that only it needs.
#![warn(missing_docs)]

#[cfg(not(target_os = "linux"))]
compile_error!("sydbox is built on seccomp user notification and Landlock, which only Linux has");

#[cfg(not(target_arch = "x86_64"))]
compile_error!(
    "sydbox knows the system calls of x86-64 and of 32-bit programs on it, and of nothing else yet"
);

mod broker;
pub mod client;
mod error;
mod gate;
mod magic;
mod policy;
mod processes;
mod profile;
mod report;
mod resolve;
mod sandbox;
mod status;
mod sys;
mod tracee;

pub use error::{Error, ErrorKind, Result};
pub use processes::{Process, Tree};
#[cfg(feature = "json")]
pub use report::JsonSink;
pub use report::{AccessKind, Note, Repeater, Sink, Subject, TextSink, Violation, escape};
pub use sandbox::{Child, Sandbox, SandboxBuilder};
pub use status::{Feature, State, Status};

/// What the command needs of the system beside the sandbox itself. Not part of the interface.
#[doc(hidden)]
pub mod command {
    pub use crate::report::Outlet;
    pub use crate::sys::inherit::{ignored_sigpipe, inherited};
    pub use crate::sys::process::use_one_heap;
    pub use crate::sys::signals::{Forward, Request, Requests};

    /// Every magic option and list, for the manual: name, operator and values, default, meaning.
    pub fn magic_options() -> impl Iterator<Item = (String, String, String, String)> {
        crate::magic::options().map(|option| (option.name, option.values, option.default, option.meaning))
    }

    /// Names for networks in rules, and the networks.
    pub fn address_aliases() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
        crate::policy::address_aliases()
    }

    /// The profiles that are built in.
    pub fn profiles() -> impl Iterator<Item = &'static str> {
        crate::profile::built_in_names()
    }
}
