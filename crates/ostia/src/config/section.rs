//! Reading one `[section]`: typed values with defaults, a problem for each that is wrong, and for each key that is
//! not known.

mod values;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use super::environment::Environment;
use super::keys::{SettingKey, show_list};
use super::problem::{Place, Report};
use super::raw::{Item, Raw, Table};
use super::source::{check_readable, resolve_path};
use super::units;
use super::words::nearest;

/// What every section is read with.
pub(super) struct Reading<'a> {
    pub environment: &'a Environment,
    /// Relative paths begin here.
    pub folder: PathBuf,
    pub file: Place,
    pub report: &'a Report,
    /// Dotted key -> where its value stands.
    pub places: RefCell<BTreeMap<String, Place>>,
    /// Files that values named.
    pub files: RefCell<Vec<PathBuf>>,
    /// What was asked for, in this order.
    pub keys: RefCell<Vec<SettingKey>>,
}

pub(super) struct Section<'a, 'r> {
    reading: &'r Reading<'a>,
    /// `auth.globus`; "" is the whole file.
    path: String,
    table: Table,
    known: Vec<&'static str>,
}

/// A text after `env:` and `file:`.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub value: String,
    pub place: Place,
    /// Came from outside the file, so that it may be a secret and is never shown.
    pub foreign: bool,
}

impl Reading<'_> {
    /// Where a key's value stands; the file if it has none.
    pub fn place(&self, key: &str) -> Place {
        let places = self.places.borrow();
        places.get(key).unwrap_or(&self.file).clone()
    }

    pub fn fatal(&self, key: &str, text: &str) {
        self.report
            .fatal(self.place(key), &format!("`{key}` {text}"));
    }

    pub fn warning(&self, key: &str, text: &str) {
        self.report
            .warning(self.place(key), &format!("`{key}` {text}"));
    }

    pub fn path(&self, path: &str) -> PathBuf {
        resolve_path(&self.folder, path)
    }

    /// Follows `env:NAME` and `file:PATH`.
    fn resolve(&self, text: String, place: &Place) -> Result<Text, String> {
        let (value, foreign) = if let Some(name) = text.strip_prefix("env:") {
            let value = self.environment.get(name);
            let value = value.ok_or_else(|| {
                format!("asks for the environment variable `{name}`, which is not set")
            })?;
            (value.to_owned(), true)
        } else if let Some(path) = text.strip_prefix("file:") {
            let path = self.path(path);
            let bytes = check_readable(&path)?;
            let value = String::from_utf8(bytes)
                .map_err(|_| format!("asks for `{}`, which is not UTF-8", path.display()))?;
            self.files.borrow_mut().push(path);
            (value.trim_end_matches(['\r', '\n']).to_owned(), true)
        } else {
            (text, place.position.is_none())
        };
        Ok(Text {
            value,
            place: place.clone(),
            foreign,
        })
    }
}

impl<'a, 'r> Section<'a, 'r> {
    pub fn new(reading: &'r Reading<'a>, path: String, table: Table) -> Self {
        Self {
            reading,
            path,
            table,
            known: Vec::new(),
        }
    }

    fn dotted(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Writes down what is asked for, before it is asked for.
    fn record(&self, key: &str, accepts: &str, default: String, meaning: &'static str) {
        let key = SettingKey {
            name: self.dotted(key),
            accepts: accepts.to_owned(),
            default,
            meaning,
        };
        self.reading.keys.borrow_mut().push(key);
    }

    fn take(&mut self, key: &'static str) -> Option<Item> {
        self.known.push(key);
        let item = self.table.remove(key)?;
        let place = item.place.clone();
        self.reading
            .places
            .borrow_mut()
            .insert(self.dotted(key), place);
        Some(item)
    }

    fn wrong(&self, key: &str, place: Place, text: &str) {
        let key = self.dotted(key);
        self.reading.report.fatal(place, &format!("`{key}` {text}"));
    }

    /// The value as text, numbers and flags included; `None` if absent or wrong (and reported).
    fn text_of(&mut self, key: &'static str, wanted: &str) -> Option<Text> {
        let item = self.take(key)?;
        self.item_text(key, item, wanted)
    }

    fn item_text(&self, key: &str, item: Item, wanted: &str) -> Option<Text> {
        let text = match item.raw {
            Raw::Text(text) => text,
            Raw::Integer(number) if wanted != TEXT => number.to_string(),
            Raw::Bool(flag) if wanted != TEXT => flag.to_string(),
            other => {
                let text = format!("must be {wanted}, not {}", kind(&other));
                self.wrong(key, item.place, &text);
                return None;
            }
        };
        match self.reading.resolve(text, &item.place) {
            Ok(text) => Some(text),
            Err(fault) => {
                self.wrong(key, item.place, &fault);
                None
            }
        }
    }

    fn parsed<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text_of(key, wanted)?;
        match parse(&text.value) {
            Ok(value) => Some(value),
            Err(_) if text.foreign => {
                self.wrong(key, text.place, &format!("must be {wanted}"));
                None
            }
            Err(fault) => {
                self.wrong(key, text.place, &format!("must be {wanted}: {fault}"));
                None
            }
        }
    }

    /// A list: an array of texts, or one text with commas, spaces or lines between.
    pub fn list(
        &mut self,
        key: &'static str,
        default: &[&str],
        meaning: &'static str,
    ) -> Vec<Text> {
        self.record(key, "list of texts", show_list(default), meaning);
        let Some(item) = self.take(key) else {
            let place = &self.reading.file;
            return default
                .iter()
                .map(|value| Text::plain(value, place))
                .collect();
        };
        self.list_of(key, item)
    }

    pub fn texts(
        &mut self,
        key: &'static str,
        default: &[&str],
        meaning: &'static str,
    ) -> Vec<String> {
        let list = self.list(key, default, meaning);
        list.into_iter().map(|text| text.value).collect()
    }

    fn list_of(&self, key: &str, item: Item) -> Vec<Text> {
        let items = match item.raw {
            Raw::List(items) => items,
            _ => {
                let Some(text) = self.item_text(key, item, "a list of texts") else {
                    return Vec::new();
                };
                return units::split_list(&text.value)
                    .map(|part| Text {
                        value: part.to_owned(),
                        ..text.clone()
                    })
                    .collect();
            }
        };
        let wrong_item = |item: &Item| !matches!(item.raw, Raw::Text(_));
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            if wrong_item(&item) {
                let text = format!("must hold texts only, not {}", kind(&item.raw));
                self.wrong(key, item.place, &text);
                continue;
            }
            texts.extend(self.item_text(key, item, TEXT));
        }
        texts
    }

    /// A section inside this one; empty if absent.
    pub fn section(&mut self, key: &'static str, meaning: &'static str) -> Self {
        self.record(key, SettingKey::SECTION, String::new(), meaning);
        let table = match self.take(key) {
            None => Table::new(),
            Some(Item {
                raw: Raw::Table(table),
                ..
            }) => table,
            Some(item) => {
                let name = self.dotted(key);
                let text = format!("must be a section: `[{name}]`, not {}", kind(&item.raw));
                self.wrong(key, item.place, &text);
                Table::new()
            }
        };
        Section::new(self.reading, self.dotted(key), table)
    }

    /// A section whose keys are the site's own names, with texts.
    pub fn text_map(&mut self, key: &'static str, meaning: &'static str) -> BTreeMap<String, Text> {
        self.section(key, meaning).into_texts()
    }

    /// All keys as texts.
    pub fn into_texts(self) -> BTreeMap<String, Text> {
        let mut texts = BTreeMap::new();
        for (key, item) in &self.table {
            self.remember(key, &item.place);
            if let Some(text) = self.item_text(key, item.clone(), TEXT) {
                texts.insert(key.clone(), text);
            }
        }
        texts
    }

    /// All keys as lists.
    pub fn into_lists(self) -> BTreeMap<String, Vec<Text>> {
        let lists = self.table.iter().map(|(key, item)| {
            self.remember(key, &item.place);
            (key.clone(), self.list_of(key, item.clone()))
        });
        lists.collect()
    }

    /// All keys as sections, for which `meaning` says what each is.
    pub fn into_sections(self, meaning: &'static str) -> Vec<(String, Self)> {
        let mut sections = Vec::new();
        for (key, item) in &self.table {
            self.remember(key, &item.place);
            match &item.raw {
                Raw::Table(table) => {
                    self.record(key, SettingKey::SECTION, String::new(), meaning);
                    let section = Section::new(self.reading, self.dotted(key), table.clone());
                    sections.push((key.clone(), section));
                }
                other => {
                    let text = format!("must be a section, not {}", kind(other));
                    self.wrong(key, item.place.clone(), &text);
                }
            }
        }
        sections
    }

    /// Takes `key` out if it is a section, and leaves it where it is otherwise.
    pub fn section_if_table(&mut self, key: &'static str, meaning: &'static str) -> Option<Self> {
        let is_table = matches!(self.table.get(key)?.raw, Raw::Table(_));
        is_table.then(|| self.section(key, meaning))
    }

    fn remember(&self, key: &str, place: &Place) {
        let mut places = self.reading.places.borrow_mut();
        places.insert(self.dotted(key), place.clone());
    }

    /// Reports the keys that nobody asked for.
    pub fn finish(self) {
        for (key, item) in &self.table {
            let name = self.dotted(key);
            let hint = match nearest(key, &self.known) {
                Some(meant) => format!("; did you mean `{meant}`?"),
                None => format!("; known here: {}", self.known.join(", ")),
            };
            let text = format!("`{name}` is not a key that Ostia knows{hint}");
            self.reading.report.fatal(item.key_place.clone(), &text);
        }
    }
}

const TEXT: &str = "a text in quotes";

impl Text {
    fn plain(value: &str, place: &Place) -> Self {
        Self {
            value: value.to_owned(),
            place: place.clone(),
            foreign: false,
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

pub(super) fn quoted(text: &str) -> String {
    format!("`{text}`")
}

const fn kind(raw: &Raw) -> &'static str {
    match raw {
        Raw::Text(_) => "a text",
        Raw::Integer(_) => "a whole number",
        Raw::Float(_) => "a number with a point",
        Raw::Bool(_) => "true or false",
        Raw::List(_) => "a list",
        Raw::Table(_) => "a section",
        Raw::Other => "a date, or a number beyond 64 bits",
    }
}
