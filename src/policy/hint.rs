//! The rule that would have allowed what was refused.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use super::address::Address;
use super::escape::pasteable;
use super::mode::{Access, Action, NetOp};
use super::state::{ListId, State};

impl State {
    /// The rule that would allow this path, fit to be pasted: wildcards in the name are quoted, and a character
    /// that cannot be shown is `?`.
    pub(crate) fn allow_hint(access: Access, path: &[u8]) -> String {
        format!("{}+{}", ListId::Path(Action::Allow, access).name(), pasteable(path))
    }

    /// The command that takes this rule away.
    pub(crate) fn without_hint(rule: &str) -> String {
        rule.replacen('+', "-", 1)
    }

    /// The rule that would allow this address: for where it leads, however it was spelled. `None`: no rule can name it.
    pub(crate) fn allow_hint_net(op: NetOp, address: &Address) -> Option<String> {
        let list = ListId::Net(Action::Allow, op).name();
        Some(match address {
            Address::Inet(..) | Address::Inet6 { .. } => match address.ip() {
                Some((addr, port)) => match Address::target(addr, op) {
                    IpAddr::V4(addr) => format!("{list}+inet:{addr}@{port}"),
                    IpAddr::V6(addr) => format!("{list}+inet6:{addr}@{port}"),
                },
                None => return None,
            },
            Address::Unix(path) => format!("{list}+unix:{}", pasteable(path)),
            Address::Abstract(name) if name.starts_with(b"//") => {
                format!("{list}+unix-abstract://{}", pasteable(name))
            }
            Address::Abstract(name) => format!("{list}+unix-abstract:{}", pasteable(name)),
            Address::Other { .. } if !address.is_of_kernel() => return None,
            Address::Unnamed | Address::Other { .. } => {
                "core/allowlist/unsupported_socket_families:true".to_owned()
            }
        })
    }
}
