use clap::Args;
use http::Method;
use ostia::gateway::Reloaded;

use super::admin::ask;
use crate::arguments::Setup;
use crate::failure::Failure;
use crate::output::{note, print};

#[derive(Debug, Args)]
pub struct Reload {
    /// Show what would change, without changing anything
    #[arg(long)]
    dry_run: bool,
}

impl Reload {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let path = match self.dry_run {
            true => "/admin/reload?dry_run",
            false => "/admin/reload",
        };
        let value = ask(setup, Method::POST, path, None)?;
        let reloaded: Reloaded = serde_json::from_value(value)
            .map_err(|error| Failure::other(format!("the gateway's answer: {error}")))?;
        for warning in &reloaded.warnings {
            note(warning);
        }
        let generation = reloaded.generation;
        let end = match (self.dry_run, reloaded.difference.is_empty()) {
            (true, true) => "nothing would change\n".to_owned(),
            (true, false) => "nothing was changed: this was a dry run\n".to_owned(),
            (false, true) => format!("nothing differs; generation {generation} is served\n"),
            (false, false) => format!("generation {generation} is served\n"),
        };
        print(&format!("{}{end}", reloaded.difference))
    }
}
