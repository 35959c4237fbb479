//! Every option of the section dialect: one table for the parser, the setter and the help.
#![forbid(unsafe_code)]

use super::command::{OPEN, Value};
use crate::gate;
use crate::policy::{Access, Action, ListId, Lock, Mode, NetMode, NetOp, NoWildcard, OnViolation, State};

/// One option: a row of the table.
pub(super) struct Row {
    /// The native name, then the other names.
    pub(super) names: &'static [&'static str],
    pub(super) kind: Kind,
    /// Whether `?` may be asked.
    pub(super) query: bool,
    /// Whether it can change only before the sandbox starts.
    pub(super) startup: bool,
    pub(super) meaning: &'static str,
    pub(super) get: fn(&State) -> Value,
    /// Only called with values of its kind.
    pub(super) set: fn(&mut State, Value),
}

/// What values an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    /// An integer of at least -1.
    Int,
    /// An amount: a number, with K, M or G behind it for powers of 1024.
    Amount,
    Words(&'static [&'static str]),
    /// Anything: the option has no effect.
    Ignored,
}

/// An option of the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct OptionId(usize);

/// What help says about an option or a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OptionInfo {
    /// Its native name.
    pub(crate) name: String,
    /// What follows: operator and values.
    pub(crate) values: String,
    /// What it is when nothing is said.
    pub(crate) default: String,
    /// What it means.
    pub(crate) meaning: String,
}

/// A row whose values are words of an enum.
macro_rules! words {
    ($names:expr, $enum:ident, $field:ident, query: $query:literal, $meaning:literal) => {
        Row {
            names: $names,
            kind: Kind::Words($enum::WORDS),
            query: $query,
            startup: false,
            meaning: $meaning,
            get: |state| Value::Word(state.$field.word()),
            set: |state, value| {
                if let Value::Word(word) = value {
                    state.$field = $enum::from_word(word).unwrap_or(state.$field);
                }
            },
        }
    };
}

/// A row that is true or false.
macro_rules! flag {
    ($names:expr, $field:ident, startup: $startup:literal, $meaning:literal) => {
        Row {
            names: $names,
            kind: Kind::Bool,
            query: true,
            startup: $startup,
            meaning: $meaning,
            get: |state| Value::Bool(state.$field),
            set: |state, value| {
                if let Value::Bool(value) = value {
                    state.$field = value;
                }
            },
        }
    };
    ($names:expr, $field:ident, $meaning:literal) => {
        flag!($names, $field, startup: false, $meaning)
    };
}

/// A row that is accepted and does nothing but remember that it was switched off, in bit `$bit`.
macro_rules! ignored {
    ($name:literal, $bit:literal) => {
        Row {
            names: &[$name],
            kind: Kind::Ignored,
            query: true,
            startup: false,
            meaning: "accepted for old profiles; no effect",
            get: |state| Value::Bool(state.ignored_off & (1 << $bit) == 0),
            set: |state, value| match value {
                Value::Bool(false) | Value::Int(0) => state.ignored_off |= 1 << $bit,
                _ => state.ignored_off &= !(1 << $bit),
            },
        }
    };
}

/// A row of a resource limit.
macro_rules! limit {
    ($name:literal, $field:ident, $unset:literal, $meaning:literal) => {
        Row {
            names: &[$name],
            kind: Kind::Amount,
            query: false,
            startup: true,
            meaning: $meaning,
            get: |state| state.limits.$field.map_or(Value::Word($unset), Value::Amount),
            set: |state, value| {
                if let Value::Amount(value) = value {
                    state.limits.$field = Some(value);
                }
            },
        }
    };
}

/// The table. `core/restrict/connect` and `core/trace/wrap_lstat` are what API 0 switches by words of its own.
pub(super) const TABLE: &[Row] = &[
    words!(&["core/sandbox/exec"], Mode, exec, query: true, "exec sandboxing"),
    words!(&["core/sandbox/read"], Mode, read, query: true, "read sandboxing"),
    words!(&["core/sandbox/write"], Mode, write, query: true, "write sandboxing"),
    words!(
        &["core/sandbox/network"],
        NetMode,
        network, query: true,
        "network sandboxing; local: deny all but loopback and unix sockets"
    ),
    words!(
        &["core/violation/decision"],
        OnViolation,
        on_violation, query: false,
        "what a violation does beside being reported"
    ),
    Row {
        names: &["core/violation/exit_code"],
        kind: Kind::Int,
        query: false,
        startup: false,
        meaning: "exit code after violations: -1: that of the command; 0: 128 + that of the command; or this one",
        get: |state| Value::Int(state.exit_code),
        set: |state, value| {
            if let Value::Int(value) = value {
                state.exit_code = value;
            }
        },
    },
    flag!(&["core/violation/raise_fail"], raise_fail, "report failures to resolve a path, too"),
    flag!(&["core/violation/raise_safe"], raise_safe, "report harmless refusals, too"),
    flag!(
        &["core/allowlist/per_process_directories", "core/whitelist/per_process_directories"],
        per_process_directories,
        "a process may write below its own /proc/PID"
    ),
    flag!(
        &["core/allowlist/successful_bind", "core/whitelist/successful_bind"],
        successful_bind,
        "an address that was bound in the sandbox may be connected to"
    ),
    flag!(
        &["core/allowlist/unsupported_socket_families", "core/whitelist/unsupported_socket_families"],
        unsupported_socket_families,
        "netlink and other socket families that do not leave the machine are allowed"
    ),
    flag!(
        &["core/restrict/shared_memory_writable"],
        shared_memory_writable,
        startup: true,
        "no writable shared mappings, but for those that are made writable afterwards (mprotect); startup only"
    ),
    flag!(&["core/restrict/file_control"], file_control, startup: true, "only harmless fcntl commands; startup only"),
    flag!(
        &["core/restrict/identity_change", "core/restrict/id_change"],
        identity_change,
        "user and group ids may only change away from system ids"
    ),
    flag!(
        &["core/restrict/connect"],
        restrict_connect,
        "connect only to what was bound in the sandbox or is allowed by a rule"
    ),
    flag!(&["core/match/case_sensitive"], case_sensitive, "patterns tell upper from lower case"),
    words!(
        &["core/match/no_wildcard"],
        NoWildcard,
        no_wildcard, query: false,
        "what patterns without wildcards in the lines that follow match: themselves, or everything below, too"
    ),
    words!(
        &["core/trace/magic_lock"],
        Lock,
        lock, query: false,
        "lock of the magic path: open, locked at the next exec, locked"
    ),
    flag!(&["core/trace/exit_wait_all"], exit_wait_all, "wait for every process, or for the eldest only"),
    flag!(
        &["core/trace/allow_cmd"],
        allow_cmd,
        "cmd/exec may run programs outside the sandbox; startup only, except false"
    ),
    flag!(
        &["core/trace/close_fds"],
        close_fds,
        startup: true,
        "the command inherits standard input, output and error, and no other descriptor; startup only"
    ),
    flag!(
        &["core/trace/allow_unsafe_connect"],
        allow_unsafe_connect,
        startup: true,
        "where pidfd_getfd is refused, addresses are judged and then read again by the kernel; startup only"
    ),
    limit!("core/limit/cpu", cpu, "as outside", "seconds of CPU time of each process; startup only"),
    limit!("core/limit/memory", memory, "as outside", "bytes of address space of each process; startup only"),
    limit!("core/limit/files", files, "as outside", "open descriptors of each process; startup only"),
    limit!(
        "core/limit/processes",
        processes,
        "as outside",
        "processes and threads of the user, if that is not root; startup only"
    ),
    limit!("core/limit/filesize", filesize, "as outside", "bytes of a file that is written; startup only"),
    limit!("core/limit/core", core, "0", "bytes of a core dump; startup only"),
    ignored!("core/trace/follow_fork", 0),
    ignored!("core/trace/exit_kill", 1),
    ignored!("core/trace/use_seccomp", 2),
    ignored!("core/trace/use_seize", 3),
    ignored!("core/trace/use_toolong_hack", 4),
    ignored!("core/trace/memory_access", 5),
    ignored!("core/trace/program_checksum", 6),
    ignored!("core/trace/wrap_lstat", 7),
];

/// A list of rules as the table of help needs it.
pub(super) struct ListRow {
    pub(super) id: ListId,
    /// Names beside the native one.
    pub(super) aliases: &'static [&'static str],
    pub(super) meaning: &'static str,
}

macro_rules! list {
    ($id:expr, [$($alias:literal),*], $meaning:literal) => {
        ListRow { id: $id, aliases: &[$($alias),*], meaning: $meaning }
    };
}

/// Every list.
pub(super) const LISTS: &[ListRow] = &[
    list!(ListId::Path(Action::Allow, Access::Exec), ["whitelist/exec"], "programs that may be executed"),
    list!(ListId::Path(Action::Allow, Access::Read), ["whitelist/read"], "paths that may be read"),
    list!(ListId::Path(Action::Allow, Access::Write), ["whitelist/write"], "paths that may be written"),
    list!(ListId::Path(Action::Deny, Access::Exec), ["blacklist/exec"], "programs that may not be executed"),
    list!(ListId::Path(Action::Deny, Access::Read), ["blacklist/read"], "paths that may not be read"),
    list!(ListId::Path(Action::Deny, Access::Write), ["blacklist/write"], "paths that may not be written"),
    list!(ListId::Net(Action::Allow, NetOp::Bind), ["whitelist/network/bind"], "addresses that may be bound"),
    list!(
        ListId::Net(Action::Allow, NetOp::Connect),
        ["whitelist/network/connect"],
        "addresses that may be talked to"
    ),
    list!(
        ListId::Net(Action::Deny, NetOp::Bind),
        ["blacklist/network/bind"],
        "addresses that may not be bound"
    ),
    list!(
        ListId::Net(Action::Deny, NetOp::Connect),
        ["blacklist/network/connect"],
        "addresses that may not be talked to"
    ),
    list!(ListId::FilterPath(Access::Exec), [], "refusals to execute these are not reported"),
    list!(ListId::FilterPath(Access::Read), [], "refusals to read these are not reported"),
    list!(ListId::FilterPath(Access::Write), [], "refusals to write these are not reported"),
    list!(ListId::FilterNet, [], "refusals of these addresses are not reported"),
    list!(ListId::Kill, [], "a process that execs one of these is killed"),
    list!(ListId::Resume, [], "a process that execs one of these runs on with all sandboxing off"),
];

impl OptionId {
    /// The option of this name, whichever of its names.
    pub(super) fn named(name: &str) -> Option<Self> {
        TABLE.iter().position(|row| row.names.contains(&name)).map(Self)
    }

    /// Its row; the ids that exist are those of rows.
    pub(super) fn row(self) -> &'static Row {
        &TABLE[self.0]
    }

    /// Its native name.
    pub(crate) fn name(self) -> &'static str {
        self.row().names[0]
    }

    /// Every option.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..TABLE.len()).map(Self)
    }
}

impl std::fmt::Debug for OptionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What help says: every option, then every list.
pub(crate) fn options() -> impl Iterator<Item = OptionInfo> {
    let start = State::default();
    let options = TABLE.iter().map(move |row| OptionInfo {
        name: row.names[0].to_owned(),
        values: match row.kind {
            Kind::Bool => ":true|false".to_owned(),
            Kind::Int => ":NUMBER".to_owned(),
            Kind::Amount => ":NUMBER[K|M|G]".to_owned(),
            Kind::Words(words) => format!(":{}", words.join("|")),
            Kind::Ignored => ":…".to_owned(),
        },
        default: match row.kind {
            Kind::Ignored => String::new(),
            _ => (row.get)(&start).to_string(),
        },
        meaning: row.meaning.to_owned(),
    });
    let calls = gate::openable().map(|(call, opening)| OptionInfo {
        name: format!("{OPEN}{call}"),
        values: ":true|false".to_owned(),
        default: "false".to_owned(),
        meaning: format!("the system call {call} is not refused; startup only. The cost: {}", opening.cost),
    });
    let program = OptionInfo {
        name: "cmd/exec".to_owned(),
        values: "!PROGRAM".to_owned(),
        default: String::new(),
        meaning: "runs a program outside the sandbox, with the byte 037 before each argument, for a process that is in it; only \
                  with core/trace/allow_cmd"
            .to_owned(),
    };
    options.chain(calls).chain([program]).chain(LISTS.iter().map(|row| OptionInfo {
        name: row.id.name().to_owned(),
        values: if row.id.is_of_addresses() { "+ADDRESS, -ADDRESS" } else { "+PATTERN, -PATTERN" }.to_owned(),
        default: String::new(),
        meaning: row.meaning.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_hold_no_operator() {
        let mut names: Vec<_> = TABLE.iter().flat_map(|row| row.names).copied().collect();
        names.extend(LISTS.iter().flat_map(|row| row.aliases.iter().copied().chain([row.id.name()])));
        let count = names.len();
        assert!(names.iter().all(|name| !name.contains([':', '?', '+', '-', '!'])));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn setters_set_what_getters_get() {
        for row in TABLE {
            let values = match row.kind {
                Kind::Bool | Kind::Ignored => vec![Value::Bool(false), Value::Bool(true)],
                Kind::Int => vec![Value::Int(7), Value::Int(-1)],
                Kind::Amount => vec![Value::Amount(0), Value::Amount(7)],
                Kind::Words(words) => words.iter().map(|word| Value::Word(word)).collect(),
            };
            let mut state = State::default();
            for value in values {
                (row.set)(&mut state, value);
                assert_eq!((row.get)(&state), value, "{}", row.names[0]);
            }
        }
        assert!(options().all(|info| !info.meaning.is_empty()));
    }
}
