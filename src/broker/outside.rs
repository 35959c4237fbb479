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
use crate::sys::{CallerFd, Errno, fs, process};
use crate::tracee::{Identity, Result, Stop, all_limits, status_mask};

/// As much as an exec could have passed on (`MAX_ARG_STRLEN` and the stack limit allow less).
const MAX_ENVIRONMENT: usize = 8 << 20;
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
    let environment = texts(&proc.read_all(tid, "environ", MAX_ENVIRONMENT)?)?;
    let path = environment.iter().find_map(|text| text.to_bytes().strip_prefix(b"PATH="));
    let name = words.first().ok_or(Errno::EINVAL)?;
    let status = proc.read_all(tid, "status", 1 << 20)?;
    let identity = Identity::parse(&status).ok_or(Errno::EPERM)?;
    let mask = |key| status_mask(&status, key).ok_or(Errno::EPERM);
    let credentials = match cx.supervisor.options.privileged {
        false => None,
        true => Some(Credentials {
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

/// The texts of a procfs file that has a NUL after each.
fn texts(bytes: &[u8]) -> Result<Vec<CString>> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    let texts = bytes.split(|byte| *byte == 0).filter(|text| !text.is_empty());
    Ok(texts.map(fs::c_string).collect::<std::result::Result<_, _>>()?)
}

/// The names under which a program is looked for, as by execvp(3).
fn candidates(name: &[u8], path: &[u8]) -> Result<Vec<CString>> {
    if name.contains(&b'/') {
        return Ok(vec![fs::c_string(name)?]);
    }
    let in_dir = |dir: &[u8]| if dir.is_empty() { name.to_vec() } else { [dir, name].join(&b'/') };
    let names = path.split(|byte| *byte == b':').map(|dir| fs::c_string(&in_dir(dir)));
    Ok(names.collect::<std::result::Result<_, _>>()?)
}

/// A duplicate of a standard stream of the caller; the null device where it has none.
fn stream(cx: &Cx<'_>, number: i32) -> Result<OwnedFd> {
    let duplicate = match cx.caller.duplicate(CallerFd(number)) {
        Err(Stop::Errno(Errno::EBADF)) => {
            let null = std::fs::File::options().read(true).write(true).open("/dev/null");
            null.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?.into()
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
    }

    #[test]
    fn environments_are_cut_at_nul() {
        let strings =
            |bytes: &[u8]| texts(bytes).unwrap().into_iter().map(|t| t.into_bytes()).collect::<Vec<_>>();
        assert_eq!(strings(b"A=1\0B=2\0"), [b"A=1", b"B=2"]);
        assert!(strings(b"").is_empty());
        assert_eq!(strings(b"\0\0A"), [b"A"]);
    }
}
