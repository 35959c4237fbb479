//! Executing: which programs, in whichever way they are named, and what becomes of a process that executes them.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use std::path::Path;

use common::{Done, Env, Run, has, source};

/// A directory with copies of a program: `ok/good` may be executed, `no/bad` may not.
fn programs() -> Env {
    let env = Env::new();
    for name in ["ok/good", "no/bad"] {
        common::copy(env.program("image"), env.path(name));
    }
    env
}

fn script(env: &Env, name: &str, text: &str) {
    common::write_program(env.path(name), text);
}

/// Executing is refused but for `ok` and what the tests themselves are run by.
fn only_ok<'e>(env: &'e Env, run: Run<'e>) -> Run<'e> {
    let image = env.program("image");
    run.rule("core/sandbox/exec:deny")
        .rule(format!("allowlist/exec+{}", env.text("ok/***")))
        .rule(format!("allowlist/exec+{}", image.display()))
}

fn how<'e>(env: &'e Env, how: &str, program: &str) -> Run<'e> {
    let run = env.run(env.program("image")).arg(how).arg(env.path(program));
    run.arg("ran").arg(env.path("ok/said")).arg("ran")
}

/// Without the judgement in `exec::approve` all of them run.
#[test]
fn every_way_to_execute_is_judged() {
    let env = programs();
    for way in ["plain", "at", "empty", "memfd", "proc"] {
        for program in ["ok/good", "no/bad"] {
            let run = how(&env, way, program);
            assert_eq!(run.output().succeeded().stdout, "ran wrote\n", "{way}");
            let done = only_ok(&env, run.clone()).output();
            // What lies in memory has no name, and no rule can allow it.
            let refused = program == "no/bad" || way == "memfd";
            let expected = if refused { format!("{way} EPERM\n") } else { "ran wrote\n".to_owned() };
            assert_eq!(done.stdout, expected, "{way} {program}: {done:?}");
            assert_eq!(done.violations.len(), usize::from(refused), "{way} {program}: {done:?}");
            if refused && way != "memfd" {
                assert_eq!(done.paths(), [env.text("no/bad")]);
                assert_eq!(done.hints(), [format!("allowlist/exec+{}", env.text("no/bad"))]);
            }
            // Allowed but for what is denied; refused in silence; and only reported.
            let rule = format!("denylist/exec+{}", env.text("no/**"));
            let denied = run.clone().rule("core/sandbox/exec:allow").rule(&rule).output();
            assert_eq!(denied.status.success(), program == "ok/good" || way == "memfd", "{way}: {denied:?}");
            if refused && way != "memfd" {
                let filter = format!("filter/exec+{}", env.text("no/bad"));
                let done = only_ok(&env, run.clone()).rule(filter).output();
                assert!(!done.status.success() && done.violations.is_empty(), "{done:?}");
                let dry = only_ok(&env, run).option("--dry-run").output().succeeded();
                assert_eq!((dry.stdout.as_str(), dry.violations.len()), ("ran wrote\n", 1));
            }
        }
    }
}

/// The program that `#!` names, and the one that its script names, and so on; and the loader of a dynamic program.
#[test]
fn interpreters_are_judged() {
    let env = programs();
    script(&env, "ok/direct", &format!("#!{} says\n", env.text("no/bad")));
    script(&env, "ok/second", &format!("#!{} says\n", env.text("ok/good")));
    script(&env, "ok/first", &format!("#!{}\n", env.text("ok/second")));
    script(&env, "ok/nested", &format!("#!{}\n", env.text("ok/direct")));
    // As much as the kernel reads is one line that ends like the name, which it takes for the option.
    let bad = env.text("no/bad");
    let long = format!("#!{bad} says");
    let between = 256_usize.checked_sub(long.len() + bad.len()).expect("a shorter TMPDIR");
    script(&env, "ok/long", &format!("{long}{}{bad}", "\t".repeat(between)));
    let names = [
        ("ok/direct", true),
        ("ok/second", false),
        ("ok/first", false),
        ("ok/nested", true),
        ("ok/long", true),
    ];
    for (name, refused) in names {
        let run = env.run(env.program("image")).arg("plain").arg(env.path(name));
        assert!(run.output().stdout.starts_with("says"), "{name}");
        let done = only_ok(&env, run).output();
        assert_eq!(done.stdout, if refused { "plain EPERM\n" } else { "says\n" }, "{name}: {done:?}");
        assert_eq!(done.paths().contains(&env.text("no/bad")), refused, "{name}: {done:?}");
    }
    // The loader needs no rule; one that names it counts.
    let loader = Path::new("/lib64/ld-linux-x86-64.so.2").canonicalize();
    let Ok(loader) = loader else { return };
    let run = how(&env, "plain", "ok/good");
    only_ok(&env, run.clone()).output().succeeded();
    let no_loader = format!("denylist/exec+{}", loader.display());
    let done = only_ok(&env, run).rule(&no_loader).output();
    assert_eq!(done.stdout, "plain EPERM\n", "{done:?}");
    // The kernel does not look at the class that a program says it is of.
    let mut program = std::fs::read(env.path("ok/good")).unwrap();
    program[4] = 1;
    common::write_program(env.path("ok/classless"), program);
    let run = how(&env, "plain", "ok/classless");
    assert_eq!(run.output().stdout, "ran wrote\n");
    let done = only_ok(&env, run).rule(&no_loader).output();
    assert_eq!(done.stdout, "plain EPERM\n", "{done:?}");
}

/// Who may not read a program may not execute it. Seen to fail without the question in `exec::judge_image`.
#[test]
fn what_is_executed_is_read() {
    let env = programs();
    let run = how(&env, "plain", "no/bad").rule("core/sandbox/read:allow");
    assert_eq!(run.output().succeeded().stdout, "ran wrote\n");
    let done = run.rule(format!("denylist/read+{}", env.text("no/***"))).output();
    let calls: Vec<_> = done.violations.iter().map(|one| one["syscall"].as_str().unwrap()).collect();
    // It opens the program for the other ways, too.
    assert_eq!((done.stdout.as_str(), &calls[..]), ("plain EPERM\n", &["open", "execve"][..]), "{done:?}");
}

/// The errors of the kernel are the kernel's, and what is only asked is answered as if it were done.
#[test]
fn errors_and_questions() {
    let env = programs();
    std::os::unix::fs::symlink(env.path("ok/good"), env.path("ok/link")).unwrap();
    script(&env, "ok/long", &format!("#!{}\n", "/x".repeat(200)));
    script(&env, "ok/option", &format!("#!{} {}\n", env.text("ok/good"), "x".repeat(300)));
    script(&env, "ok/text", "no program\n");
    for (way, program) in [
        ("nofollow", "ok/good"),
        ("nofollow", "ok/link"),
        ("unknown", "ok/good"),
        ("plain", "ok/long"),
        ("plain", "ok/option"),
        ("plain", "ok/text"),
        ("check", "ok/good"),
    ] {
        let run = how(&env, way, program);
        let native = run.output().stdout;
        let done = only_ok(&env, run).output();
        assert_eq!(done.stdout.replace("open", "closed"), native, "{way} {program}: {done:?}");
        assert!(done.violations.is_empty(), "{done:?}");
    }
    let asks = how(&env, "check", "no/bad");
    if asks.output().stdout == "check 0 closed\n" {
        let done = only_ok(&env, asks).output();
        assert_eq!((done.stdout.as_str(), done.violations.len()), ("check EPERM\n", 1));
    }
    // Who only asks is not locked.
    let done = how(&env, "check", "ok/good").rule("core/trace/magic_lock:exec").output();
    assert!(["check 0 open\n", "check EINVAL\n"].contains(&done.stdout.as_str()), "{done:?}");
}

/// A program that the kernel starts for another (binfmt_misc), also for what it could execute itself: it is judged by its own
/// name when it is seen to run.
///
/// Seen to fail with the approved files alone let run on, and with all of them.
#[test]
fn programs_that_stand_for_others_are_judged() {
    if !has("unshare") {
        return;
    }
    let env = programs();
    for (dir, kind) in [("ok", "good"), ("ok", "bad")] {
        script(&env, &format!("{dir}/script.stood-{kind}"), "#!/bin/sh\necho as itself\n");
    }
    common::copy("/bin/true", env.path("ok/program.stood-good"));
    let script = "mount -t binfmt_misc none /proc/sys/fs/binfmt_misc && for one in ok/good no/bad; do \
        echo \":${one#*/}:E::stood-${one#*/}::$PWD/$one:\" >/proc/sys/fs/binfmt_misc/register || exit 9; done; \
        for file in script.stood-good program.stood-good script.stood-bad; do \
        (\"$@\" sh -c \"ok/$file ok/said $file; exit\") 2>/dev/null; done; exit 0";
    let run = |words: &[String]| {
        // In a namespace of its own, where the machine's formats are not touched.
        env.run("unshare").args(["-Urmpf", "--mount-proc", "sh", "-c", script, "sh"]).args(words).output()
    };
    let native = run(&["env".into()]);
    if !native.stdout.contains("wrote") {
        return eprintln!("skipped: no formats can be registered here: {native:?}");
    }
    assert_eq!(native.stdout.matches("wrote").count(), 3, "{native:?}");
    let sandboxed = |rules: &[&str]| {
        let mut words = vec![common::sydbox().to_str().unwrap().to_owned()];
        words.extend(rules.iter().flat_map(|rule| ["-m".to_owned(), rule.replace("DIR", &env.text(""))]));
        words.push("--".into());
        run(&words).stdout
    };
    let open = ["core/sandbox/exec:allow", "core/sandbox/write:allow"];
    assert_eq!(sandboxed(&open), native.stdout);
    assert_eq!(sandboxed(&["core/sandbox/read:allow", "core/sandbox/write:allow"]), native.stdout);
    let denied = sandboxed(&[open[0], open[1], "denylist/exec+DIR/no/***"]);
    assert_eq!(denied.matches("wrote").count(), 2, "{denied}");
}

#[test]
fn the_command_has_options_for_it() {
    let env = programs();
    let image = env.program("image");
    let run = how(&env, "plain", "no/bad");
    let with = |options: &[&str]| options.iter().fold(run.clone(), |run, option| run.option(option)).output();
    assert_eq!(with(&["-E"]).stdout, "plain EPERM\n");
    assert_eq!(with(&["-x", &env.text("ok")]).stdout, "plain EPERM\n");
    assert_eq!(with(&["-x", &env.text("no"), "-x", image.to_str().unwrap()]).stdout, "ran wrote\n");
    assert_eq!(with(&["-E", "-n"]).stdout, "ran wrote\n");
}

#[test]
fn who_executes_a_match_is_killed() {
    let env = programs();
    let rule = format!("exec/kill_if_match+{}", env.text("no/*"));
    let text = "\"$0\" plain no/bad ran ok/said bad; echo $?; \"$0\" plain ok/good ran ok/said good; echo $?";
    let run = env.sh(text).arg(env.program("image"));
    assert_eq!(run.output().stdout, "bad wrote\n0\ngood wrote\n0\n");
    let done = run.clone().mediated().rule(&rule).output();
    assert!(done.stderr.contains("is killed: it executes"), "{done:?}");
    assert_eq!(done.stdout, "137\ngood wrote\n0\n", "{done:?}");
    // Also by a script that names it.
    script(&env, "ok/script", &format!("#!{} says\n", env.text("no/bad")));
    let scripted = env.sh("\"$0\" plain ok/script; echo $?").arg(env.program("image"));
    assert_eq!(scripted.output().stdout, "says\n0\n");
    let done = scripted.mediated().rule(&rule).output();
    assert_eq!(done.stdout, "137\n", "{done:?}");
    assert!(done.stderr.contains(&format!("it executes `{}'", env.text("no/bad"))), "{done:?}");
    // A dry run kills nobody.
    let dry = run.mediated().rule(&rule).option("--dry-run").output();
    assert_eq!(dry.stdout, "bad wrote\n0\ngood wrote\n0\n", "{dry:?}");
    assert!(dry.stderr.contains("would be killed: it executes"), "{dry:?}");
    // The command itself is not executed by the sandbox.
    let own = env.run(env.path("no/bad")).args(["ran", "ok/said", "own"]).mediated().rule(rule);
    assert_eq!(own.output().succeeded().stdout, "own wrote\n");
}

/// A metadata phase, as a package manager runs it: in a shell that sources a package's script, no program can be found and none
/// executed but one helper; then executing is open again.
#[test]
fn a_metadata_phase_executes_one_helper() {
    const PHASE: &str = r#"
        . "$ESANDBOX"
        esandbox enable_exec || exit 1
        esandbox allow_exec "$PWD/ok/good" || exit 1
        _path=$PATH PATH=
        . "$PWD/package"
        PATH=$_path
        esandbox disable_exec || exit 1
        ls no
    "#;
    const PACKAGE: &str = r#"
        DESCRIPTION="what a package says of itself"
        words() { for word in $1; do printf '%s\n' "$word"; done; }
        test "$(words "a b c" | { read -r first; echo "$first"; })" = a && echo builtins
        ls; echo "found: $?"
        /bin/ls; echo "absolute: $?"
        "$PWD/no/bad" ran ok/said bad; echo "refused: $?"
        "$PWD/ok/good" ran ok/said helper; echo "helper: $?"
        "$PWD/ok/good" plain "$PWD/no/bad" ran ok/said helped; echo "through the helper: $?"
        echo "$DESCRIPTION"
    "#;
    let env = programs();
    std::fs::write(env.path("package"), PACKAGE).unwrap();
    std::fs::create_dir(env.path("no/x")).unwrap();
    for shell in ["bash", "dash"] {
        if !has(shell) {
            continue;
        }
        let run = env.run(shell).args(["-c", PHASE]).set("ESANDBOX", source("esandbox/esandbox"));
        let done = run.sandboxed().output();
        let absolute = done.stdout.lines().find(|line| line.starts_with("absolute: ")).unwrap_or_default();
        assert!(["absolute: 126", "absolute: 2"].contains(&absolute), "{shell}: {done:?}");
        let said: Vec<_> = done.stdout.lines().filter(|line| !line.starts_with("absolute: ")).collect();
        let expected = [
            "builtins",
            "found: 127",
            "refused: 126",
            "helper wrote",
            "helper: 0",
            "plain EPERM",
            "through the helper: 1",
            "what a package says of itself",
            "bad",
            "x",
        ];
        assert_eq!(said, expected, "{shell}: {done:?}");
        let bad = env.text("no/bad");
        let execs = done.violations.iter().filter(|one| one["syscall"] == "execve");
        let paths: Vec<_> = execs.map(|one| one["path"].as_str().unwrap()).collect();
        let [ls, rest @ ..] = &paths[..] else { panic!("{done:?}") };
        assert!(ls.ends_with("/ls") && *rest == [&*bad, &*bad], "{shell}: {done:?}");
    }
}

fn resume<'e>(env: &'e Env, program: &str, script: &str) -> Run<'e> {
    let run = env
        .sh(script)
        .sandboxed()
        .set("PLANT", env.path("no/planted"))
        .set("LIB", env.program_lib("preload"));
    run.rule(format!("exec/resume_if_match+{}", env.text(program)))
}

/// What is resumed has all rights of the user, and runs no code of whoever executes it. Without `exec::may_resume` the library
/// plants its file.
#[test]
fn what_is_resumed_runs_no_code_of_its_caller() {
    let env = programs();
    let wrote = |done: &Done, said: &str| {
        assert_eq!(done.stdout, said, "{done:?}");
        let planted = env.path("no/planted").exists();
        let _ = std::fs::remove_file(env.path("no/planted"));
        planted
    };
    let plain = "ok/good ran no/file resumed; exit";
    assert!(!wrote(&resume(&env, "ok/good", plain).output(), "resumed wrote\n"));
    for variable in [
        "LD_PRELOAD=$LIB",
        "LD_AUDIT=$LIB",
        "LD_LIBRARY_PATH=/tmp",
        "BASH_ENV=/tmp/x",
        "GLIBC_TUNABLES=a=b",
        "PS4=x",
        "SHELLOPTS=xtrace",
    ] {
        // Of some shells these are variables that cannot be set.
        let script = format!("env {variable} {plain}");
        let native =
            env.sh(&script).set("LIB", env.program_lib("preload")).set("PLANT", env.path("no/planted"));
        let native = native.output();
        let loads = variable.ends_with("=$LIB");
        assert_eq!(wrote(&native, "resumed wrote\n"), loads, "{variable}");
        // It runs, and in the sandbox.
        let done = resume(&env, "ok/good", &script).output();
        assert!(!wrote(&done, "resumed EPERM\n"), "{variable}");
        let name =
            variable.split('=').next().unwrap().replace("LD_PRELOAD", "LD_").replace("LD_AUDIT", "LD_");
        let name = name.replace("LD_LIBRARY_PATH", "LD_");
        assert!(done.stderr.contains(&format!("{name} in its environment")), "{variable}: {done:?}");
    }
    // A name that only begins as one of them.
    let script = format!("export ENVOY=1 BASH_ENVY=1 LOCPATHS=1; {plain}");
    assert!(!wrote(&resume(&env, "ok/good", &script).output(), "resumed wrote\n"));
    // A script, whose interpreter may have been given another one meanwhile.
    script_of(&env);
    let done = resume(&env, "ok/script", "ok/script; exit").output();
    assert!(
        done.stdout.contains("script EPERM") && done.stderr.contains("a script could be exchanged"),
        "{done:?}"
    );
    // Its children are as free as it is.
    common::copy("/bin/sh", env.path("ok/shell"));
    let done = resume(&env, "ok/shell", "ok/shell -c 'ok/good ran no/file child; :'").output();
    assert_eq!(done.stdout, "child wrote\n", "{done:?}");
    // And it is not locked by being executed, as others are.
    let asks = "-c 'test -e /dev/sydbox && echo open'";
    let script = format!("test -e /dev/sydbox/core/trace/magic_lock:exec; sh {asks}; ok/shell {asks}; :");
    let done = resume(&env, "ok/shell", &script).output();
    assert_eq!(done.stdout, "open\n", "{done:?}");
}

fn script_of(env: &Env) {
    let good = env.text("ok/good");
    script(env, "ok/script", &format!("#!/bin/sh\n\"{good}\" ran no/file script\n"));
}
