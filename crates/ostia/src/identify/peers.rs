use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::HeaderMap;
use ostia_core::Clock;
use parking_lot::Mutex;
use quick_cache::sync::Cache as QuickCache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::listen::{Inbound, network};

/// Bad credentials one peer may try in a window before it has to wait.
const GUESSES: u32 = 30;
const PLACES: usize = GUESSES as usize;
const WINDOW: Duration = Duration::from_secs(60);
/// Peers that are remembered.
const PEERS: usize = 16_384;

/// Where a request comes from, as `listen` says it.
#[derive(Debug, Clone, Copy)]
pub struct Sender {
    /// The socket's other end.
    pub peer_ip: IpAddr,
    /// The right-most hop that is not a trusted proxy.
    pub origin_ip: IpAddr,
}

impl Sender {
    pub fn of(inbound: &Inbound) -> Self {
        Self {
            peer_ip: inbound.peer_ip,
            origin_ip: inbound.origin_ip,
        }
    }
}

/// Limits guessing. It applies only to unknown credentials, before the provider is asked, so callers whose credential
/// was valid at its last check are never affected, even behind an address that guesses.
pub(super) struct Peers {
    seen: QuickCache<u128, Arc<Mutex<Window>>>,
    untold: Arc<Untold>,
    /// Without trusted proxies everybody behind a local proxy has one address.
    spare_proxied_loopback: bool,
    /// Whether the local proxy was logged.
    warned: AtomicBool,
    clock: Arc<dyn Clock>,
}

/// Guesses that other replicas have not heard of, by network; `None`: nobody asks for them.
#[derive(Default)]
struct Untold(Mutex<Option<HashMap<u128, u32>>>);

struct Window {
    since: Instant,
    /// Credentials that a provider, or their shape, showed to be bad.
    guesses: u32,
    /// Credentials already known to be bad, and expired ones, such as an old token in a loop. They delay nobody else.
    repeats: u32,
    /// One for each guess that is left. A query to a provider holds one until its answer arrives, so that concurrent
    /// guesses count like guesses in a row.
    places: Arc<Semaphore>,
}

/// A peer's permit to have a provider asked about one unknown credential. It belongs to the query, not to the caller:
/// hanging up does not undo the guess.
pub(super) struct Ticket {
    held: Option<(Arc<Mutex<Window>>, OwnedSemaphorePermit)>,
    peer: Peer,
    untold: Arc<Untold>,
    clock: Arc<dyn Clock>,
}

/// One peer, if limits apply to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(Option<u128>);

impl Peers {
    pub(super) fn new(trusted_proxies: bool, clock: Arc<dyn Clock>) -> Self {
        Self {
            seen: QuickCache::new(PEERS),
            untold: Arc::default(),
            spare_proxied_loopback: !trusted_proxies,
            warned: AtomicBool::new(false),
            clock,
        }
    }

    pub(super) fn peer(&self, headers: &HeaderMap, sender: Sender) -> Peer {
        let proxied = self.is_proxied_loopback(headers, sender);
        Peer((!proxied).then(|| network(sender.origin_ip)))
    }

    /// Logs once that a local proxy is not trusted: every caller behind it has its address.
    pub(super) fn notice_proxy(&self, headers: &HeaderMap, sender: Sender) {
        if self.warned.load(Ordering::Relaxed)
            || !self.is_proxied_loopback(headers, sender)
            || self.warned.swap(true, Ordering::Relaxed)
        {
            return;
        }
        tracing::warn!(
            peer_ip = %sender.peer_ip,
            "a request from this machine has X-Forwarded-For, which is not believed, so that all callers behind that proxy \
             have one address and limits by address do not apply to them; add to ostia.toml, below [server]: \
             trusted_proxies = [\"{}\"]",
            sender.peer_ip.to_canonical()
        );
    }

    fn is_proxied_loopback(&self, headers: &HeaderMap, sender: Sender) -> bool {
        self.spare_proxied_loopback
            && sender.peer_ip.to_canonical().is_loopback()
            && headers.contains_key("x-forwarded-for")
    }

    /// How long a peer has to wait until an unknown credential is checked.
    pub(super) fn barred(&self, peer: Peer) -> Option<Duration> {
        self.wait(peer, |window| window.guesses)
    }

    /// The same for a credential that is known to be bad.
    pub(super) fn barred_repeat(&self, peer: Peer) -> Option<Duration> {
        self.wait(peer, |window| window.guesses.saturating_add(window.repeats))
    }

    /// Waits for one of the peer's places; `Err`: how long to stay away.
    pub(super) async fn enter(&self, peer: Peer) -> Result<Ticket, Duration> {
        let ticket = |held| Ticket {
            held,
            peer,
            untold: Arc::clone(&self.untold),
            clock: Arc::clone(&self.clock),
        };
        let Some(window) = self.window(peer) else {
            return Ok(ticket(None));
        };
        let places = window.lock().now(self.clock.now()).places();
        match places.acquire_owned().await {
            Ok(place) => Ok(ticket(Some((window, place)))),
            // Closed by the last guess of the window.
            Err(_) => Err(self.barred(peer).unwrap_or(WINDOW)),
        }
    }

    /// A credential for which no provider had to be asked.
    pub(super) fn guessed(&self, peer: Peer) {
        self.untold.note(peer);
        self.count(peer);
    }

    /// The guesses since the last call, by network.
    pub(super) fn take_guesses(&self) -> Vec<(u128, u32)> {
        let untold = self.untold.0.lock().replace(HashMap::new());
        untold.unwrap_or_default().into_iter().collect()
    }

    /// Guesses that other replicas saw.
    pub(super) fn guessed_elsewhere(&self, network: u128, times: u32) {
        for _ in 0..times.min(GUESSES) {
            self.count(Peer(Some(network)));
        }
    }

    fn count(&self, peer: Peer) {
        if let Some(window) = self.window(peer) {
            let mut window = window.lock();
            window.now(self.clock.now()).guess();
            window.places.forget_permits(1);
        }
    }

    pub(super) fn repeated(&self, peer: Peer) {
        if let Some(window) = self.window(peer) {
            window.lock().now(self.clock.now()).repeat();
        }
    }

    fn wait(&self, peer: Peer, count: impl Fn(&Window) -> u32) -> Option<Duration> {
        let window = self.seen.get(&peer.0?)?;
        let window = window.lock();
        let end = window.since + WINDOW;
        let left = end.checked_duration_since(self.clock.now())?;
        (count(&window) >= GUESSES && !left.is_zero()).then_some(left)
    }

    fn window(&self, peer: Peer) -> Option<Arc<Mutex<Window>>> {
        let made = self
            .seen
            .get_or_insert_with::<_, std::convert::Infallible>(&peer.0?, || {
                Ok(Arc::new(Mutex::new(Window::begin(self.clock.now()))))
            });
        let Ok(window) = made;
        Some(window)
    }
}

impl Untold {
    fn note(&self, peer: Peer) {
        if let (Some(network), Some(untold)) = (peer.0, &mut *self.0.lock())
            && (untold.len() < PEERS || untold.contains_key(&network))
        {
            *untold.entry(network).or_default() += 1;
        }
    }
}

impl Window {
    fn begin(now: Instant) -> Self {
        Self {
            since: now,
            guesses: 0,
            repeats: 0,
            places: Arc::new(Semaphore::new(PLACES)),
        }
    }

    /// The current window. It begins with its first guess.
    fn now(&mut self, now: Instant) -> &mut Self {
        let untouched = self.guesses == 0 && self.repeats == 0;
        if untouched {
            self.since = now;
        } else if now >= self.since + WINDOW {
            *self = Self::begin(now);
        }
        self
    }

    fn places(&self) -> Arc<Semaphore> {
        Arc::clone(&self.places)
    }

    fn guess(&mut self) {
        self.guesses = self.guesses.saturating_add(1);
        if self.guesses >= GUESSES {
            self.places.close();
        }
    }

    fn repeat(&mut self) {
        self.repeats = self.repeats.saturating_add(1);
    }
}

impl Ticket {
    /// The provider said that it was a guess.
    pub(super) fn spend(self) {
        if let Some((window, place)) = self.held {
            self.untold.note(self.peer);
            place.forget();
            window.lock().now(self.clock.now()).guess();
        }
    }

    /// The provider knew it, but no longer accepts it.
    pub(super) fn repeat(self) {
        if let Some((window, _)) = self.held {
            window.lock().now(self.clock.now()).repeat();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ostia_core::ManualClock;

    fn sender(ip: &str) -> Sender {
        let ip = ip.parse().unwrap();
        Sender {
            peer_ip: ip,
            origin_ip: ip,
        }
    }

    fn forwarded() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "1.2.3.4".parse().unwrap());
        headers
    }

    #[test]
    fn a_guesser_waits_and_its_neighbours_do_not() {
        let clock = Arc::new(ManualClock::at(0));
        let peers = Peers::new(false, Arc::clone(&clock) as _);
        let peer = |ip| peers.peer(&HeaderMap::new(), sender(ip));
        for _ in 0..GUESSES {
            assert_eq!(peers.barred(peer("2001:db8::1")), None);
            peers.guessed(peer("2001:db8::1"));
        }
        assert_eq!(peers.barred(peer("2001:db8::ffff")), Some(WINDOW));
        assert_eq!(peers.barred(peer("2001:db8:0:1::1")), None);
        assert_eq!(peers.barred(peer("192.0.2.1")), None);
        clock.advance(WINDOW);
        assert_eq!(peers.barred(peer("2001:db8::1")), None);
    }

    #[test]
    fn guesses_are_counted_over_replicas() {
        let clock = Arc::new(ManualClock::at(0));
        let [here, there] = [(), ()].map(|()| Peers::new(false, Arc::clone(&clock) as _));
        let peer = here.peer(&HeaderMap::new(), sender("192.0.2.1"));
        here.guessed(peer);
        assert!(here.take_guesses().is_empty(), "nobody had asked before");
        for _ in 1..GUESSES {
            here.guessed(peer);
        }
        there.guessed(peer);
        let guesses = here.take_guesses();
        assert_eq!(guesses.len(), 1);
        for (network, times) in guesses {
            there.guessed_elsewhere(network, times);
        }
        assert!(here.barred(peer).is_some() && there.barred(peer).is_some());
        assert!(here.take_guesses().is_empty(), "told once");
        assert!(there.take_guesses().is_empty(), "not told back");
    }

    #[test]
    fn an_old_token_in_a_loop_bars_only_itself() {
        let peers = Peers::new(false, Arc::new(ManualClock::at(0)));
        let peer = peers.peer(&HeaderMap::new(), sender("192.0.2.1"));
        for _ in 0..GUESSES {
            peers.repeated(peer);
        }
        assert!(peers.barred_repeat(peer).is_some());
        assert_eq!(peers.barred(peer), None);
    }

    #[test]
    fn everybody_behind_an_unknown_local_proxy_is_not_one_peer() {
        let clock = || Arc::new(ManualClock::at(0)) as Arc<dyn Clock>;
        let without = Peers::new(false, clock());
        assert!(without.peer(&forwarded(), sender("127.0.0.1")).0.is_none());
        assert!(
            without
                .peer(&HeaderMap::new(), sender("127.0.0.1"))
                .0
                .is_some()
        );
        assert!(without.peer(&forwarded(), sender("192.0.2.1")).0.is_some());
        let with = Peers::new(true, clock());
        assert!(with.peer(&forwarded(), sender("127.0.0.1")).0.is_some());
    }
}
