use std::fmt;
use std::fs::File;
use std::io::{self, Write};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::{Errno, retry_on_intr};

/// A smaller segment is not worth a file.
pub(super) const LEAST_BYTES: u64 = 32 << 10;

/// The calls to the journal's disk that may hang. Only the ledger's own threads make them.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Reserves room without growing the file. Returns how many bytes were reserved, which may be fewer.
    fn reserve(&self, file: &File, bytes: u64) -> io::Result<u64>;

    /// Appends. Returns how many bytes were written.
    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<usize>;

    fn sync(&self, file: &File) -> io::Result<()>;
}

/// The machine's own disk.
#[derive(Debug, Default, Clone, Copy)]
pub struct LocalDisk;

impl Disk for LocalDisk {
    fn reserve(&self, file: &File, bytes: u64) -> io::Result<u64> {
        let mut bytes = bytes;
        loop {
            match retry_on_intr(|| fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes)) {
                Ok(()) => return Ok(bytes),
                Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) if bytes > LEAST_BYTES => {
                    bytes = (bytes / 4).max(LEAST_BYTES);
                }
                // Such a file system may fill up before a final record is written; the writer then keeps the record in
                // memory.
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(bytes),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}
