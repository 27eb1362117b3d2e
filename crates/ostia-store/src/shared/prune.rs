//! Prunes old data: first addresses are removed, then persons become pseudonyms, and finally rows and sums are deleted,
//! and the oldest audit events. Each step handles a thousand rows or one day of sums in a transaction of its own, so
//! that nothing waits long for a lock.

use ostia_core::{Retention, StoreError};
use sqlx::{AssertSqlSafe, Row as _};

use super::bulk::Bulk;
use super::engine::{Stamp, added};
use super::meta;
use super::rows::calendar;
use super::work::Work;
use crate::cell::{Cell, Kind};
use crate::columns::stamp;
use crate::levels::{DIMENSIONS, Grain, LEVELS, Level, WHO};
use crate::pseudonym::Pseudonyms;
use crate::tally::SUMS;

/// Rows per step.
const STEP: i64 = 1_000;
/// The names under which the progress of each kind of step is stored.
const ADDRESSES: &str = "pruned.addresses";
const PERSONS: &str = "pruned.persons";
const DAYS: &str = "pruned.days";
const MONTHS: &str = "pruned.months";
/// The key for making pseudonyms, so that a person has the same one in all months.
const KEY: &str = "pseudonym.key";

/// The result of a step.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Step {
    pub(super) rows: u64,
    pub(super) goes_on: bool,
}

pub(super) async fn addresses(mut work: Work, before: i64) -> Result<Step, StoreError> {
    let done = forget_addresses(&mut work, before).await;
    work.end(done).await
}

pub(super) async fn persons(mut work: Work, before: i64) -> Result<Step, StoreError> {
    let done = rename_persons(&mut work, before).await;
    work.end(done).await
}

/// Handles the sums of a day or a month whose persons become pseudonyms, or that are deleted.
pub(super) async fn sums(mut work: Work, due: &Retention) -> Result<Step, StoreError> {
    let done = async {
        let calendar = &mut calendar(&mut work).await?;
        for (grain, name) in [(Grain::Day, DAYS), (Grain::Month, MONTHS)] {
            let end = grain.number(due.persons, calendar);
            if rename_in_sums(&mut work, grain, name, end).await? {
                return Ok(true);
            }
        }
        for level in LEVELS {
            let end = level.grain.number(due.sums, calendar);
            if delete_sums(&mut work, level, end).await? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let done: sqlx::Result<bool> = done.await;
    let goes_on = work.end(done).await?;
    Ok(Step { rows: 0, goes_on })
}

pub(super) async fn rows(mut work: Work, before: i64) -> Result<Step, StoreError> {
    let done = async {
        let Some((from, to)) = next(&mut work, 0, before).await? else {
            return Ok(Step::default());
        };
        let delete = "DELETE FROM ledger WHERE started_at >= $1 AND started_at < $2";
        let delete = sqlx::query(delete).bind(Stamp(from)).bind(Stamp(to));
        Ok(Step {
            rows: work.run(delete).await?,
            goes_on: true,
        })
    };
    let done = done.await;
    work.end(done).await
}

/// The oldest event, and the first to be kept: at the latest the newest one, because the next event is chained to it.
const EVENTS: &str = "
    SELECT oldest, coalesce((SELECT number FROM audit WHERE at >= $1 ORDER BY number LIMIT 1), newest)
    FROM (SELECT min(number) AS oldest, max(number) AS newest FROM audit) AS ends WHERE oldest IS NOT NULL";

pub(super) async fn events(mut work: Work, before: i64) -> Result<Step, StoreError> {
    let done = async {
        let Some(ends) = work.one(sqlx::query(EVENTS).bind(before)).await? else {
            return Ok(Step::default());
        };
        let (oldest, end): (i64, i64) = (ends.try_get(0)?, ends.try_get(1)?);
        if oldest >= end {
            return Ok(Step::default());
        }
        let delete = sqlx::query("DELETE FROM audit WHERE number < $1");
        Ok(Step {
            rows: work.run(delete.bind(end.min(oldest + STEP))).await?,
            goes_on: true,
        })
    };
    let done = done.await;
    work.end(done).await
}

async fn forget_addresses(work: &mut Work, before: i64) -> sqlx::Result<Step> {
    let position = meta::position(work, ADDRESSES).await?;
    let Some((from, to)) = next(work, position, before).await? else {
        return Ok(Step::default());
    };
    let update = "UPDATE ledger SET origin_ip = '' WHERE started_at >= $1 AND started_at < $2 AND origin_ip <> ''";
    let update = sqlx::query(update).bind(Stamp(from)).bind(Stamp(to));
    let rows = work.run(update).await?;
    meta::set(work, ADDRESSES, &to.to_string()).await?;
    Ok(Step {
        rows,
        goes_on: true,
    })
}

async fn rename_persons(work: &mut Work, before: i64) -> sqlx::Result<Step> {
    let position = meta::position(work, PERSONS).await?;
    let Some((from, to)) = next(work, position, before).await? else {
        let unseen =
            sqlx::query("DELETE FROM users WHERE last_seen < $1 AND state = 'active'").bind(before);
        work.run(unseen).await?;
        return Ok(Step::default());
    };
    let pseudonyms = pseudonyms(work).await?;
    let select =
        "SELECT DISTINCT user_id, username FROM ledger WHERE started_at >= $1 AND started_at < $2";
    let found = work
        .all(sqlx::query(select).bind(Stamp(from)).bind(Stamp(to)))
        .await?;
    let mut rows = 0;
    for person in found {
        let (id, name): (String, String) = (person.try_get(0)?, person.try_get(1)?);
        let reported = if name.is_empty() { &id } else { &name };
        let Some(pseudonym) = pseudonyms.of(reported) else {
            continue;
        };
        let update = "UPDATE ledger SET user_id = $1, username = '', client_request_id = '', key_id = '', origin_ip = ''
            WHERE started_at >= $2 AND started_at < $3 AND user_id = $4 AND username = $5";
        let update = sqlx::query(update)
            .bind(pseudonym)
            .bind(Stamp(from))
            .bind(Stamp(to));
        rows += work.run(update.bind(id).bind(name)).await?;
    }
    meta::set(work, PERSONS, &to.to_string()).await?;
    Ok(Step {
        rows,
        goes_on: true,
    })
}

/// The time range of the next rows after a position; the end is not included.
async fn next(work: &mut Work, position: i64, before: i64) -> sqlx::Result<Option<(i64, i64)>> {
    let last = "SELECT max(started_at) FROM (
        SELECT started_at FROM ledger WHERE started_at >= $1 AND started_at < $2 ORDER BY started_at LIMIT $3) AS step";
    let last = sqlx::query(last)
        .bind(Stamp(position))
        .bind(Stamp(stamp(before)))
        .bind(STEP);
    let found = work.one(last).await?;
    let last = found.map_or(Ok(None), |row| row.try_get::<Option<Stamp>, _>(0))?;
    Ok(last.map(|Stamp(last)| (position, last + 1)))
}

/// `true`: a day or a month was done, and there may be another.
async fn rename_in_sums(
    work: &mut Work,
    grain: Grain,
    name: &'static str,
    end: i64,
) -> sqlx::Result<bool> {
    let position = meta::position(work, name).await?;
    let levels: Vec<_> = LEVELS
        .into_iter()
        .filter(|level| level.grain == grain && level.dimensions & WHO != 0)
        .collect();
    let mut period = end;
    for level in &levels {
        let least =
            "SELECT min(period) FROM usage_sums WHERE level = $1 AND period >= $2 AND period < $3";
        let least = sqlx::query(least)
            .bind(level.number)
            .bind(position)
            .bind(end);
        let found = work.one(least).await?;
        let found = found.map_or(Ok(None), |row| row.try_get::<Option<i64>, _>(0))?;
        period = period.min(found.unwrap_or(end));
    }
    if period >= end {
        return Ok(false);
    }
    if grain == Grain::Month {
        count_users(work, &levels, period).await?;
    }
    let pseudonyms = pseudonyms(work).await?;
    for level in levels {
        rename_level(work, level, period, &pseudonyms).await?;
    }
    meta::set(work, name, &(period + 1).to_string()).await?;
    Ok(true)
}

async fn count_users(work: &mut Work, levels: &[Level], month: i64) -> sqlx::Result<()> {
    let Some(level) = levels.iter().find(|level| level.dimensions == WHO) else {
        return Ok(());
    };
    let count = "INSERT INTO usage_users (month, users)
        SELECT $1, count(DISTINCT person) FROM usage_sums WHERE level = $2 AND period = $1
        ON CONFLICT (month) DO NOTHING";
    work.run(sqlx::query(count).bind(month).bind(level.number))
        .await
        .map(drop)
}

/// Keys are removed too, because a key belongs to a person. Sums that differ only in them are added up.
async fn rename_level(
    work: &mut Work,
    level: Level,
    period: i64,
    pseudonyms: &Pseudonyms,
) -> sqlx::Result<()> {
    let names = "SELECT DISTINCT person FROM usage_sums WHERE level = $1 AND period = $2";
    let names = work
        .all(sqlx::query(names).bind(level.number).bind(period))
        .await?;
    let mut pairs: Vec<(String, String)> = Vec::new();
    for row in names {
        let name: String = row.try_get(0)?;
        if let Some(pseudonym) = pseudonyms.of(&name) {
            pairs.push((name, pseudonym));
        }
    }
    let columns = ["name", "pseudonym"].map(|name| (name.to_owned(), Kind::Text));
    let bulk = Bulk::new("pseudonyms", columns.into(), "");
    bulk.run(work, &pairs, |(name, pseudonym)| {
        [Cell::text(name), Cell::text(pseudonym)].into_iter()
    })
    .await?;
    let (level, period) = (level.number, period);
    for sql in [
        merge(),
        "DELETE FROM usage_sums WHERE level = $1 AND period = $2 AND person IN (SELECT name FROM pseudonyms)".to_owned(),
    ] {
        let query = sqlx::query(AssertSqlSafe(sql)).bind(level).bind(period);
        work.run(query).await?;
    }
    work.run(sqlx::query("DELETE FROM pseudonyms"))
        .await
        .map(drop)
}

fn merge() -> String {
    let keys: Vec<_> = DIMENSIONS.iter().map(|(_, column, _)| *column).collect();
    let values: Vec<_> = keys
        .iter()
        .map(|column| match *column {
            "person" => "pseudonym",
            "key_id" => "''",
            column => column,
        })
        .collect();
    let groups: Vec<_> = values
        .iter()
        .copied()
        .filter(|value| *value != "''")
        .collect();
    let sums = SUMS.map(|sum| format!("CAST(sum({sum}) AS BIGINT)"));
    let added = SUMS.map(|sum| added("usage_sums", sum));
    format!(
        "INSERT INTO usage_sums SELECT level, period, {}, {} FROM usage_sums JOIN pseudonyms ON person = name
        WHERE level = $1 AND period = $2 GROUP BY level, period, {}
        ON CONFLICT (level, period, {}) DO UPDATE SET {}",
        values.join(", "),
        sums.join(", "),
        groups.join(", "),
        keys.join(", "),
        added.join(", ")
    )
}

/// `true`: there may be more to delete.
async fn delete_sums(work: &mut Work, level: Level, end: i64) -> sqlx::Result<bool> {
    let delete = "DELETE FROM usage_sums WHERE level = $1 AND period =
        (SELECT min(period) FROM usage_sums WHERE level = $1 AND period < $2)";
    let delete = sqlx::query(delete).bind(level.number).bind(end);
    Ok(work.run(delete).await? > 0)
}

async fn pseudonyms(work: &mut Work) -> sqlx::Result<Pseudonyms> {
    if let Some(key) = meta::value(work, KEY).await? {
        return Ok(Pseudonyms::of_key(&key));
    }
    let key = Pseudonyms::new_key().map_err(|error| sqlx::Error::Configuration(error.into()))?;
    meta::set(work, KEY, &key).await?;
    Ok(Pseudonyms::of_key(&key))
}
