//! Where a message goes when its address alone does not say.
//!
//! To the unspecified address the kernel sends as to the source address, or to loopback if there is none. So it is written
//! out before it is judged, and the kernel gets what was judged. And what has to leave by an interface that is named goes
//! to whoever is on its link, even if the address is one of this machine.
#![forbid(unsafe_code)]

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::sync::OnceLock;

use super::super::judge::Leaves;
use super::Socket;
use super::address::{self, Raw};
use crate::policy::Address;
use crate::sys::net;

/// Loopback's interface: the first one of each network namespace (`LOOPBACK_IFINDEX` of the kernel).
const LOOPBACK: u32 = 1;

/// What ancillary data says about it (`IP_PKTINFO`, `IPV6_PKTINFO`).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    /// The source of a message to an IPv4 address.
    source: Option<Ipv4Addr>,
    /// The interface to leave by; 0 for any.
    link: u32,
}

impl Way {
    /// Takes a `struct in_pktinfo` in. What has another length the kernel refuses.
    pub(super) fn learn_inet(&mut self, info: &[u8]) {
        if let (Some(link), Some(source)) = (word(info, 0), word(info, 4)) {
            self.learn_link(u32::from_ne_bytes(link));
            self.source =
                Some(Ipv4Addr::from(source)).filter(|source| !source.is_unspecified()).or(self.source);
        }
    }

    /// Takes a `struct in6_pktinfo` in.
    pub(super) fn learn_inet6(&mut self, info: &[u8]) {
        let source = info.get(..16).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        if let (Some(link), Some(source)) = (word(info, 16), source) {
            self.learn_link(u32::from_ne_bytes(link));
            let source = Ipv6Addr::from(source).to_ipv4_mapped();
            self.source = source.filter(|source| !source.is_unspecified()).or(self.source);
        }
    }

    /// Of several the kernel takes one: the one that counts here leads away.
    fn learn_link(&mut self, link: u32) {
        if self.link <= LOOPBACK {
            self.link = link;
        }
    }

    /// Whether ancillary data leads away from this machine.
    pub(super) fn is_led(self) -> bool {
        self.link > LOOPBACK
    }

    /// Whether what the socket sends so leaves this machine, whatever the address is.
    pub(super) fn leaves(self, socket: &Socket<'_>) -> Leaves {
        if !is_in_our_namespace(socket) {
            return Leaves::Elsewhere;
        }
        // A link-local address that it was bound or connected to has bound it to an interface, too.
        let bound = || net::socket_option(socket.fd(), libc::SO_BINDTOIFINDEX).unwrap_or(0).unsigned_abs();
        let link = match self.is_led() {
            false if socket.is_inet() => bound(),
            _ => self.link,
        };
        if link > LOOPBACK { Leaves::By(link) } else { Leaves::No }
    }

    /// The address that is meant, written into `raw` as well.
    pub(super) fn settle(self, socket: &Socket<'_>, raw: &mut Raw, address: Address) -> Address {
        match address {
            Address::Inet(addr, port) if addr.is_unspecified() => {
                let addr = self.source(socket);
                raw.set_inet(addr);
                Address::Inet(addr, port)
            }
            Address::Inet6 { addr, port, scope } if is_unspecified(addr) => {
                let addr = match (addr.to_ipv4_mapped(), address::source(socket)) {
                    (Some(_), _) => self.source(socket).to_ipv6_mapped(),
                    (None, Some(Address::Inet6 { addr, .. })) if addr.to_ipv4_mapped().is_some() => {
                        Ipv4Addr::LOCALHOST.to_ipv6_mapped()
                    }
                    (None, _) => Ipv6Addr::LOCALHOST,
                };
                raw.set_inet6(addr);
                Address::Inet6 { addr, port, scope }
            }
            address => address,
        }
    }

    /// Where a message to no IPv4 address comes from, and so goes to.
    fn source(self, socket: &Socket<'_>) -> Ipv4Addr {
        let own = || match address::source(socket)? {
            Address::Inet(addr, _) => Some(addr),
            Address::Inet6 { addr, .. } => addr.to_ipv4_mapped(),
            _ => None,
        };
        let own = || own().filter(|own| !own.is_unspecified());
        self.source.or_else(own).unwrap_or(Ipv4Addr::LOCALHOST)
    }
}

/// Whether its addresses are those of our network namespace. Not where that cannot be found out now.
fn is_in_our_namespace(socket: &Socket<'_>) -> bool {
    static OURS: OnceLock<Option<u64>> = OnceLock::new();
    if OURS.get().is_none()
        && let Ok(probe) = net::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0)
    {
        let _ = OURS.set(net::namespace(probe.as_fd()));
    }
    OURS.get() == Some(&net::namespace(socket.fd()))
}

fn is_unspecified(addr: Ipv6Addr) -> bool {
    addr.is_unspecified() || addr.to_ipv4_mapped().is_some_and(|addr| addr.is_unspecified())
}

fn word(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..at + 4)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ancillary_data_says() {
        let mut way = Way::default();
        way.learn_inet(&[&1_u32.to_ne_bytes()[..], &[127, 0, 0, 9], &[0; 4]].concat());
        assert_eq!(way, Way { source: Some([127, 0, 0, 9].into()), link: 1 });
        assert!(!way.is_led());
        way.learn_inet(&[&3_u32.to_ne_bytes()[..], &[0; 8]].concat());
        way.learn_inet(&[&1_u32.to_ne_bytes()[..], &[0; 8]].concat());
        assert_eq!(way, Way { source: Some([127, 0, 0, 9].into()), link: 3 });
        assert!(way.is_led());
        let mut six = Way::default();
        let mapped = Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().octets();
        six.learn_inet6(&[&mapped[..], &2_u32.to_ne_bytes()].concat());
        assert_eq!(six, Way { source: Some([192, 0, 2, 1].into()), link: 2 });
        let mut short = Way::default();
        short.learn_inet(&[0xff; 7]);
        short.learn_inet6(&[0xff; 19]);
        assert_eq!(short, Way::default());
    }
}
