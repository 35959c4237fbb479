//! Every call that is mediated: refused where the rules do not allow it, and as without the sandbox where they do.
//!
//! Seen to fail with the row of a call changed to `Allow` in the filter's table: at once for fchmod, which the second lock
//! knows nothing of; for what it knows, the kernel still refuses, but with another error and without a report.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use std::path::Path;

use common::{Done, Env, Run};

fn names(env: &Env) -> Vec<String> {
    let done = env.run(env.program("call")).arg("--list").output().succeeded();
    done.stdout.lines().map(str::to_owned).collect()
}

fn make(env: &Env, dir: &Path) {
    let _ = std::fs::remove_dir_all(dir);
    env.run(env.program("tree")).arg("--make").arg(dir).output().succeeded();
}

/// All that the calls could change; with times where nothing may have happened at all.
fn tree(env: &Env, dir: &Path, times: bool) -> String {
    let run = env.run(env.program("tree")).args(times.then_some("-t")).arg(dir);
    run.output().succeeded().stdout
}

fn call<'e>(env: &'e Env, name: &str, dir: &Path) -> Run<'e> {
    env.run(env.program("call")).arg(name).arg(dir)
}

/// The name that a call has in a report, where it is not its first word.
fn word(name: &str) -> &str {
    let first = name.split('-').next().unwrap();
    match first {
        "openat" | "openat2" | "creat" => "open",
        "mkdirat" => "mkdir",
        "mknodat" => "mknod",
        "unlinkat" if name.ends_with("dir") => "unlink",
        "unlinkat" => "unlink",
        "renameat" | "renameat2" => "rename",
        "linkat" => "link",
        "symlinkat" => "symlink",
        "fchmod" | "fchmodat" | "fchmodat2" => "chmod",
        "lchown" | "fchown" | "fchownat" => "chown",
        "utimes" | "futimesat" | "utimensat" | "futimens" => "utime",
        "lsetxattr" | "fsetxattr" | "setxattrat" => "setxattr",
        "lremovexattr" | "fremovexattr" | "removexattrat" => "removexattr",
        "FS_IOC_SETFLAGS" | "FS_IOC_FSSETXATTR" => "ioctl",
        other => other,
    }
}

/// Looks at one call; what is wrong with it.
fn examine(env: &Env, name: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut complain = |what: &str, done: &Done| {
        wrong.push(format!(
            "{name}: {what}: {} {} {:?}",
            done.stdout.trim(),
            done.stderr.trim(),
            done.hints()
        ));
    };
    // Without the sandbox, in a tree of its own.
    let native_dir = env.path("ok/native");
    make(env, &native_dir);
    let native = call(env, name, &native_dir).output();
    let native_tree = tree(env, &native_dir, false);
    if ["ENOSYS", "EOPNOTSUPP", "ENOTTY"].contains(&native.stdout.trim()) {
        eprintln!("skipped: {name} gives {} without the sandbox", native.stdout.trim());
        return wrong;
    }
    if !native.stdout.starts_with('0') && !native.stdout.starts_with("descriptor") {
        complain("fails without the sandbox", &native);
        return wrong;
    }
    // Allowed.
    let allowed_dir = env.path("ok/allowed");
    make(env, &allowed_dir);
    let allowed = call(env, name, &allowed_dir).brokered().output();
    if allowed.stdout != native.stdout {
        complain(&format!("is not {} where it is allowed", native.stdout.trim()), &allowed);
    }
    let allowed_tree = tree(env, &allowed_dir, false);
    if allowed_tree != native_tree {
        complain(&format!("does not do the same: {native_tree}\n--\n{allowed_tree}"), &allowed);
    }
    if !allowed.violations.is_empty() {
        complain("is reported where it is allowed", &allowed);
    }
    // Refused.
    let denied_dir = env.path("no/denied");
    make(env, &denied_dir);
    let before = tree(env, &denied_dir, true);
    let denied = call(env, name, &denied_dir).brokered().output();
    let after = tree(env, &denied_dir, true);
    if before != after {
        complain(&format!("does something where it is denied: {before}\n--\n{after}"), &denied);
    }
    let is_access = name.contains("access");
    if denied.stdout.trim() != if is_access { "EACCES" } else { "EPERM" } {
        complain("has the wrong error where it is denied", &denied);
    }
    if is_access {
        if !denied.violations.is_empty() {
            complain("is reported", &denied);
        }
        let raised = call(env, name, &denied_dir).brokered().rule("core/violation/raise_safe:1").output();
        if raised.stdout.trim() != "EACCES" || raised.violations.len() != 1 {
            complain("is not reported with raise_safe", &raised);
        }
        return wrong;
    }
    if denied.violations.len() != 1 {
        complain("is not reported once", &denied);
    }
    for violation in &denied.violations {
        if violation["syscall"] != word(name) || violation["errno"] != "EPERM" {
            complain(&format!("is called {} in the report", violation["syscall"]), &denied);
        }
    }
    // Reported without being refused.
    let dry = call(env, name, &denied_dir).brokered().option("--dry-run").output();
    if dry.stdout != native.stdout || tree(env, &denied_dir, false) != native_tree {
        complain(&format!("is not {} in a dry run", native.stdout.trim()), &dry);
    }
    make(env, &denied_dir);
    // The report says how it would have been allowed.
    let mut run = call(env, name, &denied_dir).brokered();
    let mut last = denied;
    for _ in 0..3 {
        for hint in last.hints() {
            run = run.rule(hint);
        }
        last = run.output();
        if last.violations.is_empty() {
            break;
        }
    }
    if last.stdout != native.stdout || tree(env, &denied_dir, false) != native_tree {
        complain(&format!("is not {} with what the report says", native.stdout.trim()), &last);
    }
    // A filter refuses as well, and says nothing.
    make(env, &denied_dir);
    let filter = format!("filter/write+{}", env.text("no/***"));
    let quiet = call(env, name, &denied_dir).brokered().rule(filter).output();
    if quiet.stdout.trim() != "EPERM" || !quiet.violations.is_empty() {
        complain("is not refused quietly with a filter", &quiet);
    }
    wrong
}

#[test]
fn every_mediated_call() {
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let listing = Env::new();
        let names = names(&listing);
        let half = names.len().div_ceil(2);
        let work = |part: &[String]| {
            let env = Env::new();
            part.iter().flat_map(|name| examine(&env, name)).collect::<Vec<_>>()
        };
        let parts: Vec<_> = names
            .chunks(half)
            .map(|part| part.to_vec())
            .map(|part| scope.spawn(move || work(&part)))
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Lines of a program that are not the same.
fn differences<'a>(expected: &'a str, found: &'a str) -> Vec<(&'a str, &'a str)> {
    let ends = [expected, found].map(|text| text.lines().next_back().unwrap_or(""));
    assert_eq!(expected.lines().count(), found.lines().count(), "one ends early: {ends:?}");
    expected.lines().zip(found.lines()).filter(|(expected, found)| expected != found).collect()
}

/// Errors that the kernel finds only after it has looked at permissions.
fn is_late(line: &str) -> bool {
    let errno = line.rsplit(": ").next().unwrap();
    ["EACCES", "EPERM", "EROFS", "EOPNOTSUPP", "ENODATA", "ENXIO"].contains(&errno)
        || line.contains("xattr, \"f\"")
        || line.starts_with("S(rename, \"d\", \"e\")")
}

/// A tree for the program that makes mistakes.
fn make_mistakes<'e>(env: &'e Env, dir: &Path) -> Run<'e> {
    make(env, dir);
    std::fs::create_dir_all(dir.join("ro/d")).unwrap();
    std::fs::write(dir.join("ro/f"), "").unwrap();
    std::fs::set_permissions(dir.join("ro"), std::os::unix::fs::PermissionsExt::from_mode(0o555)).unwrap();
    // l0 is a directory, and each l<n> leads to l<n-1>; so l40 is the last that can be followed.
    std::fs::create_dir(dir.join("l0")).unwrap();
    std::fs::create_dir(dir.join("l0/x")).unwrap();
    for n in 1..=41 {
        std::os::unix::fs::symlink(format!("l{}", n - 1), dir.join(format!("l{n}"))).unwrap();
    }
    std::os::unix::fs::symlink("loop", dir.join("loop")).unwrap();
    env.run(env.program("errors")).arg(dir)
}

/// What fails, fails with the same error.
#[test]
fn errors_are_the_kernels() {
    let env = Env::new();
    let dir = env.path("no/tree");
    let run = make_mistakes(&env, &dir);
    let before = tree(&env, &dir, true);
    let native = run.output().succeeded();
    assert_eq!(differences(&before, &tree(&env, &dir, true)), [], "the program is to change nothing");
    let allowed = run.clone().mediated().output().succeeded();
    assert_eq!(differences(&native.stdout, &allowed.stdout), [], "native and allowed");
    assert_eq!(allowed.paths(), [""; 0]);
}

/// A refusal comes only after what the kernel would say anyway.
#[test]
fn errors_come_before_refusals() {
    let env = Env::new();
    let dir = env.path("no/tree");
    let run = make_mistakes(&env, &dir);
    let before = tree(&env, &dir, true);
    let native = run.output().succeeded();
    let denied = run.clone().brokered().output().succeeded();
    let wrong: Vec<_> = differences(&native.stdout, &denied.stdout)
        .into_iter()
        .filter(|(native, denied)| {
            !(is_late(native) && (denied.ends_with(": EPERM") || denied.ends_with(": EACCES")))
        })
        .collect();
    assert_eq!(wrong, [], "native and denied");
    assert_eq!(differences(&before, &tree(&env, &dir, true)), []);
    // What the kernel itself would say is no violation.
    let silent: Vec<_> = denied.violations.iter().filter(|one| one["errno"] != "EPERM").collect();
    assert!(silent.is_empty(), "{silent:#?}");
}

#[track_caller]
fn is_the_same(what: &str) {
    let env = Env::new();
    for name in ["native", "mediated", "sandboxed"] {
        std::fs::create_dir(env.path(&format!("ok/{name}"))).unwrap();
    }
    let run = |name: &str| env.run(env.program("facts")).arg(env.path(&format!("ok/{name}"))).arg(what);
    let native = run("native").output().succeeded();
    let mediated = run("mediated").mediated().output().succeeded();
    assert_eq!(differences(&native.stdout, &mediated.stdout), []);
    // It also tries to write itself, which is not to be a matter of rules.
    let rule = format!("allowlist/write+{}", env.program("facts").display());
    let sandboxed = run("sandboxed").brokered().rule(rule).output().succeeded();
    assert_eq!(differences(&native.stdout, &sandboxed.stdout), []);
}

/// The number, the flags, close-on-exec and the offset of descriptors; locks that end with them.
#[test]
fn descriptors_are_the_same() {
    is_the_same("descriptors");
}

/// Without a free descriptor an open creates and truncates nothing.
#[test]
fn nothing_happens_without_a_free_descriptor() {
    is_the_same("full table");
}

#[test]
fn modes_and_umasks_are_the_same() {
    is_the_same("umasks");
}

#[test]
fn a_thread_can_have_a_umask_of_its_own() {
    is_the_same("thread umask");
}

#[test]
fn names_at_the_limits_are_the_same() {
    is_the_same("ends of pages");
}

#[test]
fn programs_fifos_and_limits_are_the_same() {
    is_the_same("kinds");
}

/// Below a directory whose path is longer than `PATH_MAX`.
#[test]
fn deep_directories_are_the_same() {
    is_the_same("deep");
}

#[test]
fn removed_and_unnamed_files_are_the_same() {
    is_the_same("removed");
}

/// procfs of the caller, its own pipes and files in memory.
#[test]
fn own_files_are_the_same() {
    is_the_same("own files");
}

/// All roundabout ways to a file that may not be written: other names for it, descriptors that were opened for
/// reading, links, and renaming what it is called by. Each of them succeeds without the sandbox.
///
/// Seen to fail with `Place::Own` for whatever a descriptor or a magic link leads to (reopening, and calls by
/// descriptor), the source of link not judged (hard links), `keep_anchors` and `keep_content` left out (the directory above a
/// deny rule), and fchmod not trapped.
#[test]
fn there_is_no_way_round() {
    let env = Env::new();
    let list = env.run(env.program("escape")).arg("--list").output().succeeded();
    let mut wrong = Vec::new();
    for name in list.stdout.lines() {
        for sandboxed in [false, true] {
            let (ok, no) = (env.path("ok/p"), env.path("ok/p/secret"));
            let _ = std::fs::remove_dir_all(env.path("ok"));
            std::fs::create_dir(env.path("ok")).unwrap();
            make(&env, &ok);
            make(&env, &no);
            std::fs::write(ok.join("mine"), "mine").unwrap();
            // A change within a tick of the clock would not be seen.
            env.run("touch").args(["-d", "@1000000000"]).arg(no.join("f")).output().succeeded();
            let before = tree(&env, &no, true);
            let mut run = env.run(env.program("escape")).arg(name).arg(env.path("ok")).arg(&no);
            if sandboxed {
                run = run.brokered().rule(format!("denylist/write+{}/***", no.display()));
            }
            let done = run.output();
            let native = before != if no.exists() { tree(&env, &no, true) } else { String::new() };
            // By whatever name the directory has now.
            let after = ["ok/p/secret", "ok/q/secret", "ok/p/public", "ok/secret"]
                .iter()
                .map(|name| env.path(name))
                .find(|dir| dir.exists())
                .map_or(String::new(), |dir| tree(&env, &dir, true));
            let report = format!("{name}: {}", done.stdout.trim().replace('\n', ", "));
            match sandboxed {
                false if !native && before == after => {
                    wrong.push(format!("{report}: no effect without the sandbox"))
                }
                true if before != after || !no.exists() => wrong.push(format!("{report}: gets through")),
                // What is below a process outside the kernel would refuse as well.
                true if done.violations.is_empty() && name != "root-of-parent" => {
                    wrong.push(format!("{report}: is not reported"))
                }
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
