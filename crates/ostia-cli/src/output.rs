use std::io::{self, ErrorKind, IsTerminal as _, Write as _};

use ostia::telemetry::log::{self, LogFormat, LogGuard};
use tracing::Level;

use crate::arguments::{Format, Global};
use crate::failure::Failure;

/// What a command was asked for, on stdout. A reader that has seen enough (`| head`) is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    match write(text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::other(format!("stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// As [`print`], for what must reach somebody.
pub fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A line for people, on stderr. Nobody is left to be told if it cannot be written.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Text on a terminal, JSON otherwise, unless `--log-format` says which.
pub fn start_log(global: &Global, level: Level) -> Result<LogGuard, Failure> {
    let terminal = io::stderr().is_terminal();
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let text = LogFormat::Text {
        colors: terminal && !plain,
    };
    let format = match global.log_format {
        Some(Format::Json) => LogFormat::Json,
        Some(Format::Text) => text,
        None if terminal => text,
        None => LogFormat::Json,
    };
    let directives = std::env::var("OSTIA_LOG").ok();
    log::init(format, directives.as_deref(), level).map_err(|error| {
        note(&format!("error: {error}"));
        Failure::usage(error.to_string())
    })
}
