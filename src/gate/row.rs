//! The vocabulary of the system call table: what a row can say.
#![forbid(unsafe_code)]

use nix::errno::Errno;

use super::abi::Abi;

/// One system call and all that the sandbox knows of it.
#[derive(Debug)]
pub(crate) struct Row {
    /// The kernel's name of the call.
    pub(crate) name: &'static str,
    /// Where the number comes from.
    pub(crate) number: Number,
    /// Ordered: the first rule whose conditions all hold decides.
    pub(crate) rules: &'static [Rule],
    /// What happens when no rule matches.
    pub(crate) otherwise: Action,
    /// What the broker does when the call is notified, and where its arguments are.
    pub(crate) call: Option<Call>,
    /// Whether a profile can hand a call that is refused to the kernel (`core/trace/allow/NAME`), and what that costs.
    pub(crate) opening: Option<Opening>,
}

/// What it means to open a call that is refused otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opening {
    /// What the sandbox loses, for people.
    pub(crate) cost: &'static str,
    /// Only the domain of the second lock then keeps it from processes outside, and from the supervisor.
    pub(crate) needs_domain: bool,
}

/// Where a call's number comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    /// libseccomp resolves the name for each ABI.
    Known,
    /// libseccomp resolves the name; the row is for this ABI alone, because the other one gives the
    /// same name other argument types (16-bit ids) or another meaning.
    Only(Abi),
    /// Newer than libseccomp 2.5: this number on every ABI.
    Everywhere(u32),
    /// Newer than libseccomp 2.5, and only there on x86-64.
    X86_64(u32),
}

/// A condition on registers and what follows when it holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    /// All must hold.
    pub(crate) when: &'static [Cond],
    /// The answer then.
    pub(crate) action: Action,
}

/// A test of one argument register, at the width the kernel uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cond {
    /// The low 32 bits, masked, equal the value (`int` arguments: flags, descriptors, commands).
    Low {
        /// Argument index, 0 to 5.
        arg: u8,
        /// Bits looked at.
        mask: u32,
        /// What they must be.
        is: u32,
    },
    /// The low 32 bits, masked, have at least one bit set.
    Any {
        /// Argument index, 0 to 5.
        arg: u8,
        /// Bits looked at.
        mask: u32,
    },
    /// All 64 bits are zero (a null pointer; on 32-bit ABIs the 32 that exist).
    Null {
        /// Argument index, 0 to 5.
        arg: u8,
    },
    /// At least one of the 64 bits is set.
    NotNull {
        /// Argument index, 0 to 5.
        arg: u8,
    },
}

/// What the filter answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// The kernel carries the call out.
    Allow,
    /// The call is handed to the supervisor if the class is mediated in this sandbox, and allowed if not.
    Notify(Class),
    /// The call fails with this errno; the text is the reason, for people.
    Refuse(Errno, &'static str),
    /// The same where the class is mediated, and allowed where it is not: such a call would go round
    /// a rule, and without rules there is nothing to go round.
    RefuseIn(Class, Errno, &'static str),
    /// The call reports success and does nothing.
    Pretend(&'static str),
}

/// What a sandbox mediates. A class that is off and can never be switched on is not trapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// Stats that could be magic; not trapped in a sandbox that starts locked.
    Magic,
    /// Calls that change the file system.
    Write,
    /// Calls that look at it; trapped only when read sandboxing is armed.
    Read,
    /// execve and execveat: exec sandboxing, and `exec_lock`.
    Exec,
    /// Addresses.
    Network,
    /// Calls that change what the caller's umask is; needed with `Write`, `Read` or `Network`.
    Umask,
    /// Calls that change the file system and would also get round a rule on reading: `open` for reading and writing.
    WriteOrRead,
    /// New names (`link`, `rename`), which would get round rules on writing, on reading, and on unix sockets.
    Name,
    /// `bind`: an address, and a new name in the file system where the address is one.
    Bind,
    /// Signals; only where the second lock does not keep them in the tree (before Linux 6.12).
    Signal,
    /// Mediated in every sandbox: calls that change who the caller is, and those on a process that is named by its number,
    /// which could be the supervisor's.
    Always,
    /// Shared mappings that can be written: `core/restrict/shared_memory_writable`.
    SharedMemory,
    /// All but harmless commands of fcntl: `core/restrict/file_control`.
    FileControl,
}

/// Which classes are trapped in one sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    /// See [`Class::Magic`].
    pub(crate) magic: bool,
    /// See [`Class::Write`].
    pub(crate) write: bool,
    /// See [`Class::Read`].
    pub(crate) read: bool,
    /// See [`Class::Exec`].
    pub(crate) exec: bool,
    /// See [`Class::Network`].
    pub(crate) network: bool,
    /// Rules on unix sockets speak of their paths.
    pub(crate) sockets: bool,
    /// See [`Class::Signal`].
    pub(crate) signal: bool,
    /// See [`Class::SharedMemory`].
    pub(crate) shared_memory: bool,
    /// See [`Class::FileControl`].
    pub(crate) file_control: bool,
}

impl Shape {
    /// Whether calls of this class are handed to the supervisor.
    pub(crate) fn mediates(&self, class: Class) -> bool {
        match class {
            Class::Magic => self.magic,
            Class::Write => self.write,
            Class::Read => self.read,
            Class::Exec => self.exec,
            Class::Network => self.network,
            Class::Umask => self.write || self.read || self.network,
            Class::WriteOrRead => self.write || self.read,
            Class::Name => self.write || self.read || self.sockets,
            Class::Bind => self.network || self.write,
            Class::Signal => self.signal,
            Class::Always => true,
            Class::SharedMemory => self.shared_memory,
            Class::FileControl => self.file_control,
        }
    }
}

impl Row {
    /// A call that the kernel carries out, whatever its arguments.
    pub(crate) const fn allow(name: &'static str) -> Self {
        Self::new(name, &[], Action::Allow)
    }

    /// A call that fails, whatever its arguments.
    pub(crate) const fn refuse(name: &'static str, errno: Errno, why: &'static str) -> Self {
        Self::new(name, &[], Action::Refuse(errno, why))
    }

    /// A call that is handed to the supervisor, whatever its arguments.
    pub(crate) const fn notify(name: &'static str, class: Class, call: Call) -> Self {
        Self::new(name, &[], Action::Notify(class)).call(call)
    }

    /// A call that is judged by its registers.
    pub(crate) const fn new(name: &'static str, rules: &'static [Rule], otherwise: Action) -> Self {
        Self { name, number: Number::Known, rules, otherwise, call: None, opening: None }
    }

    /// What the filter answers when the argument registers hold this, each at its full width.
    pub(crate) fn action(&self, args: &[u64; 6]) -> Action {
        let holds = |rule: &&Rule| rule.when.iter().all(|cond| cond.holds(args));
        self.rules.iter().find(holds).map_or(self.otherwise, |rule| rule.action)
    }

    /// Says what the broker does with the call.
    pub(crate) const fn call(self, call: Call) -> Self {
        Self { call: Some(call), ..self }
    }

    /// A profile may open it, at this cost.
    pub(crate) const fn openable(self, cost: &'static str) -> Self {
        Self { opening: Some(Opening { cost, needs_domain: false }), ..self }
    }

    /// The same, where the second lock keeps it in the tree.
    pub(crate) const fn openable_in_domain(self, cost: &'static str) -> Self {
        Self { opening: Some(Opening { cost, needs_domain: true }), ..self }
    }

    /// Says where the number comes from, if not from libseccomp.
    pub(crate) const fn number(self, number: Number) -> Self {
        Self { number, ..self }
    }
}

impl Rule {
    /// When all of these hold, this.
    pub(crate) const fn when(when: &'static [Cond], action: Action) -> Self {
        Self { when, action }
    }
}

impl Cond {
    fn holds(&self, args: &[u64; 6]) -> bool {
        let arg = |arg: u8| args.get(usize::from(arg)).copied().unwrap_or(0);
        match *self {
            Self::Low { arg: at, mask, is } => arg(at) as u32 & mask == is,
            Self::Any { arg: at, mask } => arg(at) as u32 & mask != 0,
            Self::Null { arg: at } => arg(at) == 0,
            Self::NotNull { arg: at } => arg(at) != 0,
        }
    }

    /// The low 32 bits are this.
    pub(crate) const fn is(arg: u8, is: u32) -> Self {
        Self::Low { arg, mask: u32::MAX, is }
    }

    /// None of these bits is set.
    pub(crate) const fn clear(arg: u8, mask: u32) -> Self {
        Self::Low { arg, mask, is: 0 }
    }

    /// At least one of these bits is set.
    pub(crate) const fn any(arg: u8, mask: u32) -> Self {
        Self::Any { arg, mask }
    }

    /// The low 32 bits are not zero.
    pub(crate) const fn not_zero(arg: u8) -> Self {
        Self::Any { arg, mask: u32::MAX }
    }
}

/// What the broker is to do, and in which argument registers it finds what it needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    /// The function of the broker.
    pub(crate) op: Op,
    /// The (first) object.
    pub(crate) at: At,
    /// The second object: new name of rename and link, link path of symlink.
    pub(crate) to: At,
    /// Open flags, `AT_` flags or rename flags.
    pub(crate) flags: Option<u8>,
    /// Mode, or the pointer to times, or the first of uid and gid, or the name of an attribute, or
    /// the length of truncate (or its low half), or the pointer to `open_how`: see each [`Op`].
    pub(crate) value: Option<u8>,
    /// The l-variants: the last component is never followed.
    pub(crate) nofollow: bool,
}

impl Call {
    /// A call whose object is here.
    pub(crate) const fn new(op: Op, at: At) -> Self {
        Self { op, at, to: At::NONE, flags: None, value: None, nofollow: false }
    }

    /// Where the second object is.
    pub(crate) const fn to(self, to: At) -> Self {
        Self { to, ..self }
    }

    /// The register of the flags.
    pub(crate) const fn flags(self, register: u8) -> Self {
        Self { flags: Some(register), ..self }
    }

    /// The register of the value.
    pub(crate) const fn value(self, register: u8) -> Self {
        Self { value: Some(register), ..self }
    }

    /// The last component is never followed.
    pub(crate) const fn nofollow(self) -> Self {
        Self { nofollow: true, ..self }
    }
}

/// Where an object's name is: a directory descriptor's register and a path's.
///
/// No `dirfd`: relative to the working directory. A `dirfd` and no `path`: the descriptor itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    /// Register of the directory descriptor.
    pub(crate) dirfd: Option<u8>,
    /// Register of the pointer to the path.
    pub(crate) path: Option<u8>,
}

impl At {
    /// No object.
    pub(crate) const NONE: Self = Self { dirfd: None, path: None };

    /// A path relative to the working directory.
    pub(crate) const fn path(path: u8) -> Self {
        Self { dirfd: None, path: Some(path) }
    }

    /// A path relative to a directory descriptor.
    pub(crate) const fn dirfd(dirfd: u8, path: u8) -> Self {
        Self { dirfd: Some(dirfd), path: Some(path) }
    }

    /// A descriptor itself.
    pub(crate) const fn fd(fd: u8) -> Self {
        Self { dirfd: Some(fd), path: None }
    }
}

/// The functions of the broker, one for each kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    /// `open`, `openat`: flags, value = mode.
    Open,
    /// `creat`: value = mode.
    Creat,
    /// `openat2`: value = pointer to `open_how`, its size in the next register.
    Openat2,
    /// `mkdir`, `mkdirat`: value = mode.
    Mkdir,
    /// `mknod`, `mknodat`: value = mode, device in the next register.
    Mknod,
    /// `rmdir`.
    Rmdir,
    /// `unlink`, `unlinkat` with flags.
    Unlink,
    /// `rename`, `renameat`, `renameat2` with flags: at -> to.
    Rename,
    /// `link`, `linkat` with flags: at -> to.
    Link,
    /// `symlink`, `symlinkat`: at.path = the target's text, to = the new link.
    Symlink,
    /// `truncate`: value = length.
    Truncate,
    /// `truncate64` of 32-bit x86: value = low half of the length, high half in the next register.
    Truncate64,
    /// `chmod`, `fchmod`, `fchmodat`, `fchmodat2` with flags: value = mode.
    Chmod,
    /// `chown` family with 32-bit ids: value = uid, gid in the next register.
    Chown,
    /// `chown`, `lchown`, `fchown` of 32-bit x86 with 16-bit ids.
    Chown16,
    /// `utime`: value = pointer to `utimbuf`.
    Utime,
    /// `utimes`, `futimesat`: value = pointer to two `timeval`.
    Utimes,
    /// `utimensat` with flags: value = pointer to two `timespec`.
    Utimensat,
    /// `utimensat_time64` of 32-bit x86: value = pointer to two 64-bit `timespec`.
    UtimensatTime64,
    /// `setxattr`, `lsetxattr`, `fsetxattr`: value = pointer to the name; value pointer, size, flags follow.
    Setxattr,
    /// `setxattrat` with flags: value = pointer to the name; pointer to `xattr_args` and its size follow.
    Setxattrat,
    /// `removexattr`, `lremovexattr`, `fremovexattr`, `removexattrat` with flags: value = pointer to the name.
    Removexattr,
    /// `file_setattr` with flags (register 4): value = pointer to `file_attr`, its size in the next register.
    FileSetattr,
    /// `access`, `faccessat`, `faccessat2` with flags: value = mode.
    Access,
    /// `chdir`, `fchdir`.
    Chdir,
    /// `readlink`, `readlinkat`: value = pointer to the buffer, its size in the next register.
    Readlink,
    /// `getxattr`, `lgetxattr`, `fgetxattr`: value = pointer to the name; buffer and size follow.
    Getxattr,
    /// `getxattrat` with flags: value = pointer to the name; pointer to `xattr_args` and its size follow.
    Getxattrat,
    /// `listxattr`, `llistxattr`, `flistxattr`, `listxattrat` with flags: value = buffer, size in the next register.
    Listxattr,
    /// A stat that may be magic: value = pointer to the buffer. Native `struct stat` of the ABI.
    Stat,
    /// `stat64`, `fstatat64` of 32-bit x86.
    Stat64,
    /// `statx`: value = pointer to the buffer.
    Statx,
    /// `execve`, `execveat` with flags: value = pointer to the environment.
    Exec,
    /// `bind`: value = pointer to the address, its length in the next register; at.dirfd = the socket.
    Bind,
    /// `connect`: as bind.
    Connect,
    /// `listen`: at.dirfd = the socket.
    Listen,
    /// `setsockopt` of `SO_REUSEADDR` and `SO_REUSEPORT`: at.dirfd = the socket.
    Setsockopt,
    /// `sendto`: at.dirfd = the socket; value = pointer to the data (length, flags, address, its length follow).
    Sendto,
    /// `sendmsg`: at.dirfd = the socket; value = pointer to the `msghdr`; flags.
    Sendmsg,
    /// `sendmmsg`: at.dirfd = the socket; value = pointer to the `mmsghdr`s, their number next; flags.
    Sendmmsg,
    /// `socket`, `socketpair`: the domain in register 0, type in 1, protocol in 2.
    Socket,
    /// `socketcall` of 32-bit x86: the number of the call in register 0, value = pointer to its arguments.
    Socketcall,
    /// `kill`, `rt_sigqueueinfo`: value = pid, the signal in the next register.
    Kill,
    /// `tkill`: value = tid, the signal in the next register.
    Tkill,
    /// `tgkill`, `rt_tgsigqueueinfo`: value = pid, tid next, then the signal.
    Tgkill,
    /// `pidfd_send_signal`: at.dirfd = the pidfd; value = the signal.
    PidfdSignal,
    /// A call that changes how another process runs: value = its number.
    Adjust,
    /// `fcntl` with `F_SETOWN`: value = the number of the process that gets signals.
    Owner,
    /// A call that changes the caller's uid, gid, groups or capabilities.
    Identity,
    /// `prctl` that does so, or sets the signal of the parent's death: value = the option, argument next.
    Prctl,
    /// `umask`: value = mask.
    Umask,
    /// An `ioctl` that changes attributes through a descriptor (`FS_IOC_SETFLAGS` …): at.dirfd; value = command, argument next.
    FsIoctl,
}
