//! Everything that is set for a process, and the decisions that follow from it.
#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::sync::Arc;

use super::address::Address;
use super::escape::printable;
use super::globset::Broken;
use super::list::{List, Rule, RuleError};
use super::mode::{Access, Action, Lock, Mode, NetMode, NetOp, NoWildcard, OnViolation};
use super::network::AddressPattern;
use super::path::{PathPattern, is_within};

/// The sandbox state of a process. Cheap to clone; a change makes a new one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    /// Mode of exec sandboxing.
    pub(crate) exec: Mode,
    /// Mode of read sandboxing.
    pub(crate) read: Mode,
    /// Mode of write sandboxing.
    pub(crate) write: Mode,
    /// Mode of network sandboxing.
    pub(crate) network: NetMode,
    /// Whether the magic path answers.
    pub(crate) lock: Lock,
    /// What a violation does beside being reported.
    pub(crate) on_violation: OnViolation,
    /// The exit code after violations: see `core/violation/exit_code`.
    pub(crate) exit_code: i32,
    /// Failures to resolve a path are reported, too.
    pub(crate) raise_fail: bool,
    /// Harmless refusals are reported, too.
    pub(crate) raise_safe: bool,
    /// A process may write below its own `/proc/PID`.
    pub(crate) per_process_directories: bool,
    /// What was bound in the sandbox may be connected to.
    pub(crate) successful_bind: bool,
    /// Families other than unix, inet and inet6 that lead nowhere else are allowed in every mode.
    pub(crate) unsupported_socket_families: bool,
    /// No writable shared mappings.
    pub(crate) shared_memory_writable: bool,
    /// Only harmless fcntl commands.
    pub(crate) file_control: bool,
    /// Descriptors above 2 are closed when the command starts.
    pub(crate) close_fds: bool,
    /// No change to system ids.
    pub(crate) identity_change: bool,
    /// Resource limits of the command.
    pub(crate) limits: Limits,
    /// System calls that are open although they are refused otherwise.
    pub(crate) opened: Arc<[&'static str]>,
    /// Connect only to what was bound in the sandbox, or to what a rule allows.
    pub(crate) restrict_connect: bool,
    /// Patterns tell upper case from lower case (of ASCII).
    pub(crate) case_sensitive: bool,
    /// What patterns without wildcards mean **when they are added**: a rule keeps its meaning afterwards.
    pub(crate) no_wildcard: NoWildcard,
    /// Wait for every process, or for the eldest only.
    pub(crate) exit_wait_all: bool,
    /// `cmd/exec` may run programs outside the sandbox.
    pub(crate) allow_cmd: bool,
    /// Where sockets cannot be duplicated, their calls are judged and left to the kernel.
    pub(crate) allow_unsafe_connect: bool,
    /// Options without effect that were set to false, one bit each.
    pub(crate) ignored_off: u32,
    /// All lists.
    pub(crate) lists: Arc<Lists>,
}

/// The lists of a state; only this module looks inside.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Lists {
    paths: [List<PathPattern>; 3],
    path_filters: [List<PathPattern>; 3],
    bind: List<AddressPattern>,
    connect: List<AddressPattern>,
    net_filter: List<AddressPattern>,
    kill: List<PathPattern>,
    resume: List<PathPattern>,
}

/// Resource limits to set before the command starts; what is not set is inherited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Seconds of CPU time.
    pub(crate) cpu: Option<u64>,
    /// Bytes of address space.
    pub(crate) memory: Option<u64>,
    /// Open descriptors.
    pub(crate) files: Option<u64>,
    /// Processes and threads of the user.
    pub(crate) processes: Option<u64>,
    /// Bytes of a file that is written.
    pub(crate) filesize: Option<u64>,
    /// Bytes of a core dump, which is 0 unless it is set: the kernel writes it where the process stands, unasked.
    pub(crate) core: Option<u64>,
}

/// One of the lists of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListId {
    /// Allow or deny rules for paths.
    Path(Action, Access),
    /// Allow or deny rules for addresses.
    Net(Action, NetOp),
    /// Paths whose refusal is not reported.
    FilterPath(Access),
    /// Addresses whose refusal is not reported.
    FilterNet,
    /// Programs that get a process killed.
    Kill,
    /// Programs that run with all sandboxing off.
    Resume,
}

/// A pattern for one of the lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// For lists of paths.
    Path(PathPattern),
    /// For lists of addresses.
    Address(AddressPattern),
}

/// What policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Go on.
    Allow,
    /// Refuse.
    Deny {
        /// The deny rule as one would write it; none if it was the mode that refused.
        rule: Option<Arc<str>>,
        /// Whether this is to be reported: no filter matched.
        reported: bool,
    },
}

/// What the exec lists say about a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExecRule {
    /// The process is to be killed.
    Kill,
    /// It is to run on with all sandboxing off.
    Resume,
}

impl Default for State {
    fn default() -> Self {
        Self {
            exec: Mode::Off,
            read: Mode::Off,
            write: Mode::Off,
            network: NetMode::Off,
            lock: Lock::Off,
            on_violation: OnViolation::Deny,
            exit_code: -1,
            raise_fail: false,
            raise_safe: false,
            per_process_directories: true,
            successful_bind: true,
            unsupported_socket_families: true,
            shared_memory_writable: false,
            file_control: false,
            close_fds: false,
            identity_change: true,
            limits: Limits::default(),
            opened: Arc::default(),
            restrict_connect: false,
            case_sensitive: true,
            no_wildcard: NoWildcard::Literal,
            exit_wait_all: true,
            allow_cmd: false,
            allow_unsafe_connect: false,
            ignored_off: 0,
            lists: Arc::default(),
        }
    }
}

impl ListId {
    /// Its name in the magic language.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Path(Action::Allow, Access::Exec) => "allowlist/exec",
            Self::Path(Action::Allow, Access::Read) => "allowlist/read",
            Self::Path(Action::Allow, Access::Write) => "allowlist/write",
            Self::Path(Action::Deny, Access::Exec) => "denylist/exec",
            Self::Path(Action::Deny, Access::Read) => "denylist/read",
            Self::Path(Action::Deny, Access::Write) => "denylist/write",
            Self::Net(Action::Allow, NetOp::Bind) => "allowlist/network/bind",
            Self::Net(Action::Allow, NetOp::Connect) => "allowlist/network/connect",
            Self::Net(Action::Deny, NetOp::Bind) => "denylist/network/bind",
            Self::Net(Action::Deny, NetOp::Connect) => "denylist/network/connect",
            Self::FilterPath(Access::Exec) => "filter/exec",
            Self::FilterPath(Access::Read) => "filter/read",
            Self::FilterPath(Access::Write) => "filter/write",
            Self::FilterNet => "filter/network",
            Self::Kill => "exec/kill_if_match",
            Self::Resume => "exec/resume_if_match",
        }
    }

    /// Whether it lists addresses.
    pub(crate) const fn is_of_addresses(self) -> bool {
        matches!(self, Self::Net(..) | Self::FilterNet)
    }
}

impl Pattern {
    /// The normal spelling.
    pub(crate) fn text(&self) -> &[u8] {
        match self {
            Self::Path(pattern) => pattern.text(),
            Self::Address(pattern) => pattern.text(),
        }
    }
}

impl State {
    /// The mode of this sandboxing.
    pub(crate) fn mode(&self, access: Access) -> Mode {
        match access {
            Access::Exec => self.exec,
            Access::Read => self.read,
            Access::Write => self.write,
        }
    }

    /// Appends a rule to a list.
    pub(crate) fn append(&mut self, list: ListId, pattern: &Pattern) -> Result<(), RuleError> {
        let prefix = self.no_wildcard == NoWildcard::Prefix;
        let text = |text: &[u8]| format!("{}+{}", list.name(), printable(text)).into();
        match (pattern, self.list(list)) {
            (Pattern::Path(pattern), Some((ListMut::Paths(rules), action))) => {
                let pattern = pattern.clone();
                let pattern = if prefix { pattern.into_prefix() } else { pattern };
                rules.append(action, pattern, |pattern| text(pattern.text()))
            }
            (Pattern::Address(pattern), Some((ListMut::Addresses(rules), action))) => {
                let pattern = pattern.clone();
                let pattern = if prefix { pattern.into_prefix() } else { pattern };
                rules.append(action, pattern, |pattern| text(pattern.text()))
            }
            _ => Err(RuleError::Missing),
        }
    }

    /// Removes a rule from a list.
    pub(crate) fn remove(&mut self, list: ListId, pattern: &Pattern) -> Result<(), RuleError> {
        let prefix = self.no_wildcard == NoWildcard::Prefix;
        match (pattern, self.list(list)) {
            (Pattern::Path(pattern), Some((ListMut::Paths(rules), action))) => {
                match rules.remove(action, pattern) {
                    Err(RuleError::Missing) if prefix => rules.remove(action, &pattern.clone().into_prefix()),
                    result => result,
                }
            }
            (Pattern::Address(pattern), Some((ListMut::Addresses(rules), action))) => {
                match rules.remove(action, pattern) {
                    Err(RuleError::Missing) if prefix => rules.remove(action, &pattern.clone().into_prefix()),
                    result => result,
                }
            }
            _ => Err(RuleError::Missing),
        }
    }

    fn list(&mut self, list: ListId) -> Option<(ListMut<'_>, Action)> {
        let lists = Arc::make_mut(&mut self.lists);
        Some(match list {
            ListId::Path(action, access) => (ListMut::Paths(lists.paths.get_mut(access as usize)?), action),
            ListId::FilterPath(access) => {
                (ListMut::Paths(lists.path_filters.get_mut(access as usize)?), Action::Allow)
            }
            ListId::Net(action, NetOp::Bind) => (ListMut::Addresses(&mut lists.bind), action),
            ListId::Net(action, NetOp::Connect) => (ListMut::Addresses(&mut lists.connect), action),
            ListId::FilterNet => (ListMut::Addresses(&mut lists.net_filter), Action::Allow),
            ListId::Kill => (ListMut::Paths(&mut lists.kill), Action::Allow),
            ListId::Resume => (ListMut::Paths(&mut lists.resume), Action::Allow),
        })
    }

    /// About how many bytes of memory its rules take once decisions were made by them.
    pub(crate) fn weight(&self) -> usize {
        let Lists { paths, path_filters, bind, connect, net_filter, kill, resume } = &*self.lists;
        let of_paths = paths.iter().chain(path_filters).chain([kill, resume]).map(List::memory);
        of_paths.chain([bind, connect, net_filter].map(List::memory)).sum()
    }

    /// Whether the rules are the very same as those of another state.
    pub(crate) fn shares_lists_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.lists, &other.lists)
    }

    /// What states have in common that share their rules.
    pub(crate) fn lists_id(&self) -> usize {
        Arc::as_ptr(&self.lists) as usize
    }

    /// Every rule as one would write it, list by list.
    pub(crate) fn rules(&self) -> impl Iterator<Item = &Arc<str>> {
        let paths = self
            .lists
            .paths
            .iter()
            .chain(&self.lists.path_filters)
            .chain([&self.lists.kill, &self.lists.resume]);
        let nets = [&self.lists.bind, &self.lists.connect, &self.lists.net_filter];
        let paths = paths.flat_map(|list| list.rules().iter().map(|rule| &rule.text));
        paths.chain(nets.into_iter().flat_map(|list| list.rules().iter().map(|rule| &rule.text)))
    }

    /// Whether this sandboxing is on, or has rules, so that the filter should be able to serve it.
    pub(crate) fn mentions(&self, access: Access) -> bool {
        let exec_lists = || !self.lists.kill.rules().is_empty() || self.resumes();
        self.mode(access) != Mode::Off
            || !self.path_rules(access).rules().is_empty()
            || (access == Access::Exec && exec_lists())
    }

    /// Whether a program can be let go (`exec/resume_if_match`).
    pub(crate) fn resumes(&self) -> bool {
        !self.lists.resume.rules().is_empty()
    }

    /// Whether a rule says which unix sockets may be connected to by their paths.
    pub(crate) fn mentions_sockets(&self) -> bool {
        self.lists.connect.rules().iter().any(|rule| rule.pattern.unix_path().is_some())
    }

    /// Whether read sandboxing is on or has rules.
    pub(crate) fn mentions_read(&self) -> bool {
        self.mentions(Access::Read)
    }

    fn path_rules(&self, access: Access) -> &List<PathPattern> {
        let [exec, read, write] = &self.lists.paths;
        match access {
            Access::Exec => exec,
            Access::Read => read,
            Access::Write => write,
        }
    }

    fn last_path(&self, list: &List<PathPattern>, path: &[u8]) -> Result<Option<u32>, Broken> {
        // What has no place in the tree (pipes, sockets, deleted files) cannot be named by a rule.
        if path.starts_with(b"/") { list.index(!self.case_sensitive).last(path) } else { Ok(None) }
    }

    /// Decides about a canonical path. `own_proc` is the caller's own `/proc/PID`.
    pub(crate) fn decide_path(&self, access: Access, path: &[u8], own_proc: Option<&[u8]>) -> Decision {
        let mode = self.mode(access);
        if mode == Mode::Off {
            return Decision::Allow;
        }
        let list = self.path_rules(access);
        let rule = match self.last_path(list, path) {
            Ok(position) => position.and_then(|position| list.rule(position)),
            Err(Broken) => return Decision::Deny { rule: None, reported: true },
        };
        let rule =
            rule.filter(|rule| rule.action == Action::Deny || names_enough(access, path, &rule.pattern));
        let own = || {
            access == Access::Write
                && self.per_process_directories
                && own_proc.is_some_and(|own| is_within(path, own))
        };
        let rule = match rule {
            Some(rule) if rule.action == Action::Allow => return Decision::Allow,
            None if mode == Mode::Allow || own() => return Decision::Allow,
            rule => rule.map(|rule| rule.text.clone()),
        };
        let [exec, read, write] = &self.lists.path_filters;
        let filter = match access {
            Access::Exec => exec,
            Access::Read => read,
            Access::Write => write,
        };
        Decision::Deny { rule, reported: self.last_path(filter, path) == Ok(None) }
    }

    /// Decides about whatever may come to be in `dir`, at any depth: what rules for it as a tree say. A directory
    /// that moves from where this refuses to where it allows takes its content along.
    pub(crate) fn decide_below(&self, access: Access, dir: &[u8], own_proc: Option<&[u8]>) -> Decision {
        self.decide_path(access, &below(dir), own_proc)
    }

    /// A deny rule about something at or below `dir`, which would lose its hold if `dir` were renamed or replaced.
    ///
    /// Of a pattern with wildcards the components before its first `**` are compared; `/w/**/x` does not count
    /// for what is below `/w`.
    pub(crate) fn deny_below(&self, access: Access, dir: &[u8]) -> Option<Arc<str>> {
        if self.mode(access) == Mode::Off {
            return None;
        }
        fn itself(pattern: &PathPattern) -> Option<&PathPattern> {
            Some(pattern)
        }
        self.last_deny_within(self.path_rules(access).rules(), itself, dir)
    }

    /// The same of the paths of unix sockets that may not be connected to.
    pub(crate) fn deny_unix_below(&self, dir: &[u8]) -> Option<Arc<str>> {
        if self.network == NetMode::Off {
            return None;
        }
        self.last_deny_within(self.lists.connect.rules(), AddressPattern::unix_path, dir)
    }

    fn last_deny_within<P>(
        &self,
        rules: &[Arc<Rule<P>>],
        path: impl Fn(&P) -> Option<&PathPattern>,
        dir: &[u8],
    ) -> Option<Arc<str>> {
        let dir = if self.case_sensitive { dir.to_vec() } else { dir.to_ascii_lowercase() };
        for (i, rule) in rules.iter().enumerate().rev().filter(|(_, rule)| rule.action == Action::Deny) {
            let Some(pattern) = path(&rule.pattern).filter(|pattern| self.lies_within(pattern, &dir)) else {
                continue;
            };
            let anchor = pattern.anchor().unwrap_or(&dir);
            let allows = |rule: &Arc<Rule<P>>| {
                rule.action == Action::Allow
                    && path(&rule.pattern).is_some_and(|pattern| pattern.covers_tree(anchor))
            };
            if !rules.get(i + 1..).unwrap_or_default().iter().any(allows) {
                return Some(rule.text.clone());
            }
        }
        None
    }

    /// Decides about connecting to a unix socket by this path, whoever has bound it.
    pub(crate) fn decide_unix(&self, path: &[u8]) -> Decision {
        self.decide_net(NetOp::Connect, &Address::Unix(path.to_vec()), &|_| false)
    }

    /// Decides about whatever sockets may come to be in `dir`, at any depth, as [`State::decide_below`] about files.
    pub(crate) fn decide_unix_below(&self, dir: &[u8]) -> Decision {
        self.decide_unix(&below(dir))
    }

    /// Whether a socket at or below `dir` can be allowed to be connected to. A `true` can be wrong.
    pub(crate) fn can_allow_unix_below(&self, dir: &[u8]) -> bool {
        let touches = |pattern: &PathPattern| !self.case_sensitive || pattern.can_touch(dir);
        self.decide_unix_below(dir) == Decision::Allow
            || self
                .lists
                .connect
                .rules()
                .iter()
                .any(|rule| rule.action == Action::Allow && rule.pattern.unix_path().is_some_and(touches))
    }

    /// The literal paths that rules allow, each the whole rule or the directory of a tree, the last rule first.
    pub(crate) fn allowed_anchors(&self, access: Access) -> impl Iterator<Item = &[u8]> {
        let rules = self.path_rules(access).rules().iter().rev();
        rules.filter(|rule| rule.action == Action::Allow).filter_map(|rule| rule.pattern.anchor())
    }

    /// Whether `path` is allowed and, for a `tree`, whatever may come to be below it as well: a `false` can be wrong.
    pub(crate) fn allows_all(&self, access: Access, path: &[u8], tree: bool) -> bool {
        let rules = self.path_rules(access).rules();
        let allows = |pattern: &PathPattern| pattern.covers_tree(path) || !tree && pattern.is_exactly(path);
        let last = rules.iter().rposition(|rule| rule.action == Action::Allow && allows(&rule.pattern));
        let later = match (self.mode(access), last) {
            (Mode::Off, _) => return true,
            (_, Some(last)) => rules.get(last + 1..),
            (Mode::Allow, None) => Some(rules),
            (Mode::Deny, None) => return false,
        };
        let denies =
            |rule: &Arc<Rule<PathPattern>>| rule.action == Action::Deny && rule.pattern.can_touch(path);
        self.case_sensitive && !later.unwrap_or_default().iter().any(denies)
    }

    fn lies_within(&self, pattern: &PathPattern, dir: &[u8]) -> bool {
        if self.case_sensitive {
            return pattern.lies_within(dir);
        }
        // A pattern that this breaks (`[Z-a]`) counts: that only refuses more.
        PathPattern::parse(&pattern.text().to_ascii_lowercase())
            .map_or(true, |pattern| pattern.lies_within(dir))
    }

    /// What the exec lists say about a program: killing comes first.
    pub(crate) fn exec_rule(&self, path: &[u8]) -> Option<ExecRule> {
        let matches = |list| self.last_path(list, path).ok().flatten().is_some();
        match () {
            () if matches(&self.lists.kill) => Some(ExecRule::Kill),
            () if matches(&self.lists.resume) => Some(ExecRule::Resume),
            () => None,
        }
    }

    /// Decides about an address. `is_bound` tells whether a process of the sandbox has bound it
    /// ([`Address::reaches`]); it is asked only where that matters.
    pub(crate) fn decide_net(
        &self,
        op: NetOp,
        address: &Address,
        is_bound: &dyn Fn(&Address) -> bool,
    ) -> Decision {
        if self.network == NetMode::Off || *address == Address::Unnamed {
            return Decision::Allow;
        }
        let list = match op {
            NetOp::Bind => &self.lists.bind,
            NetOp::Connect => &self.lists.connect,
        };
        let rule = match self.last_address(list, op, address, false) {
            Ok(position) => position.and_then(|position| list.rule(position)),
            Err(Broken) => return Decision::Deny { rule: None, reported: true },
        };
        let rule = match rule {
            Some(rule) if rule.action == Action::Allow => return Decision::Allow,
            None if self.permits_unnamed_by_rules(op, address, is_bound) => return Decision::Allow,
            rule => rule.map(|rule| rule.text.clone()),
        };
        let filtered = self.last_address(&self.lists.net_filter, op, address, true) != Ok(None);
        Decision::Deny { rule, reported: !filtered }
    }

    /// The answer where no rule matches.
    fn permits_unnamed_by_rules(
        &self,
        op: NetOp,
        address: &Address,
        is_bound: &dyn Fn(&Address) -> bool,
    ) -> bool {
        if let Address::Other { .. } = address {
            let stays = self.unsupported_socket_families && address.is_of_kernel();
            return stays || self.network == NetMode::Allow;
        }
        let connect = op == NetOp::Connect;
        let by_mode = match self.network {
            _ if connect && self.restrict_connect => false,
            NetMode::Off | NetMode::Allow => true,
            NetMode::Deny => false,
            NetMode::Local => match address.ip() {
                Some((addr, _)) => Address::target(addr, op).is_loopback(),
                None => matches!(address, Address::Unix(_) | Address::Abstract(_)),
            },
        };
        // Last, for the kernel has to be asked.
        by_mode || connect && (self.successful_bind || self.restrict_connect) && is_bound(address)
    }

    /// The last rule that matches in any form of the address. `all`: allow rules count for every form.
    fn last_address(
        &self,
        list: &List<AddressPattern>,
        op: NetOp,
        address: &Address,
        all: bool,
    ) -> Result<Option<u32>, Broken> {
        let index = list.index(!self.case_sensitive);
        let Some((addr, port)) = address.ip() else {
            return index.last_unix(address);
        };
        let denies = |position| list.rule(position).is_some_and(|rule| rule.action == Action::Deny);
        let last = |addr: IpAddr, from: u8| {
            index.last_ip(addr, port, |position, length| all || length >= from || denies(position))
        };
        Ok(Address::forms(addr, op).filter_map(|form| last(form.addr, form.allow_from)).max())
    }
}

/// A name in a directory that no file has, so that only rules for all names match.
fn below(dir: &[u8]) -> Vec<u8> {
    [dir.strip_suffix(b"/").unwrap_or(dir), b"/\0"].concat()
}

/// Directories whose files are settings of the whole system, by some of which the kernel starts programs.
const SYSTEM: [&[u8]; 2] = [b"/proc/sys", b"/sys"];

/// Whether a rule that allows writing everywhere is meant for this path as well: the system's settings it has to name.
fn names_enough(access: Access, path: &[u8], pattern: &PathPattern) -> bool {
    access != Access::Write
        || SYSTEM.iter().all(|system| !is_within(path, system) || pattern.lies_within(system))
}

/// A list of one kind or the other.
enum ListMut<'a> {
    Paths(&'a mut List<PathPattern>),
    Addresses(&'a mut List<AddressPattern>),
}
