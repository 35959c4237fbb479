//! Modes, rules and options of network sandboxing, through the command.
//!
//! Whatever is refused here is first done without the sandbox, to show that it is the sandbox that refuses. All
//! servers are on loopback or in a directory of the test's own.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod net;

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::process::Command;

use net::*;

#[test]
fn tcp_connect_by_mode_and_rule() {
    let (_server, port) = tcp_server();
    let text = "say(tcp, ('127.0.0.1', int(A[0])))";
    let run = |magic: &[&str]| inside(magic, text, &[&port]);
    native(text, &[&port]).expect(&["ok"]);
    run(&[]).expect(&["ok"]).violations(0);
    run(&[ALLOW]).expect(&["ok"]).violations(0);
    run(&[LOCAL]).expect(&["ok"]).violations(0);
    let rule = format!("allowlist/network/connect+inet:127.0.0.1@{port}");
    let denied = run(&[DENY]);
    denied.expect(&["ECONNREFUSED"]).violations(1);
    denied.reports(&format!("connect(3, inet:127.0.0.1@{port}) = ECONNREFUSED"));
    denied.reports(&format!("allow with: {rule}"));
    run(&[DENY, &rule]).expect(&["ok"]).violations(0);
    let other = format!("allowlist/network/connect+inet:127.0.0.2@{port}");
    run(&[DENY, &other]).expect(&["ECONNREFUSED"]).violations(1);
    run(&[ALLOW, "denylist/network/connect+LOOPBACK"]).expect(&["ECONNREFUSED"]).violations(1);
    run(&[DENY, "filter/network+LOOPBACK"]).expect(&["ECONNREFUSED"]).violations(0);
}

#[test]
fn a_dry_run_reports_and_refuses_nothing() {
    let (_server, port) = tcp_server();
    let mut command = Command::new(sydbox());
    command.args(["-n", "-m", DENY, "--"]).arg(python());
    script(&mut command, "say(tcp, ('127.0.0.1', int(A[0])))", &[&port]);
    said(command).expect(&["ok"]).violations(1);
}

#[test]
fn bind_by_rule_and_what_was_bound_may_be_connected_to() {
    let text = r"
s = socket.socket()
say(s.bind, ('127.0.0.1', 0))
s = socket.socket(); s.bind(('127.0.0.1', 0)) if A else None
def talk():
    s.listen(); c = socket.create_connection(s.getsockname()); d = s.accept()[0]
    c.sendall(b'hello'); c.close(); return d.recv(9).decode()
say(talk)
def any():
    s = socket.socket(); s.bind(('0.0.0.0', 0)); s.listen(); tcp(('127.0.0.1', s.getsockname()[1]))
say(any)
def chosen(): s = socket.socket(); s.listen(); tcp(('127.0.0.1', s.getsockname()[1]))
say(chosen)
";
    native(text, &["1"]).expect(&["ok", "hello", "ok", "ok"]);
    let allowed = ["allowlist/network/bind+LOOPBACK@0", "allowlist/network/bind+inet:0.0.0.0@0"];
    inside(&[DENY, allowed[0], allowed[1]], text, &["1"]).expect(&["ok", "hello", "ok", "ok"]).violations(0);
    let denied = inside(&[DENY], text, &[]);
    denied.expect(&["EADDRNOTAVAIL"; 4]);
    denied.reports("bind(3, inet:127.0.0.1@0) = EADDRNOTAVAIL");
    denied.reports("allow with: allowlist/network/bind+inet:127.0.0.1@0");
    denied.reports("listen(4, inet:0.0.0.0@0) = EADDRNOTAVAIL");
    let off = "core/allowlist/successful_bind:false";
    inside(&[DENY, BIND, off], text, &["1"]).expect(&[
        "ok",
        "ECONNREFUSED",
        "EADDRNOTAVAIL",
        "EADDRNOTAVAIL",
    ]);
}

#[test]
fn unix_sockets_by_path() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (path, link) = (at("server"), at("link"));
    let _server = UnixListener::bind(&path).unwrap();
    let _datagrams = UnixDatagram::bind(at("datagrams")).unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let text = r"
os.chdir(A[0])
def go(p): s = socket.socket(socket.AF_UNIX); s.connect(p)
def send(p): return udp(socket.AF_UNIX).sendto(b'1', p)
for p in (A[0] + '/server', A[0] + '/link', 'server', './server', '../' + os.path.basename(A[0]) + '/link'): say(go, p)
f = os.open('server', os.O_PATH); say(go, '/proc/self/fd/%d' % f)
for p in (A[0] + '/datagrams', 'datagrams'): say(send, p)
say(udp(socket.AF_UNIX).sendmsg, [b'1'], [], 0, 'datagrams')
say(go, 'none'); say(go, A[0]); say(send, 'none')
";
    let arguments = [dir.path().to_str().unwrap()];
    let natural = ["ENOENT", "ECONNREFUSED", "ENOENT"];
    let fine = [&["ok"; 6][..], &["1"; 3], &natural].concat();
    native(text, &arguments).expect(&fine);
    inside(&[LOCAL], text, &arguments).expect(&fine).violations(0);
    let denied = inside(&[DENY], text, &arguments);
    denied.expect(&[&["ECONNREFUSED"; 9][..], &natural].concat());
    denied.reports(&format!("connect(3, unix:{path}) = ECONNREFUSED"));
    let rule = format!("allowlist/network/connect+unix:{}/**", arguments[0]);
    inside(&[DENY, &rule], text, &arguments).expect(&fine).violations(0);
    let by_link = format!("allowlist/network/connect+unix:{link}");
    inside(&[DENY, &by_link], "say(socket.socket(socket.AF_UNIX).connect, A[0])", &[&link])
        .expect(&["ECONNREFUSED"]);
}

#[test]
fn abstract_names() {
    let name = format!("sydbox-test-{}", std::process::id());
    let _server = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let text = r"
say(socket.socket(socket.AF_UNIX).connect, '\0' + A[0])
say(socket.socket(socket.AF_UNIX).connect, '\0' + A[0] + '\0')
def own():
    s = udp(socket.AF_UNIX); s.bind('\0' + A[0] + '-own'); udp(socket.AF_UNIX).sendto(b'hello', s.getsockname())
    return s.recv(9).decode()
say(own)
def auto():
    s = udp(socket.AF_UNIX); s.bind(''); udp(socket.AF_UNIX).sendto(b'hello', s.getsockname()); return s.recv(9).decode()
say(auto)
";
    let fine = ["ok", "ECONNREFUSED", "hello", "hello"];
    native(text, &[&name]).expect(&fine);
    inside(&[], text, &[&name]).expect(&fine).violations(0);
    inside(&[LOCAL], text, &[&name]).expect(&fine).violations(0);
    let denied = inside(&[DENY], text, &[&name]);
    denied.expect(&["ECONNREFUSED", "ECONNREFUSED", "EADDRNOTAVAIL", "hello"]);
    denied.reports(&format!("unix-abstract:{name}\\x00) = ECONNREFUSED"));
    let rule = format!("allowlist/network/connect+unix-abstract:{name}");
    inside(&[DENY, &rule], text, &[&name]).expect(&["ok", "ECONNREFUSED", "EADDRNOTAVAIL", "hello"]);
}

#[test]
fn asking_for_a_source_address_is_refused_in_silence() {
    let text = "say(udp().connect, ('127.0.0.1', 0)); say(udp().connect, ('127.0.0.1', 53))";
    native(text, &[]).expect(&["ok", "ok"]);
    inside(&[DENY], text, &[]).expect(&["ECONNREFUSED", "ECONNREFUSED"]).violations(1);
    inside(&[DENY, "core/violation/raise_fail:true"], text, &[]).violations(2);
}

#[test]
fn other_families_by_option() {
    let text = "say(lambda: bool(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15)))";
    let none = "core/allowlist/unsupported_socket_families:false";
    native(text, &[]).expect(&["True"]);
    inside(&[DENY], text, &[]).expect(&["True"]).violations(0);
    let denied = inside(&[DENY, none], text, &[]);
    denied.expect(&["EAFNOSUPPORT"]).violations(1);
    denied.reports("socket(AF_NETLINK, SOCK_RAW, 15) = EAFNOSUPPORT");
    // What can lead to another machine, and has no addresses that rules could name.
    let vsock = "s = word(socket.socket, 40, 1, 0); print('made' if 'fd=' in s else s)";
    if native(vsock, &[]).lines == ["made"] {
        for mode in [DENY, LOCAL] {
            let denied = inside(&[mode], vsock, &[]);
            denied.expect(&["EAFNOSUPPORT"]).violations(1);
            // No rule would allow this and nothing else.
            assert!(!denied.log.contains("allow with"), "{denied:?}");
        }
        inside(&[ALLOW], vsock, &[]).expect(&["made"]).violations(0);
        // One that was there before.
        let before = "s = socket.socket(40, 1, 0); check(libc.stat(b'/dev/sydbox/enable_net', bytes(200))); say(s.connect, (3, 9))";
        inside(&["core/sandbox/network:off"], before, &[]).expect(&["ECONNREFUSED"]).reports("family:40");
    }
    // What is not there fails as it does there.
    let none = "for family in (0, 60, 1000): say(socket.socket, family, 1, 0)";
    let natural: Vec<String> = native(none, &[]).lines;
    let natural: Vec<&str> = natural.iter().map(String::as_str).collect();
    inside(&[DENY], none, &[]).expect(&natural).violations(0);
}

/// A malformed address changes nothing, and the message points at the place.
#[test]
fn malformed_addresses() {
    let text = r"
for a in A: say(os.stat, '/dev/sydbox/allowlist/network/connect+' + a)
say(tcp, ('127.0.0.1', 1))
";
    let wrong = [
        ("", 27, "expected an address"),
        ("foo", 27, "expected an address"),
        ("INET:127.0.0.1", 27, "expected an address"),
        ("inet:127.0.0@80", 32, "expected an IPv4 address"),
        ("inet:127.0.0.01@80", 32, "expected an IPv4 address"),
        ("inet:localhost@80", 32, "expected an IPv4 address"),
        ("inet: 127.0.0.1", 32, "expected an IPv4 address"),
        ("inet://", 34, "expected an IPv4 address"),
        ("inet:127.0.0.1/33@80", 42, "expected a prefix length from 0 to 32"),
        ("inet:127.0.0.1/@80", 42, "expected a prefix length from 0 to 32"),
        ("inet:127.0.0.1@", 42, "expected a port"),
        ("inet:127.0.0.1@65536", 42, "expected a port from 0 to 65535"),
        ("inet:127.0.0.1@2-1", 42, "expected a range of ports that rises"),
        ("inet:127.0.0.1@1-2-3", 42, "expected ports from 0 to 65535"),
        ("inet:127.0.0.1@-1", 42, "expected ports from 0 to 65535"),
        ("inet:127.0.0.1@0x1", 42, "expected a port: no service has this name"),
        ("inet:127.0.0.1@1\u{7}", 42, "expected a port: no service has this name"),
        ("inet6:::g@80", 33, "expected an IPv6 address"),
        ("inet6:[::1]@80", 33, "expected an IPv6 address"),
        ("inet6:fe80::1%lo@80", 33, "expected an IPv6 address"),
        ("inet6:::1/129", 37, "expected a prefix length from 0 to 128"),
        ("LOOPBACK:80", 35, "expected `@PORT`"),
        ("LOCALHOST", 32, "expected `@PORT`"),
        ("unix:run/x", 32, "expected an absolute path"),
        ("unix:/run/[x", 37, "expected a `]`"),
        ("unix-abstract:[x", 41, "expected a `]`"),
    ];
    let arguments: Vec<&str> = wrong.iter().map(|(text, ..)| *text).collect();
    let said = inside(&[DENY], text, &arguments);
    let expected: Vec<&str> = wrong.iter().map(|_| "EINVAL").chain(["ECONNREFUSED"]).collect();
    said.expect(&expected);
    for (text, column, message) in wrong {
        let found = said.log.lines().any(|line| {
            line.split_once(&format!(": column {column}: {message}"))
                .is_some_and(|(before, _)| before.ends_with(&text.replace('\u{7}', "\\x07")))
        });
        assert!(found, "{text}: column {column}: {message}:\n{}", said.log);
    }
    // The same in an option, where nothing starts.
    let said = inside(&["allowlist/network/connect+inet:127.0.0@80"], "print('started')", &[]);
    assert_eq!((said.lines.len(), said.code), (0, Some(125)), "{said:?}");
    said.reports("column 32: expected an IPv4 address");
}

/// A script in a sandbox that options and variables of the environment describe.
fn with(options: &[&str], variables: &[(&str, &str)], text: &str, arguments: &[&str]) -> Said {
    let mut command = Command::new(sydbox());
    command.args(options).arg("--").arg(python());
    script(&mut command, text, arguments);
    said_with(command, variables)
}

/// The classic line: `SYDBOX_NO_CONFIG=1 SYDBOX_NET_WHITELIST=inet://ADDRESS:PORT sydbox -N -M deny -- ./timeseal ADDRESS PORT`.
#[test]
fn the_classic_line() {
    let ((_server, port), (_other, other)) = (tcp_server(), tcp_server());
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("timeseal");
    let text = format!(
        "#!{}\nimport socket, sys\nsocket.create_connection((sys.argv[1], int(sys.argv[2])))\n",
        python().display()
    );
    // By another process: what other tests start meanwhile has what is open for writing here, which nobody can execute then.
    let write = ["-c", "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\""];
    assert!(Command::new("sh").args(write).arg(&program).arg(text).status().unwrap().success());
    let run = |options: &[&str], port: &str, allowed: &str| {
        let mut command = Command::new("env");
        command.args(["SYDBOX_NO_CONFIG=1", &format!("SYDBOX_NET_WHITELIST=inet://127.0.0.1:{allowed}")]);
        command
            .arg(sydbox())
            .args(options)
            .args(["--", "./timeseal", "127.0.0.1", port])
            .current_dir(dir.path());
        said(command)
    };
    let options = ["-N", "-M", "deny"];
    assert_eq!(run(&options, &port, &port).violations(0).code, Some(0));
    assert_eq!(run(&[], &other, &port).violations(0).code, Some(0));
    let refused = run(&options, &other, &port);
    refused.violations(1).reports(&format!("allow with: allowlist/network/connect+inet:127.0.0.1@{other}"));
    assert_eq!(refused.code, Some(1));
}

#[test]
fn variables_of_the_environment() {
    let ((_server, port), (_other, other)) = (tcp_server(), tcp_server());
    let text = r"
for p in A: say(tcp, ('127.0.0.1', int(p)))
def own(): s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); tcp(s.getsockname())
say(own)
";
    let ports = [port.as_str(), &other];
    let (one, both) =
        (format!("inet:127.0.0.1@{port}"), format!("inet:127.0.0.1@{port};inet:127.0.0.1@{other}"));
    let no = "ECONNREFUSED";
    let own = ("SYDBOX_NET_WHITELIST_BIND", "LOOPBACK@0;LOOPBACK6@0");
    for (options, variables, expected) in [
        (&[][..], &[][..], ["ok", "ok", "ok"]),
        (&[], &[("SYDBOX_NET", "1")], [no, no, "EADDRNOTAVAIL"]),
        (&[], &[("SYDBOX_NET", "0")], ["ok", "ok", "ok"]),
        // Options are stronger.
        (&["-N"], &[("SYDBOX_NET", "0")], [no, no, "EADDRNOTAVAIL"]),
        (&["-M", "local"], &[("SYDBOX_NET", "1")], ["ok", "ok", "ok"]),
        (&["-N"], &[("SYDBOX_NET_WHITELIST_CONNECT", one.as_str())], ["ok", no, "EADDRNOTAVAIL"]),
        (&["-N"], &[("SYDBOX_NET_WHITELIST_CONNECT", &both)], ["ok", "ok", "EADDRNOTAVAIL"]),
        (&["-N"], &[own], [no, no, "ok"]),
        (&["-N"], &[own, ("SYDBOX_NET_AUTO_WHITELIST_BIND", "0")], [no, no, no]),
        (&["-N", "-B"], &[own, ("SYDBOX_NET_AUTO_WHITELIST_BIND", "0")], [no, no, "ok"]),
        (&[], &[("SYDBOX_NET", "1"), ("SYDBOX_NET_WHITELIST", "LOOPBACK")], ["ok", "ok", "ok"]),
    ] {
        let said = with(options, variables, text, &ports);
        assert_eq!(said.lines, expected, "{options:?} {variables:?}: {}", said.log);
    }
    // What is malformed starts nothing, and is named.
    for (name, value, message) in [
        ("SYDBOX_NET", "maybe", "SYDBOX_NET"),
        ("SYDBOX_NET_WHITELIST", "inet:127.0.0.1@80;inet:127.0.0@80", "expected an IPv4 address"),
        ("SYDBOX_NET_WHITELIST_BIND", "LOOPBACK:80", "expected `@PORT`"),
    ] {
        let said = with(&["-N"], &[(name, value)], text, &ports);
        assert_eq!((said.lines.len(), said.code), (0, Some(125)), "{name}={value}: {}", said.log);
        said.reports(message);
    }
}

#[test]
fn profile_offline() {
    let (_server, port) = tcp_server();
    let text = r"
say(tcp, ('127.0.0.1', int(A[0])))
def own(): s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); tcp(s.getsockname())
say(own)
a, b = socket.socketpair(); say(a.send, b'x')
open(A[1], 'w').write('x')
say(socket.socket().bind, ('0.0.0.0', 0))
";
    let dir = tempfile::tempdir().unwrap();
    let arguments = [port.as_str(), dir.path().join("f").to_str().unwrap()].map(str::to_owned);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    native(text, &arguments).expect(&["ok", "ok", "1", "ok"]);
    let said = with(&["-p", "offline"], &[], text, &arguments);
    said.expect(&["ok", "ok", "1", "EADDRNOTAVAIL"]).violations(1);
}
