//! Calls by which a caller becomes somebody else: remembered, and carried out by the kernel.
//!
//! Nothing in the answer depends on memory: ids are in registers, and whatever else changes is looked up from then on.
#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;

use super::cx::{Answer, Cx};
use super::states::{Facts, Tagged};
use super::worker::LOOK_AT_ALL;
use crate::report::{AccessKind, Subject};
use crate::sys::Errno;
use crate::tracee::{Result, Stop};

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
    if cx.state()?.policy.identity_change && cx.supervisor.options.privileged {
        restrict(cx)?;
    }
    let shares_fs = matches!(cx.row.name, "unshare" | "clone");
    remember(cx, |facts| match shares_fs {
        // umask(2) of one may then be that of another, or not that of its own process.
        true => Facts { umask: None, ..facts },
        false => Facts { identity_changed: true, ..facts },
    })
}

fn restrict(cx: &mut Cx<'_>) -> Result<()> {
    let name = cx.row.name.trim_end_matches("32");
    let Some(&(_, count, ids)) = CALLS.iter().find(|(call, ..)| *call == name) else { return Ok(()) };
    let short = cx.caller.is_32bit() && name == cx.row.name;
    let asked = (0..count).map(|register| {
        let id = cx.caller.arg(register) as u32;
        // The calls of 32-bit x86 without a 32 in their name have ids of 16 bits.
        if !short {
            id
        } else if id as u16 == u16::MAX {
            u32::MAX
        } else {
            u32::from(id as u16)
        }
    });
    let system = if ids == Ids::Users { SYSTEM_UID } else { SYSTEM_GID };
    let asked: Vec<u32> = asked.filter(|id| *id <= system).collect();
    if asked.is_empty() {
        return Ok(());
    }
    let identity = cx.caller.identity()?;
    let has = |id: &u32| match ids {
        Ids::Users => identity.uids.contains(id),
        Ids::Groups => identity.gids.contains(id),
    };
    let Some(id) = asked.into_iter().find(|id| !has(id)) else { return Ok(()) };
    let what = if ids == Ids::Users { "user" } else { "group" };
    let subject = Subject::Other(format!("{what} {id}"));
    cx.report(AccessKind::Identity, subject, id.to_string(), Errno::EPERM, None, None)?;
    if cx.supervisor.options.dry_run { Ok(()) } else { Err(Errno::EPERM.into()) }
}

/// umask(2): remembered, then carried out by the kernel. The mask is in a register, which nobody can change.
pub(crate) fn umask(cx: &mut Cx<'_>) -> Result<Answer> {
    // Each change takes a number, of which others need some as well: who changes it all the time is looked at.
    let known = cx.supervisor.states.are_few().then_some(cx.value_int(0)? & 0o777);
    remember(cx, |facts| Facts { umask: facts.umask.and(known), ..facts })
}

fn remember(cx: &mut Cx<'_>, change: impl FnOnce(Facts) -> Facts) -> Result<Answer> {
    let supervisor = cx.supervisor;
    let changed = supervisor.states.change(&supervisor.sight.proc, cx.caller.call.tid, |present| {
        let facts = change(present.facts.clone());
        let next = (facts != present.facts).then(|| Tagged { policy: present.policy.clone(), facts });
        Ok::<_, Errno>((next, ()))
    });
    match changed {
        Ok(Ok(())) => Ok(Answer::Continue),
        Err(Stop::Gone) => Err(Stop::Gone),
        Ok(Err(_)) | Err(_) => {
            LOOK_AT_ALL.store(true, Ordering::Relaxed);
            Ok(Answer::Continue)
        }
    }
}
