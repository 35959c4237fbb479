//! The second lock: a Landlock domain in which everything that the broker mediates is refused everywhere.
//!
//! The supervisor stays outside of it, so what it does for a caller succeeds, and what nobody thought of is refused
//! by the kernel. Which rights are handled follows from the same [`Shape`] as the filter.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;

use landlock::{ABI, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};

use crate::gate::Shape;
use crate::sys::process;

/// Whether this kernel scopes signals (Linux 6.12): elsewhere a ruleset of nothing else is none.
fn can_scope() -> bool {
    let scope = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).scope(Scope::Signal);
    scope.and_then(Ruleset::create).is_ok()
}

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
    // The supervisor is to be out of reach whatever it decides about.
    if files.is_empty() && !network && !(shape.exec && can_scope()) {
        return Ok(None);
    }
    if !files.is_empty() {
        ruleset = ruleset.handle_access(files)?;
    }
    if network {
        ruleset = ruleset.handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?;
        ruleset = ruleset.scope(Scope::AbstractUnixSocket)?;
    }
    Ok(ruleset.scope(Scope::Signal)?.create()?.into())
}
