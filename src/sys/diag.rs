//! sock_diag(7): which socket is at an address, and whether a socket still exists.
//!
//! Sockets are known by their cookies (`SO_COOKIE`), of which the kernel gives none twice. Needs no privilege.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::net::IpAddr;
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
/// Where the cookie is behind the header of an `inet_diag_msg`, and of a `unix_diag_msg`; where the latter ends.
const INET_COOKIE: usize = 44;
const UNIX_COOKIE: usize = 8;
const UNIX_END: usize = 16;

/// A connection to the kernel.
#[derive(Debug)]
pub(crate) struct Diag {
    socket: OwnedFd,
    /// The number of the last request: an answer to another one is none.
    sequence: Cell<u32>,
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
        let mut diag = Self { socket, sequence: Cell::new(0), tcp: false, udp: false, unix: false };
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

    /// Whether the unix socket with this inode and cookie still exists; and the low half of the inode of its file, if it is
    /// bound to one. `EOPNOTSUPP` where the kernel cannot tell.
    pub(crate) fn unix(&self, inode: u32, cookie: u64) -> Result<Option<Option<u32>>> {
        if !self.unix {
            return Err(Errno::EOPNOTSUPP);
        }
        self.ask(&unix(ANY_STATE, inode, cookie), |answer| {
            (word64(answer, UNIX_COOKIE)? == cookie).then(|| file(answer.get(UNIX_END..).unwrap_or_default()))
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
        let mut buf = [0; 1024];
        Ok(self.talk(request, (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16, &mut buf)?.is_ok())
    }

    /// One request, one message. The kernel answers before send(2) returns, so nothing waits. The inner error is what the
    /// kernel said.
    fn talk<'b>(&self, request: &[u8], flags: u16, buf: &'b mut [u8]) -> Result<Result<&'b [u8]>> {
        let mut message = Vec::with_capacity(HEADER + request.len());
        message.extend_from_slice(&((HEADER + request.len()) as u32).to_ne_bytes());
        message.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        message.extend_from_slice(&flags.to_ne_bytes());
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        message.extend_from_slice(&sequence.to_ne_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(request);
        send(self.socket.as_fd().as_raw_fd(), &message, MsgFlags::empty())?;
        let len = recv(self.socket.as_fd().as_raw_fd(), buf, MsgFlags::MSG_DONTWAIT)?;
        let buf = buf.get(..len).ok_or(Errno::EBADMSG)?;
        let kind = buf.get(4..6).and_then(|kind| kind.try_into().ok()).map(u16::from_ne_bytes);
        let body = buf.get(HEADER..).ok_or(Errno::EBADMSG)?;
        if word32(buf, 8) != Some(sequence) {
            return Err(Errno::EBADMSG);
        }
        match kind.map(i32::from) {
            Some(libc::NLMSG_ERROR | libc::NLMSG_DONE) => match word32(body, 0).map(|word| word as i32) {
                Some(0) => Ok(Ok(body)),
                Some(errno) => Ok(Err(Errno::from_raw(errno.wrapping_neg()))),
                None => Err(Errno::EBADMSG),
            },
            _ => Ok(Ok(body)),
        }
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

/// The inode in the attribute `UNIX_DIAG_VFS`.
fn file(mut attributes: &[u8]) -> Option<u32> {
    loop {
        let header = word32(attributes, 0)?;
        let (len, kind) = (header as u16, (header >> 16) as u16);
        if kind == UNIX_DIAG_VFS {
            return word32(attributes, 4);
        }
        attributes = attributes.get(usize::from(len).next_multiple_of(4).max(4)..)?;
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

    fn cookie(socket: &impl AsFd) -> u64 {
        net::cookie(socket.as_fd()).unwrap()
    }

    fn inode(socket: &impl AsFd) -> u32 {
        super::super::fs::fstat(socket.as_fd()).unwrap().id.1 as u32
    }

    #[test]
    fn who_is_there_and_who_is_gone() {
        let diag = Diag::open().unwrap();
        for name in ["127.0.0.1", "::1"] {
            let at: IpAddr = name.parse().unwrap();
            let (Ok(tcp), Ok(udp)) = (TcpListener::bind((at, 0)), UdpSocket::bind((at, 0))) else { continue };
            let (tcp_port, udp_port) = (tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port());
            if diag.tcp {
                assert_eq!(diag.who(Protocol::Tcp, at, tcp_port, 0), Ok(Some(cookie(&tcp))));
                drop(tcp);
                assert_eq!(diag.who(Protocol::Tcp, at, tcp_port, 0), Ok(None));
            }
            if diag.udp {
                assert_eq!(diag.who(Protocol::Udp, at, udp_port, 0), Ok(Some(cookie(&udp))));
                drop(udp);
                assert_eq!(diag.who(Protocol::Udp, at, udp_port, 0), Ok(None));
            }
        }
    }

    #[test]
    fn unix_sockets_and_their_files() {
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
