//! In: a tree (see `tree`), and requests for its keys.
//! Out: typed values, and a problem with its place for each key that is wrong or unknown. `ostia.toml` and the
//! entries of fixtures are read by the same [`Section`]: `values` for what may be absent, `defaults` for settings.
//! Not here: which keys there are (`sections`, `fixture`).

mod defaults;
mod entry;
mod values;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use super::environment::{self, Environment};
use super::keys::SettingKey;
use super::problem::{Place, Report};
use super::source::{check_readable, resolve_path};
use super::tree::{At, Member, Node, Value};
use super::words::nearest;

pub(super) use entry::{Entry, is_rule};
pub(super) use values::{Text, quoted};

/// What every section is read with.
pub(super) struct Reading<'a> {
    pub environment: &'a Environment,
    /// Relative paths are relative to this folder.
    pub folder: PathBuf,
    /// `ostia.toml`, whether or not it is there.
    pub file: At,
    pub report: &'a Report,
    /// Dotted key of `ostia.toml` -> where its value stands.
    pub places: RefCell<BTreeMap<String, At>>,
    /// Files that values named.
    pub files: RefCell<Vec<PathBuf>>,
    /// The keys that were read with a default, in this order.
    pub keys: RefCell<Vec<SettingKey>>,
}

/// A map of a file while it is read: a section of `ostia.toml`, or `fields` or `config` of an entry.
pub(super) struct Section<'a> {
    pub reading: &'a Reading<'a>,
    /// The entry that it is a part of, which collects the faults.
    pub entry: Option<&'a Entry<'a>>,
    /// The prefix of a key in problems: "", `auth.globus` or `config`.
    path: String,
    at: At,
    members: &'a [Member],
    /// Whether it could not be read, so that keys may only seem to be missing.
    unread: bool,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Reading<'a> {
    pub fn new(
        environment: &'a Environment,
        file: At,
        folder: PathBuf,
        report: &'a Report,
    ) -> Self {
        Self {
            environment,
            folder,
            file,
            report,
            places: RefCell::default(),
            files: RefCell::default(),
            keys: RefCell::default(),
        }
    }

    /// The place of a key's value; the file if it has none.
    pub fn place(&self, key: &str) -> Place {
        let places = self.places.borrow();
        places.get(key).unwrap_or(&self.file).place()
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

    pub fn note_file(&self, path: PathBuf) {
        self.files.borrow_mut().push(path);
    }

    /// Follows `env:NAME` and `file:PATH`; `None`: the text is neither.
    pub fn follow(&self, text: &str) -> Result<Option<String>, String> {
        if let Some(name) = text.strip_prefix("env:") {
            let value = self.environment.get(name);
            let value = value.ok_or_else(|| match environment::is_name(name) {
                true => format!("asks for the environment variable `{name}`, which is not set"),
                // If somebody wrote the secret itself here, it must not appear in a log.
                false => "asks for an environment variable that is not set: write its name after `env:`, not the secret itself"
                    .to_owned(),
            })?;
            return Ok(Some(value.to_owned()));
        }
        let Some(path) = text.strip_prefix("file:") else {
            return Ok(None);
        };
        // The origin of pages of files, as somebody may write it into `cors_origins`.
        if path == "//" {
            return Ok(None);
        }
        let looks_secret = !path.contains(['/', '.']) && !environment::is_name(path);
        let path = self.path(path);
        let bytes = check_readable(&path).map_err(|fault| match looks_secret {
            true => "asks for a file that cannot be read: write its path after `file:`, not the secret itself".to_owned(),
            false => fault,
        })?;
        let value = String::from_utf8(bytes)
            .map_err(|_| format!("asks for `{}`, which is not UTF-8", path.display()))?;
        self.note_file(path);
        Ok(Some(value.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

impl<'a> Section<'a> {
    /// The whole of `ostia.toml`.
    pub fn root(reading: &'a Reading<'a>, members: &'a [Member]) -> Self {
        let at = reading.file.clone();
        Self::with(reading, None, String::new(), at, Some(members))
    }

    /// A map of an entry: `path` is "" for its `fields`, and in `ostia.toml`, where `fields` and `config` are one map.
    /// A value that is not a map was already reported.
    pub fn of_entry(
        reading: &'a Reading<'a>,
        entry: &'a Entry<'a>,
        path: &str,
        node: &'a Node,
    ) -> Self {
        let members = match &node.value {
            Value::Map(members) => Some(members.as_slice()),
            _ => None,
        };
        let path = match node.at.source.is_settings {
            true => "",
            false => path,
        };
        let at = node.at.clone();
        Self::with(reading, Some(entry), path.to_owned(), at, members)
    }

    fn with(
        reading: &'a Reading<'a>,
        entry: Option<&'a Entry<'a>>,
        path: String,
        at: At,
        members: Option<&'a [Member]>,
    ) -> Self {
        Self {
            reading,
            entry,
            path,
            at,
            members: members.unwrap_or_default(),
            unread: members.is_none(),
            asked: RefCell::default(),
        }
    }

    /// The same map without keys: everything is at its default.
    pub fn emptied(&self) -> Self {
        let (path, at) = (self.path.clone(), self.at.clone());
        Self::with(self.reading, self.entry, path, at, Some(&[]))
    }

    /// Whether it is in `ostia.toml`, not in a fixture.
    pub fn is_settings(&self) -> bool {
        self.at.source.is_settings
    }

    fn dotted(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The value of a key; null counts as absent. Of a repeated key the last value is used.
    pub fn node(&self, key: &'static str) -> Option<&'a Node> {
        debug_assert!(
            self.entry.is_none_or(|entry| entry.knows(key)),
            "`{key}` is not in the tables of an entry's keys"
        );
        self.note(key);
        let mut members = self.members.iter().rev();
        let node = &members.find(|member| member.key == key)?.node;
        self.remember(key, node);
        (!matches!(node.value, Value::Null)).then_some(node)
    }

    fn note(&self, key: &'static str) {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
    }

    fn remember(&self, key: &str, node: &Node) {
        if self.entry.is_none() {
            let mut places = self.reading.places.borrow_mut();
            places.insert(self.dotted(key), node.at.clone());
        }
    }

    /// The place of a key's value, or of the map if it is absent.
    pub fn at(&self, key: &str) -> At {
        let mut members = self.members.iter().rev();
        let found = members.find(|member| member.key == key);
        let found = found.filter(|member| !matches!(member.node.value, Value::Null));
        found.map_or(&self.at, |member| &member.node.at).clone()
    }

    pub fn error(&self, key: &str, text: &str) {
        self.error_at(&self.at(key), key, text);
    }

    pub fn error_at(&self, at: &At, key: &str, text: &str) {
        self.tell(at, &format!("`{}` {text}", self.dotted(key)));
    }

    /// A mistake of `ostia.toml` stops everything, one of an entry disables that entry.
    pub fn tell(&self, at: &At, text: &str) {
        match self.entry {
            Some(entry) => entry.error(at, text),
            None => self.reading.report.fatal(at.place(), text),
        }
    }

    pub fn warning(&self, key: &str, text: &str) {
        let text = format!("`{}` {text}", self.dotted(key));
        self.warn(&self.at(key), &text);
    }

    pub fn warn(&self, at: &At, text: &str) {
        match self.entry {
            Some(entry) => entry.warning(at, text),
            None => self.reading.report.warning(at.place(), text),
        }
    }

    fn wrong(&self, key: &str, node: &Node, wanted: &str) {
        let text = format!("must be {wanted}, not {}", node.kind());
        self.error_at(&node.at, key, &text);
    }

    /// Resolves a path from this file, relative to the file's folder.
    pub fn path(&self, path: &str) -> PathBuf {
        resolve_path(&self.folder(), path)
    }

    pub fn folder(&self) -> PathBuf {
        super::source::folder_of(&self.at.source.path)
    }

    /// The members that were not read.
    fn left(&self) -> impl Iterator<Item = &'a Member> {
        let asked = self.asked.borrow().clone();
        self.members
            .iter()
            .filter(move |member| !asked.contains(&member.key.as_str()))
    }

    /// Reports the keys that were not read.
    pub fn finish(self) {
        for member in self.left() {
            let name = self.dotted(&member.key);
            let text = format!(
                "`{name}` is not a key that Ostia knows; {}",
                self.hint(&member.key, "known here")
            );
            self.tell(&member.key_at, &text);
        }
    }

    fn hint(&self, key: &str, known: &str) -> String {
        let asked = self.asked.borrow();
        match nearest(key, &asked) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("{known}: {}", asked.join(", ")),
        }
    }
}
