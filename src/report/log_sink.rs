//! Violations as lines of the `log` crate: where a program that embeds the library asked for nothing else.
#![forbid(unsafe_code)]

use super::{Note, Sink, Violation, escape};

/// Logs each violation as a warning.
#[derive(Debug)]
pub(crate) struct LogSink;

impl Sink for LogSink {
    fn violation(&self, violation: &Violation) {
        log::warn!(
            "access violation: {}({}) = {} by {}[{}]{}",
            violation.syscall,
            escape::text(violation.arguments.as_bytes()),
            violation.errno_name(),
            escape(&violation.comm),
            violation.pid,
            violation.allow_with.as_ref().map_or(String::new(), |rule| format!("; allow with: {rule}")),
        );
    }

    fn note(&self, note: &Note) {
        match note {
            Note::Suppressed(count) => log::warn!("{count} more violations were not reported"),
        }
    }
}
