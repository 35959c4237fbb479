//! The processes of a sandbox, asked for through the library and by signals.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::{Env, Running};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sydbox::{Process, Sandbox};

/// Two processes in different states, one of them locked; both end with their input.
const TWO: &str = "test -e /dev/sydbox/core/sandbox/network:local; test -e /dev/sydbox/allowlist/exec+/usr/a*
    exec 3<&0
    sh -c 'test -e /dev/sydbox/denylist/write+/secret/***; test -e /dev/sydbox/lock; echo ready; read x; :' <&3 &
    read x; wait";

fn modes(process: &Process) -> Vec<&'static str> {
    process.modes.iter().map(|(_, mode)| *mode).chain([process.lock]).collect()
}

#[test]
fn the_library_lists_them() {
    let mut builder = Sandbox::builder();
    builder.magic("core/sandbox/write:deny").unwrap().magic("allowlist/write+/dev/***").unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", TWO]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = builder.build().unwrap().spawn(command).unwrap();
    let mut stdin = child.take_stdin().unwrap();
    let mut ready = String::new();
    BufReader::new(child.take_stdout().unwrap()).read_line(&mut ready).unwrap();
    assert_eq!(ready, "ready\n");
    let list = child.processes();
    let [eldest, other] = &list[..] else { panic!("{list:#?}") };
    assert_eq!((eldest.pid, other.parent), (child.id(), child.id()));
    assert_eq!((&eldest.comm[..], &other.comm[..]), (&b"sh"[..], &b"sh"[..]));
    assert_eq!(modes(eldest), ["off", "off", "deny", "local", "off"]);
    assert_eq!(modes(other), ["off", "off", "deny", "local", "on"]);
    let rules = |process: &Process| process.rules.iter().map(|rule| rule.to_string()).collect::<Vec<_>>();
    assert_eq!(rules(eldest), ["allowlist/exec+/usr/a*", "allowlist/write+/dev/***"]);
    assert_eq!(
        rules(other),
        ["allowlist/exec+/usr/a*", "allowlist/write+/dev/***", "denylist/write+/secret/***"]
    );
    let tree = child.tree();
    stdin.write_all(b"1\n2\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert!(tree.processes().is_empty());
}

/// Sends the signal to the command and reads its report: as many lines as it announces, and those of rules after them.
fn report(running: &mut Running, signal: Signal, until: &str) -> Vec<String> {
    kill(Pid::from_raw(running.child.id() as i32), signal).unwrap();
    let stderr = running.child.stderr.as_mut().unwrap();
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains(until) {
        let mut byte = [0];
        assert_eq!(stderr.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&text));
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn signals_print_them() {
    let env = Env::new();
    let mut running = env.sh(TWO).deny().rule("allowlist/write+/dev/***").start();
    let mut ready = [0; 6];
    running.child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    let lines = report(&mut running, Signal::SIGUSR1, "lock:on\n");
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[0], "sydbox: processes: 2");
    let words = |line: &str| line.split_whitespace().skip(2).map(str::to_owned).collect::<Vec<_>>();
    let modes = ["sh", "exec:off", "read:off", "write:deny", "network:local"];
    assert_eq!(words(&lines[1]), [&modes[..], &["lock:off"]].concat());
    assert_eq!(words(&lines[2]), [&modes[..], &["lock:on"]].concat());
    assert!(lines[2].starts_with("sydbox:   ") && !lines[1].starts_with("sydbox:  "), "{lines:?}");

    let lines = report(&mut running, Signal::SIGUSR2, "denylist/write+/secret/***\n");
    let rules: Vec<&str> =
        lines.iter().filter(|line| line.contains('+')).map(|line| line[8..].trim()).collect();
    let (exec, write) = ("allowlist/exec+/usr/a*", "allowlist/write+/dev/***");
    assert_eq!(rules, [exec, write, exec, write, "denylist/write+/secret/***"], "{lines:?}");

    // Asked more often than a pipe holds, it goes on.
    let pid = Pid::from_raw(running.child.id() as i32);
    (0..100).for_each(|_| kill(pid, Signal::SIGUSR1).unwrap());
    running.child.stdin.as_mut().unwrap().write_all(b"1\n2\n").unwrap();
    running.finish().succeeded();
}

/// The supervisor that stays behind answers to the log.
#[test]
fn who_stays_behind_prints_them_too() {
    let env = Env::new();
    let log = env.path("log");
    let script = "mkfifo ok/fifo; setsid sh -c 'test -e /dev/sydbox/core/sandbox/network:deny; echo $$ >ok/pid; \
                  read x <ok/fifo; echo $x >ok/after; echo >no/after' <&- >&- 2>&- &";
    let mut command = Command::new(common::sydbox());
    command.args(["-X", "-o"]).arg(&log).args(["-m", "core/sandbox/write:deny", "-m"]);
    command.arg(format!("allowlist/write+{}", env.text("ok/***"))).args(["--", "sh", "-c", script]);
    let status = command.current_dir(env.path("")).status().unwrap();
    assert!(status.success());
    assert!(common::becomes(
        || std::fs::read_to_string(env.path("ok/pid")).is_ok_and(|text| text.ends_with('\n'))
    ));
    let left = std::fs::read_to_string(env.path("ok/pid")).unwrap();
    // It is the only other process that was started with this log.
    let has_log = |pid: &String| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0)
            .any(|word| word == std::os::unix::ffi::OsStrExt::as_bytes(log.as_os_str()))
    };
    let pids =
        std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
    let supervisors: Vec<String> = pids.filter(has_log).collect();
    let [supervisor] = &supervisors[..] else { panic!("{supervisors:?}") };
    kill(Pid::from_raw(supervisor.parse().unwrap()), Signal::SIGUSR2).unwrap();
    let read = || std::fs::read_to_string(&log).unwrap_or_default();
    assert!(common::becomes(|| read().contains("/ok/***")), "{}", read());
    let text = read();
    assert!(
        text.contains("sydbox: processes: 1\n") && text.contains(&format!("sydbox: {} sh ", left.trim())),
        "{text}"
    );
    assert!(text.contains("write:deny network:deny lock:off"), "{text}");
    std::fs::write(env.path("ok/fifo"), "go\n").unwrap();
    assert!(common::becomes(|| read().contains("no/after")), "{}", read());
    assert!(env.path("ok/after").exists() && !env.path("no/after").exists());
}

/// The command exits as its command does: with its code, or with 128 and its signal as from a shell.
#[test]
fn it_exits_as_its_command() {
    let env = Env::new();
    for end in [
        "exit 0",
        "exit 1",
        "exit 7",
        "exit 125",
        "exit 255",
        "kill -TERM $$",
        "kill -KILL $$",
        "kill -USR1 $$",
    ] {
        let status = env.sh(end).output().status;
        let expected = status.code().or(status.signal().map(|signal| 128 + signal));
        assert_eq!(env.sh(end).mediated().output().status.code(), expected, "{end}");
        // Whatever it leaves behind, waited for or not.
        for options in [&[][..], &["-X"]] {
            let run = env.sh(&format!("exec 3<&0; cat <&3 >&- 2>&- & {end}")).mediated();
            let run = options.iter().fold(run, |run, option| run.option(option));
            assert_eq!(run.output().status.code(), expected, "{end} {options:?}");
        }
    }
    assert_eq!(env.run("/nonexistent").mediated().output().status.code(), Some(127));
    assert_eq!(env.run("/etc/passwd").mediated().output().status.code(), Some(126));
}

/// `core/violation/exit_code`, of whoever the violation was, and only if there was one.
#[test]
fn violations_show_in_the_exit_code() {
    let env = Env::new();
    for (code, end, clean, violated) in [
        (-1, "exit 3", 3, 3),
        (0, "exit 3", 3, 128 + 3),
        (0, "exit 0", 0, 128),
        (0, "kill -TERM $$", 128 + 15, 128 + 15),
        (99, "exit 3", 3, 99),
        (99, "kill -TERM $$", 128 + 15, 99),
    ] {
        let run = |what: &str| {
            let rule = format!("core/violation/exit_code:{code}");
            env.sh(&format!("(: >{what}) 2>/dev/null; {end}"))
                .sandboxed()
                .rule(rule)
                .rule("allowlist/write+/dev/null")
        };
        assert_eq!(run("ok/file").output().status.code(), Some(clean), "{code} {end}");
        assert_eq!(run("no/file").output().status.code(), Some(violated), "{code} {end}");
        // Also by one that is not waited for otherwise, and by a dry run.
        assert_eq!(run("no/file").option("--dry-run").output().status.code(), Some(violated), "{code} {end}");
    }
}

/// `core/violation/decision`: the process, or all of them, and nobody else.
#[test]
fn a_violation_can_kill() {
    let env = Env::new();
    let script = "setsid sh -c 'echo $$ >ok/daemon; exec sleep 1000' >&- 2>&- & \
        while ! test -s ok/daemon; do :; done; \
        sh -c ': >no/file; echo on'; echo \"$?\"; kill $(cat ok/daemon) && echo killed";
    let run = |decision: &str| {
        let _ = std::fs::remove_file(env.path("ok/daemon"));
        env.sh(script).sandboxed().rule(format!("core/violation/decision:{decision}")).output()
    };
    assert_eq!(run("deny").stdout, "2\nkilled\n");
    assert_eq!(run("kill").stdout, "137\nkilled\n");
    let all = run("killall");
    assert_eq!((all.stdout.as_str(), all.status.code()), ("", Some(137)), "{all:?}");
    let daemon = std::fs::read_to_string(env.path("ok/daemon")).unwrap();
    assert!(common::becomes(|| !common::is_alive(daemon.trim())), "{daemon}");
    assert!(!env.path("no/file").exists());
}

/// Waiting for all, which is the default, or for the eldest; what is left keeps its policy, and a process of the tree can change
/// which it is.
#[test]
fn daemons_are_waited_for_unless_it_is_said_otherwise() {
    let daemon = "mkfifo ok/fifo; (setsid sh -c 'read x <ok/fifo; : >ok/late; (: >no/late); : >ok/last' <&- >&- 2>&- &); ";
    for (script, options, waits) in [
        (daemon.to_owned(), &[][..], true),
        (daemon.to_owned(), &["-X"], false),
        (format!("{daemon} test -e /dev/sydbox/wait_eldest"), &[], false),
        (format!("{daemon} test -e /dev/sydbox/wait_all"), &["-X"], true),
    ] {
        let env = Env::new();
        let mut command = Command::new(common::sydbox());
        command.args(["-q", "-o", "/dev/null", "-m", "core/sandbox/write:deny", "-m"]);
        command.arg(format!("allowlist/write+{}", env.text("ok/***"))).args(options);
        let mut child = command.args(["--", "sh", "-c", &script]).current_dir(env.path("")).spawn().unwrap();
        if waits {
            assert!(common::becomes(|| env.path("ok/fifo").exists()));
            // The writer's open waits for the reader: then the daemon is there, and the eldest is gone or about to.
            let mut fifo = std::fs::File::options().write(true).open(env.path("ok/fifo")).unwrap();
            assert!(child.try_wait().unwrap().is_none(), "{script} {options:?}");
            fifo.write_all(b"go\n").unwrap();
            drop(fifo);
            assert!(child.wait().unwrap().success());
            assert!(env.path("ok/last").exists());
        } else {
            assert!(child.wait().unwrap().success());
            assert!(!env.path("ok/late").exists());
            std::fs::write(env.path("ok/fifo"), "go\n").unwrap();
            assert!(common::becomes(|| env.path("ok/last").exists()));
        }
        assert!(env.path("ok/late").exists() && !env.path("no/late").exists());
    }
}

/// When the command has ended and others are waited for, the keys that end programs are meant for sydbox.
///
/// Seen to fail with them survived as before.
#[test]
fn a_wait_for_others_can_be_ended() {
    if common::is_ignored(Signal::SIGINT) {
        eprintln!("skipped: this runs in the background, where keys mean nothing");
        return;
    }
    let env = Env::new();
    // The background job goes on as long as its input does.
    let script = "exec 3<&0; cat <&3 >/dev/null & echo $$";
    let mut running = env.sh(script).mediated().start();
    let mut pid = String::new();
    BufReader::new(running.child.stdout.as_mut().unwrap()).read_line(&mut pid).unwrap();
    let eldest = Pid::from_raw(pid.trim().parse().unwrap());
    assert!(common::becomes(|| kill(eldest, None).is_err()), "the command does not end");
    assert!(running.child.try_wait().unwrap().is_none());
    kill(Pid::from_raw(running.child.id() as i32), Signal::SIGINT).unwrap();
    let status = running.child.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::SIGINT as i32));
    drop(running.child.stdin.take());
    running.finish();
}

/// A supervisor that stays behind keeps nothing of whoever started sydbox: not even what other programs would inherit.
///
/// Seen to hang with the standard streams closed alone.
#[test]
fn who_stays_behind_holds_no_descriptor() {
    let env = Env::new();
    // Descriptor 3 is the pipe's end too; it is closed when the last who has it is gone.
    let script = "mkfifo go; { \"$@\" setsid sh -c 'exec 3>&- <&- >&- 2>&-; read x <go; : >done' & } 3>&1 >/dev/null | cat; \
        echo ended >&2; echo >go";
    let run = |words: &[&str]| {
        let done =
            env.run("sh").args(["-c", script, "sh"]).args(words).dir(env.path("ok")).output().succeeded();
        assert_eq!(done.stderr, "ended\n", "{done:#?}");
        assert!(common::becomes(|| env.path("ok/done").exists()));
        for name in ["ok/go", "ok/done"] {
            std::fs::remove_file(env.path(name)).unwrap();
        }
    };
    run(&["env"]);
    let sydbox = common::sydbox();
    run(&[
        sydbox.to_str().unwrap(),
        "-X",
        "-m",
        "core/sandbox/write:allow",
        "--",
        "sh",
        "-c",
        "\"$@\" & exit 0",
        "sh",
    ]);
}

/// While one supervisor takes over from the other calls are answered as ever: sixteen processes make files all the time.
///
/// Seen to fail with an answer given up where a signal interrupts it.
#[test]
fn calls_are_answered_while_supervisors_change() {
    let script = "for job in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do \"$0\" forever ok >>said 2>&1 <&- & echo $! >>pids; done; read x; exit 0";
    for _ in 0..4 {
        let env = Env::new();
        let run = env.sh(script).arg(env.program("hostile")).brokered().option("-X");
        let run = ["said", "pids"]
            .iter()
            .fold(run, |run, file| run.rule(format!("allowlist/write+{}", env.text(file))));
        let running = run.start();
        let made = || common::made_by(&env.path("ok"));
        let makers = Makers(env.path("pids"));
        assert!(common::becomes(|| made().len() == 16));
        running.finish().succeeded();
        let before = made();
        let goes_on =
            common::becomes(|| made().iter().all(|(pid, count)| *count > before.get(pid).unwrap_or(&0) + 3));
        drop(makers);
        assert_eq!((std::fs::read_to_string(env.path("said")).unwrap().as_str(), goes_on), ("", true));
    }
}

/// Processes by their numbers in a file, which are ended with it.
struct Makers(PathBuf);

impl Drop for Makers {
    fn drop(&mut self) {
        let pids = std::fs::read_to_string(&self.0).unwrap_or_default();
        for pid in pids.lines().filter_map(|pid| pid.parse().ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        common::becomes(|| !pids.lines().any(common::is_alive));
    }
}

/// A message of which a part has been sent is sent on by the supervisor that takes over.
///
/// Seen to fail with what was sent until then as the answer.
#[test]
fn a_message_is_sent_on_by_the_next_supervisor() {
    let text = r"
import ctypes, fcntl, os, socket, struct, sys, termios, threading
call, before = sys.argv[1:]
a, b = socket.socketpair(); data = bytes(1 << 20); n = len(data); sent = []; tid = []
def many():
    # Eight messages; and how long each was that was sent.
    buf = ctypes.create_string_buffer(data, n); iov = (ctypes.c_void_p * 2)(ctypes.addressof(buf), n // 8)
    one = struct.pack('QQQQQQQ', 0, 0, ctypes.addressof(iov), 1, 0, 0, 0) + bytes(8)
    all = ctypes.create_string_buffer(one * 8, 512)
    done = ctypes.CDLL(None).sendmmsg(a.fileno(), all, 8, 0)
    return done, {struct.unpack_from('I', all, 64 * i + 56)[0] for i in range(done)}
def send():
    tid.append(threading.get_native_id()); sent.append(many() if call == 'sendmmsg' else a.sendmsg([data]))
thread = threading.Thread(target=send); thread.start()
while not struct.unpack('i', fcntl.ioctl(b, termios.FIONREAD, bytes(4)))[0]: pass
open('ready', 'w').close()
while os.path.exists('/proc/' + before): pass
came = 0; b.setblocking(False)
while True:
    over = not thread.is_alive()
    try: came += len(b.recv(1 << 16))
    except BlockingIOError:
        if over: break
print(*sent, came)
";
    let script =
        "python3 -c \"$0\" \"$1\" ${2-$PPID} >said 2>&1 <&- & until test -e ready; do :; done; exit 0";
    for (call, expected) in [("sendmsg", "1048576 1048576\n"), ("sendmmsg", "(8, {131072}) 1048576\n")] {
        let env = Env::new();
        let run = env.sh(script).arg(text).arg(call).dir(env.path("ok"));
        let said = || std::fs::read_to_string(env.path("ok/said")).unwrap_or_default();
        run.clone().arg("nobody").output().succeeded();
        assert!(common::becomes(|| said() == expected), "{call}: {}", said());
        std::fs::remove_file(env.path("ok/ready")).unwrap();
        std::fs::remove_file(env.path("ok/said")).unwrap();
        run.rule("core/sandbox/network:local").option("-X").output().succeeded();
        assert!(common::becomes(|| said().ends_with('\n')));
        assert_eq!(said(), expected, "{call}");
    }
}

/// SIGPIPE is what whoever started sydbox made of it, and not what the language it is written in does.
#[test]
fn sigpipe_is_inherited() {
    let env = Env::new();
    let sydbox = format!("{} -l --", common::sydbox().display());
    for (before, ignored) in [("", false), ("trap '' PIPE; ", true)] {
        for sydbox in ["", &sydbox] {
            let text = env.sh(&format!("{before}{sydbox} cat /proc/self/status")).output().succeeded().stdout;
            let mask = text.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim().to_owned();
            let pipe = u64::from_str_radix(&mask, 16).unwrap() >> (Signal::SIGPIPE as u32 - 1) & 1;
            assert_eq!(pipe == 1, ignored, "{before}{sydbox}: {mask}");
        }
    }
}
