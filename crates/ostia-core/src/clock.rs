use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The source of time for all of Ostia, so that tests can control it.
pub trait Clock: Send + Sync + 'static {
    /// Monotonic time: limits, timeouts, expiry of caches.
    fn now(&self) -> Instant;
    /// Wall time in microseconds since the Unix epoch: ledger stamps and token expiry only.
    fn unix_micros(&self) -> i64;
}

/// Whole milliseconds.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The machine's clocks.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the machine's clocks"
)]
impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn unix_micros(&self) -> i64 {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| {
                i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
            })
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct ManualClock {
    start: Instant,
    wall_micros: AtomicI64,
    moved_nanos: AtomicU64,
}

impl ManualClock {
    /// Starts at the given wall time (microseconds since the Unix epoch).
    pub fn at(wall_micros: i64) -> Self {
        Self {
            start: SystemClock.now(),
            wall_micros: AtomicI64::new(wall_micros),
            moved_nanos: AtomicU64::new(0),
        }
    }

    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.moved_nanos.fetch_add(nanos, Ordering::SeqCst);
    }

    /// Moves the wall clock alone, as an administrator or NTP does, by this many microseconds.
    pub fn jump_wall(&self, by_micros: i64) {
        self.wall_micros.fetch_add(by_micros, Ordering::SeqCst);
    }

    fn moved(&self) -> Duration {
        Duration::from_nanos(self.moved_nanos.load(Ordering::SeqCst))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.start + self.moved()
    }

    fn unix_micros(&self) -> i64 {
        self.wall_micros.load(Ordering::SeqCst)
            + i64::try_from(self.moved().as_micros()).unwrap_or(i64::MAX)
    }
}
