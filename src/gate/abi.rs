//! The ABIs of the machine and the number of every row in each of them.
#![forbid(unsafe_code)]

use std::cmp::Ordering;

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
    #[cfg(test)]
    pub(crate) const fn scmp(self) -> libseccomp::ScmpArch {
        match self {
            Self::X86_64 => libseccomp::ScmpArch::X8664,
            Self::I386 => libseccomp::ScmpArch::X86,
        }
    }
}

/// The row of each number of one ABI.
pub(crate) type Numbers = [Option<&'static Row>; NUMBERS];

/// The rows of an ABI by number.
pub(crate) fn numbers(abi: Abi) -> &'static Numbers {
    &TABLES[abi as usize]
}

/// By ABI, in the order of [`Abi::ALL`]: made by the compiler, so that a start need not.
static TABLES: [Numbers; Abi::ALL.len()] = [resolve(Abi::X86_64), resolve(Abi::I386)];

/// A name, and its number in each ABI.
type Known = (&'static str, [Option<usize>; Abi::ALL.len()]);

/// The calls that libseccomp knows, sorted by name (`build.rs`).
const KNOWN: &[Known] = include!(concat!(env!("OUT_DIR"), "/numbers.rs"));

/// The row of a notified call; `None` for an ABI or a number that the filter refuses anyway.
pub(crate) fn lookup(arch: u32, nr: i32) -> Option<&'static Row> {
    let abi = Abi::from_audit(arch)?;
    numbers(abi).get(usize::try_from(nr).ok()?).copied().flatten()
}

/// What stands here with indices is what a constant may do: no iterators.
const fn resolve(abi: Abi) -> Numbers {
    let mut numbers: Numbers = [None; NUMBERS];
    let mut family = 0;
    while family < table::FAMILIES.len() {
        let mut at = 0;
        while at < table::FAMILIES[family].len() {
            let row = &table::FAMILIES[family][at];
            if let Some(number) = number_of(row, abi) {
                assert!(numbers[number].is_none(), "a system call is in the table twice");
                numbers[number] = Some(row);
            }
            at += 1;
        }
        family += 1;
    }
    numbers
}

const fn number_of(row: &Row, abi: Abi) -> Option<usize> {
    match row.number {
        Number::Known => known(row.name, abi),
        Number::Only(only) if only as usize == abi as usize => known(row.name, abi),
        Number::Everywhere(number) => Some(number as usize),
        Number::X86_64(number) if matches!(abi, Abi::X86_64) => Some(number as usize),
        Number::Only(_) | Number::X86_64(_) => None,
    }
}

const fn known(name: &str, abi: Abi) -> Option<usize> {
    let (mut low, mut high) = (0, KNOWN.len());
    while low < high {
        let middle = low + (high - low) / 2;
        match compare(KNOWN[middle].0.as_bytes(), name.as_bytes()) {
            Ordering::Less => low = middle + 1,
            Ordering::Greater => high = middle,
            Ordering::Equal => return KNOWN[middle].1[abi as usize],
        }
    }
    None
}

const fn compare(left: &[u8], right: &[u8]) -> Ordering {
    let mut at = 0;
    while at < left.len() && at < right.len() {
        if left[at] != right[at] {
            return if left[at] < right[at] { Ordering::Less } else { Ordering::Greater };
        }
        at += 1;
    }
    if left.len() == right.len() {
        Ordering::Equal
    } else if left.len() < right.len() {
        Ordering::Less
    } else {
        Ordering::Greater
    }
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
