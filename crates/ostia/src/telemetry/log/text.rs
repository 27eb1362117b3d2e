use std::error::Error;
use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::escape::{Escaped, Style, is_unsafe};
use super::line::{Chain, field_name, push_time};

/// `TIME LEVEL target: message name=value name="a value"`
pub(super) fn push_event(line: &mut String, unix_micros: i64, event: &Event<'_>, colors: bool) {
    let metadata = event.metadata();
    push_time(line, unix_micros);
    line.push(' ');
    push_level(line, *metadata.level(), colors);
    let _ = write!(line, " {}:", metadata.target());
    event.record(&mut Fields { line });
}

fn push_level(line: &mut String, level: Level, colors: bool) {
    // SGR codes: red, yellow, green, blue, magenta.
    let color = match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    };
    let _ = match colors {
        true => write!(line, "\x1b[{color}m{level:>5}\x1b[0m"),
        false => write!(line, "{level:>5}"),
    };
}

/// The message, which tracing's macros put first, and the fields.
struct Fields<'a> {
    line: &'a mut String,
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.line.push(' ');
            let _ = Escaped::new(self.line, Style::Bare).write_str(value);
            return;
        }
        let _ = write!(self.line, " {}=", field_name(field.name()));
        let plain = |character: char| !needs_quotes(character);
        if !value.is_empty() && value.chars().all(plain) {
            let _ = Escaped::new(self.line, Style::Bare).write_str(value);
            return;
        }
        self.line.push('"');
        let _ = Escaped::new(self.line, Style::Quoted).write_str(value);
        self.line.push('"');
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.record_str(field, &Chain(value).to_string());
    }
}

fn needs_quotes(character: char) -> bool {
    matches!(character, '"' | '\\' | '=') || character.is_whitespace() || is_unsafe(character)
}
