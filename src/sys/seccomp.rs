//! seccomp(2) user notification: loading a filter and speaking to its listener.
//!
//! Source: seccomp_unotify(2). `WAIT_KILLABLE_RECV` is of Linux 5.19, `SYNC_WAKE_UP` of 6.6.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use super::{Errno, Pid, Result, check, unit};

const SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: libc::c_ulong = 1 << 5;
const SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP: u64 = 1;

/// The kernel's own errno for "ask the signal's handler": never to be seen by a program.
const ERESTARTSYS: i32 = 512;

const fn iowr(nr: u64, size: u64) -> u64 {
    (3 << 30) | (size << 16) | ((b'!' as u64) << 8) | nr
}
const fn iow(nr: u64, size: u64) -> u64 {
    (1 << 30) | (size << 16) | ((b'!' as u64) << 8) | nr
}
const RECV: u64 = iowr(0, size_of::<libc::seccomp_notif>() as u64);
const SEND: u64 = iowr(1, size_of::<libc::seccomp_notif_resp>() as u64);
const ID_VALID: u64 = iow(2, 8);
const ADDFD: u64 = iow(3, size_of::<libc::seccomp_notif_addfd>() as u64);
const SET_FLAGS: u64 = iow(4, 8);

/// Loads `program` for the calling thread and returns the number of the listener.
///
/// Async-signal-safe: one system call, nothing is allocated. `no_new_privs` must be set, or the caller privileged.
pub(super) fn load(program: &[libc::sock_filter]) -> Result<i32> {
    let Ok(len) = u16::try_from(program.len()) else { return Err(Errno::EINVAL) };
    let prog = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER
        | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW
        | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    // SAFETY: the kernel copies `len` instructions from the slice, which outlives the call, and writes nothing.
    let fd = check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, std::ptr::from_ref(&prog))
    })?;
    Ok(fd as i32)
}

/// One call that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notification {
    /// The cookie that names this call to the kernel.
    pub(crate) id: u64,
    /// The thread that makes the call.
    pub(crate) tid: Pid,
    /// `AUDIT_ARCH_*` of the call.
    pub(crate) arch: u32,
    /// Its number in that ABI.
    pub(crate) nr: i32,
    /// Its six argument registers, as they are.
    pub(crate) args: [u64; 6],
}

/// Waits for a call. `ENOENT`: the caller died meanwhile, or the tree is gone; `EINTR`: a signal.
pub(crate) fn recv(listener: BorrowedFd<'_>) -> Result<Option<Notification>> {
    // SAFETY: `seccomp_notif` is plain integers, for which all zeroes (which the kernel demands) is a value.
    let mut raw: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: RECV writes one `seccomp_notif`, the type the request number was made with.
    unit(unsafe { libc::ioctl(listener.as_raw_fd(), RECV as _, &raw mut raw) }.into())?;
    let Some(tid) = Pid::new(raw.pid as i32) else { return Ok(None) };
    Ok(Some(Notification { id: raw.id, tid, arch: raw.data.arch, nr: raw.data.nr, args: raw.data.args }))
}

/// What the caller is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The call returns this value.
    Value(i64),
    /// The call fails.
    Errno(Errno),
    /// The kernel carries the call out with the original registers.
    Continue,
    /// The call was interrupted by a signal that is pending for the caller: it is made again, or fails with
    /// `EINTR`, as the signal's handler says (`SA_RESTART`).
    Restart,
}

/// Answers the call `id`. `ENOENT`: the caller is gone.
pub(crate) fn send(listener: BorrowedFd<'_>, id: u64, reply: Reply) -> Result<()> {
    let (val, error, flags) = match reply {
        Reply::Value(value) => (value, 0, 0),
        // The kernel hands the number on as it is: only 1 to 4095 are errors (an unknown one must not become success).
        Reply::Errno(errno) => (0, -((errno as i32).clamp(1, 4095)), 0),
        Reply::Restart => (0, -ERESTARTSYS, 0),
        Reply::Continue => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
    };
    let mut response = libc::seccomp_notif_resp { id, val, error, flags };
    // SAFETY: SEND reads one `seccomp_notif_resp`, the type the request number was made with.
    uninterrupted(|| unsafe { libc::ioctl(listener.as_raw_fd(), SEND as _, &raw mut response) }).map(|_| ())
}

/// Makes a call again that a signal interrupted: it waits for a lock, or for the caller to take a descriptor, and has done
/// nothing then. Threads are interrupted when their caller has a signal, and at the end; an answer must not get lost by that.
fn uninterrupted(mut call: impl FnMut() -> libc::c_int) -> Result<libc::c_long> {
    loop {
        match check(call().into()) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Whether the caller still waits in the call `id`.
pub(crate) fn id_valid(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: ID_VALID reads one u64.
    uninterrupted(|| unsafe { libc::ioctl(listener.as_raw_fd(), ID_VALID as _, &raw const id) }).is_ok()
}

/// Puts a duplicate of `fd` into the caller's table and returns its number there.
pub(crate) fn addfd(listener: BorrowedFd<'_>, id: u64, fd: BorrowedFd<'_>, cloexec: bool) -> Result<i32> {
    let newfd_flags = if cloexec { libc::O_CLOEXEC as u32 } else { 0 };
    let mut add =
        libc::seccomp_notif_addfd { id, flags: 0, srcfd: fd.as_raw_fd() as u32, newfd: 0, newfd_flags };
    // SAFETY: ADDFD reads one `seccomp_notif_addfd`, the type the request number was made with.
    let number = uninterrupted(|| unsafe { libc::ioctl(listener.as_raw_fd(), ADDFD as _, &raw mut add) })?;
    Ok(number as i32)
}

/// Asks for synchronous wake-ups (Linux 6.6): supervisor and caller then share a CPU.
pub(crate) fn set_sync_wake_up(listener: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: SET_FLAGS takes its flags by value.
    unit(
        unsafe { libc::ioctl(listener.as_raw_fd(), SET_FLAGS as _, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP) }
            .into(),
    )
}
