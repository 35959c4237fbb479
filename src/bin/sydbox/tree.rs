//! The processes of the sandbox, for whoever asks by a signal; and what else a signal tells.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use sydbox::command::{Request, Requests};
use sydbox::{Process, Tree};

use crate::failure::Failure;
use crate::job::Job;
use crate::output::Queued;

/// Answers SIGUSR1 and SIGUSR2, from when there is something to answer; what comes before waits.
pub(crate) struct Reporter {
    requests: Requests,
}

/// A reporter at work, in a thread of its own.
pub(crate) struct Reporting {
    requests: Arc<Requests>,
    thread: JoinHandle<()>,
}

impl Reporter {
    /// Sets the handlers up, before anything is started.
    pub(crate) fn install() -> Result<Self, Failure> {
        let requests = Requests::install();
        Ok(Self {
            requests: requests.map_err(|error| Failure::new(format!("cannot handle signals: {error}")))?,
        })
    }

    /// Answers on standard error, and stops when the eldest does.
    pub(crate) fn watch(self, tree: Tree, eldest: u32) -> Result<Reporting, Failure> {
        self.answer(Box::new(Queued), tree, Job::new(eldest))
    }

    /// Sets the handlers up and answers there.
    pub(crate) fn start(out: Box<dyn Write + Send>, tree: Tree) -> Result<Reporting, Failure> {
        Self::install()?.answer(out, tree, None)
    }

    fn answer(
        self,
        mut out: Box<dyn Write + Send>,
        tree: Tree,
        mut job: Option<Job>,
    ) -> Result<Reporting, Failure> {
        let requests = Arc::new(self.requests);
        let asked = Arc::clone(&requests);
        let thread = thread::Builder::new().name("sydbox-report".into()).spawn(move || {
            while let Some(request) = asked.next() {
                let with_rules = match request {
                    Request::Tree => false,
                    Request::Rules => true,
                    // What stopped before this process was told to go on goes on with it.
                    Request::Stopped if asked.is_continued() => continue,
                    Request::Stopped => {
                        job.iter_mut().for_each(|job| job.stop(&asked, &tree));
                        continue;
                    }
                    Request::Continued => {
                        job.iter_mut().for_each(Job::go_on);
                        continue;
                    }
                };
                let text = text(&tree.processes(), with_rules);
                // In one piece, so that nothing gets in between. Nobody who listens is no mistake.
                let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            }
        });
        let thread = thread.map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?;
        Ok(Reporting { requests, thread })
    }
}

impl Reporting {
    /// Ends the thread, when it has answered what was asked.
    pub(crate) fn stop(self) {
        self.requests.end();
        let _ = self.thread.join();
    }
}

/// The report: each process below its parent.
fn text(processes: &[Process], rules: bool) -> String {
    let mut text = format!("sydbox: processes: {}\n", processes.len());
    let known: HashSet<u32> = processes.iter().map(|process| process.pid).collect();
    // Those still to be written: how deep, and below whom. First those whose parent is not of the sandbox.
    let eldest = processes.iter().filter(|process| !known.contains(&process.parent));
    let mut todo: Vec<(usize, &Process, Option<&Process>)> =
        eldest.rev().map(|process| (0, process, None)).collect();
    while let Some((depth, process, parent)) = todo.pop() {
        line(&mut text, process, depth);
        if rules {
            rules_of(&mut text, process, parent, depth + 2);
        }
        let children = processes.iter().rev().filter(|child| child.parent == process.pid);
        todo.extend(children.map(|child| (depth + 1, child, Some(process))));
    }
    text
}

fn line(text: &mut String, process: &Process, depth: usize) {
    let name = format!("{:indent$}{} {}", "", process.pid, sydbox::escape(&process.comm), indent = 2 * depth);
    let _ = write!(text, "sydbox: {name:30}");
    for (what, mode) in process.modes {
        let _ = write!(text, " {what}:{mode}");
    }
    let _ = writeln!(text, " lock:{}", process.lock);
}

fn rules_of(text: &mut String, process: &Process, parent: Option<&Process>, depth: usize) {
    let indent = 2 * depth;
    match parent.filter(|parent| parent.rules == process.rules) {
        _ if process.rules.is_empty() => _ = writeln!(text, "sydbox: {:indent$}no rules", ""),
        Some(parent) => _ = writeln!(text, "sydbox: {:indent$}rules as {}", "", parent.pid),
        None => {
            for rule in &process.rules {
                let _ = writeln!(text, "sydbox: {:indent$}{}", "", sydbox::escape(rule.as_bytes()));
            }
        }
    }
}
