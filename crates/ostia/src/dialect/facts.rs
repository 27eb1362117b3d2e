use std::ops::Range;

use super::Invalid;
use super::number::count_in;
use crate::scan::{Fields, Key, Kind, Shape};

pub const MODEL: Key = Key::new("model");
pub(super) const PROMPT: Key = Key::prompt("prompt");
pub(super) const PROMPT_EMBEDS: Key = Key::tensors("prompt_embeds");
pub(super) const N: Key = Key::new("n");
pub(super) const BEST_OF: Key = Key::new("best_of");
const STREAM: Key = Key::new("stream");
const STREAM_OPTIONS: Key = Key::holding("stream_options", "include_usage");

/// vLLM keeps what it remembers of prompts apart by this.
pub const CACHE_SALT: Key = Key::noted("cache_salt");

/// What any body may hold.
pub(super) const COMMON: &[Key] = &[
    MODEL,
    STREAM,
    STREAM_OPTIONS,
    Key::counted("system"),
    Key::counted("instructions"),
    Key::counted("tools"),
    Key::counted("functions"),
    Key::counted("chat_template"),
    Key::counted("suffix"),
    Key::counted("query"),
    Key::counted("queries"),
    Key::counted("documents"),
    Key::counted("items"),
    Key::counted("text_1"),
    Key::counted("text_2"),
    CACHE_SALT,
    // What FIRST's adapters say to one another.
    Key::noted("api_port"),
    Key::noted("openai_endpoint"),
    Key::noted("stream_task_id"),
    Key::noted("stream_task_token"),
    Key::noted("streaming_server_host"),
    Key::noted("streaming_server_port"),
    Key::noted("streaming_server_protocol"),
];
/// Each names an output; engines differ in which of them they obey.
pub(super) const CAPS: [Key; 4] = [
    Key::new("max_tokens"),
    Key::new("max_completion_tokens"),
    Key::new("max_output_tokens"),
    Key::new("min_tokens"),
];

/// What a body says that the gateway acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The decoded value of `model`.
    pub model: Box<str>,
    /// The value's place: with its quotes in JSON.
    pub model_at: Range<usize>,
    pub stream: bool,
    pub stream_options: StreamOptions,
    /// Whether the client asked for a usage chunk itself (`stream_options.include_usage`).
    pub wants_usage: bool,
    /// The client's own cap on output tokens, of all answers together; `None` if it named none.
    pub output_cap: Option<u64>,
    /// How many answers are made.
    pub tries: u64,
    /// How many of them are given.
    pub choices: u64,
    /// Estimate of the prompt's tokens (a quarter of its text's bytes; a token id counts as one).
    pub prompt_estimate: u64,
    /// The response that a `responses` call continues; whoever made it must be the caller.
    pub previous_response_id: Option<Box<str>>,
    /// Where a member may be inserted as the first of the body.
    pub first_member: usize,
    /// The fields that it holds and that some endpoints keep to themselves.
    pub reserved: Vec<Key>,
}

/// Where usage is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamOptions {
    /// Not there: `"stream_options":{...},` may be inserted here, right behind the opening brace of the body.
    Absent { insert_at: usize },
    /// `null`: this value may be replaced whole.
    Null { value: Range<usize> },
    /// An object without `include_usage`: insert right behind its opening brace. `empty`: no comma is due.
    Object { insert_at: usize, empty: bool },
    /// An object with `include_usage`: its value.
    IncludeUsage { value: Range<usize> },
    /// Something else: the backend's business, nothing is spliced.
    Foreign,
}

impl Facts {
    /// What all bodies share: a model, whether to stream, and how much prompt there is.
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

    /// The facts of a body that says little else.
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

    /// `cap` is that of one answer.
    pub(super) fn generates(&mut self, cap: Option<u64>, choices: u64, tries: u64) {
        self.output_cap = cap.map(|cap| cap.saturating_mul(tries));
        self.choices = choices;
        self.tries = tries;
    }
}

fn reserved(fields: &Fields<'_>) -> Vec<Key> {
    let noted = COMMON.iter().filter(|key| key.is_noted());
    noted
        .filter(|key| fields.get(**key).is_some())
        .copied()
        .collect()
}

/// The largest that the body names.
pub(super) fn largest(fields: &Fields<'_>, caps: &[Key]) -> Result<Option<u64>, Invalid> {
    caps.iter()
        .map(|key| count(fields, *key))
        .try_fold(None, |most, cap| Ok(most.max(cap?)))
}

/// `n`, `best_of`: at least 1, which is their default.
pub(super) fn times(fields: &Fields<'_>, key: Key) -> Result<u64, Invalid> {
    Ok(count(fields, key)?.unwrap_or(1).max(1))
}

/// A count in any spelling that lenient servers take. A text with digits that says none is refused, because one of them
/// might read it all the same; all else that is no count is the backend's business.
fn count(fields: &Fields<'_>, key: Key) -> Result<Option<u64>, Invalid> {
    let Some(value) = fields.given(key) else {
        return Ok(None);
    };
    match value.kind() {
        Kind::Integer | Kind::Fraction => Ok(count_in(value.raw())),
        Kind::String => {
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
        .get(MODEL)
        .filter(|value| value.kind() == Kind::String)
        .ok_or_else(Invalid::missing_model)?;
    let model = value
        .as_str()
        .ok_or_else(|| Invalid::value(MODEL, "it holds a lone surrogate"))?;
    match model.is_empty() {
        true => Err(Invalid::missing_model()),
        false => Ok((model.into(), value.range())),
    }
}

fn stream(fields: &Fields<'_>) -> Result<bool, Invalid> {
    match fields.given(STREAM).map(|value| value.kind()) {
        None | Some(Kind::False) => Ok(false),
        Some(Kind::True) => Ok(true),
        Some(other) => Err(Invalid::value(
            STREAM,
            &format!("expected a boolean, but got {}", other.as_str()),
        )),
    }
}

/// Where `include_usage` is or may go, and whether the client asked for it. What is neither a boolean nor `null`
/// (backends read `1` as true) stays as it is and counts as asked for, so that nothing is hidden from the client.
fn stream_options(fields: &Fields<'_>) -> (StreamOptions, bool) {
    let Some(options) = fields.get(STREAM_OPTIONS) else {
        let insert_at = fields.behind_brace;
        return (StreamOptions::Absent { insert_at }, false);
    };
    let value = options.range();
    match options.kind() {
        Kind::Null => return (StreamOptions::Null { value }, false),
        Kind::Object => {}
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
        Kind::False | Kind::Null => (StreamOptions::IncludeUsage { value }, false),
        Kind::True => (StreamOptions::IncludeUsage { value }, true),
        _ => (StreamOptions::Foreign, true),
    }
}
