//! Random calls of the file system, the same with and without the sandbox: the same results, errors and files.
//!
//! A seed decides everything, see programs/fuzz_fs.c. The fixed seeds here are for every run of the tests; `make fuzz-fs'
//! goes on with others for as long as it is told.
//!
//! What is known to differ, and is not tried: `O_NOFOLLOW` in the flags of a descriptor that openat2 resolved with
//! `RESOLVE_` flags; procfs seen with those flags; openat2 with `O_PATH` while reading is mediated; files without a name that are
//! reached through the descriptors of *another* process; making and removing names in a directory of procfs as an ordinary
//! user (which error says that it cannot be done); procfs as a process that may not be looked at since it changed its user;
//! `AT_EMPTY_PATH` of linkat with a descriptor that another process opened.
//!
//! Seen to fail with a umask of 0 in `with_umask`, and without the question whether a magic link with a slash behind it leads to a
//! directory.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Termination};
use std::time::{Duration, Instant};

use common::Env;

const STEPS: u32 = 400;

/// What is run: the steps of a seed, all of them or some.
#[derive(Clone, Copy)]
struct Case<'a> {
    seed: u64,
    /// Reading is mediated as well.
    armed: bool,
    /// All if there are none.
    only: &'a [u32],
}

/// The first line that is not the same.
struct Difference {
    /// The steps before it.
    before: Vec<String>,
    native: String,
    sandboxed: String,
}

impl Difference {
    /// The step at which the difference shows; none if it is only seen in the tree at the end.
    fn step(&self) -> Option<u32> {
        self.native.split(' ').next()?.parse().ok().filter(|_| self.native.contains(": "))
    }
}

struct Fuzz {
    env: Env,
}

impl Fuzz {
    fn new() -> Self {
        Self { env: Env::new() }
    }

    fn remove(&self, dir: &Path) {
        if dir.exists() {
            // Directories that nobody can enter are among what is made.
            let _ = Command::new("chmod").args(["-R", "u+rwx"]).arg(dir).output();
            std::fs::remove_dir_all(dir).unwrap();
        }
    }

    /// What the calls returned, and the tree that they left.
    fn run(&self, case: Case<'_>, sandboxed: bool) -> Vec<String> {
        // Names of the same length: paths are then as long.
        let dir = self.env.path(if sandboxed { "ok/sandbox" } else { "ok/natives" });
        self.remove(&dir);
        let program = self.env.program("fuzz_fs");
        let flags = if case.armed { "r" } else { "-" };
        let mut run =
            self.env.run(&program).arg(case.seed.to_string()).arg(STEPS.to_string()).arg(&dir).arg(flags);
        run = run.args(case.only.iter().map(u32::to_string));
        if sandboxed {
            run = run.mediated();
            if case.armed {
                run = run.rule("core/sandbox/read:allow");
            }
        }
        let done = run.output();
        let mut lines: Vec<String> = done.stdout.lines().map(str::to_owned).collect();
        lines.push(format!("{} {}", done.status, done.stderr));
        lines.extend(done.paths().into_iter().map(|path| format!("violation: {path}")));
        let tree = self.env.run(&program).args(["0", "0"]).arg(&dir).arg("dump").output().succeeded();
        lines.extend(tree.stdout.lines().map(str::to_owned));
        lines
    }

    fn difference(&self, case: Case<'_>) -> Option<Difference> {
        let (native, sandboxed) = std::thread::scope(|scope| {
            let native = scope.spawn(|| self.run(case, false));
            let sandboxed = self.run(case, true);
            (native.join().unwrap(), sandboxed)
        });
        let nothing = String::from("(the end)");
        let len = native.len().max(sandboxed.len());
        let at = (0..len).find(|at| native.get(*at) != sandboxed.get(*at))?;
        let line = |lines: &[String]| lines.get(at).unwrap_or(&nothing).clone();
        Some(Difference {
            before: native[..at.min(native.len())].to_vec(),
            native: line(&native),
            sandboxed: line(&sandboxed),
        })
    }

    /// Leaves steps out as long as there is still a difference at the same place, and says what is left.
    fn minimise(&self, case: Case<'_>, first: Difference) -> String {
        let end = first.step();
        let mut only: Vec<u32> = (0..end.map_or(STEPS, |step| step + 1)).collect();
        let differs = |only: &[u32]| {
            let found = self.difference(Case { only, ..case })?;
            (found.step() == end).then_some(found)
        };
        let mut last = first;
        let mut width = only.len() / 2;
        while width > 0 {
            let mut at = 0;
            // The step that shows it stays.
            while at + 1 < only.len() {
                let cut = (at + width).min(only.len() - usize::from(end.is_some()));
                let fewer = [&only[..at], &only[cut..]].concat();
                match Some(&fewer).filter(|fewer| !fewer.is_empty()).and_then(|fewer| differs(fewer)) {
                    Some(found) => (only, last) = (fewer, found),
                    None => at += width,
                }
            }
            width /= 2;
        }
        let mut text = format!(
            "seed {}{}, steps {only:?}:\n",
            case.seed,
            if case.armed { ", reading mediated" } else { "" }
        );
        for line in last.before.iter().filter(|line| only.len() < 30 && !line.starts_with(' ')) {
            let _ = writeln!(text, "    {line}");
        }
        let _ =
            write!(text, "  without the sandbox: {}\n  with it:             {}", last.native, last.sandboxed);
        text
    }

    /// What is wrong with a seed.
    fn examine(&self, seed: u64, armed: bool) -> Option<String> {
        let case = Case { seed, armed, only: &[] };
        let first = self.difference(case)?;
        Some(self.minimise(case, first))
    }
}

impl Drop for Fuzz {
    fn drop(&mut self) {
        for name in ["ok/sandbox", "ok/natives"] {
            self.remove(&self.env.path(name));
        }
    }
}

#[track_caller]
fn seeds_are_the_same(seeds: std::ops::Range<u64>, armed: bool) {
    let fuzz = Fuzz::new();
    let wrong: Vec<String> = seeds.filter_map(|seed| fuzz.examine(seed, armed)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn random_calls_are_the_same() {
    seeds_are_the_same(0..30, false);
}

#[test]
fn random_calls_are_the_same_while_reading_is_mediated() {
    seeds_are_the_same(30..50, true);
}

/// `make fuzz-fs': as long as FUZZ_SECONDS says, from the seed FUZZ_SEED on; what differs is printed.
#[test]
#[ignore = "takes as long as it is told"]
fn fuzz() -> impl Termination {
    let number =
        |name, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let clock = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_nanos() as u64);
    let (seconds, first) = (number("FUZZ_SECONDS", 60), number("FUZZ_SEED", clock % 1_000_000_000));
    println!("FUZZ_SEED={first} FUZZ_SECONDS={seconds}");
    let (fuzz, start) = (Fuzz::new(), Instant::now());
    let (mut seed, mut wrong) = (first, 0);
    while start.elapsed() < Duration::from_secs(seconds) || seed == first {
        for armed in [false, true] {
            if let Some(text) = fuzz.examine(seed, armed) {
                println!("{text}");
                wrong += 1;
            }
        }
        seed += 1;
    }
    println!("{wrong} differences in {} seeds", seed - first);
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
