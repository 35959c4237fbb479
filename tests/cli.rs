//! The command, as far as it needs no sandbox.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use std::process::{Command, Output};

fn sydbox(arguments: &[&str]) -> Output {
    let mut command = Command::new(common::sydbox());
    command.env_remove("CLICOLOR_FORCE");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SYDBOX_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn help_and_version() {
    for option in ["-h", "--help"] {
        let output = sydbox(&[option]);
        assert_eq!(output.status.code(), Some(0));
        let help = text(&output.stdout);
        for word in
            ["-p, --profile <NAME>", "-N, --sandbox-network", "--allow-connect <ADDR>", "[COMMAND]..."]
        {
            assert!(help.contains(word), "{word} is missing:\n{help}");
        }
        assert!(!help.contains("--summary"), "an option without machinery");
    }
    assert!(text(&sydbox(&["--help"]).stdout).contains("SYDBOX_NET_WHITELIST_CONNECT"));
    for option in ["-V", "--version"] {
        let version = text(&sydbox(&[option]).stdout);
        assert!(version.starts_with(concat!("sydbox ", env!("CARGO_PKG_VERSION"), "\n")), "{version}");
        assert!(version.contains("features: ") && version.contains("APIs: 1 2"));
    }
}

#[test]
fn the_system_is_checked() {
    let output = sydbox(&["--test"]);
    let lines = text(&output.stdout);
    assert!(
        lines.contains("user notification (Linux 5.0)") && lines.contains("landlock: files (Linux 5.13)")
    );
    let verdict = if output.status.success() { "sydbox can run here" } else { "sydbox cannot run here" };
    assert_eq!(lines.lines().last(), Some(verdict));
    assert!(matches!(output.status.code(), Some(0 | 1)));
}

#[test]
fn completions_and_manual() {
    for shell in ["bash", "zsh", "fish"] {
        let output = sydbox(&["--completions", shell]);
        assert!(output.status.success() && text(&output.stdout).contains("sandbox-network"));
    }
    let output = sydbox(&["--man"]);
    let page = text(&output.stdout);
    assert!(output.status.success() && output.stderr.is_empty());
    for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "ENVIRONMENT", "\"EXIT STATUS\"", "SIGNALS"] {
        assert!(page.contains(&format!(".SH {section}")), "{section} is missing:\n{page}");
    }
}

#[test]
fn mistakes_are_125_and_say_what_to_do() {
    for (arguments, expected) in [
        (&["--bogus", "true"][..], "unexpected argument '--bogus'"),
        (&["-M", "maybe", "true"], "[possible values: allow, deny, local]"),
        (&["--export", "pfc"], "the only format is bpf"),
        (&["--completions", "nosuch"], "possible values:"),
        (&["-w", "", "true"], "give an absolute path"),
    ] {
        let output = sydbox(arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{error}");
        assert!(error.starts_with("sydbox: ") && error.contains(expected), "{error}");
        assert!(output.stdout.is_empty());
    }
}
