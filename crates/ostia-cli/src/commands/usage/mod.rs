//! `ostia usage`: sums over the ledger.

mod render;
mod report;

use std::num::NonZeroUsize;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;
use ostia_core::{Clock as _, SystemClock, UsageQuery};

use super::load::{existing_store, settings};
use crate::arguments::{Setup, person};
use crate::failure::{Failure, chain};
use crate::output::{Look, print};
use crate::runtime;
use crate::span::Moment;
use report::Report;

#[derive(Debug, Args)]
#[command(
    after_help = "A table fits 80 columns, or the terminal if that is wider: OK, PROMPT and OUTPUT give way first, then long \
                  names are cut, and numbers from ten million on are rounded. CSV and JSON have everything. REFUSED \
                  counts what the gateway or an adapter refused, FAILED what a backend did not answer well; requests that \
                  clients gave up are in neither."
)]
pub struct Usage {
    /// The beginning: a span before now (7d, 12h, 30m), a date (2026-01-31: its beginning, in [reports] timezone) or a
    /// timestamp
    #[arg(long, value_name = "WHEN", default_value = "7d")]
    since: Moment,
    /// The end, written the same way [default: now]
    #[arg(long, value_name = "WHEN")]
    until: Option<Moment>,
    /// Only this user
    #[arg(long, value_name = "NAME", value_parser = person)]
    user: Option<String>,
    /// Print a line for each combination of these
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', default_value = "user,model", value_parser = PossibleValuesParser::new(UsageQuery::BY))]
    by: Vec<String>,
    /// Sort by this column, numbers from the largest down [default: by the columns of --by]
    #[arg(long, value_name = "COLUMN")]
    sort: Option<String>,
    /// Only the first N lines
    #[arg(long, value_name = "N")]
    top: Option<NonZeroUsize>,
    /// Output format
    #[arg(long, default_value = "table")]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
}

impl Usage {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        runtime::run(self.report(setup))
    }

    async fn report(&self, setup: &Setup) -> Result<(), Failure> {
        let now = SystemClock.unix_micros();
        let settings = settings(setup)?;
        let zone = TimeZone::get(&settings.reports.timezone).unwrap_or(TimeZone::UTC);
        let query = UsageQuery {
            since: self.since.before(now, &zone),
            until: self.until.map(|until| until.before(now, &zone)),
            user: self.user.clone(),
            by: self.columns(),
        };
        let order = report::Order::parse(self.sort.as_deref(), &query.by)?;
        let store = existing_store(settings.store.url.expose()).await?;
        let rows = store
            .usage(&query)
            .await
            .map_err(|error| Failure::other(chain(&error)))?;
        let report = Report::new(query.by, rows, order, self.top);
        print(&match self.format {
            _ if self.json => render::json(&report),
            Format::Table => render::table(&report, Look::of_stdout()),
            Format::Csv => render::csv(&report),
            Format::Json => render::json(&report),
        })
    }

    /// Without duplicates, in the order in which they were asked for.
    fn columns(&self) -> Vec<String> {
        let mut columns: Vec<String> = Vec::new();
        for name in &self.by {
            if !columns.contains(name) {
                columns.push(name.clone());
            }
        }
        columns
    }
}
