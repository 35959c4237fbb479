//! A command that stops, as an editor does: sydbox stands for it before the shell, and has to stop as well.
//!
//! Natively the shell would be told by the kernel. What is typed (Ctrl-Z) the kernel sends to sydbox, too, which leaves it to
//! the command: that may have a screen to restore, and needs us for it. What the command sends its own group does not come out
//! of the sandbox.
#![forbid(unsafe_code)]

use std::fs::File;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, getpgid, getpgrp, getpid, getppid, getsid, tcgetpgrp, tcsetpgrp};
use sydbox::Tree;
use sydbox::command::Requests;

/// The command as a job of the shell's.
pub(crate) struct Job {
    eldest: Pid,
    /// While we are stopped as it is: the terminal, and the command's group if it had it.
    stopped: Option<(File, Option<Pid>)>,
}

impl Job {
    pub(crate) fn new(eldest: u32) -> Option<Self> {
        Some(Self { eldest: Pid::from_raw(eldest.try_into().ok()?), stopped: None })
    }

    /// A child has stopped. If it is the command, and somebody is there to let a job go on, this process stops as well. `tree`:
    /// the processes that are served by this one.
    pub(crate) fn stop(&mut self, requests: &Requests, tree: &Tree) {
        let stopped = waitid(Id::Pid(self.eldest), WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG);
        let Ok(WaitStatus::Stopped(_, signal)) = stopped else { return };
        if requests.is_stopping(signal as i32) {
            // All others of the group have been told.
            return requests.stop(signal as i32, || is_stopped(self.eldest));
        }
        let Ok(terminal) = File::open("/dev/tty") else { return };
        if !is_job(signal) || signal == Signal::SIGSTOP && !all_stopped(tree) {
            return;
        }
        // A shell has it in a group of its own.
        let own = getpgid(Some(self.eldest)).ok();
        let foreground = tcgetpgrp(&terminal).ok().filter(|group| own == Some(*group));
        self.stopped = Some((terminal, foreground));
        // The stops of a terminal are for the whole group, with whatever else is in it.
        if signal != Signal::SIGSTOP
            && is_stopped(self.eldest)
            && let Err(error) = requests.stop_group(signal as i32)
        {
            log::debug!("cannot stop the others as the command did: {error}");
        }
        requests.stop(signal as i32, || is_stopped(self.eldest));
    }

    /// This process goes on: in the foreground with what was there before, or in the background. The command may be in another
    /// group, which nobody but us continues.
    pub(crate) fn go_on(&mut self) {
        if let Some((terminal, Some(group))) = self.stopped.take()
            && tcgetpgrp(&terminal) == Ok(getpgrp())
        {
            tcsetpgrp(&terminal, group)
                .unwrap_or_else(|errno| log::debug!("cannot give the terminal back: {errno}"));
        }
        // Also if it was the keys that stopped both, and not both are told to go on. Waited for, it is another one's number.
        if parent(self.eldest) == getpid()
            && is_stopped(self.eldest)
            && let Err(errno) = kill(self.eldest, Signal::SIGCONT)
        {
            log::debug!("cannot let the command go on: {errno}");
        }
    }
}

/// Whether nothing of the sandbox runs. Who is stopped by another one of its processes is waited for by that, not by a shell;
/// and that needs us.
fn all_stopped(tree: &Tree) -> bool {
    tree.processes().iter().all(|process| is_stopped(Pid::from_raw(process.pid as i32)))
}

fn is_stopped(pid: Pid) -> bool {
    word_of_stat(pid, 0).is_some_and(|state| ["T", "Z", "X"].contains(&state.as_str()))
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
    Pid::from_raw(word_of_stat(pid, 1).and_then(|parent| parent.parse().ok()).unwrap_or(0))
}

/// A word behind the name, which a process chooses itself.
fn word_of_stat(pid: Pid, at: usize) -> Option<String> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    stat.rsplit_once(") ")?.1.split(' ').nth(at).map(str::to_owned)
}
