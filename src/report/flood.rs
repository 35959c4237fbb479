//! Log lines that a sandboxed program can cause as often as it likes.
#![forbid(unsafe_code)]

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many lines a second are written.
const PER_SECOND: u32 = 100;

/// Writes a line, unless there were too many in this second: those are counted.
pub(crate) fn seldom(line: impl FnOnce()) {
    static BUDGET: Mutex<Budget> = Mutex::new(Budget::NEW);
    let (may, kept_back) = BUDGET.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
    if kept_back > 0 {
        log::warn!("{kept_back} more lines were not written");
    }
    if may {
        line();
    }
}

#[derive(Debug)]
struct Budget {
    second: Option<Instant>,
    used: u32,
    kept_back: u64,
}

impl Budget {
    const NEW: Self = Self { second: None, used: 0, kept_back: 0 };

    /// Whether one more may be written, and how many could not before it.
    fn take(&mut self, now: Instant) -> (bool, u64) {
        let mut kept_back = 0;
        if self.second.is_none_or(|start| now.saturating_duration_since(start) >= Duration::from_secs(1)) {
            kept_back = self.kept_back;
            *self = Self { second: Some(now), used: 0, kept_back: 0 };
        }
        if self.used >= PER_SECOND {
            self.kept_back += 1;
            return (false, kept_back);
        }
        self.used += 1;
        (true, kept_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted() {
        let (mut budget, start) = (Budget::NEW, Instant::now());
        let written = (0..1000).filter(|_| budget.take(start).0).count();
        assert_eq!(written, PER_SECOND as usize);
        assert_eq!(budget.take(start + Duration::from_secs(1)), (true, 900));
        assert_eq!(budget.take(start + Duration::from_secs(2)), (true, 0));
    }
}
