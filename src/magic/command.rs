//! What can be said, whatever the dialect.
#![forbid(unsafe_code)]

use std::fmt;

use super::options::OptionId;
use crate::policy::{ListId, Pattern, shown};

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// `/dev/sydbox` alone: is magic allowed?
    Check,
    /// A number: is this API spoken?
    Api(u32),
    /// Gives an option a value.
    Set(OptionId, Value),
    /// Asks for an option.
    Query(OptionId),
    /// Switches an option that is a mode off, or from off to deny.
    Toggle(OptionId),
    /// Opens a system call that is refused otherwise, or closes it again.
    Open(&'static str, bool),
    /// Asks whether a system call was opened.
    IsOpen(&'static str),
    /// Appends a rule.
    Append(ListId, Pattern),
    /// Removes a rule.
    Remove(ListId, Pattern),
    /// Runs a program outside the sandbox: it, and its arguments.
    Exec(Vec<Vec<u8>>),
}

/// The value of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    /// True or false.
    Bool(bool),
    /// A number.
    Int(i32),
    /// An amount.
    Amount(u64),
    /// One of the option's words.
    Word(&'static str),
}

/// What separates the arguments of `cmd/exec`.
pub(super) const SEPARATOR: u8 = 0o37;

/// What the name of a system call follows, to open it.
pub(super) const OPEN: &str = "core/trace/allow/";

impl Command {
    /// The command in the section dialect; parsing it gives the same command.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let rule = |list: &ListId, operator: &[u8], pattern: &Pattern| {
            [list.name().as_bytes(), operator, pattern.text()].concat()
        };
        match self {
            Self::Check => Vec::new(),
            Self::Api(number) => number.to_string().into_bytes(),
            Self::Set(option, value) => format!("{}:{value}", option.name()).into_bytes(),
            Self::Query(option) => format!("{}?", option.name()).into_bytes(),
            // The one verb that the section dialect has no words for.
            Self::Toggle(_) => b"toggle".to_vec(),
            Self::Open(call, open) => format!("{OPEN}{call}:{open}").into_bytes(),
            Self::IsOpen(call) => format!("{OPEN}{call}?").into_bytes(),
            Self::Append(list, pattern) => rule(list, b"+", pattern),
            Self::Remove(list, pattern) => rule(list, b"-", pattern),
            Self::Exec(words) => [b"cmd/exec!", &words.join(&SEPARATOR)[..]].concat(),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.to_bytes();
        match std::str::from_utf8(&bytes) {
            Ok(text) if !text.chars().any(char::is_control) => f.write_str(text),
            _ => f.write_str(&shown(&bytes)),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Amount(value) => value.fmt(f),
            Self::Word(value) => f.write_str(value),
        }
    }
}
