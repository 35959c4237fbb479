//! Where the second lock lets the kernel open files for writing by itself.
//!
//! To open a file for a caller costs three wake-ups, to let the kernel do it one. It may do it where it makes no
//! difference what the caller's memory says by then: below a directory that the policy allows as a whole, and for which
//! the Landlock domain has a rule, whatever path the kernel reads leads to a file that may be opened or is refused by
//! Landlock (I1). Only opening is granted; creating by other calls, removing and renaming stay the broker's.
//!
//! Rules of Landlock are about directories, those of the policy about paths, and Landlock's stay for good. So they count
//! only while the policy of the caller allows all that they grant, for a path that still leads to the directory that
//! was there at the start, and while the others are in their places as well: one that was moved takes its rule along.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use landlock::{AccessFs, BitFlags, PathBeneath};

use super::cx::Cx;
use crate::gate::Shape;
use crate::policy::{Access, Mode, State, is_within};
use crate::resolve::CanonicalPath;
use crate::sys::{fs, probe};
use crate::tracee::Result;

/// More would make the start slow for what is hardly opened.
const MAX: usize = 32;
/// So many rules are tried, the last ones first.
const MAX_TRIED: usize = 256;
/// So long all count as in their places once they were seen there: not longer than a file may stay open that was opened
/// just before its directory moved.
const TRUST: Duration = Duration::from_millis(5);

/// What the domain allows.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    list: Vec<Grant>,
    /// When all were last seen in their places: microseconds, see [`clock`].
    seen: AtomicU64,
}

#[derive(Debug)]
struct Grant {
    path: Box<[u8]>,
    id: (u64, u64),
    /// It is a directory, and all below it is meant.
    tree: bool,
}

/// A directory or file for a rule of the domain.
pub(super) struct Granted {
    fd: OwnedFd,
    access: BitFlags<AccessFs>,
}

impl Granted {
    /// The rule.
    pub(super) fn rule(&self) -> PathBeneath<&OwnedFd> {
        PathBeneath::new(&self.fd, self.access)
    }
}

impl Grants {
    /// What can be granted to a tree that starts with this policy.
    pub(super) fn of(policy: &State, shape: &Shape) -> (Self, Vec<Granted>) {
        // Before its third version Landlock does not see that a file is cut off.
        if !shape.write || policy.mode(Access::Write) == Mode::Off || probe::landlock_abi().unwrap_or(0) < 3 {
            return Default::default();
        }
        let grants = policy
            .allowed_anchors(Access::Write)
            .take(MAX_TRIED)
            .filter_map(|path| Self::grant(policy, path));
        let (list, granted) = grants.take(MAX).unzip();
        (Self { list, seen: AtomicU64::new(0) }, granted)
    }

    fn grant(policy: &State, path: &[u8]) -> Option<(Grant, Granted)> {
        // A name that is not canonical is none that the policy could allow.
        let fd = fs::pin(fs::cwd(), &fs::c_string(path).ok()?).ok()?;
        let stat = fs::fstat(fd.as_fd()).ok()?;
        let tree = stat.is_dir();
        if stat.is_link() || !can_be_granted(path, tree) || !policy.allows_all(Access::Write, path, tree) {
            return None;
        }
        let access = AccessFs::WriteFile | AccessFs::Truncate;
        let access = if tree { access | AccessFs::MakeReg } else { access };
        Some((Grant { path: path.into(), id: stat.id, tree }, Granted { fd, access }))
    }

    /// The grant that a canonical path is under.
    fn of_path(&self, path: &[u8]) -> Option<&Grant> {
        let covers = |grant: &&Grant| is_within(path, &grant.path) && (path == &*grant.path) != grant.tree;
        self.list.iter().find(covers)
    }

    /// Whether this policy, too, allows all that is granted.
    pub(super) fn hold(&self, policy: &State) -> bool {
        self.list.iter().all(|grant| policy.allows_all(Access::Write, &grant.path, grant.tree))
    }

    /// Whether all are where they were at the start, as a look in the last [`TRUST`] showed.
    fn are_in_place(&self) -> bool {
        let now = clock();
        if now.saturating_sub(self.seen.load(Ordering::Relaxed)) < TRUST.as_micros() as u64 {
            return true;
        }
        let in_place = self.list.iter().all(Grant::is_in_place);
        if in_place {
            self.seen.store(now, Ordering::Relaxed);
        }
        in_place
    }
}

impl Grant {
    fn is_in_place(&self) -> bool {
        let now = fs::c_string(&self.path).and_then(|path| fs::lstat(fs::cwd(), &path));
        now.is_ok_and(|now| now.id == self.id)
    }
}

/// Microseconds, from more than [`TRUST`] on, so that 0 is long ago.
fn clock() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    (START.elapsed() + TRUST).as_micros() as u64
}

/// Whether what the broker looks at more closely than Landlock cannot be in there: processes, settings, disks.
fn can_be_granted(path: &[u8], tree: bool) -> bool {
    let (kernel, devices) = ([b"/proc".as_slice(), b"/sys"], b"/dev".as_slice());
    kernel.iter().all(|dir| !(is_within(path, dir) || tree && is_within(dir, path)))
        && !(tree && is_within(devices, path))
}

impl Cx<'_> {
    /// Whether the kernel may open `path`, which the policy lets the caller write to, by itself. `reads`: it is an open
    /// for reading, too, which Landlock knows nothing of.
    pub(super) fn is_granted(&self, path: &CanonicalPath, reads: bool) -> Result<bool> {
        let grants = &self.supervisor.options.grants;
        let Some(grant) = grants.of_path(path.bytes()) else { return Ok(false) };
        if reads && self.state()?.policy.mode(Access::Read) != Mode::Off {
            return Ok(false);
        }
        Ok(grant.is_in_place() && self.may_have_grants()?)
    }

    /// Whether the caller may do all that the domain allows.
    pub(super) fn may_have_grants(&self) -> Result<bool> {
        let grants = &self.supervisor.options.grants;
        Ok(self.state()?.allows_grants(grants) && grants.are_in_place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_more_than_files_is_not_granted() {
        for (path, tree, can) in [
            ("/tmp", true, true),
            ("/", true, false),
            ("/proc", true, false),
            ("/proc/1", true, false),
            ("/sys/fs/selinux/context", false, false),
            ("/system", true, true),
            ("/dev", true, false),
            ("/dev/shm", true, true),
            ("/dev/null", false, true),
        ] {
            assert_eq!(can_be_granted(path.as_bytes(), tree), can, "{path}");
        }
    }

    #[test]
    fn a_grant_covers_what_is_below_it() {
        let grant = |path: &str, tree| Grant { path: path.as_bytes().into(), id: (0, 0), tree };
        let list = vec![grant("/w", true), grant("/dev/null", false)];
        let grants = Grants { list, ..Grants::default() };
        for (path, covered) in [
            ("/w/a", true),
            ("/w/a/b", true),
            ("/w", false),
            ("/wa", false),
            ("/dev/null", true),
            ("/dev/null/x", false),
        ] {
            assert_eq!(grants.of_path(path.as_bytes()).is_some(), covered, "{path}");
        }
    }
}
