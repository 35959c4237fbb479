//! Network sandboxing between two hosts, which are network namespaces that the test makes (`programs/hosts.py`).
//!
//! Whatever is refused here is first done without the sandbox. Where namespaces cannot be made, nothing is tested, and it
//! is said.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use common::{Done, Env, Run, has, source};

const PRELUDE: &str = include_str!("programs/net.py");
const DENY: &str = "core/sandbox/network:deny";
const THERE: &str = "allowlist/network/connect+inet:192.0.2.0/24";
const THERE6: &str = "allowlist/network/connect+inet6:2001:db8::/32";

/// Runs something on one of the hosts; `None`: there are none.
fn here(run: Run<'_>) -> Option<Done> {
    let done = run.output();
    if done.status.code() == Some(77) {
        eprintln!("{}", done.stderr.trim_end());
        return None;
    }
    Some(done.succeeded())
}

/// A run of a command on one of the hosts, in a sandbox if there are rules.
fn command<'e>(env: &'e Env, rules: &[&str], words: &[&str]) -> Run<'e> {
    let mut run = env.run("python3").arg(source("tests/programs/hosts.py"));
    if !rules.is_empty() {
        run = run.arg(common::sydbox()).args(rules.iter().flat_map(|rule| ["-m", *rule])).arg("--");
    }
    run.args(words)
}

fn script<'e>(env: &'e Env, rules: &[&str], text: &str) -> Run<'e> {
    command(env, rules, &["python3", "-c", &[PRELUDE, text].concat()])
}

#[track_caller]
fn violations(done: &Done, count: usize) {
    assert_eq!(done.stderr.matches("Access Violation").count(), count, "{done:#?}");
}

#[test]
fn a_host_that_never_answers() {
    if !has("ip") {
        return;
    }
    let env = Env::new();
    // By flags of the handler, time limit of the socket: what a connect, and a send into a full buffer, come back with,
    // and after how many signals, which come while it waits. The third one ends it.
    let text = r"
nobody = sin('192.0.2.9', 80)
def full():
    a, b = socket.socketpair(); a.setblocking(False)
    try:
        while True: a.send(b'x' * 4096)
    except BlockingIOError: a.setblocking(True)
    return a, b
v = iovec(ctypes.addressof(nobody_ := ctypes.create_string_buffer(9999)), 9999); m = msghdr(None, 0, ctypes.addressof(v), 1, None, 0, 0)
def signalled(go, most):
    over, main = threading.Event(), (threading.get_native_id(), threading.get_ident())
    def waits():
        call = call_of(main[0])
        return call == '46' or call == '42' and connecting()
    def run():
        while not over.is_set() and len(hits) < most:
            seen = len(hits)
            if waits():
                signal.pthread_kill(main[1], signal.SIGALRM)
                while len(hits) == seen and not over.is_set(): pass
    while connecting(): pass
    thread = threading.Thread(target=run); thread.start()
    said = word(go); over.set(); thread.join(); return said
for flags in (0, 0x10000000):
    for limit in (0, 30):
        for call in ('connect', 'send'):
            s, b = (socket.socket(), None) if call == 'connect' else full()
            hits = []
            def handler(_):
                hits.append(1)
                if len(hits) == 3: libc.shutdown(s.fileno(), 2)
            on_alarm(handler, flags)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack('ll', limit, 0))
            go = lambda: raw_connect(s, nobody) if call == 'connect' else check(libc.sendmsg(s.fileno(), ctypes.byref(m), 0x4000))
            if (flags, limit, call) != (0x10000000, 0, 'connect'):
                said = signalled(go, 3)
                # A send may not have got through to the supervisor when the first one comes.
                print(call, flags, limit, said, len(hits) if call == 'connect' else len(hits) == 3)
                # The connection goes on to be made.
                if call == 'connect': s.setblocking(False); say(raw_connect, s, nobody)
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack('ll', 0, 200000)); t = time.monotonic()
print(word(raw_connect, s, nobody), time.monotonic() - t > 0.1)
s = socket.socket(); s.setblocking(False); say(raw_connect, s, nobody); say(raw_connect, s, nobody)
# With a handler that restarts calls, connect goes on waiting: a child stops it after some signals, again and again, for
# it may do so while the handler runs.
s = socket.socket(); hits = []
r, w = os.pipe(); pid = os.fork()
if pid == 0:
    os.read(r, 1)
    while True: libc.shutdown(s.fileno(), 2); time.sleep(0.05)
def fifth(_):
    hits.append(1)
    if len(hits) == 5: os.write(w, b'x')
on_alarm(fifth, 0x10000000)
print(signalled(lambda: raw_connect(s, nobody), 5), len(hits) >= 5); os.kill(pid, signal.SIGKILL)
";
    let Some(native) = here(script(&env, &[], text)) else { return };
    assert!(native.stdout.contains("connect 0 0 EINTR 1\nEALREADY\n"), "{native:#?}");
    assert!(native.stdout.ends_with("ECONNRESET True\n"), "{native:#?}");
    let inside = here(script(&env, &[DENY, THERE], text)).unwrap();
    assert_eq!(inside.stdout, native.stdout);
    violations(&inside, 0);
}

/// Callers that are killed while they wait take their connections with them, and others are served meanwhile.
#[test]
fn callers_that_die_while_they_wait() {
    if !has("ip") {
        return;
    }
    let env = Env::new();
    let text = r"
def until(n):
    while connecting() != n: time.sleep(0.01)
    print(n)
children = []
for i in range(40):
    pid = os.fork()
    if pid == 0:
        try: socket.socket().connect(('192.0.2.9', 80))
        finally: os._exit(0)
    children.append(pid)
until(40)
say(lambda: socket.create_connection(('192.0.2.2', 80)).recv(9).decode().strip())
for pid in children: os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)
until(0)
";
    let Some(native) = here(script(&env, &[], text)) else { return };
    assert_eq!(native.stdout, "40\nthere\n0\n");
    assert_eq!(here(script(&env, &[DENY, THERE], text)).unwrap().stdout, native.stdout);
}

/// What a package manager does: fetch, then build without the network, then no magic.
#[test]
fn phases_of_one_tree() {
    if !has("ip") {
        return;
    }
    let env = Env::new();
    let fetch = "exec 3<>/dev/tcp/192.0.2.2/80 && head -1 <&3 && exec 3>&-";
    let own = r"
import socket, sys
l = socket.socket(); l.bind((sys.argv[1], 0)); l.listen()
c = socket.create_connection(l.getsockname()); c.sendall(b'own'); print(l.accept()[0].recv(9).decode())
";
    std::fs::write(env.path("own.py"), own).unwrap();
    let text = format!(
        "{fetch}; python3 own.py 192.0.2.1
        test -e /dev/sydbox/enable_net && echo closed
        test -e /dev/sydbox/allow_net/inet:192.0.2.1 && echo allowed
        ({fetch}) 2>/dev/null || echo refused
        bash -c '{fetch}' 2>/dev/null || echo refused
        python3 own.py 192.0.2.1; python3 own.py 127.0.0.1 2>/dev/null || echo refused
        test -e /dev/sydbox/disable_net && echo open; {fetch}
        test -e /dev/sydbox/enable_net; test -e /dev/sydbox/lock; test -e /dev/sydbox/disable_net || echo locked
        ({fetch}) 2>/dev/null || echo refused; python3 own.py 192.0.2.1"
    );
    let text = text.as_str();
    let Some(native) = here(command(&env, &[], &["bash", "-c", text])) else { return };
    assert_eq!(native.stdout, "there\nown\nthere\nthere\nown\nown\nthere\nlocked\nthere\nown\n");
    let inside = here(command(&env, &["core/sandbox/write:off"], &["bash", "-c", text])).unwrap();
    let expected =
        "there\nown\nclosed\nallowed\nrefused\nrefused\nown\nrefused\nopen\nthere\nlocked\nrefused\nown\n";
    assert_eq!(inside.stdout, expected, "{inside:#?}");
    violations(&inside, 4);
    assert!(inside.stderr.contains("connect(3, inet:192.0.2.2@80) = ECONNREFUSED"), "{inside:#?}");
    assert!(inside.stderr.contains("allow with: allowlist/network/connect+inet:192.0.2.2@80"), "{inside:#?}");
}

/// Names are looked up as the C library does it (connected datagrams, sendmmsg), by sendto, and over TCP.
#[test]
fn names_are_looked_up() {
    if !has("ip") {
        return;
    }
    let env = Env::new();
    let text = r"
def names(): return sorted({a[4][0] for a in socket.getaddrinfo('there.test', 80, type=socket.SOCK_STREAM)})
try: print(names())
except socket.gaierror as e: print(e.errno == socket.EAI_AGAIN)
query = b'\1\1\1\0\0\1\0\0\0\0\0\0\5there\4test\0\0\1\0\1'
def by_sendto(): s = udp(); s.settimeout(300); s.sendto(query, ('192.0.2.2', 53)); return s.recv(99)[-4:] == socket.inet_aton('192.0.2.2')
def by_connect(): s = udp(); s.settimeout(300); s.connect(('192.0.2.2', 53)); s.send(query); return len(s.recv(99)) > 40
def by_mapped(): s = udp(socket.AF_INET6); s.settimeout(300); s.sendto(query, ('::ffff:192.0.2.2', 53)); return len(s.recv(99)) > 40
for f in (by_sendto, by_connect, by_mapped): say(f)
def echo(): s = udp(); s.settimeout(300); s.sendto(b'x', ('192.0.2.2', 7)); return len(s.recv(99))
say(echo)
";
    let Some(native) = here(script(&env, &[], text)) else { return };
    let fine = "['192.0.2.2', '2001:db8::2']\nTrue\nTrue\nTrue\n1\n";
    if native.stdout != fine {
        return eprintln!("skipped: names are not looked up by DNS here: {native:#?}");
    }
    let rules = [DENY, "allowlist/network/connect+inet:192.0.2.2@53"];
    let inside = here(script(&env, &rules, text)).unwrap();
    assert_eq!(inside.stdout, fine.replace("\n1\n", "\nECONNREFUSED\n"));
    assert!(inside.stderr.contains("sendto(3, inet:192.0.2.2@7) = ECONNREFUSED"), "{inside:#?}");
    let denied = here(script(&env, &[DENY], text)).unwrap();
    assert_eq!(denied.stdout, "True\nECONNREFUSED\nECONNREFUSED\nECONNREFUSED\nECONNREFUSED\n");
}

/// A client that tries both families goes on with the one that is allowed, without waiting for anything.
#[test]
fn the_other_family_is_tried() {
    if !has("ip") {
        return;
    }
    let env = Env::new();
    let text = r"
import asyncio
async def go(**how):
    try:
        r, w = await asyncio.open_connection('there.test', 80, **how)
        print(w.get_extra_info('peername')[0], (await r.readline()).decode().strip())
    except OSError as e: print('refused')
asyncio.run(go(happy_eyeballs_delay=3600)); asyncio.run(go())
";
    let Some(native) = here(script(&env, &[], text)) else { return };
    if native.stdout != "2001:db8::2 there\n2001:db8::2 there\n" {
        return eprintln!("skipped: names are not looked up by DNS here: {native:#?}");
    }
    let dns = "allowlist/network/connect+inet:192.0.2.2@53";
    let both = here(script(&env, &[DENY, THERE, THERE6], text)).unwrap();
    assert_eq!(both.stdout, native.stdout);
    let four = here(script(&env, &[DENY, THERE], text)).unwrap();
    assert_eq!(four.stdout, "192.0.2.2 there\n192.0.2.2 there\n");
    let six = here(script(&env, &[DENY, dns, THERE6], text)).unwrap();
    assert_eq!(six.stdout, native.stdout);
    let none = here(script(&env, &[DENY, dns], text)).unwrap();
    assert_eq!(none.stdout, "refused\nrefused\n");
}

/// An address of the host itself is one of the network's: only the port that was bound is reached, under the address
/// it was bound to.
#[test]
fn local_is_loopback_and_not_the_hosts_own_address() {
    if !has("ip") {
        return;
    }
    let env = Env::new();
    let text = r"
l = socket.create_server(('0.0.0.0', 0)); p = l.getsockname()[1]
for a in ('127.0.0.1', '192.0.2.1', '127.9.9.9'): say(tcp, (a, p))
say(tcp, ('192.0.2.2', 80)); say(tcp, ('2001:db8::2', 80), socket.AF_INET6)
l = socket.socket(); say(l.bind, ('192.0.2.1', 0)); l.listen(); say(tcp, l.getsockname())
";
    let Some(native) = here(script(&env, &[], text)) else { return };
    assert_eq!(native.stdout, "ok\n".repeat(7));
    let any = "allowlist/network/bind+inet:0.0.0.0@0";
    let own = "allowlist/network/bind+inet:192.0.2.1@0";
    let inside = here(script(&env, &["core/sandbox/network:local", any, own], text)).unwrap();
    assert_eq!(inside.stdout, "ok\nECONNREFUSED\nok\nECONNREFUSED\nECONNREFUSED\nok\nok\n");
}

/// What has to leave by an interface leaves, be the address loopback's: seen on the wire from outside of the sandbox.
///
/// Seen to fail with the options let through, without `Way::leaves`, and without `Way::is_led`.
#[test]
fn loopback_by_another_interface_is_not_loopback() {
    if !has("ip") {
        return;
    }
    let env = Env::new();
    let text = r"
link = socket.if_nametoindex('a0'); info4, info6 = struct.pack('=I8x', link), bytes(16) + struct.pack('=I', link)
four, six = ('127.0.0.1', 5000), ('::1', 5000)
def option(family, to, *how): s = udp(family); s.setsockopt(*how); return s.sendto(b'leak', to)
def message(family, to, *item): return udp(family).sendmsg([b'leak'], [item], 0, to)
def connected(family, to, *item): s = udp(family); s.connect(to); return s.sendmsg([b'leak'], [item])
for family, to, interface, info in ((2, four, (0, 50, struct.pack('!I', link)), (0, 8, info4)), (10, six, (41, 76, struct.pack('!I', link)), (41, 50, info6))):
    say(option, family, to, *interface); say(message, family, to, *info); say(connected, family, to, *info)
say(option, 10, six, 41, 50, info6)
def near(): s = udp(10); s.connect(('fe80::9', 7, 0, link)); return s.sendto(b'leak', six)
say(near)
";
    // Frames are seen when they are handed to the interface: before the call that sends them is over.
    let outer = r"
import subprocess
for route in ('route add default via 192.0.2.9 dev a0', '-6 neigh add 2001:db8::9 lladdr 02:00:00:00:00:09 dev a0 nud permanent',
              '-6 neigh add fe80::9 lladdr 02:00:00:00:00:09 dev a0 nud permanent', '-6 route add default via 2001:db8::9 dev a0'):
    subprocess.run(['ip', *route.split()], check=True)
wire = socket.socket(17, 3, socket.htons(3)); wire.bind(('a0', 0)); wire.setblocking(False); frames = 0
subprocess.run(A)
try:
    while True: frames += b'leak' in wire.recv(9999)
except BlockingIOError: print('frames', frames)
";
    let run = |rules: &[&str]| {
        let python = ["python3", "-c", &[PRELUDE, text].concat()].map(str::to_owned);
        let mut words = Vec::new();
        if !rules.is_empty() {
            words.push(common::sydbox().to_str().unwrap().to_owned());
            words.extend(rules.iter().flat_map(|rule| ["-m".to_owned(), (*rule).to_owned()]));
            words.push("--".into());
        }
        words.extend(python);
        here(script(&env, &[], outer).args(&words))
    };
    let Some(native) = run(&[]) else { return };
    assert_eq!(native.stdout, "4\n".repeat(8) + "frames 8\n", "{native:#?}");
    let option = "ENOPROTOOPT\n";
    let message = "ECONNREFUSED\nECONNREFUSED\n";
    let expected = [option, message, option, message, option, "ECONNREFUSED\n", "frames 0\n"].concat();
    let near = "allowlist/network/connect+inet6:fe80::/10";
    let inside = run(&["core/sandbox/network:local", near]).unwrap();
    assert_eq!(inside.stdout, expected, "{inside:#?}");
    assert!(
        inside.stderr.contains("sendmsg(3, inet:127.0.0.1@5000, by an interface) = ECONNREFUSED"),
        "{inside:#?}"
    );
    let loopback = ["allowlist/network/connect+LOOPBACK", "allowlist/network/connect+LOOPBACK6"];
    let inside = run(&[DENY, near, loopback[0], loopback[1]]).unwrap();
    assert_eq!(inside.stdout, expected, "{inside:#?}");
}

/// Who may bind an address of many may not send to all of them.
///
/// Seen to fail without `is_of_many`.
#[test]
fn addresses_of_many_are_not_the_sandboxs_own() {
    if !has("ip") {
        return;
    }
    let env = Env::new();
    let text = r"
s = udp(); s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
for a in ('192.0.2.255', '255.255.255.255', '239.1.2.3', '192.0.2.1', '127.0.0.1'):
    b = udp(); b.bind((a, 7777)); say(s.sendto, b'x', (a, 7777))
";
    let routed = r"
import subprocess
subprocess.run('ip route add default via 192.0.2.9 dev a0'.split(), check=True); subprocess.run(A)
";
    let python = ["python3".to_owned(), "-c".into(), [PRELUDE, text].concat()];
    let Some(native) = here(script(&env, &[], routed).args(&python)) else { return };
    assert_eq!(native.stdout, "1\n".repeat(5));
    let rules = ["-m", DENY, "-m", "allowlist/network/bind+ANY", "--"];
    let sandboxed = script(&env, &[], routed).arg(common::sydbox()).args(rules).args(&python);
    let inside = here(sandboxed).unwrap();
    assert_eq!(inside.stdout, "ECONNREFUSED\n".repeat(3) + "1\n1\n", "{inside:#?}");
    violations(&inside, 3);
}

/// An address of the host's own is here also by its interface: a server answers where a question came in
/// (`IP_PKTINFO`), and link-local addresses are always of an interface.
///
/// Seen to fail with whatever is to leave by an interface taken to leave.
#[test]
fn an_own_address_is_here_by_its_interface() {
    if !has("ip") {
        return;
    }
    let env = Env::new();
    let text = r"
link = socket.if_nametoindex('a0'); info = struct.pack('=I4s4s', link, socket.inet_aton('192.0.2.1'), bytes(4))
def pair(family, name): s, t = udp(family), udp(family); s.bind(name); t.bind(name); t.settimeout(60); return s, t
s, t = pair(2, ('192.0.2.1', 0)); say(s.sendmsg, [b'x'], [(0, 8, info)], 0, t.getsockname()); say(t.recv, 9)
s, t = pair(10, ('fe80::77', 0, 0, link)); say(s.sendto, b'x', t.getsockname()); say(t.recv, 9)
";
    let outer = r"
import subprocess
subprocess.run('ip addr add fe80::77/64 dev a0 nodad'.split(), check=True)
# It can be bound at once, and is routed a moment later.
while b'fe80::77' not in subprocess.run('ip -6 route show table local'.split(), capture_output=True).stdout: pass
subprocess.run(A)
";
    let python = ["python3".to_owned(), "-c".into(), [PRELUDE, text].concat()];
    let Some(native) = here(script(&env, &[], outer).args(&python)) else { return };
    assert_eq!(native.stdout, "1\nb'x'\n".repeat(2));
    let binds = ["allowlist/network/bind+ANY", "allowlist/network/bind+ANY6"];
    let rules = ["-m", DENY, "-m", binds[0], "-m", binds[1], "--"];
    let inside = here(script(&env, &[], outer).arg(common::sydbox()).args(rules).args(&python)).unwrap();
    assert_eq!(inside.stdout, native.stdout, "{inside:#?}");
    violations(&inside, 0);
}

/// Sockets of another network namespace, which were handed in: there the same address is somebody else's.
///
/// Seen to fail without the comparison in `Way::leaves`.
#[test]
fn a_socket_of_another_namespace_is_elsewhere() {
    if !has("ip") {
        return;
    }
    let env = Env::new();
    let text = r"
tcp_port = int(A[0]); l = socket.create_server(('127.0.0.1', tcp_port)); a = udp(socket.AF_UNIX); a.bind('\0elsewhere')
say(socket.socket(fileno=int(A[1])).connect, ('127.0.0.1', tcp_port)); say(tcp, ('127.0.0.1', tcp_port))
say(socket.socket(fileno=int(A[2])).connect, '\0elsewhere'); say(udp(socket.AF_UNIX).connect, '\0elsewhere')
";
    let outer = r"
import subprocess
here = os.open('/proc/self/ns/net', os.O_RDONLY); check(libc.unshare(0x40000000)); subprocess.run('ip link set lo up'.split(), check=True)
l = socket.create_server(('127.0.0.1', 0)); c = socket.socket(); c.set_inheritable(True)
a = udp(socket.AF_UNIX); a.bind('\0elsewhere'); b = udp(socket.AF_UNIX); b.set_inheritable(True)
check(libc.setns(here, 0)); fds = [str(l.getsockname()[1]), str(c.fileno()), str(b.fileno())]
subprocess.run(A + fds, close_fds=False)
";
    let python = ["python3".to_owned(), "-c".into(), [PRELUDE, text].concat()];
    let Some(native) = here(script(&env, &[], outer).args(&python)) else { return };
    assert_eq!(native.stdout, "ok\n".repeat(4));
    let (bind, name) = ("allowlist/network/bind+LOOPBACK", "allowlist/network/bind+unix-abstract:");
    let rules = ["-m", DENY, "-m", bind, "-m", name, "--"];
    let inside = here(script(&env, &[], outer).arg(common::sydbox()).args(rules).args(&python)).unwrap();
    assert_eq!(inside.stdout, "ECONNREFUSED\nok\n".repeat(2), "{inside:#?}");
    assert!(inside.stderr.contains(", in another network namespace) = ECONNREFUSED"), "{inside:#?}");
    let local = ["-m", "core/sandbox/network:local", "--"];
    let inside = here(script(&env, &[], outer).arg(common::sydbox()).args(local).args(&python)).unwrap();
    assert_eq!(inside.stdout, "ECONNREFUSED\nok\nok\nok\n", "{inside:#?}");
}
