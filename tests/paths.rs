//! The fast and the slow path of resolution give the same answer, and the kernel is the judge.
//!
//! A path without a link is one call of the kernel for the supervisor; a link in it makes the supervisor walk. So each path of
//! a random tree is looked up as it is and behind links that lead to where it begins: what is found, and which error says that
//! nothing is, does not depend on that.
//!
//! Seen to fail with the slash behind a name forgotten in the walk.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use common::Env;

/// What each path and its variants led to, as blocks of lines.
fn blocks(text: &str) -> Vec<(String, Vec<&str>)> {
    let mut blocks: Vec<(String, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        match line.strip_prefix(' ') {
            None => blocks.push((line.to_owned(), Vec::new())),
            Some(line) => blocks.last_mut().unwrap().1.push(line),
        }
    }
    blocks
}

#[track_caller]
fn paths_are_the_same(seeds: std::ops::Range<u32>, reading: &str, rules: &[&str]) {
    let env = Env::new();
    let program = env.program("paths");
    for seed in seeds {
        let dirs = [format!("ok/n{seed}"), format!("ok/s{seed}")].map(|name| env.path(&name));
        let run = |dir| env.run(&program).arg(seed.to_string()).arg(dir).arg(reading);
        let native = run(&dirs[0]).output().succeeded();
        let mut inside = run(&dirs[1]);
        for rule in rules {
            inside = inside.rule(rule);
        }
        let inside = inside.output().succeeded();
        let (native, inside) = (blocks(&native.stdout), blocks(&inside.stdout));
        assert_eq!(native.len(), inside.len());
        let mut plain = &inside[0];
        for (native, inside) in native.iter().zip(&inside) {
            assert_eq!(native, inside, "seed {seed}: the kernel and the sandbox");
            if inside.0.starts_with("path") {
                plain = inside;
            } else {
                assert_eq!(plain.1, inside.1, "seed {seed}: {} and {}", plain.0, inside.0);
            }
        }
    }
}

#[test]
fn both_ways_find_the_same() {
    paths_are_the_same(0..6, "0", &["core/sandbox/write:allow"]);
}

#[test]
fn both_ways_find_the_same_to_read() {
    paths_are_the_same(12..15, "1", &["core/sandbox/write:allow", "core/sandbox/read:allow"]);
}
