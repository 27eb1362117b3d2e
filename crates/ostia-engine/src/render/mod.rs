//! In: a [`Turn`]. Out: the bytes of its answer, event by event.
//! Here: what the answers of each API look like; no other code knows.
//! Not here: the text of the answer, and when it is sent.

mod chat;
mod completions;
mod embeddings;
mod messages;
mod openai;
mod responses;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{Ask, Output, Tokens, UsageShape};

/// The APIs of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    Chat,
    Completions,
    Embeddings,
    Responses,
    Messages,
    CountTokens,
}

/// A request and the text of its answer.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    pub ask: &'a Ask,
    pub output: &'a Output,
    pub stamp: &'a Stamp,
}

/// What is the same in every part of one answer.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// Unix seconds.
    pub created: i64,
    /// The part of each id after its prefix.
    pub unique: String,
}

/// Bytes of an answer that are complete in themselves, and what they report.
#[derive(Debug, Clone, Default)]
pub struct Event {
    pub bytes: Bytes,
    /// Tokens of the answer made since the last event; parallel choices are made in one step.
    pub tokens: u64,
    /// The true usage, if these bytes report it.
    pub usage: Option<Tokens>,
}

impl Api {
    /// The API of a path, recognized by its end.
    pub fn of(path: &str) -> Option<Self> {
        let ends = [
            ("/chat/completions", Self::Chat),
            ("/completions", Self::Completions),
            ("/embeddings", Self::Embeddings),
            ("/responses", Self::Responses),
            ("/messages", Self::Messages),
            ("/messages/count_tokens", Self::CountTokens),
        ];
        let named = ends.into_iter().find(|(end, _)| path.ends_with(end));
        named.map(|(_, api)| api)
    }

    /// How a stream reports a failure.
    pub(crate) fn failure(self, error: &Value) -> Vec<Event> {
        let message = &error["error"]["message"];
        match self {
            Self::Messages => vec![Event::typed(
                &json!({"type": "error", "error": {"type": "api_error", "message": message}}),
            )],
            Self::Responses => vec![Event::typed(
                &json!({"type": "error", "code": "server_error", "message": message, "param": null}),
            )],
            _ => vec![Event::data(error), Event::done()],
        }
    }
}

impl Default for Stamp {
    /// The same values for every answer.
    fn default() -> Self {
        Self {
            created: 1_700_000_000,
            unique: "1".to_owned(),
        }
    }
}

impl Stamp {
    fn id(&self, prefix: &str) -> String {
        let separator = if prefix.ends_with("cmpl") { '-' } else { '_' };
        format!("{prefix}{separator}{}", self.unique)
    }
}

impl Turn<'_> {
    /// The answer without streaming.
    pub fn plain(&self, api: Api) -> Event {
        let mut body = match api {
            Api::Chat => openai::plain(self, &chat::SHAPE),
            Api::Completions => openai::plain(self, &completions::SHAPE),
            Api::Embeddings => embeddings::plain(self),
            Api::Responses => responses::plain(self),
            Api::Messages => messages::plain(self),
            Api::CountTokens => json!({"input_tokens": self.output.prompt_tokens}),
        };
        let tokens = self.tokens(api);
        if api != Api::CountTokens {
            self.tell_usage(&mut body, tokens.json(api));
        }
        Event {
            bytes: body.to_string().into(),
            tokens: tokens.completion,
            usage: self.true_usage(api),
        }
    }

    /// The answer as a stream; `None` if the API cannot stream.
    pub fn events(&self, api: Api) -> Option<Vec<Event>> {
        match api {
            Api::Chat => Some(openai::events(self, &chat::SHAPE)),
            Api::Completions => Some(openai::events(self, &completions::SHAPE)),
            Api::Responses => Some(responses::events(self)),
            Api::Messages => Some(messages::events(self)),
            Api::Embeddings | Api::CountTokens => None,
        }
    }

    fn tokens(&self, api: Api) -> Tokens {
        self.tokens_after(api, self.output.pieces.len())
    }

    /// The counts after this many pieces of text.
    fn tokens_after(&self, api: Api, pieces: usize) -> Tokens {
        let answers = match api {
            Api::Chat | Api::Completions => self.ask.choices,
            Api::Responses | Api::Messages => 1,
            Api::Embeddings | Api::CountTokens => 0,
        };
        Tokens {
            prompt: self.output.prompt_tokens,
            completion: (pieces * answers) as u64,
            cached: self.output.cached_tokens,
            reasoning: 0,
        }
    }

    /// The usage reported at the end, if it is true.
    fn true_usage(&self, api: Api) -> Option<Tokens> {
        let is_true = !matches!(self.output.usage, UsageShape::Absent | UsageShape::Odd(_));
        is_true.then(|| self.tokens(api))
    }

    /// Writes usage into the body, true or false as configured.
    fn tell_usage(&self, body: &mut Value, right: Value) {
        match &self.output.usage {
            UsageShape::Absent => {}
            UsageShape::Odd(odd) => body["usage"] = odd.clone(),
            _ => body["usage"] = right,
        }
    }
}

impl Event {
    fn data(value: &Value) -> Self {
        Self::from(format!("data: {value}\n\n"))
    }

    /// An event named by its own `type`.
    fn typed(value: &Value) -> Self {
        let name = value["type"].as_str().unwrap_or("message");
        Self::from(format!("event: {name}\ndata: {value}\n\n"))
    }

    fn done() -> Self {
        Self::from("data: [DONE]\n\n".to_owned())
    }

    fn tokens(self, tokens: usize) -> Self {
        let tokens = tokens as u64;
        Self { tokens, ..self }
    }

    fn usage(self, usage: Option<Tokens>) -> Self {
        Self { usage, ..self }
    }
}

impl<B: Into<Bytes>> From<B> for Event {
    /// Reports nothing.
    fn from(bytes: B) -> Self {
        Self {
            bytes: bytes.into(),
            ..Self::default()
        }
    }
}

/// The list of `/v1/models`.
pub fn models<'a>(names: impl IntoIterator<Item = &'a str>, created: i64) -> Value {
    let model =
        |name| json!({"id": name, "object": "model", "created": created, "owned_by": "simulated"});
    let data: Vec<Value> = names.into_iter().map(model).collect();
    json!({"object": "list", "data": data})
}
