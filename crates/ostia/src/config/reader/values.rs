//! Typed values of keys that may be absent. `None`: absent, or wrong and reported.

use std::str::FromStr;
use std::time::Duration;

use super::super::tree::{At, Member, Node, Value};
use super::super::units;
use super::Section;

/// A text after `env:` and `file:`.
#[derive(Debug, Clone)]
pub(in super::super) struct Text {
    pub value: String,
    pub at: At,
    /// Whether it came from outside the file: it may be a secret and is never shown.
    pub foreign: bool,
}

const TEXT: &str = "a text in quotes";

/// The values that a key accepts, each with its text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Text,
    /// A number or a flag.
    Word,
    /// A number, or a word in its place.
    NumberOrText,
}

impl<'a> Section<'a> {
    pub fn text_of(&self, key: &'static str) -> Option<String> {
        let text = self.scalar(key, self.node(key)?, Takes::Text, TEXT)?;
        Some(text.value)
    }

    /// A text that is not empty.
    pub fn full_text_of(&self, key: &'static str) -> Option<String> {
        self.text_of(key).filter(|text| !text.is_empty())
    }

    /// A text that is present and not empty, without surrounding spaces or control characters.
    pub fn required(&self, key: &'static str) -> Option<String> {
        if self.node(key).is_none() {
            if !self.unread {
                self.error(key, "is missing");
            }
            return None;
        }
        let text = self.text_of(key)?;
        if text.is_empty() {
            self.error(key, "is empty");
        } else if text.trim() != text || text.contains(char::is_control) {
            let text = "has spaces around it or control characters in it: remove them";
            self.error(key, text);
        } else {
            return Some(text);
        }
        None
    }

    /// A text that may be `env:NAME` or `file:PATH` in a fixture too.
    pub fn reference_of(&self, key: &'static str) -> Option<String> {
        let text = self.full_text_of(key)?;
        match self.reading.follow(&text) {
            Ok(value) => Some(value.unwrap_or(text)),
            Err(fault) => {
                self.error(key, &fault);
                None
            }
        }
    }

    pub fn flag_of(&self, key: &'static str) -> Option<bool> {
        self.parse_of(key, "true or false", |text| {
            text.parse().map_err(|_| quoted(text))
        })
    }

    /// A whole number from `least` to `most`.
    pub fn number_of<T>(&self, key: &'static str, least: T, most: T) -> Option<T>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        let wanted = format!("a whole number from {least} to {most}");
        self.parse_of(key, &wanted, |text| {
            let number = text.trim().parse().ok();
            number
                .filter(|number| *number >= least && *number <= most)
                .ok_or_else(|| quoted(text))
        })
    }

    /// Seconds, with or without a fraction.
    pub fn seconds_of(&self, key: &'static str) -> Option<Duration> {
        self.parse_of(key, "a number of seconds (0 means off)", |text| {
            let seconds = text.trim().parse::<f64>().ok();
            seconds
                .filter(|seconds| (0.0..=3_153_600_000.0).contains(seconds))
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .ok_or_else(|| quoted(text))
        })
    }

    /// A number, a flag, or in `ostia.toml` a text.
    pub fn parse_of<T>(
        &self,
        key: &'static str,
        wanted: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.parsed(key, Takes::Word, wanted, parse)
    }

    /// The same, where a text may stand for a number in fixtures too.
    pub fn parse_text_of<T>(
        &self,
        key: &'static str,
        wanted: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.parsed(key, Takes::NumberOrText, wanted, parse)
    }

    fn parsed<T>(
        &self,
        key: &'static str,
        takes: Takes,
        wanted: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.scalar(key, self.node(key)?, takes, wanted)?;
        match parse(&text.value) {
            Ok(value) => Some(value),
            Err(_) if text.foreign => {
                self.error_at(&text.at, key, &format!("must be {wanted}"));
                None
            }
            Err(fault) => {
                self.error_at(&text.at, key, &format!("must be {wanted}: {fault}"));
                None
            }
        }
    }

    /// The value as text. In `ostia.toml` a text may stand for a number or flag.
    fn scalar(&self, key: &str, node: &Node, takes: Takes, wanted: &str) -> Option<Text> {
        let is_settings = node.at.source.is_settings;
        let text = match &node.value {
            Value::Text(text) if is_settings => return self.followed(key, text, &node.at),
            Value::Text(text) if takes != Takes::Word => text.clone(),
            Value::Number(number) if takes != Takes::Text => number.to_string(),
            Value::Bool(flag) if takes == Takes::Word => flag.to_string(),
            _ => {
                self.wrong(key, node, wanted);
                return None;
            }
        };
        Some(Text::plain(&text, &node.at))
    }

    fn followed(&self, key: &str, text: &str, at: &At) -> Option<Text> {
        match self.reading.follow(text) {
            Ok(Some(value)) => Some(Text {
                value,
                at: at.clone(),
                foreign: true,
            }),
            Ok(None) => Some(Text {
                foreign: at.place().position.is_none(),
                ..Text::plain(text, at)
            }),
            Err(fault) => {
                self.error_at(at, key, &fault);
                None
            }
        }
    }

    /// A list of texts, or one text separated by commas, spaces or lines. Absent or null is `Ok(None)`; `Err`, with the
    /// other items, if any item is not a text: then no rule may rely on it. In an entry a blank text is a mistake too.
    pub fn list_of(&self, key: &'static str) -> Result<Option<Vec<Text>>, Vec<Text>> {
        match self.node(key) {
            None => Ok(None),
            Some(node) => self.list_at(key, node).map(Some),
        }
    }

    pub(super) fn list_at(&self, key: &str, node: &Node) -> Result<Vec<Text>, Vec<Text>> {
        let Value::List(items) = &node.value else {
            return self.split(key, node);
        };
        let is_entry = self.entry.is_some();
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            if !matches!(item.value, Value::Text(_)) {
                let text = format!("must hold texts only, not {}", item.kind());
                self.error_at(&item.at, key, &text);
                continue;
            }
            let Some(text) = self.scalar(key, item, Takes::Text, TEXT) else {
                continue;
            };
            if is_entry && text.value.trim().is_empty() {
                self.error_at(&item.at, key, "holds a blank text: remove it");
            } else if is_entry {
                texts.push(text.trimmed());
            } else {
                texts.push(text);
            }
        }
        if texts.len() == items.len() {
            Ok(texts)
        } else {
            Err(texts)
        }
    }

    fn split(&self, key: &str, node: &Node) -> Result<Vec<Text>, Vec<Text>> {
        let takes = match node.at.source.is_settings {
            true => Takes::Word,
            false => Takes::Text,
        };
        let wanted = "a list of texts";
        let text = self.scalar(key, node, takes, wanted).ok_or_else(Vec::new)?;
        let parts: Vec<Text> = units::split_list(&text.value)
            .map(|part| Text {
                value: part.to_owned(),
                ..text.clone()
            })
            .collect();
        if parts.is_empty() && !text.value.is_empty() && self.entry.is_some() {
            self.error_at(&node.at, key, "is blank: write \"\" or remove it");
            return Err(parts);
        }
        Ok(parts)
    }

    /// The members of a map.
    pub fn map_of(&self, key: &'static str) -> &'a [Member] {
        let Some(node) = self.node(key) else {
            return &[];
        };
        match &node.value {
            Value::Map(members) => members,
            _ => {
                self.wrong(key, node, "an object");
                &[]
            }
        }
    }

    pub(super) fn text_at(&self, key: &str, node: &Node) -> Option<Text> {
        self.scalar(key, node, Takes::Text, TEXT)
    }
}

impl Text {
    pub(super) fn plain(value: &str, at: &At) -> Self {
        Self {
            value: value.to_owned(),
            at: at.clone(),
            foreign: false,
        }
    }

    fn trimmed(self) -> Self {
        Self {
            value: self.value.trim().to_owned(),
            ..self
        }
    }

    /// The value for a problem's text, or nothing if it may be a secret.
    pub fn shown(&self) -> String {
        if self.foreign {
            "the value".to_owned()
        } else {
            quoted(&self.value)
        }
    }
}

pub(in super::super) fn quoted(text: &str) -> String {
    format!("`{text}`")
}
