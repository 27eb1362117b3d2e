//! Memory does not grow: slow readers, endless answers (R58, R59).

use ostia_testkit::backend::{FakeBackend, Script, ScriptFraming};
use ostia_testkit::client::{Ended, HangUp, RawClient};
use ostia_testkit::gateway::TestGateway;
use serde_json::json;

use crate::common::{assert_error, chat_event, rig, rig_with, told};

const MEGABYTE: u64 = 1 << 20;
/// The most that two pairs of kernel buffers and the gateway hold together. Linux lets a loopback buffer grow to 6 MiB.
const HELD: u64 = 32 * MEGABYTE;
const OFFERED: u64 = 256 * MEGABYTE;

/// Another client reads as much as the slow one is offered: time enough to see a gateway that would buffer.
async fn while_another_reads_all(gateway: &TestGateway, backend: &FakeBackend) {
    let piece = vec![b'z'; 1 << 20];
    backend.next(Script::repeated(piece, OFFERED / 4 / MEGABYTE));
    let request = gateway.request("audio/speech", "m", &json!({"input": "x"}));
    let mut client = gateway.client().await;
    client.send(request.bytes()).await;
    let mut reading = client.begin().await.unwrap();
    let mut read = 0;
    while let Some(piece) = client.piece(&mut reading).await.unwrap() {
        read += piece.len() as u64;
    }
    assert_eq!(read, OFFERED / 4);
}

#[tokio::test]
async fn a_backend_is_held_back_by_a_client_that_does_not_read() {
    let (backend, gateway) = rig().await;
    let event = chat_event(&"x".repeat(1 << 16));
    let pieces = OFFERED / event.len() as u64;
    let stream = Script::repeated(event, pieces)
        .header("content-type", "text/event-stream")
        .framing(ScriptFraming::Chunked);
    let plain = Script::repeated(vec![b'x'; 1 << 16], OFFERED >> 16);
    let speech = gateway.request("audio/speech", "m", &json!({"input": "x"}));
    let cases = [(plain, speech), (stream, gateway.chat_stream("m"))];
    for (number, (script, request)) in cases.into_iter().enumerate() {
        backend.next(script);
        let mut client = RawClient::connect_narrow(gateway.address()).await;
        client.send(request.bytes()).await;
        client.begin().await.unwrap();
        let slow = backend.records().len() - 1;
        while_another_reads_all(&gateway, &backend).await;
        let written = backend.records()[slow].bytes_written;
        assert!(
            written < HELD,
            "case {number}: {written} bytes for a client that reads nothing"
        );
        client.hang_up(HangUp::Reset).await;
        backend.aborts(number + 1).await;
    }
    let rows = gateway.finish(&[&backend]).await;
    let left = rows.iter().filter(|row| row.outcome == "client_closed");
    assert_eq!(left.count(), 2, "{rows:?}");
}

/// Each read restarts the write-idle limit; the slot must come back nevertheless.
#[tokio::test]
async fn a_client_that_reads_a_little_now_and_then_is_cut_off_at_the_total_timeout() {
    let (backend, gateway) = rig_with("[upstream]\ntotal_timeout = \"500ms\"").await;
    let stream = Script::repeated(chat_event(&"x".repeat(1 << 16)), u64::MAX)
        .header("content-type", "text/event-stream")
        .framing(ScriptFraming::Chunked);
    let plain = Script::repeated(vec![b'x'; 1 << 16], u64::MAX).framing(ScriptFraming::Chunked);
    let speech = gateway.request("audio/speech", "m", &json!({"input": "x"}));
    let cases = [(plain, speech), (stream, gateway.chat_stream("m"))];
    for (number, (script, request)) in cases.into_iter().enumerate() {
        backend.next(script);
        let mut client = RawClient::connect_narrow(gateway.address()).await;
        client.send(request.bytes()).await;
        let sipping = async {
            while !client.take(1 << 14).await.is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = sipping => {}
            _ = backend.aborts(number + 1) => {}
        }
    }
    for row in gateway.finish(&[&backend]).await {
        // Two parts enforce the deadline: one while bytes wait for the client, one while reading from the backend.
        // Which one sees it first depends on whether the client has just read.
        let ends = [
            ("client_closed", "streaming", ""),
            ("upstream_timeout", "streaming", "upstream_timeout"),
        ];
        assert!(ends.contains(&told(&row)), "{row:?}");
        assert!(row.response_bytes > 0);
    }
}

#[tokio::test]
async fn heads_without_end_are_refused() {
    let (backend, gateway) = rig().await;
    for request in [gateway.chat("m"), gateway.chat_stream("m")] {
        backend.next(Script::endless_headers());
        let answer = gateway.call(&request).await;
        assert_error(
            &answer,
            502,
            "upstream_error",
            "upstream_invalid",
            "endless",
        );
    }
    backend.open_connections(0).await;
    for record in backend.records() {
        assert!(record.bytes_written < HELD, "{}", record.bytes_written);
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_refusal_without_end_is_not_read_to_its_end() {
    let (backend, gateway) = rig().await;
    for framing in [ScriptFraming::Chunked, ScriptFraming::UntilClose] {
        backend.next(
            Script::repeated(vec![b' '; 1 << 14], u64::MAX)
                .status(429)
                .framing(framing),
        );
        let answer = gateway.call(&gateway.chat("m")).await;
        assert_error(
            &answer,
            429,
            "rate_limit_error",
            "rate_limit_exceeded",
            "endless",
        );
    }
    backend.aborts(2).await;
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_compressed_answer_passes_as_it_is() {
    let (backend, gateway) = rig().await;
    let bytes = [
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let script = Script::raw(200, bytes.to_vec())
        .header("content-type", "application/json")
        .header("content-encoding", "gzip");
    backend.next(script);
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_eq!((answer.status(), &answer.ended), (200, &Ended::Complete));
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(answer.body, bytes.as_slice());
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(
        (&*rows[0].outcome, &*rows[0].usage_source),
        ("ok", "estimated")
    );
}
