//! Usage reports: whole hours, days and months from the roll-up, the rest from single rows. So they are exact and fast.

use ostia_core::{StoreError, UsageQuery, UsageRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::engine::{HOUR, Row, Stamp};
use super::work::{Work, aside};
use super::{blocks, meta};
use crate::calendar::{Calendar, month_of_day};
use crate::levels::{DIMENSIONS, Level};
use crate::lines::Lines;
use crate::report::{Known, Part, Plan, Source, Time};

/// Blocks that are read at a time: some of them are megabytes.
const PAGE: u32 = 16;

/// Of single rows.
const COUNTS: [&str; 4] = [
    "count",
    "CASE WHEN outcome = 'ok' THEN count ELSE 0 END",
    "CASE WHEN outcome = 'rejected' THEN count ELSE 0 END",
    "CASE WHEN outcome IN ('ok', 'client_closed', 'rejected') THEN 0 ELSE count END",
];

/// SQLite's `sum` fails on overflow, and a backend may claim any number of tokens: the halves are summed apart.
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
    let calendar = Calendar::of(&zone).ok_or_else(|| {
        sqlx::Error::Configuration(format!("the time zone {zone} is unknown here").into())
    })?;
    let known = Known {
        calendar: calendar.clone(),
        stale: blocks::stale(work).await?,
    };
    let parts = plan.parts(query, &known);
    let mut lines = Lines::new(plan.clone(), calendar);
    for part in parts {
        lines = match part.source {
            Source::Blocks(level, _) => read_blocks(work, lines, part, level, &known).await?,
            Source::Rows => {
                read_rows(work, &mut lines, &plan, &part, &known).await?;
                lines
            }
        };
    }
    aside(move || Ok(lines.finish())).await
}

const BLOCKS: &str = "SELECT period, tier, id, block FROM usage_blocks
    WHERE level = $1 AND period >= $2 AND period < $3 AND (period, tier, id) > ($4, $5, $6)
    ORDER BY level, period, tier, id LIMIT $7";

async fn read_blocks(
    work: &mut Work,
    mut lines: Lines,
    part: Part,
    level: Level,
    known: &Known,
) -> sqlx::Result<Lines> {
    let (from, to) = part.periods(&known.calendar);
    let mut after = (from, i64::MIN, 0_i64);
    loop {
        let query = sqlx::query(BLOCKS)
            .bind(level.number)
            .bind(after.0)
            .bind(to);
        let query = query.bind(after.0).bind(after.1).bind(after.2);
        let found = work.all(query.bind(i64::from(PAGE))).await?;
        let Some(last) = found.last() else {
            return Ok(lines);
        };
        let is_last = found.len() < PAGE as usize;
        after = (last.try_get(0)?, last.try_get(1)?, last.try_get(2)?);
        lines = aside(move || {
            for row in &found {
                let added = lines.add_block(&part, row.try_get(0)?, row.try_get(3)?);
                added.map_err(blocks::damaged)?;
            }
            Ok(lines)
        })
        .await?;
        if is_last {
            return Ok(lines);
        }
    }
}

async fn read_rows(
    work: &mut Work,
    lines: &mut Lines,
    plan: &Plan,
    part: &Part,
    known: &Known,
) -> sqlx::Result<()> {
    let statement = sqlx::query(AssertSqlSafe(sql(plan)));
    let statement = statement.bind(Stamp(part.from)).bind(Stamp(part.to));
    let statement = match &plan.user {
        Some(user) => statement.bind(user.clone()),
        None => statement,
    };
    let mut calendar = known.calendar.clone();
    for row in work.all(statement).await? {
        let time = match plan.time {
            Time::None => 0,
            Time::Hour => row.try_get(0)?,
            Time::Day => calendar.day(part.from),
            Time::Month => month_of_day(calendar.day(part.from)),
        };
        let names = (0..plan.dimensions.len()).map(|at| row.try_get(KEYED + at));
        let names = names.collect::<sqlx::Result<Vec<String>>>()?;
        lines.add_line(time, &names, &usage_row(&row)?);
    }
    Ok(())
}

/// Only names of [`DIMENSIONS`] ever reach the text.
fn sql(plan: &Plan) -> String {
    let names = plan
        .dimensions
        .iter()
        .filter_map(|place| DIMENSIONS.get(*place));
    let keys: Vec<&str> = names.map(|(_, row)| *row).collect();
    let time = if plan.time == Time::Hour { HOUR } else { "0" };
    let mut groups = keys.clone();
    if plan.time == Time::Hour {
        groups.push(time);
    }
    let grouped = match groups.is_empty() {
        true => String::new(),
        false => format!(" GROUP BY {}", groups.join(", ")),
    };
    let [(_, user), ..] = DIMENSIONS;
    let only = match &plan.user {
        Some(_) => format!(" AND {user} = $3"),
        None => String::new(),
    };
    let sums = COUNTS.iter().chain(&TOKENS);
    let sums = sums.map(|sum| format!("CAST(coalesce(sum({sum}), 0) AS BIGINT)"));
    let time = std::iter::once(format!("CAST({time} AS BIGINT)"));
    let keys = keys.iter().map(|key| (*key).to_owned());
    let columns: Vec<String> = time.chain(sums).chain(keys).collect();
    let columns = columns.join(", ");
    format!(
        "SELECT {columns} FROM ledger WHERE started_at >= $1 AND started_at < $2{only}{grouped}"
    )
}

fn usage_row(row: &Row) -> sqlx::Result<UsageRow> {
    let number = |index: usize| {
        row.try_get::<i64, _>(SUMMED + index)
            .map(|value| u64::try_from(value).unwrap_or(0))
    };
    let whole = |index: usize| Ok::<_, sqlx::Error>(join(number(index)?, number(index + 1)?));
    Ok(UsageRow {
        keys: Vec::new(),
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
