use std::fs::File;
use std::io;
use std::sync::{Condvar, Mutex};

use ostia::account::{Disk, LocalDisk};
use tokio::sync::watch;

use crate::patience::within;

/// The machine's disk, which answers nothing while the test says so. Dropping the gateway does not wait for it.
#[derive(Debug, Default)]
pub struct HangingDisk {
    hangs: Mutex<bool>,
    answers: Condvar,
    /// Calls that came while it hung.
    stuck: watch::Sender<usize>,
}

impl HangingDisk {
    pub fn hang(&self) {
        self.stuck.send_replace(0);
        *self.hangs.lock().unwrap() = true;
    }

    pub fn release(&self) {
        *self.hangs.lock().unwrap() = false;
        self.answers.notify_all();
    }

    /// Waits until somebody hangs over a call.
    pub async fn reached(&self) {
        let mut stuck = self.stuck.subscribe();
        let reached = stuck.wait_for(|stuck| *stuck > 0);
        within(|| "somebody who waits for the disk".to_owned(), reached)
            .await
            .unwrap();
    }

    fn wait(&self) {
        let mut hangs = self.hangs.lock().unwrap();
        if *hangs {
            self.stuck.send_modify(|stuck| *stuck += 1);
        }
        while *hangs {
            hangs = self.answers.wait(hangs).unwrap();
        }
    }
}

impl Disk for HangingDisk {
    fn reserve(&self, file: &File, bytes: u64) -> io::Result<u64> {
        self.wait();
        LocalDisk.reserve(file, bytes)
    }

    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<usize> {
        self.wait();
        LocalDisk.write(file, bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.wait();
        LocalDisk.sync(file)
    }
}
