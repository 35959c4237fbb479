//! What sydbox says itself, and where violations go.
#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::ArgMatches;
use log::{Level, LevelFilter};
use sydbox::{JsonSink, Sink, TextSink};

use crate::failure::Failure;
use crate::plan::Environment;

/// An error, for the user.
pub(crate) fn complain(text: &str) {
    say(text);
}

/// Something the user has to know whatever `-q` says.
pub(crate) fn say(text: &str) {
    // Lines of one message are kept, so that usage stays readable; nothing else gets through.
    for (n, line) in text.lines().enumerate() {
        let prefix = if n == 0 { "sydbox: " } else { "" };
        let _ = writeln!(io::stderr(), "{prefix}{}", sydbox::escape(line.as_bytes()));
    }
}

/// Makes the library's log lines visible, as `-q` and `-v` say.
pub(crate) fn start_log(matches: &ArgMatches) {
    let level = match (matches.get_count("quiet"), matches.get_count("verbose")) {
        (0, 0) => LevelFilter::Warn,
        (1, _) => LevelFilter::Error,
        (_, 1) => LevelFilter::Info,
        (_, 2) => LevelFilter::Debug,
        (_, 3..) => LevelFilter::Trace,
        (2.., _) => LevelFilter::Off,
    };
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level).format(|out, record| {
        let text = sydbox::escape(record.args().to_string().as_bytes());
        match record.level() {
            Level::Warn => writeln!(out, "sydbox: warning: {text}"),
            Level::Error | Level::Info => writeln!(out, "sydbox: {text}"),
            Level::Debug | Level::Trace => {
                let from = record.module_path().unwrap_or("?").trim_start_matches("sydbox::");
                writeln!(out, "sydbox: {from}: {text}")
            }
        }
    });
    // It fails only where there is a log already.
    let _ = builder.try_init();
}

/// The sink of a supervisor that has no place for reports any more.
pub(crate) struct Nowhere;

impl Sink for Nowhere {
    fn violation(&self, _: &sydbox::Violation) {}
}

/// The sink that the options name.
pub(crate) fn sink(matches: &ArgMatches, environment: &Environment) -> Result<Arc<dyn Sink>, Failure> {
    let file = matches.get_one::<PathBuf>("log").cloned();
    let number = matches.get_one::<i32>("log-fd");
    let writer: Box<dyn Destination> = match (file, number) {
        (None, Some(&number)) => Box::new(File::from(
            sydbox::command::inherited(number)
                .map_err(|error| Failure::new(format!("--log-fd {number}: {error}")))?,
        )),
        (Some(file), _) => Box::new(append(file)?),
        (None, None) => match environment.get("SYDBOX_LOG") {
            Some(file) => Box::new(append(file.into())?),
            None => Box::new(io::stderr()),
        },
    };
    let thread = |error| Failure::new(format!("cannot start a thread for reports: {error}"));
    if matches.get_one::<String>("log-format").is_some_and(|format| format == "json") {
        return Ok(Arc::new(JsonSink::new(writer).map_err(thread)?));
    }
    let coloured = match matches.get_one::<String>("color").map(String::as_str) {
        Some("always") => true,
        Some("never") => false,
        _ => {
            let unwanted =
                ["NO_COLOR", "SYDBOX_NO_COLOUR"].iter().any(|name| environment.get(name).is_some());
            !unwanted && writer.is_a_terminal()
        }
    };
    Ok(Arc::new(TextSink::new(writer).map_err(thread)?.coloured(coloured)))
}

fn append(file: PathBuf) -> Result<File, Failure> {
    let opened = OpenOptions::new().append(true).create(true).open(&file);
    opened.map_err(|error| Failure::new(format!("cannot open the log {}: {error}", file.display())))
}

/// What violations can be written to.
trait Destination: Write + Send {
    fn is_a_terminal(&self) -> bool;
}

impl<T: Write + Send + IsTerminal> Destination for T {
    fn is_a_terminal(&self) -> bool {
        self.is_terminal()
    }
}
