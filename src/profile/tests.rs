//! Profiles as a whole.
#![forbid(unsafe_code)]

use std::fs;

use nix::sys::stat::Mode as Permissions;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::policy::{Access, Decision, Mode, NetMode};

fn context(directory: &Path) -> Context {
    let home = directory.to_owned();
    let mut context = Context::new(Path::new("/build/[1]"), move |name| match name {
        "HOME" => Some(home.clone().into_os_string()),
        "STAR" => Some("/a*b".into()),
        "EMPTY" => Some(OsString::new()),
        _ => None,
    });
    context.system = vec![directory.join("etc")];
    context
}

/// A directory with these profiles.
fn profiles(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().expect("directory");
    for sub in ["etc", ".config/sydbox"] {
        fs::create_dir_all(directory.path().join(sub)).expect("directory");
    }
    for (name, text) in files {
        fs::write(directory.path().join(name), text).expect("file");
    }
    directory
}

fn loaded(text: &str) -> Result<State> {
    let directory = profiles(&[("x.syd-2", text)]);
    load(Source::File(&directory.path().join("x.syd-2")), State::default(), &context(directory.path()))
}

/// The error without the directory in front.
fn failure(text: &str) -> String {
    let error = loaded(text).expect_err(text).to_string();
    error.split_once("x.syd-2:").map_or(error.clone(), |(_, rest)| rest.to_owned())
}

fn rules(state: &State) -> Vec<String> {
    state.rules().map(|rule| rule.to_string()).collect()
}

#[test]
fn lines_comments_and_variables() {
    let state = loaded(
        "# head\n\n  core/sandbox/write:deny  # on\r\nallowlist/write+${CWD}/***\nallowlist/write+${STAR}/*\n\
         allowlist/write+${NONE:-/n/*}\nallow/${STAR}\nallowlist/write+/a#b \\#c\\ \nallowlist/write+/\\${CWD}\n\
         allowlist/network/connect+unix:${STAR}\n",
    )
    .expect("profile");
    assert_eq!(state.write, Mode::Deny);
    assert_eq!(
        rules(&state),
        [
            "allowlist/write+/build/\\[1]/***",
            "allowlist/write+/a\\*b/*",
            "allowlist/write+/n/*",
            "allowlist/write+/a\\*b/***",
            "allowlist/write+/a#b #c ",
            "allowlist/write+/${CWD}",
            "allowlist/network/connect+unix:/a\\*b",
        ]
    );
    let directory = profiles(&[("x.syd-2", "allowlist/write+~/x\nallow/~\nallowlist/write+/a/~\n")]);
    let home = directory.path().to_str().expect("name").to_owned();
    let state =
        load(Source::File(&directory.path().join("x.syd-2")), State::default(), &context(directory.path()));
    assert_eq!(
        rules(&state.expect("profile")),
        [
            format!("allowlist/write+{home}/x"),
            format!("allowlist/write+{home}/***"),
            "allowlist/write+/a/~".into()
        ]
    );
}

#[test]
fn errors_name_the_place() {
    assert!(failure("\n  core/sandbox/write:dony\n").starts_with("2:22: expected off, allow or deny"));
    assert!(failure("allowlist/write+/${NONE}").starts_with("1:18: expected the variable `NONE` to be set"));
    assert!(
        failure("allowlist/write+${EMPTY}/***").starts_with("1:17: expected the variable `EMPTY` to be set")
    );
    assert!(failure("allowlist/write+${CWD").starts_with("1:17: expected a `}`"));
    assert!(failure("allowlist/write+${9}").starts_with("1:19: expected the name of a variable"));
    assert!(failure("allowlist/write+${CWD}/[").starts_with("1:24: expected a `]`"));
    assert!(failure("allowlist/write+./x").starts_with("1:17: expected an absolute path"));
    assert!(failure("allowlist/write-/x").starts_with("1:1: allowlist/write-/x: there is no such rule"));
    assert!(failure("enabled").starts_with("1:1: expected a command that changes something"));
    assert!(failure("include ../x").starts_with("1:9: expected the name of a profile"));
    assert!(failure(" include nobody").starts_with("1:10: there is no profile `nobody`"));
    assert!(failure("a\0b").starts_with("1:2: expected a command without a NUL"));
    assert_eq!(loaded("bad").expect_err("bad").kind(), ErrorKind::Syntax);
    assert_eq!(loaded("include nobody").expect_err("bad").kind(), ErrorKind::Profile);
}

#[test]
fn includes_are_searched_in_order_and_end() {
    let directory = profiles(&[
        ("x.syd-2", "include one\ninclude two\ninclude build"),
        ("one.syd-2", "allowlist/write+/one"),
        (".config/sydbox/one.syd-2", "allowlist/write+/wrong"),
        (".config/sydbox/two.syd-2", "allowlist/write+/two"),
        ("etc/two.syd-2", "allowlist/write+/wrong"),
        ("etc/build.syd-2", "include build\nallowlist/write+/more"),
        ("loop.syd-2", "include pool"),
        ("pool.syd-2", "include loop"),
    ]);
    let load = |name: &str| {
        load(Source::File(&directory.path().join(name)), State::default(), &context(directory.path()))
    };
    let state = load("x.syd-2").expect("profile");
    let rules = rules(&state);
    assert_eq!(rules[..2], ["allowlist/write+/one", "allowlist/write+/two"]);
    assert!(rules.contains(&"allowlist/write+/dev/null".to_owned()), "a profile extends the one it hides");
    assert!(rules.contains(&"allowlist/write+/more".to_owned()));
    let error = load("loop.syd-2").expect_err("loop");
    assert!(error.to_string().contains("includes itself"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Profile);
    assert!(load("none.syd-2").is_err());
}

#[test]
fn only_regular_files_of_bounded_size_are_read() {
    let directory =
        profiles(&[("large.syd-2", &"#".repeat((16 << 20) + 1)), ("fits.syd-2", &"#".repeat(16 << 20))]);
    let fifo = directory.path().join("fifo.syd-2");
    nix::unistd::mkfifo(&fifo, Permissions::from_bits_truncate(0o600)).expect("fifo");
    let load = |path: &Path| load(Source::File(path), State::default(), &context(directory.path()));
    for path in [&fifo, directory.path(), Path::new("/dev/zero"), &directory.path().join("large.syd-2")] {
        assert_eq!(load(path).expect_err("no profile").kind(), ErrorKind::Profile, "{}", path.display());
    }
    assert!(load(&directory.path().join("fits.syd-2")).is_ok());
}

#[test]
fn shipped_profiles_mean_what_they_say() {
    let directory = profiles(&[]);
    let load =
        |name: &str| load(Source::Named(name), State::default(), &context(directory.path())).expect(name);
    for name in built_in_names() {
        assert_eq!(load(name).mentions_read(), name == "agent", "{name}");
    }
    assert_eq!(load("off"), State::default());
    let writes = |state: &State, path: &str| {
        state.decide_path(Access::Write, path.as_bytes(), None) == Decision::Allow
    };
    let build = load("build");
    assert_eq!(build.network, NetMode::Local);
    for path in ["/build/[1]/x", "/build/[1]", "/tmp/x", "/var/tmp/a/b", "/dev/null", "/dev/pts/3"] {
        assert!(writes(&build, path), "{path}");
    }
    for path in ["/build/1/x", "/etc/passwd", "/dev/sda", "/dev", "/"] {
        assert!(!writes(&build, path), "{path}");
    }
    let own = directory.path().join(".config/sydbox/x.syd-2");
    assert!(!writes(&build, own.to_str().expect("name")), "though it is below /tmp");
    let paludis = load("paludis");
    assert!(
        writes(&paludis, "/var/cache/x") && writes(&paludis, "/dev/shm/y") && !writes(&paludis, "/usr/x")
    );
    let agent = load("agent");
    let reads = |path: &str| {
        let path = directory.path().join(path);
        agent.decide_path(Access::Read, path.as_os_str().as_encoded_bytes(), None) == Decision::Allow
    };
    for path in [".ssh", ".ssh/id", ".netrc", ".bash_history", ".config/google-chrome-beta/Default"] {
        assert!(!reads(path), "{path}");
    }
    assert!(reads(".sshx") && reads("project/main.c") && reads(".config/x"));
}

#[test]
fn hints_can_be_pasted_into_profiles() {
    for name in [
        "/a", "/a ", "/a  ", "/a #b", "/a# b", "/${HOME}", "/$HOME", "/~", "/a\\", "/a\\ ", "/\\ #", "/*",
        "/[a", "/a\n ",
    ] {
        let hint = State::allow_hint(Access::Write, name.as_bytes());
        let state = loaded(&format!("core/sandbox/write:deny\n{hint}\nallowlist/write+/other")).expect(&hint);
        assert_eq!(
            state.decide_path(Access::Write, name.as_bytes(), None),
            Decision::Allow,
            "{name:?}: {hint}"
        );
        assert_ne!(state.decide_path(Access::Write, b"/b", None), Decision::Allow, "{hint}");
    }
}

proptest! {
    #[test]
    fn no_line_panics(
        pieces in prop::collection::vec(
            prop_oneof![
                prop::sample::select(vec![&b"allow/"[..], b"allowlist/write+", b"${", b"}", b":-", b"~", b"CWD", b"\\", b" #", b"/", b"include ", b" "])
                    .prop_map(<[u8]>::to_vec),
                prop::collection::vec(any::<u8>(), 0..4),
            ],
            0..8,
        ),
    ) {
        let context = Context::new(Path::new("/w"), |_| None);
        let line = pieces.concat();
        if let Some((start, text)) = content(&line) {
            prop_assert!(start + text.len() <= line.len() && !text.is_empty());
            match expand::expand(text, &context) {
                Ok(expanded) => {
                    if let Err(error) = magic::parse(&expanded.text) {
                        prop_assert!((1..=text.len() + 1).contains(&expanded.place(error).column));
                    }
                }
                Err(error) => prop_assert!((1..=text.len() + 1).contains(&error.column)),
            }
        }
    }
}
