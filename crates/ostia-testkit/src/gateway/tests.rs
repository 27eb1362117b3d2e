//! The checks must be able to fail: each runs against a stand-in for a gateway that does one thing wrong.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use super::*;
use crate::backend::Script;

/// A fake backend that plays a gateway without a backend behind it, and another that plays the admin listener.
struct StandIn {
    front: Arc<FakeBackend>,
    admin: FakeBackend,
    held: Vec<String>,
    log: String,
}

impl StandIn {
    async fn start() -> Self {
        let admin = FakeBackend::start().await;
        let gauges = "ostia_backend_connections_in_use 0\nostia_endpoint_in_flight{endpoint=\"e\"} 0\nostia_ledger_open_receipts 0\nostia_request_body_bytes 0\n";
        admin.otherwise(Script::raw(200, gauges));
        Self {
            front: Arc::new(FakeBackend::start().await),
            admin,
            held: Vec::new(),
            log: String::new(),
        }
    }
}

impl Subject for StandIn {
    fn address(&self) -> SocketAddr {
        self.front.address()
    }

    fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    fn held(&self) -> Vec<String> {
        self.held.clone()
    }

    fn log(&self) -> Vec<u8> {
        self.log.clone().into_bytes()
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// A ledger with one `ok` row for request `id-1`.
async fn site_with_row() -> Site {
    let site = Site::new();
    let options = SqliteConnectOptions::new()
        .filename(site.database_path())
        .create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    let row = "CREATE TABLE ledger AS SELECT 'id-1' request_id, 'u' username, '' key_id, '' project, 'm' model, 'e' endpoint_slug,
        'm' served_model, 'chat/completions' api, 0 stream, 200 http_status, 'ok' outcome, 'done' phase, '' error_code, 11 prompt_tokens,
        3 completion_tokens, 14 total_tokens, 0 cached_tokens, 0 reasoning_tokens, 'upstream' usage_source, 5 ttft_ms,
        6 duration_ms, 0 queue_ms, 1 request_bytes, 1 response_bytes, 200 upstream_status, 1 attempts, 1 started_at, 2 finished_at";
    sqlx::query(row).execute(&mut connection).await.unwrap();
    site
}

fn ask() -> Request {
    let request = Request::post("/v1/chat/completions").header("x-request-id", "id-1");
    request.json(&json!({"model": "m"}))
}

fn complaint(panic: Box<dyn std::any::Any + Send>) -> String {
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

/// Runs one request through a stand-in that `spoil` made worse, and gives what `finish` complains about.
async fn finish(
    request: Request,
    spoil: impl FnOnce(&mut StandIn, &Site),
) -> Result<Vec<Row>, String> {
    let site = site_with_row().await;
    let mut stand_in = StandIn::start().await;
    spoil(&mut stand_in, &site);
    let front = Arc::clone(&stand_in.front);
    let gateway = TestGateway::around(site, stand_in);
    let answer = gateway.call(&request).await;
    assert_eq!(answer.status(), 200);
    AssertUnwindSafe(gateway.finish(&[&*front]))
        .catch_unwind()
        .await
        .map_err(complaint)
}

#[tokio::test]
async fn sound_books_pass() {
    let rows = finish(ask(), |_, _| {}).await.unwrap();
    assert_eq!(
        (rows.len(), rows[0].ttft_ms, rows[0].total_tokens),
        (1, Some(5), 14)
    );
}

#[tokio::test]
async fn whatever_is_held_or_wrong_or_leaked_fails_the_test() {
    let held = finish(ask(), |gateway, _| gateway.held.push("a slot".to_owned())).await;
    assert!(held.unwrap_err().contains("a slot"));

    let unknown = finish(
        ask().without("x-request-id").header("x-request-id", "id-2"),
        |_, _| {},
    )
    .await;
    assert!(unknown.unwrap_err().contains("has no row"));

    let miscounted = finish(ask(), |gateway, _| {
        gateway.front.otherwise(Script::completion().chunks(4))
    })
    .await;
    assert!(miscounted.unwrap_err().contains("the backend reported"));

    let logged = finish(ask(), |gateway, site| {
        gateway.log = format!("key {}", site.secrets.backend_key.secret())
    })
    .await;
    assert!(logged.unwrap_err().contains("the backend's key in the log"));

    let prompt = finish(ask(), |gateway, site| {
        gateway.log = site.secrets.prompt.secret().to_owned()
    })
    .await;
    assert!(prompt.unwrap_err().contains("the prompt in the log"));

    let told = finish(ask(), |gateway, site| {
        let body = site.secrets.backend_key.secret().to_owned();
        gateway.front.otherwise(Script::raw(200, body));
    });
    assert!(
        told.await
            .unwrap_err()
            .contains("the backend's key in an answer's body")
    );

    let stored = finish(ask(), |_, site| {
        std::fs::write(site.folder().join("journal"), site.secrets.client_bearer()).unwrap();
    });
    assert!(stored.await.unwrap_err().contains("the client's key in "));
}

#[tokio::test]
async fn a_client_key_that_is_sent_on_is_a_leak() {
    let site = site_with_row().await;
    let stand_in = StandIn::start().await;
    let front = Arc::clone(&stand_in.front);
    let gateway = TestGateway::around(site, stand_in);
    let request = gateway.chat("m").header("x-request-id", "id-1");
    gateway.call(&request).await;
    let backends = [&*front];
    let finishing = AssertUnwindSafe(gateway.finish(&backends)).catch_unwind();
    let complaint = complaint(finishing.await.unwrap_err());
    assert!(
        complaint.contains("the client's key in what a backend was sent"),
        "{complaint}"
    );
}

#[tokio::test]
#[should_panic(expected = "must end with TestGateway::finish")]
async fn a_forgotten_finish_fails_the_test() {
    drop(TestGateway::around(Site::new(), StandIn::start().await));
}
