//! Which headers pass, in both directions.

use std::collections::BTreeSet;

use ostia_testkit::backend::{FakeBackend, Received, Script};
use ostia_testkit::client::{Answer, Ended};
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use serde_json::json;

use crate::common::{assert_request_id, rig};

fn sent(received: &Received) -> BTreeSet<String> {
    received.head.fields.names().into_iter().collect()
}

fn shown(answer: &Answer) -> BTreeSet<String> {
    answer.head.fields.names().into_iter().collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

const ALLOWED: [(&str, &str); 9] = [
    ("Accept", "application/json"),
    ("User-Agent", "OpenAI/Python 1.2.3"),
    (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
    ("tracestate", "a=b"),
    ("anthropic-version", "2023-06-01"),
    ("anthropic-beta", "tools-1"),
    ("anthropic-beta", "tools-2"),
    ("OpenAI-Beta", "assistants=v2"),
    ("X-Site-Tag", "blue"),
];

const KEPT_HERE: [(&str, &str); 18] = [
    ("Cookie", "session=1"),
    ("Connection", "x-user, keep-alive"),
    ("X-User", "root"),
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Connection", "keep-alive"),
    ("Proxy-Authorization", "Basic Zm9vOmJhcg=="),
    ("TE", "trailers"),
    ("Upgrade", "h2c"),
    ("Accept-Encoding", "gzip, br"),
    ("X-Forwarded-For", "10.0.0.1"),
    ("Forwarded", "for=10.0.0.1"),
    ("X-Api-Key", "sk-other"),
    ("api-key", "sk-other"),
    ("OpenAI-Organization", "org"),
    ("X-Stainless-Lang", "python"),
    ("Origin", "https://example.org"),
    ("X-Request-Id", "mine-1"),
    ("Referer", "https://example.org/secret"),
];

#[tokio::test]
async fn the_backend_gets_the_listed_headers_and_no_others() {
    let backend = FakeBackend::start().await;
    let forwarded = json!([
        "X-Site-Tag",
        "x-site-tag",
        "Content-Type",
        "Accept",
        "X-Request-Id"
    ]);
    let endpoint = Endpoint::of("m", &backend).config("forward_headers", forwarded);
    let gateway = TestGateway::start(Site::new().endpoint(endpoint)).await;
    let mut request = gateway.chat("m");
    for (name, value) in ALLOWED.iter().chain(&KEPT_HERE) {
        request = request.header(name, value);
    }
    let answer = gateway.call(&request).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(answer.header("x-client-request-id"), Some("mine-1"));
    let received = &backend.requests(1).await[0].received;
    let expected = set(&[
        "host",
        "content-type",
        "content-length",
        "accept",
        "user-agent",
        "traceparent",
        "tracestate",
        "anthropic-version",
        "anthropic-beta",
        "openai-beta",
        "x-site-tag",
        "x-request-id",
        "authorization",
        "accept-encoding",
    ]);
    assert_eq!(sent(received), expected);
    for name in expected {
        let given = ALLOWED
            .iter()
            .filter(|given| given.0.eq_ignore_ascii_case(&name));
        let given = given.count().max(1);
        assert_eq!(received.head.fields.all(&name).count(), given, "{name}");
    }
    for (name, value) in ALLOWED {
        assert!(
            received.head.fields.all(name).any(|sent| sent == value),
            "{name}"
        );
    }
    assert_eq!(received.header("accept-encoding"), Some("identity"));
    assert_eq!(received.request_id(), answer.header("x-request-id"));
    let key = gateway.site().secrets.backend_key.secret().to_owned();
    assert_eq!(received.bearer(), Some(&*key));
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_bare_client_adds_nothing_to_the_backends_request() {
    let backend = FakeBackend::start().await;
    let endpoint = Endpoint::of("m", &backend).config("api_key_env_name", json!(""));
    let gateway = TestGateway::start(Site::new().endpoint(endpoint)).await;
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let received = &backend.requests(1).await[0].received;
    let expected = set(&[
        "host",
        "content-type",
        "content-length",
        "accept-encoding",
        "x-request-id",
    ]);
    assert_eq!(sent(received), expected);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn the_client_gets_the_listed_headers_and_no_others() {
    let (backend, gateway) = rig().await;
    for request in [gateway.chat("m"), gateway.chat_stream("m")] {
        let mut script = Script::completion();
        for (name, value) in [
            ("Server", "uvicorn"),
            ("Set-Cookie", "a=b"),
            ("Location", "/elsewhere"),
            ("openai-processing-ms", "12"),
            ("x-request-id", "backends-own"),
            ("openai-organization", "org"),
            ("x-ratelimit-remaining-tokens", "5"),
            ("retry-after", "3"),
            ("cache-control", "public, max-age=60"),
            ("access-control-allow-origin", "*"),
            ("Connection", "x-hop"),
            ("X-Hop", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Alt-Svc", "h3=\":443\""),
            ("Trailer", "x-sum"),
        ] {
            script = script.header(name, value);
        }
        backend.next(script);
        let answer = gateway.call(&request).await;
        assert_eq!((answer.status(), &answer.ended), (200, &Ended::Complete));
        let mut expected = set(&[
            "content-type",
            "date",
            "keep-alive",
            "x-request-id",
            "openai-processing-ms",
            "x-ratelimit-remaining-tokens",
            "retry-after",
        ]);
        assert_eq!(
            answer.header("keep-alive"),
            Some("timeout=75"),
            "the gateway's own"
        );
        let stream = answer.header("transfer-encoding").is_some();
        expected.extend(match stream {
            true => set(&["transfer-encoding", "cache-control", "x-accel-buffering"]),
            false => set(&["content-length"]),
        });
        assert_eq!(shown(&answer), expected);
        assert_request_id(&answer, "an answer");
        assert_ne!(answer.header("x-request-id"), Some("backends-own"));
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_stream_says_that_nobody_may_hold_it_back() {
    let (backend, gateway) = rig().await;
    let answer = gateway
        .call(&gateway.chat_stream("m").header("Accept-Encoding", "gzip"))
        .await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    assert_eq!(answer.header("x-accel-buffering"), Some("no"));
    for absent in ["content-length", "content-encoding"] {
        assert_eq!(answer.header(absent), None);
    }
    gateway.finish(&[&backend]).await;
}

/// RFC 9110 section 7.6.1: headers that Connection names were meant for the gateway, even if another list passes them.
#[tokio::test]
async fn what_connection_names_goes_no_further() {
    let backend = FakeBackend::start().await;
    let endpoint = Endpoint::of("m", &backend).config("forward_headers", json!(["X-Site-Tag"]));
    let gateway = TestGateway::start(Site::new().endpoint(endpoint)).await;
    let request = gateway
        .chat("m")
        .header("User-Agent", "a/1")
        .header("X-Site-Tag", "blue")
        .header("traceparent", "kept")
        .header("Connection", "x-site-tag, Authorization")
        .header("Connection", "User-Agent, content-type, keep-alive");
    let answer = gateway.call(&request).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let names = sent(&backend.requests(1).await[0].received);
    for gone in ["user-agent", "x-site-tag", "connection"] {
        assert!(!names.contains(gone), "{gone}: {names:?}");
    }
    for kept in ["authorization", "content-type", "traceparent"] {
        assert!(names.contains(kept), "{kept}: {names:?}");
    }
    gateway.finish(&[&backend]).await;
}
