use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// An endpoint engine's data on its model. It is asked on demand.
#[derive(Debug, Default)]
pub struct EngineFacts {
    /// Tokens; 0: not known.
    context_window: AtomicU64,
    /// Unix microseconds until which it is not asked again.
    asked_until: AtomicI64,
}

/// An engine that answered is asked again after ten minutes, because it may have been restarted with other options.
const AGAIN: i64 = 600_000_000;
/// One that said nothing, after one.
const SOONER: i64 = 60_000_000;

impl EngineFacts {
    pub fn context_window(&self) -> Option<u64> {
        match self.context_window.load(Ordering::Relaxed) {
            0 => None,
            size => Some(size),
        }
    }

    /// Whether it is time to ask. Only one of several concurrent callers asks.
    pub fn begin_asking(&self, now_unix_micros: i64) -> bool {
        let until = now_unix_micros.saturating_add(SOONER);
        let begun = self
            .asked_until
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                (at <= now_unix_micros).then_some(until)
            });
        begun.is_ok()
    }

    /// It answered: with a size, or without one.
    pub fn told(&self, context_window: Option<u64>, now_unix_micros: i64) {
        self.context_window
            .store(context_window.unwrap_or(0), Ordering::Relaxed);
        let until = now_unix_micros.saturating_add(AGAIN);
        self.asked_until.store(until, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_asked_now_and_then_by_one_at_a_time() {
        let facts = EngineFacts::default();
        assert!(facts.begin_asking(0));
        assert!(!facts.begin_asking(SOONER - 1));
        assert!(facts.begin_asking(SOONER));
        facts.told(Some(8192), SOONER);
        assert_eq!(facts.context_window(), Some(8192));
        assert!(!facts.begin_asking(SOONER + AGAIN - 1));
        assert!(facts.begin_asking(SOONER + AGAIN));
        facts.told(None, 0);
        assert_eq!(facts.context_window(), None);
    }
}
