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

/// Idle connections kept for one origin.
const IDLE: usize = 1024;
/// Idle connections looked at while requests wait for the lock.
const SWEPT_AT_ONCE: usize = 16;

/// The connections to one origin of one deployment that wait for a request.
///
/// The one used last serves next. So what a burst opened beyond the usual need is not used again, grows old at the front,
/// and is closed; served in turn, all of them would stay young for ever.
pub(super) struct Pool {
    pub(super) origin: Origin,
    pub(super) parts: OriginParts,
    idle: Mutex<VecDeque<Idle>>,
    shared: Mutex<Vec<SharedConnection>>,
    idle_timeout: Option<Duration>,
    clock: Arc<dyn Clock>,
    pub(super) gauges: Arc<Gauges>,
    /// The origin is known to speak HTTP/2, so that one connection at a time is opened.
    pub(super) shares: AtomicBool,
    /// Held while a connection is opened that others can share: those who come meanwhile wait for it.
    pub(super) opening: tokio::sync::Mutex<()>,
}

struct Idle {
    link: Box<Link>,
    since: Instant,
}

/// Something a request can be sent on.
pub(super) enum Channel {
    Own(Box<Link>),
    Shared(Lane),
}

/// What a client's connections do right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Connections that are open.
    pub open: usize,
    /// Those of them that serve no request.
    pub idle: usize,
    /// Requests that hold a connection or a stream.
    pub in_use: usize,
    /// Connections ever opened.
    pub opened_total: u64,
}

#[derive(Default)]
pub(super) struct Gauges {
    open: AtomicUsize,
    in_use: AtomicUsize,
    opened: AtomicU64,
}

/// An open connection, counted until it is dropped.
pub(super) struct Open(Arc<Gauges>);

/// A request on a connection, counted until it is dropped.
pub(super) struct Busy(Arc<Gauges>);

impl Pool {
    pub(super) fn new(
        origin: Origin,
        parts: OriginParts,
        idle_timeout: Option<Duration>,
        clock: Arc<dyn Clock>,
        gauges: Arc<Gauges>,
        shares: bool,
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
        })
    }

    /// A connection that has served before.
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
        // The rest waited even longer. They are dropped behind the lock: closing a socket is a system call, and under TLS
        // frees much memory, and other requests need the lock.
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

    /// Takes a connection back whose last exchange was whole on both sides. Whether its peer has closed it meanwhile is not
    /// asked here, nor when it is taken: the next exchange reads that before it writes, at no cost of its own.
    pub(super) fn put(&self, link: Box<Link>) {
        link.rest();
        let since = self.clock.now();
        let mut idle = self.idle.lock();
        idle.push_back(Idle { link, since });
        // One goes for one that comes, so that no request pays for a sweep and the number still stays bounded.
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

    /// No new request goes to the connection of `lane`; those on it go on.
    pub(super) fn retire(&self, lane: &Lane) {
        self.shared.lock().retain(|shared| !shared.carries(lane));
    }

    /// Closes what waited too long and what the other side has closed.
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

    /// Looks at a few idle connections from the one at `alive` on; `false` behind the last. Requests can have the lock in
    /// between, and no connection is away from them while it is looked at: they would open another.
    fn sweep_some(&self, alive: &mut usize, now: Instant) -> bool {
        // Dropped behind the lock, as in `take`.
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

    /// Connections that serve nobody.
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
