use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ostia_core::Class;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Shortage;
use super::fair::{Lines, Party};

/// Waiters of one pool at most: more would wait longer than anybody wants.
const MOST_WAITERS: usize = 4096;
/// Services by which the length of a wait is forecast.
const REMEMBERED: usize = 16;
/// With fewer, nothing is forecast.
const LEAST_REMEMBERED: usize = 4;

/// The queues of all pools. A pool is all endpoints of a model; each waiter holds the part of them that it may use.
#[derive(Default)]
pub(super) struct Queues {
    /// Those in which somebody waits, or waited while requests began that still run.
    pools: Mutex<HashMap<Arc<str>, Arc<Queue>>>,
    waiting: AtomicUsize,
    /// Of `pools`, to be read without the lock.
    count: AtomicUsize,
    /// Service that was not yet sent to other replicas; `None`: there are none.
    spent: Option<Mutex<HashMap<Account, Spent>>>,
}

/// Pool, class, project and user: whose service it is.
type Account = (Arc<str>, Class, Arc<str>, Arc<str>);

/// What a party was served.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Spent {
    pub(super) service: f64,
    /// The part that nobody counted before: actual service minus what was counted when requests were let in.
    pub(super) correction: f64,
    pub(super) project_share: u32,
    pub(super) user_share: u32,
}

/// One pool's queue. The next request is chosen by the service that projects and users received, not by arrival.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lines: Lines,
    arrivals: u64,
    /// How often something came back: waiters that tried before the last time try again.
    returns: u64,
    /// When the last requests were let in.
    served: VecDeque<Instant>,
}

pub(super) struct Waiter {
    pub(super) party: Party,
    /// Slugs.
    pub(super) endpoints: Box<[Arc<str>]>,
    pub(super) arrival: u64,
    /// It is this one's turn to try.
    called: AtomicBool,
    pub(super) since: Instant,
    /// What it lacked when it last tried.
    lacks: Mutex<Option<Shortage>>,
    /// It has to give way: the queue is full, and its line is the longest.
    evicted: AtomicBool,
    bell: Notify,
}

/// One waiter's place in line. When dropped, it leaves the queue and passes on an unused turn.
pub(super) struct Seat<'a> {
    queues: &'a Queues,
    pool: Arc<str>,
    queue: Arc<Queue>,
    waiter: Arc<Waiter>,
}

/// One request that waits, for those who watch.
#[derive(Debug, Clone)]
pub struct Waits {
    pub model: Arc<str>,
    /// The ledger's `user_id`.
    pub user: Arc<str>,
    /// Empty where there is none.
    pub project: Arc<str>,
    pub class: Class,
    pub waited: Duration,
    /// What it lacked at its last try; `None`: it has not tried yet.
    pub lacks: Option<Shortage>,
    /// How much longer it is likely to wait; `None` if unknown.
    pub forecast: Option<Duration>,
}

/// One try to be admitted, and the count of returns at that time.
#[derive(Clone, Copy)]
pub(super) struct Try(u64);

/// The service that a request was counted with while others waited. Settled or dropped, it is over.
pub(super) struct Served {
    pool: Arc<str>,
    party: Party,
    service: f64,
    /// Whether it runs in a line: others waited.
    is_in_line: bool,
    /// Whether the limiter over replicas counted it.
    is_charged: bool,
}

impl Waiter {
    pub(super) fn new(
        party: Party,
        endpoints: Box<[Arc<str>]>,
        arrival: u64,
        since: Instant,
    ) -> Self {
        Self {
            party,
            endpoints,
            arrival,
            called: AtomicBool::new(false),
            since,
            lacks: Mutex::default(),
            evicted: AtomicBool::new(false),
            bell: Notify::new(),
        }
    }

    /// Whether it may use every endpoint that `other` may use.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let mut others = other.endpoints.iter();
        others.all(|endpoint| self.endpoints.contains(endpoint))
    }
}

impl Queues {
    /// How many wait, all pools together.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many requests of one user wait, all pools together.
    pub(super) fn waiting_of(&self, user: &str) -> usize {
        let pools = self.pools.lock();
        pools
            .values()
            .map(|queue| queue.state.lock().lines.waiting_of(user))
            .sum()
    }

    /// Whether somebody waits for this pool: new arrivals may not overtake them.
    pub(super) fn is_waited_for(&self, pool: &str) -> bool {
        self.waiting() != 0
            && self
                .known(pool)
                .is_some_and(|queue| queue.state.lock().lines.waiting() != 0)
    }

    /// Everybody who waits, in no particular order.
    pub(super) fn waits(&self, now: Instant) -> Vec<Waits> {
        let mut waits = Vec::new();
        for (pool, queue) in self.pools.lock().iter() {
            let state = queue.state.lock();
            for waiter in state.lines.waiters() {
                waits.push(Waits {
                    model: Arc::clone(pool),
                    user: Arc::clone(&waiter.party.user),
                    project: waiter.party.named_project(),
                    class: waiter.party.class,
                    waited: now.saturating_duration_since(waiter.since),
                    lacks: waiter.lacks.lock().clone(),
                    forecast: state.forecast(waiter, now),
                });
            }
        }
        waits
    }

    fn known(&self, pool: &str) -> Option<Arc<Queue>> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.pools.lock().get(pool).cloned()
    }

    /// Takes a place in line; `None`: the queue is full.
    pub(super) fn join(
        &self,
        pool: &Arc<str>,
        party: Party,
        endpoints: Box<[Arc<str>]>,
        now: Instant,
    ) -> Option<Seat<'_>> {
        let mut pools = self.pools.lock();
        let queue = Arc::clone(pools.entry(Arc::clone(pool)).or_default());
        self.count.store(pools.len(), Ordering::Relaxed);
        let mut state = queue.state.lock();
        if state.lines.waiting() >= MOST_WAITERS && !state.make_room(&party) {
            return None;
        }
        state.arrivals += 1;
        let waiter = Arc::new(Waiter::new(party, endpoints, state.arrivals, now));
        state.lines.join(&waiter);
        drop(state);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Some(Seat {
            queues: self,
            pool: Arc::clone(pool),
            queue,
            waiter,
        })
    }

    /// Whether a party's requests are the first here, of its project and of the user, since it was last asked.
    pub(super) fn is_new(&self, pool: &str, party: &Party) -> (bool, bool) {
        match self.known(pool) {
            Some(queue) => queue.state.lock().lines.is_new(party),
            None => (true, true),
        }
    }

    /// Who is next on this endpoint once the first of this party's line is served.
    pub(super) fn behind(
        &self,
        pool: &str,
        party: &Party,
        service: f64,
        endpoint: &str,
    ) -> Option<Party> {
        let queue = self.known(pool)?;
        let state = queue.state.lock();
        let next = state
            .lines
            .behind(party, service, |waiter| waiter.may_use(endpoint))?;
        Some(next.party.clone())
    }

    /// A request of this party was admitted. It is counted if others wait, or waited recently, or if the limiter over
    /// replicas counted it (`is_charged`).
    pub(super) fn served(
        &self,
        pool: &Arc<str>,
        party: &Party,
        service: f64,
        is_charged: bool,
        now: Instant,
    ) -> Option<Served> {
        let queue = self.known(pool);
        let is_in_line = queue.is_some();
        if !is_in_line && !is_charged {
            return None;
        }
        self.note(pool, party, service, 0.0);
        if let Some(queue) = queue {
            queue.state.lock().started(party, service, now);
        }
        Some(Served {
            pool: Arc::clone(pool),
            party: party.clone(),
            service,
            is_in_line,
            is_charged,
        })
    }

    /// A request is over: something came back to its pool, and under its user's limits, which may hold it up elsewhere.
    pub(super) fn freed(&self, pool: &str, user: &str, served: Option<Served>, service: f64) {
        if let Some(served) = &served {
            let correction = service - served.service;
            let uncounted = if served.is_charged { correction } else { 0.0 };
            self.note(&served.pool, &served.party, correction, uncounted);
        }
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut pools = self.pools.lock();
        if let Some(served) = served.filter(|served| served.is_in_line)
            && let Some(queue) = pools.get(&served.pool)
        {
            let mut state = queue.state.lock();
            let correction = service - served.service;
            state.lines.ended(&served.party, correction);
        }
        pools.retain(|name, queue| {
            let mut state = queue.state.lock();
            state.returns += 1;
            state.lines.release_user(user);
            if **name == *pool {
                state.call_next();
            } else {
                state.call_of(user);
            }
            !state.lines.is_idle()
        });
        self.count.store(pools.len(), Ordering::Relaxed);
    }
}

/// Among replicas that share their limits.
impl Queues {
    /// `true`: service is noted, to be told to others.
    pub(super) fn new(is_shared: bool) -> Self {
        Self {
            spent: is_shared.then(Mutex::default),
            ..Self::default()
        }
    }

    fn note(&self, pool: &Arc<str>, party: &Party, service: f64, correction: f64) {
        if let Some(spent) = &self.spent {
            let account = (
                Arc::clone(pool),
                party.class,
                Arc::clone(&party.project),
                Arc::clone(&party.user),
            );
            let mut spent = spent.lock();
            let spent = spent.entry(account).or_default();
            spent.service += service;
            spent.correction += correction;
            (spent.project_share, spent.user_share) = (party.project_share, party.user_share);
        }
    }

    /// The service since the last time, and whose it was.
    pub(super) fn spent(&self) -> Vec<(String, Spent)> {
        let spent = self
            .spent
            .as_ref()
            .map(|spent| std::mem::take(&mut *spent.lock()));
        let named = spent.unwrap_or_default().into_iter();
        named
            .filter_map(|((pool, class, project, user), spent)| {
                let name = serde_json::to_string(&(pool, class.as_str(), project, user));
                Some((name.ok()?, spent))
            })
            .collect()
    }

    /// Counts what other replicas served, where somebody of theirs waits or runs here too.
    pub(super) fn spent_elsewhere(&self, spent: Vec<(String, f64)>) {
        for (name, service) in spent {
            type Named = (Arc<str>, String, Arc<str>, Arc<str>);
            let Ok((pool, class, project, user)) = serde_json::from_str::<Named>(&name) else {
                continue;
            };
            if let (Some(queue), Some(&class)) = (
                self.known(&pool),
                Class::ALL.iter().find(|known| known.as_str() == class),
            ) {
                let mut state = queue.state.lock();
                state.lines.charge(class, &project, &user, service);
            }
        }
    }

    /// A place on this endpoint is free, and it is the turn of the first who waits for it here. `false`: nobody does.
    pub(super) fn called(&self, endpoint: &str) -> bool {
        let mut is_waited_for = false;
        for queue in self.pools.lock().values() {
            let mut state = queue.state.lock();
            state.returns += 1;
            let next = state.lines.next(|waiter| waiter.may_use(endpoint));
            is_waited_for |= next.is_some();
            state.call(next);
        }
        is_waited_for
    }

    /// Something that is counted over all replicas came back: the next in line tries.
    pub(super) fn came_back(&self) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        for queue in self.pools.lock().values() {
            let mut state = queue.state.lock();
            state.returns += 1;
            state.lines.release_all();
            state.call_next();
        }
    }
}

impl Seat<'_> {
    /// Whether it has to leave, so that a user with fewer requests in line can wait.
    pub(super) fn is_evicted(&self) -> bool {
        self.waiter.evicted.load(Ordering::Relaxed)
    }

    /// Resolves when it is this waiter's turn. Cancel-safe.
    pub(super) async fn turn(&self) {
        self.waiter.bell.notified().await;
    }

    /// A try, if it is allowed: it was called, or nobody is ahead of it in line.
    pub(super) fn is_due(&self) -> Option<Try> {
        let mut state = self.queue.state.lock();
        let due = Try(state.returns);
        if self.waiter.is_called() {
            return Some(due);
        }
        // Time may have brought back what its own limits lacked.
        state.lines.set_held(&self.waiter.party, false);
        (!state.lines.is_preceded(&self.waiter)).then_some(due)
    }

    /// This waiter has no room under its own limits, but others may have: their turn.
    pub(super) fn pass(&self, failed: Try) {
        let mut state = self.queue.state.lock();
        self.waiter.called.store(false, Ordering::Relaxed);
        if failed.0 != state.returns {
            return self.waiter.call();
        }
        state.lines.set_held(&self.waiter.party, true);
        state.call_next();
    }

    /// The endpoints that this waiter may use have no room: next is a waiter that may use others.
    pub(super) fn sit_down(&self, failed: Try) {
        let state = self.queue.state.lock();
        self.waiter.called.store(false, Ordering::Relaxed);
        if failed.0 != state.returns {
            return self.waiter.call();
        }
        let beyond = |other: &Waiter| !self.waiter.covers(other);
        state.call(state.lines.next_after(&self.waiter, beyond));
    }

    /// How long it is likely to wait for a place; `None` where nothing is known.
    pub(super) fn forecast(&self, now: Instant) -> Option<Duration> {
        self.queue.state.lock().forecast(&self.waiter, now)
    }

    /// What was lacking when it tried.
    pub(super) fn lacks(&self, shortage: &Shortage) {
        *self.waiter.lacks.lock() = Some(shortage.clone());
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.queues.waiting.fetch_sub(1, Ordering::Relaxed);
        let mut pools = self.queues.pools.lock();
        let mut state = self.queue.state.lock();
        state.lines.leave(&self.waiter);
        // More than one thing may have come back meanwhile, and an unused turn goes to another waiter.
        state.call_next();
        if state.lines.is_idle() {
            pools.remove(&self.pool);
            self.queues.count.store(pools.len(), Ordering::Relaxed);
        }
    }
}

impl Waiter {
    fn may_use(&self, endpoint: &str) -> bool {
        self.endpoints.iter().any(|slug| **slug == *endpoint)
    }

    fn is_called(&self) -> bool {
        self.called.load(Ordering::Relaxed)
    }

    fn call(&self) {
        self.called.store(true, Ordering::Relaxed);
        self.bell.notify_one();
    }
}

impl State {
    fn started(&mut self, party: &Party, service: f64, now: Instant) {
        self.lines.started(party, service);
        if self.served.len() == REMEMBERED {
            self.served.pop_front();
        }
        self.served.push_back(now);
    }

    fn forecast(&self, waiter: &Arc<Waiter>, now: Instant) -> Option<Duration> {
        let (first, last) = (self.served.front()?, self.served.back()?);
        if self.served.len() < LEAST_REMEMBERED {
            return None;
        }
        let gaps = u32::try_from(self.served.len() - 1).unwrap_or(u32::MAX);
        let usual = last.saturating_duration_since(*first) / gaps;
        // A pool in which nothing has moved for longer than usual has slowed down.
        let pace = usual.max(now.saturating_duration_since(*last) / 2);
        let ahead = u32::try_from(self.lines.ahead_of(waiter)).unwrap_or(u32::MAX);
        Some(pace.saturating_mul(ahead.saturating_add(1)))
    }

    /// A backlog hurts only its owner: the longest line gives way to one that is shorter.
    fn make_room(&mut self, party: &Party) -> bool {
        let Some((class, length, last)) = self.lines.longest() else {
            return false;
        };
        let mine = (party.class, self.lines.length_of(party) + 1);
        if (class, length) <= mine {
            return false;
        }
        self.lines.leave(&last);
        last.evicted.store(true, Ordering::Relaxed);
        last.bell.notify_one();
        true
    }

    /// A waiter that is already called will call the next one once it was served.
    fn call_next(&self) {
        self.call(self.lines.next(|_| true));
    }

    fn call_of(&self, user: &str) {
        self.call(self.lines.next(|waiter| *waiter.party.user == *user));
    }

    fn call(&self, next: Option<Arc<Waiter>>) {
        if let Some(next) = next.filter(|next| !next.is_called()) {
            next.call();
        }
    }
}

#[cfg(test)]
mod tests {
    use ostia_core::{Clock as _, SystemClock};

    use super::*;

    fn party(user: &str, class: Class) -> Party {
        Party {
            class,
            project: Party::project_of_one(user),
            project_share: 1,
            user: user.into(),
            user_share: 1,
        }
    }

    #[test]
    fn a_full_queue_makes_room_for_a_shorter_line_and_takes_it_from_the_longest() {
        let queues = Queues::new(false);
        let pool: Arc<str> = "m".into();
        let now = SystemClock.now();
        let join =
            |user: &str, class| queues.join(&pool, party(user, class), ["e".into()].into(), now);
        let mut seats: Vec<_> = (1..MOST_WAITERS)
            .filter_map(|_| join("crowd", Class::Interactive))
            .collect();
        let batch = join("night", Class::Batch).unwrap();
        assert_eq!(queues.waiting(), MOST_WAITERS);
        // Batch work gives way to everybody, then the longest line to shorter ones.
        let newcomer = join("ada", Class::Interactive).unwrap();
        assert!(batch.is_evicted() && !newcomer.is_evicted());
        drop(batch);
        let second = join("ada", Class::Interactive).unwrap();
        assert!(seats.pop().is_some_and(|last| last.is_evicted()));
        assert!(
            join("crowd", Class::Interactive).is_none(),
            "its own line is the longest"
        );
        assert!(join("night", Class::Batch).is_none());
        drop((newcomer, second, seats));
        assert_eq!(queues.waiting(), 0);
        assert_eq!(queues.count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn service_is_noted_for_other_replicas_and_counted_from_them() {
        let queues = Queues::new(true);
        let pool: Arc<str> = "m".into();
        let now = SystemClock.now();
        let join = |user: &str| {
            let party = party(user, Class::Interactive);
            queues.join(&pool, party, ["e".into()].into(), now).unwrap()
        };
        let (ada, bob) = (join("ada"), join("bob"));
        assert!(ada.is_due().is_some() && bob.is_due().is_none());
        let served = queues.served(&pool, &party("ada", Class::Interactive), 5.0, true, now);
        queues.freed(&pool, "ada", served, 7.0);
        let spent = queues.spent();
        let [(_, of)] = &spent[..] else {
            panic!("{spent:?}")
        };
        assert!((of.service - 7.0).abs() < 1e-9 && (of.correction - 2.0).abs() < 1e-9);
        assert!(queues.spent().is_empty(), "told once");
        // Ada had 7 here; bob had 20 elsewhere: it is ada's turn.
        let bobs = spent[0].0.replace("ada", "bob");
        queues.spent_elsewhere(vec![(bobs, 20.0), ("nonsense".to_owned(), 1.0)]);
        let state = queues.known(&pool).unwrap();
        let next = state.state.lock().lines.next(|_| true).unwrap();
        assert_eq!(&*next.party.user, "ada");
    }
}
