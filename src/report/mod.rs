//! Violations.
#![forbid(unsafe_code)]

/// Where violations go.
pub trait Sink: Send + Sync {}
