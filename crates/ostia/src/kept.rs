//! In: a state folder. Out: small JSON files in it that commands change and the gateway looks at.
//! Here: reading, changing under a lock, seeing a change. Not here: what they mean.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What one file said last. A file that cannot be read changes nothing.
#[derive(Debug)]
pub struct Kept<T> {
    file: &'static str,
    value: ArcSwap<T>,
    seen: Mutex<Seen>,
}

/// What the last look at the file found.
#[derive(Debug, Default)]
struct Seen {
    /// The file's modification time and size when it was last read.
    stamp: Option<(SystemTime, u64)>,
    /// Why it could not be read, as logged. The same fault is logged once.
    fault: Option<String>,
}

impl<T: DeserializeOwned + Default> Kept<T> {
    pub fn new(file: &'static str) -> Self {
        Self {
            file,
            value: ArcSwap::default(),
            seen: Mutex::default(),
        }
    }

    pub fn load(&self) -> Guard<Arc<T>> {
        self.value.load()
    }

    /// Reads the file if it changed. Blocks the thread while the disk does.
    pub fn refresh(&self, folder: &Path) {
        let path = folder.join(self.file);
        let stamp = fs::metadata(&path)
            .ok()
            .and_then(|meta| Some((meta.modified().ok()?, meta.len())));
        let mut seen = self.seen.lock();
        if seen.stamp == stamp {
            return;
        }
        match read(folder, self.file) {
            Ok(value) => {
                self.value.store(Arc::new(value));
                *seen = Seen { stamp, fault: None };
            }
            Err(error) => {
                let fault = Some(error.to_string());
                if seen.fault != fault {
                    tracing::error!(%error, "{} cannot be read", path.display());
                    seen.fault = fault;
                }
            }
        }
    }
}

/// What the file says; without one, nothing.
pub fn read<T: DeserializeOwned + Default>(folder: &Path, file: &str) -> io::Result<T> {
    match fs::read(folder.join(file)) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(error),
    }
}

/// `false`: `edit` changed nothing. If two commands run at once, both take effect. A reader sees either the old file or the
/// new one.
pub fn change<T: DeserializeOwned + Default + Serialize>(
    folder: &Path,
    file: &str,
    edit: impl FnOnce(&mut T) -> bool,
) -> io::Result<bool> {
    fs::create_dir_all(folder)?;
    let lock = fs::File::create(folder.join(format!("{file}.lock")))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let mut value = read(folder, file)?;
    if !edit(&mut value) {
        return Ok(false);
    }
    let new = folder.join(format!("{file}.new"));
    fs::write(&new, serde_json::to_vec_pretty(&value)?)?;
    fs::File::open(&new)?.sync_all()?;
    fs::rename(&new, folder.join(file))?;
    Ok(true)
}
