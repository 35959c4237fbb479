//! Calls that block in the broker on a caller's behalf: cancelled when the caller dies, and when a signal would have
//! interrupted it natively (with `WAIT_KILLABLE_RECV` a handler runs only after the answer).
//!
//! There is no event for "a signal is pending", so while, and only while, somebody is blocked, a thread looks
//! every [`TICK`], or less often where that many are blocked that looking takes long.
#![forbid(unsafe_code)]

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::supervisor::Supervisor;
use crate::sys::{Pid, process, seccomp};

/// How long a signal may wait for its handler, at most about this.
const TICK: Duration = Duration::from_millis(20);
/// So many looks at nobody before the thread sleeps: most calls that may block do not, and come one after the other, and
/// to wake it for each would cost more than they do.
const PATIENCE: u32 = 25;

/// Who is blocked.
#[derive(Default)]
pub(crate) struct Watch {
    slots: Mutex<Slots>,
    wake: Condvar,
}

#[derive(Default)]
struct Slots {
    blocked: Vec<Blocked>,
    watching: bool,
    /// The thread waits to be woken.
    asleep: bool,
    ending: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Blocked {
    id: u64,
    caller: Pid,
    worker: Pid,
}

/// While it lives, the thread that made it is interrupted when its caller dies or has a signal to handle.
pub(crate) struct Watched<'s> {
    supervisor: &'s Supervisor,
    entry: Blocked,
}

impl Watch {
    /// Watches over the calling thread, which is about to block for `caller` in the call `id`.
    pub(crate) fn over<'s>(supervisor: &'s Arc<Supervisor>, id: u64, caller: Pid) -> Watched<'s> {
        let entry = Blocked { id, caller, worker: process::gettid() };
        let mut slots = supervisor.watch.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.blocked.push(entry);
        Self::look(supervisor, &mut slots);
        Watched { supervisor, entry }
    }

    /// The same for a call that can block only if the file is exchanged for another this very moment: nobody looks before
    /// the threads become few ([`Watch::wake`]).
    pub(crate) fn quietly<'s>(
        supervisor: &'s Arc<Supervisor>,
        id: u64,
        caller: Pid,
        worker: Pid,
    ) -> Watched<'s> {
        let entry = Blocked { id, caller, worker };
        let mut slots = supervisor.watch.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.blocked.push(entry);
        Watched { supervisor, entry }
    }

    /// Looks at who is blocked, if somebody is.
    pub(crate) fn wake(supervisor: &Arc<Supervisor>) {
        let mut slots = supervisor.watch.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if !slots.blocked.is_empty() {
            Self::look(supervisor, &mut slots);
        }
    }

    /// Makes sure that the thread looks.
    fn look(supervisor: &Arc<Supervisor>, slots: &mut Slots) {
        if !slots.watching {
            let shared = Arc::clone(supervisor);
            let thread = std::thread::Builder::new().name("sydbox-watch".into());
            // Without the thread a blocked call ends only with its caller's tree; the next one tries again.
            slots.watching = thread.spawn(move || shared.watch.run(&shared)).is_ok();
        }
        if slots.asleep {
            supervisor.watch.wake.notify_one();
        }
    }

    /// Ends the thread.
    pub(crate) fn end(&self) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).ending = true;
        self.wake.notify_all();
    }

    /// After [`Watch::end`], in a process that goes on with the work: nobody is blocked yet, and there is no thread.
    pub(crate) fn restart(&self) {
        *self.slots.lock().unwrap_or_else(PoisonError::into_inner) = Slots::default();
    }

    fn run(&self, supervisor: &Supervisor) {
        use std::os::fd::AsFd;
        process::block_signals();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut nobody, mut pause) = (0, TICK);
        while !slots.ending {
            nobody = if slots.blocked.is_empty() { nobody + 1 } else { 0 };
            if nobody > PATIENCE {
                slots.asleep = true;
                slots = self.wake.wait(slots).unwrap_or_else(PoisonError::into_inner);
                slots.asleep = false;
                nobody = 0;
                continue;
            }
            slots = self.wake.wait_timeout(slots, pause).unwrap_or_else(PoisonError::into_inner).0;
            // Many may be blocked: looking at them holds nobody up, and takes a fifth of the time at most.
            let blocked = slots.blocked.clone();
            drop(slots);
            let start = Instant::now();
            let listener = supervisor.sight.listener.as_fd();
            let is_due = |entry: &&Blocked| {
                !seccomp::id_valid(listener, entry.id) || has_signal(supervisor, entry.caller)
            };
            let due: Vec<&Blocked> = blocked.iter().filter(is_due).collect();
            pause = TICK.max(start.elapsed() * 4);
            slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            // Under the lock: a thread that is still there cannot have gone on to something else.
            for entry in due.into_iter().filter(|entry| slots.blocked.contains(entry)) {
                process::interrupt(entry.worker);
            }
        }
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        let mut slots = self.supervisor.watch.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = slots.blocked.iter().position(|entry| *entry == self.entry) {
            slots.blocked.swap_remove(at);
        }
    }
}

/// Whether a signal is pending that the thread neither blocks nor leaves to the kernel.
fn has_signal(supervisor: &Supervisor, tid: Pid) -> bool {
    pending(supervisor, tid).is_some()
}

/// Whether a signal waits for this very thread, so that the kernel will ask its handler what becomes of the call.
pub(crate) fn is_for_caller(supervisor: &Supervisor, tid: Pid) -> bool {
    pending(supervisor, tid) == Some(true)
}

/// Whether there is a signal to be handled; and whether it can only be this thread that handles it.
fn pending(supervisor: &Supervisor, tid: Pid) -> Option<bool> {
    let mut buf = [0; 8192];
    let status = supervisor.sight.proc.read(tid, "status", &mut buf).ok()?;
    let mask = |key| crate::tracee::status_mask(status, key).unwrap_or(0);
    let handled = !mask("SigBlk:") & mask("SigCgt:");
    let (own, shared) = (mask("SigPnd:") & handled != 0, mask("ShdPnd:") & handled != 0);
    let alone = || crate::tracee::threads(status) == Some(1);
    (own || shared).then(|| own || alone())
}
