//! The second lock: a Landlock domain in which what the broker mediates is refused everywhere, but for opening what the
//! policy allows as a whole ([`super::grants`]).
//!
//! The supervisor stays outside of it, so what it does for a caller succeeds, and what nobody thought of is refused
//! by the kernel. Which rights are handled follows from the same [`Shape`] as the filter.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;

use landlock::{
    ABI, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, Scope,
};

use super::grants::Grants;

use crate::gate::Shape;
use crate::policy::State;
use crate::sys::{probe, process};

/// A ruleset, to be entered by the child, with rules only for what the kernel may open by itself. `None`: this kernel has
/// no Landlock, or nothing is handled.
pub(crate) fn ruleset(shape: &Shape, policy: &State) -> Result<(Option<OwnedFd>, Grants), RulesetError> {
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
        return Ok((None, Grants::default()));
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
    let (grants, granted) = Grants::of(policy, shape);
    let ruleset = ruleset.create()?.add_rules(granted.iter().map(|one| Ok::<_, RulesetError>(one.rule())))?;
    Ok((ruleset.into(), grants))
}

/// Whether the kernel can keep signals in the tree (Linux 6.12): elsewhere the broker judges them.
pub(crate) fn scopes_signals() -> bool {
    probe::landlock_abi().is_ok_and(|abi| abi >= 6)
}
