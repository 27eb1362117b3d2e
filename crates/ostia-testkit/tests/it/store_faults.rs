//! A database that does not answer for a while: requests go on where they can, and nothing is lost (R69, and R76 for
//! SQLite).

use std::path::Path;

use ostia_testkit::backend::FakeBackend;
use ostia_testkit::client::{RawClient, Request};
use ostia_testkit::gateway::{Site, TestGateway, gauges};
use ostia_testkit::patience::until;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

async fn open(database: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(database);
    options.disable_statement_logging().connect().await.unwrap()
}

pub async fn run(database: &Path, statement: &str) {
    let mut connection = open(database).await;
    let statement = sqlx::AssertSqlSafe(statement.to_owned());
    sqlx::query(statement)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// Waits for this state of readiness: status, word, and what it says about the store.
pub async fn ready(gateway: &TestGateway, path: &str, wanted: (u16, &str, &str)) {
    let look = async || {
        let mut client = RawClient::connect(gateway.admin_address()).await;
        let answer = client.call(&Request::get(path)).await;
        let (status, body) = (answer.status(), answer.json());
        let found = (status, &body["status"], &body["db"])
            == (wanted.0, &wanted.1.into(), &wanted.2.into());
        found.then_some(())
    };
    until(|| format!("{wanted:?} at {path}"), look).await;
}

async fn rig() -> (FakeBackend, TestGateway) {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    (backend, gateway)
}

#[tokio::test]
async fn rows_wait_in_the_journal_while_somebody_else_writes() {
    let (backend, gateway) = rig().await;
    ready(&gateway, "/health/ready", (200, "ok", "up")).await;
    let mut other = open(&gateway.site().database_path()).await;
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    for _ in 0..30 {
        assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    }
    assert_eq!(gateway.rows().await.len(), 0);
    ready(&gateway, "/health/ready", (200, "degraded", "down")).await;
    lock.rollback().await.unwrap();
    other.close().await.unwrap();
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.iter().filter(|row| row.outcome == "ok").count(), 30);
}

#[tokio::test]
async fn without_its_table_the_gateway_says_degraded_and_loses_nothing() {
    let (backend, gateway) = rig().await;
    let database = gateway.site().database_path();
    ready(&gateway, "/health/ready", (200, "ok", "up")).await;
    run(&database, "ALTER TABLE ledger RENAME TO away").await;
    ready(&gateway, "/health/ready", (200, "degraded", "down")).await;
    ready(&gateway, "/health/ready?strict", (503, "degraded", "down")).await;
    for _ in 0..5 {
        assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    }
    let pending = async || {
        let metrics = gauges::scrape(gateway.admin_address()).await;
        let waits = gauges::sum(&metrics, "ostia_ledger_pending_bytes") > Some(0.0);
        waits.then_some(metrics)
    };
    let metrics = until(|| "rows that wait".to_owned(), pending).await;
    assert_eq!(gauges::sum(&metrics, "ostia_store_up"), Some(0.0));
    run(&database, "ALTER TABLE away RENAME TO ledger").await;
    ready(&gateway, "/health/ready?strict", (200, "ok", "up")).await;
    let metrics = gauges::scrape(gateway.admin_address()).await;
    assert_eq!(gauges::sum(&metrics, "ostia_store_up"), Some(1.0));
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.len(), 5);
}

/// An outage is never treated or cached as a denial. Users who were let in a moment ago can go on.
#[tokio::test]
async fn a_key_that_cannot_be_looked_up_is_503_and_not_401() {
    let (backend, gateway) = rig().await;
    let database = gateway.site().database_path();
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    let new = gateway.key_for("new@example.org", &[]).await;
    let by_new = gateway.chat("m").without("authorization").bearer(&new);
    run(&database, "ALTER TABLE api_keys RENAME TO away").await;
    for _ in 0..3 {
        let answer = gateway.call(&by_new).await;
        assert_eq!(
            (answer.status(), answer.error_code().as_deref()),
            (503, Some("store_unavailable"))
        );
        assert!(answer.header("retry-after").is_some());
        assert_eq!(answer.header("www-authenticate"), None);
        assert!(!answer.text().contains("api_keys"), "{}", answer.text());
        assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    }
    run(&database, "ALTER TABLE away RENAME TO api_keys").await;
    assert_eq!(gateway.call(&by_new).await.status(), 200);
    gateway.finish(&[&backend]).await;
}
