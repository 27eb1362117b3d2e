use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use serde_json::json;

use super::*;
use crate::identify::Introspection;

/// Knows tokens that begin with `good`; each is its own user.
fn by_token(request: &WebRequest) -> Result<WebAnswer, WebFault> {
    let token = field(request, "token").unwrap();
    match token.starts_with("good") {
        true => answer(
            200,
            &json!({"active": true, "sub": format!("{:x}", crc(&token)), "username": "ann", "exp": NOW + 300, "aud": "ostia", "scope": "inference"}),
        ),
        false => answer(200, &json!({"active": false})),
    }
}

fn crc(token: &str) -> u32 {
    crc32c::crc32c(token.as_bytes())
}

fn barred(answer: &Result<Arc<Identity>, SignInError>) -> bool {
    matches!(answer, Err(SignInError::TooManyFailures(_)))
}

fn down(_: &WebRequest) -> Result<WebAnswer, WebFault> {
    Err(WebFault::Unreachable("refused".to_owned()))
}

fn rig() -> (Arc<FakeWeb>, Arc<ManualClock>, Identify) {
    let (web, clock) = (FakeWeb::new(by_token), clock());
    let provider = Introspection::new(
        &settings(),
        Vec::new(),
        Arc::clone(&web) as _,
        Arc::clone(&clock) as _,
    )
    .unwrap();
    let door = door(provider, &clock);
    (web, clock, door)
}

async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// R22: the whole credential counts.
#[tokio::test]
async fn tokens_that_begin_alike_are_different_users() {
    let (web, _, door) = rig();
    for shared in [20, 64, 500] {
        let prefix = format!("good{}", "x".repeat(shared));
        let (ann, bob) = (format!("{prefix}a"), format!("{prefix}b"));
        let turns = (0..1_000).map(|turn| {
            let token = if turn % 2 == 0 { &ann } else { &bob };
            let door = &door;
            async move {
                let user = sign_in(door, token).await.unwrap();
                assert_eq!(
                    *user.user_id,
                    format!("https://idp.example/introspect#{:x}", crc(token))
                );
            }
        });
        join_all(turns).await;
    }
    assert_eq!(web.count(), 6);
    assert_eq!(sign_in(&door, "bad-x").await, Err(SignInError::InvalidKey));
}

/// R23: one question for many, and a cap on the questions.
#[tokio::test]
async fn many_first_uses_ask_once_and_many_tokens_wait_their_turn() {
    let (web, _, door) = rig();
    web.hold();
    let all = join_all((0..500).map(|_| sign_in(&door, "good")));
    let (users, ()) = tokio::join!(all, async {
        settle().await;
        web.release();
    });
    assert!(users.iter().all(Result::is_ok));
    assert_eq!(web.count(), 1);

    let tokens: Vec<_> = (0..500).map(|n| format!("good{n}")).collect();
    let users = join_all(tokens.iter().map(|token| sign_in(&door, token))).await;
    assert!(users.iter().all(Result::is_ok));
    assert_eq!(web.count(), 501);
    assert!(web.most_running.load(Ordering::SeqCst) <= 32);
}

#[tokio::test]
async fn one_failure_is_everybodys_failure() {
    let (web, _, door) = rig();
    web.now(down);
    let all = join_all((0..100).map(|_| sign_in(&door, "good"))).await;
    assert!(
        all.iter()
            .all(|one| *one == Err(SignInError::IdentityUnavailable))
    );
    assert_eq!(web.count(), 1);
}

/// R71: an outage is nobody's denial.
#[tokio::test]
async fn cached_users_outlast_an_outage_and_the_first_call_after_it_succeeds() {
    let (web, clock, door) = rig();
    assert!(sign_in(&door, "good1").await.is_ok());
    web.now(down);
    clock.advance(Duration::from_secs(59));
    assert!(sign_in(&door, "good1").await.is_ok());
    settle().await;
    clock.advance(Duration::from_millis(999));
    assert!(sign_in(&door, "good1").await.is_ok());
    settle().await;
    clock.advance(Duration::from_secs(1));
    assert_eq!(
        sign_in(&door, "good1").await,
        Err(SignInError::IdentityUnavailable)
    );
    assert_eq!(
        sign_in(&door, "good2").await,
        Err(SignInError::IdentityUnavailable)
    );
    web.now(by_token);
    assert!(sign_in(&door, "good1").await.is_ok());
    assert!(sign_in(&door, "good2").await.is_ok());
}

/// Whoever asks first waits for a while, nobody after that. The first answer counts again at once.
#[tokio::test]
async fn a_source_that_hangs_holds_up_cached_users_once() {
    let (web, clock, door) = rig();
    let door = door.with_max_stale(Duration::from_secs(3_600));
    assert!(sign_in(&door, "good1").await.is_ok());
    web.hold();
    clock.advance(Duration::from_secs(61));
    assert!(sign_in(&door, "good1").await.is_ok());
    for _ in 0..10 {
        clock.advance(Duration::from_secs(1));
        let at_once = sign_in(&door, "good1").now_or_never();
        assert!(matches!(at_once, Some(Ok(_))), "{at_once:?}");
    }
    assert_eq!(web.count(), 2, "the query that hangs is not repeated");
    web.now(|_| answer(200, &json!({"active": false})));
    web.release();
    settle().await;
    assert_eq!(sign_in(&door, "good1").await, Err(SignInError::InvalidKey));
}

/// `auth.max_stale`, to the second.
#[tokio::test]
async fn while_their_source_is_away_cached_users_go_on_for_as_long_as_is_set() {
    let (web, clock, door) = rig();
    let door = door.with_max_stale(Duration::from_secs(200));
    assert!(sign_in(&door, "good1").await.is_ok());
    web.now(down);
    for _ in 0..200 {
        assert!(sign_in(&door, "good1").await.is_ok());
        settle().await;
        clock.advance(Duration::from_secs(1));
    }
    for token in ["good1", "good2"] {
        let refused = sign_in(&door, token).await;
        assert_eq!(refused, Err(SignInError::IdentityUnavailable), "{token}");
    }
    web.now(by_token);
    // After so many failures it is asked again only after a rest.
    clock.advance(Duration::from_secs(1));
    assert_eq!(sign_in(&door, "good1").await.map(drop), Ok(()));
}

#[tokio::test]
async fn no_outage_makes_a_token_outlive_its_end() {
    let (web, clock, door) = rig();
    let door = door.with_max_stale(Duration::from_secs(3600));
    assert!(sign_in(&door, "good1").await.is_ok());
    web.now(down);
    clock.advance(Duration::from_secs(400));
    assert!(sign_in(&door, "good1").await.is_err());
}

/// R72: a provider that fails is left alone but for one question.
#[tokio::test]
async fn an_open_breaker_lets_one_probe_through() {
    let (web, clock, door) = rig();
    web.now(down);
    for n in 0..50 {
        assert_eq!(
            sign_in(&door, &format!("good{n}")).await,
            Err(SignInError::IdentityUnavailable)
        );
    }
    assert_eq!(web.count(), 5);
    clock.advance(Duration::from_millis(500));
    web.now(by_token);
    web.hold();
    let tokens: Vec<_> = (0..100).map(|n| format!("good{n}")).collect();
    let all = join_all(tokens.iter().map(|token| sign_in(&door, token)));
    let (answers, ()) = tokio::join!(all, async {
        settle().await;
        assert_eq!(web.count(), 6);
        web.release();
    });
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert!(sign_in(&door, "good99").await.is_ok());
}

/// R24: a revoked token is refused within the time an answer is believed, and at once after a purge.
#[tokio::test]
async fn revocation_shows_within_a_minute_or_at_once() {
    let (web, clock, door) = rig();
    assert!(sign_in(&door, "good").await.is_ok());
    web.now(|_| answer(200, &json!({"active": false})));
    clock.advance(Duration::from_secs(44));
    assert!(sign_in(&door, "good").await.is_ok());
    assert_eq!(web.count(), 1);
    // From three quarters on it is asked beside the request, so whoever uses a token all the time never waits.
    clock.advance(Duration::from_secs(1));
    assert!(sign_in(&door, "good").await.is_ok());
    settle().await;
    assert_eq!(sign_in(&door, "good").await, Err(SignInError::InvalidKey));
    assert_eq!(web.count(), 2);

    let (web, _, door) = rig();
    assert!(sign_in(&door, "good").await.is_ok());
    web.now(|_| answer(200, &json!({"active": false})));
    door.purge();
    assert_eq!(sign_in(&door, "good").await, Err(SignInError::InvalidKey));
}

#[tokio::test]
async fn an_answer_from_before_a_purge_is_not_kept() {
    let (web, _, door) = rig();
    web.hold();
    let asked = sign_in(&door, "good");
    let (asked, ()) = tokio::join!(asked, async {
        settle().await;
        door.purge();
        web.release();
    });
    assert!(asked.is_ok());
    web.now(|_| answer(200, &json!({"active": false})));
    assert_eq!(sign_in(&door, "good").await, Err(SignInError::InvalidKey));
}

#[tokio::test]
async fn nothing_is_believed_beyond_its_expiry() {
    let (_, clock, door) = rig();
    clock.advance(Duration::from_secs(290));
    assert!(sign_in(&door, "good").await.is_ok());
    clock.advance(Duration::from_secs(9));
    assert!(sign_in(&door, "good").await.is_ok());
    clock.advance(Duration::from_secs(1));
    assert_eq!(sign_in(&door, "good").await, Err(SignInError::Expired));
}

/// R26: who guesses is stopped before the provider, and hurts nobody else.
#[tokio::test]
async fn guesses_stop_at_the_door_and_evict_nothing() {
    let (web, clock, door) = rig();
    assert!(sign_in(&door, "good").await.is_ok());
    let mut barred = 0;
    for n in 0..200 {
        match sign_in(&door, &format!("bad{n}")).await {
            Err(SignInError::InvalidKey) => assert_eq!(barred, 0),
            Err(SignInError::TooManyFailures(wait)) => {
                assert!(wait <= Duration::from_secs(60));
                barred += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((web.count(), barred), (31, 170));
    // Cached users of the same address go on; new ones of another address come in; the address recovers.
    assert!(sign_in(&door, "good").await.is_ok());
    assert!(
        door.identify(&head("good2"), from("192.0.2.2"))
            .await
            .is_ok()
    );
    assert!(matches!(
        sign_in(&door, "good3").await,
        Err(SignInError::TooManyFailures(_))
    ));
    clock.advance(Duration::from_secs(60));
    assert!(sign_in(&door, "good3").await.is_ok());
    // R25: every failure is counted.
    let failures: u64 = door.failures().map(|(_, count)| count).sum();
    assert_eq!(failures, 201);
}

/// What others at the address do bars nobody whose credential was good when it was last asked about, however long ago.
#[tokio::test]
async fn guesses_do_not_bar_who_was_let_in_before() {
    let (web, clock, door) = rig();
    assert!(sign_in(&door, "good").await.is_ok());
    clock.advance(Duration::from_secs(3_000));
    web.now(|request| match field(request, "token").as_deref() {
        Some("good") => answer(
            200,
            &json!({"active": true, "sub": "ann", "username": "ann", "exp": NOW + 9_000, "aud": "ostia", "scope": "inference"}),
        ),
        _ => answer(200, &json!({"active": false})),
    });
    for n in 0..31 {
        sign_in(&door, &format!("bad{n}")).await.unwrap_err();
    }
    assert!(barred(&sign_in(&door, "good2").await));
    assert!(sign_in(&door, "good").await.is_ok());
}

/// Five programs that go on with tokens that are no longer good are five guesses, not thirty a minute.
#[tokio::test]
async fn old_tokens_in_loops_bar_only_themselves() {
    for (token, said) in [
        ("old", json!({"active": false})),
        (
            "expired",
            json!({"active": true, "sub": "ann", "exp": NOW - 60, "aud": "ostia", "scope": "inference"}),
        ),
    ] {
        let (web, clock, door) = rig();
        web.now(move |request| match field(request, "token").as_deref() {
            Some("good") => by_token(request),
            _ => answer(200, &said),
        });
        for round in 0..6 {
            if round > 0 {
                clock.advance(Duration::from_secs(10));
            }
            for n in 0..5 {
                sign_in(&door, &format!("{token}{n}")).await.unwrap_err();
            }
            assert_eq!(web.count(), 5 * (round + 1), "{token}");
        }
        assert!(sign_in(&door, "good").await.is_ok(), "{token}");
    }
}

/// Nobody guesses a token that was good once.
#[tokio::test]
async fn expired_tokens_bar_only_themselves() {
    let (_, clock, door) = rig();
    clock.jump_wall(301_000_000);
    for n in 0..31 {
        let told = sign_in(&door, &format!("good{n}")).await;
        assert_eq!(told, Err(SignInError::Expired));
    }
    clock.jump_wall(-301_000_000);
    assert!(sign_in(&door, "good").await.is_ok());
}

/// A credential of no provider's shape is a guess too, and one guess however often it is shown.
#[tokio::test]
async fn a_key_of_another_service_in_a_loop_bars_only_itself() {
    let (web, _, door) = rig();
    for _ in 0..40 {
        sign_in(&door, "what=is=this").await.unwrap_err();
    }
    assert!(sign_in(&door, "good").await.is_ok());
    for n in 0..31 {
        sign_in(&door, &format!("what=is={n}")).await.unwrap_err();
    }
    assert!(barred(&sign_in(&door, "good2").await));
    assert_eq!(web.count(), 1);
}

/// R26: many guesses at once are no more than many in a row, and hanging up is no way around the count.
#[tokio::test]
async fn guesses_at_once_and_guesses_without_waiting_are_counted_too() {
    let (web, _, door) = rig();
    let tokens: Vec<_> = (0..500).map(|n| format!("bad{n}")).collect();
    let answers = join_all(tokens.iter().map(|token| sign_in(&door, token))).await;
    let told = |error: &SignInError| {
        answers
            .iter()
            .filter(|one| one.as_ref() == Err(error))
            .count()
    };
    assert_eq!((told(&SignInError::InvalidKey), web.count()), (30, 30));
    assert_eq!(answers.iter().filter(|one| barred(one)).count(), 470);

    let (web, _, door) = rig();
    web.hold();
    for token in &tokens {
        let asked = sign_in(&door, token);
        tokio::pin!(asked);
        let begin = |cx: &mut Context<'_>| Poll::Ready(asked.as_mut().poll(cx).is_ready());
        std::future::poll_fn(begin).await;
    }
    web.release();
    settle().await;
    assert_eq!(web.count(), 30);
    assert!(barred(&sign_in(&door, "good").await));
    assert_eq!(web.count(), 30);
}

/// Somebody's expired token in a program with many workers is one guess, not one a worker.
#[tokio::test]
async fn one_bad_token_many_times_at_once_is_one_guess() {
    let (web, _, door) = rig();
    let all = join_all((0..500).map(|_| sign_in(&door, "bad"))).await;
    assert!(all.iter().all(|one| *one == Err(SignInError::InvalidKey)));
    assert!(sign_in(&door, "good").await.is_ok());
    assert_eq!(web.count(), 2);
}

/// Good credentials that are new take turns and are not turned away, however many come from one address.
#[tokio::test]
async fn a_class_that_signs_in_at_once_is_no_flood() {
    let (web, _, door) = rig();
    for n in 0..29 {
        sign_in(&door, &format!("bad{n}")).await.unwrap_err();
    }
    let tokens: Vec<_> = (0..200).map(|n| format!("good{n}")).collect();
    let users = join_all(tokens.iter().map(|token| sign_in(&door, token))).await;
    assert!(users.iter().all(Result::is_ok));
    assert_eq!(web.most_running.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_bad_token_in_a_loop_is_asked_about_once_in_a_while() {
    let (web, clock, door) = rig();
    for _ in 0..10 {
        assert_eq!(sign_in(&door, "bad").await, Err(SignInError::InvalidKey));
    }
    assert_eq!(web.count(), 1);
    clock.advance(Duration::from_secs(10));
    assert_eq!(sign_in(&door, "bad").await, Err(SignInError::InvalidKey));
    assert_eq!(web.count(), 2);
    // Told to slow down in the end, while others of the address still sign in.
    for _ in 0..40 {
        sign_in(&door, "bad").await.unwrap_err();
    }
    assert!(matches!(
        sign_in(&door, "bad").await,
        Err(SignInError::TooManyFailures(_))
    ));
    assert!(sign_in(&door, "good").await.is_ok());
    assert_eq!(web.count(), 3);
}

#[tokio::test]
async fn a_token_that_becomes_active_again_is_let_in() {
    let (web, clock, door) = rig();
    web.now(|_| answer(200, &json!({"active": false})));
    assert_eq!(sign_in(&door, "good").await, Err(SignInError::InvalidKey));
    web.now(by_token);
    assert_eq!(sign_in(&door, "good").await, Err(SignInError::InvalidKey));
    clock.advance(Duration::from_secs(10));
    assert!(sign_in(&door, "good").await.is_ok());
}

/// Lifetimes go by the monotonic clock, expiry by the wall's: a jump of the wall prolongs nothing and locks nobody out.
#[tokio::test]
async fn clock_jumps_prolong_nothing() {
    let (web, clock, door) = rig();
    assert!(sign_in(&door, "good").await.is_ok());
    clock.jump_wall(-3_600_000_000);
    clock.advance(Duration::from_secs(60));
    web.now(|_| answer(200, &json!({"active": false})));
    assert_eq!(sign_in(&door, "good").await, Err(SignInError::InvalidKey));
    web.now(by_token);
    clock.advance(Duration::from_secs(10));
    assert!(sign_in(&door, "good").await.is_ok());
    clock.jump_wall(7_200_000_000);
    assert_eq!(sign_in(&door, "good").await, Err(SignInError::Expired));
}

/// A caller that leaves does not lose the answer for the others.
#[tokio::test]
async fn a_caller_that_leaves_stops_nothing() {
    let (web, _, door) = rig();
    web.hold();
    {
        let asked = sign_in(&door, "good");
        tokio::pin!(asked);
        let pending = |cx: &mut Context<'_>| Poll::Ready(asked.as_mut().poll(cx).is_pending());
        assert!(std::future::poll_fn(pending).await);
        settle().await;
    }
    web.release();
    settle().await;
    web.now(down);
    assert!(sign_in(&door, "good").await.is_ok());
    assert_eq!(web.count(), 1);
}
