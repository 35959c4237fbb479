//! For programs inside a sandbox: asking it for things, and giving things up.
//!
//! Each function is one `stat` of a path below `/dev/sydbox`; its documentation begins with that path. What it changes, it
//! changes for the whole process and for the children that are started from then on, never for its parent, and it has
//! taken effect when the function returns.
//!
//! ```no_run
//! use sydbox::client;
//!
//! if client::check() {
//!     client::allow_path("/var/tmp/build")?;
//!     client::disable_net()?;
//!     fetch()?;
//!     client::enable_net()?;
//!     client::lock()?;
//! }
//! # fn fetch() -> std::io::Result<()> { Ok(()) }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Errors
//! | error | meaning |
//! |---|---|
//! | [`InvalidInput`] (without a code) | refused here, nothing was asked: a path that is not absolute, a NUL byte |
//! | ENOENT | there is no sandbox, or magic is locked for this process |
//! | EINVAL | the sandbox does not understand it; its log says what is wrong |
//! | EOPNOTSUPP | impossible in this sandbox; its log says how to get it |
//! | EPERM | not allowed in this sandbox |
//! | ENOSPC | too many or too large rules in this sandbox |
//! | ENAMETOOLONG | longer than 64 KiB |
//!
//! [`InvalidInput`]: io::ErrorKind::InvalidInput
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// What every magic path begins with.
const ROOT: &[u8] = b"/dev/sydbox";

/// The device that a magic path appears to be: character device 1:3.
const DEVICE: u64 = 0x0103;

/// `/dev/sydbox` — whether there is a sandbox, and magic is not locked for this process.
pub fn check() -> bool {
    stat(b"").is_ok()
}

/// `/dev/sydbox/N` — the newest version of the interface that the sandbox speaks; `None` as [`check`] says false.
pub fn api() -> Option<u32> {
    (1..=2).rev().find(|number| stat(number.to_string().as_bytes()).is_ok())
}

/// `/dev/sydbox/COMMAND` — any magic command, as a profile has it: `core/sandbox/network:local`.
///
/// For a query (`core/sandbox/network?`) the answer is its result. For anything else `false` means that the command
/// was not carried out, because there is no sandbox or because magic is locked.
///
/// ```no_run
/// use sydbox::client::magic;
///
/// if magic("core/sandbox/network?")? {
///     magic("allowlist/network/connect+LOOPBACK@5432")?;
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn magic(command: impl AsRef<[u8]>) -> io::Result<bool> {
    let command = command.as_ref();
    if command.is_empty() {
        return Err(invalid("the command is empty"));
    }
    match stat(command) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// `/dev/sydbox/exec!PROGRAM…` — starts a program **outside** the sandbox, and returns when it has been started.
///
/// Only where the sandbox has `core/trace/allow_cmd:true`; else it is EPERM. Other errors are those of the exec. No argument may
/// contain the byte 037.
pub fn exec<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = A>,
) -> io::Result<()> {
    const UNIT_SEPARATOR: u8 = 0o37;
    if program.as_ref().is_empty() {
        return Err(invalid("there is no program to execute"));
    }
    let mut command = [b"exec!", program.as_ref().as_bytes()].concat();
    let mut separators = 0;
    for argument in arguments {
        separators += 1;
        command.push(UNIT_SEPARATOR);
        command.extend_from_slice(argument.as_ref().as_bytes());
    }
    if command.iter().filter(|byte| **byte == UNIT_SEPARATOR).count() != separators {
        return Err(invalid("an argument contains the byte 037, which separates arguments"));
    }
    stat(&command)
}

/// One function for each verb: without an argument, with a path, with an address, with a pattern, and questions.
macro_rules! verbs {
    ($($(#[$doc:meta])* $name:ident $kind:ident $verb:literal;)*) => {
        $(verbs!(@ $kind $(#[$doc])* $name $verb);)*
    };
    (@ plain $(#[$doc:meta])* $name:ident $verb:literal) => {
        #[doc = concat!("`/dev/sydbox/", $verb, "` —")]
        $(#[$doc])*
        pub fn $name() -> io::Result<()> {
            stat($verb.as_bytes())
        }
    };
    (@ question $(#[$doc:meta])* $name:ident $verb:literal) => {
        #[doc = concat!("`/dev/sydbox/", $verb, "` —")]
        $(#[$doc])*
        pub fn $name() -> io::Result<bool> {
            magic($verb)
        }
    };
    (@ path $(#[$doc:meta])* $name:ident $verb:literal) => {
        #[doc = concat!("`/dev/sydbox/", $verb, "/PATH` —")]
        $(#[$doc])*
        pub fn $name(path: impl AsRef<Path>) -> io::Result<()> {
            with_path($verb, path.as_ref())
        }
    };
    (@ address $(#[$doc:meta])* $name:ident $verb:literal) => {
        #[doc = concat!("`/dev/sydbox/", $verb, "/ADDRESS` —")]
        $(#[$doc])*
        pub fn $name(address: impl AsRef<[u8]>) -> io::Result<()> {
            with_argument($verb, address.as_ref())
        }
    };
    (@ pattern $(#[$doc:meta])* $name:ident $verb:literal) => {
        #[doc = concat!("`/dev/sydbox/", $verb, "/PATTERN` —")]
        $(#[$doc])*
        pub fn $name(pattern: impl AsRef<[u8]>) -> io::Result<()> {
            with_argument($verb, pattern.as_ref())
        }
    };
}

verbs! {
    /// locks magic for this process and its future children, for good.
    lock plain "lock";
    /// locks magic for whatever this process or its children execute, as soon as they do.
    exec_lock plain "exec_lock";
    /// makes the sandbox last until every process of it is gone.
    wait_all plain "wait_all";
    /// makes the sandbox return when its first process is gone.
    wait_eldest plain "wait_eldest";

    /// whether write sandboxing is on.
    enabled_path question "enabled_path";
    /// whether exec sandboxing is on.
    enabled_exec question "enabled_exec";
    /// whether network sandboxing is on.
    enabled_net question "enabled_net";
    /// whether read sandboxing is on.
    enabled_read question "enabled_read";

    /// switches write sandboxing on.
    enable_path plain "enable_path";
    /// switches exec sandboxing on.
    enable_exec plain "enable_exec";
    /// switches network sandboxing on.
    enable_net plain "enable_net";
    /// switches read sandboxing on, in a sandbox that was started for it.
    enable_read plain "enable_read";
    /// switches write sandboxing off.
    disable_path plain "disable_path";
    /// switches exec sandboxing off.
    disable_exec plain "disable_exec";
    /// switches network sandboxing off.
    disable_net plain "disable_net";
    /// switches read sandboxing off.
    disable_read plain "disable_read";

    /// allows to write to a path and to everything below it.
    allow_path path "allow_path";
    /// allows to execute a path and everything below it.
    allow_exec path "allow_exec";
    /// allows to read a path and everything below it.
    allow_read path "allow_read";
    /// takes [`allow_path`] back.
    disallow_path path "disallow_path";
    /// takes [`allow_exec`] back.
    disallow_exec path "disallow_exec";
    /// takes [`allow_read`] back.
    disallow_read path "disallow_read";
    /// refuses to write to a path and to everything below it.
    deny_path path "deny_path";
    /// refuses to execute a path and everything below it.
    deny_exec path "deny_exec";
    /// refuses to read a path and everything below it.
    deny_read path "deny_read";
    /// takes [`deny_path`] back.
    undeny_path path "undeny_path";
    /// takes [`deny_exec`] back.
    undeny_exec path "undeny_exec";
    /// takes [`deny_read`] back.
    undeny_read path "undeny_read";

    /// allows to bind an address: `LOOPBACK@1024-65535`, `unix:/run/x`.
    allow_net address "allow_net";
    /// takes [`allow_net`] back.
    disallow_net address "disallow_net";
    /// allows to connect and send to an address: `LOOPBACK@5432`, `unix:/run/nscd/socket`.
    allow_net_connect address "allow_net_connect";
    /// takes [`allow_net_connect`] back.
    disallow_net_connect address "disallow_net_connect";
    /// permits every address that no rule denies.
    net_allow plain "net/allow";
    /// refuses every address but loopback, unix sockets and those that a rule allows.
    net_local plain "net/local";
    /// refuses every address that no rule allows.
    net_deny plain "net/deny";

    /// no longer reports refused writes to paths that match; they are still refused.
    addfilter_path pattern "addfilter_path";
    /// no longer reports refused executions of paths that match; they are still refused.
    addfilter_exec pattern "addfilter_exec";
    /// no longer reports refused addresses that match; they are still refused.
    addfilter_net address "addfilter_net";
    /// takes [`addfilter_path`] back.
    rmfilter_path pattern "rmfilter_path";
    /// takes [`addfilter_exec`] back.
    rmfilter_exec pattern "rmfilter_exec";
    /// takes [`addfilter_net`] back.
    rmfilter_net address "rmfilter_net";

    /// a process that executes a match is killed.
    kill pattern "kill";
    /// a process that executes a match runs on with all sandboxing off, it and its children.
    resume pattern "resume";
}

fn with_path(verb: &str, path: &Path) -> io::Result<()> {
    if !path.is_absolute() {
        return Err(invalid("the path is not absolute"));
    }
    with_argument(verb, path.as_os_str().as_bytes())
}

fn with_argument(verb: &str, argument: &[u8]) -> io::Result<()> {
    if argument.is_empty() {
        return Err(invalid("the argument is empty"));
    }
    stat(&[verb.as_bytes(), b"/", argument].concat())
}

/// Asks for one path. Only the sandbox answers with its device; a file that happens to be there does not count.
fn stat(command: &[u8]) -> io::Result<()> {
    let mut path = ROOT.to_vec();
    if !command.is_empty() {
        path.push(b'/');
        path.extend_from_slice(command);
    }
    if path.contains(&0) {
        return Err(invalid("there is a NUL byte in it"));
    }
    let found = fs::metadata(OsStr::from_bytes(&path))?;
    if found.file_type().is_char_device() && found.rdev() == DEVICE {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::ENOENT))
    }
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_sandbox() {
        assert!(!check());
        assert_eq!(api(), None);
        assert!(!magic("core/sandbox/write?").unwrap());
        assert!(!enabled_path().unwrap());
        assert_eq!(lock().unwrap_err().raw_os_error(), Some(libc::ENOENT));
        assert_eq!(allow_path("/tmp").unwrap_err().raw_os_error(), Some(libc::ENOENT));
    }

    #[test]
    fn mistakes_are_not_asked_about() {
        for error in [
            allow_path("tmp").unwrap_err(),
            allow_path("").unwrap_err(),
            allow_path("/a\0b").unwrap_err(),
            allow_net("").unwrap_err(),
            magic("").unwrap_err(),
            magic("lock\0").unwrap_err(),
            exec("", ["a"]).unwrap_err(),
            exec("/bin/true", ["a\x1fb"]).unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.raw_os_error()), (io::ErrorKind::InvalidInput, None));
        }
    }
}
