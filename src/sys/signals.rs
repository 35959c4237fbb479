//! What the command does with signals while another program runs in its place.
//!
//! Signals of the terminal go to the whole foreground group, so the program gets its own; the command only has to
//! survive them, and stops when the program has. SIGTERM and SIGHUP are sent to the command alone and are passed on.
//! SIGUSR1 and SIGUSR2 are requests to the command itself, SIGCHLD tells when the program has stopped, and SIGCONT that we
//! go on. All get handlers, because exec turns a handler into the default (and leaves "ignored" alone), and because the
//! signal mask stays as it was.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use super::probe::pidfd_open;

/// The pidfd of the program, [`GONE`], or [`NONE`] as long as there is none.
static TARGET: AtomicI32 = AtomicI32::new(NONE);
const NONE: i32 = -1;
/// It had ended before it could be known. What is sent to this number reaches nobody.
const GONE: i32 = -2;
/// The number of the program, 0 before there is one, and -1 afterwards.
static PROGRAM: AtomicI32 = AtomicI32::new(0);
/// Signals that came before there was a program.
static EARLY: [AtomicBool; PASSED.len()] = [const { AtomicBool::new(false) }; PASSED.len()];

/// A key that ends programs, which came before there was one: it is meant for us if the program has ended by then. Or 0.
static KEY: AtomicI32 = AtomicI32::new(0);

const PASSED: [libc::c_int; 2] = [libc::SIGTERM, libc::SIGHUP];
/// SIGIO: any process of the job can have it sent to the foreground group of the terminal.
const SURVIVED: [libc::c_int; 3] = [libc::SIGINT, libc::SIGQUIT, libc::SIGIO];

/// Not SIGTTOU: a write of ours, to a terminal that others have, would be tried without end.
const STOPS: [libc::c_int; 2] = [libc::SIGTSTP, libc::SIGTTIN];
/// The last one that was left to the program, or 0.
static LEFT: AtomicI32 = AtomicI32::new(0);
/// The one that this process is being stopped by, or 0.
static STOPPED: AtomicI32 = AtomicI32::new(0);

/// The handlers, in place. There is one set for the process.
#[derive(Debug)]
pub struct Forward {
    target: Option<OwnedFd>,
}

impl Forward {
    /// Sets the handlers up. A signal that is ignored stays ignored. Do it before the program is started.
    pub fn install() -> io::Result<Self> {
        for signal in PASSED {
            handle_with(signal, pass as *const (), libc::SA_SIGINFO)?;
        }
        for signal in SURVIVED {
            handle(signal, survive)?;
        }
        for signal in STOPS {
            handle_stop(signal)?;
        }
        Ok(Self { target: None })
    }

    /// From now on signals go to this process, and those that came before too.
    pub fn to(&mut self, pid: u32) -> io::Result<()> {
        let pidfd = pidfd_open(pid);
        PROGRAM.store(if pidfd.is_ok() { pid as i32 } else { -1 }, Ordering::SeqCst);
        TARGET.store(pidfd.as_ref().map_or(GONE, OwnedFd::as_raw_fd), Ordering::SeqCst);
        for (signal, early) in PASSED.into_iter().zip(&EARLY) {
            if early.swap(false, Ordering::SeqCst) {
                send(signal);
            }
        }
        // The program may have ended before it was known, or just now.
        let (key, target) = (KEY.load(Ordering::SeqCst), TARGET.load(Ordering::SeqCst));
        if key != 0 && !reaches(target, 0) {
            end_by(key);
        }
        self.target = Some(pidfd?);
        Ok(())
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // The number must not be used once it can mean something else.
        TARGET.store(NONE, Ordering::SeqCst);
        PROGRAM.store(-1, Ordering::SeqCst);
    }
}

/// What is asked for by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// SIGUSR1: the processes of the sandbox.
    Tree,
    /// SIGUSR2: the same with their rules.
    Rules,
    /// SIGCHLD: a child has stopped.
    Stopped,
    /// SIGCONT: this process goes on.
    Continued,
}

/// The pipe's end that the handler writes to, or -1 as long as there is none.
static REQUESTS: AtomicI32 = AtomicI32::new(-1);

/// How often this process has been continued.
static CONTINUES: AtomicU32 = AtomicU32::new(0);

/// Requests that came while there was no pipe: those of a process that was forked belong to its next set.
static UNHEARD: [AtomicBool; ASKED.len()] = [const { AtomicBool::new(false) }; ASKED.len()];

const ASKED: [(libc::c_int, Request); 4] = [
    (libc::SIGUSR1, Request::Tree),
    (libc::SIGUSR2, Request::Rules),
    (libc::SIGCHLD, Request::Stopped),
    (libc::SIGCONT, Request::Continued),
];

/// The end of a [`Requests`], in place of a signal's number.
const END: u8 = 0;

/// Requests by SIGUSR1 and SIGUSR2, and what happens to a job, in the order in which they come. There is one set for the process.
#[derive(Debug)]
pub struct Requests {
    reader: OwnedFd,
    writer: OwnedFd,
    /// [`CONTINUES`], when that was last told.
    continues: AtomicU32,
}

impl Requests {
    /// Sets the handlers up, in place of those of an older set. A signal that is ignored stays ignored.
    pub fn install() -> io::Result<Self> {
        // A handler must not wait: what does not fit, a pipe full of requests, is left out.
        let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
        REQUESTS.store(writer.as_raw_fd(), Ordering::SeqCst);
        for signal in [libc::SIGUSR1, libc::SIGUSR2, libc::SIGCONT] {
            handle(signal, ask)?;
        }
        handle_children()?;
        for ((signal, _), unheard) in ASKED.into_iter().zip(&UNHEARD) {
            if unheard.swap(false, Ordering::SeqCst) {
                ask(signal);
            }
        }
        Ok(Self { reader, writer, continues: AtomicU32::new(CONTINUES.load(Ordering::SeqCst)) })
    }

    /// Whether this process has been continued, which [`Requests::next`] has yet to tell: what it tells before is over.
    pub fn is_continued(&self) -> bool {
        self.continues.load(Ordering::SeqCst) != CONTINUES.load(Ordering::SeqCst)
    }

    /// Whether the group that the program is in was sent this signal, and this process leaves it to the program whether to stop.
    /// Told once.
    pub fn is_stopping(&self, signal: i32) -> bool {
        is_waiting(signal) || LEFT.swap(0, Ordering::SeqCst) == signal
    }

    /// Stops this process by a signal (SIGSTOP, SIGTSTP, SIGTTIN or SIGTTOU), and returns when it has been continued. `still`:
    /// whether the program is stopped, asked when this process cannot be continued any more without being told.
    pub fn stop(&self, signal: i32, still: impl Fn() -> bool) {
        stop_by(signal, still);
        LEFT.store(0, Ordering::SeqCst);
    }

    /// Sends a signal to all others of this process's group.
    pub fn stop_group(&self, signal: i32) -> io::Result<()> {
        let before = default_action(signal, libc::SIG_IGN);
        // SAFETY: plain numbers, and the action that was there before.
        unsafe {
            let sent = check(libc::kill(0, signal));
            libc::sigaction(signal, &before, ptr::null_mut());
            sent
        }
    }

    /// Waits for the next one. `None` after [`Requests::end`].
    pub fn next(&self) -> Option<Request> {
        loop {
            let mut byte = [END];
            match nix::unistd::read(&self.reader, &mut byte) {
                Ok(1) if byte[0] != END => {
                    let asked = ASKED.iter().find(|(signal, _)| *signal == libc::c_int::from(byte[0]));
                    if let Some((_, request)) = asked {
                        if *request == Request::Continued {
                            self.continues.store(CONTINUES.load(Ordering::SeqCst), Ordering::SeqCst);
                        }
                        return Some(*request);
                    }
                }
                Err(nix::errno::Errno::EINTR) => {}
                _ => return None,
            }
        }
    }

    /// Makes [`Requests::next`] return, after what was asked before.
    pub fn end(&self) {
        let _ = nix::unistd::write(&self.writer, &[END]);
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        // Another set may be in place by now.
        let own = self.writer.as_raw_fd();
        let _ = REQUESTS.compare_exchange(own, -1, Ordering::SeqCst, Ordering::SeqCst);
    }
}

/// What a handler does: errno is the thread's own, and what was interrupted may still want to read it.
fn keeping_errno(run: impl FnOnce()) {
    // SAFETY: the address of a number of the thread's own.
    let errno = unsafe { *libc::__errno_location() };
    run();
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

extern "C" fn ask(signal: libc::c_int) {
    let byte = signal as u8;
    if signal == libc::SIGCONT {
        CONTINUES.fetch_add(1, Ordering::SeqCst);
        LEFT.store(0, Ordering::SeqCst);
        // The program goes on as well, and the next stop may come before the thread that stopped does.
        let stopped = STOPPED.swap(0, Ordering::SeqCst);
        if STOPS.contains(&stopped) {
            let _ = handle_stop(stopped);
        }
    }
    let pipe = REQUESTS.load(Ordering::SeqCst);
    if pipe < 0 {
        for ((asked, _), unheard) in ASKED.into_iter().zip(&UNHEARD) {
            unheard.fetch_or(asked == signal, Ordering::SeqCst);
        }
        return;
    }
    keeping_errno(|| {
        // SAFETY: write(2) of one byte may be called in a handler.
        unsafe { libc::write(pipe, (&raw const byte).cast(), 1) };
    });
}

fn handle(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) -> io::Result<()> {
    handle_with(signal, handler as *const (), 0)
}

fn handle_stop(signal: libc::c_int) -> io::Result<()> {
    handle_with(signal, leave as *const (), libc::SA_SIGINFO)
}

/// `handler`: with the arguments that `flags` say.
fn handle_with(signal: libc::c_int, handler: *const (), flags: libc::c_int) -> io::Result<()> {
    // SAFETY: the structure is integers and pointers, for which zero is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one sigaction, and there is room for it.
    check(unsafe { libc::sigaction(signal, ptr::null(), &mut action) })?;
    if action.sa_sigaction == libc::SIG_IGN {
        return Ok(());
    }
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART | flags;
    // SAFETY: the handlers below do only what a handler may: atomics and system calls, and they keep errno.
    check(unsafe { libc::sigaction(signal, &action, ptr::null_mut()) })
}

/// Handles SIGCHLD, also where it was ignored: nobody could be waited for then.
fn handle_children() -> io::Result<()> {
    // SAFETY: the structure is integers and pointers, for which zero is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = child as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART | libc::SA_SIGINFO;
    // SAFETY: the handler does only what a handler may, and keeps errno.
    check(unsafe { libc::sigaction(libc::SIGCHLD, &action, ptr::null_mut()) })
}

extern "C" fn child(signal: libc::c_int, info: *const libc::siginfo_t, _: *const libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel hands over a siginfo that is valid while the handler runs.
    if unsafe { (*info).si_code } == libc::CLD_STOPPED {
        ask(signal);
    }
}

fn check(answer: libc::c_int) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Once the program is gone, and only its descendants are waited for, a key that ends programs is meant for us.
extern "C" fn survive(signal: libc::c_int) {
    if signal == libc::SIGIO {
        return;
    }
    // In this order: who makes the program known looks for a key afterwards.
    KEY.store(signal, Ordering::SeqCst);
    let target = TARGET.load(Ordering::SeqCst);
    if target != NONE {
        keeping_errno(|| {
            // Only a question.
            if !reaches(target, 0) {
                end_by(signal);
            }
        });
    }
}

extern "C" fn pass(signal: libc::c_int, info: *const libc::siginfo_t, _: *const libc::c_void) {
    keeping_errno(|| {
        if !(is_from_kernel(info) && command_has_it()) {
            send(signal);
        }
    });
}

/// Whether what the terminal has sent us, as it is hung up, the program has as well: of a group all get it, but not if it is
/// for who leads the session.
fn command_has_it() -> bool {
    // SAFETY: plain numbers, and calls that may be made in a handler.
    (unsafe { libc::getsid(0) != libc::getpid() }) && command_is_in_group()
}

fn command_is_in_group() -> bool {
    let program = PROGRAM.load(Ordering::SeqCst);
    // SAFETY: plain numbers, and calls that may be made in a handler.
    program > 0 && unsafe { libc::getpgid(program) == libc::getpgrp() }
}

/// Sends `signal` on. If the program is gone, and only its descendants are waited for, the signal is ours.
fn send(signal: libc::c_int) {
    let target = TARGET.load(Ordering::SeqCst);
    if target == NONE {
        for (passed, early) in PASSED.into_iter().zip(&EARLY) {
            early.fetch_or(passed == signal, Ordering::SeqCst);
        }
        return;
    }
    if !reaches(target, signal) {
        end_by(signal);
    }
}

/// Whether the program is there, and was sent the signal.
fn reaches(target: libc::c_int, signal: libc::c_int) -> bool {
    let info = ptr::null::<libc::siginfo_t>();
    // SAFETY: numbers and a null pointer, which stands for "as kill(2) would".
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, target, signal, info, 0) == 0 }
}

/// A key that stops, or a signal in its place that is sent to us alone. The program may have something to do first, or not want
/// to stop at all.
extern "C" fn leave(signal: libc::c_int, info: *const libc::siginfo_t, _: *const libc::c_void) {
    keeping_errno(|| {
        LEFT.store(signal, Ordering::SeqCst);
        let target = TARGET.load(Ordering::SeqCst);
        let is_left = match (PROGRAM.load(Ordering::SeqCst), is_from_kernel(info)) {
            // It may have been born.
            (0, from_kernel) => from_kernel,
            (_, true) => command_is_in_group() && reaches(target, 0),
            (_, false) => reaches(target, signal),
        };
        if !is_left {
            LEFT.store(0, Ordering::SeqCst);
            stop_by(signal, || true);
        }
    });
}

/// Whether a signal is none that a process sent. `info`: what a handler is given with SA_SIGINFO.
fn is_from_kernel(info: *const libc::siginfo_t) -> bool {
    // SAFETY: the kernel hands over a siginfo that is valid while the handler runs.
    unsafe { (*info).si_code == libc::SI_KERNEL }
}

/// Whether this process has the signal, and no thread has taken it yet.
fn is_waiting(signal: libc::c_int) -> bool {
    // SAFETY: the sets are ours, and the mask of this thread is put back.
    unsafe {
        let mut masks: [libc::sigset_t; 3] = std::mem::zeroed();
        let [mask, masked, waiting] = &mut masks;
        libc::sigemptyset(mask);
        libc::sigaddset(mask, signal);
        libc::pthread_sigmask(libc::SIG_BLOCK, mask, masked);
        libc::sigpending(waiting);
        libc::pthread_sigmask(libc::SIG_SETMASK, masked, ptr::null_mut());
        libc::sigismember(waiting, signal) == 1
    }
}

/// SIGCONT takes away a stop that waits, so that whoever is told to go on meanwhile does.
fn stop_by(signal: libc::c_int, still: impl Fn() -> bool) {
    // SAFETY: the sets are ours, and filled before they are used.
    let (mask, mut masked) = unsafe {
        let (mut mask, masked): (libc::sigset_t, libc::sigset_t) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigemptyset(&mut mask);
        libc::sigaddset(&mut mask, signal);
        (mask, masked)
    };
    // SAFETY: all may be called in a handler; mask and action become again what they were.
    unsafe {
        libc::pthread_sigmask(libc::SIG_BLOCK, &mask, &mut masked);
        let before = default_action(signal, libc::SIG_DFL);
        STOPPED.store(signal, Ordering::SeqCst);
        // SIGSTOP does not wait.
        if signal != libc::SIGSTOP || still() {
            libc::raise(signal);
        }
        if !still() {
            default_action(signal, libc::SIG_IGN);
        }
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &mask, ptr::null_mut());
        libc::pthread_sigmask(libc::SIG_SETMASK, &masked, ptr::null_mut());
        libc::sigaction(signal, &before, ptr::null_mut());
    }
}

/// Replaces what is done at a signal by nothing, or by what is done without a handler. Returns what was.
fn default_action(signal: libc::c_int, with: libc::sighandler_t) -> libc::sigaction {
    // SAFETY: the structures are integers and pointers, for which zero is a value, and ours.
    unsafe {
        let (mut action, mut before): (libc::sigaction, libc::sigaction) =
            (std::mem::zeroed(), std::mem::zeroed());
        action.sa_sigaction = with;
        libc::sigaction(signal, &action, &mut before);
        before
    }
}

/// Gives a signal its default effect on this process.
fn end_by(signal: libc::c_int) {
    // SAFETY: both may be called in a handler; raised again, the signal has its default effect.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}
