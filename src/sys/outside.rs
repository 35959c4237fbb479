//! A program that runs outside of the sandbox: forked from the supervisor, and nobody's child afterwards.
//!
//! Between fork and exec there are only async-signal-safe calls, and nothing allocates.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use super::creds::{self, Caps};
use super::{Errno, Pid, Result, check, child, process, unit};

/// Everything that the program gets, made ready before the fork.
pub(crate) struct Program {
    /// The file: the names to be tried, one after the other.
    pub(crate) names: Vec<CString>,
    /// Its arguments, the first of which is its name.
    pub(crate) arguments: Vec<CString>,
    /// Its environment: a NUL after each text.
    pub(crate) environment: Vec<u8>,
    /// Its working directory.
    pub(crate) cwd: OwnedFd,
    /// Its standard input, output and error.
    pub(crate) streams: [OwnedFd; 3],
    /// Its file creation mask.
    pub(crate) umask: u32,
    /// The process group that it joins, if that is of our session.
    pub(crate) group: Pid,
    /// Signals that it ignores, and that it blocks: bit 0 is signal 1.
    pub(crate) ignored: u64,
    /// See `ignored`.
    pub(crate) blocked: u64,
    /// Limits: resource, soft and hard.
    pub(crate) limits: Vec<(libc::__rlimit_resource_t, u64, u64)>,
    /// Who it runs as; `None`: as we do.
    pub(crate) identity: Option<Credentials>,
}

/// The credentials of a program.
pub(crate) struct Credentials {
    /// Real, effective and saved user id.
    pub(crate) uids: [u32; 3],
    /// The same of the group.
    pub(crate) gids: [u32; 3],
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
    /// Capabilities, of which it gets those that we have as well.
    pub(crate) caps: Caps,
    /// Those that it can ever get.
    pub(crate) bounding: u64,
}

impl Program {
    /// Starts it. Returns when it has been executed, or with the error that prevented that. It is reaped by init.
    pub(crate) fn start(&self) -> Result<()> {
        let argv: Vec<*const c_char> =
            self.arguments.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
        let texts = self.environment.split_inclusive(|byte| *byte == 0).filter(|text| text.ends_with(&[0]));
        let envp: Vec<*const c_char> =
            texts.map(|text| text.as_ptr().cast::<c_char>()).chain([ptr::null()]).collect();
        let (told, tell) = pipe()?;
        // No SIGCHLD: whoever waits for children of this process has nothing to do with it.
        // SAFETY: `between` and what it calls make async-signal-safe calls only, and do not return.
        let pid = match unsafe { fork(0) }? {
            None => between(self, &argv, &envp, tell.as_raw_fd()),
            Some(pid) => pid,
        };
        drop(tell);
        // SAFETY: waits for our own child and asks for no status.
        while unsafe { libc::waitpid(pid.raw(), ptr::null_mut(), libc::__WALL) } == -1
            && Errno::last() == Errno::EINTR
        {}
        let mut errno = [0; 4];
        loop {
            match nix::unistd::read(&told, &mut errno) {
                // Closed by the exec.
                Ok(0) => return Ok(()),
                Ok(4) => return Err(Errno::from_raw(i32::from_ne_bytes(errno))),
                Err(Errno::EINTR) => {}
                Ok(_) => return Err(Errno::EIO),
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// A duplicate that is none of the standard streams' numbers.
pub(crate) fn above_streams(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    // SAFETY: numbers only.
    let fd = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) }.into())?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    use std::os::fd::AsFd;
    let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    Ok((reader, above_streams(writer.as_fd())?))
}

/// fork(2) by the bare call: in the child the C library's idea of its thread is wrong, and only calls to the kernel may
/// be made. `None` in the child.
pub(super) unsafe fn fork(exit_signal: i32) -> Result<Option<Pid>> {
    // SAFETY: no memory is shared and no stack is given; the rest is the caller's to see to.
    let pid =
        check(unsafe { libc::syscall(libc::SYS_clone, exit_signal, 0_usize, 0_usize, 0_usize, 0_usize) })?;
    Ok(Pid::new(pid as i32))
}

/// The child: starts the program as a child of its own and ends, so that the program is nobody's.
fn between(program: &Program, argv: &[*const c_char], envp: &[*const c_char], tell: RawFd) -> ! {
    // SAFETY: as in `Program::start`.
    let failed = match unsafe { fork(libc::SIGCHLD) } {
        Ok(None) => execute(program, argv, envp),
        Ok(Some(_)) => process::exit(0),
        Err(errno) => errno,
    };
    let errno = (failed as i32).to_ne_bytes();
    // SAFETY: the kernel reads four bytes. Nobody is left to be told that it failed.
    unsafe { libc::write(tell, errno.as_ptr().cast(), errno.len()) };
    process::exit(127)
}

/// Becomes the program. Returns only what went wrong.
fn execute(program: &Program, argv: &[*const c_char], envp: &[*const c_char]) -> Errno {
    match become_program(program) {
        Ok(()) => {}
        Err(errno) => return errno,
    }
    let mut worst = Errno::ENOENT;
    for name in &program.names {
        // SAFETY: both arrays end with a null pointer, and all strings outlive the call.
        unsafe { libc::execve(name.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
        match Errno::last() {
            // As a shell looks along its PATH: what may not be executed is remembered, and another one preferred.
            errno if program.names.len() == 1 => return errno,
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => worst = Errno::EACCES,
            errno => return errno,
        }
    }
    worst
}

fn become_program(program: &Program) -> Result<()> {
    // SAFETY: numbers, and numbers of descriptors of ours.
    unsafe {
        for (fd, stream) in (0..).zip(&program.streams) {
            check(libc::dup2(stream.as_raw_fd(), fd).into())?;
        }
        // Also what this process inherited: the caller may have closed it.
        child::close_at_exec()?;
        unit(libc::fchdir(program.cwd.as_raw_fd()).into())?;
        libc::umask(program.umask);
        // Of another session it cannot be.
        libc::setpgid(0, program.group.raw());
        program.limits.iter().try_for_each(child::set_limit)?;
        unit(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).into())?;
    }
    if let Some(credentials) = &program.identity {
        credentials.take_on()?;
    }
    // SAFETY: a zeroed `sigaction` is the default action without flags, and the kernel reads one and 8 bytes.
    unsafe {
        for signal in (1..=64).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
            let mut action: KernelAction = std::mem::zeroed();
            let ignored = program.ignored & (1 << (signal - 1)) != 0;
            action.handler = if ignored { libc::SIG_IGN } else { libc::SIG_DFL };
            let old = ptr::null_mut::<KernelAction>();
            unit(libc::syscall(libc::SYS_rt_sigaction, signal, &raw const action, old, size_of::<u64>()))?;
        }
        let (how, old) = (libc::SIG_SETMASK, ptr::null_mut::<u64>());
        let mask = &raw const program.blocked;
        unit(libc::syscall(libc::SYS_rt_sigprocmask, how, mask, old, size_of::<u64>()))
    }
}

/// `struct sigaction` of the kernel: the C library's function would leave its own signals out.
#[repr(C)]
struct KernelAction {
    handler: libc::sighandler_t,
    flags: libc::c_ulong,
    restorer: usize,
    mask: u64,
}

impl Credentials {
    /// Takes them on, for good: what is given up here no exec brings back, because of `no_new_privs`.
    fn take_on(&self) -> Result<()> {
        child::drop_caps(!self.bounding)?;
        creds::setgroups(&self.groups)?;
        let ([ruid, euid, suid], [rgid, egid, sgid]) = (self.uids, self.gids);
        // SAFETY: plain numbers.
        unsafe {
            unit(libc::syscall(libc::SYS_setresgid, rgid, egid, sgid))?;
            unit(libc::syscall(libc::SYS_setresuid, ruid, euid, suid))?;
            unit(libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0).into())?;
        }
        let own = creds::capget()?;
        let permitted = own.permitted & self.caps.permitted;
        creds::capset(Caps {
            effective: permitted & self.caps.effective,
            permitted,
            inheritable: own.inheritable & self.caps.inheritable,
        })
    }
}
