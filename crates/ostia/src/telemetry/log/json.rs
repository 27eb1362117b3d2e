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
    line.push_str("\",\"level\":\"");
    line.push_str(metadata.level().as_str());
    line.push_str("\",\"target\":\"");
    line.push_str(metadata.target());
    line.push('"');
    event.record(&mut Fields { line });
    line.push('}');
}

struct Fields<'a> {
    line: &'a mut String,
}

impl Fields<'_> {
    fn name(&mut self, field: &Field) {
        let name = field_name(field.name());
        self.line.push_str(",\"");
        if OWN.contains(&name) {
            self.line.push_str("field_");
        }
        self.line.push_str(name);
        self.line.push_str("\":");
    }

    fn text(&mut self, field: &Field, write: impl FnOnce(&mut Escaped<'_>) -> fmt::Result) {
        self.name(field);
        self.line.push('"');
        let _ = write(&mut Escaped::new(self.line, Style::Json));
        self.line.push('"');
    }

    fn integer(&mut self, field: &Field, number: impl itoa::Integer) {
        self.name(field);
        self.line.push_str(itoa::Buffer::new().format(number));
    }
}

/// Nearly all fields are texts and integers; these bypass `fmt`.
impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, |text| write!(text, "{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, |text| text.write_str(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.text(field, |text| write!(text, "{}", Chain(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.name(field);
        self.line.push_str(if value { "true" } else { "false" });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.integer(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.integer(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.integer(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.integer(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON cannot express the others.
        if value.is_finite() {
            self.name(field);
            let _ = write!(self.line, "{value}");
        } else {
            self.text(field, |text| write!(text, "{value}"));
        }
    }
}
