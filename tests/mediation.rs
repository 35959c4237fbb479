//! Complete mediation: a call that is missing in the filter meets the second lock.
//!
//! Each call that changes something is made where the rules refuse it, with its row left out of the filter, as if it had been
//! forgotten. (With the row, files.rs sees it refused by the broker.) What the second lock has no right for is listed here, so that
//! the list cannot grow unseen.
//!
//! Seen to fail with `Truncate`, and with `MakeSock`, left out of the ruleset.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use std::io::Read;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::{Command, Stdio};

use common::Env;
use sydbox::{Sandbox, Status};

/// The calls of programs/call.c that Landlock has no right for. They go through when the filter forgets them.
const ONLY_THE_BROKER: [&str; 33] = [
    "chmod",
    "chmod-link",
    "fchmod",
    "fchmod-dir",
    "fchmodat",
    "fchmodat2",
    "fchmodat2-empty",
    "chown",
    "lchown",
    "fchown",
    "fchownat",
    "fchownat-empty",
    "utime",
    "utime-now",
    "utimes",
    "futimesat",
    "futimesat-fd",
    "utimensat",
    "utimensat-nofollow",
    "utimensat-now",
    "utimensat-empty",
    "futimens",
    "setxattr",
    "setxattr-empty",
    "lsetxattr",
    "fsetxattr",
    "setxattrat",
    "removexattr",
    "lremovexattr",
    "fremovexattr",
    "removexattrat",
    "file_setattr",
    "file_setattr-fd",
];
/// The same for commands of ioctl, whose row is one.
const ONLY_THE_BROKER_IOCTL: [&str; 2] = ["FS_IOC_SETFLAGS", "FS_IOC_FSSETXATTR"];
/// A descriptor that can neither read nor write, but with which ioctl works. It changes nothing.
const NEITHER_READS_NOR_WRITES: &str = "open-mode-3";
/// These change nothing, and say what the kernel says.
const QUESTIONS: [&str; 4] = ["access", "access-dir", "faccessat", "faccessat2"];

/// Runs a program in a sandbox without one call in its filter; what it prints.
fn run(rules: &[&str], gap: &str, program: &Path, words: &[&str]) -> String {
    let mut builder = Sandbox::builder();
    for rule in rules {
        builder.magic(rule).unwrap();
    }
    builder.leave_gap(gap);
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = builder.build().unwrap().spawn(command).unwrap();
    let mut text = String::new();
    child.take_stdout().unwrap().read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    text.trim().to_owned()
}

/// The row of the filter's table that a call of programs/call.c is.
fn row(name: &str) -> &str {
    match name.split('-').next().unwrap() {
        "futimens" => "utimensat",
        "FS_IOC_SETFLAGS" | "FS_IOC_FSSETXATTR" => "ioctl",
        first => first,
    }
}

/// The ABI of Landlock that knows what the call does.
fn needed(name: &str) -> u32 {
    match name {
        "truncate" | "truncate-grow" | "open-rdonly-trunc" => 3,
        _ => 1,
    }
}

fn backstop() -> Option<u32> {
    let abi = Status::detect().landlock_abi();
    if abi == 0 {
        eprintln!("skipped: there is no Landlock here");
    }
    Some(abi).filter(|abi| *abi > 0)
}

#[test]
fn the_second_lock_refuses_what_the_filter_forgot() {
    let Some(abi) = backstop() else { return };
    let env = Env::new();
    let (program, tree) = (env.program("call"), env.program("tree"));
    let list = env.run(&program).arg("--list").output().succeeded().stdout;
    let dir = env.path("no/tree");
    let make = || {
        let _ = std::fs::remove_dir_all(&dir);
        env.run(&tree).arg("--make").arg(&dir).output().succeeded();
    };
    let look = || env.run(&tree).arg("-t").arg(&dir).output().succeeded().stdout;
    let mut wrong = Vec::new();
    let mut unlocked = Vec::new();
    make();
    for name in list.lines() {
        if abi < needed(name) {
            eprintln!("skipped: {name} needs ABI {} of Landlock, this is {abi}", needed(name));
            continue;
        }
        let before = look();
        let said = run(&["core/sandbox/write:deny"], row(name), &program, &[name, dir.to_str().unwrap()]);
        let changed = before != look();
        if ["ENOSYS", "EOPNOTSUPP", "ENOTTY"].contains(&said.as_str()) {
            eprintln!("skipped: {name} gives {said} here");
        } else if QUESTIONS.contains(&name) {
            if said != "0" || changed {
                wrong.push(format!("{name}: {said}"));
            }
        } else if name == NEITHER_READS_NOR_WRITES {
            if !said.starts_with("descriptor") || changed {
                wrong.push(format!("{name}: {said}"));
            }
        } else if ONLY_THE_BROKER.contains(&name) || ONLY_THE_BROKER_IOCTL.contains(&name) {
            unlocked.push(name);
            if said != "0" {
                wrong.push(format!("{name}: {said}: take it off the list"));
            }
        } else if said != "EACCES" || changed {
            wrong.push(format!("{name}: {said}{}", if changed { ", and it did something" } else { "" }));
        }
        if changed {
            make();
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    println!("only the broker stands before: {}", unlocked.join(" "));
}

/// With the second lock the calls are refused silently: no violation tells of a filter that has a hole.
#[test]
fn a_socket_in_the_file_system() {
    if backstop().is_none() {
        return;
    }
    let env = Env::new();
    let path = env.text("no/socket");
    let program = env.program("gap");
    assert_eq!(run(&["core/sandbox/network:deny"], "bind", &program, &["bind-unix", &path]), "EACCES");
    assert!(!env.path("no/socket").exists());
    assert_eq!(env.run(&program).args(["bind-unix", &path]).output().stdout.trim(), "0");
}

#[test]
fn addresses() {
    let Some(abi) = backstop() else { return };
    if abi < 4 {
        return eprintln!("skipped: ABI 4 of Landlock knows the network, this is {abi}");
    }
    if !Status::detect().has("pidfd_getfd") {
        return eprintln!("skipped: without pidfd_getfd the network has no second lock");
    }
    let env = Env::new();
    let program = env.program("gap");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let rules = ["core/sandbox/network:deny"];
    for (gap, words, native) in
        [("bind", ["bind-tcp", "0"], "0"), ("connect", ["connect-tcp", port.as_str()], "0")]
    {
        assert_eq!(env.run(&program).args(words).output().stdout.trim(), native);
        assert_eq!(run(&rules, gap, &program, &words), "EACCES", "{words:?}");
    }
    // Natively it was there; then nobody came.
    listener.accept().unwrap();
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err());
}

#[test]
fn abstract_sockets_outside() {
    let Some(abi) = backstop() else { return };
    if abi < 6 {
        return eprintln!("skipped: ABI 6 of Landlock knows scopes, this is {abi}");
    }
    if !Status::detect().has("pidfd_getfd") {
        return eprintln!("skipped: without pidfd_getfd the network has no second lock");
    }
    let env = Env::new();
    let program = env.program("gap");
    let name = format!("sydbox-test-{}", std::process::id());
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    assert_eq!(env.run(&program).args(["connect-abstract", &name]).output().stdout.trim(), "0");
    listener.accept().unwrap();
    let said = run(&["core/sandbox/network:deny"], "connect", &program, &["connect-abstract", &name]);
    assert_eq!(said, "EPERM");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err());
}

/// Signals that stay in the kernel while the second lock keeps them in the tree.
#[test]
fn signals_to_processes_outside() {
    let Some(abi) = backstop() else { return };
    if abi < 6 {
        return eprintln!("skipped: ABI 6 of Landlock knows scopes, this is {abi}");
    }
    let env = Env::new();
    let program = env.program("gap");
    let mut outside = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let pid = outside.id().to_string();
    for gap in ["kill", "tkill", "tgkill", "rt_sigqueueinfo", "pidfd_send_signal"] {
        for words in [["kill", pid.as_str()], ["tkill", &pid], ["tgkill", &pid]] {
            assert_eq!(run(&["core/sandbox/write:deny"], gap, &program, &words), "EPERM", "{gap} {words:?}");
        }
    }
    assert!(outside.try_wait().unwrap().is_none());
    assert_eq!(env.run(&program).args(["kill", &pid]).output().stdout.trim(), "0");
    assert!(!outside.wait().unwrap().success());
}
