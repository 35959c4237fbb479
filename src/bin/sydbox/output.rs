//! What sydbox says itself, and where violations go.
#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use clap::ArgMatches;
use log::{Level, LevelFilter};
use sydbox::command::Outlet;
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

/// Standard error, behind a queue: whoever is stuck there (a pipe that nobody reads, a terminal that was stopped) holds up
/// neither the supervisor nor the end.
static STDERR: LazyLock<Outlet> = LazyLock::new(|| Outlet::new(Box::new(io::stderr())));

/// What is written to standard error while a command runs.
pub(crate) struct Queued;

impl Write for Queued {
    /// In one piece: what logs and reports are written in.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        STDERR.put(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits for what is queued, but not for ever.
pub(crate) fn finish() {
    STDERR.flush();
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
    builder.target(env_logger::Target::Pipe(Box::new(Queued)));
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

/// Where violations go, as the options say. Opened once: a name may lead somewhere else when the command has run.
pub(crate) struct Place {
    /// `None`: standard error.
    file: Option<File>,
    json: bool,
    coloured: bool,
}

impl Place {
    /// Opens it.
    pub(crate) fn open(matches: &ArgMatches, environment: &Environment) -> Result<Self, Failure> {
        let path = matches.get_one::<PathBuf>("log").cloned();
        let file = match (path, matches.get_one::<i32>("log-fd")) {
            (None, Some(&number)) => {
                let inherited = sydbox::command::inherited(number);
                let inherited =
                    inherited.map_err(|error| Failure::new(format!("--log-fd {number}: {error}")))?;
                Some(File::from(inherited))
            }
            (Some(path), _) => Some(append(path)?),
            (None, None) => environment.get("SYDBOX_LOG").map(|path| append(path.into())).transpose()?,
        };
        let is_terminal = file.as_ref().map_or_else(|| io::stderr().is_terminal(), File::is_terminal);
        let coloured = match matches.get_one::<String>("color").map(String::as_str) {
            Some("always") => true,
            Some("never") => false,
            _ => {
                let unwanted =
                    ["NO_COLOR", "SYDBOX_NO_COLOUR"].iter().any(|name| environment.get(name).is_some());
                !unwanted && is_terminal
            }
        };
        let json = matches.get_one::<String>("log-format").is_some_and(|format| format == "json");
        Ok(Self { file, json, coloured })
    }

    /// Where text can go beside the violations; none where there is no file, or none for text.
    pub(crate) fn text(&self) -> Option<Box<dyn Write + Send>> {
        let file = self.file.as_ref().filter(|_| !self.json)?;
        Some(Box::new(file.try_clone().ok()?))
    }

    /// A sink that writes there.
    pub(crate) fn sink(&self) -> Result<Arc<dyn Sink>, Failure> {
        let writer: Box<dyn Write + Send> = match &self.file {
            Some(file) => Box::new(
                file.try_clone().map_err(|error| Failure::new(format!("cannot start to report: {error}")))?,
            ),
            None => Box::new(io::stderr()),
        };
        if self.json {
            return Ok(Arc::new(JsonSink::new(writer)));
        }
        Ok(Arc::new(TextSink::new(writer).coloured(self.coloured)))
    }
}

fn append(file: PathBuf) -> Result<File, Failure> {
    let opened = OpenOptions::new().append(true).create(true).open(&file);
    opened.map_err(|error| Failure::new(format!("cannot open the log {}: {error}", file.display())))
}
