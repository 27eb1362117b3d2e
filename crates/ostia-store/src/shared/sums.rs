//! Rebuilds the roll-up from the ledger, for the days and months of another time zone.

use ostia_core::StoreError;
use sqlx::{AssertSqlSafe, Row as _};

use super::engine::{HOUR, Query, Stamp, summed};
use super::meta;
use super::work::Work;
use crate::calendar::{Calendar, first_day, month_of_day};
use crate::levels::{ALL, DIMENSIONS, Dimensions, Grain, Level, WHAT, WHO, level};
use crate::tally::SUMS;

/// The expression over the ledger for each sum, in the order of [`SUMS`].
const OF_ROWS: [&str; SUMS.len()] = [
    "count",
    "CASE WHEN outcome = 'ok' THEN count ELSE 0 END",
    "CASE WHEN outcome = 'rejected' THEN count ELSE 0 END",
    "CASE WHEN outcome IN ('ok', 'client_closed', 'rejected') THEN 0 ELSE count END",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
];

pub(super) async fn is_kept_in(mut work: Work, zone: &str) -> Result<bool, StoreError> {
    let found = meta::zone(&mut work).await;
    Ok(work.end(found).await? == zone)
}

/// `false`: the roll-up is in another zone and has sums already.
pub(super) async fn keep_in(mut work: Work, zone: &str) -> Result<bool, StoreError> {
    let done = async {
        if meta::taken_zone(&mut work).await? == zone {
            return Ok(true);
        }
        let some = work
            .one(sqlx::query("SELECT 1 FROM usage_sums LIMIT 1"))
            .await?;
        if some.is_some() {
            return Ok(false);
        }
        meta::set_zone(&mut work, zone).await?;
        Ok(true)
    };
    let done = done.await;
    work.end(done).await
}

pub(super) async fn rebuild(mut work: Work, zone: &str) -> Result<(), StoreError> {
    let calendar = Calendar::of(zone);
    let calendar = calendar.ok_or_else(|| StoreError::Broken(format!("no time zone {zone}")))?;
    let done = fill(&mut work, zone, calendar).await;
    work.end(done).await
}

async fn fill(work: &mut Work, zone: &str, mut calendar: Calendar) -> sqlx::Result<()> {
    meta::taken_zone(work).await?;
    meta::set_zone(work, zone).await?;
    work.run(sqlx::query("DELETE FROM usage_sums")).await?;
    let range = "SELECT min(started_at), max(started_at) FROM ledger";
    let Some(range) = work.one(sqlx::query(range)).await? else {
        return Ok(());
    };
    let (Some(Stamp(first)), Some(Stamp(last))) = (range.try_get(0)?, range.try_get(1)?) else {
        return Ok(());
    };
    if let Some(hours) = level(WHAT, Grain::Hour) {
        let sql = insert(hours, HOUR, "ledger", &OF_ROWS, "");
        work.run(sqlx::query(AssertSqlSafe(sql))).await?;
    }
    let mut day = calendar.day(first);
    let last = calendar.day(last);
    while day <= last {
        let range = (calendar.first_of_day(day), calendar.first_of_day(day + 1));
        day = fill_day(work, &mut calendar, day, range).await?;
    }
    let (first, last) = (month_of_day(calendar.day(first)), month_of_day(last));
    for (from, grain, dimensions) in [
        (Grain::Day, Grain::Day, WHAT),
        (Grain::Day, Grain::Day, WHO),
    ] {
        if let (Some(all), Some(level)) = (level(ALL, from), level(dimensions, grain)) {
            let behind = format!(" WHERE level = {}", all.number);
            let sql = insert(level, "period", "usage_sums", &SUMS, &behind);
            work.run(sqlx::query(AssertSqlSafe(sql))).await?;
        }
    }
    months(work, first, last).await
}

/// Returns the next day that has rows.
async fn fill_day(
    work: &mut Work,
    calendar: &mut Calendar,
    day: i64,
    (from, to): (i64, i64),
) -> sqlx::Result<i64> {
    if let Some(level) = level(ALL, Grain::Day) {
        let behind = " WHERE started_at >= $1 AND started_at < $2";
        let sql = insert(level, &day.to_string(), "ledger", &OF_ROWS, behind);
        let query: Query<'_> = sqlx::query(AssertSqlSafe(sql))
            .bind(Stamp(from))
            .bind(Stamp(to));
        work.run(query).await?;
    }
    let next =
        sqlx::query("SELECT min(started_at) FROM ledger WHERE started_at >= $1").bind(Stamp(to));
    let next = work.one(next).await?;
    let next = next.map_or(Ok(None), |row| row.try_get::<Option<Stamp>, _>(0))?;
    Ok(next.map_or(i64::MAX, |Stamp(next)| calendar.day(next)))
}

async fn months(work: &mut Work, first: i64, last: i64) -> sqlx::Result<()> {
    let mut month = first;
    while month <= last {
        for dimensions in [WHO, ALL] {
            let (Some(days), Some(months)) = (
                level(dimensions, Grain::Day),
                level(dimensions, Grain::Month),
            ) else {
                continue;
            };
            let (from, to) = (first_day(month), first_day(month + 1));
            let behind = format!(
                " WHERE level = {} AND period >= {from} AND period < {to}",
                days.number
            );
            let sql = insert(months, &month.to_string(), "usage_sums", &SUMS, &behind);
            work.run(sqlx::query(AssertSqlSafe(sql))).await?;
        }
        let next =
            sqlx::query("SELECT min(period) FROM usage_sums WHERE level = 4 AND period >= $1");
        let next = work.one(next.bind(first_day(month + 1))).await?;
        let next = next.map_or(Ok(None), |row| row.try_get::<Option<i64>, _>(0))?;
        month = next.map_or(i64::MAX, month_of_day);
    }
    Ok(())
}

/// `period`: an expression over `from`, or a number.
fn insert(level: Level, period: &str, from: &str, sums: &[&str], behind: &str) -> String {
    let held = |place: usize| level.dimensions & (1 << place) as Dimensions != 0;
    let values: Vec<&str> = DIMENSIONS
        .iter()
        .enumerate()
        .map(|(place, (_, column, row))| match (held(place), from) {
            (false, _) => "''",
            (true, "ledger") => row,
            (true, _) => column,
        })
        .collect();
    let mut groups: Vec<&str> = values
        .iter()
        .copied()
        .filter(|value| *value != "''")
        .collect();
    if period.parse::<i64>().is_err() {
        groups.push(period);
    }
    let sums: Vec<_> = sums.iter().map(|sum| summed(sum)).collect();
    format!(
        "INSERT INTO usage_sums SELECT {}, {period}, {}, {} FROM {from}{behind} GROUP BY {}",
        level.number,
        values.join(", "),
        sums.join(", "),
        groups.join(", ")
    )
}
