use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// So many failures in a row make an endpoint suspect.
const SUSPECT_AFTER: u32 = 5;
/// For so long after the last of them, in microseconds; then one request may find out.
const REST: u64 = 10_000_000;

/// Whether an endpoint failed so often lately that others are asked before it. It never takes an endpoint out: the only
/// one there is gets its requests all the same.
///
/// All times are microseconds of the fleet's monotonic clock. Written from many tasks, read without a lock.
#[derive(Debug, Default)]
pub struct Breaker {
    /// Failures since the last success.
    failures: AtomicU32,
    /// Until when a suspect endpoint rests.
    rests_until: AtomicU64,
}

impl Breaker {
    pub fn is_suspect(&self, now: u64) -> bool {
        self.failures.load(Ordering::Relaxed) >= SUSPECT_AFTER
            && now < self.rests_until.load(Ordering::Relaxed)
    }

    /// A request is sent. The first one after the rest finds out how the endpoint is; it rests on for all others until that
    /// is known.
    pub fn sent(&self, now: u64) {
        if self.failures.load(Ordering::Relaxed) >= SUSPECT_AFTER && !self.is_suspect(now) {
            self.rest(now);
        }
    }

    /// The endpoint did its part.
    pub fn succeeded(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// A request failed on the endpoint's account.
    pub fn failed(&self, now: u64) {
        // Beyond the threshold the number says nothing more, and it must not run over.
        let _ = self
            .failures
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |failures| {
                (failures < SUSPECT_AFTER).then_some(failures + 1)
            });
        self.rest(now);
    }

    fn rest(&self, now: u64) {
        self.rests_until
            .fetch_max(now.saturating_add(REST), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{Breaker, REST, SUSPECT_AFTER};

    fn tripped(now: u64) -> Breaker {
        let breaker = Breaker::default();
        for _ in 0..SUSPECT_AFTER {
            assert!(!breaker.is_suspect(now));
            breaker.failed(now);
        }
        assert!(breaker.is_suspect(now));
        breaker
    }

    #[test]
    fn failures_in_a_row_count_and_a_success_forgets_them() {
        let breaker = Breaker::default();
        for _ in 0..10 {
            (1..SUSPECT_AFTER).for_each(|_| breaker.failed(7));
            assert!(!breaker.is_suspect(7));
            breaker.succeeded();
        }
        let breaker = tripped(7);
        breaker.succeeded();
        assert!(!breaker.is_suspect(7));
    }

    #[test]
    fn after_its_rest_one_request_finds_out() {
        let breaker = tripped(0);
        assert!(breaker.is_suspect(REST - 1));
        breaker.sent(REST - 1);
        assert!(
            !breaker.is_suspect(REST),
            "who is sent there anyway changes nothing"
        );
        breaker.sent(REST);
        assert!(breaker.is_suspect(REST), "the others wait for the one");
        breaker.failed(REST + 5);
        assert!(breaker.is_suspect(2 * REST + 4));
        breaker.sent(2 * REST + 5);
        breaker.succeeded();
        assert!(!breaker.is_suspect(2 * REST + 5));
    }

    #[test]
    fn who_finds_out_and_never_answers_does_not_block_the_next() {
        let breaker = tripped(0);
        breaker.sent(REST);
        assert!(!breaker.is_suspect(2 * REST));
    }
}
