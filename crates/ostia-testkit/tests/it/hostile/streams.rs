//! Streams that are made to cost more than their content.

use ostia_testkit::backend::{FakeBackend, Script, ScriptFraming};
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use serde_json::json;

use crate::common::{DONE, chat_event};

/// Reads a stream: its bytes, and the number of chunks.
async fn read(gateway: &TestGateway) -> (Vec<u8>, usize) {
    let mut client = gateway.client().await;
    client.send(gateway.chat_stream("m").bytes()).await;
    let mut reading = client.begin().await.unwrap();
    assert_eq!(reading.status(), 200);
    let (mut bytes, mut chunks) = (Vec::new(), 0);
    while let Some(piece) = client.piece(&mut reading).await.unwrap() {
        bytes.extend_from_slice(&piece);
        chunks += 1;
    }
    (bytes, chunks)
}

#[tokio::test]
async fn events_of_one_read_leave_together_and_empty_ones_cost_nothing() {
    let backend = FakeBackend::start().await;
    let endpoint = Endpoint::of("m", &backend).config("done_marker", json!(false));
    let gateway = TestGateway::start(Site::new().endpoint(endpoint)).await;
    let end = format!("{}{DONE}", chat_event("x"));
    for piece in ["\n", "\r", "\r\n", ":\n\n", "\n:\r\r", "data:\n\n", "x\n\n"] {
        let body = piece.repeat((1 << 20) / piece.len());
        backend.next(
            Script::raw(200, [body.as_bytes(), end.as_bytes()].concat())
                .header("content-type", "text/event-stream")
                .framing(ScriptFraming::Chunked),
        );
        let (bytes, chunks) = read(&gateway).await;
        assert_eq!(bytes.len(), body.len() + end.len(), "{piece:?}");
        assert!(
            bytes.starts_with(body.as_bytes()) && bytes.ends_with(end.as_bytes()),
            "{piece:?}"
        );
        assert!(chunks < 1000, "{piece:?} came in {chunks} chunks");
    }
    let rows = gateway.finish(&[&backend]).await;
    assert!(rows.iter().all(|row| row.outcome == "ok"), "{rows:?}");
}

/// One byte in each of the backend's chunks.
#[tokio::test]
async fn a_backends_tiny_chunks_do_not_become_ours() {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    let chunk = "1\r\n\n\r\n".repeat(100_000);
    let end = format!("{}{DONE}", chat_event("x"));
    let body = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{chunk}{:x}\r\n{end}\r\n0\r\n\r\n",
        end.len()
    );
    backend.next(Script::steps([ostia_testkit::backend::Step::Write(
        body.into(),
    )]));
    let (bytes, chunks) = read(&gateway).await;
    assert_eq!(bytes.len(), 100_000 + end.len());
    assert!(chunks < 1000, "{chunks} chunks");
    gateway.finish(&[&backend]).await;
}
