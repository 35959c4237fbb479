//! The public face: build a sandbox, spawn a command in it ([`launch`]), wait for it ([`child`]). It reads like `std::process`.
#![forbid(unsafe_code)]

mod child;
mod launch;

pub use child::Child;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use launch::Launch;

use crate::broker;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::{self, Filter, Shape};
use crate::magic::{self, Arming, Outcome};
use crate::policy::{Lock, Mode, NetMode, State};
use crate::profile::{self, Source};
use crate::report::{LogSink, Sink};
use crate::status::Status;

/// What a sandbox will allow, before anything runs in it.
///
/// Made by [`Sandbox::builder`]. With nothing said everything is off, and magic is open: the command can switch on
/// what it wants. Whatever is said later wins over what was said before.
#[derive(Clone)]
pub struct SandboxBuilder {
    state: State,
    arm_read: bool,
    dry_run: bool,
    require_backstop: bool,
    sink: Arc<dyn Sink>,
    gaps: Vec<String>,
    without_scopes: bool,
    without_landlock: bool,
    shield: bool,
    ignore_sigpipe: bool,
}

impl SandboxBuilder {
    /// Applies the profile of this name, from the search path or built in.
    ///
    /// # Errors
    /// [`ErrorKind::Profile`] if there is none, [`ErrorKind::Syntax`] with file, line and column if one of its
    /// lines is malformed. The builder is as it was then.
    pub fn profile(&mut self, name: &str) -> Result<&mut Self> {
        self.load(Source::Named(name))
    }

    /// Applies a profile file; `@NAME` looks `NAME` up as [`SandboxBuilder::profile`] does.
    ///
    /// # Errors
    /// As [`SandboxBuilder::profile`].
    pub fn config_file(&mut self, path: impl AsRef<Path>) -> Result<&mut Self> {
        match path.as_ref().to_str().and_then(|path| path.strip_prefix('@')) {
            Some(name) => self.load(Source::Named(name)),
            None => self.load(Source::File(path.as_ref())),
        }
    }

    fn load(&mut self, source: Source<'_>) -> Result<&mut Self> {
        let cwd = std::env::current_dir().map_err(|error| Error::system("getcwd", error))?;
        self.state = profile::load(source, self.state.clone(), &profile::Context::from_environment(&cwd))?;
        Ok(self)
    }

    /// Applies one magic command, as in a profile: without `/dev/sydbox/`.
    ///
    /// # Errors
    /// [`ErrorKind::Syntax`] if it is malformed or impossible; and a query whose answer is no.
    pub fn magic(&mut self, command: impl AsRef<[u8]>) -> Result<&mut Self> {
        let text = command.as_ref();
        let wrong = |message: String| {
            Error::new(
                ErrorKind::Syntax,
                format!("magic command `{}': {message}", crate::report::escape(text)),
            )
        };
        let command = magic::parse(text).map_err(|error| wrong(error.to_string()))?;
        match magic::apply(&command, &self.state, &Arming::AT_START) {
            Ok(Outcome::Changed(state)) => self.state = state,
            Ok(Outcome::Yes | Outcome::Run) => {}
            Ok(Outcome::No) => return Err(wrong("the answer is no".into())),
            Err(refusal) => return Err(wrong(refusal.message)),
        }
        Ok(self)
    }

    /// Locks magic before the command starts. Such a sandbox is cheaper, too: what is off stays off, and is not
    /// looked at.
    pub fn lock(&mut self) -> &mut Self {
        self.state.lock = Lock::On;
        self
    }

    /// Makes it possible to switch read sandboxing on later.
    pub fn arm_read(&mut self) -> &mut Self {
        self.arm_read = true;
        self
    }

    /// Decides and reports, and refuses nothing that rules decide.
    pub fn dry_run(&mut self, yes: bool) -> &mut Self {
        self.dry_run = yes;
        self
    }

    /// Refuses to start where the kernel's second lock (Landlock) is missing.
    pub fn require_backstop(&mut self, yes: bool) -> &mut Self {
        self.require_backstop = yes;
        self
    }

    /// Where violations go. Without a sink they are warnings of the `log` crate.
    pub fn violations(&mut self, sink: Arc<dyn Sink>) -> &mut Self {
        self.sink = sink;
        self
    }

    /// Leaves a system call out of the filter, as if it had been forgotten, to see that the second lock holds.
    #[doc(hidden)]
    pub fn leave_gap(&mut self, call: &str) -> &mut Self {
        self.gaps.push(call.to_owned());
        self
    }

    /// Does without the scopes of the second lock, as on a kernel before Linux 6.12: for tests of what stands in.
    #[doc(hidden)]
    pub fn without_scopes(&mut self) -> &mut Self {
        self.without_scopes = true;
        self
    }

    /// Does without the second lock, as on a kernel without Landlock: for tests of what stands in.
    #[doc(hidden)]
    pub fn without_landlock(&mut self) -> &mut Self {
        self.without_scopes = true;
        self.without_landlock = true;
        self
    }

    /// Has commands ignore SIGPIPE from their start, as who started this process wanted it of it.
    #[doc(hidden)]
    pub fn ignore_sigpipe(&mut self, yes: bool) -> &mut Self {
        self.ignore_sigpipe = yes;
        self
    }

    /// Makes this process non-dumpable (`PR_SET_DUMPABLE`) just before a command is let go, as the command `sydbox` does: no
    /// other process of the user can then look into it through procfs, not even where there is no Landlock to keep those
    /// of the sandbox from that. It is for the whole process and stays: debuggers cannot attach any more, it leaves no core
    /// dumps, and its files in `/proc` belong to root. Without privilege it can spawn only this one command in a sandbox: into the
    /// next child it could not look.
    pub fn shield_supervisor(&mut self, yes: bool) -> &mut Self {
        self.shield = yes;
        self
    }

    /// The filter that this sandbox would load: an array of `struct sock_filter`.
    ///
    /// # Errors
    /// As [`SandboxBuilder::build`], but the machine is not asked.
    pub fn export_bpf(&self) -> Result<Vec<u8>> {
        Ok(self.filter(&self.shape())?.to_bytes())
    }

    /// Checks that this machine can do what was asked, and makes the sandbox.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] names the feature of the kernel that is missing.
    pub fn build(&self) -> Result<Sandbox> {
        let status = Status::detect();
        status.require(self.require_backstop)?;
        let shape = self.shape();
        let filter = self.filter(&shape)?;
        Ok(Sandbox { builder: self.clone(), status, shape, filter })
    }

    fn filter(&self, shape: &Shape) -> Result<Filter> {
        let opened = self.state.opened.iter().copied();
        gate::compile_without(shape, &self.gaps.iter().map(String::as_str).chain(opened).collect::<Vec<_>>())
    }

    /// What has to be trapped: everything that is on, or that can still be switched on.
    fn shape(&self) -> Shape {
        let state = &self.state;
        let open = state.lock != Lock::On;
        Shape {
            magic: open,
            // A process that is resumed is in another state: the locked must not get at its memory.
            write: open || state.write != Mode::Off || state.resumes(),
            read: self.arm_read || state.mentions_read(),
            // What is executed is read, too.
            exec: open
                || state.mentions(crate::policy::Access::Exec)
                || self.arm_read
                || state.mentions_read(),
            network: open || state.network != NetMode::Off,
            sockets: state.network != NetMode::Off && state.mentions_sockets(),
            // The kernel does not say what it would have refused.
            signal: self.dry_run || self.without_scopes || !broker::scopes_signals(),
            shared_memory: state.shared_memory_writable,
            file_control: state.file_control,
        }
    }
}

/// A sandbox in which commands can be spawned.
///
/// ```no_run
/// use std::process::Command;
/// use sydbox::Sandbox;
///
/// let sandbox = Sandbox::builder()
///     .profile("build")?
///     .magic("allowlist/network/connect+inet:127.0.0.1@5432")?
///     .lock()
///     .build()?;
/// let status = sandbox.spawn(Command::new("make"))?.wait()?;
/// assert!(status.success());
/// # Ok::<(), sydbox::Error>(())
/// ```
pub struct Sandbox {
    builder: SandboxBuilder,
    status: Status,
    shape: Shape,
    filter: Filter,
}

impl Sandbox {
    /// Starts to describe a sandbox; with nothing said, everything is off.
    pub fn builder() -> SandboxBuilder {
        SandboxBuilder {
            state: State::default(),
            arm_read: false,
            dry_run: false,
            require_backstop: false,
            sink: Arc::new(LogSink),
            gaps: Vec::new(),
            without_scopes: false,
            without_landlock: false,
            shield: false,
            ignore_sigpipe: false,
        }
    }

    /// What is really enforced on this machine.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Spawns `command` in the sandbox, with a supervisor of its own in threads of this process.
    ///
    /// The command's own hooks (`pre_exec`) run before the sandbox closes. The tree is bound to this process: if it
    /// dies, the command is killed, and nothing that the sandbox mediates succeeds for the rest.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] and [`ErrorKind::NotExecutable`] for the command; [`ErrorKind::Nested`] inside
    /// another sandbox of this kind; [`ErrorKind::Unsupported`] where the command or a call that is opened needs what is missing
    /// here; [`ErrorKind::System`] for what the kernel refused.
    pub fn spawn(&self, command: Command) -> Result<Child> {
        Launch::new(self)?.spawn(command)
    }
}
