//! In: the command line's arguments. Out: the effects of a command, and its exit code.
//! Here: one file per command, with its options and help. Not here: anything that the library can do.

mod adapter;
mod admin;
mod agent;
mod audit;
mod block;
mod check;
mod completions;
mod db;
mod desk;
mod drain;
mod explain;
mod import;
mod init;
mod journal;
mod key;
mod limits;
mod load;
mod login;
mod maintenance;
mod man;
mod new_file;
mod project;
mod prune;
mod register;
mod reload;
mod serve;
mod slug;
mod status;
mod support_bundle;
mod test;
mod trial;
mod upgrade;
mod usage;
mod user;
mod web;

use clap::Subcommand;
use tracing::Level;

use crate::arguments::Setup;
use crate::failure::Failure;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve requests until SIGTERM or SIGINT; a second signal ends running requests
    Serve(serve::Serve),
    /// Show what would be served, and every mistake in the configuration; calls nothing
    Check(check::Check),
    /// Write an ostia.toml for backends, with the models that they list
    Init(init::Init),
    /// Call a model and show what came back
    Test(test::Test),
    /// Print the slug of an endpoint
    Slug(slug::Slug),
    /// Create, list, find, rotate and revoke API keys
    #[command(subcommand)]
    Key(key::Key),
    /// List users; show, disable, link, export and erase them
    #[command(subcommand)]
    User(user::User),
    /// Create projects, and say who is in them
    #[command(subcommand)]
    Project(project::Project),
    /// Show what was done to users, keys and projects
    Audit(audit::Audit),
    /// Put a cluster under maintenance, or end it
    #[command(subcommand)]
    Maintenance(maintenance::Maintenance),
    /// Show the state of limits in the running gateway, and which requests wait
    Limits(limits::Limits),
    /// Refuse all requests of a user, with a key, or for a model, from now on and for a time
    Block(block::Block),
    /// End a block
    Unblock(block::Unblock),
    /// Show the running gateway and its endpoints
    Status(status::Status),
    /// Write a file for whoever helps you: state and configuration, without secrets and prompts
    SupportBundle(support_bundle::SupportBundle),
    /// Let a process of the installed binary take over, without refusing a connection
    Upgrade(upgrade::Upgrade),
    /// Shut down the running gateway once its requests are answered, or stop using one endpoint
    Drain(drain::Drain),
    /// Use a drained endpoint again
    Undrain(drain::Undrain),
    /// Have the running gateway read its files again, and print what changes
    Reload(reload::Reload),
    /// Run beside an engine and tell the gateway where it is, for as long as it runs
    Register(register::Register),
    /// Show whether a user may use a model, which rule decides, and what else stands in the way
    Explain(explain::Explain),
    /// Try out the adapters of a site
    #[command(subcommand)]
    Adapter(adapter::Adapter),
    /// Make a coding agent use a gateway
    #[command(subcommand)]
    Agent(agent::Agent),
    /// Take over the installation of another gateway
    #[command(subcommand)]
    Import(import::Import),
    /// Report requests and tokens
    Usage(usage::Usage),
    /// Manage the database: its schema, backups, a move to PostgreSQL
    #[command(subcommand)]
    Db(db::Db),
    /// Bring in the journal of a replica that is gone
    #[command(subcommand)]
    Journal(journal::Journal),
    /// Remove what is older than [retention] says
    Prune(prune::Prune),
    /// Sign in with Globus or OpenID Connect, for `ostia token`
    Login(login::Login),
    /// Print a token for OPENAI_API_KEY, refreshed if necessary
    Token(login::Token),
    /// Show who the gateway takes you for
    Whoami(login::Whoami),
    /// Delete the token here, and revoke it at the issuer
    Logout(login::Logout),
    /// Print a shell script that completes commands
    Completions(completions::Completions),
    /// Print a manual page in roff
    Man(man::Man),
}

impl Command {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        match self {
            Self::Serve(serve) => serve.run(setup),
            Self::Check(check) => check.run(setup),
            Self::Init(init) => init.run(setup),
            Self::Test(test) => test.run(setup),
            Self::Slug(slug) => slug.run(),
            Self::Key(key) => key.run(setup),
            Self::User(user) => user.run(setup),
            Self::Project(project) => project.run(setup),
            Self::Audit(audit) => audit.run(setup),
            Self::Maintenance(maintenance) => maintenance.run(setup),
            Self::Limits(limits) => limits.run(setup),
            Self::Block(block) => block.run(setup),
            Self::Unblock(unblock) => unblock.run(setup),
            Self::Status(status) => status.run(setup),
            Self::SupportBundle(bundle) => bundle.run(setup),
            Self::Upgrade(upgrade) => upgrade.run(setup),
            Self::Drain(drain) => drain.run(setup),
            Self::Undrain(undrain) => undrain.run(setup),
            Self::Reload(reload) => reload.run(setup),
            Self::Register(register) => register.run(),
            Self::Explain(explain) => explain.run(setup),
            Self::Adapter(adapter) => adapter.run(setup),
            Self::Agent(agent) => agent.run(),
            Self::Import(import) => import.run(setup),
            Self::Usage(usage) => usage.run(setup),
            Self::Db(db) => db.run(setup),
            Self::Journal(journal) => journal.run(setup),
            Self::Prune(prune) => prune.run(setup),
            Self::Login(login) => login.run(),
            Self::Token(token) => token.run(),
            Self::Whoami(whoami) => whoami.run(),
            Self::Logout(logout) => logout.run(),
            Self::Completions(completions) => completions.run(),
            Self::Man(man) => man.run(),
        }
    }

    /// What to log if `OSTIA_LOG` is not set: a level, and targets with a level of their own. `None`: this command does
    /// not log.
    pub fn log(&self) -> Option<(Level, &'static str)> {
        match self {
            Self::Serve(_) => Some((Level::INFO, "")),
            // What scripts log, but not an event for each request.
            Self::Adapter(_) => {
                let scripts = "ostia::backend=info,ostia::cluster=info,ostia::script=info";
                Some((Level::WARN, scripts))
            }
            Self::Limits(_)
            | Self::Block(_)
            | Self::Unblock(_)
            | Self::Check(_)
            | Self::Db(_)
            | Self::Explain(_)
            | Self::Journal(_)
            | Self::Key(_)
            | Self::User(_)
            | Self::Project(_)
            | Self::Audit(_)
            | Self::Maintenance(_)
            | Self::Prune(_)
            | Self::Status(_)
            | Self::SupportBundle(_)
            | Self::Upgrade(_)
            | Self::Drain(_)
            | Self::Undrain(_)
            | Self::Reload(_)
            | Self::Test(_)
            | Self::Usage(_) => Some((Level::WARN, "")),
            Self::Slug(_)
            | Self::Register(_)
            | Self::Init(_)
            | Self::Agent(_)
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
