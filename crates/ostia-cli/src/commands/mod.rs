//! In: the words of the command line. Out: what each command does, and how it ends.
//! Here: one file a command, with its own words and help. Not here: anything that the library knows how to do.

mod check;
mod completions;
mod explain;
mod import;
mod key;
mod load;
mod login;
mod maintenance;
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
    /// Make, list, rotate and revoke API keys
    #[command(subcommand)]
    Key(key::Key),
    /// Tell users that a cluster is under maintenance, or no longer
    #[command(subcommand)]
    Maintenance(maintenance::Maintenance),
    /// Show whether a user may use a model, and which rule decides
    Explain(explain::Explain),
    /// Take over an installation of another gateway
    #[command(subcommand)]
    Import(import::Import),
    /// Report requests and tokens
    Usage(usage::Usage),
    /// Sign in with Globus or OpenID Connect, for `ostia token`
    Login(login::Login),
    /// Print a token for OPENAI_API_KEY, refreshed if need be
    Token(login::Token),
    /// Show who the gateway takes you for
    Whoami(login::Whoami),
    /// Forget the token, and end it at the issuer
    Logout(login::Logout),
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
            Self::Maintenance(maintenance) => maintenance.run(global),
            Self::Explain(explain) => explain.run(global),
            Self::Import(import) => import.run(global),
            Self::Usage(usage) => usage.run(global),
            Self::Login(login) => login.run(),
            Self::Token(token) => token.run(),
            Self::Whoami(whoami) => whoami.run(),
            Self::Logout(logout) => logout.run(),
            Self::Completions(completions) => completions.run(),
            Self::Man(man) => man.run(),
        }
    }

    /// What the log shows if `OSTIA_LOG` says nothing; `None`: this command has nothing to log.
    pub fn log_level(&self) -> Option<Level> {
        match self {
            Self::Serve(_) => Some(Level::INFO),
            Self::Check(_)
            | Self::Explain(_)
            | Self::Key(_)
            | Self::Maintenance(_)
            | Self::Usage(_) => Some(Level::WARN),
            Self::Slug(_)
            | Self::Import(_)
            | Self::Login(_)
            | Self::Token(_)
            | Self::Whoami(_)
            | Self::Logout(_)
            | Self::Completions(_)
            | Self::Man(_) => None,
        }
    }
}
