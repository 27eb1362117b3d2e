//! CPU time and memory of a process tree, read from /proc.

use crate::Result;
use serde_json::json;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

#[derive(clap::Args)]
pub struct Args {
    /// The process; its children are counted too
    pid: u32,
    /// Report what is used during this many seconds instead of since the start
    #[arg(long)]
    seconds: Option<f64>,
}

pub async fn run(args: Args) -> Result<()> {
    let mut usage = Usage::of(args.pid)?;
    if let Some(seconds) = args.seconds {
        let before = usage;
        tokio::time::sleep(Duration::try_from_secs_f64(seconds)?).await;
        usage = Usage::of(args.pid)?;
        println!(
            "{}",
            json!({"cpu_us": usage.since(&before) / 1000, "rss_kib": usage.rss_kib})
        );
        return Ok(());
    }
    println!(
        "{}",
        json!({"cpu_us": usage.since(&Usage::default()) / 1000, "rss_kib": usage.rss_kib})
    );
    Ok(())
}

/// What a tree of processes had used at one moment.
#[derive(Default)]
pub struct Usage {
    /// CPU time in nanoseconds by (process, thread). A thread that ends takes its time with it, so the difference
    /// between two moments misses at most what that thread did in between.
    threads: HashMap<(u32, u32), u64>,
    pub rss_kib: u64,
}

impl Usage {
    pub fn of(root: u32) -> Result<Self> {
        let mut usage = Self::default();
        for pid in tree_of(root) {
            let folder = format!("/proc/{pid}");
            usage.rss_kib += fs::read_to_string(format!("{folder}/status"))
                .ok()
                .and_then(|text| rss(&text))
                .unwrap_or(0);
            for tid in numbers(Path::new(&folder).join("task")) {
                let stat = fs::read_to_string(format!("{folder}/task/{tid}/schedstat"));
                if let Some(nanos) = stat.ok().and_then(|text| on_cpu(&text)) {
                    usage.threads.insert((pid, tid), nanos);
                }
            }
        }
        match usage.threads.is_empty() {
            true => Err(format!("no process {root}, or the kernel has no schedstat").into()),
            false => Ok(usage),
        }
    }

    /// CPU time in nanoseconds between `before` and this moment.
    pub fn since(&self, before: &Self) -> u64 {
        let used = self
            .threads
            .iter()
            .map(|(id, now)| now.saturating_sub(before.threads.get(id).copied().unwrap_or(0)));
        used.sum()
    }
}

/// The process and all its descendants. Leaves out those that end during the search.
pub fn tree_of(root: u32) -> Vec<u32> {
    let stat = |pid: u32| fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    let parents: Vec<_> = numbers("/proc")
        .filter_map(|pid| Some((pid, parent(&stat(pid)?)?)))
        .collect();
    tree(&parents, root)
}

fn numbers(folder: impl AsRef<Path>) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn tree(parents: &[(u32, u32)], root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        found.extend(
            parents
                .iter()
                .filter(|(_, parent)| *parent == pid)
                .map(|(child, _)| *child),
        );
        next += 1;
    }
    found
}

/// The first figure of schedstat: nanoseconds of CPU time.
fn on_cpu(schedstat: &str) -> Option<u64> {
    schedstat.split_ascii_whitespace().next()?.parse().ok()
}

/// The parent in `/proc/PID/stat`. The command name before it may contain spaces and brackets.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?
        .1
        .split_ascii_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

fn rss(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read() {
        assert_eq!(on_cpu("377953724 257611691 78\n"), Some(377_953_724));
        assert_eq!(parent("12 (a) b (c) S 7 12 12 0"), Some(7));
        assert_eq!(parent("nonsense"), None);
        assert_eq!(rss("VmPeak:\t 9 kB\nVmRSS:\t    1234 kB\n"), Some(1234));
        assert_eq!(rss("Name:\tkthread\n"), None);
    }

    #[test]
    fn the_tree_holds_children_of_children_and_nobody_else() {
        let parents = [(2, 1), (3, 2), (4, 3), (5, 1), (6, 2)];
        let mut found = tree(&parents, 2);
        found.sort_unstable();
        assert_eq!(found, [2, 3, 4, 6]);
    }

    #[test]
    fn differences_count_new_threads_whole_and_ended_ones_not() {
        let usage = |threads: &[(u32, u64)]| Usage {
            threads: threads.iter().map(|(tid, ns)| ((1, *tid), *ns)).collect(),
            rss_kib: 0,
        };
        let (before, after) = (usage(&[(1, 100), (2, 50)]), usage(&[(1, 130), (3, 7)]));
        assert_eq!(after.since(&before), 37);
    }
}
