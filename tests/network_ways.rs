//! Addresses that lead elsewhere than they seem to, and sockets that seem to be the sandbox's own.
//!
//! Whatever is refused here is first done without the sandbox, to show that it is the sandbox that refuses. All
//! servers are on loopback.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod net;

use std::net::{TcpListener, UdpSocket};

use net::*;
use nix::sys::socket::{setsockopt, sockopt};

/// To the unspecified address the kernel goes where the source is.
///
/// Seen to fail without `Way::settle`.
#[test]
fn the_unspecified_address_leads_to_the_source() {
    let (tcp, heard) = (TcpListener::bind("127.0.0.53:0").unwrap(), UdpSocket::bind("127.0.0.53:0").unwrap());
    heard.set_nonblocking(true).unwrap();
    tcp.set_nonblocking(true).unwrap();
    let ports = [tcp.local_addr(), heard.local_addr()].map(|addr| addr.unwrap().port().to_string());
    let text = r"
t, u = map(int, A[:2])
info = (0, 8, struct.pack('=I4s4x', 0, socket.inet_aton('127.0.0.53')))
def bound(s, addr): s.bind((addr, 0)); return s
def go(s, addr): s.settimeout(60); s.connect(addr); return s.getpeername()[0]
say(go, bound(socket.socket(), '127.0.0.53'), ('0.0.0.0', t))
say(go, bound(udp(), '127.0.0.53'), ('0.0.0.0', u))
say(bound(udp(), '127.0.0.53').sendto, b'bound', ('0.0.0.0', u))
say(udp().sendmsg, [b'message'], [info], 0, ('0.0.0.0', u))
six = lambda kind: socket.socket(socket.AF_INET6, kind)
say(go, bound(six(1), '::ffff:127.0.0.53'), ('::ffff:0.0.0.0', t))
say(bound(six(2), '::ffff:127.0.0.53').sendto, b'mapped', ('::ffff:0.0.0.0', u))
say(six(2).sendmsg, [b'info'], [info], 0, ('::ffff:0.0.0.0', u))
";
    let ports = [ports[0].as_str(), &ports[1]];
    native(text, &ports).expect(&["127.0.0.53", "127.0.0.53", "5", "7", "::ffff:127.0.0.53", "6", "4"]);
    assert_eq!(datagrams(&heard), 4);
    while tcp.accept().is_ok() {}
    let deny = "denylist/network/connect+inet:127.0.0.53";
    inside(&[LOCAL, deny], text, &ports).expect(&["ECONNREFUSED"; 7]).violations(7);
    assert_eq!(datagrams(&heard), 0);
    assert!(tcp.accept().is_err());
    // As without a sandbox, where it may.
    let fine = native(text, &ports);
    let fine: Vec<&str> = fine.lines.iter().map(String::as_str).collect();
    inside(&[LOCAL], text, &ports).expect(&fine).violations(0);
}

/// An IPv6 socket with an IPv4 address goes to IPv4 loopback, whatever rule for `::1` there is.
///
/// Seen to fail without `Way::settle`.
#[test]
fn the_unspecified_address_of_ipv6_can_be_one_of_ipv4() {
    if !has_ipv6() {
        return;
    }
    let (server, port) = tcp_server();
    let text = r"
def go(own): s = socket.socket(socket.AF_INET6); s.bind((own, 0)); s.settimeout(60); s.connect(('::', int(A[0])))
say(go, '::ffff:127.0.0.1'); say(go, '::1')
";
    native(text, &[&port]).expect(&["ok", "ECONNREFUSED"]);
    server.set_nonblocking(true).unwrap();
    while server.accept().is_ok() {}
    let rules = [DENY, BIND, "allowlist/network/bind+LOOPBACK6", "allowlist/network/connect+LOOPBACK6"];
    // The second is refused by the kernel, as without the sandbox.
    inside(&rules, text, &[&port]).expect(&["ECONNREFUSED"; 2]).violations(1);
    assert!(server.accept().is_err());
}

/// Somebody else's server shares its port: what is bound and closed again and again is the sandbox's own only in
/// between.
///
/// Seen to fail with `Here::shared` never set.
#[test]
fn a_port_that_is_shared_is_not_the_sandboxs_own() {
    let server = sharing_server();
    let port = server.local_addr().unwrap().port().to_string();
    let text = r"
a = ('127.0.0.1', int(A[0])); stop = False; bound = 0
def make():
    s = udp(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(a); return s
def flip():
    global bound
    while not stop: make().close(); bound += 1
t = threading.Thread(target=flip); t.start()
sys.setswitchinterval(1e-5)
s = udp(); end = time.monotonic() + 1; calls = 0
while time.monotonic() < end or bound < 100 or calls < 1000: word(s.sendto, b'x', a); calls += 1
stop = True; t.join(); print('done')
";
    let raced = || {
        native(text, &[&port]).expect(&["done"]);
        datagrams(&server) > 0
    };
    assert!(is_raced(raced), "the race is not run");
    inside(&[DENY, BIND, "filter/network+LOOPBACK"], text, &[&port]).expect(&["done"]);
    assert_eq!(datagrams(&server), 0);
    // Between processes of the sandbox it is shared as ever.
    let own = r"
def make(port):
    s = udp(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('127.0.0.1', port)); return s
a = make(0); b = make(a.getsockname()[1]); say(udp().sendto, b'x', a.getsockname())
a.connect(('127.0.0.1', 9)); b.close(); say(udp().sendto, b'x', a.getsockname())
";
    native(own, &[]).expect(&["1", "1"]);
    inside(&[DENY, BIND, "allowlist/network/connect+LOOPBACK@9"], own, &[]).expect(&["1", "1"]).violations(0);
}

/// Somebody else takes a port of the sandbox's that is shared, when it has been bound, and when it has been made to be
/// shared only then; and a server of both protocols of IP does not hide him.
///
/// Seen to fail without `option::share`.
#[test]
fn a_port_that_comes_to_be_shared() {
    // Which of them gets a datagram depends on the CPU, and on when they were made.
    let text = r"
first, later, family = A; s = udp(socket.AF_INET6 if family == '6' else socket.AF_INET); S = socket.SOL_SOCKET
if first == '1': s.setsockopt(S, socket.SO_REUSEADDR, 1)
s.bind(('::' if family == '6' else '127.0.0.1', 0))
if later == '1': s.setsockopt(S, socket.SO_REUSEADDR, 1)
print(s.getsockname()[1], flush=True); sys.stdin.readline()
a = ('127.0.0.1', s.getsockname()[1])
for cpu in range(2): s.setsockopt(S, 49, cpu); say(udp().sendto, b'x', a)
";
    let run = |magic: Option<&[&str]>, arguments: &[&str], taken: bool| {
        let mut server = None;
        let take = |port: &str| server = taken.then(|| sharing_server_at(port.parse().unwrap()));
        let said = meanwhile(magic, text, arguments, take);
        (said, server)
    };
    let rules = [DENY, BIND, "allowlist/network/bind+ANY6"];
    for arguments in [["1", "0", "4"], ["0", "1", "4"], ["1", "0", "6"]] {
        run(None, &arguments, true).0.expect(&["1", "1"]);
        let (said, server) = run(Some(&rules), &arguments, true);
        said.expect(&["ECONNREFUSED"; 2]);
        assert_eq!(datagrams(&server.unwrap()), 0, "{arguments:?}");
        run(Some(&rules), &arguments, false).0.expect(&["1", "1"]).violations(0);
    }
}

/// A stream server of the same user that shares its port with one of the sandbox's.
///
/// Seen to fail with streams asked for by address alone: the kernel names the last that came.
#[test]
fn connections_to_a_port_that_is_shared() {
    let text = r"
l = socket.socket(); l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); l.bind(('127.0.0.1', int(A[0]))); l.listen(64)
print(*sorted(set(word(tcp, l.getsockname()) for _ in range(40))))
";
    let outside = sharing_listener(0);
    let port = outside.local_addr().unwrap().port().to_string();
    native(text, &[&port]).expect(&["ok"]);
    assert!(becomes(|| outside.accept().is_ok()), "the port is not shared");
    while outside.accept().is_ok() {}
    inside(&[DENY, BIND], text, &[&port]).expect(&["ECONNREFUSED"]);
    assert!(outside.accept().is_err());
    // One of its own.
    inside(&[DENY, BIND], text, &["0"]).expect(&["ok"]).violations(0);
}

fn sharing_listener(port: u16) -> TcpListener {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, listen, socket};
    use std::os::fd::AsRawFd;
    let server = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    setsockopt(&server, sockopt::ReusePort, &true).unwrap();
    bind(server.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port)).unwrap();
    listen(&server, nix::sys::socket::Backlog::new(64).unwrap()).unwrap();
    let server = TcpListener::from(server);
    server.set_nonblocking(true).unwrap();
    server
}

/// A unix socket is the sandbox's own by whatever name: it is given one when it is ready, as ssh does with the socket of a
/// connection that it shares.
///
/// Seen to fail with such sockets looked for by their first name.
#[test]
fn a_socket_that_is_given_another_name() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().canonicalize().unwrap();
    let outside = std::os::unix::net::UnixListener::bind(top.join("outside")).unwrap();
    let text = r"
os.chdir(A[0]); l = socket.socket(socket.AF_UNIX); l.bind('made'); l.listen()
def go(name): s = socket.socket(socket.AF_UNIX); s.connect(name)
os.link('made', 'linked'); say(go, 'linked'); os.rename('made', 'moved'); say(go, 'moved'); say(go, 'outside')
os.unlink('moved'); os.symlink('outside', 'moved'); say(go, 'moved')
os.rename('outside', 'moved'); say(go, 'moved'); os.rename('moved', 'outside')
";
    let arguments = [top.to_str().unwrap()];
    native(text, &arguments).expect(&["ok"; 5]);
    std::fs::remove_file(top.join("linked")).unwrap();
    let bind = format!("allowlist/network/bind+unix:{}/***", top.display());
    let refused = "ECONNREFUSED";
    inside(&[DENY, &bind], text, &arguments).expect(&["ok", "ok", refused, refused, refused]).violations(2);
    drop(outside);
}

/// A datagram server that lets its port be shared.
fn sharing_server() -> UdpSocket {
    sharing_server_at(0)
}

fn sharing_server_at(port: u16) -> UdpSocket {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, socket};
    use std::os::fd::AsRawFd;
    let server = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).unwrap();
    setsockopt(&server, sockopt::ReuseAddr, &true).unwrap();
    bind(server.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port)).unwrap();
    let server = UdpSocket::from(server);
    server.set_read_timeout(Some(LATE)).unwrap();
    server
}

/// A port that was given up, and that somebody else has now who is found only by looking at all sockets.
///
/// Seen to fail with such ports taken for the sandbox's own.
#[test]
fn a_port_that_was_given_up_belongs_to_nobody_inside() {
    let text = r"
u, s = udp(), udp(); u.bind(('127.0.0.1', 0)); s.bind(('127.0.0.1', 0)); a = u.getsockname()
u.close(); print(a[1], s.getsockname()[1], flush=True); sys.stdin.readline(); say(s.sendto, b'x', a)
";
    let run = |how: &str, magic: Option<&[&str]>| {
        let mut server = None;
        let take = |line: &str| {
            let (port, sender) = line.split_once(' ').unwrap();
            // Somebody else may have been faster.
            let Ok(outside) = UdpSocket::bind(format!("127.0.0.1:{port}")) else { return };
            outside.set_read_timeout(Some(LATE)).unwrap();
            match how {
                "connected" => outside.connect(format!("127.0.0.1:{sender}")).unwrap(),
                _ => setsockopt(&outside, sockopt::BindToDevice, &"lo".into()).unwrap(),
            }
            server = Some(outside);
        };
        let said = meanwhile(magic, text, &[], take);
        server.map(|server| (said, datagrams(&server)))
    };
    let run = |how: &str, magic: Option<&[&str]>| {
        (0..20).find_map(|_| run(how, magic)).expect("a port that can be taken over")
    };
    for how in ["connected", "interface"] {
        let (said, came) = run(how, None);
        said.expect(&["1"]);
        assert_eq!(came, 1, "{how}");
        let (said, came) = run(how, Some(&[DENY, BIND]));
        said.expect(&["ECONNREFUSED"]).violations(1);
        assert_eq!(came, 0, "{how}");
    }
}

/// A server's own socket, which was handed in: that it is used inside makes nobody else inside one who may talk to it.
///
/// Seen to fail with the address of whatever connects remembered.
#[test]
fn a_socket_that_was_handed_in_is_not_bound_inside() {
    let text = r"
name = ('127.0.0.1', int(A[1])) if A[1].isdigit() else '\0' + A[1]
family = socket.AF_INET if A[1].isdigit() else socket.AF_UNIX
say(lambda: udp(family).sendto(b'x', name)); say(libc.connect, int(A[0]), bytes(16), 16); say(lambda: udp(family).sendto(b'x', name))
";
    let outer = r"
def run(s, name):
    s.setblocking(False); s.set_inheritable(True)
    subprocess.run(inner + [str(s.fileno()), name], close_fds=False)
    got = 0
    try:
        while s.recv(9): got += 1
    except BlockingIOError: print(got, flush=True)
import subprocess; inner = A
# A port that was asked for by its number is kept.
while True:
    u = udp(); u.bind(('127.0.0.1', 0)); port = u.getsockname()[1]; u.close()
    try: u = udp(); u.bind(('127.0.0.1', port)); break
    except OSError: pass
run(u, str(port))
a = udp(socket.AF_UNIX); name = 'sydbox-handed-%d' % os.getpid(); a.bind('\0' + name); run(a, name)
";
    let run = |magic: &[&str]| {
        let words = words(magic, text, &[]);
        native(outer, &words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    run(&[]).expect(&["1", "0", "1", "2", "1", "0", "1", "2"]);
    let refused = ["ECONNREFUSED", "0", "ECONNREFUSED", "0"];
    run(&[DENY]).expect(&[refused, refused].concat());
}

/// What the kernel chose while the network was open counts as bound as well.
///
/// Seen to fail with such calls left to the kernel.
#[test]
fn what_was_bound_while_the_network_was_open() {
    let text = r"
l = socket.socket(); l.listen()
u = udp(); u.sendto(b'x', ('127.0.0.1', 9)); v = udp(); v.connect(('127.0.0.1', 9))
w = udp(); w.sendmsg([b'x'], [], 0, ('127.0.0.1', 9))
if A: say(os.stat, '/dev/sydbox/enable_net')
say(tcp, ('127.0.0.1', l.getsockname()[1]))
for s in (u, v, w): say(udp().sendto, b'x', ('127.0.0.1', s.getsockname()[1]))
";
    native(text, &[]).expect(&["ok", "1", "1", "1"]);
    let inside = inside(&["core/sandbox/write:off"], text, &["1"]);
    assert!(inside.lines[0].starts_with("os.stat_result"), "{inside:?}");
    assert_eq!(inside.lines[1..], ["ok", "1", "1", "1"], "{inside:?}");
    inside.violations(0);
}

/// The protocol of netlink that leads to other processes, and the ones that lead to the kernel.
#[test]
fn netlink_is_for_the_kernel() {
    let text = r"
def user(): s = socket.socket(16, 3, 2); s.bind((0, 0)); t = socket.socket(16, 3, 2); t.sendto(b'x', s.getsockname()); return s.recv(9)
say(user); say(lambda: len(socket.if_nameindex()) > 0)
";
    native(text, &[]).expect(&["b'x'", "True"]);
    for mode in [DENY, LOCAL] {
        let said = inside(&[mode], text, &[]);
        said.expect(&["EPROTONOSUPPORT", "True"]).violations(1);
        said.reports("socket(AF_NETLINK, SOCK_RAW, 2) = EPROTONOSUPPORT");
    }
    inside(&[ALLOW], text, &[]).expect(&["b'x'", "True"]).violations(0);
}

/// `net/restrict_connect`: only where somebody inside has bound, also where the mode allows everything.
#[test]
fn connections_to_what_was_bound_inside_only() {
    let (_server, port) = tcp_server();
    let text = r"
l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen()
if len(A) > 1: os.stat('/dev/sydbox/net/restrict_connect')
say(tcp, ('127.0.0.1', int(A[0]))); say(tcp, l.getsockname())
if len(A) > 1: os.stat('/dev/sydbox/net/unrestrict_connect')
say(tcp, ('127.0.0.1', int(A[0])))
";
    native(text, &[&port]).expect(&["ok"; 3]);
    for mode in [ALLOW, LOCAL] {
        inside(&[mode], text, &[&port]).expect(&["ok"; 3]).violations(0);
        inside(&[mode], text, &[&port, "1"]).expect(&["ECONNREFUSED", "ok", "ok"]).violations(1);
    }
}
