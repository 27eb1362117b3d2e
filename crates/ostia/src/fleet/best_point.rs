use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The levels of concurrency: each is about a quarter above the one before.
const LEVELS: [u32; 34] = [
    1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 40, 50, 64, 80, 100, 128, 160, 200, 256, 320, 400,
    512, 640, 800, 1_024, 1_280, 1_600, 2_048, 2_560, 3_200, 4_096,
];
/// The index in `LEVELS` where the search begins: 8.
const BEGINNING: usize = 6;
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
/// A rate that changed by this factor means another engine: probing starts over.
const CHANGED: f64 = 1.25;
/// A first token that takes this many times as long as on a quiet engine has waited inside it.
const SLOW: f64 = 3.0;
/// Below this, the time to first token is not a sign of waiting.
const LEAST_WAIT: Duration = Duration::from_millis(20);
/// One measurement takes at least this long.
const SHORTEST: Duration = Duration::from_millis(500);
/// And at most this long, if anything ended.
const LONGEST: Duration = Duration::from_secs(5);
/// A KV cache with this share in use counts as full: engines keep the last blocks free for running requests.
const CACHE_FULL: f64 = 0.97;
/// Older reports of an engine are ignored.
const REPORTED: Duration = Duration::from_secs(5);

/// The best point of an engine: the lowest concurrency with nearly its full throughput. Measured continuously: from the
/// engine's own metrics, else from its answers' durations.
#[derive(Debug, Default)]
pub struct BestPoint {
    state: Mutex<State>,
    /// For readers without a lock; 0 is not known.
    point: AtomicU32,
    reported: AtomicBool,
    out_of_cache: AtomicBool,
}

/// What has been counted of one endpoint until now.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    pub at: Instant,
    /// Requests on it now.
    pub in_flight: u32,
    pub answers: u64,
    /// The total service of its answers.
    pub service: f64,
    /// The total time to their first tokens.
    pub first_tokens: Duration,
}

/// An engine's own metrics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    pub running: u32,
    pub waiting: u32,
    /// Tokens since it started, weighted as service; `None` if it does not count them.
    pub service: Option<f64>,
    /// The share of its KV cache that requests hold, 0 to 1; `None` if it does not report it.
    pub cache: Option<f64>,
}

impl Report {
    /// It runs more than fits into its cache: the next request that it starts evicts a running one.
    fn is_out_of_cache(&self) -> bool {
        self.cache.is_some_and(|cache| cache >= CACHE_FULL)
    }
}

#[derive(Debug)]
struct State {
    levels: [Option<Known>; LEVELS.len()],
    at: usize,
    mode: Mode,
    /// The start of the present measurement.
    since: Option<Counts>,
    /// Sum and number of samples of the requests in flight.
    looks: (f64, u32),
    /// The last measurement began at another level.
    is_mixed: bool,
    report: Option<(Instant, Report)>,
    /// The engine's own count when the measurement began.
    reported_service: Option<f64>,
    /// Consecutive measurements in which requests waited inside the engine.
    queued: u32,
    /// Time to first token on a quiet engine.
    quiet: Option<f64>,
    /// The level that was enough last, and its rate when a neighbour was tried.
    home: (usize, f64),
    /// Probes in a row that found nothing better.
    vain: u32,
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
    /// Measurements since a neighbour was tried last.
    Settled { since_probe: u32 },
}

/// One measurement.
struct Measured {
    at: Instant,
    in_flight: f64,
    rate: f64,
    /// Mean of first tokens, in seconds.
    first_token: Option<f64>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            levels: [None; LEVELS.len()],
            at: BEGINNING,
            mode: Mode::Growing { before: None },
            since: None,
            looks: (0.0, 0),
            is_mixed: false,
            report: None,
            reported_service: None,
            queued: 0,
            quiet: None,
            home: (BEGINNING, 0.0),
            vain: 0,
        }
    }
}

impl BestPoint {
    /// The concurrency limit, if one is to be enforced.
    pub fn cap(&self) -> u32 {
        match self.point.load(Ordering::Relaxed) {
            0 => LEVELS[BEGINNING],
            point => point,
        }
    }

    /// The best point, once it was found.
    pub fn known(&self) -> Option<u32> {
        Some(self.point.load(Ordering::Relaxed)).filter(|point| *point != 0)
    }

    /// Whether the engine has metrics.
    pub fn is_reported(&self) -> bool {
        self.reported.load(Ordering::Relaxed)
    }

    /// Whether it has as many requests as it serves best, or no memory for more.
    pub fn is_full(&self, in_flight: u32) -> bool {
        self.known().is_some_and(|best| in_flight >= best)
            || (in_flight > 0 && self.out_of_cache.load(Ordering::Relaxed))
    }

    /// `None`: it does not tell, or no longer.
    pub fn report(&self, report: Option<Report>, now: Instant) {
        let mut state = self.state.lock();
        state.report = report.map(|report| (now, report));
        self.reported.store(report.is_some(), Ordering::Relaxed);
        let is_out = report.is_some_and(|report| report.is_out_of_cache());
        self.out_of_cache.store(is_out, Ordering::Relaxed);
    }

    /// Samples the counts, several times a second. `is_held`: no more than [`BestPoint::cap`] are admitted, so that
    /// another level can be tried.
    pub fn look(&self, now: Counts, is_held: bool) {
        let mut state = self.state.lock();
        let Some(measured) = state.measure(now) else {
            return;
        };
        let is_known = state.learn(&measured, is_held);
        let point = LEVELS[state.at];
        if is_held || is_known {
            self.point.store(point, Ordering::Relaxed);
        }
    }
}

impl State {
    /// The measurement that ends with this sample, if one does.
    fn measure(&mut self, now: Counts) -> Option<Measured> {
        self.looks.0 += f64::from(now.in_flight);
        self.looks.1 += 1;
        let fresh = |(at, _): &(Instant, Report)| now.at.saturating_duration_since(*at) < REPORTED;
        self.report = self.report.filter(fresh);
        let told = self.report.and_then(|(_, report)| report.service);
        let Some(since) = self.since else {
            self.begin(now, told);
            return None;
        };
        let elapsed = now.at.saturating_duration_since(since.at);
        let answers = now.answers.saturating_sub(since.answers);
        let turned_over = answers >= u64::from(LEVELS[self.at]);
        let is_told = told.is_some() && self.reported_service.is_some() && elapsed >= 2 * SHORTEST;
        let is_over = (elapsed >= SHORTEST && turned_over) || (elapsed >= LONGEST && answers > 0);
        if !is_over && !is_told {
            // The endpoint is idle: the measurement under way is discarded.
            if elapsed > 4 * LONGEST {
                self.begin(now, told);
            }
            return None;
        }
        let service = match (told, self.reported_service) {
            (Some(now), Some(before)) if now >= before => now - before,
            _ => now.service - since.service,
        };
        let waited = now.first_tokens.saturating_sub(since.first_tokens);
        let measured = Measured {
            at: now.at,
            in_flight: self.looks.0 / f64::from(self.looks.1),
            rate: service / elapsed.as_secs_f64(),
            first_token: (answers > 0).then(|| waited.as_secs_f64() / float(answers)),
        };
        self.begin(now, told);
        // During a change of level, both levels were measured.
        (!std::mem::take(&mut self.is_mixed)).then_some(measured)
    }

    fn begin(&mut self, now: Counts, told: Option<f64>) {
        self.since = Some(now);
        self.looks = (f64::from(now.in_flight), 1);
        self.reported_service = told;
    }

    /// Concludes from one measurement. `true`: the best point is known.
    fn learn(&mut self, measured: &Measured, is_held: bool) -> bool {
        let level = level_of(measured.in_flight);
        self.remember(level, measured);
        if let Some(runs) = self.waits_inside(measured) {
            // Requests should wait here instead of in the engine. Higher levels yield no more than this one.
            self.mode = Mode::Settled { since_probe: 0 };
            let lower = level_of(f64::from(runs)).min(level.saturating_sub(1));
            self.remember(lower, measured);
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
            Mode::Growing { before } => {
                if before.is_none_or(|before| measured.rate >= before * WORTH) {
                    self.mode = Mode::Growing {
                        before: Some(measured.rate),
                    };
                    self.go(self.at + STEP);
                } else {
                    self.mode = Mode::Settled { since_probe: 0 };
                    self.go(self.enough(measured.at));
                }
            }
            Mode::Settled { since_probe } => self.settle(since_probe, measured),
        }
        true
    }

    fn settle(&mut self, since_probe: u32, measured: &Measured) {
        let target = self.enough(measured.at);
        let (home, rate) = self.home;
        let is_changed = measured.rate > rate * CHANGED || measured.rate < rate / CHANGED;
        if target != home || (self.at == home && is_changed) {
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
        let runs = match self.report {
            Some((_, report)) => {
                (report.waiting > 0 || report.is_out_of_cache()).then_some(report.running)
            }
            None => self.is_slow(measured).then(|| {
                let level = level_of(measured.in_flight);
                LEVELS[level.saturating_sub(STEP)]
            }),
        };
        self.queued = if runs.is_some() { self.queued + 1 } else { 0 };
        runs.filter(|_| self.queued >= 2).map(|runs| runs.max(1))
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

#[expect(clippy::cast_precision_loss, reason = "counts of answers")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
