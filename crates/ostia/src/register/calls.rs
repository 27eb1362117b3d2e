use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The most calls of one key per second; a hundred engines renew their leases with far fewer.
const MOST: u32 = 50;
const SPAN: Duration = Duration::from_secs(1);

/// How often each key called lately. Only admitted keys are counted, so there are no more entries than keys.
#[derive(Default)]
pub(super) struct Calls(Mutex<HashMap<Arc<str>, (Instant, u32)>>);

impl Calls {
    /// Counts one call. `Err`: how long to wait.
    pub fn count(&self, key: &Arc<str>, now: Instant) -> Result<(), Duration> {
        let mut calls = self.0.lock();
        let (began, count) = calls.entry(Arc::clone(key)).or_insert((now, 0));
        if now.saturating_duration_since(*began) >= SPAN {
            (*began, *count) = (now, 0);
        }
        *count += 1;
        match *count > MOST {
            true => Err(SPAN),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_stopped_and_over_after_a_second() {
        let (calls, now) = (Calls::default(), Instant::now());
        let (key, other): (Arc<str>, Arc<str>) = ("k".into(), "o".into());
        for _ in 0..MOST {
            assert_eq!(calls.count(&key, now), Ok(()));
        }
        assert_eq!(calls.count(&key, now), Err(SPAN));
        assert_eq!(calls.count(&other, now), Ok(()));
        assert_eq!(calls.count(&key, now + SPAN), Ok(()));
    }
}
