//! Who chooses the engine.

use ostia::fleet::Prefixes;
use ostia::rank::{Home, RUNNING, Readiness, Signals, likely_uncached};

use super::traces::{Ask, Chance};

/// What a gateway knows of an engine: what it sent there, and what came back.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known {
    pub in_flight: u64,
    /// Tokens of prompts whose answer has not begun, as far as they are not likely to be cached.
    pub unread: u64,
}

pub trait Policy {
    /// The engine, and how many tokens of the prompt are likely to be new to it.
    fn choose(&mut self, known: &[Known], ask: &Ask) -> (usize, u64);
}

#[derive(Default)]
pub struct RoundRobin(usize);

impl Policy for RoundRobin {
    fn choose(&mut self, known: &[Known], ask: &Ask) -> (usize, u64) {
        self.0 += 1;
        (self.0 % known.len(), ask.prompt)
    }
}

/// The fewest requests in flight, by chance among ties.
pub struct LeastLoaded(pub Chance);

impl Policy for LeastLoaded {
    fn choose(&mut self, known: &[Known], ask: &Ask) -> (usize, u64) {
        let chance = &mut self.0;
        let least = (0..known.len()).min_by_key(|at| (known[*at].in_flight, chance.next()));
        (least.unwrap_or_default(), ask.prompt)
    }
}

/// The gateway's own.
pub struct Ostia {
    pub prefixes: Prefixes,
    pub chance: Chance,
}

impl Policy for Ostia {
    fn choose(&mut self, known: &[Known], ask: &Ask) -> (usize, u64) {
        let numbers: Vec<u32> = (1..).take(known.len()).collect();
        let seen = self.prefixes.seen(&ask.chain, &numbers);
        let signals = |at: usize| Signals {
            readiness: Readiness::Ready,
            stand_in: 0,
            priority: 0,
            is_full: false,
            work: known[at].unread + known[at].in_flight * RUNNING,
            uncached: likely_uncached(ask.prompt, seen[at], ask.chain.len()),
            home: match seen[at] {
                0 => Home::None,
                _ => Home::Prefix,
            },
            weight: 1,
            share: 100,
        };
        let chance = &mut self.chance;
        let best = (0..known.len()).min_by_key(|at| (signals(*at).number(), chance.next()));
        let best = best.unwrap_or_default();
        self.prefixes.note(&ask.chain, numbers[best]);
        (best, signals(best).uncached)
    }
}
