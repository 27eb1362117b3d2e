//! The upstream: the simulated engine with fixed answers, as cheap as a hyper server can be. Counts its requests.

use crate::Result;
use bytes::Bytes;
use hyper::body::Body;
use hyper::{Request, Response};
use ostia_engine::{AnswerBody, Api, Ask, Fixed, Output, Stamp, Turn, json_answer, serve};
use parking_lot::RwLock;
use serde_json::json;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;

const MODEL: &str = "bench-model";
const PROMPT_TOKENS: u64 = 64;
const COMPLETION_TOKENS: usize = 64;
/// The exact length of the plain chat answer.
const PLAIN_BYTES: usize = 512;
/// All chunks of a stream are kept in memory.
const MOST_CHUNKS: u64 = 100_000;

#[derive(clap::Args)]
pub struct Args {
    /// Port 0 takes a free port; the address is printed
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    #[command(flatten)]
    pace: Pace,
}

#[derive(clap::Args, Clone, Copy)]
struct Pace {
    /// Chunks of a streamed answer
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=MOST_CHUNKS))]
    chunks: u64,
    /// Milliseconds between chunks; 0 writes them as fast as possible, each in its own write
    #[arg(long, default_value_t = 0)]
    interval_ms: u64,
}

struct Mock {
    fixed: RwLock<(Pace, Arc<Fixed>)>,
    requests: AtomicU64,
    tokens: AtomicU64,
}

pub async fn run(args: Args) -> Result<()> {
    let listener = TcpListener::bind(args.listen).await?;
    let mock = Arc::new(Mock::new(args.pace));
    println!("listening on {}", listener.local_addr()?);
    let answer = move |request| {
        let mock = Arc::clone(&mock);
        async move { Ok::<_, Infallible>(mock.answer(request).await) }
    };
    serve(listener, answer).await;
    Ok(())
}

impl Mock {
    fn new(pace: Pace) -> Self {
        Self {
            fixed: RwLock::new((pace, Arc::new(fixed(pace)))),
            requests: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
        }
    }

    async fn answer<B>(&self, request: Request<B>) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        match request.uri().path() {
            "/health" => return json_answer(r#"{"status":"ok"}"#),
            "/stats" => return json_answer(self.stats()),
            "/set" => {
                self.set(request.uri().query().unwrap_or_default());
                return json_answer(self.stats());
            }
            _ => {}
        }
        let fixed = Arc::clone(&self.fixed.read().1);
        let (response, tokens) = fixed.answer(request).await;
        if tokens > 0 {
            self.requests.fetch_add(1, Ordering::Relaxed);
            self.tokens.fetch_add(tokens, Ordering::Relaxed);
        }
        response
    }

    /// `/set?chunks=64&interval_ms=0`: lets one mock serve all cases of a comparison.
    fn set(&self, query: &str) {
        let mut pace = self.fixed.read().0;
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match (key, value.parse::<u64>()) {
                ("chunks", Ok(chunks)) => pace.chunks = chunks.clamp(1, MOST_CHUNKS),
                ("interval_ms", Ok(ms)) => pace.interval_ms = ms,
                _ => {}
            }
        }
        *self.fixed.write() = (pace, Arc::new(fixed(pace)));
    }

    fn stats(&self) -> String {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (requests, tokens) = (count(&self.requests), count(&self.tokens));
        format!(r#"{{"requests":{requests},"tokens":{tokens}}}"#)
    }
}

/// Plain answers of a known length, and streams of numbered chunks, whose numbers the load generator checks.
fn fixed(pace: Pace) -> Fixed {
    let chunks = (0..pace.chunks).map(|number| format!("t{number} "));
    let between = Duration::from_millis(pace.interval_ms);
    Fixed::new(MODEL, &plain(), &output(chunks.collect()), between)
}

fn plain() -> Output {
    let envelope = chat_length(&output(vec![String::new(); COMPLETION_TOKENS]));
    let room = PLAIN_BYTES.saturating_sub(envelope);
    let text = "word ".repeat(room / 5 + 1);
    let start = |piece: usize| piece * room / COMPLETION_TOKENS;
    let pieces = (0..COMPLETION_TOKENS).map(|n| text[start(n)..start(n + 1)].to_owned());
    output(pieces.collect())
}

fn output(pieces: Vec<String>) -> Output {
    Output {
        pieces,
        prompt_tokens: PROMPT_TOKENS,
        ..Output::default()
    }
}

fn chat_length(output: &Output) -> usize {
    let turn = Turn {
        ask: &Ask::read(json!({"model": MODEL})),
        output,
        stamp: &Stamp::default(),
    };
    turn.plain(Api::Chat).bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse::Checker;
    use http_body_util::{BodyExt, Full};

    async fn ask(mock: &Mock, path: &str, body: &'static str) -> Bytes {
        let request = Request::post(path).body(Full::from(body)).unwrap();
        let answer = mock.answer(request).await.into_body();
        answer.collect().await.unwrap().to_bytes()
    }

    fn mock() -> Mock {
        Mock::new(Pace {
            chunks: 64,
            interval_ms: 0,
        })
    }

    #[tokio::test]
    async fn the_plain_answer_is_json_of_the_promised_length() {
        let answer = ask(&mock(), "/v1/chat/completions", "{}").await;
        assert_eq!(answer.len(), PLAIN_BYTES);
        let value: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(value["usage"]["total_tokens"], 128);
    }

    #[tokio::test]
    async fn a_stream_is_whole_with_and_without_usage() {
        let (mock, path) = (mock(), "/v1/chat/completions");
        let asks = [
            r#"{"stream":true}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        ];
        for (body, usage) in asks.into_iter().zip([false, true]) {
            for chunks in [64, 3] {
                ask(&mock, &format!("/set?chunks={chunks}"), "").await;
                let stream = ask(&mock, path, body).await;
                let mut checker = Checker::default();
                assert_eq!(checker.feed(&stream), chunks);
                assert_eq!(checker.finish(chunks), Ok(()));
                assert_eq!(
                    memchr::memmem::find(&stream, br#""usage":{"#).is_some(),
                    usage
                );
            }
        }
        let stats = ask(&mock, "/stats", "").await;
        let tokens = 2 * (64 + 64) + 2 * (64 + 3);
        assert_eq!(stats, format!(r#"{{"requests":4,"tokens":{tokens}}}"#));
    }
}
