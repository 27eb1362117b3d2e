//! Bodies of refused requests cost nothing of other limits; a limit of their own bounds them (R43).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ostia_testkit::backend::FakeBackend;
use ostia_testkit::client::HangUp;
use ostia_testkit::gateway::{Site, TestGateway};
use serde_json::json;

use super::raw;
use crate::rate::clock;

/// A body of this size for a model that does not exist.
fn absent(size: usize) -> Bytes {
    let (before, after) = (r#"{"model":"absent","input":""#, r#""}"#);
    let filling = "x".repeat(size - before.len() - after.len());
    [before, &filling, after].concat().into()
}

#[tokio::test]
async fn a_loop_of_refused_bodies_is_held_back_and_nobody_else_is() {
    let backend = FakeBackend::start().await;
    let clock = clock();
    let site = Site::new().model("m", &backend).settings(
        "[limits]\nrefused_bytes_per_second_per_user = 10000\nrequests_per_second_per_user = 4",
    );
    let gateway = TestGateway::start_at(site, Arc::clone(&clock) as _).await;
    let other = gateway.key_for("other@example.org", &[]).await;
    let refused = raw(&gateway, "responses", absent(9_000));
    for _ in 0..2 {
        assert_eq!(gateway.call(&refused).await.status(), 404);
    }
    // 18,000 bytes are counted. It takes 0.9 s until fewer than 10,000 are.
    for request in [&refused, &gateway.chat("m")] {
        let answer = gateway.call(request).await;
        assert_eq!(answer.status(), 429, "{}", answer.text());
        assert_eq!(answer.error_code().as_deref(), Some("refused_bytes"));
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    let mut others = gateway.chat("m").without("authorization");
    others = others.bearer(&other);
    assert_eq!(gateway.call(&others).await.status(), 200);
    clock.advance(Duration::from_millis(801));
    // Refusals have not counted towards the requests per second.
    for _ in 0..4 {
        assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn every_way_to_send_a_body_for_nothing_counts() {
    let malformed = "x".repeat(2_000);
    let denied = json!({"model": "m", "messages": [{}], "rid": "x".repeat(2_000)}).to_string();
    let cases: [(&str, Bytes, u16); 4] = [
        ("chat/completions", malformed.into(), 400),
        ("chat/completions", denied.into(), 400),
        ("responses", absent(2_000), 404),
        ("chat/completions", " ".repeat(6_000).into(), 413),
    ];
    for (api, body, status) in cases {
        let backend = FakeBackend::start().await;
        let settings =
            "[server]\nmax_body_bytes = 5000\n[limits]\nrefused_bytes_per_second_per_user = 1000";
        let site = Site::new().model("m", &backend).settings(settings);
        let gateway = TestGateway::start_at(site, clock() as _).await;
        // A body without an announced length is read until it is too long.
        let pieces: Vec<Vec<u8>> = body.chunks(1000).map(<[u8]>::to_vec).collect();
        let request = raw(&gateway, api, "").chunked(pieces);
        assert_eq!(gateway.call(&request).await.status(), status);
        let answer = gateway.call(&gateway.chat("m")).await;
        assert_eq!(
            answer.error_code().as_deref(),
            Some("refused_bytes"),
            "{api} {status}"
        );
        assert!(backend.records().is_empty());
        gateway.finish(&[&backend]).await;
    }
}

#[tokio::test]
async fn a_body_that_is_hung_up_on_counts_and_one_that_is_answered_does_not() {
    let backend = FakeBackend::start().await;
    let settings = "[limits]\nrefused_bytes_per_second_per_user = 1000";
    let site = Site::new().model("m", &backend).settings(settings);
    let gateway = TestGateway::start_at(site, clock() as _).await;
    let long = json!({"messages": [{"role": "user", "content": "x".repeat(2_000)}]});
    let served = gateway.request("chat/completions", "m", &long);
    for _ in 0..3 {
        assert_eq!(gateway.call(&served).await.status(), 200);
    }
    let mut client = gateway.client().await;
    let bytes = served.bytes();
    client.send(&bytes[..bytes.len() - 1]).await;
    client.hang_up(HangUp::Fin).await;
    let told = async {
        while gateway.rows().await.len() < 4 {
            tokio::task::yield_now().await;
        }
    };
    ostia_testkit::patience::within(|| "the row of the hang-up".to_owned(), told).await;
    let answer = gateway.call(&served).await;
    assert_eq!(answer.error_code().as_deref(), Some("refused_bytes"));
    gateway.finish(&[&backend]).await;
}
