use std::fmt;

use rhai::{EvalAltResult, ParseError, Position};

/// What is wrong with a script, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptError {
    pub path: String,
    /// Line and column, both from 1.
    pub position: Option<(usize, usize)>,
    pub text: String,
}

/// How a function of a script ended, if not with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thrown {
    /// `refuse(status, message, code)`
    Refusal {
        status: u16,
        message: String,
        code: String,
    },
    /// A mistake, or a limit of the sandbox.
    Fault(ScriptError),
}

/// What `refuse` throws.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    pub status: u16,
    pub message: String,
    pub code: String,
}

impl ScriptError {
    pub fn new(path: &str, text: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            position: None,
            text: text.into(),
        }
    }

    pub(super) fn of_parse(path: &str, error: &ParseError) -> Self {
        Self {
            path: path.to_owned(),
            position: place(error.position()),
            text: error.err_type().to_string(),
        }
    }
}

impl Thrown {
    pub(super) fn of(path: &str, hook: &str, error: EvalAltResult) -> Self {
        let mut position = error.position();
        let mut error = error;
        // The actual fault is the innermost error, below the calls that led to it.
        loop {
            match error {
                EvalAltResult::ErrorInFunctionCall(_, _, inner, _)
                | EvalAltResult::ErrorInModule(_, inner, _) => {
                    error = *inner;
                    if !error.position().is_none() {
                        position = error.position();
                    }
                }
                other => {
                    error = other;
                    break;
                }
            }
        }
        if let EvalAltResult::ErrorRuntime(value, _) = &error
            && let Some(refused) = value.clone().try_cast::<Refused>()
        {
            return Self::Refusal {
                status: refused.status,
                message: refused.message,
                code: refused.code,
            };
        }
        error.set_position(Position::NONE);
        let position = place(position);
        let what = match &error {
            EvalAltResult::ErrorTerminated(reason, _) => match reason.clone().into_string() {
                Ok(reason) => format!("stopped: {reason}"),
                Err(_) => error.to_string(),
            },
            other => other.to_string(),
        };
        Self::Fault(ScriptError {
            path: path.to_owned(),
            // Limits of the sandbox do not always have a place.
            text: match position {
                Some(_) => what,
                None => format!("in `{hook}`: {what}"),
            },
            position,
        })
    }
}

pub(super) fn place(position: Position) -> Option<(usize, usize)> {
    Some((position.line()?, position.position().unwrap_or(1)))
}

/// `PATH:LINE:COLUMN: text`
impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.text)
    }
}

impl std::error::Error for ScriptError {}
