//! sys
pub(crate) mod inherit;
pub(crate) mod probe;
pub(crate) mod signals;
