use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::sync::Notify;

use super::guests::{Guests, Held};
use super::{Guest, Tls};
use crate::settings::Server;

/// How much time responses have for an honest end once the drain limit has passed.
const GIVE_UP_GRACE: Duration = Duration::from_secs(2);

/// How much longer a connection stays open than clients are told, so that a request sent at the last moment still
/// arrives.
const ON_ITS_WAY: Duration = Duration::from_secs(2);

/// The settings of one listener. A duration of zero means no limit.
#[derive(Clone)]
pub struct Options {
    /// Connections beyond this are answered with 503 (under TLS: closed) as soon as they are accepted.
    pub max_connections: usize,
    /// How many of them may come from one address. Behind a trusted proxy, the most concurrent requests of one address.
    pub connections_per_address: usize,
    /// For TLS and the first head together, and for each later head from its first byte on.
    pub header_timeout: Duration,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
    /// The idle time that clients are told; zero: none.
    pub announced_idle: Duration,
    /// How long a client may leave waiting bytes unread.
    pub write_idle_timeout: Duration,
    /// The time between [`super::Drain::give_up`] and the end of whatever is still open.
    pub give_up_grace: Duration,
    /// Peers whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Vec<IpNet>,
    pub tls: Option<Arc<Tls>>,
    pub connections: Arc<Connections>,
}

impl Options {
    pub fn new(server: &Server, tls: Option<Arc<Tls>>) -> Self {
        Self {
            max_connections: server.max_connections,
            connections_per_address: server.connections_per_address,
            header_timeout: server.header_timeout,
            idle_timeout: server.idle_timeout + ON_ITS_WAY,
            announced_idle: server.idle_timeout,
            write_idle_timeout: server.write_idle_timeout,
            give_up_grace: GIVE_UP_GRACE,
            trusted_proxies: server.trusted_proxies.clone(),
            tls,
            connections: Arc::default(),
        }
    }

    /// The most connections of one address. Always leaves some for others.
    pub(super) fn share(&self) -> usize {
        self.connections_per_address
            .min(self.max_connections.div_ceil(2))
    }

    /// Whether an address has a share of its own. Loopback addresses and trusted proxies have none, because they act
    /// for others.
    pub(super) fn has_share(&self, peer: IpAddr) -> bool {
        !peer.is_loopback() && !self.trusted_proxies.iter().any(|net| net.contains(&peer))
    }

    /// For [`super::serve`], which picks up replacements.
    pub fn swappable(self) -> Arc<ArcSwap<Self>> {
        Arc::new(ArcSwap::from_pointee(self))
    }
}

/// Counts connections, for metrics and so that [`super::serve`] can wait for the last one.
#[derive(Default)]
pub struct Connections {
    open: AtomicUsize,
    refused: AtomicU64,
    ended: Notify,
    guests: Arc<Guests>,
}

impl Connections {
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Connections refused because `max_connections` were open, or the share of their address.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Requests of unknown callers that the access log only counted.
    pub fn untold(&self) -> u64 {
        self.guests.untold()
    }

    pub(super) fn guest(&self, ip: IpAddr) -> Arc<Guest> {
        self.guests.guest(ip)
    }

    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one more connection until the value is dropped. Fails if the limit of all connections, or of its address,
    /// is reached.
    pub(super) fn enter(
        self: &Arc<Self>,
        guest: &Arc<Guest>,
        peer: IpAddr,
        options: &Options,
    ) -> Result<Open, Full> {
        let share = match options.has_share(peer) {
            true => Some(guest.connection(options.share()).ok_or(Full::Address)?),
            false => None,
        };
        let limit = options.max_connections;
        self.open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| {
                (open < limit).then_some(open + 1)
            })
            .map_err(|_| Full::All)?;
        Ok(Open {
            connections: Arc::clone(self),
            _share: share,
        })
    }

    pub(super) async fn none_left(&self) {
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            ended.as_mut().enable();
            if self.open() == 0 {
                return;
            }
            ended.await;
        }
    }
}

/// Which limit refused a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    All,
    Address,
}

/// One open connection.
pub(super) struct Open {
    connections: Arc<Connections>,
    _share: Option<Held>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.open.fetch_sub(1, Ordering::AcqRel);
        self.connections.ended.notify_waiters();
    }
}
