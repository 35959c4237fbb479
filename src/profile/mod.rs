//! Profile files: one magic command a line.
//!
//! Comments begin with `#` at the start of a line or after a blank; `include NAME` reads another profile;
//! `${NAME}`, `${NAME:-otherwise}` and `~` at the start of a path are replaced. What replaces them in a pattern
//! matches literally. `${CWD}` is the directory the sandbox starts in.
#![forbid(unsafe_code)]

mod expand;
mod search;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::magic::{self, Arming, SyntaxError};
use crate::policy::{State, install_services};

use search::{Identity, Profile};

pub(crate) use search::built_in_names;

/// How deep profiles may include each other.
const MAX_DEPTH: usize = 16;
/// How many profiles one profile may include in all.
const MAX_INCLUDES: usize = 128;

/// Where a profile is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    /// On the search path, or built in.
    Named(&'a str),
    /// In this file.
    File(&'a Path),
}

/// Looks a variable up.
type Variable = dyn Fn(&str) -> Option<OsString> + Send + Sync;

/// What profiles take from around them.
pub(crate) struct Context {
    cwd: Vec<u8>,
    variable: Box<Variable>,
    system: Vec<PathBuf>,
}

impl Context {
    /// This process's environment, and the directory the sandbox will start in.
    pub(crate) fn from_environment(cwd: &Path) -> Self {
        install_services(|| {
            search::read(Path::new("/etc/services")).map(|file| file.text).unwrap_or_default()
        });
        // Rules speak of canonical paths: a home directory that is a link would leave its rules without effect.
        Self::new(cwd, |name| {
            let value = std::env::var_os(name)?;
            let path = Path::new(&value);
            let canonical = path.is_absolute().then(|| path.canonicalize().ok()).flatten();
            Some(canonical.map_or(value, PathBuf::into_os_string))
        })
    }

    /// Another environment.
    pub(crate) fn new(
        cwd: &Path,
        variable: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static,
    ) -> Self {
        let system =
            ["/etc/sydbox", "/usr/local/share/sydbox", "/usr/share/sydbox"].map(PathBuf::from).into();
        Self { cwd: cwd.as_os_str().to_owned().into_vec(), variable: Box::new(variable), system }
    }

    /// The value of a variable; an empty one counts as none, and so does the root, so that `${HOME}/***` can never be
    /// everything.
    fn get(&self, name: &str) -> Option<Vec<u8>> {
        let value = if name == "CWD" { self.cwd.clone() } else { (self.variable)(name)?.into_vec() };
        value.iter().any(|byte| *byte != b'/').then_some(value)
    }
}

/// Applies a profile to a state.
pub(crate) fn load(source: Source<'_>, state: State, context: &Context) -> Result<State> {
    let profile = match source {
        Source::File(path) => search::file(path)?,
        Source::Named(name) => search::named(name, None, context)?,
    };
    let mut loader = Loader { state, context, stack: Vec::new(), included: 0 };
    loader.apply(profile)?;
    Ok(loader.state)
}

/// Reads profiles into a state.
struct Loader<'a> {
    state: State,
    context: &'a Context,
    /// The profiles that are being read, the outermost first.
    stack: Vec<Identity>,
    included: usize,
}

impl Loader<'_> {
    fn apply(&mut self, profile: Profile) -> Result<()> {
        self.stack.push(profile.identity.clone());
        for (number, line) in (1_usize..).zip(profile.text.split(|byte| *byte == b'\n')) {
            let Some((start, text)) = content(line) else { continue };
            let place = |column: usize| format!("{}:{number}:{}", profile.name, start + column);
            let wrong = |error: SyntaxError| {
                Error::new(ErrorKind::Syntax, format!("{}: {}", place(error.column), error.message))
            };
            if let Some(rest) = text.strip_prefix(b"include").filter(|rest| is_blank(rest.first())) {
                let blanks = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                let at = place("include".len() + blanks + 1);
                self.include(&rest[blanks..], &profile, &at)?;
                continue;
            }
            let expanded = expand::expand(text, self.context).map_err(wrong)?;
            let command = magic::parse(&expanded.text).map_err(|error| wrong(expanded.place(error)))?;
            let answer = magic::apply_to(&command, &mut self.state, &Arming::AT_START);
            let answer = answer.map_err(|refusal| {
                Error::new(ErrorKind::Syntax, format!("{}: {}", place(1), refusal.message))
            })?;
            if answer.is_some() {
                let text = format!("{}: expected a command that changes something, not a question", place(1));
                return Err(Error::new(ErrorKind::Syntax, text));
            }
        }
        self.stack.pop();
        Ok(())
    }

    fn include(&mut self, name: &[u8], from: &Profile, at: &str) -> Result<()> {
        let wrong = |kind, text: String| Err(Error::new(kind, format!("{at}: {text}")));
        let Some(name) = std::str::from_utf8(name).ok().filter(|name| search::is_name(name)) else {
            return wrong(ErrorKind::Syntax, "expected the name of a profile".to_owned());
        };
        self.included += 1;
        if self.stack.len() >= MAX_DEPTH || self.included > MAX_INCLUDES {
            let text = format!(
                "profiles include each other too often (at most {MAX_DEPTH} deep, {MAX_INCLUDES} in all)"
            );
            return wrong(ErrorKind::Profile, text);
        }
        let profile = search::named(name, Some(from), self.context)
            .map_err(|error| Error::new(error.kind(), format!("{at}: {error}")))?;
        if self.stack.contains(&profile.identity) {
            return wrong(ErrorKind::Profile, format!("`{name}` includes itself"));
        }
        self.apply(profile)
    }
}

fn is_blank(byte: Option<&u8>) -> bool {
    byte.is_none_or(u8::is_ascii_whitespace)
}

/// A line without blanks around it and without comment, and where it begins; none if nothing is left. A
/// backslash keeps a blank or a `#` from being one.
fn content(line: &[u8]) -> Option<(usize, &[u8])> {
    let start = line.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let mut text = &line[start..];
    if text.first() == Some(&b'#') {
        return None;
    }
    let quoted = |text: &[u8]| text.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
    let comment = (1..text.len())
        .find(|&i| text[i] == b'#' && text[i - 1].is_ascii_whitespace() && !quoted(&text[..i - 1]));
    if let Some(comment) = comment {
        text = &text[..comment];
    }
    while let Some((last, rest)) = text.split_last() {
        if !last.is_ascii_whitespace() || quoted(rest) {
            break;
        }
        text = rest;
    }
    Some((start, text))
}
