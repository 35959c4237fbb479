//! The second lock: a Landlock domain in which everything that the broker mediates is refused everywhere.
//!
//! The supervisor stays outside of it, so what it does for a caller succeeds, and what nobody thought of is refused
//! by the kernel. Which rights are handled follows from the same [`Shape`] as the filter.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;

use landlock::{ABI, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};

use crate::gate::Shape;
use crate::sys::{probe, process};

/// A ruleset without rules, to be entered by the child. `None`: this kernel has no Landlock, or nothing is handled.
pub(crate) fn ruleset(shape: &Shape) -> Result<Option<OwnedFd>, landlock::RulesetError> {
    let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    let mut files = BitFlags::<AccessFs>::empty();
    if shape.write {
        // IOCTL_DEV is no writing; an ioctl that is, is in the filter's table.
        files |= AccessFs::from_write(ABI::V6) & !AccessFs::IoctlDev;
    }
    if shape.read {
        // Not ReadFile: the kernel's own open of a program to execute needs it.
        files |= AccessFs::ReadDir;
    }
    // Where we cannot duplicate the callers' sockets, a domain that refuses them would leave no network at all, even
    // while the policy allows everything; and while it does not, the broker refuses every call.
    let network = shape.network && process::can_duplicate();
    let signals = !shape.signal && scopes_signals();
    if files.is_empty() && !network && !signals {
        return Ok(None);
    }
    if !files.is_empty() {
        ruleset = ruleset.handle_access(files)?;
    }
    if network {
        ruleset = ruleset.handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?;
        ruleset = ruleset.scope(Scope::AbstractUnixSocket)?;
    }
    if signals {
        ruleset = ruleset.scope(Scope::Signal)?;
    }
    Ok(ruleset.create()?.into())
}

/// Whether the kernel can keep signals in the tree (Linux 6.12): elsewhere the broker judges them.
pub(crate) fn scopes_signals() -> bool {
    probe::landlock_abi().is_ok_and(|abi| abi >= 6)
}
