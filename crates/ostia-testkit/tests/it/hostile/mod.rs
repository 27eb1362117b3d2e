//! What users can do with the content of their requests: how much a body may cost, what it may name, what it reserves.

mod charges;
mod content;
mod counts;
mod incidents;
mod pages;
mod policy;
mod refused;
mod secrets;
mod shares;
mod streams;

use bytes::Bytes;
use ostia_testkit::client::{Answer, Request};
use ostia_testkit::gateway::TestGateway;

/// A request with exactly this body.
fn raw(gateway: &TestGateway, api: &str, body: impl Into<Bytes>) -> Request {
    let bearer = gateway.site().secrets.client_bearer();
    Request::post(&format!("/v1/{api}"))
        .bearer(&bearer)
        .header("Content-Type", "application/json")
        .body(body)
}

/// Checks that the gateway itself refused the request because of `param`.
fn assert_refused(answer: &Answer, param: &str, what: &str) {
    assert_eq!(answer.status(), 400, "{what}: {}", answer.text());
    let body = answer.json();
    assert_eq!(body["error"]["code"], "invalid_value", "{what}: {body}");
    assert_eq!(body["error"]["param"], param, "{what}: {body}");
    assert_eq!(body["error"]["type"], "invalid_request_error", "{what}");
}
