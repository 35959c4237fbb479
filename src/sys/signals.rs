//! What the command does with signals while another program runs in its place.
//!
//! Signals of the terminal go to the whole foreground group, so the program gets its own; the command only has to
//! survive them. SIGTERM and SIGHUP are sent to the command alone and are passed on. All of them get handlers, because
//! exec turns a handler into the default (and leaves "ignored" alone), and because the signal mask stays as it was.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::probe::pidfd_open;

/// The pidfd of the program, or -1 as long as there is none.
static TARGET: AtomicI32 = AtomicI32::new(-1);
/// Signals that came before there was a program.
static EARLY: [AtomicBool; PASSED.len()] = [const { AtomicBool::new(false) }; PASSED.len()];

const PASSED: [libc::c_int; 2] = [libc::SIGTERM, libc::SIGHUP];
/// SIGIO: any process of the job can have it sent to the foreground group of the terminal.
const SURVIVED: [libc::c_int; 3] = [libc::SIGINT, libc::SIGQUIT, libc::SIGIO];

/// The handlers, in place. There is one set for the process.
#[derive(Debug)]
pub struct Forward {
    target: Option<OwnedFd>,
}

impl Forward {
    /// Sets the handlers up. A signal that is ignored stays ignored. Do it before the program is started.
    pub fn install() -> io::Result<Self> {
        for signal in PASSED {
            handle(signal, pass)?;
        }
        for signal in SURVIVED {
            handle(signal, survive)?;
        }
        Ok(Self { target: None })
    }

    /// From now on signals go to this process, and those that came before too.
    pub fn to(&mut self, pid: u32) -> io::Result<()> {
        let pidfd = pidfd_open(pid)?;
        TARGET.store(pidfd.as_raw_fd(), Ordering::SeqCst);
        self.target = Some(pidfd);
        for (signal, early) in PASSED.into_iter().zip(&EARLY) {
            if early.swap(false, Ordering::SeqCst) {
                send(signal);
            }
        }
        Ok(())
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // The number must not be used once it can mean something else.
        TARGET.store(-1, Ordering::SeqCst);
    }
}

fn handle(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) -> io::Result<()> {
    // SAFETY: the structure is integers and pointers, for which zero is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one sigaction, and there is room for it.
    check(unsafe { libc::sigaction(signal, ptr::null(), &mut action) })?;
    if action.sa_sigaction == libc::SIG_IGN {
        return Ok(());
    }
    action.sa_sigaction = handler as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handlers below do only what a handler may: atomics and system calls, and they keep errno.
    check(unsafe { libc::sigaction(signal, &action, ptr::null_mut()) })
}

fn check(answer: libc::c_int) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

extern "C" fn survive(_: libc::c_int) {}

extern "C" fn pass(signal: libc::c_int) {
    // SAFETY: errno is the thread's own; what the handler interrupted may still want to read it.
    let errno = unsafe { *libc::__errno_location() };
    send(signal);
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// Sends `signal` on. If the program is gone, and only its descendants are waited for, the signal is ours.
fn send(signal: libc::c_int) {
    let target = TARGET.load(Ordering::SeqCst);
    if target < 0 {
        for (passed, early) in PASSED.into_iter().zip(&EARLY) {
            early.fetch_or(passed == signal, Ordering::SeqCst);
        }
        return;
    }
    let info = ptr::null::<libc::siginfo_t>();
    // SAFETY: numbers and a null pointer, which stands for "as kill(2) would".
    if unsafe { libc::syscall(libc::SYS_pidfd_send_signal, target, signal, info, 0) } < 0 {
        // SAFETY: both may be called in a handler; raised again, the signal has its default effect.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }
}
