use std::error::Error;
use std::process::ExitCode;

use crate::commands::Command;
use crate::output;

/// Why a command fails. The codes are those of `sysexits.h`, and scripts rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Clean = 0,
    Other = 1,
    /// `status --check` as a monitoring plugin; 1 is its warning.
    Critical = 2,
    Unknown = 3,
    Usage = 64,
    Config = 78,
}

/// One line that says what is wrong and what to do; empty if it was printed before.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    text: String,
}

impl Failure {
    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(Exit::Usage, text)
    }

    pub fn config(text: impl Into<String>) -> Self {
        Self::new(Exit::Config, text)
    }

    pub fn other(text: impl Into<String>) -> Self {
        Self::new(Exit::Other, text)
    }

    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { exit, text }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the configuration or the command line is wrong.
    pub fn is_config(&self) -> bool {
        matches!(self.exit, Exit::Config | Exit::Usage)
    }

    pub fn exit(&self) -> ExitCode {
        ExitCode::from(self.exit as u8)
    }

    /// For `serve`, stderr is the log, which machines read; other commands print for people.
    pub fn report(&self, command: &Command) {
        if self.text.is_empty() {
            return;
        }
        match command {
            Command::Serve(_) => tracing::error!("{}", self.text),
            _ => output::note(&format!("error: {}", self.text)),
        }
    }
}

/// An error's text, followed by those causes that it does not mention.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::chain;

    #[test]
    fn causes_are_told_once() {
        let inner = io::Error::other("disk full");
        assert_eq!(chain(&io::Error::other(inner)), "disk full");
    }
}
