//! Programs that run outside the sandbox, because somebody in it asked for them and may.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use common::{Env, Run, becomes, is_root, source};

/// A shell in a sandbox that refuses to write to `no`, with `esandbox` at hand.
fn shell<'e>(env: &'e Env, script: &str) -> Run<'e> {
    env.sh(&format!(". {}; {script}", source("esandbox/esandbox").display())).sandboxed()
}

fn allowed(run: Run<'_>) -> Run<'_> {
    run.rule("core/trace/allow_cmd:true")
}

/// What is written, by when it is all there: nobody waits for the program.
#[track_caller]
fn written(env: &Env, name: &str) -> String {
    let read = || std::fs::read_to_string(env.path(name)).unwrap_or_default();
    assert!(becomes(|| read().ends_with("end\n")), "{:?}", read());
    read()
}

#[test]
fn it_may_what_its_caller_may_not() {
    let env = Env::new();
    // Natively nothing is refused; in the sandbox it is, and a program outside does it.
    assert!(env.sh("echo end >no/native").output().status.success());
    let done =
        allowed(shell(&env, "echo end >no/inside; esandbox exec sh -c 'echo end >no/outside'; echo $?"));
    let done = done.output();
    assert_eq!(done.stdout, "0\n", "{done:?}");
    assert_eq!(written(&env, "no/native"), written(&env, "no/outside"));
    assert!(!env.path("no/inside").exists());
}

/// Without the test of `allow_cmd` in `magic::apply` the files are there.
#[test]
fn it_is_refused_unless_it_was_allowed_from_the_start() {
    let env = Env::new();
    let exec = "esandbox exec touch no/made; echo $?";
    for (run, why) in [
        (shell(&env, exec), "needs core/trace/allow_cmd:true"),
        (
            shell(&env, &format!("test -e /dev/sydbox/core/trace/allow_cmd:true; {exec}")),
            "can be changed only",
        ),
        (
            allowed(shell(&env, &format!("test -e /dev/sydbox/core/trace/allow_cmd:false; {exec}"))),
            "needs core/trace/allow_cmd:true",
        ),
        (allowed(shell(&env, &format!("esandbox lock; {exec}"))), "esandbox: exec"),
        (allowed(shell(&env, exec)).option("--lock"), "esandbox: exec"),
        (
            allowed(shell(
                &env,
                &format!(
                    "esandbox exec_lock; sh -c '. \"$1\"; {exec}' sh {}",
                    source("esandbox/esandbox").display()
                ),
            )),
            "esandbox: exec",
        ),
    ] {
        let done = run.output();
        assert_eq!(done.stdout, "1\n", "{done:?}");
        assert!(done.stderr.contains(why), "{done:?}");
    }
    // Neither a profile nor an option runs anything.
    let profile = env.path("profile");
    std::fs::write(&profile, "core/trace/allow_cmd:true\ncmd/exec!touch\x1fno/made\n").unwrap();
    for run in [
        allowed(env.sh("true")).rule("cmd/exec!touch\x1fno/made"),
        env.sh("true").option("-c").option(&profile),
    ] {
        let done = run.output();
        assert_eq!(done.status.code(), Some(125), "{done:?}");
        assert!(done.stderr.contains("can only be asked for by a program in the sandbox"), "{done:?}");
    }
    assert!(!env.path("no/made").exists());
}

#[test]
fn errors_are_those_of_the_exec() {
    let env = Env::new();
    std::fs::write(env.path("ok/plain"), "no program").unwrap();
    let script = r#"
import os
for name in ["missing", "/missing/program", "ok/plain", "./ok", "ok/plain/x"]:
    try:
        os.stat("/dev/sydbox/cmd/exec!" + name)
    except OSError as error:
        print(name, error.strerror)
"#;
    let done = allowed(env.run("python3").args(["-c", script]).sandboxed().set("PATH", "/usr/bin:/bin"));
    let done = done.output().succeeded();
    let expected = "missing No such file or directory\n/missing/program No such file or directory\n\
                    ok/plain Permission denied\n./ok Permission denied\nok/plain/x Not a directory\n";
    assert_eq!(done.stdout, expected, "{done:?}");
    assert!(done.stderr.contains("cannot be run outside the sandbox: ENOENT"), "{done:?}");
}

/// All that a child of the caller would have, and nothing of the supervisor's. Seen to fail without `limits`, without the
/// signals' actions, and without `close_range`.
#[test]
fn it_is_like_a_child_of_its_caller() {
    const LOOK: &str = "exec 2>&1; echo args: $# \"<$1>\" \"<$2>\"; pwd; umask; echo env: $FROM_START \"<$LATER>\"; \
        read line; echo in: $line; ulimit -n; ulimit -c; grep -E 'Shd|SigBlk|SigIgn|NoNew|^(Uid|Gid|Groups)' /proc/self/status; \
        ls /proc/self/fd | tr '\\n' ' '; cut -d' ' -f5,6 /proc/self/stat; echo end";
    let env = Env::new();
    // The native child has the same directory, streams and all; `exec` is the only difference.
    let setup = "cd ok; umask 027; LATER=1; export LATER; ulimit -Sn 77; trap '' HUP PIPE";
    // A descriptor that the caller closed, and the supervisor still has.
    let outer = "exec 7</; exec \"$@\"";
    let run = |sandbox: &[&str], how: &str, out: &str| {
        let script = format!(
            ". {}; {setup}; exec 7<&-; echo a line >input; {how} sh -c \"$LOOK\" sh 'a  b' '' <input >../{out}",
            source("esandbox/esandbox").display()
        );
        let run = env.run("sh").args(["-c", outer, "sh"]).args(sandbox).args(["sh", "-c", &script]);
        run.set("SYDBOX_NO_CONFIG", "1").set("LOOK", LOOK).set("FROM_START", "yes")
    };
    let native = {
        run(&[], "", "no/native").output().succeeded();
        written(&env, "no/native")
    };
    // The redirection is the caller's, so it may write there.
    let sydbox = common::sydbox();
    let rules = ["-m", "core/sandbox/write:allow", "-m", "core/trace/allow_cmd:true", "--"];
    let sandbox = [&[sydbox.to_str().unwrap()], &rules[..]].concat();
    let inside = run(&sandbox, "esandbox exec", "no/outside").output();
    assert!(inside.status.success(), "{inside:?}");
    let outside = written(&env, "no/outside");
    for line in ["args: 2 <a  b> <>", "in: a line", "0027", "77"] {
        assert!(native.lines().any(|other| other == line), "{line}: {native}");
    }
    // What is known to differ: the environment is that of the caller's start, core dumps are off in a sandbox, nobody
    // gains privilege, and each run has its own group and session.
    let alike = |text: &str| {
        let differs = |line: &&str| {
            let known = ["env:", "NoNewPrivs:", "ShdPnd:"].iter().any(|start| line.starts_with(start));
            !known && !line.starts_with(|c: char| c.is_ascii_digit())
        };
        // Two signals are the C library's own, which handles them in a supervisor and so does not hand "ignored" on.
        let own = |line: &str| match line.strip_prefix("SigIgn:\t") {
            Some(mask) => format!("{:x}", u64::from_str_radix(mask, 16).unwrap() & !(3 << 31)),
            None => line.to_owned(),
        };
        text.lines().filter(differs).map(own).collect::<Vec<_>>()
    };
    assert_eq!(alike(&native), alike(&outside));
    assert!(native.contains("env: yes <1>") && outside.contains("env: yes <>"), "{outside}");
    assert!(outside.contains("NoNewPrivs:\t1\n"), "{outside}");
    let fds =
        |text: &str| text.lines().rev().nth(1).unwrap().split(' ').map(str::to_owned).collect::<Vec<_>>();
    // The last is the directory that is listed. Group and session stand behind.
    let seen = fds(&outside);
    assert!(seen.len() == 6 && seen[..4] == ["0", "1", "2", "3"], "{outside}");
    assert!(outside.lines().any(|line| line == "0") && outside.lines().any(|line| line == "77"), "{outside}");
}

#[test]
fn a_closed_stream_is_the_null_device() {
    let env = Env::new();
    let script = "import os; os.close(0); os.close(1); \
        os.stat('/dev/sydbox/cmd/exec!sh\\x1f-c\\x1f(readlink /proc/$$/fd/0 /proc/$$/fd/1; echo end) >ok/err')";
    allowed(env.run("python3").args(["-c", script]).sandboxed()).output().succeeded();
    assert_eq!(written(&env, "ok/err"), "/dev/null\n/dev/null\nend\n");
}

/// The number of the state is not handed on, nor are the filter and the domain; and nobody has to wait for it.
#[test]
fn nothing_of_the_sandbox_clings_to_it() {
    let env = Env::new();
    let script = "esandbox enable_net; \
        esandbox exec sh -c 'grep -E \"^Seccomp:|^PPid\" /proc/self/status; grep locks /proc/self/limits; \
                             test -e /dev/sydbox || echo no magic; kill -0 $0 && echo kill; echo end' \"$1\" >no/out";
    let script = format!(". {}; {script}", source("esandbox/esandbox").display());
    let here = std::process::id().to_string();
    let run = env.sh(&script).arg("sh").arg(&here).mediated();
    allowed(run).output().succeeded();
    let said = written(&env, "no/out");
    let locks = std::fs::read_to_string("/proc/self/limits").unwrap();
    let locks = locks.lines().find(|line| line.contains("locks")).unwrap();
    assert!(
        said.contains(locks) && said.contains("Seccomp:\t0\n") && said.contains("no magic\nkill\n"),
        "{said}"
    );
    // No zombie, however many there are.
    let script = format!(
        ". {}; for i in 1 2 3 4 5 6 7 8 9; do esandbox exec true; done; echo ready; read x",
        source("esandbox/esandbox").display()
    );
    let mut running = allowed(env.sh(&script).sandboxed()).start();
    let mut ready = [0; 6];
    std::io::Read::read_exact(running.child.stdout.as_mut().unwrap(), &mut ready).unwrap();
    // One descriptor less than before: none is left of those programs.
    assert!(common::becomes(|| running.zombies() == 0), "{} zombies", running.zombies());
    drop(running.child.stdin.take());
    let _ = running.finish();
}

/// Never more than the caller has: its ids, its groups, and none of the capabilities that its tree lost. With
/// `identity: None` it runs as root.
#[test]
fn it_runs_as_its_caller() {
    if !is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let env = Env::new();
    std::fs::set_permissions(env.path(""), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let script = r#"
import os, sys
os.setgroups([4321])
if sys.argv[1] == "user":
    os.setresgid(1234, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
os.stat("/dev/sydbox/cmd/exec!cat\x1f/proc/self/status\x1fok/secret")
"#;
    std::fs::write(env.path("ok/secret"), "secret\n").unwrap();
    std::fs::set_permissions(env.path("ok/secret"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    // Whoever reads the output waits for the program as well.
    let run = |who: &str| {
        let run = allowed(env.run("python3").args(["-c", script, who]).sandboxed());
        run.rule("core/restrict/identity_change:false").output().succeeded()
    };
    let user = run("user");
    for line in [
        "Uid:\t65534\t65534\t65534\t65534",
        "Gid:\t1234\t65534\t65534\t65534",
        "Groups:\t4321 ",
        "CapEff:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        assert!(user.stdout.lines().any(|said| said == line), "{line}: {user:?}");
    }
    assert!(user.stderr.contains("cat: ok/secret: Permission denied"), "{user:?}");
    let root = run("root").stdout;
    assert!(root.ends_with("secret\n") && root.contains("Uid:\t0\t0\t0\t0\n"), "{root}");
    // CAP_SYS_ADMIN and CAP_SYS_PTRACE, which the tree lost, are not there; CAP_CHOWN is.
    for set in ["CapPrm:\t", "CapEff:\t", "CapBnd:\t"] {
        let line = root.lines().find_map(|line| line.strip_prefix(set)).unwrap();
        let mask = u64::from_str_radix(line, 16).unwrap();
        assert_eq!((mask & (1 << 21 | 1 << 19), mask & 1), (0, 1), "{root}");
    }
}
