use std::ops::Range;

use super::Invalid;
use super::number::count_in;
use crate::scan::{FieldKey, Fields, JsonKind, Keys, Prints, Shape, Sightings, Spot, Value};

pub const MODEL: FieldKey = FieldKey::new("model");
pub(super) const PROMPT: FieldKey = FieldKey::prompt("prompt");
pub(super) const PROMPT_EMBEDS: FieldKey = FieldKey::tensors("prompt_embeds");
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
    FieldKey::counted("tools").at(Spot::Tools),
    FieldKey::counted("functions").at(Spot::Elsewhere),
    FieldKey::counted("chat_template").at(Spot::Elsewhere),
    FieldKey::counted("suffix").at(Spot::Elsewhere),
    FieldKey::counted("query"),
    FieldKey::counted("queries"),
    FieldKey::counted("documents"),
    FieldKey::counted("items"),
    FieldKey::counted("inputs"),
    FieldKey::counted("texts"),
    FieldKey::counted("passages"),
    FieldKey::counted("input_ids").at(Spot::Elsewhere),
    FieldKey::counted("prompt_token_ids").at(Spot::Elsewhere),
    FieldKey::counted("input_prefix").at(Spot::Elsewhere),
    FieldKey::counted("input_suffix").at(Spot::Elsewhere),
    FieldKey::counted("input_extra").at(Spot::Elsewhere),
    FieldKey::counted("chat_template_kwargs").at(Spot::Elsewhere),
    FieldKey::counted("prediction").at(Spot::Elsewhere),
    FieldKey::counted("instruction").at(Spot::Elsewhere),
    FieldKey::counted("system_prompt").at(Spot::Elsewhere),
    FieldKey::counted("negative_prompt").at(Spot::Elsewhere),
    FieldKey::counted("contents"),
    EXTRA_BODY,
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
    FieldKey::counted("data_1"),
    FieldKey::counted("data_2"),
    FieldKey::watched("tool_resources", Spot::ToolResources),
    FieldKey::watched("file_id", Spot::FileId),
    FieldKey::watched("file_ids", Spot::FileId),
    FieldKey::watched("vector_store_ids", Spot::VectorStoreIds),
    FieldKey::watched("mcp_servers", Spot::McpServers),
    FieldKey::watched("image", Spot::Source),
    FieldKey::watched("images", Spot::Source),
    FieldKey::watched("video", Spot::Source),
    FieldKey::watched("videos", Spot::Source),
    FieldKey::watched("image_data", Spot::Source),
    FieldKey::watched("video_data", Spot::Source),
    FieldKey::watched("audio_data", Spot::Source),
    FieldKey::watched("image_url", Spot::Url),
    FieldKey::watched("video_url", Spot::Url),
    FieldKey::watched("audio_url", Spot::Url),
    FieldKey::watched("file_url", Spot::Url),
    FieldKey::watched("document_url", Spot::Url),
    FieldKey::watched("pdf_url", Spot::Url),
    FieldKey::watched("document", Spot::Part),
    FieldKey::watched("file", Spot::File),
    FieldKey::watched("attachments", Spot::Content),
    FieldKey::watched("multi_modal_data", Spot::Content),
];
/// All of them cap the output; engines differ in which they obey.
pub(super) const CAPS: [FieldKey; 13] = [
    FieldKey::new("max_tokens"),
    FieldKey::new("max_completion_tokens"),
    FieldKey::new("max_output_tokens"),
    FieldKey::new("min_tokens"),
    FieldKey::new("max_new_tokens"),
    FieldKey::new("max_tokens_to_sample"),
    FieldKey::new("n_predict"),
    FieldKey::new("num_predict"),
    FieldKey::new("max_length"),
    FieldKey::new("min_length"),
    FieldKey::new("min_new_tokens"),
    FieldKey::new("max_gen_len"),
    FieldKey::new("tokens_to_generate"),
];
/// How many choices are generated, of which as many are returned; engines differ in the name.
pub(super) const CHOICES: [FieldKey; 3] = [
    FieldKey::new("n"),
    FieldKey::new("n_cmpl"),
    FieldKey::new("num_return_sequences"),
];
/// How many choices are generated at least, to choose from.
pub(super) const TRIES: [FieldKey; 3] = [
    FieldKey::new("best_of"),
    FieldKey::new("num_beams"),
    FieldKey::new("beam_width"),
];
/// Objects in which some servers look for the same, one in another too; there the names are compared in lower case.
pub(super) const OPTIONS: &[FieldKey] = &[
    FieldKey::options("generationConfig", || &COUNTS),
    // So that no other letters of it pass unseen.
    FieldKey::options("generationconfig", || &COUNTS),
    FieldKey::options("generation_config", || &COUNTS),
    FieldKey::options("sampling_params", || &COUNTS),
    FieldKey::options("parameters", || &COUNTS),
    FieldKey::options("options", || &COUNTS),
    FieldKey::options("vllm_xargs", || &COUNTS),
];
/// The same, inside one of them.
const INNER_OPTIONS: &[FieldKey] = &[
    EXTRA_BODY,
    FieldKey::options("generationconfig", || &COUNTS),
    FieldKey::options("generation_config", || &COUNTS),
    FieldKey::options("sampling_params", || &COUNTS),
    FieldKey::options("parameters", || &COUNTS),
    FieldKey::options("options", || &COUNTS),
    FieldKey::options("vllm_xargs", || &COUNTS),
];
/// Some proxies lay its members over those of the body itself.
const EXTRA_BODY: FieldKey = FieldKey::options("extra_body", || &EXTRA);
/// What was judged at the top must not be said again below.
const NEVER_EXTRA: &[FieldKey] = &[
    MODEL,
    STREAM,
    FieldKey::new("messages"),
    FieldKey::new("prompt"),
    FieldKey::new("input"),
    FieldKey::new("previous_response_id"),
    FieldKey::new("conversation"),
    FieldKey::new("background"),
];
static EXTRA: Keys = Keys::of(&[
    &CAPS,
    &CHOICES,
    &TRIES,
    &[MAX_OUTPUT_TOKENS, CANDIDATE_COUNT],
    NEVER_EXTRA,
    &[CACHE_SALT],
    INNER_OPTIONS,
]);
static COUNTS: Keys = Keys::of(&[
    &CAPS,
    &CHOICES,
    &TRIES,
    &[MAX_OUTPUT_TOKENS, CANDIDATE_COUNT],
    INNER_OPTIONS,
]);
/// `maxOutputTokens` and `candidateCount` of Gemini.
const MAX_OUTPUT_TOKENS: FieldKey = FieldKey::new("maxoutputtokens");
const CANDIDATE_COUNT: FieldKey = FieldKey::new("candidatecount");
/// Longer names of models and ids are nobody's.
pub(super) const LONGEST_NAME: usize = 64 * 1024;
/// No number needs more characters.
const LONGEST_COUNT: usize = 256;

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
    /// Some engines would not obey that cap: another one says that there is no end.
    pub may_exceed_cap: bool,
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
    /// The block of a prompt in which Claude Code counts its requests.
    pub billing_block: Option<Range<usize>>,
    /// The fields that it holds and that some endpoints keep to themselves.
    pub reserved: Vec<FieldKey>,
    /// What was seen in it that endpoints may deny.
    pub sightings: Sightings,
    pub prints: Prints,
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
        if let Some(key) = NEVER_EXTRA.iter().find(|key| fields.is_nested(**key)) {
            let why = format!("it must not stand in `{EXTRA_BODY}`");
            return Err(Invalid::value(*key, &why));
        }
        let (stream_options, wants_usage) = stream_options(fields);
        Ok(Self {
            stream: stream(fields)?,
            stream_options,
            wants_usage,
            first_member: fields.behind_brace,
            billing_block: None,
            reserved: reserved(fields),
            sightings: fields.sightings.clone(),
            prints: fields.prints.clone(),
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
            may_exceed_cap: false,
            tries: 1,
            choices: 1,
            prompt_estimate,
            previous_response_id: None,
            first_member: 0,
            billing_block: None,
            reserved: Vec::new(),
            sightings: Sightings::default(),
            prints: Prints::default(),
        }
    }

    /// Takes the counts of a body that asks for so many answers. Each is made `n` times, out of `best_of` tries that all
    /// cost.
    pub(super) fn generates(&mut self, fields: &Fields<'_>, answers: u64) -> Result<(), Invalid> {
        let mut choices = largest(fields, &CHOICES)?.most;
        choices = choices.max(largest(fields, &[CANDIDATE_COUNT])?.most);
        let choices = choices.unwrap_or(1).max(1);
        let tries = choices.max(largest(fields, &TRIES)?.most.unwrap_or(1));
        self.choices = choices.saturating_mul(answers);
        self.tries = tries.saturating_mul(answers);
        self.generates_one(fields)
    }

    /// Takes the caps of a body; alone, of one that asks for one answer, whatever else it says.
    pub(super) fn generates_one(&mut self, fields: &Fields<'_>) -> Result<(), Invalid> {
        let named = largest(fields, &CAPS)?;
        let nested = largest(fields, &[MAX_OUTPUT_TOKENS])?;
        let most = named.most.max(nested.most);
        self.output_cap = most.map(|cap| cap.saturating_mul(self.tries));
        self.may_exceed_cap = named.endless || nested.endless;
        Ok(())
    }
}

fn reserved(fields: &Fields<'_>) -> Vec<FieldKey> {
    let noted = COMMON.iter().filter(|key| key.is_noted());
    noted
        .filter(|key| fields.get(**key).is_some() || fields.is_nested(**key))
        .copied()
        .collect()
}

/// What several counts say together.
#[derive(Default)]
struct Counts {
    most: Option<u64>,
    /// One is negative, which some engines take for "no end".
    endless: bool,
}

fn largest(fields: &Fields<'_>, keys: &[FieldKey]) -> Result<Counts, Invalid> {
    let mut counts = Counts::default();
    for key in keys {
        for value in fields.all_given(*key) {
            match count(*key, value)? {
                Some(count) => counts.most = counts.most.max(Some(count)),
                None => counts.endless |= value.raw().trim_matches('"').trim().starts_with('-'),
            }
        }
    }
    Ok(counts)
}

/// A count, in any form that lenient servers accept. A string with digits that is not a count is refused, and so is a
/// list or an object, because some server might still read it as one. What has no end is refused too: nothing can be
/// reserved for it. Anything else that is not a count is left to the backend.
fn count(key: FieldKey, value: Value<'_>) -> Result<Option<u64>, Invalid> {
    let count = spelled_count(key, value)?;
    let is_exact = || value.raw().parse::<u64>().is_ok();
    match count {
        Some(u64::MAX) if !is_exact() => {
            Err(Invalid::value(key, "it is more than any model generates"))
        }
        count => Ok(count),
    }
}

fn spelled_count(key: FieldKey, value: Value<'_>) -> Result<Option<u64>, Invalid> {
    let is_long = value.length() > LONGEST_COUNT;
    match value.kind() {
        JsonKind::Integer | JsonKind::Fraction | JsonKind::String if is_long => {
            Err(Invalid::value(key, "it is longer than any number"))
        }
        JsonKind::Integer | JsonKind::Fraction => Ok(count_in(value.raw())),
        JsonKind::True => Ok(Some(1)),
        JsonKind::String => {
            let text = value.as_str().unwrap_or_default();
            let count = count_in(&text);
            let is_negative = text.trim().starts_with('-');
            match count.is_none() && !is_negative && text.contains(char::is_numeric) {
                true => Err(Invalid::value(key, "expected an integer, but got a string")),
                false => Ok(count),
            }
        }
        JsonKind::EmptyArray | JsonKind::Array | JsonKind::Object => Err(Invalid::value(
            key,
            &format!("expected an integer, but got {}", value.kind().as_str()),
        )),
        JsonKind::False | JsonKind::Null => Ok(None),
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
    if value.length() > LONGEST_NAME {
        let why = format!("it is longer than {LONGEST_NAME} bytes");
        return Err(Invalid::value(MODEL, &why));
    }
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
        let insert_at = value.start + 1;
        let empty = fields.held_is_empty();
        return (StreamOptions::Object { insert_at, empty }, false);
    };
    let value = include_usage.range();
    match include_usage.kind() {
        JsonKind::False | JsonKind::Null => (StreamOptions::IncludeUsage { value }, false),
        JsonKind::True => (StreamOptions::IncludeUsage { value }, true),
        _ => (StreamOptions::Foreign, true),
    }
}
