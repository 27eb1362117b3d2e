use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ostia_core::Clock;
use parking_lot::Mutex;

/// One retry, in hundredths: each request earns its percentage.
const RETRY: u64 = 100;
/// Retries per second that are always allowed.
const FLOOR: u64 = 10 * RETRY;
/// The most retries that can be saved up.
const LARGEST: u64 = 100 * RETRY;

/// Limits how many retries the gateway adds to the load: a share of the requests, plus a few per second.
pub struct RetryBudget {
    percent: AtomicU64,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    /// Earned by requests.
    earned: u64,
    /// Refilled by time.
    floor: u64,
    at: Instant,
}

impl RetryBudget {
    pub fn new(percent: u32, clock: Arc<dyn Clock>) -> Self {
        Self {
            percent: AtomicU64::new(percent.into()),
            state: Mutex::new(State {
                earned: 0,
                floor: FLOOR,
                at: clock.now(),
            }),
            clock,
        }
    }

    pub fn set_percent(&self, percent: u32) {
        self.percent.store(percent.into(), Ordering::Relaxed);
    }

    /// Counts the start of a request that may be retried.
    pub fn earn(&self) {
        let percent = self.percent.load(Ordering::Relaxed);
        let mut state = self.state.lock();
        state.earned = (state.earned + percent).min(LARGEST);
    }

    /// Takes one retry, if there is one.
    pub fn take(&self) -> bool {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let waited = now.saturating_duration_since(state.at).as_millis();
        let gained = u64::try_from(waited)
            .unwrap_or(u64::MAX)
            .saturating_mul(FLOOR)
            / 1_000;
        if gained > 0 {
            state.floor = state.floor.saturating_add(gained).min(FLOOR);
            // Keep the remainder of time that did not make up a whole hundredth.
            state.at += Duration::from_millis(gained.saturating_mul(1_000) / FLOOR);
        }
        let State { earned, floor, .. } = &mut *state;
        for balance in [earned, floor] {
            if *balance >= RETRY {
                *balance -= RETRY;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::RetryBudget;
    use ostia_core::ManualClock;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn a_fifth_of_the_requests_and_ten_a_second() {
        let clock = Arc::new(ManualClock::at(0));
        let budget = RetryBudget::new(20, clock.clone());
        let takes = || (0..1_000).filter(|_| budget.take()).count();
        assert_eq!(takes(), 10);
        (0..50).for_each(|_| budget.earn());
        assert_eq!(takes(), 10);
        clock.advance(Duration::from_secs(60));
        assert_eq!(takes(), 10, "the floor is not saved up");
    }

    #[test]
    fn no_part_of_the_time_is_lost() {
        let clock = Arc::new(ManualClock::at(0));
        let budget = RetryBudget::new(0, clock.clone());
        while budget.take() {}
        let taken = (0..1_000).filter(|_| {
            clock.advance(Duration::from_micros(1_900));
            budget.take()
        });
        assert_eq!(taken.count(), 19);
    }
}
