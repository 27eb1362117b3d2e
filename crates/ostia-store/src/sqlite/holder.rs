//! Names the process that holds a lock on the database file, for the message of those who waited in vain.

use std::os::unix::fs::MetadataExt as _;

/// The byte of its `-shm` file that SQLite locks while a transaction writes (<https://www.sqlite.org/walformat.html>).
const WRITE_LOCK: &str = "120";

/// `held by process 1234 (sqlite3)`. `None`: no process, or one that is not visible from here.
pub(super) fn holder(path: &str) -> Option<String> {
    let inode = std::fs::metadata(format!("{path}-shm")).ok()?.ino();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let process = locks.lines().find_map(|line| holds(line, inode))?;
    let name = std::fs::read_to_string(format!("/proc/{process}/comm"));
    Some(match name {
        Ok(name) => format!("held by process {process} ({})", name.trim_end()),
        Err(_) => format!("held by process {process}"),
    })
}

/// `1: POSIX  ADVISORY  WRITE 1234 fe:00:131072 120 120`.
fn holds(line: &str, inode: u64) -> Option<u32> {
    let mut words = line.split_whitespace().skip(3);
    let (kind, process, file, from) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let is_it = kind == "WRITE" && from == WRITE_LOCK && file.ends_with(&format!(":{inode}"));
    if is_it { process.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::holds;

    #[test]
    fn the_line_of_the_write_lock_is_found() {
        let line = "12: POSIX  ADVISORY  WRITE 4711 fe:01:131072 120 120";
        assert_eq!(holds(line, 131_072), Some(4711));
        assert_eq!(holds(line, 31_072), None);
        for other in [
            "12: POSIX  ADVISORY  READ 4711 fe:01:131072 123 123",
            "12: -> POSIX  ADVISORY  WRITE 4711 fe:01:131072 120 120",
            "12: FLOCK  ADVISORY  WRITE 4711 fe:01:131072 0 EOF",
            "",
        ] {
            assert_eq!(holds(other, 131_072), None, "{other}");
        }
    }
}
