//! Several endpoints of one model: which one is tried, and how long one that failed is avoided.

use std::sync::Arc;
use std::time::Duration;

use ostia_core::ManualClock;
use ostia_testkit::backend::{FakeBackend, Script, Step};
use ostia_testkit::client::Answer;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use serde_json::json;

/// Two backends of one model, of which `first` is preferred.
struct Rig {
    first: FakeBackend,
    second: FakeBackend,
    clock: Arc<ManualClock>,
    gateway: TestGateway,
}

impl Rig {
    async fn start() -> Self {
        let (first, second) = (FakeBackend::start().await, FakeBackend::start().await);
        let replica = |slug, backend, priority| {
            Endpoint::of("m", backend)
                .field("endpoint_slug", json!(slug))
                .config("priority", json!(priority))
        };
        let site = Site::new()
            .endpoint(replica("first", &first, 0))
            .endpoint(replica("second", &second, 1));
        let clock = Arc::new(ManualClock::at(1_795_392_000_000_000));
        let gateway = TestGateway::start_at(site, Arc::clone(&clock) as _).await;
        Self {
            first,
            second,
            clock,
            gateway,
        }
    }

    /// The statuses of this many calls in a row, and how many of them each backend got.
    async fn calls(&self, count: usize) -> (Vec<u16>, usize, usize) {
        let seen = || (self.first.records().len(), self.second.records().len());
        let before = seen();
        let mut statuses = Vec::new();
        for _ in 0..count {
            statuses.push(self.call().await.status());
        }
        let after = seen();
        (statuses, after.0 - before.0, after.1 - before.1)
    }

    async fn call(&self) -> Answer {
        self.gateway.call(&self.gateway.chat("m")).await
    }

    async fn finish(self) {
        self.gateway.finish(&[&self.first, &self.second]).await;
    }
}

#[tokio::test]
async fn five_failures_in_a_row_and_the_other_is_asked_until_one_request_finds_it_well() {
    let rig = Rig::start().await;
    rig.first
        .otherwise(Script::json(500, &json!({"error": "no"})));
    assert_eq!(rig.calls(5).await, (vec![502; 5], 5, 0));
    assert_eq!(rig.calls(3).await, (vec![200; 3], 0, 3));

    // Still failing after its rest: one request finds out, and the others are spared again.
    rig.clock.advance(Duration::from_secs(10));
    assert_eq!(rig.calls(4).await, (vec![502, 200, 200, 200], 1, 3));

    rig.clock.advance(Duration::from_secs(10));
    rig.first.otherwise(Script::completion());
    assert_eq!(rig.calls(3).await, (vec![200; 3], 3, 0));
    rig.finish().await;
}

#[tokio::test]
async fn a_success_in_between_begins_the_count_anew() {
    let rig = Rig::start().await;
    let ill = || Script::json(500, &json!({"error": "no"}));
    let well = Script::completion;
    rig.first.sequence(
        "m",
        [
            ill(),
            ill(),
            ill(),
            ill(),
            well(),
            ill(),
            ill(),
            ill(),
            ill(),
            well(),
        ],
    );
    let (_, first, second) = rig.calls(10).await;
    assert_eq!((first, second), (10, 0));
    rig.finish().await;
}

#[tokio::test]
async fn what_a_backend_refuses_for_the_request_s_sake_does_not_count() {
    let rig = Rig::start().await;
    for status in [400, 404, 409, 413, 422] {
        let refusal = json!({"error": {"message": "too long", "type": "invalid_request_error"}});
        rig.first.otherwise(Script::json(status, &refusal));
        assert_eq!(rig.calls(6).await, (vec![status; 6], 6, 0));
    }
    rig.finish().await;
}

#[tokio::test]
async fn a_request_that_dies_counts_once() {
    let rig = Rig::start().await;
    rig.first.otherwise(Script::steps([Step::Reset]));
    assert_eq!(rig.calls(5).await, (vec![502; 5], 5, 0));
    assert_eq!(rig.calls(1).await, (vec![200], 0, 1));
    rig.finish().await;
}

#[tokio::test]
async fn a_request_that_moves_on_counts_once_too() {
    let rig = Rig::start().await;
    rig.first.refuse().await;
    // It is left alone longer each time, and for ten seconds from the fifth failure on.
    for (wait, attempts) in [(0, 2), (1, 2), (2, 2), (4, 2), (8, 2), (9, 1)] {
        rig.clock.advance(Duration::from_secs(wait));
        let answer = rig.call().await;
        assert_eq!(answer.status(), 200);
        let row = rig.gateway.row_of(&answer).await;
        assert_eq!((row.attempts, &*row.endpoint_slug), (attempts, "second"));
    }
    rig.finish().await;
}
