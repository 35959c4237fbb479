//! The supervisor, and what else is outside, against all that a process of the sandbox can do to another process.
//!
//! Each attack of programs/assail.c succeeds natively, also on a process of another sandbox or of none. Switched off one at a time, the
//! defences were seen to be needed: without the rows of `OUTSIDE`, `OTHERS` and `SIGNALS` in the filter's table the attacks of
//! their names succeed without Landlock; without Landlock and `shield_supervisor` all files of procfs can be read; without
//! `scopes_signals` and with the rows of signals allowed the supervisor dies.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

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
        "no scopes" => builder.without_scopes(),
        "no landlock" => builder.without_landlock().shield_supervisor(true),
        other => panic!("{other}"),
    };
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
    let status = builder.build().unwrap().spawn(command).unwrap().wait().unwrap();
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

/// The sandboxes of [`SANDBOXES`] that hold back who runs the tests.
fn sandboxes() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    // For programs only: files of procfs stay what they are to root.
    SANDBOXES.into_iter().filter(|(how, _)| !is_root() || *how != "command --lock")
}

fn assert_nothing_through(how: &str, rules: &[&str], target: Option<u32>) {
    let mut through = attack(how, rules, target);
    if !rules.contains(&"core/sandbox/read:allow") {
        // The numbers of descriptors, and not what they are: the kernel does not ask who traces whom.
        through.remove("fd_list");
    }
    assert_eq!(through, BTreeSet::new(), "{how} {rules:?}");
}

#[test]
fn nothing_reaches_the_supervisor() {
    for (how, rules) in sandboxes() {
        assert_nothing_through(how, rules, None);
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
    for (how, rules) in sandboxes().filter(|(how, rules)| *how != "no landlock" || !rules.is_empty()) {
        assert_nothing_through(how, rules, Some(victim.child.id()));
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
            assert!(talk.end().success());
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
            assert_ne!(condition(victim.child.id()), before, "{name}");
        }
        let _ = victim.child.kill();
        let _ = victim.child.wait();
    }
}
