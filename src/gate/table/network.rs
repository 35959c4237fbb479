//! Calls that carry or imply an address, and the options of sockets.
#![forbid(unsafe_code)]

use nix::errno::Errno;

use super::super::row::Action::{self, Allow, Notify, RefuseIn};
use super::super::row::{At, Call, Class, Cond, Op, Row, Rule};

const SOCK_TYPE_MASK: u32 = 0xf;

const fn stream(protocol: u32, domain: i32) -> [Cond; 3] {
    kind(libc::SOCK_STREAM, protocol, domain)
}

const fn datagram(protocol: u32, domain: i32) -> [Cond; 3] {
    kind(libc::SOCK_DGRAM, protocol, domain)
}

const fn kind(kind: i32, protocol: u32, domain: i32) -> [Cond; 3] {
    [
        Cond::is(0, domain as u32),
        Cond::Low { arg: 1, mask: SOCK_TYPE_MASK, is: kind as u32 },
        Cond::is(2, protocol),
    ]
}

const fn socket(name: &'static str, rules: &'static [Rule]) -> Row {
    Row::new(name, rules, Notify(Class::Network)).call(Call::new(Op::Socket, At::NONE))
}

/// One option of one level, or all options of a level.
const fn option(option: &'static [Cond]) -> Rule {
    Rule::when(option, OPTION)
}

const OPTION: Action = RefuseIn(
    Class::Network,
    Errno::ENOPROTOOPT,
    "it holds an address or a route, or goes round the rules on them",
);

const LEVEL: u8 = 1;
const OPT: u8 = 2;

/// `IPPROTO_SCTP`, whose options bind and connect.
const SCTP: Cond = Cond::is(LEVEL, 132);
const SOCKET: Cond = Cond::is(LEVEL, libc::SOL_SOCKET as u32);
const IP: Cond = Cond::is(LEVEL, libc::IPPROTO_IP as u32);
const IPV6: Cond = Cond::is(LEVEL, libc::IPPROTO_IPV6 as u32);
const TCP: Cond = Cond::is(LEVEL, libc::IPPROTO_TCP as u32);

pub(super) static ROWS: &[Row] = &[
    // The domains that the rules on addresses speak of, with the protocols whose every address goes
    // through a mediated call. The supervisor decides on the others, from the registers alone.
    socket(
        "socket",
        &[
            Rule::when(&[Cond::is(0, libc::AF_UNIX as u32)], Allow),
            Rule::when(&stream(0, libc::AF_INET), Allow),
            Rule::when(&stream(libc::IPPROTO_TCP as u32, libc::AF_INET), Allow),
            Rule::when(&datagram(0, libc::AF_INET), Allow),
            Rule::when(&datagram(libc::IPPROTO_UDP as u32, libc::AF_INET), Allow),
            Rule::when(&datagram(libc::IPPROTO_ICMP as u32, libc::AF_INET), Allow),
            Rule::when(&stream(0, libc::AF_INET6), Allow),
            Rule::when(&stream(libc::IPPROTO_TCP as u32, libc::AF_INET6), Allow),
            Rule::when(&datagram(0, libc::AF_INET6), Allow),
            Rule::when(&datagram(libc::IPPROTO_UDP as u32, libc::AF_INET6), Allow),
            Rule::when(&datagram(libc::IPPROTO_ICMPV6 as u32, libc::AF_INET6), Allow),
        ],
    ),
    socket("socketpair", &[Rule::when(&[Cond::is(0, libc::AF_UNIX as u32)], Allow)]),
    Row::notify("bind", Class::Bind, Call::new(Op::Bind, At::fd(0)).value(1)),
    Row::notify("connect", Class::Network, Call::new(Op::Connect, At::fd(0)).value(1)),
    // It binds a socket that has no address yet.
    Row::notify("listen", Class::Network, Call::new(Op::Listen, At::fd(0))),
    // Without an address it is send(2). Both halves of the pointer count: 0x1_0000_0000 can be mapped.
    Row::new("sendto", &[Rule::when(&[Cond::Null { arg: 4 }], Allow)], Notify(Class::Network))
        .call(Call::new(Op::Sendto, At::fd(0)).value(1).flags(3)),
    Row::notify("sendmsg", Class::Network, Call::new(Op::Sendmsg, At::fd(0)).value(1).flags(2)),
    Row::notify("sendmmsg", Class::Network, Call::new(Op::Sendmmsg, At::fd(0)).value(1).flags(3)),
    Row::allow("accept"),
    Row::allow("accept4"),
    Row::allow("getsockname"),
    Row::allow("getpeername"),
    Row::allow("recvfrom"),
    Row::allow("recvmsg"),
    Row::allow("recvmmsg"),
    Row::allow("recvmmsg_time64"),
    Row::allow("shutdown"),
    Row::new(
        "setsockopt",
        &[
            option(&[SCTP]),
            option(&[SOCKET, Cond::is(OPT, libc::SO_BINDTODEVICE as u32)]),
            option(&[SOCKET, Cond::is(OPT, libc::SO_BINDTOIFINDEX as u32)]),
            // Whose port it is, which matters for what was bound inside.
            Rule::when(&[SOCKET, Cond::is(OPT, libc::SO_REUSEADDR as u32)], Notify(Class::Network)),
            Rule::when(&[SOCKET, Cond::is(OPT, libc::SO_REUSEPORT as u32)], Notify(Class::Network)),
            // It chooses a table of routes.
            option(&[SOCKET, Cond::is(OPT, libc::SO_MARK as u32)]),
            option(&[SOCKET, Cond::is(OPT, libc::SO_ATTACH_BPF as u32)]),
            option(&[SOCKET, Cond::is(OPT, libc::SO_ATTACH_REUSEPORT_CBPF as u32)]),
            option(&[SOCKET, Cond::is(OPT, libc::SO_ATTACH_REUSEPORT_EBPF as u32)]),
            // What the supervisor sends for others would come with a handle on the supervisor.
            option(&[SOCKET, Cond::is(OPT, SO_PASSPIDFD)]),
            option(&[IP, Cond::is(OPT, libc::IP_OPTIONS as u32)]),
            // What leaves by an interface that is named goes to whoever is there, be the address one of this machine's.
            option(&[IP, Cond::is(OPT, IP_UNICAST_IF)]),
            option(&[IP, Cond::is(OPT, libc::IP_FREEBIND as u32)]),
            option(&[IP, Cond::is(OPT, libc::IP_TRANSPARENT as u32)]),
            option(&[IP, Cond::is(OPT, libc::IP_ADD_MEMBERSHIP as u32)]),
            option(&[IP, Cond::is(OPT, libc::IP_ADD_SOURCE_MEMBERSHIP as u32)]),
            option(&[IP, Cond::is(OPT, MCAST_JOIN_GROUP)]),
            option(&[IP, Cond::is(OPT, MCAST_JOIN_SOURCE_GROUP)]),
            option(&[IPV6, Cond::is(OPT, IPV6_ADDRFORM)]),
            option(&[IPV6, Cond::is(OPT, IPV6_2292RTHDR)]),
            option(&[IPV6, Cond::is(OPT, IPV6_2292PKTOPTIONS)]),
            // Labels carry extension headers along, as the options behind them do.
            option(&[IPV6, Cond::is(OPT, IPV6_FLOWLABEL_MGR)]),
            option(&[IPV6, Cond::is(OPT, libc::IPV6_HOPOPTS as u32)]),
            option(&[IPV6, Cond::is(OPT, libc::IPV6_RTHDRDSTOPTS as u32)]),
            option(&[IPV6, Cond::is(OPT, libc::IPV6_DSTOPTS as u32)]),
            option(&[IPV6, Cond::is(OPT, libc::IPV6_PKTINFO as u32)]),
            option(&[IPV6, Cond::is(OPT, IPV6_UNICAST_IF)]),
            option(&[IPV6, Cond::is(OPT, libc::IPV6_ADD_MEMBERSHIP as u32)]),
            option(&[IPV6, Cond::is(OPT, IPV6_JOIN_ANYCAST)]),
            option(&[IPV6, Cond::is(OPT, MCAST_JOIN_GROUP)]),
            option(&[IPV6, Cond::is(OPT, MCAST_JOIN_SOURCE_GROUP)]),
            option(&[IPV6, Cond::is(OPT, libc::IPV6_RTHDR as u32)]),
            option(&[IPV6, Cond::is(OPT, libc::IPV6_TRANSPARENT as u32)]),
            option(&[IPV6, Cond::is(OPT, libc::IPV6_FREEBIND as u32)]),
            option(&[TCP, Cond::is(OPT, libc::TCP_REPAIR as u32)]),
            option(&[TCP, Cond::is(OPT, libc::TCP_FASTOPEN_CONNECT as u32)]),
            option(&[TCP, Cond::is(OPT, libc::TCP_ULP as u32)]),
        ],
        Allow,
    )
    .call(Call::new(Op::Setsockopt, At::fd(0))),
    Row::new(
        "getsockopt",
        &[
            // SCTP_SOCKOPT_CONNECTX3 connects.
            option(&[SCTP]),
            // The peer of a connection that the supervisor made is the supervisor.
            option(&[SOCKET, Cond::is(OPT, SO_PEERPIDFD)]),
        ],
        Allow,
    ),
    // Only the number of the sub-call is in a register. The kernel may do those that take neither an address nor an
    // option: accept, getsockname, getpeername, send, recv, recvfrom, shutdown, recvmsg, accept4, recvmmsg; and
    // socketpair, whose pairs lead nowhere else in any family.
    Row::new(
        "socketcall",
        &[
            Rule::when(&[Cond::is(0, 5)], Allow),
            Rule::when(&[Cond::is(0, 6)], Allow),
            Rule::when(&[Cond::is(0, 7)], Allow),
            Rule::when(&[Cond::is(0, 8)], Allow),
            Rule::when(&[Cond::is(0, 9)], Allow),
            Rule::when(&[Cond::is(0, 10)], Allow),
            Rule::when(&[Cond::is(0, 12)], Allow),
            Rule::when(&[Cond::is(0, 13)], Allow),
            Rule::when(&[Cond::is(0, 17)], Allow),
            Rule::when(&[Cond::is(0, 18)], Allow),
            Rule::when(&[Cond::is(0, 19)], Allow),
            Rule::when(&[Cond::is(0, 2)], Notify(Class::Bind)),
        ],
        Notify(Class::Network),
    )
    .call(Call::new(Op::Socketcall, At::NONE).value(1)),
];

const SO_PASSPIDFD: u32 = 76;
const IP_UNICAST_IF: u32 = 50;
const IPV6_FLOWLABEL_MGR: u32 = 32;
const IPV6_UNICAST_IF: u32 = 76;
const SO_PEERPIDFD: u32 = 77;
/// The same numbers at both levels.
const MCAST_JOIN_GROUP: u32 = 42;
const MCAST_JOIN_SOURCE_GROUP: u32 = 46;
const IPV6_ADDRFORM: u32 = 1;
const IPV6_2292RTHDR: u32 = 5;
const IPV6_2292PKTOPTIONS: u32 = 6;
const IPV6_JOIN_ANYCAST: u32 = 27;
