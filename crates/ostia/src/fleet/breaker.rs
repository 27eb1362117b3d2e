use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use ostia_core::Clock;

use super::timeline::Timeline;

/// A rest begins after this many failures in a row.
const FAILURES: u32 = 5;

/// A circuit breaker: says whether something failed so often lately that it should rest for a while. After that, one
/// call probes it. The user of the breaker decides what resting means: an endpoint is tried after its peers, an
/// identity provider is not called at all.
///
/// Written by many tasks, read without a lock.
pub struct Breaker {
    rest: Duration,
    /// How long the others wait for the probing call if it does not end.
    patience: Duration,
    timeline: Timeline,
    /// Failures since the last success.
    failures: AtomicU32,
    rests_until: AtomicU64,
}

impl Breaker {
    pub fn new(rest: Duration, patience: Duration, clock: Arc<dyn Clock>) -> Self {
        Self {
            rest,
            patience,
            timeline: Timeline::new(clock),
            failures: AtomicU32::new(0),
            rests_until: AtomicU64::new(0),
        }
    }

    /// Whether it rests. Does not change anything.
    pub fn is_open(&self) -> bool {
        self.has_failed() && self.timeline.now() < self.rests_until.load(Ordering::Relaxed)
    }

    /// Whether a call may be made. After the rest, the first caller probes; for all others the rest continues until the
    /// result is known.
    pub fn admit(&self) -> bool {
        if !self.has_failed() {
            return true;
        }
        let until = self.rests_until.load(Ordering::Relaxed);
        if self.timeline.now() < until {
            return false;
        }
        let rests_on = self.timeline.after(self.patience);
        self.rests_until
            .compare_exchange(until, rests_on, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// `true`: with that the rests are over.
    pub fn succeeded(&self) -> bool {
        self.failures.load(Ordering::Relaxed) > 0
            && self.failures.swap(0, Ordering::Relaxed) >= FAILURES
    }

    pub fn failed(&self) {
        let until = self.timeline.after(self.rest);
        self.rests_until.store(until, Ordering::Relaxed);
        // Above the threshold the number has no meaning, but it must not overflow.
        let _ = self
            .failures
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |failures| {
                (failures < FAILURES).then_some(failures + 1)
            });
    }

    fn has_failed(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= FAILURES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ostia_core::ManualClock;

    const REST: Duration = Duration::from_secs(1);
    const PATIENCE: Duration = Duration::from_secs(7);
    const MOMENT: Duration = Duration::from_nanos(1);

    fn closed() -> (Arc<ManualClock>, Breaker) {
        let clock = Arc::new(ManualClock::at(0));
        let breaker = Breaker::new(REST, PATIENCE, Arc::clone(&clock) as _);
        (clock, breaker)
    }

    fn open() -> (Arc<ManualClock>, Breaker) {
        let (clock, breaker) = closed();
        for _ in 0..FAILURES {
            assert!(breaker.admit() && !breaker.is_open());
            breaker.failed();
        }
        assert!(breaker.is_open() && !breaker.admit());
        (clock, breaker)
    }

    #[test]
    fn failures_in_a_row_count_and_a_success_forgets_them() {
        let (_, breaker) = closed();
        for _ in 0..10 {
            (1..FAILURES).for_each(|_| breaker.failed());
            assert!(breaker.admit() && !breaker.is_open());
            breaker.succeeded();
        }
        let (_, breaker) = open();
        breaker.succeeded();
        assert!(breaker.admit() && !breaker.is_open());
    }

    #[test]
    fn after_its_rest_one_call_finds_out() {
        let (clock, breaker) = open();
        clock.advance(REST - MOMENT);
        assert!(!breaker.admit() && breaker.is_open());
        clock.advance(MOMENT);
        assert!(!breaker.is_open());
        assert!(breaker.admit());
        clock.advance(PATIENCE - MOMENT);
        assert!(breaker.is_open() && !breaker.admit(), "the others wait");
        breaker.failed();
        clock.advance(REST - MOMENT);
        assert!(breaker.is_open());
        clock.advance(MOMENT);
        assert!(breaker.admit() && breaker.is_open());
        breaker.succeeded();
        assert!(breaker.admit() && breaker.admit() && !breaker.is_open());
    }

    #[test]
    fn a_call_that_never_ends_does_not_block_the_next() {
        let (clock, breaker) = open();
        clock.advance(REST);
        assert!(breaker.admit() && !breaker.admit());
        clock.advance(PATIENCE);
        assert!(breaker.admit() && !breaker.admit());
    }

    #[test]
    fn a_step_of_the_wall_clock_neither_lengthens_nor_ends_a_rest() {
        let (clock, breaker) = open();
        clock.jump_wall(3_600_000_000);
        assert!(breaker.is_open());
        clock.jump_wall(-7_200_000_000);
        clock.advance(REST);
        assert!(breaker.admit());
    }
}
