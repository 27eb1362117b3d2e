use std::sync::Arc;
use std::time::{Duration, Instant};

use ostia_core::{BoxFuture, Clock};
use quick_cache::sync::Cache as QuickCache;

use super::{SignInError, Verified};

const GOOD: usize = 100_000;
const BAD: usize = 10_000;
/// How long a refusal is remembered.
const NEGATIVE_TTL: Duration = Duration::from_secs(5);
/// How soon a provider that did not answer is asked again.
const RETRY_OUTAGE: Duration = Duration::from_secs(1);

/// What providers said, by the SHA-256 of the whole credential. Refusals live apart, so that a flood of bad
/// credentials cannot push good ones out; outages are not remembered as refusals.
pub(super) struct Cache {
    good: QuickCache<[u8; 32], Arc<Entry>>,
    bad: QuickCache<[u8; 32], (Instant, SignInError)>,
    clock: Arc<dyn Clock>,
}

struct Entry {
    verified: Arc<Verified>,
    fresh_until: Instant,
    usable_until: Instant,
}

impl Cache {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            good: QuickCache::new(GOOD),
            bad: QuickCache::new(BAD),
            clock,
        }
    }

    /// The cached answer, or the provider's. Many callers with one credential ask once.
    pub(super) async fn lookup<'a, F>(
        &self,
        hash: [u8; 32],
        ask: F,
    ) -> Result<Arc<Verified>, SignInError>
    where
        F: FnOnce() -> BoxFuture<'a, Result<Verified, SignInError>>,
    {
        let stale = match self.good.get(&hash) {
            Some(entry) if self.clock.now() < entry.fresh_until => {
                return Ok(Arc::clone(&entry.verified));
            }
            other => other,
        };
        if let Some((until, error)) = self.bad.get(&hash)
            && self.clock.now() < until
        {
            return Err(error);
        }
        if let Some(stale) = &stale {
            // Only the entry that was seen is dropped: another caller may have renewed it by now.
            self.good
                .remove_if(&hash, |entry| Arc::ptr_eq(entry, stale));
        }
        self.ask_once(hash, stale, ask).await
    }

    async fn ask_once<'a, F>(
        &self,
        hash: [u8; 32],
        stale: Option<Arc<Entry>>,
        ask: F,
    ) -> Result<Arc<Verified>, SignInError>
    where
        F: FnOnce() -> BoxFuture<'a, Result<Verified, SignInError>>,
    {
        let guard = match self.good.get_value_or_guard_async(&hash).await {
            Ok(entry) => return Ok(Arc::clone(&entry.verified)),
            Err(guard) => guard,
        };
        if let Some((until, error)) = self.bad.get(&hash)
            && self.clock.now() < until
        {
            return Err(error);
        }
        let now = self.clock.now();
        match ask().await {
            Ok(verified) => {
                let entry = Entry {
                    fresh_until: now + verified.fresh_for,
                    usable_until: now + verified.usable_for,
                    verified: Arc::new(verified),
                };
                let verified = Arc::clone(&entry.verified);
                // Err: the entry was purged meanwhile; the answer holds for this request all the same.
                let _ = guard.insert(Arc::new(entry));
                Ok(verified)
            }
            Err(error) if error.is_outage() => {
                let stale = stale
                    .filter(|stale| now < stale.usable_until)
                    .ok_or(error)?;
                let verified = Arc::clone(&stale.verified);
                let _ = guard.insert(Arc::new(Entry {
                    verified: Arc::clone(&verified),
                    fresh_until: now + RETRY_OUTAGE,
                    usable_until: stale.usable_until,
                }));
                Ok(verified)
            }
            Err(error) => {
                self.bad.insert(hash, (now + NEGATIVE_TTL, error.clone()));
                Err(error)
            }
        }
    }

    pub(super) fn purge(&self) {
        self.good.clear();
        self.bad.clear();
    }
}
