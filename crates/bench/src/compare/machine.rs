//! How busy the machine was otherwise. Without this, no figure can be judged.

use std::fs;

/// The machine's state at the beginning of the comparison.
pub struct Machine {
    load: String,
    ticks: Option<Ticks>,
}

/// Clock ticks since boot, summed over all cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    total: u64,
    /// Time in which a core had work, but the hypervisor ran somebody else's.
    stolen: u64,
}

impl Machine {
    pub fn now() -> Self {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or_default().to_owned();
        Self {
            load,
            ticks: Ticks::now(),
        }
    }

    pub fn since(&self) -> String {
        let stolen = self
            .ticks
            .zip(Ticks::now())
            .map_or(0.0, |(before, now)| now.stolen_since(before));
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        format!(
            "{}, {cores} cores; load average {} at the start, {stolen:.0} % of the time stolen by the hypervisor.",
            std::env::consts::ARCH,
            self.load,
        )
    }
}

impl Ticks {
    fn now() -> Option<Self> {
        Self::read(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// Reads the line for all cores: user, nice, system, idle, iowait, irq, softirq, steal. Guest time is included in
    /// user.
    fn read(stat: &str) -> Option<Self> {
        let fields = stat
            .lines()
            .next()?
            .strip_prefix("cpu ")?
            .split_ascii_whitespace();
        let ticks: Vec<u64> = fields
            .take(8)
            .map_while(|field| field.parse().ok())
            .collect();
        Some(Self {
            total: ticks.iter().sum(),
            stolen: *ticks.get(7)?,
        })
    }

    fn stolen_since(self, before: Self) -> f64 {
        let total = self.total.saturating_sub(before.total).max(1);
        100.0 * self.stolen.saturating_sub(before.stolen) as f64 / total as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time_is_a_share_of_all() {
        let before = Ticks::read("cpu  100 0 0 800 0 0 0 100 7 7\ncpu0 1 2\n").unwrap();
        let after = Ticks::read("cpu  150 0 0 1200 0 0 0 150 9 9\n").unwrap();
        assert_eq!((before.total, before.stolen), (1000, 100));
        assert!((after.stolen_since(before) - 10.0).abs() < 1e-9);
        assert_eq!(Ticks::read("nonsense"), None);
    }
}
