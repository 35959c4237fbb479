//! The child between fork and exec: only async-signal-safe calls, nothing allocates.
//!
//! The order matters: limits and capabilities first, then the Landlock domain, and the filter last, because under
//! the filter a mediated call would wait for a supervisor that does not have the listener yet. The listener's
//! number is told over a socket by send(2), which no filter of ours traps.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::creds::{self, Caps};
use super::{Errno, Pid, Result, check, seccomp, unit};

/// Everything that the child does before it execs, made ready before the fork.
pub(crate) struct Setup {
    /// The filter, as the kernel takes it.
    pub(crate) filter: Vec<libc::sock_filter>,
    /// The number of the first state: soft and hard `RLIMIT_LOCKS`.
    pub(crate) tag: u64,
    /// Limits to set, soft and hard.
    pub(crate) limits: Vec<(libc::__rlimit_resource_t, u64, u64)>,
    /// Those that are set last, when the listener has its number, and the helper has been started.
    pub(crate) last_limits: Vec<(libc::__rlimit_resource_t, u64, u64)>,
    /// Whether the command is to ignore SIGPIPE, of which the standard library makes the default.
    pub(crate) ignore_sigpipe: bool,
    /// A Landlock ruleset to enter, if the kernel has it.
    pub(crate) landlock: Option<OwnedFd>,
    /// Whether the command is to inherit no descriptor but standard input, output and error.
    pub(crate) close_fds: bool,
    /// Capabilities that are given up.
    pub(crate) drop_caps: u64,
    /// Whether the listener must be sent, because it cannot be fetched with pidfd_getfd(2).
    pub(crate) send_listener: bool,
    /// The child's end of the hand-shake socket.
    pub(crate) socket: RawFd,
}

/// What the child tells before it execs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// The filter is loaded; the listener has this number in this process's table.
    Loaded {
        /// The child.
        pid: Pid,
        /// Its number for the listener.
        listener: super::CallerFd,
    },
    /// A step failed.
    Failed {
        /// Which step.
        step: Step,
        /// Why.
        errno: Errno,
        /// The limit, if it was that.
        resource: i32,
    },
}

/// The steps, for the error message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Step {
    /// prctl(PR_SET_PDEATHSIG).
    DeathSignal = 1,
    /// setrlimit(2).
    Limits,
    /// close_range(2).
    CloseRange,
    /// prctl(PR_SET_NO_NEW_PRIVS).
    NoNewPrivs,
    /// capset(2).
    Capabilities,
    /// landlock_restrict_self(2).
    Landlock,
    /// clone(2) of the helper that sends the listener.
    Helper,
    /// seccomp(2).
    Filter,
}

impl Step {
    /// What was attempted, for people.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::DeathSignal => "prctl(PR_SET_PDEATHSIG)",
            Self::Limits => "setrlimit",
            Self::CloseRange => "close_range",
            Self::NoNewPrivs => "prctl(PR_SET_NO_NEW_PRIVS)",
            Self::Capabilities => "capset",
            Self::Landlock => "landlock_restrict_self",
            Self::Helper => "clone(CLONE_FILES)",
            Self::Filter => "seccomp(SECCOMP_SET_MODE_FILTER, NEW_LISTENER|WAIT_KILLABLE_RECV)",
        }
    }

    fn from_raw(raw: i32) -> Option<Self> {
        [
            Self::DeathSignal,
            Self::Limits,
            Self::CloseRange,
            Self::NoNewPrivs,
            Self::Capabilities,
            Self::Landlock,
            Self::Helper,
            Self::Filter,
        ]
        .into_iter()
        .find(|step| *step as i32 == raw)
    }
}

const MESSAGE: usize = 16;

impl Message {
    fn encode(words: [i32; MESSAGE / 4]) -> [u8; MESSAGE] {
        let mut bytes = [0; MESSAGE];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// Receives the child's message, and the listener if a helper sent it on the way. `None`: the child died.
    pub(crate) fn receive(socket: BorrowedFd<'_>) -> Option<(Self, Option<OwnedFd>)> {
        let mut listener = None;
        loop {
            let mut bytes = [0; MESSAGE];
            let (len, fd) = receive(socket, &mut bytes)?;
            listener = fd.or(listener);
            if len != MESSAGE {
                continue;
            }
            let word =
                |at: usize| i32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            let message = match word(0) {
                0 => Self::Loaded { pid: Pid::new(word(4))?, listener: super::CallerFd(word(8)) },
                _ => Self::Failed {
                    step: Step::from_raw(word(4))?,
                    errno: Errno::from_raw(word(8)),
                    resource: word(12),
                },
            };
            return Some((message, listener));
        }
    }
}

/// Makes `command` do all of `setup` in the child, after whatever hooks it has already.
pub(crate) fn prepare(command: &mut Command, setup: Setup) {
    // SAFETY: `run` makes only async-signal-safe calls and allocates nothing: raw system calls on values that
    // were made before the fork, and reads of `setup`, which nothing drops in the child.
    unsafe {
        command.pre_exec(move || run(&setup).map_err(std::io::Error::from));
    }
}

fn run(setup: &Setup) -> Result<()> {
    match steps(setup) {
        Ok(()) => Ok(()),
        Err((step, errno, resource)) => {
            send(setup.socket, &Message::encode([1, step as i32, errno as i32, resource]));
            Err(errno)
        }
    }
}

fn steps(setup: &Setup) -> std::result::Result<(), (Step, Errno, i32)> {
    let at = |step| move |errno| (step, errno, 0);
    let limit = |limit: &(libc::__rlimit_resource_t, u64, u64)| {
        set_limit(limit).map_err(|errno| (Step::Limits, errno, limit.0 as i32))
    };
    // SAFETY: plain numbers.
    unsafe {
        unit(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL).into()).map_err(at(Step::DeathSignal))?;
        unit(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).into()).map_err(at(Step::NoNewPrivs))?;
    }
    limit(&(libc::RLIMIT_LOCKS, setup.tag, setup.tag))?;
    setup.limits.iter().try_for_each(limit)?;
    if setup.ignore_sigpipe {
        // SAFETY: plain numbers; nothing is handled.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    }
    if setup.close_fds {
        close_at_exec().map_err(at(Step::CloseRange))?;
    }
    if setup.drop_caps != 0 {
        drop_caps(setup.drop_caps).map_err(at(Step::Capabilities))?;
    }
    if let Some(ruleset) = &setup.landlock {
        // SAFETY: no memory is passed.
        unit(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) })
            .map_err(at(Step::Landlock))?;
    }
    let helper = match setup.send_listener {
        true => Some(Helper::start(setup.socket).map_err(at(Step::Helper))?),
        false => None,
    };
    let loaded = seccomp::load(&setup.filter);
    if let Some(helper) = helper {
        helper.end(*loaded.as_ref().unwrap_or(&-1));
    }
    let listener = loaded.map_err(at(Step::Filter))?;
    // SAFETY: getpid cannot fail.
    let pid = unsafe { libc::getpid() };
    send(setup.socket, &Message::encode([0, pid, listener, 0]));
    // The supervisor answers when it has the listener; if it cannot have it, it closes and we must not go on.
    let mut byte = 0_u8;
    let acknowledged = read_byte(setup.socket, &mut byte);
    // SAFETY: the listener is ours, and nothing in this process uses it.
    unsafe { libc::close(listener) };
    if !acknowledged {
        return Err((Step::Filter, Errno::ECANCELED, 0));
    }
    setup.last_limits.iter().try_for_each(limit)
}

/// Sets a limit of the process, soft and hard.
pub(super) fn set_limit((resource, soft, hard): &(libc::__rlimit_resource_t, u64, u64)) -> Result<()> {
    let limit = libc::rlimit64 { rlim_cur: *soft, rlim_max: *hard };
    // SAFETY: the kernel reads one `rlimit64`.
    unit(unsafe { libc::setrlimit64(*resource, &raw const limit) }.into())
}

/// Has every descriptor but the standard streams closed by the exec: those that are still needed are open until then.
pub(super) fn close_at_exec() -> Result<()> {
    let (first, last, flags) = (3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: plain numbers.
    unit(unsafe { libc::syscall(libc::SYS_close_range, first as libc::c_uint, last, flags) })
}

/// Gives capabilities up for good: from the bounding set, and from every set of the thread.
pub(super) fn drop_caps(drop: u64) -> Result<()> {
    for cap in (0..64).filter(|cap| drop & (1 << cap) != 0) {
        // SAFETY: plain numbers. EINVAL: a capability that this kernel does not have.
        match unit(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, cap, 0, 0, 0) }.into()) {
            Ok(()) | Err(Errno::EINVAL) => {}
            // Without CAP_SETPCAP the bounding set stays; no_new_privs and capset below make up for it only
            // for a user other than root, and that user has none of these to begin with.
            Err(Errno::EPERM) => {}
            Err(errno) => return Err(errno),
        }
    }
    let caps = creds::capget()?;
    creds::capset(Caps {
        effective: caps.effective & !drop,
        permitted: caps.permitted & !drop,
        inheritable: caps.inheritable & !drop,
    })
}

/// A process that shares the child's descriptor table and is not under the filter: it sends the listener, which
/// the child itself cannot do without the call being trapped.
struct Helper {
    pid: libc::pid_t,
    pipe: RawFd,
}

impl Helper {
    fn start(socket: RawFd) -> Result<Self> {
        let mut pipe = [-1; 2];
        // SAFETY: pipe2 writes two numbers. The clone is a fork but for the shared descriptor table; its child
        // goes on in this frame with a copy of the stack, and ends in _exit.
        unsafe {
            unit(libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC).into())?;
            let pid = check(libc::syscall(
                libc::SYS_clone,
                libc::CLONE_FILES | libc::SIGCHLD,
                0_usize,
                0_usize,
                0_usize,
                0_usize,
            ))?;
            if pid == 0 {
                let mut number = [0_u8; 4];
                let n = libc::read(pipe[0], number.as_mut_ptr().cast(), 4);
                let listener = i32::from_ne_bytes(number);
                if n == 4 && listener >= 0 {
                    send_fd(socket, listener);
                }
                libc::_exit(0);
            }
            Ok(Self { pid: pid as libc::pid_t, pipe: pipe[1] })
        }
    }

    /// Hands it the listener's number (-1: there is none) and waits for its end.
    fn end(self, listener: RawFd) {
        write_all(self.pipe, &listener.to_ne_bytes());
        // SAFETY: waits for our own child and asks for no status.
        unsafe {
            while libc::waitpid(self.pid, std::ptr::null_mut(), 0) == -1 && Errno::last() == Errno::EINTR {}
        }
    }
}

/// Sends one descriptor with one byte.
fn send_fd(socket: RawFd, fd: RawFd) {
    let mut byte = 0_u8;
    let mut iov = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    #[repr(align(8))]
    struct Control([u8; 24]);
    let mut control = Control([0; 24]);
    // SAFETY: the message points at live buffers of the lengths given; CMSG_SPACE(4) is 24 on 64-bit machines.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut iov;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(4) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(fd);
        libc::sendmsg(socket, &raw const message, libc::MSG_NOSIGNAL);
    }
}

/// Receives one packet and the descriptor with it. `None`: the other end is closed.
fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Option<(usize, Option<OwnedFd>)> {
    use std::os::fd::FromRawFd;
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let mut iov = [std::io::IoSliceMut::new(bytes)];
    let flags = nix::sys::socket::MsgFlags::MSG_CMSG_CLOEXEC;
    let message = loop {
        match nix::sys::socket::recvmsg::<()>(socket.as_raw_fd(), &mut iov, Some(&mut space), flags) {
            Err(Errno::EINTR) => {}
            other => break other.ok()?,
        }
    };
    if message.bytes == 0 {
        return None;
    }
    let fd = message.cmsgs().ok()?.find_map(|cmsg| match cmsg {
        nix::sys::socket::ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
        _ => None,
    });
    // SAFETY: the kernel has just put this descriptor into our table.
    Some((message.bytes, fd.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })))
}

/// Sends a packet, never with SIGPIPE: a supervisor that closed its end shows at the next read.
fn send(socket: RawFd, bytes: &[u8]) {
    // SAFETY: the kernel reads `bytes.len()` bytes.
    unsafe {
        libc::send(socket, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL);
    }
}

fn write_all(fd: RawFd, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the kernel reads at most `bytes.len()` bytes. A failed write shows at the other end as a close.
        match check(unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) } as _) {
            Ok(n) => bytes = &bytes[n as usize..],
            Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

fn read_byte(fd: RawFd, byte: &mut u8) -> bool {
    loop {
        // SAFETY: the kernel writes at most one byte.
        match check(unsafe { libc::read(fd, std::ptr::from_mut(byte).cast(), 1) } as _) {
            Ok(n) => return n == 1,
            Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
}

/// Commands with hooks, which only this module can write.
#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;
    use crate::sys::FORKS;
    use crate::{Sandbox, SandboxBuilder};

    fn builder(rules: &[&str]) -> SandboxBuilder {
        let mut builder = Sandbox::builder();
        for rule in rules {
            builder.magic(rule).unwrap();
        }
        builder
    }

    /// Duplicates in the child the sockets of the hand-shake, so that the exec does not close them all: as a process does that
    /// was forked at the same time. The last socket is that by which the exec is reported; it must close.
    fn keep_copies(command: &mut Command) {
        let hook = || {
            let kind = |fd| {
                let (mut kind, mut len) = (0, size_of::<libc::c_int>() as libc::socklen_t);
                // SAFETY: the kernel writes one integer.
                unsafe {
                    let kind = (&raw mut kind).cast();
                    libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_TYPE, kind, &raw mut len);
                }
                kind
            };
            let sockets = || (3..200).filter(|fd| kind(*fd) == libc::SOCK_SEQPACKET);
            let last = sockets().max();
            for fd in sockets().filter(|fd| Some(*fd) != last) {
                // SAFETY: a plain number.
                unsafe { libc::fcntl(fd, libc::F_DUPFD, 300) };
            }
            Ok(())
        };
        // SAFETY: the hook makes only async-signal-safe calls and allocates nothing.
        unsafe { command.pre_exec(hook) };
    }

    /// Only the command's own exec counts as ours. With `Supervisor::is_starting` asking no more than whether all have closed
    /// the socket, `id` is executed.
    #[test]
    fn copies_of_the_hand_shake() {
        let _alone = FORKS.write();
        let command = || {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", "exec id"]).stdout(Stdio::null()).stderr(Stdio::null());
            keep_copies(&mut command);
            command
        };
        assert!(command().status().unwrap().success());
        let sandbox = builder(&["core/sandbox/exec:deny", "allowlist/exec+/**", "denylist/exec+/**/id"]);
        let status = sandbox.build().unwrap().spawn(command()).unwrap().wait().unwrap();
        assert_eq!(status.code(), Some(126));
    }

    /// Without `Line` the child waits for ever for an answer.
    #[test]
    fn a_hand_shake_that_fails_ends() {
        let _alone = FORKS.write();
        let mut command = Command::new("true");
        let hook = || {
            // SAFETY: no memory but a literal is passed. An ordinary user cannot look into what is not dumpable.
            unsafe {
                if libc::geteuid() == 0 {
                    libc::chroot(c"/tmp".as_ptr());
                } else {
                    libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
                }
            }
            Ok(())
        };
        // SAFETY: the hook makes only async-signal-safe calls and allocates nothing.
        unsafe { command.pre_exec(hook) };
        let error = builder(&["core/sandbox/write:deny"]).build().unwrap().spawn(command).err().unwrap();
        let expected = match nix::unistd::geteuid().is_root() {
            true => "the command has another root directory",
            false => "cannot take the seccomp listener from the child",
        };
        assert!(error.to_string().contains(expected), "{error}");
    }
}
