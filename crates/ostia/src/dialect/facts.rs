use std::ops::Range;

use super::Invalid;
use super::number::count_in;
use crate::scan::{FieldKey, Fields, JsonKind, Shape};

pub const MODEL: FieldKey = FieldKey::new("model");
pub(super) const PROMPT: FieldKey = FieldKey::prompt("prompt");
pub(super) const PROMPT_EMBEDS: FieldKey = FieldKey::tensors("prompt_embeds");
pub(super) const N: FieldKey = FieldKey::new("n");
pub(super) const BEST_OF: FieldKey = FieldKey::new("best_of");
const STREAM: FieldKey = FieldKey::new("stream");
const STREAM_OPTIONS: FieldKey = FieldKey::holding("stream_options", "include_usage");

/// vLLM separates its prompt cache by this.
pub const CACHE_SALT: FieldKey = FieldKey::noted("cache_salt");

/// Keys that any body may have.
pub(super) const COMMON: &[FieldKey] = &[
    MODEL,
    STREAM,
    STREAM_OPTIONS,
    FieldKey::counted("system"),
    FieldKey::counted("instructions"),
    FieldKey::counted("tools"),
    FieldKey::counted("functions"),
    FieldKey::counted("chat_template"),
    FieldKey::counted("suffix"),
    FieldKey::counted("query"),
    FieldKey::counted("queries"),
    FieldKey::counted("documents"),
    FieldKey::counted("items"),
    FieldKey::counted("text_1"),
    FieldKey::counted("text_2"),
    CACHE_SALT,
    // Fields that FIRST's adapters use among themselves.
    FieldKey::noted("api_port"),
    FieldKey::noted("openai_endpoint"),
    FieldKey::noted("stream_task_id"),
    FieldKey::noted("stream_task_token"),
    FieldKey::noted("streaming_server_host"),
    FieldKey::noted("streaming_server_port"),
    FieldKey::noted("streaming_server_protocol"),
];
/// All of them cap the output; engines differ in which they obey.
pub(super) const CAPS: [FieldKey; 4] = [
    FieldKey::new("max_tokens"),
    FieldKey::new("max_completion_tokens"),
    FieldKey::new("max_output_tokens"),
    FieldKey::new("min_tokens"),
];

/// What the gateway needs to know of a request's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestFacts {
    /// The decoded value of `model`.
    pub model: Box<str>,
    /// The byte range of the value, including its quotes in JSON.
    pub model_at: Range<usize>,
    pub stream: bool,
    pub stream_options: StreamOptions,
    /// Whether the client asked for a usage chunk itself (`stream_options.include_usage`).
    pub wants_usage: bool,
    /// The client's own cap on output tokens, summed over all choices; `None` if it gave none.
    pub output_cap: Option<u64>,
    /// How many choices the model generates.
    pub tries: u64,
    /// How many of them are returned.
    pub choices: u64,
    /// Estimated prompt tokens (a quarter of the text's bytes; a token id counts as one).
    pub prompt_estimate: u64,
    /// The response that a `responses` call continues; only its maker may continue it.
    pub previous_response_id: Option<Box<str>>,
    /// Where a member may be inserted as the first of the body.
    pub first_member: usize,
    /// The fields that it holds and that some endpoints keep to themselves.
    pub reserved: Vec<FieldKey>,
}

/// Where the body asks for usage, or can be made to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamOptions {
    /// Not present: `"stream_options":{...},` can be inserted here, right after the body's opening brace.
    Absent { insert_at: usize },
    /// `null`: this value can be replaced.
    Null { value: Range<usize> },
    /// An object without `include_usage`: insert right after its opening brace. `empty`: no comma is needed.
    Object { insert_at: usize, empty: bool },
    /// An object with `include_usage`: its value.
    IncludeUsage { value: Range<usize> },
    /// Anything else is left to the backend; nothing is spliced.
    Foreign,
}

impl RequestFacts {
    /// What all bodies have in common: a model, whether to stream, and how long the prompt is.
    pub fn of(fields: &Fields<'_>) -> Result<Self, Invalid> {
        let (model, model_at) = model(fields)?;
        let (stream_options, wants_usage) = stream_options(fields);
        Ok(Self {
            stream: stream(fields)?,
            stream_options,
            wants_usage,
            first_member: fields.behind_brace,
            reserved: reserved(fields),
            ..Self::plain(model, model_at, fields.prompt.estimated_tokens())
        })
    }

    /// The facts of a body that has only a model and a prompt.
    pub fn plain(model: Box<str>, model_at: Range<usize>, prompt_estimate: u64) -> Self {
        Self {
            model,
            model_at,
            stream: false,
            stream_options: StreamOptions::Foreign,
            wants_usage: false,
            output_cap: None,
            tries: 1,
            choices: 1,
            prompt_estimate,
            previous_response_id: None,
            first_member: 0,
            reserved: Vec::new(),
        }
    }

    /// `cap` applies to one choice.
    pub(super) fn generates(&mut self, cap: Option<u64>, choices: u64, tries: u64) {
        self.output_cap = cap.map(|cap| cap.saturating_mul(tries));
        self.choices = choices;
        self.tries = tries;
    }
}

fn reserved(fields: &Fields<'_>) -> Vec<FieldKey> {
    let noted = COMMON.iter().filter(|key| key.is_noted());
    noted
        .filter(|key| fields.get(**key).is_some())
        .copied()
        .collect()
}

/// The largest cap in the body.
pub(super) fn largest(fields: &Fields<'_>, caps: &[FieldKey]) -> Result<Option<u64>, Invalid> {
    caps.iter()
        .map(|key| count(fields, *key))
        .try_fold(None, |most, cap| Ok(most.max(cap?)))
}

/// `n` or `best_of`: at least 1, which is also the default.
pub(super) fn times(fields: &Fields<'_>, key: FieldKey) -> Result<u64, Invalid> {
    Ok(count(fields, key)?.unwrap_or(1).max(1))
}

/// A count, in any form that lenient servers accept. A string with digits that is not a count is refused, because some
/// server might still read it as one. Anything else that is not a count is left to the backend.
fn count(fields: &Fields<'_>, key: FieldKey) -> Result<Option<u64>, Invalid> {
    let Some(value) = fields.given(key) else {
        return Ok(None);
    };
    match value.kind() {
        JsonKind::Integer | JsonKind::Fraction => Ok(count_in(value.raw())),
        JsonKind::String => {
            let text = value.as_str().unwrap_or_default();
            let count = count_in(&text);
            match count.is_none() && text.contains(char::is_numeric) {
                true => Err(Invalid::value(key, "expected an integer, but got a string")),
                false => Ok(count),
            }
        }
        _ => Ok(None),
    }
}

/// Checks a field that holds text or tokens and counts its prompts; `None` if it is absent or `null`.
pub(super) fn prompts(fields: &Fields<'_>, key: FieldKey) -> Result<Option<u64>, Invalid> {
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
        JsonKind::Array => "an array of something else",
        kind => kind.as_str(),
    }
}

fn model(fields: &Fields<'_>) -> Result<(Box<str>, Range<usize>), Invalid> {
    let value = fields
        .get(MODEL)
        .filter(|value| value.kind() == JsonKind::String)
        .ok_or_else(Invalid::missing_model)?;
    let model = value
        .as_str()
        .ok_or_else(|| Invalid::value(MODEL, "it contains a lone surrogate"))?;
    match model.is_empty() {
        true => Err(Invalid::missing_model()),
        false => Ok((model.into(), value.range())),
    }
}

fn stream(fields: &Fields<'_>) -> Result<bool, Invalid> {
    match fields.given(STREAM).map(|value| value.kind()) {
        None | Some(JsonKind::False) => Ok(false),
        Some(JsonKind::True) => Ok(true),
        Some(other) => Err(Invalid::value(
            STREAM,
            &format!("expected a boolean, but got {}", other.as_str()),
        )),
    }
}

/// Where `include_usage` is or may go, and whether the client asked for it. A value that is neither a boolean nor
/// `null` stays as it is (backends read `1` as true) and counts as a request for usage, so that nothing is hidden from
/// the client.
fn stream_options(fields: &Fields<'_>) -> (StreamOptions, bool) {
    let Some(options) = fields.get(STREAM_OPTIONS) else {
        let insert_at = fields.behind_brace;
        return (StreamOptions::Absent { insert_at }, false);
    };
    let value = options.range();
    match options.kind() {
        JsonKind::Null => return (StreamOptions::Null { value }, false),
        JsonKind::Object => {}
        _ => return (StreamOptions::Foreign, false),
    }
    let Some(include_usage) = fields.held() else {
        let inside = &options.raw()[1..options.raw().len() - 1];
        let insert_at = value.start + 1;
        let empty = inside.trim_ascii().is_empty();
        return (StreamOptions::Object { insert_at, empty }, false);
    };
    let value = include_usage.range();
    match include_usage.kind() {
        JsonKind::False | JsonKind::Null => (StreamOptions::IncludeUsage { value }, false),
        JsonKind::True => (StreamOptions::IncludeUsage { value }, true),
        _ => (StreamOptions::Foreign, true),
    }
}
