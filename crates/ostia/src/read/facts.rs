use std::ops::Range;

use super::scan::{Fields, Key, Kind, Shape};
use super::{Invalid, StreamOptions};

/// What a body says that the gateway acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub model: Box<str>,
    /// The value's place: with its quotes in JSON.
    pub model_at: Range<usize>,
    pub stream: bool,
    pub stream_options: StreamOptions,
    pub wants_usage: bool,
    pub output_cap: Option<u64>,
    pub prompt_estimate: u64,
    pub previous_response_id: Option<Box<str>>,
}

impl Facts {
    /// What all JSON dialects share: a model, whether to stream, and how much prompt there is.
    pub(super) fn of(fields: &Fields<'_>) -> Result<Self, Invalid> {
        let (model, model_at) = model(fields)?;
        let (stream_options, wants_usage) = stream_options(fields);
        Ok(Self {
            model,
            model_at,
            stream: stream(fields)?,
            stream_options,
            wants_usage,
            output_cap: None,
            prompt_estimate: fields.prompt.estimated_tokens(),
            previous_response_id: None,
        })
    }

    pub(super) fn with_output_cap(self, output_cap: Option<u64>) -> Self {
        Self { output_cap, ..self }
    }
}

/// A cap on output tokens; one that is no non-negative integer is the backend's business.
pub(super) fn cap(fields: &Fields<'_>, key: Key) -> Option<u64> {
    fields.given(key)?.as_u64()
}

/// `n`, `best_of`: at least 1, which is their default.
pub(super) fn times(fields: &Fields<'_>, key: Key) -> u64 {
    cap(fields, key).unwrap_or(1).max(1)
}

/// Checks a text-or-tokens field and counts its prompts; `None` if it is absent or `null`.
pub(super) fn prompts(fields: &Fields<'_>, key: Key) -> Result<Option<u64>, Invalid> {
    let Some(value) = fields.given(key) else {
        return Ok(None);
    };
    match value.shape().prompts() {
        Some(prompts) => Ok(Some(prompts)),
        None => Err(Invalid::value(
            key,
            &format!(
                "expected a string, an array of strings, an array of integers, or an array of arrays of integers, \
                 but got {}",
                described(value.shape())
            ),
        )),
    }
}

pub(super) fn described(shape: Shape) -> &'static str {
    match shape.kind {
        Kind::Array => "an array of something else",
        kind => kind.as_str(),
    }
}

fn model(fields: &Fields<'_>) -> Result<(Box<str>, Range<usize>), Invalid> {
    let value = fields
        .get(Key::Model)
        .filter(|value| value.kind() == Kind::String)
        .ok_or_else(Invalid::missing_model)?;
    let model = value
        .as_str()
        .ok_or_else(|| Invalid::value(Key::Model, "it holds a lone surrogate"))?;
    match model.is_empty() {
        true => Err(Invalid::missing_model()),
        false => Ok((model.into(), value.range())),
    }
}

fn stream(fields: &Fields<'_>) -> Result<bool, Invalid> {
    match fields.get(Key::Stream).map(|value| value.kind()) {
        None | Some(Kind::False) => Ok(false),
        Some(Kind::True) => Ok(true),
        Some(other) => Err(Invalid::value(
            Key::Stream,
            &format!("expected a boolean, but got {}", other.as_str()),
        )),
    }
}

/// Where `include_usage` is or may go, and whether the client asked for it. What is neither a boolean nor `null`
/// (backends read `1` as true) stays as it is and counts as asked for, so that nothing is hidden from the client.
fn stream_options(fields: &Fields<'_>) -> (StreamOptions, bool) {
    let Some(options) = fields.get(Key::StreamOptions) else {
        let insert_at = fields.behind_brace;
        return (StreamOptions::Absent { insert_at }, false);
    };
    let value = options.range();
    match options.kind() {
        Kind::Null => return (StreamOptions::Null { value }, false),
        Kind::Object => {}
        _ => return (StreamOptions::Foreign, false),
    }
    let Some(include_usage) = fields.include_usage() else {
        let inside = &options.raw()[1..options.raw().len() - 1];
        let insert_at = value.start + 1;
        let empty = inside.trim_ascii().is_empty();
        return (StreamOptions::Object { insert_at, empty }, false);
    };
    let value = include_usage.range();
    match include_usage.kind() {
        Kind::False | Kind::Null => (StreamOptions::IncludeUsage { value }, false),
        Kind::True => (StreamOptions::IncludeUsage { value }, true),
        _ => (StreamOptions::Foreign, true),
    }
}
