use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// How bad a problem is. `check` exits 78 on any error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Error,
    Warning,
    Info,
}

/// What a problem affects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// One entry is disabled or left out; the rest is served.
    Entry,
    /// Nothing starts.
    Fatal,
}

/// Where a problem stands: a file, or the name of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    pub source: Arc<str>,
    /// Line and column, both from 1; a column counts characters.
    pub position: Option<(usize, usize)>,
}

/// One mistake: where, what, and how to fix it. The text contains no possibly secret value and no control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    pub scope: Reach,
    pub place: Place,
    pub text: String,
}

/// Collects problems from readers that share it.
#[derive(Debug, Default)]
pub(super) struct Report {
    problems: RefCell<Vec<Problem>>,
}

impl Report {
    pub fn add(&self, severity: Severity, scope: Reach, place: Place, text: &str) {
        self.problems.borrow_mut().push(Problem {
            severity,
            scope,
            place,
            text: printable(text),
        });
    }

    pub fn fatal(&self, place: Place, text: &str) {
        self.add(Severity::Error, Reach::Fatal, place, text);
    }

    pub fn entry(&self, place: Place, text: &str) {
        self.add(Severity::Error, Reach::Entry, place, text);
    }

    pub fn warning(&self, place: Place, text: &str) {
        self.add(Severity::Warning, Reach::Entry, place, text);
    }

    pub fn info(&self, place: Place, text: &str) {
        self.add(Severity::Info, Reach::Entry, place, text);
    }

    pub fn has_fatal(&self) -> bool {
        let problems = self.problems.borrow();
        problems.iter().any(|problem| problem.scope == Reach::Fatal)
    }

    pub fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

/// Control and bidirectional characters could forge lines in a log or terminal.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                shown.extend(character.escape_unicode());
            }
            _ if character.is_control() => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    shown
}

impl Place {
    /// A whole file, or an environment variable.
    pub fn whole(source: &str) -> Self {
        Self {
            source: source.into(),
            position: None,
        }
    }
}

impl Severity {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.source))?;
        match self.position {
            Some((line, column)) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}

/// `FILE:LINE:COLUMN: error: what and where`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = self.severity.as_str();
        write!(f, "{}: {severity}: {}", self.place, self.text)
    }
}
