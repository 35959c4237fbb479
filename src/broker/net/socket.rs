//! socket and socketpair: families and protocols that the rules on addresses do not speak of.
//!
//! All that matters is in registers, so what is allowed the kernel may do itself.
#![forbid(unsafe_code)]

use super::super::cx::{Answer, Cx};
use super::Socket;
use crate::policy::{Address, Decision, NetMode, NetOp, State};
use crate::report::{AccessKind, Subject};
use crate::sys::{Errno, net};
use crate::tracee::Result;

const TYPE_MASK: i32 = 0xf;
const AF_SMC: i32 = 43;
const IPPROTO_MPTCP: i32 = 262;
/// Families that carry IP to addresses which no rule would be asked about.
pub(super) const DISGUISES: &[i32] =
    &[libc::AF_PACKET, AF_SMC, libc::AF_RDS, libc::AF_RXRPC, libc::AF_XDP, libc::AF_PPPOX];

const NAMES: &[(i32, &str)] = &[
    (libc::AF_INET, "AF_INET"),
    (libc::AF_INET6, "AF_INET6"),
    (libc::AF_NETLINK, "AF_NETLINK"),
    (libc::AF_PACKET, "AF_PACKET"),
    (libc::AF_VSOCK, "AF_VSOCK"),
    (libc::AF_ALG, "AF_ALG"),
    (libc::AF_BLUETOOTH, "AF_BLUETOOTH"),
    (libc::AF_CAN, "AF_CAN"),
    (libc::AF_TIPC, "AF_TIPC"),
    (libc::AF_KEY, "AF_KEY"),
    (libc::AF_RDS, "AF_RDS"),
    (libc::AF_XDP, "AF_XDP"),
    (AF_SMC, "AF_SMC"),
];

/// socket(2), socketpair(2).
pub(in super::super) fn socket(cx: &mut Cx<'_>) -> Result<Answer> {
    let [domain, kind, protocol] = [0, 1, 2].map(|register| cx.caller.int(register));
    // No family but unix, which is not asked about, makes pairs that lead anywhere.
    if cx.is_open()? || cx.row.name == "socketpair" && matches!(domain, libc::AF_INET | libc::AF_INET6) {
        return Ok(Answer::Continue);
    }
    match domain {
        libc::AF_UNIX => Ok(Answer::Continue),
        libc::AF_INET | libc::AF_INET6 => unusual_protocol(cx, domain, kind, protocol),
        libc::AF_NETLINK if protocol == libc::NETLINK_ROUTE => Ok(Answer::Continue),
        libc::AF_NETLINK if protocol == libc::NETLINK_USERSOCK => between_processes(cx, kind),
        _ => other_family(cx, domain, kind, protocol),
    }
}

/// A protocol of IP whose addresses go other ways than through connect and send: what the kernel does not know
/// either fails as it does there.
fn unusual_protocol(cx: &mut Cx<'_>, domain: i32, kind: i32, protocol: i32) -> Result<Answer> {
    cx.as_caller(|_| Ok(net::socket(domain, kind, protocol).map(drop)?))?;
    let raw = kind & TYPE_MASK == libc::SOCK_RAW;
    let errno = if raw { Errno::EPERM } else { Errno::EPROTONOSUPPORT };
    if protocol == IPPROTO_MPTCP && !cx.state()?.policy.raise_safe {
        // Programs try it and fall back to TCP.
        return if cx.supervisor.options.dry_run { Ok(Answer::Continue) } else { Err(errno.into()) };
    }
    refuse(cx, domain, kind, protocol, errno, None)
}

/// The one protocol of netlink by which processes talk to each other, and not to the kernel.
fn between_processes(cx: &mut Cx<'_>, kind: i32) -> Result<Answer> {
    if cx.state()?.policy.network == NetMode::Allow {
        return Ok(Answer::Continue);
    }
    refuse(cx, libc::AF_NETLINK, kind, libc::NETLINK_USERSOCK, Errno::EPROTONOSUPPORT, None)
}

fn other_family(cx: &mut Cx<'_>, domain: i32, kind: i32, protocol: i32) -> Result<Answer> {
    let disguised = DISGUISES.contains(&domain);
    let family = Address::Other { family: u16::try_from(domain).map_err(|_| Errno::EAFNOSUPPORT)? };
    let reported = match cx.state()?.policy.decide_net(NetOp::Connect, &family, &|_| false) {
        Decision::Allow if !disguised => return Ok(Answer::Continue),
        Decision::Allow => true,
        Decision::Deny { reported, .. } => reported,
    };
    if !reported {
        return if cx.supervisor.options.dry_run {
            Ok(Answer::Continue)
        } else {
            Err(Errno::EAFNOSUPPORT.into())
        };
    }
    if let Err(errno) = cx.as_caller(|_| Ok(net::socket(domain, kind, protocol).map(drop)))?
        && !matches!(errno, Errno::EPERM | Errno::EACCES)
    {
        // There is none: programs try one family after the other.
        return Err(errno.into());
    }
    let hint = if disguised { None } else { State::allow_hint_net(NetOp::Connect, &family) };
    refuse(cx, domain, kind, protocol, Errno::EAFNOSUPPORT, hint)
}

fn refuse(
    cx: &mut Cx<'_>,
    domain: i32,
    kind: i32,
    protocol: i32,
    errno: Errno,
    allow_with: Option<String>,
) -> Result<Answer> {
    let name = NAMES.iter().find(|(number, _)| *number == domain).map(|(_, name)| (*name).to_owned());
    let name = name.unwrap_or_else(|| domain.to_string());
    let kind = match kind & TYPE_MASK {
        libc::SOCK_STREAM => "SOCK_STREAM".to_owned(),
        libc::SOCK_DGRAM => "SOCK_DGRAM".to_owned(),
        libc::SOCK_RAW => "SOCK_RAW".to_owned(),
        libc::SOCK_SEQPACKET => "SOCK_SEQPACKET".to_owned(),
        other => other.to_string(),
    };
    let arguments = format!("{name}, {kind}, {protocol}");
    cx.report(AccessKind::Socket, Subject::Other(name), arguments, errno, None, allow_with)?;
    if cx.supervisor.options.dry_run { Ok(Answer::Continue) } else { Err(errno.into()) }
}

/// Whether the address is not judged: those of the kernel's routing tables, which are asked for the names and
/// addresses of interfaces.
pub(super) fn is_exempt(socket: &Socket<'_>, address: &Address) -> bool {
    matches!(address, Address::Other { .. })
        && socket.domain == libc::AF_NETLINK
        && net::socket_option(socket.fd(), libc::SO_PROTOCOL) == Ok(libc::NETLINK_ROUTE)
}

/// Whether a socket of this domain, which can only have been inherited, goes where no rule is asked.
pub(super) fn is_disguise(socket: &Socket<'_>) -> bool {
    DISGUISES.contains(&socket.domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disguises_are_no_families_that_rules_know() {
        for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK] {
            assert!(!DISGUISES.contains(&family));
        }
    }
}
