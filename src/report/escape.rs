//! Bytes of a sandboxed process, as text that cannot forge a line or move a cursor.
//!
//! Printable characters stay. Every byte of anything else becomes `\xNN`: controls (C0, DEL, C1), bidirectional and
//! other format characters, line separators, spaces that are not U+0020, unassigned and private characters, and
//! bytes that are not UTF-8. Where a backslash of the original is doubled (everywhere but in rules), the text can
//! be turned back into the bytes.
#![forbid(unsafe_code)]

/// The most of one path that is shown, in bytes.
pub(crate) const PATH_LIMIT: usize = 4096;
/// The most of one command line that is shown, in bytes.
pub(crate) const CMDLINE_LIMIT: usize = 1024;
/// The most of one rule or argument list that is shown, in bytes.
pub(crate) const TEXT_LIMIT: usize = 16384;

/// Text for a terminal or a log, with everything that is not printable as `\xNN`. Backslashes stay as they are.
///
/// ```
/// assert_eq!(sydbox::escape(b"na\xc3\xafve\x1b[2J\xff"), "na\u{ef}ve\\x1b[2J\\xff");
/// ```
pub fn escape(bytes: &[u8]) -> String {
    write(bytes, usize::MAX, "")
}

/// The same in at most [`TEXT_LIMIT`] bytes of the original.
pub(crate) fn text(bytes: &[u8]) -> String {
    write(bytes, TEXT_LIMIT, "")
}

/// A name that stands alone: a backslash is doubled, so the bytes can be got back.
pub(crate) fn name(bytes: &[u8]) -> String {
    write(bytes, PATH_LIMIT, "\\")
}

/// A name in quotes, `` `like this' ``.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    format!("`{}'", write(bytes, PATH_LIMIT, "\\'"))
}

/// The arguments of a program, each as [`name`] would give it; together no longer than [`CMDLINE_LIMIT`].
pub(crate) fn arguments(cmdline: &[Vec<u8>]) -> Vec<String> {
    let mut left = CMDLINE_LIMIT;
    let mut shown = Vec::new();
    for argument in cmdline {
        if left == 0 {
            shown.push("…".into());
            break;
        }
        shown.push(write(argument, left, "\\"));
        left = left.saturating_sub(argument.len() + 1);
    }
    shown
}

/// `bytes` up to `limit`, with a backslash before each character of `special`.
fn write(bytes: &[u8], limit: usize, special: &str) -> String {
    let mut out = String::with_capacity(bytes.len().min(limit) + 8);
    let mut used = 0;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            used += c.len_utf8();
            if used > limit {
                out.push('…');
                return out;
            }
            if special.contains(c) {
                out.push('\\');
                out.push(c);
            } else if printable(c) {
                out.push(c);
            } else {
                c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| hex(&mut out, byte));
            }
        }
        for &byte in chunk.invalid() {
            used += 1;
            if used > limit {
                out.push('…');
                return out;
            }
            hex(&mut out, byte);
        }
    }
    out
}

fn hex(out: &mut String, byte: u8) {
    out.push_str("\\x");
    for digit in [byte >> 4, byte & 15] {
        out.push(char::from_digit(digit.into(), 16).unwrap_or('?'));
    }
}

/// Whether this is a visible character or a plain space.
///
/// The standard library knows (it has the table for `{:?}`) and tells only in this way: a character that needs no
/// escape stays one character. It is asked after another one, where combining characters count as printable.
fn printable(c: char) -> bool {
    if c.is_ascii() {
        return c == ' ' || c.is_ascii_graphic();
    }
    let mut buffer = [b'a'; 5];
    let length = c.encode_utf8(&mut buffer[1..]).len();
    std::str::from_utf8(&buffer[..=length]).is_ok_and(|pair| pair.escape_debug().count() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_and_what_does_not() {
        for (bytes, text) in [
            (&b"/usr/bin"[..], "/usr/bin"),
            ("/ü/日本語/e\u{301}/😀".as_bytes(), "/ü/日本語/e\u{301}/😀"),
            (b"a\nb\rc\td\0", "a\\x0ab\\x0dc\\x09d\\x00"),
            (b"\x1b]52;c;x\x07\x7f", "\\x1b]52;c;x\\x07\\x7f"),
            ("\u{9b}2J".as_bytes(), "\\xc2\\x9b2J"),
            (
                "\u{202e}\u{2066}\u{61c}\u{200f}".as_bytes(),
                "\\xe2\\x80\\xae\\xe2\\x81\\xa6\\xd8\\x9c\\xe2\\x80\\x8f",
            ),
            ("\u{2028}\u{2029}\u{85}\u{a0}".as_bytes(), "\\xe2\\x80\\xa8\\xe2\\x80\\xa9\\xc2\\x85\\xc2\\xa0"),
            ("\u{feff}\u{200b}\u{e0041}".as_bytes(), "\\xef\\xbb\\xbf\\xe2\\x80\\x8b\\xf3\\xa0\\x81\\x81"),
            (b"\xff\xc3(\xed\xa0\x80", "\\xff\\xc3(\\xed\\xa0\\x80"),
            (b"back\\slash", "back\\slash"),
        ] {
            assert_eq!(escape(bytes), text);
        }
    }

    #[test]
    fn a_name_is_lossless_and_a_quoted_one_keeps_its_quotes() {
        assert_eq!(name(b"a\\x0ab"), "a\\\\x0ab");
        assert_eq!(name(b"a\nb"), "a\\x0ab");
        assert_eq!(quoted(b"x', O_RDONLY) = 0"), "`x\\', O_RDONLY) = 0'");
    }

    #[test]
    fn nothing_is_longer_than_its_limit() {
        assert_eq!(name(&[b'a'; 4096]).len(), 4096);
        assert_eq!(name(&[b'a'; 4097]), format!("{}…", "a".repeat(4096)));
        let wide = "ü".repeat(3000);
        assert_eq!(name(wide.as_bytes()), format!("{}…", "ü".repeat(2048)));
        let cmdline = vec![b"cc".to_vec(), vec![b'x'; 5000], b"last".to_vec()];
        assert_eq!(arguments(&cmdline), ["cc".into(), format!("{}…", "x".repeat(1021)), "…".into()]);
    }
}
