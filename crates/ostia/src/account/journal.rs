//! The segments of one folder, and everything that the path of a request shares with the ledger's thread.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use ostia_core::{Clock, JournalFull, LedgerRow};
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::fold::{Fate, Folded, Folds};
use super::options::{LedgerError, Options};
use super::record::{self, Kind};
use super::segment::{HEADER, Segment};
use super::slot::OpenSlot;

const SEGMENT: &str = "seg";
/// A file that holds what nobody could read, kept for a person to look at.
const UNREAD: &str = "unread";

/// How many segments may be filled by others while one request looks for room.
const ATTEMPTS: usize = 100;

pub(super) struct Journal {
    pub(super) options: Options,
    pub(super) clock: Arc<dyn Clock>,
    opened: Instant,
    folder: PathBuf,
    /// Holds the folder's `flock` as long as anyone may write to it.
    _lock: File,
    active: ArcSwapOption<Segment>,
    rotation: Mutex<Rotation>,
    /// Segment files in the folder.
    files: AtomicUsize,
    folds: Folds,
    /// Final records that a failing disk did not take.
    pub(super) stranded: Mutex<Vec<Vec<u8>>>,
    pub(super) counters: Counters,
}

#[derive(Default)]
struct Rotation {
    /// Made in advance, so that a request seldom waits for a file to be created.
    spare: Option<Arc<Segment>>,
    /// Active at some time, and not yet seen by the carrier.
    fresh: Vec<Arc<Segment>>,
    live: Vec<Weak<Segment>>,
    next: u64,
    /// The last attempt to create a segment failed: only the ledger's thread tries again.
    blocked: bool,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) open: AtomicUsize,
    pub(super) pending_bytes: AtomicU64,
    pub(super) folded: AtomicU64,
    pub(super) lost_rejected: AtomicU64,
    pub(super) refused_started: AtomicU64,
    pub(super) unreadable: AtomicU64,
    pub(super) store_down: AtomicBool,
}

/// What an earlier process left: a segment, and how far its rows are in the store.
pub(super) type Left = (Arc<Segment>, u64);

impl Journal {
    /// Takes the folder (made with mode 0700 if it is missing) and what is in it.
    pub(super) fn open(
        folder: &Path,
        options: Options,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Vec<Left>), LedgerError> {
        let lock = lock(folder)?;
        let mut left = Vec::new();
        let mut next = 0;
        for (number, path) in numbered(folder).map_err(|error| in_folder(folder, error))? {
            next = number + 1;
            if path.extension().is_some_and(|end| end == UNREAD) {
                continue;
            }
            match Segment::recover(&path)? {
                Some((segment, committed)) => left.push((Arc::new(segment), committed)),
                None => discard(&path).map_err(|error| in_folder(&path, error))?,
            }
        }
        let journal = Self {
            options,
            opened: clock.now(),
            clock,
            folder: folder.to_owned(),
            _lock: lock,
            active: ArcSwapOption::empty(),
            rotation: Mutex::new(Rotation {
                next,
                ..Rotation::default()
            }),
            files: AtomicUsize::new(left.len()),
            folds: Folds::default(),
            stranded: Mutex::default(),
            counters: Counters::default(),
        };
        journal.rotate(None);
        journal.provide();
        Ok((journal, left))
    }

    pub(super) fn start(
        self: &Arc<Self>,
        row: &LedgerRow<'_>,
    ) -> Result<Arc<OpenSlot>, JournalFull> {
        let slot = record::with_buffer(|buffer| {
            record::encode(buffer, Kind::Started, row);
            let reserve = buffer.len() + record::GROWTH;
            let segment = self.enter(buffer.len() + reserve)?;
            if segment.append(buffer).is_ok() {
                return Some(OpenSlot::new(self, segment, row.request_id, reserve));
            }
            // The next request tries another file.
            segment.seal();
            segment.leave();
            None
        });
        slot.map(Arc::new).ok_or_else(|| {
            self.counters
                .refused_started
                .fetch_add(1, Ordering::Relaxed);
            JournalFull
        })
    }

    pub(super) fn reject(&self, row: &LedgerRow<'_>) {
        let due = match self.folds.weigh(row, self.second()) {
            Fate::Write(due) => {
                self.write_rejected(row);
                due
            }
            Fate::Folded(due) => {
                let count = u64::from(row.count);
                self.counters.folded.fetch_add(count, Ordering::Relaxed);
                due
            }
        };
        if let Some(due) = due {
            self.write_folded(&due);
        }
    }

    /// Writes the folded rows of seconds that are over; `all`: of this second too.
    pub(super) fn write_folds(&self, all: bool) {
        let current = (!all).then(|| self.second());
        for due in self.folds.due(current) {
            self.write_folded(&due);
        }
    }

    fn write_folded(&self, folded: &Folded) {
        match folded.row() {
            Some(row) => self.write_rejected(&row),
            None => self.lose(folded.count()),
        }
    }

    fn write_rejected(&self, row: &LedgerRow<'_>) {
        let written = record::with_buffer(|buffer| {
            record::encode(buffer, Kind::Rejected, row);
            let segment = self.enter(buffer.len())?;
            let written = segment.append(buffer);
            if written.is_err() {
                segment.seal();
            }
            segment.leave();
            written.ok()
        });
        if written.is_none() {
            self.lose(row.count);
        }
    }

    fn lose(&self, count: u32) {
        self.counters
            .lost_rejected
            .fetch_add(u64::from(count), Ordering::Relaxed);
    }

    /// A segment that promised `bytes`: the active one, or the next.
    fn enter(&self, bytes: usize) -> Option<Arc<Segment>> {
        // More than once, as others may fill the next one before this thread is there.
        for _ in 0..ATTEMPTS {
            let active = self.active.load();
            match &*active {
                Some(segment) if segment.enter(bytes) => return Some(Arc::clone(segment)),
                full => {
                    if !self.rotate(full.as_ref()) {
                        return None;
                    }
                }
            }
        }
        None
    }

    /// Makes another segment than `full` the active one. `false`: there is none.
    fn rotate(&self, full: Option<&Arc<Segment>>) -> bool {
        let mut rotation = self.rotation.lock();
        let active = self.active.load();
        let unchanged = match (&*active, full) {
            (Some(active), Some(full)) => Arc::ptr_eq(active, full),
            (active, full) => active.is_none() && full.is_none(),
        };
        if !unchanged {
            return true;
        }
        if rotation.spare.is_none() && !rotation.blocked {
            self.create(&mut rotation);
        }
        let Some(next) = rotation.spare.take() else {
            return false;
        };
        rotation.fresh.push(Arc::clone(&next));
        self.active.store(Some(next));
        if let Some(full) = full {
            full.seal();
        }
        true
    }

    /// Makes the spare segment, if it is missing and allowed. `false`: it could not be made.
    pub(super) fn provide(&self) -> bool {
        let mut rotation = self.rotation.lock();
        if rotation.spare.is_none() {
            self.create(&mut rotation);
        }
        !rotation.blocked
    }

    fn create(&self, rotation: &mut Rotation) {
        if self.files.load(Ordering::Relaxed) >= self.options.max_segments {
            return;
        }
        let path = self.folder.join(format!("{:020}.{SEGMENT}", rotation.next));
        rotation.next += 1;
        match Segment::create(&path, self.options.segment_bytes) {
            Ok(segment) => {
                let segment = Arc::new(segment);
                rotation.live.retain(|live| live.strong_count() > 0);
                rotation.live.push(Arc::downgrade(&segment));
                rotation.spare = Some(segment);
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

    pub(super) fn take_fresh(&self) -> Vec<Arc<Segment>> {
        std::mem::take(&mut self.rotation.lock().fresh)
    }

    /// Every segment that this process made and still uses.
    pub(super) fn live(&self) -> Vec<Arc<Segment>> {
        let rotation = self.rotation.lock();
        rotation.live.iter().filter_map(Weak::upgrade).collect()
    }

    /// All of a segment is in the store. One with records that nobody could read is kept under another name.
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

    /// From now on the active segment's disk takes no byte.
    #[cfg(test)]
    pub(super) fn fail_active(&self) {
        self.active.load_full().unwrap().fail();
    }

    pub(super) fn segments(&self) -> usize {
        self.files.load(Ordering::Relaxed)
    }

    fn second(&self) -> u64 {
        self.clock
            .now()
            .saturating_duration_since(self.opened)
            .as_secs()
    }
}

fn lock(folder: &Path) -> Result<File, LedgerError> {
    let failed = |error| in_folder(folder, error);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed)?;
    let lock = File::open(folder).map_err(failed)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(Errno::WOULDBLOCK) => Err(LedgerError::InUse {
            path: folder.to_owned(),
        }),
        Err(error) => Err(failed(error.into())),
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

/// The segments of a folder, oldest first, and the unread files, whose numbers are not used again.
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
