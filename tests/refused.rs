//! Calls that a sandbox refuses whatever its rules say, with the errno that programs cope with best; and how a profile
//! opens single ones.
//!
//! Every row of the table is tried by `programs/refused.c` (a unit test of the table sees to that), in both ABIs. Seen to
//! fail with single rows of the table set to allow.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{Env, Run, is_root, said_by};
use sydbox::{ErrorKind, Sandbox};

/// What each says in a sandbox.
const REFUSED: &[(&str, &str)] = &[
    (
        "EPERM",
        "ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp open_by_handle_at chroot mount umount \
         umount2 pivot_root move_mount mount_setattr fsopen fsconfig fsmount fspick open_tree open_tree_attr \
         lsm_set_self_attr bpf perf_event_open syslog reboot acct swapon swapoff quotactl quotactl_fd vhangup \
         sethostname setdomainname iopl ioperm vm86 vm86old kexec_load kexec_file_load init_module finit_module \
         delete_module settimeofday clock_settime clock_settime64 stime setns unshare-user clone-user \
         personality-exec ioctl-tiocsti ioctl-tioclinux ioctl-notif prctl-mm",
    ),
    ("EOPNOTSUPP", "name_to_handle_at landlock_create_ruleset"),
    (
        "ENOSYS",
        "userfaultfd memfd_secret io_uring_setup io_uring_enter io_uring_register add_key request_key keyctl clone3 \
         uselib lookup_dcookie nfsservctl _sysctl",
    ),
    ("EBUSY", "seccomp-listener"),
    ("done", "unshare-files personality-ask personality-norandom"),
];

/// Not refused, or there is no such call any more: natively it is the same.
const SAME: &[&str] = &[
    "unshare-files",
    "personality-ask",
    "personality-norandom",
    "uselib",
    "lookup_dcookie",
    "nfsservctl",
    "_sysctl",
];

/// The kernel asks for a capability before it looks at anything: an ordinary user cannot tell who refused.
const ROOTS: &[&str] = &[
    "open_by_handle_at",
    "pivot_root",
    "move_mount",
    "fsopen",
    "fsmount",
    "fspick",
    "syslog",
    "reboot",
    "acct",
    "swapoff",
    "vhangup",
    "sethostname",
    "setdomainname",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
];

/// Those that a profile can open.
const OPENABLE: &str = "ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp memfd_secret \
    name_to_handle_at landlock_create_ruleset lsm_set_self_attr add_key request_key keyctl bpf perf_event_open";

/// What the program says, by call.
fn said(run: &Run<'_>) -> BTreeMap<String, String> {
    let done = run.output().succeeded();
    let line = |line: &str| line.split_once(' ').map(|(name, said)| (name.to_owned(), said.to_owned()));
    done.stdout.lines().map(|text| line(text).expect(text)).collect()
}

/// The program for each ABI that the machine runs.
fn programs(env: &Env) -> impl Iterator<Item = PathBuf> {
    [Some(env.program("refused")), env.program32("refused")].into_iter().flatten()
}

#[test]
fn what_is_refused_says_so_and_natively_says_something_else() {
    let env = Env::new();
    let expected: BTreeMap<&str, &str> = REFUSED
        .iter()
        .flat_map(|(errno, names)| names.split_whitespace().map(|name| (name, *errno)))
        .collect();
    for program in programs(&env) {
        let native = said(&env.run(&program));
        // Whatever else is on or off; locked, the filter is another one.
        for run in [
            env.run(&program).mediated(),
            env.run(&program).rule("core/sandbox/write:off").option("--lock"),
            env.run(&program).rule("core/sandbox/network:deny").option("--dry-run"),
        ] {
            let inside = said(&run);
            assert_eq!(native.keys().collect::<Vec<_>>(), inside.keys().collect::<Vec<_>>());
            for (name, said) in &inside {
                assert_eq!(Some(&said.as_str()), expected.get(name.as_str()), "{name}");
                let same = SAME.contains(&name.as_str()) || !is_root() && ROOTS.contains(&name.as_str());
                assert!(same || native[name] != *said, "{name} natively: {}", native[name]);
            }
        }
        assert!(native.len() > 60, "{native:#?}");
    }
}

#[test]
fn what_is_opened_is_the_kernels() {
    let env = Env::new();
    for program in programs(&env) {
        let native = said(&env.run(&program));
        let closed = said(&env.run(&program).mediated());
        let mut run = env.run(&program).mediated();
        for name in OPENABLE.split_whitespace() {
            run = run.rule(format!("core/trace/allow/{name}:true"));
        }
        // The last one wins.
        let opened = said(&run.rule("core/trace/allow/kcmp:false"));
        for (name, said) in &opened {
            let open = name != "kcmp" && OPENABLE.split_whitespace().any(|openable| openable == name);
            let expected = if open { &native[name] } else { &closed[name] };
            assert_eq!(said, expected, "{name}");
        }
    }
}

#[test]
fn who_opens_what_cannot_be_opened_is_told() {
    let env = Env::new();
    for (rule, why) in [
        ("core/trace/allow/mount:true", "mount cannot be opened: in another tree of mounts"),
        (
            "core/trace/allow/io_uring_setup:true",
            "io_uring_setup cannot be opened: it opens and connects without",
        ),
        ("core/trace/allow/unshare:true", "unshare cannot be opened: it is not among those"),
        ("core/trace/allow/prace:true", "expected the name of a system call: ptrace, process_vm_readv"),
        ("core/trace/allow/ptrace:perhaps", "expected true or false"),
        ("core/trace/allow/ptrace", "expected `:VALUE` or `?`"),
    ] {
        let done = env.sh("true").rule(rule).output();
        assert_eq!(done.status.code(), Some(125), "{rule}: {done:?}");
        assert!(done.stderr.contains(why), "{rule}: {done:?}");
    }
    // Once it runs it is too late, whoever asks; it can be asked, and said again.
    let script = "test -e /dev/sydbox/core/trace/allow/kcmp:true && echo opened
        test -e /dev/sydbox/core/trace/allow/ptrace:false && echo closed
        test -e /dev/sydbox/core/trace/allow/mount:true && echo mount
        test -e /dev/sydbox/core/trace/allow/ptrace? && echo ptrace
        test -e /dev/sydbox/core/trace/allow/kcmp? && echo kcmp
        test -e /dev/sydbox/core/trace/allow/ptrace:true && echo still
        test -e /dev/sydbox/core/trace/allow/kcmp:false && echo still";
    let done = env.sh(script).mediated().rule("core/trace/allow/ptrace:true").output();
    assert_eq!(done.stdout, "ptrace\nstill\nstill\n", "{done:?}");
    assert!(done.stderr.contains("core/trace/allow/kcmp can be changed only in a profile"), "{done:?}");
}

const TRACE: &str = r#"
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
SEIZE, DETACH = 0x4206, 17
class IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
buffer = ctypes.create_string_buffer(8)
local = IoVec(ctypes.cast(buffer, ctypes.c_void_p), 8)
def address(pid):
    for line in open("/proc/%d/maps" % pid):
        return int(line.split("-")[0], 16)
def say(name, result):
    print(name, "done" if result >= 0 else os.strerror(ctypes.get_errno()))
for name, pid in zip(sys.argv[1::2], map(int, sys.argv[2::2])):
    pid = pid or os.fork()
    if pid == 0:
        import signal
        signal.pause()
    say(name + " ptrace", libc.ptrace(SEIZE, pid, None, None))
    remote = IoVec(int(os.environ["AT"]), 8)
    say(name + " vm", libc.syscall(310, pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, ctypes.c_long(0)))
    say(name + " fd", libc.syscall(438, os.pidfd_open(pid), 0, 0))
    say(name + " kcmp", libc.syscall(312, os.getpid(), pid, 1, 0, 0))
    if name == "child":
        os.kill(pid, 9)
"#;

/// A process outside that ends when its input does. It has no capability that the sandboxed have not: otherwise the
/// kernel would protect it from them anyway.
fn victim() -> Child {
    let mut command = Command::new(if is_root() { "setpriv" } else { "cat" });
    if is_root() {
        command.args(["--bounding-set", "-all", "cat"]);
    }
    let mut victim = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = [0];
    victim.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    victim.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    victim
}

/// What is open reaches the processes of the sandbox, and nobody outside: neither another program nor the supervisor. What
/// holds it back is the domain of the second lock: see below.
#[test]
fn what_is_opened_stays_in_the_tree() {
    let env = Env::new();
    let mut victim = victim();
    let pid = victim.id().to_string();
    // The first page of a program that is mapped at a fixed place, or else an address that is nowhere: both tell a
    // permission from a bad address.
    let native =
        env.run("python3").args(["-c", TRACE, "victim", &pid, "child", "0"]).set("AT", "4096").output();
    let own = |done: &common::Done, who: &str| -> Vec<String> {
        let lines = done.stdout.lines().filter(|line| line.starts_with(who));
        lines.map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    };
    if own(&native, "victim")[0] != "ptrace done" {
        eprintln!("skipped: processes of the same user cannot be traced here: {native:?}");
        drop(victim.stdin.take());
        victim.wait().unwrap();
        return;
    }
    let run = env.sh("exec python3 -c \"$TRACE\" victim $0 supervisor $PPID child 0").mediated().arg(&pid);
    let run = run.set("TRACE", TRACE).set("AT", "4096");
    let mut opened = run.clone();
    for name in ["ptrace", "process_vm_readv", "pidfd_getfd", "kcmp"] {
        opened = opened.rule(format!("core/trace/allow/{name}:true"));
    }
    let opened = opened.output().succeeded();
    let refused = |names: [&str; 4]| names.map(|name| format!("{name} Operation not permitted"));
    for who in ["victim", "supervisor"] {
        assert_eq!(own(&opened, who), refused(["ptrace", "vm", "fd", "kcmp"]), "{opened:?}");
    }
    assert_eq!(own(&opened, "child"), own(&native, "child"), "{opened:?}");
    let closed = run.output().succeeded();
    assert_eq!(own(&closed, "child"), refused(["ptrace", "vm", "fd", "kcmp"]), "{closed:?}");
    drop(victim.stdin.take());
    assert!(victim.wait().unwrap().success());
}

/// Without a domain a process outside is traced, if the filter lets it: so such a sandbox does not start.
#[test]
fn what_would_not_stay_in_the_tree_is_not_opened() {
    let traced = |gap: bool| {
        let mut victim = victim();
        let mut command = Command::new("python3");
        command
            .args(["-c", TRACE, "victim", &victim.id().to_string()])
            .env("AT", "4096")
            .stdout(Stdio::piped());
        let builder = gap.then(|| {
            let mut builder = Sandbox::builder();
            builder.without_scopes().lock().leave_gap("ptrace");
            builder
        });
        let output = said_by(command, builder);
        drop(victim.stdin.take());
        victim.wait().unwrap();
        output.lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(traced(false), traced(true));
    let mut builder = Sandbox::builder();
    builder.without_scopes().lock().magic("core/trace/allow/ptrace:true").unwrap();
    let error = builder.build().unwrap().spawn(Command::new("true")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("core/trace/allow/ptrace needs Landlock"), "{error}");
    // One that does not reach out needs none.
    let mut builder = Sandbox::builder();
    builder.without_scopes().lock().magic("core/trace/allow/keyctl:true").unwrap();
    assert!(builder.build().unwrap().spawn(Command::new("true")).unwrap().wait().unwrap().success());
}

/// A program that is traced is mediated as ever, and a debugger works.
#[test]
fn who_is_traced_is_mediated() {
    if !common::has("strace") {
        return;
    }
    let env = Env::new();
    let script = "strace -f -qq -o ok/trace sh -c 'echo in >ok/in; (echo out >no/out)'; test -s ok/trace && echo traced";
    let done = env.sh(script).sandboxed().rule("core/trace/allow/ptrace:true").output();
    assert_eq!(done.stdout, "traced\n", "{done:?}");
    assert!(env.path("ok/in").exists() && !env.path("no/out").exists());
    assert_eq!(done.paths(), [env.text("no/out")]);
    assert!(!Path::new(&env.path("no/out")).exists());
}
