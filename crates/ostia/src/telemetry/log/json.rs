use std::error::Error;
use std::fmt::{self, Write};

use tracing::Event;
use tracing::field::{Field, Visit};

use super::escape::{Escaped, Style};
use super::line::{Chain, field_name, push_time};

/// The names that every line has.
const OWN: [&str; 3] = ["timestamp", "level", "target"];

/// `{"timestamp":..,"level":..,"target":..,"message":..,` and the fields beside them.
pub(super) fn push_event(line: &mut String, unix_micros: i64, event: &Event<'_>) {
    let metadata = event.metadata();
    line.push_str("{\"timestamp\":\"");
    push_time(line, unix_micros);
    let _ = write!(
        line,
        "\",\"level\":\"{}\",\"target\":\"{}\"",
        metadata.level(),
        metadata.target()
    );
    event.record(&mut Fields { line });
    line.push('}');
}

struct Fields<'a> {
    line: &'a mut String,
}

impl Fields<'_> {
    fn name(&mut self, field: &Field) {
        let name = field_name(field.name());
        let prefix = if OWN.contains(&name) { "field_" } else { "" };
        let _ = write!(self.line, ",\"{prefix}{name}\":");
    }

    fn text(&mut self, field: &Field, text: fmt::Arguments<'_>) {
        self.name(field);
        self.line.push('"');
        let _ = Escaped::new(self.line, Style::Json).write_fmt(text);
        self.line.push('"');
    }

    fn number(&mut self, field: &Field, number: impl fmt::Display) {
        self.name(field);
        let _ = write!(self.line, "{number}");
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.text(field, format_args!("{}", Chain(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.number(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.number(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.number(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for the others.
        if value.is_finite() {
            self.number(field, value);
        } else {
            self.text(field, format_args!("{value}"));
        }
    }
}
