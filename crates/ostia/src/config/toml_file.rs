//! `ostia.toml` and the `OSTIA_SECTION__KEY` variables as one tree whose every value knows where it stands.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::environment::Environment;
use super::problem::{Place, Report};
use super::source::Source;

pub(super) type Table = BTreeMap<String, Item>;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Raw {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    List(Vec<Item>),
    Table(Table),
    /// A date or time, which no key takes, or a number beyond 64 bits.
    Other,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub raw: Raw,
    pub place: Place,
    pub key_place: Place,
}

/// Variables that override keys begin so; the rest is `SECTION__KEY` in upper case.
const PREFIX: &str = "OSTIA_";

/// Parses the file. Syntax errors are reported; what could be read all the same is in the table.
pub(super) fn parse(source: &Source, report: &Report) -> (Table, bool) {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    let mut last_line = None;
    for error in &errors {
        let place = source.place(error.span().map_or(0, |span| span.start));
        // One slip makes the parser stumble several times over the same line.
        let line = place.position.map(|(line, _)| line);
        if line != last_line {
            report.fatal(
                place,
                &format!("not valid TOML: {}", advice(error.message())),
            );
        }
        last_line = line;
    }
    (convert_table(table.get_ref(), source), errors.is_empty())
}

/// The parser takes what begins like a number for one: an address, a version, a word such as `none`.
fn advice(message: &str) -> Cow<'_, str> {
    match message {
        "invalid float, expected nothing" | "invalid float, expected `nan`" => {
            "no number; a text stands in quotes: \"...\"".into()
        }
        message => message.into(),
    }
}

fn convert_table(table: &DeTable<'_>, source: &Source) -> Table {
    table
        .iter()
        .map(|(key, value)| {
            let item = Item {
                raw: convert(value.get_ref(), source),
                place: source.place(value.span().start),
                key_place: source.place(key.span().start),
            };
            (key.get_ref().to_string(), item)
        })
        .collect()
}

fn convert(value: &DeValue<'_>, source: &Source) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Raw::Other, Raw::Integer)
        }
        DeValue::Float(number) => number.as_str().parse().map_or(Raw::Other, Raw::Float),
        DeValue::Boolean(flag) => Raw::Bool(*flag),
        DeValue::Datetime(_) => Raw::Other,
        DeValue::Array(items) => Raw::List(
            items
                .iter()
                .map(|item| {
                    let place = source.place(item.span().start);
                    Item {
                        raw: convert(item.get_ref(), source),
                        key_place: place.clone(),
                        place,
                    }
                })
                .collect(),
        ),
        DeValue::Table(table) => Raw::Table(convert_table(table, source)),
    }
}

/// Puts `OSTIA_SECTION__KEY` variables over the file's values. Variables without `__` are not about keys.
pub(super) fn override_from(environment: &Environment, table: &mut Table, report: &Report) {
    for (name, value) in environment.iter() {
        let Some(path) = name.strip_prefix(PREFIX).filter(|rest| rest.contains("__")) else {
            continue;
        };
        let keys: Vec<String> = path.split("__").map(str::to_lowercase).collect();
        let place = Place {
            source: Arc::from(name),
            position: None,
        };
        let item = Item {
            raw: Raw::Text(value.to_owned()),
            key_place: place.clone(),
            place: place.clone(),
        };
        if !insert(table, &keys, item) {
            let text =
                "names a key inside a value that is no section; variables are OSTIA_SECTION__KEY";
            report.fatal(place, text);
        }
    }
}

fn insert(table: &mut Table, keys: &[String], item: Item) -> bool {
    match keys {
        [] => false,
        [key] => match table.get(key) {
            Some(Item {
                raw: Raw::Table(_), ..
            }) => false,
            _ => {
                table.insert(key.clone(), item);
                true
            }
        },
        [key, rest @ ..] => {
            let section = table.entry(key.clone()).or_insert_with(|| Item {
                raw: Raw::Table(Table::new()),
                ..item.clone()
            });
            match &mut section.raw {
                Raw::Table(inner) => insert(inner, rest, item),
                _ => false,
            }
        }
    }
}
