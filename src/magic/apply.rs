//! Command to new state.
#![forbid(unsafe_code)]

use nix::errno::Errno;

use super::command::{Command, OPEN, Value};
use super::options::{Kind, OptionId};
use crate::policy::{ListId, Lock, RuleError, State};

/// The newest API spoken.
const API: u32 = 2;

/// Which sandboxings the filter that is loaded can serve.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Arming {
    /// Read sandboxing.
    pub(crate) read: bool,
    /// Exec sandboxing.
    pub(crate) exec: bool,
    /// Network sandboxing.
    pub(crate) network: bool,
    /// Write sandboxing.
    pub(crate) write: bool,
    /// There is no filter yet: the configuration is being read, and what it mentions will be armed.
    pub(crate) startup: bool,
}

impl Arming {
    /// While the configuration is read nothing is armed yet, and everything can be said: what it mentions will be armed.
    pub(crate) const AT_START: Self =
        Self { read: false, exec: false, network: false, write: false, startup: true };
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// This is the new state.
    Changed(State),
    /// A question: yes.
    Yes,
    /// A question: no.
    No,
    /// The program of the command is to be run outside the sandbox.
    Run,
}

/// A command that changes nothing, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What the caller is told.
    pub(crate) errno: Errno,
    /// What the log says.
    pub(crate) message: String,
}

impl Refusal {
    fn new(errno: Errno, message: impl Into<String>) -> Self {
        Self { errno, message: message.into() }
    }
}

/// Carries a command out on a copy of this state.
pub(crate) fn apply(command: &Command, state: &State, arming: &Arming) -> Result<Outcome, Refusal> {
    if matches!(command, Command::Exec(_)) && !arming.startup {
        if state.allow_cmd {
            return Ok(Outcome::Run);
        }
        return Err(Refusal::new(
            Errno::EPERM,
            "running programs outside the sandbox needs core/trace/allow_cmd:true from the start",
        ));
    }
    let mut new = state.clone();
    Ok(match apply_to(command, &mut new, arming)? {
        None => Outcome::Changed(new),
        Some(true) => Outcome::Yes,
        Some(false) => Outcome::No,
    })
}

/// Carries a command out on this state, which a refusal leaves as it was. Questions have an answer.
pub(crate) fn apply_to(
    command: &Command,
    state: &mut State,
    arming: &Arming,
) -> Result<Option<bool>, Refusal> {
    match command {
        Command::Check => return Ok(Some(true)),
        Command::Api(number) => return Ok(Some((1..=API).contains(number))),
        Command::Query(option) => return Ok(Some(is_on((option.row().get)(state)))),
        Command::Set(option, value) => set(*option, *value, state, arming)?,
        Command::Toggle(option) => {
            let on = is_on((option.row().get)(state));
            set(*option, Value::Word(if on { "off" } else { "deny" }), state, arming)?;
        }
        Command::IsOpen(call) => return Ok(Some(state.opened.contains(call))),
        Command::Open(call, open) if state.opened.contains(call) != *open => {
            if !arming.startup {
                return Err(startup_only(&format!("{OPEN}{call}")));
            }
            let others = state.opened.iter().copied().filter(|other| other != call);
            state.opened = others.chain(open.then_some(*call)).collect();
        }
        Command::Open(..) => {}
        Command::Append(list, pattern) => {
            if matches!(list, ListId::Kill | ListId::Resume) && !arming.startup && !arming.exec {
                return Err(not_armed("exec"));
            }
            state.append(*list, pattern).map_err(|error| rule_refusal(command, error))?;
        }
        Command::Remove(list, pattern) => {
            state.remove(*list, pattern).map_err(|error| rule_refusal(command, error))?;
        }
        Command::Exec(_) => {
            return Err(Refusal::new(
                Errno::EINVAL,
                "cmd/exec can only be asked for by a program in the sandbox",
            ));
        }
    }
    Ok(None)
}

/// What `?` answers: whether it is true, or not off.
fn is_on(value: Value) -> bool {
    match value {
        Value::Amount(amount) => amount != 0,
        Value::Bool(value) => value,
        Value::Int(value) => value != 0,
        Value::Word(word) => !matches!(word, "off" | "literal"),
    }
}

fn set(option: OptionId, value: Value, state: &mut State, arming: &Arming) -> Result<(), Refusal> {
    let row = option.row();
    let name = option.name();
    let old = (row.get)(state);
    if old == value {
        return Ok(());
    }
    if row.kind == Kind::Ignored {
        log::debug!("{name} is accepted and has no effect");
    }
    if !arming.startup {
        let escape = name == "core/trace/allow_cmd" && value == Value::Bool(true);
        if row.startup || escape {
            return Err(startup_only(name));
        }
        let armed = match name.strip_prefix("core/sandbox/") {
            Some("exec") => arming.exec,
            Some("read") => arming.read,
            Some("write") => arming.write,
            Some("network") => arming.network,
            _ => true,
        };
        if !armed && is_on(value) {
            return Err(not_armed(name.strip_prefix("core/sandbox/").unwrap_or(name)));
        }
    }
    if let (Value::Word(old), Value::Word(new), "core/trace/magic_lock") = (old, value, name)
        && Lock::from_word(new) < Lock::from_word(old)
    {
        return Err(Refusal::new(Errno::EINVAL, format!("the magic lock is {old} and there is no way back")));
    }
    (row.set)(state, value);
    Ok(())
}

fn startup_only(name: &str) -> Refusal {
    let message = format!("{name} can be changed only in a profile or on the command line");
    Refusal::new(Errno::ENOTSUP, message)
}

fn not_armed(class: &str) -> Refusal {
    let message = format!(
        "{class} sandboxing is not armed: start sydbox with `--arm {class}`, or with a profile that mentions it"
    );
    Refusal::new(Errno::ENOTSUP, message)
}

fn rule_refusal(command: &Command, error: RuleError) -> Refusal {
    let errno = match error {
        RuleError::Missing => Errno::EINVAL,
        RuleError::TooMany | RuleError::TooLong | RuleError::TooWild => Errno::ENOSPC,
    };
    Refusal::new(errno, format!("{command}: {error}"))
}
