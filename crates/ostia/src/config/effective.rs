//! The effective settings: every key of `ostia.toml` with its value, overrides from variables included. For operators,
//! and for the difference that a reload prints.

use std::collections::BTreeMap;

use ostia_core::Secret;

use super::keys::SettingKey;
use super::reader::Reading;
use super::tree::{Member, Node, Value};

/// One key of `ostia.toml` with its effective value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingValue {
    /// With its sections: `server.listen`.
    pub name: String,
    /// The value as it would be written in the file, without secrets.
    pub shown: String,
    pub is_default: bool,
    /// The value after `env:` and `file:` are resolved.
    value: Secret<String>,
}

pub(super) const HIDDEN: &str = "\"[redacted]\"";

/// The sections of endpoints and clusters, which are compared separately.
const CATALOGUE: [&str; 2] = ["clusters", "endpoints"];

/// In alphabetical order.
pub(super) fn effective(reading: &Reading<'_>, table: &[Member]) -> Vec<SettingValue> {
    let keys = reading.keys.borrow();
    let mut all: BTreeMap<String, SettingValue> = keys
        .iter()
        .filter(|key| !key.is_section())
        .map(|key| (key.name.clone(), SettingValue::default_of(key)))
        .collect();
    let secrets: Vec<&str> = keys
        .iter()
        .filter(|key| key.accepts == SettingKey::SECRET)
        .map(|key| last(&key.name))
        .collect();
    let members = table
        .iter()
        .filter(|member| !CATALOGUE.contains(&member.key.as_str()));
    for member in members {
        flatten(&member.key, &member.node, &mut |name, node| {
            let value = SettingValue::given(name, node, &secrets, reading);
            all.insert(name.to_owned(), value);
        });
    }
    all.into_values().collect()
}

impl SettingValue {
    fn default_of(key: &SettingKey) -> Self {
        Self {
            name: key.name.clone(),
            shown: key.default.clone(),
            is_default: true,
            value: Secret::new(key.default.clone()),
        }
    }

    fn given(name: &str, node: &Node, secrets: &[&str], reading: &Reading<'_>) -> Self {
        let written = node.to_value();
        let reference = match &node.value {
            Value::Text(text) => text.starts_with("env:") || text.starts_with("file:"),
            _ => false,
        };
        // A reference is not secret, but its target may be.
        let hidden = secrets.contains(&last(name)) && !reference;
        Self {
            name: name.to_owned(),
            shown: match hidden {
                true => HIDDEN.to_owned(),
                false => without_credentials(&written.to_string()),
            },
            is_default: false,
            value: Secret::new(followed(&written, reading).to_string()),
        }
    }
}

/// References that cannot be resolved were reported when they were read.
fn followed(value: &serde_json::Value, reading: &Reading<'_>) -> serde_json::Value {
    match value {
        serde_json::Value::String(text) => match reading.follow(text) {
            Ok(Some(value)) => value.into(),
            _ => text.as_str().into(),
        },
        serde_json::Value::Array(items) => {
            items.iter().map(|item| followed(item, reading)).collect()
        }
        other => other.clone(),
    }
}

/// Calls `leaf` with each key that is not a section. Sections in a list are numbered.
fn flatten<'a>(name: &str, node: &'a Node, leaf: &mut impl FnMut(&str, &'a Node)) {
    match &node.value {
        Value::Map(members) => {
            for member in members {
                flatten(&format!("{name}.{}", member.key), &member.node, leaf);
            }
        }
        Value::List(items) if items.iter().any(|item| matches!(item.value, Value::Map(_))) => {
            for (index, item) in items.iter().enumerate() {
                flatten(&format!("{name}[{index}]"), item, leaf);
            }
        }
        _ => leaf(name, node),
    }
}

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// URLs without user, password and query.
fn without_credentials(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        shown.push_str(before);
        let end = after
            .find(|c: char| c == '"' || c.is_whitespace())
            .unwrap_or(after.len());
        let (url, next) = after.split_at(end);
        let (address, query) = url
            .split_once('?')
            .map_or((url, false), |(address, _)| (address, true));
        match address.rsplit_once('@') {
            Some((_, host)) => {
                shown.push_str("[redacted]@");
                shown.push_str(host);
            }
            None => shown.push_str(address),
        }
        if query {
            shown.push_str("?[redacted]");
        }
        rest = next;
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::without_credentials;

    #[test]
    fn urls_lose_what_may_be_secret() {
        for (text, shown) in [
            ("\"sqlite://ostia.db\"", "\"sqlite://ostia.db\""),
            (
                "\"postgres://u:p@h:1/db?password=x\"",
                "\"postgres://[redacted]@h:1/db?[redacted]\"",
            ),
            (
                "[\"http://u@a/\",\"redis://:p@ss@b\"]",
                "[\"http://[redacted]@a/\",\"redis://[redacted]@b\"]",
            ),
            ("\"10s\"", "\"10s\""),
        ] {
            assert_eq!(without_credentials(text), shown, "{text}");
        }
    }
}
