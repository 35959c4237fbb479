//! What the integration tests share: a directory, programs in C, and running something with and without the sandbox.
#![allow(dead_code)]
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::Value;
use sydbox::SandboxBuilder;

#[path = "../limit/mod.rs"]
mod limit;
#[allow(unused_imports)]
pub use limit::{Limit, becomes, is_raced};

/// The command under test.
pub fn sydbox() -> PathBuf {
    std::env::var_os("SYDBOX_BIN").map_or_else(|| env!("CARGO_BIN_EXE_sydbox").into(), PathBuf::from)
}

/// A file of the source tree.
pub fn source(name: &str) -> PathBuf {
    let tree = std::env::var_os("SYDBOX_SRC").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&tree).join(name)
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether a program is in `PATH`. A test that is skipped for want of one says so.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    if !found {
        eprintln!("skipped: there is no {program} here");
    }
    found
}

/// What a command writes to its standard output, in a sandbox built so, or without one.
pub fn said_by(mut command: Command, sandbox: Option<SandboxBuilder>) -> String {
    command.stdout(Stdio::piped());
    let Some(builder) = sandbox else { return String::from_utf8(command.output().unwrap().stdout).unwrap() };
    let mut child = builder.build().unwrap().spawn(command).unwrap();
    let output = std::io::read_to_string(child.take_stdout().unwrap()).unwrap();
    child.wait().unwrap();
    output
}

/// Whether there is such a process, and no zombie, which nobody may have waited for yet.
pub fn is_alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
}

/// How many files each process has made with `hostile forever` in a directory.
pub fn made_by(dir: &Path) -> HashMap<String, usize> {
    let mut made = HashMap::new();
    for file in std::fs::read_dir(dir).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        *made.entry(name.split('.').next().unwrap().to_owned()).or_insert(0) += 1;
    }
    made
}

/// Copies a program, by another process: what other tests start while the copy is open for writing has it, too, until that
/// executes something, and so long nobody can execute the copy (`ETXTBSY`).
#[track_caller]
pub fn copy(program: impl AsRef<Path>, to: impl AsRef<Path>) {
    assert!(Command::new("cp").arg(program.as_ref()).arg(to.as_ref()).status().unwrap().success());
}

/// Writes a program, by another process, as [`copy`] does.
#[track_caller]
pub fn write_program(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let mut shell = Command::new("sh");
    shell.args(["-c", "cat >\"$0\" && chmod 755 \"$0\""]).arg(path.as_ref()).stdin(Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    shell.stdin.take().unwrap().write_all(content.as_ref()).unwrap();
    assert!(shell.wait().unwrap().success());
}

/// Programs in C that were compiled for this run of the tests, in a directory that goes with the last user.
struct Programs {
    dir: tempfile::TempDir,
    made: Mutex<HashMap<String, PathBuf>>,
}

static PROGRAMS: Mutex<Weak<Programs>> = Mutex::new(Weak::new());

impl Programs {
    fn get() -> Arc<Self> {
        let mut shared = PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let new = Arc::new(Self { dir: tempfile::tempdir().unwrap(), made: Mutex::new(HashMap::new()) });
            *shared = Arc::downgrade(&new);
            new
        })
    }

    /// The program, or what the compiler says.
    fn compile(&self, name: &str, flags: &[&str]) -> Result<PathBuf, String> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let key = format!("{}{}", name.replace('/', "-"), flags.concat());
        if let Some(program) = made.get(&key) {
            return Ok(program.clone());
        }
        let program = self.dir.path().canonicalize().unwrap().join(&key);
        let done = Command::new("cc")
            .args(["-O1", "-Wall", "-Wno-unused-result", "-pthread"])
            .args(flags)
            .arg("-o")
            .arg(&program)
            .arg(source(&format!("tests/programs/{name}.c")))
            .output()
            .expect("cc");
        if !done.status.success() {
            return Err(String::from_utf8_lossy(&done.stderr).into_owned());
        }
        made.insert(key, program.clone());
        Ok(program)
    }
}

/// A directory of a test's own, with `ok` and `no` in it: one is written in the rules, the other is not.
pub struct Env {
    dir: tempfile::TempDir,
    path: PathBuf,
    programs: Arc<Programs>,
    runs: AtomicU32,
}

impl Env {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        std::fs::create_dir(path.join("ok")).unwrap();
        std::fs::create_dir(path.join("no")).unwrap();
        Self { dir, path, programs: Programs::get(), runs: AtomicU32::new(0) }
    }

    /// A path in the directory, which has no links in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).into_os_string().into_string().unwrap()
    }

    /// A program of `tests/programs`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.compile(name, &[]).unwrap_or_else(|said| panic!("{said}"))
    }

    /// A library of `tests/programs`, to be loaded.
    pub fn program_lib(&self, name: &str) -> PathBuf {
        self.programs.compile(name, &["-shared", "-fPIC"]).unwrap_or_else(|said| panic!("{said}"))
    }

    /// A program of `tests/programs` for 32 bits. None, and the reason is printed, where such programs cannot be made.
    pub fn program32(&self, name: &str) -> Option<PathBuf> {
        if !cfg!(target_arch = "x86_64") {
            eprintln!("skipped: not an x86 machine");
            return None;
        }
        // Whether it is possible at all, so that a mistake in the program itself is none of the reasons.
        if let Err(said) = self.programs.compile("containers/podman-default", &["-m32"]) {
            eprintln!(
                "skipped: cc -m32 does not work (gcc-multilib?): {}",
                said.lines().next().unwrap_or("")
            );
            return None;
        }
        // Inodes of more than 32 bits are none of what is tested.
        let program = self.programs.compile(name, &["-m32", "-D_FILE_OFFSET_BITS=64"]);
        Some(program.unwrap_or_else(|said| panic!("{said}")))
    }

    /// A run of a program, in this directory. Without rules there is no sandbox.
    pub fn run(&self, program: impl AsRef<OsStr>) -> Run<'_> {
        Run {
            env: self,
            rules: Vec::new(),
            options: Vec::new(),
            words: vec![program.as_ref().to_owned()],
            dir: self.path.clone(),
            input: None,
            set: Vec::new(),
        }
    }

    /// A run of a shell script.
    pub fn sh(&self, script: &str) -> Run<'_> {
        self.run("sh").arg("-c").arg(script)
    }
}

/// What is to be run.
#[derive(Clone)]
pub struct Run<'e> {
    env: &'e Env,
    rules: Vec<OsString>,
    options: Vec<OsString>,
    words: Vec<OsString>,
    dir: PathBuf,
    input: Option<Vec<u8>>,
    set: Vec<(OsString, OsString)>,
}

impl Run<'_> {
    pub fn arg(mut self, word: impl AsRef<OsStr>) -> Self {
        self.words.push(word.as_ref().to_owned());
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.words.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// A magic command, by `-m`.
    pub fn rule(mut self, rule: impl AsRef<OsStr>) -> Self {
        self.rules.push(rule.as_ref().to_owned());
        self
    }

    /// An option of sydbox.
    pub fn option(mut self, option: impl AsRef<OsStr>) -> Self {
        self.options.push(option.as_ref().to_owned());
        self
    }

    /// Writing is refused.
    pub fn deny(self) -> Self {
        self.rule("core/sandbox/write:deny")
    }

    /// Writing is refused but for `ok`.
    pub fn sandboxed(self) -> Self {
        let rule = format!("allowlist/write+{}", self.env.text("ok/***"));
        self.deny().rule(rule)
    }

    /// Writing is refused but for `ok`, and the supervisor opens all files itself: below `ok` there is something that may
    /// not be written, so that the kernel cannot be trusted with it as a whole.
    pub fn brokered(self) -> Self {
        let rule = format!("denylist/write+{}", self.env.text("ok/never"));
        self.sandboxed().rule(rule)
    }

    /// Everything is mediated and allowed.
    pub fn mediated(self) -> Self {
        self.rule("core/sandbox/write:allow")
    }

    pub fn dir(mut self, dir: PathBuf) -> Self {
        self.dir = dir;
        self
    }

    pub fn input(mut self, input: impl AsRef<[u8]>) -> Self {
        self.input = Some(input.as_ref().to_vec());
        self
    }

    pub fn set(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.set.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// The command to be started, and where violations will be.
    fn command(&self) -> (Command, PathBuf) {
        let number = self.env.runs.fetch_add(1, Ordering::Relaxed);
        let log = self.env.path(&format!("violations.{number}"));
        let mut command;
        if self.rules.is_empty() && self.options.is_empty() {
            command = Command::new(&self.words[0]);
            command.args(&self.words[1..]);
        } else {
            command = Command::new(sydbox());
            command.args(["--log-format", "json", "--log"]).arg(&log);
            for rule in &self.rules {
                command.arg("-m").arg(rule);
            }
            command.args(&self.options).arg("--").args(&self.words);
        }
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SYDBOX_") {
                command.env_remove(name);
            }
        }
        // Set by cargo, for itself.
        command.env_remove("LD_LIBRARY_PATH");
        command.env("LC_ALL", "C").envs(self.set.iter().map(|(name, value)| (name, value)));
        command.current_dir(&self.dir).process_group(0);
        (command, log)
    }

    /// Starts it with pipes at its standard streams.
    pub fn start(&self) -> Running {
        let (mut command, log) = self.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        Running { limit: Limit::of_group(&child), child, log, words: self.words.clone() }
    }

    /// Runs it to its end.
    pub fn output(&self) -> Done {
        let mut running = self.start();
        let mut stdin = running.child.stdin.take().unwrap();
        if let Some(input) = &self.input {
            let _ = stdin.write_all(input);
        }
        drop(stdin);
        running.finish()
    }
}

/// What was started.
pub struct Running {
    pub child: Child,
    log: PathBuf,
    limit: Limit,
    words: Vec<OsString>,
}

impl Running {
    /// Waits for its end.
    pub fn finish(self) -> Done {
        let output = self.child.wait_with_output().unwrap();
        assert!(self.limit.was_kept(), "{:?} hangs", self.words);
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Done {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            violations: events.into_iter().filter(|event| event["event"] == "violation").collect(),
        }
    }

    /// How many threads for calls and descriptors the process has, seen from outside.
    pub fn size(&self) -> (usize, usize) {
        let proc = PathBuf::from(format!("/proc/{}", self.child.id()));
        let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
        let tasks = std::fs::read_dir(proc.join("task")).into_iter().flatten();
        let threads =
            tasks.filter_map(|task| name(task.ok()?)).filter(|name| name == "sydbox-broker\n").count();
        // The directory itself is closed to other processes of the user; since Linux 6.2 its size is the number.
        let descriptors = std::fs::metadata(proc.join("fd")).map_or(0, |fd| fd.len() as usize);
        (threads, descriptors)
    }

    /// So many threads may be idle: those that received while calls queued up, one a CPU, and four that are parked.
    pub fn idle(&self) -> usize {
        std::thread::available_parallelism().map_or(2, |cpus| cpus.get().max(2)) + 4
    }

    /// Waits until the supervisor is as large as it was, but for threads that are idle. Each may keep what it has opened once:
    /// our descriptors' directory, whom it looked at last, and a socket to ask about sockets.
    #[track_caller]
    pub fn shrinks_to(&self, (threads, descriptors): (usize, usize)) {
        let idle = self.idle();
        let is_small = || {
            let (threads_now, descriptors_now) = self.size();
            threads_now <= threads + idle && descriptors_now <= descriptors + 3 * idle
        };
        assert!(becomes(is_small), "({threads}, {descriptors}) became {:?}", self.size());
    }

    /// How much memory the process has of its own, in kB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
    }

    /// The numbers of its children that nobody has waited for.
    pub fn zombies(&self) -> usize {
        let pid = self.child.id();
        let children = |task: &Path| std::fs::read_to_string(task.join("children")).unwrap_or_default();
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
        let pids: Vec<String> = tasks
            .flat_map(|task| {
                children(&task.unwrap().path()).split_whitespace().map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
        let state = |pid: &String| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit(") ").next().unwrap_or("").starts_with('Z')
        };
        pids.iter().filter(|pid| state(pid)).count()
    }
}

/// How it ended.
pub struct Done {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub violations: Vec<Value>,
}

/// For failed assertions: short, whatever was refused.
impl std::fmt::Debug for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cut = |text: &str| text.chars().take(2000).collect::<String>();
        write!(f, "{}\nstdout: {}\nstderr: {}", self.status, cut(&self.stdout), cut(&self.stderr))?;
        for one in self.violations.iter().take(5) {
            write!(f, "\nviolation: {} {} {} by {}", one["syscall"], one["path"], one["errno"], one["comm"])?;
        }
        write!(f, "\n{} violations", self.violations.len())
    }
}

impl Done {
    /// Asserts that it ended well.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert!(self.status.success(), "{self:#?}");
        self
    }

    /// The paths of the violations.
    pub fn paths(&self) -> Vec<String> {
        self.violations.iter().map(|one| one["path"].as_str().unwrap_or("").to_owned()).collect()
    }

    /// The rules that would have allowed it.
    pub fn hints(&self) -> Vec<String> {
        self.violations.iter().map(|one| one["allow_with"].as_str().unwrap_or("").to_owned()).collect()
    }
}

/// Whether this process, and so what it starts, ignores the signal: as who is started in the background, or by nohup.
pub fn is_ignored(signal: nix::sys::signal::Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(ignored.trim(), 16).unwrap() >> (signal as i32 - 1) & 1 == 1
}
