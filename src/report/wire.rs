//! The JSON schema of reports, and nothing else. What is here is read by other people's programs: add, never change.
#![forbid(unsafe_code)]

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::{Subject, escape};

/// `"event":"violation"`.
#[derive(Debug, Serialize)]
pub(crate) struct Violation {
    /// Seconds since 1970, with milliseconds.
    time: f64,
    event: &'static str,
    syscall: &'static str,
    access: &'static str,
    #[serde(flatten)]
    subject: Object,
    errno: String,
    pid: u32,
    ppid: u32,
    comm: String,
    cwd: String,
    cmdline: Vec<String>,
    rule: Option<String>,
    allow_with: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    count: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

/// What the call was about: only what applies is there.
#[derive(Debug, Default, Serialize)]
struct Object {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path2: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    addr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
}

/// `"event":"suppressed"`: so many violations were counted only.
#[derive(Debug, Serialize)]
pub(crate) struct Note {
    time: f64,
    event: &'static str,
    count: u64,
}

impl From<&super::Violation> for Violation {
    fn from(from: &super::Violation) -> Self {
        Self {
            time: seconds(from.time),
            event: "violation",
            syscall: from.syscall,
            access: from.access.as_str(),
            subject: Object::from(&from.subject),
            errno: from.errno_name(),
            pid: from.pid,
            ppid: from.ppid,
            comm: escape::name(&from.comm),
            cwd: escape::name(&from.cwd),
            cmdline: escape::arguments(&from.cmdline),
            rule: from.rule.as_ref().map(|rule| escape::text(rule.as_bytes())),
            allow_with: from.allow_with.as_ref().map(|command| escape::text(command.as_bytes())),
            count: from.count,
            dry_run: from.dry_run,
        }
    }
}

impl From<&Subject> for Object {
    fn from(from: &Subject) -> Self {
        let none = Self::default();
        match from {
            Subject::Path(path) => Self { path: Some(escape::name(path)), ..none },
            Subject::Path2(path, path2) => {
                Self { path: Some(escape::name(path)), path2: Some(escape::name(path2)), ..none }
            }
            Subject::Addr(addr) => Self { addr: Some(escape::text(addr.as_bytes())), ..none },
            Subject::Other(words) => Self { subject: Some(escape::text(words.as_bytes())), ..none },
        }
    }
}

impl From<&super::Note> for Note {
    fn from(from: &super::Note) -> Self {
        let super::Note::Suppressed(count) = *from;
        Self { time: seconds(SystemTime::now()), event: "suppressed", count }
    }
}

fn seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() as f64 + f64::from(since.subsec_millis()) / 1000.0
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}
