//! Bytes that came from outside, made fit to print or to paste.
#![forbid(unsafe_code)]

use std::fmt::Write as _;

/// Whether this character may go to a terminal as it is: no controls, nothing that reorders or hides text.
fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// The bytes as printable text; what is not printable becomes `\xHH`, a backslash two.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' {
                text.push_str("\\\\");
            } else if is_plain(c) {
                text.push(c);
            } else {
                let mut buffer = [0; 4];
                c.encode_utf8(&mut buffer).bytes().for_each(|byte| hex(&mut text, byte));
            }
        }
        chunk.invalid().iter().for_each(|byte| hex(&mut text, *byte));
    }
    text
}

fn hex(text: &mut String, byte: u8) {
    // Writing to a String cannot fail.
    let _ = write!(text, "\\x{byte:02x}");
}

/// A pattern that matches exactly these bytes.
pub(crate) fn quote(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        if matches!(byte, b'*' | b'?' | b'[' | b'\\') {
            text.push(b'\\');
        }
        text.push(byte);
    }
    text
}

/// A pattern as printable text that still matches what the pattern matches: a character that cannot be shown
/// becomes `?`.
pub(crate) fn printable(pattern: &[u8]) -> String {
    let mut text = String::with_capacity(pattern.len());
    for chunk in pattern.utf8_chunks() {
        text.extend(chunk.valid().chars().map(|c| if is_plain(c) { c } else { '?' }));
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

/// A printable pattern for exactly this path, which survives being pasted into a profile: there a `#` after a
/// blank begins a comment, `${` a variable, and blanks at the end are dropped.
pub(crate) fn pasteable(path: &[u8]) -> String {
    let quoted = quote(path);
    let mut guarded = Vec::with_capacity(quoted.len());
    for (i, &byte) in quoted.iter().enumerate() {
        let after_blank = i > 0 && quoted[i - 1].is_ascii_whitespace();
        let variable = byte == b'$' && quoted.get(i + 1) == Some(&b'{');
        let last_blank = byte == b' ' && i + 1 == quoted.len();
        if (byte == b'#' && after_blank) || variable || last_blank {
            guarded.push(b'\\');
        }
        guarded.push(byte);
    }
    printable(&guarded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hostile_is_shown() {
        assert_eq!(shown(b"/tmp/a\nb"), "/tmp/a\\x0ab");
        assert_eq!(shown(b"\x1b[31m\xff\\"), "\\x1b[31m\\xff\\\\");
        assert_eq!(shown("\u{202e}é".as_bytes()), "\\xe2\\x80\\xaeé");
    }

    #[test]
    fn patterns_stay_patterns() {
        assert_eq!(quote(b"/a*?[b\\"), b"/a\\*\\?\\[b\\\\");
        assert_eq!(printable(b"/a\nb\xff"), "/a?b?");
        assert_eq!(pasteable(b"/a #${x} "), "/a \\#\\${x}\\ ");
    }
}
