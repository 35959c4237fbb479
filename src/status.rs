//! What is really enforced here, class by class: a value, not a log line.
#![forbid(unsafe_code)]

/// What this machine can enforce.
#[derive(Debug, Clone)]
pub struct Status {}
