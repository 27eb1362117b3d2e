//! The roll-up: blocks of sums, added with each batch of rows, and made fewer later.
//!
//! Every batch adds one block to each level. Sixteen of a tier become one of the next, and what is over becomes one block, so
//! that a row's sums are written a handful of times and a day is read as a few values. A day whose blocks lack rows is
//! *stale* until they are made anew from the ledger: after an upgrade, and while a replica of the release before this one
//! still writes. Reports read a stale day from the ledger itself.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use ostia_core::StoreError;
use sqlx::{AssertSqlSafe, Row as _};

use super::bulk::Bulk;
use super::engine::{Query, Row, SKIPPING, Stamp, summed};
use super::meta;
use super::rows::calendar;
use super::work::{Work, aside};
use crate::block::{Block, Builder, Damaged, Sums};
use crate::calendar::{Calendar, first_day, month_of_day};
use crate::cell::{Cell, Kind};
use crate::columns::HOUR_MICROS;
use crate::levels::{DIMENSIONS, FINEST, Grain, LEVELS, Level};
use crate::tally::of_day;

/// So many blocks of a tier become one of the next.
const FULL: i64 = 16;
/// The tier of blocks that have everything of their day or month.
const WHOLE: i64 = 100;
/// Where it is noted which days' sums are deleted: those before this one.
const DELETED: &str = "pruned.sums";
/// What one transaction gathers.
const STEP: i64 = 8;

/// Where a block is kept.
#[derive(Debug, Clone, Copy)]
struct Place {
    level: i64,
    period: i64,
    tier: i64,
}

static ADD: LazyLock<Bulk> = LazyLock::new(|| {
    let numbers = ["level", "period", "tier", "id"].map(|name| (name.to_owned(), Kind::Number));
    let block = ("block".to_owned(), Kind::Blob);
    Bulk::new(
        "usage_blocks",
        numbers.into_iter().chain([block]).collect(),
        "",
    )
});

/// What a batch of rows adds.
pub(super) async fn add(work: &mut Work, blocks: &[(Level, i64, Block)]) -> sqlx::Result<()> {
    let places = blocks.iter().map(|(level, period, block)| {
        let (level, period, tier) = (level.number, *period, 0);
        (
            Place {
                level,
                period,
                tier,
            },
            block.to_bytes(),
        )
    });
    put(work, &places.collect::<Vec<_>>()).await
}

async fn put(work: &mut Work, blocks: &[(Place, Vec<u8>)]) -> sqlx::Result<()> {
    let mut rows = Vec::with_capacity(blocks.len());
    for (place, bytes) in blocks {
        rows.push((place, new_id()?, bytes));
    }
    let added = ADD.run(work, &rows, |(place, id, bytes)| {
        let numbers = [place.level, place.period, place.tier, *id].into_iter();
        numbers
            .map(Cell::Number)
            .chain([Cell::Blob(bytes.as_slice().into())])
    });
    added.await.map(drop)
}

/// Blocks that nobody else has at the same place.
fn new_id() -> sqlx::Result<i64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| sqlx::Error::Configuration(error.into()))?;
    Ok(i64::from_le_bytes(bytes) & i64::MAX)
}

/// Makes fewer blocks of many. `true`: there may be more to do.
pub(super) async fn gather(mut work: Work) -> Result<bool, StoreError> {
    let done = async {
        meta::held_zone(&mut work).await?;
        let mut places = crowded(&mut work).await?;
        if let Some(newest) = newest(&mut work).await? {
            places.extend(loose(&mut work, newest).await?);
        }
        for place in &places {
            gather_at(&mut work, *place).await?;
        }
        Ok(!places.is_empty())
    };
    let done = done.await;
    work.end(done).await
}

/// Makes the oldest stale day anew, apart from the newest, which is still written to. `true`: there may be another.
pub(super) async fn refill(mut work: Work, newest_too: bool) -> Result<bool, StoreError> {
    let done = async {
        let oldest = work
            .one(sqlx::query("SELECT min(day) FROM usage_stale"))
            .await?;
        let Some(day) = number(oldest)? else {
            return Ok(false);
        };
        if !newest_too && newest(&mut work).await?.is_none_or(|newest| day >= newest) {
            return Ok(false);
        }
        // Nobody writes rows until it is done.
        meta::taken_zone(&mut work).await?;
        let mut calendar = calendar(&mut work).await?;
        fill_day(&mut work, day, &mut calendar).await?;
        Ok(true)
    };
    let done = done.await;
    work.end(done).await
}

pub(super) async fn stale(work: &mut Work) -> sqlx::Result<BTreeSet<i64>> {
    let found = work.all(sqlx::query("SELECT day FROM usage_stale")).await?;
    found.iter().map(|row| row.try_get(0)).collect()
}

/// Empties the roll-up, to be made anew in another time zone.
pub(super) async fn restart(mut work: Work, zone: &str) -> Result<(), StoreError> {
    let mut calendar =
        Calendar::of(zone).ok_or_else(|| StoreError::Broken(format!("no time zone {zone}")))?;
    let done = async {
        meta::taken_zone(&mut work).await?;
        meta::set_zone(&mut work, zone).await?;
        for sql in [
            "DELETE FROM usage_sums",
            "DELETE FROM usage_blocks",
            "DELETE FROM usage_stale",
        ] {
            work.run(sqlx::query(sql)).await?;
        }
        let mut from = 0;
        loop {
            let next = "SELECT min(started_at) FROM ledger WHERE started_at >= $1";
            let next = work.one(sqlx::query(next).bind(Stamp(from))).await?;
            let next = next.map_or(Ok(None), |row| row.try_get::<Option<Stamp>, _>(0))?;
            let Some(Stamp(moment)) = next else {
                return Ok(());
            };
            let day = calendar.day(moment);
            let note = sqlx::query("INSERT INTO usage_stale (day) VALUES ($1)").bind(day);
            work.run(note).await?;
            from = calendar.first_of_day(day + 1);
        }
    };
    let done = done.await;
    work.end(done).await
}

/// `false`: the roll-up is kept in another zone, and has sums.
pub(super) async fn keep_in(mut work: Work, zone: &str) -> Result<bool, StoreError> {
    let done = async {
        if meta::taken_zone(&mut work).await? == zone {
            return Ok(true);
        }
        let some = "SELECT 1 FROM usage_blocks UNION ALL SELECT 1 FROM usage_stale LIMIT 1";
        if work.one(sqlx::query(some)).await?.is_some() {
            return Ok(false);
        }
        meta::set_zone(&mut work, zone).await?;
        Ok(true)
    };
    let done = done.await;
    work.end(done).await
}

pub(super) async fn is_kept_in(mut work: Work, zone: &str) -> Result<bool, StoreError> {
    let found = meta::zone(&mut work).await;
    Ok(work.end(found).await? == zone)
}

/// Everything of a day or month as one block. Whoever wrote it since then has blocks beside it.
pub(super) async fn rewrite<T, F>(
    work: &mut Work,
    level: Level,
    period: i64,
    change: F,
) -> sqlx::Result<T>
where
    T: Send + 'static,
    F: FnOnce(Block) -> (Block, T) + Send + 'static,
{
    let place = Place {
        level: level.number,
        period,
        tier: WHOLE,
    };
    let found = take(work, place).await?;
    let changed = aside(move || {
        let (block, told) = change(sum(&found, level)?);
        Ok(((!block.is_empty()).then(|| block.to_bytes()), told))
    });
    let (bytes, told) = changed.await?;
    if let Some(bytes) = bytes {
        put(work, &[(place, bytes)]).await?;
    }
    Ok(told)
}

/// The first day or month from a position on that a level has.
pub(super) async fn next(
    work: &mut Work,
    level: Level,
    from: i64,
    to: i64,
) -> sqlx::Result<Option<i64>> {
    let least =
        "SELECT min(period) FROM usage_blocks WHERE level = $1 AND period >= $2 AND period < $3";
    let least = sqlx::query(least).bind(level.number).bind(from).bind(to);
    number(work.one(least).await?)
}

/// `true`: there may be more.
pub(super) async fn delete_before(work: &mut Work, level: Level, end: i64) -> sqlx::Result<bool> {
    let delete = "DELETE FROM usage_blocks WHERE level = $1 AND period =
        (SELECT min(period) FROM usage_blocks WHERE level = $1 AND period < $2)";
    let delete = sqlx::query(delete).bind(level.number).bind(end);
    let is_deleted = work.run(delete).await? > 0;
    if is_deleted && level.block() == Grain::Day {
        let before = meta::position(work, DELETED).await?;
        meta::set(work, DELETED, &end.max(before).to_string()).await?;
    }
    Ok(is_deleted)
}

/// Gives a person another name in all blocks.
pub(super) async fn rename_everywhere(
    work: &mut Work,
    names: &[String],
    pseudonym: &str,
) -> sqlx::Result<()> {
    meta::taken_zone(work).await?;
    for level in LEVELS.into_iter().filter(|level| level.has_persons()) {
        let mut from = 0;
        while let Some(period) = next(work, level, from, i64::MAX).await? {
            from = period + 1;
            if !has_one_of(work, level, period, names).await? {
                continue;
            }
            let (names, pseudonym) = (names.to_vec(), pseudonym.to_owned());
            let change = move |block: Block| {
                let renamed = |name: &str| {
                    names
                        .iter()
                        .any(|old| old == name)
                        .then(|| pseudonym.clone())
                };
                (block.rename(level, false, renamed), ())
            };
            rewrite(work, level, period, change).await?;
        }
    }
    Ok(())
}

async fn has_one_of(
    work: &mut Work,
    level: Level,
    period: i64,
    names: &[String],
) -> sqlx::Result<bool> {
    let select = "SELECT block FROM usage_blocks WHERE level = $1 AND period = $2";
    let found = work
        .all(sqlx::query(select).bind(level.number).bind(period))
        .await?;
    let names = names.to_vec();
    aside(move || {
        for row in &found {
            let block = crate::block::View::of(row.try_get(0)?).map_err(damaged)?;
            let [persons, ..] = &block.names;
            if persons
                .iter()
                .any(|person| names.iter().any(|name| name == person))
            {
                return Ok(true);
            }
        }
        Ok(false)
    })
    .await
}

const CROWDED: &str =
    "SELECT level, period, tier FROM usage_blocks WHERE tier < $1 GROUP BY level, period, tier
    HAVING count(*) >= $2 LIMIT $3";

async fn crowded(work: &mut Work) -> sqlx::Result<Vec<Place>> {
    let found = sqlx::query(CROWDED).bind(WHOLE).bind(FULL).bind(STEP);
    let found = work.all(found).await?;
    let place = |row: &Row| {
        Ok(Place {
            level: row.try_get(0)?,
            period: row.try_get(1)?,
            tier: row.try_get(2)?,
        })
    };
    found.iter().map(place).collect()
}

/// Streams that began the day before still end: only what is older is over.
const LOOSE: &str = "SELECT level, period FROM usage_blocks WHERE (level = $1 AND period < $2) OR (level <> $1 AND period < $3)
    GROUP BY level, period HAVING count(*) > 1 LIMIT 1";

async fn loose(work: &mut Work, newest: i64) -> sqlx::Result<Option<Place>> {
    let months = LEVELS
        .into_iter()
        .find(|level| level.block() == Grain::Month);
    let found = sqlx::query(LOOSE)
        .bind(months.map_or(0, |level| level.number))
        .bind(month_of_day(newest - 1))
        .bind(newest - 1);
    let found = work.one(found).await?;
    let place = |row: Row| {
        Ok(Place {
            level: row.try_get(0)?,
            period: row.try_get(1)?,
            tier: WHOLE,
        })
    };
    found.map(place).transpose()
}

/// The last day that was written to.
async fn newest(work: &mut Work) -> sqlx::Result<Option<i64>> {
    let newest = "SELECT max(period) FROM usage_blocks WHERE level = $1";
    let blocks = number(work.one(sqlx::query(newest).bind(FINEST.number)).await?)?;
    let stale = number(
        work.one(sqlx::query("SELECT max(day) FROM usage_stale"))
            .await?,
    )?;
    Ok(blocks.max(stale))
}

async fn gather_at(work: &mut Work, place: Place) -> sqlx::Result<()> {
    let Some(level) = LEVELS.into_iter().find(|level| level.number == place.level) else {
        return Ok(());
    };
    let found = take(work, place).await?;
    if found.is_empty() {
        return Ok(());
    }
    let bytes = aside(move || Ok(sum(&found, level)?.to_bytes())).await?;
    let tier = (place.tier + 1).min(WHOLE);
    put(work, &[(Place { tier, ..place }, bytes)]).await
}

/// Removes the blocks up to a tier, and gives them. Another replica that takes them has them.
async fn take(work: &mut Work, place: Place) -> sqlx::Result<Vec<Row>> {
    let sql = format!(
        "DELETE FROM usage_blocks WHERE (level, period, tier, id) IN
            (SELECT level, period, tier, id FROM usage_blocks WHERE level = $1 AND period = $2 AND tier <= $3{SKIPPING})
        RETURNING block"
    );
    let query: Query<'_> = sqlx::query(AssertSqlSafe(sql));
    work.all(query.bind(place.level).bind(place.period).bind(place.tier))
        .await
}

fn sum(rows: &[Row], level: Level) -> sqlx::Result<Block> {
    let mut builder = Builder::default();
    for row in rows {
        let block = Block::from_bytes(row.try_get(0)?).map_err(damaged)?;
        builder.add_block(&block, level);
    }
    Ok(builder.build())
}

pub(super) fn damaged(error: Damaged) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

async fn fill_day(work: &mut Work, day: i64, calendar: &mut Calendar) -> sqlx::Result<()> {
    let delete = "DELETE FROM usage_blocks WHERE level = $1 AND period = $2";
    let deleted_until = meta::position(work, DELETED).await?;
    let month = month_of_day(day);
    let is_cut = first_day(month) < deleted_until;
    let before = match is_cut {
        true => Some(held(work, FINEST, day).await?),
        false => None,
    };
    let has_sums = before.as_ref().is_some_and(|before| !before.is_empty());
    if day < deleted_until || (day == deleted_until && has_sums) {
        // Its rows are gone, or some of them: what was summed is all there is.
        let forget = sqlx::query("DELETE FROM usage_stale WHERE day = $1").bind(day);
        return work.run(forget).await.map(drop);
    }
    for level in LEVELS
        .into_iter()
        .filter(|level| level.block() == Grain::Day)
    {
        let delete = sqlx::query(delete).bind(level.number).bind(day);
        work.run(delete).await?;
    }
    work.run(sqlx::query("DELETE FROM usage_stale WHERE day = $1").bind(day))
        .await?;
    let finest = day_of_rows(work, day, calendar).await?;
    let blocks = aside(move || {
        let changes = before.map(|before| month_changes(month, &finest, before));
        let days = of_day(day, finest).filter(|(level, ..)| level.block() == Grain::Day);
        let placed = days.map(|(level, period, block)| whole(level, period, &block));
        Ok(placed
            .chain(changes.into_iter().flatten())
            .collect::<Vec<_>>())
    });
    put(work, &blocks.await?).await?;
    if is_cut {
        return Ok(());
    }
    let (from, to) = (first_day(month), first_day(month + 1));
    let more = sqlx::query("SELECT 1 FROM usage_stale WHERE day >= $1 AND day < $2 LIMIT 1");
    if work.one(more.bind(from).bind(to)).await?.is_some() {
        return Ok(());
    }
    for level in LEVELS
        .into_iter()
        .filter(|level| level.block() == Grain::Month)
    {
        let delete = sqlx::query(delete).bind(level.number).bind(month);
        work.run(delete).await?;
        fill_month(work, level, month).await?;
    }
    Ok(())
}

/// For a month of which some days are deleted: it keeps what it has of these, so only the difference is added to it.
fn month_changes(month: i64, now: &Block, before: Block) -> Vec<(Place, Vec<u8>)> {
    let before = before.negated();
    let months = LEVELS
        .into_iter()
        .filter(|level| level.block() == Grain::Month);
    months
        .map(|level| {
            let mut change = Builder::default();
            change.add_block(now, level);
            change.add_block(&before, level);
            whole(level, month, &change.build())
        })
        .collect()
}

fn whole(level: Level, period: i64, block: &Block) -> (Place, Vec<u8>) {
    let place = Place {
        level: level.number,
        period,
        tier: WHOLE,
    };
    (place, block.to_bytes())
}

/// All that a level has of a day or month.
async fn held(work: &mut Work, level: Level, period: i64) -> sqlx::Result<Block> {
    let select = sqlx::query("SELECT block FROM usage_blocks WHERE level = $1 AND period = $2");
    let found = work.all(select.bind(level.number).bind(period)).await?;
    aside(move || sum(&found, level)).await
}

/// What the ledger has of a day, hour by hour.
async fn day_of_rows(work: &mut Work, day: i64, calendar: &Calendar) -> sqlx::Result<Block> {
    let keys = DIMENSIONS.map(|(_, row)| row).join(", ");
    let sums = [
        "count",
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
    ]
    .map(summed)
    .join(", ");
    let sql = format!(
        "SELECT {keys}, {sums} FROM ledger WHERE started_at >= $1 AND started_at < $2 GROUP BY {keys}"
    );
    let (mut from, end) = (calendar.first_of_day(day), calendar.first_of_day(day + 1));
    let mut builder = Builder::default();
    while from < end {
        let hour = from.div_euclid(HOUR_MICROS);
        let to = ((hour + 1) * HOUR_MICROS).min(end);
        let query = sqlx::query(AssertSqlSafe(sql.as_str()));
        let found = work.all(query.bind(Stamp(from)).bind(Stamp(to))).await?;
        builder = aside(move || {
            for row in &found {
                add_row(&mut builder, row, hour)?;
            }
            Ok(builder)
        })
        .await?;
        from = to;
    }
    Ok(builder.build())
}

fn add_row(builder: &mut Builder, row: &Row, hour: i64) -> sqlx::Result<()> {
    let mut values = [""; DIMENSIONS.len()];
    for (at, value) in values.iter_mut().enumerate() {
        *value = row.try_get(at)?;
    }
    let sum = |at: usize| row.try_get::<i64, _>(DIMENSIONS.len() + at);
    let sums = Sums {
        requests: sum(0)?,
        prompt_tokens: sum(1)?,
        completion_tokens: sum(2)?,
        total_tokens: sum(3)?,
    };
    builder.add(values, hour, sums);
    Ok(())
}

/// A month's sums from those of its days.
async fn fill_month(work: &mut Work, level: Level, month: i64) -> sqlx::Result<()> {
    let mut builder = Builder::default();
    for day in first_day(month)..first_day(month + 1) {
        let of_day = held(work, FINEST, day).await?;
        builder = aside(move || {
            builder.add_block(&of_day, level);
            Ok(builder)
        })
        .await?;
    }
    let whole = aside(move || Ok(whole(level, month, &builder.build())));
    put(work, &[whole.await?]).await
}

fn number(found: Option<Row>) -> sqlx::Result<Option<i64>> {
    found.map_or(Ok(None), |row| row.try_get(0))
}
