//! Sockets that processes of the sandbox have bound: they may be talked to (`successful_bind`).
//!
//! Nothing tells when a socket is closed. So what is remembered is the socket itself, by its cookie, and who
//! relies on it asks the kernel first whose socket it is that is at the address now. An address where the socket is gone
//! is like one that was never bound.
#![forbid(unsafe_code)]

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{PoisonError, RwLock};

use crate::policy::Address;
use crate::sys::Errno;
use crate::sys::diag::{Diag, Protocol};

/// So many sockets are remembered; then the oldest is forgotten for each new one.
const MAX: usize = 65_536;

/// A socket that was bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Socket {
    /// `SO_COOKIE`.
    pub(crate) cookie: u64,
    /// Its inode: by what the kernel finds a unix socket.
    pub(crate) inode: u32,
    /// `SOCK_STREAM` …: streams and datagrams have ports of their own.
    pub(crate) kind: i32,
}

/// Who is at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A socket that was bound in the sandbox.
    Ours,
    /// Somebody else, or nobody who could be ours.
    Other,
    /// It was ours, and nobody is there now: who connects is refused by the kernel itself.
    Gone,
}

/// The sockets that were bound.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    sockets: RwLock<Sockets>,
}

#[derive(Debug, Default)]
struct Sockets {
    /// By cookie.
    all: HashMap<u64, Known>,
    places: HashMap<(i32, Place), Here>,
    ages: VecDeque<u64>,
}

/// What was bound to one place.
#[derive(Debug, Default)]
struct Here {
    /// Cookies, the newest first: it is the one that is most likely still there.
    cookies: VecDeque<u64>,
    /// One of them let others have the port as well (`SO_REUSEADDR`, `SO_REUSEPORT`).
    shared: bool,
}

#[derive(Debug, Clone)]
struct Known {
    socket: Socket,
    address: Address,
    place: Place,
}

/// Where sockets are looked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    /// IP address, the link that it is of, and port.
    Ip(IpAddr, u32, u16),
    /// The file of a unix socket, whatever it is called: file system and inode.
    File((u64, u64)),
    Name(Address),
}

impl Place {
    /// Where a socket that is bound to this address is.
    fn of(address: &Address, file: Option<(u64, u64)>) -> Self {
        match (address.bound_at(), file) {
            (Some((addr, port)), _) => Self::Ip(addr, address.link(), port),
            (None, Some(file)) => Self::File(file),
            (None, None) => Self::Name(address.clone()),
        }
    }

    /// Where a socket can be that hears who talks to this address.
    fn reached_from(address: &Address, file: Option<(u64, u64)>) -> impl Iterator<Item = Self> {
        let [four, six] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let (own, port) = match address.ip_target() {
            Some((addr, port)) => (Self::Ip(addr, address.link(), port), Some(port)),
            None => (Self::of(address, file), None),
        };
        let any = port.into_iter().flat_map(move |port| [four, six].map(|addr| Self::Ip(addr, 0, port)));
        std::iter::once(own).chain(any)
    }
}

impl Bound {
    /// Remembers a socket. `shares`: whether it lets others have its port, looked at when the socket is known.
    pub(crate) fn learn(
        &self,
        socket: Socket,
        address: Address,
        file: Option<(u64, u64)>,
        shares: impl FnOnce() -> bool,
    ) {
        let mut sockets = self.sockets.write().unwrap_or_else(PoisonError::into_inner);
        let place = Place::of(&address, file);
        match sockets.all.insert(socket.cookie, Known { socket, address, place: place.clone() }) {
            // It lost the address that the kernel chose, and has another.
            Some(old) => sockets.leave(&old),
            None => sockets.ages.push_back(socket.cookie),
        }
        let here = sockets.places.entry((socket.kind, place)).or_default();
        here.cookies.push_front(socket.cookie);
        here.shared |= shares();
        if sockets.ages.len() > MAX {
            sockets.forget_oldest();
        }
    }

    /// A socket lets others have its port.
    pub(crate) fn share(&self, cookie: u64) {
        let mut sockets = self.sockets.write().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = sockets.all.get(&cookie) else { return };
        let place = (known.socket.kind, known.place.clone());
        sockets.places.entry(place).or_default().shared = true;
    }

    /// Who hears a process that talks to `address` by a socket of this kind. `file`: what a path leads to, its file system and
    /// inode. Where the kernel cannot be asked it is whoever bound the address last.
    pub(crate) fn owner(
        &self,
        diag: Result<Option<&Diag>, Errno>,
        kind: i32,
        address: &Address,
        file: Option<(u64, u64)>,
    ) -> Owner {
        let Some((newest, shared)) = self.newest(kind, address, file) else { return Owner::Other };
        let diag = match diag {
            Ok(Some(diag)) => diag,
            Ok(None) => return Owner::Ours,
            Err(errno) => return unknown(errno),
        };
        let Some((addr, port)) = address.ip_target() else { return unix_owner(diag, &newest, file) };
        let protocol = if kind == libc::SOCK_STREAM { Protocol::Tcp } else { Protocol::Udp };
        // Of several the kernel takes one, by rules of its own.
        if shared {
            return self.owner_of_all(diag, protocol, addr, port);
        }
        match diag.who(protocol, addr, port, address.scope()) {
            Ok(Some(cookie)) if self.knows(cookie) => Owner::Ours,
            Ok(Some(_)) => Owner::Other,
            // Who is connected, or bound to an interface, is not found so.
            Ok(None) if protocol == Protocol::Udp => self.owner_of_all(diag, protocol, addr, port),
            Ok(None) => Owner::Gone,
            Err(errno) => unknown(errno),
        }
    }

    /// Whose all the sockets are that may hear who talks to this address.
    fn owner_of_all(&self, diag: &Diag, protocol: Protocol, addr: IpAddr, port: u16) -> Owner {
        match diag.all_who(protocol, addr, port) {
            Ok(cookies) if cookies.is_empty() && protocol == Protocol::Tcp => Owner::Gone,
            // Datagrams to nobody are told nobody.
            Ok(cookies) if cookies.iter().all(|cookie| self.knows(*cookie)) => Owner::Ours,
            Ok(_) => Owner::Other,
            Err(errno) => unknown(errno),
        }
    }

    /// The last that was bound where `address` leads, and whether others may have the port.
    fn newest(&self, kind: i32, address: &Address, file: Option<(u64, u64)>) -> Option<(Socket, bool)> {
        let sockets = self.sockets.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = None;
        for place in Place::reached_from(address, file) {
            let Some(here) = sockets.places.get(&(kind, place)) else { continue };
            let known = here.cookies.iter().find_map(|cookie| sockets.all.get(cookie));
            if let Some(known) = known.filter(|known| file.is_some() || address.reaches(&known.address)) {
                let (_, shared) = found.unwrap_or((known.socket, false));
                found = Some((known.socket, shared | here.shared));
            }
        }
        found
    }

    /// Whether this is the cookie of a socket that was bound in the sandbox.
    pub(crate) fn knows(&self, cookie: u64) -> bool {
        self.sockets.read().unwrap_or_else(PoisonError::into_inner).all.contains_key(&cookie)
    }
}

/// Only the newest socket of a name can still have it. That of a path must be what the path leads to.
fn unix_owner(diag: &Diag, newest: &Socket, file: Option<(u64, u64)>) -> Owner {
    match diag.unix(newest.inode, newest.cookie) {
        Ok(Some(bound)) if bound == file.map(|(_, inode)| inode as u32) => Owner::Ours,
        Ok(_) => Owner::Other,
        Err(errno) => unknown(errno),
    }
}

fn unknown(errno: Errno) -> Owner {
    if errno == Errno::EOPNOTSUPP {
        return Owner::Ours;
    }
    crate::report::seldom(|| {
        log::warn!("sock_diag: {errno}: an address that was bound inside is taken for somebody else's")
    });
    Owner::Other
}

impl Sockets {
    fn forget_oldest(&mut self) {
        let Some(oldest) = self.ages.pop_front() else { return };
        if let Some(known) = self.all.remove(&oldest) {
            self.leave(&known);
        }
    }

    /// Takes a socket from its place.
    fn leave(&mut self, known: &Known) {
        let place = (known.socket.kind, known.place.clone());
        let Some(here) = self.places.get_mut(&place) else { return };
        // Mostly the last: cookies come in front.
        match here.cookies.iter().rposition(|cookie| *cookie == known.socket.cookie) {
            Some(at) => drop(here.cookies.remove(at)),
            None => return,
        }
        if here.cookies.is_empty() {
            self.places.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: i32 = libc::SOCK_STREAM;

    #[test]
    fn what_was_bound_is_reached_and_the_oldest_is_forgotten() {
        let bound = Bound::default();
        let inet = |addr: u32, port| Address::Inet(addr.into(), port);
        let (any, loopback) = (inet(0, 80), inet(0x7f00_0001, 80));
        let learn_as = |cookie, address: Address| {
            bound.learn(Socket { cookie, inode: 0, kind: STREAM }, address, None, || false);
        };
        let mut cookie = 0;
        let mut learn = |address: Address| {
            cookie += 1;
            learn_as(cookie, address);
        };
        let ours = |kind, address: &Address| bound.owner(Ok(None), kind, address, None) == Owner::Ours;
        assert!(!ours(STREAM, &loopback));
        learn(any.clone());
        learn(Address::Abstract(b"/run/x".into()));
        assert!(ours(STREAM, &loopback) && !ours(STREAM, &inet(0x7f00_0001, 81)));
        let full = bound.owner(Err(Errno::EMFILE), STREAM, &loopback, None);
        assert_eq!(full, Owner::Other, "what cannot be asked now may be anybody's");
        // The first one moves, and comes back.
        learn_as(1, inet(0, 82));
        assert!(!ours(STREAM, &loopback) && ours(STREAM, &inet(0x7f00_0001, 82)));
        learn_as(1, any);
        assert!(ours(STREAM, &loopback) && !ours(STREAM, &inet(0x7f00_0001, 82)));
        assert!(!ours(STREAM, &inet(0xc000_0201, 80)), "another host's");
        assert!(!ours(libc::SOCK_DGRAM, &loopback), "another socket's");
        assert!(ours(STREAM, &Address::Abstract(b"/run/x".into())));
        assert!(!ours(STREAM, &Address::Unix(b"/run/x".into())));
        for addr in 0..MAX as u32 - 2 {
            learn(inet(addr | 0x7f00_0000, 1));
        }
        assert!(ours(STREAM, &loopback));
        learn(inet(0x7f00_0001, 2));
        assert!(!ours(STREAM, &loopback) && ours(STREAM, &Address::Abstract(b"/run/x".into())));
        let sockets = bound.sockets.read().unwrap();
        assert_eq!((sockets.all.len(), sockets.ages.len()), (MAX, MAX));
        assert_eq!(sockets.places.values().map(|here| here.cookies.len()).sum::<usize>(), MAX);
    }

    #[test]
    fn a_file_is_known_by_any_name_and_a_port_that_is_shared_to_be() {
        let bound = Bound::default();
        let unix = |path: &[u8]| Address::Unix(path.to_vec());
        let inet = |addr: u32| Address::Inet(addr.into(), 80);
        bound.learn(Socket { cookie: 1, inode: 7, kind: STREAM }, unix(b"/a"), Some((3, 4)), || false);
        let newest = |address: &Address, file| bound.newest(STREAM, address, file);
        assert_eq!(newest(&unix(b"/b"), Some((3, 4))).map(|(socket, _)| socket.cookie), Some(1));
        assert_eq!(newest(&unix(b"/a"), Some((5, 4))), None);
        bound.learn(Socket { cookie: 2, inode: 8, kind: STREAM }, inet(0), None, || false);
        bound.learn(Socket { cookie: 3, inode: 9, kind: STREAM }, inet(0x7f00_0001), None, || false);
        let shared = |addr| newest(&inet(addr), None).map(|(_, shared)| shared);
        assert_eq!((shared(0x7f00_0001), shared(0x7f00_0002)), (Some(false), Some(false)));
        bound.share(3);
        bound.share(4);
        assert_eq!((shared(0x7f00_0001), shared(0x7f00_0002)), (Some(true), Some(false)));
        bound.share(2);
        assert_eq!(shared(0x7f00_0002), Some(true));
        let scoped = |scope| Address::Inet6 { addr: "fe80::1".parse().unwrap(), port: 80, scope };
        bound.learn(Socket { cookie: 5, inode: 9, kind: STREAM }, scoped(2), None, || true);
        assert!(newest(&scoped(2), None).is_some() && newest(&scoped(3), None).is_none());
    }
}
