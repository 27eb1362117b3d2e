use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ostia_core::Clock;
use parking_lot::Mutex;

/// Events of one kind per second; the rest is counted and reported with the next one.
const EVENTS: u32 = 10;
const SECOND: Duration = Duration::from_secs(1);

/// Counts audit events of one kind, and decides which of them are logged.
#[derive(Default)]
pub struct Pace {
    count: AtomicU64,
    turn: Mutex<Turn>,
}

#[derive(Default)]
struct Turn {
    since: Option<Instant>,
    told: u32,
    untold: u64,
}

impl Pace {
    /// Counts one. `Some`: it may be logged, with the number left out since the last logged one.
    pub fn count(&self, clock: &dyn Clock) -> Option<u64> {
        self.count.fetch_add(1, Ordering::Relaxed);
        let now = clock.now();
        let mut turn = self.turn.lock();
        if turn
            .since
            .is_none_or(|since| now.duration_since(since) >= SECOND)
        {
            turn.since = Some(now);
            turn.told = 0;
        }
        if turn.told >= EVENTS {
            turn.untold += 1;
            return None;
        }
        turn.told += 1;
        Some(std::mem::take(&mut turn.untold))
    }

    /// All since the start.
    pub fn total(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// Events of which only some are logged, each at its own pace, while the omitted ones are counted together.
pub struct Quiet {
    pace: Pace,
    untold: Arc<AtomicU64>,
}

impl Quiet {
    pub const fn new(pace: Pace, untold: Arc<AtomicU64>) -> Self {
        Self { pace, untold }
    }

    /// The same as [`Pace::count`].
    pub fn count(&self, clock: &dyn Clock) -> Option<u64> {
        let told = self.pace.count(clock);
        if told.is_none() {
            self.untold.fetch_add(1, Ordering::Relaxed);
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ostia_core::ManualClock;

    #[test]
    fn all_are_counted_and_few_are_told() {
        let clock = ManualClock::at(0);
        let pace = Pace::default();
        let told = (0..1_000).filter(|_| pace.count(&clock).is_some()).count();
        assert_eq!(told, 10);
        clock.advance(SECOND);
        assert_eq!(pace.count(&clock), Some(990));
        assert_eq!(pace.count(&clock), Some(0));
        assert_eq!(pace.total(), 1_002);
    }
}
