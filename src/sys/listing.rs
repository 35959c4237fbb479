//! What is in directories.
#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::dir::{Dir, Type};

use super::fs::{NO_LINKS, Stat, c_string, lstat, openat2};
use super::{Errno, Result};

/// The name that a directory with this identity has in the one above it.
pub(crate) fn name_in(above: BorrowedFd<'_>, id: (u64, u64)) -> Result<Vec<u8>> {
    let flags = (libc::O_RDONLY | libc::O_DIRECTORY) as u64;
    let mut listing = Dir::from_fd(openat2(above, c".", flags, 0, NO_LINKS)?)?;
    for entry in listing.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." && lstat(above, name).is_ok_and(|stat| stat.id == id) {
            return Ok(name.to_bytes().to_vec());
        }
    }
    Err(Errno::ENOENT)
}

/// Whether the directory `name` in `dir` is empty, as far as we may look: one that cannot be read counts as such.
pub(crate) fn is_empty_dir(dir: BorrowedFd<'_>, name: &CStr) -> bool {
    let flags = (libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW) as u64;
    let Ok(fd) = openat2(dir, name, flags, 0, NO_LINKS) else { return true };
    let Ok(mut listing) = Dir::from_fd(fd) else { return true };
    listing.iter().take(3).count() <= 2
}

/// The sockets below the directory `name` in `dir`: the path of each from there, and what it is. What is removed meanwhile does not
/// count. `E2BIG` if there are more entries than `most`, `EACCES` if not all may be read.
pub(crate) fn sockets_below(
    dir: BorrowedFd<'_>,
    name: &CStr,
    most: usize,
    mut each: impl FnMut(&[u8], &Stat),
) -> Result<()> {
    let flags = (libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW) as u64;
    let top = openat2(dir, name, flags, 0, NO_LINKS)?;
    let mut todo = vec![Vec::new()];
    let mut seen = 0;
    while let Some(path) = todo.pop() {
        let below = if path.is_empty() { c".".to_owned() } else { c_string(&path)? };
        let opened = match openat2(top.as_fd(), &below, flags, 0, NO_LINKS) {
            Err(Errno::ENOENT) if !path.is_empty() => continue,
            opened => opened?,
        };
        let mut listing = Dir::from_fd(opened)?;
        for entry in listing.iter() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            seen += 1;
            if seen > most {
                return Err(Errno::E2BIG);
            }
            let path = if path.is_empty() { name.to_vec() } else { [&path, &b"/"[..], name].concat() };
            // Not every file system says what it is.
            let stat = match entry.file_type() {
                Some(Type::Socket) | None => match lstat(top.as_fd(), &c_string(&path)?) {
                    Err(Errno::ENOENT) => continue,
                    stat => stat?,
                },
                Some(Type::Directory) => {
                    todo.push(path);
                    continue;
                }
                Some(_) => continue,
            };
            match stat.kind() {
                libc::S_IFDIR => todo.push(path),
                libc::S_IFSOCK => each(&path, &stat),
                _ => {}
            }
        }
    }
    Ok(())
}
