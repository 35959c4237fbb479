//! The other ABIs of x86-64: 32-bit programs, the old entry of the kernel from 64-bit ones, and x32.
//!
//! The same tables of calls as in files.rs, compiled for 32-bit x86, under the same policy; and what only that ABI has.
//!
//! Seen to fail with `is_32bit` always false (lengths, times, layouts), and 16-bit ids taken as they are.
#![cfg(all(feature = "cli", target_arch = "x86_64"))]
#![forbid(unsafe_code)]

mod common;

use std::net::TcpListener;
use std::path::Path;

use common::{Env, Run};

fn make(env: &Env, dir: &Path) {
    let _ = std::fs::remove_dir_all(dir);
    env.run(env.program("tree")).arg("--make").arg(dir).output().succeeded();
}

fn tree(env: &Env, dir: &Path, times: bool) -> String {
    env.run(env.program("tree")).args(times.then_some("-t")).arg(dir).output().succeeded().stdout
}

/// The flags of descriptors without `O_LARGEFILE`, which what a 64-bit supervisor opens always has.
fn without_largefile(text: &str) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    if let Some(at) = words.iter().position(|word| word == "flags") {
        let flags = u32::from_str_radix(&words[at + 1], 8).unwrap();
        words[at + 1] = format!("{:o}", flags & !0o100_000);
    }
    words.join(" ")
}

/// Every call of the table: as without the sandbox where it is allowed, refused where it is not.
#[test]
fn every_mediated_call() {
    let env = Env::new();
    let Some(program) = env.program32("call") else { return };
    let names = env.run(&program).arg("--list").output().succeeded().stdout;
    let (natives, allowed, denied) = (env.path("ok/natives"), env.path("ok/allowed"), env.path("no/denied1"));
    let mut wrong = Vec::new();
    make(&env, &denied);
    let before = tree(&env, &denied, true);
    for name in names.lines() {
        make(&env, &natives);
        make(&env, &allowed);
        let call = |dir: &Path| env.run(&program).arg(name).arg(dir);
        let native = call(&natives).output().stdout;
        let inside = call(&allowed).sandboxed().output();
        if without_largefile(&inside.stdout) != without_largefile(&native) || !inside.violations.is_empty() {
            wrong.push(format!("{name}: {} became {}", native.trim(), inside.stdout.trim()));
        }
        if tree(&env, &natives, false) != tree(&env, &allowed, false) {
            wrong.push(format!("{name}: does something else"));
        }
        if ["ENOSYS", "EOPNOTSUPP", "ENOTTY"].contains(&native.trim()) {
            continue;
        }
        let refused = call(&denied).sandboxed().output();
        let expected = if name.contains("access") { "EACCES\n" } else { "EPERM\n" };
        if refused.stdout != expected || tree(&env, &denied, true) != before {
            wrong.push(format!("{name}: {} where it is denied", refused.stdout.trim()));
            make(&env, &denied);
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[track_caller]
fn same_lines(native: &str, inside: &str) {
    assert_eq!(native.lines().count(), inside.lines().count(), "{native}\n--\n{inside}");
    let differ: Vec<_> = native.lines().zip(inside.lines()).filter(|(a, b)| a != b).collect();
    assert_eq!(differ, []);
}

#[test]
fn errors_are_the_kernels() {
    let env = Env::new();
    let Some(program) = env.program32("errors") else { return };
    let dir = env.path("no/tree");
    make(&env, &dir);
    std::fs::create_dir_all(dir.join("ro/d")).unwrap();
    std::fs::write(dir.join("ro/f"), "").unwrap();
    std::fs::set_permissions(dir.join("ro"), std::os::unix::fs::PermissionsExt::from_mode(0o555)).unwrap();
    std::fs::create_dir_all(dir.join("l0/x")).unwrap();
    for n in 1..=41 {
        std::os::unix::fs::symlink(format!("l{}", n - 1), dir.join(format!("l{n}"))).unwrap();
    }
    std::os::unix::fs::symlink("loop", dir.join("loop")).unwrap();
    let run = env.run(program).arg(&dir);
    let native = run.output().succeeded();
    same_lines(&native.stdout, &run.mediated().output().succeeded().stdout);
}

/// Layouts of times, 16-bit ids, lengths in two registers, files over 2 GiB.
#[test]
fn what_only_this_abi_has() {
    let env = Env::new();
    let Some(program) = env.program32("abi32") else { return };
    let run = |name: &str| {
        let dir = env.path(name);
        make(&env, &dir);
        env.run(&program).arg(dir)
    };
    let native = run("ok/natives").output().succeeded().stdout;
    same_lines(&native, &run("ok/mediated").mediated().output().succeeded().stdout);
    same_lines(&native, &run("ok/sandbox1").sandboxed().output().succeeded().stdout);
    let denied = run("no/denied11").sandboxed();
    let before = tree(&env, &env.path("no/denied11"), true);
    denied.output().succeeded();
    assert_eq!(before, tree(&env, &env.path("no/denied11"), true));
}

#[test]
fn magic() {
    let env = Env::new();
    let Some(program) = env.program32("abi32") else { return };
    let run = |path: &str| env.run(&program).args(["magic", path]);
    let without = run("/dev/sydbox").output().succeeded().stdout;
    assert_eq!(without.matches(": ENOENT\n").count(), 7, "{without}");
    let inside = run("/dev/sydbox").sandboxed().output().succeeded().stdout;
    // Four calls answer, with a device and nothing behind it; those that follow no link are as without.
    assert_eq!(inside.matches(": 0\n mode 20666 rdev 103 size 0\n").count(), 4, "{inside}");
    assert_eq!(inside.matches(": ENOENT\n").count(), 2, "{inside}");
    assert_eq!(inside.matches(": EFAULT\n").count(), 2, "{inside}");
    assert!(!inside.contains("byte"), "{inside}");
    // A device that exists is described in the same places.
    let device = run("/dev/null").output().succeeded().stdout;
    assert_eq!(device.matches(" mode 20666 rdev 103 size 0\n").count(), 4, "{device}");
}

/// A 64-bit program can call by the numbers of 32-bit x86 at any time.
#[test]
fn the_old_entry_and_x32() {
    let env = Env::new();
    let program = env.program("int80");
    let run = |name: &str| -> Run<'_> {
        make(&env, &env.path(name));
        env.run(&program).arg(env.path(name))
    };
    let native = run("ok/natives").output();
    if !native.status.success() {
        return eprintln!("skipped: this kernel has no 32-bit entry: {native:?}");
    }
    assert_eq!(native.stdout.matches(": done").count(), 11, "{native:#?}");
    let allowed = run("ok/allowed").sandboxed().output().succeeded();
    let x32 = |text: &str| {
        text.lines().filter(|line| line.starts_with("x32")).map(str::to_owned).collect::<Vec<_>>()
    };
    same_lines(&native.stdout, &allowed.stdout);
    assert_eq!(tree(&env, &env.path("ok/natives"), false), tree(&env, &env.path("ok/allowed"), false));
    let denied = run("no/denied");
    let before = tree(&env, &env.path("no/denied"), true);
    let denied = denied.sandboxed().output().succeeded();
    assert_eq!(before, tree(&env, &env.path("no/denied"), true));
    assert_eq!(denied.stdout.matches(": EPERM").count(), 10, "{denied:#?}");
    assert_eq!(x32(&denied.stdout), ["x32 mkdir: ENOSYS", "x32 getpid: ENOSYS"]);
}

/// The calls of C libraries for 32-bit x86: each sub-call of socketcall does what the direct call does, and is judged as that.
#[test]
fn sockets_by_the_multiplexer() {
    let env = Env::new();
    let Some(program) = env.program32("socketcall") else { return };
    // Its datagrams go to the same number, which nobody else is to have.
    let both = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let datagrams = std::net::UdpSocket::bind(listener.local_addr().unwrap()).ok()?;
        Some((listener, datagrams))
    };
    let (listener, _datagrams) = (0..20).find_map(|_| both()).expect("a port that is free for both");
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let run = env.run(&program).args([port.as_str(), "-"]);
    let native = run.output().succeeded();
    assert!(native.stdout.contains("sendmmsg: 2\n") && native.stdout.contains("0.25"), "{native:#?}");
    assert!(listener.accept().is_ok() && listener.accept().is_ok());
    // Mediated, whether an address can be refused or not.
    for rule in ["core/sandbox/network:local", "core/sandbox/write:allow"] {
        let inside = run.clone().rule(rule).output().succeeded();
        same_lines(&native.stdout, &inside.stdout);
        assert!(inside.violations.is_empty(), "{inside:#?}");
        assert!(listener.accept().is_ok() && listener.accept().is_ok());
    }
    // What is bound inside may be connected to, and nothing else.
    let own = ["core/sandbox/network:deny", "allowlist/network/bind+LOOPBACK"];
    let inside = run.clone().rule(own[0]).rule(own[1]).output().succeeded();
    let differ: Vec<_> = native.stdout.lines().zip(inside.stdout.lines()).filter(|(a, b)| a != b).collect();
    let refused = |name: &str| format!("{name}: ECONNREFUSED");
    let refused = ["direct", "connect", "sendto", "sendmmsg"].map(refused);
    assert_eq!(
        differ.iter().map(|(_, b)| *b).collect::<Vec<_>>(),
        [&refused[..], &["sendmmsg: -1".into()]].concat()
    );
    assert!(listener.accept().is_err());
    let calls: Vec<_> = inside.violations.iter().map(|violation| &violation["syscall"]).collect();
    assert_eq!(calls, ["connect", "connect", "sendto", "sendmmsg"]);
    // A name in the file system is a write, also where only writing is sandboxed and locked.
    let inside = run.rule(own[0]).output().succeeded();
    assert!(inside.stdout.contains("bind: EADDRNOTAVAIL\nlisten: EADDRNOTAVAIL\n"), "{inside:#?}");
}

/// The arguments in memory are another thread's to change. Seen to fail with "continue" as the answer to what is allowed.
#[test]
fn arguments_of_the_multiplexer_that_change() {
    let env = Env::new();
    let Some(program) = env.program32("socketcall") else { return };
    let server = || {
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        let port = server.local_addr().unwrap().port().to_string();
        (server, port)
    };
    let ((allowed, port), (other, other_port)) = (server(), server());
    let received =
        |server: &std::net::UdpSocket| std::iter::from_fn(|| server.recv(&mut [0; 9]).ok()).count();
    let run = env.run(&program).args([port.as_str(), &other_port, "race"]);
    let raced = || {
        assert_eq!(run.output().succeeded().stdout, "sent\n");
        received(&allowed) > 0 && received(&other) > 0
    };
    assert!(common::is_raced(raced), "the race is not run");
    let rule = format!("allowlist/network/connect+inet:127.0.0.1@{port}");
    let inside =
        run.rule("core/sandbox/network:deny").rule(rule).rule("filter/network+LOOPBACK").output().succeeded();
    assert_eq!(inside.stdout, "sent\n");
    assert!(received(&allowed) > 0);
    assert_eq!(received(&other), 0, "the kernel read other arguments than were judged");
}

/// Random calls, see differential.rs.
#[test]
fn random_calls_are_the_same() {
    let env = Env::new();
    let Some(program) = env.program32("fuzz_fs") else { return };
    for seed in 0..4 {
        let run =
            |name: &str| env.run(&program).arg(seed.to_string()).arg("400").arg(env.path(name)).arg("-");
        let native = run(&format!("ok/n{seed}")).output().succeeded();
        let inside = run(&format!("ok/s{seed}")).mediated().output().succeeded();
        let differ = native.stdout.lines().zip(inside.stdout.lines()).find(|(a, b)| a != b);
        assert_eq!(differ, None, "seed {seed}");
        for name in [format!("ok/n{seed}"), format!("ok/s{seed}")] {
            env.run("chmod").args(["-R", "u+rwx"]).arg(env.path(&name)).output();
        }
    }
}
