use std::fs::File;
use std::io;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::super::disk::{Disk, LocalDisk};
use super::super::segment::MAGIC;

/// A disk that is full or hangs when a test wants that.
#[derive(Debug, Default)]
pub(super) struct TestDisk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    full: bool,
    hanging: Vec<Call>,
    /// Calls that hang.
    inside: Vec<Call>,
    writes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Reserve,
    Write,
    Sync,
}

/// The disk answers again when this is dropped.
pub(super) struct Hang(Arc<TestDisk>, Call);

impl TestDisk {
    /// A full disk takes no record and cannot be synced, but new files can be made.
    pub(super) fn set_full(&self, full: bool) {
        self.state.lock().full = full;
    }

    pub(super) fn hang(self: &Arc<Self>, call: Call) -> Hang {
        self.state.lock().hanging.push(call);
        Hang(Arc::clone(self), call)
    }

    /// Waits until such a call hangs.
    pub(super) fn reached(&self, call: Call) {
        let mut state = self.state.lock();
        self.changed
            .wait_while(&mut state, |state| !state.inside.contains(&call));
    }

    /// How often records were written.
    pub(super) fn writes(&self) -> usize {
        self.state.lock().writes
    }

    fn enter(&self, call: Call) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.hanging.contains(&call) {
            state.inside.push(call);
            self.changed.notify_all();
            self.changed
                .wait_while(&mut state, |state| state.hanging.contains(&call));
            state.inside.retain(|one| *one != call);
        }
        match state.full && call != Call::Reserve {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl Disk for TestDisk {
    fn reserve(&self, file: &File, bytes: u64) -> io::Result<u64> {
        self.enter(Call::Reserve)?;
        LocalDisk.reserve(file, bytes)
    }

    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<usize> {
        if !bytes.starts_with(&MAGIC) {
            self.enter(Call::Write)?;
            self.state.lock().writes += 1;
        }
        LocalDisk.write(file, bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.enter(Call::Sync)?;
        LocalDisk.sync(file)
    }
}

impl Drop for Hang {
    fn drop(&mut self) {
        self.0.state.lock().hanging.retain(|call| *call != self.1);
        self.0.changed.notify_all();
    }
}
