//! State that follows the process tree, carried by the kernel in `RLIMIT_LOCKS`.
//!
//! Every state has a number; a process's number is its limit of file locks, which Linux has ignored since 2.4.25, and
//! which fork, vfork, clone and exec inherit. So nothing has to watch for processes that come and go. Numbers
//! fall, because without privilege a hard limit can only be lowered.
#![forbid(unsafe_code)]

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use super::exec::Approval;
use super::grants::Grants;
use crate::policy::State;
use crate::sys::fs::Proc;
use crate::sys::process;
use crate::sys::{Errno, Pid};
use crate::tracee::{self, Stop};

/// How many numbers a sandbox may hand out: each magic command that changes something takes one.
const NUMBERS: u64 = 1 << 22;

/// What is known of a process beside its policy. Only what it did itself can change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// It may have changed its user, group, groups or capabilities, or those of a thread.
    pub(crate) identity_changed: bool,
    /// The system's own groups that it may have; `None` as long as it did not choose its groups itself.
    pub(crate) groups: Option<Arc<[u32]>>,
    /// Its umask; `None` where it has to be looked up.
    pub(crate) umask: Option<u32>,
    /// An exec was approved, and it has not been seen yet what came of it.
    pub(crate) exec: Option<Arc<Approval>>,
}

/// A policy and facts that have a number.
#[derive(Debug)]
pub(crate) struct Tagged {
    /// What is allowed.
    pub(crate) policy: Arc<State>,
    /// What is known.
    pub(crate) facts: Facts,
    /// Whether the policy allows all that the second lock does, once that was asked.
    allows_grants: OnceLock<bool>,
}

impl Tagged {
    /// A policy and facts that are to get a number.
    pub(crate) fn new(policy: Arc<State>, facts: Facts) -> Self {
        Self { policy, facts, allows_grants: OnceLock::new() }
    }

    /// Whether the policy allows all that the second lock does.
    pub(super) fn allows_grants(&self, grants: &Grants) -> bool {
        *self.allows_grants.get_or_init(|| grants.hold(&self.policy))
    }
}

/// All states of a sandbox.
#[derive(Debug)]
pub(crate) struct States {
    /// The number of the first state.
    base: u64,
    list: RwLock<Vec<Arc<Tagged>>>,
    /// The length of `list`: while it is 1 nobody has to be asked.
    len: AtomicUsize,
    /// Held by whoever changes a process's state. Never held over a call that can block.
    change: Mutex<()>,
}

impl States {
    /// The first state, for the eldest.
    ///
    /// `ERANGE`: the hard limit of file locks that we inherited leaves no room for numbers.
    pub(crate) fn new(policy: State, facts: Facts) -> Result<Self, Errno> {
        let hard = process::own_hard_limit(libc::RLIMIT_LOCKS)?;
        if hard < NUMBERS {
            return Err(Errno::ERANGE);
        }
        // Two sandboxes side by side should not use the same numbers, so that a tree can be told by them.
        let salt = (u64::from(std::process::id()) << 24) ^ u64::from(random());
        let base = hard.min(1 << 62) - if hard >= 1 << 62 { (salt % (1 << 36)) * NUMBERS } else { 0 } - 1;
        let first = Arc::new(Tagged::new(Arc::new(policy), facts));
        Ok(Self { base, list: RwLock::new(vec![first]), len: AtomicUsize::new(1), change: Mutex::new(()) })
    }

    /// Sets what is known of the eldest, before anything runs.
    pub(crate) fn learn(&self, facts: Facts) {
        if let Some(first) = self.list.write().unwrap_or_else(PoisonError::into_inner).first_mut() {
            *first = Arc::new(Tagged::new(first.policy.clone(), facts));
        }
    }

    /// The number of the first state.
    pub(crate) fn first_tag(&self) -> u64 {
        self.base
    }

    /// The state of a process, by any of its threads.
    pub(crate) fn of(&self, proc: &Proc, pid: Pid) -> Result<Arc<Tagged>, Stop> {
        if self.len.load(Ordering::Acquire) == 1 {
            return self.at(0).ok_or(Stop::Errno(Errno::EPERM));
        }
        let tag = tracee::tag(proc, pid)?;
        self.by_tag(tag).ok_or_else(|| {
            log::error!("process {pid} has the unknown state {tag}: its call is refused");
            Stop::Errno(Errno::EPERM)
        })
    }

    /// The state with this number.
    pub(crate) fn by_tag(&self, tag: u64) -> Option<Arc<Tagged>> {
        self.at(usize::try_from(self.base.checked_sub(tag)?).ok()?)
    }

    fn at(&self, index: usize) -> Option<Arc<Tagged>> {
        self.list.read().unwrap_or_else(PoisonError::into_inner).get(index).cloned()
    }

    /// Gives the process of `pid` the state that `next` makes of its present one; `None` leaves it as it is.
    ///
    /// The first error is that of `next`, the second that the kernel did not let the state be set.
    pub(crate) fn change<T, E>(
        &self,
        proc: &Proc,
        pid: Pid,
        next: impl FnOnce(&Tagged) -> Result<(Option<Tagged>, T), E>,
    ) -> Result<Result<T, E>, Stop> {
        let _changing = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let present = self.of(proc, pid)?;
        let (next, value) = match next(&present) {
            Ok(done) => done,
            Err(error) => return Ok(Err(error)),
        };
        let Some(next) = next else { return Ok(Ok(value)) };
        let tag = {
            let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
            let index = list.len() as u64;
            if index >= NUMBERS {
                log::error!(
                    "this sandbox has changed its state {NUMBERS} times, which is as often as it can"
                );
                return Err(Errno::ENOTSUP.into());
            }
            list.push(Arc::new(next));
            self.len.store(list.len(), Ordering::Release);
            self.base - index
        };
        match process::set_limit(pid, libc::RLIMIT_LOCKS, tag) {
            Ok(()) => Ok(Ok(value)),
            Err(Errno::ESRCH) => Err(Stop::Gone),
            Err(errno) => {
                log::warn!(
                    "the state of process {pid} cannot be changed: prlimit: {errno} (as root in a container, \
                     sydbox needs CAP_SYS_RESOURCE for that)"
                );
                Err(Errno::ENOTSUP.into())
            }
        }
    }

    /// Whether there are so few that nobody needs to be sparing with numbers.
    pub(crate) fn are_few(&self) -> bool {
        (self.len.load(Ordering::Acquire) as u64) < NUMBERS >> 6
    }

    /// All numbers that this sandbox has or may hand out.
    pub(crate) fn tags(&self) -> RangeInclusive<u64> {
        self.base - (NUMBERS - 1)..=self.base
    }

    /// Whether a number is one of this sandbox's.
    pub(crate) fn knows(&self, tag: u64) -> bool {
        self.base.checked_sub(tag).is_some_and(|index| index < self.len.load(Ordering::Acquire) as u64)
    }
}

fn random() -> u32 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish() as u32
}
