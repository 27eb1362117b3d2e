//! The ledger's threads. The writer waits for the disk, the carrier for the store, and the upkeep only for time.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::carrier::Carrier;
use super::journal::Journal;

/// How many polls pass before the next attempt to make a segment, after there was no room.
const POLLS_BETWEEN_ATTEMPTS: u32 = 5;
/// The niceness of the carrier, and of SQLite's thread with it, so that requests come first on a busy core. With a much
/// higher value it would fall behind on a core that is busy for hours.
const NICENESS: i32 = 5;
/// How long to wait for the threads to end: a hanging disk holds them for ever.
const LAST: Duration = Duration::from_secs(5);

/// Stops the threads when it is dropped.
pub(super) struct Threads {
    journal: Arc<Journal>,
    stop: watch::Sender<bool>,
    /// Disconnected once all have ended. The lock only makes it `Sync`.
    ended: Mutex<Receiver<()>>,
}

pub(super) fn start(journal: &Arc<Journal>, mut carrier: Carrier) -> io::Result<Threads> {
    let (running, ended) = channel();
    let (stop, stopped) = watch::channel(false);
    let threads = Threads {
        journal: Arc::clone(journal),
        stop,
        ended: Mutex::new(ended),
    };
    let writing = Arc::clone(journal);
    spawn("ostia-journal", 0, running.clone(), move || {
        while writing.write_next() {}
    })?;
    // They have runtimes of their own, so that the store's connections make progress even if all workers are busy.
    let (carrying, mut stopping) = (runtime()?, stopped.clone());
    spawn("ostia-ledger", NICENESS, running.clone(), move || {
        carrying.block_on(async {
            tokio::select! {
                _ = stopping.wait_for(|&stop| stop) => {}
                () = carrier.run() => {}
            }
        });
    })?;
    let (upkeep, mut stopping) = (Arc::clone(journal), stopped);
    let mut keeping = Some(runtime()?);
    spawn("ostia-upkeep", 0, running, move || {
        if let Some(runtime) = &keeping {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopping.wait_for(|&stop| stop) => {}
                    () = keep_time(&upkeep) => {}
                    () = keep_spare(&upkeep) => {}
                    () = keep_place(&upkeep) => {}
                    () = keep_synced(&upkeep) => {}
                }
            });
        }
        // A call that the disk has not answered still uses the folder.
        if let Some(runtime) = keeping.take() {
            runtime.shutdown_timeout(LAST);
        }
    })?;
    Ok(threads)
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.journal.queue.close();
        if self.ended.get_mut().recv_timeout(LAST) == Err(RecvTimeoutError::Timeout) {
            tracing::error!("the journal's disk does not answer: what it does not have is lost");
        }
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// A thread that restarts its work after a panic.
fn spawn(
    name: &'static str,
    niceness: i32,
    running: Sender<()>,
    mut work: impl FnMut() + Send + 'static,
) -> io::Result<()> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(move || {
        // If the kernel refuses, the priority stays as it is.
        let _ = rustix::process::nice(niceness);
        // Positions move only after commits, so restarting loses nothing.
        while catch_unwind(AssertUnwindSafe(&mut work)).is_err() {
            tracing::error!(name, "a thread of the ledger panicked; it goes on");
            thread::sleep(Duration::from_secs(1));
        }
        // The folder must be free by the time that the threads are seen to have ended.
        drop(work);
        drop(running);
    })?;
    Ok(())
}

/// Accesses neither the disk nor the store.
async fn keep_time(journal: &Journal) {
    loop {
        tokio::time::sleep(journal.options.poll).await;
        journal.watch_disk();
        journal.write_folds(false);
    }
}

/// Notices if the folder is taken away.
async fn keep_place(journal: &Arc<Journal>) {
    loop {
        tokio::time::sleep(journal.options.poll * POLLS_BETWEEN_ATTEMPTS).await;
        let looking = Arc::clone(journal);
        // A panic was logged where it happened; the next look follows.
        let _ = tokio::task::spawn_blocking(move || looking.folder.look_for_it()).await;
    }
}

/// Keeps a spare segment ready, because a disk may take minutes to make one.
async fn keep_spare(journal: &Arc<Journal>) {
    loop {
        journal.folder.wanted().await;
        while !provide(journal).await {
            tokio::time::sleep(journal.options.poll * POLLS_BETWEEN_ATTEMPTS).await;
        }
    }
}

async fn provide(journal: &Arc<Journal>) -> bool {
    let journal = Arc::clone(journal);
    let providing = tokio::task::spawn_blocking(move || journal.folder.provide());
    providing.await.unwrap_or(false)
}

/// A thread of its own, because a disk may take minutes for one call.
async fn keep_synced(journal: &Journal) {
    let Some(interval) = journal.options.fsync else {
        return std::future::pending().await;
    };
    let mut failing = false;
    loop {
        tokio::time::sleep(interval).await;
        let segments = journal.folder.live();
        let syncing = tokio::task::spawn_blocking(move || {
            let mut fault = None;
            // An error on one segment must not leave the others unsynced.
            for segment in segments {
                fault = segment.sync().err().or(fault);
            }
            fault
        });
        let Ok(fault) = syncing.await else { continue };
        match &fault {
            Some(error) if !failing => {
                tracing::error!(%error, "the journal cannot be synced to its disk; it is tried again");
            }
            None if failing => tracing::info!("the journal is synced again"),
            _ => {}
        }
        failing = fault.is_some();
    }
}
