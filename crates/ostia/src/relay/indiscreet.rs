//! Finds stream events that reveal what error bodies must not reveal.

use std::borrow::Cow;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;
use memchr::{memchr2, memmem};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::disclosure::tells_too_much;
use crate::catalog::Target;

/// What is wrong with an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Indiscreet {
    /// Comments or other lines next to its data: this is the rest of it.
    Beside(Bytes),
    /// Its data.
    Data,
}

/// The members of an event's data that contain text of the backend, not of the model.
#[derive(Deserialize)]
struct Spoken<'a> {
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
    #[serde(default, borrow)]
    object: Option<&'a RawValue>,
    #[serde(rename = "type", default, borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    response: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Failed<'a> {
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
}

/// Checks the parts of an event that are not the model's output: an error, data that is not an object, comments, and
/// every other line. If there are none of these, it costs one search through the event.
pub(super) fn indiscreet(event: &Bytes, target: &Target) -> Option<Indiscreet> {
    if event.len() < shortest_secret(target) {
        return None;
    }
    let (data, beside) = parts(event);
    if is_own_word(&data) && tells(&data, target) {
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

/// Whether a complete answer contains an error that reveals too much. An answer that is not an object is what was
/// requested.
pub(super) fn answer_tells(answer: &[u8], target: &Target) -> bool {
    answer.trim_ascii_start().starts_with(b"{") && is_own_word(answer) && tells(answer, target)
}

/// Whether an event that is too long to be held begins like an error, or with a comment. Error bodies of this length are
/// withheld as well.
pub(super) fn begins_as_error(part: &[u8]) -> bool {
    const BEGINNING: usize = 256;
    static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"error\""));
    let begin = &part[..part.len().min(BEGINNING)];
    let is_field = begin.starts_with(b"data") || begin.starts_with(b"event");
    !is_field || begin.starts_with(b"event: error") || ERROR.find(begin).is_some()
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
    static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"error"));
    let data = data.trim_ascii();
    if !data.starts_with(b"{") {
        return !data.is_empty() && data != b"[DONE]";
    }
    static ESCAPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\\u00"));
    if ERROR.find(data).is_none() && ESCAPE.find(data).is_none() {
        return false;
    }
    let Ok(spoken) = serde_json::from_slice::<Spoken<'_>>(data) else {
        return true;
    };
    let is_given = |value: Option<&RawValue>| value.is_some_and(|value| value.get() != "null");
    let failed = spoken.response.is_some_and(|response| {
        serde_json::from_str::<Failed<'_>>(response.get())
            .is_ok_and(|failed| is_given(failed.error))
    });
    let is_error = |kind: &str| kind == "error" || kind.ends_with(".failed");
    failed
        || is_given(spoken.error)
        || spoken.kind.is_some_and(|kind| is_error(&kind))
        || spoken
            .object
            .is_some_and(|object| object.get().contains("error"))
}

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
    fn long_events_show_how_they_begin() {
        for (event, is_error) in [
            ("data: {\"error\":{\"message\":\"", true),
            ("event: error\ndata: {\"message\":\"", true),
            ("data: {\"type\":\"error\",\"message\":\"", true),
            (": sk-", true),
            ("data: {\"id\":\"1\",\"choices\":[{\"delta\":{", false),
            (
                "event: response.created\ndata: {\"type\":\"response.created\",",
                false,
            ),
        ] {
            assert_eq!(begins_as_error(event.as_bytes()), is_error, "{event}");
        }
    }
}
