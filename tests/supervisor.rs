//! The supervisor, and what else is outside, against all that a process of the sandbox can do to another process.
//!
//! Each attack of programs/assail.c succeeds natively. Seen to succeed, without Landlock, where their rows are left out of the
//! filter: descriptors that are owned by the supervisor, which dies of that, limits, and all that is about the right to run.
//! Tracing, and most of procfs, is refused by the kernel as well: by the domain, by what a root has lost, by `shield_supervisor`.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;
#[path = "../src/bin/sydbox/orphans.rs"]
#[allow(dead_code)]
mod orphans;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitStatus, Stdio};

use common::{Env, becomes, is_root};
use sydbox::Sandbox;

/// Tells [`embedded`] what to run; without it that test does nothing.
const EMBEDDED: &str = "TEST_EMBEDDED_SANDBOX";

/// A program that embeds the library, for tests in which the supervisor is attacked, and what it builds differs from what the
/// command does. It ends as the command in its sandbox ends.
#[test]
#[ignore = "run by other tests, in a process of its own"]
fn embedded() {
    let Ok(what) = std::env::var(EMBEDDED) else { return };
    let mut words = what.split('\x1f');
    let mut builder = Sandbox::builder();
    match words.next().unwrap() {
        "adopting" => {
            orphans::adopt();
            &mut builder
        }
        "no scopes" => builder.without_scopes(),
        "no landlock" => builder.without_landlock().shield_supervisor(true),
        other => panic!("{other}"),
    };
    // Signals, as the command takes them.
    let mut signals = sydbox::command::Forward::install().unwrap();
    let mut words = words.skip_while(|word| {
        let rule = *word != "--";
        if rule {
            builder.magic(word).unwrap();
        }
        rule
    });
    words.next();
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    let mut child = builder.build().unwrap().spawn(command).unwrap();
    if what.starts_with("adopting") {
        orphans::reap_all_but(child.id());
    }
    // It may have ended already.
    let _ = signals.to(child.id());
    let status = child.wait().unwrap();
    std::process::exit(status.code().unwrap_or(128));
}

/// A sandbox by the command, or by [`embedded`] with what the first word says.
fn sandbox(how: &str, rules: &[&str], words: &[&str]) -> Command {
    let mut command;
    if let Some(options) = how.strip_prefix("command") {
        command = Command::new(common::sydbox());
        command.args(["-q", "-p", "off"]).args(rules.iter().flat_map(|rule| ["-m", rule]));
        command.args(options.split_whitespace()).arg("--").args(words);
    } else {
        command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "embedded", "--nocapture"]);
        command.env(EMBEDDED, [&[how], rules, &["--"], words].concat().join("\x1f"));
    }
    command
}

/// A process with pipes, in a group of its own.
struct Talk {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Talk {
    fn start(mut command: Command) -> Self {
        use std::os::unix::process::CommandExt;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// The lines up to this one.
    fn until(&mut self, last: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "no `{last}' after {lines:?}");
            if line.trim_end() == last {
                return lines;
            }
            lines.push(line.trim_end().to_owned());
        }
    }

    fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    fn end(mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        self.child.wait().unwrap()
    }
}

/// What an attack could change about a process: whether it is stopped, priority, policy, processors, limits, worth.
fn condition(pid: u32) -> Vec<String> {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let stat = read("stat");
    let stat: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let allowed = read("status").lines().find(|line| line.starts_with("Cpus_allowed:")).unwrap().to_owned();
    // state, priority, nice, real-time priority and policy: fields 3, 18, 19, 40, 41 of proc_pid_stat(5)
    let stopped = stat[0] == "T" || stat[0] == "t";
    let numbers = [stopped.to_string(), stat[15..17].join(" "), stat[37..39].join(" ")];
    [&numbers[..], &[allowed, read("limits"), read("oom_score_adj"), read("coredump_filter")]].concat()
}

/// Runs all attacks on the supervisor, or on the process of this number; what got through.
fn attack(how: &str, rules: &[&str], target: Option<u32>) -> BTreeSet<String> {
    let env = Env::new();
    let program = env.program("assail");
    let script = "echo ready; read x; \"$0\" all $1; echo over; read x; : >\"$2\"; (exit 7)";
    let of = target.map_or("$PPID".to_owned(), |pid| pid.to_string());
    let script = script.replace("$1", &of);
    let file = env.path("ok/after");
    // In a session of its own: what is sent to the group of the supervisor is for that alone.
    let words = ["setsid", "sh", "-c", &script, program.to_str().unwrap(), "", file.to_str().unwrap()];
    let mut talk = Talk::start(sandbox(how, rules, &words));
    talk.until("ready");
    let target = target.unwrap_or(talk.child.id());
    let before = condition(target);
    talk.go_on();
    let lines = talk.until("over");
    assert_eq!(condition(target), before, "{how} {rules:?}");
    talk.go_on();
    // It serves, and passes the status on.
    assert_eq!(talk.end().code(), Some(7), "{how} {rules:?}");
    assert!(file.exists());
    let list = env.run(&program).arg("--list").output().stdout;
    let said: Vec<(&str, &str)> = lines.iter().filter_map(|line| line.split_once(' ')).collect();
    assert_eq!(said.iter().map(|(name, _)| *name).collect::<Vec<_>>(), list.lines().collect::<Vec<_>>());
    said.iter().filter(|(_, result)| *result == "0").map(|(name, _)| (*name).to_owned()).collect()
}

/// What the sandbox is, and what it mediates.
const SANDBOXES: [(&str, &[&str]); 8] = [
    ("command", &[]),
    ("command", &["core/sandbox/write:allow", "core/sandbox/network:deny"]),
    ("command", &["core/sandbox/read:allow"]),
    ("command --lock", &["core/sandbox/exec:allow"]),
    ("no scopes", &[]),
    ("no scopes", &["core/sandbox/read:allow"]),
    ("no landlock", &[]),
    ("no landlock", &["core/sandbox/read:allow"]),
];

fn assert_nothing_through(how: &str, rules: &[&str], target: Option<u32>) {
    let mut through = attack(how, rules, target);
    if !rules.contains(&"core/sandbox/read:allow") {
        // The numbers of descriptors, and not what they are: the kernel does not ask who traces whom.
        through.remove("fd_list");
    }
    if how == "no landlock" && target.is_some() {
        // Tells an address. The supervisor has shielded itself.
        through.remove("robust_list");
    }
    assert_eq!(through, BTreeSet::new(), "{how} {rules:?}");
}

#[test]
fn nothing_reaches_the_supervisor() {
    for (how, rules) in SANDBOXES {
        // A sandbox for programs only leaves files of procfs to root.
        if how != "command --lock" || !is_root() {
            assert_nothing_through(how, rules, None);
        }
    }
}

/// Another process of the same user, which is dumpable, and so open to who reads where there is no Landlock.
#[test]
fn nothing_reaches_processes_outside() {
    let env = Env::new();
    let mut command = Command::new(env.program("assail"));
    command.arg("victim");
    let mut victim = Talk::start(command);
    victim.until("ready");
    for (how, rules) in SANDBOXES {
        // A sandbox for programs only leaves files of procfs to their owner.
        if how != "command --lock" && (how != "no landlock" || !rules.is_empty()) {
            assert_nothing_through(how, rules, Some(victim.child.id()));
        }
    }
    assert!(victim.end().success());
}

/// What names all processes of a user names the supervisor, too.
#[test]
fn nothing_reaches_all_processes_of_the_user() {
    let env = Env::new();
    for (how, rules) in SANDBOXES {
        for name in ["nice_user", "ioprio_user"] {
            let mut talk =
                Talk::start(sandbox(how, rules, &[env.program("assail").to_str().unwrap(), name, "parent"]));
            talk.until(&format!("{name} EPERM"));
            assert_eq!(talk.end().code(), Some(0), "{how} {rules:?} {name}");
        }
    }
}

/// Natively every attack hits: each on a process of its own, of the same user.
#[test]
fn natively_everything_reaches_another_process() {
    let env = Env::new();
    let program = env.program("assail");
    let list = env.run(&program).arg("--list").output().stdout;
    for name in list.lines() {
        let mut command = Command::new(&program);
        command.arg("victim");
        let mut victim = Talk::start(command);
        victim.until("ready");
        let before = condition(victim.child.id());
        let done = env.run(&program).arg(name).arg(victim.child.id().to_string()).output().succeeded();
        if name == "madvise" && !is_root() {
            // Needs CAP_SYS_NICE.
            assert_eq!(done.stdout, "madvise EPERM\n");
        } else {
            assert_eq!(done.stdout, format!("{name} 0\n"));
        }
        let changes = ["stop", "oom", "coredump_filter", "prlimit", "affinity", "scheduler", "attr", "nice"];
        if changes.contains(&name) {
            // Being stopped shows a moment later.
            assert!(becomes(|| condition(victim.child.id()) != before), "{name}");
        }
        let _ = victim.child.kill();
        let _ = victim.child.wait();
    }
}

/// A job of a shell that has a terminal: `run TERMINAL? WORD...`, how it ended, or that it was stopped. What is typed when
/// it asks for it is one line.
const JOB: &str = r#"
import os, pty, signal, sys
said, say = os.pipe()
pid, terminal = pty.fork()
if pid == 0:
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execvp(sys.argv[1], sys.argv[1:])
    while True:
        _, status = os.waitpid(job, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            break
        os.tcsetpgrp(0, os.getpgrp())
        os.write(say, b"stopped\n")
        os.killpg(job, signal.SIGKILL)
    os.write(say, b"ended %d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)
text = b""
while True:
    try:
        some = os.read(terminal, 4096)
    except OSError:
        break
    text += some
    if b"type" in some:
        os.write(terminal, b"x\n")
os.waitpid(pid, 0)
os.close(say)
sys.stdout.buffer.write(text.replace(b"\r", b"") + os.read(said, 4096))
"#;

/// Its own group becomes that of the terminal, others may not write there, and then there is something to report.
const STOP_WHO_WRITES: &str = r#"
import os, signal, sys, termios
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
os.setpgid(0, 0)
os.tcsetpgrp(0, os.getpid())
attributes = termios.tcgetattr(0)
attributes[3] |= termios.TOSTOP
termios.tcsetattr(0, termios.TCSANOW, attributes)
for n in range(3):
    try:
        os.mkdir(sys.argv[1] + str(n))
    except OSError as error:
        print("mkdir", error.strerror)
os._exit(5)
"#;

/// The group of the terminal, which the supervisor is in, gets SIGIO when something is typed.
const SIGNAL_BY_TYPING: &str = r#"
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, lambda *_: None)
fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
print("type", flush=True)
sys.stdin.readline()
os.mkdir(sys.argv[1])
os._exit(5)
"#;

fn job(words: &[&str], command: Command) -> String {
    let mut run = Command::new("python3");
    run.args(["-c", JOB]).arg(command.get_program()).args(command.get_args()).args(words);
    run.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    String::from_utf8(run.output().unwrap().stdout).unwrap()
}

/// With the thread that writes reports open to signals, the supervisor is stopped.
#[test]
fn a_report_to_a_terminal_stops_nobody() {
    let env = Env::new();
    let dir = env.text("no/d");
    let mut command = Command::new(common::sydbox());
    command.args(["-p", "off", "-m", "core/sandbox/write:deny", "-m", "allowlist/write+/dev/***"]);
    let said = job(&["--", "python3", "-c", STOP_WHO_WRITES, &dir], command);
    assert!(said.contains("mkdir Operation not permitted") && said.contains("Access Violation"), "{said}");
    assert!(said.ends_with("ended 5\n"), "{said}");
    // Natively a process of the job that writes is stopped.
    let script = format!("sleep 0 & python3 -c '{STOP_WHO_WRITES}' {dir}; echo here");
    let said = job(&["-c", &script], Command::new("sh"));
    assert!(said.contains("stopped\n"), "{said}");
}

/// Without a handler in the command SIGIO ends it, where the kernel does not scope signals.
#[test]
fn typing_ends_nobody() {
    for (how, end) in [("", "ended -29\n"), ("command", "ended 5\n"), ("no scopes", "ended 5\n")] {
        let env = Env::new();
        let (program, script, dir) = ("python3", SIGNAL_BY_TYPING, env.text("ok/d"));
        let words = [program, "-c", script, &dir];
        let command = match how {
            // A shell waits for it, as the supervisor does.
            "" => {
                let mut command = Command::new("sh");
                command.args(["-c", "\"$@\"; exit $?", "sh"]).args(words);
                command
            }
            how => sandbox(how, &[], &words),
        };
        let said = job(&[], command);
        assert!(said.ends_with(end), "{how}: {said}");
    }
}

/// A group of processes that nobody of the session looks after any more, with a stopped one in it, is hung up.
const ORPHAN_GROUP: &str = r#"
import os, signal, sys, time
signal.signal(signal.SIGHUP, signal.SIG_IGN)
group = os.getpgrp()
def statuses():
    parent = "/proc/%d/task/" % os.getppid()
    for task in os.listdir(parent):
        try:
            yield open(parent + task + "/status").read()
        except OSError:
            pass
# Until it knows the program, none is passed on. Without one there is nothing to wait for.
def until_asleep():
    end = time.monotonic() + 300
    for is_so in lambda status: "\nShdPnd:\t0000000000000000\n" in status, lambda status: "\nState:\tS" in status:
        while len(sys.argv) > 2 and not all(map(is_so, statuses())):
            assert time.monotonic() < end
until_asleep()
ready, go = os.pipe(), os.pipe()
between = os.fork()
if between == 0:
    os.setpgid(0, 0)
    link = os.fork()
    if link == 0:
        os.setpgid(0, group)
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os._exit(0)
    os.waitpid(link, 0)
    os._exit(0)
os.read(ready[0], 1)
stopped = os.fork()
if stopped == 0:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(0)
os.waitpid(stopped, os.WUNTRACED)
os.write(go[1], b"x")
print(os.waitstatus_to_exitcode(os.waitpid(stopped, 0)[1]), flush=True)
# When the program has ended the signal is the supervisor's own.
until_asleep()
os.mkdir(sys.argv[1])
os._exit(5)
"#;

/// Sent by the kernel itself, which asks no one. It ends a program without a handler that embeds the library.
#[test]
fn a_group_that_is_hung_up_takes_no_supervisor_with_it() {
    for how in ["", "command", "no scopes"] {
        let env = Env::new();
        let dir = env.text("ok/d");
        let words = ["python3", "-c", ORPHAN_GROUP, &dir, "inside"];
        let command = if how.is_empty() { Command::new("env") } else { sandbox(how, &[], &words) };
        let mut run = Command::new("setsid");
        run.arg("-w").arg(command.get_program()).args(command.get_args());
        run.args(if how.is_empty() { &words[..4] } else { &[] });
        run.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let done = run.output().unwrap();
        assert!(String::from_utf8_lossy(&done.stdout).contains("-1\n"), "{how}: {done:?}");
        assert_eq!(done.status.code(), Some(5), "{how}: {done:?}");
    }
}

/// kill(2) of all: of all in the sandbox, wherever they are. In a pid namespace, since natively it means all others.
#[test]
fn a_signal_to_everybody_is_for_the_tree() {
    const ALL: &str = r#"
        trap : TERM
        setsid sleep 1000 & one=$!
        sleep 1000 & two=$!
        # Not while they still have the trap of the shell.
        for pid in $one $two; do until read comm </proc/$pid/comm && [ "$comm" = sleep ]; do :; done; done
        kill -TERM -1
        wait $one; echo $?; wait $two; echo $?; : >"$0"
    "#;
    for how in ["", "command", "no scopes", "no landlock"] {
        let env = Env::new();
        let words = ["sh", "-c", ALL, &env.text("ok/file")];
        let command = if how.is_empty() { Command::new("env") } else { sandbox(how, &[], &words) };
        let mut run = Command::new("unshare");
        run.args(["-Urpf", "--mount-proc", "--kill-child", "sh", "-c"]);
        run.arg("sleep 1000 & \"$@\" || exit; kill -0 $! && kill -KILL $! && wait $!; echo outside $?")
            .arg("sh");
        run.arg(command.get_program()).args(command.get_args());
        run.args(if how.is_empty() { &words[..] } else { &[] });
        run.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let done = run.output().unwrap();
        if String::from_utf8_lossy(&done.stderr).contains("unshare failed") {
            return eprintln!("skipped: there are no namespaces here");
        }
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(said.contains("143\n143\n"), "{how}: {done:?}");
        // Of the process outside: whether there was one left to be killed.
        assert_eq!(said.contains("outside 137\n"), !how.is_empty(), "{how}: {done:?}");
        assert!(env.path("ok/file").exists(), "{how}: {done:?}");
    }
}

/// The listener that would answer for the supervisor does not come to be in the sandbox, however the command gets it.
#[test]
fn nobody_inside_has_the_listener() {
    let env = Env::new();
    let script = "ls -l /proc/self/fd /proc/$$/fd; (ls -l /proc/self/fd)";
    for how in ["command", "no scopes"] {
        let done = sandbox(how, &[], &["sh", "-c", script]).output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(
            done.status.success() && said.contains(" 1 -> ") && !said.contains("seccomp"),
            "{how}: {said}"
        );
    }
    drop(env);
}

/// What the command does under Yama, where it may look at nobody but its descendants: orphans stay such, and leave no zombies. Without
/// `orphans::adopt` they are the system's, without `orphans::reap_all_but` two hundred are left.
#[test]
fn orphans_are_adopted_and_waited_for() {
    let script = "i=0; while [ $i -lt 200 ]; do (sh -c ':' &); i=$((i+1)); done; (sleep 1000 & echo $!); \
                  (setsid sh -c '(sleep 1000 & echo $!)'); echo all; read x";
    let mut talk = Talk::start(sandbox("adopting", &[], &["sh", "-c", script]));
    let mut orphans = talk.until("all");
    // Not what the test program says itself.
    orphans.retain(|line| line.parse::<u32>().is_ok());
    let status = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pid = talk.child.id();
    assert_eq!(orphans.len(), 2);
    for orphan in &orphans {
        assert!(becomes(|| status(orphan).contains(&format!("\nPPid:\t{pid}\n"))), "{}", status(orphan));
    }
    let children = || {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let of = |task: std::fs::DirEntry| {
            std::fs::read_to_string(task.path().join("children")).unwrap_or_default()
        };
        tasks.map(|task| of(task.unwrap()).split_whitespace().count()).sum::<usize>()
    };
    // The shell and the two.
    assert!(becomes(|| children() == 3), "{} children", children());
    for orphan in orphans {
        let orphan = nix::unistd::Pid::from_raw(orphan.parse().unwrap());
        nix::sys::signal::kill(orphan, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    assert!(becomes(|| children() == 1), "{} children", children());
    talk.end();
}
