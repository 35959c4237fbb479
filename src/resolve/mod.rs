//! Pathname resolution: (caller, directory descriptor, path) to a pinned object and its canonical path.
//!
//! The fast path is one openat2(2) that refuses every link. Where it meets one, the slow path ([`walk`]) goes
//! component by component, expands links itself, maps `/proc/self` to the caller and follows magic links by
//! pinning what they lead to. Nothing that was resolved here is resolved again: the broker acts on the pinned
//! directory and the last name, or on the pinned object.
#![forbid(unsafe_code)]

mod outside;
mod walk;

pub(crate) use outside::{may_follow, may_open};
pub(crate) use walk::process_of;

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::fs::{self, Outcome, Stat};
use crate::sys::{CallerFd, Errno};
use crate::tracee::{Caller, Result};

/// An absolute path without links, `.`, `..` or repeated slashes, as the kernel names a pinned object. Any bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct CanonicalPath(Vec<u8>);

impl CanonicalPath {
    /// The bytes of the path.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A name in a pinned directory.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The directory.
    pub(crate) dir: OwnedFd,
    /// The name in it, with a slash behind it where the caller wrote one. No link is followed by using it with
    /// the `*at` calls that create, remove and rename.
    pub(crate) name: CString,
    /// The path of the name.
    pub(crate) path: CanonicalPath,
    /// The name is `.`, `..` or nothing (the root): nothing can be created or removed there, and the kernel's
    /// call on it fails with the right errno.
    pub(crate) fixed: bool,
}

impl Entry {
    /// What has the name now.
    pub(crate) fn look(&self) -> Outcome {
        fs::lstat(self.dir.as_fd(), &self.name)
    }
}

/// A pinned object.
#[derive(Debug)]
pub(crate) struct Object {
    /// `O_PATH` descriptor of it.
    pub(crate) fd: OwnedFd,
    /// What it is.
    pub(crate) stat: Stat,
    /// Where it is.
    pub(crate) place: Place,
}

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// At this path.
    At(CanonicalPath),
    /// Nowhere (a pipe, a socket, a deleted file), and reached by a descriptor of the caller's own.
    Own,
    /// Nowhere that can be judged: somebody else's pipe, or a path outside our root.
    Foreign,
}

/// What an open means.
#[derive(Debug)]
pub(crate) enum Target {
    /// A name in a directory that is no link to be followed, and what a look at it brought. `None`: nobody has looked,
    /// because it is to be created.
    Entry(Entry, Option<Outcome>),
    /// An object that was reached by a magic link, or that is a directory named by `.`, `..` or `/`.
    Object(Object),
}

/// Resolves the path for a call that creates, removes or renames: the last component is never followed.
pub(crate) fn entry(caller: &Caller<'_>, base: Base, path: &CStr) -> Result<Entry> {
    let (parent, name) = split(path.to_bytes());
    let dir = match base {
        Base::Dir(dir) if parent.is_empty() => dir,
        base => match base.dir(parent) {
            Err(Errno::ELOOP) => walk::directory(caller, base.start()?, parent)?,
            other => other?,
        },
    };
    new_entry(caller, dir, name)
}

/// What the last component of the path of an open means.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Naming {
    /// A link is followed; a slash behind it means the same.
    pub(crate) follow: bool,
    /// It may be created. Then a name with a slash behind it is refused (`EISDIR`) whatever it is, so it is left to
    /// the kernel.
    pub(crate) create: bool,
    /// It must be created: whatever has the name now, it is not followed, and need not be looked at.
    pub(crate) exclusive: bool,
}

impl Naming {
    fn follows(self, name: &[u8]) -> bool {
        if name.ends_with(b"/") { !self.create } else { self.follow }
    }
}

/// Resolves the path for an open.
pub(crate) fn target(caller: &Caller<'_>, base: Base, path: &CStr, naming: Naming) -> Result<Target> {
    let bytes = path.to_bytes();
    let (parent, name) = split(bytes);
    let base = match base {
        Base::Dir(dir) if is_plain(name) && parent.is_empty() => match in_dir(caller, dir, name, naming)? {
            Ok(target) => return Ok(target),
            Err(dir) => Base::Dir(dir),
        },
        base if is_plain(name) => match base.dir(parent) {
            Err(Errno::ELOOP) => base,
            Err(errno) => return Err(errno.into()),
            Ok(dir) => match in_dir(caller, dir, name, naming)? {
                Ok(target) => return Ok(target),
                Err(_) => base,
            },
        },
        base => base,
    };
    match walk::whole(caller, base.start()?, bytes, naming)? {
        walk::Found::Name { dir, name } => Ok(looked_at(new_entry(caller, dir, &name)?)),
        walk::Found::Object { fd, own } => Ok(Target::Object(new_object(caller, fd, own)?)),
    }
}

/// The name in a pinned directory; the directory again, where the name is a link that is to be followed.
fn in_dir(
    caller: &Caller<'_>,
    dir: OwnedFd,
    name: &[u8],
    naming: Naming,
) -> Result<std::result::Result<Target, OwnedFd>> {
    let entry = new_entry(caller, dir, name)?;
    if naming.exclusive {
        return Ok(Ok(Target::Entry(entry, None)));
    }
    let outcome = entry.look();
    // With a slash behind the name the look went through the link already.
    let link = match name.ends_with(b"/") {
        true => {
            naming.follows(name)
                && fs::lstat(entry.dir.as_fd(), trim(&entry.name)?.as_c_str()).is_ok_and(|s| s.is_link())
        }
        false => naming.follow && outcome.is_ok_and(|stat| stat.is_link()),
    };
    Ok(if link { Err(entry.dir) } else { Ok(Target::Entry(entry, Some(outcome))) })
}

fn looked_at(entry: Entry) -> Target {
    let outcome = entry.look();
    Target::Entry(entry, Some(outcome))
}

/// Resolves for openat2 with `RESOLVE_` flags: the kernel does it below the base with these flags, among them
/// `RESOLVE_NO_MAGICLINKS`. What it finds is pinned, to be judged by where it is.
pub(crate) fn restricted(
    caller: &Caller<'_>,
    base: Base,
    path: &CStr,
    naming: Naming,
    resolve: u64,
) -> Result<Target> {
    let mut path = path.to_bytes().to_vec();
    for _ in 0..=walk::MAX_LINKS {
        let (parent, name) = split(&path);
        if !(naming.create && is_plain(name) && name.ends_with(b"/")) {
            let pin = libc::O_PATH | if naming.follow { 0 } else { libc::O_NOFOLLOW };
            match fs::openat2(base.fd(), &fs::c_string(&path)?, pin as u64, 0, resolve) {
                Ok(fd) => {
                    // The text of /proc/self is ours here, not the caller's.
                    if fs::is_procfs(fd.as_fd())? {
                        return Err(Errno::EXDEV.into());
                    }
                    return Ok(Target::Object(new_object(caller, fd, false)?));
                }
                Err(Errno::ENOENT) if naming.create => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let above = fs::c_string(&[parent, b"."].concat())?;
        let flags = (libc::O_PATH | libc::O_DIRECTORY) as u64;
        let entry = new_entry(caller, fs::openat2(base.fd(), &above, flags, 0, resolve)?, name)?;
        let link = match naming.follows(name) && !entry.fixed {
            true => fs::pin(entry.dir.as_fd(), &entry.name).ok(),
            false => None,
        };
        let Some(link) = link.filter(|link| fs::fstat(link.as_fd()).is_ok_and(|stat| stat.is_link())) else {
            return Ok(looked_at(entry));
        };
        // A link to what is not there yet.
        let text = walk::text(link.as_fd())?;
        path = if text.starts_with(b"/") { text } else { [parent, text.as_slice()].concat() };
    }
    Err(Errno::ELOOP.into())
}

/// Resolves the path to an object that exists.
pub(crate) fn object(caller: &Caller<'_>, base: Base, path: &CStr, follow: bool) -> Result<Object> {
    let bytes = path.to_bytes();
    // Without `follow` the link itself is meant, but for a slash behind it.
    let follow = follow || bytes.ends_with(b"/");
    let fast = match follow {
        true => fs::openat2(base.fd(), path, libc::O_PATH as u64, 0, fs::NO_LINKS),
        false => fs::pin(base.fd(), path),
    };
    match fast {
        Ok(fd) => {
            let object = new_object(caller, fd, false)?;
            if object.place != Place::Foreign {
                return Ok(object);
            }
        }
        Err(Errno::ELOOP) => {}
        Err(errno) => return Err(errno.into()),
    }
    match walk::whole(caller, base.start()?, bytes, Naming { follow, create: false, exclusive: false })? {
        walk::Found::Object { fd, own } => new_object(caller, fd, own),
        walk::Found::Name { dir, name } => {
            let fd = fs::pin(dir.as_fd(), &fs::c_string(&name)?)?;
            let object = new_object(caller, fd, false)?;
            match object.place {
                // Too deep for the kernel to write its path; that of its directory can be found.
                Place::Foreign => {
                    let place = Place::At(new_entry(caller, dir, &name)?.path);
                    Ok(Object { place, ..object })
                }
                _ => Ok(object),
            }
        }
    }
}

/// The object of a descriptor of the caller's (`AT_FDCWD`: of its working directory).
pub(crate) fn descriptor(caller: &Caller<'_>, base: Base) -> Result<Object> {
    match base {
        Base::Root => Err(Errno::EBADF.into()),
        Base::Dir(fd) => new_object(caller, fd, true),
    }
}

/// Where a path begins. Pinned before the caller's identity is taken on, because a process may be kept from
/// looking at itself through procfs.
pub(crate) enum Base {
    /// The root.
    Root,
    /// A directory of the caller's.
    Dir(OwnedFd),
}

impl Base {
    /// What a descriptor of the caller's refers to.
    pub(crate) fn descriptor(caller: &Caller<'_>, fd: CallerFd) -> Result<Self> {
        let fd = if fd.0 == libc::AT_FDCWD { caller.cwd()? } else { caller.descriptor(fd)? };
        Ok(Self::Dir(fd))
    }

    /// Where `path` begins: what is absolute needs no descriptor, not even a valid one.
    pub(crate) fn new(caller: &Caller<'_>, at: CallerFd, path: &CStr) -> Result<Self> {
        match path.to_bytes().first() {
            None => Err(Errno::ENOENT.into()),
            Some(b'/') => Ok(Self::Root),
            Some(_) if at.0 == libc::AT_FDCWD => Ok(Self::Dir(caller.cwd()?)),
            Some(_) => Ok(Self::Dir(caller.directory(at)?)),
        }
    }

    /// The same once more.
    pub(crate) fn duplicate(&self) -> Result<Self> {
        match self {
            Self::Root => Ok(Self::Root),
            Self::Dir(fd) => Ok(Self::Dir(fd.try_clone().map_err(|_| Errno::EMFILE)?)),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            // Only absolute paths have this base.
            Self::Root => fs::cwd(),
            Self::Dir(fd) => fd.as_fd(),
        }
    }

    /// Pins the directory of this text below the base, following no link.
    fn dir(&self, parent: &[u8]) -> std::result::Result<OwnedFd, Errno> {
        // The dot, so that the kernel asks here whether names in the directory may be looked up, as it does for the
        // caller. A parent that is not empty ends with a slash.
        fs::pin_dir(self.fd(), &fs::c_string(&[parent, b"."].concat())?)
    }

    /// A descriptor to begin a walk from.
    fn start(self) -> Result<OwnedFd> {
        match self {
            Self::Root => Ok(fs::pin_dir(fs::cwd(), c"/")?),
            Self::Dir(fd) => Ok(fd),
        }
    }
}

/// The text of the directory and that of the last component with the slashes behind it.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let start = path[..end].iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    if end == 0 { (path, &path[path.len()..]) } else { path.split_at(start) }
}

/// Whether a last component is a name, and not `.`, `..` or nothing.
fn is_plain(name: &[u8]) -> bool {
    let bare = bare(name);
    !(bare.is_empty() || bare == b"." || bare == b"..")
}

fn bare(name: &[u8]) -> &[u8] {
    name.split(|byte| *byte == b'/').next().unwrap_or_default()
}

fn trim(name: &CStr) -> Result<CString> {
    Ok(fs::c_string(bare(name.to_bytes()))?)
}

fn new_entry(caller: &Caller<'_>, dir: OwnedFd, name: &[u8]) -> Result<Entry> {
    let mut path = Vec::new();
    match caller.sight.proc.path_of_dir(dir.as_fd(), &mut path) {
        Err(Errno::ENAMETOOLONG) => caller.sight.proc.deep_path_of(dir.as_fd(), &mut path)?,
        other => other?,
    }
    let fixed = !is_plain(name);
    if !fixed {
        if path != b"/" {
            path.push(b'/');
        }
        path.extend_from_slice(bare(name));
    }
    let mut text = bare(name).to_vec();
    match (text.is_empty(), name.ends_with(b"/")) {
        // The root, as the kernel's calls know it.
        (true, _) => text.push(b'/'),
        (false, true) => text.push(b'/'),
        (false, false) => {}
    }
    Ok(Entry { dir, name: fs::c_string(&text)?, path: CanonicalPath(path), fixed })
}

fn new_object(caller: &Caller<'_>, fd: OwnedFd, own: bool) -> Result<Object> {
    let stat = fs::fstat(fd.as_fd())?;
    let mut path = Vec::new();
    match caller.sight.proc.path_of(fd.as_fd(), &mut path) {
        Err(Errno::ENAMETOOLONG) if stat.is_dir() => caller.sight.proc.deep_path_of(fd.as_fd(), &mut path)?,
        // Of a file nobody can say what is above it.
        Err(Errno::ENAMETOOLONG) => return Ok(Object { fd, stat, place: Place::Foreign }),
        other => other?,
    }
    let nowhere = || if own { Place::Own } else { Place::Foreign };
    let place = match path.first() {
        Some(b'/') if stat.nlink > 0 => Place::At(CanonicalPath(path)),
        Some(b'/') => nowhere(),
        _ if path.starts_with(b"(") => Place::Foreign,
        _ => nowhere(),
    };
    Ok(Object { fd, stat, place })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_split_as_the_kernel_does() {
        for (path, parent, name) in [
            ("a", "", "a"),
            ("a/", "", "a/"),
            ("a/b", "a/", "b"),
            ("a//b//", "a//", "b//"),
            ("/a", "/", "a"),
            ("/", "/", ""),
            ("//", "//", ""),
            ("a/.", "a/", "."),
            ("..", "", ".."),
            ("/a/../", "/a/", "../"),
        ] {
            assert_eq!(split(path.as_bytes()), (parent.as_bytes(), name.as_bytes()), "{path}");
        }
    }

    #[test]
    fn dots_and_the_root_are_no_names() {
        for (name, plain) in
            [("a", true), ("a/", true), ("...", true), (".", false), ("../", false), ("", false)]
        {
            assert_eq!(is_plain(name.as_bytes()), plain, "{name}");
        }
    }
}
