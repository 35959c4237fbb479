//! What is trapped.
//!
//! One declarative [table] says of every system call what becomes of it. [`compile`] makes the seccomp
//! program from it and [`lookup`] tells the broker what a notified call is. A call that the table does
//! not name gets ENOSYS, so a kernel newer than the table opens no door.
#![forbid(unsafe_code)]

mod abi;
mod assembler;
pub(crate) mod capabilities;
mod filter;
mod row;
#[cfg(test)]
mod simulate;
mod table;

pub(crate) use abi::{Abi, lookup};

pub(crate) use filter::{Filter, compile_without};
pub(crate) use row::{Action, At, Call, Op, Row, Shape};
pub(crate) use table::{closed, openable, opened};

/// `AUDIT_ARCH_I386` of linux/audit.h.
pub(crate) const AUDIT_ARCH_I386: u32 = Abi::I386.audit();
