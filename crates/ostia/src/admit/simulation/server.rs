//! What the shared server does, as `shared/line.lua` and `shared/reserve.lua` do it: it counts places, decides whose turn it is,
//! and calls that replica. Only the way there takes time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ostia_core::{
    Ask, Denial, Grant, Hold, Limiter, Measure, Reserving, Return, Scope, Standing, Taken, Turn,
};
use parking_lot::Mutex;

use super::world::World;
use crate::admit::Admitter;
use crate::admit::shared::{BUSY_EXCHANGE, LINGER};

/// From a replica to the server, or back.
const WAY: Duration = Duration::from_micros(300);

pub(super) struct Server {
    world: Arc<World>,
    state: Mutex<State>,
    replicas: Mutex<Vec<Admitter>>,
}

#[derive(Default)]
struct State {
    running: u64,
    /// Counters of projects; every user here is one.
    counters: BTreeMap<Arc<str>, f64>,
    present: f64,
    /// By replica: who waits there, and since which ask.
    line: BTreeMap<usize, (Arc<str>, u64)>,
    asks: u64,
}

/// One replica's way to the server.
pub(super) struct Remote {
    server: Arc<Server>,
    replica: usize,
}

impl Server {
    pub(super) fn new(world: &Arc<World>) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            state: Mutex::default(),
            replicas: Mutex::default(),
        })
    }

    pub(super) fn connect(self: &Arc<Self>) -> Admitter {
        let replica = self.replicas.lock().len();
        let remote = Arc::new(Remote {
            server: Arc::clone(self),
            replica,
        });
        let admitter = Admitter::over_replicas(remote, self.world.clock());
        self.replicas.lock().push(admitter.clone());
        self.world.spawn(Arc::clone(self).exchange(replica));
        admitter
    }

    /// Forgets its replicas, which know it.
    pub(super) fn close(&self) {
        self.replicas.lock().clear();
    }

    /// What the replica served is told to the others again and again.
    async fn exchange(self: Arc<Self>, replica: usize) {
        loop {
            self.world.sleep(BUSY_EXCHANGE).await;
            let replicas = self.replicas.lock().clone();
            let spent = replicas[replica].queues().spent();
            let mut state = self.state.lock();
            for (name, of) in &spent {
                let (_, _, project, _): (String, String, Arc<str>, String) =
                    serde_json::from_str(name).unwrap();
                *state.counters.entry(project).or_default() += of.correction;
            }
            drop(state);
            let spent: Vec<_> = spent
                .into_iter()
                .map(|(name, of)| (name, of.service))
                .collect();
            for (other, admitter) in replicas.iter().enumerate() {
                if other != replica {
                    admitter.queues().spent_elsewhere(spent.clone());
                }
            }
        }
    }

    /// Tells the replica whose waiter goes first.
    fn call_first(self: &Arc<Self>) {
        let first = self.state.lock().first();
        let Some(replica) = first else { return };
        let server = Arc::clone(self);
        self.world.spawn(async move {
            server.world.sleep(WAY).await;
            let admitter = server.replicas.lock()[replica].clone();
            if !admitter.queues().called("c-f-m") {
                server.world.sleep(WAY).await;
                server.state.lock().line.remove(&replica);
                server.call_first();
            }
        });
    }
}

impl State {
    /// What is new saved nothing up but the service of two requests.
    fn counter(&mut self, turn: &Turn) -> f64 {
        let present = self.present;
        let counter = self
            .counters
            .entry(Arc::clone(&turn.project))
            .or_insert(present);
        if turn.is_new_project {
            let credit = 2.0 * turn.service / f64::from(turn.project_share);
            *counter = counter.max(present - credit);
        }
        *counter
    }

    fn place_of(&self, who: &str, since: u64) -> (f64, &str, u64) {
        let (name, counter) = self.counters.get_key_value(who).unwrap();
        (*counter, name, since)
    }

    fn first(&self) -> Option<usize> {
        let waiting = self
            .line
            .iter()
            .map(|(replica, (who, since))| (self.place_of(who, *since), replica));
        waiting
            .min_by(|(one, _), (other, _)| one.partial_cmp(other).unwrap())
            .map(|(_, replica)| *replica)
    }

    /// Whether there is a place, and whether one is free.
    fn ask(&mut self, replica: usize, turn: &Turn, most: u64) -> (bool, bool) {
        let counter = self.counter(turn);
        self.asks += 1;
        let own = self.line.get(&replica).cloned();
        let same = own.as_ref().filter(|(who, _)| *who == turn.project);
        let since = same.map_or(self.asks, |(_, since)| *since);
        let place = (counter, &*turn.project, since);
        let mut others = self.line.iter().filter(|(other, _)| **other != replica);
        let is_preceded = others.any(|(_, (who, since))| self.place_of(who, *since) < place);
        if self.running < most && !is_preceded {
            self.running += 1;
            self.present = self.present.max(counter);
            if let Some((_, next, _)) = &turn.next {
                let present = self.present;
                self.counters.entry(Arc::clone(next)).or_insert(present);
                self.line.insert(replica, (Arc::clone(next), self.asks));
            } else if same.is_some() {
                self.line.remove(&replica);
            }
            if let Some(counter) = self.counters.get_mut(&turn.project) {
                *counter += turn.service / f64::from(turn.project_share);
            }
            return (true, self.running < most);
        }
        if turn.waits {
            self.line
                .insert(replica, (Arc::clone(&turn.project), since));
        }
        (false, self.running < most)
    }
}

impl Limiter for Remote {
    fn reserve(self: Arc<Self>, ask: &Ask) -> Reserving {
        let [claim] = &ask.claims[..] else {
            panic!("only places are counted here: {ask:?}")
        };
        let (claim, turn) = (claim.clone(), ask.turn.clone().unwrap());
        Reserving::Later(Box::pin(async move {
            let server = Arc::clone(&self.server);
            server.world.sleep(WAY).await;
            let (is_let_in, is_more_free) =
                server.state.lock().ask(self.replica, &turn, claim.most);
            if is_more_free {
                server.call_first();
            }
            let taken = Taken {
                claim,
                tick: 0,
                amount: 1,
            };
            // Whoever asked may go before the answer comes.
            let hold = is_let_in.then(|| Hold::new(self, vec![taken]));
            server.world.sleep(WAY).await;
            let standing = Standing::default();
            match hold {
                Some(hold) => Ok(Grant { hold, standing }),
                None => Err(Denial {
                    scope: Scope::Endpoint,
                    measure: Measure::InFlight,
                    retry_after: Duration::from_secs(1),
                    may_return: true,
                    standing,
                }),
            }
        }))
    }

    fn give_back(&self, back: Return) {
        let (server, replica) = (Arc::clone(&self.server), self.replica);
        self.server.world.spawn(async move {
            server.world.sleep(LINGER + WAY).await;
            server.state.lock().running -= back.taken.len() as u64;
            server.call_first();
            server.world.sleep(WAY).await;
            let admitter = server.replicas.lock()[replica].clone();
            admitter.came_back();
        });
    }

    fn standing(&self, _: &[ostia_core::Claim]) -> Standing {
        Standing::default()
    }
}
