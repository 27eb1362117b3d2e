//! The same results from serde_json.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::super::MAX_DEPTH;
use super::super::fields::{Fields, Held, JsonKind, Shape, Slot};
use super::super::keys::{Keys, Role};
use super::super::lexeme::RawString;
use super::super::spot::Spot;
use super::super::tally::count_string;
use super::super::watch::{Sightings, Watch};
use super::{KEYS, watch};

struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);
struct Elements<'a>(Vec<&'a RawValue>);

pub(super) fn reference_scan(body: &[u8]) -> Option<Fields<'_>> {
    let text = std::str::from_utf8(body).ok()?;
    let Members(members) = serde_json::from_str(text).ok()?;
    let mut fields = Fields::new(body, text.find('{')? + 1);
    fields.is_empty = members.is_empty();
    let watch = watch();
    for (key, value) in members {
        if nesting(value.get()) >= MAX_DEPTH {
            return None;
        }
        let range = range_in(text, value.get());
        let mut shape = shape_of(value.get());
        let name = raw_string(key.get());
        if let Some(denied) = watch.denied(name).filter(|_| value.get() != "null") {
            fields.sightings.field(denied);
        }
        let Some(key) = KEYS.find(name).ok()? else {
            continue;
        };
        if !key.may_repeat() && fields.get(key).is_some() {
            return None;
        }
        match key.role() {
            Role::Counted | Role::Placed | Role::Prompt => {
                count(value.get(), &mut fields, false, false)
            }
            Role::Tensors => count(value.get(), &mut fields, false, true),
            Role::Holding(name) => {
                fields.held = Held {
                    member: member(text, value.get(), name)?,
                    is_empty: children(value.get()).is_empty() || !value.get().starts_with('{'),
                };
            }
            Role::Options(keys) => {
                let before = fields.options.len();
                options(text, value.get(), keys(), &watch, &mut fields, before)?;
            }
            Role::Plain | Role::Watched | Role::Noted => {}
        }
        let sightings = &mut fields.sightings;
        sight(value.get(), key.spot(), key.name(), &watch, sightings);
        if key.spot() == Spot::Items && value.get().starts_with('[') {
            let mut elements = elements(value.get()).into_iter();
            fields.refers_to_items |= elements.any(refers);
        }
        let is_first =
            matches!(key.role(), Role::Noted | Role::Placed) && fields.get(key).is_none();
        if key.may_repeat() && !is_first {
            continue;
        }
        if !matches!(key.role(), Role::Prompt | Role::Placed | Role::Tensors) {
            shape = Shape::of(shape.kind);
        }
        fields.put(key, range, shape);
    }
    Some(fields)
}

/// Looks at a value and all that is in it.
fn sight(value: &str, spot: Spot, field: &'static str, watch: &Watch, seen: &mut Sightings) {
    match kind_of(value) {
        JsonKind::String if matches!(spot, Spot::Kind | Spot::PartUrl) => {}
        JsonKind::String => seen.string(spot, value.as_bytes(), watch, field),
        JsonKind::Null => {}
        JsonKind::Array | JsonKind::EmptyArray => {
            for element in elements(value) {
                sight(element, spot, field, watch, seen);
            }
        }
        JsonKind::Object => {
            for (key, member) in members(value) {
                let mut buffer = [0; 32];
                let name = raw_string(key).folded(&mut buffer);
                let inner = name.map_or(Spot::Elsewhere, |name| spot.member(name));
                sight(member, inner, field, watch, seen);
            }
            if spot.is_part() {
                part_urls(value, spot, field, watch, seen);
            }
        }
        _ => seen.refers(spot),
    }
}

/// Looks at the `url` and `path` of a part, if it is one of media or has nothing else to say.
fn part_urls(part: &str, spot: Spot, field: &'static str, watch: &Watch, seen: &mut Sightings) {
    let name = |key: &str| raw_string(key).folded(&mut [0; 32]).map(<[u8]>::to_vec);
    let members = members(part);
    let named = members
        .iter()
        .filter_map(|(key, value)| Some((name(key)?, *value)));
    let (mut kinds, mut has_text, mut urls) = (Vec::new(), false, Sightings::default());
    for (name, value) in named {
        has_text |= ["text", "title", "content"].contains(&&*String::from_utf8_lossy(&name));
        for string in strings(value) {
            match spot.member(&name) {
                Spot::Kind => kinds.push(decoded(string).unwrap_or_default().to_lowercase()),
                Spot::PartUrl => urls.string(Spot::Url, string.as_bytes(), watch, field),
                _ => {}
            }
        }
    }
    if kinds.iter().any(|kind| kind == "image") || kinds.is_empty() && !has_text {
        seen.add_media(urls);
    }
}

/// A string, or those in an array.
fn strings(value: &str) -> Vec<&str> {
    match value.as_bytes()[0] {
        b'"' => vec![value],
        b'[' => elements(value).into_iter().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

/// Whether an element of a list only names what is stored.
fn refers(element: &str) -> bool {
    if !element.starts_with('{') {
        return false;
    }
    let folded = |key: &str| {
        let mut buffer = [0; 32];
        raw_string(key).folded(&mut buffer).map(<[u8]>::to_vec)
    };
    let all = members(element);
    let named = |name: &str| -> Vec<&str> {
        let those = all
            .iter()
            .filter(|(key, _)| folded(key).as_deref() == Some(name.as_bytes()));
        those.map(|(_, value)| *value).collect()
    };
    let [kinds, ids, roles, results] = ["type", "id", "role", "result"].map(named);
    if [&kinds, &ids, &roles, &results]
        .iter()
        .any(|values| values.len() > 1)
    {
        return true;
    }
    let given = |values: &[&str]| values.iter().any(|value| *value != "null");
    match kinds.first().filter(|kind| **kind != "null") {
        Some(kind) if !kind.starts_with('"') => true,
        Some(kind) => match decoded(kind).as_deref() {
            Some("item_reference") => true,
            Some("image_generation_call") => given(&ids) && !given(&results),
            _ => false,
        },
        None => given(&ids) && !given(&roles),
    }
}

/// The keys of an options object; `None` if one occurs twice.
fn options(
    text: &str,
    value: &str,
    keys: &'static Keys,
    watch: &Watch,
    fields: &mut Fields<'_>,
    before: usize,
) -> Option<()> {
    if !value.starts_with('{') {
        return Some(());
    }
    for (key, member) in members(value) {
        if let Some(denied) = watch.denied(raw_string(key)).filter(|_| member != "null") {
            fields.sightings.field(denied);
        }
        let Some(key) = keys.find_in_any_letters(raw_string(key)) else {
            continue;
        };
        if let Role::Options(keys) = key.role() {
            options(text, member, keys(), watch, fields, before)?;
            continue;
        }
        if fields.options[before..]
            .iter()
            .any(|(known, _)| *known == key.name())
        {
            return None;
        }
        let start = range_in(text, member).start;
        // Only the beginning of a container is kept: it is not a count.
        let end = match kind_of(member) {
            JsonKind::Array | JsonKind::EmptyArray | JsonKind::Object => start + 1,
            _ => start + member.len(),
        };
        let shape = Shape::of(kind_of(member));
        fields
            .options
            .push((key.name(), Slot { start, end, shape }));
    }
    Some(())
}

fn raw_string(quoted: &str) -> RawString<'_> {
    RawString {
        inner: &quoted.as_bytes()[1..quoted.len() - 1],
        escaped: quoted.contains('\\'),
    }
}

fn decoded(quoted: &str) -> Option<String> {
    serde_json::from_str(quoted).ok()
}

fn range_in(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

fn kind_of(value: &str) -> JsonKind {
    match value.as_bytes()[0] {
        b'n' => JsonKind::Null,
        b't' => JsonKind::True,
        b'f' => JsonKind::False,
        b'"' => JsonKind::String,
        b'{' => JsonKind::Object,
        b'[' if elements(value).is_empty() => JsonKind::EmptyArray,
        b'[' => JsonKind::Array,
        _ if value.contains(['.', 'e', 'E']) => JsonKind::Fraction,
        _ => JsonKind::Integer,
    }
}

fn elements(value: &str) -> Vec<&str> {
    let Elements(elements) = serde_json::from_str(value).unwrap();
    elements.into_iter().map(RawValue::get).collect()
}

fn members(value: &str) -> Vec<(&str, &str)> {
    let Members(members) = serde_json::from_str(value).unwrap();
    members
        .iter()
        .map(|(key, value)| (key.get(), value.get()))
        .collect()
}

fn children(value: &str) -> Vec<(&str, &str)> {
    match value.as_bytes()[0] {
        b'{' => members(value),
        b'[' => elements(value)
            .into_iter()
            .map(|element| ("\"\"", element))
            .collect(),
        _ => Vec::new(),
    }
}

fn nesting(value: &str) -> usize {
    let deepest = children(value)
        .iter()
        .map(|(_, child)| nesting(child))
        .max();
    usize::from(matches!(value.as_bytes()[0], b'{' | b'[')) + deepest.unwrap_or(0)
}

fn shape_of(value: &str) -> Shape {
    let mut shape = Shape::of(kind_of(value));
    for (_, element) in children(value) {
        shape.elements += 1;
        shape.element_kinds.add(kind_of(element));
        for (_, inner) in children(element) {
            shape.inner_kinds.add(kind_of(inner));
        }
    }
    shape
}

fn count(value: &str, fields: &mut Fields<'_>, media_key: bool, only_media: bool) {
    match kind_of(value) {
        JsonKind::String => {
            let inner = raw_string(value).inner;
            count_string(&mut fields.prompt, inner, media_key || only_media);
        }
        JsonKind::Integer => fields.prompt.token_ids += 1,
        _ => {
            for (key, child) in children(value) {
                let media_key = key == "\"data\"" || key == "\"file_data\"";
                count(child, fields, media_key, only_media);
            }
        }
    }
}

/// The last member of this name; `None` if one has it in other letters.
fn member(text: &str, value: &str, name: &str) -> Option<Option<Slot>> {
    if !value.starts_with('{') {
        return Some(None);
    }
    let mut found = None;
    for (key, value) in members(value) {
        if decoded(key).as_deref() == Some(name) {
            let range = range_in(text, value);
            found = Some(Slot {
                start: range.start,
                end: range.end,
                shape: Shape::of(kind_of(value)),
            });
        } else if raw_string(key).folded(&mut [0; 32]) == Some(name.as_bytes()) {
            return None;
        }
    }
    Some(found)
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Elements<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Elements<'de>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element()? {
                    elements.push(element);
                }
                Ok(Elements(elements))
            }
        }
        deserializer.deserialize_seq(Collect)
    }
}
