//! `ostia block`, `ostia unblock`: work beside a running gateway, which sees the change within a second, and survive restarts.

use clap::{Args, ValueEnum};
use ostia::admit::{self, Blocked};
use ostia::fleet::Fleet;
use ostia_core::{Clock as _, SystemClock};

use super::load::{load, unsound};
use crate::arguments::Setup;
use crate::failure::Failure;
use crate::output::print;
use crate::span::Span;

#[derive(Debug, Args)]
pub struct Block {
    #[command(flatten)]
    subject: Subject,
    /// How long, such as 1h or 7d; without it until `ostia unblock`
    #[arg(long = "for", value_name = "TIME")]
    time: Option<Span>,
}

#[derive(Debug, Args)]
pub struct Unblock {
    #[command(flatten)]
    subject: Subject,
}

#[derive(Debug, Args)]
struct Subject {
    /// What is blocked
    what: What,
    /// A user's name or id, a key's id, or a model's name
    name: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// Refuse every inference request of this user (403)
    User,
    /// Refuse every inference request with this key (403)
    Key,
    /// Refuse every inference request for this model (503)
    Model,
}

impl Block {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let now = SystemClock.unix_micros();
        let until = self
            .time
            .map(|time| now.saturating_add(time.micros()) / 1_000_000);
        let Subject { what, name } = &self.subject;
        let loaded = load(setup, None, &Fleet::default());
        let settings = loaded.settings.as_ref().ok_or_else(unsound)?;
        if let What::Model = what
            && !loaded
                .catalog
                .deployments()
                .iter()
                .any(|one| *one.model == **name)
        {
            return Err(Failure::usage(format!("there is no model `{name}`")));
        }
        let folder = &settings.server.state_dir;
        let blocked = admit::block(folder, what.kind(), name, until);
        blocked.map_err(|error| unwritten(folder, &error))?;
        let end = match self.time {
            Some(_) => "until its time is over, or `ostia unblock`",
            None => "until `ostia unblock`",
        };
        print(&format!("{} {name} is blocked {end}\n", what.word()))
    }
}

impl Unblock {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let Subject { what, name } = &self.subject;
        let loaded = load(setup, None, &Fleet::default());
        let settings = loaded.settings.as_ref().ok_or_else(unsound)?;
        let folder = &settings.server.state_dir;
        let unblocked = admit::unblock(folder, what.kind(), name);
        let word = match unblocked.map_err(|error| unwritten(folder, &error))? {
            true => "is no longer blocked",
            false => "was not blocked by `ostia block`; `blocked` in ostia.toml is another matter",
        };
        print(&format!("{} {name} {word}\n", what.word()))
    }
}

impl What {
    const fn kind(self) -> Blocked {
        match self {
            Self::User => Blocked::User,
            Self::Key => Blocked::Key,
            Self::Model => Blocked::Model,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Key => "key",
            Self::Model => "model",
        }
    }
}

fn unwritten(folder: &std::path::Path, error: &std::io::Error) -> Failure {
    let folder = folder.display();
    Failure::other(format!("the blocks in {folder} cannot be changed: {error}"))
}
