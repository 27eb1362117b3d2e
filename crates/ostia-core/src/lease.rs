use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::{BoxFuture, StoreError};

/// The state of the engine behind a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeaseState {
    /// Its job waits for nodes.
    Queued,
    /// Its job runs, but the engine does not answer yet.
    Starting,
    Running,
    /// It gets no new requests; running ones finish.
    Draining,
}

/// Where an endpoint's engine is, for as long as its holder renews the lease. Durations count from the moment of
/// reading, by the database's clock, so other clocks do not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub id: Arc<str>,
    /// The endpoint.
    pub slug: Arc<str>,
    /// The engine's base URL.
    pub url: Arc<str>,
    /// The addresses of the URL's host when the lease was taken.
    pub addresses: Arc<[IpAddr]>,
    /// The key that holds it.
    pub key_id: Arc<str>,
    pub state: LeaseState,
    /// Grows with every renewal.
    pub sequence: i64,
    pub ttl: Duration,
    /// The time until it ends.
    pub left: Duration,
    /// The time until it drains by itself.
    pub until: Option<Duration>,
    /// The time until the scheduler expects to start the engine's job.
    pub starts_in: Option<Duration>,
    /// 0: unlimited.
    pub max_in_flight: u32,
    /// Whether requests ran there a moment ago, on any replica.
    pub in_use: bool,
}

/// A call to take or renew a lease.
#[derive(Debug, Clone)]
pub struct Holding {
    /// The lease to renew; `None`: the one with this URL, or a new one.
    pub id: Option<String>,
    /// The id to use if a new lease is made.
    pub new_id: String,
    /// Must be larger than the last one; `None`: the next number.
    pub sequence: Option<i64>,
    pub slug: String,
    /// `None`: unchanged.
    pub url: Option<(String, Vec<IpAddr>)>,
    pub key_id: String,
    pub state: LeaseState,
    pub ttl: Duration,
    pub until: Option<Duration>,
    pub starts_in: Option<Duration>,
    pub max_in_flight: u32,
    /// The most leases that the endpoint may have.
    pub most: i64,
}

/// The result of a [`Holding`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// `new`: the lease was made by this call.
    Yes { lease: Lease, new: bool },
    /// The lease no longer exists, or belongs to another key.
    Gone,
    /// A later call was already received; its sequence.
    Stale(i64),
    /// Another key holds a lease on this URL.
    Taken,
    /// The endpoint has the most leases that it may have.
    TooMany,
}

impl LeaseState {
    pub const ALL: [Self; 4] = [Self::Queued, Self::Starting, Self::Running, Self::Draining];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining => "draining",
        }
    }

    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// Leases on endpoints, the same for all replicas.
pub trait Leases: Send + Sync {
    /// All leases that have not ended.
    fn all(&self) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>>;

    /// Renews a lease, or makes one.
    fn hold<'a>(&'a self, holding: &'a Holding) -> BoxFuture<'a, Result<Held, StoreError>>;

    /// Gives a lease back. `false`: this key has no lease with this id on this endpoint.
    fn give_back<'a>(
        &'a self,
        id: &'a str,
        slug: &'a str,
        key_id: &'a str,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Requests run on these leases. They then count as in use for this long.
    fn used<'a>(
        &'a self,
        ids: &'a [Arc<str>],
        believed: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}
