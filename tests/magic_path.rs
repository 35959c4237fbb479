//! Which calls carry magic, in which spellings, and what is answered.
//!
//! Each call carries `core/sandbox/write:off`, and the program says afterwards whether writing is still sandboxed.
//!
//! Seen to fail with `command()` of the broker folding the first two slashes (other spellings), and with the state changed
//! before the answer is written (bad buffers).
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use common::{Done, Env, Run, has};

const OFF: &str = "/dev/sydbox/core/sandbox/write:off";

fn call<'e>(env: &'e Env, call: &str, path: &str) -> Run<'e> {
    env.run(env.program("magic")).arg(call).arg(path).sandboxed()
}

#[track_caller]
fn expect(done: &Done, lines: &[&str]) {
    assert!(done.status.success(), "{done:#?}");
    assert_eq!(done.stdout.lines().collect::<Vec<_>>(), lines, "{done:#?}");
}

#[test]
fn following_stats_of_the_literal_name_are_magic() {
    let env = Env::new();
    let device = "mode 20666 rdev 1:3 size 0";
    for name in ["stat", "newfstatat", "statx", "high bits"] {
        expect(&call(&env, name, OFF).output(), &["0", device, "write off"]);
        expect(&call(&env, name, "/dev/sydbox").output(), &["0", device, "write on"]);
    }
    // AT_NO_AUTOMOUNT and AT_STATX_DONT_SYNC are no obstacle.
    expect(&call(&env, "newfstatat", OFF).arg("2048").output(), &["0", device, "write off"]);
    expect(&call(&env, "statx", OFF).arg("16384").output(), &["0", device, "write off"]);
    expect(&call(&env, "page end", OFF).output(), &["0", "EFAULT", "write off"]);
}

/// The same names without the sandbox are nothing at all.
#[test]
fn without_the_sandbox_there_is_no_magic() {
    let env = Env::new();
    for name in ["stat", "newfstatat", "statx"] {
        let done = env.run(env.program("magic")).arg(name).arg("/dev/sydbox").output();
        expect(&done, &["ENOENT", "write off"]);
    }
}

#[test]
fn other_calls_are_not_magic() {
    let env = Env::new();
    for name in [
        "lstat",
        "newfstatat-nofollow",
        "statx-nofollow",
        "newfstatat-dirfd",
        "statx-dirfd",
        "relative",
        "cwd",
        "root",
        "access",
        "access-w",
        "faccessat2",
        "open",
        "open-w",
        "open-path",
        "readlink",
        "chdir",
        "getxattr",
        "truncate",
    ] {
        let done = call(&env, name, OFF).output();
        expect(&done, &["ENOENT", "write on"]);
        assert!(done.violations.is_empty(), "{name}: {done:#?}");
        expect(&call(&env, name, "/dev/sydbox").output(), &["ENOENT", "write on"]);
    }
}

#[test]
fn other_spellings_are_not_magic() {
    let env = Env::new();
    std::os::unix::fs::symlink("/dev/sydbox", env.path("link")).unwrap();
    std::os::unix::fs::symlink(OFF, env.path("command")).unwrap();
    std::os::unix::fs::symlink("/dev", env.path("dev")).unwrap();
    for path in [
        "//dev/sydbox/core/sandbox/write:off",
        "/dev//sydbox/core/sandbox/write:off",
        "/./dev/sydbox/core/sandbox/write:off",
        "/dev/./sydbox/core/sandbox/write:off",
        "/dev/../dev/sydbox/core/sandbox/write:off",
        "/dev/sydboxes/core/sandbox/write:off",
        "/dev/sydbo",
        "/DEV/SYDBOX/core/sandbox/write:off",
        "/proc/self/root/dev/sydbox/core/sandbox/write:off",
        &env.text("link/core/sandbox/write:off"),
        &env.text("link"),
        &env.text("command"),
        &env.text("dev/sydbox/core/sandbox/write:off"),
    ] {
        for name in ["stat", "newfstatat", "statx"] {
            expect(&call(&env, name, path).output(), &["ENOENT", "write on"]);
        }
    }
}

#[test]
fn what_is_wrong_is_said_and_changes_nothing() {
    let env = Env::new();
    for (path, errno) in [
        ("core/sandbox/write:sometimes", "EINVAL"),
        ("core/sandbox/write+deny", "EINVAL"),
        ("core/sandbox/wriet:off", "EINVAL"),
        ("core/sandbox/write:off\nmore", "EINVAL"),
        ("core/sandbox/write:off/", "EINVAL"),
        ("core/sandbox/write", "EINVAL"),
        ("bogus", "EINVAL"),
        ("/", "EINVAL"),
        ("/core/sandbox/write:off", "EINVAL"),
        ("allowlist/write+relative", "EINVAL"),
        ("allowlist/write-/never/added", "EINVAL"),
        ("allowlist/network/bind+inet:300.0.0.1@80", "EINVAL"),
        ("allow_path/", "EINVAL"),
        ("core/sandbox/read:deny", "EOPNOTSUPP"),
        ("enable_read", "EOPNOTSUPP"),
    ] {
        let done = call(&env, "stat", &format!("/dev/sydbox/{path}")).output();
        expect(&done, &[errno, "write on"]);
        assert!(done.stderr.contains("sydbox: "), "{path}: nothing is said: {done:#?}");
        if errno == "EOPNOTSUPP" {
            assert!(done.stderr.contains("--arm read"), "{path}: {done:#?}");
        }
        assert!(!done.stderr.contains('\u{b}') && done.stderr.lines().count() <= 2, "{done:#?}");
    }
    // A query that is false is no mistake.
    for path in
        ["core/sandbox/exec?", "core/sandbox/read?", "enabled_net", "0", "3", "core/violation/raise_safe?"]
    {
        let done = call(&env, "stat", &format!("/dev/sydbox/{path}")).output();
        expect(&done, &["ENOENT", "write on"]);
        assert_eq!(done.stderr, "", "{path}");
    }
    for path in ["core/sandbox/write?", "enabled", "enabled_path", "1", "2", "check", ""] {
        let done = call(&env, "stat", &format!("/dev/sydbox/{path}")).output();
        assert!(done.stdout.starts_with("0\n") && done.stderr.is_empty(), "{path}: {done:#?}");
    }
}

#[test]
fn read_sandboxing_that_is_armed_can_be_switched_on() {
    let env = Env::new();
    std::fs::write(env.path("no/secret"), "secret\n").unwrap();
    let script = "cat no/secret; test -e /dev/sydbox/core/sandbox/read:allow && \
        test -e \"/dev/sydbox/denylist/read+$PWD/no/***\" && echo on; cat no/secret 2>/dev/null || echo refused";
    let done = env.sh(script).sandboxed().option("--arm").option("read").output();
    if done.stderr.contains("not available in this version") {
        eprintln!("skipped: {}", done.stderr);
        return;
    }
    expect(&done, &["secret", "on", "refused"]);
}

#[test]
fn long_commands() {
    let env = Env::new();
    for (length, answer) in [("4000", "0"), ("4100", "0"), ("60000", "0"), ("70000", "ENAMETOOLONG")] {
        let done = call(&env, "long", length).output();
        expect(&done, &[answer, "write on"]);
    }
}

/// A buffer that cannot take the answer: `EFAULT`, and nothing has happened.
#[test]
fn bad_buffers() {
    let env = Env::new();
    expect(&call(&env, "read-only buffer", OFF).output(), &["EFAULT", "write on"]);
    expect(&call(&env, "read-only buffer", OFF).arg("statx").output(), &["EFAULT", "write on"]);
    expect(&call(&env, "bad buffer", OFF).output(), &["EFAULT", "EFAULT", "EFAULT", "write on"]);
    expect(&call(&env, "half a buffer", OFF).output(), &["EFAULT", "write on"]);
    expect(&call(&env, "bad path", OFF).output(), &["EFAULT", "EFAULT", "write on"]);
}

/// What the shells, Python and Perl do for "does it exist" is magic.
#[test]
fn languages() {
    let env = Env::new();
    let test = format!("test -e {OFF}; echo $?; test -e '/dev/sydbox/core/sandbox/write?'; echo $?");
    let bracket = format!("[ -e {OFF} ]; echo $?; [[ -e '/dev/sydbox/core/sandbox/write?' ]]; echo $?");
    // What zsh does for -e is access(2).
    let device = test.replace("-e", "-c");
    let python = format!(
        "import os; print(int(not os.path.exists('{OFF}'))); \
         print(int(not os.path.exists('/dev/sydbox/core/sandbox/write?')))"
    );
    let perl =
        format!("print -e '{OFF}' ? 0 : 1, qq(\\n), -e '/dev/sydbox/core/sandbox/write?' ? 0 : 1, qq(\\n)");
    for (words, script) in [
        (&["dash", "-c"][..], &test),
        (&["bash", "-c"], &test),
        (&["bash", "-c"], &bracket),
        (&["zsh", "-f", "-c"], &device),
        (&["dash", "-c"], &device),
        (&["busybox", "ash", "-c"], &test),
        (&["python3", "-c"], &python),
        (&["perl", "-e"], &perl),
    ] {
        if !has(words[0]) {
            continue;
        }
        let run = env.run(words[0]).args(&words[1..]).arg(script);
        expect(&run.clone().sandboxed().output(), &["0", "1"]);
        expect(&run.output(), &["1", "1"]);
    }
    // stat(1) and ls(1) look at the link itself.
    let done = env.sh("stat /dev/sydbox >ok/out 2>&1; echo $?").sandboxed().output();
    expect(&done, &["1"]);
}

/// `test -e` of zsh is access(2), where that of other shells is stat(2): there it is `test -c`, as esandbox says it.
#[test]
fn zsh_asks_by_another_test() {
    if !has("zsh") {
        return;
    }
    let env = Env::new();
    for (test, natively, inside) in [("-e", "no", "no"), ("-c", "no", "yes")] {
        let run =
            env.run("zsh").args(["-f", "-c", &format!("test {test} /dev/sydbox && echo yes || echo no")]);
        expect(&run.output(), &[natively]);
        expect(&run.sandboxed().output(), &[inside]);
    }
}
