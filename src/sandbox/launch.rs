//! From a sandbox to a command that runs in it: fork, hand-shake, supervisor, end.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::{Child, Sandbox};
use crate::broker::{self, Crew, Facts, Options, Starting, States, Supervisor};
use crate::error::{Error, ErrorKind, Result};
use crate::gate;
use crate::magic::Arming;
use crate::policy::{NetMode, State};
use crate::sys::child::{self, Message, Setup, Step};
use crate::sys::creds::{self, Own};
use crate::sys::fs::{self, Proc};
use crate::sys::memory::Access;
use crate::sys::{CallerFd, Errno, Pid, process, seccomp};
use crate::tracee::{Identity, Sight, identity_of};

/// Limits by the names of their options.
const LIMITS: [(libc::__rlimit_resource_t, &str); 6] = [
    (libc::RLIMIT_CPU, "cpu"),
    (libc::RLIMIT_AS, "memory"),
    (libc::RLIMIT_NOFILE, "files"),
    (libc::RLIMIT_NPROC, "processes"),
    (libc::RLIMIT_FSIZE, "filesize"),
    (libc::RLIMIT_CORE, "core"),
];

/// The limits that the child sets, of which it can take none back.
fn limits(policy: &State) -> Vec<(u32, u64, u64)> {
    let limits = &policy.limits;
    let set = [
        (libc::RLIMIT_AS, limits.memory),
        (libc::RLIMIT_FSIZE, limits.filesize),
        (libc::RLIMIT_CORE, Some(core(limits.core.unwrap_or(0)))),
    ];
    let set = set.into_iter().filter_map(|(resource, value)| Some((resource, value?, value?)));
    // First SIGXCPU, which says what it was, and then SIGKILL, as far as that is ours to say.
    let own = process::own_hard_limit(libc::RLIMIT_CPU);
    let last = |cpu: u64| if own == Ok(cpu) { cpu } else { cpu.saturating_add(1) };
    let cpu = limits.cpu.map(|cpu| (libc::RLIMIT_CPU, cpu, last(cpu)));
    set.chain(cpu).collect()
}

/// A limit of core dumps that means none: with 0 a program that the system gives them to still gets them, with 1 not, where
/// that may be set (`fs/coredump.c` of the kernel).
fn core(limit: u64) -> u64 {
    match limit {
        0 => process::own_hard_limit(libc::RLIMIT_CORE).unwrap_or(0).min(1),
        limit => limit,
    }
}

/// Those that are set last. The limit of descriptors: ours is raised, that of the command is not.
fn last_limits(policy: &State) -> Vec<(u32, u64, u64)> {
    let before = process::raise_nofile();
    let (soft, hard) = policy.limits.files.map_or(before, |files| (files, files));
    let processes = policy.limits.processes.map(|count| (libc::RLIMIT_NPROC, count, count));
    [(libc::RLIMIT_NOFILE, soft, hard)].into_iter().chain(processes).collect()
}

/// Everything that one spawn needs, made ready before the fork.
pub(super) struct Launch {
    setup: Setup,
    meet: Meet,
}

impl Launch {
    pub(super) fn new(sandbox: &Sandbox) -> Result<Self> {
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
        let own = Own::here().map_err(|errno| Error::system("capget", errno))?;
        let own = Some(own).filter(|own| own.caps.permitted != 0 || own.uid == 0);
        let dropped_caps = if own.is_some() { gate::capabilities::dropped() } else { 0 };
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
            last_limits: last_limits(&policy),
            ignore_sigpipe: sandbox.builder.ignore_sigpipe,
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
            own,
            dropped_caps,
            backstop,
            grants,
            shield: sandbox.builder.shield,
            unsafe_connect: policy.allow_unsafe_connect && !has_pidfd_getfd,
            sink: Mutex::new(Arc::clone(&sandbox.builder.sink)),
        };
        let theirs = Arc::new(Mutex::new(Some(theirs)));
        Ok(Self { setup, meet: Meet { ours, theirs, states, proc, options, policy, has_pidfd_getfd } })
    }

    /// Starts the supervisor and the command.
    pub(super) fn spawn(self, command: Command) -> Result<Child> {
        process::install_interrupt_handler();
        let Self { setup, meet } = self;
        let theirs = Arc::clone(&meet.theirs);
        let (met, meeting) = mpsc::channel();
        let no_thread = |error| Error::system("cannot start a thread", error);
        // Before the fork, which it would wait for, and takes the listener while spawn waits for the exec, which is trapped.
        Crew::first(move || meet.run(&met)).map_err(no_thread)?;
        let (tell, told) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let keep = Keep { theirs: Arc::clone(&theirs), meeting, shared: Arc::clone(&shared) };
        let thread = thread::Builder::new().name("sydbox".into());
        let thread = thread.spawn(move || keep.run(command, setup, &tell)).map_err(|error| {
            take(&theirs).iter().for_each(hang_up);
            no_thread(error)
        })?;
        match told.recv() {
            Ok(Ok(started)) => Ok(Child { shared, thread: Some(thread), started }),
            Ok(Err(error)) => Err(error),
            Err(mpsc::RecvError) => Err(Error::new(ErrorKind::System, "the supervisor failed to start")),
        }
    }
}

/// The child's end of the hand-shake socket, as long as this process has it.
type Theirs = Arc<Mutex<Option<OwnedFd>>>;

fn take(theirs: &Theirs) -> Option<OwnedFd> {
    theirs.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Ends the hand-shake if it is not over: whoever reads at one of the two ends is told that there is nothing more. To close
/// them would not do, for other processes, the child first of all, have copies.
fn hang_up(end: &OwnedFd) {
    let _ = nix::sys::socket::shutdown(end.as_raw_fd(), nix::sys::socket::Shutdown::Both);
}

/// Ours while the hand-shake is not over.
struct Line(Option<OwnedFd>);

impl Drop for Line {
    fn drop(&mut self) {
        self.0.iter().for_each(hang_up);
    }
}

/// Why there is no supervisor. `None`: the child was never heard of.
type Missed = Option<Error>;
type Met = std::result::Result<Arc<Supervisor>, Missed>;

/// The thread that forks, and lives as long as the tree: the death signal of the eldest belongs to it.
struct Keep {
    theirs: Theirs,
    meeting: mpsc::Receiver<Met>,
    shared: Arc<Shared>,
}

impl Keep {
    fn run(self, mut command: Command, setup: Setup, tell: &mpsc::Sender<Result<Started>>) {
        child::prepare(&mut command, setup);
        let (mut eldest, supervisor) = match self.fork(command) {
            Ok(both) => both,
            Err(error) => return drop(tell.send(Err(error))),
        };
        let started = Started {
            pid: eldest.id(),
            supervisor: Arc::clone(&supervisor),
            stdin: eldest.stdin.take(),
            stdout: eldest.stdout.take(),
            stderr: eldest.stderr.take(),
        };
        process::block_signals();
        let _ = tell.send(Ok(started));
        keep(&supervisor, eldest, &self.shared);
    }

    fn fork(&self, mut command: Command) -> Result<(std::process::Child, Arc<Supervisor>)> {
        let spawned = command.spawn();
        // Where the child did not get as far as the hand-shake, this wakes the other thread.
        take(&self.theirs).iter().for_each(hang_up);
        match (spawned, self.meeting.recv().unwrap_or(Err(None))) {
            (Ok(eldest), Ok(supervisor)) => Ok((eldest, supervisor)),
            (Ok(mut eldest), Err(missed)) => {
                let _ = eldest.kill();
                let _ = eldest.wait();
                let early = "the command ended before the sandbox was closed";
                Err(missed.unwrap_or_else(|| Error::new(ErrorKind::System, early)))
            }
            (Err(error), Ok(supervisor)) => {
                Crew::end(&supervisor);
                Err(match supervisor.last_message() {
                    Some(Message::Failed { step, errno, resource }) => step_error(step, errno, resource),
                    _ => spawn_error(&command, error),
                })
            }
            (Err(error), Err(missed)) => Err(missed.unwrap_or_else(|| spawn_error(&command, error))),
        }
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

/// The supervisor's side of the hand-shake, by its first thread.
struct Meet {
    ours: OwnedFd,
    theirs: Theirs,
    states: States,
    proc: Proc,
    options: Options,
    policy: State,
    has_pidfd_getfd: bool,
}

impl Meet {
    /// Takes the listener from the child, lets the child go on, and begins to receive.
    fn run(self, met: &mpsc::Sender<Met>) {
        process::block_signals();
        // Also where it ends in a panic, the child is to be told.
        let mut line = match self.ours.try_clone() {
            Ok(ours) => Line(Some(ours)),
            Err(error) => {
                hang_up(&self.ours);
                return drop(met.send(Err(Some(Error::system("dup", error)))));
            }
        };
        let supervisor = match self.child() {
            Ok(supervisor) => supervisor,
            Err(missed) => return drop(met.send(Err(missed))),
        };
        line.0 = None;
        Crew::open(&supervisor);
        supervisor.acknowledge();
        let _ = met.send(Ok(Arc::clone(&supervisor)));
        Crew::join(&supervisor);
    }

    fn child(self) -> std::result::Result<Arc<Supervisor>, Missed> {
        let Self { ours, theirs, states, proc, options, policy, has_pidfd_getfd } = self;
        // While the child makes itself ready.
        let own = identity_of(&proc, process::gettid()).ok();
        let own_root = fs::own_root_id();
        let memory = Access::detect();
        let (message, sent) = Message::receive(ours.as_fd()).ok_or(None)?;
        let (pid, number) = match message {
            Message::Loaded { pid, listener } => (pid, listener),
            Message::Failed { step, errno, resource } => {
                return Err(Some(step_error(step, errno, resource)));
            }
        };
        // The child's own closes when the command is executed.
        let theirs = take(&theirs).ok_or(None)?;
        let file = fs::fstat(theirs.as_fd()).map_err(|errno| Error::system("fstat", errno))?;
        let starting = Starting { ours, number: CallerFd(theirs.as_raw_fd()), id: file.id };
        drop(theirs);
        let listener = match (sent, has_pidfd_getfd) {
            (Some(listener), _) => listener,
            (None, _) => process::pidfd_open(pid)
                .and_then(|pidfd| process::pidfd_getfd(pidfd.as_fd(), number))
                .map_err(cannot_take)?,
        };
        if own_root.is_err() || proc.root_id(pid) != own_root {
            return Err(Some(Error::new(
                ErrorKind::Unsupported,
                "the command has another root directory (chroot before exec), which a sandbox cannot look into",
            )));
        }
        if let Err(errno) = seccomp::set_sync_wake_up(listener.as_fd()) {
            log::debug!("no synchronous wake-up, calls take longer: {errno}");
        }
        states.learn(first_facts(own, identity_of(&proc, pid).ok()));
        let sight = Sight { listener, proc, memory, tags: states.tags() };
        // Not before: the child was made a copy of this process, and could not have been looked into either.
        if options.shield
            && let Err(errno) = nix::sys::prctl::set_dumpable(false)
        {
            return Err(Some(Error::system("prctl(PR_SET_DUMPABLE)", errno)));
        }
        Ok(Arc::new(Supervisor::new(sight, states, options, pid, starting, &policy)))
    }
}

fn cannot_take(errno: Errno) -> Error {
    let hidden = errno == Errno::EPERM && !nix::sys::prctl::get_dumpable().unwrap_or(true);
    let why = if hidden { " of a process that is not dumpable (shield_supervisor, for one)" } else { "" };
    Error::system(format!("cannot take the seccomp listener from the child{why}"), errno)
}

/// What is known of the child at the start: whether it is who we are, and its umask.
fn first_facts(own: Option<Identity>, child: Option<Identity>) -> Facts {
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

fn step_error(step: Step, errno: Errno, resource: i32) -> Error {
    let limit = LIMITS.iter().find(|(known, _)| *known as i32 == resource);
    if let (Step::Limits, Some((_, name))) = (step, limit) {
        let what = format!("cannot set core/limit/{name}: it may be above what we have ourselves");
        return Error::system(what, errno);
    }
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

/// Stays until the eldest and the last process of the tree are gone.
fn keep(supervisor: &Supervisor, mut eldest: std::process::Child, shared: &Shared) {
    let listener = supervisor.sight.listener.as_fd();
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
    let _alone = shared.alone();
    Crew::end(supervisor);
    log::debug!("{} calls were handed to the supervisor", supervisor.crew.received());
    supervisor.options.sink().flush();
    shared.update(|ended| ended.all = true);
}

/// How far a tree has ended.
#[derive(Default)]
pub(super) struct Ended {
    pub(super) eldest: Option<std::result::Result<ExitStatus, i32>>,
    pub(super) all: bool,
}

/// The same, for those who wait for it.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) ended: Mutex<Ended>,
    pub(super) changed: std::sync::Condvar,
    closing: Mutex<()>,
}

impl Shared {
    /// For whoever ends the crew, until it is done: the end of the tree and [`Child::detach`] can come at once, and who forks
    /// must not do so while the other thread holds a lock, which nobody would open in the new process.
    pub(super) fn alone(&self) -> MutexGuard<'_, ()> {
        self.closing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut Ended)) {
        change(&mut self.ended.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

/// What is known once the command runs.
pub(super) struct Started {
    pub(super) pid: u32,
    pub(super) supervisor: Arc<Supervisor>,
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
}
