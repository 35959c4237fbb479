//! open, openat, openat2, creat.
//!
//! What exists or may be created is opened by its last name in the pinned directory, links refused: the name was
//! judged together with the directory's path, and whatever has it now is what the policy spoke of. A link that
//! appears there meanwhile makes the whole resolution start again.
#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::cx::{Answer, Cx};
use crate::gate::Op;
use crate::policy::Access;
use crate::report::arguments;
use crate::resolve::{self, Base, Entry, Naming, Object, Place, Target};
use crate::sys::Errno;
use crate::sys::fs::{self, NO_LINKS};
use crate::tracee::Result;

const CREAT: u64 = libc::O_CREAT as u64;
const EXCL: u64 = libc::O_EXCL as u64;
const TRUNC: u64 = libc::O_TRUNC as u64;
const PATH: u64 = libc::O_PATH as u64;
const NOFOLLOW: u64 = libc::O_NOFOLLOW as u64;
const DIRECTORY: u64 = libc::O_DIRECTORY as u64;
const CLOEXEC: u64 = libc::O_CLOEXEC as u64;
const ACCMODE: u64 = libc::O_ACCMODE as u64;
const NONBLOCK: u64 = libc::O_NONBLOCK as u64;
const LARGEFILE: u64 = 0o100_000;
/// The bit of `O_TMPFILE` that is not `O_DIRECTORY`.
const TMPFILE: u64 = (libc::O_TMPFILE & !libc::O_DIRECTORY) as u64;
/// What open and openat take; the rest they ignore, where openat2 refuses it.
const VALID: u64 = ACCMODE
    | CREAT
    | EXCL
    | TRUNC
    | PATH
    | NOFOLLOW
    | DIRECTORY
    | CLOEXEC
    | TMPFILE
    | (libc::O_NOCTTY | libc::O_APPEND | libc::O_NONBLOCK | libc::O_SYNC | libc::O_DSYNC) as u64
    | (libc::O_ASYNC | libc::O_DIRECT | libc::O_NOATIME) as u64
    | LARGEFILE;
/// What counts with `O_PATH`.
const VALID_PATH: u64 = PATH | NOFOLLOW | DIRECTORY | CLOEXEC;
/// So often a name may turn into a link between two looks before it counts as a loop.
const RETRIES: u32 = 40;
/// The device of `/dev/tty`: 5, 0.
const TTY: u64 = libc::makedev(5, 0);

/// How a file is to be opened, in the terms of openat2(2).
#[derive(Debug, Clone, Copy)]
struct How {
    flags: u64,
    mode: u64,
    resolve: u64,
}

impl How {
    /// As the kernel takes the arguments of open and openat.
    fn of_open(flags: u64, mode: u64) -> Self {
        let flags = flags & if flags & PATH != 0 { VALID_PATH } else { VALID };
        let mode = if flags & (CREAT | TMPFILE) != 0 { mode & 0o7777 } else { 0 };
        Self { flags, mode, resolve: 0 }
    }

    /// The kernel's own checks, which come before any file is looked at.
    fn check(self) -> std::result::Result<(), Errno> {
        match fs::openat2(fs::cwd(), c"", self.flags, self.mode, self.resolve) {
            Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno),
            Ok(_) => Err(Errno::EINVAL),
        }
    }

    fn creates(self) -> bool {
        self.flags & (CREAT | TMPFILE) != 0
    }

    /// Whether it changes anything, or opens something to change it.
    fn writes(self) -> bool {
        self.flags & PATH == 0 && self.flags & (ACCMODE | CREAT | TRUNC | TMPFILE) != 0
    }

    /// Whether it is a change even of a file that exists.
    fn writes_existing(self) -> bool {
        self.flags & (ACCMODE | TRUNC | TMPFILE) != 0
    }

    /// Whether what exists can be read by it.
    fn reads(self) -> bool {
        self.flags & PATH == 0 && self.flags & ACCMODE != libc::O_WRONLY as u64 && self.flags & TMPFILE == 0
    }

    fn naming(self) -> Naming {
        Naming { follow: self.follows(), create: self.flags & CREAT != 0, exclusive: self.is_exclusive() }
    }

    fn follows(self) -> bool {
        self.flags & NOFOLLOW == 0 && !self.is_exclusive()
    }

    /// Whether it fails on whatever exists.
    fn is_exclusive(self) -> bool {
        self.flags & (CREAT | EXCL) == CREAT | EXCL
    }
}

/// open(2), openat(2).
pub(super) fn open(cx: &mut Cx<'_>) -> Result<Answer> {
    let how = How::of_open(cx.flags() as u32 as u64, cx.value_int(0)?.into());
    if how.flags & TMPFILE != 0 || how.flags & (CREAT | DIRECTORY) == CREAT | DIRECTORY {
        how.check()?;
    }
    run(cx, how)
}

/// creat(2).
pub(super) fn creat(cx: &mut Cx<'_>) -> Result<Answer> {
    let how = How::of_open(CREAT | TRUNC | libc::O_WRONLY as u64, cx.value_int(0)?.into());
    run(cx, how)
}

/// openat2(2): the structure is read once; a larger one may have only zeroes behind what we know.
pub(super) fn openat2(cx: &mut Cx<'_>) -> Result<Answer> {
    const KNOWN: usize = size_of::<libc::open_how>();
    let size = usize::try_from(cx.value(1)?).map_err(|_| Errno::E2BIG)?;
    if size < KNOWN {
        return Err(Errno::EINVAL.into());
    }
    if size > 4096 {
        return Err(Errno::E2BIG.into());
    }
    let mut bytes = [0; 4096];
    cx.caller.read(cx.value(0)?, &mut bytes[..size])?;
    if bytes[KNOWN..size].iter().any(|byte| *byte != 0) {
        return Err(Errno::E2BIG.into());
    }
    let word = |at: usize| bytes[at..at + 8].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let how = How { flags: word(0), mode: word(8), resolve: word(16) };
    how.check()?;
    run(cx, how)
}

fn run(cx: &mut Cx<'_>, how: How) -> Result<Answer> {
    let path = cx.path(cx.call.at)?;
    if how.flags & PATH != 0 {
        return only_pinned(cx);
    }
    if path.bytes().is_empty() {
        return Err(Errno::ENOENT.into());
    }
    let opened = match how.resolve {
        0 => resolved(cx, path.as_c(), how),
        _ => restricted(cx, path.as_c(), how),
    };
    if opened.is_err() {
        // The kernel says first that no descriptor is left; who gets one, learns it from the kernel.
        cx.caller.has_free_descriptor()?;
    }
    Ok(match opened? {
        Opened::ByKernel => Answer::Continue,
        Opened::Here { fd, made } => Answer::Descriptor { fd, cloexec: how.flags & CLOEXEC != 0, made },
    })
}

/// openat2 with `O_PATH`: such a descriptor cannot be handed over. Where the second lock is there, and reading is not
/// mediated, the kernel may do it, since whatever the arguments turn into meanwhile, it refuses to write but where the
/// caller may. Elsewhere programs fall back.
fn only_pinned(cx: &Cx<'_>) -> Result<Answer> {
    let options = &cx.supervisor.options;
    let holds = options.backstop && !options.arming.read && cx.may_have_grants()?;
    if holds { Ok(Answer::Continue) } else { Err(Errno::ENOSYS.into()) }
}

fn resolved(cx: &mut Cx<'_>, path: &CStr, how: How) -> Result<Opened> {
    for _ in 0..RETRIES {
        let base = cx.base(cx.call.at, path)?;
        let opened = cx.as_caller(|cx| match resolve::target(&cx.caller, base, path, how.naming())? {
            Target::Entry(entry, before) => open_entry(cx, entry, before, how),
            Target::Object(object) => Ok(Some(Opened::existing(open_object(cx, &object, how)?))),
        })?;
        if let Some(fd) = opened {
            return Ok(fd);
        }
    }
    Err(Errno::ELOOP.into())
}

/// openat2 with `RESOLVE_` flags: the kernel resolves below the caller's directory as the caller wished, magic links
/// refused, to an object that is pinned, judged and only then opened; or to the directory of one that is not there.
fn restricted(cx: &mut Cx<'_>, path: &CStr, how: How) -> Result<Opened> {
    let dirfd = cx.dirfd(cx.call.at);
    let base = match Base::new(&cx.caller, dirfd, path) {
        // Whatever the directory is.
        Ok(Base::Root) if how.resolve & libc::RESOLVE_BENEATH != 0 => return Err(Errno::EXDEV.into()),
        // An absolute path is one below the directory.
        Ok(Base::Root) if how.resolve & libc::RESOLVE_IN_ROOT != 0 => Base::descriptor(&cx.caller, dirfd),
        other => other,
    }?;
    let resolve = how.resolve | libc::RESOLVE_NO_MAGICLINKS;
    cx.as_caller(|cx| match resolve::restricted(&cx.caller, base, path, how.naming(), resolve)? {
        Target::Object(object) => Ok(Opened::existing(open_object(cx, &object, how)?)),
        Target::Entry(entry, before) => open_entry(cx, entry, before, how)?.ok_or(Errno::ELOOP.into()),
    })
}

/// What became of an open that is allowed.
enum Opened {
    /// An open file, and the name that was made for it if there was none.
    Here { fd: OwnedFd, made: Option<Entry> },
    /// It is left to the kernel.
    ByKernel,
}

impl Opened {
    fn existing(fd: OwnedFd) -> Self {
        Self::Here { fd, made: None }
    }
}

/// Opens a name in a pinned directory, of which a look brought `seen`. `None`: that has changed meanwhile.
fn open_entry(
    cx: &mut Cx<'_>,
    mut entry: Entry,
    seen: Option<fs::Outcome>,
    mut how: How,
) -> Result<Option<Opened>> {
    resolve::may_open(&cx.caller, entry.dir.as_fd(), entry.path.bytes(), how.writes())?;
    // The structure of openat2 is in memory, and with it what is asked; to an access mode of 3, which is neither reading
    // nor writing, Landlock has no objection. Whether the caller still waits need not be asked: nobody else gets the answer.
    let by_kernel = cx.call.op != Op::Openat2 && how.flags & ACCMODE != ACCMODE;
    if by_kernel && how.writes() && cx.is_granted(&entry.path, how.reads())? {
        return Ok(Some(Opened::ByKernel));
    }
    let look = |entry: &Entry| seen.unwrap_or_else(|| entry.look());
    if how.writes() {
        if let Some(refusal) = cx.check(Access::Write, &entry.path)? {
            let subject = crate::report::Subject::Path(entry.path.bytes().to_vec());
            let details = || format!(", {}", arguments::open_flags(how.flags as i32));
            match refused_anyway(&entry, look(&entry), how) {
                // It exists and is only opened for reading: the flag says nothing.
                None => how.flags &= !CREAT,
                // Nobody has a terminal here, whatever the rules say.
                Some(Errno::EPERM)
                    if look(&entry).is_ok_and(|stat| is_tty(&stat)) && cx.caller.terminal()?.is_none() =>
                {
                    cx.natural(refusal, subject, details, Errno::ENXIO)?
                }
                Some(Errno::EPERM) => cx.refuse(refusal, subject, details, Errno::EPERM)?,
                Some(errno) => cx.natural(refusal, subject, details, errno)?,
            }
            if !how.creates() {
                how.mode = 0;
            }
        }
    } else {
        cx.caller.check()?;
    }
    if how.reads() {
        // Also where it does not exist: it may, a moment later.
        if let Some(refusal) = cx.check(Access::Read, &entry.path)? {
            let subject = crate::report::Subject::Path(entry.path.bytes().to_vec());
            let details = || format!(", {}", arguments::open_flags(how.flags as i32));
            match unreadable_anyway(&entry, look(&entry), how) {
                None => cx.refuse(refusal, subject, details, Errno::EPERM)?,
                Some(errno) => cx.natural(refusal, subject, details, errno)?,
            }
        }
    }
    // What nobody has looked at must not exist.
    let before = seen.unwrap_or(Err(Errno::ENOENT));
    if cx.caller.is_32bit() && before.is_ok_and(|stat| too_large(&stat, how)) {
        return Err(Errno::EOVERFLOW.into());
    }
    let may_block = before.is_ok_and(|stat| may_block(&stat, how));
    if may_block {
        // Nor must a lock on the caller's directory outlive its descriptor while we wait.
        entry.dir = fs::pin_dir(entry.dir.as_fd(), c".")?;
        if before.is_ok_and(|stat| stat.kind() == libc::S_IFIFO) {
            cx.may_wait()?;
        }
    }
    if before.is_ok_and(|stat| is_tty(&stat)) {
        return Ok(Some(Opened::existing(open_tty(cx, how)?)));
    }
    let makes = how.flags & CREAT != 0 && before == Err(Errno::ENOENT);
    if how.flags & TRUNC != 0 || makes {
        // What is cut off cannot be put back; nor is it known who has opened what was made, once that is to be removed.
        cx.caller.has_free_descriptor()?;
        cx.caller.check()?;
    }
    let flags = how.flags | if makes { EXCL } else { 0 };
    let open = |flags| fs::openat2(entry.dir.as_fd(), &entry.name, flags, how.mode, NO_LINKS);
    match blocking(cx, may_block, How { flags, ..how }, open)? {
        Err(Errno::ELOOP) if how.follows() => Ok(None),
        Err(Errno::EEXIST) if makes && how.flags & EXCL == 0 => Ok(None),
        Ok(None) if before.is_ok_and(|stat| stat.kind() == libc::S_IFSOCK) => Err(Errno::ENXIO.into()),
        other => Ok(other?.map(|fd| Opened::Here { fd, made: makes.then_some(entry) })),
    }
}

/// Removes the name that was made for a file, if it still is this file's: the caller has no descriptor left, since another
/// of its threads took the last one meanwhile; the kernel would have kept one before it made anything.
pub(super) fn unmake(fd: BorrowedFd<'_>, made: &Entry) {
    let dir = made.dir.as_fd();
    if let (Ok(now), Ok(file)) = (fs::lstat(dir, &made.name), fs::fstat(fd))
        && now.id == file.id
    {
        let _ = fs::unlinkat(dir, &made.name, 0);
    }
}

/// What the kernel says to an open that the policy refuses: `EPERM` where it would have done it, nothing where it
/// is no change at all.
fn refused_anyway(entry: &Entry, before: fs::Outcome, how: How) -> Option<Errno> {
    let slash = entry.name.to_bytes().ends_with(b"/");
    match before {
        Ok(_) | Err(Errno::ENOENT | Errno::ENOTDIR) if slash && how.flags & CREAT != 0 => Some(Errno::EISDIR),
        Err(Errno::ENOENT) if how.flags & CREAT == 0 => Some(Errno::ENOENT),
        Err(Errno::ENOENT) => Some(Errno::EPERM),
        Err(errno) => Some(errno),
        Ok(_) if how.is_exclusive() => Some(Errno::EEXIST),
        Ok(stat) if stat.is_link() => {
            Some(if how.flags & DIRECTORY != 0 { Errno::ENOTDIR } else { Errno::ELOOP })
        }
        Ok(stat) if stat.is_dir() && how.flags & TMPFILE == 0 => Some(Errno::EISDIR),
        Ok(stat) if !stat.is_dir() && (how.flags & (DIRECTORY | TMPFILE) != 0 || slash) => {
            Some(Errno::ENOTDIR)
        }
        Ok(_) if how.writes_existing() => Some(Errno::EPERM),
        Ok(_) => None,
    }
}

/// What the kernel says to an open for reading that the policy refuses.
fn unreadable_anyway(entry: &Entry, before: fs::Outcome, how: How) -> Option<Errno> {
    let to_directory = how.flags & DIRECTORY != 0 || entry.name.to_bytes().ends_with(b"/");
    match before {
        Err(Errno::ENOENT) if how.flags & CREAT != 0 => None,
        Err(errno) => Some(errno),
        Ok(_) if how.is_exclusive() => Some(Errno::EEXIST),
        Ok(stat) if !stat.is_dir() && to_directory => Some(Errno::ENOTDIR),
        Ok(stat) if stat.is_link() => Some(Errno::ELOOP),
        Ok(_) => None,
    }
}

/// Opens a pinned object that has no name to open it by.
fn open_object(cx: &mut Cx<'_>, object: &Object, how: How) -> Result<OwnedFd> {
    if how.is_exclusive() {
        return Err(Errno::EEXIST.into());
    }
    if object.stat.is_dir() && how.flags & CREAT != 0 {
        return Err(Errno::EISDIR.into());
    }
    if let Place::At(path) = &object.place {
        resolve::may_open(&cx.caller, object.fd.as_fd(), path.bytes(), how.writes())?;
    }
    if how.writes_existing() && !(object.stat.is_dir() && how.flags & TMPFILE == 0) {
        cx.may(Access::Write, object, || format!(", {}", arguments::open_flags(how.flags as i32)))?;
    }
    if how.reads() {
        cx.may(Access::Read, object, || format!(", {}", arguments::open_flags(how.flags as i32)))?;
    }
    if how.flags & TRUNC != 0 {
        cx.caller.has_free_descriptor()?;
    }
    cx.caller.check()?;
    if cx.caller.is_32bit() && too_large(&object.stat, how) {
        return Err(Errno::EOVERFLOW.into());
    }
    if is_tty(&object.stat) {
        return open_tty(cx, how);
    }
    if object.stat.kind() == libc::S_IFIFO && may_block(&object.stat, how) {
        cx.may_wait()?;
    }
    // An unnamed file that is exclusive can never get a name.
    let drop = if how.flags & TMPFILE != 0 { NOFOLLOW } else { CREAT | EXCL | NOFOLLOW };
    let how =
        How { flags: how.flags & !drop, mode: if how.flags & TMPFILE != 0 { how.mode } else { 0 }, ..how };
    let open = |flags| fs::reopen_mode(object.fd.as_fd(), flags, how.mode);
    Ok(blocking(cx, may_block(&object.stat, how), how, open)??.ok_or(Errno::ENXIO)?)
}

/// Opens, under the caller's umask where something is created, and watched over unless it is to be made. `None`: it has become
/// a FIFO (or is a socket, and cannot be opened), and is to be looked at again.
fn blocking(
    cx: &mut Cx<'_>,
    may_block: bool,
    how: How,
    open: impl FnOnce(u64) -> std::result::Result<OwnedFd, Errno>,
) -> Result<std::result::Result<Option<OwnedFd>, Errno>> {
    // What may block exists: the umask plays no part, and must not be held over it.
    if may_block {
        let _watched = cx.blocks();
        return Ok(open(how.flags).map(Some));
    }
    // It can become a FIFO until it is opened, and somebody outside may hold a lease.
    let _watched = (!how.is_exclusive()).then(|| cx.watched());
    if !how.creates() {
        return Ok(open(how.flags).map(Some));
    }
    if cx.worker.has_own_cwd() || how.flags & NONBLOCK != 0 {
        return Ok(cx.with_umask(|_| open(how.flags))?.map(Some));
    }
    // The umask is everybody's, and who changes it holds up all others: nothing may block meanwhile.
    Ok(match cx.with_umask(|_| open(how.flags | NONBLOCK))? {
        Ok(fd) if fs::fstat(fd.as_fd())?.kind() == libc::S_IFIFO => Ok(None),
        Ok(fd) => fs::clear_nonblock(fd.as_fd()).map(|()| Some(fd)),
        Err(Errno::ENXIO) => Ok(None),
        Err(errno) => Err(errno),
    })
}

fn may_block(stat: &fs::Stat, how: How) -> bool {
    matches!(stat.kind(), libc::S_IFIFO | libc::S_IFCHR | libc::S_IFBLK) && how.flags & NONBLOCK == 0
}

/// A 32-bit program that did not say `O_LARGEFILE` cannot open what does not fit its offsets.
fn too_large(stat: &fs::Stat, how: How) -> bool {
    stat.kind() == libc::S_IFREG && how.flags & LARGEFILE == 0 && stat.size > i32::MAX.into()
}

fn is_tty(stat: &fs::Stat) -> bool {
    stat.kind() == libc::S_IFCHR && stat.rdev == TTY
}

/// `/dev/tty` is the terminal of the caller's session, which need not be ours.
fn open_tty(cx: &mut Cx<'_>, how: How) -> Result<OwnedFd> {
    let device = cx.caller.terminal()?.ok_or(Errno::ENXIO)?;
    cx.caller.check()?;
    let flags = how.flags & !(CREAT | EXCL | NOFOLLOW);
    let path = match (libc::major(device), libc::minor(device)) {
        (136..=143, minor) => format!("/dev/pts/{}", (libc::major(device) - 136) * 256 + minor),
        (4, minor @ 0..=63) => format!("/dev/tty{minor}"),
        (4, minor) => format!("/dev/ttyS{}", minor - 64),
        _ => return Err(Errno::ENXIO.into()),
    };
    let path = fs::c_string(path.as_bytes())?;
    let pinned = fs::pin(fs::cwd(), &path)?;
    if fs::fstat(pinned.as_fd())?.rdev != device {
        return Err(Errno::ENXIO.into());
    }
    let open = |flags| fs::reopen_mode(pinned.as_fd(), flags, 0);
    Ok(blocking(cx, true, How { flags, ..how }, open)??.ok_or(Errno::ENXIO)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_taken_as_the_kernel_takes_them() {
        let path = How::of_open(PATH | CREAT | TRUNC | libc::O_RDWR as u64, 0o644);
        assert_eq!((path.flags, path.mode, path.writes()), (PATH, 0, false));
        let unknown = How::of_open(1 << 40 | CREAT, 0o17_777);
        assert_eq!((unknown.flags, unknown.mode), (CREAT, 0o7777));
        for (flags, writes, existing) in [
            (0, false, false),
            (1, true, true),
            (2, true, true),
            (3, true, true),
            (CREAT, true, false),
            (TRUNC, true, true),
            (TMPFILE | DIRECTORY | 2, true, true),
        ] {
            let how = How::of_open(flags, 0);
            assert_eq!((how.writes(), how.writes_existing()), (writes, existing), "{flags:o}");
        }
    }
}
