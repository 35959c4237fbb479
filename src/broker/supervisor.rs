//! What all threads of a supervisor share.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::bound::Bound;
use super::crew::Crew;
use super::grants::Grants;
use super::states::States;
use super::watch::Watch;
use crate::magic::Arming;
use crate::policy::State;
use crate::report::Sink;
use crate::sys::process;
use crate::sys::seccomp::Notification;
use crate::tracee::Sight;

/// What was settled before the sandbox started.
pub(crate) struct Options {
    /// Decide and report, and refuse nothing.
    pub(crate) dry_run: bool,
    /// What the filter traps, and so what can be switched on.
    pub(crate) arming: Arming,
    /// Whether the process has capabilities or is root, so that callers can differ from it.
    pub(crate) privileged: bool,
    /// Capabilities that the tree does not have.
    pub(crate) dropped_caps: u64,
    /// Whether the second lock is there.
    pub(crate) backstop: bool,
    /// What it lets the kernel open.
    pub(crate) grants: Grants,
    /// Whether this process is to become non-dumpable.
    pub(crate) shield: bool,
    /// Whether calls on sockets that cannot be duplicated are judged and left to the kernel.
    pub(crate) unsafe_connect: bool,
    /// Where violations go.
    pub(crate) sink: Mutex<Arc<dyn Sink>>,
}

impl Options {
    /// Where violations go.
    pub(crate) fn sink(&self) -> Arc<dyn Sink> {
        Arc::clone(&self.sink.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One sandbox in operation.
pub(crate) struct Supervisor {
    /// How callers are looked at.
    pub(crate) sight: Sight,
    /// Their states.
    pub(crate) states: States,
    /// What was settled before.
    pub(crate) options: Options,
    /// The threads.
    pub(crate) crew: Crew,
    /// Who is in a call that may block.
    pub(crate) watch: Watch,
    /// Addresses that processes of the sandbox were bound to.
    pub(crate) bound: Bound,
    /// Whether callers may be somebody else than we are: from the first one that changes who it is.
    pub(crate) others: AtomicBool,
    /// Calls that wait while one crew hands over to another.
    pub(crate) unanswered: Mutex<Vec<Notification>>,
    /// Violations so far.
    pub(crate) violations: AtomicU64,
    /// The process that was spawned.
    pub(crate) eldest: i32,
    /// `core/trace/exit_wait_all`: of the sandbox, whoever sets it.
    pub(crate) wait_all: AtomicBool,
    /// `core/violation/exit_code`: of the sandbox, whoever sets it.
    pub(crate) exit_code: AtomicI32,
    /// Our end of the socket whose other end closes when the eldest has executed its command.
    starting: Mutex<Option<OwnedFd>>,
    started: AtomicBool,
}

impl Supervisor {
    /// A supervisor for the tree below `eldest`.
    pub(crate) fn new(
        sight: Sight,
        states: States,
        options: Options,
        eldest: i32,
        socket: OwnedFd,
        first: &State,
    ) -> Self {
        let others = states.by_tag(states.first_tag()).is_none_or(|first| first.facts.identity_changed);
        let supervisor = Self {
            others: AtomicBool::new(others),
            sight,
            states,
            options,
            crew: Crew::default(),
            watch: Watch::default(),
            bound: Bound::default(),
            unanswered: Mutex::default(),
            violations: AtomicU64::new(0),
            eldest,
            wait_all: AtomicBool::new(true),
            exit_code: AtomicI32::new(-1),
            starting: Mutex::new(Some(socket)),
            started: AtomicBool::new(false),
        };
        supervisor.adopt(None, first);
        supervisor
    }

    /// Takes over what in a state is of the whole sandbox, as far as it differs from the state before.
    pub(crate) fn adopt(&self, before: Option<&State>, state: &State) {
        if before.is_none_or(|before| before.exit_wait_all != state.exit_wait_all) {
            self.wait_all.store(state.exit_wait_all, Ordering::Relaxed);
        }
        if before.is_none_or(|before| before.exit_code != state.exit_code) {
            self.exit_code.store(state.exit_code, Ordering::Relaxed);
        }
    }

    /// Lets the eldest go on: the listener is in good hands.
    pub(crate) fn acknowledge(&self) {
        if let Some(socket) = &*self.starting.lock().unwrap_or_else(PoisonError::into_inner) {
            // If the child is dead by now, that shows elsewhere.
            let _ = nix::unistd::write(socket, &[0]);
        }
    }

    /// Whether the eldest has not executed its command yet. Its first exec is ours and counts for nothing.
    pub(crate) fn is_starting(&self) -> bool {
        use std::os::fd::AsFd;
        if self.started.load(Ordering::Acquire) {
            return false;
        }
        let mut starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        let hung_up = match &*starting {
            None => true,
            Some(socket) => {
                process::poll([socket.as_fd()], [libc::POLLIN], 0).is_ok_and(|[events]| events != 0)
            }
        };
        if hung_up {
            *starting = None;
            self.started.store(true, Ordering::Release);
        }
        !hung_up
    }
}
