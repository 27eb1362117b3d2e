use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ostia_core::Clock;
use parking_lot::Mutex;

use super::http2::{Lane, SharedConnection};
use super::link::Link;
use super::message::OriginParts;
use crate::catalog::Origin;

/// The most idle connections kept for one origin.
const IDLE: usize = 1024;
/// How many idle connections a sweep checks under one hold of the lock.
const SWEPT_AT_ONCE: usize = 16;

/// The idle connections to one origin of one deployment.
///
/// The most recently used one serves next (LIFO). The extra connections that a burst opened are then left unused at the
/// front, grow old and are closed. Served in turn, all of them would stay young and none would ever be closed.
pub(super) struct Pool {
    pub(super) origin: Origin,
    pub(super) parts: OriginParts,
    idle: Mutex<VecDeque<Idle>>,
    shared: Mutex<Vec<SharedConnection>>,
    idle_timeout: Option<Duration>,
    clock: Arc<dyn Clock>,
    pub(super) gauges: Arc<Gauges>,
    /// The origin is known to speak HTTP/2, so only one connection is opened at a time.
    pub(super) shares: AtomicBool,
    /// Held while a connection that others can share is being opened: they wait for it instead of opening their own.
    pub(super) opening: tokio::sync::Mutex<()>,
    /// The only connection was opened by the other side, and no other can be made.
    pub(super) is_tunnel: bool,
}

struct Idle {
    link: Box<Link>,
    since: Instant,
}

/// What a request is sent on.
pub(super) enum Channel {
    Own(Box<Link>),
    Shared(Lane),
}

/// What a client's connections are doing right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Connections that are open.
    pub open: usize,
    /// Open connections without a request.
    pub idle: usize,
    /// Requests that hold a connection or a stream.
    pub in_use: usize,
    /// Connections opened since the start.
    pub opened_total: u64,
}

#[derive(Default)]
pub(super) struct Gauges {
    open: AtomicUsize,
    in_use: AtomicUsize,
    opened: AtomicU64,
}

/// Counts an open connection until it is dropped.
pub(super) struct Open(Arc<Gauges>);

/// Counts a request on a connection until it is dropped.
pub(super) struct Busy(Arc<Gauges>);

impl Pool {
    pub(super) fn new(
        origin: Origin,
        parts: OriginParts,
        idle_timeout: Option<Duration>,
        clock: Arc<dyn Clock>,
        gauges: Arc<Gauges>,
        shares: bool,
        is_tunnel: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            origin,
            parts,
            idle: Mutex::default(),
            shared: Mutex::default(),
            idle_timeout,
            clock,
            gauges,
            shares: AtomicBool::new(shares),
            opening: tokio::sync::Mutex::default(),
            is_tunnel,
        })
    }

    /// A connection that has served a request before.
    pub(super) fn take(&self) -> Option<Channel> {
        if self.shares.load(Ordering::Relaxed)
            && let Some(lane) = self.enter()
        {
            return Some(Channel::Shared(lane));
        }
        let now = self.clock.now();
        let mut idle = self.idle.lock();
        let newest = idle.pop_back()?;
        if !self.is_stale(&newest, now) {
            return Some(Channel::Own(newest.link));
        }
        // The others have been idle even longer. They are dropped after the lock is released: closing a socket is a
        // system call and, under TLS, frees much memory, while other requests wait for the lock.
        let stale = std::mem::take(&mut *idle);
        drop(idle);
        drop((newest, stale));
        None
    }

    pub(super) fn enter(&self) -> Option<Lane> {
        let now = self.clock.now();
        let mut shared = self.shared.lock();
        shared.iter_mut().find_map(|shared| shared.enter(now))
    }

    /// Takes back a connection whose last exchange was complete on both sides. Neither this nor [`Pool::take`] checks
    /// whether the peer has closed it since: the next exchange reads before it writes and finds out for free.
    pub(super) fn put(&self, link: Box<Link>) {
        link.rest();
        let since = self.clock.now();
        let mut idle = self.idle.lock();
        idle.push_back(Idle { link, since });
        // For each connection that comes back, at most one old one is closed. So the number stays bounded, and no
        // request pays for a whole sweep.
        let oldest = match idle.front() {
            Some(front) if idle.len() > IDLE || self.is_stale(front, since) => idle.pop_front(),
            _ => None,
        };
        drop(idle);
        drop(oldest);
    }

    pub(super) fn share(&self, shared: SharedConnection) {
        self.shares.store(true, Ordering::Relaxed);
        self.shared.lock().push(shared);
    }

    /// Sends no new request on `lane`'s connection. Requests already on it continue. A tunnel is used until it closes:
    /// pings detect whether it is dead, and a single slow answer proves nothing.
    pub(super) fn retire(&self, lane: &Lane) {
        if self.is_tunnel {
            return;
        }
        self.shared.lock().retain(|shared| !shared.carries(lane));
    }

    /// Closes connections that were idle too long or that the peer has closed.
    pub(super) fn sweep(&self) {
        let now = self.clock.now();
        let mut alive = 0;
        while self.sweep_some(&mut alive, now) {}
        let spent: Vec<_> = {
            let mut shared = self.shared.lock();
            shared
                .extract_if(.., |shared| shared.is_spent(now, self.idle_timeout))
                .collect()
        };
        drop(spent);
    }

    /// Checks a few idle connections, from index `alive` on; returns `false` after the last. In small steps, so that
    /// requests get the lock in between; and in place, because a request that found its connection taken out for the
    /// check would open another.
    fn sweep_some(&self, alive: &mut usize, now: Instant) -> bool {
        // Dropped after the lock is released, as in `take`.
        let mut gone = Vec::new();
        let mut idle = self.idle.lock();
        for _ in 0..SWEPT_AT_ONCE {
            let Some(waiting) = idle.get_mut(*alive) else {
                return false;
            };
            if self.is_stale(waiting, now) || !waiting.link.is_alive() {
                gone.extend(idle.remove(*alive));
            } else {
                *alive += 1;
            }
        }
        true
    }

    /// Closes the shared connections at once, with everything that runs on them.
    pub(super) fn cut(&self) {
        let shared = std::mem::take(&mut *self.shared.lock());
        shared.iter().for_each(SharedConnection::cut);
    }

    /// Whether the tunnel can take requests.
    pub(super) fn has_tunnel(&self) -> bool {
        self.shared.lock().iter().any(|shared| !shared.is_closed())
    }

    /// Connections that serve no request.
    pub(super) fn idle(&self) -> usize {
        let shared = self.shared.lock();
        let unused = shared.iter().filter(|shared| !shared.is_in_use()).count();
        drop(shared);
        unused + self.idle.lock().len()
    }

    fn is_stale(&self, waiting: &Idle, now: Instant) -> bool {
        self.idle_timeout
            .is_some_and(|limit| now >= waiting.since + limit)
    }
}

impl Gauges {
    pub(super) fn opened(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.opened.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.in_use.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    pub(super) fn stats(&self, idle: usize) -> Stats {
        Stats {
            open: self.open.load(Ordering::Relaxed),
            idle,
            in_use: self.in_use.load(Ordering::Relaxed),
            opened_total: self.opened.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.in_use.fetch_sub(1, Ordering::Relaxed);
    }
}
