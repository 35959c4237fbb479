//! Sockets of the caller, in duplicate: calls with an address as raw bytes.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{Errno, Result, check, unit};

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

/// getpeername(2), as [`getsockname`].
pub(crate) fn getpeername(socket: BorrowedFd<'_>, buf: &mut [u8; 128]) -> Result<usize> {
    let mut len = buf.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes and the true length.
    unit(unsafe { libc::getpeername(socket.as_raw_fd(), buf.as_mut_ptr().cast(), &raw mut len) }.into())?;
    Ok((len as usize).min(buf.len()))
}

/// Whether the socket has a peer.
pub(crate) fn has_peer(socket: BorrowedFd<'_>) -> bool {
    getpeername(socket, &mut [0; 128]).is_ok()
}

/// getsockopt(2) of an integer at level `SOL_SOCKET`.
pub(crate) fn socket_option(socket: BorrowedFd<'_>, option: i32) -> Result<i32> {
    socket_option_at(socket, libc::SOL_SOCKET, option)
}

/// getsockopt(2) of an integer at this level.
pub(crate) fn socket_option_at(socket: BorrowedFd<'_>, level: i32, option: i32) -> Result<i32> {
    let mut value = 0_i32;
    let mut len = size_of::<i32>() as libc::socklen_t;
    let place = (&raw mut value).cast();
    // SAFETY: the kernel writes at most `len` bytes into the integer.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, place, &raw mut len) };
    unit(result.into())?;
    Ok(value)
}

/// getsockopt(2) of raw bytes: returns how many there are. Only for options whose value holds no pointer, number of a
/// descriptor, or length in other units than bytes.
pub(crate) fn getsockopt(socket: BorrowedFd<'_>, level: i32, option: i32, value: &mut [u8]) -> Result<usize> {
    let mut len = libc::socklen_t::try_from(value.len()).map_err(|_| Errno::EINVAL)?;
    let place = value.as_mut_ptr().cast();
    // SAFETY: the kernel writes at most `len` bytes, which `value` has, and the true length.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, place, &raw mut len) };
    unit(result.into())?;
    Ok((len as usize).min(value.len()))
}

/// setsockopt(2) of raw bytes, as [`getsockopt`].
pub(crate) fn setsockopt(socket: BorrowedFd<'_>, level: i32, option: i32, value: &[u8]) -> Result<()> {
    let len = libc::socklen_t::try_from(value.len()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the kernel reads `len` bytes, which `value` has.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value.as_ptr().cast(), len) };
    unit(result.into())
}

/// Whether it is the address of all on a link that this machine is on: without `SO_BROADCAST` nobody connects to one. Also
/// where the kernel cannot be asked.
pub(crate) fn is_broadcast(addr: std::net::Ipv4Addr) -> bool {
    let asks = addr.is_broadcast() || !(addr.is_loopback() || addr.is_unspecified());
    asks && socket(libc::AF_INET, libc::SOCK_DGRAM, 0).map_or(true, |socket| {
        let mut name = [0; size_of::<libc::sockaddr_in>()];
        name[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        name[2..4].copy_from_slice(&1_u16.to_be_bytes());
        name[4..8].copy_from_slice(&addr.octets());
        connect(std::os::fd::AsFd::as_fd(&socket), &name) == Err(Errno::EACCES)
    })
}

/// The number of the socket that no other ever has: `SO_COOKIE`.
pub(crate) fn cookie(socket: BorrowedFd<'_>) -> Result<u64> {
    let mut cookie = [0; 8];
    getsockopt(socket, libc::SOL_SOCKET, libc::SO_COOKIE, &mut cookie)?;
    Ok(u64::from_ne_bytes(cookie))
}

/// The network namespace that it is in: `SO_NETNS_COOKIE`, Linux 5.14. `None` where the kernel does not say.
pub(crate) fn namespace(socket: BorrowedFd<'_>) -> Option<u64> {
    const SO_NETNS_COOKIE: i32 = 71;
    let mut cookie = [0; 8];
    getsockopt(socket, libc::SOL_SOCKET, SO_NETNS_COOKIE, &mut cookie).ok()?;
    Some(u64::from_ne_bytes(cookie))
}

/// sendmsg(2), never with SIGPIPE: one piece of data, the destination and the ancillary data as raw bytes in the
/// machine's own layout. What is empty is not given.
pub(crate) fn sendmsg(
    socket: BorrowedFd<'_>,
    name: &[u8],
    data: &[u8],
    control: &[u8],
    flags: i32,
) -> Result<usize> {
    let given = |bytes: &[u8]| {
        if bytes.is_empty() { std::ptr::null_mut() } else { bytes.as_ptr().cast_mut().cast() }
    };
    let mut piece = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    // SAFETY: a zeroed `msghdr` is a valid one: integers and null pointers.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = given(name);
    message.msg_namelen = name.len() as libc::socklen_t;
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = given(control);
    message.msg_controllen = control.len() as _;
    // SAFETY: the kernel reads the three buffers at their lengths, which outlive the call, and writes to none.
    let n = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags | libc::MSG_NOSIGNAL) };
    Ok(check(n as _)? as usize)
}

/// socket(2), close-on-exec.
pub(crate) fn socket(domain: i32, kind: i32, protocol: i32) -> Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) }.into())?;
    // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Whether calls on the descriptor do not block: `O_NONBLOCK` of its description.
pub(crate) fn is_nonblocking(socket: BorrowedFd<'_>) -> Result<bool> {
    // SAFETY: no memory is passed.
    let flags = check(unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFL) }.into())?;
    Ok(flags as i32 & libc::O_NONBLOCK != 0)
}
