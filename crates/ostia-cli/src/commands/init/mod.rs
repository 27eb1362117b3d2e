//! `ostia init`: makes an `ostia.toml` from the addresses of backends.

mod discover;
mod file;

use std::path::PathBuf;

use clap::Args;

use super::new_file::write_new;
use crate::arguments::Setup;
use crate::failure::Failure;
use crate::output::{note, print};
use crate::runtime;

pub use discover::{Backends, Found};
pub use file::render;

/// Without --backend, the file contains an example to edit.
#[derive(Debug, Args)]
#[command(
    after_help = "The file that is written is the one that --config names, by default ostia.toml; an existing one is left \
                  alone."
)]
pub struct Init {
    #[command(flatten)]
    backends: Backends,
}

impl Init {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let target = setup.global.config.clone();
        let target = target.unwrap_or_else(|| PathBuf::from("ostia.toml"));
        if target.exists() {
            return Err(super::new_file::taken(&target));
        }
        let found = match self.backends.is_empty() {
            true => vec![Found::example()],
            false => runtime::run(self.backends.ask(setup))?,
        };
        write_new(&target, &render(&found))?;
        let mut text = String::new();
        for backend in &found {
            let models = backend.models.join(", ");
            text.push_str(&format!("{}: {models}\n", backend.api_url));
        }
        if self.backends.is_empty() {
            note("No --backend was named: put your backend's address and model into the file.");
        }
        text.push_str(&format!(
            "Written: {}. Next: ostia check, ostia test, ostia key create --user you@example.org, ostia serve\n",
            target.display()
        ));
        print(&text)
    }
}
