//! Sockets that processes of the sandbox have bound: they may be talked to (`successful_bind`).
//!
//! Nothing tells when a socket is closed. So what is remembered is the socket itself, by its cookie, and who
//! relies on it asks the kernel first whose socket it is that is at the address now. An address where the socket is gone
//! is like one that was never bound.
#![forbid(unsafe_code)]

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
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
    /// Cookies by kind and place.
    places: HashMap<(i32, Place), VecDeque<u64>>,
    ages: VecDeque<u64>,
}

#[derive(Debug, Clone)]
struct Known {
    socket: Socket,
    address: Address,
    /// A datagram socket of somebody else had the address as well (`SO_REUSEADDR`, `SO_REUSEPORT`).
    shared: bool,
}

/// Where addresses are looked for: IP addresses by port, since the wildcard address is reached by many others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    Port(u16),
    Name(Address),
}

impl Place {
    fn of(address: &Address) -> Self {
        match address {
            Address::Inet(_, port) | Address::Inet6 { port, .. } => Self::Port(*port),
            name => Self::Name(name.clone()),
        }
    }
}

impl Bound {
    /// Remembers a socket.
    pub(crate) fn learn(&self, diag: Result<Option<&Diag>, Errno>, socket: Socket, address: Address) {
        let shared = socket.kind == libc::SOCK_DGRAM && self.is_shared(diag, &address, socket.cookie);
        let mut sockets = self.sockets.write().unwrap_or_else(PoisonError::into_inner);
        let place = (socket.kind, Place::of(&address));
        match sockets.all.insert(socket.cookie, Known { socket, address, shared }) {
            // It lost the address that the kernel chose, and has another.
            Some(old) => sockets.leave(&old),
            None => sockets.ages.push_back(socket.cookie),
        }
        // The newest first: it is the one that is most likely still there.
        sockets.places.entry(place).or_default().push_front(socket.cookie);
        if sockets.ages.len() > MAX {
            sockets.forget_oldest();
        }
    }

    /// Who hears a process that talks to `address` by a socket of this kind. `file`: the inode that a path leads to.
    /// Where the kernel cannot be asked it is whoever bound the address last.
    pub(crate) fn owner(
        &self,
        diag: Result<Option<&Diag>, Errno>,
        kind: i32,
        address: &Address,
        file: Option<u64>,
    ) -> Owner {
        let Some(newest) = self.newest(kind, address) else { return Owner::Other };
        let diag = match diag {
            Ok(Some(diag)) => diag,
            Ok(None) => return Owner::Ours,
            Err(errno) => return unknown(errno),
        };
        let Some((addr, port)) = address.ip_target() else { return unix_owner(diag, &newest.socket, file) };
        let protocol = if kind == libc::SOCK_STREAM { Protocol::Tcp } else { Protocol::Udp };
        if newest.shared {
            return self.owner_of_datagrams(diag, addr, port);
        }
        match diag.who(protocol, addr, port, address.scope()) {
            Ok(Some(cookie)) if self.knows(cookie) => Owner::Ours,
            Ok(Some(_)) => Owner::Other,
            // Who is connected, or bound to an interface, is not found so.
            Ok(None) if protocol == Protocol::Udp => self.owner_of_datagrams(diag, addr, port),
            Ok(None) => Owner::Gone,
            Err(errno) => unknown(errno),
        }
    }

    /// Whose all the datagram sockets are that may hear who talks to this address. If there is none, nobody is told.
    fn owner_of_datagrams(&self, diag: &Diag, addr: IpAddr, port: u16) -> Owner {
        match diag.all_who(addr, port) {
            Ok(cookies) if cookies.iter().all(|cookie| self.knows(*cookie)) => Owner::Ours,
            Ok(_) => Owner::Other,
            Err(errno) => unknown(errno),
        }
    }

    /// Whether another socket than this one, of nobody we know, may hear at the address. A process that binds and closes
    /// it again and again would send to that one in between.
    fn is_shared(&self, diag: Result<Option<&Diag>, Errno>, address: &Address, own: u64) -> bool {
        let Some((addr, port)) = address.ip_target() else { return false };
        match diag.map(|diag| diag.map(|diag| diag.all_who(addr, port))) {
            Ok(Some(Ok(cookies))) => cookies.iter().any(|cookie| *cookie != own && !self.knows(*cookie)),
            Ok(Some(Err(Errno::EOPNOTSUPP)) | None) => false,
            Ok(Some(Err(_))) | Err(_) => true,
        }
    }

    /// The last that was bound where `address` leads.
    fn newest(&self, kind: i32, address: &Address) -> Option<Known> {
        let sockets = self.sockets.read().unwrap_or_else(PoisonError::into_inner);
        let here = sockets.places.get(&(kind, Place::of(address)))?.iter();
        let mut here = here.filter_map(|cookie| sockets.all.get(cookie));
        here.find(|known| address.reaches(&known.address)).cloned()
    }

    /// Whether this is the cookie of a socket that was bound in the sandbox.
    pub(crate) fn knows(&self, cookie: u64) -> bool {
        self.sockets.read().unwrap_or_else(PoisonError::into_inner).all.contains_key(&cookie)
    }
}

/// Only the newest socket of a name can still have it. That of a path must be what the path leads to.
fn unix_owner(diag: &Diag, newest: &Socket, file: Option<u64>) -> Owner {
    match diag.unix(newest.inode, newest.cookie) {
        Ok(Some(bound)) if bound == file.map(|file| file as u32) => Owner::Ours,
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
        let place = (known.socket.kind, Place::of(&known.address));
        let Some(here) = self.places.get_mut(&place) else { return };
        // Mostly the last: cookies come in front.
        match here.iter().rposition(|cookie| *cookie == known.socket.cookie) {
            Some(at) => drop(here.remove(at)),
            None => return,
        }
        if here.is_empty() {
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
        let mut cookie = 0;
        let mut learn = |address: Address| {
            cookie += 1;
            bound.learn(Ok(None), Socket { cookie, inode: 0, kind: STREAM }, address);
        };
        let ours = |kind, address: &Address| bound.owner(Ok(None), kind, address, None) == Owner::Ours;
        assert!(!ours(STREAM, &loopback));
        learn(any.clone());
        learn(Address::Unix(b"/run/x".into()));
        assert!(ours(STREAM, &loopback) && !ours(STREAM, &inet(0x7f00_0001, 81)));
        let full = bound.owner(Err(Errno::EMFILE), STREAM, &loopback, None);
        assert_eq!(full, Owner::Other, "what cannot be asked now may be anybody's");
        // The first one moves, and comes back.
        bound.learn(Ok(None), Socket { cookie: 1, inode: 0, kind: STREAM }, inet(0, 82));
        assert!(!ours(STREAM, &loopback) && ours(STREAM, &inet(0x7f00_0001, 82)));
        bound.learn(Ok(None), Socket { cookie: 1, inode: 0, kind: STREAM }, any);
        assert!(ours(STREAM, &loopback) && !ours(STREAM, &inet(0x7f00_0001, 82)));
        assert!(!ours(STREAM, &inet(0xc000_0201, 80)), "another host's");
        assert!(!ours(libc::SOCK_DGRAM, &loopback), "another socket's");
        assert!(ours(STREAM, &Address::Unix(b"/run/x".into())));
        assert!(!ours(STREAM, &Address::Abstract(b"/run/x".into())));
        for addr in 0..MAX as u32 - 2 {
            learn(inet(addr | 0x7f00_0000, 1));
        }
        assert!(ours(STREAM, &loopback));
        learn(inet(0x7f00_0001, 2));
        assert!(!ours(STREAM, &loopback) && ours(STREAM, &Address::Unix(b"/run/x".into())));
        let sockets = bound.sockets.read().unwrap();
        assert_eq!((sockets.all.len(), sockets.ages.len()), (MAX, MAX));
        assert_eq!(sockets.places.values().map(VecDeque::len).sum::<usize>(), MAX);
    }
}
