//! Each address's share of common resources, so that no address can take everything.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::telemetry::{Pace, Quiet};

/// Memory for incomplete heads, over all connections; and per address.
const HEADS: usize = 64 * 1024 * 1024;
const HEADS_OF_ONE: usize = 8 * 1024 * 1024;
/// Heads up to this size are not counted.
const USUAL_HEAD: usize = 8 * 1024;
/// hyper's buffer grows by doubling.
const BUFFER_PER_BYTE: usize = 2;

/// All addresses that hold a share.
#[derive(Default)]
pub(super) struct Guests {
    known: Mutex<HashMap<u128, Weak<Guest>>>,
    heads: AtomicUsize,
    untold: Arc<AtomicU64>,
}

/// One address, or one IPv6 network of 64 bits, which is the least that a provider assigns to a customer. It is known
/// for as long as it holds something.
pub struct Guest {
    network: u128,
    guests: Arc<Guests>,
    connections: AtomicUsize,
    requests: AtomicUsize,
    heads: AtomicUsize,
    /// Limits how often the access log reports requests of unknown senders.
    told: Arc<Quiet>,
}

/// A connection or a request, for as long as it is counted.
pub(super) struct Held {
    guest: Arc<Guest>,
    count: fn(&Guest) -> &AtomicUsize,
}

/// The memory of one connection's head while it arrives.
pub(super) struct HeadBytes {
    guest: Arc<Guest>,
    /// True for trusted proxies and this machine: only the total of all heads limits them.
    is_spared: bool,
    read: usize,
    counted: usize,
}

/// Addresses of one network are one guest.
pub fn network(ip: IpAddr) -> u128 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits() & !u128::from(u64::MAX),
    }
}

impl Guests {
    pub(super) fn guest(self: &Arc<Self>, ip: IpAddr) -> Arc<Guest> {
        let network = network(ip);
        let mut known = self.known.lock();
        if let Some(guest) = known.get(&network).and_then(Weak::upgrade) {
            return guest;
        }
        let guest = Arc::new(Guest {
            network,
            guests: Arc::clone(self),
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            heads: AtomicUsize::new(0),
            told: Arc::new(Quiet::new(Pace::default(), Arc::clone(&self.untold))),
        });
        known.insert(network, Arc::downgrade(&guest));
        guest
    }

    /// Access events that were counted but not written.
    pub(super) fn untold(&self) -> u64 {
        self.untold.load(Ordering::Relaxed)
    }
}

impl Guest {
    /// Counts a connection; `None` if it would exceed `most`.
    pub(super) fn connection(self: &Arc<Self>, most: usize) -> Option<Held> {
        self.hold(|guest| &guest.connections, most)
    }

    /// The same for a request.
    pub(super) fn request(self: &Arc<Self>, most: usize) -> Option<Held> {
        self.hold(|guest| &guest.requests, most)
    }

    pub(crate) fn told(&self) -> Arc<Quiet> {
        Arc::clone(&self.told)
    }

    fn hold(self: &Arc<Self>, count: fn(&Self) -> &AtomicUsize, most: usize) -> Option<Held> {
        take(count(self), 1, most).then(|| Held {
            guest: Arc::clone(self),
            count,
        })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut known = self.guests.known.lock();
        // A new request may have arrived from there meanwhile.
        if known
            .get(&self.network)
            .is_some_and(|guest| guest.strong_count() == 0)
        {
            known.remove(&self.network);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        (self.count)(&self.guest).fetch_sub(1, Ordering::AcqRel);
    }
}

impl HeadBytes {
    pub(super) fn new(guest: Arc<Guest>, is_spared: bool) -> Self {
        Self {
            guest,
            is_spared,
            read: 0,
            counted: 0,
        }
    }

    /// Counts `bytes` more of a head; `false` if there is no memory for them.
    pub(super) fn add(&mut self, bytes: usize) -> bool {
        self.read += bytes;
        let due = self.read.saturating_sub(USUAL_HEAD) * BUFFER_PER_BYTE;
        let more = due.saturating_sub(self.counted);
        if more == 0 {
            return true;
        }
        let most = if self.is_spared { HEADS } else { HEADS_OF_ONE };
        if !take(&self.guest.heads, more, most) {
            return false;
        }
        if !take(&self.guest.guests.heads, more, HEADS) {
            self.guest.heads.fetch_sub(more, Ordering::AcqRel);
            return false;
        }
        self.counted += more;
        true
    }

    /// The head is complete and has become a request.
    pub(super) fn end(&mut self) {
        self.read = 0;
        let counted = std::mem::take(&mut self.counted);
        if counted > 0 {
            self.guest.heads.fetch_sub(counted, Ordering::AcqRel);
            self.guest.guests.heads.fetch_sub(counted, Ordering::AcqRel);
        }
    }
}

impl Drop for HeadBytes {
    fn drop(&mut self) {
        self.end();
    }
}

fn take(count: &AtomicUsize, more: usize, most: usize) -> bool {
    let sum = |held: usize| held.checked_add(more).filter(|sum| *sum <= most);
    count
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, sum)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(guests: &Arc<Guests>, ip: &str) -> Arc<Guest> {
        guests.guest(ip.parse().unwrap())
    }

    #[test]
    fn an_address_has_its_share_and_is_forgotten_when_it_holds_nothing() {
        let guests = Arc::<Guests>::default();
        let one = guest(&guests, "192.0.2.1");
        let held: Vec<_> = (0..3).map_while(|_| one.connection(2)).collect();
        assert_eq!(held.len(), 2);
        assert!(one.request(1).is_some());
        assert!(guest(&guests, "::ffff:192.0.2.1").connection(2).is_none());
        assert!(guest(&guests, "192.0.2.2").connection(2).is_some());
        drop(held);
        assert!(guest(&guests, "192.0.2.1").connection(2).is_some());
        drop(one);
        assert!(guests.known.lock().is_empty());
    }

    #[test]
    fn a_network_of_64_bits_is_one_address() {
        let guests = Arc::<Guests>::default();
        let _held = guest(&guests, "2001:db8::1").connection(1).unwrap();
        assert!(guest(&guests, "2001:db8::ffff:1").connection(1).is_none());
        assert!(guest(&guests, "2001:db8:0:1::1").connection(1).is_some());
    }

    #[test]
    fn heads_are_counted_beyond_what_is_usual() {
        let guests = Arc::<Guests>::default();
        let head = |ip, is_spared| HeadBytes::new(guest(&guests, ip), is_spared);
        let mut usual = head("192.0.2.1", false);
        assert!(usual.add(USUAL_HEAD));
        assert_eq!(guests.heads.load(Ordering::Relaxed), 0);

        let long = 60 * 1024;
        let mut begun: Vec<HeadBytes> = Vec::new();
        loop {
            let mut next = head("192.0.2.1", false);
            if !next.add(long) {
                break;
            }
            begun.push(next);
        }
        assert_eq!(begun.len(), HEADS_OF_ONE / (2 * (long - USUAL_HEAD)));
        assert!(head("192.0.2.2", false).add(long));
        begun[0].end();
        assert!(head("192.0.2.1", false).add(long));
        drop(begun);
        assert_eq!(guests.heads.load(Ordering::Relaxed), 0);

        let mut spared: Vec<HeadBytes> = (0..10_000).map(|_| head("127.0.0.1", true)).collect();
        let room = spared
            .iter_mut()
            .filter_map(|head| head.add(long).then_some(()))
            .count();
        assert_eq!(room, HEADS / (2 * (long - USUAL_HEAD)));
    }
}
