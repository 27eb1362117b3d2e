//! Tests of the client against raw sockets that follow a script.

mod backend;
mod cancel;
mod certificates;
mod http1;
mod http2;
mod http2_frames;
mod reuse;
mod socks;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use ostia_core::{Clock, ManualClock, Phase};

use self::backend::Backend;
use super::resolver::Resolver;
use super::{BodyError, Client, UpstreamBody, UpstreamFailure, UpstreamResponse};
use crate::catalog::{Origin, Scheme, Target, Timeouts};
use crate::upstream::Outgoing;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Timeouts that a passing test never reaches.
const NEVER: Timeouts = Timeouts {
    connect: Some(Duration::from_secs(30)),
    response_header: Some(Duration::from_secs(30)),
    stream_idle: Some(Duration::from_secs(30)),
    total: None,
};

fn target(scheme: Scheme, host: &str, port: u16) -> Target {
    let origin = Origin {
        scheme,
        host: host.into(),
        port,
    };
    Target {
        base_path: "/v1".into(),
        ..Target::plain(origin, NEVER)
    }
}

fn plain(backend: &Backend) -> Target {
    target(Scheme::Http, "127.0.0.1", backend.port)
}

/// A client whose clock stands still and that resolves `model.test` to this machine.
fn client(target: &Target) -> Client {
    client_at(target, Arc::new(ManualClock::at(0)))
}

fn client_at(target: &Target, clock: Arc<ManualClock>) -> Client {
    let clock: Arc<dyn Clock> = clock;
    let resolver = Arc::new(Resolver::new(Arc::clone(&clock)));
    resolver.preset("model.test", &["127.0.0.1".parse().unwrap()]);
    Client::new(target, resolver, clock).unwrap()
}

fn outgoing(pieces: &[&'static str]) -> Outgoing {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    Outgoing {
        method: http::Method::POST,
        origin: None,
        path_and_query: "/v1/chat/completions".to_owned(),
        headers,
        body: pieces
            .iter()
            .map(|piece| Bytes::from_static(piece.as_bytes()))
            .collect(),
        timeouts: NEVER,
        stream: false,
    }
}

async fn send(client: &Client) -> Result<UpstreamResponse<UpstreamBody>, UpstreamFailure> {
    client.send(outgoing(&["{}"]), &mut |_| {}).await
}

/// One complete call: status, body, sends.
async fn call(client: &Client) -> (u16, Bytes, u32) {
    let answer = send(client).await.unwrap();
    let (status, sends) = (answer.head.status.as_u16(), answer.sends);
    (status, read(answer.body).await.unwrap(), sends)
}

async fn read(body: UpstreamBody) -> Result<Bytes, BodyError> {
    Ok(body.collect().await?.to_bytes())
}

/// A call that must fail, and the phases it went through.
async fn fail(client: &Client, outgoing: Outgoing) -> (UpstreamFailure, Vec<Phase>) {
    let mut phases = Vec::new();
    let result = client.send(outgoing, &mut |phase| phases.push(phase)).await;
    match result {
        Ok(answer) => panic!("an answer: {:?}", answer.head),
        Err(failure) => (failure, phases),
    }
}

/// Turns a hang into a failure.
async fn soon<F: Future>(work: F) -> F::Output {
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, work).await.expect("it hangs")
}
