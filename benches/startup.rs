//! Where the time of a start goes, measured through the library: one line of JSON for tools/bench/run, or for people.
//!
//!     cargo bench --bench startup -- MICRO [ROUNDS]
//!
//! `MICRO` is the program made of tools/bench/micro.c: as `micro now` it says when its `main` began.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sydbox::{Sandbox, SandboxBuilder, Status};

fn main() {
    // What cargo adds, and whatever a filter of tests might be, is not ours.
    let arguments: Vec<OsString> = std::env::args_os().skip(1).filter(|arg| arg != "--bench").collect();
    let Some(micro) = arguments.first() else {
        println!("startup: skipped, no program was named (make bench)");
        return;
    };
    let rounds = arguments.get(1).and_then(|rounds| rounds.to_str()?.parse().ok()).unwrap_or(20);
    let mut times = Times::default();
    for _ in 0..rounds {
        native(micro, &mut times);
        for (name, profile, lock) in
            [("paludis", "paludis", false), ("build", "build", false), ("build -l", "build", true)]
        {
            sandboxed(micro, name, profile, lock, &mut times);
        }
    }
    let medians: BTreeMap<_, BTreeMap<_, _>> = times
        .0
        .into_iter()
        .map(|(variant, steps)| (variant, steps.into_iter().map(|(step, all)| (step, median(all))).collect()))
        .collect();
    println!("{}", serde_json::to_string(&medians).expect("numbers and names"));
}

/// Microseconds by variant and step.
#[derive(Default)]
struct Times(BTreeMap<&'static str, BTreeMap<&'static str, Vec<f64>>>);

impl Times {
    fn add(&mut self, variant: &'static str, step: &'static str, time: Duration) {
        let steps = self.0.entry(variant).or_default();
        steps.entry(step).or_default().push(time.as_secs_f64() * 1e6);
    }
}

fn native(micro: &OsString, times: &mut Times) {
    let mut command = Command::new(micro);
    let (began, start) = (Instant::now(), wall());
    let mut child = command.arg("now").stdout(Stdio::piped()).spawn().expect("micro runs");
    times.add("native", "spawn", began.elapsed());
    let main = read(&mut child.stdout.take().expect("piped"));
    child.wait().expect("a child of ours");
    times.add("native", "whole", began.elapsed());
    times.add("native", "to main", main.saturating_sub(start));
}

fn sandboxed(micro: &OsString, name: &'static str, profile: &str, lock: bool, times: &mut Times) {
    let began = Instant::now();
    let mut last = began;
    let mut step = |what: &'static str, times: &mut Times| {
        times.add(name, what, last.elapsed());
        last = Instant::now();
    };

    let mut builder: SandboxBuilder = Sandbox::builder();
    builder.profile(profile).expect("a shipped profile");
    if lock {
        builder.lock();
    }
    step("profile", times);
    Status::detect();
    step("detect", times);
    builder.export_bpf().expect("the filter is valid");
    step("filter", times);

    // Once more, and for good: both are parts of it.
    let sandbox = builder.build().expect("this machine can run sydbox");
    step("build", times);
    let mut command = Command::new(micro);
    command.arg("now").stdout(Stdio::piped());
    let (start, spawning) = (wall(), Instant::now());
    let mut child = sandbox.spawn(command).expect("micro runs in the sandbox");
    step("spawn", times);
    let main = read(&mut child.take_stdout().expect("piped"));
    child.wait().expect("a child of ours");
    step("run and end", times);
    times.add(name, "whole", spawning.elapsed());
    times.add(name, "to main", main.saturating_sub(start));
}

fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970")
}

fn read(from: &mut impl Read) -> Duration {
    let mut text = String::new();
    from.read_to_string(&mut text).expect("micro says when it began");
    Duration::from_nanos(text.trim().parse().expect("a number"))
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    let middle = all.len() / 2;
    if all.len() % 2 == 1 { all[middle] } else { (all[middle - 1] + all[middle]) / 2.0 }
}
