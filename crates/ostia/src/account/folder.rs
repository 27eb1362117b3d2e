//! The segments of one folder: its lock, its files, and which one is next.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tokio::sync::Notify;

use super::disk::Disk;
use super::options::{LedgerError, Options};
use super::segment::{HEADER, Segment};

pub(super) const SEGMENT: &str = "seg";
/// A file that could not be read completely, kept for a person to look at.
const UNREAD: &str = "unread";

pub(super) struct Folder {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    max_segments: usize,
    lock: Lock,
    /// The folder was renamed: somebody recovers it, and nothing more is written to it.
    moved: AtomicBool,
    /// Held while a file is made, which may take long: only the ledger's threads may lock it.
    rotation: Mutex<Rotation>,
    /// The spare segment was taken.
    taken: Notify,
    /// Segment files in the folder.
    files: AtomicUsize,
    /// There is a spare segment. For those who must not wait for `rotation`.
    has_spare: AtomicBool,
}

#[derive(Default)]
struct Rotation {
    /// Made in advance, so that records seldom wait for a file to be created.
    spare: Option<Arc<Segment>>,
    /// In use, and not yet seen by the carrier.
    fresh: Vec<Arc<Segment>>,
    live: Vec<Weak<Segment>>,
    next: u64,
    /// The last attempt to create a segment failed: only [`Folder::provide`] tries again.
    blocked: bool,
}

/// What an earlier process left: a segment, and the position up to which its rows are in the store.
pub(super) type Left = (Arc<Segment>, u64);

impl Folder {
    /// Takes the folder (made with mode 0700 if it is missing) and what is in it.
    pub(super) fn open(path: &Path, options: &Options) -> Result<(Self, Vec<Left>), LedgerError> {
        let lock = Lock::take(path)?;
        let mut left = Vec::new();
        let mut next = 0;
        for (number, file) in numbered(path).map_err(|error| in_folder(path, error))? {
            next = number + 1;
            if file.extension().is_some_and(|end| end == UNREAD) {
                continue;
            }
            match Segment::recover(&file, &options.disk)? {
                Some((segment, committed)) => left.push((Arc::new(segment), committed)),
                None => discard(&file).map_err(|error| in_folder(&file, error))?,
            }
        }
        let folder = Self {
            path: path.to_owned(),
            disk: Arc::clone(&options.disk),
            segment_bytes: options.segment_bytes,
            max_segments: options.max_segments,
            lock,
            moved: AtomicBool::new(false),
            rotation: Mutex::new(Rotation {
                next,
                ..Rotation::default()
            }),
            taken: Notify::new(),
            files: AtomicUsize::new(left.len()),
            has_spare: AtomicBool::new(false),
        };
        Ok((folder, left))
    }

    /// Another segment to write to. `None`: there is no room.
    pub(super) fn next(&self) -> Option<Arc<Segment>> {
        let mut rotation = self.rotation.lock();
        if rotation.spare.is_none() && !rotation.blocked {
            self.create(&mut rotation);
        }
        let next = rotation.spare.take();
        self.has_spare.store(false, Ordering::Relaxed);
        self.taken.notify_one();
        let next = next?;
        rotation.fresh.push(Arc::clone(&next));
        Some(next)
    }

    /// Makes the spare segment if it is missing. `false`: there is still none.
    pub(super) fn provide(&self) -> bool {
        let mut rotation = self.rotation.lock();
        if rotation.spare.is_none() {
            self.create(&mut rotation);
        }
        rotation.spare.is_some()
    }

    fn create(&self, rotation: &mut Rotation) {
        if self.files.load(Ordering::Relaxed) >= self.max_segments {
            return;
        }
        let path = self.path.join(format!("{:020}.{SEGMENT}", rotation.next));
        rotation.next += 1;
        match Segment::create(&path, self.segment_bytes, &self.disk) {
            Ok(segment) => {
                let segment = Arc::new(segment);
                rotation.live.retain(|live| live.strong_count() > 0);
                rotation.live.push(Arc::downgrade(&segment));
                rotation.spare = Some(segment);
                self.has_spare.store(true, Ordering::Relaxed);
                rotation.blocked = false;
                self.files.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                if !std::mem::replace(&mut rotation.blocked, true) {
                    tracing::error!(path = %path.display(), %error, "the journal cannot grow: requests will be refused");
                }
            }
        }
    }

    /// Waits until the spare segment may be missing.
    pub(super) async fn wanted(&self) {
        self.taken.notified().await;
    }

    pub(super) fn take_fresh(&self) -> Vec<Arc<Segment>> {
        std::mem::take(&mut self.rotation.lock().fresh)
    }

    /// Every segment that this process made and still uses.
    pub(super) fn live(&self) -> Vec<Arc<Segment>> {
        let rotation = self.rotation.lock();
        rotation.live.iter().filter_map(Weak::upgrade).collect()
    }

    /// All of a segment is in the store. One that could not be read completely is kept under another name.
    pub(super) fn remove(&self, segment: &Segment, readable: bool) -> io::Result<()> {
        let path = segment.path();
        let done = if readable {
            std::fs::remove_file(path)
        } else {
            std::fs::rename(path, path.with_extension(UNREAD))
        };
        match done {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.files.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }

    /// Checks that the folder is still at its path. Accesses the disk.
    pub(super) fn look_for_it(&self) {
        if self.lock.is_at(&self.path) || self.moved.swap(true, Ordering::Relaxed) {
            return;
        }
        let path = self.path.display();
        tracing::error!(%path, "the journal was renamed or removed under this process, as `ostia journal recover` does: it takes no more requests");
    }

    pub(super) fn is_moved(&self) -> bool {
        self.moved.load(Ordering::Relaxed)
    }

    pub(super) fn has_spare(&self) -> bool {
        self.has_spare.load(Ordering::Relaxed)
    }

    pub(super) fn segments(&self) -> usize {
        self.files.load(Ordering::Relaxed)
    }
}

/// A folder's `flock`, held as long as anyone may write to it.
pub(super) struct Lock(File);

impl Lock {
    fn take(folder: &Path) -> Result<Self, LedgerError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| in_folder(folder, error))?;
        Self::of_existing(folder)
    }

    pub(super) fn of_existing(folder: &Path) -> Result<Self, LedgerError> {
        let lock = File::open(folder).map_err(|error| in_folder(folder, error))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(lock)),
            Err(Errno::WOULDBLOCK) => Err(LedgerError::InUse {
                path: folder.to_owned(),
            }),
            Err(error) => Err(in_folder(folder, error.into())),
        }
    }

    /// Whether the locked folder is at this path. If that cannot be determined, the answer is yes.
    fn is_at(&self, path: &Path) -> bool {
        let there = match std::fs::metadata(path) {
            Ok(there) => there,
            Err(error) => return error.kind() != io::ErrorKind::NotFound,
        };
        let held = self.0.metadata();
        held.is_ok_and(|held| (held.dev(), held.ino()) == (there.dev(), there.ino()))
    }
}

fn in_folder(path: &Path, source: io::Error) -> LedgerError {
    LedgerError::Folder {
        path: path.to_owned(),
        source,
    }
}

/// A file without a header: its process died before it wrote a record, or a power cut took the blocks.
fn discard(path: &Path) -> io::Result<()> {
    if std::fs::metadata(path)?.len() <= HEADER as u64 {
        return std::fs::remove_file(path);
    }
    tracing::error!(path = %path.display(), "the journal lost a file's beginning; the file is kept");
    std::fs::rename(path, path.with_extension(UNREAD))
}

/// The segments of a folder, oldest first, including the unread files, whose numbers are not reused.
fn numbered(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| {
            let (number, end) = name.to_str()?.split_once('.')?;
            let ours = end == SEGMENT || end == UNREAD;
            number.parse::<u64>().ok().filter(|_| ours)
        });
        found.extend(number.map(|number| (number, path)));
    }
    found.sort_unstable();
    Ok(found)
}
