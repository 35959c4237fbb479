//! The public face: build a sandbox, spawn a command in it, wait for it. It reads like `std::process`.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::broker::{self, Crew, Facts, Options, States, Supervisor};
use crate::error::{Error, ErrorKind, Result};
use crate::gate::{self, Filter, Shape};
use crate::magic::{self, Arming, Outcome};
use crate::policy::{Lock, Mode, NetMode, State};
use crate::processes::{Process, Tree};
use crate::profile::{self, Source};
use crate::report::{LogSink, Sink};
use crate::status::Status;
use crate::sys::child::{self, Message, Setup, Step};
use crate::sys::fs::Proc;
use crate::sys::memory::Access;
use crate::sys::process::Forked;
use crate::sys::{Errno, Pid, creds, process, seccomp};
use crate::tracee::{Identity, Sight};

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

    /// Decides and reports, and refuses nothing.
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

    /// Makes this process non-dumpable (`PR_SET_DUMPABLE`) just before a command is let go, as the command `sydbox` does: no
    /// other process of the user can then look into it through procfs, not even where there is no Landlock to keep those
    /// of the sandbox from that. It is for the whole process and stays: debuggers cannot attach any more, it leaves no core
    /// dumps, and its files in `/proc` belong to root.
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
            write: open || state.write != Mode::Off,
            read: self.arm_read || state.mentions_read(),
            // What is executed is read, too.
            exec: open
                || state.mentions(crate::policy::Access::Exec)
                || self.arm_read
                || state.mentions_read(),
            network: open || state.network != NetMode::Off,
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
    /// another sandbox of this kind; [`ErrorKind::System`] for what the kernel refused.
    pub fn spawn(&self, command: Command) -> Result<Child> {
        process::install_interrupt_handler();
        let launch = Launch::new(self)?;
        let (tell, told) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let keeper = Arc::clone(&shared);
        let thread = thread::Builder::new().name("sydbox".into());
        let thread = thread
            .spawn(move || launch.run(command, &tell, &keeper))
            .map_err(|error| Error::system("cannot start a thread", error))?;
        match told.recv() {
            Ok(Ok(started)) => Ok(Child { shared, thread: Some(thread), started }),
            Ok(Err(error)) => Err(error),
            Err(mpsc::RecvError) => Err(Error::new(ErrorKind::System, "the supervisor failed to start")),
        }
    }
}

/// The limits that the child sets, of which it can take none back.
fn limits(policy: &State) -> Vec<(u32, u64, u64)> {
    let limits = &policy.limits;
    let set = [
        (libc::RLIMIT_CPU, limits.cpu),
        (libc::RLIMIT_AS, limits.memory),
        (libc::RLIMIT_NPROC, limits.processes),
        (libc::RLIMIT_FSIZE, limits.filesize),
        (libc::RLIMIT_CORE, Some(limits.core.unwrap_or(0))),
    ];
    // Ours is raised, that of the command is not.
    let (soft, hard) = process::raise_nofile();
    let files = limits.files.map_or((soft, hard), |files| (files, files));
    let set = set.into_iter().filter_map(|(resource, value)| Some((resource, value?, value?)));
    set.chain([(libc::RLIMIT_NOFILE, files.0, files.1)]).collect()
}

/// Everything that one spawn needs, made ready before the fork.
struct Launch {
    setup: Setup,
    ours: OwnedFd,
    theirs: OwnedFd,
    states: States,
    proc: Proc,
    options: Options,
    policy: State,
    has_pidfd_getfd: bool,
}

impl Launch {
    fn new(sandbox: &Sandbox) -> Result<Self> {
        let policy = sandbox.builder.state.clone();
        let facts = Facts { identity_changed: true, groups: None, umask: None, exec: None };
        let states = States::new(policy.clone(), facts).map_err(|errno| match errno {
            Errno::ERANGE => Error::new(
                ErrorKind::Unsupported,
                "the limit of file locks (ulimit -x) is so low that states cannot be told apart by it: raise it",
            ),
            errno => Error::system("getrlimit(RLIMIT_LOCKS)", errno),
        })?;
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .map_err(|errno| Error::system("socketpair", errno))?;
        let proc =
            Proc::open().map_err(|errno| Error::system("/proc is needed, and must be a procfs", errno))?;
        let caps = creds::capget().map_err(|errno| Error::system("capget", errno))?;
        let privileged = caps.permitted != 0 || nix::unistd::geteuid().is_root();
        let dropped_caps = if privileged { gate::capabilities::dropped() } else { 0 };
        let (landlock, grants) = match sandbox.builder.without_landlock {
            true => Default::default(),
            false => broker::ruleset(&sandbox.shape, &policy).map_err(|error| {
                Error::new(ErrorKind::System, format!("cannot make a Landlock ruleset: {error}"))
            })?,
        };
        // Elsewhere only the filter keeps these calls from processes outside, and from ours.
        let reaches_out =
            policy.opened.iter().find(|call| gate::opened(call).is_some_and(|(_, call)| call.needs_domain));
        if let (Some(call), None) = (reaches_out, &landlock) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "core/trace/allow/{call} needs Landlock, which keeps that call from processes outside"
                ),
            ));
        }
        let has_pidfd_getfd = sandbox.status.has("pidfd_getfd");
        if policy.network != NetMode::Off && !has_pidfd_getfd {
            broker::tell_without_duplicates(policy.allow_unsafe_connect);
        }
        let backstop = landlock.is_some();
        let setup = Setup {
            filter: sandbox.filter.instructions.clone(),
            tag: states.first_tag(),
            limits: limits(&policy),
            landlock,
            close_fds: policy.close_fds,
            drop_caps: dropped_caps,
            send_listener: !has_pidfd_getfd,
            socket: theirs.as_raw_fd(),
        };
        let shape = &sandbox.shape;
        let options = Options {
            dry_run: sandbox.builder.dry_run,
            arming: Arming {
                read: shape.read,
                exec: shape.exec,
                network: shape.network,
                write: shape.write,
                startup: false,
            },
            privileged,
            dropped_caps,
            backstop,
            grants,
            shield: sandbox.builder.shield,
            unsafe_connect: policy.allow_unsafe_connect && !has_pidfd_getfd,
            sink: Mutex::new(Arc::clone(&sandbox.builder.sink)),
        };
        Ok(Self { setup, ours, theirs, states, proc, options, policy, has_pidfd_getfd })
    }

    /// Forks from this thread, which lives as long as the tree: the death signal of the eldest belongs to it.
    fn run(self, mut command: Command, tell: &mpsc::Sender<Result<Started>>, shared: &Shared) {
        let Self { setup, ours, theirs, states, proc, options, policy, has_pidfd_getfd } = self;
        child::prepare(&mut command, setup);
        // The supervisor's first thread takes the listener while spawn waits for the exec, which is trapped.
        let theirs = Arc::new(Mutex::new(Some(theirs)));
        let (failed, failure) = mpsc::channel();
        let listening = {
            let theirs = Arc::clone(&theirs);
            let meet = Meet { ours, theirs, states, proc, options, policy, has_pidfd_getfd };
            thread::Builder::new().name("sydbox-meet".into()).spawn(move || {
                process::block_signals();
                meet.child().map_err(|failure| {
                    let _ = failed.send(failure);
                })
            })
        };
        let listening = match listening {
            Ok(listening) => listening,
            Err(error) => return drop(tell.send(Err(Error::system("cannot start a thread", error)))),
        };
        let spawned = command.spawn();
        // Where the child did not get as far as the hand-shake, this wakes the other thread.
        theirs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let crew = listening.join().unwrap_or(Err(()));
        let (mut eldest, crew) = match (spawned, crew) {
            (Ok(eldest), Ok(crew)) => (eldest, crew),
            (Ok(mut eldest), Err(())) => {
                let _ = eldest.kill();
                let _ = eldest.wait();
                let failure = failure.try_recv();
                return drop(tell.send(Err(failure.unwrap_or_else(|_| {
                    Error::new(ErrorKind::System, "the command ended before the sandbox was closed")
                }))));
            }
            (Err(error), crew) => {
                if let Ok(Running { supervisor }) = crew {
                    Crew::end(&supervisor);
                }
                let failure = failure.try_recv();
                return drop(tell.send(Err(failure.unwrap_or_else(|_| spawn_error(&command, error)))));
            }
        };
        drop(command);
        let started = Started {
            pid: eldest.id(),
            supervisor: Arc::clone(&crew.supervisor),
            stdin: eldest.stdin.take(),
            stdout: eldest.stdout.take(),
            stderr: eldest.stderr.take(),
        };
        process::block_signals();
        let _ = tell.send(Ok(started));
        crew.keep(eldest, shared);
    }
}

/// The error for a command that could not be executed.
fn spawn_error(command: &Command, error: std::io::Error) -> Error {
    let program = crate::report::escape(std::os::unix::ffi::OsStrExt::as_bytes(command.get_program()));
    let kind = match error.raw_os_error() {
        Some(libc::ENOENT) => ErrorKind::NotFound,
        Some(libc::EACCES | libc::ENOEXEC | libc::EPERM | libc::ENOTDIR | libc::EISDIR | libc::ELOOP) => {
            ErrorKind::NotExecutable
        }
        _ => ErrorKind::System,
    };
    Error::system(format!("cannot execute `{program}'"), error).of_kind(kind)
}

/// The supervisor's side of the hand-shake.
struct Meet {
    ours: OwnedFd,
    theirs: Arc<Mutex<Option<OwnedFd>>>,
    states: States,
    proc: Proc,
    options: Options,
    policy: State,
    has_pidfd_getfd: bool,
}

impl Meet {
    /// Takes the listener from the child, starts the crew, and lets the child go on.
    fn child(self) -> std::result::Result<Running, Error> {
        let Self { ours, theirs, states, proc, options, policy, has_pidfd_getfd } = self;
        let silent = || Error::new(ErrorKind::System, "the child died before the sandbox was closed");
        let (message, sent) = Message::receive(ours.as_fd()).ok_or_else(silent)?;
        // From here on only the child has the other end: it closes when the command is executed.
        theirs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (pid, number) = match message {
            Message::Loaded { pid, listener } => (pid, listener),
            Message::Failed { step, errno } => return Err(step_error(step, errno)),
        };
        let listener = match (sent, has_pidfd_getfd) {
            (Some(listener), _) => listener,
            (None, _) => process::pidfd_open(pid)
                .and_then(|pidfd| process::pidfd_getfd(pidfd.as_fd(), number))
                .map_err(|errno| Error::system("cannot take the seccomp listener from the child", errno))?,
        };
        let same_root = proc
            .root(pid)
            .and_then(|root| crate::sys::fs::fstat(root.as_fd()))
            .and_then(|theirs| Ok(theirs.id == crate::sys::fs::fstat(proc.own_root()?.as_fd())?.id));
        if same_root != Ok(true) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the command has another root directory (chroot before exec), which a sandbox cannot look into",
            ));
        }
        if let Err(errno) = seccomp::set_sync_wake_up(listener.as_fd()) {
            log::debug!("no synchronous wake-up, calls take longer: {errno}");
        }
        let sight = Sight { listener, proc, memory: Access::detect(), tags: states.tags() };
        states.learn(first_facts(&sight, pid));
        let supervisor = Arc::new(Supervisor::new(sight, states, options, pid.raw(), ours, &policy));
        Crew::start(&supervisor)
            .map_err(|error| Error::system("cannot start the supervisor's threads", error))?;
        // Not before: the child was made a copy of this process, and could not have been looked into either.
        if supervisor.options.shield
            && let Err(errno) = nix::sys::prctl::set_dumpable(false)
        {
            return Err(Error::system("prctl(PR_SET_DUMPABLE)", errno));
        }
        supervisor.acknowledge();
        Ok(Running { supervisor })
    }
}

/// What is known of the child at the start: whether it is who we are, and its umask.
fn first_facts(sight: &Sight, pid: Pid) -> Facts {
    let identity = |pid| {
        let mut buf = vec![0; 1 << 16];
        sight.proc.read(pid, "status", &mut buf).ok().and_then(Identity::parse)
    };
    let (child, own) = (identity(pid), identity(process::gettid()));
    match (child, own) {
        (Some(child), Some(own)) => Facts {
            // Capabilities of another user than root, or of a root that is none, do not outlive the exec.
            identity_changed: own.fsuid != 0
                || creds::securebits() != 0
                || (child.uid, child.gid, child.fsuid, child.fsgid, &child.groups)
                    != (own.uid, own.gid, own.fsuid, own.fsgid, &own.groups),
            groups: None,
            umask: Some(child.umask),
            exec: None,
        },
        _ => Facts { identity_changed: true, groups: None, umask: None, exec: None },
    }
}

fn step_error(step: Step, errno: Errno) -> Error {
    if step == Step::Filter && errno == Errno::EBUSY {
        return Error::new(
            ErrorKind::Nested,
            "there is a sandbox around this one already (sydbox, or a container with a seccomp listener), and the \
             kernel allows one listener: change the outer sandbox by `test -e /dev/sydbox/...' instead",
        );
    }
    if step == Step::Filter && errno == Errno::EINVAL {
        return Error::new(
            ErrorKind::Unsupported,
            "this kernel has no seccomp user notification with WAIT_KILLABLE_RECV: Linux 5.19 or later is needed",
        );
    }
    Error::system(format!("the child failed in {}", step.text()), errno)
}

/// A supervisor at work.
struct Running {
    supervisor: Arc<Supervisor>,
}

impl Running {
    /// Stays until the eldest and the last process of the tree are gone.
    fn keep(self, mut eldest: std::process::Child, shared: &Shared) {
        let listener = self.supervisor.sight.listener.as_fd();
        let pidfd = Pid::new(eldest.id() as i32).map(process::pidfd_open);
        if let Some(Ok(pidfd)) = &pidfd {
            let mut over = false;
            loop {
                let polled = match over {
                    false => process::poll([pidfd.as_fd(), listener], [libc::POLLIN, 0], -1),
                    true => process::poll([pidfd.as_fd(), pidfd.as_fd()], [libc::POLLIN, 0], -1),
                };
                match polled {
                    Ok([exited, _]) if exited != 0 => break,
                    // All are gone, the eldest too; its status will follow.
                    Ok([_, hung_up]) => over |= hung_up & libc::POLLHUP != 0,
                    Err(_) => {}
                }
            }
        }
        let status = eldest.wait();
        shared.update(|ended| ended.eldest = Some(status.map_err(|error| error.raw_os_error().unwrap_or(0))));
        while !process::poll([listener], [0], -1).is_ok_and(|[events]| events & libc::POLLHUP != 0) {}
        Crew::end(&self.supervisor);
        self.supervisor.options.sink().flush();
        shared.update(|ended| ended.all = true);
    }
}

/// How far a tree has ended.
#[derive(Default)]
struct Ended {
    eldest: Option<std::result::Result<ExitStatus, i32>>,
    all: bool,
}

#[derive(Default)]
struct Shared {
    ended: Mutex<Ended>,
    changed: std::sync::Condvar,
}

impl Shared {
    fn update(&self, change: impl FnOnce(&mut Ended)) {
        change(&mut self.ended.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

/// What is known once the command runs.
struct Started {
    pid: u32,
    supervisor: Arc<Supervisor>,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
}

/// A command that runs in a sandbox, and with it all that it started.
///
/// Dropping it waits for nothing and kills nothing, as with [`std::process::Child`]; the supervisor goes on as long as
/// this process lives.
pub struct Child {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
    started: Started,
}

impl Child {
    /// Process id of the eldest: the command itself.
    pub fn id(&self) -> u32 {
        self.started.pid
    }

    /// The command's standard input, if it was [`std::process::Stdio::piped`]. Given away once.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.started.stdin.take()
    }

    /// The command's standard output, if it was piped. Given away once.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.started.stdout.take()
    }

    /// The command's standard error, if it was piped. Given away once.
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.started.stderr.take()
    }

    /// Waits as the sandbox says: until every process of it has ended (the default), or the eldest
    /// (`core/trace/exit_wait_all:false`). Returns the status of the eldest. Closes standard input first.
    ///
    /// # Errors
    /// Only if somebody else has waited for the eldest.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        drop(self.started.stdin.take());
        let supervisor = &self.started.supervisor;
        let mut ended = self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if ended.all || ended.eldest.is_some() && !supervisor.wait_all.load(Ordering::Relaxed) {
                break;
            }
            ended = self.shared.changed.wait(ended).unwrap_or_else(PoisonError::into_inner);
        }
        let all = ended.all;
        let status = ended.eldest.unwrap_or(Err(libc::ECHILD));
        drop(ended);
        if all && let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        status.map_err(|raw| Error::system("waitid", std::io::Error::from_raw_os_error(raw)))
    }

    /// Whether processes of the tree are left.
    pub fn is_running(&self) -> bool {
        !broker::is_over(self.started.supervisor.sight.listener.as_fd())
    }

    /// The processes of the sandbox, to be looked at from any thread, also while another one waits.
    pub fn tree(&self) -> Tree {
        Tree::new(Arc::clone(&self.started.supervisor))
    }

    /// The processes that there are now, with what each may do: see [`Tree::processes`].
    pub fn processes(&self) -> Vec<Process> {
        self.tree().processes()
    }

    /// Leaves what is left of the tree to a process of its own, which goes on enforcing its policy until the last
    /// one has ended. Violations go to what `sink` makes there: threads of this process do not exist in that one.
    /// Its standard input, output and error are `/dev/null`.
    ///
    /// To be called after [`Child::wait`] has returned for the eldest, by a program that is about to end, with no
    /// other thread of its own at work.
    ///
    /// # Errors
    /// If the process cannot be forked: the supervisor then goes on in this one.
    pub fn detach(self, sink: impl FnOnce() -> Arc<dyn Sink>) -> Result<()> {
        let Started { supervisor, .. } = &self.started;
        Crew::end(supervisor);
        supervisor.options.sink().flush();
        let forked = process::fork().map_err(|errno| {
            supervisor.watch.restart();
            // As before, then: better a supervisor here than none.
            if let Err(error) = Crew::start(supervisor) {
                log::error!("the supervisor's threads cannot be started again: {error}");
            }
            Error::system("fork", errno)
        })?;
        if forked == Forked::Parent {
            return Ok(());
        }
        supervisor.watch.restart();
        *supervisor.options.sink.lock().unwrap_or_else(PoisonError::into_inner) = sink();
        let code = match Crew::start(supervisor) {
            Ok(()) => {
                let listener = supervisor.sight.listener.as_fd();
                process::silence();
                while !broker::is_over(listener) {
                    let _ = process::poll([listener], [0], -1);
                }
                Crew::end(supervisor);
                supervisor.options.sink().flush();
                0
            }
            Err(_) => 1,
        };
        process::exit(code)
    }

    /// How many violations there were so far, repeated ones included.
    pub fn violations(&self) -> u64 {
        self.started.supervisor.violations.load(Ordering::Relaxed)
    }

    /// The exit code that `core/violation/exit_code` asks for after violations; `None`: that of the eldest.
    pub fn violation_exit_code(&self, status: ExitStatus) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt;
        match self.started.supervisor.exit_code.load(Ordering::Relaxed) {
            _ if self.violations() == 0 => None,
            0 => Some(128 | status.code().unwrap_or_else(|| status.signal().unwrap_or(0))),
            code if code > 0 => Some(code),
            _ => None,
        }
    }
}
