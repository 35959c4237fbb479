//! Socket addresses as policy sees them.
#![forbid(unsafe_code)]

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::escape::shown;
use super::mode::NetOp;

/// An address that a process wants to bind or to talk to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    /// IPv4 address and port.
    Inet(Ipv4Addr, u16),
    /// IPv6 address, port and scope.
    Inet6 {
        /// The address.
        addr: Ipv6Addr,
        /// The port.
        port: u16,
        /// The interface a link-local address belongs to; rules do not look at it.
        scope: u32,
    },
    /// Canonical path of a unix socket.
    Unix(Vec<u8>),
    /// Name of an abstract unix socket, without the NUL in front.
    Abstract(Vec<u8>),
    /// A unix socket without a name, or one that the kernel will name.
    Unnamed,
    /// Anything else.
    Other {
        /// Its family, `AF_…`.
        family: u16,
    },
}

/// A form under which rules judge an IP address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) addr: IpAddr,
    /// Allow rules of at least this prefix length count; deny rules always do.
    pub(super) allow_from: u8,
}

/// No allow rule is longer than this: only deny rules count.
const NEVER: u8 = u8::MAX;

impl Address {
    /// IP address and port, if it has them.
    pub(super) fn ip(&self) -> Option<(IpAddr, u16)> {
        match self {
            Self::Inet(addr, port) => Some(((*addr).into(), *port)),
            Self::Inet6 { addr, port, .. } => Some(((*addr).into(), *port)),
            _ => None,
        }
    }

    /// Where the kernel will really go: an IPv4-mapped address is that IPv4 address, and whoever connects to the
    /// unspecified address reaches loopback.
    pub(super) fn target(addr: IpAddr, op: NetOp) -> IpAddr {
        let addr = match addr {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(addr, IpAddr::V4),
            IpAddr::V4(_) => addr,
        };
        match (op, addr) {
            (NetOp::Connect, IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => Ipv4Addr::LOCALHOST.into(),
            (NetOp::Connect, IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => Ipv6Addr::LOCALHOST.into(),
            _ => addr,
        }
    }

    /// The IP address and port where the kernel will really go, if it has them.
    pub(crate) fn ip_target(&self) -> Option<(IpAddr, u16)> {
        self.ip().map(|(addr, port)| (Self::target(addr, NetOp::Connect), port))
    }

    /// The IP address and port that a socket with this address is bound to, if it has them.
    pub(crate) fn bound_at(&self) -> Option<(IpAddr, u16)> {
        self.ip().map(|(addr, port)| (Self::target(addr, NetOp::Bind), port))
    }

    /// Whether it is one of IP that is this machine's wherever it is used.
    pub(crate) fn is_loopback(&self) -> bool {
        self.ip_target().is_some_and(|(addr, _)| addr.is_loopback())
    }

    /// Whether an address other than of IP and unix sockets is surely one of this machine: of the kernel. Others can be
    /// those of other machines (`AF_VSOCK`, `AF_BLUETOOTH`, `AF_TIPC` …), also of families that do not exist yet.
    pub(crate) fn is_of_kernel(&self) -> bool {
        const FAMILIES: [i32; 3] = [libc::AF_NETLINK, libc::AF_KEY, libc::AF_ALG];
        matches!(self, Self::Other { family } if FAMILIES.contains(&i32::from(*family)))
    }

    /// The interface that a link-local address belongs to; 0 for none.
    pub(crate) fn scope(&self) -> u32 {
        match self {
            Self::Inet6 { scope, .. } => *scope,
            _ => 0,
        }
    }

    /// The link that it is an address of; 0 for all. The same address on another link is another host's.
    pub(crate) fn link(&self) -> u32 {
        match self {
            Self::Inet6 { addr, scope, .. } if addr.is_unicast_link_local() => *scope,
            _ => 0,
        }
    }

    /// The forms under which it is judged: where it leads, and as it was written. As written it is refused by any
    /// deny rule, but a rule that allows `::/0` does not mean all of IPv4.
    pub(super) fn forms(addr: IpAddr, op: NetOp) -> impl Iterator<Item = Form> {
        let target = Self::target(addr, op);
        let mapped = matches!(addr, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
        let written = Form { addr, allow_from: if mapped { 96 } else { NEVER } };
        [Some(Form { addr: target, allow_from: 0 }), (target != addr).then_some(written)]
            .into_iter()
            .flatten()
    }

    /// Whether a process that talks to `self` reaches the socket that is bound to `bound`.
    pub(crate) fn reaches(&self, bound: &Self) -> bool {
        let (Some((to, to_port)), Some((at, at_port))) = (self.ip(), bound.ip()) else {
            return self == bound;
        };
        let (to, at) = (Self::target(to, NetOp::Connect), Self::target(at, NetOp::Bind));
        to_port == at_port
            && self.link() == bound.link()
            && (to == at
                || match at {
                    IpAddr::V4(at) => at.is_unspecified() && to.is_ipv4() && to.is_loopback(),
                    IpAddr::V6(at) => at.is_unspecified() && to.is_loopback(),
                })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(addr, port) => write!(f, "inet:{addr}@{port}"),
            Self::Inet6 { addr, port, .. } => write!(f, "inet6:{addr}@{port}"),
            Self::Unix(path) => write!(f, "unix:{}", shown(path)),
            Self::Abstract(name) => write!(f, "unix-abstract:{}", shown(name)),
            Self::Unnamed => f.write_str("unix:unnamed"),
            Self::Other { family } => write!(f, "family:{family}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v6(addr: &str, port: u16) -> Address {
        Address::Inet6 { addr: addr.parse().expect(addr), port, scope: 0 }
    }

    #[test]
    fn addresses_are_shown_as_rules_are_written() {
        assert_eq!(Address::Inet([192, 0, 2, 1].into(), 443).to_string(), "inet:192.0.2.1@443");
        assert_eq!(v6("::1", 80).to_string(), "inet6:::1@80");
        assert_eq!(Address::Unix(b"/run/x\n".into()).to_string(), "unix:/run/x\\x0a");
        assert_eq!(Address::Abstract(b"a\0b".into()).to_string(), "unix-abstract:a\\x00b");
    }

    #[test]
    fn spellings_of_one_socket_are_one() {
        let loopback = Address::Inet([127, 0, 0, 1].into(), 80);
        for bound in [
            Address::Inet([0, 0, 0, 0].into(), 80),
            v6("::", 80),
            v6("::ffff:127.0.0.1", 80),
            loopback.clone(),
        ] {
            for to in [loopback.clone(), v6("::ffff:127.0.0.1", 80), Address::Inet([0, 0, 0, 0].into(), 80)] {
                assert!(to.reaches(&bound), "{to} reaches {bound}");
            }
        }
        assert!(v6("::1", 80).reaches(&v6("::", 80)) && v6("::", 80).reaches(&v6("::1", 80)));
        let link = |scope| Address::Inet6 { addr: "fe80::1".parse().unwrap(), port: 80, scope };
        assert!(link(1).reaches(&link(1)) && !link(2).reaches(&link(1)));
        assert!(!v6("::1", 80).reaches(&Address::Inet([0, 0, 0, 0].into(), 80)));
        assert!(!loopback.reaches(&Address::Inet([127, 0, 0, 1].into(), 81)));
        assert!(!Address::Inet([192, 0, 2, 1].into(), 80).reaches(&Address::Inet([0, 0, 0, 0].into(), 80)));
        assert!(!Address::Abstract(b"/x".into()).reaches(&Address::Unix(b"/x".into())));
    }
}
