//! The magic language: text to command, command to new state.
//!
//! Three dialects are understood, and all become the same commands: sections (`core/sandbox/write:deny`), verbs
//! (`enable_path`) and the words of the first API (`sandbox/net`).
#![forbid(unsafe_code)]

mod apply;
mod command;
mod options;
mod parse;
#[cfg(test)]
mod tests;
mod verbs;

pub(crate) use apply::{Arming, Outcome, Refusal, apply, apply_to};
pub(crate) use command::Command;
pub(crate) use options::options;
pub(crate) use parse::{SyntaxError, argument, parse};
