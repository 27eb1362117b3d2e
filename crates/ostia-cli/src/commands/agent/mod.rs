//! `ostia agent configure`: makes a coding agent on this machine use a gateway.

mod block;
mod clients;
mod files;
mod site;

use clap::{Args, Subcommand, ValueEnum};
use ostia_core::Secret;

use crate::failure::Failure;
use crate::output::{note, print};
use crate::runtime;
use clients::Configuration;
use files::{Home, Record};
use site::Site;

#[derive(Debug, Subcommand)]
pub enum Agent {
    /// Write a coding agent's configuration for a gateway, with the models that run there
    Configure(Configure),
}

#[derive(Debug, Args)]
#[command(
    after_help = "What the agent's files were before is kept beside them, as FILE.before-ostia, and `--undo` brings it back. \
                  Whatever else stands in the files stays. The key comes from OSTIA_API_KEY or OPENAI_API_KEY, or is the \
                  token of `ostia login`; it is written into the agent's files, which only you can read."
)]
pub struct Configure {
    /// The agent
    client: Client,
    /// The gateway, with or without `/v1`; if its path has a cluster and a framework, only they are used [default: the
    /// one named at `ostia login`]
    #[arg(long, env = "OSTIA_URL", value_name = "URL")]
    url: Option<String>,
    /// The model to start with [default: the first that is running]
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Print what would be written, without the key, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Restore the files as they were before
    #[arg(long, conflicts_with_all = ["dry_run", "model"])]
    undo: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Client {
    /// Claude Code
    Claude,
    /// Codex
    Codex,
    /// OpenCode
    Opencode,
    /// Qwen Code
    Qwen,
    /// pi
    Pi,
    /// aider
    Aider,
    /// goose
    Goose,
    /// Continue
    Continue,
}

impl Agent {
    pub fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Configure(configure) => configure.run(),
        }
    }
}

impl Configure {
    fn run(&self) -> Result<(), Failure> {
        let home = Home::find()?;
        let client = self.client.configuration();
        let record = Record::of(&home, client.name());
        if self.undo {
            return print(&record.undo()?);
        }
        let site = runtime::run(Site::ask(
            self.url.as_deref(),
            self.model.as_deref(),
            client.api(),
        ))?;
        let changes = client
            .files(&home)
            .into_iter()
            .map(|file| file.change(&site))
            .collect::<Result<Vec<_>, _>>()?;
        if self.dry_run {
            let text: String = changes
                .iter()
                .map(|change| change.shown(&site.key))
                .collect();
            print(&text)?;
        } else {
            print(&record.write(&changes)?)?;
        }
        note(&format!(
            "{} begins with {}. {}",
            client.name(),
            site.chosen().id,
            client.hint()
        ));
        Ok(())
    }
}

impl Client {
    fn configuration(self) -> &'static dyn Configuration {
        match self {
            Self::Claude => &clients::Claude,
            Self::Codex => &clients::Codex,
            Self::Opencode => &clients::Opencode,
            Self::Qwen => &clients::Qwen,
            Self::Pi => &clients::Pi,
            Self::Aider => &clients::Aider,
            Self::Goose => &clients::Goose,
            Self::Continue => &clients::Continue,
        }
    }
}

/// A text without the secret.
fn masked(text: &str, key: &Secret<String>) -> String {
    text.replace(key.expose().as_str(), "$OSTIA_API_KEY")
}
