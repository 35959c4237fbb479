//! Processes: limits, pidfds, signals to threads of our own.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::{Once, OnceLock};

use super::{CallerFd, Errno, Pid, Result, check, errno_of, unit};

/// `PIDFD_THREAD` of Linux 6.9: the pidfd names a thread and its own descriptor table.
const PIDFD_THREAD: libc::c_uint = libc::O_EXCL as libc::c_uint;

/// pidfd_open(2) of a process.
pub(crate) fn pidfd_open(pid: Pid) -> Result<OwnedFd> {
    pidfd_open_flags(pid, 0)
}

thread_local! {
    /// The thread that was last looked at by [`duplicate_of_thread`], pinned: a caller makes many calls in a row.
    static LAST_THREAD: RefCell<Option<(Pid, OwnedFd)>> = const { RefCell::new(None) };
}

/// A duplicate of a descriptor in a thread's own table, close-on-exec: pidfd_getfd(2) by a pidfd of the thread. Linux 6.9;
/// `EINVAL` before. `ESRCH` if there is no such thread.
pub(crate) fn duplicate_of_thread(tid: Pid, fd: CallerFd) -> Result<OwnedFd> {
    LAST_THREAD.with_borrow_mut(|last| {
        if let Some((_, pidfd)) = last.as_ref().filter(|(last, _)| *last == tid) {
            match pidfd_getfd(pidfd.as_fd(), fd) {
                // It was another thread of this number.
                Err(Errno::ESRCH) => {}
                other => return other,
            }
        }
        let (_, pidfd) = last.insert((tid, pidfd_open_flags(tid, PIDFD_THREAD)?));
        pidfd_getfd(pidfd.as_fd(), fd)
    })
}

/// Lets go of the thread that [`duplicate_of_thread`] pinned last.
pub(crate) fn forget_thread() {
    LAST_THREAD.take();
}

fn pidfd_open_flags(pid: Pid, flags: libc::c_uint) -> Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.raw(), flags) })?;
    // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// pidfd_getfd(2): a duplicate of the other process's descriptor, close-on-exec.
pub(crate) fn pidfd_getfd(pidfd: BorrowedFd<'_>, fd: CallerFd) -> Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd.0, 0) })?;
    // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Whether [`pidfd_getfd`] is there: the default filters of containers refuse it, to everybody alike.
pub(crate) fn can_duplicate() -> bool {
    let Some(this) = Pid::new(std::process::id() as i32) else { return false };
    let Ok(pidfd) = pidfd_open(this) else { return false };
    pidfd_getfd(pidfd.as_fd(), CallerFd(pidfd.as_raw_fd())).is_ok()
}

/// Reads the soft limit `resource` of a process by any of its threads: prlimit(2).
pub(crate) fn limit(pid: Pid, resource: libc::__rlimit_resource_t) -> Result<u64> {
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one `rlimit64`.
    unit(unsafe { libc::prlimit64(pid.raw(), resource, std::ptr::null(), &raw mut old) }.into())?;
    Ok(old.rlim_cur)
}

/// Sets soft and hard limit `resource` of a process to `value`: prlimit(2).
pub(crate) fn set_limit(pid: Pid, resource: libc::__rlimit_resource_t, value: u64) -> Result<()> {
    let new = libc::rlimit64 { rlim_cur: value, rlim_max: value };
    // SAFETY: the kernel reads one `rlimit64`.
    unit(unsafe { libc::prlimit64(pid.raw(), resource, &raw const new, std::ptr::null_mut()) }.into())
}

/// The same with these real ids of user and group. A child takes them on: who has somebody's ids can be sent his signals, and
/// a thread of ours would end with all others.
pub(crate) fn set_limit_as(
    (uid, gid): (u32, u32),
    pid: Pid,
    resource: libc::__rlimit_resource_t,
    value: u64,
) -> Result<()> {
    const KEEP: u32 = u32::MAX;
    // SAFETY: the child makes raw system calls only, on numbers, and does not return. It ends without SIGCHLD, so nobody
    // else waits for it.
    let child = match unsafe { super::outside::fork(0) }? {
        Some(child) => child,
        None => {
            // SAFETY: numbers only.
            let group = unit(unsafe { libc::syscall(libc::SYS_setresgid, gid, KEEP, KEEP) });
            let ids = group.and_then(|()| {
                // SAFETY: as above.
                unit(unsafe { libc::syscall(libc::SYS_setresuid, uid, KEEP, KEEP) })
            });
            let done = ids.and_then(|()| set_limit(pid, resource, value));
            exit(done.err().map_or(0, |errno| errno as i32))
        }
    };
    let mut status = 0;
    // SAFETY: the kernel writes one number.
    while unsafe { libc::waitpid(child.raw(), &raw mut status, libc::__WALL) } == -1 {
        if Errno::last() != Errno::EINTR {
            return Err(Errno::last());
        }
    }
    match libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)) {
        Some(0) => Ok(()),
        Some(errno) => Err(Errno::from_raw(errno)),
        None => Err(Errno::EPERM),
    }
}

/// Our own hard limit `resource`: getrlimit(2).
pub(crate) fn own_hard_limit(resource: libc::__rlimit_resource_t) -> Result<u64> {
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one `rlimit64`.
    unit(unsafe { libc::getrlimit64(resource, &raw mut old) }.into())?;
    Ok(old.rlim_max)
}

/// Raises our own soft limit of open descriptors to the hard one, so that many callers can be served. Returns what
/// both were at first, for those that are not us.
pub(crate) fn raise_nofile() -> (u64, u64) {
    static FIRST: OnceLock<(u64, u64)> = OnceLock::new();
    *FIRST.get_or_init(|| {
        let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the kernel writes one `rlimit64`, and then reads it.
        unsafe {
            libc::getrlimit64(libc::RLIMIT_NOFILE, &raw mut limit);
            let first = (limit.rlim_cur, limit.rlim_max);
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit64(libc::RLIMIT_NOFILE, &raw const limit);
            first
        }
    })
}

/// Our own thread's id: gettid(2).
pub(crate) fn gettid() -> Pid {
    // The raw call: to the standard library the C library's function is a weak symbol, and a link without shared libraries
    // that merges the two leaves it out.
    // SAFETY: cannot fail, no memory is passed.
    Pid(unsafe { libc::syscall(libc::SYS_gettid) } as i32)
}

/// Whether a thread is one of this process.
pub(crate) fn is_own_thread(tid: Pid) -> bool {
    Pid::new(std::process::id() as i32).is_some_and(|own| tgkill(own, tid, 0).is_ok())
}

/// The signal by which a thread of ours is taken out of a blocking call.
///
/// A real-time signal that the C library leaves to programs; its handler does nothing.
pub(crate) fn interrupt_signal() -> i32 {
    libc::SIGRTMAX() - 3
}

/// Installs the handler of [`interrupt_signal`], once: it does nothing, and without `SA_RESTART` a blocking
/// call then fails with `EINTR`.
pub(crate) fn install_interrupt_handler() {
    extern "C" fn nothing(_: libc::c_int) {}
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: a zeroed `sigaction` with a handler that touches nothing is valid; the old one is not asked for.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
            libc::sigaction(interrupt_signal(), &raw const action, std::ptr::null_mut());
        }
    });
}

/// Which of the two processes after a fork this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forked {
    /// The one that called.
    Parent,
    /// The new one: it has the calling thread only.
    Child,
}

/// fork(2), in a process whose other threads hold no lock.
pub(crate) fn fork() -> Result<Forked> {
    // SAFETY: the caller has ended or parked the threads of ours that could hold a lock, and the C library keeps
    // its allocator usable in the child of a process with threads.
    match unsafe { libc::fork() } {
        -1 => Err(Errno::last()),
        0 => Ok(Forked::Child),
        _ => Ok(Forked::Parent),
    }
}

/// Points standard input, output and error at `/dev/null`, and closes what else programs that are executed would inherit, so
/// that nobody waits for us to close it.
pub(crate) fn silence() {
    use std::os::fd::IntoRawFd;
    if let Ok(null) = std::fs::File::options().read(true).write(true).open("/dev/null") {
        let null = null.into_raw_fd();
        for fd in 0..=2 {
            // SAFETY: duplicating a descriptor of ours over the three that belong to nobody in particular.
            unsafe { libc::dup2(null, fd) };
        }
    }
    let listed = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
    let open: Vec<i32> = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // SAFETY: numbers only. Every descriptor that this library opens is close-on-exec: others came with the process, whose
        // other threads are gone.
        unsafe {
            if libc::fcntl(fd, libc::F_GETFD) & libc::FD_CLOEXEC == 0 {
                libc::close(fd);
            }
        }
    }
}

/// Ends the process without running what others registered for its end: _exit(2).
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(code) }
}

/// Blocks every signal but [`interrupt_signal`] in the calling thread: signals are for the program's own threads.
pub(crate) fn block_signals() {
    // SAFETY: both sets are initialised by sigfillset before use.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        libc::sigdelset(&raw mut set, interrupt_signal());
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Takes the thread `tid` of ours out of a blocking call.
pub(crate) fn interrupt(tid: Pid) {
    // SAFETY: a thread id that no longer exists, or a signal that does nothing: neither harms.
    unsafe {
        libc::syscall(libc::SYS_tgkill, libc::getpid(), tid.raw(), interrupt_signal());
    }
}

/// Sends `signal` to the process behind `pidfd`: pidfd_send_signal(2).
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: a null siginfo means the default one.
    unit(unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<u8>(), 0)
    })
}

/// The process that a pidfd names, from what procfs says of it. `EBADF` where it is none.
pub(crate) fn pid_of(pidfd: BorrowedFd<'_>) -> Result<Pid> {
    let path = format!("/proc/thread-self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(path).map_err(|_| Errno::EBADF)?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")).ok_or(Errno::EBADF)?;
    // -1: it has ended.
    pid.trim().parse().ok().and_then(Pid::new).ok_or(Errno::ESRCH)
}

/// The process group of a process: getpgid(2).
pub(crate) fn getpgid(pid: Pid) -> Result<Pid> {
    // SAFETY: no memory is passed.
    Ok(Pid(check(unsafe { libc::getpgid(pid.raw()) }.into())? as i32))
}

/// Every process that procfs shows, one after the other.
pub(crate) fn all() -> Result<impl Iterator<Item = Result<Pid>>> {
    let entries = std::fs::read_dir("/proc").map_err(|error| errno_of(&error))?;
    Ok(entries.filter_map(|entry| {
        let name = entry.map(|entry| entry.file_name()).map_err(|error| errno_of(&error));
        // What is no number is something else.
        name.map(|name| Pid::new(name.to_str()?.parse().ok()?)).transpose()
    }))
}

/// Whether there is a process or thread of this number.
pub(crate) fn exists(pid: Pid) -> bool {
    // SAFETY: signal 0 only asks.
    unit(unsafe { libc::kill(pid.raw(), 0) }.into()) != Err(Errno::ESRCH)
}

/// Sends `signal` to the process that any of its threads names: kill(2).
pub(crate) fn kill(pid: Pid, signal: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    unit(unsafe { libc::kill(pid.raw(), signal) }.into())
}

/// Sends `signal` to thread `tid` of process `tgid`: tgkill(2).
pub(crate) fn tgkill(tgid: Pid, tid: Pid, signal: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    unit(unsafe { libc::syscall(libc::SYS_tgkill, tgid.raw(), tid.raw(), signal) })
}

/// All threads allocate from one heap: to make one for each of them takes longer than the few that the command starts
/// ever wait for each other. mallopt(3), of the GNU C library.
pub fn use_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no memory is passed, and only later threads are concerned.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Sets the umask of the calling thread (or process, without [`super::fs::unshare_fs`]) and returns the old one.
pub(crate) fn umask(mask: u32) -> u32 {
    // SAFETY: cannot fail, no memory is passed.
    unsafe { libc::umask(mask) }
}

/// Waits until one of the descriptors is ready or hung up; returns the events of each. `EINTR` as it comes.
pub(crate) fn poll<const N: usize>(
    fds: [BorrowedFd<'_>; N],
    events: [i16; N],
    timeout: i32,
) -> Result<[i16; N]> {
    let mut raw = [libc::pollfd { fd: -1, events: 0, revents: 0 }; N];
    for (slot, (fd, events)) in raw.iter_mut().zip(fds.iter().zip(events)) {
        *slot = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    }
    // SAFETY: the kernel reads and writes N `pollfd`.
    unit(unsafe { libc::poll(raw.as_mut_ptr(), N as libc::nfds_t, timeout) }.into())?;
    Ok(raw.map(|slot| slot.revents))
}
