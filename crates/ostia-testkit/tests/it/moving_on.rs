//! A backend that refuses before it answered anything: who gets the request then, and how long the backend is avoided.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use ostia_core::{ManualClock, NoticeScope};
use ostia_testkit::backend::{Break, FakeBackend, Script, Step};
use ostia_testkit::client::{Answer, HangUp, Request};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use ostia_testkit::patience::{self, within};
use serde_json::{Value, json};

use crate::adapters::notice;

/// One of several endpoints of the model `m`.
fn replica(slug: &str, backend: &FakeBackend, priority: u32) -> Endpoint {
    Endpoint::of("m", backend)
        .field("endpoint_slug", json!(slug))
        .config("priority", json!(priority))
}

/// Two replicas, of which `first` is preferred.
struct Rig {
    first: FakeBackend,
    second: FakeBackend,
    clock: Arc<ManualClock>,
    gateway: TestGateway,
}

impl Rig {
    async fn start() -> Self {
        Self::start_with("").await
    }

    async fn start_with(settings: &str) -> Self {
        let (first, second) = (FakeBackend::start().await, FakeBackend::start().await);
        let site = Site::new()
            .endpoint(replica("first", &first, 0))
            .endpoint(replica("second", &second, 1))
            .settings(settings);
        let clock = Arc::new(ManualClock::at(1_795_392_000_000_000));
        let gateway = TestGateway::start_at(site, Arc::clone(&clock) as _).await;
        Self {
            first,
            second,
            clock,
            gateway,
        }
    }

    async fn call(&self) -> Answer {
        self.gateway.call(&self.gateway.chat("m")).await
    }

    /// How many requests each backend has seen.
    fn seen(&self) -> (usize, usize) {
        (self.first.records().len(), self.second.records().len())
    }

    async fn finish(self) {
        self.gateway.finish(&[&self.first, &self.second]).await;
    }
}

#[tokio::test]
async fn whoever_says_no_is_left_alone_and_the_twin_answers() {
    for no in [
        Script::error(429, "slow down"),
        Script::html(503),
        Script::raw(529, ""),
    ] {
        let rig = Rig::start().await;
        rig.first.otherwise(no);
        for (seen, attempts) in [((1, 1), 2), ((1, 2), 1), ((1, 3), 1)] {
            let answer = rig.call().await;
            assert_eq!((answer.status(), rig.seen()), (200, seen));
            let row = rig.gateway.row_of(&answer).await;
            assert_eq!((row.attempts, &*row.endpoint_slug), (attempts, "second"));
            assert_eq!((row.upstream_status, &*row.outcome), (200, "ok"));
        }
        // It is tried again after one second, then after two.
        for (wait, seen) in [(1, (2, 4)), (1, (2, 5)), (1, (3, 6))] {
            rig.clock.advance(Duration::from_secs(wait));
            assert_eq!(rig.call().await.status(), 200);
            assert_eq!(rig.seen(), seen);
        }
        rig.finish().await;
    }
}

#[tokio::test]
async fn a_stream_moves_on_too() {
    let rig = Rig::start().await;
    rig.first.otherwise(Script::error(503, "loading"));
    let answer = rig.gateway.call(&rig.gateway.chat_stream("m")).await;
    assert_eq!((answer.status(), rig.seen()), (200, (1, 1)));
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
    rig.finish().await;
}

#[tokio::test]
async fn retry_after_says_for_how_long() {
    let rig = Rig::start().await;
    rig.first
        .next(Script::error(429, "later").header("retry-after", "7"));
    assert_eq!(rig.call().await.status(), 200);
    rig.clock.advance(Duration::from_millis(6_999));
    assert_eq!(rig.call().await.status(), 200);
    assert_eq!(rig.seen(), (1, 2));
    rig.clock.advance(Duration::from_millis(1));
    assert_eq!(rig.call().await.status(), 200);
    assert_eq!(rig.seen(), (2, 2));
    rig.finish().await;
}

/// Whatever a backend writes there, it is left alone and the caller is answered. `seen_later`: how often it was asked after
/// a quarter of an hour.
#[tokio::test]
async fn every_retry_after_keeps_a_backend_out() {
    for (value, seen_later) in [
        ("0", 2),
        ("-5", 2),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 2),
        ("soon", 2),
        ("", 2),
        ("1e400", 1),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 1),
    ] {
        let rig = Rig::start().await;
        rig.first
            .otherwise(Script::error(429, "later").header("retry-after", value));
        for _ in 0..10 {
            assert_eq!(rig.call().await.status(), 200, "{value:?}");
        }
        assert_eq!(rig.seen(), (1, 10), "{value:?}");
        rig.clock.advance(Duration::from_secs(900));
        assert_eq!(rig.call().await.status(), 200, "{value:?}");
        assert_eq!(rig.seen().0, seen_later, "{value:?}");
        rig.finish().await;
    }
}

#[tokio::test]
async fn where_all_say_no_the_last_one_s_own_answer_is_told() {
    let rig = Rig::start().await;
    rig.first.otherwise(Script::error(503, "first"));
    rig.second
        .otherwise(Script::error(429, "second").header("retry-after", "9"));
    let answer = rig.call().await;
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.json()["error"]["message"], "second");
    assert_eq!(answer.header("retry-after"), Some("9"));
    let row = rig.gateway.row_of(&answer).await;
    assert_eq!((row.attempts, &*row.outcome), (2, "upstream_error"));
    assert_eq!((&*row.phase, row.upstream_status), ("waiting_headers", 429));
    // No backend is available: the next request goes to the one that is back first, and gets its answer.
    let answer = rig.call().await;
    assert_eq!(answer.json()["error"]["message"], "first");
    assert_eq!(rig.seen(), (2, 1));
    rig.finish().await;
}

#[tokio::test]
async fn refusals_for_the_request_s_sake_and_failures_after_bytes_stay() {
    let rig = Rig::start().await;
    for stays in [
        Script::error(400, "no"),
        Script::error(500, "no"),
        Script::steps([Step::Reset]),
    ] {
        rig.first.next(stays);
        assert_ne!(rig.call().await.status(), 200);
    }
    assert_eq!(rig.seen(), (3, 0));
    rig.finish().await;
}

/// Streams count by how they end, however that shows; the caller keeps what was answered.
#[tokio::test]
async fn whoever_breaks_streams_is_asked_after_its_twin() {
    let with_error = [
        r#"data: {"choices":[{"index":0,"delta":{"content":"x"}}]}"#,
        r#"data: {"error":{"message":"CUDA error","type":"server_error"}}"#,
        "data: [DONE]",
    ];
    for broken in [
        Script::completion().break_after(1, Break::Fin),
        Script::completion().break_after(1, Break::BadChunk),
        Script::events(with_error.map(|line| format!("{line}\n\n"))),
        Script::events([format!("{}\n\n", with_error[0])]),
    ] {
        let rig = Rig::start().await;
        rig.first.otherwise(broken);
        let stream = rig.gateway.chat_stream("m");
        for _ in 0..5 {
            let answer = rig.gateway.call(&stream).await;
            assert_eq!(answer.status(), 200);
            let row = rig.gateway.row_of(&answer).await;
            assert_eq!(&*row.outcome, "upstream_error", "{}", answer.text());
        }
        assert_eq!(rig.seen(), (5, 0));
        let answer = rig.gateway.call(&stream).await;
        assert!(answer.text().ends_with("data: [DONE]\n\n"));
        assert_eq!(rig.seen(), (5, 1));
        rig.finish().await;
    }
}

#[tokio::test]
async fn one_that_cannot_be_reached_is_left_alone_too() {
    let rig = Rig::start().await;
    rig.first.refuse().await;
    for (wait, attempts) in [(0, 2), (0, 1), (1, 2), (1, 1), (1, 2)] {
        rig.clock.advance(Duration::from_secs(wait));
        let answer = rig.call().await;
        assert_eq!(answer.status(), 200);
        assert_eq!(rig.gateway.row_of(&answer).await.attempts, attempts);
    }
    rig.finish().await;
}

#[tokio::test]
async fn without_a_retry_left_the_answer_is_the_backend_s() {
    let rig = Rig::start_with("[upstream]\nretry_budget_percent = 0").await;
    let gate = Gate::closed();
    rig.first
        .otherwise(Script::error(429, "no").gate_head(&gate));
    let calls = join_all((0..40).map(async |_| rig.call().await.status()));
    let opening = async {
        gate.reached(40).await;
        gate.open();
    };
    let (statuses, ()) = tokio::join!(calls, opening);
    let moved = statuses.iter().filter(|status| **status == 200).count();
    // Ten a second are always allowed, and the clock stands still.
    assert_eq!((moved, rig.seen()), (10, (40, 10)));
    rig.finish().await;
}

#[tokio::test]
async fn a_full_endpoint_is_passed_over_until_it_has_room() {
    let (first, second) = (FakeBackend::start().await, FakeBackend::start().await);
    let replica = |slug, backend, priority| {
        replica(slug, backend, priority).config("max_in_flight", json!(1))
    };
    let site = Site::new()
        .endpoint(replica("first", &first, 0))
        .endpoint(replica("second", &second, 1))
        .settings("[limits]\nqueue_timeout = \"0\"");
    let gateway = TestGateway::start(site).await;
    let (of_first, of_second) = (Gate::closed(), Gate::closed());
    first.next(Script::completion().gate_head(&of_first));
    second.next(Script::completion().gate_head(&of_second));
    let call = || async { gateway.call(&gateway.chat("m")).await };
    let place = async |answer: &Answer| gateway.row_of(answer).await.endpoint_slug;

    let best = async {
        let held = place(&call().await).await;
        let after = place(&call().await).await;
        of_second.open();
        (held, after)
    };
    let next = async {
        of_first.reached(1).await;
        place(&call().await).await
    };
    let refused = async {
        of_second.reached(1).await;
        let refused = call().await;
        of_first.open();
        refused.status()
    };
    let ((held, after), next, refused) = tokio::join!(best, next, refused);
    assert_eq!(
        (&*held, &*next, refused, &*after),
        ("first", "second", 503, "first")
    );
    gateway.finish(&[&first, &second]).await;
}

#[tokio::test]
async fn a_response_is_continued_where_it_was_made_or_not_at_all() {
    let (first, second) = (FakeBackend::start().await, FakeBackend::start().await);
    let site = Site::new()
        .endpoint(replica("first", &first, 0))
        .endpoint(replica("second", &second, 1));
    let gateway = TestGateway::start(site).await;
    let made = gateway
        .call(&gateway.request("responses", "m", &json!({"input": "hi"})))
        .await;
    assert_eq!(made.status(), 200, "{}", made.text());
    first.otherwise(Script::error(429, "busy"));
    let id = made.json()["id"].clone();
    let next = json!({"input": "on", "previous_response_id": id});
    let next = gateway
        .call(&gateway.request("responses", "m", &next))
        .await;
    assert_eq!(next.status(), 429);
    assert_eq!((first.records().len(), second.records().len()), (2, 0));
    gateway.finish(&[&first, &second]).await;
}

/// One endpoint, and enough time to wait for it.
async fn patient(settings: &str) -> (FakeBackend, TestGateway) {
    let backend = FakeBackend::start().await;
    let site = Site::new()
        .model("m", &backend)
        .settings("[limits]\nqueue_timeout = \"15s\"")
        .settings(settings);
    (backend, TestGateway::start(site).await)
}

#[tokio::test]
async fn where_none_is_left_the_one_that_is_back_soon_is_waited_for() {
    let (backend, gateway) = patient("").await;
    backend.next(Script::error(503, "no").header("retry-after-ms", "40"));
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let waited = answer.header("x-ostia-queue-ms").unwrap();
    assert!(waited.parse::<u64>().unwrap() >= 40);
    let row = gateway.row_of(&answer).await;
    assert_eq!((row.attempts, &*row.outcome), (2, "ok"));
    assert!(row.queue_ms >= 40);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn where_the_wait_is_too_long_the_answer_is_the_backend_s() {
    let (backend, gateway) = patient("").await;
    backend.otherwise(Script::error(503, "no").header("retry-after", "16"));
    for seen in 1..=3 {
        let answer = gateway.call(&gateway.chat("m")).await;
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.header("retry-after"), Some("16"));
        assert_eq!(answer.header("x-ostia-queue-ms"), None);
        assert_eq!(backend.records().len(), seen);
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn who_comes_while_it_is_away_waits_and_one_of_them_finds_out() {
    let (backend, gateway) = patient("").await;
    backend.sequence(
        "m",
        [Script::error(429, "no").header("retry-after-ms", "300")],
    );
    let chat = gateway.chat("m");
    let first = gateway.call(&chat);
    let others = async {
        backend.ended(1).await;
        join_all((0..8).map(async |_| gateway.call(&gateway.chat("m")).await)).await
    };
    let (first, others) = tokio::join!(first, others);
    for answer in others.iter().chain([&first]) {
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }
    // None of them was turned away: each was sent once, and the first one twice.
    assert_eq!(backend.records().len(), 10);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_hang_up_while_it_waits_leaves_one_row() {
    let (backend, gateway) = patient("").await;
    backend.otherwise(Script::error(503, "no").header("retry-after", "9"));
    let mut client = gateway.client().await;
    client.send(gateway.chat("m").bytes()).await;
    backend.ended(1).await;
    client.hang_up(HangUp::Fin).await;
    let rows = within(|| "the row".to_owned(), async {
        loop {
            let rows = gateway.rows().await;
            if !rows.is_empty() {
                return rows;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(
        (&*rows[0].outcome, &*rows[0].phase, rows[0].attempts),
        ("client_closed", "queued", 1)
    );
    gateway.finish(&[&backend]).await;
}

fn stand_in_site(first: &FakeBackend, second: &FakeBackend) -> Site {
    let large = Endpoint::of("large", first)
        .field("endpoint_slug", json!("large"))
        .config("fallback_models", json!(["secret", "small"]));
    let small = Endpoint::of("small", second)
        .field("endpoint_slug", json!("small"))
        .config("upstream_model", json!("small-8b"));
    let secret = Endpoint::of("secret", second)
        .field("endpoint_slug", json!("secret"))
        .field("allowed_domains", json!(["elsewhere.org"]));
    Site::new().endpoint(large).endpoint(small).endpoint(secret)
}

#[tokio::test]
async fn a_stand_in_answers_where_the_catalog_says_so_and_the_answer_names_it() {
    let (large, small) = (FakeBackend::start().await, FakeBackend::start().await);
    let gateway = TestGateway::start(stand_in_site(&large, &small)).await;
    let answer = gateway.call(&gateway.chat("large")).await;
    assert_eq!(answer.header("x-ostia-served-model"), None);
    large.otherwise(Script::error(503, "down").header("retry-after", "60"));
    for (attempts, seen) in [(2, 2), (1, 2)] {
        let answer = gateway.call(&gateway.chat("large")).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        assert_eq!(answer.header("x-ostia-served-model"), Some("small"));
        let row = gateway.row_of(&answer).await;
        assert_eq!(
            (row.attempts, &*row.model, &*row.endpoint_slug),
            (attempts, "large", "small")
        );
        assert_eq!(large.records().len(), seen);
    }
    for record in small.records() {
        let body: Value = serde_json::from_slice(&record.received.body).unwrap();
        assert_eq!(body["model"], "small-8b");
    }
    gateway.finish(&[&large, &small]).await;
}

/// A model under maintenance, however it came to be so, is stood in for as one that does not answer.
#[tokio::test]
async fn a_stand_in_answers_while_the_model_is_under_maintenance() {
    let (large, small) = (FakeBackend::start().await, FakeBackend::start().await);
    let gateway = TestGateway::start(stand_in_site(&large, &small)).await;
    let store = gateway.site().store().await;
    let until = async |status: u16, served: Option<&str>| {
        let look = async || {
            let answer = gateway.call(&gateway.chat("large")).await;
            let is_it = answer.header("x-ostia-served-model") == served;
            (answer.status() == status && is_it).then_some(answer)
        };
        patience::until(|| format!("{status} from {served:?}"), look).await
    };
    let [of_large, of_small] = ["large", "small"].map(|name| NoticeScope::Model(name.to_owned()));
    store.set_notice(&notice(&of_large)).await.unwrap();
    let answer = until(200, Some("small")).await;
    let row = gateway.row_of(&answer).await;
    assert_eq!(
        (
            row.attempts,
            &*row.model,
            &*row.endpoint_slug,
            &*row.served_model
        ),
        (1, "large", "small", "small")
    );
    let seen = large.records().len();
    store.set_notice(&notice(&of_small)).await.unwrap();
    let answer = until(503, None).await;
    assert_eq!(
        answer.error_code().as_deref(),
        Some("cluster_under_maintenance")
    );
    store.clear_notice(&of_large).await.unwrap();
    until(200, None).await;
    assert!(large.records().len() > seen);
    store.set_notice(&notice(&NoticeScope::All)).await.unwrap();
    until(503, None).await;
    gateway.finish(&[&large, &small]).await;
}

/// A model on site, and the same one at an external provider.
async fn both_sides(settings: &str, fallback: bool) -> (FakeBackend, FakeBackend, TestGateway) {
    let (here, there) = (FakeBackend::start().await, FakeBackend::start().await);
    let external = match fallback {
        true => "provider",
        false => "m",
    };
    let site = Site::new()
        .endpoint(
            Endpoint::of("m", &here)
                .field("endpoint_slug", json!("here"))
                .config("fallback_models", json!(["provider"])),
        )
        .endpoint(
            Endpoint::of(external, &there)
                .on("cloud", "api")
                .field("endpoint_slug", json!("there"))
                .config("location", json!("external")),
        )
        .settings(settings);
    let gateway = TestGateway::start(site).await;
    (here, there, gateway)
}

fn everywhere(key: &str) -> Request {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    Request::post("/v1/chat/completions")
        .bearer(key)
        .json(&body)
}

#[tokio::test]
async fn prompts_stay_on_site_unless_the_group_or_project_may_leave() {
    let allowed = "[limits.group.\"out\"]\nallow_external = true\n[limits.project.\"p\"]\nallow_external = true";
    for fallback in [false, true] {
        let (here, there, gateway) = both_sides(allowed, fallback).await;
        here.otherwise(Script::error(503, "down").header("retry-after", "60"));
        let stays = gateway.key_for("a@example.org", &["in"]).await;
        for _ in 0..3 {
            let answer = gateway.call(&everywhere(&stays)).await;
            assert_eq!(answer.status(), 503);
        }
        assert_eq!(there.records().len(), 0);
        for leaves in [
            gateway.key_for("b@example.org", &["in", "out"]).await,
            gateway.key_in("c@example.org", &[], "p").await,
        ] {
            let answer = gateway.call(&everywhere(&leaves)).await;
            assert_eq!(answer.status(), 200, "{}", answer.text());
            assert_eq!(gateway.row_of(&answer).await.endpoint_slug, "there");
        }
        gateway.finish(&[&here, &there]).await;
    }
}

#[tokio::test]
async fn a_model_that_runs_elsewhere_only_is_served_and_so_is_a_path_that_names_it() {
    let (here, there, gateway) = both_sides("", false).await;
    let key = gateway.key_for("a@example.org", &[]).await;
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    let named = Request::post("/cloud/api/v1/chat/completions")
        .bearer(&key)
        .json(&body);
    assert_eq!(gateway.call(&named).await.status(), 200);
    assert_eq!((here.records().len(), there.records().len()), (0, 1));
    gateway.finish(&[&here, &there]).await;
}

#[tokio::test]
async fn r63_a_backend_that_never_answers_costs_others_nothing() {
    let (silent, well) = (FakeBackend::start().await, FakeBackend::start().await);
    silent.otherwise(Script::steps([Step::Silence]));
    let site = Site::new().model("a", &silent).model("b", &well);
    let gateway = TestGateway::start(site).await;
    let mut held = Vec::new();
    let chat = gateway.chat("a").bytes();
    for _ in 0..512 {
        let mut client = gateway.client().await;
        client.send(&chat).await;
        held.push(client);
    }
    silent.requests(512).await;
    let refused = gateway.call(&gateway.chat("a")).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.error_code().as_deref(), Some("queue_full"));
    for _ in 0..20 {
        assert_eq!(gateway.call(&gateway.chat("b")).await.status(), 200);
    }
    // Once a client hangs up, there is room again.
    let leaver = held.pop().unwrap();
    leaver.hang_up(HangUp::Fin).await;
    silent.aborts(1).await;
    silent.next(Script::completion());
    within(|| "room".to_owned(), async {
        while gateway.call(&gateway.chat("a")).await.status() != 200 {}
    })
    .await;
    drop(held);
    gateway.finish(&[&silent, &well]).await;
}
