//! What is really enforced here, class by class: a value, not a log line.
#![forbid(unsafe_code)]

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::sys::probe;

/// What this machine offers to a sandbox, and what is lost where it does not.
///
/// ```
/// let status = sydbox::Status::detect();
/// println!("{status}");
/// if !status.can_run() {
///     eprintln!("no sandbox here");
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Status {
    release: String,
    landlock_abi: u32,
    features: Vec<Feature>,
}

/// One thing that a kernel has or has not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Feature {
    /// What it is called.
    pub name: &'static str,
    /// Since which version Linux has it.
    pub since: &'static str,
    /// Whether it is here.
    pub state: State,
    /// Whether there is no sandbox without it.
    pub required: bool,
    /// What is lost without it.
    pub cost: &'static str,
}

/// Whether a [`Feature`] is there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It is.
    Available,
    /// It is not.
    Missing {
        /// The error it answered with, or what was looked at.
        reason: String,
    },
}

impl Feature {
    /// Whether it is there.
    pub fn is_available(&self) -> bool {
        self.state == State::Available
    }
}

/// What each ABI of Landlock adds: ABI, name, kernel, cost.
const LANDLOCK: [(u32, &str, &str, &str); 7] = [
    (
        1,
        "landlock: files",
        "5.13",
        "no second lock: only the broker stands between the command and the files",
    ),
    (
        2,
        "landlock: link and rename",
        "5.19",
        "files cannot be moved between directories while the second lock is on",
    ),
    (3, "landlock: truncate", "6.2", "truncation is refused by the broker alone"),
    (4, "landlock: network", "6.7", "TCP bind and connect are refused by the broker alone"),
    (5, "landlock: ioctl of devices", "6.10", "nothing: it is not used"),
    (
        6,
        "landlock: scopes",
        "6.12",
        "signals and abstract sockets are judged by the broker alone, and more slowly",
    ),
    (7, "landlock: audit", "6.15", "refusals of the second lock are not in the audit log"),
];

impl Status {
    /// An error that names what is missing, if a sandbox cannot run here (or not with both locks, if that is asked for).
    pub(crate) fn require(&self, backstop: bool) -> Result<()> {
        for Feature { name, since, state, required, cost } in &self.features {
            if let (State::Missing { reason }, true) = (state, required) {
                let message =
                    format!("this system lacks {name} (Linux {since}), without which {cost}: {reason}");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        }
        if backstop && !self.has_backstop() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "this system lacks Landlock (Linux 5.13, switched on at boot), which was required as second lock",
            ));
        }
        Ok(())
    }

    /// Asks the kernel. Changes nothing and needs no privilege.
    pub fn detect() -> Self {
        let release = read("/proc/sys/kernel/osrelease").or_else(|_| uname()).unwrap_or_default();
        let landlock = probe::landlock_abi();
        let landlock_abi = *landlock.as_ref().unwrap_or(&0);

        let memory = probe::process_vm_readv();
        let mut features = vec![
            feature("user notification", "5.0", true, "nothing can be mediated", user_notification()),
            feature(
                "killable notifications",
                "5.19",
                true,
                "a signal would make a program repeat a call that was already carried out",
                probe::seccomp_filter_flags_known(
                    libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
                ),
            ),
            feature(
                "synchronous wake-up",
                "6.6",
                false,
                "a mediated call takes about a quarter longer where it is asked for",
                since(&release, (6, 6)),
            ),
            feature("openat2", "5.6", true, "paths cannot be resolved safely", probe::openat2()),
            feature("/proc", "2.0", true, "a process cannot be looked at", proc_mounted()),
            feature(
                "process_vm_readv",
                "3.2",
                false,
                "arguments are read through /proc/PID/mem, which is slower",
                refused(&memory),
            ),
            feature(
                "/proc/PID/mem",
                "2.0",
                memory.is_err(),
                "arguments are read with process_vm_readv only",
                proc_mem(),
            ),
            feature(
                "pidfd_getfd",
                "5.6",
                false,
                "calls on sockets of the command cannot be mediated and are refused",
                probe::pidfd_getfd(),
            ),
            feature(
                "yama lets us look at descendants",
                "3.4",
                true,
                "memory of the command cannot be read: write 1 to /proc/sys/kernel/yama/ptrace_scope",
                yama(),
            ),
        ];
        for (abi, name, since, cost) in LANDLOCK {
            let answer = match &landlock {
                Ok(have) if *have >= abi => Ok(()),
                Ok(have) => Err(io::Error::other(format!("the kernel speaks ABI {have}, this is ABI {abi}"))),
                Err(error) => Err(explain_landlock(error)),
            };
            features.push(feature(name, since, false, cost, answer));
        }
        if cfg!(target_arch = "x86_64") {
            features.push(feature("32-bit programs", "2.6", false, "nothing but these", ia32()));
        }
        Self { release, landlock_abi, features }
    }

    /// Every feature that was looked for.
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// Whether there is a feature of this name, and it is available.
    pub fn has(&self, name: &str) -> bool {
        self.features.iter().any(|feature| feature.name == name && feature.is_available())
    }

    /// Whether sydbox can run here.
    pub fn can_run(&self) -> bool {
        self.features.iter().all(|feature| feature.is_available() || !feature.required)
    }

    /// Whether there is a second lock: Landlock, in whatever version.
    pub fn has_backstop(&self) -> bool {
        self.landlock_abi > 0
    }

    /// The ABI of Landlock that the kernel speaks, 0 if none.
    pub fn landlock_abi(&self) -> u32 {
        self.landlock_abi
    }

    /// The release of the kernel, as `uname -r` prints it.
    pub fn kernel(&self) -> &str {
        &self.release
    }
}

impl fmt::Display for Status {
    /// One line for each feature.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Linux {}", self.release)?;
        for feature in &self.features {
            match &feature.state {
                State::Available => writeln!(f, "ok       {} (Linux {})", feature.name, feature.since)?,
                State::Missing { reason } => {
                    let word = if feature.required { "NEEDED" } else { "missing" };
                    let Feature { name, since, cost, .. } = feature;
                    writeln!(f, "{word:8} {name} (Linux {since}): {reason}; without it: {cost}")?;
                }
            }
        }
        f.write_str(if self.can_run() { "sydbox can run here" } else { "sydbox cannot run here" })
    }
}

fn feature(
    name: &'static str,
    since: &'static str,
    required: bool,
    cost: &'static str,
    answer: io::Result<()>,
) -> Feature {
    let state = match answer {
        Ok(()) => State::Available,
        Err(error) => State::Missing { reason: error.to_string() },
    };
    Feature { name, since, state, required, cost }
}

fn user_notification() -> io::Result<()> {
    probe::seccomp_get_notif_sizes()?;
    probe::seccomp_get_action_avail(libc::SECCOMP_RET_USER_NOTIF)
}

fn explain_landlock(error: &io::Error) -> io::Error {
    io::Error::other(match error.raw_os_error() {
        Some(libc::ENOSYS) => "the kernel was built without landlock".into(),
        Some(libc::EOPNOTSUPP) => "landlock is off: add it to lsm= on the kernel's command line".into(),
        _ => error.to_string(),
    })
}

fn since(release: &str, needed: (u32, u32)) -> io::Result<()> {
    match version(release) {
        Some(have) if have >= needed => Ok(()),
        _ => Err(io::Error::other(format!("the kernel is {release}"))),
    }
}

/// The first two numbers of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn uname() -> io::Result<String> {
    Ok(nix::sys::utsname::uname()?.release().to_string_lossy().into_owned())
}

fn proc_mounted() -> io::Result<()> {
    let link =
        fs::read_link("/proc/self").map_err(|error| io::Error::other(format!("/proc/self: {error}")))?;
    if link.as_os_str() == std::process::id().to_string().as_str() {
        Ok(())
    } else {
        Err(io::Error::other("/proc belongs to another pid namespace"))
    }
}

fn proc_mem() -> io::Result<()> {
    fs::File::open("/proc/self/mem").map(drop)
}

fn yama() -> io::Result<()> {
    let scope = match read("/proc/sys/kernel/yama/ptrace_scope") {
        Ok(scope) => scope,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    match scope.as_str() {
        "0" | "1" => Ok(()),
        "2" if has_capability(CAP_SYS_PTRACE) => Ok(()),
        _ => Err(io::Error::other(format!("kernel.yama.ptrace_scope is {scope}"))),
    }
}

const CAP_SYS_PTRACE: u32 = 19;

fn has_capability(number: u32) -> bool {
    let status = read("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set >> number & 1 == 1)
}

fn ia32() -> io::Result<()> {
    if !Path::new("/proc/sys/abi/vsyscall32").exists() {
        return Err(io::Error::other("the kernel was built without CONFIG_IA32_EMULATION"));
    }
    let line = read("/proc/cmdline").unwrap_or_default();
    let off = line.split_whitespace().filter_map(|word| word.strip_prefix("ia32_emulation=")).next_back();
    match off {
        Some("0" | "off" | "n" | "false") => {
            Err(io::Error::other("switched off on the kernel's command line"))
        }
        _ => Ok(()),
    }
}

fn refused(answer: &io::Result<()>) -> io::Result<()> {
    match answer {
        Ok(()) => Ok(()),
        Err(error) => Err(io::Error::other(error.to_string())),
    }
}

/// A small file of /proc, without the newline at its end.
fn read(path: &str) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(1 << 16).read_to_string(&mut text)?;
    text.truncate(text.trim_end().len());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        for (release, numbers) in [
            ("6.18.44-fc-v669", Some((6, 18))),
            ("5.4.0-150-generic", Some((5, 4))),
            ("7.0", Some((7, 0))),
            ("6.6+", Some((6, 6))),
            ("", None),
        ] {
            assert_eq!(version(release), numbers);
        }
        assert!(since("6.6.1", (6, 6)).is_ok() && since("10.0", (6, 6)).is_ok());
        assert!(since("6.5.9", (6, 6)).is_err() && since("5.19", (6, 6)).is_err());
    }

    #[test]
    fn a_line_for_each_feature() {
        let status = Status::detect();
        let text = status.to_string();
        assert_eq!(text.lines().count(), status.features().len() + 2);
        for feature in status.features() {
            assert!(
                text.lines().any(|line| line.get(9..).is_some_and(|line| line.starts_with(feature.name)))
            );
        }
    }

    #[test]
    fn only_what_is_needed_is_needed() {
        let answer = || Err(io::Error::other("no"));
        let with = |required| Status {
            release: "6.1".into(),
            landlock_abi: 0,
            features: vec![feature("x", "1.0", required, "all", answer())],
        };
        assert!(with(false).can_run() && !with(true).can_run() && !with(true).has_backstop());
        assert!(with(true).to_string().contains("\nNEEDED   x (Linux 1.0): no; without it: all\n"));
    }
}
