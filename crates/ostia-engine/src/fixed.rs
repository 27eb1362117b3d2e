use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Body;
use memchr::memmem;
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
        let wants = read(body).await;
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

impl Wants {
    /// Quotes inside a prompt are escaped, so a key with plain quotes is a real key.
    fn find(body: &[u8]) -> Self {
        Self {
            stream: is_true(body, br#""stream""#),
            usage: is_true(body, br#""include_usage""#),
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            stream: self.stream || other.stream,
            usage: self.usage || other.usage,
        }
    }
}

fn is_true(body: &[u8], key: &[u8]) -> bool {
    let Some(at) = memmem::find(body, key) else {
        return false;
    };
    let Some(value) = body[at + key.len()..].trim_ascii_start().strip_prefix(b":") else {
        return false;
    };
    value.trim_ascii_start().starts_with(b"true")
}

/// Reads a body to its end, keeping only its two ends: that is where clients and proxies put the flags, and a megabyte
/// of prompt between them should cost nothing.
async fn read(mut body: impl Body<Data = Bytes> + Unpin) -> Wants {
    let (mut head, mut tail) = (Vec::new(), Bytes::new());
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let room = END.saturating_sub(head.len()).min(data.len());
        head.extend_from_slice(&data[..room]);
        // The flags may lie across two frames only if the last one is tiny: then both are kept.
        tail = match data.len() < 256 && !tail.is_empty() {
            true => [tail.as_ref(), data.as_ref()].concat().into(),
            false => data,
        };
    }
    let tail = &tail[tail.len().saturating_sub(END)..];
    Wants::find(&head).or(Wants::find(tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_found_with_any_spacing_and_not_inside_a_prompt() {
        let wants = |body: &str| Wants::find(body.as_bytes());
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
