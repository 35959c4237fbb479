//! Who a process is, who it may become, and that the supervisor acts as it.

#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use common::{Env, is_root};

/// Away from system ids, never to one. With the check of `identity_change` left out, user 7 is granted.
#[test]
fn ids_change_away_from_the_systems() {
    if !is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let env = Env::new();
    let script = |change: &str| format!("import os; os.{change}; print(os.getresuid(), os.getresgid())");
    let run = |change: &str| env.run("python3").args(["-c", &script(change)]);
    for (change, refused) in [
        ("setuid(7)", true),
        ("setgid(5)", true),
        ("setresuid(1000, 7, 1000)", true),
        ("setuid(65534)", false),
        ("setresuid(-1, 65534, -1)", false),
        ("seteuid(65534); os.seteuid(0)", false),
        ("setuid(0)", false),
        ("setgid(1000)", false),
        ("setgroups([5])", true),
        ("setgroups([1000, 5])", true),
        ("setgroups([1000, 0])", false),
        ("setgroups([]); os.setgroups([15]); os.setgroups([0])", false),
    ] {
        let native = run(change).output().succeeded();
        let inside = run(change).mediated().output();
        assert_eq!(inside.status.success(), !refused, "{change}: {inside:?}");
        if refused {
            assert_eq!(inside.violations.len(), 1, "{change}");
            let open = run(change).mediated().rule("core/restrict/identity_change:false").output();
            assert_eq!(open.succeeded().stdout, native.stdout);
        } else {
            assert_eq!(inside.stdout, native.stdout);
        }
    }
}

/// Also where nothing else is mediated. With the calls left to the kernel there, user 7 is granted.
#[test]
fn ids_are_restricted_in_every_sandbox() {
    if !is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let env = Env::new();
    let run = env.run("python3").args(["-c", "import os; os.setuid(7); print(os.getresuid())"]);
    assert_eq!(run.output().succeeded().stdout, "(7, 7, 7)\n");
    let done = run.option("--lock").output();
    assert!(!done.status.success() && done.violations.len() == 1, "{done:#?}");
}

/// Who becomes another user is mediated on, whatever is mediated, also for a root without CAP_SYS_RESOURCE, as containers have
/// it.
///
/// Seen to fail there without `Cx::tag` taking the user's ids, and with the calls left to the kernel in the second and third.
#[test]
fn who_becomes_another_user_goes_on() {
    if !is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let env = Env::new();
    for dir in ["", "ok"] {
        nix::unistd::chown(&env.path(dir), Some(65534.into()), Some(65534.into())).unwrap();
    }
    let script = "id -u; test -e /dev/sydbox && echo open; : >ok/file; mkdir ok/dir; sh -c 'rmdir ok/dir && echo done'";
    let words = ["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", script];
    for (weaker, options) in [(false, &[][..]), (true, &["--bounding-set=-sys_resource"])] {
        let run = || {
            let run = if weaker {
                env.run("setpriv").args(options).arg(common::sydbox())
            } else {
                env.run(common::sydbox())
            };
            run.dir(env.path(""))
        };
        assert_eq!(env.run("setpriv").args(words).output().succeeded().stdout, "65534\ndone\n");
        for (rules, open) in [
            (&["-m", "core/sandbox/exec:allow", "-m", "core/sandbox/write:allow"][..], true),
            (&["--lock", "-m", "core/sandbox/exec:allow"], false),
            (&["--lock", "-m", "core/sandbox/exec:deny", "-m", "allowlist/exec+/**"], false),
            (&["-m", "core/trace/magic_lock:exec"], false),
            (&["-m", "core/sandbox/read:allow"], true),
        ] {
            let done = run().args(rules).args(["--", "setpriv"]).args(words).output().succeeded();
            let expected = if open { "65534\nopen\ndone\n" } else { "65534\ndone\n" };
            assert_eq!(done.stdout, expected, "{rules:?} {done:#?}");
        }
    }
}

/// The command dies with the supervisor, whatever it says about its parent's death; what it starts says what it likes.
///
/// Seen to fail with the call left to the kernel.
#[test]
fn the_eldest_dies_with_the_supervisor() {
    let env = Env::new();
    let script = r"
import ctypes, os, sys
libc = ctypes.CDLL(None); now = ctypes.c_int()
def signal(): libc.prctl(2, ctypes.byref(now)); return now.value
print(libc.prctl(1, 0), libc.prctl(1, 65), signal(), flush=True)
pid = os.fork()
if pid == 0:
    print(libc.prctl(1, 15), signal(), flush=True); os._exit(0)
os.waitpid(pid, 0); print(os.getpid(), flush=True)
print('end', flush=True); sys.stdin.read()
";
    let run = env.run("python3").args(["-c", script]);
    let native = run.output();
    assert!(native.stdout.starts_with("0 -1 0\n0 15\n"), "{native:#?}");
    for run in [run.clone().sandboxed(), run.option("--lock")] {
        let mut running = run.start();
        let mut output = std::io::BufReader::new(running.child.stdout.take().unwrap());
        let mut text = String::new();
        while !text.ends_with("end\n") {
            assert_ne!(std::io::BufRead::read_line(&mut output, &mut text).unwrap(), 0, "{text}");
        }
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["0 -1 9", "0 15"]);
        running.child.kill().unwrap();
        // Its end of the pipe is closed.
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut output, &mut rest).unwrap();
        running.finish();
    }
}

/// setgroups(2) takes its list from memory, which another thread exchanges between the supervisor's look and the kernel's.
/// With `identity::verify` left out the directory is made.
#[test]
fn who_cheats_about_its_groups_is_killed() {
    if !is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let env = Env::new();
    let run = env.run(env.program("groups")).arg("no/made");
    assert_eq!(run.output().succeeded().stdout, "has group 5\nmade\n");
    std::fs::remove_dir(env.path("no/made")).unwrap();
    let done = run.clone().mediated().output();
    assert_eq!(done.stdout, "has group 5\n", "{done:?}");
    assert_eq!(done.status.code(), Some(128 + 9), "{done:?}");
    assert!(done.stderr.contains("has got itself group 5"), "{done:?}");
    assert!(!env.path("no/made").exists());
    // Nor does it help to ask for the group again, as one that it has. Without the `verify` in `identity::restrict` the
    // directory is made.
    let done = run.clone().arg("again").mediated().output();
    assert_eq!((done.status.code(), &done.stdout[..]), (Some(128 + 9), "has group 5\n"), "{done:?}");
    assert!(!env.path("no/made").exists());
    // Where it may, it is not looked at; nor is a dry run any different.
    for run in [
        run.clone().mediated().rule("core/restrict/identity_change:false"),
        run.mediated().option("--dry-run"),
    ] {
        assert_eq!(run.output().succeeded().stdout, "has group 5\nmade\n");
        std::fs::remove_dir(env.path("no/made")).unwrap();
    }
}

/// The broker does for a caller what the caller could have done, and no more. With `Cx::with_identity` calling `run` at
/// once, the file below `closed` is made, and files belong to root.
#[test]
fn the_broker_acts_as_its_caller() {
    if !is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    const SCRIPT: &str = r#"
import ctypes, os, stat, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
top = sys.argv[1]
def say(name, call):
    try:
        print(name, call())
    except OSError as error:
        print(name, error.strerror)
def make(path):
    os.close(os.open(os.path.join(top, path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    info = os.stat(os.path.join(top, path))
    return info.st_uid, info.st_gid, oct(info.st_mode)
os.mkdir(top, 0o755); os.mkdir(top + "/closed", 0o700); os.mkdir(top + "/open", 0o777); os.chmod(top + "/open", 0o1777)
os.mkdir(top + "/group", 0o770); os.chown(top + "/group", 0, 4321); make("open/roots")
say("root", lambda: make("closed/root"))
def thread():
    # The raw call changes this thread alone.
    libc.syscall(122, 65534)
    say("fsuid", lambda: make("closed/fsuid"))
    say("fsuid open", lambda: make("open/fsuid"))
worker = threading.Thread(target=thread); worker.start(); worker.join()
say("root again", lambda: make("closed/again"))
os.setegid(1234); say("egid", lambda: make("open/egid")); os.setegid(0)
os.setgroups([4321]); os.seteuid(65534); say("group", lambda: make("group/by-group"))
os.seteuid(0); os.setgroups([]); os.seteuid(65534); say("no group", lambda: make("group/without"))
os.seteuid(0)
os.umask(0o077); say("umask", lambda: make("open/umask"))
os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
say("user", lambda: make("open/user"))
say("closed", lambda: make("closed/user"))
say("chown", lambda: os.chown(top + "/open/user", 0, 0))
say("chmod", lambda: os.chmod(top + "/open/roots", 0o777))
say("sticky", lambda: os.unlink(top + "/open/roots"))
say("access", lambda: os.access(top + "/closed", os.W_OK))
say("utime", lambda: os.utime(top + "/open/roots", (1, 1)))
say("xattr", lambda: os.setxattr(top + "/open/roots", "user.a", b"1"))
say("truncate", lambda: os.truncate(top + "/open/roots", 1))
say("noatime", lambda: os.open(top + "/open/roots", os.O_RDONLY | os.O_NOATIME))
"#;
    let env = Env::new();
    std::os::unix::fs::chown(env.path("ok"), Some(0), Some(0)).unwrap();
    let outer = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(env.path(""), outer).unwrap();
    let run = |top: &str| env.run("python3").args(["-c", SCRIPT, &env.text(top)]);
    let native = run("ok/native").output().succeeded().stdout;
    let inside = run("ok/inside").mediated().output().succeeded().stdout;
    assert_eq!(native, inside);
    for line in [
        "fsuid Permission denied",
        "fsuid open (65534, 0,",
        "closed Permission denied",
        "user (65534, 65534,",
    ] {
        assert!(native.contains(line), "{line}: {native}");
    }
}

/// Threads that were started while another one acted for somebody act for root as root.
///
/// Seen to fail with a new thread's identity left as it comes.
#[test]
fn threads_are_nobodys_when_they_start() {
    if !is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    const SCRIPT: &str = r#"
import os, signal, sys
top = sys.argv[1]
os.mkdir(top); os.chmod(top, 0o777)
def blocked(n):
    fifo = f"{top}/fifo{n}"
    os.mkfifo(fifo); os.chmod(fifo, 0o666)
    told, ready = os.pipe(); pid = os.fork()
    if pid == 0:
        os.setgroups([4321]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
        os.write(ready, b"x"); os.open(fifo, os.O_WRONLY)
    os.read(told, 1); os.close(told); os.close(ready)
    # Once it has said so it sleeps only in the call.
    while open(f"/proc/{pid}/stat").read().rsplit(") ")[1][0] not in "SD": pass
    return pid
for n in range(8):
    pid = blocked(n)
    os.mkdir(f"{top}/d{n}"); info = os.stat(f"{top}/d{n}"); print(info.st_uid, info.st_gid)
    os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)
"#;
    let env = Env::new();
    let outer = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(env.path("ok"), outer).unwrap();
    let run = |top: &str| env.run("python3").args(["-c", SCRIPT, &env.text(top)]);
    let native = run("ok/native").output().succeeded().stdout;
    assert_eq!(native, "0 0\n".repeat(8));
    assert_eq!(run("ok/inside").mediated().output().succeeded().stdout, native);
}

/// What a root has lost, the broker does not do for it either. `kernel` says what the kernel does by itself in the same
/// sandbox. With `CAP_SYS_PTRACE` in force while the broker acts, the environment of the other user's process is opened;
/// with `Worker::become_caller` granting all capabilities, the file is written.
#[test]
fn the_broker_has_no_capability_that_its_caller_lacks() {
    if !is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    const SCRIPT: &str = r#"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
top = sys.argv[1]
def say(name, call):
    try:
        os.close(call())
        print(name, "done")
    except OSError as error:
        print(name, error.strerror)
open(top + "/theirs", "w"); os.chmod(top + "/theirs", 0o400); os.chown(top + "/theirs", 65534, 65534)
ready, end = os.pipe(), os.pipe()
other = os.fork()
if other == 0:
    os.close(end[1])
    os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
    # Dumpable again, as after an exec.
    libc.prctl(4, 1, 0, 0, 0)
    os.write(ready[1], b"x"); os.read(end[0], 1); os._exit(0)
os.read(ready[0], 1)
say("environ", lambda: os.open("/proc/%d/environ" % other, os.O_RDONLY))
say("write", lambda: os.open(top + "/theirs", os.O_WRONLY))
os.close(end[1])
# CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH.
header = struct.pack("Ii", 0x20080522, 0)
data = ctypes.create_string_buffer(24)
libc.capget(header, data)
words = [word & ~6 if n in (0, 1) else word for n, word in enumerate(struct.unpack("6I", data.raw))]
assert libc.capset(header, struct.pack("6I", *words)) == 0
say("write without", lambda: os.open(top + "/theirs", os.O_WRONLY))
say("truncate without", lambda: os.open(top + "/theirs", os.O_RDONLY | os.O_TRUNC))
"#;
    let env = Env::new();
    let run = env.run("python3").args(["-c", SCRIPT, &env.text("ok")]);
    let lost = "write done\nwrite without Permission denied\ntruncate without Permission denied\n";
    assert_eq!(run.output().succeeded().stdout, format!("environ done\n{lost}"));
    // The kernel opens what is read, and then the broker.
    assert_eq!(run.clone().mediated().output().stdout, format!("environ Permission denied\n{lost}"));
    let armed = run.mediated().rule("core/sandbox/read:allow").output();
    assert_eq!(armed.stdout, format!("environ Permission denied\n{lost}"));
}
