//! Calls that create, remove and rename names: each on the last name in a pinned directory.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;

use super::cx::{AT_EMPTY_PATH, Answer, Cx};
use super::moves::{self, Names};
use crate::policy::Access;
use crate::report::arguments;
use crate::resolve::{self, Base, Entry, Object, Place};
use crate::sys::{Errno, fs, listing};
use crate::tracee::Result;

/// Resolves the name at `at` and, unless it cannot be one, asks whether it may be created.
fn creating(
    cx: &mut Cx<'_>,
    entry: &Entry,
    slash_needs_directory: bool,
    details: impl FnOnce() -> String,
) -> Result<()> {
    if entry.fixed {
        return cx.caller.check();
    }
    cx.may_write(&entry.path, details, |_| match fs::lstat(entry.dir.as_fd(), &bare(entry)) {
        Ok(_) => Some(Errno::EEXIST),
        Err(Errno::ENOENT) if slash_needs_directory && has_slash(entry) => Some(Errno::ENOENT),
        Err(Errno::ENOENT) => None,
        Err(errno) => Some(errno),
    })
}

fn has_slash(entry: &Entry) -> bool {
    entry.name.to_bytes().ends_with(b"/")
}

/// The name without a slash behind it.
pub(super) fn bare(entry: &Entry) -> std::ffi::CString {
    let name = entry.name.to_bytes();
    fs::c_string(name.strip_suffix(b"/").unwrap_or(name)).unwrap_or_default()
}

/// mkdir(2), mkdirat(2).
pub(super) fn mkdir(cx: &mut Cx<'_>) -> Result<Answer> {
    let mode = cx.value_int(0)?;
    let path = cx.path(cx.call.at)?;
    let base = cx.base(cx.call.at, path.as_c())?;
    cx.as_caller(|cx| {
        let entry = resolve::entry(&cx.caller, base, path.as_c())?;
        creating(cx, &entry, false, || format!(", {}", arguments::mode(mode)))?;
        let _held = Names::hold(cx, false)?;
        cx.with_umask(|_| fs::mkdirat(entry.dir.as_fd(), &entry.name, mode))??;
        Ok(Answer::Value(0))
    })
}

/// mknod(2), mknodat(2).
pub(super) fn mknod(cx: &mut Cx<'_>) -> Result<Answer> {
    let (mode, device) = (cx.value_int(0)?, cx.value_int(1)?);
    match mode & libc::S_IFMT {
        0 | libc::S_IFREG | libc::S_IFIFO | libc::S_IFSOCK | libc::S_IFCHR | libc::S_IFBLK => {}
        libc::S_IFDIR => return Err(Errno::EPERM.into()),
        _ => return Err(Errno::EINVAL.into()),
    }
    let path = cx.path(cx.call.at)?;
    let base = cx.base(cx.call.at, path.as_c())?;
    cx.as_caller(|cx| {
        let entry = resolve::entry(&cx.caller, base, path.as_c())?;
        creating(cx, &entry, true, || format!(", {}", arguments::mode(mode)))?;
        if mode & libc::S_IFMT == libc::S_IFBLK
            || mode & libc::S_IFMT == libc::S_IFCHR && !is_harmless(device)
        {
            // A raw disk is every file on it, and a device is what its number says, not what its path does: also
            // root's tree is without this part of CAP_MKNOD.
            return Err(Errno::EPERM.into());
        }
        cx.with_umask(|_| fs::mknodat(entry.dir.as_fd(), &entry.name, mode, device))??;
        Ok(Answer::Value(0))
    })
}

/// The character devices that everybody may use, and the one that is a mark for overlayfs: in the kernel's encoding.
fn is_harmless(device: u32) -> bool {
    const MEMORY: u32 = 1;
    const TERMINAL: u32 = 5;
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00);
    match major {
        0 => minor == 0,
        // null, zero, full, random, urandom.
        MEMORY => matches!(minor, 3 | 5 | 7 | 8 | 9),
        // The caller's own terminal, and a new one.
        TERMINAL => matches!(minor, 0 | 2),
        _ => false,
    }
}

/// symlink(2), symlinkat(2): the target is a text, of which only the length is checked.
pub(super) fn symlink(cx: &mut Cx<'_>) -> Result<Answer> {
    let target = cx.path(cx.call.at)?;
    if target.bytes().is_empty() {
        return Err(Errno::ENOENT.into());
    }
    let path = cx.path(cx.call.to)?;
    let base = cx.base(cx.call.to, path.as_c())?;
    cx.as_caller(|cx| {
        let entry = resolve::entry(&cx.caller, base, path.as_c())?;
        creating(cx, &entry, true, || format!(" -> {}", arguments::path(target.bytes())))?;
        let _held = Names::hold(cx, false)?;
        if !entry.fixed {
            // Not left to the kernel: by then it may be gone.
            if fs::lstat(entry.dir.as_fd(), &bare(&entry)).is_ok() {
                return Err(Errno::EEXIST.into());
            }
            moves::keep_anchors(cx, &entry, true)?;
        }
        fs::symlinkat(target.as_c(), entry.dir.as_fd(), &entry.name)?;
        Ok(Answer::Value(0))
    })
}

/// rmdir(2).
pub(super) fn rmdir(cx: &mut Cx<'_>) -> Result<Answer> {
    remove(cx, libc::AT_REMOVEDIR)
}

/// unlink(2), unlinkat(2).
pub(super) fn unlink(cx: &mut Cx<'_>) -> Result<Answer> {
    let flags = cx.flags();
    if flags & !libc::AT_REMOVEDIR != 0 {
        return Err(Errno::EINVAL.into());
    }
    remove(cx, flags)
}

fn remove(cx: &mut Cx<'_>, flags: i32) -> Result<Answer> {
    let path = cx.path(cx.call.at)?;
    let base = cx.base(cx.call.at, path.as_c())?;
    cx.as_caller(|cx| {
        let entry = resolve::entry(&cx.caller, base, path.as_c())?;
        if entry.fixed {
            cx.caller.check()?;
        } else {
            cx.may_write(&entry.path, String::new, |_| cannot_be_removed(&entry, flags))?;
            if flags != 0 {
                moves::keep_anchors(cx, &entry, false)?;
            }
        }
        fs::unlinkat(entry.dir.as_fd(), &entry.name, flags)?;
        Ok(Answer::Value(0))
    })
}

/// Why the kernel would not remove it, whoever asks.
fn cannot_be_removed(entry: &Entry, flags: i32) -> Option<Errno> {
    let stat = match fs::lstat(entry.dir.as_fd(), &bare(entry)) {
        Err(errno) => return Some(errno),
        Ok(stat) => stat,
    };
    match (stat.is_dir(), flags & libc::AT_REMOVEDIR != 0) {
        (true, false) => Some(Errno::EISDIR),
        (false, true) => Some(Errno::ENOTDIR),
        (false, false) if has_slash(entry) => Some(Errno::ENOTDIR),
        (true, true) if !listing::is_empty_dir(entry.dir.as_fd(), &bare(entry)) => Some(Errno::ENOTEMPTY),
        _ => None,
    }
}

/// rename(2), renameat(2), renameat2(2): a write at both ends, whatever the flags.
pub(super) fn rename(cx: &mut Cx<'_>) -> Result<Answer> {
    const KNOWN: u32 = libc::RENAME_NOREPLACE | libc::RENAME_EXCHANGE | libc::RENAME_WHITEOUT;
    let flags = cx.flags() as u32;
    let exchange = flags & libc::RENAME_EXCHANGE != 0;
    if flags & !KNOWN != 0 || exchange && flags & !libc::RENAME_EXCHANGE != 0 {
        return Err(Errno::EINVAL.into());
    }
    let old = cx.path(cx.call.at)?;
    let from = cx.base(cx.call.at, old.as_c())?;
    // What is wrong with the second name the kernel says only when the first has been found.
    let to = cx.second(&from);
    cx.as_caller(|cx| {
        let from = resolve::entry(&cx.caller, from, old.as_c())?;
        let (new, to) = to?;
        let to = resolve::entry(&cx.caller, to, new.as_c())?;
        if from.fixed || to.fixed {
            cx.caller.check()?;
            fs::renameat2(from.dir.as_fd(), &from.name, to.dir.as_fd(), &to.name, flags)?;
            return Ok(Answer::Value(0));
        }
        for (entry, other) in [(&from, &to), (&to, &from)] {
            let details = || format!(", between it and {}", arguments::path(other.path.bytes()));
            cx.may_write(&entry.path, details, |_| cannot_be_renamed(&from, &to, flags))?;
        }
        let policy = &cx.state()?.policy;
        let depends = moves::depends_on_kind(policy, &from.path, &to.path)
            || exchange && moves::depends_on_kind(policy, &to.path, &from.path);
        let _held = Names::hold(cx, depends)?;
        if depends {
            moves::keep(cx, &from, &to, exchange)?;
        }
        fs::renameat2(from.dir.as_fd(), &from.name, to.dir.as_fd(), &to.name, flags)?;
        Ok(Answer::Value(0))
    })
}

fn cannot_be_renamed(from: &Entry, to: &Entry, flags: u32) -> Option<Errno> {
    let old = match fs::lstat(from.dir.as_fd(), &bare(from)) {
        Err(errno) => return Some(errno),
        Ok(stat) => stat,
    };
    let devices = (fs::fstat(from.dir.as_fd()), fs::fstat(to.dir.as_fd()));
    if let (Ok(a), Ok(b)) = devices
        && a.id.0 != b.id.0
    {
        return Some(Errno::EXDEV);
    }
    let exchange = flags & libc::RENAME_EXCHANGE != 0;
    let is_within = |inner: &Entry, outer: &Entry| {
        inner.path.bytes().strip_prefix(outer.path.bytes()).is_some_and(|rest| rest.starts_with(b"/"))
    };
    match fs::lstat(to.dir.as_fd(), &bare(to)) {
        Ok(_) if flags & libc::RENAME_NOREPLACE != 0 => Some(Errno::EEXIST),
        Ok(new) if exchange && has_slash(to) && !new.is_dir() => Some(Errno::ENOTDIR),
        Err(Errno::ENOENT) if exchange => Some(Errno::ENOENT),
        Err(errno) if errno != Errno::ENOENT => Some(errno),
        _ if !old.is_dir() && (has_slash(from) || has_slash(to) && !exchange) => Some(Errno::ENOTDIR),
        _ if is_within(to, from) => Some(Errno::EINVAL),
        _ if is_within(from, to) => Some(if exchange { Errno::EINVAL } else { Errno::ENOTEMPTY }),
        Ok(_) if exchange => None,
        Ok(new) if old.is_dir() && !new.is_dir() => Some(Errno::ENOTDIR),
        Ok(new) if !old.is_dir() && new.is_dir() => Some(Errno::EISDIR),
        _ => None,
    }
}

/// link(2), linkat(2): a second name would free the file from the rules for the first, so both are judged.
pub(super) fn link(cx: &mut Cx<'_>) -> Result<Answer> {
    let flags = cx.flags();
    if flags & !(libc::AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let old = cx.path(cx.call.at)?;
    let by_descriptor = old.bytes().is_empty() && flags & AT_EMPTY_PATH != 0;
    let from = match by_descriptor {
        true => Base::descriptor(&cx.caller, cx.dirfd(cx.call.at))?,
        false => cx.base(cx.call.at, old.as_c())?,
    };
    let to = cx.second(&from);
    cx.as_caller(|cx| {
        let follow = flags & libc::AT_SYMLINK_FOLLOW != 0;
        let object = match by_descriptor {
            true => resolve::descriptor(&cx.caller, from)?,
            false => resolve::object(&cx.caller, from, old.as_c(), follow)?,
        };
        let (new, to) = to?;
        let entry = resolve::entry(&cx.caller, to, new.as_c())?;
        let details = || format!(" -> {}", arguments::path(source(&object)));
        creating(cx, &entry, true, details)?;
        // A directory has one name only: the kernel says so.
        for access in [Access::Write, Access::Read].into_iter().filter(|_| !object.stat.is_dir()) {
            cx.may(access, &object, || format!(", for {}", arguments::path(entry.path.bytes())))?;
        }
        if let Place::At(path) = &object.place {
            moves::keep_socket(cx, path.bytes(), &object.stat, entry.path.bytes())?;
        }
        let _held = Names::hold(cx, false)?;
        if object.stat.is_link() {
            moves::keep_anchors(cx, &entry, true)?;
        }
        fs::link_object(object.fd.as_fd(), entry.dir.as_fd(), &entry.name)?;
        Ok(Answer::Value(0))
    })
}

fn source(object: &Object) -> &[u8] {
    match &object.place {
        Place::At(path) => path.bytes(),
        Place::Own | Place::Foreign => b"a file without a name",
    }
}
