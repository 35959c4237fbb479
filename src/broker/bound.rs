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

#[derive(Debug, Default)]
struct Addresses {
    all: HashSet<Address>,
    /// IP addresses by port: the wildcard address is reached by many others.
    ports: HashMap<u16, Vec<Address>>,
    ages: VecDeque<Address>,
}

impl Bound {
    /// Remembers an address.
    pub(crate) fn learn(&self, address: Address) {
        let mut addresses = self.addresses.write().unwrap_or_else(PoisonError::into_inner);
        if addresses.all.insert(address.clone()) {
            if let Some(port) = port(&address) {
                addresses.ports.entry(port).or_default().push(address.clone());
            }
            addresses.ages.push_back(address);
            if addresses.ages.len() > MAX {
                addresses.forget_oldest();
            }
        }
    }

    /// Whether a process that talks to `address` reaches one that was bound here.
    pub(crate) fn reaches(&self, address: &Address) -> bool {
        let addresses = self.addresses.read().unwrap_or_else(PoisonError::into_inner);
        match port(address) {
            None => addresses.all.contains(address),
            Some(port) => addresses
                .ports
                .get(&port)
                .is_some_and(|bound| bound.iter().any(|bound| address.reaches(bound))),
        }
    }
}

impl Addresses {
    fn forget_oldest(&mut self) {
        let Some(oldest) = self.ages.pop_front() else { return };
        self.all.remove(&oldest);
        let Some(port) = port(&oldest) else { return };
        let Some(bound) = self.ports.get_mut(&port) else { return };
        bound.retain(|address| *address != oldest);
        if bound.is_empty() {
            self.ports.remove(&port);
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

    #[test]
    fn what_was_bound_is_reached_and_the_oldest_is_forgotten() {
        let bound = Bound::default();
        let inet = |addr: u32, port| Address::Inet(addr.into(), port);
        let (any, loopback) = (inet(0, 80), inet(0x7f00_0001, 80));
        assert!(!bound.reaches(&loopback));
        bound.learn(any.clone());
        bound.learn(any);
        bound.learn(Address::Unix(b"/run/x".into()));
        assert!(bound.reaches(&loopback) && !bound.reaches(&inet(0x7f00_0001, 81)));
        assert!(!bound.reaches(&inet(0xc000_0201, 80)), "another host's");
        assert!(bound.reaches(&Address::Unix(b"/run/x".into())));
        assert!(!bound.reaches(&Address::Abstract(b"/run/x".into())));
        for addr in 0..MAX as u32 - 2 {
            bound.learn(inet(addr | 0x7f00_0000, 1));
        }
        assert!(bound.reaches(&loopback));
        bound.learn(inet(0x7f00_0001, 2));
        assert!(!bound.reaches(&loopback) && bound.reaches(&Address::Unix(b"/run/x".into())));
        assert_eq!(bound.addresses.read().unwrap().all.len(), MAX);
    }
}
