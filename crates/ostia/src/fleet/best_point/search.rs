//! The search of an engine's best point: concludes from one measurement after another.

use std::time::{Duration, Instant};

use super::Report;

/// The levels of concurrency: each is about a quarter above the one before.
pub(super) const LEVELS: [u32; 34] = [
    1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 40, 50, 64, 80, 100, 128, 160, 200, 256, 320, 400,
    512, 640, 800, 1_024, 1_280, 1_600, 2_048, 2_560, 3_200, 4_096,
];
/// The index in `LEVELS` where the search begins: 8.
pub(super) const BEGINNING: usize = 6;
/// A level is enough if it yields this share of the best throughput.
const ENOUGH: f64 = 0.95;
/// More concurrency is worthwhile while it raises the throughput by this factor.
const WORTH: f64 = 1.1;
/// How many levels one step of growth takes.
const STEP: usize = 2;
/// Older measurements are ignored.
const FRESH: Duration = Duration::from_secs(60);
/// After this many measurements a neighbouring level is tried.
const PROBE_EVERY: u32 = 12;
/// Each probe that finds nothing better halves the rate of probing, down to an eighth: beyond a cliff each one costs.
const MOST_DOUBLINGS: u32 = 3;
/// A rate that changed by this factor means another engine: the search starts over.
const CHANGED: f64 = 1.25;
/// In so many measurements in a row: a single one may be off.
const CERTAIN: u32 = 2;
/// A first token that takes this many times as long as on a quiet engine has waited inside it.
const SLOW: f64 = 3.0;
/// Below this, the time to first token is not a sign of waiting.
const LEAST_WAIT: Duration = Duration::from_millis(20);

/// What is known of an engine, and what is tried next.
#[derive(Debug)]
pub(super) struct Search {
    levels: [Option<Known>; LEVELS.len()],
    at: usize,
    mode: Mode,
    /// The level has changed since the last measurement.
    is_mixed: bool,
    /// Consecutive measurements in which requests waited inside the engine.
    queued: u32,
    /// Time to first token on a quiet engine.
    quiet: Option<f64>,
    /// The level that was enough last, and its rate when a neighbour was tried.
    home: (usize, f64),
    /// Probes in a row that found nothing better.
    vain: u32,
    /// Measurements in a row at home whose rate was another.
    changes: u32,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    /// Service a second.
    rate: f64,
    at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    /// Higher concurrency yielded more: `before` was the rate one step below.
    Growing { before: Option<f64> },
    /// The engine became slower: less concurrency is tried while it yields as much as `before`, one step above.
    Shrinking { before: f64 },
    /// Measurements since a neighbour was tried last.
    Settled { since_probe: u32 },
}

/// One measurement.
pub(super) struct Measured {
    pub at: Instant,
    /// The mean number of requests on the engine.
    pub in_flight: f64,
    /// Service a second.
    pub rate: f64,
    /// Mean of first tokens, in seconds.
    pub first_token: Option<f64>,
    /// The engine's last report, if it is fresh.
    pub report: Option<Report>,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            levels: [None; LEVELS.len()],
            at: BEGINNING,
            mode: Mode::Growing { before: None },
            is_mixed: false,
            queued: 0,
            quiet: None,
            home: (BEGINNING, 0.0),
            vain: 0,
            changes: 0,
        }
    }
}

impl Search {
    /// The concurrency that is best by what is known, or is tried now.
    pub(super) const fn level(&self) -> u32 {
        LEVELS[self.at]
    }

    /// Concludes from one measurement. `true`: the best point is known.
    pub(super) fn learn(&mut self, measured: &Measured, is_held: bool) -> bool {
        if std::mem::take(&mut self.is_mixed) {
            // The level changed meanwhile: both were measured.
            return false;
        }
        let level = level_of(measured.in_flight);
        self.remember(level, measured);
        if let Some(runs) = self.waits_inside(measured) {
            // Requests should wait here instead of in the engine. Higher levels yield no more than this one.
            self.mode = Mode::Settled { since_probe: 0 };
            let lower = level_of(f64::from(runs)).min(level.saturating_sub(1));
            self.levels[lower + 1..].fill(None);
            if self.levels[lower].is_none_or(|known| known.rate < measured.rate) {
                self.remember(lower, measured);
            }
            self.go(lower.min(self.at));
            return true;
        }
        if !is_held {
            return self.watch();
        }
        if measured.in_flight < 0.85 * f64::from(LEVELS[self.at]) {
            // Fewer came than would have been admitted: nothing is learned about the limit.
            return false;
        }
        match self.mode {
            Mode::Growing { before }
                if before.is_none_or(|before| measured.rate >= before * WORTH) =>
            {
                // Perhaps some wait inside: then the next measurement decides.
                if self.queued == 0 {
                    self.grow(measured.rate);
                }
            }
            Mode::Shrinking { before } if measured.rate >= before * ENOUGH && self.at > 0 => {
                self.shrink(measured.rate.max(before));
            }
            Mode::Growing { .. } | Mode::Shrinking { .. } => {
                let was_shrinking = matches!(self.mode, Mode::Shrinking { .. });
                // The level that the last step left out is tried next.
                let since_probe = u32::MAX;
                self.mode = Mode::Settled { since_probe };
                self.go(self.enough(measured.at));
                if was_shrinking && let Some(known) = self.levels[self.at] {
                    self.grow_into_unknown(known.rate);
                }
            }
            Mode::Settled { since_probe } => self.settle(since_probe, measured),
        }
        true
    }

    fn grow(&mut self, rate: f64) {
        self.mode = Mode::Growing { before: Some(rate) };
        self.go(self.at + STEP);
    }

    /// Less was not better: perhaps more is, where nothing is known of it.
    fn grow_into_unknown(&mut self, rate: f64) {
        if matches!(self.levels.get(self.at + STEP), Some(None)) {
            self.grow(rate);
        }
    }

    fn shrink(&mut self, rate: f64) {
        self.mode = Mode::Shrinking { before: rate };
        self.go(self.at.saturating_sub(STEP));
    }

    /// The engine is another one now: what was known of other levels is not true of it.
    fn start_over(&mut self, measured: &Measured) {
        let is_faster = measured.rate > self.home.1;
        self.levels.fill(None);
        self.remember(self.at, measured);
        self.home = (self.at, measured.rate);
        self.vain = 0;
        self.changes = 0;
        if is_faster {
            self.grow(measured.rate);
        } else {
            self.shrink(measured.rate);
        }
    }

    fn settle(&mut self, since_probe: u32, measured: &Measured) {
        let (home, rate) = self.home;
        let is_changed = self.at == home
            && rate > 0.0
            && (measured.rate > rate * CHANGED || measured.rate < rate / CHANGED);
        self.changes = if is_changed { self.changes + 1 } else { 0 };
        if is_changed {
            // What is known of other levels may be of another engine: nothing is concluded from it meanwhile.
            if self.changes >= CERTAIN {
                self.start_over(measured);
            }
            return;
        }
        let target = self.enough(measured.at);
        if target != home {
            self.vain = 0;
        }
        if target == self.at || target != home {
            self.home = (target, measured.rate);
        }
        if target > self.at && target > home {
            // It yields more than it did: filled in steps again.
            self.mode = Mode::Growing { before: None };
            return self.go(target);
        }
        let patience = PROBE_EVERY << self.vain.min(MOST_DOUBLINGS);
        if target != self.at || since_probe < patience {
            let since_probe = since_probe.saturating_add(1);
            self.mode = Mode::Settled { since_probe };
            return self.go(target);
        }
        self.mode = Mode::Settled { since_probe: 0 };
        self.vain += 1;
        let age = |level: usize| {
            let known = self.levels.get(level).copied().flatten();
            known.map_or(FRESH, |known| {
                measured.at.saturating_duration_since(known.at)
            })
        };
        let (below, above) = (self.at.saturating_sub(1), self.at + 1);
        let neighbour = if self.at > 0 && age(below) > age(above) {
            below
        } else {
            above
        };
        self.go(neighbour);
    }

    /// Without a limit: the lowest level that is enough, once a higher one was seen to yield no more.
    fn watch(&mut self) -> bool {
        let Some(last) = self.levels.iter().flatten().map(|known| known.at).max() else {
            return false;
        };
        let enough = self.enough(last);
        let rate = self.levels[enough].map_or(0.0, |known| known.rate);
        let above = self.levels.iter().skip(enough + 2).flatten();
        let is_known = above.into_iter().any(|known| known.rate < rate * WORTH);
        if is_known {
            self.at = enough;
        }
        is_known
    }

    fn go(&mut self, level: usize) {
        let level = level.min(LEVELS.len() - 1);
        self.is_mixed |= level != self.at;
        self.at = level;
    }

    fn remember(&mut self, level: usize, measured: &Measured) {
        let rate = match self.levels[level] {
            Some(known) if measured.at.saturating_duration_since(known.at) < FRESH / 4 => {
                f64::midpoint(known.rate, measured.rate)
            }
            _ => measured.rate,
        };
        self.levels[level] = Some(Known {
            rate,
            at: measured.at,
        });
    }

    /// The lowest level that yields nearly as much as the best one.
    fn enough(&self, now: Instant) -> usize {
        let fresh = |known: &Known| now.saturating_duration_since(known.at) < FRESH;
        let rate = |known: &Option<Known>| known.filter(fresh).map(|known| known.rate);
        let best = self.levels.iter().filter_map(rate).fold(0.0, f64::max);
        let is_enough = |known| rate(known).is_some_and(|rate| rate >= best * ENOUGH);
        self.levels.iter().position(is_enough).unwrap_or(self.at)
    }

    /// How many requests the engine really works at, where others wait inside of it, or its KV cache is full, for longer than
    /// one measurement.
    fn waits_inside(&mut self, measured: &Measured) -> Option<u32> {
        let runs = match measured.report {
            Some(report) => {
                (report.waiting > 0 || report.is_out_of_cache()).then_some(report.running)
            }
            None => self.is_slow(measured).then(|| {
                let level = level_of(measured.in_flight);
                LEVELS[level.saturating_sub(STEP)]
            }),
        };
        self.queued = if runs.is_some() { self.queued + 1 } else { 0 };
        runs.filter(|_| self.queued >= CERTAIN)
            .map(|runs| runs.max(1))
    }

    fn is_slow(&mut self, measured: &Measured) -> bool {
        let Some(first) = measured.first_token else {
            return false;
        };
        // The quietest time is forgotten slowly: prompts and engines change.
        let quiet = self.quiet.map_or(first, |quiet| (quiet * 1.005).min(first));
        self.quiet = Some(quiet);
        first > quiet * SLOW && first > LEAST_WAIT.as_secs_f64()
    }
}

/// The nearest level that is not above.
fn level_of(in_flight: f64) -> usize {
    let above = LEVELS.partition_point(|level| f64::from(*level) <= in_flight + 0.25);
    above.saturating_sub(1)
}
