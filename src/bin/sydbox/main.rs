//! The command: options in, exit code out. All that it does is done by the library.
#![forbid(unsafe_code)]

mod failure;
mod job;
mod manual;
mod options;
mod orphans;
mod output;
mod plan;
mod rules;
mod tree;

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::os::unix::process::ExitStatusExt;
use std::panic::{self, AssertUnwindSafe};
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::Arc;

use clap::ArgMatches;
use sydbox::command::Forward;
use sydbox::{Repeater, Sandbox, SandboxBuilder, Sink, Status, Tree};

use crate::failure::{FAILED, Failure};
use crate::plan::Environment;

fn main() -> ExitCode {
    sydbox::command::use_one_heap();
    let matches = match options::parse(env::args_os()) {
        Ok(matches) => matches,
        Err(code) => return code,
    };
    output::start_log(&matches);
    // A bug of ours must not look like an exit code of the command.
    let ended = panic::catch_unwind(AssertUnwindSafe(|| run(&matches)));
    let ended = ended.unwrap_or_else(|_| Err(Failure::new("this is a bug in sydbox")));
    output::finish();
    ended.unwrap_or_else(|failure| {
        output::complain(&failure.text);
        ExitCode::from(failure.code)
    })
}

fn run(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    if matches.get_flag("test") {
        let status = Status::detect();
        show(format!("{status}\n").as_bytes())?;
        return Ok(if status.can_run() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if let Some(&shell) = matches.get_one("completions") {
        show(&manual::completions(shell))?;
        return Ok(ExitCode::SUCCESS);
    }
    if matches.get_flag("man") {
        show(&manual::page()?)?;
        return Ok(ExitCode::SUCCESS);
    }

    let environment = Environment::of_process();
    let words: Vec<&OsString> = matches.get_many("command").into_iter().flatten().collect();
    let plan = plan::Plan::new(matches, &environment, words.is_empty())?;
    let mut builder = Sandbox::builder();
    plan.apply(&mut builder)?;
    builder.dry_run(matches.get_flag("dry-run")).require_backstop(matches.get_flag("require-backstop"));
    builder.shield_supervisor(true).ignore_sigpipe(sydbox::command::ignored_sigpipe());

    if let Some(export) = matches.get_one::<options::Export>("export") {
        return self::export(&builder, export);
    }

    let (program, arguments) = match words.split_first() {
        Some((program, arguments)) => ((*program).clone(), arguments),
        None => (shell(&plan), &[][..]),
    };
    let mut command = Command::new(program);
    command.args(arguments).env("SYDBOX_ACTIVE", env!("CARGO_PKG_VERSION"));
    let place = output::Place::open(matches, &environment)?;
    let violations = Arc::new(Repeater::new(place.sink()?));
    builder.violations(Arc::clone(&violations) as Arc<dyn Sink>);
    let ended = supervise(&builder, command, |processes| {
        // The thread that writes them is not in this process.
        log::set_max_level(log::LevelFilter::Off);
        // Where no thread can be had for reports, the rest of the tree is refused in silence.
        if let Some(Err(failure)) = place.text().map(|out| tree::Reporter::start(out, processes)) {
            log::debug!("the processes of the sandbox cannot be asked for: {}", failure.text);
        }
        Arc::new(Repeater::new(place.sink().unwrap_or_else(|_| Arc::new(output::Nowhere))))
    });
    violations.flush();
    ended
}

/// Runs `command` to its end. If that is not the end of the tree, a supervisor with another sink stays behind.
fn supervise(
    builder: &SandboxBuilder,
    command: Command,
    sink_left_behind: impl FnOnce(Tree) -> Arc<dyn Sink>,
) -> Result<ExitCode, Failure> {
    let mut signals =
        Forward::install().map_err(|error| Failure::new(format!("cannot handle signals: {error}")))?;
    let reporter = tree::Reporter::install()?;
    let sandbox = builder.build()?;
    let adopts = orphans::are_out_of_sight();
    if adopts {
        orphans::adopt();
    }
    let mut child = sandbox.spawn(command)?;
    if adopts {
        orphans::reap_all_but(child.id());
    }
    if let Err(error) = signals.to(child.id()) {
        log::debug!("signals are not passed on to process {}: {error}", child.id());
    }
    let reporter = reporter.watch(child.tree(), child.id())?;
    let status = child.wait()?;
    let code = match child.violation_exit_code(status) {
        Some(code) => code as u8,
        None => exit_code(status),
    };
    if child.is_running() {
        drop(signals);
        // No thread of ours may hold anything when the process forks.
        reporter.stop();
        let processes = child.tree();
        child.detach(|| sink_left_behind(processes))?;
    }
    Ok(ExitCode::from(code))
}

/// The code of a shell for this status: the program's own, or 128 and the signal.
fn exit_code(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => 128 + signal as u8,
        (None, None) => FAILED,
    }
}

/// What is run when no command was given, and a line that says so.
fn shell(plan: &plan::Plan) -> OsString {
    let shell = env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into());
    let magic = if plan.is_locked() { "magic is locked" } else { "magic is open (/dev/sydbox)" };
    output::say(&format!("no command given: {} in a sandbox, {}; {magic}", shell.display(), plan.source()));
    shell
}

fn export(builder: &SandboxBuilder, export: &options::Export) -> Result<ExitCode, Failure> {
    let filter = builder.export_bpf()?;
    match &export.file {
        Some(file) => std::fs::write(file, filter)
            .map_err(|error| Failure::new(format!("cannot write {}: {error}", file.display())))?,
        None if io::stdout().is_terminal() => {
            return Err(Failure::new("a filter is not for a terminal: say --export=bpf:FILE"));
        }
        None => show(&filter)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes to standard output. Nobody who listens is no mistake.
fn show(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_a_shell() {
        assert_eq!(exit_code(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(exit_code(ExitStatus::from_raw(255 << 8)), 255);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
        assert_eq!(exit_code(ExitStatus::from_raw(11 | 0x80)), 139, "with a core");
    }
}
