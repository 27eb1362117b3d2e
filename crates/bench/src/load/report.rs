//! The results of one run.

use crate::stats::Histogram;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub struct Tally {
    total: Histogram,
    ttft: Histogram,
    gaps: Histogram,
    chunks: u64,
    pub bytes: u64,
    pub opened: u64,
    /// Requests of an open loop for which no connection was free.
    pub late: u64,
    errors: BTreeMap<String, u64>,
}

impl Default for Tally {
    fn default() -> Self {
        let new = Histogram::new;
        Self {
            total: new(),
            ttft: new(),
            gaps: new(),
            chunks: 0,
            bytes: 0,
            opened: 0,
            late: 0,
            errors: BTreeMap::new(),
        }
    }
}

impl Tally {
    /// Only complete answers count towards latency, or fast refusals would make a broken proxy look fast.
    pub fn ended(&mut self, elapsed: Duration, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.total.record(elapsed),
            Err(failure) => *self.errors.entry(failure).or_default() += 1,
        }
    }

    pub fn failures(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Chunks that arrive together have no time between them, which is what a reader would see.
    pub fn chunks(&mut self, arrived: u64, now: Instant, last: Option<Instant>, start: Instant) {
        if arrived == 0 {
            return;
        }
        match last {
            None => self.ttft.record(now - start),
            Some(last) => self.gaps.record(now - last),
        }
        (1..arrived).for_each(|_| self.gaps.record(Duration::ZERO));
        self.chunks += arrived;
    }

    pub fn json(&self, elapsed: Duration) -> Value {
        let seconds = elapsed.as_secs_f64();
        json!({
            "seconds": (seconds * 1e3).round() / 1e3,
            "requests": self.total.count(),
            "per_second": (self.total.count() as f64 / seconds).round(),
            "errors": self.failures(),
            "error_kinds": self.errors,
            "latency_us": self.total.json(),
            "ttft_us": self.ttft.json(),
            "gap_us": self.gaps.json(),
            "chunks": self.chunks,
            "bytes": self.bytes,
            "connections_opened": self.opened,
            "late": self.late,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_kind_and_kept_out_of_latency() {
        let mut tally = Tally::default();
        tally.ended(Duration::from_millis(1), Ok(()));
        for failure in ["a", "b", "a"] {
            tally.ended(Duration::from_secs(9), Err(failure.into()));
        }
        let report = tally.json(Duration::from_secs(2));
        assert_eq!(
            (report["requests"].as_u64(), report["errors"].as_u64()),
            (Some(1), Some(3))
        );
        assert_eq!(report["error_kinds"], json!({"a": 2, "b": 1}));
        assert_eq!(report["latency_us"]["max"], 1000);
    }

    #[test]
    fn the_first_chunk_is_ttft_and_the_others_are_gaps() {
        let mut tally = Tally::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        tally.chunks(0, at(1), None, start);
        tally.chunks(1, at(5), None, start);
        tally.chunks(3, at(8), Some(at(5)), start);
        assert_eq!(
            (tally.ttft.count(), tally.gaps.count(), tally.chunks),
            (1, 3, 4)
        );
        assert_eq!(tally.gaps.percentile(0.5), Some(0.0));
    }
}
