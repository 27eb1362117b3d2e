//! The operating system's figures about this process, under the names that Prometheus uses.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Figures that the system does not provide are left out of a scrape.
#[derive(Debug)]
pub(super) struct Process {
    /// Unix seconds.
    pub(super) started: i64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(seconds) = cpu_seconds() {
            let help = "CPU time of all threads";
            let out = encoder.encode_descriptor(
                "process_cpu_seconds",
                help,
                None,
                MetricType::Counter,
            )?;
            ConstCounter::new(seconds).encode(out)?;
        }
        let gauges = [
            (
                "process_resident_memory_bytes",
                "Memory that is in use",
                resident_bytes(),
            ),
            ("process_open_fds", "Open file descriptors", open_files()),
            (
                "process_max_fds",
                "How many file descriptors may be open",
                rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
            ),
            (
                "process_start_time_seconds",
                "When the process started, in Unix seconds",
                u64::try_from(self.started).ok(),
            ),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value else { continue };
            let out = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(out)?;
        }
        Ok(())
    }
}

/// proc_pid_stat(5): after the name in brackets, user and system time are the 12th and 13th field.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// proc_pid_statm(5): the second field, in pages.
fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn open_files() -> Option<u64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::{cpu_seconds, open_files, resident_bytes};

    #[test]
    fn the_system_tells_of_this_process() {
        assert!(cpu_seconds().is_some());
        assert!(resident_bytes().unwrap() > 1_000_000);
        assert!(open_files().unwrap() >= 3);
    }
}
