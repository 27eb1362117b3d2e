use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use ostia_core::Usage;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::answer::Answer;
use super::long_event::LongEvent;
use super::sse::data_of;
use super::usage::UsageShape;
use crate::dialect::{Api, Dialect};

/// May stand before the first event of a stream.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What becomes of an event.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) enum Seen {
    Forward,
    /// A usage chunk that only the gateway asked for.
    Hide,
    /// A usage chunk of its own: `[DONE]` follows.
    LastUsage,
    /// The dialect's last event: `[DONE]`, `message_stop`, `response.completed`.
    Terminal,
}

/// Reads usage as the bytes pass, and counts what comes in case the backend never says.
#[derive(Debug)]
pub(super) struct Meter {
    dialect: Dialect,
    hide_usage: bool,
    usage: Option<Usage>,
    /// Events that carried content: at least a token each.
    events: u64,
    bytes: u64,
    shortest: u64,
    failed: bool,
    /// Whether what comes is text, whose length says how many tokens it has.
    counts: bool,
    /// The event that passes in parts.
    long: LongEvent,
    response_id: Option<Box<str>>,
}

/// The few members of an answer or an event that the gateway looks at.
#[derive(Deserialize)]
struct Probe<'a> {
    #[serde(default, borrow)]
    choices: Option<&'a RawValue>,
    #[serde(default, borrow)]
    usage: Option<&'a RawValue>,
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
    /// Anthropic's `message_start`.
    #[serde(default, borrow)]
    message: Option<&'a RawValue>,
    /// Responses' `response.completed` and the like.
    #[serde(default, borrow)]
    response: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Nested<'a> {
    #[serde(default, borrow)]
    usage: Option<&'a RawValue>,
}

/// A response object, or the event that holds one.
#[derive(Deserialize)]
struct Identified<'a> {
    #[serde(default, borrow)]
    object: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    response: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(rename = "type", default, borrow)]
    kind: Cow<'a, str>,
}

/// What a whole JSON answer says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) usage: Option<Usage>,
    /// The answer is an error object, whatever its status says.
    pub(super) is_error: bool,
    /// The id of a response object.
    pub(super) response_id: Option<String>,
}

impl Meter {
    pub(super) fn new(api: Api, hide_usage: bool) -> Self {
        Self {
            dialect: api.dialect(),
            hide_usage,
            usage: None,
            events: 0,
            bytes: 0,
            shortest: u64::MAX,
            failed: false,
            counts: !api.answers_with_media(),
            long: LongEvent::default(),
            response_id: None,
        }
    }

    /// Looks at one whole event.
    pub(super) fn event(&mut self, event: &[u8]) -> Seen {
        let data = data_of(without_mark(event));
        if is_done(&data) {
            return Seen::Terminal;
        }
        self.data(&data, data.len())
    }

    /// Takes part of an event that is too long to be looked at whole.
    pub(super) fn part(&mut self, part: &[u8]) {
        self.long.push(without_mark(part));
    }

    /// Takes the last part of such an event and looks at what it was.
    pub(super) fn last_part(&mut self, part: &[u8]) -> Seen {
        let mut long = std::mem::take(&mut self.long);
        long.push(part);
        let (data, length) = long.data();
        match self.data(data, length) {
            // Its beginning has been passed on.
            Seen::Hide => Seen::LastUsage,
            seen => seen,
        }
    }

    /// `length` is the event's own where `data` is a digest.
    fn data(&mut self, data: &[u8], length: usize) -> Seen {
        // An event that is no object tells nothing, and would pass for one with members in order.
        if !data.starts_with(b"{") {
            return Seen::Forward;
        }
        if self.dialect != Dialect::OpenAi {
            return self.typed_event(data, length);
        }
        if names_usage(data) && self.probe(data) {
            return match self.hide_usage {
                true => Seen::Hide,
                false => Seen::LastUsage,
            };
        }
        if names_error(data) {
            self.failed |= is_error(data);
        }
        self.count(length);
        Seen::Forward
    }

    /// Takes the usage of an event; `true` if the event is nothing but usage.
    fn probe(&mut self, data: &[u8]) -> bool {
        let Ok(probe) = serde_json::from_slice::<Probe<'_>>(data) else {
            return false;
        };
        for usage in [probe.usage, nested(probe.message), nested(probe.response)]
            .into_iter()
            .flatten()
        {
            self.take(usage);
        }
        let bare = probe
            .choices
            .is_some_and(|choices| is_empty_list(choices.get()));
        let object = probe
            .usage
            .is_some_and(|usage| usage.get().starts_with('{'));
        bare && object
    }

    fn typed_event(&mut self, data: &[u8], length: usize) -> Seen {
        if names_usage(data) {
            self.probe(data);
        }
        let kind = serde_json::from_slice::<Typed<'_>>(data)
            .map(|typed| typed.kind)
            .unwrap_or_default();
        match &*kind {
            "response.created" => {
                self.response_id = id_in_event(data);
                Seen::Forward
            }
            "message_stop" | "response.completed" | "response.incomplete" => Seen::Terminal,
            "response.failed" => {
                self.failed = true;
                Seen::Terminal
            }
            "error" => {
                self.failed = true;
                Seen::Forward
            }
            "content_block_delta" => {
                self.count(length);
                Seen::Forward
            }
            kind if kind.ends_with(".delta") => {
                self.count(length);
                Seen::Forward
            }
            _ => Seen::Forward,
        }
    }

    fn take(&mut self, usage: &RawValue) {
        if let Some(shape) = UsageShape::parse(usage.get()) {
            self.usage = shape.read(self.usage).or(self.usage);
        }
    }

    fn count(&mut self, length: usize) {
        if !self.counts {
            return;
        }
        let length = length as u64;
        self.events += 1;
        self.bytes += length;
        self.shortest = self.shortest.min(length);
    }

    /// The id of the response that has begun, once.
    pub(super) fn take_response_id(&mut self) -> Option<Box<str>> {
        self.response_id.take()
    }

    /// The backend's own word, the last one that made sense.
    pub(super) fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Output tokens seen so far, at least: one an event, or a quarter of the bytes that events have over the shortest
    /// one (whose length is mostly envelope).
    pub(super) fn counted(&self) -> u64 {
        let envelope = self.shortest.saturating_mul(self.events);
        self.events.max(self.bytes.saturating_sub(envelope) / 4)
    }

    /// The backend reported an error in the stream.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }
}

/// Reads a whole JSON answer; `None` if it is no JSON object.
pub(super) fn read_answer(body: &[u8]) -> Option<Reading> {
    let answer = serde_json::from_slice::<Answer<'_>>(body).ok()?;
    let usage = answer
        .usage
        .and_then(|usage| UsageShape::parse(usage.get()))
        .and_then(|shape| shape.read(None));
    let is_response = answer
        .object
        .is_some_and(|object| object.get() == r#""response""#);
    let response_id = answer
        .id
        .filter(|_| is_response)
        .and_then(|id| serde_json::from_str(id.get()).ok());
    // A response that failed says so in a member of its own.
    let is_error =
        answer.has_error && !answer.has_choices && answer.usage.is_none() && response_id.is_none();
    Some(Reading {
        usage,
        is_error,
        response_id,
    })
}

/// Whether it is JSON at all.
pub(super) fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

fn response_id(object: &[u8]) -> Option<String> {
    let found = serde_json::from_slice::<Identified<'_>>(object).ok()?;
    let is_response = found.object.is_some_and(|object| object == "response");
    found.id.filter(|_| is_response).map(Cow::into_owned)
}

fn id_in_event(event: &[u8]) -> Option<Box<str>> {
    let event = serde_json::from_slice::<Identified<'_>>(event).ok()?;
    response_id(event.response?.get().as_bytes()).map(Into::into)
}

fn without_mark(event: &[u8]) -> &[u8] {
    event.strip_prefix(BYTE_ORDER_MARK).unwrap_or(event)
}

/// `[DONE]`, with any white space around it.
pub(super) fn is_done(data: &[u8]) -> bool {
    data.trim_ascii() == b"[DONE]"
}

fn is_error(data: &[u8]) -> bool {
    serde_json::from_slice::<Probe<'_>>(data).is_ok_and(|probe| {
        probe.choices.is_none() && probe.error.is_some_and(|error| error.get() != "null")
    })
}

fn nested(value: Option<&RawValue>) -> Option<&RawValue> {
    serde_json::from_str::<Nested<'_>>(value?.get()).ok()?.usage
}

fn is_empty_list(json: &str) -> bool {
    json.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|inner| inner.trim_ascii().is_empty())
}

fn names_usage(data: &[u8]) -> bool {
    static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""usage""#));
    USAGE.find(data).is_some()
}

fn names_error(data: &[u8]) -> bool {
    static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""error""#));
    ERROR.find(data).is_some()
}

#[cfg(test)]
mod tests;
