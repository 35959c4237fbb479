//! Calls that change the mode, owner, times and extended attributes of a file.
//!
//! Those that take a descriptor are mediated as well: a descriptor that was opened for reading, or even
//! with `O_PATH`, is enough for them.
#![forbid(unsafe_code)]

use super::super::abi::Abi;
use super::super::row::{At, Call, Class, Number, Op, Row};

const fn write(name: &'static str, call: Call) -> Row {
    Row::notify(name, Class::Write, call)
}

pub(super) static ROWS: &[Row] = &[
    write("chmod", Call::new(Op::Chmod, At::path(0)).value(1)),
    write("fchmod", Call::new(Op::Chmod, At::fd(0)).value(1)),
    // It has no flags; the fourth register is garbage.
    write("fchmodat", Call::new(Op::Chmod, At::dirfd(0, 1)).value(2)),
    write("fchmodat2", Call::new(Op::Chmod, At::dirfd(0, 1)).value(2).flags(3))
        .number(Number::Everywhere(452)),
    // 32-bit x86 had 16-bit ids first, and has the names with 32 for the others.
    write("chown", Call::new(Op::Chown, At::path(0)).value(1)).number(Number::Only(Abi::X86_64)),
    write("lchown", Call::new(Op::Chown, At::path(0)).value(1).nofollow()).number(Number::Only(Abi::X86_64)),
    write("fchown", Call::new(Op::Chown, At::fd(0)).value(1)).number(Number::Only(Abi::X86_64)),
    write("chown", Call::new(Op::Chown16, At::path(0)).value(1)).number(Number::Only(Abi::I386)),
    write("lchown", Call::new(Op::Chown16, At::path(0)).value(1).nofollow()).number(Number::Only(Abi::I386)),
    write("fchown", Call::new(Op::Chown16, At::fd(0)).value(1)).number(Number::Only(Abi::I386)),
    write("chown32", Call::new(Op::Chown, At::path(0)).value(1)),
    write("lchown32", Call::new(Op::Chown, At::path(0)).value(1).nofollow()),
    write("fchown32", Call::new(Op::Chown, At::fd(0)).value(1)),
    write("fchownat", Call::new(Op::Chown, At::dirfd(0, 1)).value(2).flags(4)),
    // A null path means the descriptor itself, which does not make the call harmless.
    write("utime", Call::new(Op::Utime, At::path(0)).value(1)),
    write("utimes", Call::new(Op::Utimes, At::path(0)).value(1)),
    write("futimesat", Call::new(Op::Utimes, At::dirfd(0, 1)).value(2)),
    write("utimensat", Call::new(Op::Utimensat, At::dirfd(0, 1)).value(2).flags(3)),
    write("utimensat_time64", Call::new(Op::UtimensatTime64, At::dirfd(0, 1)).value(2).flags(3)),
    write("setxattr", Call::new(Op::Setxattr, At::path(0)).value(1)),
    write("lsetxattr", Call::new(Op::Setxattr, At::path(0)).value(1).nofollow()),
    write("fsetxattr", Call::new(Op::Setxattr, At::fd(0)).value(1)),
    write("setxattrat", Call::new(Op::Setxattrat, At::dirfd(0, 1)).flags(2).value(3))
        .number(Number::Everywhere(463)),
    write("removexattr", Call::new(Op::Removexattr, At::path(0)).value(1)),
    write("lremovexattr", Call::new(Op::Removexattr, At::path(0)).value(1).nofollow()),
    write("fremovexattr", Call::new(Op::Removexattr, At::fd(0)).value(1)),
    write("removexattrat", Call::new(Op::Removexattr, At::dirfd(0, 1)).flags(2).value(3))
        .number(Number::Everywhere(466)),
    write("file_setattr", Call::new(Op::FileSetattr, At::dirfd(0, 1)).value(2).flags(4))
        .number(Number::Everywhere(469)),
    // They need a descriptor that was opened for writing.
    Row::allow("ftruncate"),
    Row::allow("ftruncate64"),
];
