use clap::Args;
use jiff::tz::TimeZone;
use ostia::people::{Chain, audit_json, rfc3339};
use ostia_core::{AuditQuery, AuditRow, Clock as _, SystemClock};
use serde_json::Value;

use super::desk;
use crate::arguments::Setup;
use crate::failure::Failure;
use crate::output::{Look, note, print};
use crate::runtime;
use crate::span::Moment;
use crate::table::Table;

#[derive(Debug, Args)]
pub struct Audit {
    /// Only events since then: a span (7d), a date or a timestamp
    #[arg(long, value_name = "WHEN", default_value = "30d")]
    since: Moment,
    /// Only events before then
    #[arg(long, value_name = "WHEN")]
    until: Option<Moment>,
    /// Only what this actor did
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only this action, such as user.disable
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only what was done to this user, key or project
    #[arg(long, value_name = "NAME")]
    object: Option<String>,
    /// Show at most this many events, the newest first
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    top: i64,
    /// Check whether any event was changed or removed
    #[arg(long)]
    verify: bool,
    /// Print an array of objects
    #[arg(long)]
    json: bool,
}

impl Audit {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        runtime::run(self.perform(setup))
    }

    async fn perform(&self, setup: &Setup) -> Result<(), Failure> {
        let desk = desk::existing(setup).await?;
        if self.verify {
            return match desk.verify_audit().await? {
                Chain::Whole(count) => {
                    note(&format!("The audit is whole: {count} events."));
                    Ok(())
                }
                Chain::Broken(number) => Err(Failure::other(format!(
                    "event {number} of the audit was changed, or one before it is missing"
                ))),
            };
        }
        let rows = desk.audit(&self.query()).await?;
        if self.json {
            let rows: Vec<Value> = rows.iter().map(audit_json).collect();
            return print(&format!("{}\n", Value::from(rows)));
        }
        print(&table(&rows).render(Look::of_stdout()))
    }

    fn query(&self) -> AuditQuery {
        let now = SystemClock.unix_micros();
        AuditQuery {
            since: self.since.before(now, &TimeZone::UTC),
            until: self.until.map(|until| until.before(now, &TimeZone::UTC)),
            actor: self.actor.clone(),
            action: self.action.clone(),
            object: self.object.clone(),
            before: None,
            limit: self.top,
        }
    }
}

fn table(rows: &[AuditRow]) -> Table {
    let mut table = Table::new(["AT", "ACTOR", "ACTION", "OBJECT", "?REASON"]);
    for row in rows {
        let event = &row.event;
        table.row([
            rfc3339(event.at),
            event.actor.clone(),
            event.action.clone(),
            event.object.clone(),
            event.reason.clone(),
        ]);
    }
    table
}
