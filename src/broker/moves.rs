//! What moves along with a name: whatever is below a directory, where a link leads, who listens on a socket.
//!
//! Rules speak of paths, so nothing may be taken out of their hold, or put where they say that it may not come to be. That
//! depends on what the name is of, and nothing holds a name: so it is looked at by who holds [`Names`] alone, and whatever
//! gives a name to what has something below it, or moves, holds it as well, together with others.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError, TryLockResult};
use std::thread;
use std::time::Duration;

use super::cx::Cx;
use super::entries::bare;
use super::judge::{self, Refusal};
use crate::policy::{Access, Decision, NetMode, State};
use crate::report::{Subject, arguments};
use crate::resolve::{CanonicalPath, Entry};
use crate::sys::fs::{self, Stat};
use crate::sys::{Errno, listing};
use crate::tracee::Result;

/// A directory with more than this in it moves to where sockets may be connected to only if nothing can be in it.
const MOST: usize = 65_536;

/// Names of what has something below it, or leads to it.
#[derive(Debug, Default)]
pub(crate) struct Names(RwLock<()>);

/// Held by who gives a name, together with others, or by who looks first, alone.
pub(super) struct Held<'s> {
    _together: Option<RwLockReadGuard<'s, ()>>,
    _alone: Option<RwLockWriteGuard<'s, ()>>,
}

impl Names {
    /// Waits until names may be given, or looked at `alone`. `EBUSY` if somebody else's call does not end.
    pub(super) fn hold<'s>(cx: &Cx<'s>, alone: bool) -> Result<Held<'s>> {
        let names = &cx.supervisor.names.0;
        let take = || match alone {
            true => free(names.try_write()).map(|held| Held { _together: None, _alone: Some(held) }),
            false => free(names.try_read()).map(|held| Held { _together: Some(held), _alone: None }),
        };
        if let Some(held) = take() {
            return Ok(held);
        }
        cx.may_wait()?;
        // In no queue: one call that a file system does not answer would hold up all that come later.
        for turn in 0..1000 {
            match turn {
                0..100 => thread::yield_now(),
                _ => thread::sleep(Duration::from_millis(1)),
            }
            if let Some(held) = take() {
                cx.caller.check()?;
                return Ok(held);
            }
        }
        Err(Errno::EBUSY.into())
    }
}

fn free<G>(lock: TryLockResult<G>) -> Option<G> {
    match lock {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Whether it can matter what moves from one place to the other.
pub(super) fn depends_on_kind(policy: &State, from: &CanonicalPath, to: &CanonicalPath) -> bool {
    let (from, to) = (from.bytes(), to.bytes());
    let frees =
        |decide: &dyn Fn(&[u8]) -> Decision| decide(from) != Decision::Allow && decide(to) == Decision::Allow;
    [Access::Write, Access::Read].into_iter().any(|access| {
        policy.deny_below(access, from).is_some()
            || policy.deny_below(access, to).is_some()
            || frees(&|path| policy.decide_path(access, path, None))
            || frees(&|path| policy.decide_below(access, path, None))
    }) || policy.network != NetMode::Off
        && (policy.deny_unix_below(from).is_some()
            || frees(&|path| policy.decide_unix(path))
            || policy.decide_unix_below(from) != Decision::Allow && policy.can_allow_unix_below(to))
}

/// What is there now.
fn look(entry: &Entry) -> Option<Stat> {
    fs::lstat(entry.dir.as_fd(), &bare(entry)).ok()
}

/// Whether something can be below it.
fn has_content(stat: &Option<Stat>) -> bool {
    stat.as_ref().is_some_and(|stat| stat.is_dir() || stat.is_link())
}

/// Refuses to rename what takes something out of the hold of rules, or brings it to where they deny it.
pub(super) fn keep(cx: &mut Cx<'_>, from: &Entry, to: &Entry, exchange: bool) -> Result<()> {
    let (old, new) = (look(from), look(to));
    anchor(cx, from, || old, exchange && has_content(&new))?;
    anchor(cx, to, || new, has_content(&old))?;
    content(cx, from, &old, to)?;
    if exchange {
        content(cx, to, &new, from)?;
    }
    // For the last time, after all that.
    cx.caller.check()
}

/// Refuses to move or remove a directory above something that a deny rule names: the rule speaks of a path, and
/// would lose its hold. `filled`: a directory or a link is put there, and with it whatever is below that: a write of
/// what the rule names, even where nothing is there yet.
pub(super) fn keep_anchors(cx: &mut Cx<'_>, entry: &Entry, filled: bool) -> Result<()> {
    anchor(cx, entry, || look(entry), filled)
}

fn anchor(cx: &mut Cx<'_>, entry: &Entry, look: impl FnOnce() -> Option<Stat>, filled: bool) -> Result<()> {
    let policy = &cx.state()?.policy;
    let below =
        |access| policy.deny_below(access, entry.path.bytes()).map(|rule| Refusal::by_rule(access, rule));
    let write = below(Access::Write);
    let fills = filled && write.is_some();
    let Some(refusal) = write.or_else(|| below(Access::Read)) else { return Ok(()) };
    // What is not there, or has nothing below it, takes nothing along.
    if !fills && !has_content(&look()) {
        return Ok(());
    }
    let subject = Subject::Path(entry.path.bytes().to_vec());
    let details = || ", which is above what a rule denies".to_owned();
    cx.refuse(refusal, subject, details, Errno::EPERM)
}

/// What moves takes its content along: what may not be read or written where it was must not become so where it goes.
fn content(cx: &mut Cx<'_>, from: &Entry, stat: &Option<Stat>, to: &Entry) -> Result<()> {
    let Some(stat) = stat else { return Ok(()) };
    let policy = cx.state()?.policy.clone();
    for access in [Access::Write, Access::Read] {
        let decide = |entry: &Entry| match stat.is_dir() {
            true => policy.decide_below(access, entry.path.bytes(), None),
            false => policy.decide_path(access, entry.path.bytes(), None),
        };
        if let (Some(refusal), Decision::Allow) = (judge::refusal(access, decide(from)), decide(to)) {
            let subject = Subject::Path(from.path.bytes().to_vec());
            let details = || format!(", whose content is denied, to {}", arguments::path(to.path.bytes()));
            cx.refuse(refusal, subject, details, Errno::EPERM)?;
        }
    }
    match stat.is_dir() {
        true => keep_sockets_below(cx, from, to.path.bytes()),
        false => keep_socket(cx, from.path.bytes(), stat, to.path.bytes()),
    }
}

/// What may not be connected to by the name that it has must not get another one by which it may.
pub(super) fn keep_socket(cx: &mut Cx<'_>, from: &[u8], stat: &Stat, to: &[u8]) -> Result<()> {
    let policy = &cx.state()?.policy;
    if policy.network == NetMode::Off || stat.kind() != libc::S_IFSOCK {
        return Ok(());
    }
    let (Decision::Deny { rule, .. }, Decision::Allow) = (policy.decide_unix(from), policy.decide_unix(to))
    else {
        return Ok(());
    };
    if rule.is_none() && cx.is_bound_inside(from, stat) {
        return Ok(());
    }
    cx.refuse_name(from, ", which may not be connected to", rule)
}

/// The same of all sockets below a directory; and it must not be taken from above sockets that a rule names.
fn keep_sockets_below(cx: &mut Cx<'_>, from: &Entry, to: &[u8]) -> Result<()> {
    let policy = cx.state()?.policy.clone();
    if policy.network == NetMode::Off {
        return Ok(());
    }
    let dir = from.path.bytes();
    if let Some(rule) = policy.deny_unix_below(dir) {
        return cx.refuse_name(dir, ", which is above sockets that a rule denies", Some(rule));
    }
    if policy.decide_unix_below(dir) == Decision::Allow || !policy.can_allow_unix_below(to) {
        return Ok(());
    }
    let mut sockets = Vec::new();
    let whole = listing::sockets_below(from.dir.as_fd(), &bare(from), MOST, |path, stat| {
        sockets.push((path.to_vec(), *stat));
    });
    if whole == Err(Errno::EINTR) {
        return Err(Errno::EINTR.into());
    }
    if whole.is_err() {
        // Nobody can say what may come to be connected to.
        return cx.refuse_name(dir, ", which cannot be searched for sockets", None);
    }
    let below = |dir: &[u8], path: &[u8]| [dir, b"/", path].concat();
    sockets.iter().try_for_each(|(path, stat)| keep_socket(cx, &below(dir, path), stat, &below(to, path)))
}
