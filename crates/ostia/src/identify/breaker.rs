use std::sync::Arc;
use std::time::{Duration, Instant};

use ostia_core::Clock;
use parking_lot::Mutex;

/// So many failures in a row, and calls end.
const FAILURES: u32 = 5;
/// How long until one call may try again. Short: the first caller after a recovery should come in.
const COOL_DOWN: Duration = Duration::from_millis(500);

/// Spares a provider that fails, and its callers the wait.
pub(super) struct Breaker {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone, Copy)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
    },
    /// One call is under way to find out.
    Probing,
}

/// The right to make one call. Dropped without a result it says nothing about the provider.
pub(super) struct Attempt<'a> {
    breaker: &'a Breaker,
    probe: bool,
    reported: bool,
}

impl Breaker {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            state: Mutex::new(State::Closed { failures: 0 }),
            clock,
        }
    }

    /// `None`: the provider is not called now.
    pub(super) fn admit(&self) -> Option<Attempt<'_>> {
        let mut state = self.state.lock();
        let probe = match *state {
            State::Closed { .. } => false,
            State::Open { until } if until <= self.clock.now() => {
                *state = State::Probing;
                true
            }
            State::Open { .. } | State::Probing => return None,
        };
        Some(Attempt {
            breaker: self,
            probe,
            reported: false,
        })
    }

    /// Whether a call would be admitted; changes nothing.
    pub(super) fn is_shut(&self) -> bool {
        match *self.state.lock() {
            State::Closed { .. } => false,
            State::Open { until } => until > self.clock.now(),
            State::Probing => true,
        }
    }

    fn cool_down(&self) -> State {
        State::Open {
            until: self.clock.now() + COOL_DOWN,
        }
    }
}

impl Attempt<'_> {
    pub(super) fn succeeded(mut self) {
        self.reported = true;
        *self.breaker.state.lock() = State::Closed { failures: 0 };
    }

    pub(super) fn failed(mut self) {
        self.reported = true;
        let mut state = self.breaker.state.lock();
        *state = match *state {
            State::Closed { failures } if failures + 1 < FAILURES => State::Closed {
                failures: failures + 1,
            },
            State::Closed { .. } => self.breaker.cool_down(),
            State::Probing if self.probe => self.breaker.cool_down(),
            other => other,
        };
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.probe && !self.reported {
            *self.breaker.state.lock() = State::Open {
                until: self.breaker.clock.now(),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ostia_core::ManualClock;

    fn open() -> (Arc<ManualClock>, Breaker) {
        let clock = Arc::new(ManualClock::at(0));
        let breaker = Breaker::new(Arc::clone(&clock) as _);
        for _ in 0..FAILURES {
            breaker.admit().unwrap().failed();
        }
        (clock, breaker)
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_does_not() {
        let breaker = Breaker::new(Arc::new(ManualClock::at(0)));
        for _ in 0..3 {
            for _ in 1..FAILURES {
                breaker.admit().unwrap().failed();
            }
            breaker.admit().unwrap().succeeded();
        }
        assert!(!breaker.is_shut());
        assert!(open().1.admit().is_none());
    }

    #[test]
    fn one_probe_at_a_time_decides() {
        let (clock, breaker) = open();
        clock.advance(COOL_DOWN);
        let probe = breaker.admit().unwrap();
        assert!(breaker.admit().is_none());
        probe.failed();
        assert!(breaker.admit().is_none());
        clock.advance(COOL_DOWN);
        // A probe that was given up leaves the question open for the next.
        drop(breaker.admit().unwrap());
        breaker.admit().unwrap().succeeded();
        assert!(breaker.admit().is_some() && breaker.admit().is_some());
    }
}
