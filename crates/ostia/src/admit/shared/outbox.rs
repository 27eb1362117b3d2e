use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use ostia_core::{Claim, Measure, Return, Taken};
use parking_lot::Mutex;
use tokio::sync::{MutexGuard, Notify};

use super::question::counter;

/// Parcels of one batch at most.
const BATCH: usize = 256;
/// Parcels that wait for an unreachable server. Older ones are dropped: by then their windows have passed, and their
/// leases expire.
const MOST: usize = 65_536;

/// Messages for the server, and the leases to be renewed.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: Mutex<VecDeque<Parcel>>,
    filled: Notify,
    batches: AtomicU64,
    /// Sent again, under the same number, until it was acknowledged.
    unanswered: tokio::sync::Mutex<Option<Unanswered>>,
    /// Counter, and the number of the ask.
    leases: Mutex<HashSet<(String, u64)>>,
}

pub(super) enum Parcel {
    Over(Return),
    /// Nobody waits here for a place that is counted there.
    Away {
        counter: String,
    },
    /// An answer that nobody waited for.
    Undo {
        number: u64,
        claims: Vec<Claim>,
    },
}

struct Unanswered {
    number: u64,
    parcels: Vec<Parcel>,
}

/// One batch. Kept until it was [`Batch::sent`].
pub(super) struct Batch<'a>(MutexGuard<'a, Option<Unanswered>>);

impl Outbox {
    pub(super) fn push(&self, parcel: Parcel) {
        let mut waiting = self.waiting.lock();
        if waiting.len() == MOST {
            waiting.pop_front();
        }
        waiting.push_back(parcel);
        self.filled.notify_one();
    }

    /// Tokens and places come back. A request that was sent and counts only in a rate needs no message.
    pub(super) fn over(&self, mut back: Return) {
        let sent = back.sent;
        back.taken
            .retain(|taken| taken.claim.measure != Measure::Requests || !sent);
        if back.taken.is_empty() {
            return;
        }
        let mut leases = self.leases.lock();
        for taken in in_flight(&back.taken) {
            leases.remove(&(counter(&taken.claim), taken.tick));
        }
        drop(leases);
        self.push(Parcel::Over(back));
    }

    /// What is in flight now.
    pub(super) fn lease(&self, taken: &[Taken]) {
        let leases = in_flight(taken).map(|taken| (counter(&taken.claim), taken.tick));
        self.leases.lock().extend(leases);
    }

    pub(super) fn leases(&self) -> Vec<(String, u64)> {
        self.leases.lock().iter().cloned().collect()
    }

    /// Resolves when there is something to send.
    pub(super) async fn filled(&self) {
        if self.unanswered.lock().await.is_some() || !self.waiting.lock().is_empty() {
            return;
        }
        self.filled.notified().await;
    }

    /// The unacknowledged batch, or a new one; `None`: nothing is to be sent.
    pub(super) async fn next(&self) -> Option<Batch<'_>> {
        let mut unanswered = self.unanswered.lock().await;
        if unanswered.is_none() {
            let mut waiting = self.waiting.lock();
            let count = waiting.len().min(BATCH);
            if count > 0 {
                *unanswered = Some(Unanswered {
                    number: self.batches.fetch_add(1, Ordering::Relaxed),
                    parcels: waiting.drain(..count).collect(),
                });
            }
        }
        unanswered.is_some().then_some(Batch(unanswered))
    }
}

impl Batch<'_> {
    pub(super) fn number(&self) -> u64 {
        self.0.as_ref().map_or(0, |batch| batch.number)
    }

    pub(super) fn parcels(&self) -> &[Parcel] {
        self.0.as_ref().map_or(&[], |batch| &batch.parcels)
    }

    pub(super) fn sent(&mut self) {
        *self.0 = None;
    }
}

fn in_flight(taken: &[Taken]) -> impl Iterator<Item = &Taken> {
    taken
        .iter()
        .filter(|taken| taken.claim.measure == Measure::InFlight)
}
