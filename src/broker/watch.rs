//! Calls that block in the broker on a caller's behalf: cancelled when the caller dies, and when a signal would have
//! interrupted it natively (with `WAIT_KILLABLE_RECV` a handler runs only after the answer).
//!
//! There is no event for "a signal is pending", so while, and only while, calls come in or are blocked, a thread looks
//! every [`LOOK`], or less often where that many are blocked that looking takes long. It also sees calls that take long though nobody expected it: then somebody else is to receive.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::crew;
use super::cx::Cx;
use super::supervisor::Supervisor;
use crate::sys::seccomp::{self, Notification};
use crate::sys::{Pid, process};
use crate::tracee::Result;

/// How often it is looked whether calls still get through.
const TICK: Duration = Duration::from_millis(5);
/// How often it is looked at blocked calls: so long a signal may wait for its handler, at most about this.
const LOOK: Duration = Duration::from_millis(20);
/// A call that seldom waits has waited if it took longer.
const SHORT: Duration = Duration::from_millis(1);
/// So many times as long no such call is trusted then: many in a row would hold others up, each for less than a tick.
const DISTRUST: u32 = 100;
/// So many looks at nothing before the thread sleeps: calls come one after the other, and to wake it for each would cost
/// more than they do.
const PATIENCE: u32 = 25;

/// Who is blocked, and whether somebody looks.
#[derive(Default)]
pub(crate) struct Watch {
    slots: Mutex<Slots>,
    wake: Condvar,
    /// The thread is there and looks.
    awake: AtomicBool,
}

#[derive(Default)]
struct Slots {
    blocked: Vec<Blocked>,
    /// Until then calls that seldom wait are not trusted, because one did.
    distrust: Option<Instant>,
    /// The thread has been started, and has not ended.
    started: bool,
    ending: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Blocked {
    id: u64,
    caller: Pid,
    worker: Pid,
}

/// While it lives, the thread that works on the call is interrupted when its caller dies or has a signal to handle.
pub(crate) struct Watched<'s> {
    supervisor: &'s Supervisor,
    entry: Blocked,
    /// When a call began that seldom waits.
    began: Option<Instant>,
}

/// Has the thread look after the call that was just received: if it takes long, somebody else is to receive.
pub(crate) fn attend(supervisor: &Arc<Supervisor>) {
    let watch = &supervisor.watch;
    if watch.awake.load(Ordering::SeqCst) {
        return;
    }
    let mut slots = watch.slots();
    watch.awake.store(true, Ordering::SeqCst);
    watch.wake.notify_all();
    if !slots.started && !slots.ending {
        let shared = Arc::clone(supervisor);
        let thread = std::thread::Builder::new().name("sydbox-watch".into());
        slots.started = thread.spawn(move || shared.watch.run(&shared)).is_ok();
        if !slots.started {
            // The next call tries again.
            watch.awake.store(false, Ordering::SeqCst);
            drop(slots);
            crew::relieve(supervisor);
        }
    }
}

impl Watch {
    /// Ends the thread, and returns when it has ended: a lock that it held while this process forks would be held for
    /// ever in the new one.
    pub(crate) fn end(&self) {
        let mut slots = self.slots();
        slots.ending = true;
        self.wake.notify_all();
        while slots.started {
            slots = self.wake.wait(slots).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// After [`Watch::end`], in a process that goes on with the work: nobody is blocked yet, and there is no thread.
    pub(crate) fn restart(&self) {
        *self.slots() = Slots::default();
        self.awake.store(false, Ordering::SeqCst);
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, supervisor: &Arc<Supervisor>) {
        process::block_signals();
        let crew = &supervisor.crew;
        let (mut seen, mut quiet, mut look) = (crew.progress().0, 0, Instant::now());
        let mut slots = self.slots();
        while !slots.ending {
            let tick = if quiet == 0 { TICK } else { LOOK };
            slots = self.wake.wait_timeout(slots, tick).unwrap_or_else(PoisonError::into_inner).0;
            let (received, receives) = crew.progress();
            if received == seen && !receives && !slots.ending {
                // Whoever should receive has been in one call all the time.
                drop(slots);
                crew::relieve(supervisor);
                slots = self.slots();
            }
            if Instant::now() >= look {
                let blocked = slots.blocked.clone();
                drop(slots);
                let start = Instant::now();
                let mut last = (start, received);
                let due = blocked.iter().filter(|entry| {
                    // Nor does looking at many keep from seeing that nobody receives.
                    if last.0.elapsed() > TICK {
                        let (received, receives) = crew.progress();
                        if received == last.1 && !receives {
                            crew::relieve(supervisor);
                        }
                        last = (Instant::now(), received);
                    }
                    entry.is_due(supervisor)
                });
                let due: Vec<&Blocked> = due.collect();
                // Many may be blocked: looking at them holds nobody up, and takes a fifth of the time at most.
                look = Instant::now() + LOOK.max(start.elapsed() * 4);
                slots = self.slots();
                // Under the lock: a thread that is still there cannot have gone on to something else.
                due.into_iter()
                    .filter(|entry| slots.blocked.contains(entry))
                    .for_each(|entry| process::interrupt(entry.worker));
            }
            quiet = if received == seen && slots.blocked.is_empty() { quiet + 1 } else { 0 };
            seen = received;
            if quiet > PATIENCE {
                self.awake.store(false, Ordering::SeqCst);
                // Who receives a call after this sees that nobody is awake; one before it is seen here.
                while crew.progress() == (seen, true) && !self.awake.load(Ordering::SeqCst) && !slots.ending {
                    slots = self.wake.wait(slots).unwrap_or_else(PoisonError::into_inner);
                }
                self.awake.store(true, Ordering::SeqCst);
                quiet = 0;
            }
        }
        slots.started = false;
        self.wake.notify_all();
    }
}

impl<'a> Cx<'a> {
    /// Watches over the call, which can block only if a file is exchanged for another this very moment.
    pub(crate) fn watched(&self) -> Watched<'a> {
        let Notification { id, tid: caller, .. } = self.caller.call;
        let entry = Blocked { id, caller, worker: self.worker.tid };
        self.supervisor.watch.slots().blocked.push(entry);
        Watched { supervisor: self.supervisor, entry, began: None }
    }

    /// Watches over the call, which is about to block; somebody else receives.
    pub(crate) fn blocks(&self) -> Watched<'a> {
        crew::relieve(self.supervisor);
        self.watched()
    }

    /// The same for a call that waits for another process: `EAGAIN` where nobody would be left to serve that.
    pub(crate) fn waits(&self) -> Result<Watched<'a>> {
        self.may_wait()?;
        Ok(self.watched())
    }

    /// As [`Cx::waits`], for a call that hardly ever does: where a thread is parked it is left to the watch to call that up.
    pub(crate) fn waits_seldom(&self) -> Result<Watched<'a>> {
        let distrust = self.supervisor.watch.slots().distrust;
        if distrust.is_some_and(|until| Instant::now() < until) || !self.supervisor.crew.has_parked() {
            return self.waits();
        }
        let mut watched = self.watched();
        watched.began = Some(Instant::now());
        Ok(watched)
    }
}

impl Blocked {
    /// Whether there is reason to take the thread out of its call.
    fn is_due(&self, supervisor: &Supervisor) -> bool {
        use std::os::fd::AsFd;
        !seccomp::id_valid(supervisor.sight.listener.as_fd(), self.id) || has_signal(supervisor, self.caller)
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        let mut slots = self.supervisor.watch.slots();
        if let Some(at) = slots.blocked.iter().position(|entry| *entry == self.entry) {
            slots.blocked.swap_remove(at);
        }
        if let Some(waited) = self.began.map(|began| began.elapsed()).filter(|waited| *waited > SHORT) {
            slots.distrust = Instant::now().checked_add(waited.saturating_mul(DISTRUST));
        }
    }
}

/// Whether a signal is pending for which the thread must come out of its call: to handle it, to stop or to end.
fn has_signal(supervisor: &Supervisor, tid: Pid) -> bool {
    pending(supervisor, tid).is_some()
}

/// Whether a signal waits for this very thread, so that the kernel will ask its handler what becomes of the call.
pub(crate) fn is_for_caller(supervisor: &Supervisor, tid: Pid) -> bool {
    pending(supervisor, tid) == Some(true)
}

/// What stops a process, unless it does something else on it. `SIGSTOP` it cannot do anything about.
const STOPS: [i32; 4] = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
/// What ends a process with a core dump, unless it does something else on it. Of others that end it the kernel makes SIGKILL.
const DUMPS: [i32; 10] = [
    libc::SIGQUIT,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGSYS,
    libc::SIGXCPU,
    libc::SIGXFSZ,
];

/// Whether there is a signal to be handled, or one that is to stop or end the process, which happens only when the call is over;
/// and whether the kernel is sure to ask this thread about it.
fn pending(supervisor: &Supervisor, tid: Pid) -> Option<bool> {
    let mut buf = [0; 8192];
    let status = supervisor.sight.proc.read(tid, "status", &mut buf).ok()?;
    // With many groups the signals stand further down.
    let long = match status.len() < 8192 {
        true => Vec::new(),
        false => supervisor.sight.proc.read_all(tid, "status", 1 << 20).ok()?,
    };
    let status = if long.is_empty() { status } else { &long };
    let mask = |key| crate::tracee::status_mask(status, key).unwrap_or(0);
    let (blocked, caught, ignored) = (mask("SigBlk:"), mask("SigCgt:"), mask("SigIgn:"));
    let (own, shared) = (mask("SigPnd:"), mask("ShdPnd:"));
    let default = |signals: &[i32]| {
        signals.iter().fold(0, |mask, signal| mask | 1 << (signal - 1)) & !(blocked | caught | ignored)
    };
    let (handled, stops) = (!blocked & caught | default(&DUMPS), default(&STOPS));
    // One for the whole process is the first thread's business, and that of the others once that one has stopped or ended.
    let stopping = || match crate::tracee::leader(status) {
        Some(leader) if leader == tid => shared & stops != 0,
        Some(leader) => match state(supervisor, leader) {
            Some(b'T') => true,
            Some(b'Z') => shared & stops != 0,
            _ => false,
        },
        None => false,
    };
    if own & (handled | stops) != 0 || stopping() {
        return Some(true);
    }
    (shared & handled != 0).then(|| crate::tracee::threads(status) == Some(1))
}

/// What a thread is doing.
fn state(supervisor: &Supervisor, tid: Pid) -> Option<u8> {
    let mut buf = [0; 1024];
    crate::tracee::state(supervisor.sight.proc.read(tid, "stat", &mut buf).ok()?)
}
