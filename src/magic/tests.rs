//! The language as a whole.
#![forbid(unsafe_code)]

use super::command::Command;
use super::parse::MAX_LENGTH;
use nix::errno::Errno;
use proptest::prelude::*;

use super::*;
use crate::policy::{Access, Lock, Mode, NetMode, State};

const STARTUP: Arming = Arming { read: false, exec: false, network: false, write: false, startup: true };
const ARMED: Arming = Arming { read: true, exec: true, network: true, write: true, startup: false };
const BARE: Arming = Arming { read: false, exec: false, network: true, write: true, startup: false };

fn said(text: &str) -> String {
    match parse(text.as_bytes()) {
        Ok(command) => command.to_string(),
        Err(error) => panic!("{text}: {error}"),
    }
}

#[test]
fn all_dialects_become_sections() {
    for (text, section) in [
        ("", ""),
        ("check", ""),
        ("2", "2"),
        ("007", "7"),
        ("99999999999999999999", "4294967295"),
        ("core/sandbox/exec:bpf", "core/sandbox/exec:deny"),
        ("core/sandbox/network:local", "core/sandbox/network:local"),
        ("core/sandbox/write?", "core/sandbox/write?"),
        ("core/whitelist/successful_bind:no", "core/allowlist/successful_bind:false"),
        ("core/restrict/id_change:t", "core/restrict/identity_change:true"),
        ("core/trace/memory_access:2", "core/trace/memory_access:true"),
        ("whitelist/write+/a//b/", "allowlist/write+/a/b"),
        ("blacklist/read-/a?b", "denylist/read-/a?b"),
        ("allowlist/write+/a:b?c+d-e!f", "allowlist/write+/a:b?c+d-e!f"),
        ("allowlist/network/bind+inet6:::1/128@9050", "allowlist/network/bind+inet6:::1@9050"),
        ("filter/network+LOOPBACK", "filter/network+inet:127.0.0.0/8"),
        ("exec/kill_if_match-/bin/x", "exec/kill_if_match-/bin/x"),
        ("core/trace/allow/ptrace:yes", "core/trace/allow/ptrace:true"),
        ("core/trace/allow/keyctl?", "core/trace/allow/keyctl?"),
        ("cmd/exec!a\x1fb", "cmd/exec!a\\x1fb"),
        ("exec!a", "cmd/exec!a"),
        ("lock", "core/trace/magic_lock:on"),
        ("enable", "core/sandbox/write:deny"),
        ("disable_net", "core/sandbox/network:off"),
        ("enabled_exec", "core/sandbox/exec?"),
        ("allow_path//tmp/x", "allowlist/write+/tmp/x/***"),
        ("allow//tmp/[x]*", "allowlist/write+/tmp/\\[x]\\*/***"),
        ("allow_exec//", "allowlist/exec+/***"),
        ("disallow//tmp", "allowlist/write-/tmp/***"),
        ("deny_read//tmp", "denylist/read+/tmp/***"),
        ("undeny//tmp", "denylist/write-/tmp/***"),
        ("allow_net/LOOPBACK@0", "allowlist/network/bind+inet:127.0.0.0/8@0"),
        ("allow_net_connect/unix:/run/nscd/socket", "allowlist/network/connect+unix:/run/nscd/socket"),
        ("addfilter//usr/lib*/python*/*.pyc", "filter/write+/usr/lib*/python*/*.pyc"),
        ("rmfilter_net/LOCAL@80", "filter/network-LOCAL@80"),
        ("kill//bin/*", "exec/kill_if_match+/bin/*"),
        ("net/local", "core/sandbox/network:local"),
        ("on", "core/sandbox/write:deny"),
        ("toggle", "toggle"),
        ("wait/eldest", "core/trace/exit_wait_all:false"),
        ("nowrap/lstat", "core/trace/wrap_lstat:false"),
        ("sandunbox/net", "core/sandbox/network:off"),
        ("write//tmp", "allowlist/write+/tmp/***"),
        ("rmexec//bin", "allowlist/exec-/bin/***"),
        ("net/whitelist/connect/inet://192.0.2.1:23", "allowlist/network/connect+inet:192.0.2.1@23"),
        ("net/unwhitelist/bind/LOOPBACK6", "allowlist/network/bind-inet6:::1"),
        ("net/restrict_connect", "core/restrict/connect:true"),
    ] {
        assert_eq!(said(text), section, "{text}");
    }
}

#[test]
fn errors_point_at_the_place() {
    for (text, column) in [
        ("nothing", 3),
        ("core/sandbox/writ:deny", 18),
        ("core/sandbox/writes:deny", 19),
        ("core/sandbox/write", 19),
        ("core/sandbox/write+deny", 19),
        ("core/sandbox/write:dony", 20),
        ("core/sandbox/write:local", 20),
        ("core/sandbox/write:", 20),
        ("core/sandbox/write?x", 20),
        ("core/violation/exit_code?", 25),
        ("core/match/no_wildcard?", 23),
        ("core/trace/follow_fork:", 24),
        ("allowlist/write:/a", 16),
        ("allowlist/write+a", 17),
        ("allowlist/write+/a[", 19),
        ("allowlist/network/bind+inet:1.2.3@4", 29),
        ("cmd/exec!", 10),
        ("cmd/exec:x", 9),
        ("allow", 6),
        ("allow/tmp", 7),
        ("allow//tmp/../etc", 7),
        ("lock/x", 5),
        ("kill/x", 6),
        ("/", 1),
        ("check\0", 6),
    ] {
        let error = parse(text.as_bytes()).expect_err(text);
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.message.starts_with("expected"), "{text}: {error}");
    }
    assert!(parse(&vec![b'x'; MAX_LENGTH + 1]).is_err());
    let longest = [b"allow/", &vec![b'/'; MAX_LENGTH - 6][..]].concat();
    assert!(parse(&longest).is_ok());
}

fn run(text: &str, state: &State, arming: Arming) -> Result<Outcome, Errno> {
    let command = parse(text.as_bytes()).expect(text);
    apply(&command, state, &arming).map_err(|refusal| refusal.errno)
}

fn changed(text: &str, state: &State, arming: Arming) -> State {
    match run(text, state, arming) {
        Ok(Outcome::Changed(state)) => state,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn questions_are_answered() {
    let state = State { network: NetMode::Local, ..State::default() };
    for (text, yes) in [
        ("", true),
        ("1", true),
        ("2", true),
        ("0", false),
        ("3", false),
        ("enabled", false),
        ("enabled_net", true),
        ("core/trace/exit_wait_all?", true),
        ("core/violation/raise_fail?", false),
        ("core/trace/use_seize?", true),
    ] {
        assert_eq!(run(text, &state, BARE), Ok(if yes { Outcome::Yes } else { Outcome::No }), "{text}");
    }
}

#[test]
fn changes_are_made_on_a_copy() {
    let state = State::default();
    let new = changed("core/sandbox/write:deny", &state, BARE);
    assert_eq!((state.write, new.write), (Mode::Off, Mode::Deny));
    let new = changed("toggle", &new, BARE);
    assert_eq!(new, state);
    assert_eq!(changed("toggle", &new, BARE).write, Mode::Deny);
    let with = changed("allow//tmp", &state, BARE);
    assert_ne!(with, state);
    assert_eq!(changed("disallow//tmp", &with, BARE), state);
    assert_eq!(run("disallow//tmp", &state, BARE), Err(Errno::EINVAL));
    assert_eq!(changed("core/trace/follow_fork:false", &state, BARE).ignored_off, 1);
}

#[test]
fn the_lock_only_rises() {
    let exec = changed("exec_lock", &State::default(), BARE);
    assert_eq!(exec.lock, Lock::Exec);
    assert_eq!(changed("exec_lock", &exec, BARE).lock, Lock::Exec);
    assert_eq!(run("core/trace/magic_lock:off", &exec, BARE), Err(Errno::EINVAL));
    let on = changed("lock", &exec, BARE);
    assert_eq!(on.lock, Lock::On);
    assert_eq!(run("core/trace/magic_lock:exec", &on, STARTUP), Err(Errno::EINVAL));
}

#[test]
fn what_is_not_armed_cannot_be_switched_on() {
    let state = State::default();
    for text in ["enable_exec", "enable_read", "core/sandbox/read:allow", "kill//bin/x", "resume//bin/x"] {
        assert_eq!(run(text, &state, BARE), Err(Errno::ENOTSUP), "{text}");
        changed(text, &state, STARTUP);
        changed(text, &state, ARMED);
    }
    let refusal = apply(&parse(b"enable_read").expect("command"), &state, &BARE).expect_err("not armed");
    assert!(refusal.message.contains("--arm read"), "{}", refusal.message);
    for text in ["disable_read", "allow_read//x", "addfilter_exec//x", "enable_net"] {
        changed(text, &state, BARE);
    }
    assert_eq!(run("enable", &state, Arming { write: false, ..ARMED }), Err(Errno::ENOTSUP));
    for text in [
        "core/restrict/file_control:true",
        "core/restrict/shared_memory_writable:true",
        "core/trace/allow_cmd:true",
        "core/trace/allow/ptrace:true",
        "core/trace/allow_unsafe_connect:true",
    ] {
        assert_eq!(run(text, &state, ARMED), Err(Errno::ENOTSUP), "{text}");
        changed(text, &state, STARTUP);
    }
    assert_eq!(run("exec!true", &state, ARMED), Err(Errno::EPERM));
    let command = parse(b"exec!true").unwrap();
    assert_eq!(apply(&command, &State { allow_cmd: true, ..state }, &ARMED), Ok(Outcome::Run));
    assert!(!State::default().mentions_read());
    assert!(changed("deny_read//x", &State::default(), STARTUP).mentions(Access::Read));
}

fn words() -> impl Strategy<Value = Vec<u8>> {
    let known = options().map(|info| info.name.into_bytes());
    let more = [
        "allow",
        "deny",
        "addfilter",
        "write",
        "allow_net",
        "kill",
        "exec",
        "cmd/exec",
        "net",
        "whitelist",
        "true",
    ];
    let known: Vec<Vec<u8>> = known.chain(more.map(|word| word.as_bytes().to_vec())).collect();
    let piece = prop_oneof![
        prop::sample::select(known),
        prop::sample::select(vec![
            ":",
            "?",
            "+",
            "-",
            "!",
            "/",
            "//",
            "*",
            "[a",
            "]",
            "inet:1.2.3.4",
            "@80",
            "unix:",
            "\\"
        ])
        .prop_map(|word| word.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn nothing_panics_and_what_is_said_can_be_said_again(
        text in prop_oneof![words(), prop::collection::vec(any::<u8>(), 0..64)],
    ) {
        match parse(&text) {
            Ok(command) => {
                let again = command.to_bytes();
                prop_assert_eq!(parse(&again), Ok(command.clone()), "{:?}", again);
                if std::str::from_utf8(&again).is_ok_and(|text| !text.chars().any(char::is_control)) {
                    prop_assert_eq!(command.to_string().into_bytes(), again);
                }
                let before = State::default();
                if let Ok(Outcome::Changed(after)) = apply(&command, &before, &STARTUP) {
                    prop_assert!(apply(&command, &after, &STARTUP).is_ok() || matches!(command, Command::Remove(..)));
                }
            }
            Err(error) => prop_assert!((1..=text.len() + 1).contains(&error.column), "{}", error),
        }
    }
}
