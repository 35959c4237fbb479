//! Ancillary data: checked as the kernel does, and put into the machine's own layout.
//!
//! Descriptors are numbers of the caller's table and become ours; credentials are those of the caller; what would
//! send a packet another way than to the address that was judged is refused.
#![forbid(unsafe_code)]

use std::os::fd::{AsRawFd, OwnedFd};

use super::super::cx::Cx;
use super::Socket;
use super::message::{Layout, Message};
use super::way::Way;
use crate::sys::{CallerFd, Errno};
use crate::tracee::{Caller, Result};

/// The kernel's default of `net.core.optmem_max`, in its newer, larger form.
const MAX: u64 = 128 * 1024;
/// `SCM_MAX_FD`.
const MAX_DESCRIPTORS: usize = 253;
/// A header in the machine's layout.
const HEADER: usize = size_of::<libc::cmsghdr>();
const ALIGN: usize = size_of::<usize>();

const CAP_SETGID: u32 = 6;
const CAP_SETUID: u32 = 7;

const SOL_IP: i32 = libc::IPPROTO_IP;
const SOL_IPV6: i32 = libc::IPPROTO_IPV6;
const SOL_SCTP: i32 = 132;
/// What may be said about one packet on its way to the address that was judged.
const IP_PASS: &[i32] = &[libc::IP_TOS, libc::IP_TTL, libc::IP_PKTINFO, 52 /* IP_PROTOCOL */];
const IPV6_2292PKTINFO: i32 = 2;
const IPV6_PASS: &[i32] = &[
    IPV6_2292PKTINFO,
    8,  // IPV6_2292HOPLIMIT
    11, // IPV6_FLOWINFO
    libc::IPV6_PKTINFO,
    libc::IPV6_HOPLIMIT,
    libc::IPV6_TCLASS,
    libc::IPV6_DONTFRAG,
];
/// Source routes and other extension headers: hop-by-hop, destination and routing, old and new.
const IPV6_ROUTES: &[i32] = &[3, 4, 5, 54, 55, 57, 59];

/// Ancillary data in the machine's layout.
#[derive(Debug, Default)]
pub(super) struct Control {
    pub(super) bytes: Vec<u8>,
    /// What it says about where the message goes.
    pub(super) way: Way,
    /// The descriptors that it names.
    _descriptors: Vec<OwnedFd>,
}

/// One item as the caller wrote it.
#[derive(Debug, PartialEq, Eq)]
struct Item<'b> {
    level: i32,
    kind: i32,
    data: &'b [u8],
}

/// Reads the ancillary data of a message.
pub(super) fn read(cx: &Cx<'_>, socket: &Socket<'_>, layout: Layout, message: &Message) -> Result<Control> {
    let mut raw = Vec::new();
    if message.control_len != 0 {
        if message.control_len > MAX {
            return Err(Errno::ENOBUFS.into());
        }
        raw.resize(message.control_len as usize, 0);
        cx.caller.read(message.control, &mut raw)?;
    }
    translate(cx, socket, &items(layout, &raw)?)
}

/// Ancillary data for a message that comes without.
pub(super) fn none(cx: &Cx<'_>, socket: &Socket<'_>) -> Result<Control> {
    translate(cx, socket, &[])
}

/// The items in `raw`, by the kernel's own rules.
fn items(layout: Layout, raw: &[u8]) -> std::result::Result<Vec<Item<'_>>, Errno> {
    let word = layout.word();
    let header = word + 8;
    let mut items = Vec::new();
    let mut at = 0;
    loop {
        let left = raw.len().saturating_sub(at);
        // Of 32-bit callers the kernel takes whatever is behind an item for another one.
        if left < header && (layout.wide || at == 0 || left == 0) {
            return Ok(items);
        }
        let len = usize::try_from(layout.word_at(raw, at)).map_err(|_| Errno::EINVAL)?;
        let int = |at: usize| -> i32 {
            let bytes = raw.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
            i32::from_ne_bytes(bytes)
        };
        if len < header || len > raw.len() - at {
            return Err(Errno::EINVAL);
        }
        let (level, kind) = (int(at + word), int(at + word + 4));
        items.push(Item { level, kind, data: &raw[at + header..at + len] });
        at = (at + len).next_multiple_of(word);
    }
}

fn translate(cx: &Cx<'_>, socket: &Socket<'_>, items: &[Item<'_>]) -> Result<Control> {
    let mut control = Control::default();
    let mut introduced = !socket.is_unix();
    for item in items {
        match (item.level, item.kind) {
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) if socket.is_unix() => {
                let data = descriptors(&cx.caller, item.data, &mut control._descriptors)?;
                control.push(item, &data);
            }
            // Other sockets send none: the kernel ignores them, or fails, whatever the numbers.
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => control.push(item, &vec![0xff; item.data.len()]),
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if socket.is_unix() => {
                let data = credentials(cx, item.data)?;
                control.push(item, &data);
                introduced = true;
            }
            (libc::SOL_SOCKET, libc::SO_MARK) if socket.is_inet() => {
                return Err(refused(true, "SO_MARK", libc::SO_MARK).into());
            }
            // Nobody looks at them.
            (SOL_IP | SOL_IPV6, _) if !is_heard(socket, item.level) => control.push(item, item.data),
            (SOL_IP, kind) if !IP_PASS.contains(&kind) => {
                return Err(refused(kind == libc::IP_RETOPTS, "IP_RETOPTS", kind).into());
            }
            (SOL_IPV6, kind) if !IPV6_PASS.contains(&kind) => {
                return Err(refused(IPV6_ROUTES.contains(&kind), "an IPv6 extension header", kind).into());
            }
            (SOL_IP | SOL_IPV6, kind) => {
                match (item.level, kind) {
                    (SOL_IP, libc::IP_PKTINFO) => control.way.learn_inet(item.data),
                    (SOL_IPV6, IPV6_2292PKTINFO | libc::IPV6_PKTINFO) => control.way.learn_inet6(item.data),
                    _ => {}
                }
                control.push(item, item.data);
            }
            (SOL_SCTP, kind) if socket.is_inet() => return Err(refused(true, "SCTP", kind).into()),
            _ => control.push(item, item.data),
        }
    }
    // Without a word from us the peer would take our user for the caller's.
    if !introduced && cx.differs()? {
        let identity = cx.caller.identity()?;
        let item = Item { level: libc::SOL_SOCKET, kind: libc::SCM_CREDENTIALS, data: &[] };
        control.push(&item, &ucred(identity.fsuid, identity.fsgid));
    }
    Ok(control)
}

/// Whether a socket looks at ancillary data of this level, which is one of IP's. One of IPv6 also talks to IPv4.
fn is_heard(socket: &Socket<'_>, level: i32) -> bool {
    socket.kind != libc::SOCK_STREAM
        && match socket.domain {
            libc::AF_INET => level == SOL_IP,
            libc::AF_INET6 => true,
            _ => false,
        }
}

/// `EPERM`, and a word, for what would lead elsewhere; `EINVAL` for what no kernel knows.
fn refused(known: bool, name: &str, kind: i32) -> Errno {
    if !known {
        return Errno::EINVAL;
    }
    log::info!("ancillary data is refused: {name} ({kind}) can send a packet past the rules on addresses");
    Errno::EPERM
}

/// Duplicates the descriptors of an `SCM_RIGHTS`, in order: all or none.
fn descriptors(caller: &Caller<'_>, data: &[u8], ours: &mut Vec<OwnedFd>) -> Result<Vec<u8>> {
    if data.len() / 4 > MAX_DESCRIPTORS - ours.len() {
        return Err(Errno::EINVAL.into());
    }
    let mut numbers = Vec::with_capacity(data.len());
    for number in data.chunks_exact(4) {
        let number = i32::from_ne_bytes(number.try_into().map_err(|_| Errno::EINVAL)?);
        let fd = caller.duplicate(CallerFd(number))?;
        numbers.extend_from_slice(&fd.as_raw_fd().to_ne_bytes());
        ours.push(fd);
    }
    Ok(numbers)
}

/// The credentials that the caller may claim. The process id has to be ours: only the kernel could say another.
fn credentials(cx: &Cx<'_>, data: &[u8]) -> Result<Vec<u8>> {
    let number =
        |at: usize| -> Option<u32> { Some(u32::from_ne_bytes(data.get(at..at + 4)?.try_into().ok()?)) };
    let (Some(pid), Some(uid), Some(gid), 12) = (number(0), number(4), number(8), data.len()) else {
        return Err(Errno::EINVAL.into());
    };
    let identity = cx.caller.identity()?;
    let has = |cap: u32| identity.caps >> cap & 1 == 1;
    // Real, effective and saved.
    let own = (identity.uids[..3].contains(&uid), identity.gids[..3].contains(&gid));
    let known = (own.0 || has(CAP_SETUID)) && (own.1 || has(CAP_SETGID));
    if pid != cx.caller.tgid()?.raw().unsigned_abs() || !known {
        return Err(Errno::EPERM.into());
    }
    // Effective ids are what we take on for the call.
    Ok(match own == (true, true) && cx.differs()? {
        true => ucred(identity.fsuid, identity.fsgid),
        false => ucred(uid, gid),
    })
}

fn ucred(uid: u32, gid: u32) -> Vec<u8> {
    [std::process::id(), uid, gid].iter().flat_map(|id| id.to_ne_bytes()).collect()
}

impl Control {
    fn push(&mut self, item: &Item<'_>, data: &[u8]) {
        self.bytes.extend_from_slice(&(HEADER + data.len()).to_ne_bytes());
        self.bytes.extend_from_slice(&item.level.to_ne_bytes());
        self.bytes.extend_from_slice(&item.kind.to_ne_bytes());
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(layout: Layout, items: &[(i32, i32, &[u8])]) -> Vec<u8> {
        let mut raw = Vec::new();
        for (level, kind, data) in items {
            let len = (layout.word() + 8 + data.len()) as u64;
            raw.extend_from_slice(&len.to_le_bytes()[..layout.word()]);
            raw.extend_from_slice(&level.to_le_bytes());
            raw.extend_from_slice(&kind.to_le_bytes());
            raw.extend_from_slice(data);
            raw.resize(raw.len().next_multiple_of(layout.word()), 0);
        }
        raw
    }

    #[test]
    fn items_of_both_layouts_become_ours() {
        for layout in [Layout { wide: true }, Layout { wide: false }] {
            let raw = written(layout, &[(1, 2, b"abcde"), (3, 4, b"")]);
            let items = items(layout, &raw).unwrap();
            assert_eq!(items[0], Item { level: 1, kind: 2, data: b"abcde" });
            assert_eq!(items[1], Item { level: 3, kind: 4, data: b"" });
            let mut control = Control::default();
            items.iter().for_each(|item| control.push(item, item.data));
            assert_eq!(control.bytes, written(Layout { wide: true }, &[(1, 2, b"abcde"), (3, 4, b"")]));
        }
    }

    #[test]
    fn lengths_that_lie() {
        let layout = Layout { wide: true };
        let good = written(layout, &[(1, 1, &[0; 8])]);
        for len in [0, 1, 15, 25, u64::MAX, u64::MAX - 8, 1 << 63] {
            let mut raw = good.clone();
            raw[..8].copy_from_slice(&len.to_le_bytes());
            assert_eq!(items(layout, &raw), Err(Errno::EINVAL), "{len}");
        }
        let mut narrow = written(Layout { wide: false }, &[(1, 1, b"")]);
        assert_eq!(items(Layout { wide: false }, &narrow).map(|items| items.len()), Ok(1));
        narrow.push(0);
        assert_eq!(items(Layout { wide: false }, &narrow), Err(Errno::EINVAL));
        for len in 0..16 {
            assert_eq!(items(layout, &good[..len]).map(|items| items.len()), Ok(0), "{len}");
        }
    }
}
