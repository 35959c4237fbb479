//! Many processes, and many signals: every call is answered once, and nothing is left behind.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use std::io::{BufRead, BufReader, Write};

use common::{Env, becomes};

/// A shell that makes `count` processes, each of which makes a file.
fn many(dir: &str, count: u32) -> String {
    format!("i=0; while [ $i -lt {count} ]; do (: >{dir}/$i); i=$((i+1)); done")
}

fn files(env: &Env, dir: &str) -> usize {
    std::fs::read_dir(env.path(dir)).unwrap().count()
}

#[test]
fn a_thousand_short_processes() {
    let env = Env::new();
    let script =
        format!("{}; echo first; read line; {}; echo second; read line", many("ok", 100), many("ok", 1000));
    let mut running = env.sh(&script).brokered().start();
    let mut input = running.child.stdin.take().unwrap();
    let mut output = BufReader::new(running.child.stdout.take().unwrap());
    let mut line = || {
        let mut text = String::new();
        output.read_line(&mut text).unwrap();
        text
    };
    assert_eq!(line(), "first\n");
    let (_, before) = running.size();
    input.write_all(b"\n").unwrap();
    assert_eq!(line(), "second\n");
    // The shell waits in a pipe: what the supervisor has now is its own.
    assert!(becomes(|| running.size().1 <= before), "{before} descriptors became {:?}", running.size());
    assert!(becomes(|| running.size().0 <= 9), "{:?} threads", running.size());
    assert_eq!(running.zombies(), 0);
    input.write_all(b"\n").unwrap();
    drop(output);
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

/// make -j8 of a program in C, without what make says.
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
    let mut output = BufReader::new(running.child.stdout.take().unwrap());
    let mut line = || {
        let mut text = String::new();
        output.read_line(&mut text).unwrap();
        text
    };
    assert_eq!(line(), "ready\n");
    let ((threads, descriptors), memory) = (running.size(), running.memory());
    input.write_all(b"\n").unwrap();
    assert_eq!(line(), "done\n");
    let is_small = || {
        let (threads_now, descriptors_now) = running.size();
        // Up to four threads stay to wait for calls, one watches over those that block, and two are there from the start.
        threads_now <= threads.max(7) && descriptors_now <= descriptors
    };
    assert!(becomes(is_small), "({threads}, {descriptors}) became {:?}", running.size());
    // A descriptor's worth of memory for each open would be many times that.
    assert!(running.memory() <= memory + 2048, "{memory} kB became {} kB", running.memory());
    input.write_all(b"\n").unwrap();
    let done = running.finish();
    assert!(done.status.success() && done.violations.is_empty() && done.stderr.is_empty(), "{done:#?}");
    assert_eq!(files(&env, "ok"), 0);
}
