//! The command line of `ostia`, as one call: [`run`]. A site with adapters in Rust makes the same call from its own
//! `main.rs` and passes its adapters; docs/adapters.md shows how.
//!
//! [`arguments`] defines the command line, [`commands`] has one file per command, [`failure`] the exit codes. This crate is
//! the only place that picks concrete parts: database, clock, allocator, runtime.

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

use ostia::boot::Builder;

use arguments::{Arguments, Setup};
use failure::Failure;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Reads the process's arguments, runs the command and returns its exit code. `adapters` are a site's own, known to
/// every command; pass [`ostia::gateway::Gateway::builder`] if there are none.
pub fn run(adapters: Builder) -> ExitCode {
    use_small_pages();
    hardening::keep_memory_private();
    hardening::keep_files_private();
    match Arguments::read(std::env::args_os()) {
        Ok(Arguments { global, command }) => {
            let setup = Setup { global, adapters };
            perform(&command, &setup).map_or_else(|failure| failure.exit(), |()| ExitCode::SUCCESS)
        }
        Err(error) => refuse(&error),
    }
}

/// Huge pages keep memory resident in pieces of 2 MiB, of which most is unused after a burst: a thousand open streams took
/// 69 MiB with them and 40 without, a thousand idle connections 38 and 19. Programs that this one starts inherit the choice.
fn use_small_pages() {
    // A kernel without huge pages refuses.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

fn perform(command: &commands::Command, setup: &Setup) -> Result<(), Failure> {
    // Dropping it flushes the log, after the last event and before the exit code.
    let _log = match command.log() {
        Some((level, targets)) => Some(output::start_log(&setup.global, level, targets)?),
        None => None,
    };
    let done = command.run(setup);
    if let Err(failure) = &done {
        failure.report(command);
    }
    done
}

/// Also handles `--help` and `--version`, which are not failures.
fn refuse(error: &clap::Error) -> ExitCode {
    // If this fails, there is nobody to tell.
    let _ = error.print();
    match error.use_stderr() {
        true => Failure::usage("").exit(),
        false => ExitCode::SUCCESS,
    }
}
