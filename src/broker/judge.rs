//! Asking the policy, and reporting what it refuses.
//!
//! The order is the kernel's (golden rule of refusals): a call that would fail anyway for a reason other than
//! permission gets that errno, silently; only then is it a violation.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::bound::Owner;
use super::cx::Cx;
use super::tree;
use crate::gate::Op;
use crate::policy::{Access, Address, Decision, NetMode, NetOp, OnViolation, State};
use crate::report::{AccessKind, Subject, Violation, arguments};
use crate::resolve::{CanonicalPath, Object, Place, process_of};
use crate::sys::fs::Stat;
use crate::sys::{CallerFd, Errno, Pid, route};
use crate::tracee::Result;

/// One end of a socket, to be judged.
#[derive(Clone, Copy)]
pub(crate) struct End<'a> {
    /// `SOCK_STREAM` …: of the socket of the caller's.
    pub(crate) kind: i32,
    /// The address.
    pub(crate) address: &'a Address,
    /// What the address leads to, if it is a path that exists: file system and inode.
    pub(crate) file: Option<(u64, u64)>,
    /// Even an address of this machine can then be somebody else's.
    pub(crate) leaves: Leaves,
}

/// Whether what is sent leaves this machine, whatever the address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// As the address says.
    No,
    /// By this interface, which was named, unless the address is one of its own.
    By(u32),
    /// From another network namespace.
    Elsewhere,
}

/// A refusal, before it is known whether the kernel would have refused as well.
pub(crate) struct Refusal {
    /// What was asked.
    access: Access,
    /// The deny rule, if it was one.
    rule: Option<Arc<str>>,
    /// No filter matched.
    reported: bool,
    /// The rule speaks of something else that would lose its hold: a rule for this path would change nothing.
    holds: bool,
}

impl Cx<'_> {
    /// Whether the policy lets the caller do this at `path`. Also the place where it is made sure, for the last
    /// time before anything is done, that the caller still waits.
    pub(crate) fn check(&self, access: Access, path: &CanonicalPath) -> Result<Option<Refusal>> {
        self.caller.check()?;
        let state = self.state()?;
        let own = self.own_proc(path)?;
        Ok(refusal(access, state.policy.decide_path(access, path.bytes(), own.as_deref())))
    }

    /// As [`Cx::check`], for a pinned object: one without a path is the caller's own, or nobody's to judge.
    pub(crate) fn check_object(&self, access: Access, object: &Object) -> Result<Option<Refusal>> {
        match &object.place {
            Place::At(path) => self.check(access, path),
            Place::Own => self.caller.check().map(|()| None),
            Place::Foreign => {
                self.caller.check()?;
                let off = self.state()?.policy.mode(access) == crate::policy::Mode::Off;
                Ok((!off).then_some(Refusal { access, rule: None, reported: true, holds: false }))
            }
        }
    }

    /// Refuses to write at `path` unless the policy allows it. `native` says which errno the kernel would give
    /// first.
    pub(crate) fn may_write(
        &mut self,
        path: &CanonicalPath,
        details: impl FnOnce() -> String,
        native: impl FnOnce(&Self) -> Option<Errno>,
    ) -> Result<()> {
        match self.check(Access::Write, path)? {
            None => Ok(()),
            Some(refusal) => {
                if let Some(errno) = native(self) {
                    return self.natural(refusal, Subject::Path(path.bytes().to_vec()), details, errno);
                }
                self.refuse(refusal, Subject::Path(path.bytes().to_vec()), details, Errno::EPERM)
            }
        }
    }

    /// Refuses to do this to a pinned object unless the policy allows it.
    pub(crate) fn may(
        &mut self,
        access: Access,
        object: &Object,
        details: impl FnOnce() -> String,
    ) -> Result<()> {
        match self.check_object(access, object)? {
            None => Ok(()),
            Some(refusal) => self.refuse(refusal, subject(object), details, Errno::EPERM),
        }
    }

    /// Refuses with the kernel's own errno: reported only where the state asks for failures or harmless refusals.
    pub(crate) fn natural(
        &mut self,
        refusal: Refusal,
        subject: Subject,
        details: impl FnOnce() -> String,
        errno: Errno,
    ) -> Result<()> {
        let policy = &self.state()?.policy;
        let raise = if errno == Errno::EEXIST { policy.raise_safe } else { policy.raise_fail };
        if raise && refusal.reported {
            self.violation(refusal, subject, details, errno)?;
        }
        Err(errno.into())
    }

    /// Refuses what programs only probe for: reported where the state asks for harmless refusals.
    pub(crate) fn harmless(
        &mut self,
        refusal: Refusal,
        subject: Subject,
        details: impl FnOnce() -> String,
        errno: Errno,
    ) -> Result<()> {
        let reported = refusal.reported && self.state()?.policy.raise_safe;
        self.refuse(Refusal { reported, ..refusal }, subject, details, errno)
    }

    /// Refuses, and reports unless a filter matched. In a dry run it is only reported.
    pub(crate) fn refuse(
        &mut self,
        refusal: Refusal,
        subject: Subject,
        details: impl FnOnce() -> String,
        errno: Errno,
    ) -> Result<()> {
        if refusal.reported {
            self.violation(refusal, subject, details, errno)?;
        }
        if self.supervisor.options.dry_run {
            return Ok(());
        }
        Err(errno.into())
    }

    /// Refuses to bind this end of a socket, or to talk to it, unless the policy allows it. `native` says which errno the
    /// kernel would give first. Also the last look at whether the caller still waits.
    pub(crate) fn may_net(
        &mut self,
        op: NetOp,
        end: &End<'_>,
        fd: CallerFd,
        native: impl FnOnce() -> Option<Errno>,
    ) -> Result<()> {
        self.caller.check()?;
        let supervisor = self.supervisor;
        let policy = &self.state()?.policy;
        let End { kind, address, file, leaves } = *end;
        let gone = Cell::new(false);
        let is_bound = |address: &Address| {
            let near = match leaves {
                Leaves::No => true,
                Leaves::By(link) => is_own_by(link, address),
                Leaves::Elsewhere => false,
            };
            if !near {
                return false;
            }
            let owner = supervisor.bound.owner(self.worker.diag(), kind, address, file);
            gone.set(owner == Owner::Gone);
            owner == Owner::Ours
        };
        // Rules for loopback are not about the machine that has it for its own.
        let astray = leaves != Leaves::No
            && address.is_loopback()
            && matches!(policy.network, NetMode::Deny | NetMode::Local);
        let decision = match astray {
            true => Decision::Deny { rule: None, reported: true },
            false => policy.decide_net(op, address, &is_bound),
        };
        let Decision::Deny { rule, reported } = decision else { return Ok(()) };
        let natural = native().or_else(|| gone.get().then_some(Errno::ECONNREFUSED));
        let raise = policy.raise_fail;
        let errno = natural.unwrap_or(match op {
            NetOp::Bind => Errno::EADDRNOTAVAIL,
            NetOp::Connect => Errno::ECONNREFUSED,
        });
        if reported && (natural.is_none() || raise) {
            let text = address.to_string();
            let way = match leaves {
                Leaves::No => "",
                Leaves::By(_) => ", by an interface",
                Leaves::Elsewhere => ", in another network namespace",
            };
            let arguments = arguments::socket(fd.0, &[text.as_str(), way].concat());
            let hint = if astray { None } else { State::allow_hint_net(op, address) };
            let subject = Subject::Addr(text);
            let access = match op {
                NetOp::Bind => AccessKind::Bind,
                NetOp::Connect => AccessKind::Connect,
            };
            self.report(access, subject, arguments, errno, rule, hint)?;
        }
        if natural.is_none() && supervisor.options.dry_run {
            return Ok(());
        }
        Err(errno.into())
    }

    /// Whether a unix socket of the sandbox has this name.
    pub(crate) fn is_bound_inside(&self, path: &[u8], file: &Stat) -> bool {
        let address = Address::Unix(path.to_vec());
        let owner = |kind| self.supervisor.bound.owner(self.worker.diag(), kind, &address, Some(file.id));
        [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET]
            .into_iter()
            .any(|kind| owner(kind) == Owner::Ours)
    }

    /// The caller's own directory of procfs, where that matters for `path`.
    fn own_proc(&self, path: &CanonicalPath) -> Result<Option<Vec<u8>>> {
        match process_of(path.bytes()) {
            None => Ok(None),
            Some(_) => Ok(Some(format!("/proc/{}", self.caller.tgid()?).into_bytes())),
        }
    }

    /// Reports a violation and does what the state says is to follow.
    fn violation(
        &mut self,
        refusal: Refusal,
        subject: Subject,
        details: impl FnOnce() -> String,
        errno: Errno,
    ) -> Result<()> {
        let access = match refusal.access {
            Access::Exec => AccessKind::Exec,
            Access::Read => AccessKind::Read,
            Access::Write => AccessKind::Write,
        };
        let allow_with = match &subject {
            _ if refusal.holds => refusal.rule.as_deref().map(State::without_hint),
            // What is not below the root no rule can name.
            Subject::Path(path) if path.starts_with(b"/") => Some(State::allow_hint(refusal.access, path)),
            _ => None,
        };
        let arguments = match &subject {
            Subject::Path(path) => [arguments::path(path), details()].join(""),
            Subject::Other(text) => [text.clone(), details()].join(""),
            _ => details(),
        };
        self.report(access, subject, arguments, errno, refusal.rule, allow_with)
    }

    /// Refuses to give a unix socket, or what is in a directory, a name by which it may be connected to though it may not be
    /// by the one that it has.
    pub(crate) fn refuse_name(&mut self, path: &[u8], details: &str, rule: Option<Arc<str>>) -> Result<()> {
        let hint = match &rule {
            Some(rule) => Some(State::without_hint(rule)),
            None => State::allow_hint_net(NetOp::Connect, &Address::Unix(path.to_vec())),
        };
        let arguments = [&arguments::path(path), details].concat();
        let subject = Subject::Path(path.to_vec());
        self.report(AccessKind::Connect, subject, arguments, Errno::EPERM, rule, hint)?;
        if self.supervisor.options.dry_run { Ok(()) } else { Err(Errno::EPERM.into()) }
    }

    /// Fills a report in with what is known of the caller, and does what the state says is to follow.
    pub(crate) fn report(
        &mut self,
        access: AccessKind,
        subject: Subject,
        arguments: String,
        errno: Errno,
        rule: Option<Arc<str>>,
        allow_with: Option<String>,
    ) -> Result<()> {
        let on_violation = self.state()?.policy.on_violation;
        let mut violation = Violation::new(word(self.call.op, self.row.name), access, subject, errno);
        violation.arguments = arguments;
        violation.rule = rule.map(|rule| rule.to_string());
        violation.allow_with = allow_with;
        let tgid = self.tell(violation);
        if !self.supervisor.options.dry_run {
            match on_violation {
                OnViolation::Deny => {}
                OnViolation::Kill => tree::kill(self.supervisor, tgid),
                OnViolation::KillAll => {
                    // Last, so that nobody sees it die; and also where the others cannot be listed for want of descriptors.
                    tree::kill_all(self.supervisor);
                    tree::kill(self.supervisor, tgid);
                }
            }
        }
        Ok(())
    }

    /// Counts a violation and hands it on, with what is known of the caller: whose process is returned.
    pub(crate) fn tell(&self, mut violation: Violation) -> Pid {
        let supervisor = self.supervisor;
        let tgid = self.caller.tgid().unwrap_or(self.caller.call.tid);
        violation.dry_run = supervisor.options.dry_run;
        describe(supervisor, tgid, self.caller.call.tid, &mut violation);
        supervisor.violations.fetch_add(1, Ordering::Relaxed);
        supervisor.options.sink().violation(&violation);
        tgid
    }
}

/// Whether what is sent by the interface to this address comes to this machine.
fn is_own_by(link: u32, address: &Address) -> bool {
    address.ip_target().is_some_and(|(addr, _)| route::is_own(link, addr).unwrap_or(false))
}

/// What a pinned object is called in a report.
pub(crate) fn subject(object: &Object) -> Subject {
    match &object.place {
        Place::At(path) => Subject::Path(path.bytes().to_vec()),
        Place::Own => Subject::Other("a file without a name".into()),
        Place::Foreign => Subject::Other("a file without a name, of another process".into()),
    }
}

/// The refusal in a decision.
pub(crate) fn refusal(access: Access, decision: Decision) -> Option<Refusal> {
    match decision {
        Decision::Allow => None,
        Decision::Deny { rule, reported } => Some(Refusal { access, rule, reported, holds: false }),
    }
}

impl Refusal {
    /// The refusal to do away with what a rule needs to hold.
    pub(crate) fn by_rule(access: Access, rule: Arc<str>) -> Self {
        Self { access, rule: Some(rule), reported: true, holds: true }
    }
}

/// The name of a call without its variants: objects are named by path, so `openat` reads as `open`.
fn word(op: Op, name: &'static str) -> &'static str {
    match op {
        Op::Open | Op::Creat | Op::Openat2 => "open",
        Op::Mkdir => "mkdir",
        Op::Mknod => "mknod",
        Op::Unlink => "unlink",
        Op::Rename => "rename",
        Op::Link => "link",
        Op::Symlink => "symlink",
        Op::Truncate64 => "truncate",
        Op::Chmod => "chmod",
        Op::Chown | Op::Chown16 => "chown",
        Op::Utime | Op::Utimes | Op::Utimensat | Op::UtimensatTime64 => "utime",
        Op::Setxattr | Op::Setxattrat => "setxattr",
        Op::Removexattr => "removexattr",
        Op::Access => "access",
        Op::Exec => "execve",
        _ => name,
    }
}

/// Who it was, as far as it can still be found out.
fn describe(supervisor: &super::Supervisor, tgid: Pid, tid: Pid, violation: &mut Violation) {
    let proc = &supervisor.sight.proc;
    let comm = |pid: Pid| {
        let mut buf = [0; 64];
        proc.read(pid, "comm", &mut buf).map(|text| text.strip_suffix(b"\n").unwrap_or(text).to_vec())
    };
    violation.pid = tgid.raw().unsigned_abs();
    violation.comm = comm(tid).unwrap_or_default();
    violation.cwd = proc.readlink(tid, "cwd").unwrap_or_default();
    let mut status = [0; 4096];
    if let Ok(status) = proc.read(tid, "status", &mut status)
        && let Some(parent) = crate::tracee::parent(status)
    {
        violation.ppid = parent.raw().unsigned_abs();
        violation.parent_comm = comm(parent).unwrap_or_default();
    }
    let mut cmdline = [0; 4096];
    if let Ok(text) = proc.read(tgid, "cmdline", &mut cmdline) {
        let text = text.strip_suffix(b"\0").unwrap_or(text);
        violation.cmdline = text.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    }
}
