//! `cmd/exec`: a program that runs outside of the sandbox, because somebody inside asked for it and may.
//!
//! It gets what a child of the caller would get: directory, environment, standard streams, ids, groups, capabilities,
//! umask, limits, process group and ignored signals; and `no_new_privs`, so that no file of another user's lends it what
//! its caller has not. What it does not get is the filter, the Landlock domain, the state and other descriptors.
#![forbid(unsafe_code)]

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use super::cx::Cx;
use crate::sys::creds::Caps;
use crate::sys::outside::{self, Credentials, Program};
use crate::sys::{CallerFd, Errno, errno_of, fs, process};
use crate::tracee::{Identity, Result, Stop, all_limits, status_mask};

/// An environment may be this long. The memory it is in is the caller's, who can write anything there, of any length.
const MAX_ENVIRONMENT: usize = 2 << 20;
/// Longer names exist nowhere.
const NAME_MAX: usize = 255;
/// So many directories are looked into.
const MAX_DIRECTORIES: usize = 1024;
/// Where programs are looked for without `PATH`, as by the C library.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// Starts the program of these words. The errors are those of the exec.
pub(super) fn start(cx: &Cx<'_>, words: &[Vec<u8>]) -> Result<()> {
    let program = prepare(cx, words)?;
    // What was read is the caller's only if it still waits.
    cx.caller.check()?;
    let shown = crate::report::escape(&words.join(&b' '));
    program.start().map_err(|errno| {
        log::warn!("`{shown}' cannot be run outside the sandbox: {errno}");
        Stop::Errno(errno)
    })?;
    log::info!("process {} runs `{shown}' outside the sandbox", cx.caller.call.tid);
    Ok(())
}

fn prepare(cx: &Cx<'_>, words: &[Vec<u8>]) -> Result<Program> {
    let (tid, proc) = (cx.caller.call.tid, &cx.supervisor.sight.proc);
    let environment = texts(proc.read_all(tid, "environ", MAX_ENVIRONMENT)?);
    let path = environment.split(|byte| *byte == 0).find_map(|text| text.strip_prefix(b"PATH="));
    let name = words.first().ok_or(Errno::EINVAL)?;
    let status = proc.read_all(tid, "status", 1 << 20)?;
    let identity = Identity::parse(&status).ok_or(Errno::EPERM)?;
    let mask = |key| status_mask(&status, key).ok_or(Errno::EPERM);
    let credentials = match cx.supervisor.options.own {
        None => None,
        Some(_) => Some(Credentials {
            uids: [identity.uids[0], identity.uids[1], identity.uids[2]],
            gids: [identity.gids[0], identity.gids[1], identity.gids[2]],
            groups: identity.groups,
            caps: Caps {
                effective: identity.caps,
                permitted: mask("CapPrm:")?,
                inheritable: mask("CapInh:")?,
            },
            bounding: mask("CapBnd:")?,
        }),
    };
    Ok(Program {
        names: candidates(name, path.unwrap_or(DEFAULT_PATH))?,
        arguments: words.iter().map(|word| fs::c_string(word)).collect::<std::result::Result<_, _>>()?,
        cwd: cx.caller.cwd()?,
        streams: [stream(cx, 0)?, stream(cx, 1)?, stream(cx, 2)?],
        umask: identity.umask,
        group: process::getpgid(tid)?,
        ignored: mask("SigIgn:")?,
        blocked: mask("SigBlk:")?,
        limits: limits(cx)?,
        identity: credentials,
        environment,
    })
}

/// Texts with a NUL after each, the last one too, and none that is empty.
fn texts(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.push(0);
    let mut last = 0;
    bytes.retain(|byte| std::mem::replace(&mut last, *byte) != 0 || *byte != 0);
    bytes
}

/// The names under which a program is looked for, as by execvp(3).
fn candidates(name: &[u8], path: &[u8]) -> Result<Vec<CString>> {
    if name.contains(&b'/') {
        return Ok(vec![fs::c_string(name)?]);
    }
    if name.len() > NAME_MAX {
        return Err(Errno::ENAMETOOLONG.into());
    }
    let in_dir = |dir: &[u8]| if dir.is_empty() { name.to_vec() } else { [dir, name].join(&b'/') };
    let dirs = path.split(|byte| *byte == b':').filter(|dir| dir.len() < libc::PATH_MAX as usize);
    let names = dirs.take(MAX_DIRECTORIES).map(|dir| fs::c_string(&in_dir(dir)));
    Ok(names.collect::<std::result::Result<_, _>>()?)
}

/// A duplicate of a standard stream of the caller; the null device where it has none.
fn stream(cx: &Cx<'_>, number: i32) -> Result<OwnedFd> {
    let duplicate = match cx.caller.duplicate(CallerFd(number)) {
        Err(Stop::Errno(Errno::EBADF)) => {
            let null = std::fs::File::options().read(true).write(true).open("/dev/null");
            null.map_err(|error| errno_of(&error))?.into()
        }
        Err(Stop::Errno(Errno::EPERM)) => {
            log::warn!(
                "a program outside the sandbox cannot have its caller's streams here: pidfd_getfd is refused"
            );
            return Err(Errno::ENOTSUP.into());
        }
        other => other?,
    };
    Ok(outside::above_streams(duplicate.as_fd())?)
}

/// The limits of the caller, but for the one that carries its state.
fn limits(cx: &Cx<'_>) -> Result<Vec<(u32, u64, u64)>> {
    let text = cx.supervisor.sight.proc.read_all(cx.caller.call.tid, "limits", 1 << 16)?;
    let mut limits = all_limits(&text).ok_or(Errno::EPERM)?;
    limits.retain(|(resource, ..)| *resource != libc::RLIMIT_LOCKS);
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_for_along_the_path() {
        let names = |name: &str, path: &str| -> Vec<String> {
            let names = candidates(name.as_bytes(), path.as_bytes()).unwrap();
            names.into_iter().map(|name| name.into_string().unwrap()).collect()
        };
        assert_eq!(names("a", "/b:/c/d"), ["/b/a", "/c/d/a"]);
        assert_eq!(names("a", ":/b"), ["a", "/b/a"]);
        assert_eq!(names("./a", "/b"), ["./a"]);
        assert!(candidates(b"a\0b", b"/").is_err());
        assert!(candidates(&[b'a'; 256], b"/").is_err());
        assert_eq!(names("a", &":".repeat(1 << 20)).len(), MAX_DIRECTORIES);
    }

    #[test]
    fn environments_are_texts_with_a_nul_each() {
        for (bytes, expected) in [
            (&b"A=1\0B=2\0"[..], &b"A=1\0B=2\0"[..]),
            (b"A=1\0B", b"A=1\0B\0"),
            (b"\0\0A\0\0\0B\0\0", b"A\0B\0"),
            (b"", b""),
            (b"\0", b""),
        ] {
            assert_eq!(texts(bytes.to_vec()), expected, "{bytes:?}");
        }
    }
}
