//! The installation's files: how they are read again, and what is kept of the last reading for comparison.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::config::{Loaded, Problem, SettingValue};
use crate::fleet::Fleet;

/// How long changed files must stay unchanged before an automatic reload, because an editor or a deployment may write
/// several of them one after the other.
pub const STILL: Duration = Duration::from_secs(5);

/// Reads all files. Blocks the thread while the disk does.
pub type ReadFiles = Box<dyn Fn(&Fleet) -> Loaded + Send + Sync>;

/// How to read the files, and what is known about them.
pub struct Files {
    read: ReadFiles,
    /// Whether any error refuses a reading.
    pub strict: bool,
    known: Mutex<Known>,
    watch: Mutex<Watch>,
}

/// What is kept of a reading to compare later ones with.
#[derive(Debug, Default, Clone)]
pub(crate) struct Known {
    pub values: Vec<SettingValue>,
    /// Errors of single entries, which are disabled.
    pub errors: Vec<String>,
    /// A checksum of each file's content.
    pub contents: BTreeMap<PathBuf, Option<u32>>,
}

/// What distinguishes a file from its replacement by a switched link, a rename, or an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    modified: Option<SystemTime>,
    changed: (i64, i64),
    length: u64,
}

/// `None`: the file does not exist.
type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

/// Which files changed since they were last read, and for how long they have not changed again.
#[derive(Debug, Default)]
struct Watch {
    /// The files before the last reading, whether or not it was accepted.
    read: Stamps,
    seen: Stamps,
    since: Option<Instant>,
}

/// The state of the files before a reading.
pub(crate) struct Before(Stamps);

impl Files {
    /// `loaded`: what is served from the start.
    pub fn new(loaded: &Loaded, strict: bool, read: ReadFiles) -> Self {
        let files = Self {
            read,
            strict,
            known: Mutex::new(Known::of(loaded)),
            watch: Mutex::default(),
        };
        files.was_read(Before(stamps(&loaded.files)), &loaded.files);
        files
    }

    pub(crate) fn before(&self) -> Before {
        Before(stamps(self.watch.lock().read.keys()))
    }

    pub(crate) fn read(&self, fleet: &Fleet) -> Loaded {
        (self.read)(fleet)
    }

    pub(crate) fn known(&self) -> Known {
        self.known.lock().clone()
    }

    /// The effective value of every key of `ostia.toml`, as it is served.
    pub fn values(&self) -> Vec<SettingValue> {
        self.known.lock().values.clone()
    }

    /// The files that were read or looked for.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.known.lock().contents.keys().cloned().collect()
    }

    pub(crate) fn serve(&self, known: Known) {
        *self.known.lock() = known;
    }

    /// Records that files were read. A file that changes later, or has changed since `before`, is looked at again.
    pub(crate) fn was_read(&self, before: Before, files: &[PathBuf]) {
        let new = files.iter().filter(|path| !before.0.contains_key(*path));
        let mut read = stamps(new);
        let kept = before.0.into_iter();
        read.extend(kept.filter(|(path, _)| files.contains(path)));
        *self.watch.lock() = Watch {
            seen: read.clone(),
            read,
            since: None,
        };
    }

    /// Whether files changed since they were last read, and have then not changed for [`STILL`].
    pub(crate) fn are_due(&self, now: Instant) -> bool {
        let mut watch = self.watch.lock();
        let current = stamps(watch.read.keys());
        watch.look(now, current)
    }
}

impl Watch {
    fn look(&mut self, now: Instant, current: Stamps) -> bool {
        if current != self.seen {
            self.seen = current;
            self.since = Some(now);
        }
        let still = self
            .since
            .is_some_and(|since| now.saturating_duration_since(since) >= STILL);
        still && self.seen != self.read
    }
}

impl Known {
    pub fn of(loaded: &Loaded) -> Self {
        let contents = loaded.files.iter().map(|path| {
            let bytes = fs::read(path).ok();
            (path.clone(), bytes.map(|bytes| crc32c::crc32c(&bytes)))
        });
        Self {
            values: loaded.values.clone(),
            errors: loaded
                .errors()
                .map(|Problem { text, .. }| text.clone())
                .collect(),
            contents: contents.collect(),
        }
    }
}

fn stamps<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Stamps {
    let stamp = |path: P| {
        let path = path.as_ref();
        (path.to_owned(), Stamp::of(path))
    };
    paths.into_iter().map(stamp).collect()
}

impl Stamp {
    /// Follows links.
    fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self {
            device: meta.dev(),
            inode: meta.ino(),
            modified: meta.modified().ok(),
            changed: (meta.ctime(), meta.ctime_nsec()),
            length: meta.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use ostia_core::{Clock as _, ManualClock};

    use super::*;

    /// Kubernetes swaps a link to a folder; editors write a new file and rename it; others write into the old one.
    #[test]
    fn every_kind_of_change_is_seen_once_it_is_still() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, text) in [("one", "a"), ("two", "b")] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("file"), text).unwrap();
        }
        symlink(at("one"), at("data")).unwrap();
        symlink(at("data").join("file"), at("linked")).unwrap();
        fs::write(at("plain"), "a").unwrap();
        let paths = ["linked", "plain", "absent"].map(at);

        let clock = ManualClock::at(0);
        let mut watch = Watch {
            read: stamps(&paths),
            seen: stamps(&paths),
            since: None,
        };
        let change_link = || {
            symlink(at("two"), at("new")).unwrap();
            fs::rename(at("new"), at("data")).unwrap();
        };
        let rename = || {
            fs::write(at("new"), "b").unwrap();
            fs::rename(at("new"), at("plain")).unwrap();
        };
        let appear = || fs::write(at("absent"), "").unwrap();
        let vanish = || fs::remove_file(at("plain")).unwrap();
        let changes: [&dyn Fn(); 4] = [&change_link, &rename, &appear, &vanish];
        for (number, change) in changes.iter().enumerate() {
            let mut due = || watch.look(clock.now(), stamps(&paths));
            assert!(!due(), "{number}");
            change();
            assert!(!due(), "{number}: it may not be over");
            clock.advance(STILL - Duration::from_millis(1));
            assert!(!due(), "{number}");
            clock.advance(Duration::from_millis(1));
            assert!(due(), "{number}");
            watch.read = stamps(&paths);
        }
    }

    #[test]
    fn a_change_that_goes_on_is_waited_for() {
        let stamp = |length| {
            let stamp = Stamp {
                device: 1,
                inode: 1,
                modified: None,
                changed: (0, 0),
                length,
            };
            Stamps::from([(PathBuf::from("file"), Some(stamp))])
        };
        let clock = ManualClock::at(0);
        let mut watch = Watch {
            read: stamp(0),
            seen: stamp(0),
            since: None,
        };
        for length in 1..10 {
            assert!(!watch.look(clock.now(), stamp(length)));
            clock.advance(STILL - Duration::from_secs(1));
        }
        // Unchanged: nothing to do.
        assert!(!watch.look(clock.now(), stamp(0)));
        clock.advance(STILL * 2);
        assert!(!watch.look(clock.now(), stamp(0)));
    }
}
