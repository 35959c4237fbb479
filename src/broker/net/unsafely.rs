//! `core/trace/allow_unsafe_connect`: where a container's filter keeps us from the sockets of callers, their addresses are
//! looked at and the kernel makes the call, which reads them again.
//!
//! Against a program that does what it was written to do this is as good as the other way; one of several threads can
//! change the address, or the socket behind the number, in between. Who asks for it prefers that to no network at
//! all. Without the socket its domain is what the address claims, and it cannot be known what was bound.
#![forbid(unsafe_code)]

use super::super::cx::{Answer, Cx};
use super::super::judge::{End, Leaves};
use super::address::{self, Meaning, Raw, Use};
use super::message::{Layout, MAX_MESSAGES};
use super::{cannot_duplicate, socket};
use crate::gate::Op;
use crate::policy::{Address, NetOp};
use crate::resolve::{self, Base, Place};
use crate::sys::{CallerFd, Errno};
use crate::tracee::Result;

/// Judges a call on a socket that cannot be duplicated, and leaves it to the kernel.
pub(super) fn judge(cx: &mut Cx<'_>) -> Result<Answer> {
    if cx.is_open()? {
        return Ok(Answer::Continue);
    }
    match cx.call.op {
        Op::Bind => one(cx, Use::Bind, cx.value(0)?, cx.value_int(1)? as i32)?,
        Op::Connect => one(cx, Use::Connect, cx.value(0)?, cx.value_int(1)? as i32)?,
        Op::Sendto => one(cx, Use::Send, cx.value(3)?, cx.value_int(4)? as i32)?,
        Op::Sendmsg => message(cx, cx.value(0)?)?,
        Op::Sendmmsg => {
            let (start, layout) = (cx.value(0)?, Layout::of(cx));
            // The first that is refused refuses them all: what the kernel sends cannot be cut.
            for number in 0..cx.value_int(1)?.min(MAX_MESSAGES) {
                message(cx, start.wrapping_add(u64::from(number) * layout.counted()))?;
            }
        }
        // Whether it binds cannot be seen.
        _ => cx.caller.check()?,
    }
    Ok(Answer::Continue)
}

fn message(cx: &mut Cx<'_>, at: u64) -> Result<()> {
    let message = Layout::of(cx).read(&cx.caller, at)?;
    if message.name_len < 0 {
        return Err(Errno::EINVAL.into());
    }
    one(cx, Use::Send, message.name, message.name_len.min(address::MAX as i32))
}

fn one(cx: &mut Cx<'_>, used: Use, pointer: u64, len: i32) -> Result<()> {
    if used == Use::Send && (pointer == 0 || len == 0) {
        return cx.caller.check();
    }
    let raw = Raw::read(&cx.caller, pointer, len)?;
    let (domain, kind) = match raw.family() {
        libc::AF_UNSPEC => (libc::AF_INET, libc::SOCK_DGRAM),
        family => (family, libc::SOCK_DGRAM),
    };
    match address::meaning(domain, kind, &raw, used)? {
        Meaning::Ignored | Meaning::Nothing => cx.caller.check(),
        Meaning::Address(Address::Other { .. }) if socket::DISGUISES.contains(&domain) => {
            Err(Errno::ECONNREFUSED.into())
        }
        Meaning::Address(address) => may(cx, used, &address),
        // A name would be made in the file system, and where that is must be pinned.
        Meaning::Path(_) if used == Use::Bind => Err(cannot_duplicate()),
        Meaning::Path(path) => {
            let base = Base::new(&cx.caller, CallerFd(libc::AT_FDCWD), &path)?;
            cx.as_caller(|cx| {
                let object = resolve::object(&cx.caller, base, &path, true)?;
                may(
                    cx,
                    used,
                    &match object.place {
                        Place::At(path) => Address::Unix(path.bytes().to_vec()),
                        Place::Own | Place::Foreign => Address::Unix(Vec::new()),
                    },
                )
            })
        }
    }
}

fn may(cx: &mut Cx<'_>, used: Use, address: &Address) -> Result<()> {
    let op = if used == Use::Bind { NetOp::Bind } else { NetOp::Connect };
    let fd = cx.socket_number();
    cx.may_net(op, &End { kind: libc::SOCK_DGRAM, address, file: None, leaves: Leaves::No }, fd, || None)
}
