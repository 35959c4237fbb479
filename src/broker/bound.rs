//! Addresses that processes of the sandbox have bound: they may be connected to (`successful_bind`).
#![forbid(unsafe_code)]

/// The addresses bound so far.
#[derive(Debug, Default)]
pub(crate) struct Bound {}
