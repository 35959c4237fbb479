//! A supervisor that is to stay behind. Alone in this file, because the process forks.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use sydbox::{Sandbox, Sink, Violation};

/// Holds up the thread that ends the sandbox: says when it is here, and waits.
struct Gate {
    here: Mutex<mpsc::Sender<()>>,
    open: Mutex<mpsc::Receiver<()>>,
    passed: AtomicBool,
}

impl Sink for Gate {
    fn violation(&self, _: &Violation) {}

    fn flush(&self) {
        if thread::current().name() == Some("sydbox") {
            self.here.lock().unwrap().send(()).unwrap();
            self.open.lock().unwrap().recv().unwrap();
            self.passed.store(true, Ordering::SeqCst);
        }
    }
}

/// Whether the thread is asleep.
fn sleeps(tid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().starts_with('S')
}

/// The last process ends while somebody decides to leave a supervisor behind: nobody forks while another thread is at work,
/// whose locks would stay locked in the new process.
///
/// Seen to fail without `Shared::alone`: the process forks, and the new one hung once in six thousand times.
#[test]
fn the_end_of_the_tree_is_waited_for() {
    let (here, reached) = mpsc::channel();
    let (release, open) = mpsc::channel();
    let passed = AtomicBool::new(false);
    let gate = Arc::new(Gate { here: Mutex::new(here), open: Mutex::new(open), passed });
    let mut builder = Sandbox::builder();
    builder.magic("core/sandbox/write:allow").unwrap().magic("core/trace/exit_wait_all:false").unwrap();
    builder.violations(Arc::clone(&gate) as Arc<dyn Sink>);
    let (input, mut end) = std::io::pipe().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "exec 3<&0; cat <&3 >/dev/null & echo started"]).stdin(input).stdout(Stdio::piped());
    let mut child = builder.build().unwrap().spawn(command).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(child.is_running());
    // The last process ends.
    end.write_all(b"\n").unwrap();
    drop(end);
    let mut text = String::new();
    child.take_stdout().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "started\n");
    reached.recv_timeout(std::time::Duration::from_secs(60)).expect("it hangs");
    let tid = nix::unistd::gettid().as_raw();
    let opener = thread::spawn(move || {
        while !sleeps(tid) {
            thread::yield_now();
        }
        release.send(()).unwrap();
    });
    // Called in the new process, if there is one.
    child.detach(|| std::process::abort()).unwrap();
    assert!(gate.passed.load(Ordering::SeqCst));
    opener.join().unwrap();
}
