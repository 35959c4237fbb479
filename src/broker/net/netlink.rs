//! The port of a netlink socket: where the kernel chooses, it is the process id of whoever binds, which must be the
//! caller's and not ours.
#![forbid(unsafe_code)]

use super::super::cx::Cx;
use super::Socket;
use crate::sys::{Errno, net};
use crate::tracee::Result;

/// Where the port is in a `sockaddr_nl`.
const PORT: std::ops::Range<usize> = 4..8;
const LEN: usize = size_of::<libc::sockaddr_nl>();

/// Binds a netlink socket to `address`.
pub(super) fn bind(cx: &Cx<'_>, socket: &Socket<'_>, address: &[u8]) -> Result<()> {
    if address.len() >= LEN && address[PORT] == [0; 4] {
        let mut named = address.to_vec();
        named[PORT].copy_from_slice(&cx.caller.tgid()?.raw().to_ne_bytes());
        match net::bind(socket.fd(), &named) {
            // Its second socket: the kernel invents a number.
            Err(Errno::EADDRINUSE) => {}
            other => return Ok(other?),
        }
    }
    Ok(net::bind(socket.fd(), address)?)
}

/// Binds a socket that is about to send and has no port yet, as the kernel would.
pub(super) fn name(cx: &Cx<'_>, socket: &Socket<'_>) -> Result<()> {
    let mut own = [0; 128];
    let len = net::getsockname(socket.fd(), &mut own)?;
    if len < LEN || own[PORT] != [0; 4] {
        return Ok(());
    }
    let mut address = [0; LEN];
    address[..2].copy_from_slice(&(libc::AF_NETLINK as u16).to_ne_bytes());
    bind(cx, socket, &address)
}
