use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ostia_core::{Clock as _, SystemClock};
use proptest::prelude::*;

use super::super::queue::Waiter;
use super::*;

fn party(project: &str, user: &str) -> Party {
    Party {
        class: Class::Interactive,
        project: project.into(),
        project_share: 1,
        user: user.into(),
        user_share: 1,
    }
}

fn waiter(party: Party, arrival: u64) -> Arc<Waiter> {
    Arc::new(Waiter::new(
        party,
        ["e".into()].into(),
        arrival,
        SystemClock.now(),
    ))
}

/// An engine with so many places, and users who each keep so many requests waiting or running.
struct Bench {
    lines: Lines,
    arrivals: u64,
    running: VecDeque<(u64, Arc<Waiter>)>,
    service: BTreeMap<Arc<str>, u64>,
    now: u64,
}

impl Bench {
    fn new(parties: &[(Party, usize)]) -> Self {
        let mut bench = Self {
            lines: Lines::default(),
            arrivals: 0,
            running: VecDeque::new(),
            service: BTreeMap::new(),
            now: 0,
        };
        for (party, count) in parties {
            (0..*count).for_each(|_| bench.arrive(party));
        }
        bench
    }

    fn arrive(&mut self, party: &Party) {
        self.arrivals += 1;
        self.lines.join(&waiter(party.clone(), self.arrivals));
    }

    fn start_one(&mut self, takes: u64) -> Arc<str> {
        let next = self.lines.next(|_| true).expect("somebody waits");
        self.lines.started(&next.party, 1.0);
        self.lines.leave(&next);
        let user = Arc::clone(&next.party.user);
        self.running.push_back((self.now + takes, next));
        user
    }

    /// One is over, its user asks again at once, and the next one is served. Every request takes `takes`.
    fn step(&mut self, takes: u64) {
        let (end, over) = self.running.pop_front().expect("somebody runs");
        self.now = end;
        *self
            .service
            .entry(Arc::clone(&over.party.user))
            .or_default() += takes;
        let real = 1.0;
        self.arrive(&over.party);
        self.lines.ended(&over.party, real - 1.0);
        self.start_one(takes);
    }
}

/// Jain's index of what users got, each divided by its share.
fn jain(shares: impl Iterator<Item = f64>) -> f64 {
    let shares: Vec<f64> = shares.collect();
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    sum * sum / (shares.len() as f64 * squares)
}

#[test]
fn a_user_with_a_hundred_connections_gets_no_more_than_one_with_one() {
    let mut parties = vec![(party("big", "big"), 100)];
    parties.extend((0..9).map(|user| (party(&format!("p{user}"), &format!("u{user}")), 1)));
    let mut bench = Bench::new(&parties);
    (0..4).for_each(|_| {
        bench.start_one(10);
    });
    (0..4_000).for_each(|_| bench.step(10));
    assert_eq!(bench.service.len(), 10);
    let index = jain(bench.service.values().map(|&service| service as f64));
    assert!(index > 0.99, "{index}: {:?}", bench.service);
}

/// Largest service of one request in `two_who_always_wait`.
const MOST: u64 = 100;

proptest! {
    /// Whatever their requests turn out to need: at any time, two users who always have something waiting got no more unequal
    /// service than virtual token counters allow, which is twice what the engine holds at a time.
    #[test]
    fn two_who_always_wait_are_served_alike_within_the_bound(
        sizes in prop::collection::vec((1..=MOST, 1..=MOST), 50..400),
        places in 1_u64..9,
    ) {
        let users = [party("a", "a"), party("b", "b")];
        let mut bench = Bench::new(&users.clone().map(|user| (user, 3)));
        let mut running: Vec<(u64, u64, Party)> = Vec::new();
        let (mut now, mut service) = (0, [0_u64; 2]);
        // One is always small where the other is large, half of the time.
        for (at, (small, large)) in sizes.iter().enumerate() {
            if running.len() as u64 == places {
                let ends = running.iter().enumerate().min_by_key(|(_, (end, ..))| *end);
                let over = ends.map_or(0, |(place, _)| place);
                let (end, takes, party) = running.swap_remove(over);
                now = end;
                service[usize::from(&*party.user == "b")] += takes;
                bench.lines.ended(&party, takes as f64 - 50.0);
            }
            let next = bench.lines.next(|_| true).expect("somebody waits");
            bench.lines.started(&next.party, 50.0);
            bench.lines.leave(&next);
            bench.arrive(&next.party);
            let is_small = &*next.party.user == "a" && at % 2 == 0;
            let takes = if is_small { small.min(large) } else { large };
            running.push((now + takes, *takes, next.party.clone()));
            let gap = service[0].abs_diff(service[1]);
            prop_assert!(gap <= 2 * places * MOST, "{gap} at {places} places");
        }
    }
}

#[test]
fn projects_share_by_weight_and_users_share_their_project() {
    let mut heavy = party("heavy", "a");
    heavy.project_share = 3;
    let other = Party {
        user: "b".into(),
        ..heavy.clone()
    };
    let mut bench = Bench::new(&[(heavy, 50), (other, 50), (party("light", "c"), 50)]);
    (0..4).for_each(|_| {
        bench.start_one(10);
    });
    (0..3_200).for_each(|_| bench.step(10));
    let of = |user: &str| bench.service[user] as f64;
    let near = |one: f64, other: f64| (one / other - 1.0).abs() < 0.02;
    assert!(near(of("a"), of("b")), "{:?}", bench.service);
    assert!(
        near(of("a") + of("b"), 3.0 * of("c")),
        "{:?}",
        bench.service
    );
}

#[test]
fn a_newcomer_is_served_at_once_and_one_who_stayed_away_saves_nothing_up() {
    let mut bench = Bench::new(&[(party("a", "a"), 20), (party("b", "b"), 20)]);
    bench.start_one(10);
    (0..100).for_each(|_| bench.step(10));
    bench.arrive(&party("c", "c"));
    bench.running.pop_front();
    assert_eq!(&*bench.start_one(10), "c", "before everybody who had more");
    (0..9).for_each(|_| bench.arrive(&party("c", "c")));
    let next: Vec<Arc<str>> = (0..9).map(|_| bench.start_one(10)).collect();
    let of_c = next.iter().filter(|user| ***user == *"c").count();
    assert!((2..=4).contains(&of_c), "its share and no more: {next:?}");
}

#[test]
fn batch_waits_behind_everybody() {
    let mut lines = Lines::default();
    let batch = Party {
        class: Class::Batch,
        ..party("a", "a")
    };
    let first = waiter(batch, 1);
    lines.join(&first);
    assert!(!lines.is_preceded(&first));
    let second = waiter(party("b", "b"), 2);
    lines.join(&second);
    assert!(lines.is_preceded(&first) && !lines.is_preceded(&second));
    assert!(Arc::ptr_eq(&lines.next(|_| true).unwrap(), &second));
    lines.leave(&second);
    assert!(Arc::ptr_eq(&lines.next(|_| true).unwrap(), &first));
}

#[test]
fn one_who_waits_for_room_of_its_own_holds_up_its_own_line_alone() {
    let mut lines = Lines::default();
    let [first, behind, other] = [
        waiter(party("a", "a"), 1),
        waiter(party("a", "a"), 2),
        waiter(party("b", "b"), 3),
    ];
    for waiter in [&first, &behind, &other] {
        lines.join(waiter);
    }
    lines.set_held(&first.party, true);
    assert!(!lines.is_preceded(&other));
    assert!(
        lines.is_preceded(&behind),
        "the first of its line is before it"
    );
    lines.release_user("a");
    assert!(lines.is_preceded(&other));
    lines.leave(&first);
    assert!(!lines.is_preceded(&behind));
}

#[test]
fn who_may_use_other_endpoints_is_not_held_up() {
    let mut lines = Lines::default();
    let first = Arc::new(Waiter::new(
        party("a", "a"),
        ["x".into()].into(),
        1,
        SystemClock.now(),
    ));
    let other = Arc::new(Waiter::new(
        party("b", "b"),
        ["x".into(), "y".into()].into(),
        2,
        SystemClock.now(),
    ));
    lines.join(&first);
    lines.join(&other);
    assert!(!lines.is_preceded(&other), "it may use more");
    let beyond = lines
        .next_after(&first, |next| !first.covers(next))
        .unwrap();
    assert!(Arc::ptr_eq(&beyond, &other));
}

#[test]
fn those_ahead_are_counted_as_they_are_served_in_turn() {
    let mut lines = Lines::default();
    let many: Vec<_> = (0..50)
        .map(|arrival| waiter(party("a", "a"), arrival))
        .collect();
    many.iter().for_each(|waiter| lines.join(waiter));
    assert_eq!(lines.ahead_of(&many[49]), 49);
    let newcomer = waiter(party("b", "b"), 51);
    lines.join(&newcomer);
    assert_eq!(lines.ahead_of(&newcomer), 1, "of the others one");
}

#[test]
fn nothing_is_kept_of_those_who_are_gone() {
    let mut bench = Bench::new(&[(party("a", "a"), 3), (party("b", "b"), 3)]);
    for _ in 0..6 {
        bench.start_one(10);
    }
    while let Some((_, over)) = bench.running.pop_front() {
        bench.lines.ended(&over.party, 5.0);
    }
    assert!(bench.lines.is_idle() && bench.lines.projects.is_empty());
}
