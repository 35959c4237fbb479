//! Servers and their clients, as they are: what they say under network sandboxing is what they say without.
//!
//! The network is denied but for what may be bound: loopback, and sockets in a directory of the test's own. Clients reach
//! their servers because these were bound inside. A program that is not there is skipped, and that is said.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::sync::atomic::{AtomicU32, Ordering};

use common::{Env, Run, has, is_root};

/// An address of loopback that nobody else uses, and a port that hardly anybody has at all addresses.
fn address() -> (String, String) {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let number = std::process::id() << 3 | COUNT.fetch_add(1, Ordering::Relaxed) & 7;
    let [_, a, b, c] = number.to_be_bytes();
    (format!("127.{a}.{b}.{c}"), (20_000 + number % 10_000).to_string())
}

fn denied<'e>(env: &Env, run: Run<'e>) -> Run<'e> {
    let unix = format!("allowlist/network/bind+unix:{}/**", env.text("ok"));
    run.rule("core/sandbox/network:deny").rule("allowlist/network/bind+LOOPBACK").rule(unix)
}

/// Runs a script in `ok` without the sandbox and then with it; `expected` is what both say. The script finds a free address in
/// `ADDRESS`, and a port for it in `PORT`.
#[track_caller]
fn the_same(env: &Env, script: &str, expected: &str) {
    let run = |sandboxed: bool| {
        let (address, port) = address();
        let run = env.sh(script).dir(env.path("ok")).set("HOME", env.path("ok"));
        let run = run.set("ADDRESS", address).set("PORT", port);
        let done = if sandboxed { denied(env, run).output() } else { run.output() };
        assert_eq!(done.stdout, expected, "sandboxed: {sandboxed}: {done:#?}");
        assert!(done.violations.is_empty(), "{done:#?}");
        // What only holds without rules on what may be bound is no proof.
        for entry in std::fs::read_dir(env.path("ok")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
        }
    };
    run(false);
    run(true);
}

/// The client of a server that was there before is refused: what `the_same` shows is not that everything goes.
#[test]
fn a_server_outside_is_not_reached() {
    if !has("curl") {
        return;
    }
    let env = Env::new();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port().to_string();
    let run = env.run("curl").args(["-s", "--http0.9", &format!("http://127.0.0.1:{port}/")]);
    let serve = std::thread::spawn(move || {
        use std::io::Write;
        server.accept().unwrap().0.write_all(b"outside").unwrap();
        server
    });
    assert_eq!(run.output().stdout, "outside");
    let server = serve.join().unwrap();
    server.set_nonblocking(true).unwrap();
    let done = denied(&env, run).output();
    assert_eq!((done.status.code(), done.violations.len()), (Some(7), 1), "{done:#?}");
    assert!(server.accept().is_err());
}

#[test]
fn http_server_and_curl() {
    if !has("curl") {
        return;
    }
    let script = r#"
        echo text >page; mkfifo said
        python3 -u -m http.server --bind 127.0.0.1 0 >said 2>/dev/null & pid=$!
        exec 3<said; read -r _ _ _ _ _ port _ <&3
        for n in 1 2 3; do curl -s http://127.0.0.1:$port/page http://localhost:$port/page; done
        curl -s -o all -w '%{http_code}\n' http://127.0.0.1:$port/
        curl -s -w '%{http_code}\n' -o none http://127.0.0.1:$port/none
        kill $pid
    "#;
    the_same(&Env::new(), script, &["text\n".repeat(6).as_str(), "200\n404\n"].concat());
}

#[test]
fn netcat() {
    if !has("nc") {
        return;
    }
    let env = Env::new();
    if !env.sh("nc -h 2>&1 | grep -q -- -U && nc -h 2>&1 | grep -q -- -N").output().status.success() {
        return eprintln!("skipped: this nc is not OpenBSD's");
    }
    let script = r#"
        mkfifo said
        nc -lnv 127.0.0.1 0 >tcp 2>said & read -r _ _ _ port <said; echo stream | nc -N 127.0.0.1 $port; wait
        # The name is there before anybody listens.
        nc -lvU socket >unix 2>said & while read -r word _; do [ "$word" != Listening ] || break; done <said; echo unix | nc -NU socket; wait
        cat tcp unix
    "#;
    the_same(&env, script, "stream\nunix\n");
}

#[test]
fn ssh_agent() {
    if !has("ssh-agent") || !has("ssh-add") || !has("ssh-keygen") {
        return;
    }
    let script = r#"
        ssh-keygen -q -t ed25519 -N '' -C comment -f key
        eval "$(ssh-agent -s -a "$PWD/agent")" >/dev/null
        ssh-add -q key; ssh-add -l | cut -d' ' -f3,4; ssh-add -T key.pub && echo works
        ssh-add -q -D 2>/dev/null; ssh-add -l; ssh-agent -k >/dev/null
        while [ -e agent ]; do :; done
    "#;
    the_same(&Env::new(), script, "comment (ED25519)\nworks\nThe agent has no identities.\n");
}

#[test]
fn redis() {
    if !has("redis-server") || !has("redis-cli") {
        return;
    }
    let script = r#"
        mkfifo said
        redis-server --bind $ADDRESS --port $PORT --unixsocket "$PWD/redis" --save '' >said & pid=$!
        exec 3<said; while read -r line <&3; do case $line in *eady\ to\ accept*redis*) break ;; esac; done; cat <&3 >/dev/null &
        redis-cli -h $ADDRESS -p $PORT set key value; redis-cli -s redis get key
        redis-cli -h $ADDRESS -p $PORT eval 'for i = 1, 1000 do redis.call("rpush", "list", i) end return redis.call("llen", "list")' 0
        redis-cli -h $ADDRESS -p $PORT subscribe news >news & until [ "$(redis-cli -s redis publish news now)" = 1 ]; do :; done
        until grep -q now news; do :; done; echo published
        redis-cli -h $ADDRESS -p $PORT shutdown nosave; wait $pid; echo $?
    "#;
    the_same(&Env::new(), script, "OK\nvalue\n1000\npublished\n0\n");
}

#[test]
fn nginx() {
    if !has("nginx") || !has("curl") {
        return;
    }
    let script = r#"
        mkdir -p logs tmp www; echo page >www/page
        user=; [ "$(id -u)" != 0 ] || user='user root;'
        cat >conf <<-EOF
		$user
		daemon off; worker_processes 2; error_log logs/error; pid pid;
		events { worker_connections 64; }
		http {
			access_log off; client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp;
			uwsgi_temp_path tmp; scgi_temp_path tmp;
			server { listen unix:$PWD/behind; root $PWD/www; }
			server { listen $ADDRESS:$PORT; location / { proxy_pass http://unix:$PWD/behind; } }
		}
		EOF
        nginx -p "$PWD" -c conf 2>/dev/null & pid=$!
        until [ -s pid ]; do kill -0 $pid || { cat logs/error; exit 1; }; done
        for n in 1 2 3 4 5; do curl -s http://$ADDRESS:$PORT/page; done
        curl -s --unix-socket behind http://there/page
        kill -HUP $pid; curl -s http://$ADDRESS:$PORT/page
        kill -QUIT $pid; wait $pid; echo $?; cat logs/error | grep -v notice | head -3
    "#;
    the_same(&Env::new(), script, &["page\n".repeat(7).as_str(), "0\n"].concat());
}

#[test]
fn postgresql() {
    if !has("initdb") || !has("pg_ctl") || !has("psql") {
        return;
    }
    let env = Env::new();
    // It does not run as root.
    let user = if is_root() { "setpriv --reuid 65534 --regid 65534 --clear-groups" } else { "" };
    if is_root() {
        std::fs::set_permissions(env.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
        chown(env.path("ok"), Some(65534), Some(65534)).unwrap();
    }
    let script = format!(
        r#"
        as() {{ {user} "$@"; }}
        as initdb -D data -A trust -U me --no-sync >/dev/null || exit
        as pg_ctl -D data -w -t 500 -s -l log -o "-p $PORT -c unix_socket_directories=$PWD -c listen_addresses=$ADDRESS -F" start
        ask() {{ as psql -X -q -A -t -U me -p $PORT -d postgres "$@"; }}
        ask -h "$PWD" -c 'create table t as select n from generate_series(1, 1000) n' -c 'select sum(n) from t'
        ask -h $ADDRESS -c 'select count(*) from t, t u' -c "select host(inet_server_addr()) = '$ADDRESS'"
        as pg_ctl -D data -w -t 500 -s -m fast stop; echo $?
    "#
    );
    the_same(&env, &script, "500500\n1000000\nt\n0\n");
}

#[test]
fn asyncio() {
    let script = r"
import asyncio, os, socket
async def serve(reader, writer):
    writer.write((await reader.readexactly(1000))[::-1]); await writer.drain(); writer.close()
async def ask(n, *where, unix=False):
    r, w = await (asyncio.open_unix_connection(*where) if unix else asyncio.open_connection(*where))
    data = bytes([n % 251]) * 999 + b'!'; w.write(data); got = await r.read(-1); w.close(); return got == data[::-1]
class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport): self.transport = transport
    def datagram_received(self, data, addr): self.transport.sendto(data, addr)
class Ask(asyncio.DatagramProtocol):
    def __init__(self): self.got = asyncio.get_running_loop().create_future()
    def datagram_received(self, data, addr): self.got.done() or self.got.set_result(data)
async def main():
    tcp = await asyncio.start_server(serve, '127.0.0.1', 0, backlog=300)
    unix = await asyncio.start_unix_server(serve, 'server', backlog=300)
    port = tcp.sockets[0].getsockname()[1]
    print(all(await asyncio.gather(*(ask(n, '127.0.0.1', port) for n in range(200)))))
    print(all(await asyncio.gather(*(ask(n, 'server', unix=True) for n in range(200)))))
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Echo, local_addr=('127.0.0.1', 0))
    where = transport.get_extra_info('sockname')
    for how in ({'remote_addr': where}, {'local_addr': ('127.0.0.1', 0)}):
        t, p = await loop.create_datagram_endpoint(Ask, **how); t.sendto(b'x', None if 'remote_addr' in how else where)
        print(await p.got)
    p = await asyncio.create_subprocess_exec('cat', stdin=-1, stdout=-1); print((await p.communicate(b'text'))[0])
asyncio.run(main())
";
    let env = Env::new();
    std::fs::write(env.path("server.py"), script).unwrap();
    the_same(&env, "python3 ../server.py", "True\nTrue\nb'x'\nb'x'\nb'text'\n");
}
