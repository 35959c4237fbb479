//! Calls that change attributes of what exists: each on a pinned object.
//!
//! A descriptor opened for reading, or with `O_PATH`, is enough for most of them, so those by descriptor are judged
//! by the path of what it refers to.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;

use super::cx::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, Answer, Cx};
use crate::policy::Access;
use crate::report::arguments;
use crate::resolve::{Base, Object};
use crate::sys::Errno;
use crate::sys::fs::{self, Timespec};
use crate::tracee::{Limit, Result};

const AT_FLAGS: i32 = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
/// `XATTR_NAME_MAX` and the NUL.
const XATTR_NAME: usize = 256;
/// `XATTR_SIZE_MAX`.
const XATTR_SIZE: usize = 65536;

const FS_IOC_SETFLAGS: u32 = 0x4008_6602;
const FS_IOC32_SETFLAGS: u32 = 0x4004_6602;

/// Judges the object that the call names, then changes it.
fn change(
    cx: &mut Cx<'_>,
    flags: i32,
    details: impl FnOnce() -> String,
    act: impl FnOnce(&Object) -> std::result::Result<(), Errno>,
) -> Result<Answer> {
    check_flags(flags)?;
    cx.with_object(flags, |cx, object| apply(cx, &object, details, act))
}

/// The kernel looks at the flags before it looks at anything else.
pub(super) fn check_flags(flags: i32) -> Result<()> {
    if flags & !AT_FLAGS == 0 { Ok(()) } else { Err(Errno::EINVAL.into()) }
}

fn apply(
    cx: &mut Cx<'_>,
    object: &Object,
    details: impl FnOnce() -> String,
    act: impl FnOnce(&Object) -> std::result::Result<(), Errno>,
) -> Result<Answer> {
    cx.may(Access::Write, object, details)?;
    act(object)?;
    Ok(Answer::Value(0))
}

/// truncate(2).
pub(super) fn truncate(cx: &mut Cx<'_>) -> Result<Answer> {
    let length = cx.value(0)?;
    // A 32-bit `long` has its sign in bit 31.
    let length = if cx.caller.is_32bit() { i64::from(length as i32) } else { length as i64 };
    truncate_to(cx, length)
}

/// truncate64(2) of 32-bit x86: the length in two registers.
pub(super) fn truncate64(cx: &mut Cx<'_>) -> Result<Answer> {
    let length = cx.value(0)? & 0xffff_ffff | cx.value(1)? << 32;
    truncate_to(cx, length as i64)
}

fn truncate_to(cx: &mut Cx<'_>, length: i64) -> Result<Answer> {
    if length < 0 {
        return Err(Errno::EINVAL.into());
    }
    cx.with_object(0, |cx, object| {
        match object.stat.kind() {
            libc::S_IFDIR => return Err(Errno::EISDIR.into()),
            libc::S_IFREG => {}
            _ => return Err(Errno::EINVAL.into()),
        }
        let limit = cx.caller.limit(Limit::FileSize)?;
        if length > object.stat.size && u64::try_from(length).is_ok_and(|length| length > limit) {
            // The signal belongs to the caller, not to us.
            let (tgid, tid) = (cx.caller.tgid()?, cx.caller.call.tid);
            let _ = crate::sys::process::tgkill(tgid, tid, libc::SIGXFSZ);
            return Err(Errno::EFBIG.into());
        }
        // Somebody outside may hold a lease.
        let _watched = cx.watched();
        apply(cx, &object, || format!(", {length}"), |object| fs::truncate(object.fd.as_fd(), length))
    })
}

/// chmod(2), fchmod(2), fchmodat(2), fchmodat2(2).
pub(super) fn chmod(cx: &mut Cx<'_>) -> Result<Answer> {
    let mode = cx.value_int(0)?;
    change(
        cx,
        cx.flags(),
        || format!(", {}", arguments::mode(mode)),
        |object| fs::chmod(object.fd.as_fd(), mode),
    )
}

/// chown(2), lchown(2), fchown(2), fchownat(2).
pub(super) fn chown(cx: &mut Cx<'_>) -> Result<Answer> {
    let (uid, gid) = (cx.value_int(0)?, cx.value_int(1)?);
    chown_to(cx, uid, gid)
}

/// The same with 16-bit ids, of 32-bit x86.
pub(super) fn chown16(cx: &mut Cx<'_>) -> Result<Answer> {
    let wide = |id: u32| if id as u16 == u16::MAX { u32::MAX } else { u32::from(id as u16) };
    let (uid, gid) = (wide(cx.value_int(0)?), wide(cx.value_int(1)?));
    chown_to(cx, uid, gid)
}

fn chown_to(cx: &mut Cx<'_>, uid: u32, gid: u32) -> Result<Answer> {
    let details = || format!(", {}, {}", uid as i32, gid as i32);
    change(cx, cx.flags(), details, |object| fs::chown(object.fd.as_fd(), uid, gid))
}

/// utime(2): `struct utimbuf`, two longs.
pub(super) fn utime(cx: &mut Cx<'_>) -> Result<Answer> {
    let times = longs::<2>(cx)?.map(|[access, change]| [time(access, 0), time(change, 0)]);
    set_times(cx, 0, times)
}

/// utimes(2), futimesat(2): two `struct timeval`, four longs.
pub(super) fn utimes(cx: &mut Cx<'_>) -> Result<Answer> {
    let times = match longs::<4>(cx)? {
        None => None,
        Some([_, a, _, m]) if ![a, m].iter().all(|micro| (0..1_000_000).contains(micro)) => {
            return Err(Errno::EINVAL.into());
        }
        Some([access, a, change, m]) => Some([time(access, a * 1000), time(change, m * 1000)]),
    };
    set_times(cx, 0, times)
}

/// utimensat(2): two `struct timespec`, four longs.
pub(super) fn utimensat(cx: &mut Cx<'_>) -> Result<Answer> {
    let times = longs::<4>(cx)?.map(|[access, a, change, m]| [time(access, a), time(change, m)]);
    set_times(cx, cx.flags(), times)
}

/// utimensat_time64(2) of 32-bit x86: two 64-bit `struct timespec`.
pub(super) fn utimensat_time64(cx: &mut Cx<'_>) -> Result<Answer> {
    let times = words::<4, 8>(cx)?.map(|words| words.map(i64::from_ne_bytes));
    // The upper half of a nanosecond field is padding in this ABI.
    let nano = |value: i64| i64::from(value as i32);
    let times = times.map(|[access, a, change, m]| [time(access, nano(a)), time(change, nano(m))]);
    set_times(cx, cx.flags(), times)
}

fn time(seconds: i64, nanoseconds: i64) -> Timespec {
    Timespec { tv_sec: seconds, tv_nsec: nanoseconds }
}

/// The `long`s at the value; `None` for a null pointer.
fn longs<const N: usize>(cx: &Cx<'_>) -> Result<Option<[i64; N]>> {
    if cx.caller.is_32bit() {
        return Ok(words::<N, 4>(cx)?.map(|words| words.map(|word| i64::from(i32::from_ne_bytes(word)))));
    }
    Ok(words::<N, 8>(cx)?.map(|words| words.map(i64::from_ne_bytes)))
}

fn words<const N: usize, const SIZE: usize>(cx: &Cx<'_>) -> Result<Option<[[u8; SIZE]; N]>> {
    let addr = cx.value(0)?;
    if addr == 0 {
        return Ok(None);
    }
    let mut words = [[0; SIZE]; N];
    cx.caller.read(addr, words.as_flattened_mut())?;
    Ok(Some(words))
}

fn set_times(cx: &mut Cx<'_>, flags: i32, times: Option<[Timespec; 2]>) -> Result<Answer> {
    if times.is_some_and(|times| times.iter().all(|time| time.tv_nsec == libc::UTIME_OMIT)) {
        // Nothing to do: the kernel does not even look at the path.
        return Ok(Answer::Value(0));
    }
    let at = cx.call.at;
    let is_null = at.path.is_some_and(|register| cx.caller.arg(register) == 0);
    let fd = cx.dirfd(at);
    if is_null && fd.0 != libc::AT_FDCWD {
        // A null path means the descriptor itself.
        if flags != 0 {
            return Err(Errno::EINVAL.into());
        }
        let base = Base::Dir(cx.caller.file(fd)?.0);
        return cx.on_descriptor(base, |cx, object| apply_times(cx, &object, times));
    }
    check_flags(flags)?;
    cx.with_object(flags, |cx, object| apply_times(cx, &object, times))
}

fn apply_times(cx: &mut Cx<'_>, object: &Object, times: Option<[Timespec; 2]>) -> Result<Answer> {
    let valid =
        |time: &Timespec| matches!(time.tv_nsec, libc::UTIME_NOW | libc::UTIME_OMIT | 0..1_000_000_000);
    if times.is_some_and(|times| !times.iter().all(valid)) {
        return Err(Errno::EINVAL.into());
    }
    apply(cx, object, String::new, |object| fs::utimens(object.fd.as_fd(), times))
}

/// The name of an extended attribute. `ERANGE` for an empty or a long one, as the kernel.
pub(super) fn xattr_name(cx: &Cx<'_>, addr: u64) -> Result<std::ffi::CString> {
    let mut buf = [0; XATTR_NAME];
    match cx.caller.text(addr, &mut buf)? {
        None | Some(0) => Err(Errno::ERANGE.into()),
        Some(len) => Ok(fs::c_string(&buf[..len])?),
    }
}

fn xattr_value(cx: &Cx<'_>, addr: u64, size: u64) -> Result<Vec<u8>> {
    let size = usize::try_from(size).ok().filter(|size| *size <= XATTR_SIZE).ok_or(Errno::E2BIG)?;
    let mut value = vec![0; size];
    if size > 0 {
        cx.caller.read(addr, &mut value)?;
    }
    Ok(value)
}

/// setxattr(2), lsetxattr(2), fsetxattr(2).
pub(super) fn setxattr(cx: &mut Cx<'_>) -> Result<Answer> {
    let flags = cx.value_int(3)? as i32;
    check_xattr_flags(flags)?;
    let name = xattr_name(cx, cx.value(0)?)?;
    let value = xattr_value(cx, cx.value(1)?, cx.value(2)?)?;
    set_attribute(cx, 0, &name, &value, flags)
}

/// `struct xattr_args` of the at-variants (Linux 6.13).
pub(super) struct XattrArgs {
    /// Where the value is, or is to be.
    pub(super) value: u64,
    /// Its size.
    pub(super) size: u32,
    /// `XATTR_CREATE`, `XATTR_REPLACE`.
    pub(super) flags: u32,
}

/// Reads `struct xattr_args`, whose pointer and size follow the name's pointer.
pub(super) fn xattr_args(cx: &Cx<'_>) -> Result<XattrArgs> {
    const KNOWN: usize = 16;
    let size = usize::try_from(cx.value(2)?).map_err(|_| Errno::E2BIG)?;
    if size < KNOWN {
        return Err(Errno::EINVAL.into());
    }
    if size > 4096 {
        return Err(Errno::E2BIG.into());
    }
    let mut bytes = vec![0; size];
    cx.caller.read(cx.value(1)?, &mut bytes)?;
    if bytes[KNOWN..].iter().any(|byte| *byte != 0) {
        return Err(Errno::E2BIG.into());
    }
    let int = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    Ok(XattrArgs { value: u64::from(int(0)) | u64::from(int(4)) << 32, size: int(8), flags: int(12) })
}

/// setxattrat(2).
pub(super) fn setxattrat(cx: &mut Cx<'_>) -> Result<Answer> {
    let args = xattr_args(cx)?;
    check_flags(cx.flags())?;
    check_xattr_flags(args.flags as i32)?;
    let name = xattr_name(cx, cx.value(0)?)?;
    let value = xattr_value(cx, args.value, args.size.into())?;
    set_attribute(cx, cx.flags(), &name, &value, args.flags as i32)
}

fn check_xattr_flags(flags: i32) -> Result<()> {
    match flags & !(libc::XATTR_CREATE | libc::XATTR_REPLACE) {
        0 => Ok(()),
        _ => Err(Errno::EINVAL.into()),
    }
}

fn set_attribute(
    cx: &mut Cx<'_>,
    at: i32,
    name: &std::ffi::CStr,
    value: &[u8],
    flags: i32,
) -> Result<Answer> {
    let details = || format!(", {}, {} bytes", arguments::path(name.to_bytes()), value.len());
    change(cx, at, details, |object| fs::setxattr(object.fd.as_fd(), name, value, flags))
}

/// removexattr(2), lremovexattr(2), fremovexattr(2), removexattrat(2).
pub(super) fn removexattr(cx: &mut Cx<'_>) -> Result<Answer> {
    check_flags(cx.flags())?;
    let name = xattr_name(cx, cx.value(0)?)?;
    let details = || format!(", {}", arguments::path(name.to_bytes()));
    change(cx, cx.flags(), details, |object| fs::removexattr(object.fd.as_fd(), &name))
}

/// file_setattr(2) (Linux 6.17).
pub(super) fn file_setattr(cx: &mut Cx<'_>) -> Result<Answer> {
    let size = usize::try_from(cx.value(1)?).map_err(|_| Errno::E2BIG)?;
    if size > 4096 {
        return Err(Errno::E2BIG.into());
    }
    if size < 24 {
        return Err(Errno::EINVAL.into());
    }
    let mut bytes = vec![0; size];
    cx.caller.read(cx.value(0)?, &mut bytes)?;
    change(cx, cx.flags(), String::new, |object| fs::file_setattr(object.fd.as_fd(), &bytes))
}

/// `FS_IOC_SETFLAGS` and `FS_IOC_FSSETXATTR`, which a descriptor opened for reading is enough for.
pub(super) fn fs_ioctl(cx: &mut Cx<'_>) -> Result<Answer> {
    let command = cx.value_int(0)?;
    // The size is in the command: 4 or 8 for the flags (of which the kernel reads 4), 28 for fsxattr.
    let size = match (command >> 16 & 0x3fff) as usize {
        size @ 28 => size,
        _ => 4,
    };
    // The same under another number, which only the entry for 32-bit programs knows.
    let command = match command {
        FS_IOC32_SETFLAGS if cx.caller.is_32bit() => FS_IOC_SETFLAGS,
        other => other,
    };
    let mut argument = [0; 32];
    cx.caller.read(cx.value(1)?, &mut argument[..size])?;
    let fd = cx.dirfd(cx.call.at);
    // The caller's own may be open though the file could not be opened again.
    let (file, is_own) = cx.caller.file(fd)?;
    let base = Base::Dir(file);
    cx.on_descriptor(base, |cx, object| {
        if !matches!(object.stat.kind(), libc::S_IFREG | libc::S_IFDIR) {
            return Err(Errno::ENOTTY.into());
        }
        apply(
            cx,
            &object,
            || format!(", {command:#x}"),
            |object| {
                if is_own {
                    return fs::ioctl_write(object.fd.as_fd(), command, &argument);
                }
                let flags = libc::O_RDONLY | libc::O_NONBLOCK;
                let file = fs::reopen_mode(object.fd.as_fd(), flags as u64, 0)?;
                fs::ioctl_write(file.as_fd(), command, &argument)
            },
        )
    })
}
