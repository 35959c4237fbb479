//! Addresses that processes of the sandbox have bound: they may be connected to (`successful_bind`).
//!
//! Nothing tells when a socket is closed, so an address is remembered until newer ones need its place, at the
//! latest to the end of the tree. Until then whoever binds it outside can be talked to from inside.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{PoisonError, RwLock};

use crate::policy::Address;

/// So many addresses are remembered; then the oldest is forgotten for each new one.
const MAX: usize = 65_536;

/// The addresses bound so far.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    addresses: RwLock<Addresses>,
}

/// The kind of socket (`SOCK_STREAM` …) and its address: streams and datagrams have ports of their own, so that who has
/// one need not be who has the other.
type Socket = (i32, Address);

#[derive(Debug, Default)]
struct Addresses {
    all: HashSet<Socket>,
    /// IP addresses by port: the wildcard address is reached by many others.
    ports: HashMap<(i32, u16), Vec<Address>>,
    ages: VecDeque<Socket>,
}

impl Bound {
    /// Remembers the address of a socket of this kind.
    pub(crate) fn learn(&self, kind: i32, address: Address) {
        let mut addresses = self.addresses.write().unwrap_or_else(PoisonError::into_inner);
        if addresses.all.insert((kind, address.clone())) {
            if let Some(port) = port(&address) {
                addresses.ports.entry((kind, port)).or_default().push(address.clone());
            }
            addresses.ages.push_back((kind, address));
            if addresses.ages.len() > MAX {
                addresses.forget_oldest();
            }
        }
    }

    /// Whether a process that talks to `address` by a socket of this kind reaches one that was bound here.
    pub(crate) fn reaches(&self, kind: i32, address: &Address) -> bool {
        let addresses = self.addresses.read().unwrap_or_else(PoisonError::into_inner);
        match port(address) {
            None => addresses.all.contains(&(kind, address.clone())),
            Some(port) => addresses
                .ports
                .get(&(kind, port))
                .is_some_and(|bound| bound.iter().any(|bound| address.reaches(bound))),
        }
    }
}

impl Addresses {
    fn forget_oldest(&mut self) {
        let Some(oldest) = self.ages.pop_front() else { return };
        self.all.remove(&oldest);
        let (kind, oldest) = oldest;
        let Some(port) = port(&oldest) else { return };
        let Some(bound) = self.ports.get_mut(&(kind, port)) else { return };
        bound.retain(|address| *address != oldest);
        if bound.is_empty() {
            self.ports.remove(&(kind, port));
        }
    }
}

fn port(address: &Address) -> Option<u16> {
    match address {
        Address::Inet(_, port) | Address::Inet6 { port, .. } => Some(*port),
        _ => None,
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
        assert!(!bound.reaches(STREAM, &loopback));
        bound.learn(STREAM, any.clone());
        bound.learn(STREAM, any);
        bound.learn(STREAM, Address::Unix(b"/run/x".into()));
        assert!(bound.reaches(STREAM, &loopback) && !bound.reaches(STREAM, &inet(0x7f00_0001, 81)));
        assert!(!bound.reaches(STREAM, &inet(0xc000_0201, 80)), "another host's");
        assert!(!bound.reaches(libc::SOCK_DGRAM, &loopback), "another socket's");
        assert!(bound.reaches(STREAM, &Address::Unix(b"/run/x".into())));
        assert!(!bound.reaches(STREAM, &Address::Abstract(b"/run/x".into())));
        for addr in 0..MAX as u32 - 2 {
            bound.learn(STREAM, inet(addr | 0x7f00_0000, 1));
        }
        assert!(bound.reaches(STREAM, &loopback));
        bound.learn(STREAM, inet(0x7f00_0001, 2));
        assert!(!bound.reaches(STREAM, &loopback) && bound.reaches(STREAM, &Address::Unix(b"/run/x".into())));
        assert_eq!(bound.addresses.read().unwrap().all.len(), MAX);
    }
}
