use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use ostia_core::Clock;
use parking_lot::Mutex;
use quick_cache::sync::Cache as QuickCache;

use super::house::Guest;
use super::peers::Ticket;
use super::{Authenticator, SignInError, Verified};
use crate::runtime::spawn;

const GOOD: usize = 100_000;
const BAD: usize = 10_000;
/// How long a refusal is remembered.
const NEGATIVE_TTL: Duration = Duration::from_secs(10);
/// How soon a provider that did not answer is asked again, for a caller who may go on meanwhile.
const RETRY_OUTAGE: Duration = Duration::from_secs(1);
/// For how long after that callers need not wait for the answer: longer than a query that hangs.
const HANGING: Duration = Duration::from_secs(10);
/// Concurrent queries. Providers allow far fewer; the rest wait.
const FLIGHTS: usize = 4_096;

/// The SHA-256 of the whole credential. It stands for the issuer too: which provider is asked follows from the credential.
pub(super) type Hash = [u8; 32];

/// The providers' answers. Refusals are kept separately, so that a flood of bad credentials cannot evict good ones;
/// outages are not remembered as refusals.
pub(super) struct Cache {
    good: QuickCache<Hash, Arc<Entry>>,
    bad: QuickCache<Hash, (Instant, SignInError)>,
    flights: Mutex<HashMap<Hash, Flight>>,
    /// Counts purges: an answer to a query from before a purge is not kept.
    generation: AtomicU64,
    next_flight: AtomicU64,
    /// How long a good answer is used while its provider does not answer.
    max_stale: Duration,
    clock: Arc<dyn Clock>,
}

/// The cached result for a credential.
pub(super) enum Known {
    Good(Arc<Guest>),
    /// Valid, but due for renewal; nobody waits for that.
    Ageing(Arc<Guest>),
    Bad(SignInError),
    Nothing,
}

/// The last result for a credential, if it is remembered; it may have expired.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    Never,
    Bad,
    /// A provider knew it, whether or not its holder was let in.
    Real,
}

struct Entry {
    verified: Arc<Guest>,
    renew_at: Instant,
    fresh_until: Instant,
    usable_until: Instant,
}

/// One query to a provider, awaited by many requests.
#[derive(Clone)]
pub(super) struct Flight {
    number: u64,
    pub(super) answer: Shared<BoxFuture<'static, Answer>>,
}

pub(super) type Answer = Result<Arc<Guest>, SignInError>;

impl Cache {
    pub(super) fn new(max_stale: Duration, clock: Arc<dyn Clock>) -> Self {
        Self {
            good: QuickCache::new(GOOD),
            bad: QuickCache::new(BAD),
            flights: Mutex::default(),
            generation: AtomicU64::new(0),
            next_flight: AtomicU64::new(0),
            max_stale,
            clock,
        }
    }

    pub(super) fn known(&self, hash: &Hash) -> Known {
        let now = self.clock.now();
        if let Some(entry) = self.good.get(hash)
            && now < entry.fresh_until
        {
            let verified = Arc::clone(&entry.verified);
            return match now < entry.renew_at {
                true => Known::Good(verified),
                false => Known::Ageing(verified),
            };
        }
        match self.bad.get(hash) {
            Some((until, error)) if now < until => Known::Bad(error),
            _ => Known::Nothing,
        }
    }

    pub(super) fn met(&self, hash: &Hash) -> Met {
        match self.bad.peek(hash) {
            Some((_, error)) if error.is_bad() => Met::Bad,
            Some(_) => Met::Real,
            None if self.good.peek(hash).is_some() => Met::Real,
            None => Met::Never,
        }
    }

    /// The query for a credential that is already under way.
    pub(super) fn flight(&self, hash: &Hash) -> Option<Flight> {
        self.flights.lock().get(hash).cloned()
    }

    /// Asks again without waiting.
    pub(super) fn renew(
        self: &Arc<Self>,
        hash: Hash,
        provider: &Arc<dyn Authenticator>,
        token: &str,
    ) {
        drop(self.fly(hash, provider, token, None));
    }

    pub(super) fn purge(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.flights.lock().clear();
        self.good.clear();
        self.bad.clear();
    }

    /// Asks the provider, or joins a query under way: many callers with one credential make one query, and a caller
    /// that leaves does not stop it. `None`: too many queries are under way.
    pub(super) fn fly(
        self: &Arc<Self>,
        hash: Hash,
        provider: &Arc<dyn Authenticator>,
        token: &str,
        ticket: Option<Ticket>,
    ) -> Option<Flight> {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(&hash) {
            return Some(flight.clone());
        }
        if flights.len() >= FLIGHTS {
            return None;
        }
        let number = self.next_flight.fetch_add(1, Ordering::Relaxed);
        let mut landing = Landing {
            cache: Arc::clone(self),
            ticket,
            hash,
            number,
            generation: self.generation.load(Ordering::SeqCst),
        };
        let (provider, token) = (Arc::clone(provider), token.to_owned());
        let outage = provider.outage();
        // On a task of its own, so that one caller's hang-up does not lose the answer for all others. The task cannot
        // end before its flight is in the map: it needs the same lock.
        let task = spawn(async move { landing.settle(provider.verify(&token).await) });
        let answer = task
            .map(move |ended| ended.unwrap_or(Err(outage)))
            .boxed()
            .shared();
        let flight = Flight { number, answer };
        flights.insert(hash, flight.clone());
        Some(flight)
    }

    /// Whether there is a result to use while a provider does not answer.
    pub(super) fn is_usable(&self, hash: &Hash) -> bool {
        let entry = self.good.get(hash);
        entry.is_some_and(|entry| self.clock.now() < entry.usable_until)
    }

    fn accept(&self, hash: Hash, verified: Verified) -> Arc<Guest> {
        let now = self.clock.now();
        let verified = Arc::new(Guest::new(verified, self.clock.unix_micros()));
        let entry = Entry {
            renew_at: now + verified.fresh_for * 3 / 4,
            fresh_until: now + verified.fresh_for,
            usable_until: now + self.max_stale.max(verified.fresh_for),
            verified: Arc::clone(&verified),
        };
        self.bad.remove(&hash);
        self.good.insert(hash, Arc::new(entry));
        verified
    }

    pub(super) fn refuse(&self, hash: Hash, error: &SignInError) {
        self.good.remove(&hash);
        let until = self.clock.now() + NEGATIVE_TTL;
        self.bad.insert(hash, (until, error.clone()));
    }

    /// The provider did not answer in time: callers who may go on do so, and it is asked again soon, while they go on.
    pub(super) fn outlast(&self, hash: Hash) -> Option<Arc<Guest>> {
        let entry = self.good.get(&hash)?;
        let now = self.clock.now();
        if now >= entry.usable_until {
            return None;
        }
        let again = (now + RETRY_OUTAGE).min(entry.usable_until);
        let kept = Entry {
            renew_at: again,
            fresh_until: (again + HANGING).min(entry.usable_until),
            usable_until: entry.usable_until,
            verified: Arc::clone(&entry.verified),
        };
        self.good.insert(hash, Arc::new(kept));
        Some(Arc::clone(&entry.verified))
    }
}

/// Removes a flight from the map, however its task ends.
struct Landing {
    cache: Arc<Cache>,
    hash: Hash,
    number: u64,
    generation: u64,
    /// The peer that asked first.
    ticket: Option<Ticket>,
}

impl Landing {
    fn settle(&mut self, outcome: Result<Verified, SignInError>) -> Answer {
        let cache = &self.cache;
        if let Err(error) = &outcome
            && let Some(ticket) = self.ticket.take()
        {
            if error.is_guess() {
                ticket.spend();
            } else if error.is_bad() {
                ticket.repeat();
            }
        }
        if cache.generation.load(Ordering::SeqCst) != self.generation {
            let now = cache.clock.unix_micros();
            return outcome.map(|verified| Arc::new(Guest::new(verified, now)));
        }
        let answer = match outcome {
            Ok(verified) => Ok(cache.accept(self.hash, verified)),
            Err(error) if error.is_outage() => cache.outlast(self.hash).ok_or(error),
            Err(error) => {
                cache.refuse(self.hash, &error);
                Err(error)
            }
        };
        // A purge counts before it clears: if this check misses a purge, that purge clears the value just inserted.
        if cache.generation.load(Ordering::SeqCst) != self.generation {
            cache.good.remove(&self.hash);
            cache.bad.remove(&self.hash);
        }
        answer
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flights = self.cache.flights.lock();
        if flights
            .get(&self.hash)
            .is_some_and(|flight| flight.number == self.number)
        {
            flights.remove(&self.hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ostia_core::{Identity, ManualClock};
    use std::sync::OnceLock;

    /// Purges on every read.
    struct PurgingClock {
        cache: OnceLock<Arc<Cache>>,
        hands: ManualClock,
    }

    impl Clock for PurgingClock {
        fn now(&self) -> Instant {
            if let Some(cache) = self.cache.get() {
                cache.purge();
            }
            self.hands.now()
        }

        fn unix_micros(&self) -> i64 {
            self.hands.unix_micros()
        }
    }

    #[test]
    fn a_purge_in_the_middle_of_keeping_an_answer_is_not_lost() {
        let verified = Verified {
            identity: Arc::new(Identity::default()),
            expires_at: None,
            vouched_at: None,
            fresh_for: NEGATIVE_TTL,
        };
        let hash = [7; 32];
        for outcome in [Ok(verified), Err(SignInError::InvalidKey)] {
            let clock = Arc::new(PurgingClock {
                cache: OnceLock::new(),
                hands: ManualClock::at(0),
            });
            let cache = Arc::new(Cache::new(Duration::ZERO, Arc::clone(&clock) as _));
            let mut landing = Landing {
                cache: Arc::clone(&cache),
                hash,
                number: 0,
                generation: 0,
                ticket: None,
            };
            assert!(clock.cache.set(Arc::clone(&cache)).is_ok());
            let answered = landing.settle(outcome.clone());
            assert_eq!(answered.is_ok(), outcome.is_ok());
            assert!(cache.met(&hash) == Met::Never);
        }
    }
}
