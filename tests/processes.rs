//! Signals, limits and restrictions, and what is left without a supervisor.

#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};

use common::{Env, is_root, said_by};
use sydbox::{Sandbox, SandboxBuilder};

/// A sandbox without rules, with the kernel's scopes or without.
fn sandbox(scopes: bool) -> SandboxBuilder {
    let mut builder = Sandbox::builder();
    if !scopes {
        builder.without_scopes();
    }
    builder
}

/// A process outside of every sandbox that ends when its input does.
struct Victim(Child);

impl Victim {
    fn new() -> Self {
        Self(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }

    /// Whether it ends as it would if nobody had sent it a signal.
    fn ends_well(mut self) -> bool {
        drop(self.0.stdin.take());
        self.0.wait().unwrap().success()
    }
}

const SIGNALS: &str = r#"
import ctypes, os, signal, sys
victim = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
def say(name, call):
    try:
        result = call()
        print(name, "done" if result in (None, 0) else os.strerror(ctypes.get_errno()))
    except OSError as error:
        print(name, error.strerror)
def queue(call, *ids):
    info = ctypes.create_string_buffer(128)
    info[0:4] = (10).to_bytes(4, "little")
    info[8:12] = (-1).to_bytes(4, "little", signed=True)
    return lambda: libc.syscall(call, *ids, 10, info)
say("kill", lambda: os.kill(victim, signal.SIGUSR1))
say("tkill", lambda: libc.syscall(200, victim, 10))
say("tgkill", lambda: libc.syscall(234, victim, victim, 10))
say("sigqueue", queue(129, victim))
say("tgsigqueue", queue(297, victim, victim))
def by_pidfd():
    signal.pidfd_send_signal(os.pidfd_open(victim), signal.SIGUSR1)
say("pidfd", by_pidfd)
def by_proc():
    signal.pidfd_send_signal(os.open("/proc/%d" % victim, os.O_RDONLY | os.O_DIRECTORY), signal.SIGUSR1)
say("proc", by_proc)
"#;

/// What is said of a signal to a process outside, natively and in a sandbox that stands in for the kernel's scopes.
///
/// With the rows of `SIGNALS` set to allow and no scope, the victim dies in the sandbox as well.
#[test]
fn signals_stay_in_the_tree() {
    let names = ["kill", "tkill", "tgkill", "sigqueue", "tgsigqueue", "pidfd", "proc"];
    for sandboxed in [false, true] {
        for scopes in [true, false] {
            let victim = Victim::new();
            let mut command = Command::new("python3");
            command.args(["-c", SIGNALS, &victim.pid()]).stdout(Stdio::piped()).process_group(0);
            let output = said_by(command, sandboxed.then(|| sandbox(scopes)));
            let lines: Vec<&str> = output.lines().collect();
            assert_eq!(lines.len(), names.len(), "{output}");
            for (line, name) in lines.iter().zip(names) {
                let (said, what) = line.split_once(' ').unwrap();
                assert_eq!((said, what == "done"), (name, !sandboxed), "scopes {scopes}: {line}");
            }
            assert_eq!(victim.ends_well(), sandboxed, "scopes {scopes}");
        }
    }
}

/// kill(2) of one's own processes, of groups and of all, in a group of the sandbox's own.
#[test]
fn signals_in_the_tree_arrive() {
    let script = r#"
        trap "echo term" TERM
        sh -c 'kill -TERM $$'; echo "child $?"
        kill -0 $$ && echo "self"
        sh -c 'trap "" TERM; kill -TERM 0' ; wait 2>/dev/null; echo "group"
        kill -TERM -$$; echo "named group"
        kill -0 99999999 2>/dev/null || echo "nobody"
    "#;
    let expected = "child 143\nself\nterm\ngroup\nterm\nnamed group\nnobody\n";
    for scopes in [None, Some(true), Some(false)] {
        let env = Env::new();
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(env.path("ok")).stdout(Stdio::piped()).process_group(0);
        assert_eq!(said_by(command, scopes.map(sandbox)), expected, "{scopes:?}");
    }
}

/// Of a group, those that the caller may not signal are left out.
///
/// Seen to fail with the broker's signals sent without asking whose they are.
#[test]
fn a_group_is_signalled_as_the_caller_may() {
    if !common::is_root() || !common::has("setpriv") {
        eprintln!("skipped: only root has processes of others in its group");
        return;
    }
    let script = r#"
        trap "echo term" TERM
        setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'trap "" TERM; kill -TERM 0 && echo sent'
        setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'kill -TERM '$$' || echo no'
        echo end
    "#;
    for scopes in [None, Some(true), Some(false)] {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        assert_eq!(said_by(command, scopes.map(sandbox)), "sent\nno\nend\n", "{scopes:?}");
    }
}

/// The supervisor is in the same process group and session, of the same user, and survives what is sent to all.
#[test]
fn the_supervisor_survives_signals_to_everybody() {
    let env = Env::new();
    let script = "trap '' TERM; kill -TERM $PPID; kill -KILL $PPID; kill -STOP $PPID; kill -TERM 0; \
                  for task in /proc/$PPID/task/*; do kill -KILL ${task##*/}; done; echo here";
    let mut command = Command::new(common::sydbox());
    command.args(["-q", "-p", "off", "--", "sh", "-c", script]).current_dir(env.path("ok"));
    let output = command.process_group(0).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "here\n", "{output:?}");
    assert!(output.status.success(), "{:?} {:?}", output.status, output.status.signal());
}

const ADJUST: &str = r#"
import ctypes, os, resource, signal, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    if libc.syscall(number, *args) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
NODE = ctypes.c_ulong(1)
CALLS = {
    "affinity": lambda pid: os.sched_setaffinity(pid, os.sched_getaffinity(0)),
    "scheduler": lambda pid: os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0)),
    "param": lambda pid: os.sched_setparam(pid, os.sched_param(0)),
    "attr": lambda pid: call(314, pid, (ctypes.c_uint32 * 12)(48, 0, 0, 0, 19), 0),
    "priority": lambda pid: os.setpriority(os.PRIO_PROCESS, pid, 19),
    "ioprio": lambda pid: call(251, 1, pid, 3 << 13),
    "prlimit": lambda pid: resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0)),
    "migrate": lambda pid: call(256, pid, 64, ctypes.byref(NODE), ctypes.byref(NODE)),
    "move": lambda pid: call(279, pid, 0, 0, 0, 0, 0),
}
def say(who, pids, stays=lambda pid: True):
    said = set()
    for pid in pids:
        here = set()
        for name, function in CALLS.items():
            try:
                function(pid)
                here.add(name + " done")
            except OSError as error:
                here.add(name + " " + error.strerror)
        said |= here if stays(pid) else set()
    print(who + ": " + ("done" if all(line.endswith(" done") for line in said) else ", ".join(sorted(said))))
started, end, thread_id = threading.Event(), threading.Event(), []
def thread():
    thread_id.append(threading.get_native_id()); started.set(); end.wait()
other = threading.Thread(target=thread); other.start(); started.wait()
child = os.fork()
if child == 0:
    signal.pause()
say("self", [0, os.getpid(), threading.get_native_id()])
say("thread", thread_id)
say("child", [child])
third = threading.Thread(target=lambda: say("from a thread", [threading.get_native_id(), os.getpid()]))
third.start(); third.join(); end.set(); other.join()
below = os.fork()
if below == 0:
    say("parent", [os.getppid()]); sys.stdout.flush(); os._exit(0)
os.waitpid(below, 0)
os.kill(child, 9); os.waitpid(child, 0)
say("nobody", [child, 99999999])
say("outside", [int(sys.argv[1])])
if len(sys.argv) > 2:
    tasks = "/proc/%d/task" % os.getppid()
    say("supervisor", [int(task) for task in os.listdir(tasks)], lambda task: os.path.exists("%s/%d" % (tasks, task)))
    for which in [os.PRIO_PGRP, os.PRIO_USER]:
        try:
            os.setpriority(which, 0, 10); print("group done")
        except OSError as error:
            print("group", error.strerror)
sys.stdout.flush()
"#;

/// The caller, its threads, its children and whoever else is of the tree can be adjusted by number; the supervisor and processes
/// outside cannot. With the test of the tree left out of `others::adjust`, or with its rows set to allow, the victim and the
/// supervisor are adjusted too.
#[test]
fn numbers_of_the_tree_are_adjusted_and_no_others() {
    let env = Env::new();
    let victim = Victim::new();
    let run = env.run("python3").args(["-c", ADJUST, &victim.pid()]);
    let own = "self: done\nthread: done\nchild: done\nfrom a thread: done\nparent: done\n";
    let calls =
        ["affinity", "attr", "ioprio", "migrate", "move", "param", "priority", "prlimit", "scheduler"];
    let all = |said: &str| calls.map(|call| format!("{call} {said}")).join(", ");
    let nobody = format!("nobody: {}\n", all("No such process"));
    let native = run.output().succeeded().stdout;
    assert_eq!(native, format!("{own}{nobody}outside: done\n"));
    for run in [run.clone().mediated(), run.clone().option("--lock"), run.mediated().option("--dry-run")] {
        let inside = run.arg("inside").output().succeeded().stdout;
        let refused = all("Operation not permitted");
        let groups = "group Operation not permitted\n".repeat(2);
        assert_eq!(inside, format!("{own}{nobody}outside: {refused}\nsupervisor: {refused}\n{groups}"));
    }
    assert!(victim.ends_well());
}

/// A descriptor's signals go to the process that asks, and to nobody else.
#[test]
fn a_descriptor_is_owned_by_who_asks() {
    const SCRIPT: &str = r#"
import fcntl, os, signal, sys
got = []
signal.signal(signal.SIGIO, lambda *_: got.append(1))
reader, writer = os.pipe()
def say(name, pid):
    try:
        fcntl.fcntl(reader, fcntl.F_SETOWN, pid)
        print(name, "done")
    except OSError as error:
        print(name, error.strerror)
say("outside", int(sys.argv[1])); say("group", -os.getpgrp()); say("self", os.getpid())
fcntl.fcntl(reader, fcntl.F_SETFL, fcntl.fcntl(reader, fcntl.F_GETFL) | os.O_ASYNC)
os.write(writer, b"x"); os.getpid(); print("signals", len(got))
"#;
    let env = Env::new();
    let victim = Victim::new();
    let run = env.run("python3").args(["-c", SCRIPT, &victim.pid()]);
    let native = run.output().succeeded().stdout;
    assert_eq!(native, "outside done\ngroup done\nself done\nsignals 1\n");
    let inside = run.mediated().output().succeeded().stdout;
    let refused = "Operation not permitted";
    assert_eq!(inside, format!("outside {refused}\ngroup {refused}\nself done\nsignals 1\n"));
    assert!(victim.ends_well());
}

#[test]
fn limits_hold_for_the_tree() {
    let env = Env::new();
    let script = "ulimit -c; ulimit -t; ulimit -n; ulimit -v; ulimit -f; ulimit -n 99 2>/dev/null; ulimit -n";
    let run = env.sh(script);
    let limited = run
        .clone()
        .rule("core/limit/cpu:1000")
        .rule("core/limit/files:64")
        .rule("core/limit/memory:2G")
        .rule("core/limit/filesize:1M");
    assert_eq!(limited.output().succeeded().stdout, "0\n1000\n64\n2097152\n2048\n64\n");
    assert_ne!(run.output().stdout, "0\n1000\n64\n2097152\n2048\n64\n");
    // Of a file that is written, by a program that is told so.
    let big = env.sh("head -c 2000000 /dev/zero >ok/big; echo $?");
    assert_eq!(big.output().succeeded().stdout, "0\n");
    assert_ne!(big.rule("core/limit/filesize:1M").output().stdout, "0\n");
    // So few that the sandbox itself would need more.
    for files in ["4", "10"] {
        let few = env
            .sh("ulimit -n; ulimit -n 99 2>/dev/null; ulimit -n")
            .rule(format!("core/limit/files:{files}"));
        assert_eq!(few.output().succeeded().stdout, format!("{files}\n{files}\n"));
    }
    // Also where the listener is handed over by a process more.
    let few = env.run(env.program("without")).arg(libc::SYS_pidfd_getfd.to_string()).arg("1");
    let few = few.arg(common::sydbox()).args(["-q", "-m", "core/limit/processes:1", "--", "echo", "one"]);
    assert_eq!(few.output().succeeded().stdout, "one\n");
    // By the signal that says so.
    let busy = env.sh("while :; do :; done").rule("core/limit/cpu:1").output();
    assert_eq!(busy.status.code(), Some(128 + nix::sys::signal::Signal::SIGXCPU as i32), "{busy:?}");
    let core = env.sh("ulimit -c").rule("core/limit/core:512");
    assert_eq!(core.output().succeeded().stdout, "1\n");
    // With 0 a program that the system gives dumps to would get them.
    let none = env.sh("grep core /proc/self/limits; ulimit -c").mediated().output().succeeded().stdout;
    let may = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_CORE).unwrap().1.min(1);
    let words: Vec<&str> = none.split_whitespace().collect();
    assert_eq!(words[4..], [may.to_string().as_str(), &may.to_string(), "bytes", "0"], "{none}");
    for wrong in
        ["core/limit/cpu:-1", "core/limit/cpu:1T", "core/limit/memory:99999999999G", "core/limit/stack:1"]
    {
        assert_eq!(env.sh("true").rule(wrong).output().status.code(), Some(125), "{wrong}");
    }
    // One that is above what there is.
    if !is_root() {
        for (option, value, name) in [("f", "8", "filesize"), ("n", "64", "files")] {
            let script = format!("ulimit -{option} {value}; exec \"$0\" -m core/limit/{name}:1M -- true");
            let too_many = env.sh(&script).arg(common::sydbox()).output();
            assert_eq!(too_many.status.code(), Some(125), "{too_many:?}");
            assert!(too_many.stderr.contains(&format!("cannot set core/limit/{name}")), "{too_many:?}");
        }
    }
    // One that is what there is.
    let same = env.sh("ulimit -t 60; exec \"$0\" -q -m core/limit/cpu:60 -- true").arg(common::sydbox());
    assert_eq!(same.output().status.code(), Some(0));
}

#[test]
fn shared_memory_and_file_control() {
    let env = Env::new();
    let shared = "import mmap; mmap.mmap(-1, 4096, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)";
    let private = "import mmap; mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)";
    let control = "import fcntl; fcntl.fcntl(0, 1036)";
    let harmless = "import fcntl; fcntl.fcntl(0, fcntl.F_GETFD)";
    let python = |script| env.run("python3").args(["-c", script]);
    let segment = |flags: &str| {
        let attach = "libc = ctypes.CDLL(None); id = libc.shmget(0, 4096, 0o1600); libc.shmat.restype = ctypes.c_ssize_t";
        format!(
            "import ctypes; {attach}; at = libc.shmat(id, None, {flags}); libc.shmctl(id, 0, None); assert at != -1"
        )
    };
    let (writable, readable) = (segment("0"), segment("0o10000"));
    for (script, rule, refused) in [
        (shared, "core/restrict/shared_memory_writable:true", true),
        (&writable, "core/restrict/shared_memory_writable:true", true),
        (&readable, "core/restrict/shared_memory_writable:true", false),
        (private, "core/restrict/shared_memory_writable:true", false),
        (harmless, "core/restrict/file_control:true", false),
    ] {
        assert!(python(script).output().status.success(), "{script}");
        assert_eq!(python(script).rule(rule).output().status.success(), !refused, "{script}");
    }
    // F_SET_RW_HINT without an argument is EFAULT natively, and EPERM where only harmless commands are wanted.
    assert!(python(control).output().stderr.contains("Bad address"));
    let refused = python(control).rule("core/restrict/file_control:true").output();
    assert!(refused.stderr.contains("Operation not permitted"), "{refused:?}");
}

/// Descriptors that whoever starts a sandbox has open are handed down, unless it is said that they are not.
#[test]
fn inherited_descriptors_can_be_closed() {
    let env = Env::new();
    std::fs::write(env.path("ok/held"), "held\n").unwrap();
    let script = "cat <&7 2>/dev/null || echo closed; cat; echo end >&2";
    let run = |options: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", "exec 7<ok/held; exec \"$@\"", "sh"]);
        if let [first, ..] = options {
            assert!(first.starts_with('-'));
            command.arg(common::sydbox()).args(options).arg("--");
        }
        command.args(["sh", "-c", script]).current_dir(env.path("")).stdin(Stdio::null());
        command.env("HOME", env.path("ok")).output().unwrap()
    };
    for (options, said) in [
        (&[][..], "held\n"),
        (&["-m", "core/sandbox/write:allow"], "held\n"),
        (&["--close-fds"], "closed\n"),
        (&["-m", "core/trace/close_fds:true"], "closed\n"),
        (&["-p", "agent"], "closed\n"),
        (&["-p", "agent", "-m", "core/trace/close_fds:false"], "held\n"),
    ] {
        let output = run(options);
        assert_eq!(String::from_utf8_lossy(&output.stdout), said, "{options:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).ends_with("end\n"), "{options:?}: {output:?}");
    }
}

/// The supervisor is killed while a process of the tree is on its own: nothing that is mediated succeeds from then on, and
/// the eldest is gone. Without the death signal it lives on.
#[test]
fn without_its_supervisor_the_tree_can_do_nothing() {
    let env = Env::new();
    let script = "echo $$ >ok/eldest; mkfifo ok/go ok/done; \
                  setsid sh -c ': >ok/before; echo $$ >ok/pid; read x <ok/go; \
                  (: >ok/after); mkdir ok/after-too' <&- >&- 2>&- & \
                  while :; do read x <ok/done; done";
    let running = env.sh(script).sandboxed().start();
    let written = || std::fs::read_to_string(env.path("ok/pid")).is_ok_and(|pid| pid.ends_with('\n'));
    assert!(common::becomes(written));
    let read = |name: &str| std::fs::read_to_string(env.path(name)).unwrap().trim().to_owned();
    let (eldest, left) = (read("ok/eldest"), read("ok/pid"));
    let sydbox = nix::unistd::Pid::from_raw(running.child.id() as i32);
    nix::sys::signal::kill(sydbox, nix::sys::signal::Signal::SIGKILL).unwrap();
    let _ = running.finish();
    assert!(common::becomes(|| !common::is_alive(&eldest)), "the eldest lives on");
    assert!(common::is_alive(&left));
    std::fs::write(env.path("ok/go"), "go\n").unwrap();
    assert!(common::becomes(|| !common::is_alive(&left)), "what is left does not end");
    assert!(env.path("ok/before").exists());
    assert!(!env.path("ok/after").exists() && !env.path("ok/after-too").exists());
}

/// It is killed while eight processes make files as fast as they can: not one more is made.
#[test]
fn nothing_more_is_made_when_the_supervisor_dies() {
    let env = Env::new();
    let script = "for job in 1 2 3 4 5 6 7 8; do \"$0\" forever ok & done; wait";
    let mut running = env.run("sh").args(["-c", script]).arg(env.program("hostile")).brokered().start();
    let made = || common::made_by(&env.path("ok")).values().sum::<usize>();
    assert!(common::becomes(|| made() > 500 && common::made_by(&env.path("ok")).len() == 8));
    let mut output = running.child.stdout.take().unwrap();
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    let at_death = made();
    // Until the last of them is gone.
    let mut said = String::new();
    std::io::Read::read_to_string(&mut output, &mut said).unwrap();
    assert_eq!(said, "ENOSYS\n".repeat(8));
    assert_eq!(made(), at_death);
    running.finish();
}
