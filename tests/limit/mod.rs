//! Nothing that is tested may take for ever.

use std::process::Child;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Nothing takes this long; what does hangs, and is killed.
const LIMIT: Duration = Duration::from_secs(600);

/// Kills the process group that a child leads if it is there for too long.
pub struct Limit {
    done: mpsc::Sender<()>,
    guard: JoinHandle<bool>,
}

impl Limit {
    pub fn of_group(child: &Child) -> Self {
        let (done, limit) = mpsc::channel();
        let group = Pid::from_raw(child.id() as i32);
        let guard = std::thread::spawn(move || {
            // Or it was given up, by a test that failed.
            let late = limit.recv_timeout(LIMIT).is_err();
            if late {
                let _ = killpg(group, Signal::SIGKILL);
            }
            late
        });
        Self { done, guard }
    }

    /// The child has ended: whether that was by itself.
    pub fn was_kept(self) -> bool {
        let _ = self.done.send(());
        !self.guard.join().unwrap()
    }
}

/// Waits until something that has no event of its own is so; false if it never is.
pub fn becomes(mut what: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if what() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

/// Whether a race that is run without the sandbox shows what it is about: the other side may not have its turn each time.
pub fn is_raced(mut run: impl FnMut() -> bool) -> bool {
    (0..100).any(|_| run())
}
