//! Signals, identity, limits and restrictions.

#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};

use common::{Env, is_root};
use sydbox::Sandbox;

/// A process outside of every sandbox that ends when its input does.
struct Victim(Child);

impl Victim {
    fn new() -> Self {
        Self(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }

    /// Whether it ends as it would if nobody had sent it a signal.
    fn ends_well(mut self) -> bool {
        drop(self.0.stdin.take());
        self.0.wait().unwrap().success()
    }
}

const SIGNALS: &str = r#"
import ctypes, os, signal, sys
victim = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
def say(name, call):
    try:
        result = call()
        print(name, "done" if result in (None, 0) else os.strerror(ctypes.get_errno()))
    except OSError as error:
        print(name, error.strerror)
def queue(call, *ids):
    info = ctypes.create_string_buffer(128)
    info[0:4] = (10).to_bytes(4, "little")
    info[8:12] = (-1).to_bytes(4, "little", signed=True)
    return lambda: libc.syscall(call, *ids, 10, info)
say("kill", lambda: os.kill(victim, signal.SIGUSR1))
say("tkill", lambda: libc.syscall(200, victim, 10))
say("tgkill", lambda: libc.syscall(234, victim, victim, 10))
say("sigqueue", queue(129, victim))
say("tgsigqueue", queue(297, victim, victim))
def by_pidfd():
    signal.pidfd_send_signal(os.pidfd_open(victim), signal.SIGUSR1)
say("pidfd", by_pidfd)
def by_proc():
    signal.pidfd_send_signal(os.open("/proc/%d" % victim, os.O_RDONLY | os.O_DIRECTORY), signal.SIGUSR1)
say("proc", by_proc)
"#;

/// What is said of a signal to a process outside, natively and in a sandbox that stands in for the kernel's scopes.
///
/// With the rows of `SIGNALS` set to allow and no scope, the victim dies in the sandbox as well.
#[test]
fn signals_stay_in_the_tree() {
    let names = ["kill", "tkill", "tgkill", "sigqueue", "tgsigqueue", "pidfd", "proc"];
    for sandboxed in [false, true] {
        for scopes in [true, false] {
            let victim = Victim::new();
            let mut command = Command::new("python3");
            command.args(["-c", SIGNALS, &victim.pid()]).stdout(Stdio::piped()).process_group(0);
            let output = if sandboxed {
                let mut builder = Sandbox::builder();
                if !scopes {
                    builder.without_scopes();
                }
                let mut child = builder.build().unwrap().spawn(command).unwrap();
                let output = std::io::read_to_string(child.take_stdout().unwrap()).unwrap();
                child.wait().unwrap();
                output
            } else {
                String::from_utf8(command.output().unwrap().stdout).unwrap()
            };
            let lines: Vec<&str> = output.lines().collect();
            assert_eq!(lines.len(), names.len(), "{output}");
            for (line, name) in lines.iter().zip(names) {
                let (said, what) = line.split_once(' ').unwrap();
                assert_eq!((said, what == "done"), (name, !sandboxed), "scopes {scopes}: {line}");
            }
            assert_eq!(victim.ends_well(), sandboxed, "scopes {scopes}");
        }
    }
}

/// kill(2) of one's own processes, of groups and of all, in a group of the sandbox's own.
#[test]
fn signals_in_the_tree_arrive() {
    let script = r#"
        trap "echo term" TERM
        sh -c 'kill -TERM $$'; echo "child $?"
        kill -0 $$ && echo "self"
        sh -c 'trap "" TERM; kill -TERM 0' ; wait 2>/dev/null; echo "group"
        kill -TERM -$$; echo "named group"
        kill -0 99999999 2>/dev/null || echo "nobody"
    "#;
    let expected = "child 143\nself\nterm\ngroup\nterm\nnamed group\nnobody\n";
    for scopes in [None, Some(true), Some(false)] {
        let env = Env::new();
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(env.path("ok")).stdout(Stdio::piped()).process_group(0);
        let output = match scopes {
            None => String::from_utf8(command.output().unwrap().stdout).unwrap(),
            Some(scopes) => {
                let mut builder = Sandbox::builder();
                if !scopes {
                    builder.without_scopes();
                }
                let mut child = builder.build().unwrap().spawn(command).unwrap();
                let output = std::io::read_to_string(child.take_stdout().unwrap()).unwrap();
                child.wait().unwrap();
                output
            }
        };
        assert_eq!(output, expected, "{scopes:?}");
    }
}

/// The supervisor is in the same process group and session, of the same user, and survives what is sent to all.
#[test]
fn the_supervisor_survives_signals_to_everybody() {
    let env = Env::new();
    let script = "trap '' TERM; kill -TERM $PPID; kill -KILL $PPID; kill -STOP $PPID; kill -TERM 0; \
                  for task in /proc/$PPID/task/*; do kill -KILL ${task##*/}; done; echo here";
    let mut command = Command::new(common::sydbox());
    command.args(["-q", "-p", "off", "--", "sh", "-c", script]).current_dir(env.path("ok"));
    let output = command.process_group(0).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "here\n", "{output:?}");
    assert!(output.status.success(), "{:?} {:?}", output.status, output.status.signal());
}

#[test]
fn limits_hold_for_the_tree() {
    let env = Env::new();
    let script = "ulimit -c; ulimit -t; ulimit -n; ulimit -v; ulimit -f; ulimit -n 99 2>/dev/null; ulimit -n";
    let run = env.sh(script);
    let limited = run
        .clone()
        .rule("core/limit/cpu:1000")
        .rule("core/limit/files:64")
        .rule("core/limit/memory:2G")
        .rule("core/limit/filesize:1M");
    assert_eq!(limited.output().succeeded().stdout, "0\n1000\n64\n2097152\n2048\n64\n");
    assert_ne!(run.output().stdout, "0\n1000\n64\n2097152\n2048\n64\n");
    // Of a file that is written, by a program that is told so.
    let big = env.sh("head -c 2000000 /dev/zero >ok/big; echo $?");
    assert_eq!(big.output().succeeded().stdout, "0\n");
    assert_ne!(big.rule("core/limit/filesize:1M").output().stdout, "0\n");
    let core = env.sh("ulimit -c").rule("core/limit/core:512");
    assert_eq!(core.output().succeeded().stdout, "1\n");
    for wrong in
        ["core/limit/cpu:-1", "core/limit/cpu:1T", "core/limit/memory:99999999999G", "core/limit/stack:1"]
    {
        assert_eq!(env.sh("true").rule(wrong).output().status.code(), Some(125), "{wrong}");
    }
}

#[test]
fn shared_memory_and_file_control() {
    let env = Env::new();
    let shared = "import mmap; mmap.mmap(-1, 4096, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)";
    let private = "import mmap; mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)";
    let control = "import fcntl; fcntl.fcntl(0, 1036)";
    let harmless = "import fcntl; fcntl.fcntl(0, fcntl.F_GETFD)";
    let python = |script| env.run("python3").args(["-c", script]);
    for (script, rule, refused) in [
        (shared, "core/restrict/shared_memory_writable:true", true),
        (private, "core/restrict/shared_memory_writable:true", false),
        (harmless, "core/restrict/file_control:true", false),
    ] {
        assert!(python(script).output().status.success(), "{script}");
        assert_eq!(python(script).rule(rule).output().status.success(), !refused, "{script}");
    }
    // F_SET_RW_HINT without an argument is EFAULT natively, and EPERM where only harmless commands are wanted.
    assert!(python(control).output().stderr.contains("Bad address"));
    let refused = python(control).rule("core/restrict/file_control:true").output();
    assert!(refused.stderr.contains("Operation not permitted"), "{refused:?}");
}

/// Away from system ids, never to one. With the check of `identity_change` left out, user 7 is granted.
#[test]
fn ids_change_away_from_the_systems() {
    if !is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let env = Env::new();
    let script = |change: &str| format!("import os; os.{change}; print(os.getresuid(), os.getresgid())");
    let run = |change: &str| env.run("python3").args(["-c", &script(change)]);
    for (change, refused) in [
        ("setuid(7)", true),
        ("setgid(5)", true),
        ("setresuid(1000, 7, 1000)", true),
        ("setuid(65534)", false),
        ("setresuid(-1, 65534, -1)", false),
        ("seteuid(65534); os.seteuid(0)", false),
        ("setuid(0)", false),
        ("setgid(1000)", false),
    ] {
        let native = run(change).output().succeeded();
        let inside = run(change).mediated().output();
        assert_eq!(inside.status.success(), !refused, "{change}: {inside:?}");
        if refused {
            assert_eq!(inside.violations.len(), 1, "{change}");
            let open = run(change).mediated().rule("core/restrict/identity_change:false").output();
            assert_eq!(open.succeeded().stdout, native.stdout);
        } else {
            assert_eq!(inside.stdout, native.stdout);
        }
    }
}
