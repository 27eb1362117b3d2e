//! One pool's queue.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::super::fair::{Lines, Party};
use super::waiter::Waiter;

/// Services by which the length of a wait is forecast.
const REMEMBERED: usize = 16;

/// With fewer, nothing is forecast.
const LEAST_REMEMBERED: usize = 4;

/// One pool's queue. The next request is chosen by the service that projects and users received, not by arrival.
#[derive(Default)]
pub(in super::super) struct Queue {
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) lines: Lines,
    pub(super) arrivals: u64,
    /// How often something came back: waiters that tried before the last time try again.
    pub(super) returns: u64,
    /// When the last requests were let in.
    served: VecDeque<Instant>,
}

impl State {
    pub(super) fn started(&mut self, party: &Party, service: f64, now: Instant) {
        self.lines.started(party, service);
        if self.served.len() == REMEMBERED {
            self.served.pop_front();
        }
        self.served.push_back(now);
    }

    pub(super) fn forecast(&self, waiter: &Arc<Waiter>, now: Instant) -> Option<Duration> {
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
    pub(super) fn make_room(&mut self, party: &Party) -> bool {
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
    pub(super) fn call_next(&self) {
        self.call(self.lines.next(|_| true));
    }

    pub(super) fn call_of(&self, user: &str) {
        self.call(self.lines.next(|waiter| *waiter.party.user == *user));
    }

    pub(super) fn call(&self, next: Option<Arc<Waiter>>) {
        if let Some(next) = next.filter(|next| !next.is_called()) {
            next.call();
        }
    }
}
