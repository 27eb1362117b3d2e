//! Hands the counters of one process to another that takes over from it, so that limits hold across the change.
//!
//! The old process sends all counters at one moment, and from then on reports what its requests take and give back, in
//! order. The new one counts in the same ticks.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ostia_core::{Claim, Limiter as _, Measure, Return, Scope, Subject, Taken};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedSender;

use super::{Count, Counter, LocalLimiter, Name, Shard, Window};

/// All counters of a process.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Counters {
    /// When they were taken: the machine's clock, and the age of the process's first tick.
    taken_at: Duration,
    age: Duration,
    counters: Vec<Counted>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Counted {
    scope: Scope,
    measure: Measure,
    subject: Subject,
    /// (tick, amount), oldest first.
    ticks: Vec<(u64, u64)>,
    debt: u64,
    standing: u64,
    running: u64,
}

/// Changes to counters in a process that has handed them over.
#[derive(Debug, Serialize, Deserialize)]
pub enum Change {
    Took(Taken),
    Ended {
        taken: Taken,
        used_tokens: u64,
        sent: bool,
    },
}

/// What requests of another process hold here.
pub(super) type Foreign = HashMap<Name, u64>;

impl LocalLimiter {
    /// All counters as they are now. Later changes are sent to `changes`.
    pub fn give_away(&self, changes: UnboundedSender<Change>) -> Counters {
        let guards: Vec<_> = self.shards.iter().map(|shard| shard.lock()).collect();
        // Only the first counts; nobody gives counters away twice.
        let _ = self.changes.set(changes);
        let all = guards.iter().flat_map(|shard| shard.counters.iter());
        Counters {
            taken_at: machine_time(),
            age: self.now(),
            counters: all
                .map(|(name, counter)| Counted::of(name, counter))
                .collect(),
        }
    }

    /// Counts on from what another process had counted. This one must not have counted anything yet.
    pub fn take_over(&self, counters: Counters) {
        let since = machine_time().saturating_sub(counters.taken_at);
        let ahead = (counters.age + since).saturating_sub(self.now());
        let ahead = u64::try_from(ahead.as_nanos()).unwrap_or(u64::MAX);
        self.ahead_nanos.fetch_add(ahead, Ordering::Relaxed);
        for counted in counters.counters {
            let name = (counted.scope, counted.measure, counted.subject.clone());
            self.foreign.lock().insert(name.clone(), counted.running);
            let mut shard = self.shards[self.place(&counted.subject)].lock();
            shard.insert(name, counted.into_counter());
        }
    }

    /// Something changed in the process that counted before.
    pub fn follow(&self, change: Change) {
        match change {
            Change::Took(taken) => {
                let mut shard = self.shards[self.place(&taken.claim.subject)].lock();
                let counter = shard.counter(&taken.claim, self.now());
                counter.add(taken.tick, taken.amount);
                counter.running += taken.amount;
                self.tell(|| Change::Took(taken.clone()));
                *self
                    .foreign
                    .lock()
                    .entry(name_of(&taken.claim))
                    .or_default() += taken.amount;
            }
            Change::Ended {
                taken,
                used_tokens,
                sent,
            } => {
                if let Some(held) = self.foreign.lock().get_mut(&name_of(&taken.claim)) {
                    *held = held.saturating_sub(taken.amount);
                }
                self.give_back(Return {
                    taken: vec![taken],
                    used_tokens,
                    sent,
                });
            }
        }
    }

    /// The other process has ended: nothing runs there any more. Amounts that it did not settle stay counted until they
    /// leave their window.
    pub fn forget_other(&self) {
        for (name, held) in std::mem::take(&mut *self.foreign.lock()) {
            let mut shard = self.shards[self.place(&name.2)].lock();
            let Some(counter) = shard.counters.get_mut(&name) else {
                continue;
            };
            counter.running = counter.running.saturating_sub(held);
            if name.1 == Measure::InFlight {
                counter.take_back(0, held);
            }
        }
    }

    pub(super) fn tell(&self, change: impl FnOnce() -> Change) {
        if let Some(changes) = self.changes.get() {
            // The other process may have ended.
            let _ = changes.send(change());
        }
    }
}

impl Counted {
    fn of((scope, measure, subject): &Name, counter: &Counter) -> Self {
        let (ticks, debt, standing) = match &counter.count {
            Count::Sliding(window) => (window.ticks(), window.debt(), 0),
            Count::Standing(total) => (Vec::new(), 0, *total),
        };
        Self {
            scope: *scope,
            measure: *measure,
            subject: subject.clone(),
            ticks,
            debt,
            standing,
            running: counter.running,
        }
    }

    fn into_counter(self) -> Counter {
        let count = match self.measure {
            Measure::Requests | Measure::Tokens => {
                Count::Sliding(Window::restored(self.ticks, self.debt))
            }
            Measure::InFlight | Measure::Balance => Count::Standing(self.standing),
        };
        Counter {
            count,
            running: self.running,
        }
    }
}

impl Shard {
    fn insert(&mut self, name: Name, counter: Counter) {
        if self.counters.insert(name.clone(), counter).is_none() {
            self.order.push_back(name);
        }
    }
}

fn name_of(claim: &Claim) -> Name {
    (claim.scope, claim.measure, claim.subject.clone())
}

/// The same for all processes of a machine, and never set.
fn machine_time() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ostia_core::{Ask, Cost, Hold, ManualClock, Reserving};
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    fn claims(most: u64) -> Vec<Claim> {
        let claim = |measure, most| Claim {
            scope: Scope::User,
            measure,
            subject: Subject::One("ann".into()),
            most,
        };
        vec![
            claim(Measure::InFlight, most),
            claim(Measure::Tokens, 1_000),
        ]
    }

    fn ask(limiter: &Arc<LocalLimiter>, most: u64, tokens: u64) -> Option<Hold> {
        let ask = Ask {
            claims: claims(most),
            cost: Cost {
                named: tokens,
                guessed: 0,
            },
            turn: None,
        };
        match Arc::clone(limiter).reserve(&ask) {
            Reserving::Now(granted) => granted.ok().map(|grant| grant.hold),
            Reserving::Later(_) => panic!("a limiter of this process"),
        }
    }

    fn used(limiter: &LocalLimiter) -> Vec<u64> {
        let standing = limiter.standing(&claims(9));
        standing.levels.iter().map(|level| level.used).collect()
    }

    #[test]
    fn limits_hold_across_the_change() {
        let clock = Arc::new(ManualClock::at(0));
        let old = Arc::new(LocalLimiter::new(clock.clone()));
        clock.advance(Duration::from_secs(100));
        let mut held = ask(&old, 2, 300).unwrap();
        let other = ask(&old, 2, 400).unwrap();
        held.sent();

        // A process that began later counts from another moment.
        let new = Arc::new(LocalLimiter::new(clock.clone()));
        let (changes, mut told) = unbounded_channel();
        new.take_over(json(&old.give_away(changes)));
        assert_eq!(used(&new), [2, 700]);
        assert!(ask(&new, 2, 100).is_none(), "both places are taken there");
        assert!(ask(&new, 9, 400).is_none(), "so are the tokens");

        // One ends there, having used less; another still begins.
        clock.advance(Duration::from_secs(30));
        held.settle(100);
        let late = ask(&old, 9, 50).unwrap();
        while let Ok(change) = told.try_recv() {
            new.follow(json(&change));
        }
        assert_eq!(used(&new), used(&old));
        assert_eq!(used(&new), [2, 550]);

        // It dies with what it held.
        new.forget_other();
        assert_eq!(used(&new), [0, 550]);
        clock.advance(Duration::from_secs(32));
        assert_eq!(
            used(&new),
            [0, 50],
            "what was counted first has left the minute"
        );
        drop((other, late));
    }

    /// As it goes through the socket.
    fn json<T: Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
        serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
    }
}
