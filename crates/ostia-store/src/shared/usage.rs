//! Usage reports: whole hours, days and months from the roll-up, the rest from single rows. So they are exact and fast.

use std::collections::BTreeMap;

use ostia_core::{StoreError, UsageQuery, UsageRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::engine::{HOUR, Row, Stamp};
use super::meta;
use super::work::Work;
use crate::calendar::Calendar;
use crate::levels::DIMENSIONS;
use crate::report::{Part, Plan, Source};

/// The expressions over single rows.
const FROM_ROWS: [&str; 4] = [
    "count",
    "CASE WHEN outcome = 'ok' THEN count ELSE 0 END",
    "CASE WHEN outcome = 'rejected' THEN count ELSE 0 END",
    "CASE WHEN outcome IN ('ok', 'client_closed', 'rejected') THEN 0 ELSE count END",
];

const FROM_SUMS: [&str; 4] = ["requests", "ok", "refused", "failed"];

/// SQLite's `sum` fails on overflow, and a backend may report any number of tokens, so the upper and lower halves are
/// summed separately.
const TOKENS: [&str; 6] = [
    "prompt_tokens >> 32",
    "prompt_tokens & 4294967295",
    "completion_tokens >> 32",
    "completion_tokens & 4294967295",
    "total_tokens >> 32",
    "total_tokens & 4294967295",
];

/// The index of the first sum; the number of the period comes before it.
const SUMMED: usize = 1;
const KEYED: usize = SUMMED + 10;

pub(super) async fn report(
    mut work: Work,
    query: &UsageQuery,
) -> Result<Vec<UsageRow>, StoreError> {
    let plan = Plan::of(query)?;
    let done = read(&mut work, query, plan).await;
    work.end(done).await
}

async fn read(work: &mut Work, query: &UsageQuery, plan: Plan) -> sqlx::Result<Vec<UsageRow>> {
    let zone = meta::zone(work).await?;
    let mut calendar = Calendar::of(&zone).ok_or_else(|| {
        sqlx::Error::Configuration(format!("the time zone {zone} is unknown here").into())
    })?;
    let mut lines = BTreeMap::<Vec<String>, UsageRow>::new();
    if query.by.is_empty() {
        lines.insert(Vec::new(), UsageRow::default());
    }
    for part in plan.parts(query, &calendar) {
        for row in select(work, query, &plan, &part).await? {
            let line = usage_row(&row, query, &plan, &part, &mut calendar)?;
            match lines.get_mut(&line.keys) {
                Some(held) => held.add(&line),
                None => drop(lines.insert(line.keys.clone(), line)),
            }
        }
    }
    // Rows that were replaced may leave lines without requests.
    let lines = lines.into_values();
    Ok(lines
        .filter(|line| line.requests > 0 || query.by.is_empty())
        .collect())
}

async fn select(
    work: &mut Work,
    query: &UsageQuery,
    plan: &Plan,
    part: &Part,
) -> sqlx::Result<Vec<Row>> {
    let sql = sql(query, plan, part);
    let statement = sqlx::query(AssertSqlSafe(sql));
    let statement = match part.source {
        Source::Sums(level) => statement.bind(part.from).bind(part.to).bind(level.number),
        Source::Rows => statement.bind(Stamp(part.from)).bind(Stamp(part.to)),
    };
    let statement = match &query.user {
        Some(user) => statement.bind(user.clone()),
        None => statement,
    };
    work.all(statement).await
}

/// Only names of [`DIMENSIONS`] and numbers get into the text.
fn sql(query: &UsageQuery, plan: &Plan, part: &Part) -> String {
    let keys = plan.dimensions.iter().map(|&place| {
        let (_, column, row) = DIMENSIONS[place];
        match part.source {
            Source::Sums(_) => column,
            Source::Rows => row,
        }
    });
    let keys: Vec<&str> = keys.collect();
    let (time, counts, from) = match part.source {
        Source::Sums(_) => (
            "period",
            FROM_SUMS,
            "usage_sums WHERE level = $3 AND period >= $1 AND period < $2",
        ),
        Source::Rows => (
            HOUR,
            FROM_ROWS,
            "ledger WHERE started_at >= $1 AND started_at < $2",
        ),
    };
    let by_time = plan.is_by_time(part);
    let mut groups = keys.clone();
    if by_time {
        groups.push(time);
    }
    let grouped = match groups.is_empty() {
        true => String::new(),
        false => format!(" GROUP BY {}", groups.join(", ")),
    };
    let only = match (&query.user, part.source) {
        (None, _) => String::new(),
        (Some(_), Source::Sums(_)) => " AND person = $4".to_owned(),
        (Some(_), Source::Rows) => format!(" AND {} = $3", DIMENSIONS[0].2),
    };
    let time = if by_time { time } else { "0" };
    let sums = counts.iter().chain(&TOKENS);
    let sums = sums.map(|sum| format!("CAST(coalesce(sum({sum}), 0) AS BIGINT)"));
    let keys = keys.iter().map(|key| (*key).to_owned());
    let time = std::iter::once(format!("CAST({time} AS BIGINT)"));
    let columns: Vec<String> = time.chain(sums).chain(keys).collect();
    format!("SELECT {} FROM {from}{only}{grouped}", columns.join(", "))
}

fn usage_row(
    row: &Row,
    query: &UsageQuery,
    plan: &Plan,
    part: &Part,
    calendar: &mut Calendar,
) -> sqlx::Result<UsageRow> {
    let number = |index: usize| {
        row.try_get::<i64, _>(SUMMED + index)
            .map(|value| u64::try_from(value).unwrap_or(0))
    };
    let whole = |index: usize| Ok::<_, sqlx::Error>(join(number(index)?, number(index + 1)?));
    let period = if plan.is_by_time(part) {
        Some(row.try_get(0)?)
    } else {
        None
    };
    let mut values = plan.dimensions.iter().enumerate();
    let values = values.try_fold(BTreeMap::new(), |mut values, (place, dimension)| {
        values.insert(
            DIMENSIONS[*dimension].0,
            row.try_get::<String, _>(KEYED + place)?,
        );
        Ok::<_, sqlx::Error>(values)
    })?;
    let keys = query.by.iter().map(|name| match values.get(name.as_str()) {
        Some(value) => value.clone(),
        None => part.time_name(name, period, calendar),
    });
    Ok(UsageRow {
        keys: keys.collect(),
        requests: number(0)?,
        ok: number(1)?,
        refused: number(2)?,
        failed: number(3)?,
        prompt_tokens: whole(4)?,
        completion_tokens: whole(6)?,
        total_tokens: whole(8)?,
    })
}

fn join(high: u64, low: u64) -> u64 {
    let whole = (u128::from(high) << 32) + u128::from(low);
    u64::try_from(whole).unwrap_or(u64::MAX)
}
