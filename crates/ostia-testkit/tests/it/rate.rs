//! Requests per second and user: exact under a burst, with the right wait, and free if refused (R37, R40, R41, R43).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use ostia_core::ManualClock;
use ostia_testkit::backend::FakeBackend;
use ostia_testkit::client::{Answer, Request};
use ostia_testkit::gateway::{Site, TestGateway};

use crate::ledger::table;

pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(1_700_000_000_000_000))
}

async fn rig(limits: &str) -> (FakeBackend, TestGateway, Arc<ManualClock>) {
    let backend = FakeBackend::start().await;
    let clock = clock();
    let site = Site::new()
        .model("m", &backend)
        .settings(&format!("[limits]\n{limits}"));
    let gateway = TestGateway::start_at(site, Arc::clone(&clock) as _).await;
    (backend, gateway, clock)
}

fn number(answer: &Answer, name: &str) -> u64 {
    let value = answer
        .header(name)
        .unwrap_or_else(|| panic!("no {name} in {:?}", answer.head));
    value.parse().unwrap_or_else(|_| panic!("{name}: {value}"))
}

/// `850ms`, `1s`, `6m0s`.
pub fn duration(spelt: &str) -> Duration {
    ostia::config::duration(spelt).unwrap()
}

#[tokio::test]
async fn of_a_thousand_at_once_exactly_a_hundred_are_let_in() {
    let (backend, gateway, _) = rig("requests_per_second_per_user = 100").await;
    // 200 connections with five requests each; the first ones arrive at the same time.
    let bytes = gateway.chat("m").bytes().repeat(5);
    let calls = join_all((0..200).map(async |_| {
        let mut client = gateway.client().await;
        client.send(&bytes).await;
        let mut statuses = Vec::new();
        for _ in 0..5 {
            statuses.push(client.answer().await.status());
        }
        statuses
    }));
    let statuses = calls.await.concat();
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(200), count(429)), (100, 900));
    assert_eq!(backend.records().len(), 100);
    let (_, site) = gateway.finish_keeping(&[&backend]).await;
    let rows = table(&site.database_path(), "ledger").await;
    let refused: i64 = rows
        .iter()
        .filter(|row| row["outcome"] == "rejected")
        .map(|row| row["count"].as_i64().unwrap())
        .sum();
    assert_eq!(
        (
            rows.iter().filter(|row| row["outcome"] == "ok").count(),
            refused
        ),
        (100, 900)
    );
}

#[tokio::test]
async fn a_refusal_says_how_long_and_that_is_enough() {
    let (backend, gateway, clock) = rig("requests_per_second_per_user = 3").await;
    clock.advance(Duration::from_millis(1_234));
    for round in 0..5 {
        for left in [2, 1, 0] {
            let answer = gateway.call(&gateway.chat("m")).await;
            assert_eq!(answer.status(), 200, "round {round}: {}", answer.text());
            assert_eq!(number(&answer, "x-ratelimit-limit-requests"), 3);
            assert_eq!(number(&answer, "x-ratelimit-remaining-requests"), left);
        }
        let refused = gateway.call(&gateway.chat("m")).await;
        let body = refused.json();
        assert_eq!(
            (
                refused.status(),
                &body["error"]["type"],
                &body["error"]["code"]
            ),
            (429, &"rate_limit_error".into(), &"requests".into())
        );
        assert_eq!(
            (
                number(&refused, "x-ratelimit-limit-requests"),
                number(&refused, "x-ratelimit-remaining-requests")
            ),
            (3, 0)
        );
        let wait = number(&refused, "retry-after");
        assert!((1..=120).contains(&wait), "{wait}");
        let reset = duration(refused.header("x-ratelimit-reset-requests").unwrap());
        assert!(
            reset <= Duration::from_secs(wait) + Duration::from_millis(50),
            "{reset:?} {wait}"
        );
        clock.advance(Duration::from_secs(wait));
        clock.advance(Duration::from_millis(13));
    }
    gateway.finish(&[&backend]).await;
}

/// Around the turn of a second no more than one second's worth is admitted.
#[tokio::test]
async fn no_sliding_second_holds_more_than_the_limit() {
    let (backend, gateway, clock) = rig("requests_per_second_per_user = 10").await;
    let mut client = gateway.client().await;
    let mut admitted: Vec<Duration> = Vec::new();
    let mut now = Duration::ZERO;
    for step in [990, 20, 100, 400, 300, 175, 5, 30, 45, 50, 900, 99, 1] {
        clock.advance(Duration::from_millis(step));
        now += Duration::from_millis(step);
        for _ in 0..6 {
            if client.call(&gateway.chat("m")).await.status() == 200 {
                admitted.push(now);
            }
        }
    }
    assert!(admitted.len() > 20, "{admitted:?}");
    for start in &admitted {
        let inside = admitted
            .iter()
            .filter(|at| (*start..*start + Duration::from_secs(1)).contains(*at))
            .count();
        assert!(inside <= 10, "{inside} within a second of {start:?}");
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn refusals_are_free() {
    let (backend, gateway, _) = rig("requests_per_second_per_user = 10\ntpm_user = 100000").await;
    let first = gateway.call(&gateway.chat("m")).await;
    assert_eq!(number(&first, "x-ratelimit-remaining-requests"), 9);
    let tokens = number(&first, "x-ratelimit-remaining-tokens");
    let greedy = serde_json::json!({"max_tokens": 200_000});
    let wrong = [
        (gateway.chat("m").without("authorization"), 401),
        (gateway.chat("m").body("{"), 400),
        (gateway.chat("absent"), 404),
        (
            gateway.chat("m").header("Content-Encoding", "compress"),
            415,
        ),
        (gateway.request("chat/completions", "m", &greedy), 429),
        (
            Request::get("/whoami").bearer(&gateway.site().secrets.client_bearer()),
            200,
        ),
    ];
    for _ in 0..3 {
        for (request, status) in &wrong {
            assert_eq!(gateway.call(request).await.status(), *status);
        }
    }
    let next = gateway.call(&gateway.chat("m")).await;
    assert_eq!(number(&next, "x-ratelimit-remaining-requests"), 8);
    // Only the first request's real usage (14 tokens) counts; a prompt estimated at 9 tokens is now known to be 11.
    assert_eq!(
        number(&next, "x-ratelimit-remaining-tokens"),
        tokens - 14 - 2
    );
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn zero_is_off_and_one_lets_one_in() {
    let (backend, gateway, _) = rig("requests_per_second_per_user = 0").await;
    for _ in 0..50 {
        let answer = gateway.call(&gateway.chat("m")).await;
        assert_eq!(answer.status(), 200);
        assert!(
            answer
                .head
                .fields
                .names()
                .iter()
                .all(|name| !name.starts_with("x-ratelimit"))
        );
    }
    gateway.finish(&[&backend]).await;

    let (backend, gateway, clock) = rig("requests_per_second_per_user = 1").await;
    let other = gateway.key_for("other@example.org", &[]).await;
    for _ in 0..3 {
        assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
        // The address that the request claims changes nothing.
        for hop in ["192.0.2.1", "192.0.2.2"] {
            assert_eq!(
                gateway
                    .call(&gateway.chat("m").header("X-Forwarded-For", hop))
                    .await
                    .status(),
                429
            );
        }
        let theirs = gateway.chat("m").without("authorization").bearer(&other);
        assert_eq!(
            gateway.call(&theirs).await.status(),
            200,
            "another user's limit is another's"
        );
        clock.advance(Duration::from_millis(1_050));
    }
    gateway.finish(&[&backend]).await;
}
