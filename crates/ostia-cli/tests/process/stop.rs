//! Orderly shutdown of a process with running requests (R86, R87).

use ostia_core::SystemClock;
use ostia_testkit::backend::FakeBackend;
use ostia_testkit::client::{Ended, RawClient, Reading, Request};
use ostia_testkit::gateway::{Process, Site, Subject as _, TestGateway, read_rows};
use rustix::process::Signal;
use serde_json::json;

use crate::{binary, hold_after_first_event};

/// How many streams run; `scripts/stress.sh r86` sets a thousand.
fn streams() -> usize {
    let set = std::env::var("OSTIA_TEST_STREAMS").ok();
    set.map_or(50, |count| count.parse().unwrap())
}

async fn begun(process: &Process, site: &Site) -> (RawClient, Reading) {
    let body =
        json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "Hi"}]});
    let request = Request::post("/v1/chat/completions")
        .bearer(&site.secrets.client_bearer())
        .json(&body);
    let mut client = RawClient::connect(process.address()).await;
    client.send(request.bytes()).await;
    let reading = client.begin().await.unwrap();
    assert_eq!(reading.status(), 200);
    (client, reading)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r86_running_streams_end_well_and_idle_connections_at_once() {
    let backend = FakeBackend::start().await;
    let site = Site::new().model("m", &backend);
    site.prepare(&SystemClock).await;
    let process = Process::start(binary(), &site).await;
    let (address, admin) = (process.address(), process.admin_address());
    let mut running = Vec::new();
    for _ in 0..streams() {
        let gate = hold_after_first_event(&backend);
        let (client, reading) = begun(&process, &site).await;
        running.push((client, reading, gate));
    }
    let mut idle = Vec::new();
    for _ in 0..streams() / 5 {
        let mut client = RawClient::connect(address).await;
        assert_eq!(client.call(&Request::get("/health")).await.status(), 200);
        idle.push(client);
    }
    process.signal(Signal::TERM);
    for mut client in idle {
        assert!(client.begin().await.is_err(), "closed without a word");
    }
    // The public side accepts nothing any more; the admin side still says why.
    let ready = RawClient::connect(admin)
        .await
        .call(&Request::get("/health/ready"))
        .await;
    assert_eq!(ready.status(), 503, "{}", ready.text());
    for (mut client, reading, gate) in running {
        gate.open();
        let answer = client.rest(reading).await;
        assert_eq!(answer.ended, Ended::Complete);
        assert!(
            answer.text().ends_with("data: [DONE]\n\n"),
            "{}",
            answer.text()
        );
    }
    let (status, log) = process.ended().await;
    assert!(status.success(), "{log}");
    let rows = read_rows(&site.database_path()).await;
    assert_eq!(rows.len(), streams());
    assert!(rows.iter().all(|row| row.outcome == "ok"), "{rows:#?}");
}

#[tokio::test]
async fn r87_at_the_limit_what_is_left_is_told_and_written_down() {
    let backend = FakeBackend::start().await;
    let _gate = hold_after_first_event(&backend);
    let site = Site::new()
        .model("m", &backend)
        .settings("[server]\ndrain_timeout = \"100ms\"");
    site.prepare(&SystemClock).await;
    let process = Process::start(binary(), &site).await;
    let (mut client, reading) = begun(&process, &site).await;
    process.signal(Signal::TERM);
    let answer = client.rest(reading).await;
    assert_ne!(answer.ended, Ended::Complete);
    assert!(answer.text().contains("\"error\""), "{}", answer.text());
    assert!(!answer.text().contains("[DONE]"), "{}", answer.text());
    let (status, log) = process.ended().await;
    assert_eq!(status.code(), Some(1), "{log}");
    let rows = read_rows(&site.database_path()).await;
    let ends: Vec<_> = rows
        .iter()
        .map(|row| (&*row.outcome, &*row.phase))
        .collect();
    assert_eq!(ends, [("interrupted", "streaming")]);
}

/// Signals without a meaning here kill nothing (R87).
#[tokio::test]
async fn r87_other_signals_do_not_end_it() {
    let backend = FakeBackend::start().await;
    let site = Site::new().model("m", &backend);
    site.prepare(&SystemClock).await;
    let mut process = Process::start(binary(), &site).await;
    process.signal(Signal::USR1);
    process.signal(Signal::PIPE);
    process.signal(Signal::HUP);
    process.said("the files were read again").await;
    let gateway = TestGateway::around(site, process);
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    gateway.finish(&[&backend]).await;
}
