use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::ReadError;
use crate::codings::Memory;
use crate::listen::network;

/// A shared budget of bytes for all request bodies in flight. A user, and an address, may have a share of it, so that the
/// rest is left to others.
#[derive(Debug)]
pub struct Budget {
    limit: AtomicU64,
    /// The largest body: two of them fit into each share, as one may have to be copied.
    largest: AtomicU64,
    used: AtomicU64,
    holders: Mutex<HashMap<Holder, Held, RandomState>>,
}

/// Bytes taken from a [`Budget`], returned on drop.
#[derive(Debug)]
pub struct Reserved {
    budget: Arc<Budget>,
    holders: Vec<Holder>,
    bytes: u64,
    /// Its body has not arrived yet.
    is_arriving: bool,
    /// What a share was too small for.
    exceeds_share: bool,
}

/// Whose bodies count together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Holder {
    User(Arc<str>),
    Network(u128),
}

#[derive(Debug, Default)]
struct Held {
    bytes: u64,
    arriving: u32,
}

/// Of a user: a quarter of the budget. Of an address, behind which there may be many: half.
const USERS_PART: u64 = 4;
const ADDRESS_PART: u64 = 2;
/// How many bodies of one user, or from one address, may arrive at the same time.
const MOST_ARRIVING: u32 = 256;

impl Budget {
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicU64::new(limit),
            largest: AtomicU64::new(limit),
            used: AtomicU64::new(0),
            holders: Mutex::default(),
        })
    }

    /// What is taken stays taken, even if it exceeds the new limit. `largest`: the most that one body may have.
    pub fn resize(&self, limit: u64, largest: u64) {
        self.limit.store(limit, Ordering::Relaxed);
        self.largest.store(largest, Ordering::Relaxed);
    }

    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// For a body that begins to arrive. This machine's own address stands for everybody behind it.
    pub fn begin(self: &Arc<Self>, user: &Arc<str>, origin: IpAddr) -> Result<Reserved, ReadError> {
        let network = (!origin.is_loopback()).then(|| Holder::Network(network(origin)));
        let holders = [Some(Holder::User(Arc::clone(user))), network];
        let mut reserved = Reserved {
            budget: Arc::clone(self),
            holders: Vec::with_capacity(2),
            bytes: 0,
            is_arriving: true,
            exceeds_share: false,
        };
        for holder in holders.into_iter().flatten() {
            let mut known = self.holders.lock();
            let held = known.entry(holder.clone()).or_default();
            if held.arriving >= MOST_ARRIVING {
                return Err(ReadError::Share);
            }
            held.arriving += 1;
            reserved.holders.push(holder);
        }
        Ok(reserved)
    }

    /// `None`: all of it.
    fn share(&self, holder: &Holder) -> Option<u64> {
        let limit = self.limit.load(Ordering::Relaxed);
        let part = match holder {
            Holder::User(_) => limit / USERS_PART,
            Holder::Network(_) => limit / ADDRESS_PART,
        };
        let two = self.largest.load(Ordering::Relaxed).saturating_mul(2);
        Some(part.max(two)).filter(|share| *share < limit)
    }

    fn take(&self, more: u64) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        let sum = |used: u64| used.checked_add(more).filter(|sum| *sum <= limit);
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
        taken.is_ok()
    }
}

impl Reserved {
    /// Takes more bytes; returns `false`, and takes nothing, if the budget or a share of it is spent.
    pub fn grow(&mut self, more: u64) -> bool {
        let budget = &self.budget;
        let mut known = budget.holders.lock();
        let fits = |holder: &Holder| {
            let held = known.get(holder).map_or(0, |held| held.bytes);
            let share = budget.share(holder);
            share.is_none_or(|share| held.saturating_add(more) <= share)
        };
        self.exceeds_share = !self.holders.iter().all(fits);
        if self.exceeds_share || !budget.take(more) {
            return false;
        }
        for holder in &self.holders {
            known.entry(holder.clone()).or_default().bytes += more;
        }
        self.bytes += more;
        true
    }

    /// Why it could not grow.
    pub fn shortage(&self) -> ReadError {
        match self.exceeds_share {
            true => ReadError::Share,
            false => ReadError::Busy,
        }
    }

    /// Its body has arrived.
    pub fn arrived(&mut self) {
        if std::mem::take(&mut self.is_arriving) {
            self.each(|held| held.arriving -= 1);
        }
    }

    /// Returns all but so many bytes.
    pub fn shrink_to(&mut self, bytes: u64) {
        let rest = self.bytes.saturating_sub(bytes);
        self.bytes -= rest;
        self.budget.used.fetch_sub(rest, Ordering::Relaxed);
        self.each(|held| held.bytes -= rest);
    }

    fn each(&self, change: impl Fn(&mut Held)) {
        let mut known = self.budget.holders.lock();
        for holder in &self.holders {
            if let Entry::Occupied(mut entry) = known.entry(holder.clone()) {
                change(entry.get_mut());
                if entry.get().bytes == 0 && entry.get().arriving == 0 {
                    entry.remove();
                }
            }
        }
    }
}

impl Memory for Reserved {
    fn hold(&mut self, bytes: u64) -> bool {
        self.shrink_to(bytes);
        self.grow(bytes - self.bytes)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.arrived();
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGEST: u64 = 10;

    fn budget() -> Arc<Budget> {
        let budget = Budget::new(0);
        budget.resize(160, LARGEST);
        budget
    }

    fn begin(budget: &Arc<Budget>, user: &str, origin: &str) -> Result<Reserved, ReadError> {
        budget.begin(&user.into(), origin.parse().unwrap())
    }

    /// As many bodies as are taken.
    fn fill(budget: &Arc<Budget>, user: &str, origin: &str) -> (Vec<Reserved>, ReadError) {
        let mut held = Vec::new();
        loop {
            let mut next = begin(budget, user, origin).unwrap();
            if !next.grow(LARGEST) {
                return (held, next.shortage());
            }
            held.push(next);
        }
    }

    #[test]
    fn a_user_and_an_address_leave_room_for_others() {
        let budget = budget();
        let (ann, shortage) = fill(&budget, "ann", "192.0.2.1");
        assert_eq!((ann.len(), shortage), (4, ReadError::Share));
        // From anywhere else it is the same user.
        let (more, _) = fill(&budget, "ann", "127.0.0.1");
        assert!(more.is_empty());
        let (bob, _) = fill(&budget, "bob", "192.0.2.1");
        assert_eq!(bob.len(), 4);
        let (eve, shortage) = fill(&budget, "eve", "192.0.2.1");
        assert_eq!((eve.len(), shortage), (0, ReadError::Share));
        let local: Vec<_> = ["eve", "fay"]
            .iter()
            .map(|user| fill(&budget, user, "127.0.0.1").0)
            .collect();
        assert_eq!(local[0].len() + local[1].len(), 8);
        assert_eq!(fill(&budget, "gus", "2001:db8::1").1, ReadError::Busy);
        drop((ann, bob, local));
        assert_eq!(budget.used(), 0);
        assert!(budget.holders.lock().is_empty());
    }

    #[test]
    fn two_of_the_largest_bodies_always_fit() {
        let budget = Budget::new(0);
        budget.resize(25, LARGEST);
        assert_eq!(fill(&budget, "ann", "192.0.2.1").0.len(), 2);
    }

    #[test]
    fn bodies_that_arrive_are_counted_until_they_have() {
        let budget = budget();
        let mut arriving: Vec<_> = (0..MOST_ARRIVING)
            .map(|_| begin(&budget, "ann", "127.0.0.1").unwrap())
            .collect();
        assert!(matches!(
            begin(&budget, "ann", "127.0.0.1"),
            Err(ReadError::Share)
        ));
        assert!(begin(&budget, "bob", "127.0.0.1").is_ok());
        arriving[0].arrived();
        assert!(begin(&budget, "ann", "127.0.0.1").is_ok());
        drop(arriving);
        assert!(budget.holders.lock().is_empty());
    }
}
