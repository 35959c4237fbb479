//! Many processes, and many signals: every call is answered once, and nothing is left behind.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::time::Instant;

use common::{Done, Env, Run, Running, becomes, is_root};

/// A shell that makes `count` processes, each of which makes a file.
fn many(dir: &str, count: u32) -> String {
    format!("i=0; while [ $i -lt {count} ]; do (: >{dir}/$i); i=$((i+1)); done")
}

fn files(env: &Env, dir: &str) -> usize {
    std::fs::read_dir(env.path(dir)).unwrap().count()
}

/// What it writes, line by line.
fn lines(running: &mut Running) -> impl FnMut() -> String + use<> {
    let mut output = BufReader::new(running.child.stdout.take().unwrap());
    move || {
        let mut text = String::new();
        output.read_line(&mut text).unwrap();
        text
    }
}

#[test]
fn a_thousand_short_processes() {
    let env = Env::new();
    let script =
        format!("{}; echo first; read line; {}; echo second; read line", many("ok", 100), many("ok", 1000));
    let mut running = env.sh(&script).brokered().start();
    let mut input = running.child.stdin.take().unwrap();
    let mut line = lines(&mut running);
    assert_eq!(line(), "first\n");
    let before = running.size();
    input.write_all(b"\n").unwrap();
    assert_eq!(line(), "second\n");
    // The shell waits in a pipe: what the supervisor has now is its own.
    running.shrinks_to(before);
    assert!(becomes(|| running.zombies() == 0), "{} zombies", running.zombies());
    input.write_all(b"\n").unwrap();
    drop(line);
    let done = running.finish();
    assert!(done.status.success() && done.violations.is_empty() && done.stderr.is_empty(), "{done:#?}");
    assert_eq!(files(&env, "ok"), 1000);
}

#[test]
fn eight_jobs_at_once() {
    let env = Env::new();
    let mut jobs = String::new();
    for job in 0..8 {
        std::fs::create_dir(env.path(&format!("ok/{job}"))).unwrap();
        jobs += &format!("({}) & ", many(&format!("ok/{job}"), 60));
    }
    // One that is refused all the time, beside them.
    jobs += "(i=0; while [ $i -lt 60 ]; do (: >no/$i) 2>ok/error; i=$((i+1)); done) & wait";
    let done = env.sh(&jobs).brokered().output();
    assert!(done.status.success() && done.stderr.is_empty(), "{done:#?}");
    for job in 0..8 {
        assert_eq!(files(&env, &format!("ok/{job}")), 60);
    }
    assert_eq!(files(&env, "no"), 0);
    let count = |one: &serde_json::Value| one["count"].as_u64().unwrap_or(1);
    assert_eq!(done.violations.iter().map(count).sum::<u64>(), 60);
}

/// make -j8, without what make says.
#[test]
fn eight_jobs_of_make() {
    if !common::has("make") {
        return;
    }
    let env = Env::new();
    std::fs::write(
        env.path("ok/Makefile"),
        "ALL = $(shell seq 200)\nall: $(ALL)\n\t@cat $(ALL) >all\n$(ALL):\n\t@echo $@ >$@.tmp && mv $@.tmp $@\n",
    )
    .unwrap();
    let done = env.sh("make -s -j8 -C ok").set("TMPDIR", env.path("ok")).sandboxed().output();
    assert!(done.status.success() && done.violations.is_empty(), "{done:#?}");
    let lines: Vec<String> = (1..=200).map(|n: u32| format!("{n}\n")).collect();
    assert_eq!(std::fs::read_to_string(env.path("ok/all")).unwrap(), lines.concat());
}

/// Seen to fail with the listener made without `WAIT_KILLABLE_RECV`.
#[test]
fn signals_neither_repeat_nor_interrupt_calls() {
    let env = Env::new();
    let run = env.run(env.program("storm")).arg(env.path("ok")).arg("3400");
    assert_eq!(run.output().succeeded().stdout, "done\n");
    assert_eq!(run.brokered().output().succeeded().stdout, "done\n");
}

#[test]
fn stopping_neither_repeats_nor_interrupts_calls() {
    let env = Env::new();
    let run = env.run(env.program("storm")).arg("stop").arg(env.path("ok")).arg("300");
    assert_eq!(run.output().succeeded().stdout, "done\n");
    assert_eq!(run.brokered().output().succeeded().stdout, "done\n");
}

/// Opens and creates by eight threads at once: the supervisor is afterwards what it was before.
#[test]
fn twenty_thousand_opens_by_eight_threads() {
    let env = Env::new();
    let mut running = env.run(env.program("eight")).arg(env.path("ok")).arg("2500").brokered().start();
    let mut input = running.child.stdin.take().unwrap();
    let mut line = lines(&mut running);
    assert_eq!(line(), "ready\n");
    let (size, memory) = (running.size(), running.memory());
    input.write_all(b"\n").unwrap();
    assert_eq!(line(), "done\n");
    running.shrinks_to(size);
    // A descriptor's worth of memory for each open would be many times that.
    assert!(running.memory() <= memory + 2048, "{memory} kB became {} kB", running.memory());
    input.write_all(b"\n").unwrap();
    let done = running.finish();
    assert!(done.status.success() && done.violations.is_empty() && done.stderr.is_empty(), "{done:#?}");
    assert_eq!(files(&env, "ok"), 0);
}

/// A run of programs/hostile.c, between the lines that it waits at.
struct Hostile {
    running: Running,
    output: BufReader<std::process::ChildStdout>,
}

impl Hostile {
    /// Starts it in a sandbox in which `ok` can be written.
    fn start(run: &Run<'_>) -> Self {
        let mut running = run.clone().brokered().start();
        let output = BufReader::new(running.child.stdout.take().unwrap());
        let mut this = Self { running, output };
        assert_eq!(this.until("ready"), "");
        this
    }

    /// What it says before it waits again.
    fn until(&mut self, last: &str) -> String {
        let mut text = String::new();
        loop {
            let start = text.len();
            assert_ne!(self.output.read_line(&mut text).unwrap(), 0, "{text}");
            if text[start..].trim_end() == last {
                text.truncate(start);
                return text;
            }
        }
    }

    fn go_on(&mut self) {
        self.running.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    #[track_caller]
    fn is_as_small_as(&self, size: (usize, usize), memory: u64) {
        self.running.shrinks_to(size);
        assert!(becomes(|| self.running.zombies() == 0));
        let now = self.running.memory();
        assert!(now <= memory + 64 * 1024, "{memory} kB became {now} kB");
    }

    /// Lets it do it, and end; what it said. The supervisor is what it was before.
    fn run(mut self) -> (String, Done) {
        let (size, memory) = (self.running.size(), self.running.memory());
        self.go_on();
        let said = self.until("done");
        self.is_as_small_as(size, memory);
        self.go_on();
        let done = self.running.finish();
        assert_eq!(done.status.code(), Some(7), "{done:#?}");
        (said, done)
    }
}

fn hostile<'e>(env: &'e Env, words: &[&str]) -> Run<'e> {
    env.run(env.program("hostile")).args(words)
}

/// Without `States::sweep` memory grows by 90 MB.
#[test]
fn states_that_nobody_has_are_forgotten() {
    let env = Env::new();
    let mut hostile = Hostile::start(&hostile(&env, &["states", "20000"]));
    let before = hostile.running.memory();
    hostile.go_on();
    assert_eq!(hostile.until("done"), "");
    let after = hostile.running.memory();
    assert!(after < before + 40 * 1024, "{before} kB became {after} kB");
    hostile.go_on();
    assert_eq!(hostile.running.finish().status.code(), Some(7));
}

/// With `MAX_WEIGHT` out of reach all are granted.
#[test]
fn rules_take_only_so_much_memory() {
    let env = Env::new();
    let mut hostile = Hostile::start(&hostile(&env, &["rules", "60"]));
    hostile.go_on();
    assert_eq!(hostile.until("done"), "refused some, other errors 0\nafterwards 0\n");
    assert!(hostile.running.memory() < 400 * 1024, "{} kB", hostile.running.memory());
    hostile.go_on();
    let done = hostile.running.finish();
    assert_eq!(done.status.code(), Some(7));
    assert!(done.stderr.contains("fewer are needed"), "{done:#?}");
}

/// Commands that are wrong are complained about a hundred times a second. Without a limit it is once for each.
#[test]
fn complaints_do_not_flood_the_log() {
    let env = Env::new();
    let script =
        "i=0; while [ $i -lt 3000 ]; do test -e /dev/sydbox/nonsense$i; i=$((i+1)); done; : >ok/file";
    let start = Instant::now();
    let done = env.sh(script).sandboxed().output().succeeded();
    let most = 101 * (start.elapsed().as_secs() + 1);
    let lines = done.stderr.lines().count();
    assert!(lines >= 100 && lines as u64 <= most, "{lines} lines of {most}");
    assert!(done.stderr.contains("/dev/sydbox/nonsense0"), "{}", done.stderr);
}

#[test]
fn two_thousand_commands_at_once() {
    let env = Env::new();
    assert_eq!(Hostile::start(&hostile(&env, &["commands", "2000"])).run().0, "failed 0\n");
}

#[test]
fn five_hundred_opens_that_block() {
    let env = Env::new();
    let mut hostile = Hostile::start(&hostile(&env, &["fifos", "500", &env.text("ok")]));
    let (size, memory) = (hostile.running.size(), hostile.running.memory());
    hostile.go_on();
    assert_eq!(hostile.until("blocked"), "");
    assert!(becomes(|| hostile.running.size().0 > 500), "{:?}", hostile.running.size());
    hostile.go_on();
    assert_eq!(hostile.until("done"), "failed 0\n");
    hostile.is_as_small_as(size, memory);
    hostile.go_on();
    assert_eq!(hostile.running.finish().status.code(), Some(7));
}

/// Processes that are killed while the supervisor works for them, anywhere in that. `STRESS_KILLS` says how many.
#[test]
fn who_is_killed_in_the_middle_of_a_call() {
    let env = Env::new();
    let count = std::env::var("STRESS_KILLS").unwrap_or_else(|_| "2000".into());
    assert_eq!(Hostile::start(&hostile(&env, &["kills", &count, &env.text("ok")])).run().0, "");
}

/// Opens that did not look as if they could block, of callers that are gone. Without `Cx::watched` threads are left.
#[test]
fn who_is_blocked_by_surprise_leaves_nothing_behind() {
    let env = Env::new();
    assert_eq!(Hostile::start(&hostile(&env, &["surprise", "1000", &env.text("ok")])).run().0, "");
}

/// Without the limit it goes on to as many as it wants.
#[test]
fn a_fork_bomb_is_bounded() {
    let env = Env::new();
    if is_root() {
        return eprintln!("skipped: the kernel does not count the processes of root");
    }
    let run = hostile(&env, &["bomb", &env.text("ok")]).rule("core/limit/processes:400");
    assert_eq!(Hostile::start(&run).run().0, "stopped served\n");
}

/// Where no thread can be started an open or connect that would wait is refused, and everything else served. With
/// `Cx::may_wait` always granting, or `Crew::has_parked` always true, nobody is left to serve.
#[test]
fn the_last_thread_waits_for_nobody() {
    let env = Env::new();
    if is_root() {
        return eprintln!("skipped: the kernel does not count the processes of root");
    }
    if !env.run("unshare").args(["-U", "true"]).output().status.success() {
        return eprintln!("skipped: there are no user namespaces here");
    }
    let done = limited(&env, &["unshare", "-U", "prlimit", "--nproc=160:160"], "last");
    assert_eq!(done.stdout, "ready\nEAGAIN\ndone\n", "{done:#?}");
}

/// Where the supervisor can open nothing more the call fails as if it were the caller's limit, and later ones are served. How
/// many descriptors are left over depends on the limit, and on who was called up meanwhile.
///
/// With every `pidfd_open` that fails taken for a caller that is gone the socket's call never ends; with `States::sweep` giving
/// up silently there are ever more states; with `tree::kill` doing nothing without a descriptor somebody outlives his violation.
#[test]
fn a_supervisor_without_descriptors_refuses_and_goes_on() {
    let env = Env::new();
    let mut said = Vec::new();
    let are_found = |said: &[String]| {
        ["socket EMFILE", "states EMFILE"].iter().all(|line| said.iter().any(|said| said == line))
    };
    for limit in 64..96 {
        if limit > 66 && are_found(&said) {
            break;
        }
        let done = limited(&env, &["prlimit", &format!("--nofile={limit}:{limit}")], "few");
        let stdout = done.stdout.strip_prefix("ready\nEMFILE\n").and_then(|rest| rest.strip_suffix("done\n"));
        said.extend(stdout.unwrap_or_else(|| panic!("{done:#?}")).lines().map(str::to_owned));
    }
    let known = ["socket 0", "socket EMFILE", "states 0", "states EMFILE"];
    assert!(said.iter().all(|line| known.contains(&&line[..])), "{said:?}");
    assert!(are_found(&said), "{said:?}");
}

/// Who is somebody else by the time that he is looked at is found all the same: the sandbox comes to its end.
#[test]
fn who_forks_all_the_time_is_killed_with_all() {
    let env = Env::new();
    if is_root() {
        return eprintln!("skipped: without a limit of processes the machine can be filled with zombies");
    }
    let run = hostile(&env, &["hop", &env.text("no")]).sandboxed().rule("core/limit/processes:400");
    let run = run.rule("core/violation/decision:killall");
    let done = run.input("\n").output();
    assert_eq!(done.status.code(), Some(128 + 9), "{done:#?}");
    assert!(!env.path("no/file").exists());
}

/// Runs programs/hostile.c in a sandbox of which the supervisor itself is under a limit.
fn limited(env: &Env, limit: &[&str], what: &str) -> Done {
    let rule = format!("allowlist/write+{}", env.text("ok/***"));
    let run = env.run(limit[0]).args(&limit[1..]).arg(common::sydbox());
    // Not allowed as a whole: the supervisor opens what is there.
    let but = format!("denylist/write+{}", env.text("ok/never/***"));
    let run = run.args(["-q", "-p", "off", "-m", "core/sandbox/write:deny", "-m", &rule, "-m", &but]);
    let socket = format!("unix:{}", env.text("ok/s"));
    let run = run.args(["--allow-connect", &socket, "--allow-bind", &socket]);
    let run = run.args(["-N", "--allow-connect", "LOOPBACK@9", "-m", "core/violation/decision:kill", "--"]);
    let done = run.arg(env.program("hostile")).args([what, &env.text("ok")]).input("\n\n").output();
    assert_eq!(done.status.code(), Some(7), "{done:#?}");
    done
}

/// Nobody reads what sydbox says: neither the calls that it speaks of nor its end wait for that.
///
/// Seen to hang with log lines written by whoever has something to say.
#[test]
fn a_standard_error_that_is_stuck_holds_nobody_up() {
    use std::os::fd::AsFd;
    use std::os::unix::process::CommandExt;
    let env = Env::new();
    let (_reader, writer) = std::io::pipe().unwrap();
    let flags = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_GETFL).unwrap();
    let flags = nix::fcntl::OFlag::from_bits_retain(flags);
    let set = |flags| nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(flags)).unwrap();
    set(flags | nix::fcntl::OFlag::O_NONBLOCK);
    while nix::unistd::write(writer.as_fd(), &[0; 4096]).is_ok() {}
    while nix::unistd::write(writer.as_fd(), &[0; 1]).is_ok() {}
    set(flags);
    let script = "for i in 1 2 3 4 5 6 7 8 9; do \
        (for j in 1 2 3 4 5 6 7 8 9; do test -e /dev/sydbox/nonsense$i$j; mkdir ok/$i$j no/$i$j; rmdir ok/$i$j; done) 2>&- & done; wait; exit 3";
    let mut command = std::process::Command::new(common::sydbox());
    command.args(["-m", "core/sandbox/write:deny", "-m", &format!("allowlist/write+{}", env.text("ok/***"))]);
    command
        .args(["--", "sh", "-c", script])
        .current_dir(env.path(""))
        .stderr(writer)
        .stdin(std::process::Stdio::null());
    command.env("SYDBOX_NO_CONFIG", "1").process_group(0);
    let mut child = command.spawn().unwrap();
    let limit = common::Limit::of_group(&child);
    let status = child.wait().unwrap();
    assert!(limit.was_kept(), "it hangs");
    assert_eq!((status.code(), files(&env, "ok")), (Some(3), 0));
}
