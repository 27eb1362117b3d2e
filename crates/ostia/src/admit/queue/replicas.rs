//! What replicas that share their limits tell each other of their queues.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ostia_core::Class;

use super::super::fair::Party;
use super::Queues;

/// Pool, class, project and user: whose service it is.
pub(super) type Account = (Arc<str>, Class, Arc<str>, Arc<str>);

/// What a party was served.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(in super::super) struct Spent {
    pub(in super::super) service: f64,
    /// The part that nobody counted before: actual service minus what was counted when requests were let in.
    pub(in super::super) correction: f64,
    pub(in super::super) project_share: u32,
    pub(in super::super) user_share: u32,
}

/// Among replicas that share their limits.
impl Queues {
    pub(super) fn note(&self, pool: &Arc<str>, party: &Party, service: f64, correction: f64) {
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
    pub(in super::super) fn spent(&self) -> Vec<(String, Spent)> {
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
    pub(in super::super) fn spent_elsewhere(&self, spent: Vec<(String, f64)>) {
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
    pub(in super::super) fn called(&self, endpoint: &str) -> bool {
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
    pub(in super::super) fn came_back(&self) {
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
