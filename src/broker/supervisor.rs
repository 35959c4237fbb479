//! What all threads of a supervisor share.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::bound::Bound;
use super::crew::Crew;
use super::cx::Begun;
use super::grants::Grants;
use super::moves::Names;
use super::states::States;
use super::watch::Watch;
use crate::magic::Arming;
use crate::policy::State;
use crate::report::Sink;
use crate::sys::child::Message;
use crate::sys::creds::Own;
use crate::sys::seccomp::Notification;
use crate::sys::{CallerFd, Errno, Pid, process};
use crate::tracee::Sight;

/// What was settled before the sandbox started.
pub(crate) struct Options {
    /// Decide and report, and refuse nothing.
    pub(crate) dry_run: bool,
    /// What the filter traps, and so what can be switched on.
    pub(crate) arming: Arming,
    /// Who we are, if we have capabilities or are root, so that callers can differ from us.
    pub(crate) own: Option<Own>,
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
    /// Who gives names, and who looks at them.
    pub(crate) names: Names,
    /// Addresses that processes of the sandbox were bound to.
    pub(crate) bound: Bound,
    /// Whether callers may be somebody else than we are: from the first one that changes who it is.
    pub(crate) others: AtomicBool,
    /// Calls that wait while one crew hands over to another, and how far they have come.
    pub(crate) unanswered: Mutex<Vec<(Notification, Begun)>>,
    /// Violations so far.
    pub(crate) violations: AtomicU64,
    /// The process that was spawned.
    pub(crate) eldest: i32,
    /// `core/trace/exit_wait_all`: of the sandbox, whoever sets it.
    pub(crate) wait_all: AtomicBool,
    /// `core/violation/exit_code`: of the sandbox, whoever sets it.
    pub(crate) exit_code: AtomicI32,
    starting: Mutex<Option<Starting>>,
    started: AtomicBool,
}

/// The hand-shake with an eldest that has not executed its command yet.
pub(crate) struct Starting {
    /// Our end of the socket.
    pub(crate) ours: OwnedFd,
    /// The number that the eldest knows the other end by, until it executes its command.
    pub(crate) number: CallerFd,
    /// Which file that is.
    pub(crate) id: (u64, u64),
}

impl Supervisor {
    /// A supervisor for the tree below `eldest`.
    pub(crate) fn new(
        sight: Sight,
        states: States,
        options: Options,
        eldest: Pid,
        starting: Starting,
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
            names: Names::default(),
            bound: Bound::default(),
            unanswered: Mutex::default(),
            violations: AtomicU64::new(0),
            eldest: eldest.raw(),
            wait_all: AtomicBool::new(true),
            exit_code: AtomicI32::new(-1),
            starting: Mutex::new(Some(starting)),
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
        if let Some(starting) = &*self.starting.lock().unwrap_or_else(PoisonError::into_inner) {
            // If the child is dead by now, that shows elsewhere.
            let _ = nix::unistd::write(&starting.ours, &[0]);
        }
    }

    /// What the eldest said after it was let go on: why it did not get as far as its exec.
    pub(crate) fn last_message(&self) -> Option<Message> {
        let starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = starting.as_ref()?.ours.as_fd();
        let [events] = process::poll([ours], [libc::POLLIN], 0).ok()?;
        (events & libc::POLLIN != 0).then(|| Message::receive(ours))?.map(|(message, _)| message)
    }

    /// Whether the eldest has not executed its command yet. Its first exec is ours and counts for nothing.
    pub(crate) fn is_starting(&self) -> bool {
        if self.started.load(Ordering::Acquire) {
            return false;
        }
        let mut starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        // The exec closes the socket. That nobody has it any more is not enough: what this process forked at the same time has
        // a copy of it. Nor is what the descriptor is: in billions of sockets the same number comes again.
        let is_open = starting.as_ref().is_some_and(|starting| {
            let hung_up = process::poll([starting.ours.as_fd()], [libc::POLLIN], 0);
            let eldest = Pid::new(self.eldest).ok_or(Errno::ESRCH);
            let file = eldest.and_then(|eldest| self.sight.proc.fd_id(eldest, starting.number));
            hung_up.is_ok_and(|[events]| events == 0) && file == Ok(starting.id)
        });
        if !is_open {
            *starting = None;
            self.started.store(true, Ordering::Release);
        }
        is_open
    }
}
