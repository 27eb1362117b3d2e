//! `ostia.toml` and the `OSTIA_SECTION__KEY` variables as one tree.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use serde_json::Number;
use toml::de::{DeTable, DeValue};

use super::environment::Environment;
use super::problem::Report;
use super::source::Source;
use super::tree::{At, Member, Node, Value};

/// The prefix of variables that override keys; the rest is `SECTION__KEY` in upper case.
const PREFIX: &str = "OSTIA_";

/// Parses the file. Syntax errors are reported; the table has everything that could still be read.
pub(super) fn parse(source: &Arc<Source>, report: &Report) -> (Vec<Member>, bool) {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    let mut last_line = None;
    for error in &errors {
        let place = source.place(error.span().map_or(0, |span| span.start));
        // One mistake makes the parser report several errors on the same line.
        let line = place.position.map(|(line, _)| line);
        if line != last_line {
            report.fatal(
                place,
                &format!("not valid TOML: {}", advice(error.message())),
            );
        }
        last_line = line;
    }
    let whole = At::whole(Arc::clone(source));
    (convert_table(table.get_ref(), &whole), errors.is_empty())
}

/// The parser takes everything that begins like a number for a number: an address, a version, a word such as `none`.
fn advice(message: &str) -> Cow<'_, str> {
    match message {
        "invalid float, expected nothing" | "invalid float, expected `nan`" => {
            "not a number; a text needs quotes: \"...\"".into()
        }
        message => message.into(),
    }
}

fn convert_table(table: &DeTable<'_>, whole: &At) -> Vec<Member> {
    table
        .iter()
        .map(|(key, value)| Member {
            key: key.get_ref().to_string(),
            key_at: whole.inside(key.span().start),
            node: Node::new(
                whole.inside(value.span().start),
                convert(value.get_ref(), whole),
            ),
        })
        .collect()
}

fn convert(value: &DeValue<'_>, whole: &At) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Odd, |number| Value::Number(number.into())),
        DeValue::Float(number) => {
            let number = number.as_str().parse().ok().and_then(Number::from_f64);
            number.map_or(Value::Odd, Value::Number)
        }
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(_) => Value::Odd,
        DeValue::Array(items) => {
            let items = items.iter().map(|item| {
                let at = whole.inside(item.span().start);
                Node::new(at, convert(item.get_ref(), whole))
            });
            Value::List(items.collect())
        }
        DeValue::Table(table) => Value::Map(convert_table(table, whole)),
    }
}

/// Overrides the values of the file at `path` with `OSTIA_SECTION__KEY` variables. Variables without `__` do not name
/// keys.
pub(super) fn override_from(
    environment: &Environment,
    path: &Path,
    table: &mut Vec<Member>,
    report: &Report,
) {
    for (name, value) in environment.iter() {
        let Some(keys) = name.strip_prefix(PREFIX).filter(|rest| rest.contains("__")) else {
            continue;
        };
        let keys: Vec<String> = keys.split("__").map(str::to_lowercase).collect();
        let source = Source::settings(name.into(), path.to_owned(), String::new());
        let at = At::whole(Arc::new(source));
        let place = at.place();
        if !insert(table, &keys, Node::new(at, Value::Text(value.to_owned()))) {
            let text = "names a key inside a value that is not a section; variables are OSTIA_SECTION__KEY";
            report.fatal(place, text);
        }
    }
}

fn insert(table: &mut Vec<Member>, keys: &[String], node: Node) -> bool {
    let [key, rest @ ..] = keys else { return false };
    let known = table.iter().position(|member| member.key == *key);
    let Some(index) = known else {
        let mut made = Node::new(node.at.clone(), Value::Map(Vec::new()));
        let key_at = node.at.clone();
        let fits = match &mut made.value {
            Value::Map(inner) if !rest.is_empty() => insert(inner, rest, node),
            _ => {
                made = node;
                true
            }
        };
        table.push(Member {
            key: key.clone(),
            key_at,
            node: made,
        });
        return fits;
    };
    let member = &mut table[index];
    match &mut member.node.value {
        Value::Map(_) if rest.is_empty() => false,
        Value::Map(inner) => insert(inner, rest, node),
        _ if rest.is_empty() => {
            member.key_at = node.at.clone();
            member.node = node;
            true
        }
        _ => false,
    }
}
