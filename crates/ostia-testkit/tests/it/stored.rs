//! Responses that backends store: their maker can read and delete them, through the endpoint that made them. And routes
//! that agents try and that stay closed.

use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{Answer, Request};
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use serde_json::{Value, json};

use crate::common::rig;
use crate::routes::second_user;

fn response() -> Value {
    json!({
        "id": "resp_1", "object": "response", "status": "completed", "output": [],
        "usage": {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10},
    })
}

fn by_maker(gateway: &TestGateway, method: &str, path: &str) -> Request {
    Request::new(method, path).bearer(&gateway.site().secrets.client_bearer())
}

fn assert_unknown(answer: &Answer, what: &str) {
    assert_eq!(answer.status(), 404, "{what}: {}", answer.text());
    let error = &answer.json()["error"];
    assert_eq!(
        (&error["code"], &error["param"]),
        (&json!("not_found"), &json!("response_id")),
        "{what}"
    );
}

#[tokio::test]
async fn a_response_is_read_and_deleted_by_its_maker_alone_through_its_endpoint() {
    let (here, there) = (FakeBackend::start().await, FakeBackend::start().await);
    let site = Site::new()
        .endpoint(Endpoint::of("m", &here))
        .endpoint(Endpoint::of("other", &there));
    let gateway = TestGateway::start(site).await;
    let second = second_user(&gateway).await;
    assert_unknown(
        &gateway
            .call(&by_maker(&gateway, "GET", "/v1/responses/resp_1"))
            .await,
        "early",
    );

    here.next(Script::json(200, &response()));
    let made = gateway
        .call(&gateway.request("responses", "m", &json!({})))
        .await;
    assert_eq!(made.status(), 200, "{}", made.text());

    here.on_path(
        "/v1/responses/resp_1",
        Script::raw(200, response().to_string()).header("content-type", "application/json"),
    );
    let read = gateway
        .call(&by_maker(
            &gateway,
            "GET",
            "/v1/responses/resp_1?include[]=x",
        ))
        .await;
    assert_eq!((read.status(), read.json()), (200, response()));
    let row = gateway.row_of(&read).await;
    assert_eq!(
        (&*row.api, row.total_tokens, &*row.outcome),
        ("responses/{id}", 0, "ok")
    );
    let theirs = Request::new("GET", "/v1/responses/resp_1").bearer(&second);
    assert_unknown(&gateway.call(&theirs).await, "somebody else's");
    let streamed = by_maker(&gateway, "GET", "/v1/responses/resp_1?stream=true");
    let streamed = gateway.call(&streamed).await;
    assert_eq!(
        (streamed.status(), &streamed.json()["error"]["param"]),
        (400, &json!("stream"))
    );
    let elsewhere = by_maker(&gateway, "GET", "/lab/typed/v1/responses/resp_1");
    let elsewhere = gateway.call(&elsewhere).await;
    assert_eq!(
        elsewhere.error_code().as_deref(),
        Some("unsupported_framework")
    );
    let deleted = gateway
        .call(&by_maker(&gateway, "DELETE", "/v1/responses/resp_1"))
        .await;
    assert_eq!(deleted.status(), 200, "{}", deleted.text());

    let seen: Vec<String> = here
        .records()
        .iter()
        .skip(1)
        .map(|record| {
            assert!(record.received.body.is_empty());
            record.received.head.first_line.clone()
        })
        .collect();
    let line = |method: &str| format!("{method} /v1/responses/resp_1 HTTP/1.1");
    assert_eq!(seen, [line("GET"), line("DELETE")]);
    assert!(there.records().is_empty());
    gateway.finish(&[&here, &there]).await;
}

#[tokio::test]
async fn compaction_and_counting_go_where_responses_go() {
    let (backend, gateway) = rig().await;
    for (api, answer) in [
        (
            "responses/compact",
            json!({"id": "c", "object": "response.compaction", "output": []}),
        ),
        (
            "responses/input_tokens",
            json!({"object": "response.input_tokens", "input_tokens": 4}),
        ),
    ] {
        backend.next(Script::json(200, &answer));
        let found = gateway
            .call(&gateway.request(api, "m", &json!({"input": "x"})))
            .await;
        assert_eq!((found.status(), found.json()), (200, answer), "{api}");
        let records = backend.records();
        let line = &records.last().unwrap().received.head.first_line;
        assert_eq!(*line, format!("POST /v1/{api} HTTP/1.1"));
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_websocket_is_refused_at_once_and_for_good() {
    let (backend, gateway) = rig().await;
    for (path, upgrade, status) in [
        ("/v1/responses", Some("websocket"), 426),
        ("/lab/vllm/v1/responses", Some("WebSocket"), 426),
        ("/v1/chat/completions", Some("h2c, websocket"), 426),
        ("/v1/responses", None, 405),
        ("/v1/responses", Some("h2c"), 405),
        ("/v1/models", Some("websocket"), 200),
    ] {
        let mut request = by_maker(&gateway, "GET", path);
        if let Some(protocol) = upgrade {
            request = request
                .header("Connection", "Upgrade")
                .header("Upgrade", protocol)
                .header("Sec-WebSocket-Version", "13");
        }
        let answer = gateway.call(&request).await;
        assert_eq!(answer.status(), status, "{path}: {}", answer.text());
        if status == 426 {
            assert_eq!(
                answer.error_code().as_deref(),
                Some("websocket_not_supported")
            );
            assert_eq!(answer.header("upgrade"), Some("HTTP/1.1"));
            assert_eq!(answer.header("x-should-retry"), Some("false"));
            assert_eq!(answer.header("content-type"), Some("application/json"));
        }
    }
    // The list of models asks the engine for its sizes.
    let lists = backend.records();
    assert!(lists.iter().all(|record| record.received.method == "GET"));
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn what_is_not_served_is_told_in_the_dialect_of_who_asks() {
    let (backend, gateway) = rig().await;
    for (method, path, anthropic) in [
        ("POST", "/v1/messages/batches", false),
        ("GET", "/v1/messages/batches", false),
        ("GET", "/v1/messages/batches/b1/results", false),
        ("POST", "/lab/vllm/v1/messages/batches", false),
        ("POST", "/v1/files", true),
        ("GET", "/v1/files/f1/content", true),
    ] {
        let mut request = by_maker(&gateway, method, path);
        if anthropic {
            request = request.header("Anthropic-Version", "2023-06-01");
        }
        let answer = gateway.call(&request).await;
        assert_eq!(answer.status(), 501, "{path}: {}", answer.text());
        assert_eq!(answer.header("x-should-retry"), Some("false"), "{path}");
        let body = answer.json();
        assert_eq!(
            (&body["type"], &body["error"]["type"]),
            (&json!("error"), &json!("api_error")),
            "{path}"
        );
    }
    let plain = gateway.call(&by_maker(&gateway, "GET", "/v1/files")).await;
    assert_eq!((plain.status(), &plain.json()["type"]), (501, &Value::Null));
    let counted = gateway
        .call(&by_maker(&gateway, "GET", "/v1/messages/count_tokens"))
        .await;
    assert_eq!(
        (counted.status(), counted.header("allow")),
        (405, Some("POST"))
    );
    gateway.finish(&[&backend]).await;
}
