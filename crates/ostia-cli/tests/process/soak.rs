//! A long time under everything at once (R67): answers, errors, hang-ups, silence. Descriptors and memory come back.

use std::time::Duration;

use futures_util::future::join_all;
use ostia_core::{Clock as _, SystemClock};
use ostia_testkit::backend::{Break, FakeBackend, Received, Script};
use ostia_testkit::client::HangUp;
use ostia_testkit::gateway::gauges::{scrape, sum};
use ostia_testkit::gateway::{Process, Site, TestGateway};
use serde_json::{Value, json};

use crate::binary;

const AT_ONCE: usize = 8;
/// Rounds before the first look at memory: caches, pools and buffers are full then.
const WARM_UP: usize = 10;
const ROUNDS: usize = 20;
/// What memory may grow by after that, however long it takes.
const GROWTH: f64 = 16.0 * 1024.0 * 1024.0;

/// For how long; `scripts/stress.sh R67` has the hour. Without it a number of rounds.
fn duration() -> Option<Duration> {
    let set = std::env::var("OSTIA_TEST_SOAK_SECONDS").ok()?;
    Some(Duration::from_secs(set.parse().unwrap()))
}

/// By what its prompt says.
fn answer(received: &Received) -> Script {
    let body: Value = serde_json::from_slice(&received.body).unwrap();
    let is_asked = |word: &str| body["user"] == word;
    if is_asked("error") {
        Script::error(500, "a bug of the engine")
    } else if is_asked("breaks") {
        Script::completion().break_after(2, Break::Reset)
    } else if is_asked("stalls") {
        Script::completion().break_after(1, Break::Stall)
    } else {
        Script::completion()
    }
}

async fn one(gateway: &TestGateway, kind: usize) {
    let words = ["plain", "stream", "error", "breaks", "stalls", "hang-up"];
    let word = words[kind % words.len()];
    let more = json!({"user": word, "stream": !matches!(word, "plain" | "error")});
    let request = gateway.request("chat/completions", "m", &more);
    let mut client = gateway.client().await;
    client.send(request.bytes()).await;
    let reading = client.begin().await.unwrap();
    let expected = if word == "error" { 502 } else { 200 };
    assert_eq!(reading.status(), expected, "{word}");
    match word {
        "hang-up" => client.hang_up(HangUp::Reset).await,
        _ => drop(client.rest(reading).await),
    }
}

async fn rounds(gateway: &TestGateway, count: usize) {
    for _ in 0..count {
        join_all((0..AT_ONCE).map(|kind| one(gateway, kind))).await;
    }
}

/// Resident memory and open files.
async fn figures(gateway: &TestGateway) -> (f64, f64) {
    let metrics = scrape(gateway.admin_address()).await;
    let figure = |name| sum(&metrics, name).unwrap();
    (
        figure("process_resident_memory_bytes"),
        figure("process_open_fds"),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r67_a_long_mix_leaves_nothing_behind() {
    let backend = FakeBackend::start().await;
    backend.otherwise(Script::by(answer));
    // The only endpoint's breaker never opens in its first seconds; after them a mix like this one must not open it for long.
    let site = Site::new()
        .model("m", &backend)
        .settings("[upstream]\nstream_idle_timeout = \"100ms\"\npool_idle_timeout = \"1s\"")
        .settings("[limits]\nrequests_per_second_per_user = 0\nmax_in_flight_per_user = 0");
    site.prepare(&SystemClock).await;
    let process = Process::start(binary(), &site).await;
    let gateway = TestGateway::around(site, process);
    rounds(&gateway, WARM_UP).await;
    let (memory, files) = figures(&gateway).await;
    let begun = SystemClock.now();
    rounds(&gateway, ROUNDS).await;
    while duration().is_some_and(|duration| begun.elapsed() < duration) {
        rounds(&gateway, ROUNDS).await;
    }
    let (after, files_after) = figures(&gateway).await;
    println!(
        "{:?}: {:.1} MiB, then {:.1} MiB; {files} files, then {files_after}",
        begun.elapsed(),
        memory / 1048576.0,
        after / 1048576.0
    );
    assert!(after - memory <= GROWTH, "{memory} bytes, then {after}");
    let spare = 3.0 * AT_ONCE as f64;
    assert!(
        files_after <= files + spare,
        "{files} files, then {files_after}"
    );
    gateway.finish(&[&backend]).await;
}
