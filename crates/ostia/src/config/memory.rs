//! How much memory this process may use: the cgroup's limit, or the machine's memory.

use std::path::Path;

/// In bytes. `None` where nothing says so (not Linux, or `/proc` is hidden).
pub(super) fn available() -> Option<u64> {
    let machine = machine_memory(&read(Path::new("/proc/meminfo"))?);
    let limits = cgroup_limits(
        &read(Path::new("/proc/self/cgroup")).unwrap_or_default(),
        |path| read(Path::new(path)),
    );
    limits.into_iter().chain(machine).min()
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn machine_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Limits of this process's cgroup and of every one above it; the smallest holds. In a container the path that
/// `/proc/self/cgroup` names may not be visible, but the root of the mount is then the container's own group.
fn cgroup_limits(groups: &str, read: impl Fn(&str) -> Option<String>) -> Vec<u64> {
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (mount, file) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            continue;
        };
        let mut path = path.trim_end_matches('/');
        loop {
            let limit = read(&format!("{mount}{path}/{file}"));
            // "max", or cgroup v1's page-rounded i64::MAX, means unlimited: the machine's memory is the smaller.
            limits.extend(limit.and_then(|text| text.trim().parse::<u64>().ok()));
            match path.rfind('/') {
                Some(parent) => path = &path[..parent],
                None => break,
            }
        }
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::{cgroup_limits, machine_memory};

    #[test]
    fn the_smallest_limit_on_the_way_up_counts() {
        let v2 = |path: &str| match path {
            "/sys/fs/cgroup/a/b/memory.max" => Some("max\n".to_owned()),
            "/sys/fs/cgroup/a/memory.max" => Some("1000\n".to_owned()),
            _ => None,
        };
        assert_eq!(cgroup_limits("0::/a/b\n", v2), [1000]);
        let v1 = |path: &str| {
            (path == "/sys/fs/cgroup/memory/memory.limit_in_bytes").then(|| "500\n".to_owned())
        };
        let groups = "5:cpu,memory:/docker/x\n4:pids:/x\n0::/\n";
        assert_eq!(cgroup_limits(groups, v1), [500]);
        assert_eq!(cgroup_limits("nonsense", v1), Vec::<u64>::new());
    }

    #[test]
    fn meminfo() {
        assert_eq!(machine_memory("MemTotal:  2 kB\nMemFree: 1 kB"), Some(2048));
        assert_eq!(machine_memory(""), None);
    }
}
