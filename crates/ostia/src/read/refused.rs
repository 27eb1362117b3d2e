use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ostia_core::Clock;
use parking_lot::Mutex;

use super::ReadError;

/// Bytes of request bodies that were read for nothing, per user. They run off at a fixed rate; a user who has a second's
/// worth of them outstanding has to wait, however small the next body is.
///
/// Refusals cost nothing of any other limit, so this is what bounds a loop of large bodies that are refused.
pub struct RefusedBytes {
    levels: Mutex<HashMap<Arc<str>, Level>>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone, Copy)]
struct Level {
    bytes: u64,
    at: Instant,
}

/// One body, which counts as read for nothing unless somebody says otherwise.
pub struct Toll<'a> {
    book: &'a RefusedBytes,
    user: &'a Arc<str>,
    /// Bytes that drain each second; 0 means unlimited.
    rate: u64,
    bytes: u64,
}

/// Users whose bytes may have run off are looked for when there are twice as many as this.
const SWEPT_AT: usize = 1024;

impl RefusedBytes {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            levels: Mutex::default(),
            clock,
        }
    }

    /// Begins a body of this user's. `rate`: bytes a second; 0 means unlimited.
    pub fn toll<'a>(&'a self, user: &'a Arc<str>, rate: u64) -> Result<Toll<'a>, ReadError> {
        let level = self.levels.lock().get(user).copied();
        let level = level.map_or(0, |level| level.left(self.clock.now(), rate));
        if rate > 0 && level >= rate {
            // Until less than a second's worth is left.
            let wait = Duration::from_secs_f64((level - rate + 1) as f64 / rate as f64);
            return Err(ReadError::RefusedTooMuch { wait, rate, level });
        }
        Ok(Toll {
            book: self,
            user,
            rate,
            bytes: 0,
        })
    }

    fn add(&self, user: &Arc<str>, bytes: u64, rate: u64) {
        let now = self.clock.now();
        let mut levels = self.levels.lock();
        if levels.len() >= 2 * SWEPT_AT {
            levels.retain(|_, level| level.left(now, rate) > 0);
        }
        let level = levels
            .entry(Arc::clone(user))
            .or_insert(Level { bytes: 0, at: now });
        *level = Level {
            bytes: level.left(now, rate).saturating_add(bytes),
            at: now,
        };
    }
}

impl Level {
    fn left(self, now: Instant, rate: u64) -> u64 {
        let millis = now.saturating_duration_since(self.at).as_millis();
        let run_off = millis.saturating_mul(rate.into()) / 1000;
        self.bytes
            .saturating_sub(u64::try_from(run_off).unwrap_or(u64::MAX))
    }
}

impl Toll<'_> {
    pub(super) fn took(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// The body was not read for nothing.
    pub fn waive(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Toll<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 && self.rate > 0 {
            self.book.add(self.user, self.bytes, self.rate);
        }
    }
}

#[cfg(test)]
mod tests {
    use ostia_core::ManualClock;

    use super::*;

    #[test]
    fn whoever_sends_for_nothing_waits_until_it_has_run_off() {
        let clock = Arc::new(ManualClock::at(0));
        let book = RefusedBytes::new(Arc::clone(&clock) as _);
        let (ann, bob): (Arc<str>, Arc<str>) = ("ann".into(), "bob".into());
        let send =
            |user: &Arc<str>, bytes: usize| book.toll(user, 1000).map(|mut toll| toll.took(bytes));
        send(&ann, 999).unwrap();
        // What is begun below the limit may end above it, and is owed.
        send(&ann, 2501).unwrap();
        let too_much = ReadError::RefusedTooMuch {
            wait: Duration::from_millis(2501),
            rate: 1000,
            level: 3500,
        };
        assert_eq!(send(&ann, 0), Err(too_much));
        assert_eq!(send(&bob, 5), Ok(()));
        clock.advance(Duration::from_millis(2500));
        assert!(send(&ann, 0).is_err());
        clock.advance(Duration::from_millis(1));
        assert_eq!(send(&ann, 0), Ok(()));
    }

    #[test]
    fn bodies_that_were_of_use_cost_nothing_and_zero_is_no_limit() {
        let book = RefusedBytes::new(Arc::new(ManualClock::at(0)));
        let user: Arc<str> = "ann".into();
        for (rate, waive) in [(10, true), (0, false)] {
            for _ in 0..3 {
                let mut toll = book
                    .toll(&user, rate)
                    .unwrap_or_else(|error| panic!("{error}"));
                toll.took(100);
                if waive {
                    toll.waive();
                }
            }
        }
        assert!(book.levels.lock().is_empty());
    }

    #[test]
    fn users_whose_bytes_have_run_off_are_forgotten() {
        let clock = Arc::new(ManualClock::at(0));
        let book = RefusedBytes::new(Arc::clone(&clock) as _);
        for number in 0..2 * SWEPT_AT {
            book.add(&number.to_string().into(), 10, 1000);
        }
        clock.advance(Duration::from_secs(1));
        book.add(&"last".into(), 10, 1000);
        assert_eq!(book.levels.lock().len(), 1);
    }
}
