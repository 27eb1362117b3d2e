use std::sync::Arc;
use std::time::Duration;

use ostia_core::{
    Ask, Candidate, Cost, Denial, DenialReason, Grant, Limiter, ManualClock, Reserving, UserLimits,
};
use proptest::prelude::*;

use super::LocalLimiter;

struct Rig {
    clock: Arc<ManualClock>,
    limiter: LocalLimiter,
}

#[derive(Clone, Copy, Default)]
struct Limits {
    rate: u32,
    user_in_flight: u32,
    tpm_model: u64,
    tpm_user: u64,
    endpoint_in_flight: u32,
}

fn rig() -> Rig {
    let clock = Arc::new(ManualClock::at(0));
    Rig {
        limiter: LocalLimiter::new(clock.clone()),
        clock,
    }
}

impl Rig {
    fn ask(
        &self,
        user: &str,
        endpoints: &[&str],
        tokens: u64,
        limits: Limits,
    ) -> Result<Grant, Denial> {
        self.ask_more(user, endpoints, (tokens, 0), limits)
    }

    /// What is named and what is guessed.
    fn ask_more(
        &self,
        user: &str,
        endpoints: &[&str],
        (tokens, guessed): (u64, u64),
        limits: Limits,
    ) -> Result<Grant, Denial> {
        let user: Arc<str> = user.into();
        let names: Vec<Arc<str>> = endpoints.iter().map(|name| Arc::from(*name)).collect();
        let candidates: Vec<Candidate<'_>> = names
            .iter()
            .map(|endpoint| Candidate {
                endpoint,
                tpm_model: limits.tpm_model,
                tpm_user: limits.tpm_user,
                max_in_flight: limits.endpoint_in_flight,
            })
            .collect();
        let ask = Ask {
            user: &user,
            user_limits: Some(UserLimits {
                requests_per_second: limits.rate,
                max_in_flight: limits.user_in_flight,
            }),
            cost: Cost {
                named: tokens,
                guessed,
            },
            candidates: &candidates,
        };
        match self.limiter.reserve(&ask) {
            Reserving::Now(answer) => answer,
            Reserving::Later(_) => unreachable!("a local limiter answers at once"),
        }
    }

    fn give_back(&self, grant: Grant, used: u64, undo: bool) {
        self.limiter.settle(grant.endpoint, used);
        if let Some(hold) = grant.user {
            self.limiter.release_user(hold, undo);
        }
    }
}

fn reason(answer: Result<Grant, Denial>) -> DenialReason {
    answer.expect_err("a denial").reason
}

#[test]
fn a_guess_takes_the_room_there_is_and_refuses_nobody() {
    let rig = rig();
    let limits = Limits {
        tpm_user: 100,
        tpm_model: 80,
        ..Limits::default()
    };
    let first = rig.ask_more("u", &["e"], (10, 1_000), limits).unwrap();
    assert_eq!(first.endpoint.tokens, 80);
    let denied = rig.ask_more("u", &["e"], (10, 1_000), limits).unwrap_err();
    assert_eq!(denied.reason, DenialReason::Tokens);
    rig.limiter.settle(first.endpoint, 30);
    let second = rig.ask_more("u", &["e"], (10, 20), limits).unwrap();
    assert_eq!(second.endpoint.tokens, 30);
    let third = rig.ask_more("u", &["e"], (10, 20), limits).unwrap();
    assert_eq!(third.endpoint.tokens, 20);
    let none = rig.ask_more("u", &["e"], (10, u64::MAX), Limits::default());
    assert_eq!(none.unwrap().endpoint.tokens, u64::MAX);
}

#[test]
fn a_limit_of_a_hundred_admits_a_hundred_of_a_thousand_at_once() {
    let rig = rig();
    let limits = Limits {
        rate: 100,
        ..Limits::default()
    };
    let admitted = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..125 {
                    if let Ok(grant) = rig.ask("u", &["e"], 1, limits) {
                        rig.give_back(grant, 1, false);
                        admitted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 100);
}

#[test]
fn tokens_are_reserved_and_what_is_not_used_comes_back() {
    let rig = rig();
    let limits = Limits {
        tpm_user: 1_000,
        ..Limits::default()
    };
    let mut grants: Vec<Grant> = Vec::new();
    while let Ok(grant) = rig.ask("u", &["e"], 150, limits) {
        grants.push(grant);
    }
    assert_eq!(grants.len(), 6, "6 x 150 fit under 1,000");
    for grant in grants {
        rig.give_back(grant, 70, false);
    }
    let again = std::iter::from_fn(|| rig.ask("u", &["e"], 150, limits).ok()).count();
    assert_eq!(again, 3, "1,000 - 6 x 70 = 580 = 3 x 150 + 130");
}

#[test]
fn a_caller_who_waits_as_long_as_it_is_told_gets_in() {
    let rig = rig();
    let limits = Limits {
        tpm_model: 100,
        ..Limits::default()
    };
    rig.clock.advance(Duration::from_millis(1_700));
    rig.ask("u", &["e"], 80, limits).expect("room");
    rig.clock.advance(Duration::from_millis(20_300));
    let denial = rig.ask("u", &["e"], 80, limits).expect_err("no room");
    assert_eq!(denial.reason, DenialReason::Tokens);
    rig.clock
        .advance(denial.retry_after - Duration::from_millis(1));
    assert_eq!(
        reason(rig.ask("u", &["e"], 80, limits)),
        DenialReason::Tokens
    );
    rig.clock.advance(Duration::from_millis(1));
    rig.ask("u", &["e"], 80, limits)
        .expect("the wait was exact");
}

#[test]
fn refusals_are_free() {
    let rig = rig();
    let tight = Limits {
        rate: 5,
        tpm_user: 100,
        ..Limits::default()
    };
    for _ in 0..50 {
        assert_eq!(
            reason(rig.ask("u", &["e"], 101, tight)),
            DenialReason::TooLarge
        );
    }
    for _ in 0..5 {
        let grant = rig.ask("u", &["e"], 1, tight).expect("nothing was charged");
        rig.give_back(grant, 1, false);
    }
    assert_eq!(
        reason(rig.ask("u", &["e"], 1, tight)),
        DenialReason::Requests
    );
}

#[test]
fn an_undone_request_was_never_counted() {
    let rig = rig();
    let limits = Limits {
        rate: 1,
        ..Limits::default()
    };
    for _ in 0..10 {
        let grant = rig.ask("u", &["e"], 1, limits).expect("room");
        rig.give_back(grant, 0, true);
    }
    let grant = rig.ask("u", &["e"], 1, limits).expect("room");
    rig.give_back(grant, 1, false);
    assert_eq!(
        reason(rig.ask("u", &["e"], 1, limits)),
        DenialReason::Requests
    );
}

#[test]
fn the_next_candidate_is_taken_when_the_first_is_full() {
    let rig = rig();
    let limits = Limits {
        endpoint_in_flight: 1,
        ..Limits::default()
    };
    let first = rig.ask("u", &["a", "b"], 1, limits).expect("room");
    let second = rig.ask("u", &["a", "b"], 1, limits).expect("room");
    assert_eq!((first.candidate, second.candidate), (0, 1));
    assert_eq!(
        reason(rig.ask("u", &["a", "b"], 1, limits)),
        DenialReason::EndpointsFull
    );
    rig.give_back(first, 0, false);
    assert_eq!(
        rig.ask("u", &["a", "b"], 1, limits)
            .expect("room")
            .candidate,
        0
    );
}

#[test]
fn idle_users_are_forgotten() {
    let rig = rig();
    let limits = Limits {
        rate: 10,
        tpm_user: 100,
        ..Limits::default()
    };
    for user in 0..10_000 {
        let grant = rig
            .ask(&format!("u{user}"), &["e"], 1, limits)
            .expect("room");
        rig.give_back(grant, 1, false);
    }
    rig.clock.advance(Duration::from_secs(120));
    for user in 0..20_000 {
        let grant = rig.ask(&format!("v{}", user % 640), &["e"], 0, limits);
        if let Ok(grant) = grant {
            rig.give_back(grant, 0, true);
        }
    }
    assert!(
        rig.limiter.tracked_users() < 1_500,
        "{}",
        rig.limiter.tracked_users()
    );
}

#[derive(Debug, Clone)]
enum Step {
    Ask { user: u8, endpoint: u8, tokens: u64 },
    End { which: usize, used: u64, undo: bool },
    Wait { millis: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0u8..3, 0u8..2, 0u64..60).prop_map(|(user, endpoint, tokens)| Step::Ask { user, endpoint, tokens }),
        2 => (0usize..20, 0u64..60, any::<bool>()).prop_map(|(which, used, undo)| Step::End { which, used, undo }),
        1 => (0u64..20_000).prop_map(|millis| Step::Wait { millis }),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    /// However requests come, end and fail: no more in flight than allowed, nothing left when all are over.
    #[test]
    fn nothing_leaks_and_no_limit_is_passed(steps in steps()) {
        let rig = rig();
        let limits = Limits { rate: 5, user_in_flight: 3, tpm_model: 200, tpm_user: 100, endpoint_in_flight: 4 };
        let mut open: Vec<Grant> = Vec::new();
        for step in steps {
            match step {
                Step::Ask { user, endpoint, tokens } => {
                    let answer = rig.ask(&user.to_string(), &[&endpoint.to_string()], tokens, limits);
                    open.extend(answer.ok());
                }
                Step::End { which, used, undo } if !open.is_empty() => {
                    let grant = open.swap_remove(which % open.len());
                    let used = used.min(grant.endpoint.tokens);
                    rig.give_back(grant, used, undo);
                }
                Step::End { .. } => {}
                Step::Wait { millis } => rig.clock.advance(Duration::from_millis(millis)),
            }
            prop_assert_eq!(rig.limiter.in_flight(), open.len() as u64);
            for endpoint in ["0", "1"] {
                let here = open.iter().filter(|grant| &*grant.endpoint.endpoint == endpoint).count();
                prop_assert!(here <= 4);
            }
            for user in ["0", "1", "2"] {
                let here = open.iter().filter(|grant| &*grant.endpoint.user == user).count();
                prop_assert!(here <= 3);
            }
        }
        for grant in open.drain(..) {
            rig.give_back(grant, 0, true);
        }
        prop_assert_eq!(rig.limiter.in_flight(), 0);
        rig.clock.advance(Duration::from_secs(120));
        let all = Limits { tpm_user: 100, tpm_model: 200, rate: 5, ..Limits::default() };
        prop_assert!(rig.ask("0", &["0"], 100, all).is_ok());
    }
}
