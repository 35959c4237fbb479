//! Changing what a call names while it is made, and calls that block.
//!
//! Each race counts that both happened, being allowed and being refused, so that it was one.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod common;

use std::io::{Read, Write};
use std::path::Path;

use common::{Done, Env, becomes};

#[track_caller]
fn raced(done: &Done) {
    assert!(done.status.success(), "{done:#?}");
    assert_eq!(done.stdout, "done yes refused yes other 0\n", "{done:#?}");
    eprint!("{}", done.stderr);
}

/// Type, mode, size, times and content of the file and its directory.
fn look(env: &Env, dir: &Path) -> String {
    env.run(env.program("tree")).arg("-t").arg(dir).output().succeeded().stdout
}

/// Two files whose paths differ in one byte: `ok/a/f` may be written and `ok/b/f` may not.
fn two(env: &Env) {
    for dir in ["ok/a", "ok/b"] {
        std::fs::create_dir(env.path(dir)).unwrap();
        std::fs::write(env.path(&format!("{dir}/f")), "text").unwrap();
    }
}

/// The path is changed in memory.
///
/// Seen to fail with calls continued in the kernel after they were allowed, and without the second lock.
mod a_path_that_changes_in_memory {
    use super::*;

    fn when(call: &str) {
        let env = Env::new();
        two(&env);
        let before = look(&env, &env.path("ok/b"));
        let run = env.run(env.program("race")).args(["bytes", call]);
        let run = run.arg(env.path("ok/a/f")).arg(env.path("ok/b/f"));
        let rule = format!("denylist/write+{}/***", env.text("ok/b"));
        raced(&run.clone().arg("4000both").sandboxed().rule(rule).output());
        assert_eq!(look(&env, &env.path("ok/b")), before, "{call}");
        // Without the sandbox it is written, of course.
        run.arg("1wrong").output().succeeded();
        assert_ne!(look(&env, &env.path("ok/b")), before, "{call}");
    }

    macro_rules! calls {
        ($($name:ident: $call:literal),*) => { $(#[test] fn $name() { when($call) })* };
    }

    calls! {
        open: "open", open_creat: "open-creat", truncate: "truncate", chmod: "chmod", utime: "utime", rename: "rename",
        link: "link", unlink: "unlink"
    }
}

/// What was allowed as a whole, so that the kernel could open it by itself, no longer is.
///
/// Seen to fail with `Tagged::allows_grants` always true.
#[test]
fn a_directory_that_is_allowed_no_longer() {
    let env = Env::new();
    two(&env);
    let before = look(&env, &env.path("ok/b"));
    let script =
        "test -e \"/dev/sydbox/denylist/write+$3/***\" && exec \"$0\" bytes open \"$1\" \"$2\" 4000both";
    let run = env.sh(script).arg(env.program("race")).arg(env.path("ok/a/f")).arg(env.path("ok/b/f"));
    raced(&run.arg(env.path("ok/b")).sandboxed().output());
    assert_eq!(look(&env, &env.path("ok/b")), before);
}

/// The directory that the rule was about when the sandbox started is not the one that it is about now.
///
/// Seen to fail without the comparison in `Cx::is_granted`.
#[test]
fn a_directory_that_is_another_one_now() {
    let env = Env::new();
    let mut running = env.sh("echo ready; read line; echo text >ok/file && echo done").sandboxed().start();
    let mut ready = [0; 6];
    running.child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    assert_eq!(&ready, b"ready\n");
    std::fs::rename(env.path("ok"), env.path("old")).unwrap();
    std::fs::create_dir(env.path("ok")).unwrap();
    running.child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let done = running.finish().succeeded();
    assert_eq!(
        (done.stdout.as_str(), std::fs::read_to_string(env.path("ok/file")).unwrap().as_str()),
        ("done\n", "text\n")
    );
}

/// What Landlock does not look at the kernel is not left to do: `ok/1` may be opened in any way, and `ok/2` is a link to
/// what may not.
///
/// Seen to fail with such opens continued in the kernel.
#[test]
fn an_access_mode_that_is_none() {
    let env = Env::new();
    std::fs::write(env.path("ok/1"), "text").unwrap();
    std::fs::write(env.path("no/file"), "text").unwrap();
    std::os::unix::fs::symlink(env.path("no/file"), env.path("ok/2")).unwrap();
    let run = env.run(env.program("race")).args(["bytes", "open-neither"]);
    let run = run.arg(env.path("ok/1")).arg(env.path("ok/2"));
    raced(&run.clone().arg("4000both").sandboxed().output());
    let free = run.arg("1wrong").output().succeeded();
    assert!(free.stdout.starts_with(&format!("opened {}\n", env.text("ok/2"))), "{free:#?}");
}

/// A directory that was allowed at the start is moved to where nothing is: Landlock would let it be written to there,
/// to who may leave another open to the kernel.
///
/// Seen to fail without `Grants::are_in_place`, and the second without it where `O_PATH` is left to the kernel.
#[test]
fn an_allowed_directory_that_was_moved() {
    for call in ["open", "open-how"] {
        let env = Env::new();
        let race = env.program("race");
        let content = || std::fs::read_to_string(env.path("no/moved/file")).unwrap();
        std::fs::write(env.path("ok/1"), "text").unwrap();
        std::os::unix::fs::symlink(env.path("no/moved/file"), env.path("ok/2")).unwrap();
        std::fs::create_dir(env.path("more")).unwrap();
        std::fs::write(env.path("more/file"), "text").unwrap();
        let script = format!("echo ready; read line; exec \"$0\" bytes {call} \"$1\" \"$2\" 4000both");
        let run = env.sh(&script).arg(&race).arg(env.path("ok/1")).arg(env.path("ok/2"));
        let rule = format!("allowlist/write+{}", env.text("more/***"));
        let mut running = run.sandboxed().rule(rule).start();
        let mut ready = [0; 6];
        running.child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        assert_eq!(&ready, b"ready\n");
        std::fs::rename(env.path("more"), env.path("no/moved")).unwrap();
        // So long a look at where they are counts.
        let moved = std::time::Instant::now();
        while moved.elapsed() < std::time::Duration::from_millis(10) {
            std::thread::yield_now();
        }
        running.child.stdin.take().unwrap().write_all(b"\n").unwrap();
        raced(&running.finish());
        assert_eq!(content(), "text", "{call}");
        // Without the sandbox it is written, of course.
        let paths = [env.path("ok/1"), env.path("ok/2")];
        env.run(race).args(["bytes", call]).args(paths).arg("1wrong").output().succeeded();
        assert_ne!(content(), "text", "{call}");
    }
}

/// Who has no descriptor left makes nothing: to remove it again would take it from who opened it meanwhile.
///
/// Seen to fail without the look at what is free before a file is made, and the second with the number of descriptors alone.
#[test]
fn who_can_open_nothing_removes_nothing() {
    let env = Env::new();
    let run = env.run(env.program("race")).arg("full").arg(env.path("ok/file")).arg("1000");
    for run in [run.clone(), run.clone().sandboxed(), run.brokered()] {
        assert_eq!(run.output().succeeded().stdout, "gone 0 ended 0\n");
    }
    // A descriptor whose number is above the limit takes none of those below it.
    let script = "exec 9<.; ulimit -n 4; exec \"$0\" open ok/above 10 more";
    for run in [env.sh(script), env.sh(script).brokered()] {
        let done = run.arg(env.program("race")).output().succeeded();
        assert_eq!(done.stdout, "done yes refused no other 0\n", "{done:#?}");
    }
}

/// Runs `program` in the sandbox while somebody outside renames things.
///
/// Also where the kernel opens what is allowed: then Landlock refuses what became something else meanwhile, with its own
/// error.
fn while_renaming<'e>(env: &'e Env, words: [&str; 3], program: &[&str], until: &str) -> Done {
    let [call, path, times, more @ ..] = program else { panic!("{program:?}") };
    let run =
        |run: common::Run<'e>, until: &str| run.args([call, path]).arg([times, until].concat()).args(more);
    let granted = renaming(env, words, |race| run(race, "done").sandboxed());
    assert!(granted.status.success() && granted.stdout.contains("done yes"), "{granted:#?}");
    renaming(env, words, |race| run(race, until).brokered())
}

fn renaming<'e>(
    env: &'e Env,
    words: [&str; 3],
    prepare: impl FnOnce(common::Run<'e>) -> common::Run<'e>,
) -> Done {
    let [how, from, to] = words;
    let mut other = env.run(env.program("race")).arg(how).arg(env.path(from)).arg(env.path(to)).start();
    other.child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let done = prepare(env.run(env.program("race"))).output();
    drop(other.child.stdin.take());
    other.finish().succeeded();
    done
}

/// What moves depends on what it is: a file may be moved to where a directory, a link or a socket would take something out
/// of the hold of rules.
///
/// Seen to fail without `Names::hold`, each of them.
#[test]
fn a_name_whose_kind_changes() {
    let is_moved = |file: &str, other: &str, rules: &[String], env: &Env| {
        let run = env.run(env.program("race")).arg("kind").arg(env.path(file));
        let run = run.arg(env.path(other)).arg(env.path("ok/a"));
        std::fs::write(env.path(file), "").unwrap();
        let dressed = rules.iter().fold(run.clone().sandboxed(), |run, rule| run.rule(rule));
        let done = dressed.arg("1500").output().succeeded();
        assert_eq!(done.stdout, "kept\n", "{other} {done:#?}");
        assert!(!done.violations.is_empty() && !done.stderr.contains("done 0"), "{done:#?}");
        assert_eq!(run.arg(i32::MAX.to_string()).output().succeeded().stdout, "moved\n");
    };
    let names = |env: &Env| format!("allowlist/write+{}/*", env.text("no"));
    let below = |env: &Env| format!("denylist/write+{}/***", env.text("ok/a/b"));
    // A directory, to where a rule denies what is in it.
    let env = Env::new();
    std::fs::create_dir_all(env.path("ok/dir/b")).unwrap();
    is_moved("ok/x", "ok/dir", &[below(&env)], &env);
    // One whose content may not be written, to where everything may.
    let env = Env::new();
    std::fs::create_dir_all(env.path("no/dir/b")).unwrap();
    is_moved("no/x", "no/dir", &[names(&env)], &env);
    // A link.
    let env = Env::new();
    std::os::unix::fs::symlink("/", env.path("ok/link")).unwrap();
    is_moved("ok/x", "ok/link", &[below(&env)], &env);
    // The socket of somebody else.
    let env = Env::new();
    let _listener = std::os::unix::net::UnixListener::bind(env.path("no/socket")).unwrap();
    let connect = format!("allowlist/network/connect+unix:{}", env.text("ok/a"));
    is_moved("no/x", "no/socket", &[names(&env), "core/sandbox/network:deny".to_owned(), connect], &env);
}

/// Where nothing may be put that something could be below, a file may be: a link is made when that has just gone.
///
/// Seen to fail with what exists left to the kernel to refuse.
#[test]
fn a_file_that_makes_way_for_a_link() {
    let env = Env::new();
    let run = env.run(env.program("race")).arg("link").arg(env.path("ok/a"));
    let rule = format!("denylist/write+{}/***", env.text("ok/a/b"));
    let done = run.clone().arg("3000").sandboxed().rule(rule).output().succeeded();
    assert_eq!(done.stdout, "kept\n", "{done:#?}");
    assert!(!done.stderr.contains("exists 0") && !done.violations.is_empty(), "{done:#?}");
    assert_eq!(run.arg(i32::MAX.to_string()).output().succeeded().stdout, "made\n");
}

/// A link as last component leads now here and now there.
///
/// Seen to fail with calls continued in the kernel after they were allowed, and without the second lock.
#[test]
fn a_link_that_is_exchanged() {
    let env = Env::new();
    for dir in ["ok", "no"] {
        std::fs::write(env.path(&format!("{dir}/f")), "text").unwrap();
        std::os::unix::fs::symlink(env.path(&format!("{dir}/f")), env.path(&format!("ok/to-{dir}"))).unwrap();
    }
    let before = look(&env, &env.path("no"));
    let link = env.text("ok/to-ok");
    raced(&while_renaming(&env, ["swap", "ok/to-ok", "ok/to-no"], &["open", &link, "6000"], "both"));
    assert_eq!(look(&env, &env.path("no")), before);
    assert_ne!(std::fs::read(env.path("ok/f")).unwrap(), b"text");
}

/// A file of the caller's and a link to somebody else's.
///
/// Seen to fail with the last name opened without `RESOLVE_NO_SYMLINKS`.
#[test]
fn a_file_that_becomes_a_link() {
    let env = Env::new();
    std::fs::write(env.path("no/f"), "text").unwrap();
    std::fs::write(env.path("ok/f"), "text").unwrap();
    std::os::unix::fs::symlink(env.path("no/f"), env.path("ok/link")).unwrap();
    let before = look(&env, &env.path("no"));
    let file = env.text("ok/f");
    raced(&while_renaming(&env, ["swap", "ok/f", "ok/link"], &["open", &file, "6000"], "both"));
    assert_eq!(look(&env, &env.path("no")), before);
}

/// A directory of the caller's and a link to somebody else's, in the middle of the path.
///
/// Seen to fail with calls continued in the kernel after they were allowed, and without the second lock.
#[test]
fn a_directory_that_becomes_a_link() {
    let env = Env::new();
    std::fs::create_dir(env.path("ok/dir")).unwrap();
    std::os::unix::fs::symlink(env.path("no"), env.path("ok/link")).unwrap();
    let before = look(&env, &env.path("no"));
    let file = env.text("ok/dir/new");
    raced(&while_renaming(&env, ["swap", "ok/dir", "ok/link"], &["open", &file, "2500", "more"], "both"));
    assert_eq!(look(&env, &env.path("no")), before);
}

/// `..` of a directory that is now in one place and now in the other.
#[test]
fn a_directory_that_is_moved() {
    let env = Env::new();
    for dir in ["ok", "no"] {
        std::fs::create_dir_all(env.path(&format!("{dir}/p"))).unwrap();
        std::fs::write(env.path(&format!("{dir}/p/f")), "text").unwrap();
    }
    std::fs::create_dir(env.path("ok/p/q")).unwrap();
    std::os::unix::fs::symlink(env.path("ok/p/q"), env.path("ok/q1")).unwrap();
    let file = env.text("ok/p/q/../f");
    // The directory itself changes all the time, what is in it must not.
    let stat = || {
        let meta = std::fs::metadata(env.path("no/p/f")).unwrap();
        (meta.modified().unwrap(), std::fs::read(env.path("no/p/f")).unwrap())
    };
    let before = stat();
    let done = while_renaming(&env, ["move", "ok/p/q", "no/p/q"], &["open", &file, "6000"], "done");
    assert!(done.stdout.starts_with("done yes") && done.stdout.ends_with("other 0\n"), "{done:#?}");
    assert_eq!(stat(), before);
}

/// The directory in which files are made has now this name and now that; both are allowed.
#[test]
fn a_directory_that_is_renamed() {
    let env = Env::new();
    std::fs::create_dir(env.path("ok/dir")).unwrap();
    let before = look(&env, &env.path("no"));
    let file = env.text("ok/dir/new");
    let done = while_renaming(&env, ["move", "ok/dir", "ok/other"], &["open", &file, "2000", "more"], "done");
    assert_eq!(done.stdout, "done yes refused no other 0\n", "{done:#?}");
    assert!(done.violations.is_empty(), "{done:#?}");
    assert_eq!(look(&env, &env.path("no")), before);
}

/// The descriptor of a directory becomes another one's.
///
/// Seen to fail with calls continued in the kernel after they were allowed, and without the second lock.
#[test]
fn a_descriptor_that_changes() {
    let env = Env::new();
    two(&env);
    let before = look(&env, &env.path("ok/b"));
    let run = env.run(env.program("race")).arg("dirfd").arg(env.path("ok/a")).arg(env.path("ok/b"));
    let rule = format!("denylist/write+{}/***", env.text("ok/b"));
    raced(&run.clone().arg("5000both").sandboxed().rule(rule).output());
    assert_eq!(look(&env, &env.path("ok/b")), before);
    assert!(env.path("ok/a/file").exists());
    run.arg("1wrong").output().succeeded();
    assert_ne!(look(&env, &env.path("ok/b")), before);
}

/// More opens that block than any pool has threads; nobody else waits for them.
#[test]
fn opens_that_block_stop_nobody() {
    let env = Env::new();
    let run = env.run(env.program("fifo")).arg("many");
    std::fs::create_dir(env.path("ok/n")).unwrap();
    assert_eq!(run.clone().arg(env.path("ok/n")).arg("200").output().succeeded().stdout, "200\n");
    std::fs::create_dir(env.path("ok/s")).unwrap();
    assert_eq!(run.arg(env.path("ok/s")).arg("200").brokered().output().succeeded().stdout, "200\n");
}

/// An open that nobody could expect to block: somebody outside holds a lease on the file.
///
/// Seen to fail without [`crew::relieve`] in the watch.
#[test]
fn an_open_that_waits_for_a_lease_stops_nobody() {
    let env = Env::new();
    let mut holder = env.run(env.program("lease")).arg(env.path("ok/file")).start();
    let mut held = [0; 5];
    holder.child.stdout.as_mut().unwrap().read_exact(&mut held).unwrap();
    assert_eq!(&held, b"held\n");
    // The first background job is in its open when the other's are made, or comes later: then it proves nothing this time.
    let script = "(: >>ok/file; echo opened) & for i in 1 2 3 4 5 6 7 8; do mkdir ok/$i; : >ok/$i/f; done; echo others; wait";
    let mut running = env.sh(script).brokered().start();
    let mut line = [0; 7];
    running.child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    assert_eq!(&line, b"others\n");
    drop(holder.child.stdin.take());
    holder.finish().succeeded();
    assert_eq!(running.finish().succeeded().stdout, "opened\n");
}

/// A signal interrupts a call that waits for such a lease: of an open by descriptor, and of truncate, which nobody could expect
/// to wait either.
///
/// Seen to fail without `Cx::watched` in both.
#[test]
fn a_signal_interrupts_a_call_that_waits_for_a_lease() {
    let script = r"
import ctypes, os, signal, sys, threading
libc = ctypes.CDLL(None, use_errno=True); signal.signal(signal.SIGALRM, lambda *_: None)
main = (threading.get_native_id(), threading.get_ident()); file = os.open('file', os.O_PATH)
calls = {'76': lambda: libc.truncate(b'file', 1), '257': lambda: libc.openat(-100, b'/proc/self/fd/%d' % file, os.O_WRONLY)}
# It may not have got through to the supervisor when it is interrupted: some of ten have.
for number in list(calls) * 10:
    over = threading.Event()
    def run():
        while not over.is_set():
            if open('/proc/self/task/%d/syscall' % main[0]).read().split()[0] == number:
                return signal.pthread_kill(main[1], signal.SIGALRM)
    thread = threading.Thread(target=run); thread.start()
    print(calls[number](), ctypes.get_errno() == 4); over.set(); thread.join()
";
    let env = Env::new();
    for sandboxed in [false, true] {
        std::fs::write(env.path("ok/file"), "text").unwrap();
        let mut holder = env.run(env.program("lease")).arg(env.path("ok/file")).start();
        let mut held = [0; 5];
        holder.child.stdout.as_mut().unwrap().read_exact(&mut held).unwrap();
        let run = env.run("python3").args(["-c", script]).dir(env.path("ok"));
        let run = if sandboxed { run.brokered() } else { run };
        assert_eq!(run.output().succeeded().stdout, "-1 True\n".repeat(20), "{sandboxed}");
        drop(holder.child.stdin.take());
        holder.finish().succeeded();
    }
}

/// Who is killed while it is blocked leaves no thread and no descriptor behind: one of each fifty would be more than there may
/// be in the end, of threads that are idle and of what these keep open.
///
/// Seen to fail with one thread of fifty left where it is by the watch, and with all of them.
#[test]
fn who_is_killed_leaves_nothing_behind() {
    let env = Env::new();
    let mut running =
        env.run(env.program("fifo")).arg("block").arg(env.path("ok")).arg("50").brokered().start();
    let mut input = running.child.stdin.take().unwrap();
    let mut output = running.child.stdout.take().unwrap();
    let mut line = |expected: &str| {
        let mut text = vec![0; expected.len()];
        output.read_exact(&mut text).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    };
    line("ready\n");
    let size = running.size();
    for _ in 0..4 * running.idle() {
        input.write_all(b"x").unwrap();
        line("blocked\n");
        assert!(becomes(|| running.size().0 > 50), "{:?}", running.size());
        input.write_all(b"x").unwrap();
        line("killed\n");
    }
    running.shrinks_to(size);
    drop(input);
    running.finish().succeeded();
}

#[test]
fn a_signal_interrupts_an_open_that_blocks() {
    let run = |env: &Env, restart: &str| {
        let run = env.run(env.program("fifo")).arg("signal").arg(env.path("ok")).arg(restart);
        let native = run.output().succeeded().stdout;
        std::fs::remove_file(env.path("ok/fifo0")).unwrap();
        (native, run.brokered().output().succeeded().stdout)
    };
    let env = Env::new();
    let (native, sandboxed) = run(&env, "0");
    assert_eq!(native, "EINTR after some\n");
    assert_eq!(sandboxed, native);
}

/// For scripts: the thread of a process that opens something, once it does; the second if there is one.
const OPENING: &str = r"
import os
def opening(pid):
    tid = sorted((int(name) for name in os.listdir(f'/proc/{pid}/task')), key=lambda tid: tid != pid)[-1]
    while open(f'/proc/{pid}/task/{tid}/syscall').read().split()[0] not in ('2', '257'): pass
    return tid
";

/// A process is stopped while it is blocked, and goes on being blocked when it continues: whichever of its threads it is,
/// and whoever is told.
///
/// Seen to hang with handled signals looked for alone.
#[test]
fn who_is_blocked_can_be_stopped() {
    let script = r"
import os, signal, sys, threading
os.mkfifo('fifo')
def wait():
    os.write(ready, b'x'); fd = os.open('fifo', os.O_WRONLY); os.write(fd, b'opened'); os.close(fd)
def state(tid): return open(f'/proc/{pid}/task/{tid}/stat').read().rsplit(') ')[1][0]
for threaded in (False, True):
    for sign in (signal.SIGSTOP, signal.SIGTSTP):
        told, ready = os.pipe(); pid = os.fork()
        if pid == 0:
            if threaded:
                thread = threading.Thread(target=wait); thread.start(); thread.join()
            else: wait()
            os._exit(7)
        os.read(told, 1)
        tid = opening(pid)
        os.kill(pid, sign); _, status = os.waitpid(pid, os.WUNTRACED)
        print('stopped by', os.WSTOPSIG(status), state(tid), flush=True)
        os.kill(pid, signal.SIGCONT); os.waitpid(pid, os.WCONTINUED)
        with open('fifo', 'rb') as fifo: print(fifo.read().decode(), flush=True)
        print('ended', os.waitpid(pid, 0)[1] >> 8, flush=True)
";
    let env = Env::new();
    let run = env.run("python3").args(["-c", &[OPENING, script].concat()]).dir(env.path("ok"));
    let native = run.output().succeeded().stdout;
    let lines = ["stopped by 19 T", "opened", "ended 7", "stopped by 20 T", "opened", "ended 7"];
    assert_eq!(native, [lines, lines].concat().join("\n") + "\n");
    std::fs::remove_file(env.path("ok/fifo")).unwrap();
    assert_eq!(run.brokered().output().succeeded().stdout, native);
}

/// Signals that end a process without a handler, of which the kernel waits with some for the call to be over; also of a
/// process that is in so many groups that they stand far down in what is known of it, and of one whose first thread has ended.
///
/// Seen to hang with handled signals and stops looked for alone, with 8192 bytes of the status read, and with the first thread
/// waited for.
#[test]
fn who_is_blocked_can_be_ended() {
    let script = r"
import ctypes, os, resource, signal, sys, threading
# No dumps, nor a program of the machine's that gets them.
resource.setrlimit(resource.RLIMIT_CORE, (min(1, resource.getrlimit(resource.RLIMIT_CORE)[1]),) * 2)
os.mkfifo('fifo')
libc = ctypes.CDLL(None)
def state(pid, tid): return open(f'/proc/{pid}/task/{tid}/stat').read().rsplit(') ')[1][0]
def blocked(run=lambda block: block()):
    told, ready = os.pipe(); pid = os.fork()
    if pid == 0: run(lambda: (os.write(ready, b'x'), os.open('fifo', os.O_WRONLY)))
    os.read(told, 1); os.close(told); os.close(ready)
    return pid, opening(pid)
def end(pid, sign): os.kill(pid, sign); return os.WTERMSIG(os.waitpid(pid, 0)[1])
for sign in (signal.SIGTERM, signal.SIGQUIT, signal.SIGABRT, signal.SIGXCPU, signal.SIGSEGV): print(end(blocked()[0], sign))
def alone(block):
    threading.Thread(target=block).start(); libc.syscall(60, 0)
pid, tid = blocked(alone)
while state(pid, pid) != 'Z': pass
os.kill(pid, signal.SIGSTOP)
while state(pid, tid) != 'T': pass
print('stopped', end(pid, signal.SIGKILL))
def many(block):
    if os.geteuid() == 0: os.setgroups(range(1000000000, 1000000700))
    signal.signal(signal.SIGALRM, lambda *_: os._exit(9)); block()
pid, _ = blocked(many)
os.kill(pid, signal.SIGALRM); print('ended', os.waitpid(pid, 0)[1] >> 8)
";
    let env = Env::new();
    // In the background SIGQUIT is ignored.
    let run = env
        .run("env")
        .args(["--default-signal", "python3", "-c", &[OPENING, script].concat()])
        .dir(env.path("ok"));
    let native = run.output().succeeded().stdout;
    assert_eq!(native, "15\n3\n6\n24\n11\nstopped 9\nended 9\n");
    std::fs::remove_file(env.path("ok/fifo")).unwrap();
    assert_eq!(run.brokered().output().succeeded().stdout, native);
}

#[test]
fn a_handler_that_restarts_calls_restarts_an_open_that_blocks() {
    let env = Env::new();
    let run = env.run(env.program("fifo")).arg("signal").arg(env.path("ok")).arg("1");
    let native = run.output().succeeded().stdout;
    assert_eq!(native, "opened after three\n");
    std::fs::remove_file(env.path("ok/fifo0")).unwrap();
    assert_eq!(run.brokered().output().succeeded().stdout, native);
}
