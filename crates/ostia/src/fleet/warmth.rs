use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ostia_core::millis;

use super::timeline::Timeline;

/// How long an endpoint that came back gets less than its share.
const SLOW_START: Duration = Duration::from_secs(10);
/// In hundredths.
const LEAST: u64 = 10;
const FULL: u64 = 100;

/// The slow start of an endpoint that got no requests for a while: its share grows linearly to the whole.
pub(super) struct Warmth {
    timeline: Timeline,
    /// When the share is whole again.
    full_at: AtomicU64,
}

impl Warmth {
    pub(super) fn new(timeline: Timeline) -> Self {
        Self {
            timeline,
            full_at: AtomicU64::new(0),
        }
    }

    pub(super) fn begin(&self) {
        let full_at = self.timeline.after(SLOW_START);
        self.full_at.store(full_at, Ordering::Relaxed);
    }

    /// Its share of the work, in hundredths.
    pub(super) fn share(&self) -> u64 {
        let full_at = self.full_at.load(Ordering::Relaxed);
        if full_at == 0 {
            return FULL;
        }
        let left = Duration::from_nanos(full_at.saturating_sub(self.timeline.now()));
        let whole = millis(SLOW_START);
        FULL - millis(left).min(whole) * (FULL - LEAST) / whole
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ostia_core::ManualClock;

    use super::*;

    #[test]
    fn the_share_grows_evenly() {
        let clock = Arc::new(ManualClock::at(0));
        let warmth = Warmth::new(Timeline::new(Arc::clone(&clock) as _));
        assert_eq!(warmth.share(), 100);
        warmth.begin();
        for share in [10, 19, 28, 37, 46, 55, 64, 73, 82, 91, 100, 100] {
            assert_eq!(warmth.share(), share);
            clock.advance(SLOW_START / 10);
        }
    }
}
