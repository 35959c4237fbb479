//! Unix sockets in the file system: rules are about paths, and a socket could get another one.
//!
//! Whatever is refused here is first done without the sandbox, to show that it is the sandbox that refuses.
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod net;

use std::os::unix::net::UnixListener;

use net::*;

const WRITE: &str = "core/sandbox/write:deny";

/// A directory with `agent-1/s`, which rules deny, and `other/s`, which none allows; `own` is empty.
struct Sockets {
    dir: tempfile::TempDir,
    _listeners: [UnixListener; 2],
}

impl Sockets {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listeners = ["agent-1", "other"].map(|name| {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            UnixListener::bind(dir.path().join(name).join("s")).unwrap()
        });
        std::fs::create_dir(dir.path().join("own")).unwrap();
        Self { dir, _listeners: listeners }
    }

    fn path(&self) -> String {
        self.dir.path().canonicalize().unwrap().to_str().unwrap().to_owned()
    }
}

const TEXT: &str = r"
os.chdir(A[0]); old, new, way, to = A[1:]
if way == 'mv': say(os.rename, old, new)
elif way == 'ln': say(os.link, old, new)
else: say(lambda: check(libc.renameat2(-100, old.encode(), -100, new.encode(), 2)))
say(socket.socket(socket.AF_UNIX).connect, to)
";

/// Moves or links something, and connects to what it has become.
fn moves(magic: Option<&[&str]>, old: &str, new: &str, way: &str, to: &str) -> Said {
    let sockets = Sockets::new();
    let path = sockets.path();
    let arguments = [path.as_str(), old, new, way, to];
    let Some(magic) = magic else { return native(TEXT, &arguments) };
    let rules: Vec<String> = magic.iter().map(|rule| rule.replace("DIR", &path)).collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    inside(&rules, TEXT, &arguments)
}

/// Seen to fail without `keep_sockets`.
#[test]
fn a_socket_that_rules_deny_gets_no_other_name() {
    let rules = [LOCAL, WRITE, "allowlist/write+DIR/***", "denylist/network/connect+unix:DIR/agent-*/***"];
    for (old, new, way, to) in [
        ("agent-1/s", "own/s", "mv", "own/s"),
        ("agent-1/s", "own/s", "ln", "own/s"),
        ("agent-1", "own/d", "mv", "own/d/s"),
        ("agent-1", "own", "exchange", "own/s"),
        ("own", "agent-1", "exchange", "own/s"),
    ] {
        let native = moves(None, old, new, way, to);
        assert!(native.lines[1] == "ok" && native.lines[0] != "EPERM", "{native:?}");
        let said = moves(Some(&rules), old, new, way, to);
        assert_eq!(said.lines[0], "EPERM", "{old} {new} {way}: {said:?}");
        assert_ne!(said.lines[1], "ok", "{said:?}");
        said.violations(1).reports("allow with: denylist/network/connect-unix:");
        // The rule that is named is the one that is in the way.
        let lifted = [&rules[..], &["denylist/network/connect-unix:DIR/agent-*/***"]].concat();
        moves(Some(&lifted), old, new, way, to).expect(&[&native.lines[0], "ok"]).violations(0);
    }
    // Also where nothing else is mediated, in a sandbox that is locked from the start.
    let alone = [LOCAL, "denylist/network/connect+unix:DIR/agent-*/***", "core/trace/magic_lock:on"];
    let said = moves(Some(&alone), "agent-1/s", "own/s", "ln", "own/s");
    said.expect(&["EPERM", "ENOENT"]).violations(1);
    // A rule about one name in it only.
    let one = "denylist/network/connect+unix:DIR/agent-*/s";
    let said = moves(Some(&[LOCAL, WRITE, rules[2], one]), "agent-1", "own/d", "mv", "own/d/s");
    said.expect(&["EPERM", "ENOENT"]).violations(1);
    // What no rule denies moves as ever.
    moves(Some(&rules), "other", "own/d", "mv", "own/d/s").expect(&["ok", "ok"]).violations(0);
}

/// Seen to fail without `keep_sockets`, and the last without `Cx::is_bound_inside`.
#[test]
fn a_socket_that_no_rule_allows_gets_no_name_that_one_does() {
    let rules = [DENY, WRITE, "allowlist/write+DIR/***", "allowlist/network/connect+unix:DIR/own/***"];
    for (old, new, way, to) in [
        ("other/s", "own/s", "mv", "own/s"),
        ("other/s", "own/s", "ln", "own/s"),
        ("other", "own/d", "mv", "own/d/s"),
    ] {
        moves(None, old, new, way, to).expect(&["ok", "ok"]);
        let said = moves(Some(&rules), old, new, way, to);
        assert_eq!(said.lines[0], "EPERM", "{old} {new} {way}: {said:?}");
        assert_ne!(said.lines[1], "ok", "{said:?}");
        said.violations(1);
    }
    // A directory, by which the socket in it gets the one name that is allowed; and by a pattern.
    for rule in ["own/d/s", "own/**/s"] {
        let rule = format!("allowlist/network/connect+unix:DIR/{rule}");
        let said = moves(Some(&[DENY, WRITE, rules[2], &rule]), "other", "own/d", "mv", "own/d/s");
        said.expect(&["EPERM", "ENOENT"]).violations(1).reports("connect+unix:");
    }
    // The rule that is named is the one that helps.
    let more = [&rules[..], &["allowlist/network/connect+unix:DIR/other/s"]].concat();
    moves(Some(&more), "other", "own/d", "mv", "own/d/s").expect(&["ok", "ok"]).violations(0);
    // One without sockets moves as ever.
    let text = r"
os.chdir(A[0]); os.makedirs('new/below'); open('new/below/file', 'w').close(); say(os.rename, 'new', 'own/new')
say(os.rename, 'own/new', 'own/newer')
";
    let sockets = Sockets::new();
    let path = sockets.path();
    let filled: Vec<String> = rules.iter().map(|rule| rule.replace("DIR", &path)).collect();
    let filled: Vec<&str> = filled.iter().map(String::as_str).collect();
    inside(&filled, text, &[&path]).expect(&["ok", "ok"]).violations(0);
    // One's own may be made under another name first.
    let text = r"
os.chdir(A[0]); s = socket.socket(socket.AF_UNIX); s.bind('own.new'); s.listen(); say(os.rename, 'own.new', 'own/s')
say(socket.socket(socket.AF_UNIX).connect, 'own/s')
";
    let sockets = Sockets::new();
    let path = sockets.path();
    let rules: Vec<String> = rules.iter().map(|rule| rule.replace("DIR", &path)).collect();
    let bind = format!("allowlist/network/bind+unix:{path}/own.new");
    let rules: Vec<&str> = rules.iter().map(String::as_str).chain([bind.as_str()]).collect();
    inside(&rules, text, &[&path]).expect(&["ok", "ok"]).violations(0);
}
