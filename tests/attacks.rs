//! What a hostile program tries: each of it got through once.
//!
//! Every test also sees that the attack is one, by its effect without the sandbox or by what the rules do allow.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};

use common::{Done, Env, Run, becomes, has, is_root};

fn attack<'e>(env: &'e Env, name: &str) -> Run<'e> {
    env.run(env.program("attack")).arg(name)
}

#[track_caller]
fn says(done: &Done, lines: &[&str]) {
    assert!(done.status.success(), "{done:#?}");
    assert_eq!(done.stdout.lines().collect::<Vec<_>>(), lines, "{done:#?}");
}

/// The memory of the supervisor, by the supervisor's own hands.
#[test]
fn the_supervisor_opens_no_process_outside() {
    let env = Env::new();
    let run = |file: &str| attack(&env, "supervisor").arg(file);
    assert!(run("environ").output().stdout.ends_with("\n0\n"), "the parent can be read without the sandbox");
    for mode in ["off", "allow"] {
        let mode = format!("core/sandbox/write:{mode}");
        let run = |file: &str| run(file).rule(&mode).rule("core/sandbox/network:deny").output();
        says(&run("mem"), &["EACCES", "EACCES"]);
        says(&run("task/../mem"), &["EACCES", "EACCES"]);
        says(&run("fd/1"), &["EACCES", "EACCES"]);
    }
    // One's own can be opened.
    let own = attack(&env, "open").args(["w", "/proc/self/mem", "/proc/thread-self/mem"]);
    says(&own.mediated().output(), &["0", "0"]);
}

/// The same where reading is mediated, and allowed.
#[test]
fn what_is_hidden_cannot_be_read_from_outside_processes() {
    let env = Env::new();
    for file in ["environ", "mem", "maps", "cwd/.", "root/.", "exe", "fd/0", "fdinfo/.", "task/../environ"] {
        let run = attack(&env, "supervisor").arg(file).rule("core/sandbox/read:allow");
        assert!(run.output().stdout.ends_with("EACCES\n"), "{file}");
    }
    for file in ["stat", "status", "cmdline", "task/.", "net/dev"] {
        let run = attack(&env, "supervisor").arg(file).rule("core/sandbox/read:allow");
        assert!(run.output().stdout.ends_with("\n0\n"), "{file}");
    }
    let own = ["r", "/proc/self/environ", "/proc/self/maps", "/proc/self/cwd/.", "/proc/self/exe"];
    let own = attack(&env, "open").args(own).rule("core/sandbox/read:allow");
    says(&own.output(), &["0"; 4]);
}

/// Who is locked does not act through who is not.
#[test]
fn the_memory_of_a_process_in_another_state_is_closed() {
    let env = Env::new();
    let run = attack(&env, "parent");
    says(&run.output(), &["0", "0", "ENOENT"]);
    says(&run.rule("core/sandbox/network:local").output(), &["0", "EACCES", "0"]);
}

/// Who is resumed may do anything: its memory is closed to those who may not, also where nothing else is mediated.
///
/// Seen to fail with writing not mediated for the sake of who is resumed.
#[test]
fn the_memory_of_who_is_resumed_is_closed() {
    let env = Env::new();
    let resumed = env.path("ok/resumed");
    common::copy(env.program("attack"), &resumed);
    let script = "mkfifo f g; exec 3<>g; \"$1\" siblings 0 <g >f & read made <f; \"$0\" open w /proc/$!/mem; echo >&3; wait";
    let run = env.sh(script).arg(env.program("attack")).arg(&resumed).dir(env.path("ok"));
    let rule = format!("exec/resume_if_match+{}", resumed.display());
    says(&run.output(), &["0"]);
    for options in [&["--lock"][..], &[]] {
        for fifo in ["ok/f", "ok/g"] {
            std::fs::remove_file(env.path(fifo)).unwrap();
        }
        let run = run.clone().rule("core/sandbox/network:deny").rule(&rule);
        let run = options.iter().fold(run, |run, option| run.option(option));
        says(&run.output(), &["EACCES"]);
    }
}

/// Runs a script where `ok/a/b` is denied and `ok/a` is missing; whether it made `ok/a/b/file`.
fn plants(script: &str, sandboxed: bool) -> bool {
    let env = Env::new();
    let mut run = env.sh(script).dir(env.path("ok"));
    if sandboxed {
        run = run.sandboxed().rule(format!("denylist/write+{}/***", env.text("ok/a/b")));
    }
    let done = run.output();
    assert_eq!(done.violations.is_empty(), !sandboxed, "{done:#?}");
    env.path("ok/a/b/file").exists()
}

/// What lies above a denied name comes to be with everything in it.
#[test]
fn nothing_is_put_above_a_denied_name() {
    for put in [
        "mv -T x a",
        "ln -s x a",
        "ln -s x y; mv -T y a",
        ": >a; ln -s x y; mv -T y a",
        "ln -s x y; ln -P y a",
    ] {
        let script = format!("mkdir -p x/b; : >x/b/file; {put}");
        assert!(plants(&script, false), "{script}");
        assert!(!plants(&script, true), "{script}");
    }
    // A directory that begins empty is harmless, and so is what lies beside the name.
    let env = Env::new();
    let run = env.sh("mkdir a c; : >a/file; mv c d; ln -s d e; mv e f; mv d a/c").dir(env.path("ok"));
    let done =
        run.sandboxed().rule(format!("denylist/write+{}/***", env.text("ok/a/b"))).output().succeeded();
    assert!(done.violations.is_empty(), "{done:#?}");
}

/// An exec that fails resumes nobody.
#[test]
fn an_exec_that_fails_takes_no_sandbox_off() {
    let env = Env::new();
    let program = env.program("attack");
    let no = env.path("no/file");
    let rule = format!("exec/resume_if_match+{}", env.text("ok/resumed"));
    common::copy(&program, env.path("ok/resumed"));
    let fails = attack(&env, "resume").arg(env.path("ok/resumed")).arg(&no);
    says(&fails.clone().output(), &["0", "EFAULT", "0"]);
    std::fs::remove_file(&no).unwrap();
    says(&fails.sandboxed().rule(&rule).output(), &["EPERM", "EFAULT", "EPERM"]);
    assert!(!no.exists());
    // One that succeeds does.
    std::fs::write(&no, "").unwrap();
    let run = env.sh("\"$0\" open w \"$1\"; exit").arg(env.path("ok/resumed")).arg(&no).sandboxed();
    let refused = run.clone().rule("exec/resume_if_match+/nothing").output();
    assert!(!refused.violations.is_empty(), "{refused:#?}");
    says(&run.rule(&rule).output(), &["0"]);
}

/// Executes `ok/NAME`, which is `ok/badx` by the time the kernel looks, until `no/ran` has all the letters, or so many times:
/// how often it was tried, and whether `ok/good` and `ok/badx` wrote their letters.
fn exchange(
    env: &Env,
    name: &str,
    tries: u32,
    letters: &str,
    dress: impl FnOnce(Run) -> Run,
) -> (u32, bool, bool) {
    let good = env.path("ok/good");
    let ran = env.path("no/ran");
    for copy in [&good, &env.path("ok/badx")] {
        common::copy(env.program("attack"), copy);
    }
    for file in ["ok/junk", "no/ran", "ok/written"] {
        std::fs::write(env.path(file), "").unwrap();
    }
    std::fs::set_permissions(env.path("ok/junk"), PermissionsExt::from_mode(0o755)).unwrap();
    let run = env.run(&good).arg("exec").arg(env.path(&format!("ok/{name}"))).arg(env.path("ok/badx"));
    let run = run.arg(tries.to_string()).arg(&ran).arg(env.path("ok/written")).arg(letters);
    let tried: u32 = dress(run).output().succeeded().stdout.trim().parse().unwrap();
    let ran = std::fs::read_to_string(ran).unwrap();
    (tried, ran.contains('d'), ran.contains('x'))
}

/// The name of a program, or of something that is none, is changed between the decision and the exec, while other
/// threads call. Tried four times as often as it took to succeed without the sandbox.
#[test]
fn no_other_program_than_the_approved_runs_on() {
    for (name, letters, approved) in [("good", "dx", true), ("junk", "x", false)] {
        let env = Env::new();
        let (needed, good, bad) = exchange(&env, name, u32::MAX >> 1, letters, |run| run);
        assert_eq!((good, bad), (approved, true), "{name}");
        let (_, good, bad) = exchange(&env, name, (4 * needed).clamp(100, 1000), "-", |run| {
            let run = run.sandboxed().rule("core/sandbox/exec:allow");
            let run = run.rule(format!("allowlist/write+{}", env.text("no/ran")));
            run.rule(format!("denylist/exec+{}", env.text("ok/badx")))
        });
        assert_eq!((good, bad), (approved, false), "{name}");
    }
}

/// Nor is another one resumed in its stead, though it may be executed.
///
/// Seen to fail with whoever may run taken for who was approved.
#[test]
fn no_other_program_than_the_approved_is_resumed() {
    let env = Env::new();
    let (needed, ..) = exchange(&env, "good", u32::MAX >> 1, "dx", |run| run);
    let (_, good, bad) = exchange(&env, "good", (4 * needed).clamp(100, 1000), "-", |run| {
        run.sandboxed().rule(format!("exec/resume_if_match+{}", env.text("ok/good")))
    });
    assert_eq!((good, bad), (true, false));
}

/// Who may bind a port gets no connection to whoever else has it.
#[test]
fn a_port_that_was_bound_otherwise_leads_nowhere() {
    for how in ["udp", "v6only"] {
        let env = Env::new();
        // Somebody may have the number otherwise.
        let found = (0..20).find_map(|_| {
            let outside = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = outside.local_addr().unwrap().port().to_string();
            let run = attack(&env, "port").arg(how).arg(&port);
            (run.clone().output().stdout == "0\n0\n0\n").then_some((outside, run))
        });
        let (_outside, run) = found.expect("a port that can be bound otherwise");
        let run = run.rule("core/sandbox/network:deny").rule("allowlist/network/bind+ANY");
        let run = run.rule("allowlist/network/bind+ANY6");
        says(&run.output(), &["ECONNREFUSED", "0", "ECONNREFUSED"]);
    }
}

/// Capabilities that are lost by executing something.
#[test]
fn a_root_without_capabilities_stays_without() {
    if !is_root() {
        eprintln!("skipped: only root has capabilities to lose");
        return;
    }
    let env = Env::new();
    for how in ["bounding", "securebits"] {
        let file = env.path("ok/theirs/file");
        let _ = std::fs::remove_dir_all(env.path("ok/theirs"));
        std::fs::create_dir(env.path("ok/theirs")).unwrap();
        std::fs::set_permissions(env.path("ok/theirs"), PermissionsExt::from_mode(0o700)).unwrap();
        chown(env.path("ok/theirs"), Some(12345), Some(12345)).unwrap();
        for sandboxed in [false, true] {
            let run = attack(&env, "caps").args([how, "touch"]).arg(&file);
            let done = if sandboxed { run.sandboxed() } else { run }.output();
            assert!(!done.status.success() && !file.exists(), "{how}: {done:#?}");
        }
        env.run("touch").arg(&file).sandboxed().output().succeeded();
    }
}

/// A device is what its number says.
#[test]
fn root_makes_no_devices_but_harmless_ones() {
    if !is_root() {
        eprintln!("skipped: only root makes devices");
        return;
    }
    let env = Env::new();
    let node = |major: &str, minor: &str| {
        attack(&env, "mknod")
            .arg(env.path(&format!("ok/{major}.{minor}")))
            .args([major, minor])
            .sandboxed()
            .output()
    };
    for (major, minor) in [("1", "1"), ("1", "11"), ("4", "1"), ("7", "0"), ("10", "223"), ("5", "1")] {
        says(&node(major, minor), &["EPERM"]);
    }
    for (major, minor) in [("1", "3"), ("1", "9"), ("5", "0"), ("0", "0")] {
        says(&node(major, minor), &["0"]);
    }
}

/// A rule for everything is not one for the settings of the system.
#[test]
fn settings_of_the_system_have_to_be_named() {
    if !is_root() {
        eprintln!("skipped: only root changes settings");
        return;
    }
    let env = Env::new();
    let setting = "/proc/sys/kernel/core_pattern";
    let run = attack(&env, "open").args(["w", setting]);
    says(&run.clone().output(), &["0"]);
    let run = run.deny().rule("allowlist/write+/***");
    says(&run.clone().output(), &["EPERM"]);
    says(&run.clone().rule(format!("allowlist/write+{setting}")).output(), &["0"]);
    says(&run.rule("core/sandbox/write:allow").output(), &["0"]);
}

#[test]
fn a_thread_has_a_umask_of_its_own() {
    let env = Env::new();
    let run = |name: &str| attack(&env, "thread-umask").arg(env.path(name));
    says(&run("ok/native").output(), &["600"]);
    says(&run("ok/sandboxed").sandboxed().output(), &["600"]);
}

/// Children of the supervisor are not for its tree to make.
#[test]
fn the_supervisor_gets_no_children() {
    let env = Env::new();
    let mut running = attack(&env, "siblings").arg("50").sandboxed().start();
    let mut text = [0; 5];
    std::io::Read::read_exact(running.child.stdout.as_mut().unwrap(), &mut text).unwrap();
    assert!(becomes(|| running.zombies() == 0));
    drop(running.child.stdin.take());
    running.finish().succeeded();
    // Its own it gets, and waits for them.
    let mut running = env.sh("sh -c : & wait; echo made; read x").sandboxed().start();
    std::io::Read::read_exact(running.child.stdout.as_mut().unwrap(), &mut text).unwrap();
    assert!(becomes(|| running.zombies() == 0));
    drop(running.child.stdin.take());
    running.finish();
}

/// Also where neither files nor addresses are mediated.
#[test]
fn the_supervisor_cannot_be_signalled_where_only_programs_are_judged() {
    let env = Env::new();
    let run = env.sh("kill -0 $PPID");
    run.output().succeeded();
    if run.clone().sandboxed().output().status.success() {
        eprintln!("skipped: this kernel does not scope signals");
        return;
    }
    let done = run.rule("core/sandbox/exec:allow").option("--lock").output();
    assert!(!done.status.success(), "{done:#?}");
    env.sh("kill -0 $$").rule("core/sandbox/exec:allow").option("--lock").output().succeeded();
}

/// A file system that was taken away under its user (`umount -l`) is nowhere, and its directories are called what they would
/// be called if it were the root: a look-alike of what may be written is none.
///
/// Seen to fail with the path from procfs where getcwd(2) says that there is none.
#[test]
fn a_directory_that_is_nowhere_is_not_what_it_is_called() {
    if !has("unshare") {
        return;
    }
    let env = Env::new();
    let user = if is_root() { "" } else { "-r" };
    // The file system has a directory like ours, in which we are when it goes.
    let detach = "mkdir m && mount -t tmpfs none m && mkdir -p m$1 && cd m$1 && umount -l \"$0/m\"";
    let run = |env: &Env, then: &str| {
        let script =
            format!("exec unshare {user} -m sh -c '{detach} && {then}' {} \"$0\"", env.path("").display());
        env.sh(&script).arg(env.path("ok")).set("SYDBOX", common::sydbox()).output()
    };
    let act = "mkdir made; (: >file); ln -s x link; find . -mindepth 1 | sort";
    let free = run(&env, act);
    if !free.status.success() {
        eprintln!("skipped: no namespace of mounts here: {}", free.stderr);
        return;
    }
    assert_eq!(free.stdout, "./file\n./link\n./made\n", "{free:#?}");
    std::fs::remove_dir(env.path("m")).unwrap();
    let rules = "-m core/sandbox/write:deny -m \"allowlist/write+$1/***\"";
    let done = run(&env, &format!("\"$SYDBOX\" {rules} -- sh -c \"{act}\""));
    assert_eq!(done.stdout, "", "{done:#?}");
    assert!(done.stderr.contains("`(unreachable)/") && !done.stderr.contains("allow with"), "{done:#?}");
}
