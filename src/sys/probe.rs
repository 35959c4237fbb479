//! Asking the kernel what it can do. Each call changes nothing in this process.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

/// `int seccomp(SECCOMP_GET_NOTIF_SIZES, 0, struct seccomp_notif_sizes *)`: whether there are notifications.
pub(crate) fn seccomp_get_notif_sizes() -> io::Result<()> {
    // SAFETY: the structure is three integers, for which zero is a value.
    let mut sizes: libc::seccomp_notif_sizes = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one seccomp_notif_sizes, and there is room for it.
    check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_NOTIF_SIZES, 0, ptr::from_mut(&mut sizes))
    })?;
    Ok(())
}

/// `int seccomp(SECCOMP_GET_ACTION_AVAIL, 0, const uint32_t *)`: whether a filter may answer with this action.
pub(crate) fn seccomp_get_action_avail(action: u32) -> io::Result<()> {
    // SAFETY: the kernel reads one u32 that is there.
    check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, ptr::from_ref(&action))
    })?;
    Ok(())
}

/// `int seccomp(SECCOMP_SET_MODE_FILTER, flags, NULL)`: whether these flags are known.
///
/// The kernel looks at the flags (EINVAL) before it looks at the program, and there is none (EFAULT).
pub(crate) fn seccomp_filter_flags_known(flags: libc::c_ulong) -> io::Result<()> {
    let null = ptr::null::<libc::sock_fprog>();
    // SAFETY: a null program is never loaded; the kernel answers EFAULT.
    let answer =
        check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, null) });
    match answer {
        // `EBUSY` is sydbox's own answer, around this process: that is said where it matters, at the start.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EFAULT | libc::EBUSY)) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::other("the kernel loaded a filter that does not exist")),
    }
}

/// `int landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION)`: the ABI of Landlock.
pub(crate) fn landlock_abi() -> io::Result<u32> {
    const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: with this flag the kernel takes no attributes and makes no descriptor.
    let abi = check(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::null::<libc::c_void>(),
            0usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    })?;
    u32::try_from(abi).map_err(io::Error::other)
}

/// `int pidfd_getfd(int pidfd, int targetfd, unsigned int flags)` with this process as its own target.
pub(crate) fn pidfd_getfd() -> io::Result<()> {
    let pidfd = pidfd_open(std::process::id())?;
    // SAFETY: numbers only; what comes back is a new descriptor.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), pidfd.as_raw_fd(), 0) })?;
    drop(owned(fd));
    Ok(())
}

/// `int pidfd_open(pid_t pid, unsigned int flags)`
pub(crate) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: numbers only; what comes back is a new descriptor.
    check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }).map(owned)
}

/// `int openat2(int dirfd, const char *path, struct open_how *how, size_t size)` of the root directory.
pub(crate) fn openat2() -> io::Result<()> {
    // SAFETY: the structure is three integers, for which zero is a value.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: the path ends with a NUL, the structure has the size that is passed.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_openat2,
            libc::AT_FDCWD,
            c"/".as_ptr(),
            ptr::from_ref(&how),
            size_of::<libc::open_how>(),
        )
    })?;
    drop(owned(fd));
    Ok(())
}

/// `ssize_t process_vm_readv(pid_t, …)` of this process.
pub(crate) fn process_vm_readv() -> io::Result<()> {
    let from = 0x5a_u8;
    let mut to = 0_u8;
    let local = libc::iovec { iov_base: ptr::from_mut(&mut to).cast(), iov_len: 1 };
    let remote = libc::iovec { iov_base: ptr::from_ref(&from).cast_mut().cast(), iov_len: 1 };
    // SAFETY: one byte is read from `from` and written to `to`, and both live.
    let read = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
    check(read as libc::c_long)?;
    Ok(())
}

fn check(answer: libc::c_long) -> io::Result<libc::c_long> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

fn owned(fd: libc::c_long) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_no_kernel_knows() {
        let answer = seccomp_filter_flags_known(1 << 30).unwrap_err();
        assert_ne!(answer.raw_os_error(), Some(libc::EFAULT));
    }

    #[test]
    fn probes_leave_no_descriptors() {
        let _nobody_else = crate::sys::FORKS.write();
        let count = || std::fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or(0);
        let before = count();
        for _ in 0..64 {
            let _ = (pidfd_getfd(), openat2(), landlock_abi());
        }
        // Other tests open files meanwhile, but not as many.
        assert!(count() < before + 64);
    }
}
