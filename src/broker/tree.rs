//! The processes of a sandbox: told by their state's number, since nobody watches them come and go.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;

use super::supervisor::Supervisor;
use crate::sys::{Pid, is_want, process};
use crate::tracee;

/// The processes that there are now.
pub(crate) fn processes(supervisor: &Supervisor) -> Vec<Pid> {
    let all = process::all().into_iter().flatten().flatten();
    all.filter(|pid| is_ours(supervisor, *pid)).collect()
}

/// Whether a process or thread is of the sandbox.
pub(crate) fn is_ours(supervisor: &Supervisor, pid: Pid) -> bool {
    tracee::tag(&supervisor.sight.proc, pid).is_ok_and(|tag| supervisor.states.knows(tag))
}

/// Kills one process of the sandbox.
pub(crate) fn kill(supervisor: &Supervisor, pid: Pid) {
    let pidfd = match process::pidfd_open(pid) {
        Ok(pidfd) => Some(pidfd),
        // Who has used up our descriptors is not spared for that.
        Err(errno) if is_want(errno) => None,
        Err(_) => return,
    };
    // Pinned first, then looked at: the number may be another process's by now.
    if is_ours(supervisor, pid) {
        let _ = match pidfd {
            Some(pidfd) => process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL),
            None => process::kill(pid, libc::SIGKILL),
        };
    }
}

/// Kills every process of the sandbox, and what they start meanwhile.
pub(crate) fn kill_all(supervisor: &Supervisor) {
    let mut last = Vec::new();
    loop {
        let mut now = processes(supervisor);
        now.sort_unstable_by_key(|pid| pid.raw());
        // What was killed before and is still there is a zombie, or on its way.
        if now == last {
            return;
        }
        now.iter().for_each(|pid| kill(supervisor, *pid));
        last = now;
    }
}
