//! The slow path: one component at a time, every link expanded here and never by the kernel.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use super::Naming;
use crate::sys::creds;
use crate::sys::fs::{self, Stat};
use crate::sys::{Errno, Pid};
use crate::tracee::{Caller, Result};

/// As many links as the kernel follows (`MAXSYMLINKS`).
pub(super) const MAX_LINKS: u32 = 40;
/// The inode of a procfs's root, on which `self` and `thread-self` are.
const PROC_ROOT_INO: u64 = 1;

/// What a walk ends at.
pub(super) enum Found {
    /// A name in a directory that is no link to be followed, with a slash behind it where there was one.
    Name {
        /// The directory.
        dir: OwnedFd,
        /// The name.
        name: Vec<u8>,
    },
    /// An object: reached by a magic link, or a directory that the path ends in without a name.
    Object {
        /// `O_PATH` descriptor.
        fd: OwnedFd,
        /// The magic link is below the caller's own directory of procfs.
        own: bool,
    },
}

/// Walks the text of a directory, all links followed.
pub(super) fn directory(caller: &Caller<'_>, start: OwnedFd, text: &[u8]) -> Result<OwnedFd> {
    let mut text = text.to_vec();
    // The last component is not special here: whatever it is, it is to be a directory.
    text.extend_from_slice(b"/.");
    match Walk::new(caller, start, text).run(Naming { follow: true, create: false, exclusive: false })? {
        Found::Object { fd, .. } => Ok(fd),
        Found::Name { .. } => Err(Errno::ENOTDIR.into()),
    }
}

/// Walks a whole path.
pub(super) fn whole(caller: &Caller<'_>, start: OwnedFd, path: &[u8], naming: Naming) -> Result<Found> {
    Walk::new(caller, start, path.to_vec()).run(naming)
}

struct Walk<'c, 's> {
    caller: &'c Caller<'s>,
    dir: OwnedFd,
    /// What is still to be walked, in order.
    rest: Vec<u8>,
    links: u32,
}

/// What the link that was met says.
enum Link {
    /// A text to go on with.
    Text(Vec<u8>),
    /// The object that a magic link leads to.
    Magic { fd: OwnedFd, own: bool },
}

impl<'c, 's> Walk<'c, 's> {
    fn new(caller: &'c Caller<'s>, dir: OwnedFd, rest: Vec<u8>) -> Self {
        Self { caller, dir, rest, links: 0 }
    }

    fn run(mut self, naming: Naming) -> Result<Found> {
        loop {
            let slashes = self.rest.iter().take_while(|byte| **byte == b'/').count();
            self.rest.drain(..slashes);
            if self.rest.is_empty() {
                return Ok(Found::Object { fd: self.dir, own: false });
            }
            let len = self.rest.iter().position(|byte| *byte == b'/').unwrap_or(self.rest.len());
            let name: Vec<u8> = self.rest.drain(..len).collect();
            let slash = !self.rest.is_empty();
            let last = self.rest.iter().all(|byte| *byte == b'/');
            if name == b"." || name == b".." {
                // `..` of the root is the root; of a directory that was moved meanwhile, where it is now.
                self.dir = fs::pin_dir(self.dir.as_fd(), &fs::c_string(&name)?)?;
                continue;
            }
            let c_name = fs::c_string(&name)?;
            let pinned = match fs::pin(self.dir.as_fd(), &c_name) {
                Err(Errno::ENOENT) if last => return Ok(self.name(name, slash)),
                other => other?,
            };
            let stat = fs::fstat(pinned.as_fd())?;
            let follow = !last || naming.follows(if slash { b"/" } else { &name });
            if stat.is_link() && follow {
                self.links += 1;
                if self.links > MAX_LINKS {
                    return Err(Errno::ELOOP.into());
                }
                match self.link(&pinned, &name)? {
                    Link::Text(_) if last && self.is_protected(&stat)? => return Err(Errno::EACCES.into()),
                    Link::Text(text) => self.expand(text)?,
                    Link::Magic { fd, own } if last => {
                        if slash && !fs::fstat(fd.as_fd())?.is_dir() {
                            return Err(Errno::ENOTDIR.into());
                        }
                        return Ok(Found::Object { fd, own });
                    }
                    Link::Magic { fd, .. } => self.dir = fd,
                }
            } else if last {
                return Ok(self.name(name, slash));
            } else {
                self.dir = pinned;
            }
        }
    }

    fn name(self, mut name: Vec<u8>, slash: bool) -> Found {
        if slash {
            name.push(b'/');
        }
        Found::Name { dir: self.dir, name }
    }

    /// Whether the kernel would not follow a link at the end of a path: somebody else's, in a directory like `/tmp`, where
    /// `fs.protected_symlinks` is on. The thread has the caller's ids.
    fn is_protected(&self, link: &Stat) -> Result<bool> {
        const SHARED: u32 = libc::S_ISVTX | libc::S_IWOTH;
        if link.uid == creds::fsuid() || !protects_links() {
            return Ok(false);
        }
        let dir = fs::fstat(self.dir.as_fd())?;
        Ok(dir.mode & SHARED == SHARED && dir.uid != link.uid)
    }

    /// Puts the text of a link in front of what is left.
    fn expand(&mut self, mut text: Vec<u8>) -> Result<()> {
        match text.first() {
            None => return Err(Errno::ENOENT.into()),
            Some(b'/') => self.dir = fs::pin_dir(fs::cwd(), c"/")?,
            Some(_) => {}
        }
        text.append(&mut self.rest);
        self.rest = text;
        Ok(())
    }

    fn link(&self, link: &OwnedFd, name: &[u8]) -> Result<Link> {
        if fs::is_procfs(link.as_fd())?
            && let Some(link) = self.proc_link(name)?
        {
            return Ok(link);
        }
        Ok(Link::Text(text(link.as_fd())?))
    }

    /// The links of procfs that mean something else to us than to the caller.
    fn proc_link(&self, name: &[u8]) -> Result<Option<Link>> {
        let (tid, dir) = (self.caller.call.tid, self.dir.as_fd());
        if fs::fstat(dir)?.id.1 == PROC_ROOT_INO {
            let text = match name {
                b"self" => self.caller.tgid()?.to_string(),
                b"thread-self" => format!("{}/task/{tid}", self.caller.tgid()?),
                _ => return Ok(None),
            };
            return Ok(Some(Link::Text(text.into_bytes())));
        }
        let name = fs::c_string(name)?;
        let flags = libc::O_PATH as u64;
        match fs::openat2(dir, &name, flags, 0, libc::RESOLVE_NO_MAGICLINKS) {
            Err(Errno::ELOOP) => {}
            _ => return Ok(None),
        }
        let mut path = Vec::new();
        self.caller.sight.proc.path_of(dir, &mut path)?;
        super::may_follow(self.caller, dir, &path)?;
        // First opened, then looked at: what the link said before may have changed.
        let fd = fs::pin_magic(dir, &name)?;
        Ok(Some(Link::Magic { fd, own: self.is_own(&path)? }))
    }

    /// Whether the directory that the walk is in belongs to the caller's own process.
    fn is_own(&self, path: &[u8]) -> Result<bool> {
        Ok(process_of(path).is_some_and(|pid| pid == self.caller.call.tid)
            || process_of(path) == Some(self.caller.tgid()?))
    }
}

/// What a pinned link says.
pub(super) fn text(link: BorrowedFd<'_>) -> Result<Vec<u8>> {
    let mut text = vec![0; libc::PATH_MAX as usize];
    let len = fs::readlinkat(link, c"", &mut text)?;
    text.truncate(len);
    Ok(text)
}

/// `fs.protected_symlinks`, as it was when it was first asked for; what cannot be read counts as on.
fn protects_links() -> bool {
    static ON: OnceLock<bool> = OnceLock::new();
    *ON.get_or_init(|| {
        std::fs::read("/proc/sys/fs/protected_symlinks").map_or(true, |text| !text.starts_with(b"0"))
    })
}

/// The process of a path in `/proc`.
pub(crate) fn process_of(path: &[u8]) -> Option<Pid> {
    let rest = path.strip_prefix(b"/proc/")?;
    let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    Pid::new(std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_paths() {
        for (path, pid) in [
            ("/proc/1", Some(1)),
            ("/proc/4711/fd", Some(4711)),
            ("/proc/self", None),
            ("/proc/-1/fd", None),
            ("/proc/", None),
            ("/procs/1", None),
        ] {
            assert_eq!(process_of(path.as_bytes()).map(Pid::raw), pid, "{path}");
        }
    }
}
