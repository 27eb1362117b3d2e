//! The readers for `ostia.toml`: each key has a default and a meaning, and is recorded for the reference pages before
//! it is read.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ostia_core::{Secret, names_somebody};

use super::super::keys::{SettingKey, show_duration, show_list, show_size, show_text};
use super::super::tree::{At, Member, Node, Value};
use super::super::units;
use super::Section;
use super::values::{Text, quoted};

impl<'a> Section<'a> {
    fn record(&self, key: &str, accepts: &str, default: String, meaning: &'static str) {
        self.reading.keys.borrow_mut().push(SettingKey {
            name: self.dotted(key),
            accepts: accepts.to_owned(),
            default,
            meaning,
        });
    }

    pub fn text(&self, key: &'static str, default: &str, meaning: &'static str) -> String {
        self.record(key, "text", show_text(default), meaning);
        self.text_of(key).unwrap_or_else(|| default.to_owned())
    }

    /// A text that is never shown; empty by default.
    pub fn secret(&self, key: &'static str, meaning: &'static str) -> Secret<String> {
        self.record(key, SettingKey::SECRET, show_text(""), meaning);
        Secret::new(self.text_of(key).unwrap_or_default())
    }

    /// `shown` is the default as one would write it.
    pub fn parse<T>(
        &self,
        key: &'static str,
        (default, shown): (T, &str),
        wanted: &str,
        meaning: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        self.record(key, wanted, shown.to_owned(), meaning);
        self.parse_of(key, wanted, parse).unwrap_or(default)
    }

    pub fn flag(&self, key: &'static str, default: bool, meaning: &'static str) -> bool {
        self.record(key, "true or false", default.to_string(), meaning);
        self.flag_of(key).unwrap_or(default)
    }

    pub fn number<T>(
        &self,
        key: &'static str,
        default: T,
        (least, most): (T, T),
        meaning: &'static str,
    ) -> T
    where
        T: FromStr + PartialOrd + Display,
    {
        let wanted = format!("a whole number from {least} to {most}");
        self.record(key, &wanted, default.to_string(), meaning);
        self.number_of(key, least, most).unwrap_or(default)
    }

    pub fn size(&self, key: &'static str, default: u64, meaning: &'static str) -> u64 {
        self.size_or(key, (default, &show_size(default)), meaning)
    }

    /// A size whose default depends on the machine; `shown` says how.
    pub fn size_or(&self, key: &'static str, default: (u64, &str), meaning: &'static str) -> u64 {
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
        &self,
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
        &self,
        key: &'static str,
        default: Duration,
        meaning: &'static str,
    ) -> Duration {
        let shown = show_duration(default);
        let default = (default, shown.as_str());
        self.parse(key, default, "a duration", meaning, units::duration)
    }

    /// A duration; "0" means off.
    pub fn duration_or_off(
        &self,
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

    pub fn path_or(&self, key: &'static str, default: &str, meaning: &'static str) -> PathBuf {
        self.record(key, "path", show_text(default), meaning);
        let path = self.text_of(key).unwrap_or_else(|| default.to_owned());
        if path.is_empty() {
            self.error(key, "is empty");
        }
        self.reading.path(&path)
    }

    /// A path to a file; "" means none.
    pub fn optional_file(&self, key: &'static str, meaning: &'static str) -> Option<PathBuf> {
        self.record(key, "path of a file", show_text(""), meaning);
        let path = self.reading.path(&self.full_text_of(key)?);
        self.reading.note_file(path.clone());
        Some(path)
    }

    pub fn list(&self, key: &'static str, default: &[&str], meaning: &'static str) -> Vec<Text> {
        self.record(key, "list of texts", show_list(default), meaning);
        match self.list_of(key) {
            Ok(Some(texts)) | Err(texts) => texts,
            Ok(None) => {
                let file = &self.reading.file;
                let texts = default.iter().map(|value| Text::plain(value, file));
                texts.collect()
            }
        }
    }

    pub fn texts(&self, key: &'static str, default: &[&str], meaning: &'static str) -> Vec<String> {
        let list = self.list(key, default, meaning);
        list.into_iter().map(|text| text.value).collect()
    }

    /// A section inside this one; empty if absent.
    pub fn section(&self, key: &'static str, meaning: &'static str) -> Self {
        self.record(key, SettingKey::SECTION, String::new(), meaning);
        let node = self.node(key);
        let members = node.map_or(&[][..], |node| match &node.value {
            Value::Map(members) => members,
            _ => {
                let wanted = format!("a section: `[{}]`", self.dotted(key));
                self.wrong(key, node, &wanted);
                &[]
            }
        });
        let at = node.map_or(&self.at, |node| &node.at);
        self.inner(key, at, members)
    }

    /// One section, or several of one name (`[[key]]`); an empty one if absent.
    pub fn sections(&self, key: &'static str, meaning: &'static str) -> Vec<Self> {
        let Some(Node {
            value: Value::List(_),
            ..
        }) = self.node(key)
        else {
            return vec![self.section(key, meaning)];
        };
        let listed = self.entries(key, meaning).into_iter().zip(1..);
        let sections = listed.filter_map(|(node, number)| {
            let Value::Map(members) = &node.value else {
                return None;
            };
            let name = match number {
                1 => key.to_owned(),
                number => format!("{key}[{number}]"),
            };
            Some(self.inner(&name, &node.at, members))
        });
        sections.collect()
    }

    fn inner(&self, key: &str, at: &At, members: &'a [Member]) -> Self {
        let path = self.dotted(key);
        Self::with(self.reading, self.entry, path, at.clone(), Some(members))
    }

    /// Sections of one name, `[[key]]`.
    pub fn entries(&self, key: &'static str, meaning: &'static str) -> Vec<&'a Node> {
        self.record(
            &format!("[{key}]"),
            SettingKey::SECTION,
            String::new(),
            meaning,
        );
        let Some(node) = self.node(key) else {
            return Vec::new();
        };
        let wanted = format!("sections: `[[{key}]]`");
        let Value::List(items) = &node.value else {
            self.wrong(key, node, &wanted);
            return Vec::new();
        };
        let (sections, others): (Vec<_>, Vec<_>) = items
            .iter()
            .partition(|item| matches!(item.value, Value::Map(_)));
        for other in others {
            self.wrong(key, other, &wanted);
        }
        sections
    }

    /// A section whose keys are names chosen by the site, and whose values are texts.
    pub fn text_map(&self, key: &'static str, meaning: &'static str) -> BTreeMap<String, Text> {
        self.section(key, meaning).into_texts()
    }

    /// All keys that were not read yet, as texts.
    pub fn into_texts(self) -> BTreeMap<String, Text> {
        let texts = self.named().filter_map(|(key, node)| {
            let text = self.text_at(key, node)?;
            Some((key.to_owned(), text))
        });
        texts.collect()
    }

    /// All keys as lists.
    pub fn into_lists(self) -> BTreeMap<String, Vec<Text>> {
        let lists = self.named().map(|(key, node)| {
            let (Ok(list) | Err(list)) = self.list_at(key, node);
            (key.to_owned(), list)
        });
        lists.collect()
    }

    /// All keys as sections, for which `meaning` says what each is.
    pub fn into_sections(self, meaning: &'static str) -> Vec<(String, Self)> {
        let sections = self.named().filter_map(|(key, node)| {
            let Value::Map(members) = &node.value else {
                self.wrong(key, node, "a section");
                return None;
            };
            if !names_somebody(key) {
                self.error_at(
                    &node.at,
                    key,
                    "names nothing: a name has a letter or a digit",
                );
                return None;
            }
            self.record(key, SettingKey::SECTION, String::new(), meaning);
            Some((key.to_owned(), self.inner(key, &node.at, members)))
        });
        sections.collect()
    }

    /// The members whose keys are names chosen by the site.
    fn named(&self) -> impl Iterator<Item = (&'a str, &'a Node)> {
        self.left().map(|member| {
            self.remember(&member.key, &member.node);
            (member.key.as_str(), &member.node)
        })
    }

    /// Reads `key` if it is a section; otherwise leaves it to others.
    pub fn section_if_table(&self, key: &'static str, meaning: &'static str) -> Option<Self> {
        let member = self.members.iter().find(|member| member.key == key)?;
        matches!(member.node.value, Value::Map(_)).then(|| self.section(key, meaning))
    }
}
