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

use super::row::{Action, Opening, Row};

/// The families.
pub(super) static FAMILIES: [&[Row]; 10] = [
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

/// A call that a profile may open.
pub(crate) fn opened(name: &str) -> Option<(&'static str, Opening)> {
    openable().find(|(openable, _)| *openable == name)
}

/// Every call that a profile may open.
pub(crate) fn openable() -> impl Iterator<Item = (&'static str, Opening)> {
    rows().filter_map(|row| Some((row.name, row.opening?)))
}

/// Why a call cannot be opened, if there is such a call.
pub(crate) fn closed(name: &str) -> Option<&'static str> {
    let row = rows().find(|row| row.name == name)?;
    match row.otherwise {
        Action::Refuse(_, why) if row.rules.is_empty() => Some(why),
        _ => Some("it is not among those that are refused whatever their arguments"),
    }
}

#[cfg(test)]
mod tests;
