//! Percentiles and medians.

use serde_json::{Value, json};
use std::time::Duration;

/// Sub-buckets per power of two. Values keep a precision of about 0.4 %, far below any machine's noise.
const SUB: u64 = 256;

/// Counts of durations in buckets whose width grows with the value. Its memory does not depend on the length of the
/// run, so the generator does not slow down while it measures.
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

impl Histogram {
    pub fn new() -> Self {
        // 64-bit nanoseconds: linear below SUB, then SUB buckets for each further power of two.
        let powers = 64 - SUB.trailing_zeros() as usize + 1;
        Self {
            buckets: vec![0; powers * SUB as usize],
            count: 0,
            max: 0,
        }
    }

    pub fn record(&mut self, value: Duration) {
        let nanos = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos)] += 1;
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// The smallest recorded bucket that at least `share` (0..=1) of the values do not exceed, in microseconds.
    pub fn percentile(&self, share: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let rank = ((share * self.count as f64).ceil() as u64).clamp(1, self.count);
        let mut seen = 0;
        let at = self.buckets.iter().position(|n| {
            seen += n;
            seen >= rank
        })?;
        Some(middle(at).min(self.max) as f64 / 1e3)
    }

    pub fn json(&self) -> Value {
        let micros = |share| self.percentile(share).map(|us| (us * 10.0).round() / 10.0);
        json!({
            "p50": micros(0.5), "p90": micros(0.9), "p99": micros(0.99),
            "max": (self.count > 0).then_some(self.max / 1000),
        })
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < SUB {
        return nanos as usize;
    }
    let shift = nanos.ilog2() - SUB.trailing_zeros();
    // The top bits of the value, without its leading one, choose the sub-bucket.
    ((u64::from(shift) + 1) * SUB + (nanos >> shift) - SUB) as usize
}

fn middle(bucket: usize) -> u64 {
    let (row, column) = (bucket as u64 / SUB, bucket as u64 % SUB);
    match row {
        0 => column,
        _ => ((SUB + column) << (row - 1)) + ((1 << (row - 1)) >> 1),
    }
}

pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(micros: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::new();
        micros
            .into_iter()
            .for_each(|us| histogram.record(Duration::from_micros(us)));
        histogram
    }

    #[test]
    fn percentiles_are_within_the_bucket_precision() {
        let histogram = of(1..=1000);
        for (share, exact) in [(0.5, 500.0), (0.9, 900.0), (0.99, 990.0), (1.0, 1000.0)] {
            let got = histogram.percentile(share).unwrap();
            assert!(
                (got - exact).abs() / exact < 0.005,
                "{share}: {got} for {exact}"
            );
        }
    }

    #[test]
    fn one_value_is_every_percentile() {
        let histogram = of([42]);
        let (low, high) = (
            histogram.percentile(0.0).unwrap(),
            histogram.percentile(1.0).unwrap(),
        );
        assert_eq!(low, high);
        assert!((low - 42.0).abs() < 0.2);
    }

    #[test]
    fn nothing_recorded_has_no_percentile() {
        assert_eq!(Histogram::new().percentile(0.5), None);
        assert_eq!(Histogram::new().json()["p99"], Value::Null);
    }

    #[test]
    fn buckets_are_monotonic_and_cover_all_values() {
        let mut last = 0;
        for shift in 0..64 {
            for value in [1u64 << shift, (1u64 << shift) + ((1u64 << shift) >> 1)] {
                assert!(bucket(value) >= last);
                last = bucket(value);
                let error = middle(last).abs_diff(value) as f64 / value as f64;
                assert!(error < 0.005, "{value}: {error}");
            }
        }
        assert!(bucket(u64::MAX) < Histogram::new().buckets.len());
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
