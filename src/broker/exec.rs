//! execve, execveat: the kernel must do it itself, so here is only what follows from it for the caller's state.
#![forbid(unsafe_code)]

use super::cx::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, Answer, Cx};
use super::states::Tagged;
use crate::policy::{Lock, State};
use crate::resolve::{self, Base};
use crate::sys::Errno;
use crate::tracee::Result;

/// execve(2), execveat(2).
pub(super) fn exec(cx: &mut Cx<'_>) -> Result<Answer> {
    if cx.state()?.policy.lock != Lock::Exec || is_first(cx) {
        return Ok(Answer::Continue);
    }
    // A shell that looks along its PATH fails often before it succeeds: what does not exist locks nobody.
    exists(cx)?;
    let supervisor = cx.supervisor;
    let locked = supervisor.states.change(&supervisor.sight.proc, cx.caller.call.tid, |present| {
        let policy = State { lock: Lock::On, ..(*present.policy).clone() };
        Ok::<_, Errno>((Some(Tagged { policy: policy.into(), facts: present.facts }), ()))
    })?;
    // What cannot be locked must not run unlocked.
    locked?;
    Ok(Answer::Continue)
}

/// The exec of the command itself, which is how the sandbox starts.
fn is_first(cx: &Cx<'_>) -> bool {
    cx.supervisor.eldest == cx.caller.call.tid.raw() && cx.supervisor.is_starting()
}

/// Fails as the exec will, where there is nothing to execute.
fn exists(cx: &mut Cx<'_>) -> Result<()> {
    let flags = cx.flags();
    let path = cx.path(cx.call.at)?;
    if path.bytes().is_empty() && flags & AT_EMPTY_PATH != 0 {
        return Ok(());
    }
    let base: Base = cx.base(cx.call.at, path.as_c())?;
    cx.as_caller(|cx| {
        resolve::object(&cx.caller, base, path.as_c(), flags & AT_SYMLINK_NOFOLLOW == 0).map(|_| ())
    })
}
