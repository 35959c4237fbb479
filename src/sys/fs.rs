//! Files: each call on a directory descriptor and a name, or on a pinned (`O_PATH`) descriptor.
#![allow(unsafe_code)]

use std::cell::{Cell, OnceCell};
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::{CallerFd, Errno, Pid, Result, check, listing, unit};

/// Resolution that follows no link of any kind: what the broker uses on pinned directories.
pub(crate) const NO_LINKS: u64 = libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;

/// Which file our own root directory is.
pub(crate) fn own_root_id() -> Result<(u64, u64)> {
    Ok(stat_at(cwd(), c"/", 0)?.id)
}

/// Our working directory: only ever used with absolute paths.
pub(crate) fn cwd() -> BorrowedFd<'static> {
    nix::fcntl::AT_FDCWD
}

fn owned(result: libc::c_long) -> Result<OwnedFd> {
    let fd = check(result)?;
    // SAFETY: called with the result of an open-like call only: a new descriptor that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// openat2(2), close-on-exec and never acquiring a terminal.
pub(crate) fn openat2(
    dir: BorrowedFd<'_>,
    path: &CStr,
    flags: u64,
    mode: u64,
    resolve: u64,
) -> Result<OwnedFd> {
    // With O_PATH the kernel takes no flag but a few.
    let ours =
        if flags & libc::O_PATH as u64 != 0 { libc::O_CLOEXEC } else { libc::O_CLOEXEC | libc::O_NOCTTY };
    // SAFETY: `open_how` is three integers.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = flags | ours as u64;
    how.mode = mode;
    how.resolve = resolve;
    // SAFETY: the path is NUL-terminated; the kernel reads it and one `open_how` of the size given.
    owned(unsafe {
        libc::syscall(
            libc::SYS_openat2,
            dir.as_raw_fd(),
            path.as_ptr(),
            std::ptr::from_ref(&how),
            size_of::<libc::open_how>(),
        )
    })
}

/// Pins what `path` names below `dir`, following no link; a link as last component is pinned itself.
pub(crate) fn pin(dir: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd> {
    openat2(dir, path, (libc::O_PATH | libc::O_NOFOLLOW) as u64, 0, NO_LINKS)
}

/// Pins the directory that `path` names below `dir`, following no link.
pub(crate) fn pin_dir(dir: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd> {
    openat2(dir, path, (libc::O_PATH | libc::O_DIRECTORY) as u64, 0, NO_LINKS)
}

/// Pins what the magic link `name` in `dir` (a directory of procfs) leads to.
pub(crate) fn pin_magic(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    openat2(dir, name, libc::O_PATH as u64, 0, 0)
}

/// `/proc`, opened once at start; callers' descriptors and directories are reached through it.
#[derive(Debug)]
pub(crate) struct Proc {
    root: OwnedFd,
}

impl Proc {
    /// Opens `/proc` and checks that it is a procfs.
    pub(crate) fn open() -> Result<Self> {
        let root = openat2(cwd(), c"/proc", (libc::O_PATH | libc::O_DIRECTORY) as u64, 0, 0)?;
        if !is_procfs(borrow(&root))? {
            return Err(Errno::ENOSYS);
        }
        Ok(Self { root })
    }

    /// Whether a file is on this very procfs.
    pub(crate) fn is_same(&self, fd: BorrowedFd<'_>) -> Result<bool> {
        Ok(fstat(borrow(&self.root))?.id.0 == fstat(fd)?.id.0)
    }

    /// Pins the working directory of a thread.
    pub(crate) fn cwd(&self, tid: Pid) -> Result<OwnedFd> {
        pin_magic(borrow(&self.root), Name::new(format_args!("{tid}/cwd")).as_c())
    }

    /// Which file the root directory of a thread is.
    pub(crate) fn root_id(&self, tid: Pid) -> Result<(u64, u64)> {
        Ok(stat_at(borrow(&self.root), Name::new(format_args!("{tid}/root")).as_c(), 0)?.id)
    }

    /// Pins the program that a process runs.
    pub(crate) fn exe(&self, tid: Pid) -> Result<OwnedFd> {
        pin_magic(borrow(&self.root), Name::new(format_args!("{tid}/exe")).as_c())
    }

    /// Pins what a descriptor of a thread's table refers to. `EBADF` where there is none.
    pub(crate) fn fd(&self, tid: Pid, fd: CallerFd) -> Result<OwnedFd> {
        if fd.0 < 0 {
            return Err(Errno::EBADF);
        }
        pin_magic(borrow(&self.root), Name::new(format_args!("{tid}/fd/{}", fd.0)).as_c())
            .map_err(|errno| if errno == Errno::ENOENT { Errno::EBADF } else { errno })
    }

    /// Which file a descriptor of a thread's table refers to.
    pub(crate) fn fd_id(&self, tid: Pid, fd: CallerFd) -> Result<(u64, u64)> {
        Ok(stat_at(borrow(&self.root), Name::new(format_args!("{tid}/fd/{}", fd.0)).as_c(), 0)?.id)
    }

    /// How many descriptors a thread's table has: the size of its directory, since Linux 6.2.
    pub(crate) fn count_fds(&self, tid: Pid) -> Result<u64> {
        let stat = lstat(borrow(&self.root), Name::new(format_args!("{tid}/fd")).as_c())?;
        Ok(stat.size.unsigned_abs())
    }

    /// Whether a thread's table has this descriptor.
    pub(crate) fn has_fd(&self, tid: Pid, fd: CallerFd) -> bool {
        lstat(borrow(&self.root), Name::new(format_args!("{tid}/fd/{}", fd.0)).as_c()) != Err(Errno::ENOENT)
    }

    /// Reads a small text file of a thread, such as `status`, into `buf`.
    pub(crate) fn read<'b>(&self, tid: Pid, file: &str, buf: &'b mut [u8]) -> Result<&'b [u8]> {
        let fd = openat2(
            borrow(&self.root),
            Name::new(format_args!("{tid}/{file}")).as_c(),
            libc::O_RDONLY as u64,
            0,
            libc::RESOLVE_NO_SYMLINKS,
        )?;
        let mut len = 0;
        while len < buf.len() {
            // SAFETY: the kernel writes at most the length of the rest of `buf`.
            let n = unsafe { libc::read(fd.as_raw_fd(), buf[len..].as_mut_ptr().cast(), buf.len() - len) };
            match check(n as _)? {
                0 => break,
                n => len += n as usize,
            }
        }
        Ok(&buf[..len])
    }

    /// Reads all of a text file of a thread, of at most `limit` bytes: `E2BIG`.
    pub(crate) fn read_all(&self, tid: Pid, file: &str, limit: usize) -> Result<Vec<u8>> {
        let mut size = 1 << 13;
        loop {
            let mut buf = vec![0; size];
            let len = self.read(tid, file, &mut buf)?.len();
            if len < size {
                buf.truncate(len);
                return Ok(buf);
            }
            if size > limit {
                return Err(Errno::E2BIG);
            }
            size = (8 * size).min(limit + 1);
        }
    }

    /// The text of a link of a thread, such as `cwd`: for reports only.
    pub(crate) fn readlink(&self, tid: Pid, link: &str) -> Result<Vec<u8>> {
        let mut buf = vec![0; libc::PATH_MAX as usize];
        let len = readlinkat(borrow(&self.root), Name::new(format_args!("{tid}/{link}")).as_c(), &mut buf)?;
        buf.truncate(len);
        Ok(buf)
    }

    /// The path of a descriptor of ours, as the kernel writes it. `ENAMETOOLONG` above `PATH_MAX`.
    pub(crate) fn path_of(&self, fd: BorrowedFd<'_>, path: &mut Vec<u8>) -> Result<()> {
        let mut buf = [0; libc::PATH_MAX as usize];
        let len = OWN_FDS.with(|fds| {
            let fds = match fds.get() {
                Some(fds) => fds,
                None => {
                    let opened = pin_magic(borrow(&self.root), c"self/fd")?;
                    fds.get_or_init(|| opened)
                }
            };
            readlinkat(borrow(fds), Name::new(format_args!("{}", fd.as_raw_fd())).as_c(), &mut buf)
        })?;
        path.clear();
        path.extend_from_slice(&buf[..len]);
        Ok(())
    }

    /// The same of a directory, in which names may be looked up: where the thread has a working directory of its own, by
    /// going there, which costs a third of asking procfs. `ENOTDIR` and `EACCES` as for a look.
    pub(crate) fn path_of_dir(&self, dir: BorrowedFd<'_>, path: &mut Vec<u8>) -> Result<()> {
        match OWN_CWD.get() {
            true if path_by_going(dir, path)? => Ok(()),
            true => self.path_of(dir, path),
            false => pin_dir(dir, c".").and_then(|_| self.path_of(dir, path)),
        }
    }

    /// The path of a directory of ours that is too deep for [`Proc::path_of`]: from the last directory above it whose
    /// path the kernel can write, by the names of those in between.
    pub(crate) fn deep_path_of(&self, dir: BorrowedFd<'_>, path: &mut Vec<u8>) -> Result<()> {
        let mut names = Vec::new();
        let mut here = pin_dir(dir, c".")?;
        loop {
            match self.path_of(borrow(&here), path) {
                Err(Errno::ENAMETOOLONG) => {}
                other => break other?,
            }
            let above = pin_dir(borrow(&here), c"..")?;
            names.push(listing::name_in(borrow(&above), fstat(borrow(&here))?.id)?);
            here = above;
        }
        for name in names.iter().rev() {
            if !path.ends_with(b"/") {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
        Ok(())
    }
}

fn borrow(fd: &OwnedFd) -> BorrowedFd<'_> {
    std::os::fd::AsFd::as_fd(fd)
}

/// A short NUL-terminated name made without allocating.
struct Name {
    buf: [u8; 64],
    len: usize,
}

impl Name {
    fn new(text: std::fmt::Arguments<'_>) -> Self {
        let mut name = Self { buf: [0; 64], len: 0 };
        // Longer than two numbers and a word it never is; cut short it would name nothing.
        let _ = std::fmt::Write::write_fmt(&mut name, text);
        name
    }

    fn as_c(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.buf).unwrap_or(c"")
    }
}

impl std::fmt::Write for Name {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        if end >= self.buf.len() {
            return Err(std::fmt::Error);
        }
        self.buf[self.len..end].copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// `/proc/thread-self/fd/N`: the object of a pinned descriptor, for calls that take only a path.
fn magic_path(fd: BorrowedFd<'_>) -> Name {
    Name::new(format_args!("/proc/thread-self/fd/{}", fd.as_raw_fd()))
}

/// The same as the path of a unix socket.
pub(crate) fn socket_path(fd: BorrowedFd<'_>) -> Vec<u8> {
    magic_path(fd).as_c().to_bytes().to_vec()
}

thread_local! {
    /// Our own directory of descriptors. Of the thread, so that it is that of this process: after a fork all are new.
    static OWN_FDS: OnceCell<OwnedFd> = const { OnceCell::new() };
    /// Whether the thread's working directory is its own, to be changed as it likes.
    static OWN_CWD: Cell<bool> = const { Cell::new(false) };
}

/// Gives the calling thread a working directory and umask of its own: unshare(2) with `CLONE_FS`.
pub(crate) fn unshare_fs() -> Result<()> {
    // SAFETY: no memory is passed; only this thread's fs_struct is copied.
    unit(unsafe { libc::unshare(libc::CLONE_FS) }.into())?;
    OWN_CWD.set(true);
    Ok(())
}

/// The path of a directory by getcwd(2) in it; `false` where that is not to be had: it was removed or is too deep. One that
/// is not below our root has a text that is no path: procfs would say what it is called where it is.
fn path_by_going(dir: BorrowedFd<'_>, path: &mut Vec<u8>) -> Result<bool> {
    let mut buf = [0_u8; libc::PATH_MAX as usize];
    fchdir(dir)?;
    // SAFETY: the kernel writes at most the length of `buf`. The raw call, for it says how much it wrote.
    let len = check(unsafe { libc::syscall(libc::SYS_getcwd, buf.as_mut_ptr(), buf.len()) });
    // A working directory keeps its file system busy.
    // SAFETY: the path is NUL-terminated.
    let _ = unsafe { libc::chdir(c"/".as_ptr()) };
    let text = len.ok().and_then(|len| buf.get(..(len as usize).checked_sub(1)?));
    let Some(text) = text else { return Ok(false) };
    path.clear();
    path.extend_from_slice(text);
    Ok(true)
}

/// fcntl(2): takes `O_NONBLOCK` off an open file description.
pub(crate) fn clear_nonblock(fd: BorrowedFd<'_>) -> Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags & !OFlag::O_NONBLOCK)).map(|_| ())
}

/// fchdir(2): of the calling thread, where that has a working directory of its own.
pub(crate) fn fchdir(dir: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: no memory is passed.
    unit(unsafe { libc::fchdir(dir.as_raw_fd()) }.into())
}

/// readlinkat(2); with an empty name, of the pinned link itself. Returns the length.
pub(crate) fn readlinkat(dir: BorrowedFd<'_>, name: &CStr, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: the name is NUL-terminated; the kernel writes at most `buf.len()` bytes.
    let n = unsafe { libc::readlinkat(dir.as_raw_fd(), name.as_ptr(), buf.as_mut_ptr().cast(), buf.len()) };
    Ok(check(n as _)? as usize)
}

/// What stat(2) tells of a file, as far as the broker asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Device and inode: the identity of the file.
    pub(crate) id: (u64, u64),
    /// Type and permission bits.
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u32,
    /// Links.
    pub(crate) nlink: u64,
    /// The device that a device node names.
    pub(crate) rdev: u64,
    /// Size in bytes.
    pub(crate) size: i64,
}

/// What a look at a file brought.
pub(crate) type Outcome = Result<Stat>;

impl Stat {
    /// The type bits.
    pub(crate) fn kind(&self) -> u32 {
        self.mode & libc::S_IFMT
    }
    /// Whether it is a directory.
    pub(crate) fn is_dir(&self) -> bool {
        self.kind() == libc::S_IFDIR
    }
    /// Whether it is a symbolic link.
    pub(crate) fn is_link(&self) -> bool {
        self.kind() == libc::S_IFLNK
    }
}

fn stat_at(dir: BorrowedFd<'_>, name: &CStr, flags: i32) -> Result<Stat> {
    // SAFETY: `stat` is plain integers.
    let mut raw: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the name is NUL-terminated; the kernel writes one `stat`.
    unit(unsafe { libc::fstatat(dir.as_raw_fd(), name.as_ptr(), &raw mut raw, flags) }.into())?;
    Ok(Stat {
        id: (raw.st_dev, raw.st_ino),
        mode: raw.st_mode,
        uid: raw.st_uid,
        nlink: raw.st_nlink,
        rdev: raw.st_rdev,
        size: raw.st_size,
    })
}

/// fstat(2).
pub(crate) fn fstat(fd: BorrowedFd<'_>) -> Result<Stat> {
    stat_at(fd, c"", libc::AT_EMPTY_PATH)
}

/// lstat(2) of a name in a pinned directory.
pub(crate) fn lstat(dir: BorrowedFd<'_>, name: &CStr) -> Result<Stat> {
    stat_at(dir, name, libc::AT_SYMLINK_NOFOLLOW)
}

/// Whether a descriptor of ours was opened with `O_PATH`.
pub(crate) fn is_path_only(fd: BorrowedFd<'_>) -> Result<bool> {
    // SAFETY: F_GETFL passes no memory.
    Ok(check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) }.into())? as i32 & libc::O_PATH != 0)
}

/// Whether the file is on a procfs, where links may be magic.
pub(crate) fn is_procfs(fd: BorrowedFd<'_>) -> Result<bool> {
    // SAFETY: `statfs` is plain integers.
    let mut raw: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `statfs`.
    unit(unsafe { libc::fstatfs(fd.as_raw_fd(), &raw mut raw) }.into())?;
    Ok(raw.f_type == libc::PROC_SUPER_MAGIC)
}

/// Opens the object of a pinned descriptor anew, with these flags (and this mode, for `O_TMPFILE`).
pub(crate) fn reopen_mode(fd: BorrowedFd<'_>, flags: u64, mode: u64) -> Result<OwnedFd> {
    openat2(cwd(), magic_path(fd).as_c(), flags, mode, 0)
}

/// mkdirat(2).
pub(crate) fn mkdirat(dir: BorrowedFd<'_>, name: &CStr, mode: u32) -> Result<()> {
    // SAFETY: the name is NUL-terminated.
    unit(unsafe { libc::mkdirat(dir.as_raw_fd(), name.as_ptr(), mode) }.into())
}

/// mknodat(2), with the kernel's own encoding of the device.
pub(crate) fn mknodat(dir: BorrowedFd<'_>, name: &CStr, mode: u32, dev: u32) -> Result<()> {
    // SAFETY: the name is NUL-terminated. The raw call takes the 32-bit encoding that callers use.
    unit(unsafe { libc::syscall(libc::SYS_mknodat, dir.as_raw_fd(), name.as_ptr(), mode, dev) })
}

/// unlinkat(2); flags are 0 or `AT_REMOVEDIR`.
pub(crate) fn unlinkat(dir: BorrowedFd<'_>, name: &CStr, flags: i32) -> Result<()> {
    // SAFETY: the name is NUL-terminated.
    unit(unsafe { libc::unlinkat(dir.as_raw_fd(), name.as_ptr(), flags) }.into())
}

/// renameat2(2).
pub(crate) fn renameat2(
    from: BorrowedFd<'_>,
    old: &CStr,
    to: BorrowedFd<'_>,
    new: &CStr,
    flags: u32,
) -> Result<()> {
    // SAFETY: both names are NUL-terminated.
    unit(unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            from.as_raw_fd(),
            old.as_ptr(),
            to.as_raw_fd(),
            new.as_ptr(),
            flags,
        )
    })
}

/// linkat(2) of a pinned object under a new name.
pub(crate) fn link_object(fd: BorrowedFd<'_>, to: BorrowedFd<'_>, new: &CStr) -> Result<()> {
    let source = magic_path(fd);
    let (from, old) = (libc::AT_FDCWD, source.as_c().as_ptr());
    // SAFETY: both names are NUL-terminated.
    unit(unsafe { libc::linkat(from, old, to.as_raw_fd(), new.as_ptr(), libc::AT_SYMLINK_FOLLOW) }.into())
}

/// symlinkat(2).
pub(crate) fn symlinkat(target: &CStr, dir: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    // SAFETY: both texts are NUL-terminated.
    unit(unsafe { libc::symlinkat(target.as_ptr(), dir.as_raw_fd(), name.as_ptr()) }.into())
}

/// truncate(2) of a pinned object.
pub(crate) fn truncate(fd: BorrowedFd<'_>, length: i64) -> Result<()> {
    // SAFETY: the path is NUL-terminated.
    unit(unsafe { libc::truncate(magic_path(fd).as_c().as_ptr(), length) }.into())
}

/// chmod(2) of an open file, or of a pinned object that is no link.
pub(crate) fn chmod(fd: BorrowedFd<'_>, mode: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    match unit(unsafe { libc::fchmod(fd.as_raw_fd(), mode) }.into()) {
        // It is only pinned.
        Err(Errno::EBADF) => {}
        done => return done,
    }
    let path = magic_path(fd);
    // SAFETY: the path is NUL-terminated. The raw call has no flags, and no emulation of them.
    unit(unsafe { libc::syscall(libc::SYS_fchmodat, libc::AT_FDCWD, path.as_c().as_ptr(), mode) })
}

/// chown(2) of a pinned object, links included; `u32::MAX` leaves an id as it is.
pub(crate) fn chown(fd: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<()> {
    // SAFETY: the empty name is NUL-terminated.
    unit(unsafe { libc::fchownat(fd.as_raw_fd(), c"".as_ptr(), uid, gid, libc::AT_EMPTY_PATH) }.into())
}

/// A time of `utimensat`, in the layout of 64-bit kernels.
pub(crate) type Timespec = libc::timespec;

/// utimensat(2) of a pinned object, links included; without times, now.
pub(crate) fn utimens(fd: BorrowedFd<'_>, times: Option<[Timespec; 2]>) -> Result<()> {
    let pointer = times.as_ref().map_or(std::ptr::null(), |times| times.as_ptr());
    // SAFETY: the empty name is NUL-terminated; the kernel reads two `timespec` if the pointer is not null.
    unit(unsafe {
        libc::syscall(libc::SYS_utimensat, fd.as_raw_fd(), c"".as_ptr(), pointer, libc::AT_EMPTY_PATH)
    })
}

/// setxattr(2) of a pinned object, links included.
pub(crate) fn setxattr(fd: BorrowedFd<'_>, name: &CStr, value: &[u8], flags: i32) -> Result<()> {
    let path = magic_path(fd);
    // SAFETY: path and name are NUL-terminated; the kernel reads `value.len()` bytes of `value`.
    unit(
        unsafe {
            libc::setxattr(path.as_c().as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), flags)
        }
        .into(),
    )
}

/// getxattr(2) of a pinned object, links included: the length, with an empty buffer that of the value.
pub(crate) fn getxattr(fd: BorrowedFd<'_>, name: &CStr, buf: &mut [u8]) -> Result<usize> {
    let path = magic_path(fd);
    // SAFETY: path and name are NUL-terminated; the kernel writes at most `buf.len()` bytes.
    let n =
        unsafe { libc::getxattr(path.as_c().as_ptr(), name.as_ptr(), buf.as_mut_ptr().cast(), buf.len()) };
    Ok(check(n as _)? as usize)
}

/// listxattr(2) of a pinned object, links included: the length, with an empty buffer that of the list.
pub(crate) fn listxattr(fd: BorrowedFd<'_>, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: the path is NUL-terminated; the kernel writes at most `buf.len()` bytes.
    let n = unsafe { libc::listxattr(magic_path(fd).as_c().as_ptr(), buf.as_mut_ptr().cast(), buf.len()) };
    Ok(check(n as _)? as usize)
}

/// removexattr(2) of a pinned object, links included.
pub(crate) fn removexattr(fd: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    // SAFETY: path and name are NUL-terminated.
    unit(unsafe { libc::removexattr(magic_path(fd).as_c().as_ptr(), name.as_ptr()) }.into())
}

/// faccessat2(2) of a pinned object; flags may be 0 or `AT_EACCESS`.
pub(crate) fn access(fd: BorrowedFd<'_>, mode: i32, flags: i32) -> Result<()> {
    let flags = flags | libc::AT_EMPTY_PATH;
    // SAFETY: the empty name is NUL-terminated.
    unit(unsafe { libc::syscall(libc::SYS_faccessat2, fd.as_raw_fd(), c"".as_ptr(), mode, flags) })
}

/// file_setattr(2) (Linux 6.17) of a pinned object: `attributes` as the caller gave them.
pub(crate) fn file_setattr(fd: BorrowedFd<'_>, attributes: &[u8]) -> Result<()> {
    const SYS_FILE_SETATTR: libc::c_long = 469;
    let path = magic_path(fd);
    // SAFETY: the path is NUL-terminated; the kernel reads `attributes.len()` bytes.
    unit(unsafe {
        libc::syscall(
            SYS_FILE_SETATTR,
            libc::AT_FDCWD,
            path.as_c().as_ptr(),
            attributes.as_ptr(),
            attributes.len(),
            0,
        )
    })
}

/// ioctl(2) whose argument is `argument`, read by the kernel: `FS_IOC_SETFLAGS`, `FS_IOC_FSSETXATTR`.
pub(crate) fn ioctl_write(fd: BorrowedFd<'_>, command: u32, argument: &[u8; 32]) -> Result<()> {
    // SAFETY: the commands that the table hands over read at most 28 bytes at the pointer, and write none.
    unit(unsafe { libc::ioctl(fd.as_raw_fd(), command as _, argument.as_ptr()) }.into())
}

/// A NUL-terminated copy of a name. `EINVAL` where it has a NUL inside, which no name from the kernel has.
pub(crate) fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| Errno::EINVAL)
}
