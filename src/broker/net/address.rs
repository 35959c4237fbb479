//! The bytes of a socket address, as the socket will take them.
//!
//! What an address means is for the socket's domain and type to say; the family it claims for itself is only looked
//! at where the kernel does. What cannot be judged is refused with the errno that the kernel has for it.
#![forbid(unsafe_code)]

use std::ffi::CString;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::Socket;
use crate::policy::Address;
use crate::sys::Errno;
use crate::tracee::{Caller, Result};

/// `sizeof(struct sockaddr_storage)`: no address is longer.
pub(super) const MAX: usize = 128;
const INET: usize = size_of::<libc::sockaddr_in>();
/// An IPv6 address may end before its scope (RFC 2133).
const INET6: usize = 24;
const INET6_SCOPE: usize = size_of::<libc::sockaddr_in6>();
/// Where the path begins in a `sockaddr_un`.
const SUN_PATH: usize = 2;
const UNIX: usize = size_of::<libc::sockaddr_un>();

/// The bytes of an address: read once.
#[derive(Debug, Clone)]
pub(super) struct Raw {
    bytes: [u8; MAX],
    len: usize,
}

impl Raw {
    /// No address.
    pub(super) const NONE: Self = Self { bytes: [0; MAX], len: 0 };

    /// Reads an address as the kernel does: `EINVAL` for an impossible length.
    pub(super) fn read(caller: &Caller<'_>, addr: u64, len: i32) -> Result<Self> {
        let mut raw = Self::NONE;
        raw.len = usize::try_from(len).ok().filter(|len| *len <= MAX).ok_or(Errno::EINVAL)?;
        caller.read(addr, &mut raw.bytes[..raw.len])?;
        Ok(raw)
    }

    /// These bytes, cut where they are longer than any address.
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut raw = Self::NONE;
        raw.len = bytes.len().min(MAX);
        raw.bytes[..raw.len].copy_from_slice(&bytes[..raw.len]);
        raw
    }

    /// A `sockaddr_un` with this path.
    pub(super) fn unix(path: &[u8]) -> Self {
        Self::new(&[&(libc::AF_UNIX as u16).to_ne_bytes(), path].concat())
    }

    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Whether it is long enough to claim a family.
    pub(super) fn has_family(&self) -> bool {
        self.len >= SUN_PATH
    }

    /// The family that it claims for itself.
    pub(super) fn family(&self) -> i32 {
        u16::from_ne_bytes([self.bytes[0], self.bytes[1]]).into()
    }

    fn port(&self) -> u16 {
        u16::from_be_bytes([self.bytes[2], self.bytes[3]])
    }

    /// Puts another IPv4 address into a `sockaddr_in`.
    pub(super) fn set_inet(&mut self, addr: Ipv4Addr) {
        self.bytes[4..8].copy_from_slice(&addr.octets());
    }

    /// Puts another IPv6 address into a `sockaddr_in6`.
    pub(super) fn set_inet6(&mut self, addr: Ipv6Addr) {
        self.bytes[8..24].copy_from_slice(&addr.octets());
    }

    /// What getsockname(2) says.
    fn of_socket(socket: &Socket<'_>) -> std::result::Result<Self, Errno> {
        let mut raw = Self::NONE;
        raw.len = crate::sys::net::getsockname(socket.fd(), &mut raw.bytes)?;
        Ok(raw)
    }

    /// The address, if it is one of IP as a socket of this domain has it.
    fn ip(&self, domain: i32) -> Option<Address> {
        match (domain, self.family()) {
            (libc::AF_INET, libc::AF_INET) => Some(self.inet()),
            (libc::AF_INET6, libc::AF_INET6) => Some(self.inet6()),
            _ => None,
        }
    }

    fn inet(&self) -> Address {
        let mut addr = [0; 4];
        addr.copy_from_slice(&self.bytes[4..8]);
        Address::Inet(Ipv4Addr::from(addr), self.port())
    }

    fn inet6(&self) -> Address {
        let mut addr = [0; 16];
        addr.copy_from_slice(&self.bytes[8..24]);
        let mut scope = [0; 4];
        if self.len >= INET6_SCOPE {
            scope.copy_from_slice(&self.bytes[24..28]);
        }
        Address::Inet6 { addr: Ipv6Addr::from(addr), port: self.port(), scope: u32::from_ne_bytes(scope) }
    }
}

/// What an address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Bind,
    Connect,
    Send,
}

/// What an address means to a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// This address, to be judged.
    Address(Address),
    /// The unix socket of this name in the file system, to be resolved and judged.
    Path(CString),
    /// A name that the kernel chooses, or the end of a connection: nothing to be judged.
    Nothing,
    /// The socket ignores the address: it must not be handed on.
    Ignored,
}

/// What `raw` means to a socket of this domain (`SO_DOMAIN`) and kind (`SO_TYPE`) when it is used so.
pub(super) fn meaning(domain: i32, kind: i32, raw: &Raw, used: Use) -> std::result::Result<Meaning, Errno> {
    match domain {
        libc::AF_INET => inet(raw, used),
        libc::AF_INET6 => inet6(kind, raw, used),
        libc::AF_UNIX => unix(kind, raw, used),
        // The kernel reads the family of any address.
        _ if raw.len < SUN_PATH => Err(Errno::EINVAL),
        domain => Ok(Meaning::Address(Address::Other { family: domain as u16 })),
    }
}

fn inet(raw: &Raw, used: Use) -> std::result::Result<Meaning, Errno> {
    match raw.family() {
        libc::AF_UNSPEC if used == Use::Connect && raw.len >= SUN_PATH => Ok(Meaning::Nothing),
        _ if raw.len < INET => Err(Errno::EINVAL),
        // To bind and to send, no family is this one.
        libc::AF_INET => Ok(Meaning::Address(raw.inet())),
        libc::AF_UNSPEC if used != Use::Connect => Ok(Meaning::Address(raw.inet())),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

fn inet6(kind: i32, raw: &Raw, used: Use) -> std::result::Result<Meaning, Errno> {
    match raw.family() {
        _ if raw.len < SUN_PATH => Err(Errno::EINVAL),
        libc::AF_UNSPEC if used == Use::Connect => Ok(Meaning::Nothing),
        // A datagram without family goes to the peer; a raw socket reads an IPv6 address.
        libc::AF_UNSPEC if used == Use::Send && kind == libc::SOCK_DGRAM => Ok(Meaning::Nothing),
        libc::AF_UNSPEC if used == Use::Send && raw.len >= INET6 => Ok(Meaning::Address(raw.inet6())),
        // Datagram sockets take IPv4 addresses as they are.
        libc::AF_INET if used != Use::Bind && kind == libc::SOCK_DGRAM && raw.len >= INET => {
            Ok(Meaning::Address(raw.inet()))
        }
        _ if raw.len < INET6 => Err(Errno::EINVAL),
        libc::AF_INET6 => Ok(Meaning::Address(raw.inet6())),
        _ if used == Use::Send && kind == libc::SOCK_DGRAM => Err(Errno::EINVAL),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

fn unix(kind: i32, raw: &Raw, used: Use) -> std::result::Result<Meaning, Errno> {
    match (used, kind) {
        (Use::Send, libc::SOCK_SEQPACKET) => return Ok(Meaning::Ignored),
        // It fails, whatever the address is.
        (Use::Send, libc::SOCK_STREAM) => return Ok(Meaning::Nothing),
        (Use::Connect, libc::SOCK_DGRAM) if raw.len >= SUN_PATH && raw.family() == libc::AF_UNSPEC => {
            return Ok(Meaning::Nothing);
        }
        (Use::Bind, _) if raw.len == SUN_PATH && raw.family() == libc::AF_UNIX => {
            return Ok(Meaning::Nothing);
        }
        _ => {}
    }
    if raw.len <= SUN_PATH || raw.len > UNIX || raw.family() != libc::AF_UNIX {
        return Err(Errno::EINVAL);
    }
    let name = &raw.bytes()[SUN_PATH..];
    if let Some(name) = name.strip_prefix(b"\0") {
        return Ok(Meaning::Address(Address::Abstract(name.to_vec())));
    }
    let path = name.split(|byte| *byte == 0).next().unwrap_or_default();
    CString::new(path).map(Meaning::Path).map_err(|_| Errno::EINVAL)
}

/// The address that a socket has: what getsockname(2) says. `None` where it has none yet, or a path, which only
/// whoever bound it can resolve.
pub(super) fn own(socket: &Socket<'_>) -> std::result::Result<Option<Address>, Errno> {
    let raw = Raw::of_socket(socket)?;
    Ok(match (socket.domain, raw.family()) {
        (libc::AF_UNIX, libc::AF_UNIX) if raw.len > SUN_PATH && raw.bytes[SUN_PATH] == 0 => {
            Some(Address::Abstract(raw.bytes()[SUN_PATH + 1..].to_vec()))
        }
        _ => raw.ip(socket.domain).filter(|_| raw.port() != 0),
    })
}

/// Whether the kernel will give the socket an address when it needs one.
pub(super) fn is_to_come(socket: &Socket<'_>) -> std::result::Result<bool, Errno> {
    match socket.is_unix() {
        true => Ok(Raw::of_socket(socket)?.len <= SUN_PATH),
        false => Ok(own(socket)?.is_none()),
    }
}

/// The address that messages of a socket of IP come from, which can be known before it has a port.
pub(super) fn source(socket: &Socket<'_>) -> Option<Address> {
    Raw::of_socket(socket).ok()?.ip(socket.domain)
}

/// The address that a socket of IP is connected to.
pub(super) fn peer(socket: &Socket<'_>) -> Option<Address> {
    let mut raw = Raw::NONE;
    raw.len = crate::sys::net::getpeername(socket.fd(), &mut raw.bytes).ok()?;
    raw.ip(socket.domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(
        domain: i32,
        kind: i32,
        used: Use,
        family: i32,
        rest: &[u8],
    ) -> std::result::Result<Meaning, Errno> {
        meaning(domain, kind, &Raw::new(&[&(family as u16).to_ne_bytes(), rest].concat()), used)
    }

    const V4: [u8; 14] = [0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];

    fn v6(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        bytes[1] = 80;
        bytes[6 + 15] = 1;
        bytes
    }

    #[test]
    fn the_socket_says_what_an_address_means() {
        use libc::{AF_INET, AF_INET6, AF_UNSPEC, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM};
        let four = Ok(Meaning::Address(Address::Inet([127, 0, 0, 1].into(), 80)));
        let six = Ok(Meaning::Address(Address::Inet6 { addr: Ipv6Addr::LOCALHOST, port: 80, scope: 0 }));
        let (nothing, invalid) = (Ok(Meaning::Nothing), Err(Errno::EINVAL));
        for used in [Use::Bind, Use::Connect, Use::Send] {
            assert_eq!(ask(AF_INET, SOCK_DGRAM, used, AF_INET, &V4), four);
            assert_eq!(ask(AF_INET, SOCK_DGRAM, used, AF_INET, &V4[..13]), invalid);
            assert_eq!(ask(AF_INET, SOCK_DGRAM, used, AF_INET6, &v6(26)), Err(Errno::EAFNOSUPPORT));
            assert_eq!(ask(AF_INET6, SOCK_STREAM, used, AF_INET6, &v6(26)), six);
            assert_eq!(ask(AF_INET6, SOCK_STREAM, used, AF_INET6, &v6(22)), six);
            assert_eq!(ask(AF_INET6, SOCK_STREAM, used, AF_INET, &v6(26)), Err(Errno::EAFNOSUPPORT));
        }
        assert_eq!(ask(AF_INET, SOCK_DGRAM, Use::Send, AF_UNSPEC, &V4), four);
        assert_eq!(ask(AF_INET, SOCK_STREAM, Use::Bind, AF_UNSPEC, &V4), four);
        assert_eq!(ask(AF_INET, SOCK_STREAM, Use::Connect, AF_UNSPEC, &V4), nothing);
        assert_eq!(ask(AF_INET6, SOCK_DGRAM, Use::Send, AF_INET, &V4), four);
        assert_eq!(ask(AF_INET6, SOCK_DGRAM, Use::Connect, AF_INET, &V4), four);
        assert_eq!(ask(AF_INET6, SOCK_DGRAM, Use::Bind, AF_INET, &V4), invalid);
        assert_eq!(ask(AF_INET6, SOCK_DGRAM, Use::Send, AF_UNSPEC, &v6(26)), nothing);
        assert_eq!(ask(AF_INET6, SOCK_RAW, Use::Send, AF_UNSPEC, &v6(26)), six);
        assert_eq!(ask(AF_INET6, SOCK_DGRAM, Use::Connect, AF_UNSPEC, &[]), nothing);
    }

    #[test]
    fn unix_names() {
        use libc::{AF_UNIX, AF_UNSPEC, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM};
        let path = |text: &str| Ok(Meaning::Path(CString::new(text).unwrap()));
        let name = |bytes: &[u8]| Ok(Meaning::Address(Address::Abstract(bytes.to_vec())));
        let ask = |kind, used, family, rest: &[u8]| ask(AF_UNIX, kind, used, family, rest);
        assert_eq!(ask(SOCK_STREAM, Use::Connect, AF_UNIX, b"a/b\0garbage"), path("a/b"));
        assert_eq!(ask(SOCK_DGRAM, Use::Send, AF_UNIX, &[b'a'; 108]), path(&"a".repeat(108)));
        assert_eq!(ask(SOCK_DGRAM, Use::Send, AF_UNIX, &[b'a'; 109]), Err(Errno::EINVAL));
        assert_eq!(ask(SOCK_STREAM, Use::Connect, AF_UNIX, b"\0a\0b"), name(b"a\0b"));
        assert_eq!(ask(SOCK_STREAM, Use::Connect, AF_UNIX, b"\0"), name(b""));
        assert_eq!(ask(SOCK_STREAM, Use::Bind, AF_UNIX, b""), Ok(Meaning::Nothing));
        assert_eq!(ask(SOCK_STREAM, Use::Connect, AF_UNIX, b""), Err(Errno::EINVAL));
        assert_eq!(ask(SOCK_DGRAM, Use::Connect, AF_UNSPEC, b""), Ok(Meaning::Nothing));
        assert_eq!(ask(SOCK_STREAM, Use::Connect, AF_UNSPEC, b"/x"), Err(Errno::EINVAL));
        assert_eq!(ask(SOCK_SEQPACKET, Use::Send, AF_UNIX, b"/x"), Ok(Meaning::Ignored));
    }
}
