//! State that follows the process tree, carried by the kernel in `RLIMIT_LOCKS`.
//!
//! Every state has a number; a process's number is its limit of file locks, which Linux has ignored since 2.4.25, and
//! which fork, vfork, clone and exec inherit. So nothing has to watch for processes that come and go. Numbers
//! fall, because without privilege a hard limit can only be lowered; none is used twice.
//!
//! States that no process carries any more are forgotten when there have become many (`States::sweep`), and the rules of
//! those that are left may take only so much memory ([`MAX_WEIGHT`]): hostile programs change states all the time.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use super::exec::Approval;
use super::grants::Grants;
use crate::policy::State;
use crate::report;
use crate::sys::fs::Proc;
use crate::sys::process;
use crate::sys::{Errno, Pid, is_want};
use crate::tracee::{self, Stop};

/// How many numbers a sandbox may hand out: each magic command that changes something takes one. At a hundred thousand a
/// second they last for a week.
const NUMBERS: u64 = 1 << 36;
/// With fewer numbers than this there is no sandbox.
const FEWEST_NUMBERS: u64 = 1 << 22;
/// So many states are kept before those that nobody has are looked for.
const MANY: usize = 1024;
/// How much the rules of all states may weigh (see `State::weight`): about bytes of memory.
const MAX_WEIGHT: usize = 512 << 20;

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
    /// The number of the first state. A state's index is how much lower its number is.
    base: u64,
    /// How many numbers there are.
    room: u64,
    /// By index, ascending.
    list: RwLock<Vec<(u64, Arc<Tagged>)>>,
    /// How many numbers were handed out: while it is 1 nobody has to be asked.
    issued: AtomicU64,
    /// Held by whoever changes a process's state. Never held over a call that can block.
    change: Mutex<Upkeep>,
}

/// When to look for states that nobody has.
#[derive(Debug)]
struct Upkeep {
    /// At this length of the list.
    at: usize,
    /// What the rules of the states in the list weigh, those that share them counted once.
    weight: usize,
}

impl States {
    /// The first state, for the eldest.
    ///
    /// `ERANGE`: the hard limit of file locks that we inherited leaves no room for numbers.
    pub(crate) fn new(policy: State, facts: Facts) -> Result<Self, Errno> {
        let hard = process::own_hard_limit(libc::RLIMIT_LOCKS)?;
        if hard < FEWEST_NUMBERS {
            return Err(Errno::ERANGE);
        }
        // Two sandboxes side by side should not use the same numbers, so that a tree can be told by them.
        let salt = (u64::from(std::process::id()) << 16) ^ u64::from(random());
        let base = hard.min(1 << 62) - if hard >= 1 << 62 { (salt % (1 << 25)) * NUMBERS } else { 0 } - 1;
        let change = Upkeep { at: MANY, weight: policy.weight() };
        let first = Arc::new(Tagged::new(Arc::new(policy), facts));
        Ok(Self {
            base,
            room: NUMBERS.min(hard),
            list: RwLock::new(vec![(0, first)]),
            issued: AtomicU64::new(1),
            change: Mutex::new(change),
        })
    }

    /// Sets what is known of the eldest, before anything runs.
    pub(crate) fn learn(&self, facts: Facts) {
        if let Some((_, first)) = self.list.write().unwrap_or_else(PoisonError::into_inner).first_mut() {
            *first = Arc::new(Tagged::new(first.policy.clone(), facts));
        }
    }

    /// The number of the first state.
    pub(crate) fn first_tag(&self) -> u64 {
        self.base
    }

    /// The state of a process, by any of its threads.
    pub(crate) fn of(&self, proc: &Proc, pid: Pid) -> Result<Arc<Tagged>, Stop> {
        if self.issued.load(Ordering::Acquire) == 1 {
            return self.at(0).ok_or(Stop::Errno(Errno::EPERM));
        }
        let mut last = None;
        loop {
            let tag = tracee::tag(proc, pid)?;
            if let Some(state) = self.by_tag(tag) {
                return Ok(state);
            }
            if last == Some(tag) {
                report::seldom(|| {
                    log::error!("process {pid} has the unknown state {tag}: its call is refused")
                });
                return Err(Stop::Errno(Errno::EPERM));
            }
            // Another thread may have changed it meanwhile, and the old one been forgotten.
            last = Some(tag);
        }
    }

    /// The state with this number.
    pub(crate) fn by_tag(&self, tag: u64) -> Option<Arc<Tagged>> {
        self.at(self.base.checked_sub(tag)?)
    }

    fn at(&self, index: u64) -> Option<Arc<Tagged>> {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        let at = list.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        Some(Arc::clone(&list[at].1))
    }

    /// Gives the process of `pid`, by `tag`, the state that `next` makes of its present one; `None` leaves it as it is.
    ///
    /// The first error is that of `next`, the second that the kernel did not let the state be set.
    pub(crate) fn change<T, E>(
        &self,
        proc: &Proc,
        pid: Pid,
        tag: impl FnOnce(u64) -> Result<(), Errno>,
        next: impl FnOnce(&Tagged) -> Result<(Option<Tagged>, T), E>,
    ) -> Result<Result<T, E>, Stop> {
        // Before the lock, and so dropped after it: rules by the hundred thousand take a while to free.
        let mut forgotten = Vec::new();
        let mut upkeep = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let present = self.of(proc, pid)?;
        let (next, value) = match next(&present) {
            Ok(done) => done,
            Err(error) => return Ok(Err(error)),
        };
        let Some(next) = next else { return Ok(Ok(value)) };
        let weight = match next.policy.shares_lists_of(&present.policy) {
            true => 0,
            false => next.policy.weight(),
        };
        let len = self.list.read().unwrap_or_else(PoisonError::into_inner).len();
        if len >= upkeep.at || upkeep.weight.saturating_add(weight) > MAX_WEIGHT {
            // Without it there would be ever more states.
            forgotten.extend(self.sweep(proc, &mut upkeep)?);
        }
        if upkeep.weight.saturating_add(weight) > MAX_WEIGHT {
            report::seldom(|| {
                log::error!(
                    "the rules of the processes of this sandbox would need more than {MAX_WEIGHT} bytes: fewer are needed"
                );
            });
            return Err(Errno::ENOSPC.into());
        }
        let index = self.issued.load(Ordering::Acquire);
        if index >= self.room {
            report::seldom(|| {
                log::error!("this sandbox has changed its state {index} times, which is as often as it can");
            });
            return Err(Errno::ENOSPC.into());
        }
        upkeep.weight += weight;
        self.list.write().unwrap_or_else(PoisonError::into_inner).push((index, Arc::new(next)));
        self.issued.store(index + 1, Ordering::Release);
        match tag(self.base - index) {
            Ok(()) => Ok(Ok(value)),
            Err(Errno::ESRCH) => Err(Stop::Gone),
            Err(errno) => {
                report::seldom(|| {
                    log::warn!(
                        "the state of process {pid} cannot be changed: prlimit: {errno} (as root in a container, \
                         sydbox needs CAP_SYS_RESOURCE for that)"
                    );
                });
                Err(Errno::ENOTSUP.into())
            }
        }
    }

    /// Whether there are so few that nobody needs to be sparing with numbers.
    pub(crate) fn are_few(&self) -> bool {
        self.issued.load(Ordering::Acquire) < self.room >> 6
    }

    /// All numbers that this sandbox has or may hand out.
    pub(crate) fn tags(&self) -> RangeInclusive<u64> {
        self.base - (self.room - 1)..=self.base
    }

    /// Whether a number is one of this sandbox's.
    pub(crate) fn knows(&self, tag: u64) -> bool {
        self.base.checked_sub(tag).is_some_and(|index| index < self.issued.load(Ordering::Acquire))
    }

    /// Forgets the states that no process has. Nobody's number changes meanwhile, but processes come and go.
    ///
    /// All are looked at twice: one that is born behind the place that was reached, of a parent that is gone before it
    /// is reached, is seen the second time. Whoever manages to be overlooked both times has a number that means nothing
    /// from then on, and is refused everything.
    ///
    /// Returns what was forgotten, to be dropped when nobody waits. Forgets nothing where it cannot look.
    fn sweep(&self, proc: &Proc, upkeep: &mut Upkeep) -> Result<Vec<(u64, Arc<Tagged>)>, Errno> {
        let mut carried = HashSet::new();
        for _ in 0..2 {
            for pid in process::all()? {
                let pid = pid?;
                match tracee::tag(proc, pid) {
                    Ok(tag) => carried.extend(self.base.checked_sub(tag)),
                    Err(Stop::Errno(errno)) if is_want(errno) => return Err(errno),
                    // Gone, or none of ours.
                    Err(_) => {}
                }
            }
        }
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        let forgotten;
        (*list, forgotten) = list.drain(..).partition(|(index, _)| carried.contains(index));
        let mut seen = HashSet::new();
        let lists = list.iter().filter(|(_, state)| seen.insert(state.policy.lists_id()));
        *upkeep = Upkeep {
            weight: lists.map(|(_, state)| state.policy.weight()).sum(),
            at: MANY.max(list.len() * 2),
        };
        Ok(forgotten)
    }
}

fn random() -> u32 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish() as u32
}
