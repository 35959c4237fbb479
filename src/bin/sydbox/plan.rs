//! From options and environment to the steps that describe a sandbox, in the order in which they count.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;
use sydbox::{Sandbox, SandboxBuilder};

use crate::failure::Failure;
use crate::rules;

/// One thing to tell the builder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A profile, by name.
    Profile(String),
    /// A profile, by file.
    Config(PathBuf),
    /// A magic command.
    Magic(Vec<u8>),
    /// Switch this sandboxing to `deny`, unless it is on.
    Enable(&'static str),
    /// Lock magic.
    Lock,
    /// Make read sandboxing possible.
    ArmRead,
}

/// All that is told to the builder.
#[derive(Debug)]
pub(crate) struct Plan {
    steps: Vec<Step>,
}

/// The variables of the environment that mean something here.
pub(crate) struct Environment(HashMap<OsString, OsString>);

impl Environment {
    /// That of this process. A program that runs for somebody else does not listen to him.
    pub(crate) fn of_process() -> Self {
        use nix::unistd::{getegid, geteuid, getgid, getuid};
        let own = getuid() == geteuid() && getgid() == getegid();
        Self(if own { env::vars_os().collect() } else { HashMap::new() })
    }

    /// A variable that is set to something.
    pub(crate) fn get(&self, name: &str) -> Option<OsString> {
        self.0.get(OsStr::new(name)).filter(|value| !value.is_empty()).cloned()
    }

    /// A variable that is a switch.
    pub(crate) fn switch(&self, name: &str) -> Result<Option<bool>, Failure> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_bytes() {
            b"1" | b"true" | b"t" | b"yes" | b"on" => Ok(Some(true)),
            b"0" | b"false" | b"f" | b"no" | b"off" => Ok(Some(false)),
            other => {
                let other = sydbox::escape(other);
                Err(Failure::new(format!("{name} is `{other}': set it to 1 or 0")))
            }
        }
    }

    /// The parts of a variable that is a list.
    fn list(&self, name: &str, separator: u8) -> Vec<OsString> {
        let value = self.get(name).unwrap_or_default().into_vec();
        let parts = value.split(|byte| *byte == separator).filter(|part| !part.is_empty());
        parts.map(|part| OsStr::from_bytes(part).to_owned()).collect()
    }
}

impl Plan {
    /// Reads the environment and then the options. `shell`: there is no command.
    pub(crate) fn new(matches: &ArgMatches, environment: &Environment, shell: bool) -> Result<Self, Failure> {
        let cwd = env::current_dir().unwrap_or_default();
        let mut steps = from_environment(environment, &cwd)?;
        steps.extend(from_options(matches, &cwd)?);
        let described = |step: &Step| matches!(step, Step::Profile(_) | Step::Config(_));
        if shell && !steps.iter().any(described) {
            steps.insert(0, Step::Profile("default".into()));
        }
        Ok(Self { steps })
    }

    /// Tells the builder.
    pub(crate) fn apply(&self, builder: &mut SandboxBuilder) -> Result<(), Failure> {
        for step in &self.steps {
            match step {
                Step::Profile(name) => builder.profile(name)?,
                Step::Config(path) => builder.config_file(path)?,
                Step::Magic(command) => builder.magic(command)?,
                Step::Enable(what) => enable(builder, what)?,
                Step::Lock => builder.lock(),
                Step::ArmRead => builder.arm_read(),
            };
        }
        Ok(())
    }

    /// Whether the command starts with magic locked, as far as options say.
    pub(crate) fn is_locked(&self) -> bool {
        self.steps.contains(&Step::Lock)
    }

    /// Where the rules come from, for people.
    pub(crate) fn source(&self) -> String {
        let name = |step: &Step| match step {
            Step::Profile(name) => Some(format!("profile `{}'", sydbox::escape(name.as_bytes()))),
            Step::Config(path) => Some(format!("file `{}'", sydbox::escape(path.as_os_str().as_bytes()))),
            _ => None,
        };
        self.steps.iter().filter_map(name).collect::<Vec<_>>().join(", ")
    }
}

/// Switches sandboxing on where it is off.
///
/// A query that is false is an error of the builder. In a new builder all is off: if that says yes, it does not answer
/// queries, and then the mode is set whatever it was.
fn enable<'a>(builder: &'a mut SandboxBuilder, what: &str) -> Result<&'a mut SandboxBuilder, Failure> {
    let query = format!("core/sandbox/{what}?");
    let answers = Sandbox::builder().magic(&query).is_err();
    if !(answers && builder.magic(&query).is_ok()) {
        builder.magic(format!("core/sandbox/{what}:deny"))?;
    }
    Ok(builder)
}

/// What the environment says, in the order of the manual.
fn from_environment(environment: &Environment, cwd: &Path) -> Result<Vec<Step>, Failure> {
    let mut steps = Vec::new();
    let mut switch = |name: &str, on: &str, off: &str| -> Result<(), Failure> {
        let command = match environment.switch(name)? {
            Some(true) => on,
            Some(false) => off,
            None => "",
        };
        steps.extend((!command.is_empty()).then(|| magic(command)));
        Ok(())
    };
    switch("SYDBOX_EXEC", "core/sandbox/exec:deny", "core/sandbox/exec:off")?;
    switch("SYDBOX_NET", "core/sandbox/network:deny", "core/sandbox/network:off")?;
    switch("SYDBOX_DISABLE_PATH", "core/sandbox/write:off", "")?;
    let (on, off) = ("core/whitelist/successful_bind:true", "core/whitelist/successful_bind:false");
    switch("SYDBOX_NET_AUTO_WHITELIST_BIND", on, off)?;
    let (on, off) = ("core/trace/exit_wait_all:false", "core/trace/exit_wait_all:true");
    switch("SYDBOX_EXIT_WITH_ELDEST", on, off)?;

    let unread = environment.switch("SYDBOX_NO_CONFIG")?.unwrap_or(false);
    if let Some(config) = environment.get("SYDBOX_CONFIG").filter(|_| !unread) {
        steps.insert(0, config_step(&config)?);
    }
    for (name, what) in [("SYDBOX_WRITE", "write"), ("SYDBOX_EXEC_ALLOW", "exec")] {
        for path in environment.list(name, b':') {
            steps.extend(allow_path(what, &path, cwd)?);
        }
    }
    for (name, kinds) in [
        ("SYDBOX_NET_WHITELIST", &["bind", "connect"][..]),
        ("SYDBOX_NET_WHITELIST_BIND", &["bind"]),
        ("SYDBOX_NET_WHITELIST_CONNECT", &["connect"]),
    ] {
        for address in environment.list(name, b';') {
            let allowed = Plan { steps: kinds.iter().map(|kind| allow_address(kind, &address)).collect() };
            // Told apart from what was typed.
            let checked = allowed.apply(&mut Sandbox::builder());
            checked.map_err(|failure| Failure::new(format!("{name}: {}", failure.text)))?;
            steps.extend(allowed.steps);
        }
    }
    if environment.switch("SYDBOX_LOCK")?.unwrap_or(false) {
        steps.push(Step::Lock);
    }
    Ok(steps)
}

/// What the options say, in the order in which they were typed.
fn from_options(matches: &ArgMatches, cwd: &Path) -> Result<Vec<Step>, Failure> {
    let mut steps: Vec<(usize, Step)> = Vec::new();
    for (at, value) in values(matches, "profile") {
        steps.push((at, Step::Profile(utf8(value)?)));
    }
    for (at, value) in values(matches, "config") {
        steps.push((at, config_step(value)?));
    }
    for (at, value) in values(matches, "magic") {
        steps.push((at, Step::Magic(value.as_bytes().to_vec())));
    }
    for (name, what) in [("allow-read", "read"), ("allow-write", "write"), ("allow-exec", "exec")] {
        for (at, value) in values(matches, name) {
            steps.extend(allow_path(what, value, cwd)?.map(|step| (at, step)));
        }
    }
    for (name, kind) in [("allow-bind", "bind"), ("allow-connect", "connect")] {
        steps.extend(values(matches, name).map(|(at, value)| (at, allow_address(kind, value))));
    }
    let mut mode = None;
    let places = matches.indices_of("network-mode").into_iter().flatten();
    for (at, value) in places.zip(matches.get_many::<String>("network-mode").into_iter().flatten()) {
        steps.push((at, magic(&format!("core/sandbox/network:{value}"))));
        mode = Some(value);
    }
    for (name, step) in [
        ("sandbox-network", mode.is_none().then(|| magic("core/sandbox/network:deny"))),
        ("sandbox-exec", Some(magic("core/sandbox/exec:deny"))),
        ("disable-sandbox-path", Some(magic("core/sandbox/write:off"))),
        ("allow-successful-bind", Some(magic("core/whitelist/successful_bind:true"))),
        ("exit-with-eldest", Some(magic("core/trace/exit_wait_all:false"))),
        ("close-fds", Some(magic("core/trace/close_fds:true"))),
        ("lock", Some(Step::Lock)),
        ("arm", Some(Step::ArmRead)),
    ] {
        let typed = matches.value_source(name) == Some(ValueSource::CommandLine);
        let at = matches.indices_of(name).and_then(|mut places| places.next_back());
        steps.extend(at.filter(|_| typed).zip(step));
    }
    // Stable: what one option stands for stays in order.
    steps.sort_by_key(|(at, _)| *at);
    Ok(steps.into_iter().map(|(_, step)| step).collect())
}

/// The values of an option that can be repeated, with their places on the command line.
fn values<'a>(matches: &'a ArgMatches, name: &str) -> impl Iterator<Item = (usize, &'a OsString)> {
    let places = matches.indices_of(name).into_iter().flatten();
    places.zip(matches.get_many::<OsString>(name).into_iter().flatten())
}

fn magic(command: &str) -> Step {
    Step::Magic(command.into())
}

fn config_step(value: &OsStr) -> Result<Step, Failure> {
    match value.as_bytes().strip_prefix(b"@") {
        Some(name) => Ok(Step::Profile(utf8(OsStr::from_bytes(name))?)),
        None => Ok(Step::Config(value.into())),
    }
}

fn utf8(value: &OsStr) -> Result<String, Failure> {
    let text = value.to_str().map(str::to_owned);
    text.ok_or_else(|| {
        Failure::new(format!("`{}' is not the name of a profile", sydbox::escape(value.as_bytes())))
    })
}

fn allow_path(what: &'static str, path: &OsStr, cwd: &Path) -> Result<[Step; 2], Failure> {
    let below = rules::below(Path::new(path), cwd)?;
    let command = [b"allowlist/", what.as_bytes(), b"+", &below].concat();
    Ok([Step::Enable(what), Step::Magic(command)])
}

fn allow_address(kind: &str, address: &OsStr) -> Step {
    Step::Magic([b"allowlist/network/", kind.as_bytes(), b"+", address.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;

    /// The steps in short, one word each.
    fn steps(words: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
        let words = ["sydbox"].iter().chain(words);
        let matches = options::table().try_get_matches_from(words).unwrap();
        let shell = !matches.contains_id("command");
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        let environment = Environment(variables.collect());
        let plan = Plan::new(&matches, &environment, shell).unwrap_or_else(|failure| panic!("{failure:?}"));
        let short = |step: &Step| match step {
            Step::Profile(name) => format!("@{name}"),
            Step::Config(path) => path.display().to_string(),
            Step::Magic(command) => String::from_utf8_lossy(command).into_owned(),
            Step::Enable(what) => format!("enable {what}"),
            other => format!("{other:?}"),
        };
        plan.steps.iter().map(short).collect()
    }

    #[test]
    fn options_count_in_the_order_they_are_typed() {
        assert_eq!(
            steps(
                &["-w/", "-mone", "-p", "a", "-c@b", "-M", "local", "-c", "f", "-m", "two", "-N", "-l", "x"],
                &[]
            ),
            [
                "enable write",
                "allowlist/write+/***",
                "one",
                "@a",
                "@b",
                "core/sandbox/network:local",
                "f",
                "two",
                "Lock"
            ]
        );
        assert_eq!(
            steps(&["-E", "-P", "-B", "-X", "-N", "--arm", "read", "x"], &[]),
            [
                "core/sandbox/exec:deny",
                "core/sandbox/write:off",
                "core/whitelist/successful_bind:true",
                "core/trace/exit_wait_all:false",
                "core/sandbox/network:deny",
                "ArmRead"
            ]
        );
    }

    #[test]
    fn the_classic_line() {
        let variables = &[
            ("SYDBOX_NO_CONFIG", "1"),
            ("SYDBOX_CONFIG", "/ignored"),
            ("SYDBOX_NET_WHITELIST", "inet://69.36.243.188:23"),
        ];
        assert_eq!(
            steps(&["-N", "-M", "deny", "--", "./timeseal", "69.36.243.188", "23"], variables),
            [
                "allowlist/network/bind+inet://69.36.243.188:23",
                "allowlist/network/connect+inet://69.36.243.188:23",
                "core/sandbox/network:deny"
            ]
        );
    }

    #[test]
    fn a_variable_with_a_mistake_is_named() {
        for name in ["SYDBOX_NET_WHITELIST", "SYDBOX_NET_WHITELIST_BIND", "SYDBOX_NET_WHITELIST_CONNECT"] {
            let environment = Environment(HashMap::from([(name.into(), "LOOPBACK;foo".into())]));
            let failure = from_environment(&environment, Path::new("/")).unwrap_err();
            assert!(failure.text.starts_with(&format!("{name}: magic command")), "{failure:?}");
        }
    }

    #[test]
    fn environment_comes_first() {
        let variables = &[
            ("SYDBOX_CONFIG", "@paludis"),
            ("SYDBOX_EXEC", "yes"),
            ("SYDBOX_NET", "0"),
            ("SYDBOX_WRITE", "/dev/null:/proc"),
            ("SYDBOX_NET_WHITELIST_BIND", "LOOPBACK@0;LOOPBACK6@0"),
            ("SYDBOX_LOCK", "1"),
        ];
        assert_eq!(
            steps(&["-m", "last", "x"], variables),
            [
                "@paludis",
                "core/sandbox/exec:deny",
                "core/sandbox/network:off",
                "enable write",
                "allowlist/write+/dev/null/***",
                "enable write",
                "allowlist/write+/proc/***",
                "allowlist/network/bind+LOOPBACK@0",
                "allowlist/network/bind+LOOPBACK6@0",
                "Lock",
                "last"
            ]
        );
    }

    #[test]
    fn a_shell_has_the_default_profile_unless_another_is_named() {
        assert_eq!(steps(&["-m", "x"], &[]), ["@default", "x"]);
        assert_eq!(steps(&["-p", "agent"], &[]), ["@agent"]);
        assert_eq!(steps(&["true"], &[]), [""; 0]);
    }

    #[test]
    fn a_switch_is_on_or_off() {
        let environment = Environment(HashMap::from([("SYDBOX_NET".into(), "maybe".into())]));
        assert!(environment.switch("SYDBOX_NET").unwrap_err().text.contains("SYDBOX_NET is `maybe'"));
    }
}
