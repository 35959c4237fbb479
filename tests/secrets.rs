//! Read sandboxing: profile `agent` with a home directory that has secrets.

#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use common::{Env, Run};

/// A home directory with a secret in each file that the profile names, and some that are none.
fn home(env: &Env) {
    for (path, content) in SECRETS.iter().chain(OTHERS) {
        let path = env.path("ok/home").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
    }
    std::fs::create_dir_all(env.path("ok/home/project")).unwrap();
}

const SECRETS: &[(&str, &str)] = &[
    (".ssh/id_ed25519", "secret"),
    (".gnupg/private-keys-v1.d/key", "secret"),
    (".aws/credentials", "secret"),
    (".netrc", "secret"),
    (".config/gh/hosts.yml", "secret"),
    (".mozilla/firefox/profile/logins.json", "secret"),
    (".config/chromium/Default/Cookies", "secret"),
    (".bash_history", "secret"),
];
const OTHERS: &[(&str, &str)] =
    &[("notes", "open"), (".config/git/config", "open"), ("project/main.c", "open")];

/// In the project, under the profile or natively.
fn run<'e>(env: &'e Env, agent: bool, script: &str) -> Run<'e> {
    let run = env.sh(script).dir(env.path("ok/home/project")).set("HOME", env.path("ok/home"));
    let run = run.set("TMPDIR", env.path("ok")).set("XDG_CONFIG_HOME", env.path("ok/home/.config"));
    if agent { run.option("-p").option("agent") } else { run }
}

#[test]
fn secrets_stay_secret_and_work_goes_on() {
    let env = Env::new();
    home(&env);
    for (path, _) in SECRETS {
        let script = format!("cat ~/{path}");
        assert_eq!(run(&env, false, &script).output().succeeded().stdout, "secret", "{path}");
        let done = run(&env, true, &script).output();
        assert_eq!((done.status.success(), done.stdout.as_str()), (false, ""), "{path}: {done:?}");
        assert_eq!(done.paths(), [env.text(&format!("ok/home/{path}"))]);
        assert!(done.hints()[0].starts_with("allowlist/read+"), "{done:?}");
        // What the report suggests works, said after the profile.
        let allowed = run(&env, true, &script).option("-m").option(&done.hints()[0]).output();
        assert_eq!(allowed.succeeded().stdout, "secret", "{path}");
    }
    for (path, _) in OTHERS {
        let done = run(&env, true, &format!("cat ~/{path}")).output().succeeded();
        assert_eq!((done.stdout.as_str(), done.violations.len()), ("open", 0), "{path}");
    }
    let work = "echo 'int main(void) { return 7; }' >main.c; cc -o main main.c; ./main; echo $?; rm main; ls";
    assert_eq!(run(&env, true, work).output().succeeded().stdout, "7\nmain.c\n");
}

/// Ways round the name. With `keep_content` left out the link, and with reading judged by the caller's text instead of
/// the canonical path the rest, print the secret.
#[test]
fn secrets_have_no_other_names() {
    let env = Env::new();
    home(&env);
    for script in [
        "cat ../.ssh/../.ssh/id_ed25519",
        "ln -s ../.ssh s && cat s/id_ed25519",
        "cd ../.ssh 2>/dev/null && cat id_ed25519",
        "ln ../.ssh/id_ed25519 copy && cat copy",
        "mv ../.ssh ../open && cat ../open/id_ed25519",
        "mv ../.ssh/id_ed25519 . && cat id_ed25519",
        "cat /proc/self/cwd/../.ssh/id_ed25519",
        "cat /proc/self/root$HOME/.ssh/id_ed25519",
        "cp -r ../.ssh copy && cat copy/id_ed25519",
        "tar cf t.tar ../.ssh 2>/dev/null; tar xOf t.tar 2>/dev/null | grep secret",
        "grep -r secret ../.ssh ",
        "python3 -c 'import os; print(os.read(os.open(\"../.ssh/id_ed25519\", os.O_RDWR), 9))'",
        "exec 3<../.ssh/id_ed25519 && cat <&3",
        "python3 -c 'import mmap, os; f = open(\"../.ssh/id_ed25519\"); print(f.read())' 2>/dev/null",
        "sh ../.ssh/id_ed25519 2>&1 | grep secret",
    ] {
        let fresh = Env::new();
        home(&fresh);
        assert!(
            run(&fresh, false, script).output().stdout.contains("secret") || script.starts_with("sh "),
            "{script}"
        );
        let done = run(&env, true, script).output();
        assert!(!done.stdout.contains("secret"), "{script}: {done:?}");
        assert!(!done.violations.is_empty(), "{script}");
    }
    for (path, content) in SECRETS {
        assert_eq!(std::fs::read_to_string(env.path("ok/home").join(path)).unwrap(), *content);
    }
}

/// Probing is silent, listing is not, and a link is read as a file is.
#[test]
fn other_looks() {
    let env = Env::new();
    home(&env);
    std::os::unix::fs::symlink("target", env.path("ok/home/.ssh/link")).unwrap();
    for (script, native, inside, reported) in [
        ("test -r ../.ssh/id_ed25519 && echo yes || echo no", "yes\n", "no\n", false),
        ("test -e ../.ssh/id_ed25519 && echo yes || echo no", "yes\n", "yes\n", false),
        ("ls ../.ssh 2>/dev/null", "id_ed25519\nlink\n", "", true),
        ("readlink ../.ssh/link", "target\n", "", true),
        ("readlink ../.ssh/none", "", "", false),
        (
            "cat ../.ssh/none 2>&1 | sed 's/.*: //'",
            "No such file or directory\n",
            "No such file or directory\n",
            false,
        ),
    ] {
        assert_eq!(run(&env, false, script).output().stdout, native, "{script}");
        let done = run(&env, true, script).output();
        assert_eq!(
            (done.stdout.as_str(), !done.violations.is_empty()),
            (inside, reported),
            "{script}: {done:?}"
        );
    }
}

/// Reading that was not armed cannot be switched on; armed, it can, and off again.
#[test]
fn reading_is_armed_at_start() {
    let env = Env::new();
    std::fs::write(env.path("no/file"), "text").unwrap();
    let script = format!(
        "cat no/file && test -e '/dev/sydbox/denylist/read+{0}/***' && test -e /dev/sydbox/core/sandbox/read:allow; \
         cat no/file; test -e /dev/sydbox/core/sandbox/read:off; cat no/file",
        env.text("no")
    );
    let unarmed = env.sh(&script).rule("core/sandbox/write:off").output();
    assert_eq!(unarmed.stdout, "texttexttext");
    assert!(unarmed.stderr.contains("--arm read"), "{unarmed:?}");
    let armed = env.sh(&script).option("--arm").option("read").output();
    assert_eq!((armed.stdout.as_str(), armed.violations.len()), ("texttext", 1), "{armed:?}");
}
