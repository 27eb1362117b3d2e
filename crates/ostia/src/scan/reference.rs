//! The same results from serde_json: slow, recursive, and short enough to be trusted.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use futures_util::FutureExt;
use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::fields::{Fields, Held, JsonKind, PromptSize, Shape, Slot};
use super::keys::{FieldKey, Keys, Role};
use super::lexeme::RawString;
use super::link::MediaHosts;
use super::spot::Spot;
use super::watch::{Sightings, Watch};
use super::weight::{Weight, weigh};
use super::{BLOCK, MAX_DEPTH, ScanError, ScanErrorKind};

const MODEL: FieldKey = FieldKey::new("model");
const N: FieldKey = FieldKey::new("n");

static COUNTS: Keys = Keys::of(&[&[N, FieldKey::options("options", || &COUNTS)]]);
static KEYS: Keys = Keys::of(&[
    &[
        MODEL,
        N,
        FieldKey::new("stream"),
        FieldKey::new("max_tokens"),
    ],
    &[
        FieldKey::holding("stream_options", "include_usage"),
        FieldKey::options("options", || &COUNTS),
        FieldKey::prompt("messages"),
        FieldKey::prompt("prompt"),
        FieldKey::prompt("input").at(Spot::Items),
        FieldKey::tensors("prompt_embeds"),
        FieldKey::counted("system"),
        FieldKey::noted("cache_salt"),
        FieldKey::counted("tools").at(Spot::Tools),
        FieldKey::watched("container", Spot::Container),
    ],
]);

fn watch() -> Watch {
    let mut watch = Watch::default();
    watch.deny("rid");
    watch.deny("n");
    watch.hosts(&Arc::new(MediaHosts::Public));
    watch.hosts(&Arc::new(MediaHosts::Listed(Vec::new())));
    watch
}

/// Runs a scan of a small body, which never pauses.
fn scan(body: &[u8]) -> Result<Fields<'_>, ScanError> {
    super::scan(body, &KEYS, &watch()).now_or_never().unwrap()
}

struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);
struct Elements<'a>(Vec<&'a RawValue>);

pub fn reference_scan(body: &[u8]) -> Option<Fields<'_>> {
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
            Role::Counted | Role::Placed | Role::Prompt | Role::Tensors => {
                count(value.get(), key, key.spot(), None, &mut fields.prompt);
            }
            Role::Watched => {
                let mut prompt = PromptSize::default();
                count(value.get(), key, key.spot(), None, &mut prompt);
                fields.prompt.media += prompt.media;
            }
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
            Role::Plain | Role::Noted => {}
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
        JsonKind::String
            if matches!(
                spot,
                Spot::Kind | Spot::PartUrl | Spot::PartFileId | Spot::SourceKind
            ) => {}
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
                part(value, spot, field, watch, seen);
            }
        }
        _ => seen.refers(spot),
    }
}

/// Looks at the `url` and `path` of a part, if it is one of media or has nothing else to say, and at the files that it
/// names.
fn part(part: &str, spot: Spot, field: &'static str, watch: &Watch, seen: &mut Sightings) {
    let name = |key: &str| raw_string(key).folded(&mut [0; 32]).map(<[u8]>::to_vec);
    let members = members(part);
    let named = members
        .iter()
        .filter_map(|(key, value)| Some((name(key)?, *value)));
    let (mut kinds, mut has_text, mut urls) = (Vec::new(), false, Sightings::default());
    let mut names_file = false;
    for (name, value) in named {
        has_text |= ["text", "title", "content"].contains(&&*String::from_utf8_lossy(&name));
        for string in strings(value) {
            match spot.member(&name) {
                Spot::Kind => kinds.push(decoded(string).unwrap_or_default().to_lowercase()),
                Spot::PartUrl => urls.string(Spot::Url, string.as_bytes(), watch, field),
                Spot::PartFileId => names_file |= string != "\"\"",
                _ => {}
            }
        }
    }
    if kinds.iter().any(|kind| kind == "image") || kinds.is_empty() && !has_text {
        seen.add_media(urls);
    }
    if names_file && !kinds.iter().any(|kind| kind == "code_execution_output") {
        seen.refers(Spot::PartFileId);
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
    let says = |value: &&&str| **value != "null" && **value != "\"\"";
    let given = |values: &[&str]| values.iter().any(|value| says(&value));
    match kinds.first().filter(says) {
        Some(kind) if !kind.starts_with('"') => true,
        Some(kind) => match decoded(kind).as_deref() {
            Some("item_reference") => true,
            Some("image_generation_call") => {
                let is_text = results.iter().any(|result| result.starts_with('"'));
                given(&ids) && !(given(&results) && is_text)
            }
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
        // Of a container only its beginning is kept: it is no count.
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

/// `source`: whether the value is a member of a source of media, and whether that one holds text.
fn count(value: &str, key: FieldKey, spot: Spot, source: Option<bool>, prompt: &mut PromptSize) {
    match kind_of(value) {
        JsonKind::String => {
            let inner = raw_string(value).inner;
            match (weigh(key, spot, inner), source) {
                (Weight::Text, _) | (Weight::Data, Some(true)) => {
                    prompt.text_bytes += inner.len() as u64;
                }
                _ => prompt.media += 1,
            }
        }
        JsonKind::Integer | JsonKind::Fraction => prompt.token_ids += 1,
        JsonKind::Array | JsonKind::EmptyArray => {
            for element in elements(value) {
                count(element, key, spot, None, prompt);
            }
        }
        JsonKind::Object => {
            let members = members(value).into_iter().map(|(name, member)| {
                let name = raw_string(name).folded(&mut [0; 32]).map(<[u8]>::to_vec);
                (
                    name.map_or(Spot::Elsewhere, |name| spot.member(&name)),
                    member,
                )
            });
            let members: Vec<(Spot, &str)> = members.collect();
            let kinds = members
                .iter()
                .filter(|(inner, _)| *inner == Spot::SourceKind);
            let mut kinds = kinds.flat_map(|(_, value)| strings(value));
            let is_text = kinds
                .any(|kind| decoded(kind).is_some_and(|kind| kind.eq_ignore_ascii_case("text")));
            for (inner, member) in members {
                count(
                    member,
                    key,
                    inner,
                    (spot == Spot::Media).then_some(is_text),
                    prompt,
                );
            }
        }
        _ => {}
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

fn string_token() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "[a-z ]{0,12}",
        1 => "[a-z]{20,80}",
        1 => Just("é\u{1f980}".to_owned()),
        1 => Just("\\n".to_owned()),
        1 => Just("\\\"".to_owned()),
        1 => Just("\\\\".to_owned()),
        1 => Just("\\ud800".to_owned()),
        1 => Just("\\u0065".to_owned()),
        1 => Just("data:image/png;base64,AAAA".to_owned()),
        1 => Just("https://example.org/a".to_owned()),
        1 => Just("http:\\/\\/10.0.0.1/".to_owned()),
        1 => Just("item_reference".to_owned()),
        2 => Just("image".to_owned()),
    ];
    prop::collection::vec(piece, 0..3).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn scalar_token() -> impl Strategy<Value = String> {
    prop_oneof![
        string_token(),
        prop::sample::select(vec![
            "null",
            "true",
            "false",
            "0",
            "-0",
            "12",
            "-7",
            "1e400",
            "1.5",
            "2E+3",
            "18446744073709551615",
            "99999999999999999999",
        ])
        .prop_map(str::to_owned),
    ]
}

fn key_token() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(vec![
            "model", "stream", "stream_options", "max_tokens", "n", "best_of", "messages",
            "prompt", "prompt_embeds", "input", "previous_response_id", "conversation", "include_usage", "system",
            "data", "content", "temperature", "options", "tools", "container", "type", "id", "role", "ID",
            "Content", "source", "image_url", "url", "file_id", "File_\\u0049d", "audio", "path", "text", "rid", "RID", "Include_Usage", "mod\\u0065l", "\\u0069nclude_usage", "Model", "\u{17f}tream",
            "\\u004d\\u006fdel", "max_to\u{212a}ens", "\u{17f}ystem", "n\u{e9}",
        ])
        .prop_map(|key| format!("\"{key}\"")),
        1 => string_token(),
    ]
}

fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", " ", "\n\t"])
}

fn object_of(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec((key_token(), value, space()), 0..6).prop_map(|members| {
        let members: Vec<_> = members
            .into_iter()
            .map(|(key, value, space)| format!("{space}{key}{space}:{space}{value}{space}"))
            .collect();
        format!("{{{}}}", members.join(","))
    })
}

fn json_value() -> impl Strategy<Value = String> {
    scalar_token().prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..5), space())
                .prop_map(|(items, space)| format!("[{space}{}{space}]", items.join(","))),
            object_of(inner),
        ]
    })
}

fn mutate(text: &str, cuts: &[(prop::sample::Index, u8, u8)]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for (index, action, byte) in cuts {
        let at = index.index(bytes.len().max(1));
        match action % 4 {
            0 if at < bytes.len() => drop(bytes.remove(at)),
            1 => bytes.insert(at.min(bytes.len()), *byte),
            2 if at < bytes.len() => bytes[at] = *byte,
            3 => bytes.insert(
                at.min(bytes.len()),
                b"{}[]\",:\\ 0-.eu\n\x01"[*byte as usize % 16],
            ),
            _ => {}
        }
    }
    bytes
}

/// Runs a scan to its end, and counts its pauses.
fn scan_long(body: &[u8]) -> (Result<Fields<'_>, ScanError>, usize) {
    let watch = watch();
    let mut scan = std::pin::pin!(super::scan(body, &KEYS, &watch));
    let mut task = std::task::Context::from_waker(std::task::Waker::noop());
    let mut pauses = 0;
    loop {
        match scan.as_mut().poll(&mut task) {
            std::task::Poll::Ready(found) => return (found, pauses),
            std::task::Poll::Pending => pauses += 1,
        }
    }
}

fn agree(body: &[u8]) -> Result<(), TestCaseError> {
    let found = scan(body);
    if let Err(error) = found {
        prop_assert!(error.offset <= body.len());
    }
    prop_assert_eq!(
        found.ok(),
        reference_scan(body),
        "{}",
        String::from_utf8_lossy(body)
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_on_whole_objects(body in object_of(json_value())) {
        agree(body.as_bytes())?;
    }

    #[test]
    fn agrees_on_mutated_objects(
        body in object_of(json_value()),
        cuts in prop::collection::vec(any::<(prop::sample::Index, u8, u8)>(), 1..4),
    ) {
        agree(&mutate(&body, &cuts))?;
    }

    #[test]
    fn agrees_on_strings(text in prop::collection::vec(any::<u8>(), 0..90)) {
        agree(&[b"{\"input\":\"".as_slice(), &text, b"\"}"].concat())?;
    }

    #[test]
    fn agrees_on_numbers(text in "[-+0-9.eE]{1,8}") {
        agree(format!("{{\"n\":{text}}}").as_bytes())?;
    }

    #[test]
    fn never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
        agree(&body)?;
    }
}

#[test]
fn control_characters_and_quotes_are_found_at_every_position() {
    for length in 0..80 {
        for (special, fine) in [(0x1f, false), (0, false), (b'\\', false), (0x7f, true)] {
            for at in 0..length {
                let mut text = vec![b'x'; length];
                text[at] = special;
                let body = [b"{\"a\":\"".as_slice(), &text, b"\"}"].concat();
                assert_eq!(
                    scan(&body).is_ok(),
                    fine,
                    "{special:#x} at {at} of {length}"
                );
            }
        }
    }
}

#[test]
fn the_scan_pauses_after_each_block_whatever_the_body_holds() {
    let size = 3 * BLOCK;
    let filled = |piece: &str| piece.repeat(size / piece.len() + 1);
    for (before, piece, after) in [
        ("{\"input\":[", "{},", "{}]}"),
        ("{\"input\":[", "[],", "[]]}"),
        ("{\"input\":[", "1,", "1]}"),
        ("{\"x\":[", "\"a\",", "1]}"),
        ("{", "\"system\":\"x\",", "\"n\":1}"),
        ("{", "\"rid\":1,", "\"n\":1}"),
        ("{\"options\":{", "\"x\":1,", "\"n\":1}}"),
        ("{\"stream_options\":{", "\"x\":1,", "\"n\":1}}"),
        ("{\"input\":\"", "x", "\"}"),
        ("{\"input\":\"", "\\n", "\"}"),
        ("{\"input\":\"", "\u{1f980}", "\"}"),
        ("{\"", "x", "\":1}"),
        ("{\"", "\\u0041", "\":1}"),
        ("{\"n\":", " ", "1}"),
        ("", "\n", "{}"),
        ("{}", " ", ""),
    ] {
        let body = [before, &filled(piece), after].concat();
        let (found, pauses) = scan_long(body.as_bytes());
        assert!(found.is_ok(), "{before}{piece}: {found:?}");
        assert!(pauses >= size / BLOCK, "{before}{piece}: {pauses}");
        // Broken UTF-8 is found wherever it stands.
        for at in [
            body.len() - after.len(),
            before.len() + BLOCK - 1,
            before.len() + BLOCK,
        ] {
            let mut broken = body.clone().into_bytes();
            broken[at.min(body.len() - 1)] = 0xff;
            assert!(scan_long(&broken).0.is_err(), "{before}{piece} at {at}");
        }
    }
}

#[test]
fn a_character_may_stand_across_two_blocks() {
    for shift in 0..8 {
        let text = ["x".repeat(shift), "\u{1f980}\\u0041".repeat(BLOCK / 8)].concat();
        let body = format!("{{\"system\":\"{text}\"}}");
        let (found, _) = scan_long(body.as_bytes());
        assert_eq!(found.unwrap().prompt.text_bytes, text.len() as u64);
    }
}

#[test]
fn depth_is_counted_with_the_body_itself() {
    let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(scan(nested(MAX_DEPTH - 1).as_bytes()).is_ok());
    let error = scan(nested(MAX_DEPTH).as_bytes()).unwrap_err();
    assert_eq!(error.fault, ScanErrorKind::TooDeep);
    assert_eq!(error.offset, 5 + MAX_DEPTH - 1);
    let objects = format!("{{\"a\":{}", "{\"a\":".repeat(10_000));
    assert_eq!(
        scan(objects.as_bytes()).unwrap_err().fault,
        ScanErrorKind::TooDeep
    );
}

#[test]
fn faults_say_where() {
    let fault = |body: &[u8]| {
        let error = scan(body).unwrap_err();
        (error.fault, error.offset)
    };
    assert_eq!(fault(b"\xef\xbb\xbf{}"), (ScanErrorKind::ByteOrderMark, 0));
    assert_eq!(fault(b"{\"a\":\"\xff\"}"), (ScanErrorKind::NotUtf8, 6));
    assert_eq!(fault(b""), (ScanErrorKind::NotAnObject, 0));
    assert_eq!(fault(b" []"), (ScanErrorKind::NotAnObject, 1));
    assert_eq!(
        fault(b"{\"a\":NaN}"),
        (ScanErrorKind::Expected("a value"), 5)
    );
    assert_eq!(fault(b"{\"a\":1} x").1, 8);
    assert_eq!(
        fault(b"{\"model\":\"a\",\"mod\\u0065l\":\"b\"}"),
        (ScanErrorKind::Repeated(MODEL), 13)
    );
    assert_eq!(
        fault(b"{\"model\":\"a\",\"MODEL\":\"b\"}"),
        (ScanErrorKind::OtherLetters(MODEL), 13)
    );
    assert_eq!(
        fault(b"{\"n\":1,\"x\":2,\"n\":1}"),
        (ScanErrorKind::Repeated(N), 13)
    );
}

#[test]
fn keys_fold_as_go_folds_them() {
    for key in [
        "MODEL",
        "mode\\u004c",
        "\u{17f}tream",
        "\\u017fTREAM",
        "\\u017Ftream",
        "max_to\u{212a}ens",
        "max_to\\u212aens",
        "N",
    ] {
        let body = format!("{{\"{key}\":1}}");
        let found = scan(body.as_bytes()).map_err(|error| error.fault);
        assert!(
            matches!(found, Err(ScanErrorKind::OtherLetters(_))),
            "{key}"
        );
    }
    // Nobody takes any of these for a key.
    for key in [
        "m\u{f6}del",
        "\u{131}nput",
        "mode\\u006",
        "\\ud800n",
        "modelſ",
    ] {
        let body = format!("{{\"{key}\":1}}");
        let found = scan(body.as_bytes()).map_err(|error| error.fault);
        assert!(
            !matches!(found, Err(ScanErrorKind::OtherLetters(_))),
            "{key}"
        );
    }
}

#[test]
fn what_the_gateway_does_not_act_on_passes() {
    for body in [
        "{\"options\":{\"x\":1,\"x\":2}}",
        "{\"a\":1e400}",
        "{\"a\":\"\\ud800\"}",
        "{\"mod\\ud800el\":1}",
        "{\"a\":1,\"a\":2}",
        "{\"Temperature\":1}",
        "{\"system\":1,\"system\":2,\"SYSTEM\":3}",
        " {} ",
    ] {
        assert!(scan(body.as_bytes()).is_ok(), "{body}");
    }
}
