//! Signals, where the kernel cannot keep them in the tree: before Linux 6.12.
//!
//! Any thread of the supervisor is a target that ends it, and its threads come and go; so a signal goes to a process of
//! the tree or nowhere. What names one process is in registers and left to the kernel; what names many is done here,
//! process by process.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;

use super::cx::{Answer, Cx};
use super::tree;
use crate::report::{AccessKind, Subject};
use crate::sys::{Errno, Pid, process};
use crate::tracee::{Identity, Result};

/// kill(2), rt_sigqueueinfo(2).
pub(super) fn kill(cx: &mut Cx<'_>) -> Result<Answer> {
    let (pid, signal) = (cx.value_int(0)? as i32, cx.value_int(1)? as i32);
    if cx.row.name != "kill" || pid > 0 {
        return to_one(cx, pid);
    }
    let caller = cx.caller.tgid()?;
    let group = match pid {
        0 => Some(process::getpgid(caller)?),
        -1 => None,
        _ => Some(pid.checked_neg().and_then(Pid::new).ok_or(Errno::ESRCH)?),
    };
    cx.caller.check()?;
    let is_meant = |pid: &Pid| match group {
        None => *pid != caller,
        Some(group) => process::getpgid(*pid) == Ok(group),
    };
    let targets: Vec<Pid> = tree::processes(cx.supervisor).into_iter().filter(is_meant).collect();
    let mut result = Err(Errno::ESRCH);
    // The caller itself last: it may not live to see the others get theirs.
    for pid in
        targets.iter().filter(|pid| **pid != caller).chain(targets.iter().filter(|pid| **pid == caller))
    {
        match send(cx, *pid, signal) {
            Ok(()) => result = Ok(()),
            Err(errno) if result.is_err() => result = Err(errno),
            Err(_) => {}
        }
    }
    result?;
    Ok(Answer::Value(0))
}

/// tkill(2).
pub(super) fn tkill(cx: &mut Cx<'_>) -> Result<Answer> {
    to_one(cx, cx.value_int(0)? as i32)
}

/// tgkill(2), rt_tgsigqueueinfo(2): the kernel makes sure that the thread is the process's.
pub(super) fn tgkill(cx: &mut Cx<'_>) -> Result<Answer> {
    to_one(cx, cx.value_int(1)? as i32)
}

/// pidfd_send_signal(2): on a duplicate, since the caller's descriptor may mean another process a moment later. A
/// directory of procfs, which the kernel takes as well, is refused: it says nothing of its process to us.
pub(super) fn pidfd_send_signal(cx: &mut Cx<'_>) -> Result<Answer> {
    let signal = cx.value_int(0)? as i32;
    if cx.value_int(2)? != 0 {
        // To a thread, or to a group: programs take the flags for those of a newer kernel, and have another way.
        return Err(Errno::EINVAL.into());
    }
    let pidfd = cx.caller.duplicate(cx.dirfd(cx.call.at))?;
    let pid = process::pid_of(pidfd.as_fd())?;
    if !tree::is_ours(cx.supervisor, pid) {
        refuse(cx, pid.raw())?;
        // A dry run: here as well, for the kernel would look again at what the descriptor is.
        may_send(cx, pid)?;
    }
    process::pidfd_send_signal(pidfd.as_fd(), signal)?;
    Ok(Answer::Value(0))
}

/// A signal to one process or thread by its number, which is in a register. A number that comes again meanwhile is
/// no more than a signal to a process that did not exist a moment ago.
fn to_one(cx: &mut Cx<'_>, pid: i32) -> Result<Answer> {
    match Pid::new(pid) {
        Some(pid) if tree::is_ours(cx.supervisor, pid) => Ok(Answer::Continue),
        Some(pid) if process::exists(pid) => refuse(cx, pid.raw()),
        // ESRCH or EINVAL, as the kernel says.
        _ => Ok(Answer::Continue),
    }
}

fn refuse(cx: &mut Cx<'_>, pid: i32) -> Result<Answer> {
    let subject = Subject::Other(format!("process {pid}"));
    cx.report(AccessKind::Signal, subject, pid.to_string(), Errno::EPERM, None, None)?;
    // Nothing is decided any more without the supervisor.
    let is_supervisor = Pid::new(pid).is_some_and(process::is_own_thread);
    if cx.supervisor.options.dry_run && !is_supervisor {
        return Ok(Answer::Continue);
    }
    Err(Errno::EPERM.into())
}

/// Whether the caller may send signals to this process: to those of its own user, if it is not root.
fn may_send(cx: &Cx<'_>, pid: Pid) -> std::result::Result<(), Errno> {
    const CAP_KILL: u64 = 1 << 5;
    if !cx.differs().unwrap_or(true) {
        return Ok(());
    }
    let (from, to) = (cx.caller.identity(), cx.caller.identity_of(pid));
    let may = |from: &Identity, to: &Identity| {
        from.caps & CAP_KILL != 0 || from.uids[..2].iter().any(|uid| *uid == to.uids[0] || *uid == to.uids[2])
    };
    match (from, to) {
        (Ok(from), Ok(to)) if may(&from, &to) => Ok(()),
        _ => Err(Errno::EPERM),
    }
}

/// Sends as the caller may.
fn send(cx: &Cx<'_>, pid: Pid, signal: i32) -> std::result::Result<(), Errno> {
    let pidfd = process::pidfd_open(pid)?;
    may_send(cx, pid)?;
    // Pinned first, then looked at.
    if !tree::is_ours(cx.supervisor, pid) {
        return Err(Errno::ESRCH);
    }
    process::pidfd_send_signal(pidfd.as_fd(), signal)
}
