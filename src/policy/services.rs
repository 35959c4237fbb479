//! Names of ports, as in services(5).
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::OnceLock;

/// What a machine without /etc/services knows; sorted.
const BUILT_IN: &[(&str, u16)] = &[
    ("domain", 53),
    ("ftp", 21),
    ("ftps", 990),
    ("git", 9418),
    ("http", 80),
    ("https", 443),
    ("imap", 143),
    ("imaps", 993),
    ("ldap", 389),
    ("mysql", 3306),
    ("nntp", 119),
    ("ntp", 123),
    ("pop3", 110),
    ("pop3s", 995),
    ("postgresql", 5432),
    ("redis", 6379),
    ("rsync", 873),
    ("smtp", 25),
    ("socks", 1080),
    ("ssh", 22),
    ("submission", 587),
    ("svn", 3690),
    ("telnet", 23),
    ("whois", 43),
];

/// What reads /etc/services, and what it brought.
static SOURCE: OnceLock<fn() -> Vec<u8>> = OnceLock::new();
static INSTALLED: OnceLock<HashMap<Box<str>, u16>> = OnceLock::new();

/// Says where the text of /etc/services is to be had when the first name is asked for; later calls change nothing.
pub(crate) fn install(source: fn() -> Vec<u8>) {
    SOURCE.get_or_init(|| source);
}

/// The port of this name. Where protocols differ, the first line counts.
pub(super) fn port(name: &str) -> Option<u16> {
    let installed =
        SOURCE.get().map(|source| INSTALLED.get_or_init(|| read(&String::from_utf8_lossy(&source()))));
    installed.and_then(|known| known.get(name).copied()).or_else(|| {
        let found = BUILT_IN.binary_search_by_key(&name, |(known, _)| known).ok()?;
        BUILT_IN.get(found).map(|(_, port)| *port)
    })
}

fn read(text: &str) -> HashMap<Box<str>, u16> {
    let mut known = HashMap::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let (Some(name), Some(port)) = (words.next(), words.next()) else { continue };
        let Some(Ok(port)) = port.split('/').next().map(str::parse::<u16>) else { continue };
        for name in std::iter::once(name).chain(words) {
            known.entry(name.into()).or_insert(port);
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found() {
        assert!(BUILT_IN.is_sorted());
        assert_eq!(port("https"), Some(443));
        assert_eq!(port("no-such-service"), None);
        let known = read("# head\nhttp 80/tcp www # the web\nhttp 81/udp\nbad x/tcp\n\nlonely\n");
        assert_eq!(known.get("www"), Some(&80));
        assert_eq!(known.get("http"), Some(&80));
        assert_eq!(known.len(), 2);
    }
}
