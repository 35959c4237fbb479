//! Calls by which a caller becomes somebody else: remembered, and carried out by the kernel.
//!
//! Ids are in registers, and whatever else changes is looked up from then on. Only the list of setgroups(2) is in memory:
//! what the kernel made of it is looked at before anything is done for the caller.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::cx::{Answer, Cx};
use super::states::{Facts, Tagged};
use super::tree;
use super::worker::LOOK_AT_ALL;
use crate::report::{AccessKind, Subject};
use crate::sys::Errno;
use crate::tracee::{Identity, Result, Stop};

/// User ids up to this one, and group ids up to the other, are the system's own (root to operator, root to uucp).
const SYSTEM_UID: u32 = 11;
/// See [`SYSTEM_UID`].
const SYSTEM_GID: u32 = 14;

/// What the registers of a call hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ids {
    Users,
    Groups,
}

/// As many groups as the kernel takes.
const MAX_GROUPS: usize = 65536;

/// The calls, how many registers hold ids, and of which kind. setgroups has them in memory.
const CALLS: &[(&str, u8, Ids)] = &[
    ("setuid", 1, Ids::Users),
    ("setreuid", 2, Ids::Users),
    ("setresuid", 3, Ids::Users),
    ("setfsuid", 1, Ids::Users),
    ("setgid", 1, Ids::Groups),
    ("setregid", 2, Ids::Groups),
    ("setresgid", 3, Ids::Groups),
    ("setfsgid", 1, Ids::Groups),
];

/// A call that changes who the caller is. With `core/restrict/identity_change` it may become a system id only if it
/// is that already.
pub(super) fn identity(cx: &mut Cx<'_>) -> Result<Answer> {
    if !cx.state()?.facts.identity_changed && stays(cx) {
        return Ok(Answer::Continue);
    }
    let mut groups = None;
    if cx.state()?.policy.identity_change && cx.supervisor.options.own.is_some() {
        groups = restrict(cx)?;
    }
    let shares_fs = matches!(cx.row.name, "unshare" | "clone");
    if !shares_fs {
        // Before it is somebody else: its next call is looked at with what that takes.
        cx.supervisor.others.store(true, Ordering::Release);
    }
    let is_guarded = groups.is_some();
    remember(cx, is_guarded, |facts| match shares_fs {
        // umask(2) of one may then be that of another, or not that of its own process.
        true => Facts { umask: None, ..facts },
        false => Facts { identity_changed: true, groups: groups.or(facts.groups.clone()), ..facts },
    })
}

/// prctl(2), of which the table hands over what changes capabilities, and `PR_SET_PDEATHSIG`. The eldest keeps the signal that
/// ends it with the supervisor: it is told that it has another one.
pub(super) fn prctl(cx: &mut Cx<'_>) -> Result<Answer> {
    const SIGNALS: u64 = 64;
    if cx.value_int(0)? != libc::PR_SET_PDEATHSIG as u32 {
        return identity(cx);
    }
    let is_eldest = cx.caller.tgid()?.raw() == cx.supervisor.eldest;
    match cx.value(1)? {
        // Which the kernel says.
        signal if !is_eldest || signal > SIGNALS => Ok(Answer::Continue),
        _ => Ok(Answer::Value(0)),
    }
}

/// Whether the caller, who is who we are, asks to be just that, as programs do that give privileges up without asking
/// whether they have any.
fn stays(cx: &Cx<'_>) -> bool {
    let Some((ids, asked)) = in_registers(cx) else { return false };
    let own = match ids {
        Ids::Users => {
            nix::unistd::getresuid().map(|own| [own.real, own.effective, own.saved].map(|id| id.as_raw()))
        }
        Ids::Groups => {
            nix::unistd::getresgid().map(|own| [own.real, own.effective, own.saved].map(|id| id.as_raw()))
        }
    };
    own.is_ok_and(|own| asked.into_iter().all(|id| id == u32::MAX || own == [id; 3]))
}

/// The call without the 32 that some names have on 32-bit x86, and whether its ids are of 16 bits: those of the calls
/// there that do not have it.
fn name(cx: &Cx<'_>) -> (&'static str, bool) {
    let name = cx.row.name.trim_end_matches("32");
    (name, cx.caller.is_32bit() && name == cx.row.name)
}

/// The ids that the call has in registers; all bits mean "as it is".
fn in_registers(cx: &Cx<'_>) -> Option<(Ids, Vec<u32>)> {
    let (name, short) = name(cx);
    let &(_, count, ids) = CALLS.iter().find(|(call, ..)| *call == name)?;
    Some((ids, (0..count).map(|register| id_of(cx.caller.arg(register) as u32, short)).collect()))
}

/// Refuses system ids. Returns the system's own groups that the caller has, if it is about to choose its groups.
fn restrict(cx: &mut Cx<'_>) -> Result<Option<Arc<[u32]>>> {
    let is_setgroups = name(cx).0 == "setgroups";
    let (ids, asked) = match in_registers(cx) {
        Some(asked) => asked,
        None if is_setgroups => (Ids::Groups, listed(cx)?),
        None => return Ok(None),
    };
    let system = if ids == Ids::Users { SYSTEM_UID } else { SYSTEM_GID };
    let asked: Vec<u32> = asked.into_iter().filter(|id| *id <= system).collect();
    if asked.is_empty() && !is_setgroups {
        return Ok(None);
    }
    let identity = cx.caller.identity()?;
    // What it got itself by an exchange must not count as what it had.
    verify(cx, &identity)?;
    let has = |id: &u32| match ids {
        Ids::Users => identity.uids.contains(id),
        Ids::Groups => identity.gids.contains(id) || is_setgroups && identity.groups.contains(id),
    };
    if let Some(id) = asked.into_iter().find(|id| !has(id)) {
        let what = if ids == Ids::Users { "user" } else { "group" };
        let subject = Subject::Other(format!("{what} {id}"));
        cx.report(AccessKind::Identity, subject, id.to_string(), Errno::EPERM, None, None)?;
        return if cx.supervisor.options.dry_run { Ok(None) } else { Err(Errno::EPERM.into()) };
    }
    let own = identity.groups.iter().chain(&identity.gids).filter(|id| **id <= SYSTEM_GID);
    let remembers = is_setgroups && !cx.supervisor.options.dry_run;
    Ok(remembers.then(|| own.copied().collect()))
}

/// The groups that setgroups(2) lists. The kernel reads them again: [`verify`] makes sure that they were these.
fn listed(cx: &Cx<'_>) -> Result<Vec<u32>> {
    let count = cx.caller.arg(0) as i32;
    // More than there can be, or fewer than none: the kernel says so.
    let Some(count) = usize::try_from(count).ok().filter(|count| *count <= MAX_GROUPS) else {
        return Ok(Vec::new());
    };
    let size = if name(cx).1 { 2 } else { 4 };
    let mut bytes = vec![0; count * size];
    cx.caller.read(cx.caller.arg(1), &mut bytes)?;
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
    Ok(bytes.chunks_exact(size).map(number).collect())
}

/// An id in a register; all bits mean "as it is".
fn id_of(register: u32, short: bool) -> u32 {
    match short {
        true if register as u16 == u16::MAX => u32::MAX,
        true => u32::from(register as u16),
        false => register,
    }
}

/// Whether the caller has no groups but those that it was allowed to choose. Who exchanged them in its memory, between our
/// look and the kernel's, is killed.
pub(super) fn verify(cx: &Cx<'_>, identity: &Identity) -> Result<()> {
    let state = cx.state()?;
    let Some(own) = state.facts.groups.as_ref().filter(|_| state.policy.identity_change) else {
        return Ok(());
    };
    let Some(group) = identity.groups.iter().find(|id| **id <= SYSTEM_GID && !own.contains(id)) else {
        return Ok(());
    };
    let tgid = cx.caller.tgid()?;
    log::warn!("process {tgid} has got itself group {group}, which it was not allowed: it is killed");
    tree::kill(cx.supervisor, tgid);
    Err(Errno::EPERM.into())
}

/// umask(2): remembered, then carried out by the kernel. The mask is in a register, which nobody can change.
pub(crate) fn umask(cx: &mut Cx<'_>) -> Result<Answer> {
    // Each change takes a number, of which others need some as well: who changes it all the time is looked at.
    let known = cx.supervisor.states.are_few().then_some(cx.value_int(0)? & 0o777);
    remember(cx, false, |facts| Facts { umask: facts.umask.and(known), ..facts })
}

/// What cannot be remembered is looked at from now on. `is_guarded`: only what is remembered can be checked, so that the call
/// fails where there is no room for it; where the kernel lets nobody be tagged it goes on.
fn remember(cx: &mut Cx<'_>, is_guarded: bool, change: impl FnOnce(Facts) -> Facts) -> Result<Answer> {
    let changed = cx.change(|present| {
        let facts = change(present.facts.clone());
        let next = (facts != present.facts).then(|| Tagged::new(present.policy.clone(), facts));
        Ok::<_, Errno>((next, ()))
    });
    match changed {
        Ok(Ok(())) => Ok(Answer::Continue),
        Err(Stop::Gone) => Err(Stop::Gone),
        Err(Stop::Errno(errno)) if is_guarded && errno != Errno::ENOTSUP => Err(errno.into()),
        Ok(Err(_)) | Err(_) => {
            LOOK_AT_ALL.store(true, Ordering::Relaxed);
            Ok(Answer::Continue)
        }
    }
}
