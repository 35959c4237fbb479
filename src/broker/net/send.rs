//! sendto, sendmsg, sendmmsg.
//!
//! A message is sent as one piece where its boundaries mean something, and in portions on a stream. The call is tried
//! without waiting first, so that only a call that does wait has to be watched over.
#![forbid(unsafe_code)]

use super::super::cx::{Answer, Cx};
use super::address::{self, Meaning, Raw, Use};
use super::control::{self, Control};
use super::message::{Data, Layout, MAX_MESSAGES, Message};
use super::way::Way;
use super::{Destination, Socket, bind, netlink, unsafely};
use crate::policy::Address;
use crate::sys::{Errno, net, process};
use crate::tracee::{Result, Stop};

/// So much of a stream is copied at once.
const PORTION: usize = 64 * 1024;
/// A message that is sent as one may be so large, whatever the socket's buffer is.
const DATAGRAM: std::ops::RangeInclusive<usize> = 128 * 1024..=16 << 20;
const SO_ZEROCOPY: i32 = 60;
/// Set by the kernel for 32-bit callers only.
const MSG_CMSG_COMPAT: i32 = i32::MIN;

/// sendto(2).
pub(in super::super) fn sendto(cx: &mut Cx<'_>) -> Result<Answer> {
    let (addr, len) = (cx.value(0)?, cx.value(1)?);
    let (name, name_len) = (cx.value(3)?, cx.value_int(4)? as i32);
    let Some(fd) = cx.duplicate()? else { return unsafely::judge(cx) };
    let socket = cx.socket(fd)?;
    let raw = if name == 0 { Raw::NONE } else { Raw::read(&cx.caller, name, name_len)? };
    let flags = cx.flags() & !MSG_CMSG_COMPAT;
    if name != 0 && raw.bytes().is_empty() && socket.is_inet() && socket.kind == libc::SOCK_DGRAM {
        return Err(Errno::EINVAL.into());
    }
    let meaning = meaning(&socket, &raw, flags)?;
    let chooses = !raw.bytes().is_empty() && cx.chooses(&socket)?;
    if cx.begun.bytes == 0 && cx.is_open()? && !chooses && !needs_us(cx, &meaning, flags) {
        return Ok(Answer::Continue);
    }
    let destination = cx.destination(&socket, raw, meaning, Way::default())?;
    let control = control::none(cx, &socket)?;
    let data = Data::new(&cx.caller, addr, len)?;
    let sent = send(cx, &socket, &destination, &control, &data, flags)?;
    if chooses {
        bind::learn_chosen(cx, &socket)?;
    }
    Ok(Answer::Value(sent as i64))
}

/// sendmsg(2).
pub(in super::super) fn sendmsg(cx: &mut Cx<'_>) -> Result<Answer> {
    let layout = Layout::of(cx);
    let flags = flags(cx, layout)?;
    let Some(fd) = cx.duplicate()? else { return unsafely::judge(cx) };
    let socket = cx.socket(fd)?;
    let message = layout.read(&cx.caller, cx.value(0)?)?;
    match one(cx, &socket, layout, &message, flags, true)? {
        None => Ok(Answer::Continue),
        Some(sent) => Ok(Answer::Value(sent as i64)),
    }
}

/// sendmmsg(2): what was sent counts, and an error only if it was nothing.
pub(in super::super) fn sendmmsg(cx: &mut Cx<'_>) -> Result<Answer> {
    let layout = Layout::of(cx);
    let flags = flags(cx, layout)?;
    let Some(fd) = cx.duplicate()? else { return unsafely::judge(cx) };
    let socket = cx.socket(fd)?;
    let start = cx.value(0)?;
    while cx.begun.messages < cx.value_int(1)?.min(MAX_MESSAGES) {
        let done = cx.begun.messages;
        let here = start.wrapping_add(u64::from(done) * layout.counted());
        let sent = layout
            .read(&cx.caller, here)
            .and_then(|message| one(cx, &socket, layout, &message, flags, done == 0))
            .and_then(|sent| {
                let Some(sent) = sent else { return Ok(false) };
                cx.caller.write(here.wrapping_add(layout.count()), &(sent as u32).to_ne_bytes())?;
                Ok(true)
            });
        match sent {
            Ok(true) => cx.begun.messages += 1,
            Err(stop) if cx.supervisor.crew.leaves(&stop) => return Err(stop),
            // Nothing can be refused, so the first message was left to the kernel, and with it all others.
            Ok(false) if done == 0 => return Ok(Answer::Continue),
            Err(Stop::Errno(errno)) if done == 0 => return Err(errno.into()),
            Err(Stop::Interrupted) if done == 0 => return Err(Stop::Interrupted),
            Err(Stop::Gone) => return Err(Stop::Gone),
            Ok(false) | Err(Stop::Errno(_) | Stop::Interrupted) => break,
        }
    }
    Ok(Answer::Value(cx.begun.messages.into()))
}

fn flags(cx: &Cx<'_>, layout: Layout) -> Result<i32> {
    let flags = cx.flags();
    if layout.wide && flags & MSG_CMSG_COMPAT != 0 {
        return Err(Errno::EINVAL.into());
    }
    Ok(flags & !MSG_CMSG_COMPAT)
}

/// Sends one message. `None`: the kernel may do it, if it is to be asked (`may_leave`).
fn one(
    cx: &mut Cx<'_>,
    socket: &Socket<'_>,
    layout: Layout,
    message: &Message,
    flags: i32,
    may_leave: bool,
) -> Result<Option<usize>> {
    let raw = match message.name {
        0 => Raw::NONE,
        _ if message.name_len < 0 => return Err(Errno::EINVAL.into()),
        // Here the kernel cuts what is too long.
        name => Raw::read(&cx.caller, name, message.name_len.min(address::MAX as i32))?,
    };
    let meaning = meaning(socket, &raw, flags)?;
    let chooses = !raw.bytes().is_empty() && cx.chooses(socket)?;
    if may_leave && cx.begun.bytes == 0 && cx.is_open()? && !chooses && !needs_us(cx, &meaning, flags) {
        return Ok(None);
    }
    let data = Data::read(&cx.caller, layout, message)?;
    let control = control::read(cx, socket, layout, message)?;
    let destination = cx.destination(socket, raw, meaning, control.way)?;
    let sent = send(cx, socket, &destination, &control, &data, flags)?;
    if chooses {
        bind::learn_chosen(cx, socket)?;
    }
    Ok(Some(sent))
}

/// What the destination of a message means.
fn meaning(socket: &Socket<'_>, raw: &Raw, flags: i32) -> Result<Meaning> {
    let connects = flags & libc::MSG_FASTOPEN != 0;
    Ok(match (socket.is_inet() && socket.kind == libc::SOCK_STREAM, connects) {
        _ if raw.bytes().is_empty() => Meaning::Nothing,
        (true, true) => socket.meaning(raw, Use::Connect)?,
        (true, false) => Meaning::Ignored,
        (false, _) => socket.meaning(raw, Use::Send)?,
    })
}

/// Whether the second lock refuses the call, so that only we can make it.
fn needs_us(cx: &Cx<'_>, meaning: &Meaning, flags: i32) -> bool {
    let scoped = matches!(meaning, Meaning::Address(Address::Abstract(_)));
    cx.supervisor.options.backstop && (scoped || flags & libc::MSG_FASTOPEN != 0)
}

fn send(
    cx: &mut Cx<'_>,
    socket: &Socket<'_>,
    destination: &Destination,
    control: &Control,
    data: &Data,
    flags: i32,
) -> Result<usize> {
    if flags & libc::MSG_ZEROCOPY != 0 && net::socket_option(socket.fd(), SO_ZEROCOPY) == Ok(1) {
        // The pages that would be lent are ours: programs copy then.
        return Err(Errno::ENOBUFS.into());
    }
    let stream = socket.kind == libc::SOCK_STREAM;
    let portion = if stream { PORTION } else { largest(socket)? };
    if !stream && data.total > portion as u64 {
        return Err(Errno::EMSGSIZE.into());
    }
    if socket.domain == libc::AF_NETLINK {
        netlink::name(cx, socket)?;
    }
    let ask = Ask { flags: flags & !libc::MSG_ZEROCOPY, waits: may_wait(socket, flags)? };
    let mut copy = Vec::new();
    while cx.begun.bytes == 0 || cx.begun.bytes < data.total {
        let sent = cx.begun.bytes;
        let portion = data.copy(&cx.caller, sent, portion, stream, &mut copy).and_then(|()| {
            let (name, control) = match sent {
                0 => (destination.raw.bytes(), control.bytes.as_slice()),
                _ => (&[][..], &[][..]),
            };
            ask.send(cx, socket, name, &copy, control)
        });
        match portion {
            Ok(Portion { len, last }) => {
                cx.begun.bytes += len as u64;
                if last && cx.begun.bytes < data.total && cx.supervisor.crew.is_ending() {
                    return Err(Stop::Interrupted);
                }
                if last || !stream || len == 0 {
                    break;
                }
            }
            Err(stop) if cx.supervisor.crew.leaves(&stop) => return Err(stop),
            Err(Stop::Errno(errno)) if sent == 0 => {
                if errno == Errno::EPIPE && stream && flags & libc::MSG_NOSIGNAL == 0 {
                    // Before the answer, so that it is there when the call returns.
                    let _ = process::tgkill(cx.caller.tgid()?, cx.caller.call.tid, libc::SIGPIPE);
                }
                return Err(errno.into());
            }
            Err(Stop::Interrupted) if sent == 0 => return Err(Stop::Interrupted),
            Err(Stop::Errno(_) | Stop::Interrupted) => break,
            Err(Stop::Gone) => return Err(Stop::Gone),
        }
    }
    // The next message begins at its beginning.
    Ok(std::mem::take(&mut cx.begun.bytes) as usize)
}

/// How large a message can be that the socket sends as one.
fn largest(socket: &Socket<'_>) -> Result<usize> {
    let buffer = net::socket_option(socket.fd(), libc::SO_SNDBUF)?;
    Ok(usize::try_from(buffer).unwrap_or(0).clamp(*DATAGRAM.start(), *DATAGRAM.end()))
}

fn may_wait(socket: &Socket<'_>, flags: i32) -> Result<bool> {
    Ok(flags & libc::MSG_DONTWAIT == 0 && !net::is_nonblocking(socket.fd())?)
}

/// How the kernel is asked to send.
struct Ask {
    flags: i32,
    /// The call may wait.
    waits: bool,
}

/// What was sent at once.
struct Portion {
    len: usize,
    /// The call waited and was not able to send all, so it is over.
    last: bool,
}

impl Ask {
    fn send(
        &self,
        cx: &mut Cx<'_>,
        socket: &Socket<'_>,
        name: &[u8],
        data: &[u8],
        control: &[u8],
    ) -> Result<Portion> {
        let run = |cx: &mut Cx<'_>| {
            // A call that connects would come back before the connection is there.
            if self.flags & libc::MSG_FASTOPEN == 0 || !self.waits {
                let flags = self.flags | libc::MSG_DONTWAIT;
                match net::sendmsg(socket.fd(), name, data, control, flags) {
                    Err(Errno::EAGAIN) if self.waits => {}
                    sent => return Ok(Portion { len: sent?, last: false }),
                }
            }
            let _watched = cx.waits()?;
            let sent = net::sendmsg(socket.fd(), name, data, control, self.flags);
            let len = sent.map_err(|errno| socket.stop(errno))?;
            Ok(Portion { len, last: len < data.len() })
        };
        if socket.is_unix() { cx.as_peer(run) } else { cx.as_caller(run) }
    }
}
