//! `ostia block`, `ostia unblock`: kept in the store, where every replica sees them within a second, and across
//! restarts.

use clap::{Args, ValueEnum};
use ostia::fleet::Fleet;
use ostia_core::{Blocked, Clock as _, Notice, NoticeScope, StoreError, SystemClock};

use super::load::{load, store, unsound};
use crate::arguments::{Setup, person};
use crate::failure::{Failure, chain};
use crate::output::print;
use crate::runtime;
use crate::span::Span;

#[derive(Debug, Args)]
pub struct Block {
    #[command(flatten)]
    subject: Subject,
    /// How long, such as 1h or 7d [default: until `ostia unblock`]
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
    /// What to block
    what: What,
    /// A user's name or id, a key's id, or a model's name
    #[arg(value_parser = person)]
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
        let notice = Notice {
            scope: self.subject.scope(),
            text: String::new(),
            begins_at: None,
            ends_at: self.time.map(|time| now.saturating_add(time.micros())),
        };
        runtime::run(async {
            let store = store(settings.store.url.expose()).await?;
            store.set_notice(&notice).await.map_err(lost)
        })?;
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
        let unblocked = runtime::run(async {
            let store = store(settings.store.url.expose()).await?;
            let scope = self.subject.scope();
            store.clear_notice(&scope).await.map_err(lost)
        });
        let word = match unblocked? {
            true => "is no longer blocked",
            false => "was not blocked by `ostia block`; `blocked` in ostia.toml is another matter",
        };
        print(&format!("{} {name} {word}\n", what.word()))
    }
}

impl Subject {
    fn scope(&self) -> NoticeScope {
        NoticeScope::Blocked(self.what.kind(), self.name.clone())
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
        self.kind().as_str()
    }
}

fn lost(error: StoreError) -> Failure {
    Failure::other(format!("the database: {}", chain(&error)))
}
