//! The same violation again and again, and floods of different ones: counted, not repeated.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Note, Sink, Subject, Violation};

/// How many different violations are remembered.
const REMEMBERED: usize = 256;
/// How many reports a second are passed on.
const PER_SECOND: u32 = 100;

/// Passes violations on to another sink, each only once.
///
/// The first of its kind goes through at once. When the same process does the same again (same call, same subject,
/// same error), it is counted; the count is reported (in [`Violation::count`]) when something else of that process is
/// reported, when it has to be forgotten for newer ones, and by [`Sink::flush`]. More than a hundred reports in one second
/// become one [`Note::Suppressed`].
pub struct Repeater {
    sink: Arc<dyn Sink>,
    memory: Mutex<Memory>,
}

impl Repeater {
    /// Puts a repeater in front of `sink`.
    pub fn new(sink: Arc<dyn Sink>) -> Self {
        Self { sink, memory: Mutex::new(Memory::new(REMEMBERED, PER_SECOND)) }
    }

    fn pass(&self, reports: Vec<Report>) {
        for report in reports {
            match report {
                Report::Violation(violation) => self.sink.violation(&violation),
                Report::Note(note) => self.sink.note(&note),
            }
        }
    }

    /// The sink is called without the lock, which may hold up only the one who reports.
    fn remember<T>(&self, what: impl FnOnce(&mut Memory) -> T) -> T {
        what(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for Repeater {
    fn violation(&self, violation: &Violation) {
        self.pass(self.remember(|memory| memory.take(violation, Instant::now())));
    }

    fn note(&self, note: &Note) {
        self.sink.note(note);
    }

    fn flush(&self) {
        self.pass(self.remember(Memory::flush));
        self.sink.flush();
    }
}

impl fmt::Debug for Repeater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repeater").finish_non_exhaustive()
    }
}

/// What makes two violations the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    pid: u32,
    syscall: &'static str,
    errno: i32,
    subject: Subject,
}

/// A violation that was reported.
#[derive(Debug)]
struct Entry {
    violation: Violation,
    /// How often it happened since.
    again: u64,
    /// When it last did, on a clock that ticks with each violation.
    last: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Report {
    Violation(Box<Violation>),
    Note(Note),
}

/// The logic: no locks, no clock, no output.
#[derive(Debug)]
struct Memory {
    entries: HashMap<Key, Entry>,
    capacity: usize,
    tick: u64,
    /// How many reports one second has room for, and the second there is.
    per_second: u32,
    second: Option<Instant>,
    used: u32,
    suppressed: u64,
}

impl Memory {
    fn new(capacity: usize, per_second: u32) -> Self {
        Self { entries: HashMap::new(), capacity, tick: 0, per_second, second: None, used: 0, suppressed: 0 }
    }

    /// Takes one violation and says what is to be reported because of it.
    fn take(&mut self, violation: &Violation, now: Instant) -> Vec<Report> {
        let mut reports = Vec::new();
        if self.second.is_none_or(|start| now.saturating_duration_since(start) >= Duration::from_secs(1)) {
            self.second = Some(now);
            self.used = 0;
            self.report_suppressed(&mut reports);
        }

        self.tick += 1;
        let key = Key {
            pid: violation.pid,
            syscall: violation.syscall,
            errno: violation.errno as i32,
            subject: violation.subject.clone(),
        };
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.again += 1;
            entry.last = self.tick;
            return reports;
        }
        if self.used >= self.per_second {
            self.suppressed += 1;
            return reports;
        }
        self.used += 1;

        for counted in self.counted(|key| key.pid == violation.pid) {
            self.report_again(&counted, &mut reports);
        }
        if self.entries.len() >= self.capacity {
            self.forget_oldest(&mut reports);
        }
        self.entries.insert(key, Entry { violation: violation.clone(), again: 0, last: self.tick });
        reports.push(Report::Violation(Box::new(violation.clone())));
        reports
    }

    /// All that was only counted so far.
    fn flush(&mut self) -> Vec<Report> {
        let mut reports = Vec::new();
        self.used = 0;
        for key in self.counted(|_| true) {
            self.used = 0;
            self.report_again(&key, &mut reports);
        }
        self.report_suppressed(&mut reports);
        reports
    }

    /// Which entries have something to say, in the order in which it happened.
    fn counted(&self, which: impl Fn(&Key) -> bool) -> Vec<Key> {
        let mut found: Vec<_> =
            self.entries.iter().filter(|(key, entry)| entry.again > 0 && which(key)).collect();
        found.sort_by_key(|(_, entry)| entry.last);
        found.into_iter().map(|(key, _)| key.clone()).collect()
    }

    /// Reports a count if there is room for it; if not, it goes on counting.
    fn report_again(&mut self, key: &Key, reports: &mut Vec<Report>) {
        if self.used >= self.per_second {
            return;
        }
        if let Some(entry) = self.entries.get_mut(key) {
            self.used += 1;
            let count = std::mem::take(&mut entry.again);
            reports.push(Report::Violation(Box::new(Violation { count, ..entry.violation.clone() })));
        }
    }

    fn report_suppressed(&mut self, reports: &mut Vec<Report>) {
        if self.suppressed > 0 {
            reports.push(Report::Note(Note::Suppressed(std::mem::take(&mut self.suppressed))));
        }
    }

    fn forget_oldest(&mut self, reports: &mut Vec<Report>) {
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.last).map(|(key, _)| key.clone());
        if let Some(key) = oldest {
            if self.entries.get(&key).is_some_and(|entry| entry.again > 0) {
                self.report_again(&key, reports);
            }
            if let Some(entry) = self.entries.remove(&key) {
                self.suppressed += entry.again;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    use crate::report::{AccessKind, sample};

    fn violation(pid: u32, path: &str) -> Violation {
        Violation { pid, subject: Subject::Path(path.into()), ..sample::violation() }
    }

    /// What is reported, in short: `pid path`, `pid path xCOUNT`, `+SUPPRESSED`.
    fn short(reports: Vec<Report>) -> Vec<String> {
        let line = |report| match report {
            Report::Note(Note::Suppressed(count)) => format!("+{count}"),
            Report::Violation(violation) => {
                let Subject::Path(path) = &violation.subject else { panic!("{violation:?}") };
                let what = format!("{} {}", violation.pid, String::from_utf8_lossy(path));
                if violation.count == 0 { what } else { format!("{what} x{}", violation.count) }
            }
        };
        reports.into_iter().map(line).collect()
    }

    #[test]
    fn repeats_are_counted_until_something_else_is_reported() {
        let mut memory = Memory::new(8, 100);
        let now = Instant::now();
        assert_eq!(short(memory.take(&violation(1, "/a"), now)), ["1 /a"]);
        for _ in 0..341 {
            assert!(memory.take(&violation(1, "/a"), now).is_empty());
        }
        assert_eq!(short(memory.take(&violation(2, "/b"), now)), ["2 /b"], "another process");
        assert_eq!(short(memory.take(&violation(1, "/c"), now)), ["1 /a x341", "1 /c"]);
        assert!(memory.take(&violation(1, "/a"), now).is_empty());
        assert_eq!(short(memory.flush()), ["1 /a x1"]);
        assert!(memory.flush().is_empty());
    }

    #[test]
    fn another_call_or_error_is_not_the_same() {
        let mut memory = Memory::new(8, 100);
        let now = Instant::now();
        let first = violation(1, "/a");
        memory.take(&first, now);
        assert_eq!(memory.take(&Violation { syscall: "unlink", ..first.clone() }, now).len(), 1);
        assert_eq!(memory.take(&Violation { errno: Errno::EACCES, ..first.clone() }, now).len(), 1);
        assert!(memory.take(&Violation { access: AccessKind::Read, ..first }, now).is_empty());
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_oldest() {
        let mut memory = Memory::new(2, 100);
        let now = Instant::now();
        memory.take(&violation(1, "/a"), now);
        memory.take(&violation(2, "/b"), now);
        memory.take(&violation(1, "/a"), now);
        assert_eq!(short(memory.take(&violation(3, "/c"), now)), ["3 /c"], "/b goes");
        assert_eq!(
            short(memory.take(&violation(4, "/d"), now)),
            ["1 /a x1", "4 /d"],
            "/a goes and is counted"
        );
        assert_eq!(memory.entries.len(), 2);
        assert_eq!(short(memory.take(&violation(1, "/a"), now)), ["1 /a"], "and is new again");
    }

    #[test]
    fn a_flood_becomes_one_line() {
        let mut memory = Memory::new(8, 3);
        let start = Instant::now();
        let mut lines = Vec::new();
        for n in 0..1000 {
            lines.extend(short(memory.take(&violation(n, "/a"), start)));
        }
        assert_eq!(lines, ["0 /a", "1 /a", "2 /a"]);
        let later = start + Duration::from_secs(1);
        assert_eq!(short(memory.take(&violation(5000, "/a"), later)), ["+997", "5000 /a"]);
        for n in 6000..6010 {
            memory.take(&violation(n, "/a"), later);
        }
        assert_eq!(short(memory.flush()), ["+8"]);
    }

    #[test]
    fn counts_are_reports_too() {
        let mut memory = Memory::new(100, 10);
        let mut now = Instant::now();
        for n in 0..50 {
            memory.take(&violation(1, &n.to_string()), now);
            now += Duration::from_millis(200);
        }
        now += Duration::from_secs(1);
        let mut lines = 0;
        for _ in 0..5 {
            for n in 0..50 {
                lines += memory.take(&violation(1, &n.to_string()), now).len();
            }
            lines += memory.take(&violation(1, "new"), now).len();
        }
        assert_eq!(lines, 10);
    }

    #[test]
    fn through_to_the_sink() {
        #[derive(Default)]
        struct Counts(Mutex<Vec<u64>>);
        impl Sink for Counts {
            fn violation(&self, violation: &Violation) {
                self.0.lock().unwrap().push(violation.count);
            }
        }
        let counts = Arc::new(Counts::default());
        let repeater = Repeater::new(counts.clone());
        (0..5).for_each(|_| repeater.violation(&violation(1, "/a")));
        repeater.flush();
        assert_eq!(*counts.0.lock().unwrap(), [0, 4]);
    }
}
