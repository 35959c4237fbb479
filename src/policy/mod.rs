//! What is allowed: modes, rules and decisions. Pure data: no system call, no file, no panic.
//!
//! A [`State`] is immutable once shared; a change makes a new one, and the lists it did not touch stay shared.
#![forbid(unsafe_code)]

mod address;
mod escape;
mod glob;
mod globset;
mod hint;
mod list;
mod mode;
mod network;
mod path;
#[cfg(test)]
mod reference;
mod services;
mod state;

pub(crate) use address::Address;
pub(crate) use escape::{quote, shown};
pub(crate) use glob::PatternError;
pub(crate) use list::RuleError;
pub(crate) use mode::{Access, Action, Lock, Mode, NetMode, NetOp, NoWildcard, OnViolation};
pub(crate) use network::{AddressPattern, address_aliases};
pub(crate) use path::{PathPattern, is_within};
pub(crate) use services::install as install_services;
pub(crate) use state::{Decision, ExecRule, ListId, Pattern, State};
