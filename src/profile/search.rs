//! Finding and reading profiles.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::policy::shown;

/// A profile may be this large.
const MAX_SIZE: u64 = 16 << 20;
/// What the names of profile files end in.
const SUFFIX: &str = "syd-2";

/// The profiles that need no file; sorted.
const BUILT_IN: &[(&str, &str)] = &[
    ("agent", include_str!("../../profiles/agent.syd-2")),
    ("build", include_str!("../../profiles/build.syd-2")),
    ("default", include_str!("../../profiles/default.syd-2")),
    ("devices", include_str!("../../profiles/devices.syd-2")),
    ("off", include_str!("../../profiles/off.syd-2")),
    ("offline", include_str!("../../profiles/offline.syd-2")),
    ("paludis", include_str!("../../profiles/paludis.syd-2")),
];

/// The names of the profiles that are built in.
pub(crate) fn built_in_names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// The text of a profile that is built in.
pub(crate) fn built_in(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// What makes two profiles the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    /// Device and inode.
    File(u64, u64),
    BuiltIn(String),
}

/// The text of a profile.
pub(super) struct Profile {
    /// As errors name it.
    pub(super) name: String,
    pub(super) text: Vec<u8>,
    pub(super) identity: Identity,
    /// Where it is, if it is a file.
    directory: Option<PathBuf>,
}

/// Whether this can name a profile: one component, and no hidden file.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && !name.starts_with(['.', '-'])
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+@".contains(&byte))
}

/// The profile in this file.
pub(super) fn file(path: &Path) -> Result<Profile> {
    read(path).map_err(|error| unreadable(path, &error))
}

/// The profile of this name; `from` is the one that includes it, which is never found itself, so that a profile
/// can extend the one that it hides.
pub(super) fn named(name: &str, from: Option<&Profile>, context: &Context) -> Result<Profile> {
    if !is_name(name) {
        let text = format!("expected the name of a profile, not `{}`", shown(name.as_bytes()));
        return Err(Error::new(ErrorKind::Profile, text));
    }
    let own = from.and_then(|from| from.directory.clone());
    let config = context.get("XDG_CONFIG_HOME").map(path_of).filter(|path| path.is_absolute());
    let config = config.or_else(|| Some(path_of(context.get("HOME")?).join(".config")));
    let directories: Vec<PathBuf> = own
        .into_iter()
        .chain(config.filter(|path| path.is_absolute()).map(|path| path.join("sydbox")))
        .chain(context.system.iter().cloned())
        .collect();
    for directory in &directories {
        let path = directory.join(format!("{name}.{SUFFIX}"));
        match read(&path) {
            Ok(profile) if from.is_some_and(|from| from.identity == profile.identity) => {}
            Ok(profile) => return Ok(profile),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            // Somebody else's home directory (after su or setpriv) has nothing for us.
            Err(_) if is_closed(&path) => {
                log::debug!("not searched: {}", shown(directory.as_os_str().as_bytes()))
            }
            Err(error) => return Err(unreadable(&path, &error)),
        }
    }
    if let Some(text) = built_in(name) {
        let identity = Identity::BuiltIn(name.to_owned());
        let name = format!("{name}.{SUFFIX} (built in)");
        return Ok(Profile { name, text: text.into(), identity, directory: None });
    }
    let looked: Vec<_> = directories.iter().map(|path| shown(path.as_os_str().as_bytes())).collect();
    let known: Vec<_> = built_in_names().collect();
    let text = format!(
        "there is no profile `{name}`: no file {name}.{SUFFIX} in {}, and none of those built in ({})",
        looked.join(", "),
        known.join(", ")
    );
    Err(Error::new(ErrorKind::Profile, text))
}

/// Whether a directory on the way may not be searched, so that nobody can say whether the file exists.
fn is_closed(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

fn path_of(bytes: Vec<u8>) -> PathBuf {
    OsString::from_vec(bytes).into()
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    let text = format!("cannot read profile `{}`: {error}", shown(path.as_os_str().as_bytes()));
    Error::new(ErrorKind::Profile, text)
}

/// Reads a regular file of bounded size. Nothing else is ever waited for, not even a FIFO.
pub(super) fn read(path: &Path) -> io::Result<Profile> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > MAX_SIZE) {
        return Err(io::Error::other("larger than 16 MiB"));
    }
    Ok(Profile {
        name: shown(path.as_os_str().as_bytes()),
        text,
        identity: Identity::File(metadata.dev(), metadata.ino()),
        directory: path.parent().map(Path::to_owned),
    })
}
