//! Durations and sizes of requests, by model, cluster, API and outcome. The number of label combinations is limited,
//! and no label names a user.

mod histogram;
mod recent;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use ostia_core::{LedgerRow, Observer, Outcome};
use parking_lot::{Mutex, RwLock};

pub use histogram::{Histogram, Reading};
pub use recent::{Counted, ModelCounts, Recent};

/// How many combinations of labels are kept apart. Later ones are counted as `other`.
const MOST_SERIES: usize = 1_000;
const OTHER: &str = "other";

/// Milliseconds. The steps of the GenAI conventions of OpenTelemetry, and some for long answers.
const DURATIONS: &[u64] = &[
    10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 5_120, 10_240, 20_480, 40_960, 81_920, 163_840,
    655_360, 2_621_440,
];
/// Milliseconds.
const FIRST_TOKENS: &[u64] = &[
    1, 5, 10, 20, 40, 60, 80, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000, 30_000,
    60_000, 300_000,
];
/// Microseconds.
const TOKEN_GAPS: &[u64] = &[
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 150_000, 200_000, 300_000,
    400_000, 500_000, 750_000, 1_000_000, 2_500_000,
];
/// Milliseconds.
const WAITS: &[u64] = &[
    1, 10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 15_000, 30_000, 60_000, 600_000,
];
/// Microseconds.
const OWN_TIMES: &[u64] = &[
    25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000,
];
const TOKENS: &[u64] = &[
    1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304,
];

/// Gets every row; see [`Observer`].
#[derive(Debug)]
pub struct Figures {
    series: RwLock<HashMap<Box<str>, Arc<Series>, RandomState>>,
    statuses: Mutex<BTreeMap<u16, u64>>,
    own_time: Histogram,
}

/// The requests of one combination of labels.
#[derive(Debug)]
pub struct Series {
    pub model: Box<str>,
    pub cluster: Box<str>,
    pub api: Box<str>,
    pub outcome: Outcome,
    /// Milliseconds from the request's head to its end.
    pub duration: Histogram,
    /// Milliseconds to the first byte of the answer, of requests that have one.
    pub first_token: Histogram,
    /// Microseconds between two tokens of a stream.
    pub token_gap: Histogram,
    /// Milliseconds that the request waited for its turn.
    pub queued: Histogram,
    pub prompt_tokens: Histogram,
    pub completion_tokens: Histogram,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            series: RwLock::default(),
            statuses: Mutex::default(),
            own_time: Histogram::new(OWN_TIMES),
        }
    }
}

impl Figures {
    /// In the order of their labels.
    pub fn series(&self) -> Vec<Arc<Series>> {
        let mut all: Vec<_> = self.series.read().values().cloned().collect();
        all.sort_by(|a, b| a.labels().cmp(&b.labels()));
        all
    }

    /// How many requests ended with each status.
    pub fn statuses(&self) -> Vec<(u16, u64)> {
        let statuses = self.statuses.lock();
        statuses
            .iter()
            .map(|(status, count)| (*status, *count))
            .collect()
    }

    /// Microseconds that the gateway itself added before sending a request on: from the end of the body, without the
    /// wait in the queue.
    pub fn own_time(&self) -> &Histogram {
        &self.own_time
    }

    pub fn took(&self, time: Duration) {
        self.own_time
            .add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    fn of(&self, row: &LedgerRow<'_>) -> Arc<Series> {
        thread_local! {
            static KEY: RefCell<String> = const { RefCell::new(String::new()) };
        }
        KEY.with_borrow_mut(|key| {
            key.clear();
            let outcome = row.outcome.as_str();
            // No name contains a line end.
            let _ = write!(
                key,
                "{}\n{}\n{}\n{outcome}",
                row.model, row.cluster, row.api
            );
            if let Some(series) = self.series.read().get(key.as_str()) {
                return Arc::clone(series);
            }
            self.begin(key, row)
        })
    }

    fn begin(&self, key: &str, row: &LedgerRow<'_>) -> Arc<Series> {
        let mut all = self.series.write();
        let outcome = row.outcome;
        let is_known = all.contains_key(key);
        if !is_known && all.len() >= MOST_SERIES {
            let key = format!("{OTHER}\n{}", outcome.as_str());
            let series = all.entry(key.into());
            return Arc::clone(
                series.or_insert_with(|| Arc::new(Series::new([OTHER; 3], outcome))),
            );
        }
        let labels = [&*row.model, &*row.cluster, &*row.api];
        let series = all.entry(key.into());
        Arc::clone(series.or_insert_with(|| Arc::new(Series::new(labels, outcome))))
    }
}

impl Observer for Figures {
    fn closed(&self, row: &LedgerRow<'_>) {
        *self.statuses.lock().entry(row.http_status).or_default() += 1;
        self.of(row).add(row);
    }
}

impl Series {
    fn new([model, cluster, api]: [&str; 3], outcome: Outcome) -> Self {
        Self {
            model: model.into(),
            cluster: cluster.into(),
            api: api.into(),
            outcome,
            duration: Histogram::new(DURATIONS),
            first_token: Histogram::new(FIRST_TOKENS),
            token_gap: Histogram::new(TOKEN_GAPS),
            queued: Histogram::new(WAITS),
            prompt_tokens: Histogram::new(TOKENS),
            completion_tokens: Histogram::new(TOKENS),
        }
    }

    pub fn labels(&self) -> [&str; 4] {
        [&self.model, &self.cluster, &self.api, self.outcome.as_str()]
    }

    fn add(&self, row: &LedgerRow<'_>) {
        self.duration.add(row.duration_ms);
        if row.attempts == 0 {
            return;
        }
        self.queued.add(row.queue_ms);
        if let Some(first) = row.ttft_ms {
            self.first_token.add(first);
            let gaps = row.completion_tokens.saturating_sub(1);
            if row.stream && gaps > 0 {
                let micros = row.duration_ms.saturating_sub(first).saturating_mul(1_000);
                self.token_gap.add(micros / gaps);
            }
        }
        if row.prompt_tokens > 0 {
            self.prompt_tokens.add(row.prompt_tokens);
        }
        if row.completion_tokens > 0 {
            self.completion_tokens.add(row.completion_tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(model: &str) -> LedgerRow<'_> {
        LedgerRow {
            model: model.into(),
            cluster: "lab".into(),
            api: "chat/completions".into(),
            outcome: Outcome::Ok,
            http_status: 200,
            attempts: 1,
            stream: true,
            ttft_ms: Some(100),
            duration_ms: 1_100,
            completion_tokens: 11,
            ..LedgerRow::default()
        }
    }

    #[test]
    fn a_stream_tells_how_far_its_tokens_were_apart() {
        let figures = Figures::default();
        figures.closed(&row("m"));
        let [series] = &figures.series()[..] else {
            panic!("one series")
        };
        assert_eq!(series.labels(), ["m", "lab", "chat/completions", "ok"]);
        let gap = series.token_gap.read();
        assert_eq!((gap.count(), gap.sum), (1, 100_000));
        assert_eq!(series.first_token.read().sum, 100);
        assert_eq!(figures.statuses(), [(200, 1)]);
    }

    #[test]
    fn a_refusal_has_a_duration_and_nothing_else() {
        let figures = Figures::default();
        let refused = LedgerRow {
            outcome: Outcome::Rejected,
            http_status: 429,
            duration_ms: 2,
            ..LedgerRow::default()
        };
        figures.closed(&refused);
        let series = figures.series().remove(0);
        assert_eq!(series.duration.read().count(), 1);
        assert_eq!(series.queued.read().count(), 0);
        assert_eq!(series.labels(), ["", "", "", "rejected"]);
    }

    #[test]
    fn labels_are_bounded() {
        let figures = Figures::default();
        for index in 0..MOST_SERIES + 50 {
            figures.closed(&row(&format!("m{index}")));
        }
        let all = figures.series();
        assert_eq!(all.len(), MOST_SERIES + 1);
        let other = all.iter().find(|series| &*series.model == OTHER).unwrap();
        assert_eq!(other.duration.read().count(), 50);
        figures.closed(&row("m0"));
        let known = figures
            .series()
            .into_iter()
            .find(|series| &*series.model == "m0");
        assert_eq!(known.unwrap().duration.read().count(), 2);
    }
}
