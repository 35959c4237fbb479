//! Addresses.
#![forbid(unsafe_code)]

use super::cx::{Answer, Cx};
use crate::sys::Errno;
use crate::tracee::Result;

macro_rules! todo_ops { ($($n:ident)*) => { $(pub(super) fn $n(_: &mut Cx<'_>) -> Result<Answer> { Err(Errno::ENOSYS.into()) })* } }
todo_ops!(bind connect listen sendto sendmsg sendmmsg socketcall socket);
