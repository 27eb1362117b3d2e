//! The upstream: answers at once, costs as little as a hyper server can, and counts what it served.

mod answer;
mod body;

use crate::Result;
use body::Answer;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpListener;

#[derive(clap::Args)]
pub struct Args {
    /// Port 0 takes a free one; the address is printed
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Chunks of a streamed answer
    #[arg(long, default_value_t = 64)]
    chunks: u64,
    /// Milliseconds between chunks; 0 is as fast as they can be written, each in its own write
    #[arg(long, default_value_t = 0)]
    interval_ms: u64,
}

struct State {
    chunks: Cell<u64>,
    interval: Cell<Duration>,
    requests: Cell<u64>,
    tokens: Cell<u64>,
    plain: Bytes,
    embedding: Bytes,
}

pub async fn run(args: Args) -> Result<()> {
    let listener = TcpListener::bind(args.listen).await?;
    println!("listening on {}", listener.local_addr()?);
    let state = Rc::new(State {
        chunks: Cell::new(args.chunks),
        interval: Cell::new(Duration::from_millis(args.interval_ms)),
        requests: Cell::new(0),
        tokens: Cell::new(0),
        plain: answer::plain(),
        embedding: answer::embedding(),
    });
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let state = Rc::clone(&state);
        tokio::task::spawn_local(async move {
            let service = hyper::service::service_fn(|request| {
                let state = Rc::clone(&state);
                async move { Ok::<_, Infallible>(route(&state, request).await) }
            });
            // A client that hangs up is its own business: the generator counts what it misses.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn route(state: &State, request: Request<Incoming>) -> Response<Answer> {
    let path = request.uri().path();
    match path {
        "/stats" => json(Bytes::from(stats(state))),
        "/set" => {
            set(state, request.uri().query().unwrap_or_default());
            json(Bytes::from(stats(state)))
        }
        "/health" => json(Bytes::from_static(br#"{"status":"ok"}"#)),
        "/v1/models" => json(Bytes::from_static(answer::MODELS)),
        _ if path.ends_with("/embeddings") => embeddings(state, request).await,
        _ if path.ends_with("/completions") => completions(state, request).await,
        _ => {
            let mut response = json(Bytes::from_static(
                br#"{"error":{"message":"no such path"}}"#,
            ));
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

async fn embeddings(state: &State, request: Request<Incoming>) -> Response<Answer> {
    read(request.into_body()).await;
    count(state, answer::PROMPT_TOKENS);
    json(state.embedding.clone())
}

async fn completions(state: &State, request: Request<Incoming>) -> Response<Answer> {
    let asked = read(request.into_body()).await;
    if !asked.stream {
        count(state, answer::PROMPT_TOKENS + answer::COMPLETION_TOKENS);
        return json(state.plain.clone());
    }
    let chunks = state.chunks.get();
    count(state, answer::PROMPT_TOKENS + chunks);
    let stream = body::Chunks::new(chunks, state.interval.get(), asked.usage);
    let mut response = Response::new(Answer::Stream(stream));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}

/// Reads a body to its end, keeping only its two ends: that is where clients and proxies put the flags,
/// and a megabyte of prompt between them should cost the mock nothing.
async fn read(mut body: Incoming) -> answer::Asked {
    const END: usize = 4096;
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
    answer::Asked::find(&head).or(answer::Asked::find(tail))
}

fn json(body: Bytes) -> Response<Answer> {
    let mut response = Response::new(Answer::Whole(Some(body)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn count(state: &State, tokens: u64) {
    state.requests.set(state.requests.get() + 1);
    state.tokens.set(state.tokens.get() + tokens);
}

fn stats(state: &State) -> String {
    format!(
        r#"{{"requests":{},"tokens":{}}}"#,
        state.requests.get(),
        state.tokens.get()
    )
}

/// `/set?chunks=64&interval_ms=0`: one mock serves all cases of a comparison.
fn set(state: &State, query: &str) {
    for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match (key, value.parse::<u64>()) {
            ("chunks", Ok(chunks)) => state.chunks.set(chunks),
            ("interval_ms", Ok(ms)) => state.interval.set(Duration::from_millis(ms)),
            _ => {}
        }
    }
}
