//! What the tests of sockets share: scripts in Python, with and without the sandbox, and servers on loopback.
#![allow(dead_code)]
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

#[path = "../limit/mod.rs"]
mod limit;
use limit::Limit;
#[allow(unused_imports)]
pub use limit::{becomes, is_raced};

/// What every script begins with.
pub const PRELUDE: &str = include_str!("../programs/net.py");

/// The interpreter itself, and not a script that looks for it.
pub fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let ask = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
        String::from_utf8(ask.stdout).unwrap().trim().into()
    })
}

pub fn sydbox() -> OsString {
    std::env::var_os("SYDBOX_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_sydbox").into())
}

/// What a script said, line by line, and what sydbox said of it.
#[derive(Debug)]
pub struct Said {
    pub lines: Vec<String>,
    pub log: String,
    pub code: Option<i32>,
}

pub fn said(command: Command) -> Said {
    said_with(command, &[])
}

/// The same with these variables in the environment.
pub fn said_with(mut command: Command, variables: &[(&str, &str)]) -> Said {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SYDBOX_") {
            command.env_remove(name);
        }
    }
    command.env("SYDBOX_NO_CONFIG", "1").envs(variables.iter().copied()).process_group(0);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let limit = Limit::of_group(&child);
    let output = child.wait_with_output().unwrap();
    assert!(limit.was_kept(), "{command:?} hangs");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!log.contains("panicked") && !log.contains("this is a bug"), "{log}");
    let lines = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    Said { lines, log, code: output.status.code() }
}

pub fn script(command: &mut Command, script: &str, arguments: &[&str]) {
    command.arg("-c").arg([PRELUDE, script].concat()).args(arguments);
}

/// The command line of a script, in a sandbox if there are commands for one: for a script to run it.
pub fn words(magic: &[&str], text: &str, arguments: &[&str]) -> Vec<String> {
    let mut command = if magic.is_empty() { Command::new(python()) } else { sandboxed(magic) };
    script(&mut command, text, arguments);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_str().unwrap().to_owned()).collect()
}

/// The interpreter in a sandbox that these commands describe.
fn sandboxed(magic: &[&str]) -> Command {
    let mut command = Command::new(sydbox());
    command.args(magic.iter().flat_map(|magic| ["-m", *magic])).arg("--").arg(python());
    command
}

/// Runs a script without the sandbox.
pub fn native(text: &str, arguments: &[&str]) -> Said {
    let mut command = Command::new(python());
    script(&mut command, text, arguments);
    said(command)
}

/// Runs a script in a sandbox that these commands describe.
pub fn inside(magic: &[&str], text: &str, arguments: &[&str]) -> Said {
    let mut command = sandboxed(magic);
    script(&mut command, text, arguments);
    said(command)
}

pub const DENY: &str = "core/sandbox/network:deny";
pub const LOCAL: &str = "core/sandbox/network:local";
pub const ALLOW: &str = "core/sandbox/network:allow";
pub const BIND: &str = "allowlist/network/bind+LOOPBACK";

impl Said {
    #[track_caller]
    pub fn expect(&self, lines: &[&str]) -> &Self {
        assert_eq!(self.lines, lines, "{}", self.log);
        self
    }

    #[track_caller]
    pub fn violations(&self, count: usize) -> &Self {
        assert_eq!(self.log.matches("Access Violation").count(), count, "{}", self.log);
        self
    }

    #[track_caller]
    pub fn reports(&self, text: &str) -> &Self {
        assert!(self.log.contains(text), "{text} is missing:\n{}", self.log);
        self
    }
}

/// A server on loopback that takes connections and lets go of them.
pub fn tcp_server() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    (listener, port)
}

/// Whether there is IPv6; if not, a test that needs it says so.
pub fn has_ipv6() -> bool {
    let has = TcpListener::bind("[::1]:0").is_ok();
    if !has {
        eprintln!("skipped: there is no IPv6");
    }
    has
}

/// So late no datagram comes any more.
pub const LATE: Duration = Duration::from_millis(200);

pub fn udp_server() -> (UdpSocket, String) {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(LATE)).unwrap();
    let port = server.local_addr().unwrap().port().to_string();
    (server, port)
}

pub fn datagrams(server: &UdpSocket) -> usize {
    let mut buf = [0; 64];
    std::iter::from_fn(|| server.recv(&mut buf).ok()).count()
}

/// A script that says something and waits, while something happens outside; what it said then.
pub fn meanwhile(magic: Option<&[&str]>, text: &str, arguments: &[&str], happens: impl FnOnce(&str)) -> Said {
    let mut command = magic.map_or_else(|| Command::new(python()), sandboxed);
    script(&mut command, text, arguments);
    command.env("SYDBOX_NO_CONFIG", "1").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.process_group(0).spawn().unwrap();
    let limit = Limit::of_group(&child);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    happens(line.trim());
    drop(child.stdin.take());
    let lines = output.lines().map(Result::unwrap).collect();
    let done = child.wait_with_output().unwrap();
    assert!(limit.was_kept(), "{command:?} hangs");
    let log = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(!log.contains("panicked") && !log.contains("this is a bug"), "{log}");
    Said { lines, log, code: done.status.code() }
}
