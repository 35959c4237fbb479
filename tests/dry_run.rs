//! A dry run decides and reports, and what happens is what would have happened without a sandbox.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use common::Env;

/// One call of each family, and what came of it.
const FAMILIES: &str = r#"
import os, signal, socket, subprocess, sys
os.chdir(sys.argv[1]); victim, port = int(sys.argv[2]), int(sys.argv[3])
def say(name, call):
    try:
        call(); print(name, "done")
    except OSError as error:
        print(name, error.strerror)
def make(name, flags=os.O_WRONLY | os.O_CREAT):
    os.close(os.open(name, flags, 0o644))
def with_socket(family, kind, *calls):
    with socket.socket(family, kind) as one:
        for name, *arguments in calls:
            getattr(one, name)(*arguments)
def unix(address):
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as other:
        one.bind(address); one.listen(); other.connect(address)
INET, TCP, UDP = socket.AF_INET, socket.SOCK_STREAM, socket.SOCK_DGRAM
say("creat", lambda: make("a")); say("truncating", lambda: make("a", os.O_RDWR | os.O_TRUNC))
say("mkdir", lambda: os.mkdir("d")); say("rmdir", lambda: os.rmdir("d")); say("link", lambda: os.link("a", "b"))
say("symlink", lambda: os.symlink("a", "s")); say("rename", lambda: os.rename("b", "c"))
say("unlink", lambda: os.unlink("c")); say("mkfifo", lambda: os.mkfifo("f")); say("chmod", lambda: os.chmod("a", 0o600))
say("fchmod", lambda: os.fchmod(os.open("a", 0), 0o640)); say("chown", lambda: os.chown("a", os.getuid(), -1))
say("utime", lambda: os.utime("a", (1, 1))); say("truncate", lambda: os.truncate("a", 3))
say("unnamed", lambda: os.close(os.open(".", os.O_TMPFILE | os.O_RDWR))); say("open", lambda: make("a", os.O_RDONLY))
say("list", lambda: os.listdir(".")); say("readlink", lambda: os.readlink("s"))
say("exec", lambda: subprocess.run(["/bin/true"], check=True))
say("connect", lambda: with_socket(INET, TCP, ["connect", ("127.0.0.1", port)]))
say("bind", lambda: with_socket(INET, TCP, ["bind", ("127.0.0.1", 0)], ["listen"]))
say("sendto", lambda: with_socket(INET, UDP, ["sendto", b"x", ("127.0.0.1", port)]))
say("unix", lambda: unix("sock")); say("abstract", lambda: unix("\0%s" % sys.argv[1]))
say("kill", lambda: os.kill(victim, signal.SIGCONT))
say("pidfd", lambda: signal.pidfd_send_signal(os.pidfd_open(victim), signal.SIGCONT))
"#;

/// Seen to fail with signals left to the kernel's scopes, which refuse them and say nothing.
#[test]
fn nothing_that_rules_decide_is_refused() {
    let env = Env::new();
    let mut victim = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let run = |dir: &str| {
        env.run("python3").args(["-c", FAMILIES, &env.text(dir), &victim.id().to_string(), &port])
    };
    let native = run("ok").output().succeeded();
    let mut refusing = run("no");
    // Not all that is read and executed: a flood of reports would be cut short.
    for rule in ["exec:allow", "read:allow", "write:deny", "network:deny"] {
        refusing = refusing.rule(format!("core/sandbox/{rule}"));
    }
    let refusing = refusing.rule(format!("denylist/read+{}", env.text("no/***")));
    let program = std::path::Path::new("/bin/true").canonicalize().unwrap();
    let refusing = refusing.rule(format!("denylist/exec+{}", program.display()));
    let dry = refusing.option("--dry-run").output().succeeded();
    assert_eq!(native.stdout, dry.stdout);
    assert!(native.stdout.lines().all(|line| line.ends_with(" done")), "{native:?}");
    let calls: BTreeSet<&str> = dry.violations.iter().filter_map(|one| one["syscall"].as_str()).collect();
    for call in [
        "open",
        "mkdir",
        "rmdir",
        "link",
        "symlink",
        "rename",
        "unlink",
        "mknod",
        "chmod",
        "chown",
        "utime",
        "truncate",
        "execve",
        "connect",
        "bind",
        "sendto",
        "kill",
        "pidfd_send_signal",
    ] {
        assert!(calls.contains(call), "{call}: {calls:?}");
    }
    drop(victim.stdin.take());
    assert!(victim.wait().unwrap().success());
}

/// All but the supervisor, without whom nothing would be decided.
///
/// Seen to fail with signals to it let through.
#[test]
fn the_supervisor_survives() {
    let env = Env::new();
    let script = "kill -0 $PPID && echo reached; kill -KILL $PPID; kill -STOP $PPID; echo on";
    assert_eq!(env.sh("kill -0 $PPID && echo reached").output().succeeded().stdout, "reached\n");
    let done = env.sh(script).option("--dry-run").output().succeeded();
    assert_eq!(done.stdout, "on\n");
    assert!(!done.violations.is_empty());
    // Nor is it reached by a descriptor that comes to be its own.
    let script = r"
import ctypes, os, signal, sys, threading
other, parent = os.pidfd_open(int(sys.argv[1])), os.pidfd_open(os.getppid())
place = os.dup(other); flips = 0
def flip():
    global flips
    while True: os.dup2(parent, place); os.dup2(other, place); flips += 1
threading.Thread(target=flip, daemon=True).start()
sys.setswitchinterval(1e-6); tries = sent = 0
while tries < 3000 or flips < 1000:
    tries += 1
    try: signal.pidfd_send_signal(place, signal.SIGURG if len(sys.argv) > 2 else signal.SIGKILL); sent += 1
    except OSError: pass
print('sent', sent > 0, flush=True); os._exit(0)
";
    let mut other = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let run = env.run("python3").args(["-c", script]).arg(other.id().to_string());
    // What would end it outside, reaches it outside.
    assert_eq!(run.clone().arg("harmless").output().succeeded().stdout, "sent True\n");
    let done = run.option("--dry-run").output();
    assert_eq!(done.status.code(), Some(0), "{done:#?}");
    assert_eq!(other.wait().unwrap().signal(), Some(libc::SIGKILL));
}
