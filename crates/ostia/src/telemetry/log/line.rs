use std::error::Error;
use std::fmt::{self, Write};

use jiff::Timestamp;

/// RFC 3339 in UTC with six digits of a second: the same length every time.
pub(super) fn push_time(line: &mut String, unix_micros: i64) {
    let time = Timestamp::from_microsecond(unix_micros).unwrap_or(Timestamp::UNIX_EPOCH);
    let _ = write!(line, "{time:.6}");
}

/// Raw identifiers keep their `r#` in tracing's names.
pub(super) fn field_name(name: &str) -> &str {
    name.strip_prefix("r#").unwrap_or(name)
}

/// An error with its causes, except those whose text is already there.
pub(super) struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let more = error.to_string();
            if !text.contains(&more) {
                let _ = write!(text, ": {more}");
            }
            cause = error.source();
        }
        f.write_str(&text)
    }
}
