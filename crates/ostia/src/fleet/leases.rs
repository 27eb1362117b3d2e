use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use ostia_core::{Lease, LeaseState};

use super::ModelState;
use super::timeline::Timeline;

/// How long a failed replica ranks after the others.
const REST: Duration = Duration::from_secs(10);
/// After this many failures in a row it rests.
const MOST_FAILURES: u32 = 3;
/// Far enough away to mean never.
const NEVER: u64 = u64::MAX;

/// The replicas of an endpoint whose engines come and go. A lease ends here by this process's own clock, even without
/// news of it.
pub struct Leases {
    timeline: Timeline,
    all: ArcSwap<Vec<Arc<Replica>>>,
    next: AtomicUsize,
}

/// An engine that is there for as long as its lease.
pub struct Replica {
    pub id: Arc<str>,
    pub url: Arc<str>,
    /// The key that holds the lease.
    pub key_id: Arc<str>,
    /// The addresses that were checked when the lease was taken: no others are called.
    pub addresses: Arc<[IpAddr]>,
    timeline: Timeline,
    state: AtomicU8,
    expires: AtomicU64,
    drains: AtomicU64,
    /// When its job is expected to start; [`NEVER`]: nobody knows.
    starts: AtomicU64,
    /// 0: no limit.
    most: AtomicU32,
    in_flight: AtomicU32,
    /// A check found that it serves the model.
    is_well: AtomicBool,
    failures: AtomicU32,
    rests_until: AtomicU64,
}

/// One request on a replica, until it is dropped.
pub struct ReplicaPlace(Arc<Replica>);

impl Leases {
    pub(super) fn new(timeline: Timeline) -> Self {
        Self {
            timeline,
            all: ArcSwap::default(),
            next: AtomicUsize::new(0),
        }
    }

    /// Takes over the known leases of this endpoint. `true`: there is a new replica.
    pub fn update<'a>(&self, read: impl Iterator<Item = &'a Lease>) -> bool {
        let known = self.all.load();
        let mut is_more = false;
        let all: Vec<Arc<Replica>> = read
            .map(|lease| {
                let known = known.iter().find(|known| known.id == lease.id);
                is_more |= known.is_none();
                let replica = known.map_or_else(
                    || Arc::new(Replica::new(lease, self.timeline.clone())),
                    Arc::clone,
                );
                replica.renew(lease);
                replica
            })
            .collect();
        let is_same = all.len() == known.len() && !is_more;
        if !is_same {
            self.all.store(Arc::new(all));
        }
        is_more
    }

    /// While their state cannot be learned: leases that have not ended yet are extended by this much.
    pub fn hold_on(&self, time: Duration) {
        for replica in self.all.load().iter().filter(|one| one.lasts()) {
            let until = self.timeline.after(time);
            replica.expires.fetch_max(until, Ordering::Relaxed);
        }
    }

    /// What carried its requests is gone.
    pub fn end(&self, id: &str) {
        for replica in self.all.load().iter().filter(|one| *one.id == *id) {
            replica.expires.store(0, Ordering::Relaxed);
        }
    }

    /// Those whose leases last.
    pub fn all(&self) -> Vec<Arc<Replica>> {
        let all = self.all.load();
        all.iter().filter(|one| one.lasts()).cloned().collect()
    }

    /// Whether any of them takes requests.
    pub fn is_serving(&self) -> bool {
        self.all.load().iter().any(|one| one.serves())
    }

    /// Their combined state; `None`: there are none.
    pub fn state(&self) -> Option<ModelState> {
        let all = self.all.load();
        let states = all.iter().filter_map(|one| one.state());
        states.min_by_key(|state| state.distance())
    }

    /// When the first of those that wait is expected to start.
    pub fn starts_in(&self) -> Option<Duration> {
        let now = self.timeline.now();
        let all = self.all.load();
        let starts = all.iter().filter(|one| one.lasts());
        let starts = starts.map(|one| one.starts.load(Ordering::Relaxed));
        let first = starts.filter(|at| *at != NEVER).min()?;
        Some(Duration::from_nanos(first.saturating_sub(now)))
    }

    /// How many requests they take together; 0 means no limit. Those still running on a draining replica do not count.
    pub fn places(&self) -> u32 {
        let all = self.all.load();
        let (mut sum, mut is_bounded) = (0_u32, false);
        for one in all.iter() {
            let most = one.most.load(Ordering::Relaxed);
            match one.serves() {
                true if most == 0 => return 0,
                true => (sum, is_bounded) = (sum.saturating_add(most), true),
                false => sum = sum.saturating_add(one.in_flight()),
            }
        }
        if is_bounded { sum } else { 0 }
    }

    /// Takes a place on the untried replica with the least load for its size. One that failed lately is taken last.
    pub fn take(&self, tried: &[Arc<str>]) -> Option<ReplicaPlace> {
        let all = self.all.load();
        let now = self.timeline.now();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let count = all.len().max(1);
        let turns = (0..all.len()).filter_map(|nth| all.get(first.wrapping_add(nth) % count));
        let open = turns.filter(|one| one.serves() && !tried.contains(&one.id));
        let best = open.min_by_key(|one| {
            let rests = one.rests_until.load(Ordering::Relaxed) > now;
            (one.is_full(), rests, one.load())
        })?;
        best.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(ReplicaPlace(Arc::clone(best)))
    }
}

impl Replica {
    fn new(lease: &Lease, timeline: Timeline) -> Self {
        Self {
            id: Arc::clone(&lease.id),
            url: Arc::clone(&lease.url),
            key_id: Arc::clone(&lease.key_id),
            addresses: Arc::clone(&lease.addresses),
            timeline,
            state: AtomicU8::new(lease.state as u8),
            expires: AtomicU64::new(0),
            drains: AtomicU64::new(NEVER),
            starts: AtomicU64::new(NEVER),
            most: AtomicU32::new(0),
            in_flight: AtomicU32::new(0),
            is_well: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            rests_until: AtomicU64::new(0),
        }
    }

    fn renew(&self, lease: &Lease) {
        let at = |left: Option<Duration>| left.map_or(NEVER, |left| self.timeline.after(left));
        self.state.store(lease.state as u8, Ordering::Relaxed);
        self.expires.store(at(Some(lease.left)), Ordering::Relaxed);
        self.drains.store(at(lease.until), Ordering::Relaxed);
        self.starts.store(at(lease.starts_in), Ordering::Relaxed);
        self.most.store(lease.max_in_flight, Ordering::Relaxed);
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether its lease has not ended.
    pub fn lasts(&self) -> bool {
        self.timeline.now() < self.expires.load(Ordering::Relaxed)
    }

    /// Its state; `None`: its lease is over.
    pub fn state(&self) -> Option<ModelState> {
        let now = self.timeline.now();
        if now >= self.expires.load(Ordering::Relaxed) {
            return None;
        }
        let said = self.state.load(Ordering::Relaxed);
        if said == LeaseState::Draining as u8 || now >= self.drains.load(Ordering::Relaxed) {
            return Some(ModelState::Draining);
        }
        Some(match said {
            said if said == LeaseState::Queued as u8 => ModelState::Queued,
            said if said == LeaseState::Running as u8 && self.is_well() => ModelState::Running,
            _ => ModelState::Starting,
        })
    }

    /// Whether its holder says that it runs, so that checking it is worthwhile.
    pub fn is_said_to_run(&self) -> bool {
        self.lasts() && self.state.load(Ordering::Relaxed) == LeaseState::Running as u8
    }

    pub fn serves(&self) -> bool {
        self.state() == Some(ModelState::Running)
    }

    pub fn is_well(&self) -> bool {
        self.is_well.load(Ordering::Relaxed)
    }

    /// The result of a check. `true`: it is healthy, and was not before.
    pub fn found_well(&self, is_well: bool) -> bool {
        let was = self.is_well.swap(is_well, Ordering::Relaxed);
        is_well && !was
    }

    /// It answered a request.
    pub fn answered(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// It could not be reached.
    pub fn unreached(&self) {
        let until = self.timeline.after(REST);
        self.rests_until.fetch_max(until, Ordering::Relaxed);
    }

    /// A request failed there.
    pub fn failed(&self) {
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= MOST_FAILURES {
            self.unreached();
        }
    }

    fn is_full(&self) -> bool {
        let most = self.most.load(Ordering::Relaxed);
        most != 0 && self.in_flight() >= most
    }

    /// Requests for its size, in hundredths of a place.
    fn load(&self) -> u64 {
        let most = u64::from(self.most.load(Ordering::Relaxed));
        match most {
            0 => u64::from(self.in_flight()),
            most => u64::from(self.in_flight()) * 100 / most,
        }
    }
}

impl std::ops::Deref for ReplicaPlace {
    type Target = Arc<Replica>;

    fn deref(&self) -> &Arc<Replica> {
        &self.0
    }
}

impl Drop for ReplicaPlace {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use ostia_core::ManualClock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn lease(id: &str, state: LeaseState) -> Lease {
        Lease {
            id: id.into(),
            slug: "m".into(),
            url: "http://n".into(),
            addresses: Arc::default(),
            key_id: "k".into(),
            state,
            sequence: 1,
            ttl: SECOND * 60,
            left: SECOND * 60,
            until: None,
            starts_in: None,
            max_in_flight: 0,
            in_use: false,
        }
    }

    fn leases() -> (Arc<ManualClock>, Leases) {
        let clock = Arc::new(ManualClock::at(0));
        let leases = Leases::new(Timeline::new(Arc::clone(&clock) as _));
        (clock, leases)
    }

    fn all_well(leases: &Leases) {
        for replica in leases.all() {
            replica.found_well(true);
        }
    }

    #[test]
    fn a_lease_ends_by_itself_and_what_is_not_well_serves_nobody() {
        let (clock, leases) = leases();
        assert!(leases.update([lease("a", LeaseState::Running)].iter()));
        assert_eq!(leases.state(), Some(ModelState::Starting));
        assert!(leases.take(&[]).is_none());
        all_well(&leases);
        assert!(leases.is_serving() && leases.take(&[]).is_some());
        assert!(!leases.update([lease("a", LeaseState::Running)].iter()));

        clock.advance(SECOND * 59);
        assert!(leases.is_serving());
        clock.advance(SECOND);
        assert!(!leases.is_serving() && leases.take(&[]).is_none());
        assert_eq!(leases.state(), None);
        leases.hold_on(SECOND);
        assert_eq!(leases.state(), None, "what is over stays over");
    }

    #[test]
    fn the_readiest_says_what_they_are_together() {
        use LeaseState::{Draining, Queued, Running, Starting};
        let (clock, leases) = leases();
        let states = |all: &[LeaseState]| {
            let all: Vec<_> = all
                .iter()
                .map(|state| lease(state.as_str(), *state))
                .collect();
            leases.update(all.iter());
            all_well(&leases);
            leases.state()
        };
        assert_eq!(states(&[]), None);
        assert_eq!(states(&[Draining]), Some(ModelState::Draining));
        assert_eq!(states(&[Draining, Queued]), Some(ModelState::Queued));
        assert_eq!(states(&[Queued, Starting]), Some(ModelState::Starting));
        assert_eq!(
            states(&[Queued, Running, Draining]),
            Some(ModelState::Running)
        );

        let ends = Lease {
            until: Some(SECOND * 5),
            ..lease("a", Running)
        };
        leases.update([ends].iter());
        all_well(&leases);
        assert!(leases.is_serving());
        clock.advance(SECOND * 5);
        assert_eq!(leases.state(), Some(ModelState::Draining));
    }

    #[test]
    fn requests_go_where_there_is_most_room_and_not_where_they_failed() {
        let (_, leases) = leases();
        let sized = |id, most| Lease {
            max_in_flight: most,
            ..lease(id, LeaseState::Running)
        };
        leases.update([sized("large", 8), sized("small", 2)].iter());
        all_well(&leases);
        assert_eq!(leases.places(), 10);
        let places: Vec<_> = (0..10).filter_map(|_| leases.take(&[])).collect();
        let on = |id: &str| places.iter().filter(|place| *place.id == *id).count();
        assert_eq!((on("large"), on("small")), (8, 2));
        drop(places);

        let first = leases.take(&[]).unwrap();
        let second = leases.take(&[Arc::clone(&first.id)]).unwrap();
        assert_ne!(first.id, second.id);
        let both = [Arc::clone(&first.id), Arc::clone(&second.id)];
        assert!(leases.take(&both).is_none());
        first.unreached();
        let (first_id, _) = (Arc::clone(&first.id), (first, second));
        for _ in 0..4 {
            assert_ne!(leases.take(&[]).unwrap().id, first_id);
        }
        leases.update([sized("large", 8), sized("small", 0)].iter());
        assert_eq!(leases.places(), 0, "one has no limit");
    }
}
