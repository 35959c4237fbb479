//! Job control and terminals: what a shell does natively it does in a sandbox.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use common::{Env, has};

/// Jobs of a script, without a terminal.
const JOBS: &str = r#"
    set -m
    mkfifo ok/fifo
    cat <ok/fifo &
    exec 3>ok/fifo
    kill -STOP %1
    while ! jobs | grep -q Stopped; do :; done; echo stopped
    bg %1 >/dev/null
    while ! jobs | grep -q Running; do :; done; echo running
    echo line >&3; exec 3>&-; wait %1; echo "ended $?"
    sh -c 'kill -STOP $$; echo continued' &
    while ! jobs | grep -q Stopped; do :; done
    fg >/dev/null; echo "foreground $?"
    cat ok/fifo & kill -TERM %%; wait %%; echo "killed $?"
    (trap 'echo trapped; exit 9' INT; kill -INT $BASHPID); echo "subshell $?"
"#;

#[test]
fn jobs_of_a_script() {
    if !has("bash") {
        return;
    }
    let run = |sandboxed: bool| {
        let env = Env::new();
        // Without those that are ignored in the background.
        let run = env.run("env").args(["--default-signal", "bash", "-c", JOBS]);
        let run = if sandboxed { run.sandboxed().rule("allowlist/write+/dev/***") } else { run };
        run.output().succeeded().stdout
    };
    let native = run(false);
    for line in ["stopped", "running", "ended 0", "continued", "foreground 0", "killed 143", "subshell 9"] {
        assert!(native.lines().any(|said| said == line), "{line}: {native}");
    }
    assert_eq!(native, run(true));
}

/// A shell at a terminal of its own, and somebody who types: each entry waits for what stands before it.
const TYPIST: &str = r#"
import fcntl, os, pty, select, signal, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    # Which are ignored in the background.
    for key in signal.SIGINT, signal.SIGQUIT:
        signal.signal(key, signal.SIG_DFL)
    os.execvp(sys.argv[2], sys.argv[2:])
seen = b""
def wait(text):
    global seen
    while text.encode() not in seen:
        ready, _, _ = select.select([terminal], [], [], 30)
        assert ready, "no %r in %r" % (text, seen)
        seen += os.read(terminal, 65536)
    seen = seen.split(text.encode(), 1)[1]
    print(text.strip())
def type(keys):
    os.write(terminal, keys.encode())
exec(sys.argv[1])
try:
    while os.read(terminal, 65536):
        pass
except OSError:
    pass
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

const SHELL: &str = r#"
type("stty -echo; PS1=$'\\x40 '\n"); wait("@ ")
type("cat\n"); type("through cat\n"); wait("through cat"); type("\x03"); wait("@ ")
type("echo rc=$?\n"); wait("rc=130"); wait("@ ")
type("cat\n"); type("again\n"); wait("again"); type("\x1a"); wait("Stopped"); wait("@ ")
type("jobs\n"); wait("Stopped"); wait("@ "); type("fg\n"); wait("cat"); type("line\n"); wait("line"); type("\x04"); wait("@ ")
type("read -s -p 'password: ' word; echo; echo \"got $word\"\n"); wait("password: "); type("secret\n"); wait("got secret"); wait("@ ")
type("trap 'echo resized' WINCH; echo set\n"); wait("set"); wait("@ ")
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0)); type("\n"); wait("resized"); wait("@ ")
type("stty size; tty | cut -c1-9\n"); wait("33 77"); wait("/dev/pts/"); wait("@ ")
type("exit 5\n")
"#;

#[test]
fn a_shell_at_a_terminal() {
    if !has("bash") {
        return;
    }
    let env = Env::new();
    let run = |words: &[&str]| {
        let run = env.run("python3").args(["-c", TYPIST, SHELL]).args(words).set("TERM", "dumb");
        run.set("HOME", env.path("ok")).set("SHELL", "/bin/bash").output().succeeded().stdout
    };
    let shell = ["bash", "--norc", "--noprofile", "-i"];
    let native = run(&shell);
    assert!(native.ends_with("/dev/pts/\n@\n5\n"), "{native}");
    let sydbox = common::sydbox();
    let sydbox = sydbox.to_str().unwrap();
    assert_eq!(run(&[&[sydbox, "-q", "-p", "default", "--"], &shell[..]].concat()), native);
    // Without a command it is the user's shell, under the same profile.
    assert_eq!(run(&[sydbox, "-q"]), native);
}

/// A command that stops itself, or its whole group, as editors do: the shell that started it is told, and lets it go on.
const JOB: &str = r#"
sydbox = os.environ["JOB"]
type("stty -echo; PS1=$'\\x40 '\n"); wait("@ ")
# An editor has the terminal to itself, and stops its group when the key is typed.
type(sydbox + " sh -c 'kill -TSTP 0; echo on'\n"); wait("Stopped"); wait("@ ")
type("jobs\n"); wait("Stopped"); wait("@ "); type("fg\n"); wait("on"); wait("@ ")
type(sydbox + " sh -c 'kill -STOP $$; echo on'\n"); wait("Stopped"); wait("@ "); type("fg\n"); wait("on"); wait("@ ")
# A shell in its own group, which has taken the terminal.
type(sydbox + " bash --norc --noprofile -i\n"); type("PS1=$'\\x2e '\n"); wait(". "); type("suspend\n"); wait("Stopped"); wait("@ ")
type("fg\n"); type("echo inner\n"); wait("inner"); wait(". "); type("exit 3\n"); wait("@ "); type("echo rc=$?\n"); wait("rc=3"); wait("@ ")
type("exit 5\n")
"#;

/// Seen to hang without `Job::stop`.
#[test]
fn a_command_that_stops_itself() {
    if !has("bash") {
        return;
    }
    let env = Env::new();
    let run = |job: String| {
        let run = env.run("python3").args(["-c", TYPIST, JOB, "bash", "--norc", "--noprofile", "-i"]);
        run.set("TERM", "dumb").set("HOME", env.path("ok")).set("JOB", job).output().succeeded().stdout
    };
    let native = run("env".into());
    assert!(native.ends_with("@\n5\n"), "{native}");
    for profile in ["-p default", "-N", "-l"] {
        assert_eq!(run(format!("{} -q {profile} --", common::sydbox().display())), native, "{profile}");
    }
}

/// Who has no terminal is told so, and that is no violation: programs try it.
#[test]
fn a_terminal_that_is_not_there() {
    let env = Env::new();
    let run = env.run("setsid").args(["-w", "sh", "-c", "(: >/dev/tty) 2>&1; (: >>/dev/tty) 2>&1; exit 0"]);
    let native = run.output().succeeded().stdout;
    assert_eq!(native.matches("No such device or address").count(), 2, "{native}");
    let done = run.sandboxed().output().succeeded();
    assert_eq!((done.stdout, done.violations.len()), (native, 0));
}
