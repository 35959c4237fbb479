//! Calls that open, create, remove, rename, look at and execute what a path names.
#![forbid(unsafe_code)]

use super::super::row::Action::{Allow, Notify};
use super::super::row::{At, Call, Class, Cond, Number, Op, Row, Rule};

const O_PATH: u32 = libc::O_PATH as u32;

/// Open flags that change something: an access mode other than reading (3 is neither reading nor writing
/// and counts as writing), a new file, a truncation. Of the two bits of `O_TMPFILE` only the one that is
/// not `O_DIRECTORY`, which whoever reads a directory sets as well.
const WRITES: u32 =
    (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u32;

/// With `O_PATH` the kernel ignores all bits that change something. A file opened for reading and writing
/// matters to a sandbox that mediates reading alone, too.
macro_rules! open {
    ($name:literal, $op:expr, flags: $flags:literal) => {
        Row::new(
            $name,
            &[
                // It can be used for nothing but as a place to start from, and is judged then.
                Rule::when(&[Cond::any($flags, O_PATH)], Allow),
                Rule::when(&[Cond::any($flags, WRITES)], Notify(Class::WriteOrRead)),
            ],
            Notify(Class::Read),
        )
        .call($op.flags($flags).value($flags + 1))
    };
}

/// Programs ask all the time what they may read or execute, and only `W_OK` has another answer here.
macro_rules! access {
    ($name:literal, mode: $mode:literal, $call:expr) => {
        Row::new(
            $name,
            &[Rule::when(&[Cond::any($mode, libc::W_OK as u32)], Notify(Class::WriteOrRead))],
            Notify(Class::Read),
        )
        .call($call.value($mode))
    };
}

/// Magic is a following stat of an absolute name, and what asks for that passes `AT_FDCWD`. The rest of
/// the stats, which `find`, `git status` and `rm -r` live on, stays in the kernel.
macro_rules! magic {
    ($name:literal, $op:expr, flags: $flags:literal, buffer: $buffer:literal) => {
        Row::new(
            $name,
            &[Rule::when(
                &[Cond::is(0, libc::AT_FDCWD as u32), Cond::clear($flags, NO_MAGIC)],
                Notify(Class::Magic),
            )],
            Allow,
        )
        .call(Call::new($op, At::dirfd(0, 1)).flags($flags).value($buffer))
    };
}

const NO_MAGIC: u32 = (libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) as u32;

pub(super) static ROWS: &[Row] = &[
    // Opening.
    open!("open", Call::new(Op::Open, At::path(0)), flags: 1),
    open!("openat", Call::new(Op::Open, At::dirfd(0, 1)), flags: 2),
    // Its flags are in memory.
    Row::notify("openat2", Class::WriteOrRead, Call::new(Op::Openat2, At::dirfd(0, 1)).value(2)),
    Row::notify("creat", Class::Write, Call::new(Op::Creat, At::path(0)).value(1)),
    // Creating.
    Row::notify("mkdir", Class::Write, Call::new(Op::Mkdir, At::path(0)).value(1)),
    Row::notify("mkdirat", Class::Write, Call::new(Op::Mkdir, At::dirfd(0, 1)).value(2)),
    Row::notify("mknod", Class::Write, Call::new(Op::Mknod, At::path(0)).value(1)),
    Row::notify("mknodat", Class::Write, Call::new(Op::Mknod, At::dirfd(0, 1)).value(2)),
    Row::notify("symlink", Class::Write, Call::new(Op::Symlink, At::path(0)).to(At::path(1))),
    Row::notify("symlinkat", Class::Write, Call::new(Op::Symlink, At::path(0)).to(At::dirfd(1, 2))),
    // Removing.
    Row::notify("rmdir", Class::Write, Call::new(Op::Rmdir, At::path(0))),
    Row::notify("unlink", Class::Write, Call::new(Op::Unlink, At::path(0))),
    Row::notify("unlinkat", Class::Write, Call::new(Op::Unlink, At::dirfd(0, 1)).flags(2)),
    // New names, under which other rules would hold.
    Row::notify("rename", Class::Name, Call::new(Op::Rename, At::path(0)).to(At::path(1))),
    Row::notify("renameat", Class::Name, Call::new(Op::Rename, At::dirfd(0, 1)).to(At::dirfd(2, 3))),
    Row::notify(
        "renameat2",
        Class::Name,
        Call::new(Op::Rename, At::dirfd(0, 1)).to(At::dirfd(2, 3)).flags(4),
    ),
    Row::notify("link", Class::Name, Call::new(Op::Link, At::path(0)).to(At::path(1))),
    Row::notify("linkat", Class::Name, Call::new(Op::Link, At::dirfd(0, 1)).to(At::dirfd(2, 3)).flags(4)),
    // Contents. What takes a descriptor (ftruncate, fallocate, write) needs one that was opened for writing.
    Row::notify("truncate", Class::Write, Call::new(Op::Truncate, At::path(0)).value(1)),
    Row::notify("truncate64", Class::Write, Call::new(Op::Truncate64, At::path(0)).value(1)),
    // Asking.
    access!("access", mode: 1, Call::new(Op::Access, At::path(0))),
    access!("faccessat", mode: 2, Call::new(Op::Access, At::dirfd(0, 1))),
    access!("faccessat2", mode: 2, Call::new(Op::Access, At::dirfd(0, 1)).flags(3)),
    Row::notify("stat", Class::Magic, Call::new(Op::Stat, At::path(0)).value(1)),
    Row::notify("stat64", Class::Magic, Call::new(Op::Stat64, At::path(0)).value(1)),
    magic!("newfstatat", Op::Stat, flags: 3, buffer: 2),
    magic!("fstatat64", Op::Stat64, flags: 3, buffer: 2),
    magic!("statx", Op::Statx, flags: 2, buffer: 4),
    Row::allow("oldstat"),
    Row::allow("oldlstat"),
    Row::allow("oldfstat"),
    Row::allow("lstat"),
    Row::allow("lstat64"),
    Row::allow("fstat"),
    Row::allow("fstat64"),
    // Executing, which the kernel alone can do.
    Row::notify("execve", Class::Exec, Call::new(Op::Exec, At::path(0)).value(2)),
    Row::notify("execveat", Class::Exec, Call::new(Op::Exec, At::dirfd(0, 1)).flags(4).value(3)),
    // Looking.
    Row::notify("chdir", Class::Read, Call::new(Op::Chdir, At::path(0))),
    Row::notify("fchdir", Class::Read, Call::new(Op::Chdir, At::fd(0))),
    Row::notify("readlink", Class::Read, Call::new(Op::Readlink, At::path(0)).value(1).nofollow()),
    Row::notify("readlinkat", Class::Read, Call::new(Op::Readlink, At::dirfd(0, 1)).value(2).nofollow()),
    Row::notify("getxattr", Class::Read, Call::new(Op::Getxattr, At::path(0)).value(1)),
    Row::notify("lgetxattr", Class::Read, Call::new(Op::Getxattr, At::path(0)).value(1).nofollow()),
    Row::notify("fgetxattr", Class::Read, Call::new(Op::Getxattr, At::fd(0)).value(1)),
    Row::notify("listxattr", Class::Read, Call::new(Op::Listxattr, At::path(0)).value(1)),
    Row::notify("llistxattr", Class::Read, Call::new(Op::Listxattr, At::path(0)).value(1).nofollow()),
    Row::notify("flistxattr", Class::Read, Call::new(Op::Listxattr, At::fd(0)).value(1)),
    Row::notify("getxattrat", Class::Read, Call::new(Op::Getxattrat, At::dirfd(0, 1)).value(3).flags(2))
        .number(Number::Everywhere(464)),
    Row::notify("listxattrat", Class::Read, Call::new(Op::Listxattr, At::dirfd(0, 1)).value(3).flags(2))
        .number(Number::Everywhere(465)),
    // What these tell is attributes only; the contents of files and directories are behind an open.
    Row::allow("file_getattr").number(Number::Everywhere(468)),
    Row::allow("statfs"),
    Row::allow("statfs64"),
    Row::allow("fstatfs"),
    Row::allow("fstatfs64"),
    Row::allow("inotify_add_watch"),
    Row::allow("getcwd"),
];
