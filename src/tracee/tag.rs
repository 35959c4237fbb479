//! The number of a process's state, which the kernel carries in `RLIMIT_LOCKS`.
#![forbid(unsafe_code)]

use super::Stop;
use crate::sys::fs::Proc;
use crate::sys::{Errno, Pid, process};

/// The number of a process: by prlimit(2), or from `/proc/PID/limits` where that is refused.
pub(crate) fn tag(proc: &Proc, pid: Pid) -> Result<u64, Stop> {
    match process::limit(pid, libc::RLIMIT_LOCKS) {
        Ok(tag) => Ok(tag),
        Err(Errno::ESRCH) => Err(Stop::Gone),
        Err(_) => {
            let mut buf = [0; 4096];
            let text = proc.read(pid, "limits", &mut buf).map_err(|_| Stop::Gone)?;
            Ok(parse_limits(text).ok_or(Errno::EPERM)?)
        }
    }
}

fn parse_limits(text: &[u8]) -> Option<u64> {
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Max file locks"))?;
    std::str::from_utf8(line).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_parsed() {
        let text = b"Limit                     Soft Limit           Hard Limit           Units     \n\
            Max cpu time              unlimited            unlimited            seconds   \n\
            Max file locks            4611686018427387    4611686018427387    locks     \n";
        assert_eq!(parse_limits(text), Some(4_611_686_018_427_387));
        assert_eq!(parse_limits(b"Max file locks            unlimited  unlimited locks"), None);
    }
}
