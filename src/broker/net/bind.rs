//! bind, and listen, which binds a socket that has no address yet.
//!
//! A unix socket in the file system is a new name there, and judged as an address and as a write. The text by which
//! it is bound is what getsockname(2) and getpeername(2) show. Where that cannot be the caller's ([`spelling`]), it is
//! the last component alone.
#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;

use super::super::bound;
use super::super::cx::{Answer, Cx};
use super::super::entries::bare;
use super::super::judge::{End, Leaves};
use super::address::{self, Meaning, Raw, Use};
use super::{Socket, netlink, option, socket, spelling, unsafely};
use crate::policy::{Address, NetOp};
use crate::resolve::{self, Base, Entry};
use crate::sys::{CallerFd, Errno, fs, net};
use crate::tracee::Result;

/// bind(2).
pub(in super::super) fn bind(cx: &mut Cx<'_>) -> Result<Answer> {
    let (pointer, len) = (cx.value(0)?, cx.value_int(1)? as i32);
    // No address can be refused then, and a name in the file system the second lock refuses.
    let left = cx.is_open()? && cx.supervisor.options.backstop;
    let Some(fd) = cx.duplicate_of(cx.socket_number(), left)? else { return unsafely::judge(cx) };
    let socket = cx.socket(fd)?;
    let raw = Raw::read(&cx.caller, pointer, len)?;
    let (bound, file) = match socket.meaning(&raw, Use::Bind)? {
        Meaning::Path(path) => bind_path(cx, &socket, &path)?.unzip(),
        meaning => {
            if let Meaning::Address(address) = meaning {
                may_bind(cx, &socket, &address)?;
            }
            cx.caller.check()?;
            cx.as_caller(|cx| match socket.domain {
                libc::AF_NETLINK => netlink::bind(cx, &socket, raw.bytes()),
                _ => Ok(net::bind(socket.fd(), raw.bytes())?),
            })?;
            (address::own(&socket).ok().flatten(), None)
        }
    };
    learn(cx, &socket, bound, file)?;
    Ok(Answer::Value(0))
}

/// listen(2).
pub(in super::super) fn listen(cx: &mut Cx<'_>) -> Result<Answer> {
    let backlog = cx.caller.int(1);
    let Some(fd) = cx.duplicate()? else { return unsafely::judge(cx) };
    let socket = cx.socket(fd)?;
    let binds = socket.is_inet() && socket.kind == libc::SOCK_STREAM && address::own(&socket)?.is_none();
    if cx.is_open()? && !(binds && are_wanted(cx)?) {
        return Ok(Answer::Continue);
    }
    if binds {
        let any = match socket.domain {
            libc::AF_INET => Address::Inet(Ipv4Addr::UNSPECIFIED, 0),
            _ => Address::Inet6 { addr: Ipv6Addr::UNSPECIFIED, port: 0, scope: 0 },
        };
        may_bind(cx, &socket, &any)?;
    }
    cx.caller.check()?;
    // Whoever connects sees who listens.
    cx.as_peer(|_| Ok(net::listen(socket.fd(), backlog)?))?;
    if binds {
        learn(cx, &socket, address::own(&socket).ok().flatten(), None)?;
    }
    Ok(Answer::Value(0))
}

fn may_bind(cx: &mut Cx<'_>, socket: &Socket<'_>, address: &Address) -> Result<()> {
    if socket::is_exempt(socket, address) {
        return Ok(());
    }
    let fd = cx.socket_number();
    // What has an address cannot get another.
    cx.may_net(NetOp::Bind, &End { kind: socket.kind, address, file: None, leaves: Leaves::No }, fd, || {
        matches!(address::own(socket), Ok(Some(_))).then_some(Errno::EINVAL)
    })
}

/// Whether addresses that are bound are remembered at all.
pub(super) fn are_wanted(cx: &Cx<'_>) -> Result<bool> {
    let policy = &cx.state()?.policy;
    Ok(policy.successful_bind || policy.restrict_connect)
}

/// Remembers the address that the kernel has chosen for a datagram socket when it connected or sent: whoever got the
/// datagram answers there.
pub(super) fn learn_chosen(cx: &Cx<'_>, socket: &Socket<'_>) -> Result<()> {
    learn(cx, socket, address::own(socket).ok().flatten(), None)
}

/// Remembers what was bound, for `successful_bind`. Also while the mode allows everything: it may change. `file`: what a path
/// has become, file system and inode.
fn learn(cx: &Cx<'_>, socket: &Socket<'_>, bound: Option<Address>, file: Option<(u64, u64)>) -> Result<()> {
    let Some(mut address) = bound else { return Ok(()) };
    // A socket for ICMP has a number where others have a port.
    let protocol = net::socket_option(socket.fd(), libc::SO_PROTOCOL)?;
    let known = !socket.is_inet() || matches!(protocol, libc::IPPROTO_TCP | libc::IPPROTO_UDP);
    // What is heard there others may hear as well, also on other machines.
    if !known || !are_wanted(cx)? || is_of_many(&address) {
        return Ok(());
    }
    if let Address::Inet6 { addr, .. } = &mut address
        && addr.is_unspecified()
        && net::socket_option_at(socket.fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) != Ok(0)
    {
        // The same port of IPv4 can be somebody else's.
        *addr = Ipv6Addr::LOCALHOST;
    }
    let inode = fs::fstat(socket.fd())?.id.1 as u32;
    let learned = bound::Socket { cookie: net::cookie(socket.fd())?, inode, kind: socket.kind };
    cx.supervisor.bound.learn(learned, address, file, || socket.is_inet() && option::shares(socket.fd()));
    Ok(())
}

/// Whether it is an address of a group, or of all on a link.
fn is_of_many(address: &Address) -> bool {
    match address {
        Address::Inet(addr, _) => addr.is_multicast() || net::is_broadcast(*addr),
        Address::Inet6 { addr, .. } => addr.is_multicast(),
        _ => false,
    }
}

/// Binds to a path. Where that is, and which file it has become, unless that has already another name.
fn bind_path(cx: &mut Cx<'_>, socket: &Socket<'_>, path: &CStr) -> Result<Option<(Address, (u64, u64))>> {
    let cwd = cx.caller.cwd()?;
    let base = Base::new(&cx.caller, CallerFd(libc::AT_FDCWD), path)?;
    cx.as_caller(|cx| {
        let entry = resolve::entry(&cx.caller, base, path)?;
        let address = Address::Unix(entry.path.bytes().to_vec());
        if !entry.fixed {
            let fd = cx.socket_number();
            let end = End { kind: socket.kind, address: &address, file: None, leaves: Leaves::No };
            cx.may_net(NetOp::Bind, &end, fd, || cannot_be_made(&entry))?;
            cx.may_write(&entry.path, || ", a socket".to_owned(), |_| cannot_be_made(&entry))?;
        }
        cx.caller.check()?;
        let own_cwd = cx.worker.has_own_cwd();
        // A name alone is the caller's own spelling.
        let keep =
            own_cwd && path.to_bytes().contains(&b'/') && spelling::may_be_kept(cx, path, &cwd, &entry)?;
        if !(keep && cx.with_umask(|_| spelling::bind(socket, path, &cwd, &entry))?) {
            cx.with_umask(|_| bind_entry(socket, &entry, own_cwd))??;
        }
        let made =
            fs::lstat(entry.dir.as_fd(), &entry.name).ok().filter(|stat| stat.kind() == libc::S_IFSOCK);
        Ok(made.map(|made| (address, made.id)))
    })
}

/// Why the kernel would not make a socket of this name, whoever asks.
fn cannot_be_made(entry: &Entry) -> Option<Errno> {
    match fs::lstat(entry.dir.as_fd(), &bare(entry)) {
        Ok(_) => Some(Errno::EADDRINUSE),
        Err(Errno::ENOENT) if entry.name.to_bytes().ends_with(b"/") => Some(Errno::ENOENT),
        Err(Errno::ENOENT) => None,
        Err(errno) => Some(errno),
    }
}

/// Binds to a name in a pinned directory.
fn bind_entry(socket: &Socket<'_>, entry: &Entry, own_cwd: bool) -> std::result::Result<(), Errno> {
    if !own_cwd {
        let mut path = fs::socket_path(entry.dir.as_fd());
        path.push(b'/');
        path.extend_from_slice(entry.name.to_bytes());
        if path.len() > size_of::<libc::sockaddr_un>() - 2 {
            crate::report::seldom(|| {
                log::warn!("a socket's name is too long to be bound without a working directory of our own")
            });
            return Err(Errno::EINVAL);
        }
        return net::bind(socket.fd(), Raw::unix(&path).bytes());
    }
    fs::fchdir(entry.dir.as_fd())?;
    let bound = net::bind(socket.fd(), Raw::unix(entry.name.to_bytes()).bytes());
    // A working directory keeps its file system busy.
    let _ = nix::unistd::chdir(c"/");
    bound
}
