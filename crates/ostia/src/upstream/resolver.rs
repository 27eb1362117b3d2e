use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ostia_core::Clock;
use parking_lot::Mutex;

use super::client::within;

const FRESH: Duration = Duration::from_secs(30);
const FAILED: Duration = Duration::from_secs(1);
/// How long addresses stay usable after the name service stops responding.
const STALE: Duration = Duration::from_secs(300);
/// How long a lookup may take when older addresses are available.
const PATIENCE: Duration = Duration::from_secs(1);
/// Names come from fixtures and, within `allowed_hosts`, from adapters. More than this means that something loops.
const NAMES: usize = 4096;

/// Resolves host names. Results are cached for 30 s (failures for 1 s), and each name has at most one lookup running.
pub struct Resolver {
    clock: Arc<dyn Clock>,
    names: Mutex<HashMap<Box<str>, Arc<Name>>>,
}

/// A name has no address.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no address for the name: {0}")]
pub(super) struct NoAddress(Arc<str>);

#[derive(Default)]
struct Name {
    known: Mutex<Option<Known>>,
    /// Held by whoever queries the name service; the others wait for the result.
    asking: tokio::sync::Mutex<()>,
}

struct Known {
    answer: Result<Arc<[IpAddr]>, NoAddress>,
    ask_again: Instant,
    /// When the name service last gave `answer`; meaningless if that is an error.
    learnt: Instant,
}

impl Resolver {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            names: Mutex::default(),
        }
    }

    /// The addresses of `host` (a name or an address), alternating between IPv6 and IPv4.
    pub(super) async fn resolve(&self, host: &str) -> Result<Arc<[IpAddr]>, NoAddress> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Arc::new([address]));
        }
        let name = self.name(host);
        if let Some(answer) = name.fresh(self.clock.now()) {
            return answer;
        }
        let _asking = name.asking.lock().await;
        if let Some(answer) = name.fresh(self.clock.now()) {
            return answer;
        }
        let lookup = async {
            let addresses = tokio::net::lookup_host((host, 0)).await?;
            Ok(addresses.map(|address| address.ip()).collect())
        };
        name.ask(lookup, &*self.clock).await
    }

    fn name(&self, host: &str) -> Arc<Name> {
        let mut names = self.names.lock();
        if let Some(name) = names.get(host) {
            return Arc::clone(name);
        }
        if names.len() >= NAMES {
            names.clear();
        }
        let name = Arc::<Name>::default();
        names.insert(host.into(), Arc::clone(&name));
        name
    }

    #[cfg(test)]
    pub(super) fn preset(&self, host: &str, addresses: &[IpAddr]) {
        let _ = self
            .name(host)
            .learn(Ok(addresses.into()), self.clock.now());
    }
}

impl Name {
    fn fresh(&self, now: Instant) -> Option<Result<Arc<[IpAddr]>, NoAddress>> {
        let known = self.known.lock();
        known
            .as_ref()
            .filter(|known| now < known.ask_again)
            .map(|known| known.answer.clone())
    }

    /// Addresses to fall back on.
    fn stale(&self, now: Instant) -> Option<Arc<[IpAddr]>> {
        let known = self.known.lock();
        let known = known.as_ref().filter(|known| now < known.learnt + STALE)?;
        known.answer.as_ref().ok().map(Arc::clone)
    }

    /// Waits for a silent name service only if there is nothing to fall back on. Otherwise it must not use up the time
    /// that is meant for the connection.
    async fn ask(
        &self,
        lookup: impl Future<Output = io::Result<Vec<IpAddr>>>,
        clock: &dyn Clock,
    ) -> Result<Arc<[IpAddr]>, NoAddress> {
        let limit = self.stale(clock.now()).map(|_| PATIENCE);
        let found = match within(limit, lookup).await {
            Some(Ok(addresses)) => take_turns(addresses.into_iter()),
            Some(Err(error)) => Err(NoAddress(error.to_string().into())),
            None => Err(NoAddress("the name service does not respond".into())),
        };
        self.learn(found, clock.now())
    }

    /// A failure does not discard addresses that were good a moment ago.
    fn learn(
        &self,
        found: Result<Arc<[IpAddr]>, NoAddress>,
        now: Instant,
    ) -> Result<Arc<[IpAddr]>, NoAddress> {
        let lifetime = if found.is_ok() { FRESH } else { FAILED };
        let stale = self.stale(now);
        let mut known = self.known.lock();
        if let (Err(_), Some(old), Some(stale)) = (&found, known.as_mut(), stale) {
            old.ask_again = now + lifetime;
            return Ok(stale);
        }
        *known = Some(Known {
            answer: found.clone(),
            ask_again: now + lifetime,
            learnt: now,
        });
        found
    }
}

/// The name service's first choice, then the other address family, and so on (RFC 8305 section 4).
fn take_turns(addresses: impl Iterator<Item = IpAddr>) -> Result<Arc<[IpAddr]>, NoAddress> {
    let mut all: Vec<IpAddr> = Vec::new();
    for address in addresses {
        if !all.contains(&address) {
            all.push(address);
        }
    }
    let Some(first) = all.first() else {
        return Err(NoAddress("the name has no address".into()));
    };
    let prefers_v6 = first.is_ipv6();
    let (ours, others): (Vec<IpAddr>, Vec<IpAddr>) = all
        .iter()
        .partition(|address| address.is_ipv6() == prefers_v6);
    let (mut ours, mut others) = (ours.into_iter(), others.into_iter());
    let mut turns = Vec::with_capacity(all.len());
    while turns.len() < all.len() {
        turns.extend(ours.next());
        turns.extend(others.next());
    }
    Ok(turns.into())
}

#[cfg(test)]
mod tests {
    use ostia_core::ManualClock;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn families_take_turns_and_doubles_go() {
        let given = ["::1", "::2", "::2", "10.0.0.1", "::3", "10.0.0.2"].map(ip);
        let turns = take_turns(given.into_iter()).unwrap();
        let wanted = ["::1", "10.0.0.1", "::2", "10.0.0.2", "::3"].map(ip);
        assert_eq!(&*turns, &wanted);
        assert!(take_turns(std::iter::empty()).is_err());
    }

    #[test]
    fn answers_age_and_failures_spare_good_addresses_for_a_while() {
        let clock = ManualClock::at(0);
        let name = Name::default();
        let failed = || Err(NoAddress("down".into()));
        assert!(name.fresh(clock.now()).is_none());

        name.learn(Ok([ip("10.0.0.1")].into()), clock.now())
            .unwrap();
        clock.advance(FRESH - Duration::from_millis(1));
        assert!(name.fresh(clock.now()).is_some());
        clock.advance(Duration::from_millis(1));
        assert!(name.fresh(clock.now()).is_none());

        assert!(name.learn(failed(), clock.now()).is_ok());
        assert!(name.fresh(clock.now()).is_some());
        clock.advance(FAILED);
        assert!(name.fresh(clock.now()).is_none());

        clock.advance(STALE);
        assert!(name.learn(failed(), clock.now()).is_err());
        assert!(matches!(name.fresh(clock.now()), Some(Err(_))));
    }

    #[tokio::test]
    async fn a_silent_name_service_leaves_time_for_addresses_that_were_good() {
        let clock = ManualClock::at(0);
        let name = Name::default();
        let good = [ip("10.0.0.1")];
        let first = name.ask(async { Ok(good.to_vec()) }, &clock).await;
        assert_eq!(*first.unwrap(), good);
        clock.advance(FRESH);
        let silent = std::future::pending();
        // Shorter than the default `connect_timeout`.
        let asked = within(Some(Duration::from_secs(4)), name.ask(silent, &clock)).await;
        assert_eq!(*asked.unwrap().unwrap(), good);
        assert!(name.fresh(clock.now()).is_some());

        clock.advance(STALE);
        let silent = std::future::pending();
        let asked = within(Some(2 * PATIENCE), name.ask(silent, &clock)).await;
        assert!(asked.is_none(), "there is nothing to fall back on");
    }

    #[tokio::test]
    async fn literals_need_no_name_service() {
        let resolver = Resolver::new(Arc::new(ManualClock::at(0)));
        assert_eq!(&*resolver.resolve("::1").await.unwrap(), &[ip("::1")]);
        assert_eq!(
            &*resolver.resolve("127.0.0.1").await.unwrap(),
            &[ip("127.0.0.1")]
        );
    }

    #[tokio::test]
    async fn localhost_is_found() {
        let resolver = Resolver::new(Arc::new(ManualClock::at(0)));
        let found = resolver.resolve("localhost").await.unwrap();
        assert!(found.iter().all(IpAddr::is_loopback));
    }
}
