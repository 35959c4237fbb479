//! Tests against a matcher and a decision so plain that they are right.
#![forbid(unsafe_code)]

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

/// The length of the first character of a name, or of its first byte if the name is not UTF-8.
fn step(name: &[u8], utf8: bool) -> Option<usize> {
    let first = *name.first()?;
    Some(match first {
        0xf0.. if utf8 => 4,
        0xe0.. if utf8 => 3,
        0xc0.. if utf8 => 2,
        _ => 1,
    })
}

/// Matches text whose slashes are folded; classes are `[xy]` or `[!xy]` of ASCII.
fn matches(pattern: &[u8], name: &[u8], utf8: bool) -> bool {
    match pattern {
        [] => name.is_empty(),
        b"/***" => name.is_empty() || name[0] == b'/',
        [b'*', rest @ ..] => {
            let deep = rest.first() == Some(&b'*');
            let rest = &rest[rest.iter().take_while(|byte| **byte == b'*').count()..];
            let mut name = name;
            loop {
                if matches(rest, name, utf8) {
                    return true;
                }
                match step(name, utf8) {
                    Some(length) if deep || name[0] != b'/' => name = &name[length..],
                    _ => return false,
                }
            }
        }
        [b'?', rest @ ..] => match step(name, utf8) {
            Some(length) if name[0] != b'/' => matches(rest, &name[length..], utf8),
            _ => false,
        },
        [b'[', rest @ ..] => {
            let end = rest.iter().position(|byte| *byte == b']').expect("closed");
            let (set, rest) = (&rest[..end], &rest[end + 1..]);
            let (negated, set) = set.strip_prefix(b"!").map_or((false, set), |set| (true, set));
            match step(name, utf8) {
                Some(length) if name[0] != b'/' && set.contains(&name[0]) != negated => {
                    matches(rest, &name[length..], utf8)
                }
                _ => false,
            }
        }
        [b'\\', byte, rest @ ..] | [byte, rest @ ..] => {
            name.first() == Some(byte) && matches(rest, &name[1..], utf8)
        }
    }
}

fn reference(pattern: &[u8], name: &[u8]) -> bool {
    if pattern == b"/***" {
        return true;
    }
    matches(pattern, name, std::str::from_utf8(name).is_ok())
}

fn component() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        &b"a"[..],
        b"b",
        b"A",
        b"*",
        b"?",
        b"**",
        b"[ab]",
        b"[!a]",
        "é".as_bytes(),
        b"\\*",
        b"\xff",
        b".c",
    ]);
    prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat())
}

fn pattern() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(component(), 0..4), any::<bool>()).prop_map(|(components, tree)| {
        let mut text: Vec<u8> =
            components.iter().flat_map(|component| [b"/", &component[..]].concat()).collect();
        // Three stars at the end of a component are a tree only if they are all of it; keep clear of them.
        if tree || text.is_empty() {
            text.extend(b"/***");
        } else if text.ends_with(b"/***") {
            text.push(b'a');
        }
        text
    })
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        &b"a"[..],
        b"b",
        b"A",
        b"*",
        b"\n",
        "é".as_bytes(),
        b"\xff",
        b".c",
        b"[",
        b"\\",
    ]);
    let component =
        prop::collection::vec(piece, 1..4).prop_map(|pieces| [b"/", &pieces.concat()[..]].concat());
    prop::collection::vec(component, 1..4).prop_map(|components| components.concat())
}

fn path_rule(text: &[u8]) -> Pattern {
    Pattern::Path(PathPattern::parse(text).expect("pattern"))
}

fn address_rule(text: &str) -> Pattern {
    Pattern::Address(AddressPattern::parse(text.as_bytes()).expect("address"))
}

fn nobody(_: &Address) -> bool {
    false
}

proptest! {
    #[test]
    fn decisions_are_those_of_the_reference(
        changes in prop::collection::vec((any::<bool>(), 0..8_u8, pattern()), 0..12),
        names in prop::collection::vec(name(), 1..6),
        deny in any::<bool>(),
    ) {
        let mut state = State { write: if deny { Mode::Deny } else { Mode::Allow }, ..State::default() };
        let mut rules: Vec<(Action, Vec<u8>)> = Vec::new();
        for (allow, remove, text) in changes {
            let action = if allow { Action::Allow } else { Action::Deny };
            let rule = path_rule(&text);
            let normal = rule.text().to_vec();
            let before = rules.len();
            rules.retain(|known| *known != (action, normal.clone()));
            let list = ListId::Path(action, Access::Write);
            if remove == 0 {
                prop_assert_eq!(state.remove(list, &rule).is_ok(), rules.len() < before);
            } else {
                prop_assert!(state.append(list, &rule).is_ok());
                rules.push((action, normal));
            }
            for name in &names {
                let last = rules.iter().rev().find(|(_, text)| reference(text, name)).map(|(action, _)| *action);
                let allowed = last.map_or(!deny, |action| action == Action::Allow);
                let decision = state.decide_path(Access::Write, name, None);
                prop_assert_eq!(decision == Decision::Allow, allowed, "{:?} with {:?}", name, state);
                if let Decision::Deny { rule, .. } = decision {
                    prop_assert_eq!(rule.is_some(), last.is_some());
                }
            }
        }
    }

    #[test]
    fn normal_spellings_are_stable(text in pattern()) {
        let parsed = PathPattern::parse(&text).expect("pattern");
        prop_assert_eq!(PathPattern::parse(parsed.text()), Ok(parsed));
    }

    #[test]
    fn patterns_never_panic(text in prop::collection::vec(any::<u8>(), 0..40), name in name()) {
        for text in [[b"/", &text[..]].concat(), [b"/[", &text[..], b"]"].concat()] {
            let Ok(parsed) = PathPattern::parse(&text) else { continue };
            prop_assert_eq!(PathPattern::parse(parsed.text()), Ok(parsed.clone()));
            let mut state = State { write: Mode::Allow, ..State::default() };
            prop_assert!(state.append(ListId::Path(Action::Deny, Access::Write), &Pattern::Path(parsed)).is_ok());
            state.decide_path(Access::Write, &name, None);
            state.case_sensitive = false;
            state.decide_path(Access::Write, &name, None);
            state.deny_below(Access::Write, &name);
        }
        if let Ok(parsed) = AddressPattern::parse(&text) {
            prop_assert_eq!(AddressPattern::parse(parsed.text()), Ok(parsed));
        }
    }

    #[test]
    fn hints_allow_what_was_refused(name in name()) {
        let mut state = State { write: Mode::Deny, ..State::default() };
        let hint = State::allow_hint(Access::Write, &name);
        let text = hint.strip_prefix("allowlist/write+").expect("hint");
        prop_assert!(state.append(ListId::Path(Action::Allow, Access::Write), &path_rule(text.as_bytes())).is_ok());
        prop_assert_eq!(state.decide_path(Access::Write, &name, None), Decision::Allow);
    }

    #[test]
    fn removing_undoes_appending(texts in prop::collection::vec(pattern(), 0..6), last in pattern()) {
        let list = ListId::Path(Action::Allow, Access::Read);
        let mut before = State::default();
        for text in &texts {
            before.append(list, &path_rule(text)).expect("append");
        }
        let mut after = before.clone();
        if before.remove(list, &path_rule(&last)).is_err() {
            after.append(list, &path_rule(&last)).expect("append");
            prop_assert!(after != before);
            after.remove(list, &path_rule(&last)).expect("remove");
            prop_assert_eq!(after, before);
        }
    }

    #[test]
    fn networks_are_those_of_the_reference(
        rules in prop::collection::vec((any::<bool>(), 0..16_u32, 24..=32_u32, 0..6_u16, 0..4_u16), 0..12),
        last in 0..16_u32,
        port in 0..8_u16,
        deny in any::<bool>(),
    ) {
        let base = u32::from(Ipv4Addr::new(192, 0, 2, 0));
        let addr = base | last;
        let mut state = State { network: if deny { NetMode::Deny } else { NetMode::Allow }, ..State::default() };
        let mut known: Vec<(bool, u32, u32, u16, u16)> = Vec::new();
        for (allow, host, length, low, span) in rules {
            let mask = u32::MAX << (32 - length);
            let rule = (allow, (base | host) & mask, length, low, low + span);
            known.retain(|other| *other != rule);
            known.push(rule);
            let action = if allow { Action::Allow } else { Action::Deny };
            let text = format!("inet:{}/{length}@{low}-{}", Ipv4Addr::from(base | host), low + span);
            prop_assert!(state.append(ListId::Net(action, NetOp::Connect), &address_rule(&text)).is_ok());
        }
        let last = known.iter().rev().find(|(_, net, length, low, high)| {
            addr & (u32::MAX << (32 - length)) == *net && (*low..=*high).contains(&port)
        });
        let allowed = last.map_or(!deny, |rule| rule.0);
        let v4 = Ipv4Addr::from(addr);
        for address in [Address::Inet(v4, port), Address::Inet6 { addr: v4.to_ipv6_mapped(), port, scope: 0 }] {
            let decision = state.decide_net(NetOp::Connect, &address, &nobody);
            prop_assert_eq!(decision == Decision::Allow, allowed);
        }
    }
}

/// A state with these rules: `+` allow, `-` deny, `!` filter in front.
fn with_paths(mode: Mode, rules: &[&str]) -> State {
    let mut state = State { write: mode, ..State::default() };
    for rule in rules {
        let (kind, text) = rule.split_at(1);
        let list = match kind {
            "+" => ListId::Path(Action::Allow, Access::Write),
            "-" => ListId::Path(Action::Deny, Access::Write),
            _ => ListId::FilterPath(Access::Write),
        };
        state.append(list, &path_rule(text.as_bytes())).expect("append");
    }
    state
}

fn with_addresses(mode: NetMode, rules: &[&str]) -> State {
    let mut state = State { network: mode, ..State::default() };
    for rule in rules {
        let (kind, text) = rule.split_at(1);
        let action = if kind == "+" { Action::Allow } else { Action::Deny };
        for op in [NetOp::Bind, NetOp::Connect] {
            let list = if kind == "!" { ListId::FilterNet } else { ListId::Net(action, op) };
            state.append(list, &address_rule(text)).expect("append");
        }
    }
    state
}

fn refused(rule: Option<&str>, reported: bool) -> Decision {
    Decision::Deny { rule: rule.map(Into::into), reported }
}

#[test]
fn modes_and_the_last_rule_decide() {
    let state = with_paths(Mode::Off, &["-/***"]);
    assert_eq!(state.decide_path(Access::Write, b"/x", None), Decision::Allow);
    let state = with_paths(Mode::Deny, &["+/a/***", "-/a/b/***", "+/a/b/c", "!/q/*"]);
    let decide = |path: &str| state.decide_path(Access::Write, path.as_bytes(), Some(b"/proc/7"));
    assert_eq!(decide("/a/x"), Decision::Allow);
    assert_eq!(decide("/a/b/x"), refused(Some("denylist/write+/a/b/***"), true));
    assert_eq!(decide("/a/b/c"), Decision::Allow);
    assert_eq!(decide("/ab"), refused(None, true));
    assert_eq!(decide("/q/x"), refused(None, false));
    assert_eq!(decide("/proc/7/comm"), Decision::Allow);
    assert_eq!(decide("/proc/77/comm"), refused(None, true));
    assert_eq!(state.decide_path(Access::Read, b"/a/b/x", None), Decision::Allow);
    let state = with_paths(Mode::Allow, &["-/***", "+/a"]);
    assert_eq!(state.decide_path(Access::Write, b"pipe:[1]", None), Decision::Allow);
    assert_eq!(state.decide_path(Access::Write, b"/a", None), Decision::Allow);
    assert_eq!(state.decide_path(Access::Write, b"/a/b", None), refused(Some("denylist/write+/***"), true));
}

#[test]
fn options_say_how_patterns_match() {
    let mut state = State { write: Mode::Deny, no_wildcard: NoWildcard::Prefix, ..State::default() };
    let list = ListId::Path(Action::Allow, Access::Write);
    state.append(list, &path_rule(b"/Pre")).expect("append");
    state.no_wildcard = NoWildcard::Literal;
    state.append(list, &path_rule(b"/lit")).expect("append");
    let allows = |state: &State, path: &str| {
        state.decide_path(Access::Write, path.as_bytes(), None) == Decision::Allow
    };
    assert!(allows(&state, "/Pre/x") && allows(&state, "/lit"));
    assert!(!allows(&state, "/lit/x") && !allows(&state, "/pre/x"));
    state.case_sensitive = false;
    assert!(allows(&state, "/pRE/x") && allows(&state, "/LIT"));
    assert_eq!(state.remove(list, &path_rule(b"/Pre")), Err(RuleError::Missing));
    state.no_wildcard = NoWildcard::Prefix;
    assert_eq!(state.remove(list, &path_rule(b"/Pre")), Ok(()));
}

#[test]
fn ancestors_of_deny_rules_are_known() {
    let state = with_paths(Mode::Deny, &["+/w/***", "-/w/p/secret/***", "-/x/y/***", "+/x/***", "-/w/*/key"]);
    let below = |dir: &str| state.deny_below(Access::Write, dir.as_bytes()).map(|rule| rule.to_string());
    assert_eq!(below("/w/p").as_deref(), Some("denylist/write+/w/*/key"));
    assert_eq!(below("/w/p/secret").as_deref(), Some("denylist/write+/w/p/secret/***"));
    assert_eq!(below("/w/p/public"), None);
    assert_eq!(below("/x"), None, "a later rule allows it all");
    assert_eq!(state.deny_below(Access::Read, b"/w"), None);
    assert_eq!(state.decide_below(Access::Write, b"/w", None), Decision::Allow);
    assert_ne!(state.decide_below(Access::Write, b"/w/p/secret", None), Decision::Allow);
    assert_ne!(state.decide_below(Access::Write, b"/", None), Decision::Allow);
}

#[test]
fn address_modes_and_aliases() {
    let v4 = |a: [u8; 4]| Address::Inet(a.into(), 80);
    let v6 = |a: &str| Address::Inet6 { addr: a.parse().expect(a), port: 80, scope: 0 };
    let unix = || Address::Unix(b"/run/x".into());
    let allows =
        |state: &State, op, address: &Address| state.decide_net(op, address, &nobody) == Decision::Allow;
    use NetOp::{Bind, Connect};

    let local = with_addresses(NetMode::Local, &[]);
    for address in [
        v4([127, 1, 2, 3]),
        v4([0; 4]),
        v6("::1"),
        v6("::"),
        v6("::ffff:127.0.0.1"),
        v6("::ffff:0.0.0.0"),
        unix(),
    ] {
        assert!(allows(&local, Connect, &address), "{address}");
    }
    for address in [v4([192, 0, 2, 1]), v6("2001:db8::1"), v6("::ffff:192.0.2.1")] {
        assert!(!allows(&local, Connect, &address), "{address}");
    }
    assert!(!allows(&local, Bind, &v4([0; 4])) && allows(&local, Bind, &v4([127, 0, 0, 1])));

    let deny = with_addresses(NetMode::Deny, &["+LOOPBACK@80", "+ANY6", "+unix:/run/**", "!LOCAL"]);
    for address in [v4([127, 0, 0, 1]), v4([0; 4]), v6("::ffff:127.0.0.1"), v6("2001:db8::1"), unix()] {
        assert!(allows(&deny, Connect, &address), "{address}");
    }
    assert!(allows(&deny, Connect, &Address::Other { family: 16 }) && allows(&deny, Bind, &Address::Unnamed));
    assert!(!allows(&deny, Connect, &v6("::ffff:192.0.2.1")), "::/0 is not all of IPv4");
    assert!(!allows(&deny, Connect, &Address::Abstract(b"/run/x".into())));
    assert_eq!(deny.decide_net(Connect, &v4([192, 168, 0, 1]), &nobody), refused(None, false));
    assert_eq!(deny.decide_net(Connect, &v6("::ffff:10.0.0.1"), &nobody), refused(None, false));

    let allow = with_addresses(NetMode::Allow, &["-LOOPBACK", "-unix-abstract:"]);
    for address in [
        v4([127, 0, 0, 1]),
        v4([0; 4]),
        v6("::ffff:127.0.0.1"),
        v6("::ffff:0:0"),
        Address::Abstract(b"a/b".into()),
    ] {
        assert!(!allows(&allow, Connect, &address), "{address}");
    }
    let allow = with_addresses(NetMode::Allow, &["-ANY6"]);
    assert!(
        !allows(&allow, Connect, &v6("::ffff:192.0.2.1")) && allows(&allow, Connect, &v4([192, 0, 2, 1]))
    );
    let families = State { network: NetMode::Deny, unsupported_socket_families: false, ..State::default() };
    assert!(!allows(&families, Connect, &Address::Other { family: 16 }));
    // The address of a virtual socket can be another machine's.
    let vsock = Address::Other { family: 40 };
    let mode = |network| State { network, ..State::default() };
    assert!(
        !allows(&mode(NetMode::Deny), Connect, &vsock) && !allows(&mode(NetMode::Local), Connect, &vsock)
    );
    assert!(allows(&mode(NetMode::Allow), Connect, &vsock) && !allows(&families, Connect, &vsock));
}

#[test]
fn what_was_bound_may_be_connected_to() {
    let bound = Address::Inet([127, 0, 0, 1].into(), 4000);
    let is_bound = |address: &Address| address.reaches(&bound);
    let mut state = State { network: NetMode::Deny, ..State::default() };
    let decide = |state: &State, address: &Address| state.decide_net(NetOp::Connect, address, &is_bound);
    assert_eq!(decide(&state, &bound), Decision::Allow);
    state.successful_bind = false;
    assert_eq!(decide(&state, &bound), refused(None, true));
    state.network = NetMode::Allow;
    state.restrict_connect = true;
    assert_eq!(decide(&state, &bound), Decision::Allow);
    assert_eq!(decide(&state, &Address::Inet([127, 0, 0, 1].into(), 4001)), refused(None, true));
    state.append(ListId::Net(Action::Allow, NetOp::Connect), &address_rule("LOOPBACK@4001")).expect("append");
    assert_eq!(decide(&state, &Address::Inet([127, 0, 0, 1].into(), 4001)), Decision::Allow);
}

#[test]
fn hints_can_be_pasted() {
    assert_eq!(State::allow_hint(Access::Write, b"/etc/passwd"), "allowlist/write+/etc/passwd");
    assert_eq!(State::allow_hint(Access::Read, b"/a[1]/*\n"), "allowlist/read+/a\\[1]/\\*?");
    let hint = |address: &Address| State::allow_hint_net(NetOp::Connect, address).expect("a rule");
    assert_eq!(
        hint(&Address::Inet([192, 0, 2, 1].into(), 443)),
        "allowlist/network/connect+inet:192.0.2.1@443"
    );
    let mapped = Address::Inet6 { addr: "::ffff:192.0.2.1".parse().expect("address"), port: 443, scope: 0 };
    assert_eq!(hint(&mapped), "allowlist/network/connect+inet:192.0.2.1@443");
    assert_eq!(hint(&Address::Abstract(b"/tmp/x".into())), "allowlist/network/connect+unix-abstract:/tmp/x");
}

#[test]
fn lists_are_bounded() {
    let list = ListId::Path(Action::Deny, Access::Write);
    let mut state = State { write: Mode::Allow, ..State::default() };
    for i in 0..1 << 17 {
        state.append(list, &path_rule(format!("/dir/{i}").as_bytes())).expect("append");
    }
    assert_eq!(state.append(list, &path_rule(b"/more")), Err(RuleError::TooMany));
    assert_eq!(state.append(list, &path_rule(b"/dir/0")), Ok(()), "moving one is no growth");
    assert_ne!(state.decide_path(Access::Write, b"/dir/131071", None), Decision::Allow);

    let mut state = State::default();
    let long = [b"/", &[b'x'; 60_000][..]].concat();
    let result = (0..300)
        .try_for_each(|i| state.append(list, &path_rule(&[&long[..], i.to_string().as_bytes()].concat())));
    assert_eq!(result, Err(RuleError::TooLong));

    let mut state = State { write: Mode::Allow, ..State::default() };
    let result = (0..99).try_for_each(|i| {
        let text = format!("/{i}{}", "[!a]?*x**".repeat(32));
        state.append(list, &path_rule(text.as_bytes()))
    });
    assert_eq!(result, Err(RuleError::TooWild));
    assert_eq!(state.decide_path(Access::Write, b"/q", None), Decision::Allow, "the largest list compiles");
    assert_eq!(state.decide_path(Access::Write, b"/\xff", None), Decision::Allow);
}
