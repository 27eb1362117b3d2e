//! Concurrent requests of a user and on an endpoint: no slot is lost, and none is given out twice (R42).

use futures_util::future::join_all;
use ostia_testkit::backend::{Break, FakeBackend, Script, Step};
use ostia_testkit::client::{Ended, HangUp, RawClient, Reading};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway, gauges};
use serde_json::json;

const LIMIT: usize = 5;

#[derive(Clone, Copy, Debug)]
enum Of {
    User,
    Endpoint,
}

/// `m`, and `slow`, which times out after a second of silence. For the endpoint's own limit there is only `m`.
async fn rig(of: Of) -> (FakeBackend, TestGateway) {
    let backend = FakeBackend::start().await;
    let site = match of {
        Of::User => Site::new()
            .model("m", &backend)
            .endpoint(Endpoint::of("slow", &backend).config("api_request_timeout", json!(1)))
            .settings("[limits]\nmax_in_flight_per_user = 5"),
        Of::Endpoint => {
            Site::new().endpoint(Endpoint::of("m", &backend).config("max_in_flight", json!(LIMIT)))
        }
    };
    (backend, TestGateway::start(site).await)
}

async fn in_flight(gateway: &TestGateway, wanted: usize) {
    let metric = "ostia_endpoint_in_flight";
    gauges::reaches(gateway.admin_address(), metric, wanted as f64).await;
}

/// Sends `count` streams at once. Returns those that were admitted, with what they have read so far, and how many were
/// refused.
async fn streams(
    gateway: &TestGateway,
    of: Of,
    count: usize,
) -> (Vec<(RawClient, Reading)>, usize) {
    let bytes = gateway.chat_stream("m").bytes();
    let begun = join_all((0..count).map(async |_| {
        let mut client = gateway.client().await;
        client.send(&bytes).await;
        let reading = client.begin().await.unwrap();
        (client, reading)
    }));
    let mut open = Vec::new();
    let mut refused = 0;
    for (mut client, reading) in begun.await {
        if reading.status() == 200 {
            open.push((client, reading));
            continue;
        }
        let answer = client.rest(reading).await;
        let expected = match of {
            Of::User => (429, "concurrency"),
            Of::Endpoint => (503, "queue_full"),
        };
        assert_eq!(
            (answer.status(), answer.error_code().as_deref()),
            (expected.0, Some(expected.1))
        );
        assert!(answer.header("retry-after").is_some());
        refused += 1;
    }
    (open, refused)
}

/// A stream whose first event comes at once and whose end waits for the gate.
fn held(gate: &Gate) -> Script {
    let chunk = |event: &str| format!("{:x}\r\n{event}\r\n", event.len());
    let first = chunk("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n");
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let last = chunk("data: [DONE]\n\n");
    Script::steps([
        Step::Write(format!("{head}{first}").into()),
        Step::Pass(gate.clone()),
        Step::Write(format!("{last}0\r\n\r\n").into()),
    ])
}

async fn begun(gateway: &TestGateway, model: &str) -> (RawClient, Reading) {
    let mut client = gateway.client().await;
    client.send(gateway.chat_stream(model).bytes()).await;
    let reading = client.begin().await.unwrap();
    assert_eq!(reading.status(), 200);
    (client, reading)
}

/// One more fails before its answer, or falls silent within it.
async fn one_that_fails(of: Of, backend: &FakeBackend, gateway: &TestGateway) {
    match of {
        Of::User => {
            backend.next(Script::completion().break_after(2, Break::Stall));
            let (mut client, reading) = begun(gateway, "slow").await;
            assert_ne!(client.rest(reading).await.ended, Ended::Complete);
        }
        Of::Endpoint => {
            backend.next(Script::html(500));
            assert_eq!(gateway.call(&gateway.chat_stream("m")).await.status(), 502);
        }
    }
}

async fn every_way_to_end_frees_one_slot(of: Of) {
    let (backend, gateway) = rig(of).await;
    let gate = Gate::closed();
    let breaking = Gate::closed();
    let mut open = Vec::new();
    backend.next(
        Script::completion()
            .break_after(2, Break::Reset)
            .gate_end(&breaking),
    );
    let (mut broken_client, broken) = begun(&gateway, "m").await;
    for _ in 0..3 {
        backend.next(held(&gate));
        open.push(begun(&gateway, "m").await);
    }
    one_that_fails(of, &backend, &gateway).await;
    in_flight(&gateway, LIMIT - 1).await;

    // Fills the limit for the first time.
    backend.otherwise(held(&gate));
    let (mut last, refused) = streams(&gateway, of, 46).await;
    assert_eq!((last.len(), refused), (1, 45), "{of:?}");
    in_flight(&gateway, LIMIT).await;

    for ((client, _), how) in open
        .into_iter()
        .zip([HangUp::Fin, HangUp::Reset, HangUp::Fin])
    {
        client.hang_up(how).await;
    }
    backend.aborts(3).await;
    breaking.open();
    assert_ne!(broken_client.rest(broken).await.ended, Ended::Complete);
    in_flight(&gateway, 1).await;

    // Four more are admitted.
    let (mut refill, refused) = streams(&gateway, of, 50).await;
    assert_eq!((refill.len(), refused), (4, 46), "{of:?}");
    in_flight(&gateway, LIMIT).await;
    gate.open();
    refill.append(&mut last);
    for (mut client, reading) in refill {
        assert_eq!(client.rest(reading).await.ended, Ended::Complete);
    }
    let rows = gateway.finish(&[&backend]).await;
    let count = |outcome: &str| rows.iter().filter(|row| row.outcome == outcome).count();
    let outcomes = ["ok", "client_closed", "upstream_error", "upstream_timeout"].map(count);
    let expected = match of {
        Of::User => [LIMIT, 3, 1, 1],
        Of::Endpoint => [LIMIT, 3, 2, 0],
    };
    assert_eq!(outcomes, expected, "{of:?}");
    assert_eq!(backend.counts().most_active, LIMIT);
}

#[tokio::test]
async fn every_way_to_end_frees_one_slot_of_the_user() {
    every_way_to_end_frees_one_slot(Of::User).await;
}

#[tokio::test]
async fn every_way_to_end_frees_one_slot_of_the_endpoint() {
    every_way_to_end_frees_one_slot(Of::Endpoint).await;
}

/// A client that has the whole answer may send its next request at once, on any connection.
#[tokio::test]
async fn with_one_slot_requests_one_after_the_other_are_never_refused() {
    for settings in ["[limits]\nmax_in_flight_per_user = 1", ""] {
        let backend = FakeBackend::start().await;
        let endpoint = Endpoint::of("m", &backend).config("max_in_flight", json!(1));
        let gateway = TestGateway::start(Site::new().endpoint(endpoint).settings(settings)).await;
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(gateway.client().await);
        }
        for round in 0..100 {
            let request = if round % 2 == 0 {
                gateway.chat("m")
            } else {
                gateway.chat_stream("m")
            };
            let answer = clients[round % 4].call(&request).await;
            assert_eq!(answer.status(), 200, "round {round}: {}", answer.text());
        }
        gateway.finish(&[&backend]).await;
    }
}

/// Many short requests that end in every way, four at a time in four slots: nothing is left over.
#[tokio::test]
async fn hundreds_of_requests_of_every_kind_leave_no_slot_taken() {
    let (backend, gateway) = rig(Of::Endpoint).await;
    let lives = join_all((0..4).map(async |worker: usize| {
        for round in 0..32 {
            let request = gateway.chat_stream("m");
            match (round + worker) % 4 {
                0 => assert_eq!(gateway.call(&request).await.status(), 200),
                1 => assert_ne!(gateway.call(&request.body("{")).await.status(), 200),
                2 => {
                    let mut client = gateway.client().await;
                    client.send(request.bytes()).await;
                    client.begin().await.unwrap();
                    client.hang_up(HangUp::Reset).await;
                }
                _ => {
                    let mut client = gateway.client().await;
                    client.send(request.bytes()).await;
                    client.hang_up(HangUp::Fin).await;
                }
            }
        }
    }));
    lives.await;
    in_flight(&gateway, 0).await;
    let gate = Gate::closed();
    backend.otherwise(held(&gate));
    let (open, refused) = streams(&gateway, Of::Endpoint, 20).await;
    assert_eq!((open.len(), refused), (LIMIT, 15));
    gate.open();
    for (mut client, reading) in open {
        client.rest(reading).await;
    }
    gateway.finish(&[&backend]).await;
}
