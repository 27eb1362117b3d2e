//! A client that hangs up, in every phase and manner: the backend's work ends, and the row says so (R52 to R54).

use std::time::Duration;

use futures_util::future::join_all;
use ostia_core::{Clock, SystemClock};
use ostia_testkit::backend::{Cuts, Ending, FakeBackend, Record, Script, Step};
use ostia_testkit::client::{HangUp, RawClient, Request};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway, gauges};
use ostia_testkit::ports::DeafPort;
use serde_json::json;

use crate::common::{chat_stream_of, rig, told};

const WAYS: [HangUp; 2] = [HangUp::Fin, HangUp::Reset];

fn both(gateway: &TestGateway) -> [Request; 2] {
    [gateway.chat("m"), gateway.chat_stream("m")]
}

#[tokio::test]
async fn while_the_body_is_sent() {
    let (backend, gateway) = rig().await;
    for how in WAYS {
        for request in both(&gateway) {
            let rows = gateway.rows().await.len();
            let mut client = gateway.client().await;
            let bytes = request.bytes();
            client.send(&bytes[..bytes.len() - 10]).await;
            until_held(&gateway, "ostia_request_body_bytes").await;
            client.hang_up(how).await;
            until_rows(&gateway, rows + 1).await;
        }
    }
    assert!(backend.records().is_empty());
    for row in gateway.finish(&[&backend]).await {
        assert_eq!(told(&row), ("client_closed", "reading_body", ""));
        assert_eq!(
            (row.http_status, row.attempts, row.total_tokens),
            (499, 0, 0)
        );
    }
}

#[tokio::test]
async fn while_the_backend_is_being_connected_to() {
    let deaf = DeafPort::bind().await;
    let url = format!("http://{}/v1", deaf.address());
    let gateway = TestGateway::start(Site::new().endpoint(Endpoint::new("m", &url))).await;
    for how in WAYS {
        for request in both(&gateway) {
            let rows = gateway.rows().await.len();
            let mut client = gateway.client().await;
            client.send(request.bytes()).await;
            until_held(&gateway, "ostia_endpoint_in_flight").await;
            client.hang_up(how).await;
            until_rows(&gateway, rows + 1).await;
        }
    }
    for row in gateway.finish(&[]).await {
        assert_eq!(told(&row), ("client_closed", "connecting", ""));
        assert_eq!(row.total_tokens, 0);
    }
}

#[tokio::test]
async fn while_the_backend_thinks() {
    let (backend, gateway) = rig().await;
    let gate = Gate::closed();
    let held_head = Script::completion().gate_head(&gate);
    let mut calls = 0;
    for script in [Script::silent(), held_head] {
        for how in WAYS {
            for request in both(&gateway) {
                calls += 1;
                backend.next(script.clone());
                let mut client = gateway.client().await;
                client.send(request.bytes()).await;
                backend.requests(calls).await;
                client.hang_up(how).await;
                backend.aborts(calls).await;
            }
        }
    }
    for row in gateway.finish(&[&backend]).await {
        assert_eq!(told(&row), ("client_closed", "waiting_headers", ""));
        assert_eq!((row.http_status, row.attempts), (499, 1), "{row:?}");
    }
}

#[tokio::test]
async fn in_mid_stream_what_was_sent_is_counted() {
    let (backend, gateway) = rig().await;
    let mut calls = 0;
    for how in WAYS {
        for events in [1, 2, 5] {
            let gate = Gate::closed();
            backend.next(Script::completion().chunks(6).gate_events(&gate));
            let mut client = gateway.client().await;
            client.send(gateway.chat_stream("m").bytes()).await;
            gate.release(1);
            let mut reading = client.begin().await.unwrap();
            client.until(&mut reading, b"\n\n").await;
            for _ in 1..events {
                gate.release(1);
                client.until(&mut reading, b"\n\n").await;
            }
            client.hang_up(how).await;
            calls += 1;
            let record = backend.aborts(calls).await.pop().unwrap();
            assert_eq!(record.events_written, events);
        }
    }
    let records = backend.records();
    let rows = gateway.finish(&[&backend]).await;
    for (row, record) in rows.iter().zip(records) {
        assert_eq!(told(row), ("client_closed", "streaming", ""));
        assert_eq!((row.http_status, &*row.usage_source), (200, "estimated"));
        assert!(row.tokens.completion >= record.tokens_written, "{row:?}");
        assert!(row.tokens.prompt > 0 && row.response_bytes > 0, "{row:?}");
    }
}

#[tokio::test]
async fn in_the_middle_of_a_plain_answer() {
    let (backend, gateway) = rig().await;
    let piece = vec![b'x'; 300_000];
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 400000\r\n\r\n{\"id\":\"";
    for (number, how) in WAYS.into_iter().enumerate() {
        backend.next(Script::steps([
            Step::Write(head.into()),
            Step::Write(piece.clone().into()),
            Step::Silence,
        ]));
        let mut client = gateway.client().await;
        client.send(gateway.chat("m").bytes()).await;
        let mut reading = client.begin().await.unwrap();
        client.piece(&mut reading).await.unwrap();
        client.hang_up(how).await;
        backend.aborts(number + 1).await;
    }
    for row in gateway.finish(&[&backend]).await {
        assert_eq!(told(&row), ("client_closed", "streaming", ""));
        assert_eq!((row.http_status, &*row.usage_source), (200, "estimated"));
    }
}

/// Backends that bill to the end are read to the end.
#[tokio::test]
async fn what_is_billed_anyway_is_read_to_its_end() {
    let backend = FakeBackend::start().await;
    let endpoint = Endpoint::of("m", &backend).config("on_disconnect", json!("continue"));
    let gateway = TestGateway::start(Site::new().endpoint(endpoint)).await;
    for how in WAYS {
        // In mid-stream, then before the head, streamed and not.
        let gate = Gate::closed();
        backend.next(Script::completion().chunks(3).gate_events(&gate));
        let mut client = gateway.client().await;
        client.send(gateway.chat_stream("m").bytes()).await;
        gate.release(1);
        let mut reading = client.begin().await.unwrap();
        client.until(&mut reading, b"\n\n").await;
        hang_up_and_open(&gateway, client, how, &gate).await;
        for request in both(&gateway) {
            let gate = Gate::closed();
            backend.next(Script::completion().chunks(3).gate_head(&gate));
            let mut client = gateway.client().await;
            client.send(request.bytes()).await;
            gate.reached(1).await;
            hang_up_and_open(&gateway, client, how, &gate).await;
        }
    }
    let whole = |record: &Record| record.ending == Some(Ending::Answered);
    assert!(backend.records().iter().all(whole));
    let rows = gateway.finish(&[&backend]).await;
    for (number, row) in rows.iter().enumerate() {
        let (phase, status) = match number % 3 {
            0 => ("streaming", 200),
            _ => ("waiting_headers", 499),
        };
        assert_eq!(told(row), ("client_closed", phase, ""));
        assert_eq!((row.http_status, &*row.usage_source), (status, "upstream"));
    }
}

/// The client leaves, and only then the backend goes on.
async fn hang_up_and_open(gateway: &TestGateway, client: RawClient, how: HangUp, gate: &Gate) {
    let rows = gateway.rows().await.len();
    client.hang_up(how).await;
    let left = async {
        let open = async || gauges::scrape(gateway.admin_address()).await;
        while gauges::sum(&open().await, "ostia_connections") != Some(0.0) {
            tokio::task::yield_now().await;
        }
    };
    ostia_testkit::patience::within(|| "the client to be gone".to_owned(), left).await;
    gate.open();
    until_rows(gateway, rows + 1).await;
}

/// Prints a figure for operators (`--nocapture`), which the test does not judge.
#[tokio::test]
async fn a_hundred_hang_ups_are_a_hundred_aborts() {
    let (backend, gateway) = rig().await;
    let gate = Gate::closed();
    backend.otherwise(
        Script::completion()
            .cut_body(Cuts::Every(40))
            .gate_events(&gate),
    );
    let mut delays = Vec::new();
    for number in 0..100 {
        let stream = number % 2 == 0;
        let request = &both(&gateway)[usize::from(stream)];
        let mut client = gateway.client().await;
        client.send(request.bytes()).await;
        backend.requests(number + 1).await;
        if stream {
            // One complete event has reached the client.
            gate.release(8);
            let mut reading = client.begin().await.unwrap();
            client.until(&mut reading, b"\n\n").await;
        }
        let left = SystemClock.now();
        client.hang_up(WAYS[number / 2 % 2]).await;
        let records = backend.aborts(number + 1).await;
        delays.push(records[number].aborted_at().unwrap() - left);
    }
    delays.sort_unstable();
    println!(
        "abort at the backend after a hang-up: median {:?}, maximum {:?}",
        delays[50],
        delays.last().unwrap_or(&Duration::ZERO)
    );
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.len(), 100);
    for row in rows {
        let phase = if row.stream {
            "streaming"
        } else {
            "waiting_headers"
        };
        assert_eq!(
            (&*row.outcome, row.attempts),
            ("client_closed", 1),
            "{row:?}"
        );
        assert!(row.phase == phase || !row.stream, "{row:?}");
    }
}

#[tokio::test]
async fn many_streams_aborted_at_once_leave_nothing() {
    const STREAMS: usize = 200;
    let (backend, gateway) = rig().await;
    let gate = Gate::closed();
    backend.otherwise(Script::completion().chunks(8).gate_events(&gate));
    let start = || async {
        let mut client = gateway.client().await;
        client.send(gateway.chat_stream("m").bytes()).await;
        client
    };
    let clients = join_all((0..STREAMS).map(|_| start())).await;
    gate.reached(STREAMS).await;
    // Each stream gets one event, because the gate is fair.
    gate.release(STREAMS);
    let leave = |(number, client): (usize, RawClient)| client.hang_up(WAYS[number % 2]);
    join_all(clients.into_iter().enumerate().map(leave)).await;
    backend.aborts(STREAMS).await;
    backend.open_connections(0).await;
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.len(), STREAMS);
    assert!(rows.iter().all(|row| row.outcome == "client_closed"));
}

#[tokio::test]
async fn a_client_that_leaves_with_the_last_byte_is_no_hang_up() {
    let (backend, gateway) = rig().await;
    let asks = json!({"stream": true, "stream_options": {"include_usage": true}});
    let with_usage = gateway.request("chat/completions", "m", &asks);
    let cases: [(Request, &[u8]); 4] = [
        (gateway.chat_stream("m"), b"data: [DONE]\n\n"),
        (with_usage.clone(), b"data: [DONE]\n\n"),
        (with_usage, b"\"usage\":{"),
        (gateway.chat("m"), b"}"),
    ];
    for number in 0..100 {
        let (request, last) = &cases[number % 4];
        let mut client = gateway.client().await;
        client.send(request.bytes()).await;
        read_to(&mut client, last).await;
        client.hang_up(WAYS[number / 4 % 2]).await;
    }
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.len(), 100);
    let lost: Vec<_> = rows.iter().filter(|row| row.outcome != "ok").collect();
    assert!(lost.is_empty(), "{} of 100: {:?}", lost.len(), lost[0]);
}

#[tokio::test]
async fn a_client_that_leaves_at_done_does_not_wait_for_the_end() {
    let (backend, gateway) = rig().await;
    let events = chat_stream_of(2).concat();
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let message = format!("{head}{:x}\r\n{events}\r\n", events.len());
    // The backend never ends its message.
    let gate = Gate::closed();
    let script = Script::steps([Step::Write(message.into()), Step::Pass(gate.clone())]).close();
    backend.next(script);
    let mut client = gateway.client().await;
    client.send(gateway.chat_stream("m").bytes()).await;
    read_to(&mut client, b"data: [DONE]\n\n").await;
    gate.open();
    backend.ended(1).await;
    client.hang_up(HangUp::Fin).await;
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(told(&rows[0]), ("ok", "done", ""));
}

/// Reads until `last` has arrived, including whatever came in the same read.
async fn read_to(client: &mut RawClient, last: &[u8]) {
    let mut reading = client.begin().await.unwrap();
    let mut text = Vec::new();
    while memchr::memmem::rfind(&text, last).is_none() {
        text.extend_from_slice(&client.piece(&mut reading).await.unwrap().unwrap());
    }
}

/// Waits until a gauge is above zero. Metrics can only be polled.
async fn until_held(gateway: &TestGateway, gauge: &str) {
    let holding = async {
        // An endpoint that was never used has no series.
        let value = async || gauges::sum(&gauges::scrape(gateway.admin_address()).await, gauge);
        while value().await.is_none_or(|held| held == 0.0) {
            tokio::task::yield_now().await;
        }
    };
    ostia_testkit::patience::within(|| format!("{gauge} to be held"), holding).await;
}

async fn until_rows(gateway: &TestGateway, count: usize) {
    let arriving = async {
        while gateway.rows().await.len() < count {
            tokio::task::yield_now().await;
        }
    };
    ostia_testkit::patience::within(|| format!("{count} rows"), arriving).await;
}
