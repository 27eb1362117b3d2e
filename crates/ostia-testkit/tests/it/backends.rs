//! A backend that does not use HTTP, through the whole gateway: metered, in the ledger, and ended with its client.

use async_trait::async_trait;
use ostia::backend::{AdapterError, EndpointAdapter, RequestContext, ResponseContext};
use ostia::gateway::Gateway;
use ostia_testkit::backend::{FakeBackend, Tokens};
use ostia_testkit::client::HangUp;
use ostia_testkit::echo::{Echo, EchoLog};
use ostia_testkit::gateway::{CLUSTER, Endpoint, FRAMEWORK, Row, Site, TestGateway};
use serde_json::{Value, json};

use crate::common::assert_error;

fn echo(model: &str, config: Value) -> Endpoint {
    Endpoint::new(model, "http://nobody.invalid/v1")
        .field("endpoint_adapter", json!("test.Echo"))
        .config("echo", config)
}

/// For a site whose requests all go to the echo.
async fn start(site: Site) -> TestGateway {
    start_beside_http(site.answered_within("m")).await
}

async fn start_beside_http(site: Site) -> TestGateway {
    let builder = Gateway::builder()
        .backend::<Echo>("test.Echo")
        .endpoint_adapter("test.Hooks", Hooks);
    TestGateway::start_with(site, builder).await
}

fn assert_metered(row: &Row, status: u16, words: u64) {
    assert_eq!((&*row.outcome, row.http_status), ("ok", status), "{row:?}");
    assert_eq!(row.tokens, Tokens::new(5, words), "{row:?}");
    assert_eq!(
        (&*row.usage_source, row.attempts),
        ("upstream", 1),
        "{row:?}"
    );
    assert_eq!((row.upstream_status, &*row.phase), (200, "done"), "{row:?}");
}

#[tokio::test]
async fn whole_answers_and_streams_are_relayed_metered_and_written_down() {
    let log = EchoLog::of("whole");
    let gateway = start(Site::new().endpoint(echo("m", json!({"log": "whole", "words": 3})))).await;
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let content = &answer.json()["choices"][0]["message"]["content"];
    assert_eq!(content, "echo echo echo ");
    let answer = gateway.call(&gateway.chat_stream("m")).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(answer.text().matches("echo ").count(), 3);
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
    let rows = gateway.finish(&[]).await;
    assert_eq!(rows.len(), 2);
    rows.iter().for_each(|row| assert_metered(row, 200, 3));
    // It got the body that the direct API would get.
    let bodies = log.bodies();
    assert_eq!(bodies[0]["model"], "m");
    assert_eq!(bodies[1]["stream_options"]["include_usage"], true);
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_the_work() {
    let log = EchoLog::of("held");
    let config = json!({"log": "held", "words": 3, "held": true});
    let gateway = start(Site::new().endpoint(echo("m", config))).await;
    let mut client = gateway.client().await;
    client.send(gateway.chat_stream("m").bytes()).await;
    let mut reading = client.begin().await.unwrap();
    client.piece(&mut reading).await.unwrap();
    log.gate.reached(1).await;
    client.hang_up(HangUp::Fin).await;
    log.ended(1).await;
    let rows = gateway.finish(&[]).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (&*rows[0].outcome, &*rows[0].phase),
        ("client_closed", "streaming")
    );
    assert_eq!(rows[0].usage_source, "estimated");
}

#[tokio::test]
async fn a_failure_that_is_safe_moves_on_to_a_replica_over_http() {
    let backend = FakeBackend::start().await;
    // Its URL would make it external, and requests for a model that also runs on site are not sent there.
    let first = echo("m", json!({"log": "fails", "fails": true}))
        .field("endpoint_slug", json!("first"))
        .config("location", json!("on_site"));
    let second = Endpoint::of("m", &backend)
        .field("endpoint_slug", json!("second"))
        .config("priority", json!(1));
    let gateway = start_beside_http(Site::new().endpoint(first).endpoint(second)).await;
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!((&*rows[0].endpoint_slug, rows[0].attempts), ("second", 2));

    let alone = echo("m", json!({"log": "fails", "fails": true}));
    let gateway = start(Site::new().endpoint(alone)).await;
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_error(
        &answer,
        502,
        "upstream_error",
        "upstream_unreachable",
        "alone",
    );
    let rows = gateway.finish(&[]).await;
    assert_eq!(
        (&*rows[0].outcome, &*rows[0].phase),
        ("upstream_error", "connecting")
    );
}

/// Changes the request, and the answer's head.
struct Hooks;

#[async_trait]
impl EndpointAdapter for Hooks {
    async fn on_request(&self, context: &mut RequestContext<'_>) -> Result<(), AdapterError> {
        context.set_field("by", "hooks");
        Ok(())
    }

    async fn on_response(&self, context: &mut ResponseContext<'_>) {
        context.set_header("x-by", "hooks").unwrap();
    }
}

#[tokio::test]
async fn hooks_stand_around_it_as_around_any_other() {
    let log = EchoLog::of("hooked");
    let site = Site::new();
    std::fs::write(
        site.folder().join("a.rhai"),
        "fn on_request(ctx) { ctx.set(\"by\", \"script\"); } fn on_response(ctx) { ctx.set_header(\"x-by\", \"script\"); }",
    )
    .unwrap();
    let around = |model: &str, hooks: &str| {
        echo(model, json!({"log": "hooked"}))
            .field("endpoint_adapter", json!(hooks))
            .config("backend", json!("test.Echo"))
    };
    let site = site
        .endpoint(around("m", "test.Hooks"))
        .endpoint(around("n", "script:a.rhai"))
        .answered_within("n");
    let gateway = start(site).await;
    for (nth, (model, by)) in [("m", "hooks"), ("n", "script")].into_iter().enumerate() {
        let answer = gateway.call(&gateway.chat(model)).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        assert_eq!(answer.header("x-by"), Some(by));
        assert_eq!(log.bodies()[nth]["by"], by);
    }
    let rows = gateway.finish(&[]).await;
    rows.iter().for_each(|row| assert_metered(row, 200, 1));
    assert_eq!(rows[0].endpoint_slug, format!("{CLUSTER}-{FRAMEWORK}-m"));
}
