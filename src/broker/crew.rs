//! The threads: leader and followers.
//!
//! Each receives, makes sure that another one is left to receive, handles, answers and receives again. So a call
//! that blocks keeps one thread, and nobody else waits for it (I4); and under little load there are two threads.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::cx::{Answer, Cx};
use super::supervisor::Supervisor;
use super::watch;
use super::worker::Worker;
use crate::gate;
use crate::sys::seccomp::{self, Notification, Reply};
use crate::sys::{Errno, Pid, process};
use crate::tracee::Stop;

/// So many threads may wait for calls; one more ends itself.
const MAX_IDLE: usize = 4;

/// The threads of one supervisor.
pub(crate) struct Crew {
    supervisor: Arc<Supervisor>,
    idle: AtomicUsize,
    ending: AtomicBool,
    threads: Mutex<Vec<Pid>>,
    ended: Condvar,
}

impl Crew {
    /// The first thread begins to receive.
    pub(crate) fn start(supervisor: Arc<Supervisor>) -> std::io::Result<Arc<Self>> {
        let crew = Arc::new(Self {
            supervisor,
            idle: AtomicUsize::new(0),
            ending: AtomicBool::new(false),
            threads: Mutex::default(),
            ended: Condvar::new(),
        });
        crew.hire()?;
        Ok(crew)
    }

    /// Ends all threads, and returns when they have ended. Calls that block are left for another crew.
    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
        self.supervisor.watch.end();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        while !threads.is_empty() {
            // A thread may be about to enter the call that it is to be taken out of: so it is told again.
            threads.iter().for_each(|tid| process::interrupt(*tid));
            let wait = self.ended.wait_timeout(threads, Duration::from_millis(5));
            threads = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn hire(self: &Arc<Self>) -> std::io::Result<()> {
        // Counted before it runs: whoever comes next sees that one is on its way.
        self.idle.fetch_add(1, Ordering::SeqCst);
        let crew = Arc::clone(self);
        let thread = std::thread::Builder::new().name("sydbox-broker".into()).spawn(move || crew.run());
        thread.map(|_| ()).inspect_err(|_| {
            self.idle.fetch_sub(1, Ordering::SeqCst);
        })
    }

    fn run(self: Arc<Self>) {
        process::block_signals();
        let tid = process::gettid();
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(tid);
        self.receive();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|other| *other != tid);
        self.ended.notify_all();
    }

    /// Receives until the tree is gone or there are enough others. Called with this thread counted as idle.
    fn receive(self: &Arc<Self>) {
        let options = &self.supervisor.options;
        let mut worker = match Worker::new(options.privileged, options.dropped_caps) {
            Ok(worker) => worker,
            Err(stop) => {
                log::error!("a thread of the supervisor cannot be set up: {stop:?}");
                self.idle.fetch_sub(1, Ordering::SeqCst);
                return;
            }
        };
        let listener = self.supervisor.sight.listener.as_fd();
        while !self.ending.load(Ordering::SeqCst) {
            let left = self.supervisor.unanswered.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let notification = match left.map_or_else(|| seccomp::recv(listener), |left| Ok(Some(left))) {
                Ok(Some(notification)) => notification,
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
            if self.idle.fetch_sub(1, Ordering::SeqCst) == 1 && self.hire().is_err() {
                log::warn!("no further thread can be started: calls wait for each other");
            }
            self.handle(&mut worker, notification);
            if worker.spoilt || self.idle.load(Ordering::SeqCst) >= MAX_IDLE {
                if worker.spoilt && self.idle.load(Ordering::SeqCst) == 0 {
                    let _ = self.hire();
                }
                return;
            }
            self.idle.fetch_add(1, Ordering::SeqCst);
        }
        self.idle.fetch_sub(1, Ordering::SeqCst);
    }

    fn handle(&self, worker: &mut Worker, notification: Notification) {
        let row = gate::lookup(notification.arch, notification.nr);
        let answer = match row.and_then(|row| row.call.as_ref().map(|call| (row, call))) {
            None => Err(Stop::Errno(Errno::ENOSYS)),
            Some((row, call)) => {
                let mut cx = Cx::new(&self.supervisor, worker, notification, row, call);
                // A panic must neither let a call through nor leave a caller waiting (I6).
                catch_unwind(AssertUnwindSafe(|| super::perform(&mut cx, call.op))).unwrap_or_else(|_| {
                    log::error!("the supervisor failed in {}: the call is refused; this is a bug", row.name);
                    Err(Stop::Errno(Errno::EPERM))
                })
            }
        };
        if matches!(answer, Err(Stop::Errno(Errno::EINTR) | Stop::Interrupted))
            && self.ending.load(Ordering::SeqCst)
        {
            // It was not a signal of the caller's: whoever takes over begins again.
            return self
                .supervisor
                .unanswered
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(notification);
        }
        self.answer(&notification, answer);
    }

    fn answer(&self, notification: &Notification, answer: Result<Answer, Stop>) {
        let id = notification.id;
        let listener = self.supervisor.sight.listener.as_fd();
        let reply = match answer {
            Err(Stop::Gone) => return,
            Err(Stop::Errno(Errno::EINTR)) if watch::is_for_caller(&self.supervisor, notification.tid) => {
                Reply::Restart
            }
            Err(Stop::Errno(errno)) => Reply::Errno(errno),
            Err(Stop::Interrupted) => Reply::Errno(Errno::EINTR),
            Ok(Answer::Value(value)) => Reply::Value(value),
            Ok(Answer::Continue) => Reply::Continue,
            Ok(Answer::Descriptor { fd, cloexec }) => {
                let added = seccomp::addfd(listener, id, fd.as_fd(), cloexec);
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
}

/// Whether the last process that uses the filter is gone.
pub(crate) fn is_over(listener: std::os::fd::BorrowedFd<'_>) -> bool {
    process::poll([listener], [0], 0).is_ok_and(|[events]| events & libc::POLLHUP != 0)
}
