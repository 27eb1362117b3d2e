use ostia_core::{Clock as _, SystemClock};

use super::*;

/// Service a second of an engine that works at so many requests at a time, and what a first token takes then.
type Curve = fn(f64) -> (f64, f64);

/// An engine with always more to do than it is given.
struct Simulated {
    best: BestPoint,
    curve: Curve,
    tells: bool,
    now: Instant,
    /// Requests that fit into its KV cache.
    fits: f64,
    answers: f64,
    service: f64,
    first_tokens: f64,
}

const LOOK: Duration = Duration::from_millis(250);
/// Service of one answer.
const ANSWER: f64 = 10.0;

impl Simulated {
    fn new(curve: Curve, tells: bool) -> Self {
        Self {
            best: BestPoint::default(),
            curve,
            tells,
            now: SystemClock.now(),
            fits: f64::INFINITY,
            answers: 0.0,
            service: 0.0,
            first_tokens: 0.0,
        }
    }

    /// Runs with at most `demand` requests at a time; gives the mean rate.
    fn run(&mut self, seconds: u32, demand: u32, is_held: bool) -> f64 {
        let before = self.service;
        for look in 0..seconds * 4 {
            let in_flight = if is_held {
                self.best.cap().min(demand)
            } else {
                demand
            };
            let (rate, first_token) = (self.curve)(f64::from(in_flight));
            // Answers come unevenly.
            let uneven = 1.0 + 0.04 * f64::from(look % 3) - 0.04;
            self.now += LOOK;
            let service = rate * uneven * LOOK.as_secs_f64();
            self.service += service;
            self.answers += service / ANSWER;
            self.first_tokens += first_token * service / ANSWER;
            // An engine is asked less often than its answers are counted, and at other times.
            if self.tells && look % 5 == 3 {
                let report = Report {
                    running: in_flight,
                    waiting: 0,
                    service: Some(self.service),
                    cache: Some((f64::from(in_flight) / self.fits).min(1.0)),
                };
                self.best.report(Some(report), self.now);
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count"
            )]
            let answers = self.answers as u64;
            let counts = Counts {
                at: self.now,
                in_flight,
                answers,
                service: self.service,
                first_tokens: Duration::from_secs_f64(self.first_tokens),
            };
            self.best.look(counts, is_held);
        }
        (self.service - before) / f64::from(seconds)
    }
}

/// Slower with each request beyond 40: memory runs out and work is done twice.
fn thrashing(at_a_time: f64) -> (f64, f64) {
    let rate = 100.0 * at_a_time.min(40.0);
    let lost = 1.0 + ((at_a_time - 40.0).max(0.0) / 40.0).powi(2);
    (rate / lost, 0.1 * lost)
}

/// Each request makes all of them a little slower.
fn shared(at_a_time: f64) -> (f64, f64) {
    (
        3_000.0 * at_a_time / (at_a_time + 12.0) / (1.0 + at_a_time / 300.0),
        0.05,
    )
}

/// A fixed number of places, and a queue before them.
fn places(at_a_time: f64) -> (f64, f64) {
    let waiting = (at_a_time - 25.0).max(0.0);
    (80.0 * at_a_time.min(25.0), 0.05 + waiting * 0.01)
}

/// Not looked at while the search was made: two gentle slopes, and a fall behind the second.
fn slopes(at_a_time: f64) -> (f64, f64) {
    let rising = 50.0 * at_a_time.min(20.0) + 12.0 * (at_a_time.clamp(20.0, 60.0) - 20.0);
    let falling = 1.0 + (at_a_time - 60.0).max(0.0) / 25.0;
    (rising / falling, 0.04 * falling)
}

/// Not looked at either: prompts are thrown out and read again as soon as more than 110 are worked at.
fn cliff(at_a_time: f64) -> (f64, f64) {
    match at_a_time <= 110.0 {
        true => (40.0 * at_a_time, 0.06),
        false => (1_100.0, 0.3),
    }
}

/// What an answer takes from its admission on: so many requests at a time share the engine's rate.
fn answer_takes(curve: Curve, at_a_time: u32) -> f64 {
    let (rate, _) = curve(f64::from(at_a_time));
    f64::from(at_a_time) * ANSWER / rate
}

fn best_level(curve: Curve) -> u32 {
    let rate = |level: &&u32| curve(f64::from(**level)).0;
    let best = LEVELS.iter().max_by(|a, b| rate(a).total_cmp(&rate(b)));
    *best.unwrap()
}

fn best_fixed(curve: Curve) -> f64 {
    LEVELS
        .iter()
        .map(|level| curve(f64::from(*level)).0)
        .fold(0.0, f64::max)
}

#[test]
fn an_overloaded_engine_is_kept_at_its_best_point() {
    for curve in [thrashing as Curve, shared, places] {
        for tells in [false, true] {
            let mut engine = Simulated::new(curve, tells);
            engine.run(20, 500, true);
            let rate = engine.run(60, 500, true);
            let best = best_fixed(curve);
            assert!(
                rate >= 0.9 * best,
                "{rate} of {best}, at {:?}",
                engine.best.known()
            );
        }
    }
}

/// At five times what the engine serves best, on curves that nobody looked at.
#[test]
fn goodput_holds_on_engines_that_the_search_was_not_made_for() {
    for curve in [slopes as Curve, cliff] {
        for tells in [false, true] {
            let mut engine = Simulated::new(curve, tells);
            let demand = best_level(curve) * 5;
            engine.run(20, demand, true);
            let rate = engine.run(60, demand, true);
            let (best, direct) = (best_fixed(curve), curve(f64::from(demand)).0);
            let at = engine.best.known().unwrap_or_default();
            assert!(
                rate >= 0.9 * best,
                "{rate} of {best}, at {at}, tells {tells}"
            );
            assert!(rate >= 1.3 * direct, "{rate}, direct {direct}");
            let (idle, held) = (answer_takes(curve, 1), answer_takes(curve, at));
            assert!(held <= 3.0 * idle, "{held}, idle {idle}");
        }
    }
}

/// Its rate still rises with every request, but what it begins pushes out what it has begun.
#[test]
fn an_engine_whose_cache_is_full_gets_less_at_a_time() {
    let mut engine = Simulated::new(|at_a_time| (100.0 * at_a_time, 0.05), true);
    engine.fits = 30.0;
    engine.run(60, 500, true);
    let cap = engine.best.cap();
    assert!((20..=32).contains(&cap), "{cap}");
    let fits = Report {
        running: 3,
        waiting: 0,
        service: None,
        cache: Some(0.5),
    };
    let full = Report {
        cache: Some(0.99),
        ..fits
    };
    let best = BestPoint::default();
    for (report, is_full) in [(Some(fits), false), (Some(full), true), (None, false)] {
        best.report(report, engine.now);
        assert_eq!(best.is_full(3), is_full, "{report:?}");
        assert!(!best.is_full(0), "an idle one takes the next");
    }
}

#[test]
fn an_engine_that_becomes_slower_is_given_less_and_a_faster_one_is_filled() {
    fn small(at_a_time: f64) -> (f64, f64) {
        thrashing(at_a_time * 4.0)
    }
    let mut engine = Simulated::new(thrashing, true);
    engine.run(30, 500, true);
    engine.curve = small;
    engine.run(10, 500, true);
    let rate = engine.run(60, 500, true);
    assert!(rate >= 0.85 * best_fixed(small), "{rate}");
    engine.curve = thrashing;
    engine.run(12, 500, true);
    let rate = engine.run(60, 500, true);
    assert!(rate >= 0.85 * best_fixed(thrashing), "{rate}");
}

#[test]
fn few_requests_say_nothing_of_the_limit() {
    let mut engine = Simulated::new(thrashing, true);
    engine.run(30, 3, true);
    assert_eq!(engine.best.cap(), LEVELS[BEGINNING]);
}

#[test]
fn what_waits_inside_of_an_engine_waits_here_instead() {
    let best = BestPoint::default();
    let mut now = SystemClock.now();
    for second in 0..8_u32 {
        let report = Report {
            running: 5,
            waiting: 3,
            service: Some(f64::from(second) * 100.0),
            cache: None,
        };
        best.report(Some(report), now);
        let counts = Counts {
            at: now,
            in_flight: 8,
            answers: 0,
            service: 0.0,
            first_tokens: Duration::ZERO,
        };
        best.look(counts, true);
        now += Duration::from_secs(1);
    }
    assert_eq!(best.known(), Some(5));
}

#[test]
fn where_nothing_is_held_the_point_is_known_once_more_yields_no_more() {
    let mut engine = Simulated::new(thrashing, false);
    for demand in [4, 8, 16, 25, 32] {
        engine.run(10, demand, false);
        assert_eq!(engine.best.known(), None, "{demand}");
    }
    for demand in [40, 64, 100] {
        engine.run(10, demand, false);
    }
    let known = engine.best.known().unwrap_or_default();
    assert!((32..=50).contains(&known), "{known}");
}
