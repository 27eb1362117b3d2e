use std::sync::Arc;
use std::time::Duration;

use ostia_core::{
    Ask, Claim, Cost, Denial, Grant, Limiter, ManualClock, Measure, Reserving, Scope, Subject,
};
use proptest::prelude::*;

use super::LocalLimiter;

struct Rig {
    clock: Arc<ManualClock>,
    limiter: Arc<LocalLimiter>,
}

/// 0 means off.
#[derive(Clone, Copy, Default)]
struct Limits {
    rate: u64,
    user_in_flight: u64,
    tpm_model: u64,
    tpm_user: u64,
    balance: u64,
}

fn rig() -> Rig {
    let clock = Arc::new(ManualClock::at(0));
    Rig {
        limiter: Arc::new(LocalLimiter::new(clock.clone())),
        clock,
    }
}

impl Rig {
    fn ask(
        &self,
        user: &str,
        endpoint: &str,
        tokens: u64,
        limits: Limits,
    ) -> Result<Grant, Denial> {
        self.ask_more(user, endpoint, (tokens, 0), limits)
    }

    /// What is named and what is guessed.
    fn ask_more(
        &self,
        user: &str,
        endpoint: &str,
        (named, guessed): (u64, u64),
        limits: Limits,
    ) -> Result<Grant, Denial> {
        let one = |name: &str| Subject::One(name.into());
        let both = Subject::Pair(user.into(), endpoint.into());
        let all = [
            (Scope::User, Measure::Requests, one(user), limits.rate),
            (
                Scope::User,
                Measure::InFlight,
                one(user),
                limits.user_in_flight,
            ),
            (Scope::UserEndpoint, Measure::Tokens, both, limits.tpm_user),
            (
                Scope::Endpoint,
                Measure::Tokens,
                one(endpoint),
                limits.tpm_model,
            ),
            (Scope::Project, Measure::Balance, one(user), limits.balance),
        ];
        let claims = all.into_iter().filter(|(.., most)| *most != 0);
        let claim = |(scope, measure, subject, most)| Claim {
            scope,
            measure,
            subject,
            most,
        };
        let ask = Ask {
            claims: claims.map(claim).collect(),
            cost: Cost { named, guessed },
            turn: None,
        };
        let limiter: Arc<dyn Limiter> = self.limiter.clone();
        match limiter.reserve(&ask) {
            Reserving::Now(answer) => answer,
            Reserving::Later(_) => unreachable!("a local limiter answers at once"),
        }
    }
}

fn give_back(mut grant: Grant, used: u64, sent: bool) {
    if sent {
        grant.hold.sent();
    }
    grant.hold.settle(used);
}

/// Tokens that a grant reserved of its first limit of tokens.
fn reserved(grant: &Grant) -> u64 {
    let mut taken = grant.hold.taken().iter();
    let tokens = taken.find(|taken| taken.claim.measure == Measure::Tokens);
    tokens.expect("a limit of tokens").amount
}

fn measure(answer: Result<Grant, Denial>) -> Measure {
    answer.expect_err("a denial").measure
}

#[test]
fn a_guess_takes_the_room_there_is_and_refuses_nobody() {
    let rig = rig();
    let limits = Limits {
        tpm_user: 100,
        tpm_model: 80,
        ..Limits::default()
    };
    let first = rig.ask_more("u", "e", (10, 1_000), limits).expect("room");
    let amounts = |grant: &Grant| {
        grant
            .hold
            .taken()
            .iter()
            .map(|taken| taken.amount)
            .collect::<Vec<_>>()
    };
    assert_eq!(amounts(&first), [100, 80], "of each limit what it has");
    assert_eq!(
        measure(rig.ask_more("u", "e", (10, 1_000), limits)),
        Measure::Tokens
    );
    give_back(first, 30, true);
    let second = rig.ask_more("u", "e", (10, 20), limits).expect("room");
    assert_eq!(reserved(&second), 30);
    let third = rig.ask_more("u", "e", (10, 20), limits).expect("room");
    assert_eq!(amounts(&third), [30, 20]);
    let none = rig.ask_more("u", "e", (10, u64::MAX), Limits::default());
    assert!(none.expect("room").hold.taken().is_empty());
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
                    if let Ok(grant) = rig.ask("u", "e", 1, limits) {
                        give_back(grant, 1, true);
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
    while let Ok(grant) = rig.ask("u", "e", 150, limits) {
        grants.push(grant);
    }
    assert_eq!(grants.len(), 6, "6 x 150 fit under 1,000");
    for grant in grants {
        give_back(grant, 70, true);
    }
    let again: Vec<Grant> = std::iter::from_fn(|| rig.ask("u", "e", 150, limits).ok()).collect();
    assert_eq!(again.len(), 3, "1,000 - 6 x 70 = 580 = 3 x 150 + 130");
}

#[test]
fn a_caller_who_waits_as_long_as_it_is_told_gets_in() {
    let rig = rig();
    let limits = Limits {
        tpm_model: 100,
        ..Limits::default()
    };
    rig.clock.advance(Duration::from_millis(1_700));
    let _held = rig.ask("u", "e", 80, limits).expect("room");
    rig.clock.advance(Duration::from_millis(20_300));
    let denial = rig.ask("u", "e", 80, limits).expect_err("no room");
    assert_eq!(denial.measure, Measure::Tokens);
    rig.clock
        .advance(denial.retry_after - Duration::from_millis(1));
    assert_eq!(measure(rig.ask("u", "e", 80, limits)), Measure::Tokens);
    rig.clock.advance(Duration::from_millis(1));
    rig.ask("u", "e", 80, limits).expect("the wait was exact");
}

#[test]
fn refusals_are_free() {
    let rig = rig();
    let tight = Limits {
        rate: 5,
        tpm_user: 100,
        ..Limits::default()
    };
    let running = rig.ask("u", "e", 1, tight).expect("room");
    for _ in 0..50 {
        assert_eq!(measure(rig.ask("u", "e", 101, tight)), Measure::Tokens);
    }
    give_back(running, 1, true);
    for _ in 0..4 {
        let grant = rig.ask("u", "e", 1, tight).expect("nothing was charged");
        give_back(grant, 1, true);
    }
    assert_eq!(measure(rig.ask("u", "e", 1, tight)), Measure::Requests);
}

#[test]
fn an_undone_request_was_never_counted() {
    let rig = rig();
    let limits = Limits {
        rate: 1,
        ..Limits::default()
    };
    for _ in 0..10 {
        let grant = rig.ask("u", "e", 1, limits).expect("room");
        give_back(grant, 0, false);
    }
    let grant = rig.ask("u", "e", 1, limits).expect("room");
    give_back(grant, 1, true);
    assert_eq!(measure(rig.ask("u", "e", 1, limits)), Measure::Requests);
}

#[test]
fn a_hold_that_is_lost_gives_itself_back() {
    let rig = rig();
    let limits = Limits {
        rate: 1,
        user_in_flight: 1,
        tpm_user: 10,
        tpm_model: 10,
        balance: 10,
    };
    for _ in 0..3 {
        let grant = rig.ask("u", "e", 10, limits).expect("room");
        let (endpoint, user) = grant.hold.split(Scope::is_of_endpoint);
        drop(user);
        let denied = measure(rig.ask("u", "e", 10, limits));
        assert_eq!(denied, Measure::Tokens);
        drop(endpoint);
    }
    assert_eq!(rig.limiter.in_flight(), 0);
}

#[test]
fn what_was_used_beyond_the_reservation_is_owed() {
    let rig = rig();
    let limits = Limits {
        tpm_user: 100,
        ..Limits::default()
    };
    let grant = rig.ask("u", "e", 10, limits).expect("room");
    give_back(grant, 150, true);
    let denial = rig
        .ask("u", "e", 1, limits)
        .expect_err("150 of 100 are used");
    let level = denial.standing.level(Scope::UserEndpoint, Measure::Tokens);
    assert_eq!(level.map(|level| (level.used, level.owed)), Some((100, 50)));
    assert!(!denial.may_return, "nothing runs");
    rig.clock.advance(denial.retry_after);
    assert!(rig.ask("u", "e", 1, limits).is_ok(), "it is paid");
}

#[test]
fn a_request_larger_than_a_limit_needs_all_of_it_and_owes_the_rest() {
    let rig = rig();
    let limits = Limits {
        tpm_user: 100,
        ..Limits::default()
    };
    let small = rig.ask("u", "e", 1, limits).expect("room");
    let denial = rig.ask("u", "e", 1_000, limits).expect_err("not all of it");
    assert!(denial.may_return, "the small one may give it back");
    give_back(small, 0, true);
    let large = rig.ask("u", "e", 1_000, limits).expect("all of it");
    assert_eq!(reserved(&large), 100);
    give_back(large, 1_000, true);
    rig.clock.advance(Duration::from_secs(9 * 60));
    assert_eq!(measure(rig.ask("u", "e", 1, limits)), Measure::Tokens);
    rig.clock.advance(Duration::from_secs(2 * 60));
    assert!(
        rig.ask("u", "e", 100, limits).is_ok(),
        "ten minutes' worth is paid"
    );
}

#[test]
fn a_debt_outlives_the_forgetting_of_idle_users() {
    let rig = rig();
    let limits = Limits {
        tpm_user: 10,
        ..Limits::default()
    };
    let grant = rig.ask("debtor", "e", 1, limits).expect("room");
    give_back(grant, 100, true);
    rig.clock.advance(Duration::from_secs(120));
    for user in 0..10_000 {
        let grant = rig.ask(&format!("u{user}"), "e", 0, limits).expect("room");
        give_back(grant, 0, false);
    }
    assert_eq!(measure(rig.ask("debtor", "e", 1, limits)), Measure::Tokens);
}

#[test]
fn a_balance_does_not_come_back_with_time() {
    let rig = rig();
    let limits = Limits {
        balance: 100,
        ..Limits::default()
    };
    let grant = rig.ask("u", "e", 80, limits).expect("room");
    give_back(grant, 60, true);
    rig.clock.advance(Duration::from_secs(1_000_000));
    let denied = measure(rig.ask("u", "e", 41, limits));
    assert_eq!(denied, Measure::Balance);
    assert!(rig.ask("u", "e", 40, limits).is_ok(), "40 are left");
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
        let grant = rig.ask(&format!("u{user}"), "e", 1, limits).expect("room");
        give_back(grant, 1, true);
    }
    rig.clock.advance(Duration::from_secs(120));
    for user in 0..20_000 {
        let grant = rig.ask(&format!("v{}", user % 640), "e", 0, limits);
        if let Ok(grant) = grant {
            give_back(grant, 0, false);
        }
    }
    assert!(rig.limiter.tracked() < 3_000, "{}", rig.limiter.tracked());
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
        let limits = Limits { rate: 5, user_in_flight: 3, tpm_model: 200, tpm_user: 100, balance: 0 };
        let mut open: Vec<(u8, Grant)> = Vec::new();
        for step in steps {
            match step {
                Step::Ask { user, endpoint, tokens } => {
                    let answer = rig.ask(&user.to_string(), &endpoint.to_string(), tokens, limits);
                    open.extend(answer.ok().map(|grant| (user, grant)));
                }
                Step::End { which, used, undo } if !open.is_empty() => {
                    let grant = open.swap_remove(which % open.len());
                    let used = used.min(reserved(&grant.1));
                    give_back(grant.1, used, !undo);
                }
                Step::End { .. } => {}
                Step::Wait { millis } => rig.clock.advance(Duration::from_millis(millis)),
            }
            prop_assert_eq!(rig.limiter.in_flight(), open.len() as u64);
            for user in 0..3 {
                let here = open.iter().filter(|(who, _)| *who == user).count();
                prop_assert!(here <= 3);
            }
        }
        for (_, grant) in open.drain(..) {
            give_back(grant, 0, false);
        }
        prop_assert_eq!(rig.limiter.in_flight(), 0);
        rig.clock.advance(Duration::from_secs(120));
        let all = Limits { tpm_user: 100, tpm_model: 200, rate: 5, ..Limits::default() };
        prop_assert!(rig.ask("0", "0", 100, all).is_ok());
    }
}
