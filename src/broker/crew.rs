//! The threads: one receives and answers, the others are there for when it cannot.
//!
//! One receiver is the cheapest: every thread that waits for calls is woken by each of them. It makes way for another
//! before it makes a call that can block ([`relieve`]); where a call takes long though nobody expected it,
//! [`super::watch`] sees that and does the same; and where calls queue up, several receive. So nobody waits for a call
//! that blocks (I4), and under little load one thread does everything.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::cx::{Answer, Begun, Cx};
use super::supervisor::Supervisor;
use super::watch;
use super::worker::Worker;
use crate::gate;
use crate::sys::seccomp::{self, Notification, Reply};
use crate::sys::{Errno, Pid, process};
use crate::tracee::Stop;

/// So many threads may wait to be called up; one more ends itself.
const MAX_PARKED: usize = 4;
/// After so many calls a thread looks whether others wait.
const LOOK_EVERY: u32 = 8;

/// The threads of one supervisor.
#[derive(Default)]
pub(crate) struct Crew {
    /// How many wait for a call, or have been told to.
    receiving: AtomicUsize,
    /// How many calls were received.
    received: AtomicU64,
    ending: AtomicBool,
    parked: Mutex<Parked>,
    called: Condvar,
    threads: Mutex<Threads>,
    ended: Condvar,
}

/// Those that there are.
#[derive(Default)]
struct Threads {
    running: Vec<Pid>,
    /// So many have been started and have not said who they are.
    starting: usize,
}

/// Threads that nobody needs at present.
#[derive(Default)]
struct Parked {
    waiting: usize,
    /// So many of them have been called up and have not noticed yet.
    called: usize,
}

impl Parked {
    /// Whether one waits that has not been called up.
    fn has_free(&self) -> bool {
        self.waiting > self.called
    }
}

impl Crew {
    /// The thread that is to be the first, where there is no supervisor yet: `run` makes one and has the thread
    /// [join](Crew::join).
    pub(crate) fn first(run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        thread().spawn(run).map(|_| ())
    }

    /// There is a first thread, which will [join](Crew::join): from now on [`Crew::end`] waits for it.
    pub(crate) fn open(supervisor: &Supervisor) {
        let crew = &supervisor.crew;
        crew.ending.store(false, Ordering::SeqCst);
        crew.receiving.store(1, Ordering::SeqCst);
        crew.threads().starting = 1;
    }

    /// The calling thread receives and answers, and returns when it is needed no more.
    pub(crate) fn join(supervisor: &Arc<Supervisor>) {
        run(supervisor);
    }

    /// A new thread begins to receive, as the first.
    pub(crate) fn start(supervisor: &Arc<Supervisor>) -> std::io::Result<()> {
        Self::open(supervisor);
        begin(supervisor)
    }

    /// Ends all threads, and returns when they have ended. Calls that block are left for another crew.
    pub(crate) fn end(supervisor: &Supervisor) {
        let crew = &supervisor.crew;
        crew.ending.store(true, Ordering::SeqCst);
        supervisor.watch.end();
        let mut threads = crew.threads();
        while threads.starting > 0 || !threads.running.is_empty() {
            // A thread may be about to enter the call that it is to be taken out of: so it is told again.
            threads.running.iter().for_each(|tid| process::interrupt(*tid));
            crew.called.notify_all();
            let wait = crew.ended.wait_timeout(threads, Duration::from_millis(5));
            threads = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn threads(&self) -> MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether threads are taken out of the calls that they are in, for another crew.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    /// Whether a call ended so because another crew is to go on with it, and not by a signal of the caller's.
    pub(crate) fn leaves(&self, stop: &Stop) -> bool {
        matches!(stop, Stop::Errno(Errno::EINTR) | Stop::Interrupted) && self.is_ending()
    }

    /// How many calls were received so far.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::SeqCst)
    }

    /// How many calls were received, and whether somebody waits for the next.
    pub(super) fn progress(&self) -> (u64, bool) {
        (self.received(), self.receiving.load(Ordering::SeqCst) > 0)
    }

    /// Whether a thread waits that can be called up, which one to be started perhaps cannot.
    pub(super) fn has_parked(&self) -> bool {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).has_free()
    }

    /// Waits to be called up; `false`: it is time to end. The caller is not counted as receiving; who calls it up
    /// does that.
    fn park(&self) -> bool {
        process::forget_thread();
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        if parked.waiting >= MAX_PARKED {
            return false;
        }
        parked.waiting += 1;
        while parked.called == 0 && !self.ending.load(Ordering::SeqCst) {
            parked = self.called.wait(parked).unwrap_or_else(PoisonError::into_inner);
        }
        parked.waiting -= 1;
        let called = parked.called > 0;
        parked.called = parked.called.saturating_sub(1);
        called
    }
}

/// Sees to it that somebody receives: for a thread that is about to block. `false`: there can be no further thread.
pub(super) fn relieve(supervisor: &Arc<Supervisor>) -> bool {
    supervisor.crew.receiving.load(Ordering::SeqCst) > 0 || call_up(supervisor)
}

/// One more thread receives.
fn call_up(supervisor: &Arc<Supervisor>) -> bool {
    let crew = &supervisor.crew;
    // Counted before it runs: whoever comes next sees that one is on its way.
    crew.receiving.fetch_add(1, Ordering::SeqCst);
    let mut parked = crew.parked.lock().unwrap_or_else(PoisonError::into_inner);
    if parked.has_free() {
        parked.called += 1;
        crew.called.notify_one();
        return true;
    }
    drop(parked);
    let hired = hire(supervisor);
    if let Err(error) = &hired {
        crew.receiving.fetch_sub(1, Ordering::SeqCst);
        crate::report::seldom(|| {
            log::warn!("no further thread can be started: calls wait for each other: {error}")
        });
    }
    hired.is_ok()
}

fn thread() -> std::thread::Builder {
    std::thread::Builder::new().name("sydbox-broker".into())
}

/// Starts a thread, which is counted as receiving already.
fn hire(supervisor: &Arc<Supervisor>) -> std::io::Result<()> {
    // Counted before it runs: who ends all waits for it as well.
    supervisor.crew.threads().starting += 1;
    begin(supervisor)
}

/// Starts a thread, which is counted already.
fn begin(supervisor: &Arc<Supervisor>) -> std::io::Result<()> {
    let shared = Arc::clone(supervisor);
    let hired = thread().spawn(move || run(&shared));
    if hired.is_err() {
        supervisor.crew.threads().starting -= 1;
    }
    hired.map(|_| ())
}

fn run(supervisor: &Arc<Supervisor>) {
    process::block_signals();
    let tid = process::gettid();
    let crew = &supervisor.crew;
    {
        let mut threads = crew.threads();
        threads.starting -= 1;
        threads.running.push(tid);
    }
    let options = &supervisor.options;
    match Worker::new(options.own.as_ref(), options.dropped_caps) {
        Ok(mut worker) => while receive(supervisor, &mut worker) && crew.park() {},
        Err(stop) => {
            log::error!("a thread of the supervisor cannot be set up: {stop:?}");
            crew.receiving.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let mut threads = crew.threads();
    threads.running.retain(|other| *other != tid);
    crew.ended.notify_all();
}

/// Receives and answers while this thread is needed, as which it is counted at first; `false`: it is to end.
fn receive(supervisor: &Arc<Supervisor>, worker: &mut Worker) -> bool {
    let crew = &supervisor.crew;
    let listener = supervisor.sight.listener.as_fd();
    let (mut calls, mut crowded) = (0_u32, false);
    let mut handed_over = true;
    while !crew.is_ending() {
        let left = if handed_over { left(supervisor) } else { None };
        handed_over = left.is_some();
        let received = || seccomp::recv(listener).map(|call| call.map(|call| (call, Begun::default())));
        let (notification, begun) = match left.map_or_else(received, |left| Ok(Some(left))) {
            Ok(Some(left)) => left,
            // A task that has no number in our pid namespace: nothing of it can be looked at. It gets no
            // answer, and is killable.
            Ok(None) => continue,
            Err(Errno::EINTR | Errno::ENOENT) => {
                if is_over(listener) {
                    break;
                }
                continue;
            }
            Err(errno) => {
                log::error!("ioctl(SECCOMP_IOCTL_NOTIF_RECV): {errno}");
                break;
            }
        };
        // In this order: who is about to sleep looks at the count first and then at what was received.
        crew.received.fetch_add(1, Ordering::SeqCst);
        crew.receiving.fetch_sub(1, Ordering::SeqCst);
        // The command's own exec waits for nobody.
        if !supervisor.is_starting() {
            watch::attend(supervisor);
        }
        if supervisor.others.load(Ordering::Acquire) {
            worker.expect_others();
        }
        calls = calls.wrapping_add(1);
        if calls.is_multiple_of(LOOK_EVERY) {
            // Before the answer: who gets it may call again at once, and is no crowd.
            crowded = is_waiting(listener);
            if crowded {
                relieve(supervisor);
            }
        }
        handle(supervisor, worker, notification, begun);
        if worker.spoilt {
            relieve(supervisor);
            return false;
        }
        let most = if crowded { most_receivers() } else { 1 };
        // In one step: two that count themselves and then see each other would both go, and nobody would receive.
        let room = |receiving| (receiving < most).then_some(receiving + 1);
        if crew.receiving.fetch_update(Ordering::SeqCst, Ordering::SeqCst, room).is_err() {
            return true;
        }
    }
    crew.receiving.fetch_sub(1, Ordering::SeqCst);
    false
}

/// A call that another crew left.
fn left(supervisor: &Supervisor) -> Option<(Notification, Begun)> {
    supervisor.unanswered.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

/// So many threads may receive where calls queue up.
fn most_receivers() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| std::thread::available_parallelism().map_or(2, |cpus| cpus.get().max(2)))
}

fn handle(supervisor: &Arc<Supervisor>, worker: &mut Worker, notification: Notification, mut begun: Begun) {
    let row = gate::lookup(notification.arch, notification.nr);
    let answer = match row.and_then(|row| row.call.as_ref().map(|call| (row, call))) {
        None => Err(Stop::Errno(Errno::ENOSYS)),
        Some((row, call)) => {
            let mut cx = Cx::new(supervisor, worker, notification, row, call);
            cx.begun = begun;
            // A panic must neither let a call through nor leave a caller waiting (I6).
            let answer = catch_unwind(AssertUnwindSafe(|| super::perform(&mut cx, call.op)));
            begun = cx.begun;
            answer.unwrap_or_else(|_| {
                log::error!("the supervisor failed in {}: the call is refused; this is a bug", row.name);
                Err(Stop::Errno(Errno::EPERM))
            })
        }
    };
    if answer.as_ref().is_err_and(|stop| supervisor.crew.leaves(stop)) {
        let left = (notification, begun);
        return supervisor.unanswered.lock().unwrap_or_else(PoisonError::into_inner).push(left);
    }
    answer_call(supervisor, &notification, answer);
}

fn answer_call(supervisor: &Supervisor, notification: &Notification, answer: Result<Answer, Stop>) {
    let id = notification.id;
    let listener = supervisor.sight.listener.as_fd();
    let reply = match answer {
        Err(Stop::Gone) if !seccomp::id_valid(listener, id) => return,
        // It only looked so: nobody is left waiting.
        Err(Stop::Gone) => Reply::Errno(Errno::EPERM),
        Err(Stop::Errno(Errno::EINTR)) if watch::is_for_caller(supervisor, notification.tid) => {
            Reply::Restart
        }
        Err(Stop::Errno(errno)) => Reply::Errno(errno),
        Err(Stop::Interrupted) => Reply::Errno(Errno::EINTR),
        Ok(Answer::Value(value)) => Reply::Value(value),
        Ok(Answer::Continue) => Reply::Continue,
        Ok(Answer::Descriptor { fd, cloexec, made }) => {
            let added = seccomp::addfd(listener, id, fd.as_fd(), cloexec);
            if let (Err(Errno::EMFILE), Some(made)) = (added, &made) {
                super::open::unmake(fd.as_fd(), made);
            }
            // Our copy is closed before the caller goes on: a lock, the end of a pipe or a running program
            // must not live longer than the caller's descriptor.
            drop(fd);
            match added {
                Ok(number) => Reply::Value(number.into()),
                Err(Errno::ENOENT) => return,
                Err(errno) => Reply::Errno(errno),
            }
        }
    };
    match seccomp::send(listener, id, reply) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => {
            log::error!("ioctl(SECCOMP_IOCTL_NOTIF_SEND, {reply:?}): {errno}");
            let _ = seccomp::send(listener, id, Reply::Errno(Errno::EPERM));
        }
    }
}

/// Whether the last process that uses the filter is gone.
pub(crate) fn is_over(listener: BorrowedFd<'_>) -> bool {
    process::poll([listener], [0], 0).is_ok_and(|[events]| events & libc::POLLHUP != 0)
}

/// Whether a call waits to be received.
fn is_waiting(listener: BorrowedFd<'_>) -> bool {
    process::poll([listener], [libc::POLLIN], 0).is_ok_and(|[events]| events & libc::POLLIN != 0)
}
