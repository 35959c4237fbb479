//! The two older dialects, translated: verbs as `esandbox` says them, and the words of the first API.
#![forbid(unsafe_code)]

use super::command::{Command, Value};
use super::options::OptionId;
use super::parse::{self, SyntaxError};
use crate::policy::{Access, Action, ListId, NetOp, PathPattern, Pattern};

/// What a verb does.
#[derive(Clone, Copy)]
enum Does {
    Check,
    /// Gives the option this value.
    Set(&'static str, Value),
    Query(&'static str),
    Toggle(&'static str),
    /// Appends a path and everything below it; wildcards are ordinary characters.
    AppendTree(ListId),
    RemoveTree(ListId),
    /// Appends a pattern or an address.
    Append(ListId),
    Remove(ListId),
}

const EXEC: &str = "core/sandbox/exec";
const READ: &str = "core/sandbox/read";
const WRITE: &str = "core/sandbox/write";
const NET: &str = "core/sandbox/network";
const LOCK: &str = "core/trace/magic_lock";
const WAIT_ALL: &str = "core/trace/exit_wait_all";
const CONNECT: &str = "core/restrict/connect";
const LSTAT: &str = "core/trace/wrap_lstat";

const DENY: Value = Value::Word("deny");
const OFF: Value = Value::Word("off");
const YES: Value = Value::Bool(true);
const NO: Value = Value::Bool(false);

const fn allow(access: Access) -> ListId {
    ListId::Path(Action::Allow, access)
}
const fn deny(access: Access) -> ListId {
    ListId::Path(Action::Deny, access)
}
const BIND: ListId = ListId::Net(Action::Allow, NetOp::Bind);
const TALK: ListId = ListId::Net(Action::Allow, NetOp::Connect);

/// Every verb; those of the first API from `on` on.
const VERBS: &[(&str, Does)] = &[
    ("check", Does::Check),
    ("lock", Does::Set(LOCK, Value::Word("on"))),
    ("exec_lock", Does::Set(LOCK, Value::Word("exec"))),
    ("wait_all", Does::Set(WAIT_ALL, YES)),
    ("wait_eldest", Does::Set(WAIT_ALL, NO)),
    ("enabled", Does::Query(WRITE)),
    ("enabled_path", Does::Query(WRITE)),
    ("enabled_exec", Does::Query(EXEC)),
    ("enabled_net", Does::Query(NET)),
    ("enabled_read", Does::Query(READ)),
    ("enable", Does::Set(WRITE, DENY)),
    ("enable_path", Does::Set(WRITE, DENY)),
    ("enable_exec", Does::Set(EXEC, DENY)),
    ("enable_net", Does::Set(NET, DENY)),
    ("enable_read", Does::Set(READ, DENY)),
    ("disable", Does::Set(WRITE, OFF)),
    ("disable_path", Does::Set(WRITE, OFF)),
    ("disable_exec", Does::Set(EXEC, OFF)),
    ("disable_net", Does::Set(NET, OFF)),
    ("disable_read", Does::Set(READ, OFF)),
    ("allow", Does::AppendTree(allow(Access::Write))),
    ("allow_path", Does::AppendTree(allow(Access::Write))),
    ("allow_exec", Does::AppendTree(allow(Access::Exec))),
    ("allow_read", Does::AppendTree(allow(Access::Read))),
    ("disallow", Does::RemoveTree(allow(Access::Write))),
    ("disallow_path", Does::RemoveTree(allow(Access::Write))),
    ("disallow_exec", Does::RemoveTree(allow(Access::Exec))),
    ("disallow_read", Does::RemoveTree(allow(Access::Read))),
    ("deny", Does::AppendTree(deny(Access::Write))),
    ("deny_path", Does::AppendTree(deny(Access::Write))),
    ("deny_exec", Does::AppendTree(deny(Access::Exec))),
    ("deny_read", Does::AppendTree(deny(Access::Read))),
    ("undeny", Does::RemoveTree(deny(Access::Write))),
    ("undeny_path", Does::RemoveTree(deny(Access::Write))),
    ("undeny_exec", Does::RemoveTree(deny(Access::Exec))),
    ("undeny_read", Does::RemoveTree(deny(Access::Read))),
    ("allow_net", Does::Append(BIND)),
    ("disallow_net", Does::Remove(BIND)),
    ("allow_net_connect", Does::Append(TALK)),
    ("disallow_net_connect", Does::Remove(TALK)),
    ("addfilter", Does::Append(ListId::FilterPath(Access::Write))),
    ("addfilter_path", Does::Append(ListId::FilterPath(Access::Write))),
    ("addfilter_exec", Does::Append(ListId::FilterPath(Access::Exec))),
    ("addfilter_read", Does::Append(ListId::FilterPath(Access::Read))),
    ("addfilter_net", Does::Append(ListId::FilterNet)),
    ("rmfilter", Does::Remove(ListId::FilterPath(Access::Write))),
    ("rmfilter_path", Does::Remove(ListId::FilterPath(Access::Write))),
    ("rmfilter_exec", Does::Remove(ListId::FilterPath(Access::Exec))),
    ("rmfilter_read", Does::Remove(ListId::FilterPath(Access::Read))),
    ("rmfilter_net", Does::Remove(ListId::FilterNet)),
    ("kill", Does::Append(ListId::Kill)),
    ("resume", Does::Append(ListId::Resume)),
    ("net/allow", Does::Set(NET, Value::Word("allow"))),
    ("net/local", Does::Set(NET, Value::Word("local"))),
    ("net/deny", Does::Set(NET, DENY)),
    ("on", Does::Set(WRITE, DENY)),
    ("off", Does::Set(WRITE, OFF)),
    ("toggle", Does::Toggle(WRITE)),
    ("wait/all", Does::Set(WAIT_ALL, YES)),
    ("wait/eldest", Does::Set(WAIT_ALL, NO)),
    ("wrap/lstat", Does::Set(LSTAT, YES)),
    ("nowrap/lstat", Does::Set(LSTAT, NO)),
    ("sandbox/exec", Does::Set(EXEC, DENY)),
    ("sandunbox/exec", Does::Set(EXEC, OFF)),
    ("sandbox/net", Does::Set(NET, DENY)),
    ("sandunbox/net", Does::Set(NET, OFF)),
    ("write", Does::AppendTree(allow(Access::Write))),
    ("unwrite", Does::RemoveTree(allow(Access::Write))),
    ("addexec", Does::AppendTree(allow(Access::Exec))),
    ("rmexec", Does::RemoveTree(allow(Access::Exec))),
    ("net/whitelist/bind", Does::Append(BIND)),
    ("net/whitelist/connect", Does::Append(TALK)),
    ("net/unwhitelist/bind", Does::Remove(BIND)),
    ("net/unwhitelist/connect", Does::Remove(TALK)),
    ("net/restrict_connect", Does::Set(CONNECT, YES)),
    ("net/unrestrict_connect", Does::Set(CONNECT, NO)),
];

/// The names of all verbs.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    VERBS.iter().map(|(name, _)| *name)
}

/// Parses a verb; none if the text does not begin with one.
pub(super) fn parse(text: &[u8]) -> Option<Result<Command, SyntaxError>> {
    if let Some(words) = text.strip_prefix(b"exec!") {
        return Some(parse::exec(words, text.len() - words.len()));
    }
    let (end, does, argument) = find(text)?;
    Some(command(does, argument, end))
}

/// Where the argument of a verb begins, and whether it is a pattern.
pub(super) fn argument(text: &[u8]) -> Option<(usize, bool)> {
    let (end, does, _) = find(text)?;
    Some(((end + 1).min(text.len()), matches!(does, Does::Append(_) | Does::Remove(_))))
}

/// The verb that the text begins with: the length of its name, what it does, and its argument.
fn find(text: &[u8]) -> Option<(usize, Does, Option<&[u8]>)> {
    // No name is another name and a slash and more, but for those without argument: the longest counts.
    let verbs = VERBS.iter().filter_map(|(name, does)| match text.strip_prefix(name.as_bytes())? {
        [] => Some((name.len(), *does, None)),
        [b'/', argument @ ..] => Some((name.len(), *does, Some(argument))),
        _ => None,
    });
    verbs.max_by_key(|(end, ..)| *end)
}

fn command(does: Does, argument: Option<&[u8]>, end: usize) -> Result<Command, SyntaxError> {
    let list = match does {
        Does::AppendTree(list) | Does::RemoveTree(list) | Does::Append(list) | Does::Remove(list) => list,
        _ if argument.is_some() => return Err(SyntaxError::at(end, "expected nothing after this verb")),
        Does::Check => return Ok(Command::Check),
        Does::Set(name, value) => return Ok(Command::Set(option(name, end)?, value)),
        Does::Query(name) => return Ok(Command::Query(option(name, end)?)),
        Does::Toggle(name) => return Ok(Command::Toggle(option(name, end)?)),
    };
    let tree = matches!(does, Does::AppendTree(_) | Does::RemoveTree(_));
    let what = match (tree, list.is_of_addresses()) {
        (true, _) => "path",
        (_, true) => "address",
        _ => "pattern",
    };
    let Some(argument) = argument else {
        return Err(SyntaxError::at(end, format!("expected `/` and an argument: the {what}")));
    };
    let start = end + 1;
    let pattern = if tree {
        if !argument.starts_with(b"/") {
            return Err(SyntaxError::at(
                start,
                "expected an absolute path, so that there are two slashes here",
            ));
        }
        PathPattern::tree(argument)
            .map(Pattern::Path)
            .map_err(|error| SyntaxError::at(start, error.message))?
    } else {
        parse::pattern(list, argument, start)?
    };
    Ok(match does {
        Does::RemoveTree(_) | Does::Remove(_) => Command::Remove(list, pattern),
        _ => Command::Append(list, pattern),
    })
}

/// The option of the table; tests see to it that there is one.
fn option(name: &str, end: usize) -> Result<OptionId, SyntaxError> {
    OptionId::named(name)
        .ok_or_else(|| SyntaxError::at(end, format!("expected a verb of an option, `{name}` is none")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_parses_and_means_a_section() {
        for (name, _) in VERBS {
            let command = [
                name.as_bytes().to_vec(),
                [name.as_bytes(), b"//a[/b"].concat(),
                [name.as_bytes(), b"//a*/b"].concat(),
            ]
            .iter()
            .chain([&[name.as_bytes(), b"/LOOPBACK@80"].concat()])
            .find_map(|text| parse::parse(text).ok())
            .unwrap_or_else(|| panic!("{name}"));
            assert_eq!(parse::parse(&command.to_bytes()), Ok(command), "{name}");
        }
    }
}
