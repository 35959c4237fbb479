//! The public face: build a sandbox, spawn a command in it, wait for it.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::Arc;

use crate::error::Result;
use crate::report::Sink;
use crate::status::Status;

/// What a sandbox will allow, before anything runs in it.
pub struct SandboxBuilder {}

impl SandboxBuilder {
    /// Applies the profile of this name: from the search path, or built in. Later lines win.
    pub fn profile(&mut self, _name: &str) -> Result<&mut Self> {
        todo!()
    }
    /// Applies a profile file.
    pub fn config_file(&mut self, _path: impl AsRef<Path>) -> Result<&mut Self> {
        todo!()
    }
    /// Applies one magic command, as in a profile (without `/dev/sydbox/`).
    pub fn magic(&mut self, _command: impl AsRef<[u8]>) -> Result<&mut Self> {
        todo!()
    }
    /// Locks magic before the command starts.
    pub fn lock(&mut self) -> &mut Self {
        todo!()
    }
    /// Makes it possible to switch read sandboxing on later.
    pub fn arm_read(&mut self) -> &mut Self {
        todo!()
    }
    /// Decides and reports, and refuses nothing.
    pub fn dry_run(&mut self, _yes: bool) -> &mut Self {
        todo!()
    }
    /// Refuses to start where the kernel's second lock (Landlock) is missing.
    pub fn require_backstop(&mut self, _yes: bool) -> &mut Self {
        todo!()
    }
    /// Where violations go; without a sink they are logged with the `log` crate.
    pub fn violations(&mut self, _sink: Arc<dyn Sink>) -> &mut Self {
        todo!()
    }
    /// Whether the exit of the first process ends the wait (`core/trace/exit_wait_all:false`).
    /// The filter that this sandbox would load, as a raw BPF program.
    pub fn export_bpf(&self) -> Result<Vec<u8>> {
        todo!()
    }
    /// Checks that this machine can do it, and makes the sandbox.
    pub fn build(&self) -> Result<Sandbox> {
        todo!()
    }
}

/// A sandbox in which commands can be spawned.
pub struct Sandbox {}

impl Sandbox {
    /// Starts to describe a sandbox; with nothing said, everything is off.
    pub fn builder() -> SandboxBuilder {
        todo!()
    }
    /// What is really enforced on this machine.
    pub fn status(&self) -> &Status {
        todo!()
    }
    /// Spawns `command` in the sandbox.
    pub fn spawn(&self, _command: Command) -> Result<Child> {
        todo!()
    }
}

/// A command that runs in a sandbox, and with it all that it started.
pub struct Child {}

impl Child {
    /// Process id of the eldest.
    pub fn id(&self) -> u32 {
        todo!()
    }
    /// Waits as the sandbox says: for all (the default), or for the eldest.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        todo!()
    }
    /// How many violations there were so far, repeated ones included.
    pub fn violations(&self) -> u64 {
        todo!()
    }
    /// The exit code that `core/violation/exit_code` asks for: `Some` overrides that of the eldest.
    pub fn violation_exit_code(&self) -> Option<i32> {
        todo!()
    }
}
