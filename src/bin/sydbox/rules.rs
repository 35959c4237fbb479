//! Everyday paths as patterns.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::failure::Failure;

/// The pattern for `path`, seen from `cwd`, and all that is below it.
pub(crate) fn below(path: &Path, cwd: &Path) -> Result<Vec<u8>, Failure> {
    let absolute = cwd.join(path);
    if path.as_os_str().is_empty() || !absolute.is_absolute() {
        return Err(Failure::new(
            "the path is empty, or the working directory is gone: give an absolute path",
        ));
    }
    let canonical = canonical(&absolute)
        .map_err(|error| Failure::new(format!("{}: {error}", sydbox::escape(path.as_os_str().as_bytes()))))?;
    let mut pattern = literal(canonical.as_os_str());
    if pattern.ends_with(b"/") {
        pattern.pop();
    }
    pattern.extend_from_slice(b"/***");
    Ok(pattern)
}

/// The canonical path, also of what does not exist yet.
fn canonical(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (Some(Component::Normal(name)), Some(parent)) =
                (path.components().next_back(), path.parent())
            else {
                return Err(error);
            };
            Ok(canonical(parent)?.join(name))
        }
        other => other,
    }
}

/// A pattern that matches this name only.
fn literal(name: &OsStr) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(name.len() + 8);
    for &byte in name.as_bytes() {
        if b"\\*?[]".contains(&byte) {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_below() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("real")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        let text = |path: &str| String::from_utf8(below(Path::new(path), &root).unwrap()).unwrap();
        let expected = |rest: &str| format!("{}{rest}/***", root.display());

        assert_eq!(text("/"), "/***");
        assert_eq!(text("."), expected(""));
        assert_eq!(text("real/../link"), expected("/real"));
        assert_eq!(text("link/new/deep"), expected("/real/new/deep"));
        assert_eq!(text("a*b[c]?\\"), expected("/a\\*b\\[c\\]\\?\\\\"));
        assert!(below(Path::new("new/../x"), &root).is_err());
        assert!(below(Path::new(""), &root).is_err());
    }
}
