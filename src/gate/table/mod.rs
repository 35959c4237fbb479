//! Every system call of Linux up to 6.18 on x86-64 and 32-bit x86, and what becomes of it.
//!
//! What is not here gets ENOSYS. A new system call is one row in the file of its family.
#![forbid(unsafe_code)]

/// One row for each name, all alike.
macro_rules! names {
    ($row:path; $($name:tt)*) => { [$($row(stringify!($name))),*] };
}

mod allowed;
mod attributes;
mod devices;
mod files;
mod network;
mod process;
mod refused;

use super::row::Row;

/// The families.
static FAMILIES: [&[Row]; 10] = [
    files::ROWS,
    attributes::ROWS,
    devices::ROWS,
    network::ROWS,
    process::ROWS,
    process::SIGNALS,
    refused::ROWS,
    refused::DEAD,
    allowed::ROWS,
    allowed::NEWER,
];

/// All rows.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    FAMILIES.into_iter().flatten()
}

#[cfg(test)]
mod tests;
