//! Who the caller is: `/proc/TID/status`, by exact keys at the start of a line (the kernel escapes newlines in `Name`).
#![forbid(unsafe_code)]

use crate::sys::Pid;

/// Credentials of a thread that matter to files, and its umask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Real user id.
    pub(crate) uid: u32,
    /// Real group id.
    pub(crate) gid: u32,
    /// Real, effective, saved and file system user id.
    pub(crate) uids: [u32; 4],
    /// The same of the group.
    pub(crate) gids: [u32; 4],
    /// File system user id.
    pub(crate) fsuid: u32,
    /// File system group id.
    pub(crate) fsgid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
    /// Effective capabilities.
    pub(crate) caps: u64,
    /// File creation mask.
    pub(crate) umask: u32,
}

impl Identity {
    /// From the text of a `status` file; `None` where a line is missing or malformed.
    pub(crate) fn parse(status: &[u8]) -> Option<Self> {
        let ids = |key| -> Option<[u32; 4]> {
            let mut ids = words(field(status, key)?).map(decimal);
            Some([ids.next()??, ids.next()??, ids.next()??, ids.next()??])
        };
        let (uid, gid) = (ids("Uid:")?, ids("Gid:")?);
        Some(Self {
            uid: uid[0],
            gid: gid[0],
            uids: uid,
            gids: gid,
            fsuid: uid[3],
            fsgid: gid[3],
            groups: words(field(status, "Groups:")?).map(decimal).collect::<Option<_>>()?,
            caps: status_mask(status, "CapEff:")?,
            umask: u32::from_str_radix(std::str::from_utf8(field(status, "Umask:")?).ok()?.trim(), 8).ok()?,
        })
    }
}

/// The process of a thread: its first one.
pub(crate) fn leader(status: &[u8]) -> Option<Pid> {
    Pid::new(i32::try_from(decimal(words(field(status, "Tgid:")?).next()?)?).ok()?)
}

/// How many threads the process has.
pub(crate) fn threads(status: &[u8]) -> Option<u32> {
    decimal(words(field(status, "Threads:")?).next()?)
}

/// The parent of a process.
pub(crate) fn parent(status: &[u8]) -> Option<Pid> {
    Pid::new(i32::try_from(decimal(words(field(status, "PPid:")?).next()?)?).ok()?)
}

/// The controlling terminal's device in a `stat` file; 0 for none.
pub(crate) fn terminal(stat: &[u8]) -> Option<u64> {
    let device = in_stat::<i32>(stat, 4)? as u32;
    // The kernel's 32-bit encoding: 12 bits of major between the halves of the minor.
    Some(libc::makedev(device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00))
}

/// What the thread is doing, in a `stat` file: `R`, `S`, `T` …
pub(crate) fn state(stat: &[u8]) -> Option<u8> {
    in_stat::<char>(stat, 0).map(|state| state as u8)
}

/// Where the stack begins, of a `stat` file; 0 where that is not shown.
pub(crate) fn stack_start(stat: &[u8]) -> Option<u64> {
    in_stat(stat, 25)
}

/// A number in a `stat` file, counted from behind the *last* parenthesis: a process chooses its own name.
fn in_stat<T: std::str::FromStr>(stat: &[u8], at: usize) -> Option<T> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    std::str::from_utf8(words(stat.get(end + 1..)?).nth(at)?).ok()?.parse().ok()
}

/// A line of a `status` file that is a mask in hexadecimal.
pub(crate) fn status_mask(status: &[u8], key: &str) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(field(status, key)?).ok()?.trim(), 16).ok()
}

/// What follows `key` on the line that begins with it.
pub(crate) fn field<'t>(status: &'t [u8], key: &str) -> Option<&'t [u8]> {
    status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(key.as_bytes()))
}

pub(super) fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

fn decimal(word: &[u8]) -> Option<u32> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &[u8] = b"Name:\tx\\nTgid:\t1\nUmask:\t0027\nState:\tR (running)\nTgid:\t4711\nPid:\t4712\n\
        Uid:\t1000\t1001\t1002\t1003\nGid:\t100\t101\t102\t103\nGroups:\t4 24 100 \nCapEff:\t0000000000000021\n";

    #[test]
    fn every_field() {
        let identity = Identity::parse(STATUS).unwrap();
        assert_eq!((identity.uid, identity.fsuid, identity.gid, identity.fsgid), (1000, 1003, 100, 103));
        assert_eq!(
            (identity.groups.as_slice(), identity.caps, identity.umask),
            (&[4, 24, 100][..], 0x21, 0o27)
        );
        assert_eq!(leader(STATUS).unwrap().raw(), 4711);
    }

    #[test]
    fn terminals() {
        assert_eq!(terminal(b"1 (sh) S 0 1 1 34816 1 0"), Some(libc::makedev(136, 0)));
        assert_eq!(terminal(b"1 (x) S 1 1 1 9) S 0 1 1 0 -1"), Some(0));
        assert_eq!(terminal(b"1 (sh"), None);
        assert_eq!((state(b"1 (x) S) T 4"), state(b"1 (sh")), (Some(b'T'), None));
    }

    #[test]
    fn beginnings_of_stacks() {
        let stat = b"1 (x) S) S 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 281 29";
        assert_eq!(stack_start(stat), Some(281));
        assert_eq!(stack_start(b"1 (sh) S 1"), None);
    }

    #[test]
    fn what_is_missing_or_cut_short_is_no_identity() {
        for len in 0..STATUS.len() - 18 {
            assert_eq!(Identity::parse(&STATUS[..len]), None, "{len}");
        }
    }
}
