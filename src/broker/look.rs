//! Calls that look at the file system beside opening: mediated while reading is armed.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;

use super::attr;
use super::cx::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, Answer, Cx};
use super::judge;
use crate::policy::Access;
use crate::report::arguments;
use crate::resolve::{self, Base, Object, Place};
use crate::sys::{Errno, fs};
use crate::tracee::Result;

/// As much as a value or a list of attributes can be (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const XATTR_MAX: usize = 65536;

/// chdir(2), fchdir(2): the kernel alone can change the directory of a process, so what was judged may be changed
/// before it reads it again. A working directory gives nothing away, though: what is in it is judged by its own path.
pub(super) fn chdir(cx: &mut Cx<'_>) -> Result<Answer> {
    if cx.call.at.path.is_none() {
        // Also a descriptor that only names a directory will do.
        let base = Base::descriptor(&cx.caller, cx.dirfd(cx.call.at))?;
        return cx.on_descriptor(base, enter);
    }
    cx.with_object(0, enter)
}

fn enter(cx: &mut Cx<'_>, object: Object) -> Result<Answer> {
    if !object.stat.is_dir() {
        return Err(Errno::ENOTDIR.into());
    }
    cx.may(Access::Read, &object, String::new)?;
    Ok(Answer::Continue)
}

/// readlink(2), readlinkat(2).
pub(super) fn readlink(cx: &mut Cx<'_>) -> Result<Answer> {
    let (buffer, size) = (cx.value(0)?, cx.value_int(1)? as i32);
    let size = usize::try_from(size).ok().filter(|size| *size > 0).ok_or(Errno::EINVAL)?;
    let at = cx.call.at;
    let path = cx.path(at)?;
    // An empty name means the link that the descriptor pins.
    let text = match path.bytes().is_empty() && at.dirfd.is_some() {
        true => {
            let base = Base::descriptor(&cx.caller, cx.dirfd(at))?;
            cx.on_descriptor(base, |cx, object| read_link(cx, &object, Errno::ENOENT))
        }
        false => {
            let base = cx.base(at, path.as_c())?;
            cx.as_caller(|cx| {
                let object = resolve::object(&cx.caller, base, path.as_c(), false)?;
                read_link(cx, &object, Errno::EINVAL)
            })
        }
    }?;
    let text = &text[..text.len().min(size)];
    cx.caller.write(buffer, text)?;
    Ok(Answer::Value(text.len() as i64))
}

fn read_link(cx: &mut Cx<'_>, object: &Object, no_link: Errno) -> Result<Vec<u8>> {
    if !object.stat.is_link() {
        return Err(no_link.into());
    }
    cx.may(Access::Read, object, String::new)?;
    link_text(cx, object)
}

/// What the link says to the caller: two of procfs say something else to us.
fn link_text(cx: &Cx<'_>, object: &Object) -> Result<Vec<u8>> {
    if let Place::At(path) = &object.place {
        let name = path.bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if (name == b"self" || name == b"thread-self") && fs::is_procfs(object.fd.as_fd())? {
            let tgid = cx.caller.tgid()?;
            return Ok(match name {
                b"self" => tgid.to_string(),
                _ => format!("{tgid}/task/{}", cx.caller.call.tid),
            }
            .into_bytes());
        }
        resolve::may_follow(&cx.caller, object.fd.as_fd(), path.bytes())?;
    }
    let mut text = vec![0; libc::PATH_MAX as usize];
    let len = fs::readlinkat(object.fd.as_fd(), c"", &mut text)?;
    text.truncate(len);
    Ok(text)
}

/// getxattr(2), lgetxattr(2), fgetxattr(2).
pub(super) fn getxattr(cx: &mut Cx<'_>) -> Result<Answer> {
    let name = attr::xattr_name(cx, cx.value(0)?)?;
    let (buffer, size) = (cx.value(1)?, cx.value(2)?);
    get(cx, 0, &name, buffer, size)
}

/// getxattrat(2) (Linux 6.13).
pub(super) fn getxattrat(cx: &mut Cx<'_>) -> Result<Answer> {
    let args = attr::xattr_args(cx)?;
    if args.flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    attr::check_flags(cx.flags())?;
    let name = attr::xattr_name(cx, cx.value(0)?)?;
    get(cx, cx.flags(), &name, args.value, args.size.into())
}

fn get(cx: &mut Cx<'_>, flags: i32, name: &std::ffi::CStr, buffer: u64, size: u64) -> Result<Answer> {
    let details = || format!(", {}", arguments::path(name.to_bytes()));
    fetch(cx, flags, buffer, size, |cx, object, buf| {
        cx.may(Access::Read, object, details)?;
        Ok(fs::getxattr(object.fd.as_fd(), name, buf)?)
    })
}

/// listxattr(2), llistxattr(2), flistxattr(2), listxattrat(2).
pub(super) fn listxattr(cx: &mut Cx<'_>) -> Result<Answer> {
    let (buffer, size, flags) = (cx.value(0)?, cx.value(1)?, cx.flags());
    fetch(cx, flags, buffer, size, |cx, object, buf| {
        if let Some(refusal) = cx.check_object(Access::Read, object)? {
            // Programs that copy files ask this of everything.
            cx.harmless(refusal, judge::subject(object), String::new, Errno::ENOTSUP)?;
        }
        Ok(fs::listxattr(object.fd.as_fd(), buf)?)
    })
}

/// Fetches something of an object into the caller's buffer; a size of 0 asks how long it is.
fn fetch(
    cx: &mut Cx<'_>,
    flags: i32,
    buffer: u64,
    size: u64,
    fetch: impl FnOnce(&mut Cx<'_>, &Object, &mut [u8]) -> Result<usize>,
) -> Result<Answer> {
    if flags & !(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut buf = vec![0; usize::try_from(size).unwrap_or(XATTR_MAX).min(XATTR_MAX)];
    let len = cx.with_object(flags, |cx, object| fetch(cx, &object, &mut buf))?;
    if !buf.is_empty() {
        cx.caller.write(buffer, &buf[..len])?;
    }
    Ok(Answer::Value(len as i64))
}
