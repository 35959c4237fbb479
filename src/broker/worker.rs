//! A thread that works for callers: with their identity (I5) and their umask.
#![forbid(unsafe_code)]

use std::cell::OnceCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::crew;
use super::cx::Cx;
use super::states::Tagged;
use crate::sys::creds::{self, Caps, Own};
use crate::sys::diag::Diag;
use crate::sys::{Errno, Pid, fs, is_want, process};
use crate::tracee::{Identity, Result};

/// Set when a caller's change of identity could not be written into its state: from then on everybody is looked at.
pub(super) static LOOK_AT_ALL: AtomicBool = AtomicBool::new(false);
/// Guards the umask of the process, where threads cannot have their own (unshare refused by a container's filter).
static UMASK: Mutex<()> = Mutex::new(());

/// What a thread needs to work for callers.
pub(crate) struct Worker {
    /// Whether umask and working directory are the thread's own.
    own_fs: bool,
    umask: Option<u32>,
    own: Option<Own>,
    /// The thread.
    pub(crate) tid: Pid,
    /// Whether what is [`KEPT`] is in force.
    raised: bool,
    /// What the kernel is asked about sockets by. `None`: it cannot be asked.
    diag: OnceCell<Option<Diag>>,
    /// The thread could not become itself again and must end.
    pub(crate) spoilt: bool,
}

/// Capabilities that workers keep though the tree lost them: to look at callers of other users, and to tag them. They are
/// in force only once there can be such callers, and never while something is done for one.
const KEPT: u64 = 1 << 19 | 1 << 24; // CAP_SYS_PTRACE, CAP_SYS_RESOURCE

impl Worker {
    /// Makes the calling thread one that works for callers. `own`: who we are, if callers may differ from us.
    pub(crate) fn new(own: Option<&Own>, dropped_caps: u64) -> Result<Self> {
        let own_fs = fs::unshare_fs().is_ok();
        let own = own.map(|own| settle(own, dropped_caps)).transpose()?;
        Ok(Self {
            own_fs,
            umask: None,
            own,
            diag: OnceCell::new(),
            tid: process::gettid(),
            raised: false,
            spoilt: false,
        })
    }

    /// Whether the thread has a working directory of its own, to be changed as it likes.
    pub(crate) fn has_own_cwd(&self) -> bool {
        self.own_fs
    }

    /// What the kernel is asked about sockets by. `None`: it has nothing of the kind. An error: there is no room now, which
    /// callers can bring about, and which must not look like that.
    pub(crate) fn diag(&self) -> std::result::Result<Option<&Diag>, Errno> {
        if let Some(diag) = self.diag.get() {
            return Ok(diag.as_ref());
        }
        let opened = match Diag::open() {
            Ok(diag) => Some(diag),
            Err(errno) if is_want(errno) => return Err(errno),
            Err(_) => None,
        };
        Ok(self.diag.get_or_init(|| opened).as_ref())
    }

    /// Puts in force what is needed to look at callers that differ from us.
    pub(crate) fn expect_others(&mut self) {
        if !self.raised {
            self.set_raised(true);
        }
    }

    fn set_raised(&mut self, raised: bool) {
        let Some(own) = &self.own else { return };
        let effective = own.caps.permitted & if raised { u64::MAX } else { !KEPT };
        match creds::capset(Caps { effective, ..own.caps }) {
            Ok(()) => self.raised = raised,
            Err(errno) => {
                log::error!("a thread of the supervisor cannot change its capabilities: {errno}; it ends");
                self.spoilt = true;
            }
        }
    }

    fn become_caller(&mut self, identity: &Identity, uid: u32, gid: u32) -> Result<()> {
        let Some(own) = &self.own else { return Ok(()) };
        creds::setgroups(&identity.groups)?;
        creds::setfsgid(gid)?;
        creds::setfsuid(uid)?;
        creds::capset(Caps { effective: own.caps.permitted & identity.caps, ..own.caps })?;
        Ok(())
    }

    /// As [`Worker::become_caller`], with the effective ids as well: those that the other end of a socket sees.
    fn become_peer(&mut self, identity: &Identity) -> Result<()> {
        let Some(own) = &self.own else { return Ok(()) };
        creds::setgroups(&identity.groups)?;
        creds::seteids(identity.fsuid, identity.fsgid)?;
        creds::capset(Caps { effective: own.caps.permitted & identity.caps, ..own.caps })?;
        Ok(())
    }

    fn become_self(&mut self) {
        let Some(own) = &self.own else { return };
        if let Err(errno) = own.take_on() {
            log::error!("a thread of the supervisor cannot take its identity back: {errno}; it ends");
            self.spoilt = true;
        }
    }
}

/// What the calling thread comes back to: all in force that workers may have. It starts without what is [`KEPT`].
fn settle(own: &Own, dropped: u64) -> Result<Own> {
    own.inherit()?;
    let permitted = own.caps.permitted & (!dropped | KEPT);
    let caps = Caps { effective: permitted, permitted, inheritable: 0 };
    creds::capset(Caps { effective: permitted & !KEPT, ..caps })?;
    Ok(Own { caps, ..own.clone() })
}

impl Cx<'_> {
    /// `EAGAIN` where a call that waits for another process would leave nobody to serve that.
    pub(crate) fn may_wait(&self) -> Result<()> {
        if crew::relieve(self.supervisor) {
            return Ok(());
        }
        crate::report::seldom(|| {
            log::warn!("no further thread can be started: a call that would wait is refused")
        });
        Err(Errno::EAGAIN.into())
    }

    /// Does `run` with the credentials of the caller. Its memory and descriptors are to be looked at before.
    pub(crate) fn as_caller<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.with_identity(|identity| (identity.fsuid, identity.fsgid), run)
    }

    /// As [`Cx::as_caller`], for calls by which another process learns who we are: it must see the caller.
    pub(crate) fn as_peer<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if !self.differs()? {
            return self.with_less(run);
        }
        let identity = self.caller.identity()?;
        super::identity::verify(self, &identity)?;
        let became = self.worker.become_peer(&identity);
        let result = became.and_then(|()| run(self));
        self.worker.become_self();
        result
    }

    /// As [`Cx::as_caller`], with the real ids: what access(2) asks about.
    pub(crate) fn as_real_caller<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.with_identity(|identity| (identity.uid, identity.gid), run)
    }

    /// Whether the caller may differ from us in more than its umask.
    pub(crate) fn differs(&self) -> Result<bool> {
        if self.supervisor.options.own.is_none() {
            return Ok(false);
        }
        Ok(LOOK_AT_ALL.load(Ordering::Relaxed) || self.state()?.facts.identity_changed)
    }

    /// Does `run` without what the tree does not have, for a caller that is who we are.
    fn with_less<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if !self.worker.raised {
            return run(self);
        }
        self.worker.set_raised(false);
        if self.worker.spoilt {
            return Err(Errno::EPERM.into());
        }
        let result = run(self);
        self.worker.set_raised(true);
        result
    }

    fn with_identity<T>(
        &mut self,
        ids: impl FnOnce(&Identity) -> (u32, u32),
        run: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        if !self.differs()? {
            return self.with_less(run);
        }
        let identity = self.caller.identity()?;
        super::identity::verify(self, &identity)?;
        let (uid, gid) = ids(&identity);
        let became = self.worker.become_caller(&identity, uid, gid);
        let result = became.and_then(|()| run(self));
        self.worker.become_self();
        result
    }

    /// Gives the caller's process the state that `next` makes of its present one: see [`States::change`].
    ///
    /// [`States::change`]: super::states::States::change
    pub(crate) fn change<T, E>(
        &self,
        next: impl FnOnce(&Tagged) -> std::result::Result<(Option<Tagged>, T), E>,
    ) -> Result<std::result::Result<T, E>> {
        let supervisor = self.supervisor;
        supervisor.states.change(&supervisor.sight.proc, self.caller.call.tid, |tag| self.tag(tag), next)
    }

    /// Sets the number of the caller's state. For a process of another user this takes CAP_SYS_RESOURCE, which root in a
    /// container has not, or its own ids as real ones.
    fn tag(&self, tag: u64) -> std::result::Result<(), Errno> {
        let set = || process::set_limit(self.caller.call.tid, libc::RLIMIT_LOCKS, tag);
        match set() {
            Err(Errno::EPERM) if self.worker.own.is_some() => {}
            done => return done,
        }
        let Ok(Identity { uids: [uid, euid, suid, _], gids: [gid, egid, sgid, _], .. }) =
            self.caller.identity()
        else {
            return Err(Errno::EPERM);
        };
        // Nobody has the ids of somebody who is half of another.
        if [euid, suid] != [uid; 2] || [egid, sgid] != [gid; 2] {
            return Err(Errno::EPERM);
        }
        process::set_limit_as((uid, gid), self.caller.call.tid, libc::RLIMIT_LOCKS, tag)
    }

    /// Does `run`, which creates something, under the umask of the caller.
    pub(crate) fn with_umask<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> Result<T> {
        let mask = match self.state()?.facts.umask {
            Some(mask) if !LOOK_AT_ALL.load(Ordering::Relaxed) => mask,
            _ => self.caller.identity()?.umask,
        };
        if self.worker.own_fs {
            if self.worker.umask != Some(mask) {
                process::umask(mask);
                self.worker.umask = Some(mask);
            }
            return Ok(run(self));
        }
        let _alone = UMASK.lock().unwrap_or_else(PoisonError::into_inner);
        let old = process::umask(mask);
        let result = run(self);
        process::umask(old);
        Ok(result)
    }
}
