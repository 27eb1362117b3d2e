use std::sync::{Arc, LazyLock};
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

/// How many bytes at either end of a body are searched for flags.
const END: usize = 4096;
const APIS: [Api; 5] = [
    Api::Chat,
    Api::Completions,
    Api::Embeddings,
    Api::Responses,
    Api::Messages,
];
static STREAM: LazyLock<Finder> = LazyLock::new(|| Finder::new(br#""stream""#));
static INCLUDE_USAGE: LazyLock<Finder> = LazyLock::new(|| Finder::new(br#""include_usage""#));

/// Gives the same answers again and again, rendered once, so that a request costs only what the server costs.
pub struct Fixed {
    models: Bytes,
    answers: Vec<(Api, Prepared)>,
    stream_tokens: u64,
}

struct Prepared {
    plain: Event,
    /// Without and with usage.
    streams: Option<[Arc<[Piece]>; 2]>,
}

impl Fixed {
    /// Answers with `plain` or `streamed` in the name of `model`, and pauses between the tokens of a stream.
    pub fn new(model: &str, plain: &Output, streamed: &Output, between: Duration) -> Self {
        let stamp = Stamp::default();
        let ask = |usage: bool| {
            let options = json!({"include_usage": usage});
            Ask::read(json!({"model": model, "input": "fixed", "stream_options": options}))
        };
        let (without, with) = (ask(false), ask(true));
        let turn = |ask, output| Turn {
            ask,
            output,
            stamp: &stamp,
        };
        let prepare = |api| {
            let stream = |ask| Some(paced(turn(ask, streamed).events(api)?, between));
            let streams = stream(&without).zip(stream(&with));
            let prepared = Prepared {
                plain: turn(&without, plain).plain(api),
                streams: streams.map(|(without, with)| [without, with]),
            };
            (api, prepared)
        };
        Self {
            models: models([model], stamp.created).to_string().into(),
            answers: APIS.into_iter().map(prepare).collect(),
            stream_tokens: streamed.prompt_tokens + streamed.pieces.len() as u64,
        }
    }

    /// The answer, and the tokens that it reports.
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
        let ends = ends(body).await;
        let Some(streams) = prepared
            .streams
            .as_ref()
            .filter(|_| is_true(&STREAM, &ends))
        else {
            let Event { bytes, usage, .. } = prepared.plain.clone();
            return (json_answer(bytes), usage.map_or(0, |usage| usage.total()));
        };
        let pieces = &streams[usize::from(is_true(&INCLUDE_USAGE, &ends))];
        let body = AnswerBody::paced(Arc::clone(pieces), false);
        (respond("text/event-stream", body), self.stream_tokens)
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

/// Reads a body and keeps both its ends, where clients and proxies put the flags. A megabyte of prompt between them
/// should cost nothing, so it is not parsed.
async fn ends(mut body: impl Body<Data = Bytes> + Unpin) -> Vec<u8> {
    let mut kept = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let data = frame.into_data().unwrap_or_default();
        let room = END.saturating_sub(kept.len()).min(data.len());
        let (first, rest) = data.split_at(room);
        kept.extend_from_slice(first);
        kept.extend_from_slice(&rest[rest.len().saturating_sub(END)..]);
        if kept.len() > 2 * END {
            kept.drain(END..kept.len() - END);
        }
    }
    kept
}

/// Quotes inside a prompt are escaped, so a key in plain quotes is a real key.
fn is_true(key: &Finder<'_>, body: &[u8]) -> bool {
    let value = key.find(body).and_then(|at| {
        let behind = body[at + key.needle().len()..].trim_ascii_start();
        behind.strip_prefix(b":")
    });
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
                let ends = ends(AnswerBody::paced(pieces.collect(), false)).await;
                assert!(is_true(&STREAM, &ends), "pieces of {size}");
                assert!(!is_true(&INCLUDE_USAGE, &ends) && ends.len() <= 2 * END);
            }
        }
    }

    #[test]
    fn flags_are_found_with_any_spacing_and_not_inside_a_prompt() {
        let stream = |body: &str| is_true(&STREAM, body.as_bytes());
        assert!(stream(r#"{"stream":true}"#) && stream(r#"{"stream" : true}"#));
        assert!(!stream(r#"{"stream":false,"stream_options":{}}"#));
        assert!(!stream(r#"{"content":"say \"stream\":true"}"#));
        let usage = r#"{"stream":true,"stream_options":{"include_usage": true}}"#;
        assert!(stream(usage) && is_true(&INCLUDE_USAGE, usage.as_bytes()));
    }
}
