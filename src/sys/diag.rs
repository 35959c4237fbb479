//! sock_diag(7): which socket is at an address, and whether a socket still exists.
//!
//! Sockets are known by their cookies (`SO_COOKIE`), of which the kernel gives none twice. Needs no privilege.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{MsgFlags, recv, send};

use super::{Errno, Result, net};

const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const ANY_STATE: u32 = u32::MAX;
const UDIAG_SHOW_VFS: u32 = 2;
const UNIX_DIAG_VFS: u16 = 1;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
const INET_DIAG_SKV6ONLY: u16 = 11;
/// Where the source address is in an `inet_diag_msg`, and the cookie; where it ends.
const INET_SOURCE: usize = 8;
const INET_COOKIE: usize = 44;
const INET_END: usize = 72;
/// Where the cookie is in a `unix_diag_msg`; where it ends.
const UNIX_COOKIE: usize = 8;
const UNIX_END: usize = 16;
/// So many bytes of a list come at once.
const PIECE: usize = 16 * 1024;

/// A connection to the kernel.
#[derive(Debug)]
pub(crate) struct Diag {
    socket: OwnedFd,
    /// The number of the last request: an answer to another one is none.
    sequence: Cell<u32>,
    /// Part of an answer may still be there.
    stale: Cell<bool>,
    /// Whether TCP, UDP and unix sockets can be asked about: each is a module of its own.
    tcp: bool,
    udp: bool,
    unix: bool,
}

/// Which of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

impl Diag {
    /// Opens one, and looks what it can be asked.
    pub(crate) fn open() -> Result<Self> {
        let socket = net::socket(libc::AF_NETLINK, libc::SOCK_RAW, NETLINK_SOCK_DIAG)?;
        let mut diag = Self {
            socket,
            sequence: Cell::new(0),
            stale: Cell::new(false),
            tcp: false,
            udp: false,
            unix: false,
        };
        diag.tcp = diag.lists(&inet(libc::IPPROTO_TCP, 0, [IpAddr::V4(0.into()); 2], [0; 2], 0))?;
        diag.udp = diag.lists(&inet(libc::IPPROTO_UDP, 0, [IpAddr::V4(0.into()); 2], [0; 2], 0))?;
        diag.unix = diag.lists(&unix(0, 0, 0))?;
        Ok(diag)
    }

    /// The cookie of the socket that hears who talks to this address from anywhere; `None` if nobody does. `scope`: the
    /// interface of a link-local address, or 0. `EOPNOTSUPP` where the kernel cannot tell.
    pub(crate) fn who(&self, protocol: Protocol, at: IpAddr, port: u16, scope: u32) -> Result<Option<u64>> {
        let nowhere = if at.is_ipv4() { IpAddr::V4(0.into()) } else { IpAddr::V6(0.into()) };
        let request = match protocol {
            Protocol::Tcp if self.tcp => inet(libc::IPPROTO_TCP, ANY_STATE, [at, nowhere], [port, 0], scope),
            // Here the two ends are swapped, "for historical reasons".
            Protocol::Udp if self.udp => inet(libc::IPPROTO_UDP, ANY_STATE, [nowhere, at], [0, port], scope),
            _ => return Err(Errno::EOPNOTSUPP),
        };
        self.ask(&request, |answer| word64(answer, INET_COOKIE))
    }

    /// The cookies of all sockets that may hear who talks to this address, also of those that only do so once others are gone,
    /// or hear one peer alone. Of streams those that listen. `EOPNOTSUPP` where the kernel cannot tell, `EMSGSIZE` if they are too
    /// many to be told at once.
    pub(crate) fn all_who(&self, protocol: Protocol, at: IpAddr, port: u16) -> Result<Vec<u64>> {
        const LISTEN: u32 = 1 << 10;
        let (number, states) = match protocol {
            Protocol::Tcp if self.tcp => (libc::IPPROTO_TCP, LISTEN),
            Protocol::Udp if self.udp => (libc::IPPROTO_UDP, ANY_STATE),
            _ => return Err(Errno::EOPNOTSUPP),
        };
        let mut cookies = Vec::new();
        let families: [IpAddr; 2] = [IpAddr::V4(0.into()), IpAddr::V6(0.into())];
        // To IPv6 alone those of IPv4 are deaf.
        for nowhere in families.into_iter().filter(|family| at.is_ipv4() || family.is_ipv6()) {
            let request = inet(number, states, [nowhere; 2], [port, 0], 0);
            self.list(&request, |answer| {
                if hears(answer, at) {
                    cookies.extend(word64(answer, INET_COOKIE));
                }
            })?;
        }
        Ok(cookies)
    }

    /// Whether the unix socket with this inode and cookie still exists; and the low half of the inode of its file, if it is
    /// bound to one. `EOPNOTSUPP` where the kernel cannot tell.
    pub(crate) fn unix(&self, inode: u32, cookie: u64) -> Result<Option<Option<u32>>> {
        if !self.unix {
            return Err(Errno::EOPNOTSUPP);
        }
        self.ask(&unix(ANY_STATE, inode, cookie), |answer| {
            let file = || attribute(answer, UNIX_END, UNIX_DIAG_VFS).and_then(|vfs| word32(vfs, 0));
            (word64(answer, UNIX_COOKIE)? == cookie).then(file)
        })
    }

    /// Sends a request for one socket and reads the answer. `None`: there is none.
    fn ask<T>(&self, request: &[u8], read: impl FnOnce(&[u8]) -> Option<T>) -> Result<Option<T>> {
        let mut buf = [0; 1024];
        match self.talk(request, libc::NLM_F_REQUEST as u16, &mut buf)? {
            Ok(answer) => read(answer).map(Some).ok_or(Errno::EBADMSG),
            // A socket with the number and another cookie is another one.
            Err(Errno::ENOENT | Errno::ESTALE) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Whether a list of no states is a list: an empty one.
    fn lists(&self, request: &[u8]) -> Result<bool> {
        match self.list(request, |_| ()) {
            Ok(()) => Ok(true),
            // Which error there is where depends on the module that is missing.
            Err(errno) if super::is_want(errno) => Err(errno),
            Err(_) => Ok(false),
        }
    }

    /// A request for a list, of which `each` entry is read. All must come in one piece: what is closed between two of them
    /// moves others to where the kernel has already been.
    fn list(&self, request: &[u8], mut each: impl FnMut(&[u8])) -> Result<()> {
        let mut buf = vec![0; PIECE];
        let sequence = self.say(request, (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16)?;
        let mut filled = 0;
        loop {
            let mut piece = self.hear(&mut buf)?;
            let mut entries = 0;
            while !piece.is_empty() {
                let len = word32(piece, 0).map_or(0, |len| len as usize);
                let message = piece.get(..len).ok_or(Errno::EBADMSG)?;
                match read(message, sequence)? {
                    Said::Entry(body) => {
                        each(body);
                        entries += 1;
                    }
                    Said::End(end) => {
                        self.stale.set(false);
                        return end;
                    }
                }
                piece = piece.get(len.next_multiple_of(4)..).unwrap_or_default();
            }
            filled += usize::from(entries > 0);
            if filled > 1 {
                return Err(Errno::EMSGSIZE);
            }
        }
    }

    /// One request, one message. The kernel answers before send(2) returns, so nothing waits. The inner error is what the
    /// kernel said.
    fn talk<'b>(&self, request: &[u8], flags: u16, buf: &'b mut [u8]) -> Result<Result<&'b [u8]>> {
        let sequence = self.say(request, flags)?;
        let said = read(self.hear(buf)?, sequence)?;
        self.stale.set(false);
        match said {
            Said::Entry(body) => Ok(Ok(body)),
            Said::End(end) => Ok(end.map(|()| &[][..])),
        }
    }

    /// Sends a request, and returns its number.
    fn say(&self, request: &[u8], flags: u16) -> Result<u32> {
        let mut message = Vec::with_capacity(HEADER + request.len());
        message.extend_from_slice(&((HEADER + request.len()) as u32).to_ne_bytes());
        message.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        message.extend_from_slice(&flags.to_ne_bytes());
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        message.extend_from_slice(&sequence.to_ne_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(request);
        // What an answer that was given up has left.
        let mut rest = [0; 1024];
        while self.stale.get() {
            self.stale.set(!matches!(self.hear(&mut rest), Err(Errno::EAGAIN)));
        }
        self.stale.set(true);
        send(self.socket.as_fd().as_raw_fd(), &message, MsgFlags::empty())?;
        Ok(sequence)
    }

    fn hear<'b>(&self, buf: &'b mut [u8]) -> Result<&'b [u8]> {
        let len = recv(self.socket.as_fd().as_raw_fd(), buf, MsgFlags::MSG_DONTWAIT)?;
        buf.get(..len).ok_or(Errno::EBADMSG)
    }
}

/// What a message of the kernel's is.
enum Said<'b> {
    /// What was asked for, or one of several.
    Entry(&'b [u8]),
    /// There is no more, or an error.
    End(Result<()>),
}

/// Reads one message, which must be an answer to the request of this number.
fn read(message: &[u8], sequence: u32) -> Result<Said<'_>> {
    let kind = message.get(4..6).and_then(|kind| kind.try_into().ok()).map(u16::from_ne_bytes);
    let body = message.get(HEADER..).ok_or(Errno::EBADMSG)?;
    if word32(message, 8) != Some(sequence) {
        return Err(Errno::EBADMSG);
    }
    match kind.map(i32::from) {
        Some(libc::NLMSG_ERROR | libc::NLMSG_DONE) => match word32(body, 0).map(|word| word as i32) {
            Some(0) => Ok(Said::End(Ok(()))),
            Some(errno) => Ok(Said::End(Err(Errno::from_raw(errno.wrapping_neg())))),
            None => Err(Errno::EBADMSG),
        },
        _ => Ok(Said::Entry(body)),
    }
}

/// Whether the socket of this entry may hear what is sent to the address.
fn hears(entry: &[u8], at: IpAddr) -> bool {
    let Some(bytes) =
        entry.get(INET_SOURCE..INET_SOURCE + 16).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok())
    else {
        return false;
    };
    if entry.first().map(|family| i32::from(*family)) == Some(libc::AF_INET) {
        let own = [bytes[0], bytes[1], bytes[2], bytes[3]];
        return own == [0; 4] || IpAddr::from(own) == at;
    }
    let own = Ipv6Addr::from(bytes);
    let only_six =
        || attribute(entry, INET_END, INET_DIAG_SKV6ONLY).is_some_and(|only| only.first() == Some(&1));
    match at {
        IpAddr::V6(at) => own.is_unspecified() || own == at,
        IpAddr::V4(at) => match own.to_ipv4_mapped() {
            Some(own) => own.is_unspecified() || own == at,
            None => own.is_unspecified() && !only_six(),
        },
    }
}

/// `struct inet_diag_req_v2`.
fn inet(protocol: i32, states: u32, addrs: [IpAddr; 2], ports: [u16; 2], scope: u32) -> Vec<u8> {
    let family = if addrs.iter().all(IpAddr::is_ipv4) { libc::AF_INET } else { libc::AF_INET6 };
    let mut request = vec![family as u8, protocol as u8, 0, 0];
    request.extend_from_slice(&states.to_ne_bytes());
    for port in ports {
        request.extend_from_slice(&port.to_be_bytes());
    }
    for addr in addrs {
        let mut bytes = [0; 16];
        match addr {
            IpAddr::V4(addr) => bytes[..4].copy_from_slice(&addr.octets()),
            IpAddr::V6(addr) => bytes = addr.octets(),
        }
        request.extend_from_slice(&bytes);
    }
    request.extend_from_slice(&scope.to_ne_bytes());
    // Whatever its cookie.
    request.extend_from_slice(&[0xff; 8]);
    request
}

/// `struct unix_diag_req`.
fn unix(states: u32, inode: u32, cookie: u64) -> Vec<u8> {
    let mut request = vec![libc::AF_UNIX as u8, 0, 0, 0];
    for word in [states, inode, UDIAG_SHOW_VFS, cookie as u32, (cookie >> 32) as u32] {
        request.extend_from_slice(&word.to_ne_bytes());
    }
    request
}

/// The content of an attribute of an entry whose fixed part ends at `end`.
fn attribute(entry: &[u8], end: usize, wanted: u16) -> Option<&[u8]> {
    let mut rest = entry.get(end..)?;
    loop {
        let header = word32(rest, 0)?;
        let (len, kind) = (usize::from(header as u16), (header >> 16) as u16);
        if kind == wanted {
            return rest.get(4..len);
        }
        rest = rest.get(len.next_multiple_of(4).max(4)..)?;
    }
}

fn word32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// Two words, the low one first, as cookies are.
fn word64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from(word32(bytes, at)?) | u64::from(word32(bytes, at + 4)?) << 32)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::{SocketAddr, UnixListener};

    use super::*;
    use crate::sys::FORKS;

    fn cookie(socket: &impl AsFd) -> u64 {
        net::cookie(socket.as_fd()).unwrap()
    }

    fn inode(socket: &impl AsFd) -> u32 {
        super::super::fs::fstat(socket.as_fd()).unwrap().id.1 as u32
    }

    #[test]
    fn who_is_there_and_who_is_gone() {
        let _nobody_forks = FORKS.read();
        let diag = Diag::open().unwrap();
        for name in ["127.0.0.1", "::1"] {
            let at: IpAddr = name.parse().unwrap();
            let (Ok(tcp), Ok(udp)) = (TcpListener::bind((at, 0)), UdpSocket::bind((at, 0))) else { continue };
            let (tcp_port, udp_port) = (tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port());
            if diag.tcp {
                let cookie = cookie(&tcp);
                assert_eq!(diag.who(Protocol::Tcp, at, tcp_port, 0), Ok(Some(cookie)));
                assert_eq!(diag.all_who(Protocol::Tcp, at, tcp_port), Ok(vec![cookie]));
                drop(tcp);
                // Somebody else may have the port by then.
                assert_ne!(diag.who(Protocol::Tcp, at, tcp_port, 0), Ok(Some(cookie)));
            }
            if diag.udp {
                assert_eq!(diag.who(Protocol::Udp, at, udp_port, 0), Ok(Some(cookie(&udp))));
                assert_eq!(diag.all_who(Protocol::Udp, at, udp_port), Ok(vec![cookie(&udp)]));
                // Who is connected is heard by its peer alone.
                udp.connect((at, 9)).unwrap();
                assert_eq!(diag.who(Protocol::Udp, at, udp_port, 0), Ok(None));
                assert_eq!(diag.all_who(Protocol::Udp, at, udp_port), Ok(vec![cookie(&udp)]));
                let cookie = cookie(&udp);
                drop(udp);
                assert!(!diag.all_who(Protocol::Udp, at, udp_port).unwrap().contains(&cookie));
            }
        }
    }

    #[test]
    fn sockets_of_both_families_hear_an_address() {
        let _nobody_forks = FORKS.read();
        let diag = Diag::open().unwrap();
        let (Ok(all), true) = (UdpSocket::bind("[::]:0"), diag.udp) else { return };
        let port = all.local_addr().unwrap().port();
        let heard =
            |at: &str| diag.all_who(Protocol::Udp, at.parse().unwrap(), port).unwrap() == [cookie(&all)];
        assert!(heard("127.0.0.1") && heard("::1"));
        let Ok(six) = UdpSocket::bind("[::1]:0") else { return };
        let port = six.local_addr().unwrap().port();
        let hears = |at: &str| {
            diag.all_who(Protocol::Udp, at.parse().unwrap(), port).unwrap().contains(&cookie(&six))
        };
        assert!(!hears("127.0.0.1") && hears("::1"));
    }

    /// A list that does not come at once is none, and what is left of it is no answer to the next question.
    #[test]
    fn too_many_to_be_told_at_once() {
        let _nobody_else = FORKS.write();
        let diag = Diag::open().unwrap();
        let at: IpAddr = "127.0.0.1".parse().unwrap();
        let first = sharing(0);
        let port = first.local_addr().unwrap().port();
        let others: Vec<UdpSocket> = (0..300).map(|_| sharing(port)).collect();
        if !diag.udp {
            return;
        }
        assert_eq!(diag.all_who(Protocol::Udp, at, port), Err(Errno::EMSGSIZE));
        drop(others);
        assert_eq!(diag.all_who(Protocol::Udp, at, port), Ok(vec![cookie(&first)]));
    }

    /// A datagram socket that lets its port be shared.
    fn sharing(port: u16) -> UdpSocket {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, sockopt};
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = nix::sys::socket::socket(AddressFamily::Inet, SockType::Datagram, flags, None).unwrap();
        setsockopt(&socket, sockopt::ReuseAddr, &true).unwrap();
        bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port)).unwrap();
        socket.into()
    }

    #[test]
    fn unix_sockets_and_their_files() {
        let _nobody_forks = FORKS.read();
        let diag = Diag::open().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let named = UnixListener::bind(&path).unwrap();
        let file = path.metadata().unwrap().ino() as u32;
        let name = SocketAddr::from_abstract_name(format!("sydbox-diag-{}", std::process::id())).unwrap();
        let hidden = UnixListener::bind_addr(&name).unwrap();
        if !diag.unix {
            return;
        }
        assert_eq!(diag.unix(inode(&named), cookie(&named)), Ok(Some(Some(file))));
        assert_eq!(diag.unix(inode(&hidden), cookie(&hidden)), Ok(Some(None)));
        assert_eq!(diag.unix(inode(&hidden), cookie(&named)), Ok(None));
        let (inode, cookie) = (inode(&named), cookie(&named));
        drop(named);
        assert_eq!(diag.unix(inode, cookie), Ok(None));
    }
}
