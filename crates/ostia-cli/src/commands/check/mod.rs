//! `ostia check`: what would be served, and what is wrong.

mod listing;

use clap::Args;
use ostia::config::Loaded;
use ostia::fleet::Fleet;

use super::load::load;
use crate::arguments::Setup;
use crate::failure::Failure;
use crate::output::{note, print};

#[derive(Debug, Args)]
pub struct Check {
    /// Print one object that holds endpoints and problems
    #[arg(long)]
    json: bool,
}

impl Check {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let loaded = load(setup, None, &Fleet::default());
        if self.json {
            print(&listing::json(&loaded))?;
        } else {
            for problem in &loaded.problems {
                note(&problem.to_string());
            }
            print(&listing::table(&loaded.catalog))?;
            note(
                "Only the files were checked, and nothing was called: `ostia test` calls a model.",
            );
        }
        verdict(&loaded)
    }
}

/// Exits with 78 if there are errors, which were printed before.
pub fn verdict(loaded: &Loaded) -> Result<(), Failure> {
    match loaded.errors().count() {
        0 if loaded.settings.is_some() => Ok(()),
        1 => Err(Failure::config("1 error in the configuration")),
        many => Err(Failure::config(format!(
            "{many} errors in the configuration"
        ))),
    }
}
