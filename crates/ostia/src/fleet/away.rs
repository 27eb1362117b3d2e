use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::timeline::Timeline;

/// The first rest of an endpoint that did not say how long. Each rest that follows directly is twice as long.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// The longest rest, whatever the backend says.
const MOST: Duration = Duration::from_secs(3600);
/// How long others wait for the request that probes whether the endpoint is back. A backend that is not back says so at
/// once.
const PROBE: Duration = Duration::from_secs(1);

/// Whether an endpoint said that it takes no requests for now, or could not be reached, and when it is expected back.
///
/// Written by many tasks, read without a lock.
pub(super) struct Away {
    timeline: Timeline,
    /// Rests in a row, without an answer in between. 0: it is available.
    rests: AtomicU32,
    until: AtomicU64,
    /// Set when one request goes there after the rest.
    probed_until: AtomicU64,
    /// It said so itself.
    told: AtomicBool,
}

impl Away {
    pub(super) fn new(timeline: Timeline) -> Self {
        Self {
            timeline,
            rests: AtomicU32::new(0),
            until: AtomicU64::new(0),
            probed_until: AtomicU64::new(0),
            told: AtomicBool::new(false),
        }
    }

    /// It took no request. `named`: how long it says that this lasts; no time at all is as good as none named, or it would
    /// be asked first again and again. `told`: whether it answered at all.
    pub(super) fn turned_away(&self, named: Option<Duration>, told: bool) {
        let now = self.timeline.now();
        let mut until = self.until.load(Ordering::Relaxed);
        loop {
            // Requests that were already on their way when the rest began say nothing new.
            let begins = until <= now;
            let before = self.rests.load(Ordering::Relaxed);
            let nth = if begins { before } else { before.max(1) - 1 };
            let named = named.filter(|named| !named.is_zero());
            let rest = named.map_or_else(|| doubled(nth), |named| named.min(MOST));
            let next = self.timeline.after(rest).max(until);
            let set =
                self.until
                    .compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed);
            match set {
                Ok(_) => {
                    self.rests.fetch_add(u32::from(begins), Ordering::Relaxed);
                    return self.told.store(told, Ordering::Relaxed);
                }
                Err(other) => until = other,
            }
        }
    }

    /// It answered a request. `true`: with that it is back.
    pub(super) fn answered(&self) -> bool {
        if self.rests.load(Ordering::Relaxed) == 0
            || self.timeline.now() < self.until.load(Ordering::Relaxed)
        {
            // Answers to earlier requests do not shorten a rest.
            return false;
        }
        self.rests.swap(0, Ordering::Relaxed) > 0
    }

    /// How long no other request should be sent there; `None`: it is available.
    pub(super) fn returns_in(&self) -> Option<Duration> {
        if self.rests.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let now = self.timeline.now();
        let back = self
            .until
            .load(Ordering::Relaxed)
            .max(self.probed_until.load(Ordering::Relaxed));
        (now < back).then(|| Duration::from_nanos(back - now))
    }

    /// Whether the endpoint itself said when it is back, so that waiting for it makes sense.
    pub(super) fn has_told(&self) -> bool {
        self.told.load(Ordering::Relaxed)
    }

    /// A request is sent there. The first one after a rest is the probe; the others wait a moment for its result.
    pub(super) fn probe(&self) {
        if self.rests.load(Ordering::Relaxed) == 0 {
            return;
        }
        let until = self.until.load(Ordering::Relaxed);
        let probed = self.probed_until.load(Ordering::Relaxed);
        if probed <= until && until <= self.timeline.now() {
            let next = self.timeline.after(PROBE);
            // If another request was faster, this one is sent too.
            let _ = self.probed_until.compare_exchange(
                probed,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }
}

fn doubled(rests: u32) -> Duration {
    SHORTEST
        .saturating_mul(1_u32.checked_shl(rests).unwrap_or(u32::MAX))
        .min(LONGEST)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ostia_core::ManualClock;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    fn away() -> (Arc<ManualClock>, Away) {
        let clock = Arc::new(ManualClock::at(0));
        let away = Away::new(Timeline::new(Arc::clone(&clock) as _));
        (clock, away)
    }

    #[test]
    fn rests_that_follow_each_other_double_up_to_half_a_minute() {
        let (clock, away) = away();
        for seconds in [1, 2, 4, 8, 16, 30, 30, 30] {
            away.turned_away(None, true);
            assert_eq!(away.returns_in(), Some(Duration::from_secs(seconds)));
            clock.advance(Duration::from_secs(seconds));
            assert_eq!(away.returns_in(), None);
        }
        assert!(away.answered() && !away.answered());
        away.turned_away(None, true);
        assert_eq!(away.returns_in(), Some(SHORTEST), "an answer forgets them");
    }

    #[test]
    fn a_rest_of_no_time_is_one_that_was_not_named_and_one_without_end_is_an_hour() {
        let (clock, away) = away();
        for seconds in [1, 2, 4] {
            away.turned_away(Some(Duration::ZERO), true);
            assert_eq!(away.returns_in(), Some(Duration::from_secs(seconds)));
            clock.advance(Duration::from_secs(seconds));
        }
        away.turned_away(Some(Duration::MAX), true);
        assert_eq!(away.returns_in(), Some(MOST));
    }

    #[test]
    fn requests_that_were_on_their_way_are_one_refusal() {
        let (clock, away) = away();
        for _ in 0..100 {
            away.turned_away(None, true);
        }
        assert_eq!(away.returns_in(), Some(SHORTEST));
        clock.advance(SHORTEST);
        away.turned_away(None, true);
        assert_eq!(away.returns_in(), Some(SHORTEST * 2));
        assert!(!away.answered(), "an earlier request's answer");
        assert_eq!(away.returns_in(), Some(SHORTEST * 2));
    }

    #[test]
    fn what_it_says_itself_counts_but_not_for_ever() {
        let (clock, away) = away();
        let named = Duration::from_secs(7);
        away.turned_away(Some(named), true);
        away.turned_away(Some(SHORTEST), true);
        assert_eq!(away.returns_in(), Some(named));
        clock.advance(named);
        away.turned_away(Some(Duration::MAX), true);
        assert_eq!(away.returns_in(), Some(MOST));
    }

    #[test]
    fn one_request_finds_out_and_the_others_wait_a_moment_for_it() {
        let (clock, away) = away();
        away.turned_away(None, true);
        away.probe();
        assert_eq!(away.returns_in(), Some(SHORTEST), "nobody probes a rest");
        clock.advance(SHORTEST);
        away.probe();
        assert_eq!(away.returns_in(), Some(PROBE));
        clock.advance(PROBE - MOMENT);
        away.probe();
        assert_eq!(away.returns_in(), Some(MOMENT));
        clock.advance(MOMENT);
        assert_eq!(away.returns_in(), None, "no refusal came");
        away.probe();
        assert_eq!(away.returns_in(), None, "one is enough");
    }
}
