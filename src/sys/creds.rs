//! Credentials of threads of ours: taken on for one operation, and capabilities.
//!
//! The raw calls change the calling thread only; the C library's wrappers would change all threads.
#![allow(unsafe_code)]

use super::{Errno, Result, unit};

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`: 64 capabilities in two words.
const VERSION_3: u32 = 0x2008_0522;

/// The capability sets of a thread, as bit masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Caps {
    /// What is in force.
    pub(crate) effective: u64,
    /// What may be put in force.
    pub(crate) permitted: u64,
    /// What passes through exec.
    pub(crate) inheritable: u64,
}

/// capget(2) of the calling thread.
pub(crate) fn capget() -> Result<Caps> {
    let mut header = CapHeader { version: VERSION_3, pid: 0 };
    let mut data = [CapData::default(); 2];
    // SAFETY: version 3 makes the kernel write two `CapData`.
    unit(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
    let join = |pick: fn(&CapData) -> u32| u64::from(pick(&data[0])) | u64::from(pick(&data[1])) << 32;
    Ok(Caps {
        effective: join(|d| d.effective),
        permitted: join(|d| d.permitted),
        inheritable: join(|d| d.inheritable),
    })
}

/// capset(2) of the calling thread. Async-signal-safe.
pub(crate) fn capset(caps: Caps) -> Result<()> {
    let mut header = CapHeader { version: VERSION_3, pid: 0 };
    let half = |shift: u32| CapData {
        effective: (caps.effective >> shift) as u32,
        permitted: (caps.permitted >> shift) as u32,
        inheritable: (caps.inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: version 3 makes the kernel read two `CapData`.
    unit(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) })
}

/// How the calling thread's user and capabilities depend on each other: prctl(PR_GET_SECUREBITS).
pub(crate) fn securebits() -> i32 {
    // SAFETY: plain numbers.
    unsafe { libc::prctl(libc::PR_GET_SECUREBITS) }
}

/// setgroups(2) of the calling thread only.
pub(crate) fn setgroups(groups: &[u32]) -> Result<()> {
    // SAFETY: the kernel reads `groups.len()` ids.
    unit(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })
}

/// getgroups(2).
pub(crate) fn getgroups() -> Result<Vec<u32>> {
    // SAFETY: with a size of 0 the kernel only counts; then it writes at most that many ids.
    unsafe {
        let count = super::check(libc::getgroups(0, std::ptr::null_mut()).into())?;
        let mut groups = vec![0; count as usize];
        let count = super::check(libc::getgroups(count as i32, groups.as_mut_ptr()).into())?;
        groups.truncate(count as usize);
        Ok(groups)
    }
}

/// setfsgid(2) of the calling thread. The kernel's answer says nothing, so it is asked twice.
pub(crate) fn setfsgid(gid: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe {
        libc::syscall(libc::SYS_setfsgid, gid);
        confirm(libc::syscall(libc::SYS_setfsgid, u32::MAX), gid)
    }
}

/// setfsuid(2) of the calling thread.
pub(crate) fn setfsuid(uid: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe {
        libc::syscall(libc::SYS_setfsuid, uid);
        confirm(libc::syscall(libc::SYS_setfsuid, u32::MAX), uid)
    }
}

/// Sets effective user and group id of the calling thread, real and saved ones staying: what a peer sees.
pub(crate) fn seteids(uid: u32, gid: u32) -> Result<()> {
    const KEEP: u32 = u32::MAX;
    // SAFETY: no memory is passed.
    unsafe {
        unit(libc::syscall(libc::SYS_setresgid, KEEP, gid, KEEP))?;
        unit(libc::syscall(libc::SYS_setresuid, KEEP, uid, KEEP))
    }
}

/// Who a thread is, so that it, or another one, can be that again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) caps: Caps,
}

impl Own {
    /// The calling thread, which acts for nobody.
    pub(crate) fn here() -> Result<Self> {
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        Ok(Self { uid, gid, groups: getgroups()?, caps: capget()? })
    }

    /// Makes the calling thread so. The capabilities must be ones that it may put in force.
    pub(crate) fn take_on(&self) -> Result<()> {
        capset(self.caps)?;
        seteids(self.uid, self.gid)?;
        setfsuid(self.uid)?;
        setfsgid(self.gid)?;
        setgroups(&self.groups)?;
        // Changes of the user take some away.
        capset(self.caps)
    }

    /// Makes the calling thread so if it is not: who starts a thread while it acts for somebody passes that on.
    pub(crate) fn inherit(&self) -> Result<()> {
        let present = Self::here()?;
        let permitted = present.caps.permitted;
        let wanted = Self { caps: present.caps, ..self.clone() };
        if (fsuid(), fsgid()) == (self.uid, self.gid) && present == wanted {
            return Ok(());
        }
        Self { caps: Caps { effective: permitted, ..present.caps }, ..wanted }.take_on()?;
        capset(Caps { effective: self.caps.effective & permitted, ..present.caps })
    }
}

/// The file system user id of the calling thread.
pub(crate) fn fsuid() -> u32 {
    // SAFETY: an id that cannot be set changes nothing; the answer is the present one.
    unsafe { libc::syscall(libc::SYS_setfsuid, u32::MAX) as u32 }
}

/// The file system group id of the calling thread.
fn fsgid() -> u32 {
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_setfsgid, u32::MAX) as u32 }
}

fn confirm(now: libc::c_long, wanted: u32) -> Result<()> {
    if now as u32 == wanted { Ok(()) } else { Err(Errno::EPERM) }
}
