//! Replicas with shared limits, one of which is killed: what it held is given back, and no limit is exceeded (R38).

use futures_util::future::join_all;
use ostia_core::SystemClock;
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{RawClient, Request};
use ostia_testkit::gateway::{Endpoint, Process, Site, Subject as _};
use ostia_testkit::redis_server::RedisServer;
use serde_json::json;

use crate::binary;

async fn replica(
    redis: &RedisServer,
    backend: &FakeBackend,
    limits: &str,
    tokens: u64,
) -> (Site, Process) {
    let endpoint = Endpoint::of("m", backend).field("tpm_user", json!(tokens));
    let url = redis.url();
    let limits = format!("[limits]\nshared = \"{url}\"\nshared_timeout = \"2s\"\n{limits}");
    let site = Site::new().endpoint(endpoint).settings(&limits);
    site.prepare(&SystemClock).await;
    let process = Process::start(binary(), &site).await;
    (site, process)
}

/// A prompt of 50 tokens, and at most 100 more in the answer.
fn costs_150(site: &Site) -> Request {
    let messages = json!([{"role": "user", "content": "x".repeat(196)}]);
    let body = json!({"model": "m", "messages": messages, "max_tokens": 100});
    let request = Request::post("/v1/chat/completions").json(&body);
    request.bearer(&site.secrets.client_bearer())
}

/// The status; `None`: the gateway is gone.
async fn ask(process: &Process, request: &Request) -> Option<u16> {
    let mut client = RawClient::try_connect(process.address()).await?;
    client.send(request.bytes()).await;
    let reading = client.begin().await.ok()?;
    let status = reading.status();
    client.rest(reading).await;
    Some(status)
}

#[tokio::test]
async fn the_places_of_a_killed_replica_come_back() {
    let redis = RedisServer::start().await;
    let backend = FakeBackend::start().await;
    let limits = "max_in_flight_per_user = 3\nqueue_timeout = \"60s\"";
    let (site, first) = replica(&redis, &backend, limits, 0).await;
    let (other_site, second) = replica(&redis, &backend, limits, 0).await;
    backend.otherwise(Script::silent());
    let request = costs_150(&site);
    let held = join_all((0..3).map(|_| ask(&first, &request)));
    let killing = async {
        backend.requests(3).await;
        backend.otherwise(Script::completion());
        first.kill();
        let request = costs_150(&other_site);
        join_all((0..3).map(|_| ask(&second, &request))).await
    };
    let (held, served) = tokio::join!(held, killing);
    assert_eq!(held, [None; 3]);
    assert_eq!(served, [Some(200); 3]);
}

#[tokio::test]
async fn with_one_of_three_killed_half_way_no_more_is_let_in() {
    let redis = RedisServer::start().await;
    let backend = FakeBackend::start().await;
    // The usage equals the reservation.
    backend.otherwise(Script::completion().prompt_tokens(50, 0).text(["x"; 100]));
    let limits = "queue_timeout = \"0\"";
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(replica(&redis, &backend, limits, 9_000).await);
    }
    let asking = join_all(replicas.iter().map(async |(site, process)| {
        let request = costs_150(site);
        join_all((0..60).map(|_| ask(process, &request))).await
    }));
    let killing = async {
        backend.requests(30).await;
        replicas[0].1.kill();
    };
    let (statuses, ()) = tokio::join!(asking, killing);
    let served = |of: &[Option<u16>]| of.iter().filter(|status| **status == Some(200)).count();
    let statuses = statuses.concat();
    assert!(
        statuses
            .iter()
            .all(|status| matches!(status, None | Some(200 | 429))),
        "{statuses:?}"
    );
    let gone = statuses.iter().filter(|status| status.is_none()).count();
    let seen = backend.records().len();
    assert!(seen <= 60, "{seen} of 60 that fit");
    assert!(served(&statuses) + gone >= 60, "what fits is let in");
}
