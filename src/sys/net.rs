//! Sockets of the caller, in duplicate: calls with an address as raw bytes.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use super::{Result, check, unit};

/// connect(2). May block as the socket says.
pub(crate) fn connect(socket: BorrowedFd<'_>, address: &[u8]) -> Result<()> {
    // SAFETY: the kernel reads `address.len()` bytes.
    unit(
        unsafe {
            libc::connect(socket.as_raw_fd(), address.as_ptr().cast(), address.len() as libc::socklen_t)
        }
        .into(),
    )
}

/// bind(2).
pub(crate) fn bind(socket: BorrowedFd<'_>, address: &[u8]) -> Result<()> {
    // SAFETY: the kernel reads `address.len()` bytes.
    unit(
        unsafe { libc::bind(socket.as_raw_fd(), address.as_ptr().cast(), address.len() as libc::socklen_t) }
            .into(),
    )
}

/// listen(2).
pub(crate) fn listen(socket: BorrowedFd<'_>, backlog: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    unit(unsafe { libc::listen(socket.as_raw_fd(), backlog) }.into())
}

/// getsockname(2): the address as raw bytes, at most 128.
pub(crate) fn getsockname(socket: BorrowedFd<'_>, buf: &mut [u8; 128]) -> Result<usize> {
    let mut len = buf.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes and the true length.
    unit(unsafe { libc::getsockname(socket.as_raw_fd(), buf.as_mut_ptr().cast(), &raw mut len) }.into())?;
    Ok((len as usize).min(buf.len()))
}

/// getsockopt(2) of an integer at level `SOL_SOCKET`.
pub(crate) fn socket_option(socket: BorrowedFd<'_>, option: i32) -> Result<i32> {
    let mut value = 0_i32;
    let mut len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes into the integer.
    unit(
        unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw mut value).cast(),
                &raw mut len,
            )
        }
        .into(),
    )?;
    Ok(value)
}

/// sendto(2), never with SIGPIPE.
pub(crate) fn sendto(socket: BorrowedFd<'_>, data: &[u8], flags: i32, address: &[u8]) -> Result<usize> {
    // SAFETY: the kernel reads the two buffers at their lengths.
    let n = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            data.as_ptr().cast(),
            data.len(),
            flags | libc::MSG_NOSIGNAL,
            if address.is_empty() { std::ptr::null() } else { address.as_ptr().cast() },
            address.len() as libc::socklen_t,
        )
    };
    Ok(check(n as _)? as usize)
}
