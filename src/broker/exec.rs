//! execve, execveat: judged here, and carried out by the kernel, because nobody else can.
//!
//! So what was judged may be changed before the kernel reads it again. Together with `no_new_privs` nothing is gained
//! by that: what runs then has no more rights than its caller. It does not get far, either: the state carries the
//! identity of the files that were approved, and at the next mediated call whoever runs another one is killed.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::sync::Arc;

use super::cx::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, Answer, Cx};
use super::judge;
use super::states::{Facts, Tagged};
use super::tree;
use crate::policy::{Access, Decision, ExecRule, Lock, Mode, NetMode, State};
use crate::report::{AccessKind, Subject, Violation, arguments};
use crate::resolve::{self, Base, Object, Place};
use crate::sys::fs::Stat;
use crate::sys::{CallerFd, Errno, fs, is_want};
use crate::tracee::{Result, Stop};

/// As many scripts may name each other as the kernel accepts.
const MAX_INTERPRETERS: usize = 5;
/// Of Linux 6.14.
const AT_EXECVE_CHECK: i32 = 0x10000;
/// As much of a file as the kernel looks at (`BINPRM_BUF_SIZE`).
const HEAD: usize = 256;

/// The files that an exec may have led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Approval {
    /// What was approved: the program and its interpreters.
    approved: Vec<(u64, u64)>,
    /// What the process ran before, in case the exec failed.
    before: (u64, u64),
    /// Where its stack began: somewhere else after each exec, so that a program that executes itself is seen to.
    stack: u64,
    /// What was approved runs on with all sandboxing off. Not before it is seen to run: the exec may yet fail.
    resumes: bool,
}

/// execve(2), execveat(2).
pub(super) fn exec(cx: &mut Cx<'_>) -> Result<Answer> {
    let policy = Arc::clone(&cx.state()?.policy);
    let judged = policy.mentions(Access::Exec) || policy.mode(Access::Read) != Mode::Off;
    // The exec of the command itself is how the sandbox starts, and counts for nothing.
    if !judged && policy.lock != Lock::Exec || is_first(cx) {
        return Ok(Answer::Continue);
    }
    let flags = cx.flags();
    if flags & !(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_EXECVE_CHECK) != 0 {
        return Err(Errno::EINVAL.into());
    }
    // Nothing is executed then: the kernel only says whether it would be (Linux 6.14).
    let asks = flags & AT_EXECVE_CHECK != 0;
    let path = cx.path(cx.call.at)?;
    let by_descriptor = path.bytes().is_empty() && flags & AT_EMPTY_PATH != 0;
    let base = match by_descriptor {
        true => Base::descriptor(&cx.caller, cx.dirfd(cx.call.at))?,
        false => cx.base(cx.call.at, path.as_c())?,
    };
    // For interpreters with a relative name.
    let cwd = Base::descriptor(&cx.caller, CallerFd(libc::AT_FDCWD))?;
    let approved = cx.as_caller(|cx| {
        // A shell that looks along its PATH fails often before it succeeds: what does not exist locks nobody.
        let image = match by_descriptor {
            true => resolve::descriptor(&cx.caller, base)?,
            false => resolve::object(&cx.caller, base, path.as_c(), flags & AT_SYMLINK_NOFOLLOW == 0)?,
        };
        if image.stat.is_link() {
            return Err(Errno::ELOOP.into());
        }
        executable(&image)?;
        if !judged {
            return Ok(None);
        }
        approve(cx, image, cwd).map(Some)
    })?;
    if asks {
        return Ok(Answer::Continue);
    }
    match (approved.as_ref().and_then(|approved| approved.rule), approved) {
        (Some(ExecRule::Kill), Some(approved)) => {
            let (tgid, path) = (cx.caller.tgid()?, arguments::path(&approved.path));
            if cx.supervisor.options.dry_run {
                log::warn!("process {tgid} would be killed: it executes {path}");
                return settle(cx, Some(approved), false);
            }
            crate::report::seldom(|| log::warn!("process {tgid} is killed: it executes {path}"));
            tree::kill(cx.supervisor, tgid);
            Err(Errno::EPERM.into())
        }
        (Some(ExecRule::Resume), Some(approved)) => {
            let resumes = may_resume(cx, &approved)?;
            settle(cx, Some(approved), resumes)
        }
        (_, approved) => settle(cx, approved, false),
    }
}

/// Whether a program that matches is let go.
///
/// Not a script: what runs is its interpreter, and that it runs another script by the time the kernel reads the name would
/// not show. Nor with an environment by which the caller would have the program run code of its own; that this is read
/// again, too, is why only those who may be trusted should be able to execute what is resumed.
fn may_resume(cx: &Cx<'_>, program: &Approved) -> Result<bool> {
    let why = match (&program.files[..], lending_variable(cx)?) {
        (_, Some(name)) => {
            format!("{name} in its environment would have code of the sandbox run outside of it")
        }
        ([_], None) if !program.unknown => return Ok(true),
        _ => "a script could be exchanged for another one: only a program is".to_owned(),
    };
    log::warn!("process {} is not resumed by {}: {why}", cx.caller.call.tid, arguments::path(&program.path));
    Ok(false)
}

/// Variables that any program, or any shell, takes code from. Those of interpreters are their own business.
const LENDING: [&str; 10] = [
    "LD_",
    "GLIBC_TUNABLES=",
    "GCONV_PATH=",
    "LOCPATH=",
    "MALLOC_TRACE=",
    "BASH_ENV=",
    "BASH_FUNC_",
    "SHELLOPTS=",
    "PS4=",
    "ENV=",
];

/// The first of [`LENDING`] in the environment that the caller gives to what it executes.
fn lending_variable(cx: &Cx<'_>) -> Result<Option<&'static str>> {
    const LONGEST: usize = 16;
    let width: usize = if cx.caller.is_32bit() { 4 } else { 8 };
    let mut at = cx.value(0)?;
    // Nobody's environment: a null pointer, which the kernel takes for an empty one.
    if at == 0 {
        return Ok(None);
    }
    loop {
        let mut pointer = [0; 8];
        cx.caller.read(at, &mut pointer[..width])?;
        let text = u64::from_le_bytes(pointer);
        if text == 0 {
            return Ok(None);
        }
        let mut start = [0; LONGEST];
        let len = cx.caller.read_some(text, &mut start)?;
        let start = start[..len].split(|byte| *byte == 0).next().unwrap_or_default();
        if let Some(name) = LENDING.into_iter().find(|name| start.starts_with(name.as_bytes())) {
            return Ok(Some(name.trim_end_matches('=')));
        }
        at = at.checked_add(width as u64).ok_or(Errno::EFAULT)?;
    }
}

/// The exec of the command itself, by which the sandbox starts.
fn is_first(cx: &Cx<'_>) -> bool {
    cx.supervisor.eldest == cx.caller.call.tid.raw() && cx.supervisor.is_starting()
}

/// Fails as the kernel does for what cannot be executed by anybody, or not by the caller.
fn executable(image: &Object) -> Result<()> {
    if image.stat.kind() != libc::S_IFREG {
        return Err(Errno::EACCES.into());
    }
    Ok(fs::access(image.fd.as_fd(), libc::X_OK, libc::AT_EACCESS)?)
}

/// What was approved: the path of the program, and the files that may run then. A format that only the kernel knows
/// (binfmt_misc) is started by a program that is configured there, and one that nobody may read says nothing.
struct Approved {
    path: Vec<u8>,
    files: Vec<(u64, u64)>,
    /// To kill counts also for interpreters, of which `path` is then one.
    rule: Option<ExecRule>,
    unknown: bool,
}

/// Judges the program, and the interpreters that the kernel will start for it.
fn approve(cx: &mut Cx<'_>, image: Object, cwd: Base) -> Result<Approved> {
    let policy = Arc::clone(&cx.state()?.policy);
    let (mut path, mut rule) = (Vec::new(), None);
    let mut files = Vec::new();
    let mut image = image;
    for _ in 0..=MAX_INTERPRETERS {
        judge_image(cx, &image, false)?;
        let found = policy.exec_rule(place(&image));
        if files.is_empty() || rule != Some(ExecRule::Kill) && found == Some(ExecRule::Kill) {
            (path, rule) = (place(&image).to_vec(), found);
        }
        files.push(image.stat.id);
        let head = head(&image)?;
        if let Some(name) = script_interpreter(&head) {
            image = find(cx, &cwd, name)?;
            executable(&image)?;
        } else if is_native(&head) {
            match elf_interpreter(&image, &head).map(|name| find(cx, &cwd, &name)) {
                // Every dynamic program needs it: only a rule that names it is meant to stop it.
                Some(Ok(loader)) => judge_image(cx, &loader, true)?,
                Some(Err(Stop::Errno(errno))) if is_want(errno) => return Err(errno.into()),
                Some(Err(_)) | None => {}
            }
            return Ok(Approved { path, files, rule, unknown: false });
        } else {
            return Ok(Approved { path, files, rule, unknown: true });
        }
    }
    Err(Errno::ELOOP.into())
}

fn find(cx: &Cx<'_>, cwd: &Base, name: &[u8]) -> Result<Object> {
    let name = fs::c_string(name)?;
    let base = if name.to_bytes().starts_with(b"/") { Base::Root } else { cwd.duplicate()? };
    resolve::object(&cx.caller, base, &name, true)
}

fn place(object: &Object) -> &[u8] {
    match &object.place {
        Place::At(path) => path.bytes(),
        Place::Own | Place::Foreign => b"a file without a name",
    }
}

fn judge_image(cx: &mut Cx<'_>, image: &Object, only_rules: bool) -> Result<()> {
    cx.may(Access::Read, image, String::new)?;
    let decision = cx.state()?.policy.decide_path(Access::Exec, place(image), None);
    if only_rules && matches!(decision, Decision::Deny { rule: None, .. }) {
        return Ok(());
    }
    match judge::refusal(Access::Exec, decision) {
        None => Ok(()),
        Some(refusal) => cx.refuse(refusal, judge::subject(image), String::new, Errno::EPERM),
    }
}

/// The beginning of a file; nothing where it cannot be read (a program may be executable only).
fn head(image: &Object) -> Result<Vec<u8>> {
    match read(image, 0, HEAD) {
        Err(errno) if is_want(errno) || errno == Errno::EINTR => Err(errno.into()),
        head => Ok(head.unwrap_or_default()),
    }
}

fn read(image: &Object, at: u64, len: usize) -> std::result::Result<Vec<u8>, Errno> {
    use std::os::unix::fs::FileExt;
    let file = fs::reopen_mode(image.fd.as_fd(), (libc::O_RDONLY | libc::O_NONBLOCK) as u64, 0)?;
    let mut bytes = vec![0; len];
    let read = std::fs::File::from(file).read_at(&mut bytes, at);
    let n = read.map_err(|error| crate::sys::errno_of(&error))?;
    bytes.truncate(n);
    Ok(bytes)
}

/// The program that a script's first line names. One whose name does not end in what the kernel looks at is none.
fn script_interpreter(head: &[u8]) -> Option<&[u8]> {
    let text = head.strip_prefix(b"#!")?;
    let line = text.split(|byte| *byte == b'\n').next()?;
    let is_between = |byte: &u8| matches!(byte, b' ' | b'\t' | 0);
    let rest = &line[line.iter().position(|byte| !is_between(byte))?..];
    match rest.iter().position(is_between) {
        Some(end) => Some(&rest[..end]),
        None if head.len() == HEAD && line.len() == text.len() => None,
        None => Some(rest),
    }
}

const EM_386: [u8; 2] = [3, 0];
const EM_486: [u8; 2] = [6, 0];
const EM_X86_64: [u8; 2] = [62, 0];

/// Whether the kernel itself executes it: an ELF program of x86-64 or of 32-bit x86. One of another machine is
/// given to an emulator by binfmt_misc.
fn is_native(head: &[u8]) -> bool {
    const MACHINES: [[u8; 2]; 3] = [EM_386, EM_486, EM_X86_64];
    head.starts_with(b"\x7fELF")
        && head.get(18..20).is_some_and(|machine| MACHINES.iter().any(|m| m == machine))
}

/// The loader that a 64- or 32-bit ELF program of this machine's byte order names.
fn elf_interpreter(image: &Object, head: &[u8]) -> Option<Vec<u8>> {
    const PT_INTERP: u64 = 3;
    // By what the kernel goes, too, which looks at no class: the machine, and the size of a program header.
    let wide = *head.get(18..20)? == EM_X86_64 && *head.get(54..56)? == [56, 0];
    let number = |bytes: &[u8], at: usize, len: usize| -> Option<u64> {
        Some(
            bytes
                .get(at..at.checked_add(len)?)?
                .iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        )
    };
    let (offset, size, count) = match wide {
        true => (number(head, 32, 8)?, number(head, 54, 2)?, number(head, 56, 2)?),
        false => (number(head, 28, 4)?, number(head, 42, 2)?, number(head, 44, 2)?),
    };
    let table = read(image, offset, usize::try_from(size.checked_mul(count)?).ok()?.min(1 << 16)).ok()?;
    let size = usize::try_from(size).ok().filter(|size| *size >= 32)?;
    let header = table.chunks_exact(size).find(|header| number(header, 0, 4) == Some(PT_INTERP))?;
    let (at, len) = match wide {
        true => (number(header, 8, 8)?, number(header, 32, 8)?),
        false => (number(header, 4, 4)?, number(header, 16, 4)?),
    };
    let name = read(image, at, usize::try_from(len).ok()?.min(libc::PATH_MAX as usize)).ok()?;
    Some(name.split(|byte| *byte == 0).next()?.to_vec())
}

/// Locks the caller if it is to be locked, notes what was approved, and lets the kernel do it.
fn settle(cx: &mut Cx<'_>, approved: Option<Approved>, resumes: bool) -> Result<Answer> {
    let before = fs::fstat(cx.supervisor.sight.proc.exe(cx.caller.call.tid)?.as_fd())?.id;
    let stack = cx.caller.stack_start()?;
    cx.caller.check()?;
    if approved.is_none() && cx.state()?.policy.lock != Lock::Exec {
        return Ok(Answer::Continue);
    }
    // What cannot be noted or locked must not run.
    change(cx, |policy, facts| {
        let lock = if policy.lock == Lock::Exec && !resumes { Lock::On } else { policy.lock };
        let exec = approved
            .map(|Approved { files: approved, .. }| Arc::new(Approval { approved, before, stack, resumes }));
        Some((State { lock, ..policy.clone() }, Facts { exec, ..facts }))
    })?;
    Ok(Answer::Continue)
}

/// Gives the caller's process the policy and facts that `next` makes of its own; `None` leaves it as it is.
fn change(cx: &Cx<'_>, next: impl FnOnce(&State, Facts) -> Option<(State, Facts)>) -> Result<()> {
    cx.change(|present| {
        let next = next(&present.policy, present.facts.clone());
        Ok::<_, Stop>((next.map(|(policy, facts)| Tagged::new(policy.into(), facts)), ()))
    })?
}

/// At a call of a process that has executed something: whether it runs what was approved. If not, it is killed. The
/// state that it has then, if that is another one.
pub(super) fn verify(cx: &Cx<'_>, approval: &Arc<Approval>) -> Result<Option<Arc<Tagged>>> {
    let runs = cx.supervisor.sight.proc.exe(cx.caller.call.tid).and_then(|exe| fs::fstat(exe.as_fd()));
    if let Err(errno) = runs
        && is_want(errno)
    {
        return Err(errno.into());
    }
    // Another thread may call while the exec is under way: only its end makes the approval be forgotten.
    let before = match &runs {
        Ok(stat) => approval.before == stat.id && approval.stack == cx.caller.stack_start()?,
        Err(_) => false,
    };
    cx.caller.check()?;
    match runs {
        Ok(_) if before => Ok(None),
        // A program that may be executed and not read.
        Err(Errno::EACCES | Errno::EPERM) if cx.supervisor.options.dry_run => Ok(None),
        Err(Errno::EACCES | Errno::EPERM) => Err(Errno::EPERM.into()),
        // The kernel may start another program for it (binfmt_misc).
        Ok(stat) if approval.approved.contains(&stat.id) || is_allowed(cx, &stat)? => {
            // Of a program that was started for another one nothing tells for which.
            let resumes = approval.resumes && approval.approved.contains(&stat.id);
            let done = change(cx, |policy, facts| {
                // Another exec may have been approved meanwhile.
                facts.exec.as_ref().filter(|exec| Arc::ptr_eq(exec, approval))?;
                let policy = match resumes {
                    true => State {
                        exec: Mode::Off,
                        read: Mode::Off,
                        write: Mode::Off,
                        network: NetMode::Off,
                        ..policy.clone()
                    },
                    false => policy.clone(),
                };
                Some((policy, Facts { exec: None, ..facts }))
            });
            if !resumes {
                return Ok(None);
            }
            if done.is_err() {
                log::warn!("process {} cannot be resumed", cx.caller.call.tid);
            }
            Ok(Some(cx.supervisor.states.of(&cx.supervisor.sight.proc, cx.caller.call.tid)?))
        }
        Ok(_) | Err(_) => {
            let path = running(cx).unwrap_or_default();
            let mut violation =
                Violation::new("execve", AccessKind::Exec, Subject::Path(path.clone()), Errno::EPERM);
            violation.arguments = [&arguments::path(&path), ", which is not what was approved"].concat();
            violation.allow_with = path.starts_with(b"/").then(|| State::allow_hint(Access::Exec, &path));
            cx.tell(violation);
            if cx.supervisor.options.dry_run {
                // Once is enough.
                change(cx, |policy, facts| Some((policy.clone(), Facts { exec: None, ..facts })))?;
                return Ok(None);
            }
            tree::kill(cx.supervisor, cx.caller.tgid()?);
            Err(Errno::EPERM.into())
        }
    }
}

/// The path of the program that the caller runs.
fn running(cx: &Cx<'_>) -> Result<Vec<u8>> {
    let proc = &cx.supervisor.sight.proc;
    let mut path = Vec::new();
    proc.path_of(proc.exe(cx.caller.call.tid)?.as_fd(), &mut path)?;
    Ok(path)
}

/// Whether the rules let the caller execute what it runs.
fn is_allowed(cx: &Cx<'_>, runs: &Stat) -> Result<bool> {
    let path = running(cx)?;
    // What has no name any more has none that a rule can allow.
    let named = fs::c_string(&path).and_then(|name| fs::lstat(fs::cwd(), &name));
    if !named.is_ok_and(|named| named.id == runs.id) {
        return Ok(false);
    }
    // Not by `cx.state`, which asks this.
    let policy = &cx.supervisor.states.of(&cx.supervisor.sight.proc, cx.caller.call.tid)?.policy;
    let may = |access| policy.decide_path(access, &path, None) == Decision::Allow;
    Ok(may(Access::Exec) && may(Access::Read) && policy.exec_rule(&path) != Some(ExecRule::Kill))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_of_scripts() {
        for (head, name) in [
            ("#!/bin/sh\n", Some("/bin/sh")),
            ("#! /usr/bin/env python3\n", Some("/usr/bin/env")),
            ("#!\t/bin/sh", Some("/bin/sh")),
            ("#!\n/bin/sh", None),
            ("#!", None),
            ("# !/bin/sh", None),
            ("", None),
        ] {
            assert_eq!(script_interpreter(head.as_bytes()), name.map(str::as_bytes), "{head:?}");
        }
        // What the kernel has read of a long line.
        let filled =
            |start: &str, end: &str| [start, &"x".repeat(HEAD - start.len() - end.len()), end].concat();
        for (head, name) in [
            (filled("#!/bin/", ""), None),
            (filled("#!/bin/", "\n"), Some(HEAD - 3)),
            (filled("#!/bin/", " "), Some(HEAD - 3)),
            (filled("#!/bin/sh ", "/bin/sh"), Some(7)),
        ] {
            assert_eq!(script_interpreter(head.as_bytes()).map(<[u8]>::len), name, "{head:?}");
        }
    }
}
