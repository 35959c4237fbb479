//! The manual page and the completions: the table of options, and what it cannot say.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::io;

use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::failure::Failure;
use crate::options;

/// Variables, and what they stand for.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("SYDBOX_CONFIG", "a profile file, as -c"),
    ("SYDBOX_NO_CONFIG", "1: SYDBOX_CONFIG is not read"),
    ("SYDBOX_WRITE", "paths with colons between them, each as -w"),
    ("SYDBOX_EXEC", "1: as -E; 0: executing is not sandboxed"),
    ("SYDBOX_EXEC_ALLOW", "paths with colons between them, each as -x"),
    ("SYDBOX_NET", "1: as -N; 0: the network is not sandboxed"),
    ("SYDBOX_NET_WHITELIST", "addresses with semicolons between them, to bind and to connect to"),
    ("SYDBOX_NET_WHITELIST_BIND", "the same, to bind"),
    ("SYDBOX_NET_WHITELIST_CONNECT", "the same, to connect to"),
    ("SYDBOX_NET_AUTO_WHITELIST_BIND", "1: as -B; 0: the opposite"),
    ("SYDBOX_DISABLE_PATH", "1: as -P"),
    ("SYDBOX_LOCK", "1: as -l"),
    ("SYDBOX_EXIT_WITH_ELDEST", "1: as -X; 0: the opposite"),
    ("SYDBOX_LOG", "a file, as -o"),
    ("SYDBOX_NO_COLOUR, NO_COLOR", "anything: no colours"),
    ("SYDBOX_ACTIVE", "set in the sandbox, to the version of sydbox"),
];

/// Exit codes beside those of the command.
const EXIT_STATUS: &[(&str, &str)] = &[
    ("128+N", "the command was killed by signal N"),
    ("127", "there is no such command"),
    ("126", "the command cannot be executed"),
    ("125", "sydbox itself failed: a bad option, a bad profile, a system that lacks what is needed"),
];

const SIGNALS: &str = "SIGTERM and SIGHUP are passed on to the command. Signals of the terminal reach the command as they \
would without sydbox. When the command stops, as an editor does for Ctrl-Z, sydbox stops as well, and what continues sydbox \
continues the command. SIGINT and SIGQUIT end sydbox while it waits for what the command left behind. If sydbox is killed, \
the command is killed too, unless it has changed its user or group, and what is left can do nothing that is sandboxed. A \
supervisor that stays behind for what the command left (core/trace/exit_wait_all:false) ends with that, or by SIGKILL. \
SIGUSR1 makes sydbox write the processes of the sandbox to its standard error, with the modes and the lock of each; SIGUSR2 \
their rules as well. A supervisor that stays behind for what the command left writes them to the log (-o, --log-fd), unless \
that is in JSON.";

const MAGIC: &str = "In a profile or after -m as they are; in the sandbox as a stat of the name below /dev/sydbox, as in \
test -e /dev/sydbox/core/sandbox/network:deny. Where an option can be asked, a ? in place of the value does it.";

const PROFILES: &str = "NAME is looked up as NAME.syd-2 in XDG_CONFIG_HOME/sydbox, /etc/sydbox, /usr/local/share/sydbox and \
/usr/share/sydbox, and then among those built in. A profile has one magic command a line; # begins a comment, include NAME is \
another profile. ${NAME} is a variable of the environment, ${NAME:-WORD} has a default, ${CWD} is the directory of the start.";

const PATTERNS: &[(&str, &str)] = &[
    ("?", "any character but /"),
    ("*", "any characters but /"),
    ("**", "any characters"),
    ("[a-z], [!a-z], [[:alpha:]]", "one character of these, or none of these"),
    ("\\", "quotes the character that follows"),
    ("DIR/***", "the directory, and everything below it"),
];

const ADDRESSES: &[(&str, &str)] = &[
    (
        "inet:ADDR[/LEN][@PORT], inet6:ADDR[/LEN][@PORT]",
        "an address, or a network; PORT is a number, a range A-B or the name of a service, and any port if it is left out. IPv4 \
         addresses in IPv6 are judged as IPv4; the scope of an IPv6 address is not looked at",
    ),
    ("unix:PATTERN", "a unix socket by its path"),
    ("unix-abstract:PATTERN", "a unix socket by its abstract name; any without a pattern"),
];

/// The end of `--help`.
pub(crate) fn after_help() -> String {
    let mut text = String::new();
    for (title, rows) in [("Environment, before options:", ENVIRONMENT), ("Exit status:", EXIT_STATUS)] {
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let _ = writeln!(text, "{title}");
        for (name, meaning) in rows {
            let _ = writeln!(text, "  {name:width$}  {meaning}");
        }
        text.push('\n');
    }
    text
}

/// The manual page, in roff.
pub(crate) fn page() -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    write_page(&mut out).map_err(|error| Failure::new(format!("cannot write the manual page: {error}")))?;
    Ok(out)
}

fn write_page(out: &mut Vec<u8>) -> io::Result<()> {
    let man = Man::new(options::table()).source(concat!("sydbox ", env!("CARGO_PKG_VERSION")));
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;

    let mut more = Roff::new();
    for (title, rows) in [("ENVIRONMENT", ENVIRONMENT), ("EXIT STATUS", EXIT_STATUS)] {
        more.control("SH", [title]);
        if title == "EXIT STATUS" {
            more.text([roman("That of the command, or:")]);
        }
        for (name, meaning) in rows {
            more.control("TP", []).text([bold(*name)]).text([roman(*meaning)]);
        }
    }
    more.control("SH", ["SIGNALS"]).text([roman(SIGNALS)]);
    let profiles: Vec<_> = sydbox::command::profiles().collect();
    more.control("SH", ["PROFILES"]).text([roman(format!("{PROFILES} Built in: {}.", profiles.join(", ")))]);
    more.control("SH", ["MAGIC COMMANDS"]).text([roman(MAGIC)]);
    for (name, values, default, meaning) in sydbox::command::magic_options() {
        let default = if default.is_empty() { default } else { format!(" Default: {default}.") };
        more.control("TP", [])
            .text([bold(name), roman(values)])
            .text([roman(format!("{meaning}.{default}"))]);
    }
    more.control("SH", ["PATTERNS"])
        .text([roman("Of absolute paths, without links, as the kernel has them:")]);
    for (pattern, meaning) in PATTERNS {
        more.control("TP", []).text([bold(*pattern)]).text([roman(*meaning)]);
    }
    more.control("SH", ["ADDRESSES"]);
    for (address, meaning) in ADDRESSES {
        more.control("TP", []).text([bold(*address)]).text([roman(*meaning)]);
    }
    for (alias, nets) in sydbox::command::address_aliases() {
        let name = format!("{alias}, {alias}@PORT");
        more.control("TP", []).text([bold(name)]).text([roman(nets.join(", "))]);
    }
    more.to_writer(out)
}

/// The completions of a shell.
pub(crate) fn completions(shell: Shell) -> Vec<u8> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut options::table(), "sydbox", &mut out);
    out
}
