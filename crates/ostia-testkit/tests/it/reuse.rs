//! Kept connections, and repeated attempts (R61, R62).

use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::Ended;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};

use crate::common::{assert_error, rig};

/// One model on two backends.
async fn pair() -> (FakeBackend, FakeBackend, TestGateway) {
    let (first, second) = (FakeBackend::start().await, FakeBackend::start().await);
    let site = Site::new()
        .endpoint(Endpoint::of("m", &first).config("priority", 0.into()))
        .endpoint(
            Endpoint::of("m", &second)
                .on("spare", "vllm")
                .config("priority", 1.into()),
        );
    let gateway = TestGateway::start(site).await;
    (first, second, gateway)
}

#[tokio::test]
async fn one_connection_serves_one_after_the_other() {
    let (backend, gateway) = rig().await;
    let mut client = gateway.client().await;
    for number in 0..200 {
        let request = if number % 4 == 0 {
            gateway.chat("m")
        } else {
            gateway.chat_stream("m")
        };
        let answer = client.call(&request).await;
        assert_eq!((answer.status(), &answer.ended), (200, &Ended::Complete));
    }
    assert_eq!(backend.counts().connections, 1);
    assert_eq!(gateway.finish(&[&backend]).await.len(), 200);
}

#[tokio::test]
async fn a_connection_that_went_stale_costs_nobody_an_error() {
    let (backend, gateway) = rig().await;
    backend.close_after(2);
    let mut client = gateway.client().await;
    for number in 0..100 {
        if number % 7 == 0 {
            backend.close_idle();
        }
        let answer = client.call(&gateway.chat_stream("m")).await;
        assert_eq!(
            (answer.status(), &answer.ended),
            (200, &Ended::Complete),
            "{number}"
        );
    }
    let rows = gateway.finish(&[&backend]).await;
    assert!(
        rows.iter()
            .all(|row| row.outcome == "ok" && row.attempts <= 2)
    );
}

#[tokio::test]
async fn a_request_that_a_reused_connection_swallowed_is_sent_once_more() {
    let (backend, gateway) = rig().await;
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    // The backend receives the request on the kept connection, and closes without sending a byte.
    backend.next(Script::hang_up());
    let answer = gateway.call(&gateway.chat_stream("m")).await;
    assert_eq!((answer.status(), &answer.ended), (200, &Ended::Complete));
    assert_eq!(gateway.row_of(&answer).await.attempts, 2);
    // A second failure is final, even on a new connection.
    backend.next(Script::hang_up());
    backend.next(Script::hang_up());
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_error(
        &answer,
        502,
        "upstream_error",
        "upstream_unreachable",
        "twice",
    );
    assert_eq!(gateway.row_of(&answer).await.attempts, 2);
    assert_eq!(backend.records().len(), 5);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_refused_connection_moves_on_to_the_other_backend() {
    let (first, second, gateway) = pair().await;
    first.refuse().await;
    // The second request avoids the endpoint that could not be reached.
    for (request, attempts) in [(gateway.chat("m"), 2), (gateway.chat_stream("m"), 1)] {
        let answer = gateway.call(&request).await;
        assert_eq!((answer.status(), &answer.ended), (200, &Ended::Complete));
        let row = gateway.row_of(&answer).await;
        assert_eq!((row.attempts, row.outcome.as_str()), (attempts, "ok"));
        assert!(row.endpoint_slug.starts_with("spare"), "{row:?}");
    }
    second.refuse().await;
    second.close_idle();
    second.open_connections(0).await;
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_error(
        &answer,
        502,
        "upstream_error",
        "upstream_unreachable",
        "both",
    );
    assert!(first.records().is_empty());
    gateway.finish(&[&first, &second]).await;
}

#[tokio::test]
async fn what_may_have_been_begun_is_not_sent_again() {
    let scripts = [
        Script::hang_up(),
        Script::reset(),
        Script::html(500),
        Script::html(502),
        Script::garbage(),
    ];
    for (number, script) in scripts.into_iter().enumerate() {
        let (first, second, gateway) = pair().await;
        first.next(script.close());
        let answer = gateway.call(&gateway.chat_stream("m")).await;
        assert!(answer.status() >= 500, "{number}: {}", answer.status());
        assert_eq!(first.records().len(), 1, "{number}");
        assert!(second.records().is_empty(), "{number}");
        let rows = gateway.finish(&[&first, &second]).await;
        assert!(rows.iter().all(|row| row.attempts == 1), "{number}");
    }
}

#[tokio::test]
async fn retries_stay_within_their_budget() {
    const CALLS: usize = 200;
    let (first, second) = (FakeBackend::start().await, FakeBackend::start().await);
    // No backend is preferred, so each request meets a refusal first about half the time.
    let site = Site::new()
        .endpoint(Endpoint::of("m", &first))
        .endpoint(Endpoint::of("m", &second).on("spare", "vllm"))
        .settings("[upstream]\nretry_budget_percent = 20");
    let gateway = TestGateway::start(site).await;
    first.refuse().await;
    second.refuse().await;
    let mut attempts = 0;
    for _ in 0..CALLS {
        let answer = gateway.call(&gateway.chat("m")).await;
        assert_eq!(answer.status(), 502);
    }
    let rows = gateway.finish(&[&first, &second]).await;
    for row in &rows {
        attempts += row.attempts as usize;
    }
    let seconds = (rows[CALLS - 1].finished_at - rows[0].started_at) as usize / 1_000_000 + 2;
    assert!(attempts > CALLS, "no retry at all");
    assert!(
        attempts <= CALLS * 12 / 10 + 10 * seconds,
        "{attempts} in {seconds} s"
    );
}
