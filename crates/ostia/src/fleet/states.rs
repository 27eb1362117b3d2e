use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ostia_core::{Clock, SystemClock};
use parking_lot::Mutex;

use super::chance::Chance;
use super::{EndpointState, Learned, Prefixes};

/// All endpoint states, by slug.
pub struct Fleet {
    clock: Arc<dyn Clock>,
    states: Mutex<HashMap<Arc<str>, Arc<EndpointState>>>,
    /// By model.
    learned: Mutex<HashMap<Arc<str>, Arc<Learned>>>,
    prefixes: Prefixes,
    chance: Chance,
    secret: [u8; 16],
    numbers: AtomicU32,
}

impl Default for Fleet {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock))
    }
}

impl Fleet {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            states: Mutex::default(),
            learned: Mutex::default(),
            prefixes: Prefixes::new(0),
            chance: Chance::new(u64::from_le_bytes(random())),
            secret: random(),
            numbers: AtomicU32::new(1),
        }
    }

    /// Which endpoints have lately seen which beginnings of prompts.
    pub fn prefixes(&self) -> &Prefixes {
        &self.prefixes
    }

    /// How many bytes may be spent on them.
    pub fn remember_prefixes(&self, bytes: u64) {
        self.prefixes
            .resize(usize::try_from(bytes).unwrap_or(usize::MAX));
    }

    /// A number that breaks a tie.
    pub fn chance(&self) -> u64 {
        self.chance.next()
    }

    /// A secret of this process.
    pub fn secret(&self) -> [u8; 16] {
        self.secret
    }

    /// The state of an endpoint, created on first use; later calls return the same one.
    pub fn endpoint(&self, slug: &Arc<str>) -> Arc<EndpointState> {
        let mut states = self.states.lock();
        let state = states.entry(Arc::clone(slug)).or_insert_with(|| {
            Arc::new(EndpointState::new(
                Arc::clone(slug),
                self.numbers.fetch_add(1, Ordering::Relaxed),
                Arc::clone(&self.clock),
            ))
        });
        Arc::clone(state)
    }

    /// What was learned of a model.
    pub fn learned(&self, model: &Arc<str>) -> Arc<Learned> {
        let mut learned = self.learned.lock();
        Arc::clone(learned.entry(Arc::clone(model)).or_default())
    }

    /// Forgets endpoints and models that no catalog and no request holds any more.
    pub fn shrink(&self) {
        self.states
            .lock()
            .retain(|_, state| Arc::strong_count(state) > 1);
        self.learned
            .lock()
            .retain(|_, learned| Arc::strong_count(learned) > 1);
    }

    /// Every endpoint that is served, or that a running request still holds; in no particular order.
    pub fn all(&self) -> Vec<Arc<EndpointState>> {
        self.states.lock().values().cloned().collect()
    }
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").finish_non_exhaustive()
    }
}

/// Where the system has no random numbers, ties break always in the same way, and hashes are the same in each process.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let _ = getrandom::fill(&mut bytes);
    bytes
}
