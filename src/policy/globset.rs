//! Patterns with wildcards, all of a list compiled to one automaton.
//!
//! `fnmatch-regex` translates the runs of text and `?`. What it reads otherwise than the magic language does is
//! split off before: its `*` crosses slashes, it knows no `[^…]` nor `[[:alpha:]]`, it lets `[` and `&&` through
//! into the regular expression, takes braces for alternatives, and wants UTF-8.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use regex::bytes::{RegexSet, RegexSetBuilder};

use super::glob::{Class, Parsed, Piece, RAW};

/// The automaton of one list may become this large; the caps of the lists keep it far below.
const SIZE_LIMIT: usize = 64 << 20;

/// The automaton could not be built: nothing can be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

/// Patterns with wildcards, in the order of their rules.
#[derive(Debug, Default)]
pub(crate) struct GlobSet {
    patterns: Vec<Arc<Parsed>>,
    fold: bool,
    /// For names that are UTF-8, and for others: there `?` is one byte.
    compiled: [OnceLock<Result<RegexSet, Broken>>; 2],
}

impl GlobSet {
    /// The set of these patterns; `fold`: of their lower case, to match names in lower case.
    pub(super) fn new(patterns: Vec<Arc<Parsed>>, fold: bool) -> Self {
        Self { patterns, fold, compiled: [OnceLock::new(), OnceLock::new()] }
    }

    /// Whether it is the set of just these patterns.
    pub(super) fn is_of(&self, patterns: &[Arc<Parsed>], fold: bool) -> bool {
        self.fold == fold
            && self.patterns.len() == patterns.len()
            && self.patterns.iter().zip(patterns).all(|(ours, theirs)| Arc::ptr_eq(ours, theirs))
    }

    /// The indices of the patterns that match.
    pub(super) fn matches(&self, name: &[u8]) -> Result<impl DoubleEndedIterator<Item = usize>, Broken> {
        let raw = std::str::from_utf8(name).is_err();
        let compiled = self.compiled[usize::from(raw)].get_or_init(|| self.compile(raw));
        let matches = compiled.as_ref().map_err(|broken| *broken)?.matches(name);
        // `SetMatches` lends its iterator only; the sets are small.
        Ok(matches.iter().collect::<Vec<_>>().into_iter())
    }

    fn compile(&self, raw: bool) -> Result<RegexSet, Broken> {
        let expressions = self.patterns.iter().map(|pattern| regex(pattern, self.fold, raw));
        RegexSetBuilder::new(expressions).size_limit(SIZE_LIMIT).build().map_err(|error| {
            log::error!("rules cannot be compiled, all that they could decide is refused: {error}");
            Broken
        })
    }
}

/// The regular expression of a pattern, for names that are UTF-8 or (`raw`) that are not.
fn regex(pattern: &Parsed, fold: bool, raw: bool) -> String {
    let mut out = String::from(if raw { "(?s-u)\\A(?:" } else { "(?s)\\A(?:" });
    // What fnmatch-regex will translate, collected.
    let mut run = String::new();
    for piece in &pattern.pieces {
        match piece {
            Piece::One => run.push('?'),
            Piece::Text(bytes) => {
                let bytes =
                    if fold { Cow::Owned(bytes.to_ascii_lowercase()) } else { Cow::Borrowed(&**bytes) };
                for &byte in &*bytes {
                    if byte.is_ascii() {
                        if matches!(byte, b'*' | b'?' | b'[' | b'\\' | b'{') {
                            run.push('\\');
                        }
                        run.push(char::from(byte));
                    } else {
                        translate(&mut run, &mut out);
                        let _ = write!(out, "(?-u:\\x{byte:02x})");
                    }
                }
            }
            Piece::Star | Piece::Any | Piece::Class(_) => {
                translate(&mut run, &mut out);
                match piece {
                    Piece::Star => out.push_str("[^/]*"),
                    Piece::Class(class) if fold => push_class(&class.folded(), raw, &mut out),
                    Piece::Class(class) => push_class(class, raw, &mut out),
                    _ => out.push_str(".*"),
                }
            }
        }
    }
    translate(&mut run, &mut out);
    if pattern.tree {
        out.push_str("(?:/.*)?");
    }
    out.push_str(")\\z");
    out
}

/// Moves the translation of `run` to `out`.
fn translate(run: &mut String, out: &mut String) {
    match fnmatch_regex::glob::glob_to_regex_pattern(run) {
        Ok(regex) => {
            let regex = regex.strip_prefix('^').unwrap_or(&regex);
            out.push_str(regex.strip_suffix('$').unwrap_or(regex));
        }
        // Cannot be: only text with its specials quoted, and `?`, is in it. An expression that does not compile
        // refuses.
        Err(_) => out.push('('),
    }
    run.clear();
}

fn push_class(class: &Class, raw: bool, out: &mut String) {
    let mut set = String::new();
    for &(low, high) in &class.ranges {
        // Of the characters, a name that is not UTF-8 can be said to have only ASCII.
        let (base, last) = match (raw, low >= RAW) {
            (true, true) => (RAW, RAW + 0xff),
            (true, false) => (0, 0x7f),
            (false, true) => continue,
            (false, false) => (0, 0x10_ffff),
        };
        if low <= last {
            let _ = write!(set, "\\x{{{:x}}}-\\x{{{:x}}}", low - base, high.min(last) - base);
        }
    }
    let _ = match (class.negated, set.is_empty()) {
        (true, _) => write!(out, "[^{set}/]"),
        (false, true) => write!(out, "[a&&b]"),
        (false, false) => write!(out, "[{set}&&[^/]]"),
    };
}

#[cfg(test)]
mod tests {
    use super::super::glob::parse_path;
    use super::*;

    fn matches(pattern: &str, fold: bool, name: &[u8]) -> bool {
        let parsed = Arc::new(parse_path(pattern.as_bytes()).expect(pattern));
        GlobSet::new(vec![parsed], fold).matches(name).expect("compiled").next().is_some()
    }

    #[test]
    fn each_wildcard_means_what_it_should() {
        for (pattern, yes, no) in [
            ("/a*", &["/a", "/ab", "/a\n"][..], &["/a/", "/a/b", "/b", "/xa"][..]),
            ("/a?c", &["/abc", "/aéc", "/a\nc"], &["/a/c", "/ac", "/abbc"]),
            ("/**/c", &["/a/c", "/a/b/c", "//c"], &["/c", "/a/c/d"]),
            ("/a**", &["/a", "/a/b/c"], &["/b"]),
            ("/a*/***", &["/a", "/ab", "/ab/c", "/ab/c/d"], &["/b", "/"]),
            ("/[a-c]", &["/a", "/c"], &["/d", "/", "/ab"]),
            ("/[!a-c]", &["/d", "/é", "/^"], &["/a", "//"]),
            ("/[^a-c]", &["/d"], &["/a", "/^x", "//"]),
            ("/[+-9]", &["/+", "/5"], &["//"]),
            ("/[[:alpha:]_]", &["/a", "/Z", "/_"], &["/1", "/:", "/é"]),
            ("/[a&&b]", &["/a", "/&", "/b"], &["/c"]),
            ("/[[a]", &["/[", "/a"], &["/]"]),
            ("/[]~^]", &["/]", "/~", "/^"], &["/a"]),
            ("/[à-ü]", &["/é"], &["/e"]),
            ("/x\\*[a]", &["/x*a"], &["/xya"]),
            ("/{a,b}?", &["/{a,b}c"], &["/ac"]),
            ("/a.b?", &["/a.bc"], &["/axbc"]),
            ("/é*", &["/é", "/éa"], &["/e"]),
        ] {
            for name in yes {
                assert!(matches(pattern, false, name.as_bytes()), "{pattern} should match {name:?}");
            }
            for name in no {
                assert!(!matches(pattern, false, name.as_bytes()), "{pattern} should not match {name:?}");
            }
        }
    }

    #[test]
    fn other_encodings_match_by_bytes() {
        assert!(matches("/a?", false, b"/a\xff"));
        assert!(matches("/é?", false, b"/\xc3\xa9\xff"));
        assert!(matches("/?", false, "/é".as_bytes()));
        assert!(!matches("/?", false, b"/\xff\xff"));
        assert!(matches("/*", false, b"/\xff\xfe"));
        assert!(matches("/[!a]", false, b"/\xff"));
        assert!(!matches("/[a-é]", false, b"/\xff"));
    }

    #[test]
    fn case_folds_in_text_and_classes() {
        assert!(matches("/A*[X-Z]", true, b"/aby"));
        assert!(!matches("/A*[!X-Z]", true, b"/aby"));
    }
}
