//! One file of the journal: `magic [8] | format u32 | 0 u32 | salt u64 | committed u64`, then records.
//!
//! Room is promised before it is used: a request gets in only if its final record will fit too, so a segment that is full, on a
//! disk that is full, still takes the final record of every open request.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::{Errno, retry_on_intr};

use super::options::LedgerError;
use super::record;

const MAGIC: [u8; 8] = *b"ostialog";
/// Of its records, or of older ones.
const FORMAT: u32 = record::VERSION as u32;
pub(super) const HEADER: usize = 32;
const COMMITTED_AT: u64 = 24;
/// A smaller segment is not worth a file.
pub(super) const LEAST_BYTES: u64 = 32 << 10;

pub(super) struct Segment {
    path: PathBuf,
    /// Opened for appending: one `write` is one record, whole and in one place, however many threads write.
    appender: File,
    /// For reads and for the committed position; on a file opened for appending `pwrite` appends as well.
    file: File,
    salt: u32,
    /// Bytes that are neither written nor promised.
    room: AtomicU64,
    /// Requests that will still write here, and writes under way.
    open: AtomicU32,
    sealed: AtomicBool,
    torn: AtomicBool,
    unsynced: AtomicBool,
    #[cfg(test)]
    failing: AtomicBool,
    #[cfg(test)]
    pub(super) hanging: AtomicBool,
}

impl Segment {
    /// A new file with room for `bytes`, or for less (down to `LEAST_BYTES`) when the disk has no more.
    pub(super) fn create(path: &Path, bytes: u64) -> io::Result<Self> {
        let appender = OpenOptions::new()
            .create_new(true)
            .append(true)
            .mode(0o600)
            .open(path)?;
        let created = Self::prepare(path, appender, bytes.max(LEAST_BYTES));
        if created.is_err() {
            // The reason is in `created`; a file that stays is removed at the next start.
            let _ = std::fs::remove_file(path);
        }
        created
    }

    fn prepare(path: &Path, mut appender: File, bytes: u64) -> io::Result<Self> {
        let capacity = preallocate(&appender, bytes)?;
        let mut salt = [0; 8];
        getrandom::fill(&mut salt).map_err(io::Error::other)?;
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        header[16..24].copy_from_slice(&salt);
        appender.write_all(&header)?;
        let room = capacity - HEADER as u64;
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self::new(path, appender, file, crc32c::crc32c(&salt), room))
    }

    /// A file that an earlier process left: it takes no more records. With it, how far its rows are in the store already.
    /// `None`: the file has no header.
    pub(super) fn recover(path: &Path) -> Result<Option<(Self, u64)>, LedgerError> {
        let failed = |source| LedgerError::Folder {
            path: path.to_owned(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        if len < HEADER as u64 {
            return Ok(None);
        }
        let mut header = [0; HEADER];
        file.read_exact(&mut header).map_err(failed)?;
        let (start, salt, committed) = (&header[..8], &header[16..24], &header[24..]);
        let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        // Blocks that a power cut took read as zeros.
        if header == [0; HEADER] {
            return Ok(None);
        }
        if start != MAGIC {
            return Err(LedgerError::Foreign {
                path: path.to_owned(),
            });
        }
        if version > FORMAT {
            return Err(LedgerError::Newer {
                path: path.to_owned(),
                version,
            });
        }
        // A position that cannot be is none: rows that are brought twice do no harm.
        let committed = committed.try_into().map_or(0, u64::from_le_bytes);
        let committed = if committed > len { 0 } else { committed };
        let appender = file.try_clone().map_err(failed)?;
        let segment = Self::new(path, appender, file, crc32c::crc32c(salt), 0);
        segment.seal();
        Ok(Some((segment, committed)))
    }

    fn new(path: &Path, appender: File, file: File, salt: u32, room: u64) -> Self {
        Self {
            path: path.to_owned(),
            appender,
            file,
            salt,
            room: AtomicU64::new(room),
            open: AtomicU32::new(0),
            sealed: AtomicBool::new(false),
            torn: AtomicBool::new(false),
            unsynced: AtomicBool::new(true),
            #[cfg(test)]
            failing: AtomicBool::new(false),
            #[cfg(test)]
            hanging: AtomicBool::new(false),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn salt(&self) -> u32 {
        self.salt
    }

    /// Promises `bytes` and counts one more that writes here, until `leave`.
    pub(super) fn enter(&self, bytes: usize) -> bool {
        // First counted, then looked: a reader that sees `sealed` and then nobody open knows that nobody comes any more.
        self.open.fetch_add(1, Ordering::SeqCst);
        if !self.sealed.load(Ordering::SeqCst) && self.take(bytes as u64) {
            return true;
        }
        self.leave();
        false
    }

    fn take(&self, bytes: u64) -> bool {
        self.room
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| {
                room.checked_sub(bytes)
            })
            .is_ok()
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.room.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    /// Appends a record for which room was promised.
    ///
    /// # Errors
    ///
    /// The record is not there. Part of it may be: readers look for the next one behind it.
    pub(super) fn append(&self, bytes: &mut [u8]) -> io::Result<()> {
        record::seal(bytes, self.salt);
        #[cfg(test)]
        if self.failing.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = loop {
            match (&self.appender).write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => break done?,
            }
        };
        if !self.unsynced.load(Ordering::Relaxed) {
            self.unsynced.store(true, Ordering::Relaxed);
        }
        if written == bytes.len() {
            return Ok(());
        }
        self.torn.store(true, Ordering::SeqCst);
        Err(io::ErrorKind::WriteZero.into())
    }

    /// Lets nobody in any more; those who are in may still write.
    pub(super) fn seal(&self) {
        self.sealed.store(true, Ordering::SeqCst);
    }

    /// Nothing will be written here any more.
    pub(super) fn is_complete(&self) -> bool {
        self.sealed.load(Ordering::SeqCst) && self.open.load(Ordering::SeqCst) == 0
    }

    pub(super) fn is_torn(&self) -> bool {
        self.torn.load(Ordering::SeqCst)
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Reads up to the length of `buffer`; gives how much there was.
    pub(super) fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Notes that all rows before `position` are in the store, so that the next process need not bring them again.
    pub(super) fn commit(&self, position: u64) -> io::Result<()> {
        self.file
            .write_all_at(&position.to_le_bytes(), COMMITTED_AT)
    }

    /// From now on the disk takes no byte.
    #[cfg(test)]
    pub(super) fn fail(&self) {
        self.failing.store(true, Ordering::SeqCst);
    }

    #[cfg(test)]
    pub(super) fn is_synced(&self) -> bool {
        !self.unsynced.load(Ordering::Relaxed)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        // Cleared first, so that a record that comes meanwhile is synced the next time.
        if self.unsynced.swap(false, Ordering::Relaxed)
            && let Err(error) = self.sync_data()
        {
            self.unsynced.store(true, Ordering::Relaxed);
            return Err(error);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        #[cfg(test)]
        if self.failing.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        #[cfg(test)]
        while self.hanging.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        self.appender.sync_data()
    }
}

/// Reserves disk blocks without growing the file; gives how many bytes there are.
fn preallocate(file: &File, bytes: u64) -> io::Result<u64> {
    let mut bytes = bytes;
    loop {
        match retry_on_intr(|| fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes)) {
            Ok(()) => return Ok(bytes),
            Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) if bytes > LEAST_BYTES => {
                bytes = (bytes / 4).max(LEAST_BYTES);
            }
            // Such a file system may still run full under a final record: `slot` keeps that one in memory.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(bytes),
            Err(error) => return Err(error.into()),
        }
    }
}
