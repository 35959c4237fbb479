//! Resource limits of the caller: by prlimit(2), or from `/proc/PID/limits` where that is refused.
//!
//! It is refused of a process of another user to a container's root, who has no CAP_SYS_RESOURCE.
#![forbid(unsafe_code)]

use super::{Result, Stop};
use crate::sys::fs::Proc;
use crate::sys::{Errno, Pid, process};

/// The limits that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// `RLIMIT_FSIZE`.
    FileSize,
    /// `RLIMIT_LOCKS`.
    Locks,
    /// `RLIMIT_NOFILE`.
    OpenFiles,
}

impl Limit {
    fn resource(self) -> libc::__rlimit_resource_t {
        match self {
            Self::FileSize => libc::RLIMIT_FSIZE,
            Self::Locks => libc::RLIMIT_LOCKS,
            Self::OpenFiles => libc::RLIMIT_NOFILE,
        }
    }

    fn line(self) -> &'static str {
        match self {
            Self::FileSize => "Max file size ",
            Self::Locks => "Max file locks ",
            Self::OpenFiles => "Max open files ",
        }
    }

    /// The soft limit in a `limits` file.
    fn parse(self, text: &[u8]) -> Option<u64> {
        numbers(super::identity::field(text, self.line())?).next()?
    }
}

/// The columns behind the name of a limit, as far as they are numbers.
fn numbers(columns: &[u8]) -> impl Iterator<Item = Option<u64>> {
    super::identity::words(columns).map(|word| match word {
        b"unlimited" => Some(u64::MAX),
        number => std::str::from_utf8(number).ok()?.parse().ok(),
    })
}

/// Every limit in a `limits` file, by its resource: soft and hard. The kernel lists them in order, below a headline.
pub(crate) fn all(text: &[u8]) -> Option<Vec<(libc::__rlimit_resource_t, u64, u64)>> {
    // The names have spaces in them, and are as wide as the column.
    const NAME: usize = 25;
    let lines = text.split(|byte| *byte == b'\n').skip(1).filter(|line| !line.is_empty());
    let limits: Option<Vec<_>> = (0..)
        .zip(lines)
        .map(|(resource, line)| {
            let mut numbers = numbers(line.get(NAME..)?);
            Some((resource, numbers.next()??, numbers.next()??))
        })
        .collect();
    limits.filter(|limits| limits.len() == 16)
}

/// The soft limit of a process, by any of its threads.
pub(crate) fn limit(proc: &Proc, pid: Pid, limit: Limit) -> Result<u64> {
    match process::limit(pid, limit.resource()) {
        Ok(value) => Ok(value),
        Err(Errno::ESRCH) => Err(Stop::Gone),
        Err(_) => {
            let mut buf = [0; 4096];
            let text = proc.read(pid, "limits", &mut buf).map_err(super::unless_gone)?;
            Ok(limit.parse(text).ok_or(Errno::EPERM)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_parsed() {
        let text = b"Limit                     Soft Limit           Hard Limit           Units     \n\
            Max cpu time              unlimited            unlimited            seconds   \n\
            Max file size             unlimited            unlimited            bytes     \n\
            Max open files            1024                 524288               files     \n\
            Max file locks            4611686018427387    4611686018427387    locks     \n";
        assert_eq!(Limit::Locks.parse(text), Some(4_611_686_018_427_387));
        assert_eq!(Limit::OpenFiles.parse(text), Some(1024));
        assert_eq!(Limit::FileSize.parse(text), Some(u64::MAX));
        assert_eq!(Limit::Locks.parse(b"Max file locks            \n"), None);
        assert_eq!(Limit::Locks.parse(b"Max file locks            x\n"), None);
    }

    #[test]
    fn all_limits_are_parsed() {
        // Once for all: another test might.
        process::raise_nofile();
        let (proc, this) = (Proc::open().unwrap(), Pid::new(std::process::id() as i32).unwrap());
        let text = proc.read_all(this, "limits", 1 << 16).unwrap();
        let limits = all(&text).unwrap();
        for (resource, soft, _) in &limits {
            assert_eq!(process::limit(this, *resource), Ok(*soft), "{resource}");
        }
        let (_, _, hard) = limits[libc::RLIMIT_NOFILE as usize];
        assert_eq!(process::own_hard_limit(libc::RLIMIT_NOFILE), Ok(hard));
        assert_eq!(all(&text[..text.len() / 2]), None);
        assert_eq!(all(b""), None);
    }

    #[test]
    fn both_ways_say_the_same() {
        process::raise_nofile();
        let (proc, this) = (Proc::open().unwrap(), Pid::new(std::process::id() as i32).unwrap());
        let mut buf = [0; 4096];
        let text = proc.read(this, "limits", &mut buf).unwrap();
        for each in [Limit::FileSize, Limit::Locks, Limit::OpenFiles] {
            assert_eq!(limit(&proc, this, each).ok(), each.parse(text), "{each:?}");
        }
    }
}
