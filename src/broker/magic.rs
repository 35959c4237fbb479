//! Stats of paths below `/dev/sydbox`: commands to the sandbox.
//!
//! Most stats are not magic, so only so much is read as tells; those the kernel carries out, which is allowed
//! because no stat is ever refused (I1).
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::cx::{Answer, Cx};
use super::outside;
use super::states::Tagged;
use crate::gate::Op;
use crate::magic::{self, Outcome};
use crate::policy::Lock;
use crate::sys::Errno;
use crate::tracee::Result;

const PREFIX: &[u8] = b"/dev/sydbox";
/// Commands longer than this are refused (a path of `PATH_MAX` and what is in front of it fits).
const MAX_COMMAND: usize = 64 << 10;
/// So much of a command that was wrong is shown.
const MAX_SHOWN: usize = 4096;

/// stat, stat64, newfstatat, fstatat64, statx with a name that may be magic.
pub(super) fn stat(cx: &mut Cx<'_>, op: Op) -> Result<Answer> {
    let addr = cx.caller.arg(cx.call.at.path.ok_or(Errno::ENOSYS)?);
    if !is_magic(cx, addr)? {
        return Ok(Answer::Continue);
    }
    if cx.state()?.policy.lock == Lock::On {
        // Locked: a name like any other. What the kernel reads meanwhile can only be another such name.
        return Ok(Answer::Continue);
    }
    let mut text = vec![0; MAX_COMMAND + PREFIX.len() + 2];
    let Some(len) = cx.caller.text(addr, &mut text)? else { return Err(Errno::ENAMETOOLONG.into()) };
    // It may have changed since the first look; only this one counts.
    let Some(command) = command(&text[..len]) else { return Ok(Answer::Continue) };
    let parsed = magic::parse(command).map_err(|error| {
        complain(&text[..len], &error);
        Errno::EINVAL
    })?;
    let log = |refusal: magic::Refusal| {
        complain(&text[..len], &refusal.message);
        refusal.errno
    };
    // A command that is refused changes nothing, not even the buffer.
    let arming = &cx.supervisor.options.arming;
    let before = cx.state()?.policy.clone();
    let outcome = magic::apply(&parsed, &before, arming).map_err(log)?;
    if outcome == Outcome::No {
        return Err(Errno::ENOENT.into());
    }
    let mut buffer = [0; 256];
    let answer = describe(op, cx.caller.is_32bit(), &mut buffer);
    let buffer = cx.value(0)?;
    cx.caller.check()?;
    // The answer before the change, so that a command whose answer cannot be written changes nothing, and nothing can
    // block while states change.
    cx.caller.write(buffer, answer)?;
    if let (Outcome::Run, magic::Command::Exec(words)) = (&outcome, &parsed) {
        outside::start(cx, words)?;
        return Ok(Answer::Value(0));
    }
    let supervisor = cx.supervisor;
    let mut changed = None;
    let done = cx.change(|present| {
        if present.policy.lock == Lock::On {
            return Err(None::<magic::Refusal>);
        }
        // While states change others wait, and many rules take a while to copy: mostly it is done already.
        let outcome = match Arc::ptr_eq(&present.policy, &before) {
            true => outcome,
            false => magic::apply(&parsed, &present.policy, arming).map_err(Some)?,
        };
        match outcome {
            Outcome::Changed(policy) => {
                changed = Some(policy.clone());
                Ok((Some(Tagged::new(policy.into(), present.facts.clone())), true))
            }
            Outcome::Yes | Outcome::Run => Ok((None, true)),
            Outcome::No => Ok((None, false)),
        }
    })?;
    match done {
        Ok(true) => {
            // What is of the whole sandbox, if this command was about that.
            changed.iter().for_each(|after| supervisor.adopt(Some(&before), after));
            Ok(Answer::Value(0))
        }
        Ok(false) => Err(Errno::ENOENT.into()),
        // Another thread of the caller locked it meanwhile.
        Err(None) => Err(Errno::ENOENT.into()),
        Err(Some(refusal)) => Err(log(refusal).into()),
    }
}

/// Says what was wrong with a command.
fn complain(text: &[u8], error: &dyn std::fmt::Display) {
    crate::report::seldom(|| {
        log::warn!("{}: {error}", crate::report::escape(&text[..text.len().min(MAX_SHOWN)]));
    });
}

/// Whether the name begins as a command does. A name that cannot be read is the kernel's to refuse.
fn is_magic(cx: &Cx<'_>, addr: u64) -> Result<bool> {
    const LOOK: usize = PREFIX.len() + 1;
    let mut start = [0; LOOK];
    let len = match cx.caller.text(addr, &mut start) {
        Ok(len) => len.unwrap_or(LOOK),
        Err(crate::tracee::Stop::Errno(_) | crate::tracee::Stop::Interrupted) => return Ok(false),
        Err(stop) => return Err(stop),
    };
    Ok(command(&start[..len]).is_some())
}

/// The command in a path exactly as the program wrote it: what follows `/dev/sydbox`, and a slash.
fn command(path: &[u8]) -> Option<&[u8]> {
    match path.strip_prefix(PREFIX)? {
        [] => Some(&[]),
        [b'/', command @ ..] => Some(command),
        _ => None,
    }
}

/// The answer to a command that was carried out: a character device, mode 0666, 1:3, in the layout of the call.
fn describe(op: Op, is_32bit: bool, buffer: &mut [u8; 256]) -> &[u8] {
    const MODE: u32 = libc::S_IFCHR | 0o666;
    const RDEV: u32 = 1 << 8 | 3;
    let mut put = |at: usize, bytes: &[u8]| buffer[at..at + bytes.len()].copy_from_slice(bytes);
    let len = match (op, is_32bit) {
        (Op::Statx, _) => {
            put(0, &libc::STATX_BASIC_STATS.to_ne_bytes());
            put(4, &4096_u32.to_ne_bytes()); // blksize
            put(16, &1_u32.to_ne_bytes()); // nlink
            put(28, &(MODE as u16).to_ne_bytes());
            put(128, &1_u32.to_ne_bytes()); // rdev major
            put(132, &3_u32.to_ne_bytes()); // rdev minor
            256
        }
        // struct stat of x86-64
        (_, false) => {
            put(16, &1_u64.to_ne_bytes()); // nlink
            put(24, &MODE.to_ne_bytes());
            put(40, &u64::from(RDEV).to_ne_bytes());
            put(56, &4096_u64.to_ne_bytes()); // blksize
            144
        }
        // struct stat64 of i386
        (Op::Stat64, true) => {
            put(16, &MODE.to_ne_bytes());
            put(20, &1_u32.to_ne_bytes()); // nlink
            put(32, &u64::from(RDEV).to_ne_bytes());
            put(52, &4096_u32.to_ne_bytes()); // blksize
            96
        }
        // struct stat of i386
        (_, true) => {
            put(8, &(MODE as u16).to_ne_bytes());
            put(10, &1_u16.to_ne_bytes()); // nlink
            put(16, &RDEV.to_ne_bytes());
            put(24, &4096_u32.to_ne_bytes()); // blksize
            64
        }
    };
    &buffer[..len]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_literal_spelling_is_magic() {
        for (path, is) in [
            ("/dev/sydbox", Some("")),
            ("/dev/sydbox/", Some("")),
            ("/dev/sydbox/lock", Some("lock")),
            ("/dev/sydbox//lock", Some("/lock")),
            ("/dev/sydboxes", None),
            ("//dev/sydbox", None),
            ("/dev//sydbox", None),
            ("/dev/../dev/sydbox", None),
            ("dev/sydbox", None),
            ("/dev/sydbo", None),
            ("", None),
        ] {
            assert_eq!(command(path.as_bytes()), is.map(str::as_bytes), "{path}");
        }
    }

    #[test]
    fn the_answer_is_the_null_device() {
        // The layout of this machine, read back by the C library's idea of it.
        let mut buffer = [0; 256];
        let bytes = describe(Op::Stat, false, &mut buffer);
        assert_eq!(bytes.len(), size_of::<libc::stat>());
        let at = |offset: usize| u32::from_ne_bytes(bytes[offset..offset + 4].try_into().unwrap());
        assert_eq!(at(std::mem::offset_of!(libc::stat, st_mode)), libc::S_IFCHR | 0o666);
        assert_eq!(u64::from(at(std::mem::offset_of!(libc::stat, st_rdev))), libc::makedev(1, 3));
        let mut buffer = [0; 256];
        let bytes = describe(Op::Statx, false, &mut buffer);
        assert_eq!(bytes.len(), size_of::<libc::statx>());
        let at = |offset: usize| u32::from_ne_bytes(bytes[offset..offset + 4].try_into().unwrap());
        assert_eq!(at(std::mem::offset_of!(libc::statx, stx_mode)) & 0xffff, libc::S_IFCHR | 0o666);
        assert_eq!(at(std::mem::offset_of!(libc::statx, stx_rdev_major)), 1);
        assert_eq!(at(std::mem::offset_of!(libc::statx, stx_rdev_minor)), 3);
    }
}
