//! Binding a unix socket by the very text that the caller wrote, which getsockname(2) and getpeername(2) show ever
//! after, and which programs hand on as the socket's address.
//!
//! The kernel resolves that text itself, and the caller may move what is in it meanwhile (I2). So it is done only
//! where that gains nothing: by a thread that enters a Landlock domain in which sockets can be made below the
//! judged directory and nowhere else, and where every name below that directory may be written. There the caller could
//! as well rename the socket.
#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use landlock::{AccessFs, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr};

use super::super::cx::Cx;
use super::Socket;
use super::address::Raw;
use crate::policy::{Access, Decision};
use crate::resolve::Entry;
use crate::sys::{Errno, fs, net, process};
use crate::tracee::Result;

/// Whether the kernel may resolve the caller's text for this name.
pub(super) fn may_be_kept(cx: &Cx<'_>, text: &CStr, cwd: &OwnedFd, entry: &Entry) -> Result<bool> {
    let dir = parent(entry.path.bytes());
    let policy = &cx.state()?.policy;
    Ok(!entry.fixed
        && leads_there(text, cwd, entry).unwrap_or(false)
        && policy.decide_below(Access::Write, dir, None) == Decision::Allow
        && policy.deny_below(Access::Write, dir).is_none()
        // What exists must not be taken for what is made now.
        && fs::lstat(entry.dir.as_fd(), &entry.name) == Err(Errno::ENOENT))
}

/// Whether the text means the same to us: a link of procfs would mean our own directories.
fn leads_there(text: &CStr, cwd: &OwnedFd, entry: &Entry) -> std::result::Result<bool, Errno> {
    let flags = (libc::O_PATH | libc::O_DIRECTORY) as u64;
    let dir = match parent(text.to_bytes()) {
        b"" => fs::c_string(b"/")?,
        dir => fs::c_string(dir)?,
    };
    let dir = fs::openat2(cwd.as_fd(), &dir, flags, 0, libc::RESOLVE_NO_MAGICLINKS)?;
    Ok(fs::fstat(dir.as_fd())?.id == fs::fstat(entry.dir.as_fd())?.id)
}

/// The text before the last slash.
fn parent(path: &[u8]) -> &[u8] {
    &path[..path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)]
}

/// Binds to `text`, which is relative to `cwd`, if that is `entry`. `false`: nothing was done, or in vain.
pub(super) fn bind(socket: &Socket<'_>, text: &CStr, cwd: &OwnedFd, entry: &Entry) -> bool {
    // The domain is for good, so the thread has to be a new one. It has our identity and umask of this moment.
    let bound = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("sydbox-bind".into());
        let run = || {
            process::block_signals();
            confine(&entry.dir)?;
            fs::unshare_fs().ok()?;
            fs::fchdir(cwd.as_fd()).ok()?;
            net::bind(socket.fd(), Raw::unix(text.to_bytes()).bytes()).ok()
        };
        let thread = thread.spawn_scoped(scope, run).ok()?;
        thread.join().ok().flatten()
    });
    bound.is_some()
}

/// Enters a domain in which sockets can be made only below `dir`.
fn confine(dir: &OwnedFd) -> Option<()> {
    let make = AccessFs::MakeSock;
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(make)
        .and_then(Ruleset::create)
        .and_then(|ruleset| ruleset.add_rule(PathBeneath::new(dir, make)))
        .ok()?;
    ruleset.restrict_self().ok().map(|_| ())
}
