//! What is trapped.
#![forbid(unsafe_code)]
#![allow(dead_code)]
mod row;

/// `AUDIT_ARCH_I386`.
pub(crate) const AUDIT_ARCH_I386: u32 = 0x4000_0003;
