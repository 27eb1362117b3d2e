//! Measures Ostia against other proxies. Results are ratios within one run, because machines are shared and noisy.
//!
//! `mock` is the upstream, `load` and `hold` are the clients, `cpu` reads the usage of a process tree, and `compare` runs
//! them all against each proxy in turn and prints one table. `instructions` counts what a request takes.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool: results go to stdout, progress to stderr"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "real time is what this tool measures"
)]

mod compare;
mod cpu;
mod instructions;
mod load;
mod mock;
mod proxy;
mod sse;
mod stats;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Every failure of this tool ends in one line for its user, so kinds of errors are not distinguished.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
#[command(
    name = "bench",
    about = "Mock upstream, load generator and comparison of proxies"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// An OpenAI-compatible upstream that is never the bottleneck
    Mock(mock::Args),
    /// The least that a proxy made of hyper can do
    Proxy(proxy::Args),
    /// Send requests, closed loop or at a fixed rate; prints JSON
    Load(load::Args),
    /// Open many streams (or idle connections) and keep them open until killed
    Hold(load::hold::Args),
    /// CPU time and resident memory of a process and its children
    Cpu(cpu::Args),
    /// Compare proxies and print a table of ratios to nginx
    Compare(compare::Args),
    /// Count the instructions of each stage of a request, and compare them with a file of budgets
    Instructions(instructions::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A single thread: each part is pinned to one core, where a second thread would only cause migrations.
fn run(command: Command) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(Default::default())?;
    runtime.block_on(async {
        match command {
            Command::Mock(args) => mock::run(args).await,
            Command::Proxy(args) => proxy::run(args).await,
            Command::Load(args) => load::run(args).await,
            Command::Hold(args) => load::hold::run(args).await,
            Command::Cpu(args) => cpu::run(args).await,
            Command::Instructions(args) => instructions::run(args).await,
            Command::Compare(args) => {
                // Dropping the comparison stops every process that it started.
                tokio::select! {
                    result = compare::run(args) => result,
                    signal = stop_signal() => Err(format!("stopped by {}", signal?).into()),
                }
            }
        }
    })
}

async fn stop_signal() -> Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    Ok(tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    })
}
