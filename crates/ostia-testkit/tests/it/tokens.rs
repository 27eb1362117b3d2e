//! Tokens per minute: reserved before, settled after, and exact in between (R39, R40, R41).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use ostia_core::ManualClock;
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{Answer, Request};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway, gauges};
use serde_json::json;

use crate::rate::{clock, duration};

async fn rig(limit: &str, tokens: u64) -> (FakeBackend, TestGateway, Arc<ManualClock>) {
    let backend = FakeBackend::start().await;
    let clock = clock();
    let endpoint = Endpoint::of("m", &backend).field(limit, json!(tokens));
    let gateway =
        TestGateway::start_at(Site::new().endpoint(endpoint), Arc::clone(&clock) as _).await;
    (backend, gateway, clock)
}

/// A prompt of 50 tokens by the estimate of four bytes each (`user` is one), and at most 100 more in the answer.
fn costs_150(gateway: &TestGateway) -> Request {
    let messages = json!([{"role": "user", "content": "x".repeat(196)}]);
    gateway.request(
        "chat/completions",
        "m",
        &json!({"messages": messages, "max_tokens": 100}),
    )
}

fn left(answer: &Answer) -> u64 {
    answer
        .header("x-ratelimit-remaining-tokens")
        .unwrap()
        .parse()
        .unwrap()
}

async fn burst(gateway: &TestGateway, count: usize) -> Vec<Answer> {
    let request = costs_150(gateway);
    join_all((0..count).map(async |_| gateway.call(&request).await)).await
}

fn count(answers: &[Answer], status: u16) -> usize {
    answers
        .iter()
        .filter(|answer| answer.status() == status)
        .count()
}

/// Of 50 at once, as many are admitted as fit. What they did not use is free at once, to the token.
#[tokio::test]
async fn reservations_never_exceed_the_limit_and_settling_frees_the_exact_rest() {
    for (limit, tokens, first, second) in [
        ("tpm_user", 1_000, 6, 5),
        ("tpm_model", 1_000, 6, 5),
        ("tpm_user", 1_650, 11, 9),
    ] {
        let (backend, gateway, _) = rig(limit, tokens).await;
        let gate = Gate::closed();
        backend.otherwise(Script::completion().prompt_tokens(17, 0).gate_head(&gate));
        // Admitted requests wait at the gate; the others are refused meanwhile.
        let answers = tokio::join!(burst(&gateway, 50), async {
            backend.requests(first).await;
            gate.reached(first).await;
            // All 50 have been decided once the ledger has the refusals.
            refused(&gateway, 50 - first).await;
            gate.open();
        })
        .0;
        assert_eq!(
            (count(&answers, 200), count(&answers, 429)),
            (first, 50 - first),
            "{limit} {tokens}"
        );
        assert_eq!(backend.records().len(), first);

        // Each used 20 tokens of its 150.
        let free = tokens - 20 * first as u64;
        assert_eq!(free / 150, second as u64);
        let gate = Gate::closed();
        backend.otherwise(Script::completion().prompt_tokens(17, 0).gate_head(&gate));
        let answers = tokio::join!(burst(&gateway, 50), async {
            gate.reached(second).await;
            refused(&gateway, 100 - first - second).await;
            gate.open();
        })
        .0;
        assert_eq!(count(&answers, 200), second, "{limit} {tokens}");
        let lowest = answers
            .iter()
            .filter(|answer| answer.status() == 200)
            .map(left)
            .min();
        assert_eq!(lowest, Some(free - 150 * second as u64), "{limit} {tokens}");
        gateway.finish(&[&backend]).await;
    }
}

/// Waits until `count` refusals are counted.
async fn refused(gateway: &TestGateway, count: usize) {
    // Ten per second have rows of their own, and the clock stands still.
    let folded = count as f64 - 10.0;
    let metric = "ostia_ledger_folded_rejections_total";
    gauges::reaches(gateway.admin_address(), metric, folded).await;
}

#[tokio::test]
async fn a_refusal_says_how_long_and_that_is_enough() {
    let (backend, gateway, clock) = rig("tpm_user", 1_000).await;
    backend.otherwise(Script::completion().prompt_tokens(147, 0));
    clock.advance(Duration::from_millis(7_777));
    // After the first answer, such a prompt is known to be 147 tokens, so 247 are reserved.
    for (used, reserves) in (0..).step_by(150).zip([150, 247, 247, 247, 247, 247]) {
        let answer = gateway.call(&costs_150(&gateway)).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        assert_eq!(answer.header("x-ratelimit-limit-tokens"), Some("1000"));
        assert_eq!(left(&answer), 1_000 - used - reserves);
        clock.advance(Duration::from_millis(2_500));
    }
    for round in 0..4 {
        let mut refused = gateway.call(&costs_150(&gateway)).await;
        while round > 0 && refused.status() == 200 {
            refused = gateway.call(&costs_150(&gateway)).await;
        }
        let body = refused.json();
        assert_eq!(
            (refused.status(), &body["error"]["code"]),
            (429, &json!("tokens")),
            "{body}"
        );
        let used = 1_000 - left(&refused);
        assert!(round > 0 || used == 900, "{used}");
        assert_eq!(body["error"]["info"]["user_model_usage"], used);
        let message = body["error"]["message"].as_str().unwrap();
        let used_up = format!("{used} are used");
        for part in ["1000 tokens a minute", used_up.as_str(), "seconds"] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(refused.header("x-should-retry"), None);
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        let reset = duration(refused.header("x-ratelimit-reset-tokens").unwrap());
        assert!(
            (1..=61).contains(&wait) && Duration::from_secs(wait) <= reset,
            "{wait} {reset:?}"
        );
        // One second less than the wait is not enough, the whole wait is. Later callers are told their turn, which may
        // come later.
        clock.advance(Duration::from_secs(wait - 1));
        if round == 0 {
            let early = gateway.call(&costs_150(&gateway)).await;
            assert_eq!(early.status(), 429, "{}", early.text());
        }
        clock.advance(Duration::from_secs(1));
        let answer = gateway.call(&costs_150(&gateway)).await;
        assert_eq!(answer.status(), 200, "round {round}: {}", answer.text());
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_request_larger_than_the_limit_is_served_and_owes_the_rest() {
    let (backend, gateway, clock) = rig("tpm_model", 1_000).await;
    backend.next(Script::completion().prompt_tokens(2_500, 0));
    let request = gateway.request("chat/completions", "m", &json!({"max_tokens": 5_000}));
    let answer = gateway.call(&request).await;
    assert_eq!((answer.status(), left(&answer)), (200, 0));
    clock.advance(Duration::from_secs(62));
    let refused = gateway.call(&costs_150(&gateway)).await;
    assert_eq!(refused.status(), 429);
    let message = refused.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(message.contains("more are owed"), "{message}");
    clock.advance(Duration::from_secs(125));
    assert_eq!(gateway.call(&costs_150(&gateway)).await.status(), 200);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn no_sliding_minute_holds_more_than_the_limit() {
    let (backend, gateway, clock) = rig("tpm_user", 1_000).await;
    backend.otherwise(Script::completion().prompt_tokens(147, 0));
    let mut client = gateway.client().await;
    let request = costs_150(&gateway);
    let mut admitted: Vec<Duration> = Vec::new();
    let mut now = Duration::ZERO;
    for step in [
        59_900, 200, 1_000, 10_000, 20_000, 28_700, 300, 1_000, 60_900, 150, 45_000, 16_000,
    ] {
        clock.advance(Duration::from_millis(step));
        now += Duration::from_millis(step);
        for _ in 0..4 {
            if client.call(&request).await.status() == 200 {
                admitted.push(now);
            }
        }
    }
    assert!(admitted.len() > 12, "{admitted:?}");
    for start in &admitted {
        let inside = admitted
            .iter()
            .filter(|at| (*start..*start + Duration::from_secs(60)).contains(*at))
            .count();
        assert!(
            inside * 150 <= 1_000,
            "{inside} within a minute of {start:?}"
        );
    }
    gateway.finish(&[&backend]).await;
}

/// A request that failed gives its tokens back, whatever the failure.
#[tokio::test]
async fn failures_give_their_tokens_back() {
    let (backend, gateway, _) = rig("tpm_user", 1_000).await;
    for script in [
        Script::reset(),
        Script::error(400, "no"),
        Script::error(500, "no"),
        Script::html(502),
        Script::empty(),
        Script::error(429, "no"),
    ] {
        backend.next(script);
        let answer = gateway.call(&costs_150(&gateway)).await;
        assert_ne!(answer.status(), 200);
    }
    let answer = gateway.call(&costs_150(&gateway)).await;
    assert_eq!(
        (answer.status(), left(&answer)),
        (200, 850),
        "{}",
        answer.text()
    );
    gateway.finish(&[&backend]).await;
}

/// An answer without a cap reserves a guess. A guess never causes a refusal: it takes the room there is, and gives back
/// what was not used.
#[tokio::test]
async fn a_request_without_a_cap_fits_into_a_limit_smaller_than_the_guess() {
    for limit in ["tpm_user", "tpm_model"] {
        let (backend, gateway, _) = rig(limit, 500).await;
        let gate = Gate::closed();
        backend.next(Script::completion().prompt_tokens(17, 0).gate_head(&gate));
        backend.otherwise(Script::completion().prompt_tokens(17, 0));
        let uncapped = json!({"max_tokens": null});
        let request = gateway.request("chat/completions", "m", &uncapped);
        let (first, second) = tokio::join!(gateway.call(&request), async {
            gate.reached(1).await;
            let second = gateway.call(&request).await;
            gate.open();
            second
        });
        assert_eq!((first.status(), left(&first)), (200, 0));
        assert_eq!(second.status(), 429, "all of it is reserved");
        assert_eq!(second.header("x-should-retry"), None);
        let (mut passed, mut answer) = (1, gateway.call(&request).await);
        while answer.status() == 200 {
            passed += 1;
            answer = gateway.call(&request).await;
        }
        assert!((20..=25).contains(&passed), "{passed} of 20 tokens each");
        gateway.finish(&[&backend]).await;
    }
}
