//! Prunes old data: first addresses are removed, then persons become pseudonyms, and finally rows and sums are deleted,
//! and the oldest audit events. Each step handles a thousand rows or one day of sums in a transaction of its own, so
//! that nothing waits long for a lock.

use ostia_core::{Retention, StoreError};
use sqlx::Row as _;

use super::engine::Stamp;
use super::rows::calendar;
use super::work::Work;
use super::{blocks, meta};
use crate::block::Block;
use crate::calendar::Calendar;
use crate::columns::stamp;
use crate::levels::{Grain, LEVELS};
use crate::pseudonym::Pseudonyms;

/// Rows per step.
const STEP: i64 = 1_000;
/// The names under which the progress of each kind of step is stored.
const ADDRESSES: &str = "pruned.addresses";
const PERSONS: &str = "pruned.persons";
const DAYS: &str = "pruned.days";
const MONTHS: &str = "pruned.months";
/// Levels of `usage_sums`.
const FORMER: [(i64, Grain); 6] = [
    (1, Grain::Hour),
    (2, Grain::Day),
    (3, Grain::Day),
    (4, Grain::Day),
    (5, Grain::Month),
    (6, Grain::Month),
];
/// The key that pseudonyms are made with, so that a person has one over all months.
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
        // Nobody writes blocks meanwhile, so that all of a day are there to be renamed.
        meta::taken_zone(&mut work).await?;
        let calendar = &calendar(&mut work).await?;
        for (grain, name) in [(Grain::Day, DAYS), (Grain::Month, MONTHS)] {
            let end = grain.number(due.persons, calendar);
            if rename_in_sums(&mut work, grain, name, end).await? {
                return Ok(true);
            }
        }
        for level in LEVELS {
            let end = level.block().number(due.sums, calendar);
            if blocks::delete_before(&mut work, level, end).await? {
                return Ok(true);
            }
        }
        delete_former_sums(&mut work, calendar, due.persons.max(due.sums)).await
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
    let select = "SELECT DISTINCT user_id, username, reported_user FROM ledger
        WHERE started_at >= $1 AND started_at < $2";
    let found = work
        .all(sqlx::query(select).bind(Stamp(from)).bind(Stamp(to)))
        .await?;
    let mut rows = 0;
    for person in found {
        let (id, name, other): (String, String, String) =
            (person.try_get(0)?, person.try_get(1)?, person.try_get(2)?);
        let names = [&other, &name, &id];
        let reported = names.into_iter().find(|name| !name.is_empty());
        let reported = reported.map_or("", String::as_str);
        let Some(pseudonym) = pseudonyms.of(reported) else {
            continue;
        };
        let update = "UPDATE ledger SET user_id = $1, username = '', reported_user = '', client_request_id = '',
                key_id = '', origin_ip = ''
            WHERE started_at >= $2 AND started_at < $3 AND user_id = $4 AND username = $5 AND reported_user = $6";
        let update = sqlx::query(update)
            .bind(pseudonym)
            .bind(Stamp(from))
            .bind(Stamp(to));
        rows += work.run(update.bind(id).bind(name).bind(other)).await?;
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
    let levels = LEVELS
        .into_iter()
        .filter(|level| level.block() == grain && level.has_persons());
    let levels: Vec<_> = levels.collect();
    let mut period = end;
    for level in &levels {
        let next = blocks::next(work, *level, position, end).await?;
        period = period.min(next.unwrap_or(end));
    }
    if period >= end {
        return Ok(false);
    }
    for level in levels {
        let pseudonyms = pseudonyms(work).await?;
        let change = move |block: Block| {
            let users = block.persons().len();
            (block.rename(level, true, |name| pseudonyms.of(name)), users)
        };
        let users = blocks::rewrite(work, level, period, change).await?;
        if grain == Grain::Month {
            note_users(work, period, users).await?;
        }
    }
    meta::set(work, name, &(period + 1).to_string()).await?;
    Ok(true)
}

async fn note_users(work: &mut Work, month: i64, users: usize) -> sqlx::Result<()> {
    let note =
        "INSERT INTO usage_users (month, users) VALUES ($1, $2) ON CONFLICT (month) DO NOTHING";
    let users = i64::try_from(users).unwrap_or(i64::MAX);
    let note = sqlx::query(note).bind(month).bind(users);
    work.run(note).await.map(drop)
}

/// What the release before this one keeps and reads: it goes once persons would. `true`: there may be more.
async fn delete_former_sums(
    work: &mut Work,
    calendar: &Calendar,
    before: i64,
) -> sqlx::Result<bool> {
    for (level, grain) in FORMER {
        let delete = "DELETE FROM usage_sums WHERE level = $1 AND period =
            (SELECT min(period) FROM usage_sums WHERE level = $1 AND period < $2)";
        let delete = sqlx::query(delete)
            .bind(level)
            .bind(grain.number(before, calendar));
        if work.run(delete).await? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn pseudonyms(work: &mut Work) -> sqlx::Result<Pseudonyms> {
    if let Some(key) = meta::value(work, KEY).await? {
        return Ok(Pseudonyms::of_key(&key));
    }
    let key = Pseudonyms::new_key().map_err(|error| sqlx::Error::Configuration(error.into()))?;
    meta::set(work, KEY, &key).await?;
    Ok(Pseudonyms::of_key(&key))
}
