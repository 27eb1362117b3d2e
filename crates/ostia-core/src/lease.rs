use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::{BoxFuture, StoreError};

/// How far the engine behind a lease is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeaseState {
    /// Its job waits for nodes.
    Queued,
    /// Its job runs, and the engine does not answer yet.
    Starting,
    Running,
    /// It gets no new requests; those that run there end.
    Draining,
}

/// Where an endpoint's engine is, for as long as somebody says so. What is told as a duration counts from the moment of the
/// reading, by the database's clock: nobody else's clock matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub id: Arc<str>,
    /// The endpoint.
    pub slug: Arc<str>,
    /// The engine's base URL.
    pub url: Arc<str>,
    /// Where the URL's host led when the lease was taken.
    pub addresses: Arc<[IpAddr]>,
    /// Who holds it.
    pub key_id: Arc<str>,
    pub state: LeaseState,
    /// Grows with every renewal.
    pub sequence: i64,
    pub ttl: Duration,
    /// How long it still lasts.
    pub left: Duration,
    /// When it drains by itself.
    pub until: Option<Duration>,
    /// When the scheduler expects the engine's job to start.
    pub starts_in: Option<Duration>,
    /// 0: no limit.
    pub max_in_flight: u32,
    /// Requests were running there a moment ago, on any replica.
    pub in_use: bool,
}

/// What somebody who holds a lease, or wants one, says.
#[derive(Debug, Clone)]
pub struct Holding {
    /// The lease that is renewed; `None`: the one on this URL, or a new one.
    pub id: Option<String>,
    /// The id of a lease that has to be made.
    pub new_id: String,
    /// Has to be larger than the last one; `None`: the next.
    pub sequence: Option<i64>,
    pub slug: String,
    /// `None`: as it was.
    pub url: Option<(String, Vec<IpAddr>)>,
    pub key_id: String,
    pub state: LeaseState,
    pub ttl: Duration,
    pub until: Option<Duration>,
    pub starts_in: Option<Duration>,
    pub max_in_flight: u32,
    /// How many leases the endpoint may have.
    pub most: i64,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// `new`: it was made just now.
    Yes { lease: Lease, new: bool },
    /// There is no such lease any more, or it is another key's.
    Gone,
    /// A later call has been heard already; its sequence.
    Stale(i64),
    /// Another key holds a lease on this URL.
    Taken,
    /// The endpoint has as many leases as it may.
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
    /// All that last.
    fn all(&self) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>>;

    /// Renews a lease, or makes one.
    fn hold<'a>(&'a self, holding: &'a Holding) -> BoxFuture<'a, Result<Held, StoreError>>;

    /// Gives a lease back. `false`: the key holds none of this id on this endpoint.
    fn give_back<'a>(
        &'a self,
        id: &'a str,
        slug: &'a str,
        key_id: &'a str,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Requests run on these leases; that is believed for so long.
    fn used<'a>(
        &'a self,
        ids: &'a [Arc<str>],
        believed: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}
