use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Body;
use memchr::memmem::Finder;
use serde_json::json;

use crate::body::{AnswerBody, Piece};
use crate::engine::{json_answer, not_found, respond};
use crate::{Api, Ask, Event, Output, Stamp, Turn, models};

/// Where flags are looked for, from either end of a body.
const END: usize = 4096;
const APIS: [Api; 5] = [
    Api::Chat,
    Api::Completions,
    Api::Embeddings,
    Api::Responses,
    Api::Messages,
];

/// Gives the same answers again and again, rendered once: what a request costs is then the server and nothing else.
pub struct Fixed {
    models: Bytes,
    answers: Vec<(Api, Prepared)>,
    flags: Flags,
}

/// The answers of one API, each with its tokens.
struct Prepared {
    plain: (Bytes, u64),
    stream: Option<Stream>,
}

struct Stream {
    silent: Arc<[Piece]>,
    with_usage: Arc<[Piece]>,
    tokens: u64,
}

/// What a request wants, found without parsing its body: a parser would be the dearer half of an answer.
struct Flags {
    stream: Finder<'static>,
    usage: Finder<'static>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Wants {
    stream: bool,
    usage: bool,
}

impl Fixed {
    /// Says `plain` or `streamed` in the name of `model`, with so long between the tokens of a stream.
    pub fn new(model: &str, plain: &Output, streamed: &Output, between: Duration) -> Self {
        let prepare = |api| (api, Prepared::new(api, model, plain, streamed, between));
        Self {
            models: models([model], Stamp::default().created).to_string().into(),
            answers: APIS.into_iter().map(prepare).collect(),
            flags: Flags::default(),
        }
    }

    /// The answer, and the tokens that it tells of.
    pub async fn answer<B>(&self, request: Request<B>) -> (Response<AnswerBody>, u64)
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, body) = request.into_parts();
        if head.method == Method::GET && head.uri.path() == "/v1/models" {
            return (json_answer(self.models.clone()), 0);
        }
        let api = Api::of(head.uri.path());
        let Some((_, prepared)) = self.answers.iter().find(|(one, _)| Some(*one) == api) else {
            return (not_found(), 0);
        };
        let wants = self.flags.of(body).await;
        let Some(stream) = prepared.stream.as_ref().filter(|_| wants.stream) else {
            let (body, tokens) = &prepared.plain;
            return (json_answer(body.clone()), *tokens);
        };
        let pieces = match wants.usage {
            true => &stream.with_usage,
            false => &stream.silent,
        };
        let body = AnswerBody::paced(Arc::clone(pieces));
        (respond("text/event-stream", body), stream.tokens)
    }
}

impl Prepared {
    fn new(api: Api, model: &str, plain: &Output, streamed: &Output, between: Duration) -> Self {
        let stamp = Stamp::default();
        let render = |output, usage: bool| {
            let ask = Ask::read(json!({
                "model": model, "input": "fixed", "stream_options": {"include_usage": usage},
            }));
            let turn = Turn {
                ask: &ask,
                output,
                stamp: &stamp,
            };
            (turn.plain(api), turn.events(api))
        };
        let (plain, _) = render(plain, false);
        let stream = |usage| {
            render(streamed, usage)
                .1
                .map(|events| paced(events, between))
        };
        let tokens = streamed.prompt_tokens + streamed.pieces.len() as u64;
        Self {
            plain: (plain.bytes, plain.usage.map_or(0, |usage| usage.total())),
            stream: stream(false)
                .zip(stream(true))
                .map(|(silent, with_usage)| Stream {
                    silent,
                    with_usage,
                    tokens,
                }),
        }
    }
}

fn paced(events: Vec<Event>, between: Duration) -> Arc<[Piece]> {
    let pieces = events.into_iter().enumerate().map(|(index, event)| Piece {
        wait: match (index, event.tokens) {
            (0, _) | (_, 0) => Duration::ZERO,
            _ => between,
        },
        bytes: event.bytes,
    });
    pieces.collect()
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            stream: Finder::new(br#""stream""#),
            usage: Finder::new(br#""include_usage""#),
        }
    }
}

impl Flags {
    /// Reads a body to its end and looks at its two ends: that is where clients and proxies put the flags, and a
    /// megabyte of prompt between them should cost nothing.
    async fn of(&self, mut body: impl Body<Data = Bytes> + Unpin) -> Wants {
        let (mut head, mut tail) = (Bytes::new(), Bytes::new());
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else {
                continue;
            };
            // A flag may lie across two frames, if one of them is short.
            match head.len() < END {
                true => head = joined(head, data),
                false if data.len() < END => tail = last(joined(tail, data)),
                false => tail = data,
            }
        }
        let first = self.find(&head[..head.len().min(END)]);
        if tail.is_empty() && head.len() <= END {
            return first;
        }
        let tail = if tail.is_empty() { head } else { tail };
        let other = self.find(&last(tail));
        Wants {
            stream: first.stream || other.stream,
            usage: first.usage || other.usage,
        }
    }

    /// Quotes inside a prompt are escaped, so a key with plain quotes is a real key.
    fn find(&self, body: &[u8]) -> Wants {
        Wants {
            stream: is_true(&self.stream, body),
            usage: is_true(&self.usage, body),
        }
    }
}

fn joined(one: Bytes, other: Bytes) -> Bytes {
    match one.is_empty() {
        true => other,
        false => [one, other].concat().into(),
    }
}

fn last(bytes: Bytes) -> Bytes {
    bytes.slice(bytes.len().saturating_sub(END)..)
}

fn is_true(key: &Finder<'_>, body: &[u8]) -> bool {
    let Some(at) = key.find(body) else {
        return false;
    };
    let behind = &body[at + key.needle().len()..];
    let value = behind.trim_ascii_start().strip_prefix(b":");
    value.is_some_and(|value| value.trim_ascii_start().starts_with(b"true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn flags_are_found_at_both_ends_however_a_body_is_cut() {
        let flag = r#""stream":true"#;
        let long = "x".repeat(20_000);
        for text in [
            format!("{{{flag},\"p\":\"{long}\"}}"),
            format!("{{\"p\":\"{long}\",{flag}}}"),
        ] {
            for size in [7, 300, 5_000, 30_000] {
                let pieces = text.as_bytes().chunks(size).map(|piece| Piece {
                    wait: Duration::ZERO,
                    bytes: Bytes::copy_from_slice(piece),
                });
                let wants = Flags::default()
                    .of(AnswerBody::paced(pieces.collect()))
                    .await;
                assert!(wants.stream && !wants.usage, "pieces of {size}");
            }
        }
    }

    #[test]
    fn flags_are_found_with_any_spacing_and_not_inside_a_prompt() {
        let wants = |body: &str| Flags::default().find(body.as_bytes());
        assert_eq!(
            wants(r#"{"stream":true}"#),
            Wants {
                stream: true,
                usage: false
            }
        );
        assert!(wants(r#"{"stream" : true,"stream_options":{"include_usage": true}}"#).usage);
        assert!(!wants(r#"{"stream":false,"stream_options":{}}"#).stream);
        assert!(!wants(r#"{"content":"say \"stream\":true"}"#).stream);
    }
}
