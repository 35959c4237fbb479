//! The text of a pattern, taken apart and normalised.
#![forbid(unsafe_code)]

use super::escape::quote;

/// How many wildcards one pattern may have.
const MAX_WILDCARDS: usize = 128;
/// In [`Class`]: where bytes that are not UTF-8 are counted from.
pub(super) const RAW: u32 = 0x11_0000;

/// A pattern that is not one: where, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PatternError {
    /// Offset of the offending byte.
    pub(crate) offset: usize,
    /// What was expected.
    pub(crate) message: String,
}

impl PatternError {
    /// An error at this offset.
    pub(super) fn new(offset: usize, message: impl Into<String>) -> Self {
        Self { offset, message: message.into() }
    }

    /// The same error in a text that has `by` bytes more in front.
    pub(super) fn shifted(mut self, by: usize) -> Self {
        self.offset = self.offset.saturating_add(by);
        self
    }
}

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Piece {
    /// These bytes.
    Text(Box<[u8]>),
    /// `?`: one character but `/`.
    One,
    /// `*`: any run without `/`.
    Star,
    /// `**`: any run.
    Any,
    /// `[…]`: one character of a set, never `/`.
    Class(Class),
}

/// A set of characters; a byte that is not UTF-8 counts as [`RAW`] + byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Class {
    pub(super) negated: bool,
    /// Sorted, disjoint, inclusive.
    pub(super) ranges: Vec<(u32, u32)>,
}

impl Class {
    /// Whether the set has this character (or [`RAW`] byte).
    pub(super) fn has(&self, unit: u32) -> bool {
        unit != u32::from(b'/')
            && self.negated != self.ranges.iter().any(|&(low, high)| low <= unit && unit <= high)
    }

    /// The same set for names in lower case.
    pub(super) fn folded(&self) -> Self {
        let (a, z) = (u32::from(b'A'), u32::from(b'Z'));
        let mut ranges = self.ranges.clone();
        for &(low, high) in &self.ranges {
            if low <= z && high >= a {
                ranges.push((low.max(a) + 32, high.min(z) + 32));
            }
        }
        Self { negated: self.negated, ranges: merged(ranges) }
    }
}

/// A pattern taken apart: the pieces, and whether `/***` followed them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) pieces: Vec<Piece>,
    pub(super) tree: bool,
}

/// What the first pass sees.
#[derive(Debug, Clone, PartialEq)]
enum Token {
    Byte(u8),
    One,
    Stars(usize),
    Class(Class),
}

type Placed = (Token, usize);

/// Takes a path pattern apart: slashes fold, `.` components and a trailing slash go, `/***` at the end is a tree.
pub(super) fn parse_path(text: &[u8]) -> Result<Parsed, PatternError> {
    let tokens = tokens(text)?;
    let absolute = match tokens.first() {
        Some((Token::Byte(b'/'), _)) => true,
        Some((Token::Stars(n), _)) if *n > 1 => false,
        _ => return Err(PatternError::new(0, "expected an absolute path")),
    };
    let mut components: Vec<&[Placed]> = Vec::new();
    for component in tokens.split(|(token, _)| *token == Token::Byte(b'/')) {
        match component {
            [] | [(Token::Byte(b'.'), _)] => {}
            [(Token::Byte(b'.'), at), (Token::Byte(b'.'), _)] => {
                return Err(PatternError::new(
                    *at,
                    "expected a path without `..`: canonical paths are matched",
                ));
            }
            _ => components.push(component),
        }
    }
    let tree = matches!(components.last(), Some([(Token::Stars(n), _)]) if *n > 2);
    if tree {
        components.pop();
    }
    let mut joined = Vec::with_capacity(tokens.len());
    for (i, component) in components.iter().enumerate() {
        if absolute || i > 0 {
            joined.push(Token::Byte(b'/'));
        }
        joined.extend(component.iter().map(|(token, _)| token.clone()));
    }
    if joined.is_empty() {
        joined.push(Token::Byte(b'/'));
    }
    Ok(Parsed { pieces: pieces(joined), tree })
}

/// Takes apart a pattern for names that are not paths: nothing is folded.
pub(super) fn parse_raw(text: &[u8]) -> Result<Parsed, PatternError> {
    let tokens = tokens(text)?.into_iter().map(|(token, _)| token).collect();
    Ok(Parsed { pieces: pieces(tokens), tree: false })
}

/// The normal spelling of a pattern; parsing it gives the same again.
pub(super) fn render(parsed: &Parsed) -> Vec<u8> {
    let mut text = Vec::new();
    for piece in &parsed.pieces {
        match piece {
            Piece::Text(bytes) => text.extend(quote(bytes)),
            Piece::One => text.push(b'?'),
            Piece::Star => text.push(b'*'),
            Piece::Any => text.extend(b"**"),
            Piece::Class(class) => render_class(class, &mut text),
        }
    }
    if parsed.tree {
        if text == b"/" {
            text.clear();
        }
        text.extend(b"/***");
    }
    text
}

fn render_class(class: &Class, text: &mut Vec<u8>) {
    let unit = |unit: u32, text: &mut Vec<u8>| match char::from_u32(unit) {
        Some(c) => {
            if matches!(c, '[' | ']' | '\\' | '-' | '!' | '^') {
                text.push(b'\\');
            }
            text.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        None => text.push(unit.wrapping_sub(RAW).to_le_bytes()[0]),
    };
    text.push(b'[');
    if class.negated {
        text.push(b'!');
    }
    for &(low, high) in &class.ranges {
        unit(low, text);
        if high > low {
            text.push(b'-');
            unit(high, text);
        }
    }
    text.push(b']');
}

fn pieces(tokens: Vec<Token>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut run = Vec::new();
    for token in tokens {
        if let Token::Byte(byte) = token {
            run.push(byte);
            continue;
        }
        if !run.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut run).into()));
        }
        pieces.push(match token {
            Token::One => Piece::One,
            Token::Stars(1) => Piece::Star,
            Token::Class(class) => Piece::Class(class),
            Token::Stars(_) | Token::Byte(_) => Piece::Any,
        });
    }
    if !run.is_empty() {
        pieces.push(Piece::Text(run.into()));
    }
    pieces
}

fn tokens(text: &[u8]) -> Result<Vec<Placed>, PatternError> {
    let mut tokens = Vec::with_capacity(text.len());
    let mut wildcards = 0_usize;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let start = at;
        at += 1;
        let token = match byte {
            0 => return Err(PatternError::new(start, "expected a pattern without a NUL byte")),
            b'\\' => {
                let quoted = match text.get(at) {
                    Some(0) | None => {
                        return Err(PatternError::new(start, "expected a character after the backslash"));
                    }
                    Some(&quoted) => quoted,
                };
                at += 1;
                Token::Byte(quoted)
            }
            b'?' => Token::One,
            b'*' => {
                while text.get(at) == Some(&b'*') {
                    at += 1;
                }
                Token::Stars(at - start)
            }
            b'[' => {
                let (class, end) = class(text, start)?;
                at = end;
                Token::Class(class)
            }
            _ => Token::Byte(byte),
        };
        if !matches!(token, Token::Byte(_)) {
            wildcards += 1;
            if wildcards > MAX_WILDCARDS {
                return Err(PatternError::new(start, format!("expected at most {MAX_WILDCARDS} wildcards")));
            }
        }
        tokens.push((token, start));
    }
    Ok(tokens)
}

/// Reads the class that opens at `open`: it, and the offset after it.
fn class(text: &[u8], open: usize) -> Result<(Class, usize), PatternError> {
    let unclosed =
        || PatternError::new(open, "expected a `]` that closes this `[` (or `\\[` for the character)");
    let mut at = open + 1;
    let negated = matches!(text.get(at), Some(b'!' | b'^'));
    if negated {
        at += 1;
    }
    let mut ranges = Vec::new();
    let mut first = true;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        match rest {
            [] => return Err(unclosed()),
            [b']', ..] if !first => {
                return Ok((Class { negated, ranges: merged(ranges) }, at + 1));
            }
            [b'[', b':', name @ ..] => {
                let length = name.windows(2).position(|pair| pair == b":]").ok_or_else(unclosed)?;
                let known = named(&name[..length]).ok_or_else(|| {
                    PatternError::new(at, "expected a class: alnum, alpha, blank, cntrl, digit, graph, lower, print, punct, space, upper or xdigit")
                })?;
                ranges.extend(known);
                at += 2 + length + 2;
            }
            _ => {
                let (low, next) = unit(text, at).ok_or_else(unclosed)?;
                let start = at;
                at = next;
                let high = match text.get(at..) {
                    Some([b'-', after, ..]) if *after != b']' => {
                        let (high, next) = unit(text, at + 1).ok_or_else(unclosed)?;
                        at = next;
                        high
                    }
                    _ => low,
                };
                if low > high || (low < RAW && high >= RAW) {
                    return Err(PatternError::new(start, "expected a range that rises"));
                }
                if low == u32::from(b'/') || high == u32::from(b'/') {
                    return Err(PatternError::new(
                        start,
                        "expected a class without `/`: it never matches one",
                    ));
                }
                ranges.push((low, high));
            }
        }
        first = false;
    }
}

/// Reads one character, or one byte that is none, of a class.
fn unit(text: &[u8], mut at: usize) -> Option<(u32, usize)> {
    if text.get(at) == Some(&b'\\') {
        at += 1;
    }
    let byte = *text.get(at)?;
    if byte == 0 {
        return None;
    }
    let rest = text.get(at..text.len().min(at + 4))?;
    let first = rest.utf8_chunks().next()?;
    Some(match first.valid().chars().next() {
        Some(c) => (u32::from(c), at + c.len_utf8()),
        None => (RAW + u32::from(byte), at + 1),
    })
}

fn named(name: &[u8]) -> Option<Vec<(u32, u32)>> {
    let is: fn(&u8) -> bool = match name {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |byte| byte.is_ascii_graphic() || *byte == b' ',
        b"punct" => u8::is_ascii_punctuation,
        b"space" => |byte| byte.is_ascii_whitespace() || *byte == 0x0b,
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    };
    Some((1..0x80).filter(|byte| *byte != b'/' && is(byte)).map(|byte| (byte.into(), byte.into())).collect())
}

/// Sorted, and what overlaps or touches made one; never across from characters to raw bytes.
fn merged(mut ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
    for (low, high) in ranges {
        match merged.last_mut() {
            Some(last) if low <= last.1.saturating_add(1) && low != RAW => last.1 = last.1.max(high),
            _ => merged.push((low, high)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(text: &str) -> String {
        String::from_utf8(render(&parse_path(text.as_bytes()).expect(text))).expect("text")
    }

    #[test]
    fn spellings_are_normalised() {
        for (written, expected) in [
            ("/", "/"),
            ("//", "/"),
            ("/a//b///c/", "/a/b/c"),
            ("/a/./b/.", "/a/b"),
            ("/a/***", "/a/***"),
            ("/a/***/", "/a/***"),
            ("/a//***", "/a/***"),
            ("/***", "/***"),
            ("***", "/***"),
            ("//***", "/***"),
            ("/a/***/b", "/a/**/b"),
            ("/a***", "/a**"),
            ("/**", "/**"),
            ("**/x", "**/x"),
            ("/\\a\\b\\*", "/ab\\*"),
            ("/[^a-c]", "/[!a-c]"),
            ("/[]a]", "/[\\]a]"),
            ("/[a-]", "/[\\-a]"),
            ("/[[:digit:]x]", "/[0-9x]"),
            ("/[cab]", "/[a-c]"),
            ("/{a,b}", "/{a,b}"),
            ("/...", "/..."),
        ] {
            assert_eq!(normal(written), expected, "{written}");
            assert_eq!(normal(expected), expected, "{written}");
        }
    }

    #[test]
    fn errors_point_at_the_place() {
        for (text, offset) in [
            ("", 0),
            ("a/b", 0),
            ("*/b", 0),
            ("/a/../b", 3),
            ("/a\\", 2),
            ("/a[", 2),
            ("/a[]", 2),
            ("/a[[:foo:]]", 3),
            ("/a[z-a]", 3),
            ("/a[b/c]", 4),
            ("/a\0", 2),
        ] {
            assert_eq!(parse_path(text.as_bytes()).expect_err(text).offset, offset, "{text}");
        }
        assert!(parse_path(format!("/{}", "?".repeat(129)).as_bytes()).is_err());
        assert!(parse_path(format!("/{}", "?".repeat(128)).as_bytes()).is_ok());
    }
}
