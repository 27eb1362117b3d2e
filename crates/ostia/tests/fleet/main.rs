//! Which engine of a fleet gets a request: the gateway's choice against round robin and least loaded, on simulated engines
//! with a prefix cache each. `cargo test -p ostia --test fleet -- --nocapture` prints the figures.
#![expect(clippy::print_stdout, reason = "figures that people read")]

mod engine;
mod figures;
mod play;
mod policy;
mod traces;

use engine::{Curve, DENSE, LARGE, MIDDLE, OLD, SMALL};
use figures::{Figures, against};
use traces::{Trace, agents, long_outputs, prefixes};

/// What the choice was made with, and what was held back until it was made.
const TRIED: [(Curve, u64); 2] = [(DENSE, 1), (SMALL, 1)];
const HELD_BACK: [(Curve, u64); 4] = [
    (DENSE, 15_485_863),
    (SMALL, 32_452_843),
    (MIDDLE, 86_028_121),
    (OLD, 67_867_967),
];

/// The gateway's figures, beside round robin's and those of the least loaded, for each engine and seed.
fn runs(name: &str, trace: impl Fn(Curve, u64) -> Trace) -> Vec<[Figures; 3]> {
    let all = TRIED.into_iter().chain(HELD_BACK);
    all.map(|(curve, seed)| against(name, seed, &trace(curve, seed)))
        .collect()
}

#[test]
fn coding_agents_keep_their_context() {
    for [ours, round_robin, _] in runs("agents", agents) {
        assert!(ours.reuse >= 0.97 * ours.best_reuse, "{ours:?}");
        assert!(ours.rate >= 2.9 * round_robin.rate, "{ours:?}");
    }
}

#[test]
fn many_prefixes_find_their_engine() {
    for [ours, round_robin, _] in runs("prefixes", |curve, seed| prefixes(curve, seed, 0.0)) {
        assert!(ours.reuse >= 0.97 * ours.best_reuse, "{ours:?}");
        assert!(ours.rate >= 2.0 * round_robin.rate, "{ours:?}");
    }
}

#[test]
fn one_prefix_with_two_fifths_of_the_traffic_heats_no_engine() {
    for [ours, ..] in runs("hot prefix", |curve, seed| prefixes(curve, seed, 0.4)) {
        assert!(ours.hottest <= 1.3, "{ours:?}");
    }
}

/// An engine with room for everything that spends most of its time on outputs: no choice can gain as much there.
#[test]
fn where_outputs_are_what_takes_time_the_caches_are_used_as_well() {
    let agents = agents(LARGE, 49_979_687);
    let prefixes = prefixes(LARGE, 49_979_687, 0.0);
    for (name, trace) in [("agents", agents), ("prefixes", prefixes)] {
        let [ours, round_robin, _] = against(name, 49_979_687, &trace);
        assert!(ours.reuse >= 0.97 * ours.best_reuse, "{ours:?}");
        assert!(ours.rate >= 1.5 * round_robin.rate, "{ours:?}");
    }
}

#[test]
fn without_anything_to_reuse_nothing_is_lost() {
    for [ours, round_robin, _] in runs("long outputs", long_outputs) {
        assert!(ours.rate >= 0.98 * round_robin.rate, "{ours:?}");
    }
}
