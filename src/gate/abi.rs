//! The ABIs of the machine and the number of every row in each of them.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use libseccomp::{ScmpArch, ScmpSyscall};
use once_cell::sync::Lazy;

use super::row::{Number, Row};
use super::table;

/// Numbers from here up are in no table: x86-64 has its historic x32 calls at 512, x32 sets bit 30.
pub(crate) const NUMBERS: usize = 512;

/// A set of system call numbers and argument conventions that a process can use at any moment.
///
/// The third one of x86, x32, is not supported: it shares the audit architecture of x86-64, and its
/// numbers, which have bit 30 set, get ENOSYS like all unknown ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Abi {
    /// `syscall` in 64-bit code.
    X86_64,
    /// 32-bit code, and `int $0x80` in 64-bit code.
    I386,
}

impl Abi {
    /// All of them, the busiest first.
    pub(crate) const ALL: [Self; 2] = [Self::X86_64, Self::I386];

    /// The `AUDIT_ARCH_` value that the kernel reports.
    pub(crate) const fn audit(self) -> u32 {
        const LITTLE_ENDIAN: u32 = 0x4000_0000;
        const SIXTY_FOUR: u32 = 0x8000_0000;
        match self {
            Self::X86_64 => LITTLE_ENDIAN | SIXTY_FOUR | 62,
            Self::I386 => LITTLE_ENDIAN | 3,
        }
    }

    /// The ABI of an `AUDIT_ARCH_` value.
    pub(crate) fn from_audit(arch: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|abi| abi.audit() == arch)
    }

    /// Whether pointers and `long` have 64 bits. If not, the upper halves of the registers are not
    /// looked at by the kernel, and with `int $0x80` in 64-bit code they hold whatever the program likes.
    pub(crate) const fn is_wide(self) -> bool {
        matches!(self, Self::X86_64)
    }

    /// libseccomp's name of the ABI.
    pub(crate) const fn scmp(self) -> ScmpArch {
        match self {
            Self::X86_64 => ScmpArch::X8664,
            Self::I386 => ScmpArch::X86,
        }
    }
}

/// The row of each number of one ABI.
pub(crate) type Numbers = [Option<&'static Row>; NUMBERS];

/// The rows of an ABI by number.
///
/// The names are asked for by number and not the other way round, because libseccomp answers the latter
/// with made-up negative numbers for what 32-bit x86 also has in `socketcall` and `ipc`.
pub(crate) fn numbers(abi: Abi) -> &'static Numbers {
    static X86_64: Lazy<Numbers> = Lazy::new(|| resolve(Abi::X86_64));
    static I386: Lazy<Numbers> = Lazy::new(|| resolve(Abi::I386));
    match abi {
        Abi::X86_64 => &X86_64,
        Abi::I386 => &I386,
    }
}

/// The row of a notified call; `None` for an ABI or a number that the filter refuses anyway.
pub(crate) fn lookup(arch: u32, nr: i32) -> Option<&'static Row> {
    let abi = Abi::from_audit(arch)?;
    numbers(abi).get(usize::try_from(nr).ok()?).copied().flatten()
}

fn resolve(abi: Abi) -> Numbers {
    let mut numbers: Numbers = [None; NUMBERS];
    let mut names: HashMap<&str, &'static Row> = HashMap::with_capacity(NUMBERS);
    for row in table::rows() {
        let fixed = match row.number {
            Number::Known => None,
            Number::Only(only) if only == abi => None,
            Number::Everywhere(number) => Some(number),
            Number::X86_64(number) if abi == Abi::X86_64 => Some(number),
            Number::Only(_) | Number::X86_64(_) => continue,
        };
        match fixed {
            Some(number) => numbers[number as usize] = Some(row),
            None => _ = names.insert(row.name, row),
        }
    }
    for (number, slot) in (0..).zip(&mut numbers) {
        if slot.is_none() {
            let name = ScmpSyscall::from_raw_syscall(number).get_name_by_arch(abi.scmp());
            *slot = name.ok().and_then(|name| names.get(name.as_str()).copied());
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audit_values() {
        assert_eq!(Abi::X86_64.audit(), 0xc000_003e);
        assert_eq!(Abi::I386.audit(), 0x4000_0003);
        assert_eq!(Abi::from_audit(0xc000_00b7), None);
    }

    #[test]
    fn numbers_of_both_abis() {
        let name = |abi: Abi, nr| lookup(abi.audit(), nr).map(|row| row.name);
        for (nr, wide, narrow) in [
            (0, Some("read"), Some("restart_syscall")),
            (39, Some("getpid"), Some("mkdir")),
            (52, Some("getpeername"), Some("umount2")),
            (106, Some("setgid"), Some("stat")),
            (219, Some("restart_syscall"), Some("madvise")),
            (302, Some("prlimit64"), Some("renameat")),
            (335, Some("uretprobe"), Some("rt_tgsigqueueinfo")),
            (336, Some("uprobe"), Some("perf_event_open")),
            (359, None, Some("socket")),
            (364, None, Some("accept4")),
            (397, None, Some("shmat")),
            (437, Some("openat2"), Some("openat2")),
            (469, Some("file_setattr"), Some("file_setattr")),
            (470, None, None),
            (511, None, None),
            (512, None, None),
            (-1, None, None),
            (0x4000_0000 | 2, None, None),
        ] {
            assert_eq!(name(Abi::X86_64, nr), wide, "x86-64 {nr}");
            assert_eq!(name(Abi::I386, nr), narrow, "i386 {nr}");
        }
        assert!(lookup(0xc000_00b7, 0).is_none());
    }
}
