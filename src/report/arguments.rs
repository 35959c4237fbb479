//! The arguments of a refused call, for people: what stands between the parentheses.
#![forbid(unsafe_code)]
#![allow(dead_code)]

use super::escape;

/// Arguments with commas between them.
pub(crate) fn list(arguments: &[String]) -> String {
    arguments.join(", ")
}

/// A path, in quotes and escaped.
pub(crate) fn path(path: &[u8]) -> String {
    escape::quoted(path)
}

/// A directory descriptor, or `AT_FDCWD`.
pub(crate) fn dirfd(fd: i32) -> String {
    if fd == libc::AT_FDCWD { "AT_FDCWD".into() } else { fd.to_string() }
}

/// The arguments of a call with an address: `5, inet:192.0.2.1@443`.
pub(crate) fn socket(fd: i32, address: &str) -> String {
    format!("{fd}, {}", escape::text(address.as_bytes()))
}

/// Permission bits, in octal.
pub(crate) fn mode(mode: u32) -> String {
    format!("{mode:#05o}").replacen("0o", "0", 1)
}

/// The mode of `access`.
pub(crate) fn access_mode(mode: i32) -> String {
    if mode == libc::F_OK {
        return "F_OK".into();
    }
    named(Vec::new(), mode, &[(libc::R_OK, "R_OK"), (libc::W_OK, "W_OK"), (libc::X_OK, "X_OK")])
}

/// The flags of `open`, as the kernel gets them.
pub(crate) fn open_flags(flags: i32) -> String {
    let access = match flags & libc::O_ACCMODE {
        libc::O_RDONLY => "O_RDONLY",
        libc::O_WRONLY => "O_WRONLY",
        libc::O_RDWR => "O_RDWR",
        _ => "O_ACCMODE",
    };
    named(vec![access.into()], flags & !libc::O_ACCMODE, OPEN)
}

/// Names of flags. Those of several bits come before those that are a part of them.
const OPEN: &[(i32, &str)] = &[
    (libc::O_CREAT, "O_CREAT"),
    (libc::O_EXCL, "O_EXCL"),
    (libc::O_NOCTTY, "O_NOCTTY"),
    (libc::O_TRUNC, "O_TRUNC"),
    (libc::O_APPEND, "O_APPEND"),
    (libc::O_NONBLOCK, "O_NONBLOCK"),
    (libc::O_SYNC, "O_SYNC"),
    (libc::O_DSYNC, "O_DSYNC"),
    (libc::O_ASYNC, "O_ASYNC"),
    (libc::O_DIRECT, "O_DIRECT"),
    (KERNEL_O_LARGEFILE, "O_LARGEFILE"),
    (libc::O_TMPFILE, "O_TMPFILE"),
    (libc::O_DIRECTORY, "O_DIRECTORY"),
    (libc::O_NOFOLLOW, "O_NOFOLLOW"),
    (libc::O_NOATIME, "O_NOATIME"),
    (libc::O_CLOEXEC, "O_CLOEXEC"),
    (libc::O_PATH, "O_PATH"),
];

/// The kernel's number. On 64-bit machines libc says 0, because there it is always on.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
const KERNEL_O_LARGEFILE: i32 = 0o100_000;
#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
const KERNEL_O_LARGEFILE: i32 = libc::O_LARGEFILE;

fn named(mut words: Vec<String>, mut bits: i32, names: &[(i32, &str)]) -> String {
    for &(bit, name) in names {
        if bit != 0 && bits & bit == bit {
            words.push(name.into());
            bits &= !bit;
        }
    }
    if bits != 0 {
        words.push(format!("{bits:#x}"));
    }
    words.join("|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_manual_shows_them() {
        let flags = open_flags(libc::O_WRONLY | libc::O_TRUNC);
        assert_eq!(list(&[path(b"/etc/passwd"), flags]), "`/etc/passwd', O_WRONLY|O_TRUNC");
        assert_eq!(socket(5, "inet:192.0.2.1@443"), "5, inet:192.0.2.1@443");
        assert_eq!(socket(5, "unix:/a\nb"), "5, unix:/a\\x0ab");
        assert_eq!(dirfd(libc::AT_FDCWD), "AT_FDCWD");
        assert_eq!(mode(0o644), "0644");
        assert_eq!(access_mode(libc::R_OK | libc::W_OK), "R_OK|W_OK");
    }

    #[test]
    fn flags_of_several_bits_and_unknown_ones() {
        for (flags, text) in [
            (0, "O_RDONLY"),
            (libc::O_RDWR | libc::O_TMPFILE, "O_RDWR|O_TMPFILE"),
            (libc::O_DIRECTORY | libc::O_CLOEXEC, "O_RDONLY|O_DIRECTORY|O_CLOEXEC"),
            (libc::O_WRONLY | libc::O_SYNC, "O_WRONLY|O_SYNC"),
            (libc::O_WRONLY | libc::O_DSYNC, "O_WRONLY|O_DSYNC"),
            (3 | 0x4000_0000, "O_ACCMODE|0x40000000"),
        ] {
            assert_eq!(open_flags(flags), text);
        }
    }
}
