//! Calls that change how a process runs, and name it by a number: limits, priorities, CPUs, nodes of memory; and the owner
//! of a descriptor, who gets its signals.
//!
//! The kernel carries them out, on processes of the tree only: the supervisor is of the same user, and any of its threads
//! could be starved or stopped so. The number is in a register.
#![forbid(unsafe_code)]

use super::cx::{Answer, Cx};
use super::tree;
use crate::sys::{Errno, Pid, process};
use crate::tracee::Result;

/// prlimit64, setpriority, ioprio_set, sched_setaffinity and their like, of somebody else than 0, the caller.
///
/// A number of the tree could be given up, and become that of a new thread of the supervisor, before the kernel looks: within
/// this call, and with all other numbers used up in between. What is gained then is a supervisor that is slow, or ends; and
/// without one nothing that is mediated is allowed.
pub(super) fn adjust(cx: &mut Cx<'_>) -> Result<Answer> {
    // The kernel finds nobody by a negative number.
    let Some(pid) = Pid::new(cx.value_int(0)? as i32) else { return Ok(Answer::Continue) };
    if is_caller(cx, pid)? || tree::is_ours(cx.supervisor, pid) {
        // What carries the state only seems to be changed, as the filter does it for 0.
        let is_tag = cx.row.name == "prlimit64" && cx.caller.int(1) == libc::RLIMIT_LOCKS as i32;
        return Ok(if is_tag { Answer::Value(0) } else { Answer::Continue });
    }
    // Not left to the kernel: the next thread of the supervisor may be of this number.
    Err(if process::exists(pid) { Errno::EPERM } else { Errno::ESRCH }.into())
}

/// `F_SETOWN`: oneself. A signal to another one, or to a group, would be sent when nobody looks.
pub(super) fn own(cx: &mut Cx<'_>) -> Result<Answer> {
    match Pid::new(cx.value_int(0)? as i32) {
        Some(pid) if is_caller(cx, pid)? => Ok(Answer::Continue),
        _ => Err(Errno::EPERM.into()),
    }
}

/// Whether the number is that of the thread that calls, or of its process: neither can become another's meanwhile.
fn is_caller(cx: &Cx<'_>, pid: Pid) -> Result<bool> {
    Ok(pid == cx.caller.call.tid || pid == cx.caller.tgid()?)
}
