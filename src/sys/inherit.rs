//! What came with the process: descriptors, by their number, and the signal that it was told to ignore.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

static SIGPIPE_IGNORED: AtomicBool = AtomicBool::new(false);

/// Runs before the standard library ignores SIGPIPE itself: no other moment tells what was before.
// SAFETY: the C library calls what is in this section, with arguments that need not be taken, before anything else runs; the
// function makes one system call and stores a flag.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = {
    extern "C" fn look() {
        // SAFETY: the structure is integers and pointers, for which zero is a value.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one sigaction.
        let known = unsafe { libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut action) } == 0;
        SIGPIPE_IGNORED.store(known && action.sa_sigaction == libc::SIG_IGN, Ordering::Relaxed);
    }
    look
};

/// Whether SIGPIPE was ignored when the process started.
pub fn ignored_sigpipe() -> bool {
    // So that it is linked.
    std::hint::black_box(&raw const AT_START);
    SIGPIPE_IGNORED.load(Ordering::Relaxed)
}

/// A copy of descriptor `fd`. The original is kept from programs that are executed, unless it is a standard stream.
pub fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: numbers only; a descriptor that is not open is an error.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    let copy = unsafe { OwnedFd::from_raw_fd(copy) };
    // SAFETY: numbers only; FD_CLOEXEC changes nothing for whoever uses the descriptor in this process.
    if fd > 2 && unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;

    #[test]
    fn a_copy_writes_to_the_same_place() {
        let (mut reader, writer) = io::pipe().unwrap();
        File::from(inherited(writer.as_raw_fd()).unwrap()).write_all(b"x").unwrap();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
        assert!(inherited(-1).is_err());
    }
}
