//! Violations as JSON, one object a line, for programs.
#![forbid(unsafe_code)]

use std::io::Write;

use super::outlet::Outlet;
use super::{Note, Sink, Violation, wire};

/// Writes each violation as one line of JSON.
///
/// Names are strings in which every byte of a character that is not printable, and every byte that is not UTF-8,
/// is written `\xNN`, and a backslash `\\` (before JSON's own quoting): the bytes can be got back, and a name that a
/// tool prints raw cannot move the cursor. In `rule` and `allow_with` backslashes are those of the pattern.
///
/// A record with `count` says how many times the same happened again since it was last reported: the sum over all
/// records, 1 for those without, is the number of violations. Like [`TextSink`](super::TextSink) it never gets stuck.
#[derive(Debug)]
pub struct JsonSink {
    outlet: Outlet,
}

impl JsonSink {
    /// A sink that writes to `writer`, from a thread of its own.
    pub fn new(writer: impl Write + Send + 'static) -> Self {
        Self { outlet: Outlet::new(Box::new(writer)) }
    }

    /// How many reports could not be written.
    pub fn lost(&self) -> u64 {
        self.outlet.lost()
    }

    fn put(&self, record: &impl serde::Serialize) {
        match serde_json::to_vec(record) {
            Ok(mut line) => {
                line.push(b'\n');
                self.outlet.put(line);
            }
            Err(error) => log::error!("cannot write a violation as JSON: {error}"),
        }
    }
}

impl Sink for JsonSink {
    fn violation(&self, violation: &Violation) {
        self.put(&wire::Violation::from(violation));
    }

    fn note(&self, note: &Note) {
        self.put(&wire::Note::from(note));
    }

    fn flush(&self) {
        self.outlet.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::outlet::tests::Page;
    use crate::report::{Subject, sample};

    fn patient(page: &Page) -> JsonSink {
        JsonSink { outlet: Outlet::patient(page.clone()) }
    }

    fn line(violation: &Violation) -> String {
        let page = Page::default();
        patient(&page).violation(violation);
        page.text()
    }

    #[test]
    fn golden() {
        assert_eq!(
            line(&sample::violation()),
            concat!(
                r#"{"time":1700000000.25,"event":"violation","syscall":"open","access":"write","path":"/etc/passwd","#,
                r#""errno":"EPERM","pid":4711,"ppid":4700,"comm":"sh","cwd":"/var/tmp/build","#,
                r#""cmdline":["sh","-c","echo > /etc/passwd"],"rule":null,"allow_with":"allowlist/write+/etc/passwd"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn addresses_pairs_counts_and_bytes() {
        let mut violation = sample::violation();
        violation.subject = Subject::Addr("inet:192.0.2.1@443".into());
        assert!(line(&violation).contains(r#""access":"write","addr":"inet:192.0.2.1@443","errno""#));

        violation.subject = Subject::Path2(b"/a\n\xff".into(), b"/b\\c\"".into());
        violation.count = 341;
        violation.dry_run = true;
        let text = line(&violation);
        assert!(text.contains(r#""path":"/a\\x0a\\xff","path2":"/b\\\\c\"","errno""#), "{text}");
        assert!(text.contains(r#""count":341,"dry_run":true}"#), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn notes() {
        let page = Page::default();
        patient(&page).note(&Note::Suppressed(7));
        assert!(page.text().ends_with("\"event\":\"suppressed\",\"count\":7}\n"));
    }
}
