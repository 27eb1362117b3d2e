use serde_json::json;

use super::*;
use crate::backend::{FakeBackend, Script};
use crate::client::{Ended, HangUp, RawClient, Request};

fn ask() -> Request {
    Request::post("/v1/chat/completions").json(&json!({"model": "m", "stream": true}))
}

async fn rig() -> (FakeBackend, ChaosProxy) {
    let backend = FakeBackend::start().await;
    let proxy = ChaosProxy::start(backend.address()).await;
    (backend, proxy)
}

#[tokio::test]
async fn bytes_pass_unchanged_whole_or_sliced() {
    let (backend, proxy) = rig().await;
    let direct = RawClient::connect(backend.address())
        .await
        .call(&ask())
        .await;
    for mode in [Mode::Pass, Mode::Slice(1), Mode::Slice(7)] {
        proxy.switch(mode);
        let answer = RawClient::connect(proxy.address()).await.call(&ask()).await;
        assert_eq!(
            (answer.body, answer.ended),
            (direct.body.clone(), Ended::Complete)
        );
    }
}

#[tokio::test]
async fn a_hang_up_passes_through() {
    let (backend, proxy) = rig().await;
    backend.otherwise(Script::silent());
    for (how, count) in [(HangUp::Fin, 1), (HangUp::Reset, 2)] {
        let mut client = RawClient::connect(proxy.address()).await;
        client.send(ask().bytes()).await;
        backend.requests(count).await;
        client.hang_up(how).await;
        backend.aborts(count).await;
    }
    proxy
        .until("all connections closed", |counts| counts.open == 0)
        .await;
}

#[tokio::test]
async fn an_open_connection_can_be_reset() {
    let (backend, proxy) = rig().await;
    backend.otherwise(Script::silent());
    let mut client = RawClient::connect(proxy.address()).await;
    client.send(ask().bytes()).await;
    backend.requests(1).await;
    proxy.switch(Mode::Reset);
    assert_eq!(client.begin().await.unwrap_err(), Ended::Reset);
    backend.aborts(1).await;
    let mut late = RawClient::connect(proxy.address()).await;
    assert_eq!(late.closed().await.1, Ended::Reset);

    proxy.switch(Mode::TurnAway);
    let mut turned_away = RawClient::connect(proxy.address()).await;
    assert_eq!(turned_away.closed().await.1, Ended::Fin);
}

#[tokio::test]
async fn held_bytes_wait_for_the_gate() {
    let (backend, proxy) = rig().await;
    let gate = Gate::closed();
    proxy.switch(Mode::Hold(gate.clone()));
    let mut client = RawClient::connect(proxy.address()).await;
    client.send(ask().bytes()).await;
    gate.reached(1).await;
    assert_eq!(backend.records().len(), 0);
    gate.open();
    assert_eq!(client.answer().await.ended, Ended::Complete);
}

#[tokio::test]
async fn a_black_hole_swallows_and_can_be_left() {
    let (backend, proxy) = rig().await;
    let mut client = RawClient::connect(proxy.address()).await;
    client.call(&ask()).await;
    proxy.switch(Mode::BlackHole);
    let before = proxy.counts().bytes_to_server;
    client.send(ask().bytes()).await;
    let length = ask().bytes().len() as u64;
    proxy
        .until("the request to be swallowed", |counts| {
            counts.bytes_to_server == before + length
        })
        .await;
    assert_eq!(backend.records().len(), 1);
    proxy.switch(Mode::Pass);
    assert_eq!(client.call(&ask()).await.ended, Ended::Complete);
}

#[tokio::test]
async fn a_half_closed_connection_still_takes_bytes() {
    let (backend, proxy) = rig().await;
    let mut client = RawClient::connect(proxy.address()).await;
    client.call(&ask()).await;
    proxy.switch(Mode::HalfClose);
    assert_eq!(client.closed().await.1, Ended::Fin);
    client.send(ask().bytes()).await;
    backend.requests(2).await;
}
