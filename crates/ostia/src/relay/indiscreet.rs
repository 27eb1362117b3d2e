//! Finds stream events that reveal what error bodies must not reveal.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;
use memchr::{memchr2, memmem};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::disclosure::{holds_plain_key, tells_too_much};
use crate::catalog::Target;

/// What is wrong with an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Indiscreet {
    /// Comments or other lines next to its data: this is the rest of it.
    Beside(Bytes),
    /// Its data.
    Data,
}

/// Whether an object has a member in which a backend speaks, and not the model.
struct Spoken(bool);

#[derive(Deserialize)]
struct Failed<'a> {
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
    #[serde(default, borrow)]
    finish_reason: Option<&'a RawValue>,
}

/// Checks the parts of an event that are not the model's output: an error, data that is not an object, comments, and
/// every other line; and all of it for the key as it is. If there are none of these, it costs a few searches through the
/// event.
pub(super) fn indiscreet(event: &Bytes, target: &Target) -> Option<Indiscreet> {
    if event.len() < shortest_secret(target) {
        return None;
    }
    let (data, beside) = parts(event);
    if holds_plain_key(&data, target) || is_own_word(&data) && tells(&data, target) {
        return Some(Indiscreet::Data);
    }
    let key = target.key.as_ref().map(|key| key.expose().as_bytes());
    let harmless = |line: &[u8]| {
        let is_name = |byte: &u8| byte.is_ascii_lowercase() || b"._ ".contains(byte);
        let holds_key = |name: &[u8]| {
            key.is_some_and(|key| !key.is_empty() && memmem::find(name, key).is_some())
        };
        line.strip_prefix(b"event:")
            .is_some_and(|name| name.len() <= 64 && name.iter().all(is_name) && !holds_key(name))
    };
    if beside.iter().all(|line| harmless(line)) {
        return None;
    }
    let joined = beside.join(&b'\n');
    tells_too_much(&joined, target).then(|| {
        let mut left = Vec::with_capacity(data.len() + 8);
        if !data.is_empty() {
            left = [b"data: ".as_slice(), &data, b"\n\n"].concat();
        }
        Indiscreet::Beside(left.into())
    })
}

/// Shorter text contains neither the key nor an address.
fn shortest_secret(target: &Target) -> usize {
    let key = target.key.as_ref().map(|key| key.expose().len());
    let hosts = target.replicas.iter().map(|replica| &replica.origin);
    let hosts = hosts
        .chain([&target.origin])
        .map(|origin| origin.host.len());
    let secrets = hosts.chain(key).filter(|length| *length > 0);
    secrets.min().unwrap_or(0)
}

/// Whether a complete answer contains the key, or an error that reveals too much. An answer that is not JSON is what was
/// requested.
pub(super) fn answer_tells(answer: &[u8], target: &Target) -> bool {
    let answer = answer.trim_ascii_start();
    let speaks = match answer.first() {
        Some(b'{') => is_own_word(answer),
        Some(b'[') => serde_json::from_slice::<&RawValue>(answer).is_ok_and(one_speaks),
        first => first == Some(&b'"'),
    };
    holds_plain_key(answer, target) || speaks && tells(answer, target)
}

/// Whether an event that is too long to be held begins like an error, or with a comment. Error bodies of this length are
/// withheld as well.
pub(super) fn begins_as_error(part: &[u8]) -> bool {
    const BEGINNING: usize = 256;
    let begin = &part[..part.len().min(BEGINNING)];
    let is_field = begin.starts_with(b"data") || begin.starts_with(b"event");
    !is_field || begin.starts_with(b"event: error") || names_fault(begin)
}

/// Whether the beginning of an event names a fault that is not null.
fn names_fault(begin: &[u8]) -> bool {
    static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"error\""));
    static DETAIL: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"{\"detail\""));
    let is_null = |behind: &[u8]| {
        let value = behind.trim_ascii_start().strip_prefix(b":");
        value.is_some_and(|value| value.trim_ascii_start().starts_with(b"null"))
    };
    let mut errors = ERROR.find_iter(begin);
    errors.any(|at| !is_null(&begin[at + ERROR.needle().len()..])) || DETAIL.find(begin).is_some()
}

/// The data, and the lines that are not data.
fn parts(event: &[u8]) -> (Cow<'_, [u8]>, Vec<&[u8]>) {
    let mut data: Option<Cow<'_, [u8]>> = None;
    let mut beside = Vec::new();
    let mut rest = event;
    while !rest.is_empty() {
        let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        let Some(value) = line.strip_prefix(b"data:") else {
            if !line.is_empty() {
                beside.push(line);
            }
            continue;
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        data = Some(match data {
            None => Cow::Borrowed(value),
            Some(before) => Cow::Owned([&*before, b"\n", value].concat()),
        });
    }
    (data.unwrap_or_default(), beside)
}

fn is_own_word(data: &[u8]) -> bool {
    let data = data.trim_ascii();
    if !data.starts_with(b"{") {
        return !data.is_empty() && data != b"[DONE]";
    }
    may_speak(data) && serde_json::from_slice::<Spoken>(data).map_or(true, |spoken| spoken.0)
}

/// Whether it is worth a look at the members: few searches tell most events of a model from all else. The quote before
/// `detail` leaves out `prompt_tokens_details`, which most answers have.
fn may_speak(data: &[u8]) -> bool {
    // The last two: no choice, so whatever else there is, is the backend's.
    static FAULTS: LazyLock<[Finder<'static>; 5]> = LazyLock::new(|| {
        let names = [
            "error",
            "\"detail",
            "\\u00",
            "\"choices\":[]",
            "\"choices\": []",
        ];
        names.map(Finder::new)
    });
    static OUTPUT: LazyLock<[Finder<'static>; 2]> =
        LazyLock::new(|| ["\"choices\"", "\"delta\""].map(Finder::new));
    let holds = |names: &[Finder<'static>]| names.iter().any(|name| name.find(data).is_some());
    holds(&*FAULTS) || !holds(&*OUTPUT)
}

/// Where engines, frameworks and proxies put their own texts; a `message` that is an object is the model's.
fn is_speech(name: &str, value: &str) -> bool {
    const SPEECH: [&str; 22] = [
        "error",
        "errors",
        "detail",
        "details",
        "msg",
        "reason",
        "description",
        "title",
        "error_message",
        "error_description",
        "error_msg",
        "err",
        "exception",
        "failure",
        "cause",
        "hint",
        "warning",
        "warnings",
        "debug",
        "trace",
        "traceback",
        "stack",
    ];
    let is_name = |speech: &str| name.eq_ignore_ascii_case(speech);
    match value {
        "null" => false,
        _ if SPEECH.iter().any(|speech| is_name(speech)) => true,
        _ if is_name("message") => !value.starts_with('{'),
        _ if is_name("object") => value.contains("error"),
        _ if is_name("type") => value == "\"error\"" || value.ends_with(".failed\""),
        _ => false,
    }
}

/// Whether an object or, in a list, an element says that it failed.
fn one_speaks(value: &RawValue) -> bool {
    match value.get().as_bytes().first() {
        Some(b'{') => serde_json::from_str::<Spoken>(value.get()).is_ok_and(|spoken| spoken.0),
        Some(b'[') if memmem::find(value.get().as_bytes(), b"error").is_some() => {
            serde_json::from_str::<Elements>(value.get()).is_ok_and(|one| one.0)
        }
        _ => false,
    }
}

fn failed(value: &RawValue) -> bool {
    let told = serde_json::from_str::<Failed<'_>>(value.get());
    let is_given = |value: Option<&RawValue>| value.is_some_and(|value| value.get() != "null");
    let is_error = |reason: &RawValue| reason.get() == "\"error\"";
    told.is_ok_and(|told| is_given(told.error) || told.finish_reason.is_some_and(is_error))
}

impl<'de> Deserialize<'de> for Spoken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SpokenVisitor)
    }
}

struct SpokenVisitor;

impl<'de> Visitor<'de> for SpokenVisitor {
    type Value = Spoken;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Spoken, A::Error> {
        let mut speaks = false;
        while let Some((name, value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            speaks |= is_speech(&name.0, value.get());
            speaks |= match (&*name.0, value.get().as_bytes().first()) {
                ("response", Some(b'{')) => failed(value),
                (_, Some(b'[')) => one_speaks(value),
                _ => false,
            };
        }
        Ok(Spoken(speaks))
    }
}

/// Whether an element of a list says that it failed.
struct Elements(bool);

impl<'de> Deserialize<'de> for Elements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ElementsVisitor)
    }
}

struct ElementsVisitor;

impl<'de> Visitor<'de> for ElementsVisitor {
    type Value = Elements;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Elements, A::Error> {
        let mut speaks = false;
        while let Some(element) = list.next_element::<&RawValue>()? {
            speaks = speaks || failed(element);
        }
        Ok(Elements(speaks))
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// As it is written, and with its escapes undone.
fn tells(data: &[u8], target: &Target) -> bool {
    if tells_too_much(data, target) {
        return true;
    }
    let decoded = serde_json::from_slice::<Value>(data);
    decoded.is_ok_and(|decoded| tells_too_much(decoded.to_string().as_bytes(), target))
}

#[cfg(test)]
mod tests {
    use ostia_core::Secret;

    use super::*;
    use crate::catalog::{Origin, Scheme, Timeouts};

    fn target() -> Target {
        let origin = Origin {
            scheme: Scheme::Http,
            host: "gpu7.lab".into(),
            port: 8000,
        };
        Target {
            key: Some(Secret::new("sk-secret".to_owned())),
            ..Target::plain(origin, Timeouts::default())
        }
    }

    fn of(event: &'static str) -> Option<Indiscreet> {
        indiscreet(&Bytes::from_static(event.as_bytes()), &target())
    }

    #[test]
    fn errors_that_tell_too_much_are_found_in_every_shape() {
        for event in [
            "data: {\"error\":{\"message\":\"bad key sk-secret\"}}\n\n",
            "data: {\"error\":{\"message\":\"bad key sk\\u002dsecret\"}}\n\n",
            "data: {\"\\u0065rror\":{\"message\":\"bad key sk-secret\"}}\n\n",
            "data: {\"error\":\"at gpu7.lab:8000\"}\n\n",
            "data: {\"error\":\"?key=%73k-secret\"}\n\n",
            "data: {\"choices\":[],\"error\":{\"message\":\"SK-SECRET\"}}\n\n",
            "data: {\"object\":\"error\",\"message\":\"sk-secret\"}\n\n",
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"message\":\"sk-secret\"}}\n\n",
            "data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"message\":\"sk-secret\"}}}\n\n",
            "data: {\"type\":\"response.completed\",\"response\":{\"error\":{\"message\":\"sk-secret\"}}}\n\n",
            "data: {\"error\":\ndata: \"sk-secret\"}\n\n",
            "data: internal error: sk-secret\n\n",
            "data: {\"error\": sk-secret\n\n",
            "data:\"sk-secret\"\n\n",
            "data: {\"detail\":\"bad key sk-secret\"}\n\n",
            "data: {\"detail\":[{\"msg\":\"sk-secret\"}]}\n\n",
            "data: {\"Message\":\"sk-secret\"}\n\n",
            "data: {\"type\":\"unauthorized\",\"message\":\"sk-secret\"}\n\n",
            "data: {\"type\":\"about:blank\",\"title\":\"sk-secret\"}\n\n",
            "data: {\"code\":401,\"msg\":\"at http://gpu7.lab/v1\"}\n\n",
            "data: {\"errors\":[\"sk-secret\"]}\n\n",
            "data: {\"choices\":[{\"error\":{\"message\":\"sk-secret\"}}]}\n\n",
            "data: {\"choices\":[{\"index\":0},{\"delta\":{\"content\":\"sk-secret\"},\"finish_reason\":\"error\"}]}\n\n",
            "data: {\"data\":[{\"embedding\":null,\"error\":\"sk-secret\"}]}\n\n",
            "data: {\"choices\":[],\"d\\u0065tail\":\"sk-secret\"}\n\n",
        ] {
            assert_eq!(of(event), Some(Indiscreet::Data), "{event}");
        }
    }

    #[test]
    fn lines_beside_the_data_go_and_the_data_stays() {
        let left =
            |data: &'static str| Some(Indiscreet::Beside(Bytes::from_static(data.as_bytes())));
        assert_eq!(of(": trace sk-secret\n\n"), left(""));
        assert_eq!(
            of(": via http://gpu7.lab/v1\ndata: {\"a\":1}\n\n"),
            left("data: {\"a\":1}\n\n")
        );
        assert_eq!(of("id: sk-secret\rdata: 1\r\r"), left("data: 1\n\n"));
        assert_eq!(of("x-debug: sk%2Dsecret\n\n"), left(""));
        assert_eq!(of("event: sk-secret\ndata: {}\n\n"), left("data: {}\n\n"));
    }

    #[test]
    fn what_the_model_says_is_not_looked_at() {
        for event in [
            "data: {\"choices\":[{\"delta\":{\"content\":\"error: sk-secret at gpu7.lab:8000\"}}]}\n\n",
            "data: {\"choices\":[{\"delta\":{\"content\":\"sk\\u002dsecret\"}}],\"error\":null}\n\n",
            "data: {\"choices\":[{\"delta\":{\"content\":\"detail sk-secret\"},\"error\":null}],\"detail\":null}\n\n",
            "data: {\"message\":{\"role\":\"assistant\",\"content\":\"sk-secret\"}}\n\n",
            "data: {\"type\":\"response.output_text.done\",\"text\":\"sk-secret\"}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"sk-secret\"}}\n\n",
            "data: [DONE]\n\n",
            ": keep-alive\n\n",
            "data: {\"error\":{\"message\":\"too long\"}}\n\n",
            "id: 7\n\n",
            "\n",
        ] {
            assert_eq!(of(event), None, "{event}");
        }
    }

    #[test]
    fn an_answer_that_is_an_error_is_looked_at() {
        for (answer, tells) in [
            (r#"{"detail":"bad key sk-secret"}"#, true),
            (r#" {"status":"error","message":"sk-secret"}"#, true),
            (r#"{"choices":[{"error":{"message":"sk-secret"}}]}"#, true),
            (r#"{"output":[{"error":"sk-secret"}],"choices":null}"#, true),
            (r#"[{"error":{"message":"sk-secret"}}]"#, true),
            (r#""bad key sk-secret""#, true),
            (r#"{"detail":"bad key"}"#, false),
            (
                r#"{"choices":[{"message":{"content":"sk-secret"}}]}"#,
                false,
            ),
            (
                r#"{"results":[{"index":0,"document":{"text":"sk-secret"}}]}"#,
                false,
            ),
            (r#"[{"index":0,"text":"sk-secret"}]"#, false),
            ("sk-secret", false),
        ] {
            assert_eq!(
                answer_tells(answer.as_bytes(), &target()),
                tells,
                "{answer}"
            );
        }
    }

    #[test]
    fn long_events_show_how_they_begin() {
        for (event, is_error) in [
            ("data: {\"error\":{\"message\":\"", true),
            ("event: error\ndata: {\"message\":\"", true),
            ("data: {\"type\":\"error\",\"message\":\"", true),
            (": sk-", true),
            ("data: {\"detail\":\"", true),
            ("data: {\"id\":\"1\",\"choices\":[{\"delta\":{", false),
            (
                "data: {\"type\":\"response.created\",\"response\":{\"error\": null,\"instructions\":\"",
                false,
            ),
            (
                "event: response.created\ndata: {\"type\":\"response.created\",",
                false,
            ),
        ] {
            assert_eq!(begins_as_error(event.as_bytes()), is_error, "{event}");
        }
    }
}
