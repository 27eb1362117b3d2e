//! The parts of an event that dialects look at.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memchr2;
use memchr::memmem::Finder;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::Progress;

/// The few members of an event that report usage or an error.
#[derive(Deserialize)]
pub(super) struct Probe<'a> {
    #[serde(default, borrow)]
    choices: Option<&'a RawValue>,
    #[serde(default, borrow)]
    usage: Option<&'a RawValue>,
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
    #[serde(default, borrow)]
    object: Option<&'a RawValue>,
    /// Anthropic's `message_start`.
    #[serde(default, borrow)]
    message: Option<&'a RawValue>,
    /// Responses' `response.completed` and the like.
    #[serde(default, borrow)]
    response: Option<&'a RawValue>,
    /// Groq's last chunk.
    #[serde(default, borrow)]
    x_groq: Option<&'a RawValue>,
    /// FastAPI's errors.
    #[serde(default, borrow)]
    detail: Option<&'a RawValue>,
    #[serde(rename = "type", default, borrow)]
    kind: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Nested<'a> {
    #[serde(default, borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Ended<'a> {
    #[serde(default)]
    error: Option<IgnoredAny>,
    #[serde(default, borrow)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(rename = "type", default, borrow)]
    kind: Cow<'a, str>,
}

impl Probe<'_> {
    /// A chunk without choices, sent only for its usage.
    pub(super) fn is_bare_usage(&self) -> bool {
        self.has_no_choice() && self.usage.is_some_and(|usage| usage.get().starts_with('{'))
    }

    /// Its list of choices is empty, so it carries no text.
    pub(super) fn has_no_choice(&self) -> bool {
        self.choices
            .is_some_and(|choices| is_empty_list(choices.get()))
    }

    /// In any of the ways in which engines say it: `error`, also of one choice, `"object":"error"`, or a text at the top
    /// of an event that is nothing else.
    pub(super) fn is_error(&self) -> bool {
        let told = self.error.is_some_and(|error| error.get() != "null");
        told || match self.choices {
            Some(choices) => one_failed(choices),
            None => self.object.is_some_and(is_error_object) || self.is_bare_text(),
        }
    }

    fn is_bare_text(&self) -> bool {
        let is_text = |value: &RawValue| value.get().starts_with('"');
        let has_details = |value: &RawValue| is_text(value) || value.get().starts_with('[');
        self.kind.is_none()
            && self.object.is_none()
            && (self.message.is_some_and(is_text) || self.detail.is_some_and(has_details))
    }
}

/// Whether a choice says that it failed.
fn one_failed(choices: &RawValue) -> bool {
    let failed = |choice: &Ended<'_>| {
        choice.error.is_some()
            || choice
                .finish_reason
                .is_some_and(|reason| reason.get() == r#""error""#)
    };
    serde_json::from_str::<Vec<Ended<'_>>>(choices.get())
        .is_ok_and(|choices| choices.iter().any(failed))
}

/// `"object":"error"`, as vLLM writes it.
pub(super) fn is_error_object(object: &RawValue) -> bool {
    object.get() == r#""error""#
}

/// Takes all usage that an event reports.
pub(super) fn usages_in(data: &[u8], progress: &mut Progress) {
    if let Ok(probe) = serde_json::from_slice::<Probe<'_>>(data) {
        take_usages(&probe, progress);
    }
}

pub(super) fn take_usages(probe: &Probe<'_>, progress: &mut Progress) {
    let holders = [probe.message, probe.response, probe.x_groq];
    let nested = holders.into_iter().flatten().filter_map(usage_of);
    for usage in probe.usage.into_iter().chain(nested) {
        progress.usage.take(usage);
    }
}

pub(super) fn usage_of(holder: &RawValue) -> Option<&RawValue> {
    serde_json::from_str::<Nested<'_>>(holder.get()).ok()?.usage
}

/// The event's `type`.
pub(super) fn kind_of(data: &[u8]) -> Cow<'_, str> {
    serde_json::from_slice::<Typed<'_>>(data)
        .map(|typed| typed.kind)
        .unwrap_or_default()
}

pub(super) fn names_usage(data: &[u8]) -> bool {
    static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""usage""#));
    USAGE.find(data).is_some()
}

pub(super) fn names_error(data: &[u8]) -> bool {
    static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""error""#));
    ERROR.find(data).is_some()
}

pub(super) fn names_choices(data: &[u8]) -> bool {
    static CHOICES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""choices""#));
    CHOICES.find(data).is_some()
}

/// Whether a `finish_reason` or `stop_reason` that is not null says that the answer ended: some servers send an empty
/// text until it does.
pub(super) fn is_reason(reason: &RawValue) -> bool {
    reason.get() != r#""""#
}

/// Whether some `finish_reason` is given, which is rare.
pub(super) fn choices_end(data: &[u8]) -> bool {
    static REASON: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""finish_reason""#));
    REASON.find_iter(data).any(|at| {
        let value = data[at..].get(REASON.needle().len()..).unwrap_or_default();
        let value = value.trim_ascii_start().strip_prefix(b":");
        value.is_some_and(|value| {
            let value = value.trim_ascii_start();
            !value.starts_with(b"null") && !value.starts_with(br#""""#)
        })
    })
}

/// `[DONE]`, possibly surrounded by white space.
pub(super) fn is_done(data: &[u8]) -> bool {
    data.trim_ascii() == b"[DONE]"
}

fn is_empty_list(json: &str) -> bool {
    json.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|inner| inner.trim_ascii().is_empty())
}

/// The data of one event: the values of its `data` lines, joined by LF. Borrowed if there is only one line.
pub(super) fn data_of(event: &[u8]) -> Cow<'_, [u8]> {
    let mut lines = lines(event).filter_map(data_line);
    let first = lines.next().unwrap_or_default();
    let Some(second) = lines.next() else {
        return first.into();
    };
    let mut joined = first.to_vec();
    for line in std::iter::once(second).chain(lines) {
        joined.push(b'\n');
        joined.extend_from_slice(line);
    }
    joined.into()
}

fn data_line(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"data")?;
    match rest.strip_prefix(b":") {
        Some(value) => Some(value.strip_prefix(b" ").unwrap_or(value)),
        None => rest.is_empty().then_some(rest),
    }
}

/// The non-empty lines.
fn lines(mut event: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        while !event.is_empty() {
            let end = memchr2(b'\n', b'\r', event).unwrap_or(event.len());
            let line = &event[..end];
            event = event.get(end + 1..).unwrap_or_default();
            if !line.is_empty() {
                return Some(line);
            }
        }
        None
    })
}
