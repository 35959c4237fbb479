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
import fcntl, os, pty, signal, struct, sys, termios
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

/// What the typist saw in a shell where `job` is before each command.
fn typed(env: &Env, script: &str, job: &str) -> String {
    let run = env.run("python3").args(["-c", TYPIST, script, "bash", "--norc", "--noprofile", "-i"]);
    run.set("TERM", "dumb").set("HOME", env.path("ok")).set("JOB", job).output().succeeded().stdout
}

/// Seen to hang without `Job::stop`.
#[test]
fn a_command_that_stops_itself() {
    if !has("bash") {
        return;
    }
    let env = Env::new();
    let native = typed(&env, JOB, "env");
    assert!(native.ends_with("@\n5\n"), "{native}");
    for profile in ["-p default", "-N", "-l"] {
        let job = format!("{} -q {profile} --", common::sydbox().display());
        assert_eq!(typed(&env, JOB, &job), native, "{profile}");
    }
}

/// A shell that starts commands behind `run WORD...`, and waits for each change of one. Whoever prints \1 is stopped by the key,
/// and whoever prints \2 gets a word.
const SHELL_OF_JOBS: &str = r#"
import os, pty, signal, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    attributes = termios.tcgetattr(0)
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(0, termios.TCSANOW, attributes)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    def start(script, front=True):
        job = os.fork()
        if job == 0:
            os.setpgid(0, 0)
            if front:
                os.tcsetpgrp(0, os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            os.execvp(sys.argv[2], sys.argv[2:] + ["sh", "-c", script])
        return job
    def wait(job):
        _, status = os.waitpid(job, os.WUNTRACED)
        os.tcsetpgrp(0, os.getpgrp())
        print("stopped", os.WSTOPSIG(status)) if os.WIFSTOPPED(status) else print("ended", os.waitstatus_to_exitcode(status))
        sys.stdout.flush()
    def front(job):
        os.tcsetpgrp(0, job)
        os.killpg(job, signal.SIGCONT)
    try:
        exec(sys.argv[1])
    finally:
        os._exit(0)
text = b""
while True:
    try:
        some = os.read(terminal, 4096)
    except OSError:
        break
    text += some
    for key in some:
        if key in (1, 2):
            os.write(terminal, b"\x1a" if key == 1 else b"word\n")
os.waitpid(pid, 0)
sys.stdout.buffer.write(text.replace(b"\r", b""))
"#;

/// Seen to fail with the terminal given to the shell, with only the job's shell able to continue the command, and with a supervisor
/// that stops by the key.
const CHANGES: &str = r#"
print("one that stops itself in the background", flush=True)
job = start("kill -STOP $$; for n in 1 2 3 4 5; do mkdir ok/d; rmdir ok/d; done; printf '\\002'; read word; echo got $word", front=False)
wait(job); front(job); wait(job)
print("one that is continued by its number", flush=True)
back = "read a b c d own e f front rest </proc/$$/stat; [ $own != $front ]; do :; done; "
job = start("printf '\\001'; until " + back + "echo >ok/on; while " + back + "printf '\\002'; read word; echo got $word")
wait(job); os.kill(job, signal.SIGCONT)
while not os.path.exists("ok/on"):
    os.sched_yield()
os.unlink("ok/on"); os.tcsetpgrp(0, job); wait(job)
print("one that the key does not stop", flush=True)
# Not over before sydbox has what the terminal sent, too, and has done what it does then.
asleep = "! grep -Ls '^State:.S' /proc/$PPID/task/*/status | grep -q ."
told = "until grep -q '^ShdPnd:.0*$' /proc/$PPID/status && " + asleep + "; do :; done; "
wait(start("trap '' TSTP; printf '\\001\\002'; read word; " + told + "echo got $word"))
print("one that stops its group, and is stopped by the key later", flush=True)
once = "mkdir ok/d; rmdir ok/d; mkdir ok/d; rmdir ok/d; exit $(cat ok/stops | wc -l)"
job = start("kill -TSTP 0; trap 'echo >>ok/stops' TSTP; mkdir ok/d; rmdir ok/d; " + told + "printf '\\001'; until test -s ok/stops; do :; done; " + told + once)
wait(job); front(job); wait(job); os.unlink("ok/stops")
print("one that is stopped by its number", flush=True)
job = start("echo >ok/on; while test -e ok/on; do :; done; exit 4")
while not os.path.exists("ok/on"):
    os.sched_yield()
os.kill(job, signal.SIGTSTP); wait(job); os.unlink("ok/on"); front(job); wait(job)
print("one that has something to do first", flush=True)
open("ok/told", "w").write(told)
job = start("trap 'mkdir ok/clean; rmdir ok/clean; kill -STOP $$; . ok/told; exit 3' TSTP; printf '\\001'; while :; do :; done")
wait(job); front(job); wait(job)
"#;

/// Stopped by nobody but another process of the sandbox, which needs sydbox to go on: a shell would take it for stopped.
///
/// Seen to fail with a supervisor that stops for every stop.
const STOPPED_WITHIN: &str = r#"
wait(start("(until grep -q State:.T /proc/$$/status; do :; done; mkdir ok/d; rmdir ok/d; kill -CONT $$) & kill -STOP $$; wait; echo over"))
"#;

#[test]
fn jobs_of_a_shell() {
    let env = Env::new();
    let run = |script: &str, job: &[&str]| {
        let run = env.run("env").args(["--default-signal", "python3", "-c", SHELL_OF_JOBS, script]);
        run.args(job).output().succeeded().stdout
    };
    let native = run(CHANGES, &["env"]);
    assert_eq!(native.lines().last(), Some("ended 3"), "{native}");
    let (sydbox, ok) = (common::sydbox(), env.text("ok"));
    let job = [sydbox.to_str().unwrap(), "-q", "-w", &ok, "--"];
    assert_eq!(run(CHANGES, &job), native);
    assert_eq!(run(STOPPED_WITHIN, &job), "over\nended 0\n");
}

/// The terminal's shell has ended: each process of the foreground is told once.
///
/// Seen to fail with whatever sydbox gets passed on.
#[test]
fn a_terminal_that_is_hung_up() {
    let env = Env::new();
    let script = "trap 'echo hup >>ok/said' HUP; trap 'test -e ok/passed && { echo >ok/over; exit; }; echo >ok/passed' TERM; echo >ok/ready; while :; do :; done";
    let text = r#"
import os, pty, signal, sys
def until(file):
    while not os.path.exists(file): os.sched_yield()
pid, terminal = pty.fork()
if pid == 0:
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0); signal.signal(signal.SIGTTOU, signal.SIG_IGN); os.tcsetpgrp(0, os.getpid()); signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execvp(sys.argv[1], sys.argv[1:])
    # What comes before sydbox knows the command is passed on as it is, and all in order.
    until("ok/ready"); os.kill(job, signal.SIGTERM); until("ok/passed"); open("ok/job", "w").write(str(job)); os._exit(0)
os.waitpid(pid, 0); until("ok/said"); os.kill(int(open("ok/job").read()), signal.SIGTERM); until("ok/over")
print(open("ok/said").read().count("hup"))
"#;
    let run = |words: &[&str]| {
        for file in ["ok/said", "ok/ready", "ok/passed", "ok/over"] {
            let _ = std::fs::remove_file(env.path(file));
        }
        let run = env.run("env").args(["--default-signal", "python3", "-c", text]).args(words);
        run.output().succeeded().stdout
    };
    let shell = ["sh", "-c", script];
    let native = run(&shell);
    assert_eq!(native, "1\n");
    let sydbox = common::sydbox();
    assert_eq!(run(&[&[sydbox.to_str().unwrap(), "-q", "-p", "off", "--"], &shell[..]].concat()), native);
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
