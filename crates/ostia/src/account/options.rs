use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::disk::{Disk, LocalDisk};

/// How the journal uses its folder.
#[derive(Debug, Clone)]
pub struct Options {
    /// Room reserved on disk at a time. Smaller files are tried when the disk has no such room.
    pub segment_bytes: u64,
    /// How many segments may wait for the store before new requests are refused.
    pub max_segments: usize,
    /// How often the carrier looks for new records, and the upkeep for requests that waited long enough for the disk.
    pub poll: Duration,
    /// How often written segments are synced to the disk; `None`: left to the kernel, which SIGKILL does not hurt.
    pub fsync: Option<Duration>,
    /// Tests use one that is full or hangs.
    pub disk: Arc<dyn Disk>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            max_segments: 64,
            poll: Duration::from_millis(100),
            fsync: None,
            disk: Arc::new(LocalDisk),
        }
    }
}

/// Why a journal's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("journal {path}: {source}")]
    Folder { path: PathBuf, source: io::Error },
    #[error("journal {path}: in use by another ostia process")]
    InUse { path: PathBuf },
    #[error("journal {path}: not written by ostia; move it away")]
    Foreign { path: PathBuf },
    #[error(
        "journal {path}: format {version}, newer than this ostia: start the newer ostia, which will empty it"
    )]
    Newer { path: PathBuf, version: u32 },
    #[error("journal {path}: the database did not take everything; what is left stays there")]
    Unfinished { path: PathBuf },
    #[error("the ledger's threads: {0}")]
    Thread(io::Error),
}
