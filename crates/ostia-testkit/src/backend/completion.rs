use bytes::Bytes;
use serde_json::{Value, json};

use super::{Received, Tokens};

/// What a stream's chunks (or a plain answer) say about usage.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum UsageShape {
    /// As OpenAI's API says: in a stream only if `stream_options.include_usage` asks for it.
    #[default]
    AsAsked,
    /// In a chunk of its own, asked or not.
    Always,
    Absent,
    /// Two usage chunks; the second is right.
    Twice,
    /// Every chunk, counting up.
    EveryChunk,
    /// With the chunk that holds `finish_reason`.
    WithFinish,
    /// Behind `[DONE]`.
    AfterDone,
    /// This value where the usage object belongs: `null`, a text, negative counts, ...
    Odd(Value),
}

/// A model's answer, in the shape of whichever API was called.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// One chunk each; a token each.
    pub pieces: Vec<String>,
    pub prompt_tokens: u64,
    pub cached_tokens: u64,
    pub reasoning_tokens: u64,
    pub usage: UsageShape,
}

/// A piece of a body that is complete in itself, and what it tells.
#[derive(Debug, Clone, Default)]
pub(super) struct Event {
    pub bytes: Bytes,
    pub tokens: u64,
    pub usage: Option<Tokens>,
}

impl Default for Completion {
    fn default() -> Self {
        Self::of_chunks(3)
    }
}

impl Completion {
    /// `chunks` pieces of text, no two alike.
    pub fn of_chunks(chunks: usize) -> Self {
        Self {
            pieces: (0..chunks).map(|n| format!("piece{n} ")).collect(),
            prompt_tokens: 11,
            cached_tokens: 0,
            reasoning_tokens: 0,
            usage: UsageShape::AsAsked,
        }
    }

    pub fn text(&self) -> String {
        self.pieces.concat()
    }

    pub fn tokens(&self) -> Tokens {
        Tokens {
            prompt: self.prompt_tokens,
            completion: self.pieces.len() as u64,
            cached: self.cached_tokens,
            reasoning: self.reasoning_tokens,
        }
    }

    /// The answer without streaming.
    pub(super) fn plain(&self, request: &Received) -> Event {
        let api = Api::of(request.path());
        let model = request.model().unwrap_or_default();
        let tokens = match api {
            Api::Embeddings => self.tokens_after(0),
            _ => self.tokens(),
        };
        let usage = match &self.usage {
            UsageShape::Absent => None,
            UsageShape::Odd(odd) => Some(odd.clone()),
            _ => Some(api.usage(tokens)),
        };
        let mut body = api.plain(&model, &self.text());
        if let Some(usage) = usage {
            body["usage"] = usage;
        }
        Event {
            bytes: body.to_string().into(),
            tokens: tokens.completion,
            usage: self.sound().then_some(tokens),
        }
    }

    /// The answer as a stream of events.
    pub(super) fn events(&self, request: &Received) -> Vec<Event> {
        let model = request.model().unwrap_or_default();
        match Api::of(request.path()) {
            Api::Messages => self.messages_events(&model),
            Api::Responses => self.responses_events(&model),
            api => self.openai_events(api, &model, request.wants_usage()),
        }
    }

    /// Whether what is reported is true and whole.
    fn sound(&self) -> bool {
        !matches!(self.usage, UsageShape::Absent | UsageShape::Odd(_))
    }

    /// Counts after `pieces` pieces.
    fn tokens_after(&self, pieces: usize) -> Tokens {
        Tokens {
            completion: pieces as u64,
            ..self.tokens()
        }
    }

    fn openai_events(&self, api: Api, model: &str, asked: bool) -> Vec<Event> {
        let mut events: Vec<_> = (1..=self.pieces.len())
            .map(|n| {
                let mut chunk = api.chunk(model, Some(&self.pieces[n - 1]), n == 1);
                let counted = (self.usage == UsageShape::EveryChunk).then(|| self.tokens_after(n));
                if let Some(tokens) = counted {
                    chunk["usage"] = api.usage(tokens);
                }
                data(&chunk, 1, counted)
            })
            .collect();
        let mut finish = api.chunk(model, None, false);
        let with_finish = matches!(self.usage, UsageShape::WithFinish | UsageShape::EveryChunk);
        if with_finish {
            finish["usage"] = api.usage(self.tokens());
        }
        events.push(data(&finish, 0, with_finish.then(|| self.tokens())));
        self.push_usage_and_done(&mut events, api, model, asked);
        events
    }

    fn push_usage_and_done(&self, events: &mut Vec<Event>, api: Api, model: &str, asked: bool) {
        let usage_chunk = |usage: Value, sound: Option<Tokens>| {
            let mut chunk = api.chunk(model, None, false);
            chunk["choices"] = json!([]);
            chunk["usage"] = usage;
            data(&chunk, 0, sound)
        };
        let right = || usage_chunk(api.usage(self.tokens()), Some(self.tokens()));
        let done = Event {
            bytes: Bytes::from_static(b"data: [DONE]\n\n"),
            ..Event::default()
        };
        match &self.usage {
            UsageShape::AsAsked if asked => events.extend([right(), done]),
            UsageShape::Always => events.extend([right(), done]),
            UsageShape::Twice => {
                let first = self.tokens_after(1);
                let early = usage_chunk(api.usage(first), Some(first));
                events.extend([early, right(), done]);
            }
            UsageShape::AfterDone => events.extend([done, right()]),
            UsageShape::Odd(odd) => events.extend([usage_chunk(odd.clone(), None), done]),
            _ => events.push(done),
        }
    }

    fn messages_events(&self, model: &str) -> Vec<Event> {
        let usage_at = |tokens: Tokens| Api::Messages.usage(tokens);
        let mut start = Api::Messages.plain(model, "");
        start["content"] = json!([]);
        start["stop_reason"] = Value::Null;
        let mut last = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}});
        match &self.usage {
            UsageShape::Absent => {}
            UsageShape::Odd(odd) => last["usage"] = odd.clone(),
            _ => {
                start["usage"] = usage_at(self.tokens_after(0));
                last["usage"] = json!({"output_tokens": self.pieces.len()});
            }
        }
        let mut events = vec![
            typed(&json!({"type": "message_start", "message": start})),
            typed(
                &json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            ),
        ];
        events.extend(self.pieces.iter().map(|piece| Event {
            tokens: 1,
            ..typed(&json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}))
        }));
        events.push(typed(&json!({"type": "content_block_stop", "index": 0})));
        events.push(Event {
            usage: self.sound().then(|| self.tokens()),
            ..typed(&last)
        });
        events.push(typed(&json!({"type": "message_stop"})));
        events
    }

    fn responses_events(&self, model: &str) -> Vec<Event> {
        let mut created = Api::Responses.plain(model, "");
        created["status"] = json!("in_progress");
        created["output"] = json!([]);
        let mut whole = Api::Responses.plain(model, &self.text());
        match &self.usage {
            UsageShape::Absent => {}
            UsageShape::Odd(odd) => whole["usage"] = odd.clone(),
            _ => whole["usage"] = Api::Responses.usage(self.tokens()),
        }
        let mut events = vec![typed(
            &json!({"type": "response.created", "response": created}),
        )];
        events.extend(self.pieces.iter().map(|piece| Event {
            tokens: 1,
            ..typed(&json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": piece}))
        }));
        events.push(Event {
            usage: self.sound().then(|| self.tokens()),
            ..typed(&json!({"type": "response.completed", "response": whole}))
        });
        events
    }
}

/// Which shape an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Api {
    Chat,
    Completions,
    Embeddings,
    Messages,
    Responses,
}

impl Api {
    fn of(path: &str) -> Self {
        let ends = [
            ("/chat/completions", Self::Chat),
            ("/completions", Self::Completions),
            ("/embeddings", Self::Embeddings),
            ("/messages", Self::Messages),
            ("/responses", Self::Responses),
        ];
        let named = ends.into_iter().find(|(end, _)| path.ends_with(end));
        named.map_or(Self::Chat, |(_, api)| api)
    }

    fn usage(self, tokens: Tokens) -> Value {
        let (prompt, completion, total) = (tokens.prompt, tokens.completion, tokens.total());
        let (cached, reasoning) = (tokens.cached, tokens.reasoning);
        match self {
            Self::Messages => json!({
                "input_tokens": prompt - cached, "cache_read_input_tokens": cached,
                "cache_creation_input_tokens": 0, "output_tokens": completion,
            }),
            Self::Responses => json!({
                "input_tokens": prompt, "input_tokens_details": {"cached_tokens": cached},
                "output_tokens": completion, "output_tokens_details": {"reasoning_tokens": reasoning},
                "total_tokens": total,
            }),
            Self::Embeddings => json!({"prompt_tokens": prompt, "total_tokens": total}),
            Self::Chat | Self::Completions => json!({
                "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total,
                "prompt_tokens_details": {"cached_tokens": cached},
                "completion_tokens_details": {"reasoning_tokens": reasoning},
            }),
        }
    }

    fn plain(self, model: &str, text: &str) -> Value {
        match self {
            Self::Chat => json!({
                "id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": model,
                "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            }),
            Self::Completions => json!({
                "id": "cmpl-1", "object": "text_completion", "created": 1_700_000_000, "model": model,
                "choices": [{"index": 0, "text": text, "finish_reason": "stop"}],
            }),
            Self::Embeddings => json!({
                "object": "list", "model": model,
                "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5, 1.0]}],
            }),
            Self::Messages => json!({
                "id": "msg_1", "type": "message", "role": "assistant", "model": model,
                "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": null,
            }),
            Self::Responses => json!({
                "id": "resp_1", "object": "response", "created_at": 1_700_000_000, "status": "completed", "model": model,
                "output": [{"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
                            "content": [{"type": "output_text", "text": text, "annotations": []}]}],
            }),
        }
    }

    /// One chunk of an OpenAI stream; without a piece it is the one that finishes.
    fn chunk(self, model: &str, piece: Option<&str>, first: bool) -> Value {
        let finish = if piece.is_none() {
            json!("stop")
        } else {
            Value::Null
        };
        let (id, object, choice) = if self == Self::Completions {
            let text = piece.unwrap_or("");
            (
                "cmpl-1",
                "text_completion",
                json!({"index": 0, "text": text, "finish_reason": finish}),
            )
        } else {
            let delta = match (piece, first) {
                (Some(piece), true) => json!({"role": "assistant", "content": piece}),
                (Some(piece), false) => json!({"content": piece}),
                (None, _) => json!({}),
            };
            let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
            ("chatcmpl-1", "chat.completion.chunk", choice)
        };
        json!({"id": id, "object": object, "created": 1_700_000_000, "model": model, "choices": [choice]})
    }
}

fn data(value: &Value, tokens: u64, usage: Option<Tokens>) -> Event {
    let bytes = format!("data: {value}\n\n").into();
    Event {
        bytes,
        tokens,
        usage,
    }
}

/// An event that is named by its own `type`.
fn typed(value: &Value) -> Event {
    let name = value["type"].as_str().unwrap_or("message");
    Event {
        bytes: format!("event: {name}\ndata: {value}\n\n").into(),
        ..Event::default()
    }
}
