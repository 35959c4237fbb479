//! What procfs shows of processes outside of the tree.
//!
//! The caller's Landlock domain keeps it from looking into them: the kernel asks whether it might trace them. The
//! supervisor is in no domain, and may be asked for such a file, or to follow such a link, on the caller's behalf: with
//! the memory of the supervisor, or of the user's shell, rules would mean nothing, and no rule on paths is meant to
//! give that away. So what the kernel would refuse to the caller is refused here.
#![forbid(unsafe_code)]

use std::os::fd::BorrowedFd;

use super::process_of;
use crate::sys::{Errno, Pid, fs};
use crate::tracee::{Caller, Result};

/// What everybody may read of a process.
const PUBLIC: &[&[u8]] = &[
    b"",
    b"arch_status",
    b"attr",
    b"autogroup",
    b"cgroup",
    b"cmdline",
    b"comm",
    b"coredump_filter",
    b"cpu_resctrl_groups",
    b"cpuset",
    b"gid_map",
    b"limits",
    b"loginuid",
    b"mountinfo",
    b"mounts",
    b"mountstats",
    b"net",
    b"oom_adj",
    b"oom_score",
    b"oom_score_adj",
    b"projid_map",
    b"sched",
    b"schedstat",
    b"sessionid",
    b"setgroups",
    b"stat",
    b"statm",
    b"status",
    b"task",
    b"timens_offsets",
    b"uid_map",
    b"wchan",
];

/// `EACCES` for a file of procfs at `path`, on the file system of `fd`, that the kernel would not open for the caller
/// because it belongs to a process outside.
pub(crate) fn may_open(caller: &Caller<'_>, fd: BorrowedFd<'_>, path: &[u8], writes: bool) -> Result<()> {
    match owner(caller, fd, path)? {
        Some((file, Owner::Outside)) if writes || !is_public(file) => Err(refused(path)),
        // What is in the memory of a process is its state, too: who is locked must not act through who is not.
        Some((file, Owner::Tree(pid))) if name(file) == b"mem" && !caller.has_state_of(pid)? => {
            Err(refused(path))
        }
        _ => Ok(()),
    }
}

/// `EACCES` for a magic link in the directory `dir` of procfs, whose path is `path`, of a process outside.
pub(crate) fn may_follow(caller: &Caller<'_>, dir: BorrowedFd<'_>, path: &[u8]) -> Result<()> {
    match owner(caller, dir, path)? {
        Some((_, Owner::Outside)) => Err(refused(path)),
        _ => Ok(()),
    }
}

fn refused(path: &[u8]) -> crate::tracee::Stop {
    log::info!("{} is of a process outside of the sandbox, or in another state", crate::report::escape(path));
    Errno::EACCES.into()
}

/// Whose a file of procfs is.
enum Owner {
    /// A process of the tree.
    Tree(Pid),
    /// Another one.
    Outside,
}

/// What follows the process in a path of procfs, and where that process belongs.
///
/// What `fd` refers to was pinned before: if the number is by now that of another process, the kernel opens nothing
/// of the one that is gone.
fn owner<'p>(caller: &Caller<'_>, fd: BorrowedFd<'_>, path: &'p [u8]) -> Result<Option<(&'p [u8], Owner)>> {
    let Some(file) = numbered(path) else { return Ok(None) };
    if !fs::is_procfs(fd)? {
        return Ok(None);
    }
    if caller.sight.proc.is_same(fd)? && path.starts_with(b"/proc/") {
        // Without a process it is a number in another place, such as that of an interrupt.
        return Ok(process_of(path).map(|pid| match caller.sight.is_of_tree(pid) {
            true => (file, Owner::Tree(pid)),
            false => (file, Owner::Outside),
        }));
    }
    // Another mount, whose numbers may be those of another namespace.
    Ok(Some((file, Owner::Outside)))
}

/// What follows the first component that is a number.
fn numbered(path: &[u8]) -> Option<&[u8]> {
    let mut rest = path;
    while let Some(slash) = rest.iter().position(|byte| *byte == b'/') {
        rest = &rest[slash + 1..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        match rest.get(digits) {
            _ if digits == 0 => {}
            None => return Some(&[]),
            Some(b'/') => return Some(&rest[digits + 1..]),
            Some(_) => {}
        }
    }
    None
}

fn is_public(file: &[u8]) -> bool {
    PUBLIC.contains(&name(file))
}

/// The first component: threads have the same files as their process.
fn name(file: &[u8]) -> &[u8] {
    let mut names = file.split(|byte| *byte == b'/');
    match names.next().unwrap_or_default() {
        b"task" if names.next().is_some() => names.next().unwrap_or_default(),
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_number() {
        for (path, file) in [
            ("/proc/1", Some("")),
            ("/proc/1/mem", Some("mem")),
            ("/mnt/proc/12/task/13/fd/1", Some("task/13/fd/1")),
            ("/proc/self/mem", None),
            ("/proc/1x/mem", None),
            ("/", None),
        ] {
            assert_eq!(numbered(path.as_bytes()), file.map(str::as_bytes), "{path}");
        }
    }

    #[test]
    fn what_everybody_may_read() {
        for (file, public) in [
            ("", true),
            ("stat", true),
            ("task", true),
            ("task/12", true),
            ("task/12/status", true),
            ("task/12/mem", false),
            ("net/tcp", true),
            ("environ", false),
            ("fd", false),
            ("fd/1", false),
            ("map_files/x", false),
            ("statx", false),
        ] {
            assert_eq!(is_public(file.as_bytes()), public, "{file}");
        }
    }
}
