//! Address patterns, and the index that finds the last of many that matches.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnetwork::IpNetwork;

use super::address::Address;
use super::glob::PatternError;
use super::globset::{Broken, GlobSet};
use super::path::{PathIndex, PathPattern};
use super::services;

/// Names for networks. The first spelling of equal networks is the normal one.
const ALIASES: &[(&str, &[&str])] = &[
    ("LOOPBACK6", &["::1/128"]),
    ("LOOPBACK", &["127.0.0.0/8"]),
    ("LOCAL6", &["::1/128", "fe80::/7", "fc00::/7", "fec0::/7"]),
    ("LOCAL", &["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]),
    ("ANY6", &["::/0"]),
    ("ANY", &["0.0.0.0/0"]),
];

/// The names for networks, and the networks.
pub(crate) fn address_aliases() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    ALIASES.iter().copied()
}

/// A pattern for addresses. Equal patterns have the same normal spelling.
#[derive(Debug, Clone)]
pub(crate) struct AddressPattern {
    text: Arc<[u8]>,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Net { nets: Vec<IpNetwork>, ports: Ports },
    Unix(PathPattern),
    Abstract(PathPattern),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ports {
    low: u16,
    high: u16,
}

impl PartialEq for AddressPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for AddressPattern {}

impl AddressPattern {
    /// Reads an address pattern.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, PatternError> {
        if let Some(rest) = text.strip_prefix(b"unix:") {
            let pattern = PathPattern::parse(rest).map_err(|error| error.shifted(text.len() - rest.len()))?;
            return Ok(Self::unix(pattern));
        }
        if let Some(rest) = text.strip_prefix(b"unix-abstract:") {
            let rest = rest.strip_prefix(b"//").unwrap_or(rest);
            let pattern = PathPattern::parse_raw(if rest.is_empty() { b"**" } else { rest })
                .map_err(|error| error.shifted(text.len() - rest.len()))?;
            let mut normal = b"unix-abstract:".to_vec();
            if pattern.text().starts_with(b"//") {
                normal.extend(b"//");
            }
            normal.extend(pattern.text());
            return Ok(Self { text: normal.into(), kind: Kind::Abstract(pattern) });
        }
        let plain = std::str::from_utf8(text)
            .map_err(|error| PatternError::new(error.valid_up_to(), "expected an address in ASCII"))?;
        if let Some((name, nets)) = ALIASES.iter().find(|(name, _)| plain.starts_with(name)) {
            let ports = match plain.split_at(name.len()).1 {
                "" => Ports::ANY,
                rest => match rest.strip_prefix('@') {
                    Some(port) => Ports::parse(port, name.len() + 1)?,
                    None => return Err(PatternError::new(name.len(), "expected `@PORT` or nothing more")),
                },
            };
            let nets: Vec<IpNetwork> =
                nets.iter().filter_map(|net| net.parse().ok().and_then(masked)).collect();
            return Ok(match nets.as_slice() {
                [net] => Self::net(*net, ports),
                _ => Self {
                    text: format!("{name}{}", ports.suffix()).into_bytes().into(),
                    kind: Kind::Net { nets, ports },
                },
            });
        }
        let (v6, rest) = match (plain.strip_prefix("inet:"), plain.strip_prefix("inet6:")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => {
                return Err(PatternError::new(
                    0,
                    "expected an address: unix:, unix-abstract:, inet:, inet6:, LOOPBACK, LOCAL, ANY, LOOPBACK6, LOCAL6 or ANY6",
                ));
            }
        };
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let at = plain.len() - rest.len();
        let split = rest.rsplit_once('@').or_else(|| if v6 { None } else { rest.rsplit_once(':') });
        let (host, ports) = match split {
            Some((host, port)) => (host, Ports::parse(port, at + host.len() + 1)?),
            None => (rest, Ports::ANY),
        };
        let (addr, length) = match host.split_once('/') {
            Some((addr, length)) => (addr, Some(length)),
            None => (host, None),
        };
        let max = if v6 { 128 } else { 32 };
        let ip = if v6 { addr.parse().ok().map(IpAddr::V6) } else { addr.parse().ok().map(IpAddr::V4) };
        let ip = ip.ok_or_else(|| {
            PatternError::new(at, if v6 { "expected an IPv6 address" } else { "expected an IPv4 address" })
        })?;
        let wrong =
            || PatternError::new(at + addr.len() + 1, format!("expected a prefix length from 0 to {max}"));
        let length = match length {
            Some(length) => number(length).and_then(|length| u8::try_from(length).ok()).ok_or_else(wrong)?,
            None => max,
        };
        let net = IpNetwork::new(ip, length).ok().and_then(masked).ok_or_else(wrong)?;
        Ok(Self::net(unmapped(net).unwrap_or(net), ports))
    }

    /// The normal spelling.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// As `no_wildcard:prefix` reads it.
    pub(super) fn into_prefix(self) -> Self {
        match self.kind {
            Kind::Unix(pattern) => Self::unix(pattern.into_prefix()),
            _ => self,
        }
    }

    /// The pattern for paths of unix sockets, if it is one.
    pub(super) fn unix_path(&self) -> Option<&PathPattern> {
        match &self.kind {
            Kind::Unix(pattern) => Some(pattern),
            _ => None,
        }
    }

    /// How many wildcards it has that an automaton must follow.
    pub(super) fn weight(&self) -> usize {
        match &self.kind {
            Kind::Net { .. } => 0,
            Kind::Unix(pattern) | Kind::Abstract(pattern) => pattern.weight(),
        }
    }

    fn unix(pattern: PathPattern) -> Self {
        Self { text: [b"unix:", pattern.text()].concat().into(), kind: Kind::Unix(pattern) }
    }

    fn net(net: IpNetwork, ports: Ports) -> Self {
        let (family, max) = if net.is_ipv4() { ("inet", 32) } else { ("inet6", 128) };
        let length = if net.prefix() < max { format!("/{}", net.prefix()) } else { String::new() };
        let text = format!("{family}:{}{length}{}", net.ip(), ports.suffix());
        Self { text: text.into_bytes().into(), kind: Kind::Net { nets: vec![net], ports } }
    }
}

/// The network without host bits.
fn masked(net: IpNetwork) -> Option<IpNetwork> {
    IpNetwork::new(net.network(), net.prefix()).ok()
}

/// The network of IPv4 that an IPv4-mapped one is: what leads there has either form.
fn unmapped(net: IpNetwork) -> Option<IpNetwork> {
    const MAPPED: u8 = 96;
    let IpNetwork::V6(six) = net else { return None };
    let (addr, length) = (six.ip().to_ipv4_mapped()?, six.prefix().checked_sub(MAPPED)?);
    IpNetwork::new(addr.into(), length).ok()
}

/// A number written with digits only.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl Ports {
    const ANY: Self = Self { low: 0, high: u16::MAX };

    fn parse(text: &str, offset: usize) -> Result<Self, PatternError> {
        let wrong = |message| PatternError::new(offset, message);
        let port = |text| number(text).and_then(|port| u16::try_from(port).ok());
        let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        match text.split_once('-') {
            _ if text.is_empty() => Err(wrong("expected a port: a number, A-B or a name from services(5)")),
            Some((low, high)) if numeric => match (port(low), port(high)) {
                (Some(low), Some(high)) if low <= high => Ok(Self { low, high }),
                (Some(_), Some(_)) => Err(wrong("expected a range of ports that rises")),
                _ => Err(wrong("expected ports from 0 to 65535")),
            },
            _ if numeric => match port(text) {
                Some(port) => Ok(Self { low: port, high: port }),
                None => Err(wrong("expected a port from 0 to 65535")),
            },
            _ => match services::port(text) {
                Some(port) => Ok(Self { low: port, high: port }),
                None => Err(wrong("expected a port: no service has this name")),
            },
        }
    }

    fn suffix(self) -> String {
        match self {
            Self::ANY => String::new(),
            Self { low, high } if low == high => format!("@{low}"),
            Self { low, high } => format!("@{low}-{high}"),
        }
    }
}

/// Rules of one network: ports and position.
type Nets = HashMap<IpNetwork, Vec<(Ports, u32)>>;

/// Finds the last pattern that matches, in a time that does not depend on how many networks there are.
#[derive(Debug, Default)]
pub(crate) struct AddressIndex {
    nets: Nets,
    /// The prefix lengths that occur, of IPv4 and of IPv6.
    lengths: [Vec<u8>; 2],
    unix: PathIndex,
    names: PathIndex,
}

/// What an index leaves to the one that replaces it.
pub(crate) type AddressCarry = (Arc<GlobSet>, Arc<GlobSet>);

impl AddressIndex {
    /// The index of these patterns at their positions, which rise.
    pub(super) fn new<'a>(
        patterns: impl Iterator<Item = (u32, &'a AddressPattern)> + Clone,
        fold: bool,
        older: Option<&AddressCarry>,
    ) -> Self {
        let unix = patterns.clone().filter_map(|(position, pattern)| match &pattern.kind {
            Kind::Unix(path) => Some((position, path)),
            _ => None,
        });
        let names = patterns.clone().filter_map(|(position, pattern)| match &pattern.kind {
            Kind::Abstract(name) => Some((position, name)),
            _ => None,
        });
        let mut index = Self {
            unix: PathIndex::new(unix, fold, older.map(|older| &older.0)),
            names: PathIndex::new(names, fold, older.map(|older| &older.1)),
            ..Self::default()
        };
        for (position, pattern) in patterns {
            let Kind::Net { nets, ports } = &pattern.kind else { continue };
            for net in nets {
                index.nets.entry(*net).or_default().push((*ports, position));
                let lengths = &mut index.lengths[usize::from(net.is_ipv6())];
                if !lengths.contains(&net.prefix()) {
                    lengths.push(net.prefix());
                }
            }
        }
        index
    }

    /// The automata, for the index that will replace this one.
    pub(super) fn carry(&self) -> AddressCarry {
        (self.unix.globs().clone(), self.names.globs().clone())
    }

    /// The position of the last pattern that matches a unix socket.
    pub(super) fn last_unix(&self, address: &Address) -> Result<Option<u32>, Broken> {
        match address {
            Address::Unix(path) if path.starts_with(b"/") => self.unix.last(path),
            Address::Abstract(name) => self.names.last(name),
            _ => Ok(None),
        }
    }

    /// The position of the last pattern that matches this IP address and port, and counts: `accepts` is told
    /// position and prefix length.
    pub(super) fn last_ip(&self, addr: IpAddr, port: u16, accepts: impl Fn(u32, u8) -> bool) -> Option<u32> {
        let lengths = self.lengths[usize::from(addr.is_ipv6())].iter();
        let nets = lengths.filter_map(|length| IpNetwork::new(addr, *length).ok().and_then(masked));
        nets.filter_map(|net| {
            let rules = self.nets.get(&net)?.iter().rev();
            let rules = rules.filter(|(ports, _)| ports.low <= port && port <= ports.high);
            rules.map(|(_, position)| *position).find(|position| accepts(*position, net.prefix()))
        })
        .max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_normalised() {
        for (written, expected) in [
            ("inet:192.0.2.1@443", "inet:192.0.2.1@443"),
            ("inet://192.0.2.1:443", "inet:192.0.2.1@443"),
            ("inet:192.0.2.1/32@443", "inet:192.0.2.1@443"),
            ("inet:192.0.2.77/24@0-65535", "inet:192.0.2.0/24"),
            ("inet:192.0.2.77/24:80-90", "inet:192.0.2.0/24@80-90"),
            ("inet:1.2.3.4@https", "inet:1.2.3.4@443"),
            ("inet6:::1/128@9050", "inet6:::1@9050"),
            ("inet6:::1@9050", "inet6:::1@9050"),
            ("inet6:::1", "inet6:::1"),
            ("inet6://fe80::1/10", "inet6:fe80::/10"),
            ("inet6:::ffff:192.0.2.1@80", "inet:192.0.2.1@80"),
            ("inet6:::ffff:0:0/96", "inet:0.0.0.0/0"),
            ("inet6:::ffff:0:0/95", "inet6:::fffe:0:0/95"),
            ("LOOPBACK", "inet:127.0.0.0/8"),
            ("LOOPBACK@0", "inet:127.0.0.0/8@0"),
            ("LOOPBACK6@80", "inet6:::1@80"),
            ("LOCAL@1024-65535", "LOCAL@1024-65535"),
            ("LOCAL6", "LOCAL6"),
            ("ANY@22", "inet:0.0.0.0/0@22"),
            ("ANY6", "inet6:::/0"),
            ("unix:/run//x/", "unix:/run/x"),
            ("unix:///run/x", "unix:/run/x"),
            ("unix-abstract:", "unix-abstract:**"),
            ("unix-abstract:/tmp//.X11-unix/X*", "unix-abstract:/tmp//.X11-unix/X*"),
            ("unix-abstract:////x", "unix-abstract:////x"),
        ] {
            let pattern = AddressPattern::parse(written.as_bytes()).expect(written);
            assert_eq!(String::from_utf8_lossy(pattern.text()), expected, "{written}");
            assert_eq!(AddressPattern::parse(pattern.text()), Ok(pattern), "{written}");
        }
    }

    #[test]
    fn errors_point_at_the_place() {
        for (text, offset) in [
            ("", 0),
            ("foo", 0),
            ("unix:x", 5),
            ("unix:/a[", 7),
            ("inet:1.2.3@80", 5),
            ("inet://1.2.3@80", 7),
            ("inet:1.2.3.4/33@80", 13),
            ("inet:1.2.3.4/+8@80", 13),
            ("inet:1.2.3.4@", 13),
            ("inet:1.2.3.4@65536", 13),
            ("inet:1.2.3.4@90-80", 13),
            ("inet:1.2.3.4@nothing", 13),
            ("inet6:::g@80", 6),
            ("inet6:::1/129", 10),
            ("LOCALHOST", 5),
            ("LOOPBACK:80", 8),
            ("inet:\u{e9}", 5),
        ] {
            assert_eq!(AddressPattern::parse(text.as_bytes()).expect_err(text).offset, offset, "{text}");
        }
    }
}
