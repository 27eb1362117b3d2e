use std::sync::Arc;
use std::time::{Duration, Instant};

use ostia_core::Clock;

/// Moments as numbers, so that they fit into atomics: nanoseconds since the value was made.
#[derive(Clone)]
pub(super) struct Timeline {
    clock: Arc<dyn Clock>,
    epoch: Instant,
}

impl Timeline {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            epoch: clock.now(),
            clock,
        }
    }

    pub(super) fn now(&self) -> u64 {
        self.after(Duration::ZERO)
    }

    /// The moment at this distance.
    pub(super) fn after(&self, time: Duration) -> u64 {
        let at = self.clock.now().saturating_duration_since(self.epoch) + time;
        u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)
    }
}
