//! One call in the broker's hands: its arguments, its caller's state, and how to name its objects.
#![forbid(unsafe_code)]

use std::cell::OnceCell;
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::states::Tagged;
use super::supervisor::Supervisor;
use super::worker::Worker;
use crate::gate::{At, Call, Row};
use crate::resolve::{self, Base, Entry, Object};
use crate::sys::seccomp::Notification;
use crate::sys::{CallerFd, Errno};
use crate::tracee::{Caller, CallerPath, Result};

/// What a caller is told when its call did not fail.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The call returns this value.
    Value(i64),
    /// The call returns a new descriptor of this file.
    Descriptor {
        /// The file.
        fd: OwnedFd,
        /// Whether the caller's descriptor is close-on-exec.
        cloexec: bool,
        /// The name that was made for it: to be removed where the caller cannot have the descriptor.
        made: Option<Entry>,
    },
    /// The kernel is to carry the call out. Only where nothing that the caller can change was looked at (I1).
    Continue,
}

/// One call.
pub(crate) struct Cx<'a> {
    /// The sandbox.
    pub(crate) supervisor: &'a Arc<Supervisor>,
    /// Who calls.
    pub(crate) caller: Caller<'a>,
    /// What is called.
    pub(crate) row: &'static Row,
    /// Where its arguments are.
    pub(crate) call: &'static Call,
    /// The thread that works for the caller.
    pub(crate) worker: &'a mut Worker,
    /// How far it has come: also when another crew left it.
    pub(crate) begun: Begun,
    state: OnceCell<Arc<Tagged>>,
}

/// What of a call that sends is done already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Begun {
    /// Messages that were sent as a whole.
    pub(crate) messages: u32,
    /// Bytes of the next one.
    pub(crate) bytes: u64,
}

/// Flags of the `*at` calls.
pub(crate) const AT_EMPTY_PATH: i32 = libc::AT_EMPTY_PATH;
/// Flags of the `*at` calls.
pub(crate) const AT_SYMLINK_NOFOLLOW: i32 = libc::AT_SYMLINK_NOFOLLOW;

impl<'a> Cx<'a> {
    /// The call of this notification.
    pub(crate) fn new(
        supervisor: &'a Arc<Supervisor>,
        worker: &'a mut Worker,
        notification: Notification,
        row: &'static Row,
        call: &'static Call,
    ) -> Self {
        let caller = Caller::new(&supervisor.sight, notification);
        Self { supervisor, caller, row, call, worker, begun: Begun::default(), state: OnceCell::new() }
    }

    /// The state of the caller when it was first asked for.
    pub(crate) fn state(&self) -> Result<&Arc<Tagged>> {
        if let Some(state) = self.state.get() {
            return Ok(state);
        }
        let state = self.supervisor.states.of(&self.supervisor.sight.proc, self.caller.call.tid)?;
        let resumed = match &state.facts.exec {
            Some(approval) => super::exec::verify(self, approval)?,
            None => None,
        };
        Ok(self.state.get_or_init(|| resumed.unwrap_or(state)))
    }

    /// The register that the table says holds the value, or one of those after it.
    pub(crate) fn value_register(&self, after: u8) -> Result<u8> {
        Ok(self.call.value.ok_or(Errno::ENOSYS)?.checked_add(after).ok_or(Errno::ENOSYS)?)
    }

    /// The value, or the argument `after` it, at full width.
    pub(crate) fn value(&self, after: u8) -> Result<u64> {
        Ok(self.caller.arg(self.value_register(after)?))
    }

    /// The value, or the argument `after` it, as an `unsigned int`.
    pub(crate) fn value_int(&self, after: u8) -> Result<u32> {
        Ok(self.value(after)? as u32)
    }

    /// The flags; 0 for calls that have none.
    pub(crate) fn flags(&self) -> i32 {
        self.call.flags.map_or(0, |register| self.caller.int(register))
    }

    /// The directory descriptor: `AT_FDCWD` for calls that have none.
    pub(crate) fn dirfd(&self, at: At) -> CallerFd {
        at.dirfd.map_or(CallerFd(libc::AT_FDCWD), |register| self.caller.fd(register))
    }

    /// Reads the path of `at`.
    pub(crate) fn path(&self, at: At) -> Result<CallerPath> {
        self.caller.path(self.caller.arg(at.path.ok_or(Errno::ENOSYS)?))
    }

    /// Where the path of `at` begins.
    pub(crate) fn base(&self, at: At, path: &CStr) -> Result<Base> {
        Base::new(&self.caller, self.dirfd(at), path)
    }

    /// Reads the second path and pins where it begins: where the first does, if both are below the same directory.
    pub(crate) fn second(&self, first: &Base) -> Result<(CallerPath, Base)> {
        let path = self.path(self.call.to)?;
        let same = self.dirfd(self.call.at) == self.dirfd(self.call.to);
        let base = match (first, path.bytes().first()) {
            (Base::Dir(_), Some(start)) if same && *start != b'/' => first.duplicate()?,
            _ => self.base(self.call.to, path.as_c())?,
        };
        Ok((path, base))
    }

    /// Reads and pins the existing object that the call names: by path, or by descriptor where the call takes one
    /// or the path is empty and the flags say so. `run` then works on it as the caller.
    pub(crate) fn with_object<T>(
        &mut self,
        flags: i32,
        run: impl FnOnce(&mut Self, Object) -> Result<T>,
    ) -> Result<T> {
        let at = self.call.at;
        let follow = !self.call.nofollow && flags & AT_SYMLINK_NOFOLLOW == 0;
        if at.path.is_none() {
            // fchmod and its like fail on a descriptor that only names a file.
            let fd = self.dirfd(at);
            let base = Base::Dir(self.caller.file(fd)?.0);
            return self.on_descriptor(base, run);
        }
        let path = self.path(at)?;
        if path.bytes().is_empty() && flags & AT_EMPTY_PATH != 0 {
            let base = Base::descriptor(&self.caller, self.dirfd(at))?;
            return self.on_descriptor(base, run);
        }
        let base = self.base(at, path.as_c())?;
        self.as_caller(|cx| {
            let object = resolve::object(&cx.caller, base, path.as_c(), follow)?;
            run(cx, object)
        })
    }

    /// Works on the object of a descriptor as the caller.
    pub(crate) fn on_descriptor<T>(
        &mut self,
        base: Base,
        run: impl FnOnce(&mut Self, Object) -> Result<T>,
    ) -> Result<T> {
        self.as_caller(|cx| {
            let object = resolve::descriptor(&cx.caller, base)?;
            run(cx, object)
        })
    }
}
