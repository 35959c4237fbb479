//! Programs that people run: they work where they may write, and leave alone where they may not.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use common::{Done, Env, Run, has};

/// Writing allowed in `ok` and to the devices that everybody writes to; no network.
fn usual<'e>(env: &'e Env, run: Run<'e>) -> Run<'e> {
    let run = run.dir(env.path("ok")).set("HOME", env.path("ok")).set("TMPDIR", env.path("ok"));
    ["null", "zero", "full", "tty", "ptmx", "pts/***", "shm/***"]
        .iter()
        .fold(run.sandboxed(), |run, device| run.rule(format!("allowlist/write+/dev/{device}")))
        .rule("core/sandbox/network:deny")
}

/// The script works in a directory of its own, with the sandbox and without, and says the same.
#[track_caller]
fn works(env: &Env, shell: &str, script: &str) -> Done {
    let native = env.run(shell).arg("-ec").arg(format!("mkdir native; cd native; {script}"));
    let native = native.dir(env.path("ok")).set("HOME", env.path("ok")).set("TMPDIR", env.path("ok"));
    let native = native.output().succeeded();
    let sandboxed = env.run(shell).arg("-ec").arg(format!("mkdir sandbox; cd sandbox; {script}"));
    let sandboxed = usual(env, sandboxed).output();
    assert!(sandboxed.status.success() && sandboxed.violations.is_empty(), "{sandboxed:#?}");
    assert_eq!(native.stdout, sandboxed.stdout);
    // And it is a sandbox.
    let refused = usual(env, env.sh("echo >../no/file")).output();
    assert!(!refused.status.success() && !env.path("no/file").exists(), "{refused:#?}");
    assert_eq!(refused.paths(), [env.text("no/file")]);
    sandboxed
}

#[test]
fn git() {
    if !has("git") {
        return;
    }
    let script = "
        export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
        export GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000' GIT_CONFIG_NOSYSTEM=1
        git init -q -b main .
        mkdir -p a/b; for i in 1 2 3 4 5 6 7 8 9; do echo $i >a/b/$i; done; ln -s a/b link; chmod +x a/b/1
        git add . && git commit -q -m one
        git mv a/b/9 a/9 && git rm -q a/b/8 && echo more >>a/b/1 && git commit -q -a -m two
        git checkout -q -b side HEAD~1 && git merge -q main && git gc -q && git repack -q -a -d
        git stash list; git status --porcelain; git log --format=%H; git fsck --strict 2>/dev/null; ls -A . .git
        git clone -q . ../clone.$$ && rm -rf ../clone.$$";
    works(&Env::new(), "sh", script);
}

#[test]
fn tar() {
    if !has("tar") {
        return;
    }
    let script = "
        mkdir -p in/deep/er; i=0; while [ $i -lt 100 ]; do echo $i >in/deep/$i; i=$((i+1)); done
        ln -s ../5 in/deep/er/link; ln in/deep/7 in/deep/er/hard; mkfifo in/fifo; chmod 2755 in/deep; chmod 444 in/deep/3
        touch -d @1000000000 in/deep/* in/deep/er/* in
        tar -c -f all.tar in; mkdir out; tar -x -p -f all.tar -C out
        (cd in && tar -c .) | tar -x -C out
        cd out/in && find . | sort | xargs stat -c '%n %F %a %h' && cat deep/er/link deep/er/hard
        stat -c %Y deep/1 deep/er/hard . && cp -a . ../copy && diff -r --no-dereference -x fifo . ../copy && rm -rf ../copy";
    works(&Env::new(), "sh", script);
}

#[test]
fn python() {
    if !has("python3") {
        return;
    }
    let script = "
        python3 -m venv --without-pip env && env/bin/python -c '
import os, shutil, subprocess, tempfile, multiprocessing
with tempfile.TemporaryDirectory() as d:
    shutil.copytree(os.path.dirname(os.__file__) + \"/json\", d + \"/json\")
    print(sorted(os.listdir(d + \"/json\"))[0])
print(subprocess.run([\"echo\", \"child\"], capture_output=True, text=True).stdout)
open(\"/dev/null\", \"w\").write(\"x\")
fork = multiprocessing.get_context(\"fork\")
queue = fork.SimpleQueue()
p = fork.Process(target=queue.put, args=(42,))
p.start(); print(queue.get()); p.join(); print(p.exitcode)
'; ls env/bin | head -3";
    works(&Env::new(), "sh", script);
}

#[test]
fn make_and_cc() {
    if !has("make") {
        return;
    }
    let script = r#"
        printf 'int two(void) { return 2; }\n' >two.c
        printf '#include <stdio.h>\nint two(void);\nint main(void) { printf("%%d\\n", two()); }\n' >main.c
        printf 'prog: main.o libtwo.a\n\tcc -o $@ main.o -L. -ltwo\nlibtwo.a: two.o\n\tar rc $@ two.o\n\tranlib $@\nclean:\n\trm -f *.o *.a prog\n' >Makefile
        make -s -j4 && ./prog && make -s clean && ls && make -s CFLAGS='-g -O2 -pipe' && strip prog && ./prog
        touch two.c; make -q || echo old; make -s; install -m 755 -D prog dest/bin/prog && dest/bin/prog"#;
    works(&Env::new(), "sh", script);
}

/// A crate without dependencies, from nothing to its tests.
#[test]
fn cargo() {
    if !has("cargo") {
        return;
    }
    let env = Env::new();
    // What cargo and rustup know is in the home directory of whoever runs the tests.
    let home = std::env::var("HOME").unwrap_or_default();
    let old = |name: &str, default: &str| std::env::var(name).unwrap_or(format!("{home}/{default}"));
    let script = format!(
        "export RUSTUP_HOME='{}' CARGO_HOME=\"$PWD/cargo\" CARGO_TERM_QUIET=true; unset CARGO_TARGET_DIR RUSTFLAGS
        mkdir -p src && printf '[package]\\nname = \"tiny\"\\nversion = \"0.1.0\"\\nedition = \"2021\"\\n' >Cargo.toml
        printf 'fn main() {{ println!(\"hello\"); }}\\n' >src/main.rs
        cargo build --offline && target/debug/tiny && cargo run --offline && cp target/debug/tiny . && ./tiny",
        old("RUSTUP_HOME", ".rustup")
    );
    let tried = env.sh(&format!("export RUSTUP_HOME='{}'; cargo --version", old("RUSTUP_HOME", ".rustup")));
    if !tried.output().status.success() {
        eprintln!("skipped: cargo does not work here");
        return;
    }
    assert_eq!(works(&env, "sh", &script).stdout, "hello\nhello\nhello\n");
}
