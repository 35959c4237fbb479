//! The processes of a sandbox as a value: who there is, and what each may do at the moment.
#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::broker::{self, Supervisor};
use crate::policy::State;
use crate::sys::Pid;
use crate::tracee;

/// A process of a sandbox, as [`Tree::processes`] found it. What it may do is written in words of the magic language.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// The process id of its parent, which need not be of the sandbox; 0 where that is not visible.
    pub parent: u32,
    /// Its name: at most 15 bytes, which it may have chosen itself. To be escaped before it is shown.
    pub comm: Vec<u8>,
    /// Each sandboxing and its mode, as `("write", "deny")`.
    pub modes: [(&'static str, &'static str); 4],
    /// The lock of its magic path: `off`, `exec` (locked when it executes a program) or `on`.
    pub lock: &'static str,
    /// Its rules as magic commands, list by list, in the order in which they count.
    pub rules: Vec<Arc<str>>,
}

/// The tree of processes of one sandbox, to be looked at from any thread.
#[derive(Clone)]
pub struct Tree(Arc<Supervisor>);

impl Tree {
    pub(crate) fn new(supervisor: Arc<Supervisor>) -> Self {
        Self(supervisor)
    }

    /// Every process of the sandbox, by process id. Nobody is stopped meanwhile, and no call waits for it: a process
    /// that comes or goes while this looks may be missing, and each is as it was when it was looked at.
    pub fn processes(&self) -> Vec<Process> {
        let mut pids = broker::processes(&self.0);
        pids.sort_unstable_by_key(|pid| pid.raw());
        pids.into_iter().filter_map(|pid| self.process(pid)).collect()
    }

    fn process(&self, pid: Pid) -> Option<Process> {
        let proc = &self.0.sight.proc;
        let state = self.0.states.by_tag(tracee::tag(proc, pid).ok()?)?;
        let policy: &State = &state.policy;
        let (mut status, mut comm) = ([0; 4096], [0; 64]);
        let parent = tracee::parent(proc.read(pid, "status", &mut status).ok()?);
        let comm = proc.read(pid, "comm", &mut comm).ok()?;
        Some(Process {
            pid: pid.raw().unsigned_abs(),
            parent: parent.map_or(0, |parent| parent.raw().unsigned_abs()),
            comm: comm.strip_suffix(b"\n").unwrap_or(comm).to_vec(),
            modes: [
                ("exec", policy.exec.word()),
                ("read", policy.read.word()),
                ("write", policy.write.word()),
                ("network", policy.network.word()),
            ],
            lock: policy.lock.word(),
            rules: policy.rules().cloned().collect(),
        })
    }
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tree of process {}", self.0.eldest)
    }
}
