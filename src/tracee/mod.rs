//! Looking at and into the caller: its memory, descriptors, directories and credentials.
//!
//! Whatever comes from here is hostile. Everything is of the *thread* that waits in the call: descriptor table,
//! working directory, umask and credentials can differ from its leader's, and the leader may be gone.
#![forbid(unsafe_code)]

mod identity;
mod limits;

use std::cell::Cell;
use std::ffi::CStr;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub(crate) use identity::{Identity, leader, parent, state, status_mask, threads};
pub(crate) use limits::{Limit, all as all_limits, limit};

use crate::sys::fs::{self, Proc};
use crate::sys::memory::Access;
use crate::sys::seccomp::{self, Notification};
use crate::sys::{CallerFd, Errno, Pid, process};

/// Bytes of a page of the machine: reads of unknown length end at a page's boundary.
const PAGE: u64 = 4096;
const PATH_MAX: usize = libc::PATH_MAX as usize;

/// The number of a process's state, which the kernel carries in `RLIMIT_LOCKS`.
pub(crate) fn tag(proc: &Proc, pid: Pid) -> Result<u64> {
    limit(proc, pid, Limit::Locks)
}

/// Credentials, groups and umask of a thread, as they are now.
pub(crate) fn identity_of(proc: &Proc, tid: Pid) -> Result<Identity> {
    // Groups: up to 65536 of at most 11 bytes.
    let mut small = [0; 4096];
    let text = proc.read(tid, "status", &mut small)?;
    let identity = if text.len() < 4096 {
        Identity::parse(text)
    } else {
        let mut large = vec![0; 1 << 20];
        Identity::parse(proc.read(tid, "status", &mut large)?)
    };
    Ok(identity.ok_or(Errno::EPERM)?)
}

/// What is the same for all callers of a sandbox.
#[derive(Debug)]
pub(crate) struct Sight {
    /// The listener.
    pub(crate) listener: OwnedFd,
    /// `/proc`.
    pub(crate) proc: Proc,
    /// How memory is reached.
    pub(crate) memory: Access,
    /// The numbers of states by which processes of the tree are known.
    pub(crate) tags: RangeInclusive<u64>,
}

impl Sight {
    /// Whether a process, named by any of its threads, is of the tree. One that is gone is of no interest, and counts.
    pub(crate) fn is_of_tree(&self, pid: Pid) -> bool {
        match tag(&self.proc, pid) {
            Ok(tag) => self.tags.contains(&tag),
            Err(stop) => stop == Stop::Gone,
        }
    }
}

/// Why a call is not answered with a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The call fails with this errno. `EINTR`: or begins again, as the signal's handler asks for.
    Errno(Errno),
    /// A signal ended the call for good: `EINTR`, whatever its handler asks for.
    Interrupted,
    /// The caller does not wait any more: nothing is to be done, and nobody to be told.
    Gone,
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// What it means that a process cannot be found or looked at: not always that there is none.
fn unless_gone(errno: Errno) -> Stop {
    if matches!(errno, Errno::ESRCH | Errno::ENOENT) { Stop::Gone } else { Stop::Errno(errno) }
}

/// A result that can also be that the caller is gone.
pub(crate) type Result<T> = std::result::Result<T, Stop>;

/// Nearly all paths are shorter: so much is read at first, and moved from hand to hand.
const SHORT: usize = 256;

/// A path as the caller wrote it: read once, at most `PATH_MAX` bytes with the NUL.
pub(crate) struct CallerPath {
    short: [u8; SHORT],
    /// All of it, if it is not short.
    long: Vec<u8>,
    len: usize,
}

impl CallerPath {
    /// The path without its NUL.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer()[..self.len]
    }

    /// The path with its NUL.
    pub(crate) fn as_c(&self) -> &CStr {
        CStr::from_bytes_until_nul(self.buffer()).unwrap_or(c"")
    }

    fn buffer(&self) -> &[u8] {
        if self.long.is_empty() { &self.short } else { &self.long }
    }
}

/// The thread that waits in one call.
pub(crate) struct Caller<'s> {
    /// What is the same for all.
    pub(crate) sight: &'s Sight,
    /// The call.
    pub(crate) call: Notification,
    tgid: Cell<Option<Pid>>,
}

impl<'s> Caller<'s> {
    /// The caller of this notification.
    pub(crate) fn new(sight: &'s Sight, call: Notification) -> Self {
        Self { sight, call, tgid: Cell::new(None) }
    }

    /// The listener.
    pub(crate) fn listener(&self) -> BorrowedFd<'s> {
        self.sight.listener.as_fd()
    }

    /// Whether the call was made in the 32-bit ABI of x86.
    pub(crate) fn is_32bit(&self) -> bool {
        self.call.arch == crate::gate::AUDIT_ARCH_I386
    }

    /// The argument in this register: 32 bits of it where the ABI has no more.
    pub(crate) fn arg(&self, index: u8) -> u64 {
        let value = self.call.args.get(usize::from(index)).copied().unwrap_or(0);
        if self.is_32bit() { u64::from(value as u32) } else { value }
    }

    /// The argument as the kernel takes an `int` or `unsigned int`: its low half.
    pub(crate) fn int(&self, index: u8) -> i32 {
        self.arg(index) as i32
    }

    /// The argument as a descriptor number of the caller's.
    pub(crate) fn fd(&self, index: u8) -> CallerFd {
        CallerFd(self.int(index))
    }

    /// Whether the caller still waits. To be asked after the last look at it and before anything is done:
    /// only then was all that was seen really its own, and not of a process that got its number.
    pub(crate) fn check(&self) -> Result<()> {
        if seccomp::id_valid(self.listener(), self.call.id) { Ok(()) } else { Err(Stop::Gone) }
    }

    /// Reads exactly `buf.len()` bytes.
    pub(crate) fn read(&self, addr: u64, buf: &mut [u8]) -> Result<()> {
        match self.read_some(addr, buf)? {
            n if n == buf.len() => Ok(()),
            _ => Err(Errno::EFAULT.into()),
        }
    }

    /// Reads up to `buf.len()` bytes, fewer where memory ends.
    pub(crate) fn read_some(&self, addr: u64, buf: &mut [u8]) -> Result<usize> {
        self.sight.memory.read(self.call.tid, addr, buf).map_err(|errno| match errno {
            Errno::ESRCH => Stop::Gone,
            // Not dumpable, or of another user: what cannot be read cannot be allowed.
            Errno::EPERM | Errno::EACCES => {
                crate::report::seldom(|| {
                    log::warn!(
                        "the memory of process {} cannot be read ({errno}), and its call is refused: \
                         its program may be executed and not read, or it is another user's",
                        self.call.tid
                    )
                });
                Stop::Errno(Errno::EPERM)
            }
            errno => Stop::Errno(errno),
        })
    }

    /// Writes `bytes`, all of them.
    pub(crate) fn write(&self, addr: u64, bytes: &[u8]) -> Result<()> {
        Ok(self.sight.memory.write(self.call.tid, addr, bytes)?)
    }

    /// Reads the path at `addr`. `ENAMETOOLONG` without a NUL in `PATH_MAX` bytes, `EFAULT` as the kernel.
    pub(crate) fn path(&self, addr: u64) -> Result<CallerPath> {
        let mut path = CallerPath { short: [0; SHORT], long: Vec::new(), len: 0 };
        path.len = match self.text(addr, &mut path.short)? {
            Some(len) => len,
            None => {
                path.long = [&path.short[..], &[0; PATH_MAX - SHORT]].concat();
                let rest = addr.checked_add(SHORT as u64).ok_or(Errno::EFAULT)?;
                SHORT + self.text(rest, &mut path.long[SHORT..])?.ok_or(Errno::ENAMETOOLONG)?
            }
        };
        Ok(path)
    }

    /// Reads a NUL-terminated text into `buf` and returns its length; `None` where it does not fit.
    pub(crate) fn text(&self, addr: u64, buf: &mut [u8]) -> Result<Option<usize>> {
        let mut len = 0;
        while len < buf.len() {
            let here = addr.checked_add(len as u64).ok_or(Errno::EFAULT)?;
            // To the end of the page: what is behind it need not be mapped.
            let chunk = ((PAGE - here % PAGE) as usize).min(buf.len() - len);
            self.read(here, &mut buf[len..len + chunk])?;
            if let Some(nul) = buf[len..len + chunk].iter().position(|byte| *byte == 0) {
                return Ok(Some(len + nul));
            }
            len += chunk;
        }
        Ok(None)
    }

    /// The process that the calling thread belongs to.
    pub(crate) fn tgid(&self) -> Result<Pid> {
        if let Some(tgid) = self.tgid.get() {
            return Ok(tgid);
        }
        let mut buf = [0; 4096];
        let tgid =
            identity::leader(self.sight.proc.read(self.call.tid, "status", &mut buf)?).ok_or(Stop::Gone)?;
        self.check()?;
        self.tgid.set(Some(tgid));
        Ok(tgid)
    }

    /// Credentials, groups and umask of the calling thread, as they are now.
    pub(crate) fn identity(&self) -> Result<Identity> {
        let identity = self.identity_of(self.call.tid)?;
        self.check()?;
        Ok(identity)
    }

    /// The same of another thread.
    pub(crate) fn identity_of(&self, tid: Pid) -> Result<Identity> {
        identity_of(&self.sight.proc, tid)
    }

    /// A soft limit of the caller's process.
    pub(crate) fn limit(&self, which: Limit) -> Result<u64> {
        limit(&self.sight.proc, self.call.tid, which)
    }

    /// `EMFILE` where the caller could not get another descriptor: the kernel says so before it creates anything.
    pub(crate) fn has_free_descriptor(&self) -> Result<()> {
        let limit = self.limit(Limit::OpenFiles)?;
        let (proc, tid) = (&self.sight.proc, self.call.tid);
        // Before Linux 6.2 the count is 0, and the caller learns too late.
        match proc.count_fds(tid) {
            Ok(count) if count >= limit => {}
            _ => return Ok(()),
        }
        // Some of them may have numbers above a limit that was lowered.
        match (0..limit.min(4096) as i32).any(|number| !proc.has_fd(tid, CallerFd(number))) {
            true => Ok(()),
            false => Err(Errno::EMFILE.into()),
        }
    }

    /// The controlling terminal of the caller's session, as a device number.
    pub(crate) fn terminal(&self) -> Result<Option<u64>> {
        let mut buf = [0; 1024];
        let text = self.sight.proc.read(self.call.tid, "stat", &mut buf)?;
        Ok(identity::terminal(text).filter(|device| *device != 0))
    }

    /// Whether another process has the caller's state.
    pub(crate) fn has_state_of(&self, pid: Pid) -> Result<bool> {
        Ok(tag(&self.sight.proc, pid)? == tag(&self.sight.proc, self.call.tid)?)
    }

    /// Where the stack of the calling process began: another place after each exec.
    pub(crate) fn stack_start(&self) -> Result<u64> {
        let mut buf = [0; 1024];
        let text = self.sight.proc.read(self.call.tid, "stat", &mut buf)?;
        Ok(identity::stack_start(text).ok_or(Errno::EPERM)?)
    }

    /// Pins the working directory.
    pub(crate) fn cwd(&self) -> Result<OwnedFd> {
        Ok(self.sight.proc.cwd(self.call.tid)?)
    }

    /// Pins what a descriptor of the caller refers to.
    pub(crate) fn descriptor(&self, fd: CallerFd) -> Result<OwnedFd> {
        Ok(self.sight.proc.fd(self.call.tid, fd)?)
    }

    /// A directory of the caller's, to look up names below: its own descriptor where that can be had, for a third of what
    /// pinning costs. What is no directory is good for nothing there.
    pub(crate) fn directory(&self, fd: CallerFd) -> Result<OwnedFd> {
        Ok(self.own_or_pinned(fd)?.0)
    }

    /// The caller's own open file, and `true`, where it can be had; else it is only pinned.
    fn own_or_pinned(&self, fd: CallerFd) -> Result<(OwnedFd, bool)> {
        match self.duplicate(fd) {
            Err(Stop::Errno(Errno::EPERM)) => Ok((self.descriptor(fd)?, false)),
            other => Ok((other?, true)),
        }
    }

    /// What a descriptor of the caller's refers to, for a call that only an open file serves: `EBADF` where it was opened
    /// with `O_PATH`. `true`: it is the caller's own open file.
    pub(crate) fn file(&self, fd: CallerFd) -> Result<(OwnedFd, bool)> {
        let (file, own) = self.own_or_pinned(fd)?;
        let path_only = if own { fs::is_path_only(file.as_fd())? } else { self.is_path_only(fd)? };
        if path_only { Err(Errno::EBADF.into()) } else { Ok((file, own)) }
    }

    fn is_path_only(&self, fd: CallerFd) -> Result<bool> {
        let mut buf = [0; 1024];
        let text = self.sight.proc.read(self.call.tid, &format!("fdinfo/{}", fd.0), &mut buf)?;
        let flags = identity::field(text, "flags:").and_then(|flags| std::str::from_utf8(flags).ok());
        let flags = flags.and_then(|flags| i64::from_str_radix(flags.trim(), 8).ok()).ok_or(Errno::EBADF)?;
        Ok(flags & i64::from(libc::O_PATH) != 0)
    }

    /// A duplicate of a descriptor of the caller: the same open file description. `EPERM` where that cannot be had.
    pub(crate) fn duplicate(&self, fd: CallerFd) -> Result<OwnedFd> {
        if fd.0 < 0 {
            return Err(Errno::EBADF.into());
        }
        let duplicate = match process::duplicate_of_thread(self.call.tid, fd) {
            Err(Errno::EINVAL) => self.duplicate_of_leader(fd)?,
            // Filters refuse calls by either.
            Err(Errno::ENOSYS | Errno::EACCES) => return Err(Errno::EPERM.into()),
            other => other.map_err(unless_gone)?,
        };
        self.check()?;
        Ok(duplicate)
    }

    /// Before Linux 6.9 a pidfd names a process: right for a thread only if it shares the leader's table.
    fn duplicate_of_leader(&self, fd: CallerFd) -> Result<OwnedFd> {
        let tgid = self.tgid()?;
        if tgid != self.call.tid {
            crate::report::seldom(|| {
                log::warn!(
                    "thread {} of {tgid}: its descriptors cannot be told from its leader's before Linux 6.9",
                    self.call.tid
                )
            });
            return Err(Errno::EPERM.into());
        }
        let pidfd = process::pidfd_open(tgid).map_err(unless_gone)?;
        Ok(process::pidfd_getfd(pidfd.as_fd(), fd)?)
    }
}
