//! A command that runs in a sandbox: wait for it, ask about it, leave it behind.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;

use super::launch::{Shared, Started};
use crate::broker::{self, Crew};
use crate::error::{Error, Result};
use crate::processes::{Process, Tree};
use crate::report::Sink;
use crate::sys::process::{self, Forked};

/// A command that runs in a sandbox, and with it all that it started.
///
/// Dropping it waits for nothing and kills nothing, as with [`std::process::Child`]; the supervisor goes on as long as
/// this process lives.
pub struct Child {
    pub(super) shared: Arc<Shared>,
    pub(super) thread: Option<thread::JoinHandle<()>>,
    pub(super) started: Started,
}

impl Child {
    /// Process id of the eldest: the command itself.
    pub fn id(&self) -> u32 {
        self.started.pid
    }

    /// The command's standard input, if it was [`std::process::Stdio::piped`]. Given away once.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.started.stdin.take()
    }

    /// The command's standard output, if it was piped. Given away once.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.started.stdout.take()
    }

    /// The command's standard error, if it was piped. Given away once.
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.started.stderr.take()
    }

    /// Waits as the sandbox says: until every process of it has ended (the default), or the eldest
    /// (`core/trace/exit_wait_all:false`). Returns the status of the eldest. Closes standard input first.
    ///
    /// # Errors
    /// Only if somebody else has waited for the eldest.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        drop(self.started.stdin.take());
        let supervisor = &self.started.supervisor;
        let mut ended = self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if ended.all || ended.eldest.is_some() && !supervisor.wait_all.load(Ordering::Relaxed) {
                break;
            }
            ended = self.shared.changed.wait(ended).unwrap_or_else(PoisonError::into_inner);
        }
        let all = ended.all;
        let status = ended.eldest.unwrap_or(Err(libc::ECHILD));
        drop(ended);
        if all && let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        status.map_err(|raw| Error::system("waitid", std::io::Error::from_raw_os_error(raw)))
    }

    /// Whether processes of the tree are left.
    pub fn is_running(&self) -> bool {
        !broker::is_over(self.started.supervisor.sight.listener.as_fd())
    }

    /// The processes of the sandbox, to be looked at from any thread, also while another one waits.
    pub fn tree(&self) -> Tree {
        Tree::new(Arc::clone(&self.started.supervisor))
    }

    /// The processes that there are now, with what each may do: see [`Tree::processes`].
    pub fn processes(&self) -> Vec<Process> {
        self.tree().processes()
    }

    /// Leaves what is left of the tree to a process of its own, which goes on enforcing its policy until the last
    /// one has ended. Violations go to what `sink` makes there: threads of this process do not exist in that one.
    /// Its standard input, output and error are `/dev/null`, and descriptors that are not close-on-exec are closed.
    ///
    /// To be called after [`Child::wait`] has returned for the eldest, by a program that is about to end, with no
    /// other thread of its own at work.
    ///
    /// # Errors
    /// If the process cannot be forked: the supervisor then goes on in this one.
    pub fn detach(self, sink: impl FnOnce() -> Arc<dyn Sink>) -> Result<()> {
        let Started { supervisor, .. } = &self.started;
        let _alone = self.shared.alone();
        if !self.is_running() {
            return Ok(());
        }
        // While calls are still answered; and then what has come meanwhile, which does not wait for a writer that is stuck again.
        supervisor.options.sink().flush();
        Crew::end(supervisor);
        supervisor.options.sink().flush();
        let forked = process::fork().map_err(|errno| {
            supervisor.watch.restart();
            // As before, then: better a supervisor here than none.
            if let Err(error) = Crew::start(supervisor) {
                log::error!("the supervisor's threads cannot be started again: {error}");
            }
            Error::system("fork", errno)
        })?;
        if forked == Forked::Parent {
            return Ok(());
        }
        supervisor.watch.restart();
        *supervisor.options.sink.lock().unwrap_or_else(PoisonError::into_inner) = sink();
        let code = match Crew::start(supervisor) {
            Ok(()) => {
                let listener = supervisor.sight.listener.as_fd();
                process::silence();
                while !broker::is_over(listener) {
                    let _ = process::poll([listener], [0], -1);
                }
                Crew::end(supervisor);
                supervisor.options.sink().flush();
                0
            }
            Err(_) => 1,
        };
        process::exit(code)
    }

    /// How many violations there were so far, repeated ones included.
    pub fn violations(&self) -> u64 {
        self.started.supervisor.violations.load(Ordering::Relaxed)
    }

    /// The exit code that `core/violation/exit_code` asks for after violations; `None`: that of the eldest.
    pub fn violation_exit_code(&self, status: ExitStatus) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt;
        match self.started.supervisor.exit_code.load(Ordering::Relaxed) {
            _ if self.violations() == 0 => None,
            0 => Some(128 | status.code().unwrap_or_else(|| status.signal().unwrap_or(0))),
            code if code > 0 => Some(code),
            _ => None,
        }
    }
}
