//! A command that stops itself, as an editor does: sydbox stands for it before the shell, and has to stop as well.
//!
//! Natively the shell would be told by the kernel. What is typed (Ctrl-Z) the kernel sends to sydbox, too; what the command
//! sends its own group does not come out of the sandbox.
#![forbid(unsafe_code)]

use std::fs::File;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, getpgid, getpgrp, getpid, getppid, getsid, tcgetpgrp, tcsetpgrp};

/// The command as a job of the shell's.
pub(crate) struct Job {
    eldest: Pid,
    /// While we are stopped as it is: the terminal, and who had it.
    stopped: Option<(File, Option<Pid>)>,
}

impl Job {
    pub(crate) fn new(eldest: u32) -> Option<Self> {
        Some(Self { eldest: Pid::from_raw(eldest.try_into().ok()?), stopped: None })
    }

    /// A child has stopped. If it is the command, and somebody is there to let a job go on, this process stops as well.
    pub(crate) fn stop(&mut self) {
        let stopped = waitid(Id::Pid(self.eldest), WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG);
        let Ok(WaitStatus::Stopped(_, signal)) = stopped else { return };
        let Ok(terminal) = File::open("/dev/tty") else { return };
        if !is_job(signal) {
            return;
        }
        // A shell has it in a group of its own.
        let foreground = tcgetpgrp(&terminal).ok();
        self.stopped = Some((terminal, foreground));
        // The stops of a terminal are for the whole group, with whatever else is in it.
        let group = if signal == Signal::SIGSTOP { getpid() } else { Pid::from_raw(0) };
        if let Err(errno) = kill(group, signal) {
            log::debug!("cannot stop as the command did: {errno}");
        }
    }

    /// This process goes on: in the foreground with what was there before, or in the background. The command may be in another
    /// group, which nobody but us continues.
    pub(crate) fn go_on(&mut self) {
        let Some((terminal, foreground)) = self.stopped.take() else { return };
        if tcgetpgrp(&terminal) == Ok(getpgrp()) {
            let given = foreground.map_or(Ok(()), |group| tcsetpgrp(&terminal, group));
            given.unwrap_or_else(|errno| log::debug!("cannot give the terminal back: {errno}"));
        }
        if let Err(errno) = kill(self.eldest, Signal::SIGCONT) {
            log::debug!("cannot let the command go on: {errno}");
        }
    }
}

/// Whether a stop of this process, or of its group, is one of a job: there is a shell above it, in the same session and in a
/// group of its own. Without one nobody would let it go on.
fn is_job(signal: Signal) -> bool {
    let (own, session) = (getpgrp(), getsid(None));
    let mut above = getppid();
    while above.as_raw() > 0 {
        match getpgid(Some(above)) {
            Ok(group) if group != own => return getsid(Some(above)) == session,
            // A script waits for us: natively it would wait on, but for a stop of the whole group.
            Ok(_) if signal == Signal::SIGSTOP => return false,
            Ok(_) => {}
            Err(_) => return false,
        }
        above = parent(above);
    }
    false
}

/// 0 where it cannot be told.
fn parent(pid: Pid) -> Pid {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
    Pid::from_raw(parent.unwrap_or(0))
}
