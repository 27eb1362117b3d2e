//! A gateway whose PostgreSQL is down when it starts, and goes down again later (R69, R76).

use ostia_core::SystemClock;
use ostia_store::testing::Server;
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{RawClient, Request};
use ostia_testkit::gateway::{Process, Site, TestGateway};
use ostia_testkit::patience::until;

use crate::binary;

async fn ready(gateway: &TestGateway, status: u16, db: &str) {
    let look = async || {
        let mut client = RawClient::connect(gateway.admin_address()).await;
        let answer = client.call(&Request::get("/health/ready")).await;
        let found = (answer.status(), &answer.json()["db"]) == (status, &db.into());
        found.then_some(())
    };
    until(|| format!("{status} with the database {db}"), look).await;
}

#[tokio::test]
async fn it_starts_without_its_database_and_outlives_it() {
    let server = Server::start();
    let backend = FakeBackend::start().await;
    backend.otherwise(Script::completion());
    let site = Site::new()
        .model("m", &backend)
        .on_postgres(&server.url("postgres"));
    site.prepare(&SystemClock).await;

    server.stop();
    let process = Process::start(binary(), &site).await;
    let gateway = TestGateway::around(site, process);
    ready(&gateway, 503, "down").await;
    let refused = gateway.call(&gateway.chat("m")).await;
    assert_eq!(
        (refused.status(), refused.error_code().as_deref()),
        (503, Some("store_unavailable"))
    );
    server.resume();
    ready(&gateway, 200, "up").await;
    // The failed lookup was cached for a moment only, and the key was not treated as wrong.
    gateway.call_until(&gateway.chat("m"), 200).await;
    let mut served = 1;
    for outage in 0..3 {
        for _ in 0..5 {
            assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
            served += 1;
        }
        server.stop();
        // Users who were let in a moment ago can go on; their rows wait in the journal.
        for _ in 0..5 {
            assert_eq!(
                gateway.call(&gateway.chat("m")).await.status(),
                200,
                "{outage}"
            );
            served += 1;
        }
        ready(&gateway, 200, "down").await;
        server.resume();
        ready(&gateway, 200, "up").await;
    }
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(
        rows.iter().filter(|row| row.outcome == "ok").count(),
        served
    );
}
