//! The journal's disk does not answer. In these tests the gateway has one thread, so if anything on it waited for the
//! disk, the test would hang.

use std::sync::Arc;
use std::time::Duration;

use ostia_core::ManualClock;
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{Ended, HangUp, RawClient, Request};
use ostia_testkit::disk::HangingDisk;
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Row, Site, TestGateway, gauges};
use ostia_testkit::patience::until;

use crate::rate::clock;

const PATIENCE: Duration = Duration::from_secs(2);

async fn rig() -> (FakeBackend, TestGateway, Arc<ManualClock>, Arc<HangingDisk>) {
    let backend = FakeBackend::start().await;
    let (clock, disk) = (clock(), Arc::<HangingDisk>::default());
    let site = Site::new()
        .model("m", &backend)
        .settings("[journal]\nfsync = \"0\"");
    let gateway = TestGateway::start_on(site, Arc::clone(&clock) as _, Arc::clone(&disk) as _);
    (backend, gateway.await, clock, disk)
}

/// Waits until this many requests are recorded or wait to be.
async fn until_open(gateway: &TestGateway, count: f64) {
    let metric = "ostia_ledger_open_receipts";
    gauges::reaches(gateway.admin_address(), metric, count).await;
}

/// Waits until readiness reports this state of the journal.
async fn until_ready(gateway: &TestGateway, status: u16, journal: &str) {
    let look = async || {
        let mut client = RawClient::connect(gateway.admin_address()).await;
        let answer = client.call(&Request::get("/health/ready")).await;
        let found = (answer.status(), answer.json()["journal"].as_str()) == (status, Some(journal));
        found.then_some(())
    };
    until(|| format!("{status} and a journal that is {journal}"), look).await;
}

fn of<'r>(rows: &'r [Row], outcome: &str) -> Vec<&'r Row> {
    rows.iter().filter(|row| row.outcome == outcome).collect()
}

#[tokio::test]
async fn streams_flow_and_new_requests_are_refused_after_two_seconds() {
    let (backend, gateway, clock, disk) = rig().await;
    let events = Gate::closed();
    backend.next(Script::completion().chunks(6).gate_events(&events));
    let mut stream = gateway.client().await;
    stream.send(gateway.chat_stream("m").bytes()).await;
    events.release(1);
    let mut reading = stream.begin().await.unwrap();
    stream.until(&mut reading, b"\n\n").await;
    let head = Gate::closed();
    backend.next(Script::completion().gate_head(&head));
    let mut plain = gateway.client().await;
    plain.send(gateway.chat("m").bytes()).await;
    head.reached(1).await;

    disk.hang();
    let mut refused = gateway.client().await;
    refused.send(gateway.chat("m").bytes()).await;
    disk.reached().await;
    let mut leaving = gateway.client().await;
    leaving.send(gateway.chat("m").bytes()).await;
    until_open(&gateway, 4.0).await;
    leaving.hang_up(HangUp::Fin).await;
    until_open(&gateway, 3.0).await;
    events.release(1);
    stream.until(&mut reading, b"\n\n").await;
    let metrics = gauges::scrape(gateway.admin_address()).await;
    assert!(gauges::sum(&metrics, "ostia_ledger_waiting_bytes") > Some(0.0));

    clock.advance(PATIENCE);
    let answer = refused.answer().await;
    gateway.note(&answer);
    let code = answer.error_code();
    assert_eq!(
        (answer.status(), code.as_deref()),
        (503, Some("store_unavailable"))
    );
    assert!(answer.header("retry-after").is_some());
    until_ready(&gateway, 503, "down").await;
    let up = async || {
        let metrics = gauges::scrape(gateway.admin_address()).await;
        gauges::sum(&metrics, "ostia_journal_up")
    };
    assert_eq!(up().await, Some(0.0));
    // Running requests finish, although their rows wait.
    events.open();
    let whole = stream.rest(reading).await;
    assert_eq!(whole.ended, Ended::Complete);
    assert!(whole.text().ends_with("data: [DONE]\n\n"));
    head.open();
    assert_eq!(plain.answer().await.status(), 200);
    assert_eq!(backend.records().len(), 2, "nothing is sent unwritten");
    assert_eq!(gateway.rows().await.len(), 0);

    disk.release();
    until_ready(&gateway, 200, "up").await;
    assert_eq!(up().await, Some(1.0));
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.len(), 5, "{rows:#?}");
    assert_eq!(of(&rows, "ok").len(), 3);
    let [rejected] = of(&rows, "rejected")[..] else {
        panic!("{rows:#?}")
    };
    let [left] = of(&rows, "client_closed")[..] else {
        panic!("{rows:#?}")
    };
    assert_eq!(
        (rejected.http_status, &*rejected.error_code),
        (503, "store_unavailable")
    );
    for row in [rejected, left] {
        assert_eq!((row.attempts, &*row.phase), (0, "connecting"), "{row:?}");
    }
}

/// A slow disk does not count as one that hangs: requests only take longer.
#[tokio::test]
async fn who_waits_for_a_slow_disk_is_served() {
    let (backend, gateway, clock, disk) = rig().await;
    disk.hang();
    let mut clients = Vec::new();
    for request in [gateway.chat("m"), gateway.chat_stream("m")] {
        let mut client = gateway.client().await;
        client.send(request.bytes()).await;
        clients.push(client);
    }
    disk.reached().await;
    until_open(&gateway, 2.0).await;
    clock.advance(PATIENCE - Duration::from_micros(1));
    assert!(backend.records().is_empty());
    disk.release();
    for client in &mut clients {
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.ended), (200, Ended::Complete));
    }
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(of(&rows, "ok").len(), 2, "{rows:#?}");
}

/// The last bytes of an answer leave with the row that records them, or after two seconds without it.
#[tokio::test]
async fn an_answer_is_complete_when_its_row_is_written_or_after_two_seconds() {
    let (backend, gateway, clock, disk) = rig().await;
    for waits in [true, false] {
        let gate = Gate::closed();
        backend.next(Script::completion().gate_head(&gate));
        let mut client = gateway.client().await;
        client.send(gateway.chat("m").bytes()).await;
        gate.reached(1).await;
        disk.hang();
        gate.open();
        disk.reached().await;
        // The final record is being written, so the answer has no head yet.
        match waits {
            true => clock.advance(PATIENCE),
            false => disk.release(),
        }
        assert_eq!(client.answer().await.status(), 200);
        disk.release();
    }
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(of(&rows, "ok").len(), 2, "{rows:#?}");
}
