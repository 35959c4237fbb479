//! access(2) and its like: programs probe, so a refusal is silent.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;

use super::cx::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, Answer, Cx};
use super::judge;
use crate::policy::Access;
use crate::report::arguments;
use crate::resolve::{self, Base};
use crate::sys::{Errno, fs};
use crate::tracee::Result;

/// access(2), faccessat(2), faccessat2(2).
pub(super) fn access(cx: &mut Cx<'_>) -> Result<Answer> {
    let (mode, flags) = (cx.value_int(0)? as i32, cx.flags());
    if mode & !7 != 0 || flags & !(libc::AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let path = cx.path(cx.call.at)?;
    let by_descriptor = path.bytes().is_empty() && flags & AT_EMPTY_PATH != 0;
    let base = match by_descriptor {
        true => Base::descriptor(&cx.caller, cx.dirfd(cx.call.at))?,
        false => cx.base(cx.call.at, path.as_c())?,
    };
    let ask = |cx: &mut Cx<'_>| {
        let object = match by_descriptor {
            true => resolve::descriptor(&cx.caller, base)?,
            false => resolve::object(&cx.caller, base, path.as_c(), flags & AT_SYMLINK_NOFOLLOW == 0)?,
        };
        // Directories and devices: the kernel's answer, and ours.
        let asked = [(libc::W_OK, Access::Write), (libc::R_OK | libc::X_OK, Access::Read)];
        for (_, access) in asked.into_iter().filter(|(bits, _)| mode & bits != 0) {
            if let Some(refusal) = cx.check_object(access, &object)? {
                let details = || format!(", {}", arguments::access_mode(mode));
                cx.harmless(refusal, judge::subject(&object), details, Errno::EACCES)?;
            }
        }
        cx.caller.check()?;
        // A thread that took on the caller's real ids asks by those, not by its own.
        let effective = if cx.differs()? { libc::AT_EACCESS } else { flags & libc::AT_EACCESS };
        fs::access(object.fd.as_fd(), mode, effective)?;
        Ok(Answer::Value(0))
    };
    if flags & libc::AT_EACCESS != 0 { cx.as_caller(ask) } else { cx.as_real_caller(ask) }
}
