//! The table of options: parser, help, manual page and completions are made from it.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{EnumValueParser, PossibleValuesParser, ValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};

use crate::failure::FAILED;
use crate::{manual, output};

const RULES: &str = "What is sandboxed";
const RUNNING: &str = "How it runs";
const REPORTS: &str = "Reports";
const INSTEAD: &str = "Instead of running";

/// What `-V` prints.
const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), "\nfeatures: cli json\nmagic APIs: 1 2 (and the verbs of 0)");

const ABOUT: &str = "Runs a command with the permissions it needs, and says what it was refused";
const LONG_ABOUT: &str = "Runs a command in a sandbox whose permissions can change while it runs, and says what it was \
refused and which rule would allow it. Without any option that switches a sandboxing on, nothing is refused, but the \
command can switch it on itself through /dev/sydbox. Profiles, files, commands and paths are applied in the order in which \
they are given, after those of the environment; later ones win. Without COMMAND it runs $SHELL under the profile `default'.";

/// The value of `--export`.
#[derive(Debug, Clone)]
pub(crate) struct Export {
    /// `None`: standard output.
    pub(crate) file: Option<PathBuf>,
}

/// Reads the command line. `Err`: all is said, and this is the exit code.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<ArgMatches, ExitCode> {
    table().try_get_matches_from(words).map_err(|error| {
        if error.use_stderr() {
            output::complain(error.render().to_string().trim_start_matches("error: ").trim_end());
            ExitCode::from(FAILED)
        } else {
            let _ = error.print();
            ExitCode::SUCCESS
        }
    })
}

/// The command and all its options.
pub(crate) fn table() -> Command {
    Command::new("sydbox")
        .about(ABOUT)
        .long_about(LONG_ABOUT)
        .version(VERSION)
        .after_long_help(manual::after_help())
        .args_override_self(true)
        .arg(
            Arg::new("command")
                .value_name("COMMAND")
                .help("What to run, and its arguments")
                .num_args(0..)
                .trailing_var_arg(true)
                .value_hint(ValueHint::CommandWithArguments)
                .value_parser(ValueParser::os_string()),
        )
        .args(rules())
        .args(running())
        .args(reports())
        .args(instead())
}

fn rules() -> Vec<Arg> {
    let group = |arg: Arg| arg.help_heading(RULES);
    vec![
        group(many("profile", 'p', "NAME")).help("Apply a profile, shipped or installed"),
        group(many("config", 'c', "FILE"))
            .help("Apply a profile file; @NAME is looked up like -p")
            .value_hint(ValueHint::FilePath),
        group(many("magic", 'm', "COMMAND")).help("Apply one magic command, as in a profile"),
        group(path("allow-read", 'r')).help("Sandbox reading, and allow it for PATH and all below"),
        group(path("allow-write", 'w')).help("Sandbox writing, and allow it for PATH and all below"),
        group(path("allow-exec", 'x')).help("Sandbox executing, and allow it for PATH and all below"),
        group(flag("sandbox-network", 'N')).help("Sandbox the network (mode deny if -M says nothing else)"),
        group(many("network-mode", 'M', "MODE"))
            .help("Sandbox the network in this mode; local is deny but for loopback and unix sockets")
            .value_parser(PossibleValuesParser::new(["allow", "deny", "local"])),
        group(address("allow-connect"))
            .help("Allow to connect and send to an address, as inet:192.0.2.1@443"),
        group(address("allow-bind")).help("Allow to bind an address, as LOOPBACK@0"),
        group(flag("sandbox-exec", 'E')).help("Sandbox executing"),
        group(flag("disable-sandbox-path", 'P')).help("Do not sandbox writing"),
        group(flag("allow-successful-bind", 'B'))
            .help("Allow to connect to whatever was bound in the sandbox"),
        group(Arg::new("arm").long("arm").value_name("WHAT").action(ArgAction::Append))
            .help("Make it possible to switch this sandboxing on later")
            .value_parser(PossibleValuesParser::new(["read"])),
    ]
}

fn running() -> Vec<Arg> {
    let group = |arg: Arg| arg.help_heading(RUNNING);
    vec![
        group(flag("lock", 'l')).visible_short_alias('L').help("Lock magic before COMMAND starts"),
        group(flag("exit-with-eldest", 'X'))
            .help("Exit when COMMAND does; do not wait for what it left behind"),
        group(Arg::new("close-fds").long("close-fds").action(ArgAction::SetTrue))
            .help("Hand down standard input, output and error only, no other open descriptor"),
        group(flag("dry-run", 'n')).help("Decide and report, refuse nothing that rules decide"),
        group(Arg::new("require-backstop").long("require-backstop").action(ArgAction::SetTrue))
            .help("Do not start without a second lock (Landlock)"),
    ]
}

fn reports() -> Vec<Arg> {
    let group = |arg: Arg| arg.help_heading(REPORTS);
    vec![
        group(Arg::new("log-format").long("log-format").value_name("FORMAT"))
            .help("How violations are written")
            .value_parser(PossibleValuesParser::new(["text", "json"]))
            .default_value("text"),
        group(Arg::new("log").short('o').long("log").value_name("FILE"))
            .help("Append violations to FILE [default: standard error]")
            .value_hint(ValueHint::FilePath)
            .value_parser(ValueParser::path_buf()),
        group(Arg::new("log-fd").long("log-fd").value_name("N"))
            .help("Write violations to this open descriptor, which COMMAND does not get")
            .value_parser(clap::value_parser!(i32).range(0..))
            .conflicts_with("log"),
        group(Arg::new("quiet").short('q').long("quiet").action(ArgAction::Count))
            .help("Say only what went wrong; twice: nothing"),
        group(Arg::new("verbose").short('v').long("verbose").action(ArgAction::Count))
            .help("Say more of what sydbox does; up to three times")
            .conflicts_with("quiet"),
        group(Arg::new("color").long("color").alias("colour").value_name("WHEN"))
            .help("Colours; auto: on a terminal, if NO_COLOR is not set")
            .value_parser(PossibleValuesParser::new(["auto", "always", "never"]))
            .default_value("auto"),
    ]
}

fn instead() -> Vec<Arg> {
    let group = |arg: Arg| arg.help_heading(INSTEAD);
    vec![
        group(Arg::new("export").long("export").value_name("bpf[:FILE]"))
            .help("Write the filter that would be loaded, as a raw BPF program")
            .value_parser(export),
        group(Arg::new("test").long("test").action(ArgAction::SetTrue))
            .help("Check what this system supports; exits with 1 if sydbox cannot run"),
        group(Arg::new("completions").long("completions").value_name("SHELL"))
            .help("Write completions for a shell")
            .value_parser(EnumValueParser::<clap_complete::Shell>::new()),
        group(Arg::new("man").long("man").action(ArgAction::SetTrue)).help("Write the manual page"),
    ]
}

fn flag(name: &'static str, short: char) -> Arg {
    Arg::new(name).short(short).long(name).action(ArgAction::SetTrue)
}

fn many(name: &'static str, short: char, value: &'static str) -> Arg {
    Arg::new(name)
        .short(short)
        .long(name)
        .value_name(value)
        .action(ArgAction::Append)
        .value_parser(ValueParser::os_string())
}

fn path(name: &'static str, short: char) -> Arg {
    many(name, short, "PATH").value_hint(ValueHint::AnyPath)
}

fn address(name: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("ADDR")
        .action(ArgAction::Append)
        .value_parser(ValueParser::os_string())
}

fn export(value: &str) -> Result<Export, String> {
    match value.split_once(':').unwrap_or((value, "")) {
        ("bpf", "") if value.ends_with(':') => Err("there is no file name after the colon".into()),
        ("bpf", file) => Ok(Export { file: (!file.is_empty()).then(|| file.into()) }),
        _ => Err("the only format is bpf".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        table().debug_assert();
    }

    #[test]
    fn what_follows_the_command_is_its_own() {
        let matches = table().get_matches_from(["sydbox", "-N", "ls", "-l", "--", "-N", "--test"]);
        let words: Vec<&OsString> = matches.get_many("command").unwrap().collect();
        assert_eq!(words, ["ls", "-l", "--", "-N", "--test"]);
        assert!(!matches.get_flag("test"));
        let matches = table().get_matches_from(["sydbox", "-l", "--lock", "-L", "--", "-x"]);
        assert_eq!(matches.get_one::<OsString>("command").unwrap(), "-x");
    }

    #[test]
    fn mistakes() {
        for words in [
            &["--bogus"][..],
            &["-M", "maybe", "x"],
            &["--export", "pfc"],
            &["--export=bpf:"],
            &["--log-fd", "-1", "x"],
            &["-q", "-v", "x"],
            &["-o", "x", "--log-fd", "3", "x"],
        ] {
            let words = ["sydbox"].iter().chain(words);
            assert!(table().try_get_matches_from(words.clone()).is_err(), "{words:?}");
        }
    }
}
