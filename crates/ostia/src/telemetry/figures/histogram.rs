use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of values between bounds, and their sum.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One per bound, and one for values beyond the last.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// A histogram as it stood at one moment, in its own unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub bounds: &'static [u64],
    pub counts: Vec<u64>,
    pub sum: u64,
}

impl Histogram {
    /// `bounds` are ascending; a value equal to a bound counts below it.
    pub(super) fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    pub(super) fn add(&self, value: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    pub fn read(&self) -> Reading {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Reading {
            bounds: self.bounds,
            counts: self.counts.iter().map(load).collect(),
            sum: load(&self.sum),
        }
    }
}

impl Reading {
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The difference to `before`, an earlier reading of the same histogram.
    pub fn since(&self, before: &Self) -> Self {
        let counts = self.counts.iter().zip(&before.counts);
        Self {
            bounds: self.bounds,
            counts: counts
                .map(|(now, then)| now.saturating_sub(*then))
                .collect(),
            sum: self.sum.wrapping_sub(before.sum),
        }
    }

    /// Adds the counts of another histogram of the same bounds.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// The `quantile` (0 to 1) of all values, interpolated linearly between two bounds. Values beyond the last bound
    /// count as that bound. `None`: there are no values.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        let wanted = quantile * total as f64;
        let mut below = 0;
        let mut lower = 0;
        for (count, upper) in self.counts.iter().zip(self.bounds) {
            if (below + count) as f64 >= wanted && *count > 0 {
                let share = (wanted - below as f64).max(0.0) / *count as f64;
                return Some(lower as f64 + share * (upper - lower) as f64);
            }
            below += count;
            lower = *upper;
        }
        Some(lower as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::Histogram;

    const BOUNDS: &[u64] = &[10, 20, 40];

    #[test]
    fn a_value_counts_at_the_first_bound_that_it_does_not_exceed() {
        let histogram = Histogram::new(BOUNDS);
        for value in [0, 10, 11, 40, 41] {
            histogram.add(value);
        }
        let reading = histogram.read();
        assert_eq!(reading.counts, [2, 1, 1, 1]);
        assert_eq!((reading.sum, reading.count()), (102, 5));
    }

    #[test]
    fn quantiles_lie_between_their_bounds() {
        let histogram = Histogram::new(BOUNDS);
        assert_eq!(histogram.read().quantile(0.5), None);
        for _ in 0..10 {
            histogram.add(15);
        }
        assert_eq!(histogram.read().quantile(0.5), Some(15.0));
        assert_eq!(histogram.read().quantile(1.0), Some(20.0));
        histogram.add(1_000);
        assert_eq!(histogram.read().quantile(1.0), Some(40.0));
    }

    #[test]
    fn what_came_since_is_told_apart() {
        let histogram = Histogram::new(BOUNDS);
        histogram.add(5);
        let before = histogram.read();
        histogram.add(30);
        let mut since = histogram.read().since(&before);
        assert_eq!((&*since.counts, since.sum), (&[0, 0, 1, 0][..], 30));
        since.add(&before);
        assert_eq!(since, histogram.read());
    }
}
