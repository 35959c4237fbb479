//! Text to command.
#![forbid(unsafe_code)]

use std::fmt;

use super::command::{Command, OPEN, SEPARATOR, Value};
use super::options::{Kind, LISTS, OptionId};
use super::verbs;
use crate::gate;
use crate::policy::{AddressPattern, ListId, PathPattern, Pattern, PatternError, shown};

/// A command may be this long.
pub(crate) const MAX_LENGTH: usize = 64 << 10;

/// Text that is no command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// The offending byte, counted from one.
    pub(crate) column: usize,
    /// What was expected there.
    pub(crate) message: String,
}

impl SyntaxError {
    /// An error at this offset.
    pub(super) fn at(offset: usize, message: impl Into<String>) -> Self {
        Self { column: offset.saturating_add(1), message: message.into() }
    }

    /// An error of a pattern that begins at this offset.
    pub(super) fn of_pattern(offset: usize, error: PatternError) -> Self {
        Self::at(offset.saturating_add(error.offset), error.message)
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.message)
    }
}

/// Parses what follows `/dev/sydbox/`; nothing is the check.
pub(crate) fn parse(text: &[u8]) -> Result<Command, SyntaxError> {
    if text.is_empty() {
        return Ok(Command::Check);
    }
    if text.len() > MAX_LENGTH {
        return Err(SyntaxError::at(MAX_LENGTH, format!("expected at most {MAX_LENGTH} bytes")));
    }
    if let Some(at) = text.iter().position(|byte| *byte == 0) {
        return Err(SyntaxError::at(at, "expected a command without a NUL byte"));
    }
    if text.iter().all(u8::is_ascii_digit) {
        // A number too large for the type is as unknown as the largest.
        let digits = std::str::from_utf8(text).unwrap_or_default();
        return Ok(Command::Api(digits.parse().unwrap_or(u32::MAX)));
    }
    if let Some(rest) = text.strip_prefix(OPEN.as_bytes()) {
        return opening(rest, OPEN.len());
    }
    match section(text) {
        Some((target, end)) => operation(target, text, end),
        None => verbs::parse(text).unwrap_or_else(|| Err(unknown(text))),
    }
}

/// Where the argument of a command begins, and whether it is a pattern: there names have to be quoted, while the
/// paths of verbs are taken literally. `None`: no known command begins so.
pub(crate) fn argument(text: &[u8]) -> Option<(usize, bool)> {
    match section(text) {
        Some((_, end)) => Some(((end + 1).min(text.len()), true)),
        None => verbs::argument(text),
    }
}

/// What a section names.
#[derive(Clone, Copy)]
enum Target {
    Option(OptionId),
    List(ListId),
    Exec,
}

/// Every name of the section dialect.
fn names() -> impl Iterator<Item = (&'static str, Target)> {
    let options =
        OptionId::all().flat_map(|id| id.row().names.iter().map(move |name| (*name, Target::Option(id))));
    let lists = LISTS.iter().flat_map(|row| {
        let names = row.aliases.iter().copied().chain([row.id.name()]);
        names.map(|name| (name, Target::List(row.id)))
    });
    options.chain(lists).chain([("cmd/exec", Target::Exec)])
}

/// The name that the text begins with, which an operator (or nothing) follows, and where it ends.
fn section(text: &[u8]) -> Option<(Target, usize)> {
    let end = text.iter().position(is_operator).unwrap_or(text.len());
    let (_, target) = names().find(|(name, _)| name.as_bytes() == &text[..end])?;
    Some((target, end))
}

/// What no name has in it.
fn is_operator(byte: &u8) -> bool {
    matches!(byte, b':' | b'?' | b'+' | b'-' | b'!')
}

fn operation(target: Target, text: &[u8], end: usize) -> Result<Command, SyntaxError> {
    let operator = text.get(end).copied();
    let start = (end + 1).min(text.len());
    let argument = &text[start..];
    match (target, operator) {
        (Target::Option(option), Some(b':')) => Ok(Command::Set(option, value(option, argument, start)?)),
        (Target::Option(option), Some(b'?')) if option.row().query => match argument {
            [] => Ok(Command::Query(option)),
            _ => Err(SyntaxError::at(start, "expected nothing after `?`")),
        },
        (Target::Option(option), _) if option.row().query => {
            Err(SyntaxError::at(end, "expected `:VALUE` or `?`"))
        }
        (Target::Option(_), _) => Err(SyntaxError::at(end, "expected `:VALUE`")),
        (Target::List(list), Some(b'+')) => Ok(Command::Append(list, pattern(list, argument, start)?)),
        (Target::List(list), Some(b'-')) => Ok(Command::Remove(list, pattern(list, argument, start)?)),
        (Target::List(list), _) => {
            let what = if list.is_of_addresses() { "ADDRESS" } else { "PATTERN" };
            Err(SyntaxError::at(end, format!("expected `+{what}` or `-{what}`")))
        }
        (Target::Exec, Some(b'!')) => exec(argument, start),
        (Target::Exec, _) => Err(SyntaxError::at(end, "expected `!PROGRAM`")),
    }
}

/// Reads the name of a system call, which begins at offset `start`, and whether it is to be open.
fn opening(text: &[u8], start: usize) -> Result<Command, SyntaxError> {
    let end = text.iter().position(|byte| matches!(byte, b':' | b'?')).unwrap_or(text.len());
    let name = std::str::from_utf8(&text[..end]).unwrap_or_default();
    let Some((name, _)) = gate::opened(name) else {
        let message = match gate::closed(name) {
            Some(why) => format!("{name} cannot be opened: {why}"),
            None => {
                let names: Vec<_> = gate::openable().map(|(name, _)| name).collect();
                format!("expected the name of a system call: {}", alternatives(&names))
            }
        };
        return Err(SyntaxError::at(start, message));
    };
    match (text.get(end), text.get(end + 1..).unwrap_or_default()) {
        (Some(b':'), value) => match boolean(value) {
            Some(open) => Ok(Command::Open(name, open)),
            None => Err(SyntaxError::at(start + end + 1, "expected true or false")),
        },
        (Some(b'?'), []) => Ok(Command::IsOpen(name)),
        (Some(b'?'), _) => Err(SyntaxError::at(start + end + 1, "expected nothing after `?`")),
        _ => Err(SyntaxError::at(start + end, "expected `:VALUE` or `?`")),
    }
}

fn boolean(text: &[u8]) -> Option<bool> {
    match text {
        b"true" | b"t" | b"1" | b"on" | b"yes" => Some(true),
        b"false" | b"f" | b"0" | b"off" | b"no" => Some(false),
        _ => None,
    }
}

/// Reads program and arguments, which begin at offset `start`.
pub(super) fn exec(argument: &[u8], start: usize) -> Result<Command, SyntaxError> {
    let words: Vec<_> = argument.split(|byte| *byte == SEPARATOR).map(<[u8]>::to_vec).collect();
    match words.first() {
        Some(program) if !program.is_empty() => Ok(Command::Exec(words)),
        _ => Err(SyntaxError::at(start, "expected a program to run")),
    }
}

/// Reads a pattern of this list, which begins at offset `start`.
pub(super) fn pattern(list: ListId, text: &[u8], start: usize) -> Result<Pattern, SyntaxError> {
    let pattern = if list.is_of_addresses() {
        AddressPattern::parse(text).map(Pattern::Address)
    } else {
        PathPattern::parse(text).map(Pattern::Path)
    };
    pattern.map_err(|error| SyntaxError::of_pattern(start, error))
}

fn value(option: OptionId, text: &[u8], start: usize) -> Result<Value, SyntaxError> {
    let boolean = boolean(text).map(Value::Bool);
    let text = std::str::from_utf8(text).ok();
    match option.row().kind {
        Kind::Bool => boolean.ok_or_else(|| SyntaxError::at(start, "expected true or false")),
        Kind::Int => match text.map(str::parse::<i32>) {
            Some(Ok(number @ -1..=255)) => Ok(Value::Int(number)),
            _ => Err(SyntaxError::at(start, "expected a number from -1 to 255")),
        },
        Kind::Amount => text.and_then(amount).map(Value::Amount).ok_or_else(|| {
            SyntaxError::at(start, "expected a number, with K, M or G behind it for powers of 1024")
        }),
        Kind::Words(words) => {
            // API 2 has a mode that denies without asking rules.
            let modes = words.len() > 2 && words[..3] == ["off", "allow", "deny"];
            let text = if modes && text == Some("bpf") { Some("deny") } else { text };
            let found = words.iter().find(|word| Some(**word) == text);
            found
                .map(|word| Value::Word(word))
                .ok_or_else(|| SyntaxError::at(start, format!("expected {}", alternatives(words))))
        }
        Kind::Ignored if text.is_some_and(str::is_empty) => Err(SyntaxError::at(start, "expected a value")),
        Kind::Ignored => Ok(boolean.unwrap_or(Value::Bool(true))),
    }
}

/// `a, b or c`.
pub(super) fn alternatives(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [words @ .., last] => format!("{} or {last}", words.join(", ")),
    }
}

/// Where unknown text stops being the beginning of something known, and what could have followed there.
fn unknown(text: &[u8]) -> SyntaxError {
    let common = |name: &str| name.bytes().zip(text).take_while(|(ours, theirs)| ours == *theirs).count();
    let known: Vec<&str> = names().map(|(name, _)| name).chain(verbs::names()).collect();
    let longest = known.iter().map(|name| common(name)).max().unwrap_or_default();
    let mut near: Vec<&str> =
        known.into_iter().filter(|name| longest > 3 && common(name) == longest).collect();
    near.sort_unstable();
    near.dedup();
    let given = shown(&text[..text.len().min(64)]);
    let message = match near.len() {
        0 | 9.. => format!("expected a command, `{given}` is none"),
        _ => format!("expected {}; `{given}` is no command", alternatives(&near)),
    };
    SyntaxError::at(longest, message)
}

/// A number with an optional suffix.
fn amount(text: &str) -> Option<u64> {
    let (digits, shift) = match text.strip_suffix(['K', 'M', 'G']) {
        Some(digits) if text.ends_with('K') => (digits, 10),
        Some(digits) if text.ends_with('M') => (digits, 20),
        Some(digits) => (digits, 30),
        None => (text, 0),
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse::<u64>().ok()?.checked_mul(1 << shift)).flatten()
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_name_has_an_operator_in_it() {
        for (name, _) in super::names() {
            assert!(!name.bytes().any(|byte| super::is_operator(&byte)), "{name}");
        }
    }
}
