//! An entry of the catalogue: its faults disable the entry and nothing else.

use std::borrow::Cow;
use std::cell::RefCell;

use super::super::fixture::EntryKeys;
use super::super::problem::Report;
use super::super::tree::{At, Member, Node, Value};
use super::super::words::nearest;
use super::super::{json, python};
use super::Section;

/// One entry while it is read: collects its problems, and the first that disables it.
pub(in super::super) struct Entry<'a> {
    report: &'a Report,
    pub(super) keys: &'static EntryKeys,
    /// How problems speak of it: "endpoint `slug`".
    pub name: RefCell<String>,
    pub fault: RefCell<Option<String>>,
}

impl<'a> Entry<'a> {
    pub const fn new(report: &'a Report, keys: &'static EntryKeys, name: String) -> Self {
        Self {
            report,
            keys,
            name: RefCell::new(name),
            fault: RefCell::new(None),
        }
    }

    /// Whether the reference pages list a key.
    pub(super) fn knows(&self, key: &str) -> bool {
        self.keys.of_fields(key) || self.keys.of_config(key)
    }

    pub fn error(&self, at: &At, text: &str) {
        let place = at.place();
        let text = format!("{}: {text}", self.name.borrow());
        self.fault
            .borrow_mut()
            .get_or_insert_with(|| format!("{place}: {text}"));
        self.report.entry(place, &text);
    }

    pub fn warning(&self, at: &At, text: &str) {
        let text = format!("{}: {text}", self.name.borrow());
        self.report.warning(at.place(), &text);
    }
}

/// Keys that say who may use something and how much of it, in any letter case. A misplaced or repeated one would be a
/// rule that its author believes to be in force.
pub(in super::super) fn is_rule(key: &str) -> bool {
    let key = folded(key);
    key.starts_with("allowed_") || key.starts_with("tpm_") || names_rule(&key)
}

/// Whether it can only have been meant as a rule. A key of another program may begin with `tpm_`.
fn is_mistaken(key: &str) -> bool {
    let key = folded(key);
    names_rule(&key) || !key.starts_with("tpm_")
}

/// The rules themselves.
pub(in super::super) const RULES: [&str; 4] = [
    "allowed_globus_groups",
    "allowed_domains",
    "tpm_model",
    "tpm_user",
];

fn folded(key: &str) -> String {
    key.trim().to_lowercase().replace(['-', ' '], "_")
}

/// Whether it is a rule except for its underscores (`allowedDomains`).
fn names_rule(key: &str) -> bool {
    let bare = |key: &str| key.replace('_', "");
    RULES.iter().any(|rule| bare(rule) == bare(key))
}

/// What other programs call some keys, without signs between the words.
const OTHER_NAMES: [(&[&str], &str); 4] = [
    (
        &["apikey", "key", "token", "bearer", "apikeyenv", "secret"],
        "api_key_env_name",
    ),
    (
        &[
            "url",
            "baseurl",
            "apibase",
            "backendurl",
            "endpointurl",
            "host",
        ],
        "api_url",
    ),
    (
        &["timeout", "requesttimeout", "timeouts"],
        "api_request_timeout",
    ),
    (
        &["verify", "verifyssl", "sslverify", "cafile", "cabundle"],
        "ca_cert_path",
    ),
];
/// In a shorter key, two slips make another word.
const SHORT_KEY: usize = 5;

impl<'a> Section<'a> {
    /// Reports unknown and repeated keys of `fields`.
    pub fn finish_fields(self) {
        self.check_twice();
        // There the keys of `config` stand beside these, and adapters have keys of their own.
        let is_settings = self.at.source.is_settings;
        for member in self.left() {
            let key = member.key.as_str();
            let of_config = self.entry.is_some_and(|entry| entry.keys.of_config(key));
            if is_settings && (of_config || !is_rule(key)) {
                self.check_slip(member);
                continue;
            }
            let is_rule = is_settings || is_rule(key) && is_mistaken(key);
            let name = self.dotted(key);
            let hint = match of_config {
                true => "it belongs into `config`".to_owned(),
                false => self.hint(key, "known"),
            };
            if is_rule {
                let text = format!("`{name}` is not a rule that Ostia knows; {hint}");
                self.tell(&member.key_at, &text);
            } else {
                let text = format!("`{name}` is not known and is ignored; {hint}");
                self.warn(&member.key_at, &text);
            }
        }
    }

    /// Reports rules in `config`, where they have no effect, and repeated keys. In `ostia.toml` there is no `config`,
    /// and `finish_fields` has checked all keys.
    pub fn check_config(&self) {
        self.check_twice();
        for member in self.members {
            self.check_within(&self.dotted(&member.key), &member.node);
        }
        if self.at.source.is_settings {
            return;
        }
        for member in self.members {
            let key = member.key.as_str();
            if self.entry.is_some_and(|entry| entry.keys.of_config(key)) {
                continue;
            }
            if is_rule(key) {
                let text = "is a rule, which has no effect in `config`: move it beside `config`, into the entry's `fields`";
                self.error_at(&member.key_at, key, text);
            } else {
                self.check_slip(member);
            }
        }
    }

    /// Warns of a key that is nearly one that is known.
    fn check_slip(&self, member: &Member) {
        if let Some(meant) = self.meant(&member.key) {
            let name = self.dotted(&member.key);
            let what = match meant {
                "api_key_env_name" => ", the name of the variable that holds the key",
                _ => "",
            };
            let text =
                format!("`{name}` does nothing that Ostia knows; did you mean `{meant}`{what}?");
            self.warn(&member.key_at, &text);
        } else if let Some(rule) = nearest(&member.key, &RULES) {
            let name = self.dotted(&member.key);
            let text = format!(
                "`{name}` does nothing that Ostia knows; if `{rule}` is meant, it belongs in the entry's `fields` (in ostia.toml, beside the entry's other keys)"
            );
            self.warn(&member.key_at, &text);
        }
    }

    /// The known key that a misspelt one stands for: with other capitals or signs between its words, with a slip, or as
    /// other programs call it. The last only in `ostia.toml` and without an adapter, which may have such keys of its
    /// own.
    fn meant(&self, key: &str) -> Option<&'static str> {
        let keys = self.entry?.keys;
        if keys.of_config(key) {
            return None;
        }
        // In `ostia.toml` the keys of `fields` stand beside these.
        let known = keys.names(self.at.source.is_settings);
        let bare = |key: &str| key.to_lowercase().replace(['_', '-', ' '], "");
        let same = known.iter().find(|name| bare(name) == bare(key));
        let has_adapter = self
            .members
            .iter()
            .any(|member| member.key == "endpoint_adapter");
        let of_others = || {
            let others = OTHER_NAMES
                .iter()
                .filter(|_| self.at.source.is_settings && !has_adapter);
            let mut others = others.filter(|(names, _)| names.contains(&&*bare(key)));
            let meant = others.next()?.1;
            known.contains(&meant).then_some(meant)
        };
        let slip = || (key.len() > SHORT_KEY).then(|| nearest(key, &known))?;
        let found = same.copied().or_else(of_others).or_else(slip);
        found.filter(|name| !is_rule(name) && *name != key)
    }

    /// Looks through deeper levels, which adapters may read and where rules have no effect.
    fn check_within(&self, path: &str, node: &Node) {
        match &node.value {
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.check_within(&format!("{path}.{index}"), item);
                }
            }
            Value::Map(members) => {
                for (index, member) in members.iter().enumerate() {
                    let key = member.key.as_str();
                    let name = format!("{path}.{key}");
                    if members[..index].iter().any(|earlier| earlier.key == key) {
                        let text = format!("`{name}` appears twice; this one, the later, counts");
                        self.warn(&member.key_at, &text);
                    }
                    if names_rule(&folded(key)) {
                        let text = format!(
                            "`{name}` has no effect: rules apply only in the entry's `fields`, beside `config`"
                        );
                        self.warn(&member.key_at, &text);
                    }
                    self.check_within(&name, &member.node);
                }
            }
            _ => {}
        }
    }

    fn check_twice(&self) {
        for (index, member) in self.members.iter().enumerate() {
            let key = member.key.as_str();
            let earlier = self.members[..index].iter();
            if !earlier.clone().any(|earlier| earlier.key == key) {
                continue;
            }
            let name = self.dotted(key);
            if is_rule(key) {
                let text =
                    format!("`{name}` appears twice: it is unclear which one is meant; remove one");
                self.tell(&member.key_at, &text);
            } else {
                let text = format!("`{name}` appears twice; this one, the later, counts");
                self.warn(&member.key_at, &text);
            }
        }
    }

    /// The keys at this level, repeated ones as often as they occur.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.members.iter().map(|member| member.key.as_str())
    }

    /// `config`: a map, or a text that holds one as JSON or as a Python literal. Absent, null and "" are {}. Null, once
    /// that is reported, if it cannot be read. In `ostia.toml` its keys stand beside the others.
    pub fn config(&self) -> Cow<'a, Node> {
        let owned = |at: &At, value| Cow::Owned(Node::new(at.clone(), value));
        if self.at.source.is_settings {
            if self.node("config").is_some() {
                let text = "has no effect in ostia.toml, where its keys stand beside the others: move them out of it";
                self.error("config", text);
            }
            let members = self.members.iter();
            let of_fields = |key: &str| self.entry.is_some_and(|entry| entry.keys.of_fields(key));
            let rest = members.filter(|member| !of_fields(&member.key));
            return owned(&self.at, Value::Map(rest.cloned().collect()));
        }
        let Some(node) = self.node("config") else {
            return owned(&self.at, Value::Map(Vec::new()));
        };
        match &node.value {
            Value::Map(_) => Cow::Borrowed(node),
            Value::Text(text) if text.trim().is_empty() => owned(&node.at, Value::Map(Vec::new())),
            Value::Text(text) => match read_config_text(text, &node.at) {
                Ok(map) => Cow::Owned(Node {
                    at: node.at.clone(),
                    ..map
                }),
                Err(fault) => {
                    self.error("config", &fault);
                    owned(&node.at, Value::Null)
                }
            },
            _ => {
                self.wrong("config", node, "an object, or a text that holds one");
                owned(&node.at, Value::Null)
            }
        }
    }
}

fn read_config_text(text: &str, at: &At) -> Result<Node, String> {
    if text.len() > python::MAX_BYTES {
        return Err("is a text of more than 64 KiB".to_owned());
    }
    let node = match json::parse(text, at) {
        Ok(node) if node.depth() > python::MAX_DEPTH => {
            return Err("is nested deeper than 32 levels".to_owned());
        }
        Ok(node) => node,
        Err(_) => python::parse(text, at).map_err(|fault| {
            let character = text.get(..fault.at).unwrap_or("").chars().count() + 1;
            format!(
                "is a text that holds neither JSON nor a Python literal: at its character {character}: {}",
                fault.text
            )
        })?,
    };
    match node.value {
        Value::Map(_) => Ok(node),
        _ => Err("is a text that must hold an object: {...}".to_owned()),
    }
}
