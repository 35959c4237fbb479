//! Where the supervisor could not look at orphans they become children of this process, and are waited for.
//!
//! Yama (`ptrace_scope` other than 0, the default of some distributions) lets who is not privileged look at descendants only.
//! The library leaves this to the program that embeds it, because it changes whose children that program finds.
#![forbid(unsafe_code)]

use std::thread;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::SigSet;
use nix::sys::wait::{Id, WaitPidFlag, waitid};

/// Whether this system asks who descends from whom.
pub fn are_out_of_sight() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").is_ok_and(|scope| scope.trim() != "0")
}

/// From now on orphans below this process are its children.
pub fn adopt() {
    if let Err(errno) = prctl::set_child_subreaper(true) {
        log::debug!("prctl(PR_SET_CHILD_SUBREAPER): {errno}");
    }
}

/// Waits for all children but `eldest`, which the sandbox waits for, in a thread of its own: what is dead keeps its
/// number until then.
pub fn reap_all_but(eldest: u32) {
    let reaper = thread::Builder::new().name("sydbox-reap".into()).spawn(move || {
        // Signals are for the thread that waits for the eldest.
        let _ = SigSet::all().thread_block();
        loop {
            match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).map(|status| status.pid()) {
                // It is about to be waited for.
                Ok(Some(pid)) if pid.as_raw().unsigned_abs() == eldest => thread::yield_now(),
                Ok(Some(pid)) => drop(waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG)),
                Ok(None) | Err(Errno::EINTR) => {}
                // Without a child there is no tree.
                Err(_) => return,
            }
        }
    });
    if let Err(error) = reaper {
        log::debug!("cannot start a thread, orphans stay zombies: {error}");
    }
}
