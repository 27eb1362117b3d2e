//! What a run has shown.

use ostia::fleet::Prefixes;

use super::play::play;
use super::policy::{LeastLoaded, Ostia, Policy, RoundRobin};
use super::traces::{Chance, Trace};

#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Prompt tokens a second, cached ones included.
    pub rate: f64,
    /// The part of all prompt tokens that the engines had in their caches, and the part that one infinite cache would have.
    pub reuse: f64,
    pub best_reuse: f64,
    /// Requests of the engine that got most, over the mean.
    pub hottest: f64,
}

impl Figures {
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    pub fn of(seconds: f64, prompt: u64, cached: u64, cacheable: u64, given: &[u64]) -> Self {
        let prompt = prompt as f64;
        let all: u64 = given.iter().sum();
        let most = given.iter().max().copied().unwrap_or_default();
        Self {
            rate: prompt / seconds,
            reuse: cached as f64 / prompt,
            best_reuse: cacheable as f64 / prompt,
            hottest: most as f64 * given.len() as f64 / all as f64,
        }
    }
}

/// Plays a trace by the gateway's choice, by round robin, and by the least loaded, and prints what came of it.
pub fn against(name: &str, seed: u64, trace: &Trace) -> [Figures; 3] {
    let mut ostia = Ostia {
        prefixes: Prefixes::new(64 << 20),
        chance: Chance::new(seed),
    };
    let mut least = LeastLoaded(Chance::new(seed));
    let mut policies: [(&str, &mut dyn Policy); 3] = [
        ("ostia", &mut ostia),
        ("round robin", &mut RoundRobin::default()),
        ("least loaded", &mut least),
    ];
    let figures = policies
        .each_mut()
        .map(|(_, policy)| play(trace, &mut **policy));
    let prefill = trace.curve.prefill;
    for ((policy, _), one) in policies.iter().zip(figures) {
        let Figures {
            rate,
            reuse,
            best_reuse,
            hottest,
        } = one;
        println!(
            "{name:<13} prefill {prefill:>6} seed {seed:>6} {policy:<13} {rate:>9.0} tokens/s  reuse {reuse:.3} of {best_reuse:.3}  hottest {hottest:.2}"
        );
    }
    figures
}
