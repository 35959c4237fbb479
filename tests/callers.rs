//! Callers that make it hard: with filters of their own, memory that cannot be read, threads that execute something, lengths that
//! are no lengths. What is allowed goes as it does natively, what is refused is refused, and the supervisor goes on.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use std::os::unix::fs::PermissionsExt;

use common::{Done, Env, is_root};

/// The same program natively, in a sandbox that allows everything, and in one that allows nothing in its directory.
fn three_times(env: &Env, words: &[&str]) -> [Done; 3] {
    let run = |dir: &str| {
        std::fs::create_dir_all(env.path(dir)).unwrap();
        env.run(env.program("beset")).arg(words[0]).arg(env.path(dir)).args(&words[1..])
    };
    [
        run("ok/native").output().succeeded(),
        run("ok/allowed").mediated().rule("core/sandbox/network:allow").output().succeeded(),
        run("no/denied").sandboxed().output().succeeded(),
    ]
}

fn names(env: &Env, dir: &str) -> Vec<String> {
    let entries = std::fs::read_dir(env.path(dir)).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A newer filter wins only where it is stricter; one that asks a tracer, or a listener that is not there, loses to ours or fails.
#[test]
fn filters_of_their_own() {
    let env = Env::new();
    let [native, allowed, denied] = three_times(&env, &["filters"]);
    assert_eq!(native.stdout, "allow 0\ntrace ENOSYS\nerrno 0\nnotify ENOSYS\nlog 0\n");
    assert_eq!(allowed.stdout, "allow 0\ntrace 0\nerrno 0\nnotify ENOSYS\nlog 0\n");
    assert_eq!(denied.stdout, "allow EPERM\ntrace EPERM\nerrno 0\nnotify ENOSYS\nlog EPERM\n");
    assert_eq!(names(&env, "ok/native"), ["allow", "log"]);
    assert_eq!(names(&env, "ok/allowed"), ["allow", "log", "trace"]);
    assert!(names(&env, "no/denied").is_empty());
}

#[test]
fn memory_that_cannot_be_read() {
    let env = Env::new();
    let [native, allowed, denied] = three_times(&env, &["memory"]);
    assert_eq!(native.stdout, "edge 0\nno end EFAULT\nclosed EFAULT\nnull EFAULT\nkernel EFAULT\n");
    assert_eq!(allowed.stdout, native.stdout);
    assert_eq!(denied.stdout, native.stdout.replace("edge 0", "edge EPERM"));
    assert!(names(&env, "no/denied").is_empty());
}

/// With `prctl(PR_SET_DUMPABLE)` left to the kernel an ordinary user's process is refused what is allowed.
#[test]
fn processes_that_hide() {
    let env = Env::new();
    let [native, allowed, denied] = three_times(&env, &["dumpable"]);
    assert_eq!(native.stdout, "prctl 0\nmkdir 0\n");
    assert_eq!(allowed.stdout, native.stdout);
    assert_eq!(denied.stdout, "prctl 0\nmkdir EPERM\n");
    assert!(names(&env, "no/denied").is_empty());
    // The kernel hides a program that its user may execute and not read.
    let program = env.path("ok/execonly");
    env.run("cp").arg(env.program("beset")).arg(&program).output().succeeded();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o111)).unwrap();
    let run = |dir: &str| env.run(&program).arg("execonly").arg(env.path(dir));
    assert_eq!(run("ok/native").output().succeeded().stdout, "mkdir 0\n");
    // Root may read everything.
    let expected = if is_root() { "mkdir 0\n" } else { "mkdir EPERM\n" };
    assert_eq!(run("ok/allowed").mediated().output().stdout, expected);
    assert_eq!(run("no/denied").sandboxed().output().stdout, "mkdir EPERM\n");
    assert!(names(&env, "no/denied").is_empty());
    // Nor is it taken for a program that was not approved, where executing is judged.
    let _ = std::fs::remove_dir(env.path("ok/allowed/unread"));
    let judged = env.sh("\"$0\" execonly ok/allowed; echo $?").arg(&program).dir(env.path("."));
    let judged = judged.mediated().rule("core/sandbox/exec:allow").output();
    assert_eq!(judged.stdout, [expected, "0\n"].concat());
    assert!(judged.violations.is_empty(), "{judged:#?}");
}

/// A thread executes something while another one waits for the supervisor, which is gone then.
#[test]
fn threads_that_execute_while_others_call() {
    let env = Env::new();
    for done in three_times(&env, &["execs", "300"]) {
        assert!(["done 0\n", "done EPERM\n"].contains(&&*done.stdout), "{done:#?}");
    }
    // What a thread had begun that is gone may have been made after all.
    let made = names(&env, "ok/allowed");
    assert_eq!(made.iter().filter(|name| *name != "again").collect::<Vec<_>>(), ["done"]);
    assert!(names(&env, "no/denied").is_empty());
}

#[test]
fn lengths_that_are_none() {
    let env = Env::new();
    let [native, allowed, _] = three_times(&env, &["lengths"]);
    assert!(native.stdout.lines().count() > 90);
    assert_eq!(allowed.stdout, native.stdout);
}

/// It would be that of the supervisor, which connects for its callers.
#[test]
fn pidfds_of_who_connects() {
    let env = Env::new();
    let [native, allowed, _] = three_times(&env, &["peer"]);
    if native.stdout.contains("ENOPROTOOPT") {
        return eprintln!("skipped: sockets do not hand out pidfds here");
    }
    assert_eq!(native.stdout, "SO_PEERPIDFD 0\nSO_PASSPIDFD 0\n");
    assert_eq!(allowed.stdout, "SO_PEERPIDFD ENOPROTOOPT\nSO_PASSPIDFD ENOPROTOOPT\n");
}

/// The kernel writes them where the process stands, unasked.
#[test]
fn dumps_of_memory() {
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    if pattern.starts_with(['|', '/', '@']) {
        return eprintln!("skipped: core dumps go to {pattern}");
    }
    let env = Env::new();
    for dir in ["ok/native", "ok/allowed", "no/denied"] {
        std::fs::create_dir(env.path(dir)).unwrap();
    }
    let run = |dir: &str| env.run(env.program("beset")).arg("core").dir(env.path(dir));
    assert!(!run("ok/native").output().status.success());
    assert!(!names(&env, "ok/native").is_empty());
    assert!(!run("ok/allowed").mediated().output().status.success());
    assert!(!run("no/denied").sandboxed().output().status.success());
    assert!(names(&env, "ok/allowed").is_empty() && names(&env, "no/denied").is_empty());
}
