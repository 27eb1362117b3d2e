use std::process::ExitCode;

use ostia::gateway::Gateway;

fn main() -> ExitCode {
    ostia_cli::run(Gateway::builder())
}
