//! Many idle connections (R64): all are held, what is too many is told so, and health answers.

use futures_util::future::join_all;
use ostia_core::SystemClock;
use ostia_testkit::backend::FakeBackend;
use ostia_testkit::client::{RawClient, Request};
use ostia_testkit::gateway::gauges::{scrape, sum};
use ostia_testkit::gateway::{Process, Site, Subject as _};

use crate::binary;

/// More than any client of this test opens at a time, so that the backlog takes them all.
const AT_ONCE: usize = 100;
const TOO_MANY: usize = 50;
/// What an idle connection may take of the gateway's memory. A build without optimization is not measured.
const BYTES_EACH: f64 = 40.0 * 1024.0;

/// How many connections are idle; `scripts/stress.sh R64` has the ten thousand.
fn connections() -> usize {
    let set = std::env::var("OSTIA_TEST_IDLE").ok();
    set.map_or(500, |count| count.parse().unwrap())
}

async fn figure(process: &Process, name: &str) -> f64 {
    sum(&scrape(process.admin_address()).await, name).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r64_idle_connections_are_held_and_others_are_refused() {
    let backend = FakeBackend::start().await;
    let site = Site::new()
        .model("m", &backend)
        .settings(&format!("[server]\nmax_connections = {}", connections()));
    site.prepare(&SystemClock).await;
    let process = Process::start(binary(), &site).await;
    let address = process.address();
    let before = figure(&process, "process_resident_memory_bytes").await;
    let mut idle = Vec::new();
    while idle.len() < connections() {
        let some = AT_ONCE.min(connections() - idle.len());
        idle.extend(join_all((0..some).map(|_| used_once(address))).await);
    }
    let after = figure(&process, "process_resident_memory_bytes").await;
    let each = (after - before) / connections() as f64;
    println!(
        "{} idle connections: {:.1} KiB each",
        idle.len(),
        each / 1024.0
    );
    assert!(each <= BYTES_EACH, "{each} bytes each");
    for _ in 0..TOO_MANY {
        let refused = RawClient::connect(address)
            .await
            .call(&Request::get("/health"))
            .await;
        assert_eq!(refused.status(), 503, "{}", refused.text());
    }
    let admin = RawClient::connect(process.admin_address()).await;
    assert_eq!(
        { admin }.call(&Request::get("/health/live")).await.status(),
        200
    );
    // All were held, and still serve.
    for client in &mut idle {
        assert_eq!(client.call(&Request::get("/health")).await.status(), 200);
    }
}

async fn used_once(address: std::net::SocketAddr) -> RawClient {
    let mut client = RawClient::connect(address).await;
    assert_eq!(client.call(&Request::get("/health")).await.status(), 200);
    client
}
