//! Signals of the command. Alone in this file, because handlers belong to the whole process.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, raise};
use sydbox::command::Forward;

#[test]
fn passed_on_or_survived_and_not_inherited() {
    let mut signals = Forward::install().unwrap();

    // Those of the terminal are survived; what comes too early is passed on later.
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
        raise(signal).unwrap();
    }
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    signals.to(child.id()).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGTERM as i32));

    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    signals.to(child.id()).unwrap();
    // Ignored under nohup, and so by the child.
    let passed = if common::is_ignored(Signal::SIGHUP) { Signal::SIGTERM } else { Signal::SIGHUP };
    raise(passed).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(passed as i32));

    // A program that is executed finds its signals as if sydbox were not there.
    let child = Command::new("cat").arg("/proc/self/status").stdout(Stdio::piped()).output().unwrap();
    let status = String::from_utf8(child.stdout).unwrap();
    for line in ["SigBlk:\t0000000000000000", "SigCgt:\t0000000000000000"] {
        assert!(status.contains(line), "{status}");
    }
}
