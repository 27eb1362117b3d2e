//! `responses`.
//!
//! Whatever a backend keeps for a later request, it keeps for the one key it knows: all users'. A response may be
//! continued by who made it (`previous_response_id`, judged after authorization); conversations and items that are
//! named by their id have no maker that the gateway knows, and are refused.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Invalid;
use super::facts::{Facts, cap};
use super::scan::{Fields, Key, Kind, Value};

/// An element of `input`. A member that stands twice makes it unreadable: backends take the last.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(rename = "type", default, borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(default)]
    id: Option<IgnoredAny>,
    #[serde(default)]
    role: Option<IgnoredAny>,
}

pub(super) fn facts(fields: &Fields<'_>) -> Result<Facts, Invalid> {
    let mut facts = Facts::of(fields)?.with_output_cap(cap(fields, Key::MaxOutputTokens));
    if let Some(previous) = fields.given(Key::PreviousResponseId) {
        let id = previous
            .as_str()
            .ok_or_else(|| Invalid::value(Key::PreviousResponseId, "expected a string"))?;
        facts.previous_response_id = Some(id.into());
    }
    if fields.given(Key::Conversation).is_some() {
        return Err(Invalid::value(
            Key::Conversation,
            "conversations are not served; send the items themselves in 'input'",
        ));
    }
    if fields.given(Key::Input).is_some_and(refers_to_stored_items) {
        return Err(Invalid::value(
            Key::Input,
            "references to stored items are not served; send the items themselves",
        ));
    }
    Ok(facts)
}

fn refers_to_stored_items(input: Value<'_>) -> bool {
    input.kind() == Kind::Array
        && !matches!(elements(input.raw()), Some(items) if items.iter().all(Item::is_whole))
}

/// The elements that are objects; `None` if one of them cannot be read.
fn elements(list: &str) -> Option<Vec<Item<'_>>> {
    let raw: Vec<&serde_json::value::RawValue> = serde_json::from_str(list).ok()?;
    raw.into_iter()
        .filter(|element| element.get().starts_with('{'))
        .map(|element| serde_json::from_str(element.get()).ok())
        .collect()
}

impl Item<'_> {
    /// A reference has the type `item_reference`, which may be left out: then it is an id and nothing that speaks.
    fn is_whole(&self) -> bool {
        match &self.kind {
            Some(kind) => kind != "item_reference",
            None => self.id.is_none() || self.role.is_some(),
        }
    }
}
