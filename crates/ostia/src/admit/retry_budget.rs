use std::sync::Arc;
use std::time::Instant;

use ostia_core::Clock;
use parking_lot::Mutex;

/// Retries a second that are always allowed.
const FLOOR_PER_SECOND: f64 = 10.0;
/// The balance never grows beyond so many seconds' worth of the floor, nor so many retries saved up.
const LARGEST: f64 = 100.0;

/// How many retries the gateway may add to the load: a share of the requests, and a few a second on top.
pub struct RetryBudget {
    share: f64,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    /// Saved up by requests.
    earned: f64,
    /// Refilled by time.
    floor: f64,
    at: Instant,
}

impl RetryBudget {
    pub fn new(percent: u32, clock: Arc<dyn Clock>) -> Self {
        Self {
            share: f64::from(percent) / 100.0,
            state: Mutex::new(State {
                earned: 0.0,
                floor: FLOOR_PER_SECOND,
                at: clock.now(),
            }),
            clock,
        }
    }

    /// A request that may be retried begins.
    pub fn earn(&self) {
        let mut state = self.state.lock();
        state.earned = (state.earned + self.share).min(LARGEST);
    }

    /// Takes one retry, if there is one.
    pub fn take(&self) -> bool {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let gained = now.saturating_duration_since(state.at).as_secs_f64() * FLOOR_PER_SECOND;
        state.floor = (state.floor + gained).min(FLOOR_PER_SECOND);
        state.at = now;
        if state.earned >= 1.0 {
            state.earned -= 1.0;
            return true;
        }
        if state.floor >= 1.0 {
            state.floor -= 1.0;
            return true;
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
}
