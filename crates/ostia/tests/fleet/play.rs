//! Plays a trace against a fleet of eight.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::engine::{Engine, Lru};
use super::figures::Figures;
use super::policy::{Known, Policy};
use super::traces::Trace;

pub const ENGINES: usize = 8;

/// What happens next. Times are whole microseconds, so that they have an order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The first token of an answer came: so much of a prompt is read.
    Read {
        engine: usize,
        tokens: u64,
    },
    End {
        engine: usize,
        session: usize,
    },
}

pub fn play(trace: &Trace, policy: &mut dyn Policy) -> Figures {
    let mut engines: Vec<Engine> = (0..ENGINES)
        .map(|_| Engine::new(trace.curve, trace.block))
        .collect();
    let mut known = [Known::default(); ENGINES];
    let mut given = [0_u64; ENGINES];
    let mut everything = Lru::new(usize::MAX);
    let mut turns: Vec<_> = trace
        .sessions
        .iter()
        .map(|session| session.iter())
        .collect();
    let mut open = vec![0_usize; turns.len()];
    let mut events = BinaryHeap::new();
    let (mut prompt, mut cached, mut cacheable) = (0_u64, 0_u64, 0_u64);
    let mut now = 0;
    let mut ready: Vec<usize> = (0..turns.len()).collect();
    loop {
        for session in ready.drain(..) {
            for ask in turns[session].next().into_iter().flatten() {
                let (engine, uncached) = policy.choose(&known, ask);
                known[engine].in_flight += 1;
                known[engine].unread += uncached;
                given[engine] += 1;
                cacheable += everything.beginning(&ask.chain) as u64 * trace.block;
                everything.put(&ask.chain);
                let served =
                    engines[engine].serve(seconds(now), &ask.chain, ask.prompt, ask.output);
                prompt += ask.prompt;
                cached += served.cached;
                let read = Event::Read {
                    engine,
                    tokens: uncached,
                };
                events.push(Reverse((micros(served.first_token), read)));
                events.push(Reverse((
                    micros(served.end),
                    Event::End { engine, session },
                )));
                open[session] += 1;
            }
        }
        let Some(Reverse((at, event))) = events.pop() else {
            break;
        };
        now = at;
        match event {
            Event::Read { engine, tokens } => known[engine].unread -= tokens,
            Event::End { engine, session } => {
                known[engine].in_flight -= 1;
                open[session] -= 1;
                if open[session] == 0 {
                    ready.push(session);
                }
            }
        }
    }
    Figures::of(seconds(now), prompt, cached, cacheable, &given)
}

#[expect(clippy::cast_precision_loss, reason = "a time")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a time"
)]
fn micros(seconds: f64) -> u64 {
    (seconds * 1e6) as u64
}
