//! The `ostia` binary: the only place that picks concrete parts.
//!
//! [`arguments`] says what may be written on the command line, [`commands`] has one file a command, [`failure`] the exit codes.

mod arguments;
mod commands;
mod failure;
mod hardening;
mod output;
#[cfg(test)]
mod reference;
mod runtime;
mod span;
mod table;

use std::process::ExitCode;

use arguments::Arguments;
use failure::Failure;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hardening::keep_memory_private();
    match Arguments::read(std::env::args_os()) {
        Ok(arguments) => {
            run(&arguments).map_or_else(|failure| failure.exit(), |()| ExitCode::SUCCESS)
        }
        Err(error) => refuse(&error),
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    // Its end flushes the log: after the last event, before the exit code.
    let _log = match arguments.command.log_level() {
        Some(level) => Some(output::start_log(&arguments.global, level)?),
        None => None,
    };
    let done = arguments.command.run(&arguments.global);
    if let Err(failure) = &done {
        failure.report(&arguments.command);
    }
    done
}

/// `--help` and `--version` come here too: they are no failure.
fn refuse(error: &clap::Error) -> ExitCode {
    // Nobody is left to be told if this fails.
    let _ = error.print();
    match error.use_stderr() {
        true => Failure::usage("").exit(),
        false => ExitCode::SUCCESS,
    }
}
