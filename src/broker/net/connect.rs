//! connect.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;

use super::super::cx::{Answer, Cx};
use super::address::{Meaning, Raw, Use};
use super::way::Way;
use super::{Destination, Socket, bind, netlink, unsafely};
use crate::policy::Address;
use crate::sys::{Errno, fs, net};
use crate::tracee::Result;

/// connect(2).
pub(in super::super) fn connect(cx: &mut Cx<'_>) -> Result<Answer> {
    let (pointer, len) = (cx.value(0)?, cx.value_int(1)? as i32);
    let Some(fd) = cx.duplicate()? else { return unsafely::judge(cx) };
    let raw = Raw::read(&cx.caller, pointer, len).map_err(|stop| match fs::is_path_only(fd.as_fd()) {
        Ok(true) => Errno::EBADF.into(),
        _ => stop,
    })?;
    let socket = cx.socket(fd)?;
    let meaning = socket.meaning(&raw, Use::Connect)?;
    let chooses = cx.chooses(&socket)?;
    if cx.is_open()? && !chooses && !needs_us(cx, &socket, &meaning) {
        return Ok(Answer::Continue);
    }
    let near = is_near(&socket, &meaning);
    let destination = cx.destination(&socket, raw, meaning, Way::default())?;
    if socket.domain == libc::AF_NETLINK {
        netlink::name(cx, &socket)?;
    }
    let run = |cx: &mut Cx<'_>| run(cx, &socket, &destination, near);
    if socket.is_unix() {
        cx.as_peer(run)?
    } else {
        cx.as_caller(run)?
    }
    if chooses {
        bind::learn_chosen(cx, &socket)?;
    }
    Ok(Answer::Value(0))
}

/// Whether the second lock refuses the call, so that only we can make it.
fn needs_us(cx: &Cx<'_>, socket: &Socket<'_>, meaning: &Meaning) -> bool {
    let stream = socket.is_inet() && socket.kind == libc::SOCK_STREAM;
    cx.supervisor.options.backstop && (stream || matches!(meaning, Meaning::Address(Address::Abstract(_))))
}

/// Whether the other end is on this machine: it is there at once, unless its queue is full.
fn is_near(socket: &Socket<'_>, meaning: &Meaning) -> bool {
    socket.is_unix()
        || match meaning {
            Meaning::Address(Address::Inet(addr, _)) => addr.is_loopback(),
            Meaning::Address(Address::Inet6 { addr, .. }) => addr.to_canonical().is_loopback(),
            _ => false,
        }
}

fn run(cx: &mut Cx<'_>, socket: &Socket<'_>, destination: &Destination, near: bool) -> Result<()> {
    let may_block = socket.kind != libc::SOCK_DGRAM && !net::is_nonblocking(socket.fd())?;
    let _watched = match may_block {
        true if near => Some(cx.waits_seldom()?),
        true => Some(cx.waits()?),
        false => None,
    };
    net::connect(socket.fd(), destination.raw.bytes()).map_err(|errno| socket.stop(errno))
}
