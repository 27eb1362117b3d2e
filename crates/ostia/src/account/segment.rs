//! One file of the journal: `magic [8] | format u32 | 0 u32 | salt u64 | committed u64`, then records.
//!
//! Room is promised before it is used: a request is admitted only if its final record will fit too. So a full segment
//! on a full disk still takes the final record of every open request. One thread writes; another reads after it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::disk::{Disk, LEAST_BYTES};
use super::options::LedgerError;
use super::record;

pub(super) const MAGIC: [u8; 8] = *b"ostialog";
/// Files of this format hold records of this version or an older one.
const FORMAT: u32 = record::VERSION as u32;
pub(super) const HEADER: usize = 32;
const COMMITTED_AT: u64 = 24;

pub(super) struct Segment {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    /// Opened for appending.
    appender: File,
    /// For reads and for the committed position, because `pwrite` always appends to a file opened for appending.
    file: File,
    salt: u32,
    /// Bytes that are neither written nor promised.
    room: AtomicU64,
    /// Requests whose final records belong here and are not written yet, and writes in progress.
    open: AtomicU32,
    sealed: AtomicBool,
    torn: AtomicBool,
    unsynced: AtomicBool,
}

impl Segment {
    /// A new file with room for `bytes`, or less (down to `LEAST_BYTES`) if the disk has no more.
    pub(super) fn create(path: &Path, bytes: u64, disk: &Arc<dyn Disk>) -> io::Result<Self> {
        let appender = OpenOptions::new()
            .create_new(true)
            .append(true)
            .mode(0o600)
            .open(path)?;
        let created = Self::prepare(path, appender, bytes.max(LEAST_BYTES), disk);
        if created.is_err() {
            // The reason is in `created`; a file that stays is removed at the next start.
            let _ = std::fs::remove_file(path);
        }
        created
    }

    fn prepare(path: &Path, appender: File, bytes: u64, disk: &Arc<dyn Disk>) -> io::Result<Self> {
        let capacity = disk.reserve(&appender, bytes)?;
        let mut salt = [0; 8];
        getrandom::fill(&mut salt).map_err(io::Error::other)?;
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        header[16..24].copy_from_slice(&salt);
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let room = capacity - HEADER as u64;
        let segment = Self::new(path, disk, appender, file, crc32c::crc32c(&salt), room);
        match segment.append(&header) {
            (HEADER, _) => Ok(segment),
            (_, fault) => Err(fault.unwrap_or_else(|| io::ErrorKind::WriteZero.into())),
        }
    }

    /// A file that an earlier process left, which takes no more records; and the position up to which its rows are in
    /// the store. `None`: the file has no header.
    pub(super) fn recover(
        path: &Path,
        disk: &Arc<dyn Disk>,
    ) -> Result<Option<(Self, u64)>, LedgerError> {
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
        // Blocks that were lost in a power failure read as zeros.
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
        // An impossible position is ignored, because bringing rows twice does no harm.
        let committed = committed.try_into().map_or(0, u64::from_le_bytes);
        let committed = if committed > len { 0 } else { committed };
        let appender = file.try_clone().map_err(failed)?;
        let segment = Self::new(path, disk, appender, file, crc32c::crc32c(salt), 0);
        segment.seal();
        Ok(Some((segment, committed)))
    }

    fn new(
        path: &Path,
        disk: &Arc<dyn Disk>,
        appender: File,
        file: File,
        salt: u32,
        room: u64,
    ) -> Self {
        Self {
            path: path.to_owned(),
            disk: Arc::clone(disk),
            appender,
            file,
            salt,
            room: AtomicU64::new(room),
            open: AtomicU32::new(0),
            sealed: AtomicBool::new(false),
            torn: AtomicBool::new(false),
            unsynced: AtomicBool::new(true),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn salt(&self) -> u32 {
        self.salt
    }

    /// Promises `bytes` for a `started` record and its final one, and holds the segment for the request.
    pub(super) fn enter(&self, bytes: usize) -> bool {
        let entered = self.take(bytes);
        if entered {
            self.hold();
        }
        entered
    }

    /// Counts one more writer, until `leave`.
    pub(super) fn hold(&self) {
        self.open.fetch_add(1, Ordering::SeqCst);
    }

    /// Promises `bytes` for a record that is written at once.
    pub(super) fn take(&self, bytes: usize) -> bool {
        !self.sealed.load(Ordering::Relaxed)
            && self
                .room
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| {
                    room.checked_sub(bytes as u64)
                })
                .is_ok()
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.room.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    /// Appends records for which room was promised. Returns how many bytes were written, and the error if not all were.
    /// Readers skip an incomplete record.
    pub(super) fn append(&self, bytes: &[u8]) -> (usize, Option<io::Error>) {
        let mut written = 0;
        let fault = loop {
            match self.disk.write(&self.appender, &bytes[written..]) {
                Ok(0) => break Some(io::ErrorKind::WriteZero.into()),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => break Some(error),
            }
            if written == bytes.len() {
                break None;
            }
        };
        self.unsynced.store(true, Ordering::Relaxed);
        if fault.is_some() {
            self.torn.store(true, Ordering::SeqCst);
        }
        (written, fault)
    }

    /// Takes no new requests, only the final records of open ones.
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

    /// Reads up to the length of `buffer`. Returns how much there was.
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

    /// Records that all rows before `position` are in the store, so that the next process need not carry them again.
    pub(super) fn commit(&self, position: u64) -> io::Result<()> {
        self.file
            .write_all_at(&position.to_le_bytes(), COMMITTED_AT)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        // Cleared first, so that a record that arrives meanwhile is synced next time.
        if self.unsynced.swap(false, Ordering::Relaxed)
            && let Err(error) = self.disk.sync(&self.appender)
        {
            self.unsynced.store(true, Ordering::Relaxed);
            return Err(error);
        }
        Ok(())
    }
}
