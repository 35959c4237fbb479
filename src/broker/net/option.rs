//! setsockopt and getsockopt for who calls them through socketcall: options that are plain bytes. And those that let others
//! have the same port.
//!
//! An option with a pointer in it would mean our memory, and a number of a descriptor would mean ours. So only
//! what is known to hold neither is passed on ([`PLAIN`]). The filter's table has already refused what goes round the
//! rules on addresses.
#![forbid(unsafe_code)]

use std::ops::RangeInclusive;
use std::os::fd::BorrowedFd;

use super::super::cx::{Answer, Cx};
use super::Socket;
use crate::sys::{Errno, net};
use crate::tracee::Result;

/// No option is longer.
const MAX: usize = 64 * 1024;
const SOL_TCP: i32 = libc::IPPROTO_TCP;
const SOL_UDP: i32 = libc::IPPROTO_UDP;
const SOL_ICMPV6: i32 = libc::IPPROTO_ICMPV6;
const SOL_RAW: i32 = 255;

/// Options by level. What is left out, and why: `SO_ATTACH_FILTER`, `SO_GET_FILTER` and the BPF options (26, 50 to 52,
/// pointers, descriptors, and lengths in instructions), what is newer than `SO_RCVMARK`; multicast filters
/// (42 to 48, other layout); `IP_PKTOPTIONS` (9, other layout); the tables of netfilter (64 and up);
/// `TCP_ZEROCOPY_RECEIVE` (35, pointers).
const PLAIN: &[(i32, RangeInclusive<i32>)] = &[
    (libc::SOL_SOCKET, 1..=25),
    (libc::SOL_SOCKET, 27..=49),
    (libc::SOL_SOCKET, 53..=75),
    (libc::IPPROTO_IP, 1..=8),
    (libc::IPPROTO_IP, 10..=15),
    (libc::IPPROTO_IP, 18..=34),
    (libc::IPPROTO_IP, 36..=40),
    (libc::IPPROTO_IP, 49..=51),
    (libc::IPPROTO_IPV6, 1..=2),
    (libc::IPPROTO_IPV6, 7..=33),
    (libc::IPPROTO_IPV6, 49..=63),
    (libc::IPPROTO_IPV6, 66..=78),
    (SOL_TCP, 1..=34),
    (SOL_TCP, 36..=37),
    (SOL_UDP, 1..=104),
    (SOL_ICMPV6, 1..=1),
    (SOL_RAW, 1..=1),
    (libc::SOL_NETLINK, 1..=12),
];

/// `SO_RCVTIMEO` and `SO_SNDTIMEO` with a `struct timeval`, whose halves are as wide as a `long`.
const TIMES: RangeInclusive<i32> = 20..=21;

/// setsockopt(2).
pub(super) fn set(cx: &mut Cx<'_>) -> Result<Answer> {
    let (level, option, value, len) =
        (cx.caller.int(1), cx.caller.int(2), cx.caller.arg(3), cx.caller.int(4));
    let Some(socket) = socket(cx)? else { return Ok(Answer::Continue) };
    let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
    if len > MAX {
        return Err(Errno::ENOBUFS.into());
    }
    is_plain(level, option)?;
    let mut bytes = vec![0; len];
    cx.caller.read(value, &mut bytes)?;
    if is_time(level, option) && len >= 8 {
        bytes = widened(&bytes);
    }
    cx.caller.check()?;
    cx.as_caller(|cx| {
        if level == libc::SOL_SOCKET && SHARING.contains(&option) {
            return set_sharing(cx, socket.fd(), option, &bytes);
        }
        Ok(net::setsockopt(socket.fd(), level, option, &bytes)?)
    })?;
    Ok(Answer::Value(0))
}

/// With one of them on both, another socket can have the same port.
const SHARING: [i32; 2] = [libc::SO_REUSEADDR, libc::SO_REUSEPORT];

/// setsockopt(2) of `SO_REUSEADDR` and `SO_REUSEPORT`.
pub(in super::super) fn share(cx: &mut Cx<'_>) -> Result<Answer> {
    // Where sockets cannot be duplicated nothing is known of what was bound.
    let Some(fd) = cx.duplicate_of(cx.socket_number(), true)? else { return Ok(Answer::Continue) };
    let (option, value, len) = (cx.caller.int(2), cx.caller.arg(3), cx.caller.int(4));
    let socket = cx.socket(fd)?;
    let mut bytes = [0; 4];
    if len < bytes.len() as i32 {
        return Err(Errno::EINVAL.into());
    }
    cx.caller.read(value, &mut bytes)?;
    cx.caller.check()?;
    set_sharing(cx, socket.fd(), option, &bytes)?;
    Ok(Answer::Value(0))
}

/// Noted before, for who relies on it meanwhile, and after, if the socket was bound meanwhile.
fn set_sharing(cx: &Cx<'_>, socket: BorrowedFd<'_>, option: i32, bytes: &[u8]) -> Result<()> {
    let cookie = net::cookie(socket)?;
    cx.supervisor.bound.share(cookie);
    net::setsockopt(socket, libc::SOL_SOCKET, option, bytes)?;
    cx.supervisor.bound.share(cookie);
    Ok(())
}

/// Whether another socket may have the port of this one.
pub(super) fn shares(socket: BorrowedFd<'_>) -> bool {
    SHARING.into_iter().any(|option| net::socket_option(socket, option) != Ok(0))
}

/// getsockopt(2).
pub(super) fn get(cx: &mut Cx<'_>) -> Result<Answer> {
    let (level, option, value, place) =
        (cx.caller.int(1), cx.caller.int(2), cx.caller.arg(3), cx.caller.arg(4));
    let Some(socket) = socket(cx)? else { return Ok(Answer::Continue) };
    is_plain(level, option)?;
    let mut len = [0; 4];
    cx.caller.read(place, &mut len)?;
    let asked = usize::try_from(i32::from_ne_bytes(len)).map_err(|_| Errno::EINVAL)?;
    let time = is_time(level, option);
    let mut bytes = vec![0; if time { 16 } else { asked.min(MAX) }];
    let got = cx.as_caller(|_| Ok(net::getsockopt(socket.fd(), level, option, &mut bytes)?))?;
    bytes.truncate(got);
    if time {
        bytes = narrowed(&bytes);
        bytes.truncate(asked);
    }
    cx.caller.check()?;
    cx.caller.write(value, &bytes)?;
    cx.caller.write(place, &(bytes.len() as u32).to_ne_bytes())?;
    Ok(Answer::Value(0))
}

/// `None`: no address can be refused, and a container's filter keeps us from the socket.
fn socket<'a>(cx: &mut Cx<'a>) -> Result<Option<Socket<'a>>> {
    let left = cx.is_open()?;
    let fd = cx.caller.fd(0);
    cx.duplicate_of(fd, left)?.map(|fd| cx.socket(fd)).transpose()
}

fn is_plain(level: i32, option: i32) -> Result<()> {
    if PLAIN.iter().any(|(known, options)| *known == level && options.contains(&option)) {
        return Ok(());
    }
    log::info!("option {option} of level {level} cannot be used through socketcall");
    Err(Errno::ENOPROTOOPT.into())
}

fn is_time(level: i32, option: i32) -> bool {
    level == libc::SOL_SOCKET && TIMES.contains(&option)
}

/// A `timeval` of 32-bit programs in the machine's layout.
fn widened(narrow: &[u8]) -> Vec<u8> {
    let halves = narrow.chunks_exact(4).take(2).filter_map(|half| half.try_into().ok());
    halves.flat_map(|half| i64::from(i32::from_ne_bytes(half)).to_ne_bytes()).collect()
}

/// A `timeval` of the machine in the layout of 32-bit programs.
fn narrowed(wide: &[u8]) -> Vec<u8> {
    let halves = wide.chunks_exact(8).filter_map(|half| half.try_into().ok());
    halves.flat_map(|half| (i64::from_ne_bytes(half) as i32).to_ne_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_layouts() {
        let narrow: Vec<u8> = [-1_i32, 500_000].iter().flat_map(|half| half.to_ne_bytes()).collect();
        let wide: Vec<u8> = [-1_i64, 500_000].iter().flat_map(|half| half.to_ne_bytes()).collect();
        assert_eq!((widened(&narrow), narrowed(&wide)), (wide.clone(), narrow.clone()));
    }

    #[test]
    fn what_holds_pointers_is_not_plain() {
        for (level, option) in [
            (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER),
            (libc::SOL_SOCKET, libc::SO_ATTACH_BPF),
            (libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF),
            (libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_EBPF),
            (SOL_TCP, 35),
            (libc::IPPROTO_IP, 64),
            (libc::IPPROTO_IPV6, 64),
            (libc::IPPROTO_IP, 48),
            (263, 1),
            (132, 1),
        ] {
            assert!(is_plain(level, option).is_err(), "{level} {option}");
        }
        assert!(is_plain(libc::SOL_SOCKET, libc::SO_REUSEADDR).is_ok() && is_plain(SOL_TCP, 1).is_ok());
    }
}
