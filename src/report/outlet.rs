//! A writer that can get stuck, behind a queue, so that nobody who reports does.
//!
//! A report is normally on its way out before [`Outlet::put`] returns, so that it stands before what the refused
//! program says about it. If the writer does not take it within [`PATIENCE`] (a terminal that was stopped, a pipe that
//! nobody reads), callers no longer wait, until the queue has been emptied again. The thread that writes is started for the
//! first record; where it cannot be, whoever reports writes.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::fmt;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::sys::creds::Own;

/// How long one caller waits for the writer.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long the end waits for what is still queued, if the writer does not take it.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// So many times as long it waits for the thread to come to it, on a machine that has much to do.
const WAITS: u32 = 30;
/// How many bytes wait at most.
const CAPACITY: usize = 4 << 20;

/// A thread that writes, and the queue in front of it. Dropped, it waits for the queue, for seconds if the writer takes nothing.
pub struct Outlet {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    filled: Condvar,
    drained: Condvar,
    /// How long one caller waits for the writer.
    patience: Duration,
    /// For the thread, as long as there is one.
    writer: Mutex<Box<dyn Write + Send>>,
    /// Who made the outlet, and writes.
    own: Option<Own>,
}

#[derive(Default)]
struct State {
    /// The process in which there is a thread: none is there in one that was forked.
    thread_in: Option<u32>,
    /// It is at the writer.
    writing: bool,
    queue: VecDeque<Vec<u8>>,
    waiting: usize,
    accepted: u64,
    done: u64,
    lost: u64,
    stuck: bool,
    /// At so many that were done the end no longer waited.
    given_up: Option<u64>,
    closed: bool,
}

impl Shared {
    /// A panic elsewhere leaves counters and a queue that are still good.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is queued; the state again.
    fn write<'s>(
        &'s self,
        mut state: MutexGuard<'s, State>,
        writer: &mut dyn Write,
    ) -> MutexGuard<'s, State> {
        while let Some(record) = state.queue.pop_front() {
            state.writing = true;
            drop(state);
            let written = writer.write_all(&record).and_then(|()| writer.flush());
            state = self.lock();
            state.writing = false;
            state.waiting -= record.len();
            state.done += 1;
            state.lost += u64::from(written.is_err());
            state.stuck &= !state.queue.is_empty();
            self.drained.notify_all();
        }
        state
    }

    fn drain(&self) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.lock();
        loop {
            state = self.write(state, &mut **writer);
            if state.closed {
                return;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Starts the thread; `false` where there can be none.
    fn start(self: &Arc<Self>) -> bool {
        let theirs = Arc::clone(self);
        let own = self.own.clone();
        let thread = thread::Builder::new().name("sydbox-report".into()).spawn(move || {
            // A terminal that the sandboxed program has taken for itself would stop the whole process (SIGTTOU).
            let _ = nix::sys::signal::SigSet::all().thread_block();
            // Who reports may be acting for a process of the sandbox, which the writer has nothing to do with.
            let _ = own.map(|own| own.inherit());
            theirs.drain();
        });
        thread.is_ok()
    }

    /// Waits until `count` records have gone out. False: it took too long.
    fn wait(&self, state: MutexGuard<'_, State>, count: u64, patience: Duration) -> bool {
        let (mut state, waited) = self
            .drained
            .wait_timeout_while(state, patience, |state| state.done < count)
            .unwrap_or_else(PoisonError::into_inner);
        state.stuck |= waited.timed_out();
        !waited.timed_out()
    }
}

impl Outlet {
    /// An outlet to this writer.
    pub fn new(writer: Box<dyn Write + Send>) -> Self {
        Self::with_patience(writer, PATIENCE)
    }

    fn with_patience(writer: Box<dyn Write + Send>, patience: Duration) -> Self {
        let (filled, drained) = (Condvar::new(), Condvar::new());
        let own = Own::here().ok();
        let (state, writer) = (Mutex::default(), Mutex::new(writer));
        Self { shared: Arc::new(Shared { state, filled, drained, patience, writer, own }) }
    }

    /// One that waits for its thread, however long that takes to be given a turn.
    #[cfg(test)]
    pub(crate) fn patient(writer: impl Write + Send + 'static) -> Self {
        Self::with_patience(Box::new(writer), Duration::from_secs(60))
    }

    /// Writes one record, in one piece.
    pub fn put(&self, record: Vec<u8>) {
        let mut state = self.shared.lock();
        if state.waiting + record.len() > CAPACITY {
            state.lost += 1;
            return;
        }
        state.waiting += record.len();
        state.accepted += 1;
        state.queue.push_back(record);
        if state.thread_in.is_none() {
            state.thread_in = self.shared.start().then(std::process::id);
        }
        if state.thread_in.is_none() {
            // Rather held up than not heard.
            drop(state);
            let mut writer = self.shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
            drop(self.shared.write(self.shared.lock(), &mut **writer));
            return;
        }
        self.shared.filled.notify_one();
        let mine = state.accepted;
        if !state.stuck {
            self.shared.wait(state, mine, self.shared.patience);
        }
    }

    /// Waits until all has been written, but not for ever, and not once more if nothing was written since.
    pub fn flush(&self) {
        self.settle(LAST_WAIT);
    }

    /// How often it waited so long in vain.
    fn settle(&self, patience: Duration) -> u32 {
        let mut state = self.shared.lock();
        let last = state.accepted;
        if state.given_up == Some(state.done) {
            return 0;
        }
        let mut waits = 0;
        while !self.shared.wait(state, last, patience) {
            state = self.shared.lock();
            if state.done >= last {
                break;
            }
            waits += 1;
            if state.writing || state.thread_in != Some(std::process::id()) || waits == WAITS {
                state.given_up = Some(state.done);
                break;
            }
        }
        waits
    }

    /// How many records there was no room for, or that the writer refused.
    pub(crate) fn lost(&self) -> u64 {
        self.shared.lock().lost
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_one();
        self.flush();
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").field("lost", &self.lost()).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Instant;

    impl Outlet {
        /// Waits until all has been written.
        fn finished(&self) {
            let state = self.shared.lock();
            let waited = self.shared.drained.wait_while(state, |state| state.done < state.accepted);
            drop(waited.unwrap());
        }
    }

    /// A writer whose text can be looked at.
    #[derive(Clone, Default)]
    pub(crate) struct Page(Arc<Mutex<Vec<u8>>>);

    impl Page {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A writer that takes nothing until it is let go.
    struct Stopped(Receiver<()>, Page);

    impl Write for Stopped {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_record_is_out_when_put_returns() {
        let page = Page::default();
        let outlet = Outlet::patient(page.clone());
        outlet.put(b"one\n".to_vec());
        assert_eq!(page.text(), "one\n");
    }

    #[test]
    fn a_stuck_writer_costs_one_wait_and_loses_nothing_that_fits() {
        let (go, stop) = channel();
        let page = Page::default();
        let outlet = Outlet::new(Box::new(Stopped(stop, page.clone())));
        let start = Instant::now();
        for _ in 0..100 {
            outlet.put(b"line\n".to_vec());
        }
        outlet.put(vec![b'x'; CAPACITY]);
        assert!(start.elapsed() < PATIENCE * 100);
        assert_eq!(outlet.lost(), 1);
        drop(go);
        outlet.finished();
        assert_eq!(page.text().lines().count(), 100);
    }

    /// What the end waits for is the writer, and longer for a thread that has not come to it.
    #[test]
    fn a_thread_that_does_not_run_is_waited_for() {
        const SHORT: Duration = Duration::from_millis(1);
        let outlet = Outlet::with_patience(Box::<Page>::default(), SHORT);
        let writer = outlet.shared.writer.lock().unwrap();
        outlet.put(b"late\n".to_vec());
        assert_eq!(outlet.settle(SHORT), WAITS);
        assert_eq!(outlet.settle(SHORT), 0);
        // In a process that was forked there is none.
        let mut state = outlet.shared.lock();
        (state.thread_in, state.given_up) = (Some(0), None);
        drop(state);
        assert_eq!(outlet.settle(SHORT), 1);
        drop(writer);
        let (go, stop) = channel();
        let outlet = Outlet::with_patience(Box::new(Stopped(stop, Page::default())), SHORT);
        outlet.put(b"late\n".to_vec());
        while !outlet.shared.lock().writing {
            thread::yield_now();
        }
        assert_eq!(outlet.settle(SHORT), 1);
        drop(go);
    }

    /// The thread takes over from whoever had to write.
    #[test]
    fn what_was_written_without_a_thread_is_followed_by_the_rest() {
        let page = Page::default();
        let outlet = Outlet::patient(page.clone());
        {
            let mut state = outlet.shared.lock();
            state.queue.push_back(b"first\n".to_vec());
            (state.waiting, state.accepted) = (6, 1);
        }
        let mut writer = outlet.shared.writer.lock().unwrap();
        drop(outlet.shared.write(outlet.shared.lock(), &mut **writer));
        drop(writer);
        outlet.put(b"second\n".to_vec());
        assert_eq!(page.text(), "first\nsecond\n");
        assert_eq!(outlet.shared.lock().waiting, 0);
    }

    #[test]
    fn errors_are_counted() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let outlet = Outlet::patient(Broken);
        outlet.put(b"x".to_vec());
        assert_eq!(outlet.lost(), 1);
    }
}
