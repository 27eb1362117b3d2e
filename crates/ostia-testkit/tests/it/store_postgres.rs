//! The same gateway on PostgreSQL: requests go on while it is locked, failing or gone, and nothing is lost (R69, R76).

use futures_util::future::join_all;
use ostia_store::testing::Server;
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::gateway::{Site, TestGateway};
use sqlx::{Connection as _, PgConnection};

use super::store_faults::ready;

async fn rig() -> (FakeBackend, TestGateway, String) {
    let backend = FakeBackend::start().await;
    backend.otherwise(Script::completion());
    let url = Server::database().await;
    let site = Site::new().model("m", &backend).on_postgres(&url);
    (backend, TestGateway::start(site).await, url)
}

async fn run(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let sql = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()));
    sql.execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn the_books_are_kept_in_postgres() {
    let (backend, gateway, _) = rig().await;
    ready(&gateway, "/health/ready", (200, "ok", "up")).await;
    for _ in 0..20 {
        assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
        assert_eq!(gateway.call(&gateway.chat_stream("m")).await.status(), 200);
    }
    let other = gateway.key_for("ann@example.org", &[]).await;
    let by_other = gateway.chat("m").without("authorization").bearer(&other);
    assert_eq!(gateway.call(&by_other).await.status(), 200);
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.iter().filter(|row| row.outcome == "ok").count(), 41);
}

#[tokio::test]
async fn rows_wait_in_the_journal_while_the_table_is_locked() {
    let (backend, gateway, url) = rig().await;
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    ready(&gateway, "/health/ready", (200, "ok", "up")).await;
    let mut other = PgConnection::connect(&url).await.unwrap();
    let mut lock = other.begin().await.unwrap();
    let exclusive = sqlx::raw_sql("LOCK TABLE ledger IN ACCESS EXCLUSIVE MODE");
    exclusive.execute(&mut *lock).await.unwrap();
    for _ in 0..30 {
        assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    }
    lock.rollback().await.unwrap();
    other.close().await.unwrap();
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.iter().filter(|row| row.outcome == "ok").count(), 31);
}

/// The server's errors for a full disk, too many connections, a start in progress, and conflicting transactions.
#[tokio::test]
async fn whatever_postgres_answers_rows_are_there_once_it_recovers() {
    let (backend, gateway, url) = rig().await;
    ready(&gateway, "/health/ready", (200, "ok", "up")).await;
    for state in ["53100", "53300", "57P03", "40001", "40P01", "XX000"] {
        run(
            &url,
            &format!(
                "CREATE OR REPLACE FUNCTION ill() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN RAISE EXCEPTION 'ill' USING ERRCODE = '{state}'; END $$;
                 CREATE TRIGGER ill BEFORE INSERT ON ledger EXECUTE FUNCTION ill()"
            ),
        )
        .await;
        for _ in 0..5 {
            assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
        }
        ready(&gateway, "/health/ready", (200, "degraded", "down")).await;
        run(&url, "DROP TRIGGER ill ON ledger").await;
        ready(&gateway, "/health/ready", (200, "ok", "up")).await;
    }
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.iter().filter(|row| row.outcome == "ok").count(), 30);
}

/// Each statement on the ledger takes two seconds. Requests do not wait for it, and no row is lost.
#[tokio::test]
async fn a_slow_server_holds_up_rows_and_no_requests() {
    let (backend, gateway, url) = rig().await;
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    ready(&gateway, "/health/ready", (200, "ok", "up")).await;
    run(
        &url,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$;
         CREATE TRIGGER slow BEFORE INSERT ON ledger FOR EACH STATEMENT EXECUTE FUNCTION slow()",
    )
    .await;
    for _ in 0..50 {
        assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    }
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.iter().filter(|row| row.outcome == "ok").count(), 51);
}

/// Every sign-in query waits for a lock. Users who were let in before go on; the others are answered once the lock is
/// gone.
#[tokio::test]
async fn strangers_who_exhaust_the_connections_hold_up_nobody_else() {
    let (backend, gateway, url) = rig().await;
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    ready(&gateway, "/health/ready", (200, "ok", "up")).await;
    let mut strangers = Vec::new();
    for number in 0..12 {
        let key = gateway
            .key_for(&format!("s{number}@example.org"), &[])
            .await;
        strangers.push(gateway.chat("m").without("authorization").bearer(&key));
    }
    let mut other = PgConnection::connect(&url).await.unwrap();
    let mut lock = other.begin().await.unwrap();
    let exclusive = sqlx::raw_sql("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE");
    exclusive.execute(&mut *lock).await.unwrap();
    let asking = join_all(strangers.iter().map(|request| gateway.call(request)));
    let going_on = async {
        for _ in 0..30 {
            assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
        }
        lock.rollback().await.unwrap();
    };
    let (answers, ()) = tokio::join!(asking, going_on);
    for answer in &answers {
        assert!(matches!(answer.status(), 200 | 503), "{}", answer.text());
    }
    other.close().await.unwrap();
    let served = answers.iter().filter(|answer| answer.status() == 200);
    let served = served.count() + 31;
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(
        rows.iter().filter(|row| row.outcome == "ok").count(),
        served
    );
}
