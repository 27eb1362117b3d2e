//! `ostia prune`: does at once what is due according to `[retention]`.

use clap::Args;
use ostia_core::{Clock as _, Pruned, SystemClock};

use super::load::{existing_store, settings};
use crate::arguments::Setup;
use crate::failure::{Failure, chain};
use crate::output::note;
use crate::runtime;

#[derive(Debug, Args)]
#[command(
    after_help = "A running gateway does the same once a day. It works in short transactions beside it, and may be stopped at any time."
)]
pub struct Prune {}

impl Prune {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        runtime::run(Self::prune(setup))
    }

    async fn prune(setup: &Setup) -> Result<(), Failure> {
        let settings = settings(setup)?;
        let store = existing_store(settings.store.url.expose()).await?;
        let due = settings.retention.due(SystemClock.unix_micros());
        let mut all = Pruned::default();
        loop {
            let step = store.prune(&due).await;
            let step = step.map_err(|error| Failure::other(chain(&error)))?;
            all.addresses += step.addresses;
            all.persons += step.persons;
            all.rows += step.rows;
            all.events += step.events;
            if !step.goes_on {
                break;
            }
        }
        note(&format!(
            "{} rows lost their address, {} got a pseudonym, {} were deleted; {} events of the audit were deleted.",
            all.addresses, all.persons, all.rows, all.events
        ));
        Ok(())
    }
}
