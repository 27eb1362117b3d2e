//! The same promises to HTTP/2 clients.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use ostia_testkit::backend::{Break, Script};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::TestGateway;
use serde_json::json;

use crate::common::{chat_stream_of, rig, told};

/// A connection with prior knowledge.
async fn connect(gateway: &TestGateway) -> SendRequest<Full<Bytes>> {
    let stream = tokio::net::TcpStream::connect(gateway.address())
        .await
        .unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    drop(ostia::runtime::spawn(async move {
        connection.await.ok();
    }));
    sender
}

fn request(gateway: &TestGateway, stream: bool) -> http::Request<Full<Bytes>> {
    let key = gateway.site().secrets.client_bearer();
    let body =
        json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "x"}]});
    http::Request::post(format!("http://{}/v1/chat/completions", gateway.address()))
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json")
        .body(Full::from(body.to_string()))
        .unwrap()
}

/// The bytes of a body, and how it ended.
async fn read(mut body: hyper::body::Incoming) -> (String, Result<(), String>) {
    let mut bytes = Vec::new();
    let mut ended = Ok(());
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Err(error) => {
                ended = Err(format!("{error:?}"));
                break;
            }
        }
    }
    (String::from_utf8(bytes).unwrap(), ended)
}

#[tokio::test]
async fn a_stream_passes_whole() {
    let (backend, gateway) = rig().await;
    let events = chat_stream_of(20);
    let mut sender = connect(&gateway).await;
    for _ in 0..10 {
        backend.next(Script::events(events.clone()));
        let answer = sender.send_request(request(&gateway, true)).await.unwrap();
        assert_eq!(answer.status(), 200);
        for (name, value) in [
            ("content-type", "text/event-stream; charset=utf-8"),
            ("cache-control", "no-cache"),
            ("x-accel-buffering", "no"),
        ] {
            assert_eq!(answer.headers()[name], value);
        }
        assert_eq!(read(answer.into_body()).await, (events.concat(), Ok(())));
    }
    drop(sender);
    let rows = gateway.finish(&[&backend]).await;
    assert!(rows.iter().all(|row| row.outcome == "ok"));
}

#[tokio::test]
async fn a_broken_stream_is_reset_behind_its_error_event() {
    let (backend, gateway) = rig().await;
    let events = chat_stream_of(6);
    let mut sender = connect(&gateway).await;
    for how in [
        Break::Reset,
        Break::Fin,
        Break::ShortLength,
        Break::BadChunk,
    ] {
        for k in 1..=5 {
            for _ in 0..5 {
                backend.next(Script::events(events.clone()).break_after(k, how));
                let answer = sender.send_request(request(&gateway, true)).await.unwrap();
                let (text, ended) = read(answer.into_body()).await;
                let rest = text.strip_prefix(&events[..k].concat()).unwrap_or_default();
                assert!(
                    rest.starts_with("data: {\"error\":"),
                    "{how:?} after {k}: {text}"
                );
                assert_eq!(
                    rest.matches("data:").count(),
                    1,
                    "{how:?} after {k}: {text}"
                );
                let ended = ended.unwrap_err();
                assert!(
                    ended.contains("Reset") && ended.contains("Remote"),
                    "{ended}"
                );
            }
        }
    }
    drop(sender);
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.len(), 100);
    assert!(rows.iter().all(|row| row.outcome == "upstream_error"));
}

#[tokio::test]
async fn a_reset_stream_ends_the_backends_work_and_no_others() {
    let (backend, gateway) = rig().await;
    let gate = Gate::closed();
    let mut sender = connect(&gateway).await;
    let stays = Gate::closed();
    backend.next(Script::events(chat_stream_of(2)).gate_events(&stays));
    let staying = sender.send_request(request(&gateway, true));
    let staying = ostia::runtime::spawn(staying);
    backend.requests(1).await;
    for number in 1..=20 {
        if number % 2 == 0 {
            backend.next(Script::completion().gate_head(&gate));
            let waiting = ostia::runtime::spawn(sender.send_request(request(&gateway, false)));
            backend.requests(number + 1).await;
            waiting.abort();
        } else {
            backend.next(Script::completion().gate_events(&gate));
            gate.release(1);
            let answer = sender.send_request(request(&gateway, true)).await.unwrap();
            let mut body = answer.into_body();
            body.frame().await.unwrap().unwrap();
            drop(body);
        }
        backend.aborts(number).await;
    }
    stays.open();
    let answer = staying.await.unwrap().unwrap();
    let whole = chat_stream_of(2).concat();
    assert_eq!(read(answer.into_body()).await, (whole, Ok(())));
    drop(sender);
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(told(&rows[0]), ("ok", "done", ""));
    for row in &rows[1..] {
        let phase = if row.stream {
            "streaming"
        } else {
            "waiting_headers"
        };
        assert_eq!(told(row), ("client_closed", phase, ""), "{row:?}");
    }
}
