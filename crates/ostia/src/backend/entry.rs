use serde_json::Value;

/// An endpoint's entry, for the backend and the hooks that are built from it: the whole `config`, and a way to report
/// mistakes in it.
///
/// Keys are JSON pointers into `config` (RFC 6901): `/echo/words`.
pub struct Entry<'a> {
    config: &'a Value,
    report: &'a mut dyn FnMut(Severity, &str, &str),
    sound: bool,
}

/// What a mistake means for the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The endpoint is disabled.
    Error,
    Warning,
}

impl<'a> Entry<'a> {
    /// `report` gets the severity, the pointer and the text of each mistake.
    pub fn new(config: &'a Value, report: &'a mut dyn FnMut(Severity, &str, &str)) -> Self {
        Self {
            config,
            report,
            sound: true,
        }
    }

    pub fn config(&self) -> &'a Value {
        self.config
    }

    /// The value at `pointer`; null counts as absent.
    pub fn at(&self, pointer: &str) -> Option<&'a Value> {
        self.config
            .pointer(pointer)
            .filter(|value| !value.is_null())
    }

    /// A text, if present; reports a value of another type.
    pub fn text(&mut self, pointer: &str) -> Option<&'a str> {
        let value = self.at(pointer)?;
        let text = value.as_str();
        if text.is_none() {
            self.error(pointer, "must be a text");
        }
        text
    }

    /// A non-negative whole number, if present; reports a value of another type.
    pub fn number(&mut self, pointer: &str) -> Option<u64> {
        let value = self.at(pointer)?;
        let number = value.as_u64();
        if number.is_none() {
            self.error(pointer, "must be a whole number, 0 or more");
        }
        number
    }

    /// Reports every key of the object at `pointer` that is not in `known`.
    pub fn only(&mut self, pointer: &str, known: &[&str]) {
        let Some(value) = self.at(pointer) else {
            return;
        };
        let Some(members) = value.as_object() else {
            self.error(pointer, "must be an object");
            return;
        };
        for key in members.keys().filter(|key| !known.contains(&key.as_str())) {
            let escaped = key.replace('~', "~0").replace('/', "~1");
            let text = format!("is not known; known: {}", known.join(", "));
            self.error(&format!("{pointer}/{escaped}"), &text);
        }
    }

    /// Reports a mistake that disables the endpoint. `text` continues after the key's name: "must be a text".
    pub fn error(&mut self, pointer: &str, text: &str) {
        self.sound = false;
        (self.report)(Severity::Error, pointer, text);
    }

    pub fn warning(&mut self, pointer: &str, text: &str) {
        (self.report)(Severity::Warning, pointer, text);
    }

    /// Whether no error was reported.
    pub fn is_sound(&self) -> bool {
        self.sound
    }
}
