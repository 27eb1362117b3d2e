//! `ostia journal`: for journals whose process will not come back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use ostia::account::recover;
use ostia_core::SystemClock;

use super::load::open_existing_store;
use crate::arguments::Setup;
use crate::failure::{Failure, chain};
use crate::output::note;
use crate::runtime;

/// Enough for a full journal and a distant database.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

#[derive(Debug, Subcommand)]
pub enum Journal {
    /// Bring a dead replica's journal into the database. The folder is renamed first, so that an owner that is still
    /// alive stops
    Recover(Recover),
}

#[derive(Debug, Args)]
pub struct Recover {
    /// The folder `journal` in the replica's state_dir, or the name that an earlier attempt gave it
    dir: PathBuf,
}

impl Journal {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        match self {
            Self::Recover(recover) => runtime::run(recover.run(setup)),
        }
    }
}

impl Recover {
    async fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let store = open_existing_store(setup).await?;
        let failed = |error| Failure::other(chain(&error));
        store
            .ping()
            .await
            .map_err(|error| Failure::other(chain(&error)))?;
        let stats = recover(&self.dir, store, Arc::new(SystemClock), PATIENCE).await;
        let stats = stats.map_err(failed)?;
        let dir = self.dir.display();
        match stats.unreadable_bytes {
            0 => note(&format!("{dir} is brought in and removed.")),
            bytes => note(&format!(
                "{dir} is brought in but for {bytes} bytes that cannot be read: their files are kept."
            )),
        }
        Ok(())
    }
}
