//! Keys with one value: text, flag, number, size, duration, path.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ostia_core::Secret;

use super::super::keys::{show_duration, show_size, show_text};
use super::super::units;
use super::{Section, TEXT, quoted};

impl Section<'_, '_> {
    pub fn text(&mut self, key: &'static str, default: &str, meaning: &'static str) -> String {
        self.record(key, "text", show_text(default), meaning);
        self.plain_text(key, default)
    }

    fn plain_text(&mut self, key: &'static str, default: &str) -> String {
        self.text_of(key, TEXT)
            .map_or_else(|| default.to_owned(), |text| text.value)
    }

    /// A text that is never shown; by default there is none.
    pub fn secret(&mut self, key: &'static str, meaning: &'static str) -> Secret<String> {
        self.record(key, "secret text", show_text(""), meaning);
        Secret::new(self.plain_text(key, ""))
    }

    /// `shown` is the default as one would write it.
    pub fn parse<T>(
        &mut self,
        key: &'static str,
        (default, shown): (T, &str),
        wanted: &str,
        meaning: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        self.record(key, wanted, shown.to_owned(), meaning);
        self.parsed(key, wanted, parse).unwrap_or(default)
    }

    pub fn flag(&mut self, key: &'static str, default: bool, meaning: &'static str) -> bool {
        let shown = default.to_string();
        let wanted = "true or false";
        self.parse(key, (default, &shown), wanted, meaning, |text| {
            text.parse().map_err(|_| quoted(text))
        })
    }

    pub fn number<T>(
        &mut self,
        key: &'static str,
        default: T,
        (least, most): (T, T),
        meaning: &'static str,
    ) -> T
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        let shown = default.to_string();
        let wanted = format!("a whole number from {least} to {most}");
        self.parse(key, (default, &shown), &wanted, meaning, |text| {
            text.trim()
                .parse()
                .ok()
                .filter(|number| *number >= least && *number <= most)
                .ok_or_else(|| quoted(text))
        })
    }

    pub fn size(&mut self, key: &'static str, default: u64, meaning: &'static str) -> u64 {
        self.size_or(key, (default, &show_size(default)), meaning)
    }

    /// A size whose default depends on the machine; `shown` says how.
    pub fn size_or(
        &mut self,
        key: &'static str,
        default: (u64, &str),
        meaning: &'static str,
    ) -> u64 {
        let wanted = "a size greater than 0";
        self.parse(key, default, wanted, meaning, |text| {
            match units::size(text)? {
                0 => Err(quoted(text)),
                bytes => Ok(bytes),
            }
        })
    }

    /// A duration that cannot be 0.
    pub fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        meaning: &'static str,
    ) -> Duration {
        let shown = show_duration(default);
        let wanted = "a duration greater than 0";
        self.parse(key, (default, &shown), wanted, meaning, |text| {
            let duration = units::duration(text)?;
            (!duration.is_zero())
                .then_some(duration)
                .ok_or_else(|| quoted(text))
        })
    }

    /// A duration where 0 has a meaning of its own.
    pub fn duration_or_zero(
        &mut self,
        key: &'static str,
        default: Duration,
        meaning: &'static str,
    ) -> Duration {
        let shown = show_duration(default);
        let default = (default, shown.as_str());
        self.parse(key, default, "a duration", meaning, units::duration)
    }

    /// A duration; "0" is off.
    pub fn duration_or_off(
        &mut self,
        key: &'static str,
        default: Duration,
        meaning: &'static str,
    ) -> Option<Duration> {
        let shown = show_duration(default);
        let wanted = "a duration, or \"0\" for off";
        let default = (default, shown.as_str());
        let duration = self.parse(key, default, wanted, meaning, units::duration);
        (!duration.is_zero()).then_some(duration)
    }

    pub fn path(&mut self, key: &'static str, default: &str, meaning: &'static str) -> PathBuf {
        self.record(key, "path", show_text(default), meaning);
        let path = self.plain_text(key, default);
        if path.is_empty() {
            self.reading.fatal(&self.dotted(key), "is empty");
        }
        self.reading.path(&path)
    }

    /// A path to a file; "" is none.
    pub fn optional_file(&mut self, key: &'static str, meaning: &'static str) -> Option<PathBuf> {
        self.record(key, "path of a file", show_text(""), meaning);
        let path = self.plain_text(key, "");
        if path.is_empty() {
            return None;
        }
        let path = self.reading.path(&path);
        self.reading.files.borrow_mut().push(path.clone());
        Some(path)
    }
}
