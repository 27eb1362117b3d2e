//! `ostia maintenance`: kept in the store, where every replica sees it within a second, and across restarts.

use std::sync::Arc;

use clap::Subcommand;
use jiff::Timestamp;
use ostia::config::Loaded;
use ostia::fleet::Fleet;
use ostia_core::{Clock as _, Notice, NoticeScope, Store, StoreError, SystemClock};

use super::load::{load, store, unsound};
use crate::arguments::Setup;
use crate::failure::{Failure, chain};
use crate::output::{Look, print};
use crate::runtime;
use crate::span::Moment;
use crate::table::Table;

#[derive(Debug, Subcommand)]
pub enum Maintenance {
    /// Answer all requests for it with 503 and this text
    Set {
        /// all, a cluster's name, or model:NAME
        scope: String,
        /// The text that users get
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        text: String,
        /// When it begins: 2h is in two hours, or a date or timestamp [default: now]
        #[arg(long, value_name = "T")]
        from: Option<Moment>,
        /// When it ends [default: when it is cleared]
        #[arg(long, value_name = "T")]
        until: Option<Moment>,
    },
    /// Serve it again; a notice in ostia.toml or from a status source still applies
    Clear {
        /// all, a cluster's name, or model:NAME
        scope: String,
    },
    /// Show what was set
    List,
}

impl Maintenance {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let loaded = load(setup, None, &Fleet::default());
        let Some(settings) = &loaded.settings else {
            return Err(unsound());
        };
        runtime::run(async {
            let store = store(settings.store.url.expose()).await?;
            self.perform(&loaded, &store).await
        })
    }

    async fn perform(&self, loaded: &Loaded, store: &Arc<dyn Store>) -> Result<(), Failure> {
        let failed = |error: StoreError| Failure::other(format!("the database: {}", chain(&error)));
        match self {
            Self::Set {
                scope,
                text,
                from,
                until,
            } => {
                let notice = notice(scope_of(loaded, scope)?, text, *from, *until)?;
                store.set_notice(&notice).await.map_err(failed)?;
                print(&format!("{scope} is under maintenance{}\n", times(&notice)))
            }
            Self::Clear { scope } => {
                let cleared = store.clear_notice(&named(scope)).await.map_err(failed)?;
                print(&match cleared {
                    true => format!("{scope} is no longer under maintenance\n"),
                    false => format!("{scope} had no notice\n"),
                })
            }
            Self::List => {
                let mut notices = store.notices().await.map_err(failed)?;
                notices.retain(|notice| !notice.scope.is_block());
                print(&listed(
                    &notices,
                    SystemClock.unix_micros(),
                    Look::of_stdout(),
                ))
            }
        }
    }
}

fn notice(
    scope: NoticeScope,
    text: &str,
    from: Option<Moment>,
    until: Option<Moment>,
) -> Result<Notice, Failure> {
    let now = SystemClock.unix_micros();
    let (begins_at, ends_at) = (from.map(|at| at.after(now)), until.map(|at| at.after(now)));
    let begins = begins_at.unwrap_or(now).max(now);
    if ends_at.is_some_and(|ends| ends <= begins) {
        return Err(Failure::usage(
            "it would end before it begins: --until must be later",
        ));
    }
    Ok(Notice {
        scope,
        text: text.to_owned(),
        begins_at,
        ends_at,
    })
}

fn named(text: &str) -> NoticeScope {
    match text.strip_prefix("model:") {
        Some(model) => NoticeScope::Model(model.to_owned()),
        None if text == "all" => NoticeScope::All,
        None => NoticeScope::Cluster(text.to_owned()),
    }
}

/// A name that is not in the catalog is a typing mistake.
fn scope_of(loaded: &Loaded, text: &str) -> Result<NoticeScope, Failure> {
    let scope = named(text);
    let catalog = &loaded.catalog;
    let (kind, name, mut known): (_, &str, Vec<&str>) = match &scope {
        NoticeScope::All | NoticeScope::Blocked(..) => return Ok(scope),
        NoticeScope::Cluster(name) => {
            let clusters = catalog.clusters().iter();
            (
                "cluster",
                name,
                clusters.map(|cluster| &*cluster.name).collect(),
            )
        }
        NoticeScope::Model(name) => {
            let deployments = catalog.deployments().iter();
            (
                "model",
                name.as_str(),
                deployments.map(|one| &*one.model).collect(),
            )
        }
    };
    if known.contains(&name) {
        return Ok(named(text));
    }
    known.sort_unstable();
    known.dedup();
    let known = known.join(", ");
    Err(Failure::usage(format!(
        "there is no {kind} `{name}`; known: {known}"
    )))
}

fn times(notice: &Notice) -> String {
    let at = |word: &str, time: Option<i64>| match time {
        Some(micros) => format!(" {word} {}", shown(micros)),
        None => String::new(),
    };
    format!(
        "{}{}",
        at("from", notice.begins_at),
        at("until", notice.ends_at)
    )
}

fn listed(notices: &[Notice], now: i64, look: Look) -> String {
    let mut table = Table::new(["SCOPE", "!STATE", "FROM", "UNTIL", "TEXT"]);
    for notice in notices {
        let scope = match &notice.scope {
            NoticeScope::Cluster(name) => name.clone(),
            other => other.to_string(),
        };
        let state = match notice.holds_at(now) {
            true => "maintenance",
            false if notice.ends_at.is_some_and(|ends| ends <= now) => "over",
            false => "planned",
        };
        let time = |micros: Option<i64>| micros.map(shown).unwrap_or_default();
        let (from, until) = (time(notice.begins_at), time(notice.ends_at));
        table.row([&*scope, state, &*from, &*until, &*notice.text]);
    }
    table.render(look)
}

/// To the second, in UTC.
fn shown(micros: i64) -> String {
    match Timestamp::from_second(micros.div_euclid(1_000_000)) {
        Ok(time) => time.to_string(),
        Err(_) => micros.to_string(),
    }
}
