//! Path patterns, and the index that finds the last of many that matches.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::glob::{self, Parsed, PatternError, Piece};
use super::globset::{Broken, GlobSet};

/// A pattern for canonical paths. Equal patterns have the same normal spelling.
#[derive(Debug, Clone)]
pub(crate) struct PathPattern {
    text: Arc<[u8]>,
    shape: Shape,
}

/// What a pattern comes to.
#[derive(Debug, Clone)]
enum Shape {
    /// Just this name.
    Exact(Box<[u8]>),
    /// `DIR/***`: it and everything below.
    Tree(Box<[u8]>),
    /// `DIR/**`: everything below.
    Below(Box<[u8]>),
    /// Anything else.
    Glob(Arc<Parsed>),
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PathPattern {}

impl PathPattern {
    /// Reads a pattern for paths.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, PatternError> {
        glob::parse_path(text).map(Self::new)
    }

    /// Reads a pattern for names that are not paths.
    pub(super) fn parse_raw(text: &[u8]) -> Result<Self, PatternError> {
        glob::parse_raw(text).map(Self::new)
    }

    /// The pattern of this very path and of everything below it; wildcards in it are ordinary characters.
    pub(crate) fn tree(path: &[u8]) -> Result<Self, PatternError> {
        let mut text = super::escape::quote(path);
        text.extend(b"/***");
        Self::parse(&text)
    }

    fn new(parsed: Parsed) -> Self {
        let text = glob::render(&parsed).into();
        let shape = match (parsed.pieces.as_slice(), parsed.tree) {
            ([], false) => Shape::Exact(Box::default()),
            ([Piece::Text(path)], false) => Shape::Exact(path.clone()),
            ([Piece::Text(path)], true) => Shape::Tree(path.clone()),
            ([Piece::Text(path), Piece::Any], false)
                if path.first() == Some(&b'/') && path.ends_with(b"/") =>
            {
                match path.split_last() {
                    Some((_, dir)) if !dir.is_empty() => Shape::Below(dir.into()),
                    _ => Shape::Tree(path.clone()),
                }
            }
            _ => Shape::Glob(Arc::new(parsed)),
        };
        Self { text, shape }
    }

    /// The normal spelling.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// As `no_wildcard:prefix` reads it: a pattern without wildcards is everything below, too.
    pub(super) fn into_prefix(self) -> Self {
        match self.shape {
            Shape::Exact(path) => Self::new(Parsed { pieces: vec![Piece::Text(path)], tree: true }),
            _ => self,
        }
    }

    /// How many wildcards it has that an automaton must follow.
    pub(super) fn weight(&self) -> usize {
        match &self.shape {
            Shape::Glob(parsed) => {
                parsed.pieces.iter().filter(|piece| !matches!(piece, Piece::Text(_))).count()
            }
            _ => 0,
        }
    }

    /// Whether it covers at least all that is at or below `dir`.
    pub(super) fn covers_tree(&self, dir: &[u8]) -> bool {
        matches!(&self.shape, Shape::Tree(top) if is_within(dir, top))
    }

    /// Whether it is just this name.
    pub(super) fn is_exactly(&self, path: &[u8]) -> bool {
        matches!(&self.shape, Shape::Exact(name) if **name == *path)
    }

    /// Whether it can match `path` or something below it: judged by what is in front of its first wildcard.
    pub(super) fn can_touch(&self, path: &[u8]) -> bool {
        match &self.shape {
            Shape::Exact(name) => is_within(name, path),
            Shape::Tree(dir) | Shape::Below(dir) => is_within(dir, path) || is_within(path, dir),
            Shape::Glob(parsed) => {
                let literal = match parsed.pieces.first() {
                    Some(Piece::Text(text)) => &**text,
                    _ => b"",
                };
                literal.starts_with(path) || path.starts_with(literal)
            }
        }
    }

    /// The literal directory or name it is about, if it is about one.
    pub(super) fn anchor(&self) -> Option<&[u8]> {
        match &self.shape {
            Shape::Exact(path) | Shape::Tree(path) | Shape::Below(path) => Some(path),
            Shape::Glob(_) => None,
        }
    }

    /// Whether what it matches lies at or below `dir`, as far as its components before a `**` say.
    pub(super) fn lies_within(&self, dir: &[u8]) -> bool {
        let parsed = match &self.shape {
            Shape::Exact(path) | Shape::Tree(path) | Shape::Below(path) => return is_within(path, dir),
            Shape::Glob(parsed) => parsed,
        };
        let mut ours = components(&parsed.pieces).into_iter();
        for name in dir.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            match ours.next() {
                Some(component) if component_matches(&component, name) => {}
                _ => return false,
            }
        }
        true
    }
}

/// Whether `path` is `dir` or below it.
pub(crate) fn is_within(path: &[u8], dir: &[u8]) -> bool {
    match path.strip_prefix(dir) {
        Some(rest) => rest.is_empty() || dir == b"/" || rest.first() == Some(&b'/'),
        None => false,
    }
}

/// The components of a pattern up to one with `**`.
fn components(pieces: &[Piece]) -> Vec<Vec<Piece>> {
    let mut all = Vec::new();
    let mut current = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Any => return all,
            Piece::Text(text) => {
                for (i, part) in text.split(|byte| *byte == b'/').enumerate() {
                    if i > 0 && !current.is_empty() {
                        all.push(std::mem::take(&mut current));
                    }
                    if !part.is_empty() {
                        current.push(Piece::Text(part.into()));
                    }
                }
            }
            _ => current.push(piece.clone()),
        }
    }
    if !current.is_empty() {
        all.push(current);
    }
    all
}

/// Whether a component of a pattern matches a component of a path.
fn component_matches(pieces: &[Piece], name: &[u8]) -> bool {
    let character = |rest: &[u8]| match (std::str::from_utf8(name).is_ok(), rest.first()) {
        (_, None) => None,
        (true, _) => {
            let chunk = rest.utf8_chunks().next()?;
            chunk.valid().chars().next().map(|c| (u32::from(c), c.len_utf8()))
        }
        (false, Some(byte)) if byte.is_ascii() => Some((u32::from(*byte), 1)),
        (false, Some(byte)) => Some((glob::RAW + u32::from(*byte), 1)),
    };
    // Where to try again: the pieces after the last star, and one byte more of the name under the star.
    let mut retry: Option<(usize, usize)> = None;
    let (mut piece, mut at) = (0, 0);
    loop {
        let rest = name.get(at..).unwrap_or_default();
        let step = match pieces.get(piece) {
            None if rest.is_empty() => return true,
            None => None,
            Some(Piece::Text(text)) => rest.starts_with(text).then_some(text.len()),
            Some(Piece::One) => character(rest).map(|(_, length)| length),
            Some(Piece::Class(class)) => character(rest).filter(|(unit, _)| class.has(*unit)).map(|(_, n)| n),
            Some(Piece::Star | Piece::Any) => {
                retry = Some((piece + 1, at));
                Some(0)
            }
        };
        match (step, retry) {
            (Some(length), _) => (piece, at) = (piece + 1, at + length),
            (None, Some((after, from))) if from < name.len() => {
                retry = Some((after, from + 1));
                (piece, at) = (after, from + 1);
            }
            (None, _) => return false,
        }
    }
}

/// For one name: the positions plus one of the last rules that are about it; 0 is none.
#[derive(Debug, Default, Clone, Copy)]
struct Entry {
    exact: u32,
    tree: u32,
    below: u32,
}

/// Finds the last pattern that matches, in a time that does not depend on how many there are.
#[derive(Debug, Default)]
pub(crate) struct PathIndex {
    fold: bool,
    entries: HashMap<Box<[u8]>, Entry>,
    /// One bit for each length that a key of `entries` has, so that other prefixes need not be hashed.
    lengths: Vec<u64>,
    globs: Arc<GlobSet>,
    /// The position plus one of each glob.
    positions: Vec<u32>,
}

impl PathIndex {
    /// The index of these patterns at their positions, which rise. `older` is reused where it has the same globs.
    pub(super) fn new<'a>(
        patterns: impl Iterator<Item = (u32, &'a PathPattern)>,
        fold: bool,
        older: Option<&Arc<GlobSet>>,
    ) -> Self {
        let mut index = Self { fold, ..Self::default() };
        let mut globs = Vec::new();
        for (position, pattern) in patterns {
            let position = position.saturating_add(1);
            match &pattern.shape {
                Shape::Exact(path) => index.entry(path).exact = position,
                Shape::Tree(path) => index.entry(path).tree = position,
                Shape::Below(path) => index.entry(path).below = position,
                Shape::Glob(parsed) => {
                    globs.push(parsed.clone());
                    index.positions.push(position);
                }
            }
        }
        index.globs = match older {
            Some(older) if older.is_of(&globs, fold) => older.clone(),
            _ => Arc::new(GlobSet::new(globs, fold)),
        };
        index
    }

    /// The automaton, for the index that will replace this one.
    pub(super) fn globs(&self) -> &Arc<GlobSet> {
        &self.globs
    }

    fn entry(&mut self, path: &[u8]) -> &mut Entry {
        let key = if self.fold { path.to_ascii_lowercase() } else { path.to_vec() };
        let word = key.len() / 64;
        if self.lengths.len() <= word {
            self.lengths.resize(word + 1, 0);
        }
        self.lengths[word] |= 1 << (key.len() % 64);
        self.entries.entry(key.into()).or_default()
    }

    fn get(&self, key: &[u8]) -> Entry {
        let word = self.lengths.get(key.len() / 64).copied().unwrap_or_default();
        if word & (1 << (key.len() % 64)) == 0 {
            return Entry::default();
        }
        self.entries.get(key).copied().unwrap_or_default()
    }

    /// The position of the last pattern that matches this name.
    pub(super) fn last(&self, name: &[u8]) -> Result<Option<u32>, Broken> {
        let name = if self.fold { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) };
        let mut best = 0;
        if !self.entries.is_empty() {
            let whole = self.get(&name);
            best = whole.exact.max(whole.tree);
            for (i, _) in name.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
                // The root is the only directory whose own name ends in a slash.
                let entry = self.get(if i == 0 { &name[..1] } else { &name[..i] });
                best = best.max(entry.tree).max(entry.below);
            }
        }
        // The automaton is only asked if its last rule could still change the answer.
        if self.positions.last().is_some_and(|last| *last > best) {
            let last = self.globs.matches(&name)?.next_back().and_then(|i| self.positions.get(i));
            best = best.max(last.copied().unwrap_or_default());
        }
        Ok(best.checked_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_not_a_prefix() {
        assert!(is_within(b"/a", b"/a") && is_within(b"/a/b", b"/a") && is_within(b"/a", b"/"));
        assert!(!is_within(b"/ab", b"/a") && !is_within(b"/", b"/a"));
    }

    #[test]
    fn patterns_lie_within_directories() {
        for (pattern, dir, expected) in [
            ("/w/p/secret/***", "/w/p", true),
            ("/w/p/secret/***", "/w", true),
            ("/w/p/secret/***", "/", true),
            ("/w/p/secret/***", "/w/p/secret", true),
            ("/w/p/secret/***", "/w/p/secret/x", false),
            ("/w/p/secret/***", "/w/pp", false),
            ("/w/*/secret/***", "/w/p", true),
            ("/w/*/secret/***", "/w/p/public", false),
            ("/w/[a-c]?*x/s/***", "/w/bééyx", true),
            ("/w/[a-c]?*x/s/***", "/w/beey", false),
            ("/w/**/secret", "/w/p", false),
            ("/w/**/secret", "/w", true),
            ("/w/p/**", "/w/p", true),
        ] {
            let parsed = PathPattern::parse(pattern.as_bytes()).expect(pattern);
            assert_eq!(parsed.lies_within(dir.as_bytes()), expected, "{pattern} within {dir}");
        }
    }

    #[test]
    fn patterns_touch_trees() {
        for (pattern, path, expected) in [
            ("/w/a", "/w", true),
            ("/w/a", "/w/a", true),
            ("/w/a", "/w/a/b", false),
            ("/w/a/***", "/w/a/b", true),
            ("/w/a/**", "/w/a/b", true),
            ("/w/a/***", "/w/b", false),
            ("/w/*.o", "/w", true),
            ("/w/*.o", "/w/a", true),
            ("/w/x*.o", "/w/a", false),
            ("/w/x*", "/w/xa/b", true),
            ("/**/a", "/w", true),
        ] {
            let parsed = PathPattern::parse(pattern.as_bytes()).expect(pattern);
            assert_eq!(parsed.can_touch(path.as_bytes()), expected, "{pattern} and {path}");
        }
    }

    #[test]
    fn the_last_match_is_found() {
        let patterns: Vec<_> = ["/***", "/a/**", "/a/b", "/a/*.c", "/a/x.c/***", "/a[b]/***"]
            .map(|text| PathPattern::parse(text.as_bytes()).expect(text))
            .into();
        let index = PathIndex::new((0..).zip(&patterns), false, None);
        for (path, expected) in [
            ("/", 0),
            ("/a", 0),
            ("/a/z", 1),
            ("/a/b", 2),
            ("/a/b/c", 1),
            ("/a/y.c", 3),
            ("/a/x.c", 4),
            ("/ab", 5),
        ] {
            assert_eq!(index.last(path.as_bytes()), Ok(Some(expected)), "{path}");
        }
        assert_eq!(PathIndex::default().last(b"/a"), Ok(None));
    }
}
