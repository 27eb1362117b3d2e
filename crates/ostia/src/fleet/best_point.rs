mod search;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use search::{BEGINNING, LEVELS, Measured, Search};

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

#[derive(Debug, Default)]
struct State {
    search: Search,
    /// The start of the present measurement.
    since: Option<Counts>,
    /// Sum and number of samples of the requests in flight.
    looks: (f64, u32),
    report: Option<(Instant, Report)>,
    /// The engine's own count when the measurement began, and when it was reported.
    reported_service: Option<(Instant, f64)>,
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
        let is_known = state.search.learn(&measured, is_held);
        if is_held || is_known {
            self.point.store(state.search.level(), Ordering::Relaxed);
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
        let told = self
            .report
            .and_then(|(at, report)| Some((at, report.service?)));
        let Some(since) = self.since else {
            self.begin(now, told);
            return None;
        };
        let answers = now.answers.saturating_sub(since.answers);
        let (elapsed, service, is_over) = match (told, self.reported_service) {
            // Reports come at their own times, so they say themselves how much time lies between them.
            (Some((at, service)), Some((from, before))) if service >= before => {
                let elapsed = at.saturating_duration_since(from);
                (elapsed, service - before, elapsed >= 2 * SHORTEST)
            }
            _ => {
                let elapsed = now.at.saturating_duration_since(since.at);
                let turned_over = answers >= u64::from(self.search.level());
                let is_over =
                    (elapsed >= SHORTEST && turned_over) || (elapsed >= LONGEST && answers > 0);
                (elapsed, now.service - since.service, is_over)
            }
        };
        if !is_over {
            // The endpoint is idle, or silent: the measurement under way is discarded.
            if now.at.saturating_duration_since(since.at) > 4 * LONGEST {
                self.begin(now, told);
            }
            return None;
        }
        let waited = now.first_tokens.saturating_sub(since.first_tokens);
        let measured = Measured {
            at: now.at,
            in_flight: self.looks.0 / f64::from(self.looks.1),
            rate: service / elapsed.as_secs_f64(),
            first_token: (answers > 0).then(|| waited.as_secs_f64() / float(answers)),
            report: self.report.map(|(_, report)| report),
        };
        self.begin(now, told);
        Some(measured)
    }

    fn begin(&mut self, now: Counts, told: Option<(Instant, f64)>) {
        self.since = Some(now);
        self.looks = (f64::from(now.in_flight), 1);
        self.reported_service = told;
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of answers")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
