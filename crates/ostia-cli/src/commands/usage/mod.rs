//! `ostia usage`: what the ledger adds up to.

mod render;

use clap::{Args, ValueEnum};
use ostia_core::{Clock as _, SystemClock, UsageQuery};

use super::load::open_store;
use crate::arguments::Global;
use crate::failure::{Failure, chain};
use crate::output::print;
use crate::runtime;
use crate::span::Since;

#[derive(Debug, Args)]
pub struct Usage {
    /// From when: so long ago (7d, 12h, 30m), or a date (2026-01-31, UTC)
    #[arg(long, value_name = "WHEN", default_value = "7d")]
    since: Since,
    /// One line for each of these
    #[arg(
        long,
        value_name = "COLUMNS",
        value_delimiter = ',',
        default_value = "user,model"
    )]
    by: Vec<By>,
    /// How the lines are written
    #[arg(long, default_value = "table")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    User,
    Model,
    Cluster,
    Day,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
}

impl Usage {
    pub fn run(&self, global: &Global) -> Result<(), Failure> {
        runtime::run(self.report(global))
    }

    async fn report(&self, global: &Global) -> Result<(), Failure> {
        let by = self.columns();
        let query = UsageQuery {
            since: self.since.before(SystemClock.unix_micros()),
            by: by.iter().map(|&column| column.to_owned()).collect(),
        };
        let store = open_store(global).await?;
        let rows = store
            .usage(&query)
            .await
            .map_err(|error| Failure::other(chain(&error)))?;
        print(&match self.format {
            Format::Table => render::table(&by, &rows),
            Format::Csv => render::csv(&by, &rows),
            Format::Json => render::json(&by, &rows),
        })
    }

    /// Each once, in the order in which they were asked for.
    fn columns(&self) -> Vec<&'static str> {
        let mut columns = Vec::new();
        for by in &self.by {
            let name = match by {
                By::User => "user",
                By::Model => "model",
                By::Cluster => "cluster",
                By::Day => "day",
            };
            if !columns.contains(&name) {
                columns.push(name);
            }
        }
        columns
    }
}
