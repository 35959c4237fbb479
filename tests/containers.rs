//! Under the default filters of container engines, emulated: sydbox starts and mediates, as root and as an ordinary user.
//!
//! Docker's filter refuses pidfd_getfd and clone3, Podman's process_vm_readv; both refuse namespaces and more. The filters are those of
//! programs/containers.
//!
//! Seen to fail with the listener always fetched with pidfd_getfd (Docker).
#![cfg(all(feature = "cli", target_arch = "x86_64"))]
#![forbid(unsafe_code)]

mod common;

use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;

use common::{Done, Env, is_root};

const ENGINES: [&str; 2] = ["docker-default", "podman-default"];
const NOBODY: u32 = 65534;

/// A command under the filter of an engine. `user`: as an ordinary user, which root becomes for that.
struct Container<'e> {
    env: &'e Env,
    engine: &'static str,
    user: bool,
}

impl Container<'_> {
    fn run(&self, options: &[&str], command: &[&str]) -> Done {
        let sydbox = common::sydbox();
        let copy = self.env.path("sydbox");
        if !copy.exists() {
            // Where it was built the other user may not be able to look. A process of its own writes it: a fork of another
            // test would have the copy open while it is executed.
            self.env.run("cp").arg(sydbox).arg(&copy).output().succeeded();
        }
        let mut run = self.env.run(self.env.program(&format!("containers/{}", self.engine)));
        if self.user && is_root() {
            run = run.set("DK_UID", NOBODY.to_string());
        }
        run = run.arg(copy).args(options);
        if !command.is_empty() {
            run = run.arg("--").args(command);
        }
        run.output()
    }

    fn sandboxed(&self, script: &str) -> Done {
        let rule = format!("allowlist/write+{}", self.env.text("ok/***"));
        self.run(&["-m", "core/sandbox/write:deny", "-m", &rule], &["sh", "-c", script])
    }
}

/// Does it under each filter, as root (if the tests run as root) and as an ordinary user.
fn everywhere(check: impl Fn(&Container<'_>)) {
    for engine in ENGINES {
        for user in [false, true] {
            if user || is_root() {
                let env = Env::new();
                // The other user is to reach it, and the programs, and to own what it may write.
                for dir in
                    [env.path(""), env.program(&format!("containers/{engine}")).parent().unwrap().into()]
                {
                    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
                }
                if user && is_root() {
                    for dir in ["ok", "no"] {
                        chown(env.path(dir), Some(NOBODY), Some(NOBODY)).unwrap();
                    }
                }
                check(&Container { env: &env, engine, user });
            }
        }
    }
}

fn who(container: &Container<'_>) -> String {
    format!("{}{}", container.engine, if container.user { ", as a user" } else { ", as root" })
}

#[test]
fn writing_is_mediated() {
    everywhere(|container| {
        let done =
            container.sandboxed("echo text >ok/f && cat ok/f; mkdir ok/d && mv ok/f ok/d; echo text >no/f");
        assert_eq!(done.stdout, "text\n", "{}: {done:#?}", who(container));
        assert!(
            done.stderr.contains("Access Violation") && !done.status.success(),
            "{}: {done:#?}",
            who(container)
        );
        let env = container.env;
        assert!(env.path("ok/d/f").exists() && !env.path("no/f").exists(), "{}", who(container));
        // The same without the sandbox, to see that only the sandbox refuses.
        let native = env.run(env.program(&format!("containers/{}", container.engine))).args([
            "sh",
            "-c",
            "echo text >no/f",
        ]);
        native.output().succeeded();
        assert!(env.path("no/f").exists());
    });
}

#[test]
fn magic_works() {
    everywhere(|container| {
        let env = container.env;
        let script = format!(
            "test -e /dev/sydbox && echo open; test -e '/dev/sydbox/core/sandbox/write?' && echo on; \
             test -e '/dev/sydbox/allowlist/write+{}' && echo >no/f && echo written; \
             test -e /dev/sydbox/core/trace/magic_lock:exec && echo locking; test -e /dev/sydbox && echo still; \
             sh -c 'test -e /dev/sydbox || echo locked'; echo >no/g && echo bad; echo",
            env.text("no/f")
        );
        let done = container.sandboxed(&script);
        assert_eq!(
            done.stdout,
            "open\non\nwritten\nlocking\nstill\nlocked\n\n",
            "{}: {done:#?}",
            who(container)
        );
    });
}

/// Where the socket of a caller can be had, addresses are judged; where not, a call with an address is refused and it is
/// said how that can be changed, or the kernel carries it out if no address can be refused.
#[test]
fn the_network_is_judged_or_refused() {
    everywhere(|container| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let gap = container.env.program("gap");
        let connect = |rules: &[&str]| {
            let options: Vec<&str> = rules.iter().flat_map(|rule| ["-m", *rule]).collect();
            container.run(&options, &[gap.to_str().unwrap(), "connect-tcp", &port.to_string()])
        };
        let came = || listener.accept().is_ok();
        let docker = container.engine.starts_with("docker");

        // No address can be refused.
        let done = connect(&["core/sandbox/write:deny"]);
        assert_eq!((done.stdout.as_str(), came()), ("0\n", true), "{}: {done:#?}", who(container));
        // All are refused.
        let done = connect(&["core/sandbox/network:deny"]);
        let expected = if docker { "EPERM\n" } else { "ECONNREFUSED\n" };
        assert_eq!((done.stdout.as_str(), came()), (expected, false), "{}: {done:#?}", who(container));
        assert_eq!(done.stderr.contains("--cap-add SYS_PTRACE"), docker, "{}: {done:#?}", who(container));
        assert_eq!(done.stderr.contains("Access Violation"), !docker, "{}: {done:#?}", who(container));
        // This one is allowed.
        let rule = format!("allowlist/network/connect+inet:127.0.0.1@{port}");
        let done = connect(&["core/sandbox/network:deny", &rule]);
        let expected = if docker { "EPERM\n" } else { "0\n" };
        assert_eq!((done.stdout.as_str(), came()), (expected, !docker), "{}: {done:#?}", who(container));
    });
}

/// It is said at start, and not for the first time when a call fails.
#[test]
fn what_is_lost_without_duplicates_is_said_at_start() {
    everywhere(|container| {
        let docker = container.engine.starts_with("docker");
        let says = |options: &[&str]| {
            let done = container.run(options, &["true"]).succeeded();
            ["pidfd_getfd is refused", "CAP_SYS_PTRACE", "core/trace/allow_unsafe_connect:true"]
                .iter()
                .all(|word| done.stderr.contains(word))
        };
        assert_eq!(says(&["-m", "core/sandbox/network:deny"]), docker, "{}", who(container));
        assert_eq!(says(&["-p", "offline"]), docker, "{}", who(container));
        assert_eq!(
            says(&["-m", "core/sandbox/network:deny", "-m", "core/trace/allow_unsafe_connect:true"]),
            docker,
            "{}",
            who(container)
        );
        assert!(!says(&["-m", "core/sandbox/write:deny"]), "{}", who(container));
    });
}

/// The weaker choice: rules hold where sockets cannot be duplicated, for programs that play no tricks. Where they
/// can, nothing is weaker.
#[test]
fn rules_hold_without_duplicates_if_that_is_asked_for() {
    everywhere(|container| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        datagrams.set_nonblocking(true).unwrap();
        let path = container.env.text("ok/server");
        let _unix = UnixListener::bind(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        let (port, udp) =
            (listener.local_addr().unwrap().port(), datagrams.local_addr().unwrap().port().to_string());
        let talk = container.env.program("talk");
        let run = |rules: &[&str]| {
            let unsafe_ = ["core/sandbox/network:deny", "core/trace/allow_unsafe_connect:true"];
            let options: Vec<&str> = unsafe_.iter().chain(rules).flat_map(|rule| ["-m", *rule]).collect();
            container.run(&options, &[talk.to_str().unwrap(), &port.to_string(), &udp, &path])
        };
        let came = || (listener.accept().is_ok(), datagrams.recv(&mut [0; 9]).is_ok());
        // Nothing.
        let done = run(&[]);
        let refused = "connect ECONNREFUSED\nsendto ECONNREFUSED\nsendmsg ECONNREFUSED\nsendmmsg ECONNREFUSED\n\
                       unspec ECONNREFUSED\nunix ECONNREFUSED\nbind EADDRNOTAVAIL\n";
        assert_eq!(
            (done.stdout.as_str(), came()),
            (refused, (false, false)),
            "{}: {done:#?}",
            who(container)
        );
        for text in [format!("connect(3, inet:127.0.0.1@{port}) = ECONNREFUSED"), format!("unix:{path}")] {
            assert!(done.stderr.contains(&text), "{}: {done:#?}", who(container));
        }
        // All of it.
        let unix = format!("allowlist/network/connect+unix:{path}");
        let done = run(&["allowlist/network/connect+LOOPBACK", "allowlist/network/bind+LOOPBACK", &unix]);
        let fine = "connect 0\nsendto 0\nsendmsg 0\nsendmmsg 0\nunspec 0\nunix 0\nbind 0\n";
        assert_eq!((done.stdout.as_str(), came()), (fine, (true, true)), "{}: {done:#?}", who(container));
        assert!(!done.stderr.contains("Access Violation"), "{}: {done:#?}", who(container));
    });
}

#[test]
fn what_is_missing_is_named() {
    everywhere(|container| {
        let done = container.run(&["--test"], &[]).succeeded();
        let missing: Vec<&str> = done.stdout.lines().filter(|line| line.starts_with("missing")).collect();
        let names = |name: &str| missing.iter().any(|line| line.contains(name));
        let docker = container.engine.starts_with("docker");
        assert_eq!(names("pidfd_getfd"), docker, "{}: {done:#?}", who(container));
        assert_eq!(names("process_vm_readv"), !docker, "{}: {done:#?}", who(container));
        assert!(done.stdout.contains("can run here"), "{}: {done:#?}", who(container));
    });
}

/// Where all threads of the supervisor share a umask, a create that comes to block holds nobody up. With the file opened as the
/// caller asked under that umask, the others wait for ever.
#[test]
fn a_create_that_blocks_by_surprise_stops_nobody() {
    everywhere(|container| {
        let program = container.env.program("hostile");
        // The program waits for a line before it begins, and before it ends.
        let script =
            format!("printf '\\n\\n' | {} wedge 1000 {}", program.display(), container.env.text("ok"));
        let done = container.sandboxed(&script);
        assert_eq!(done.status.code(), Some(7), "{done:#?}");
        assert_eq!(done.stdout, "ready\nfailed 0\ndone\n", "{done:#?}");
    });
}

/// The kernel gives a process one listener. Whoever is inside is told that, not that the system lacks something.
#[test]
fn sydbox_in_sydbox_says_why_not() {
    let env = Env::new();
    let sydbox = common::sydbox();
    let inner = env.run(sydbox).args(["-p", "off", "--", "echo", "ran"]);
    assert_eq!(inner.output().succeeded().stdout, "ran\n");
    let nested = inner.sandboxed().output();
    assert_eq!((nested.status.code(), &nested.stdout[..]), (Some(125), ""), "{nested:?}");
    assert!(nested.stderr.contains("there is a sandbox around this one already"), "{nested:?}");
}

/// Whatever errno a filter refuses it with, descriptors are then reached through procfs. With `Caller::duplicate` handing on
/// `ENOSYS` every call relative to a directory fails with it.
#[test]
fn a_filter_that_refuses_duplicates_by_any_errno() {
    let text = "import os
d = os.open('ok', os.O_RDONLY)
os.mkdir('made', dir_fd=d); os.fchmod(d, 0o755); os.rmdir('made', dir_fd=d); print('done')";
    for errno in [libc::EPERM, libc::ENOSYS] {
        let env = Env::new();
        let run = |words: &[&str]| {
            let run = env.run(env.program("without")).arg(libc::SYS_pidfd_getfd.to_string());
            run.arg(errno.to_string()).args(words).args(["python3", "-c", text]).output()
        };
        assert_eq!(run(&[]).stdout, "done\n");
        let (sydbox, rule) = (common::sydbox(), format!("allowlist/write+{}", env.text("ok/***")));
        let done = run(&[sydbox.to_str().unwrap(), "-m", "core/sandbox/write:deny", "-m", &rule, "--"]);
        assert_eq!(done.stdout, "done\n", "{errno}: {done:#?}");
    }
}
