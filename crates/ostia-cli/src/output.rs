use std::io::{self, ErrorKind, IsTerminal as _, Write as _};

use ostia::telemetry::log::{self, LogFormat, LogGuard};
use tracing::Level;

use crate::arguments::{Format, Global};
use crate::failure::Failure;

/// The width of text if the terminal does not say.
pub const WIDTH: usize = 80;

/// The layout of text for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    pub width: usize,
    pub colors: bool,
}

impl Look {
    /// 80 columns, or more on a wider terminal; colours on a terminal, unless NO_COLOR is set.
    pub fn of_stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        let size = terminal.then(|| rustix::termios::tcgetwinsize(io::stdout()));
        let columns = size.and_then(Result::ok).map(|size| size.ws_col.into());
        Self {
            width: columns.unwrap_or(WIDTH).max(WIDTH),
            colors: terminal && colors_are_wanted(),
        }
    }

    /// With lines as long as necessary.
    pub fn wide(self) -> Self {
        let width = usize::MAX;
        Self { width, ..self }
    }
}

/// Prints a command's result on stdout. A reader that stops early (`| head`) is not a failure.
pub fn print(text: &str) -> Result<(), Failure> {
    match write(text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::other(format!("stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Like [`print`], for output that must not get lost: here a closed pipe is an error.
pub fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints a line for people on stderr. If that fails, there is nobody to tell.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Text on a terminal, JSON otherwise, unless `--log-format` is given. `targets` have levels of their own if
/// `OSTIA_LOG` is not set.
pub fn start_log(global: &Global, level: Level, targets: &str) -> Result<LogGuard, Failure> {
    let terminal = io::stderr().is_terminal();
    let text = LogFormat::Text {
        colors: terminal && colors_are_wanted(),
    };
    let format = match global.log_format {
        Some(Format::Json) => LogFormat::Json,
        Some(Format::Text) => text,
        None if terminal => text,
        None => LogFormat::Json,
    };
    let directives = std::env::var("OSTIA_LOG").ok();
    let directives = directives.as_deref().unwrap_or(targets);
    log::init(format, Some(directives), level).map_err(|error| {
        note(&format!("error: {error}"));
        Failure::usage(error.to_string())
    })
}

/// <https://no-color.org>
fn colors_are_wanted() -> bool {
    let is_off = |name, off: fn(&std::ffi::OsStr) -> bool| {
        std::env::var_os(name).is_some_and(|value| off(&value))
    };
    !is_off("NO_COLOR", |value| !value.is_empty()) && !is_off("TERM", |value| value == "dumb")
}
