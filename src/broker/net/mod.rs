//! Sockets and their addresses.
//!
//! The caller's socket is duplicated and its address copied, once each; the copy is judged, and the call made on the
//! duplicate with the copy. Both name what the caller named: a socket is shared, and a descriptor number or memory
//! that changes meanwhile changes nothing (T46).
#![forbid(unsafe_code)]

mod address;
mod bind;
mod connect;
mod control;
mod message;
mod multiplex;
mod netlink;
mod option;
mod send;
mod socket;
mod spelling;
mod unsafely;
mod way;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Once;

pub(super) use bind::{bind, listen};
pub(super) use connect::connect;
pub(super) use multiplex::socketcall;
pub(super) use option::share;
pub(super) use send::{sendmmsg, sendmsg, sendto};
pub(super) use socket::socket;

use self::address::{Meaning, Raw, Use};
use self::way::Way;
use super::cx::Cx;
use super::judge::{End, Leaves};
use super::watch::Watched;
use crate::gate::Op;
use crate::policy::{Address, NetMode, NetOp};
use crate::resolve::{self, Base, Place};
use crate::sys::{CallerFd, Errno, fs, net};
use crate::tracee::{Result, Stop};

/// A duplicate of a socket of the caller's.
struct Socket<'s> {
    fd: OwnedFd,
    /// `SO_DOMAIN`.
    domain: i32,
    /// `SO_TYPE`.
    kind: i32,
    /// To be dropped last: where the caller has closed its own meanwhile, to close ours may wait for as long as the
    /// program says (`SO_LINGER`).
    _watched: Option<Watched<'s>>,
}

impl Socket<'_> {
    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Why a call on it failed. One that a signal ended does not begin again if it has a time limit (`SO_SNDTIMEO`), which
    /// would begin again, too: signal(7).
    fn stop(&self, errno: Errno) -> Stop {
        let limited = || {
            let mut time = [0; size_of::<libc::timeval>()];
            let known = net::getsockopt(self.fd(), libc::SOL_SOCKET, libc::SO_SNDTIMEO, &mut time);
            known.is_ok() && time.iter().any(|byte| *byte != 0)
        };
        if errno == Errno::EINTR && limited() { Stop::Interrupted } else { Stop::Errno(errno) }
    }

    /// What an address means to it. The errors are those that the kernel has, in its order.
    fn meaning(&self, raw: &Raw, used: Use) -> std::result::Result<Meaning, Errno> {
        let four =
            self.domain == libc::AF_INET6 && self.kind == libc::SOCK_DGRAM && raw.family() == libc::AF_INET;
        if four && used != Use::Bind {
            let only_six = net::socket_option_at(self.fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) == Ok(1);
            if only_six {
                return Err(if used == Use::Connect { Errno::EAFNOSUPPORT } else { Errno::ENETUNREACH });
            }
        }
        address::meaning(self.domain, self.kind, raw, used).map_err(|errno| {
            let stream = self.is_inet() && self.kind == libc::SOCK_STREAM && raw.has_family();
            let taken =
                || net::has_peer(self.fd()) || net::socket_option(self.fd(), libc::SO_ACCEPTCONN) == Ok(1);
            if used == Use::Connect && stream && taken() { Errno::EISCONN } else { errno }
        })
    }

    fn is_inet(&self) -> bool {
        matches!(self.domain, libc::AF_INET | libc::AF_INET6)
    }

    fn is_unix(&self) -> bool {
        self.domain == libc::AF_UNIX
    }
}

/// Where a call goes, judged: the bytes to hand to the kernel, and what they lead to.
struct Destination {
    raw: Raw,
    /// The socket that `raw` names by number.
    _pinned: Option<OwnedFd>,
}

impl Destination {
    /// None: the call goes where the socket goes.
    const NONE: Self = Self { raw: Raw::NONE, _pinned: None };
}

impl<'a> Cx<'a> {
    /// What was duplicated, as a socket. `ENOTSOCK` for what is none.
    fn socket(&self, fd: OwnedFd) -> Result<Socket<'a>> {
        let domain = net::socket_option(fd.as_fd(), libc::SO_DOMAIN)?;
        let kind = net::socket_option(fd.as_fd(), libc::SO_TYPE)?;
        let mut socket = Socket { fd, domain, kind, _watched: None };
        if socket.is_inet() && kind == libc::SOCK_STREAM {
            socket._watched = Some(self.watched());
        }
        Ok(socket)
    }

    /// Duplicates the caller's socket. `None`: a container's filter keeps us from it, and the call may be left to the kernel
    /// if no address can be refused, or is to be judged without ([`unsafely`]).
    fn duplicate(&self) -> Result<Option<OwnedFd>> {
        self.duplicate_of(self.socket_number(), self.is_open()?)
    }

    fn duplicate_of(&self, fd: CallerFd, left: bool) -> Result<Option<OwnedFd>> {
        match self.caller.duplicate(fd) {
            Err(Stop::Errno(Errno::EPERM)) if left || self.supervisor.options.unsafe_connect => Ok(None),
            Err(Stop::Errno(Errno::EPERM)) => Err(cannot_duplicate()),
            duplicate => duplicate.map(Some),
        }
    }

    fn socket_number(&self) -> CallerFd {
        self.dirfd(self.call.at)
    }

    /// Whether no address can be refused to the caller, so that the kernel may carry a call out itself unless the
    /// second lock, which knows no exceptions, stands in its way. The peer then sees the caller.
    fn is_open(&self) -> Result<bool> {
        Ok(self.state()?.policy.network == NetMode::Off)
    }

    /// Whether the kernel will choose an address for the socket in this call, which is to be remembered.
    fn chooses(&self, socket: &Socket<'_>) -> Result<bool> {
        // Unix sockets without a name get one if they are told who sends.
        let named = || net::socket_option(socket.fd(), libc::SO_PASSCRED) == Ok(1);
        let bindable = socket.kind == libc::SOCK_DGRAM && (socket.is_inet() || socket.is_unix() && named());
        Ok(bindable && bind::are_wanted(self)? && address::is_to_come(socket)?)
    }

    /// Judges where a call goes: the same for connect and for all that send.
    fn destination(
        &mut self,
        socket: &Socket<'_>,
        mut raw: Raw,
        meaning: Meaning,
        way: Way,
    ) -> Result<Destination> {
        match meaning {
            Meaning::Ignored => Ok(Destination::NONE),
            Meaning::Nothing => {
                // Where it is connected to was judged, but not by this interface.
                match way.is_led().then(|| address::peer(socket)).flatten() {
                    Some(peer) => self.may_talk(socket, &peer, None, way.leaves(socket))?,
                    None => self.caller.check()?,
                }
                Ok(Destination { raw, _pinned: None })
            }
            Meaning::Address(address) => {
                let address = way.settle(socket, &mut raw, address);
                self.may_talk(socket, &address, None, way.leaves(socket))?;
                Ok(Destination { raw, _pinned: None })
            }
            Meaning::Path(path) => {
                let base = Base::new(&self.caller, CallerFd(libc::AT_FDCWD), &path)?;
                self.as_caller(|cx| {
                    let object = resolve::object(&cx.caller, base, &path, true)?;
                    // What is no socket now never becomes one: the kernel has its own errno for it.
                    if object.stat.kind() == libc::S_IFSOCK {
                        let address = match &object.place {
                            Place::At(path) => Address::Unix(path.bytes().to_vec()),
                            // Without a path there is no rule for it: the mode decides.
                            Place::Own | Place::Foreign => Address::Unix(Vec::new()),
                        };
                        cx.may_talk(socket, &address, Some(object.stat.id), Leaves::No)?;
                    }
                    cx.caller.check()?;
                    let raw = Raw::unix(&fs::socket_path(object.fd.as_fd()));
                    Ok(Destination { raw, _pinned: Some(object.fd) })
                })
            }
        }
    }

    fn may_talk(
        &mut self,
        socket: &Socket<'_>,
        address: &Address,
        file: Option<(u64, u64)>,
        leaves: Leaves,
    ) -> Result<()> {
        let fd = self.socket_number();
        if socket::is_exempt(socket, address) {
            return self.caller.check();
        }
        if socket::is_disguise(socket) && !self.is_open()? {
            crate::report::seldom(|| {
                log::warn!(
                    "an inherited socket of family {} is not to be used: rules do not see where it leads",
                    socket.domain
                )
            });
            return Err(Errno::ECONNREFUSED.into());
        }
        // How getaddrinfo(3) asks for the source address of each result. A dry run goes on, and so reports it.
        let probe = self.call.op == Op::Connect
            && socket.kind == libc::SOCK_DGRAM
            && matches!(address, Address::Inet(_, 0) | Address::Inet6 { port: 0, .. })
            && !self.supervisor.options.dry_run;
        let end = End { kind: socket.kind, address, file, leaves };
        self.may_net(NetOp::Connect, &end, fd, || {
            if probe {
                return Some(Errno::ECONNREFUSED);
            }
            let connected = socket.kind != libc::SOCK_DGRAM && net::has_peer(socket.fd());
            connected.then_some(Errno::EISCONN)
        })
    }
}

/// What was refused is refused for want of a duplicate.
fn cannot_duplicate() -> Stop {
    tell_without_duplicates(false);
    Errno::EPERM.into()
}

/// Says, once, what follows from a container's filter that keeps us from the sockets of callers. `judged`: by
/// `core/trace/allow_unsafe_connect`.
pub(crate) fn tell_without_duplicates(judged: bool) {
    static TOLD: Once = Once::new();
    let how = "a container's filter allows it with the capability CAP_SYS_PTRACE: `--cap-add SYS_PTRACE`";
    TOLD.call_once(|| match judged {
        true => log::warn!(
            "pidfd_getfd is refused, so addresses are judged and then read again by the kernel, as \
             core/trace/allow_unsafe_connect:true asks for: a program that changes them meanwhile gets round the \
             rules ({how})"
        ),
        false => log::error!(
            "pidfd_getfd is refused, so calls on sockets with an address are refused while the network is sandboxed \
             ({how}; or, weaker, core/trace/allow_unsafe_connect:true)"
        ),
    });
}
