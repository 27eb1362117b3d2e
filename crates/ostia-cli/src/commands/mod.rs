//! In: the words of the command line. Out: what each command does, and how it ends.
//! Here: one file a command, with its own words and help. Not here: anything that the library knows how to do.

mod check;
mod completions;
mod import;
mod key;
mod load;
mod man;
mod serve;
mod slug;
mod usage;

use clap::Subcommand;
use tracing::Level;

use crate::arguments::Global;
use crate::failure::Failure;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve requests until SIGTERM or SIGINT; a second signal cuts short what is still running
    Serve(serve::Serve),
    /// Show what would be served, and every problem of the configuration
    Check(check::Check),
    /// Print the slug of an endpoint
    Slug(slug::Slug),
    /// Make, list and revoke API keys
    #[command(subcommand)]
    Key(key::Key),
    /// Take over an installation of another gateway
    #[command(subcommand)]
    Import(import::Import),
    /// Report requests and tokens
    Usage(usage::Usage),
    /// Print a script that completes commands in a shell
    Completions(completions::Completions),
    /// Print a manual page in roff
    Man(man::Man),
}

impl Command {
    pub fn run(&self, global: &Global) -> Result<(), Failure> {
        match self {
            Self::Serve(serve) => serve.run(global),
            Self::Check(check) => check.run(global),
            Self::Slug(slug) => slug.run(),
            Self::Key(key) => key.run(global),
            Self::Import(import) => import.run(global),
            Self::Usage(usage) => usage.run(global),
            Self::Completions(completions) => completions.run(),
            Self::Man(man) => man.run(),
        }
    }

    /// What the log shows if `OSTIA_LOG` says nothing; `None`: this command has nothing to log.
    pub fn log_level(&self) -> Option<Level> {
        match self {
            Self::Serve(_) => Some(Level::INFO),
            Self::Check(_) | Self::Key(_) | Self::Usage(_) => Some(Level::WARN),
            Self::Slug(_) | Self::Import(_) | Self::Completions(_) | Self::Man(_) => None,
        }
    }
}
