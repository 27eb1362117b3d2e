//! No address and no user can take everything: connections, requests behind a proxy, memory for bodies.

use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{HangUp, RawClient, Request};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Site, TestGateway};
use serde_json::json;

const MEGABYTE: usize = 1 << 20;

async fn rig(settings: &str) -> (FakeBackend, TestGateway) {
    let backend = FakeBackend::start().await;
    let site = Site::new().model("m", &backend).settings(settings);
    (backend, TestGateway::start(site).await)
}

/// The head of a request and all of its body but the last byte.
async fn half_sent(gateway: &TestGateway, bearer: &str, from: &str, length: usize) -> RawClient {
    let mut client = gateway.client().await;
    let request = Request::post("/v1/chat/completions")
        .bearer(bearer)
        .header("X-Forwarded-For", from)
        .header("Content-Length", &length.to_string());
    client.send(request.head()).await;
    client.send(vec![b' '; length - 1]).await;
    client
}

async fn buffered(gateway: &TestGateway, least: u64) {
    while gateway.gateway().body_budget().used() < least {
        tokio::task::yield_now().await;
    }
}

const BUDGET: &str = "[server]\nmax_body_bytes = 1048576\nmax_buffered_bytes = 16777216\ntrusted_proxies = [\"127.0.0.1\"]";

#[tokio::test]
async fn half_sent_bodies_of_one_user_leave_room_for_others() {
    let (backend, gateway) = rig(BUDGET).await;
    let eve = gateway.key_for("eve@lab.org", &[]).await;
    let mut held = Vec::new();
    for at in 0..4 {
        held.push(half_sent(&gateway, &eve, &format!("192.0.2.{at}"), MEGABYTE).await);
        buffered(&gateway, (at + 1) * MEGABYTE as u64).await;
    }
    // She may have a quarter of 16 MiB, wherever she sends from.
    let mut fifth = half_sent(&gateway, &eve, "198.51.100.1", MEGABYTE).await;
    let refused = fifth.answer().await;
    assert_eq!(refused.status(), 429, "{}", refused.text());
    assert_eq!(refused.error_code().as_deref(), Some("concurrency"));
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    for client in held {
        client.hang_up(HangUp::Reset).await;
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn half_sent_bodies_from_one_address_leave_room_for_others() {
    let (backend, gateway) = rig(BUDGET).await;
    let mut held = Vec::new();
    for user in 0..3 {
        let key = gateway.key_for(&format!("user{user}@lab.org"), &[]).await;
        for _ in 0..3 {
            held.push(half_sent(&gateway, &key, "2001:db8::1", MEGABYTE).await);
        }
    }
    let mut refused = 0;
    let key = gateway.key_for("last@lab.org", &[]).await;
    buffered(&gateway, 8 * MEGABYTE as u64).await;
    let mut same = half_sent(&gateway, &key, "2001:db8::ffff", MEGABYTE).await;
    refused += u32::from(same.answer().await.status() == 429);
    assert_eq!(refused, 1);
    let other = gateway
        .chat("m")
        .header("X-Forwarded-For", "2001:db8:0:1::1");
    assert_eq!(gateway.call(&other).await.status(), 200);
    for client in held {
        client.hang_up(HangUp::Reset).await;
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn behind_a_proxy_each_forwarded_address_has_its_share_of_requests() {
    let settings = "[server]\nconnections_per_address = 3\ntrusted_proxies = [\"127.0.0.1\"]";
    let (backend, gateway) = rig(settings).await;
    let gate = Gate::closed();
    backend.otherwise(Script::completion().gate_head(&gate));
    let from = |address: &str| gateway.chat("m").header("X-Forwarded-For", address).bytes();
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = gateway.client().await;
        client.send(from("192.0.2.1")).await;
        clients.push(client);
    }
    backend.requests(3).await;
    for (address, status) in [
        ("192.0.2.1", 429),
        ("6.6.6.6, 192.0.2.1", 429),
        ("192.0.2.1, 6.6.6.6", 200),
    ] {
        let mut client = gateway.client().await;
        client.send(from(address)).await;
        if status == 200 {
            backend.requests(4).await;
            clients.push(client);
            continue;
        }
        let answer = client.answer().await;
        assert_eq!(answer.status(), status, "{address}");
        assert_eq!(
            answer.error_code().as_deref(),
            Some("concurrency"),
            "{address}"
        );
    }
    // A trusted proxy may have any number of connections.
    let own: Vec<_> = futures_util::future::join_all((0..20).map(|_| gateway.client())).await;
    assert_eq!(own.len(), 20);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.answer().await.status(), 200);
    }
    assert_eq!(
        gateway
            .call(&gateway.chat("m").header("X-Forwarded-For", "192.0.2.1"))
            .await
            .status(),
        200
    );
    gateway.finish(&[&backend]).await;
}

/// Requests from this machine, and from a proxy in front that was not declared, do not count as one address.
#[tokio::test]
async fn a_site_does_not_lock_itself_out() {
    let (backend, gateway) = rig("[server]\nconnections_per_address = 2").await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = gateway.client().await;
        let request = gateway.chat("m").header("X-Forwarded-For", "192.0.2.1");
        assert_eq!(client.call(&request).await.status(), 200);
        clients.push(client);
    }
    assert_eq!(clients.len(), 10);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn requests_of_unknown_callers_are_counted_and_some_are_logged() {
    let (backend, gateway) = rig("").await;
    let mut client = gateway.client().await;
    for number in 0..200 {
        let path = if number % 2 == 0 {
            "/health"
        } else {
            "/v1/models"
        };
        client.call(&Request::get(path)).await;
    }
    let metrics = ostia_testkit::gateway::gauges::scrape(gateway.admin_address()).await;
    let untold = ostia_testkit::gateway::gauges::sum(&metrics, "ostia_access_events_untold_total");
    assert!(untold.is_some_and(|untold| untold >= 150.0), "{untold:?}");
    assert_eq!(
        gateway
            .call(&gateway.request("chat/completions", "m", &json!({})))
            .await
            .status(),
        200
    );
    gateway.finish(&[&backend]).await;
}
