//! Violations as text for people.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::io::Write;

use super::outlet::Outlet;
use super::{Note, Sink, Violation, escape};

/// Writes each violation as a block of lines that begin with `sydbox: `.
///
/// ```text
/// sydbox: 8< -- Access Violation! --
/// sydbox: open(`/etc/passwd', O_WRONLY|O_TRUNC) = EPERM
/// sydbox: proc: sh[4711] (parent: make[4700])
/// sydbox: cwd: `/var/tmp/build'
/// sydbox: cmdline: `sh -c echo > /etc/passwd'
/// sydbox: allow with: allowlist/write+/etc/passwd
/// sydbox: >8 --
/// ```
///
/// A writer that is stuck holds a process up for a tenth of a second, once; from then on violations wait in a queue of
/// limited length until it takes them again. Errors of the writer are ignored.
#[derive(Debug)]
pub struct TextSink {
    outlet: Outlet,
    coloured: bool,
}

impl TextSink {
    /// A sink that writes to `writer`, from a thread of its own.
    pub fn new(writer: impl Write + Send + 'static) -> Self {
        Self { outlet: Outlet::new(Box::new(writer)), coloured: false }
    }

    /// The same with the colours of a terminal, or without.
    pub fn coloured(mut self, yes: bool) -> Self {
        self.coloured = yes;
        self
    }

    /// How many reports could not be written.
    pub fn lost(&self) -> u64 {
        self.outlet.lost()
    }
}

impl Sink for TextSink {
    fn violation(&self, violation: &Violation) {
        self.outlet.put(render(violation, self.coloured).into_bytes());
    }

    fn note(&self, note: &Note) {
        match note {
            Note::Suppressed(count) => {
                self.outlet.put(format!("sydbox: {count} more violations were not reported\n").into_bytes());
            }
        }
    }

    fn flush(&self) {
        self.outlet.flush();
    }
}

const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[1;31m";
const GREEN: &str = "\x1b[32m";
const RESET: &str = "\x1b[m";

/// The block of one violation, or the line of one that is repeated.
fn render(violation: &Violation, coloured: bool) -> String {
    let paint = |colour: &str, text: String| {
        if coloured { format!("{colour}{text}{RESET}") } else { text }
    };
    let arguments = escape::text(violation.arguments.as_bytes());
    let mut call = format!("{}({arguments}) = {}", violation.syscall, violation.errno_name());
    if violation.dry_run {
        call.push_str(" (dry run: not refused)");
    }
    let process = process(&violation.comm, violation.pid);
    if violation.count > 0 {
        return format!("sydbox: {} by {process} (repeated {} times)\n", paint(BOLD, call), violation.count);
    }

    let mut lines = vec![
        paint(RED, "8< -- Access Violation! --".into()),
        paint(BOLD, call),
        format!("proc: {process} (parent: {})", self::process(&violation.parent_comm, violation.ppid)),
        format!("cwd: {}", escape::quoted(&violation.cwd)),
        format!("cmdline: `{}'", escape::arguments(&violation.cmdline).join(" ")),
    ];
    if let Some(rule) = &violation.rule {
        lines.push(format!("rule: {}", escape::text(rule.as_bytes())));
    }
    if let Some(command) = &violation.allow_with {
        lines.push(paint(GREEN, format!("allow with: {}", escape::text(command.as_bytes()))));
    }
    lines.push(paint(RED, ">8 --".into()));

    let mut out = String::new();
    for line in lines {
        let _ = writeln!(out, "sydbox: {line}");
    }
    out
}

fn process(comm: &[u8], pid: u32) -> String {
    if comm.is_empty() { format!("?[{pid}]") } else { format!("{}[{pid}]", escape::name(comm)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Subject, sample};

    #[test]
    fn as_the_manual_shows_it() {
        assert_eq!(
            render(&sample::violation(), false),
            "sydbox: 8< -- Access Violation! --\n\
             sydbox: open(`/etc/passwd', O_WRONLY|O_TRUNC) = EPERM\n\
             sydbox: proc: sh[4711] (parent: make[4700])\n\
             sydbox: cwd: `/var/tmp/build'\n\
             sydbox: cmdline: `sh -c echo > /etc/passwd'\n\
             sydbox: allow with: allowlist/write+/etc/passwd\n\
             sydbox: >8 --\n"
        );
    }

    #[test]
    fn rule_dry_run_and_repetition() {
        let mut violation = sample::violation();
        violation.rule = Some("denylist/write+/etc/***".into());
        violation.dry_run = true;
        let text = render(&violation, false);
        assert!(text.contains("sydbox: rule: denylist/write+/etc/***\nsydbox: allow with:"));
        assert!(text.contains(" = EPERM (dry run: not refused)\n"));

        violation.dry_run = false;
        violation.count = 341;
        assert_eq!(
            render(&violation, false),
            "sydbox: open(`/etc/passwd', O_WRONLY|O_TRUNC) = EPERM by sh[4711] (repeated 341 times)\n"
        );
    }

    #[test]
    fn no_byte_of_the_process_gets_through_raw() {
        let evil: &[u8] = b"\nsydbox: all is well\x1b[2J\x1b]52;c;Zm9v\x07\xe2\x80\xae\xc2\x9b\xff";
        let mut violation = sample::violation();
        violation.subject = Subject::Path(evil.into());
        violation.arguments = String::from_utf8_lossy(evil).into_owned();
        violation.comm = evil.into();
        violation.parent_comm = evil.into();
        violation.cwd = evil.into();
        violation.cmdline = vec![evil.into(); 3];
        violation.rule = Some(violation.arguments.clone());
        violation.allow_with = Some(violation.arguments.clone());
        let text = render(&violation, false);
        assert_eq!(text.lines().count(), 8);
        assert!(
            text.lines().all(|line| line.starts_with("sydbox: ") && line.chars().all(|c| !c.is_control()))
        );
        assert!(!text.contains('\u{202e}'));
    }

    #[test]
    fn colour_only_when_asked_for() {
        let painted = render(&sample::violation(), true);
        assert!(painted.contains("\x1b[1;31m8< -- Access Violation! --\x1b[m\n"));
        let plain = [RED, BOLD, GREEN, RESET].iter().fold(painted, |text, code| text.replace(code, ""));
        assert_eq!(plain, render(&sample::violation(), false));
    }
}
