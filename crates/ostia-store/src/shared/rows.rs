//! Writes rows to the ledger, and what they add to users and to the roll-up, in one transaction.

use std::collections::HashMap;
use std::sync::LazyLock;

use ostia_core::{
    Column, Kind as Held, LedgerRow, Outcome, Phase, RequestId, RowPlace, RowsQuery, StoreError,
    Value,
};
use sqlx::Row as _;

use super::bulk::Bulk;
use super::engine::{Id, Query, Row, Stamp, added};
use super::meta;
use super::work::Work;
use crate::calendar::Calendar;
use crate::cell::{Cell, Kind, ledger_cells, ledger_columns};
use crate::columns::stamp;
use crate::levels::DIMENSIONS;
use crate::tally::{Key, SUMS, Sums, Tally, sum_cells, sum_columns};

static INSERT: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "ledger",
        ledger_columns(),
        "ON CONFLICT (request_id) DO NOTHING",
    )
});

static ADD_SUMS: LazyLock<Bulk> = LazyLock::new(|| {
    let keys = DIMENSIONS.iter().map(|(_, column, _)| *column);
    let keys: Vec<_> = ["level", "period"].into_iter().chain(keys).collect();
    let sums: Vec<_> = SUMS.iter().map(|sum| added("usage_sums", sum)).collect();
    let (keys, sums) = (keys.join(", "), sums.join(", "));
    let tail = format!("ON CONFLICT ({keys}) DO UPDATE SET {sums}");
    Bulk::new("usage_sums", sum_columns(), tail)
});

static SEE_USER: LazyLock<Bulk> = LazyLock::new(|| {
    let texts = ["id", "username", "name", "idp"].map(|name| (name.to_owned(), Kind::Text));
    let seen = ("last_seen".to_owned(), Kind::Number);
    Bulk::new(
        "users",
        texts.into_iter().chain([seen]).collect(),
        "ON CONFLICT (id) DO UPDATE SET
            username = excluded.username, name = excluded.name, idp = excluded.idp, last_seen = excluded.last_seen
        WHERE excluded.last_seen >= users.last_seen",
    )
});

/// The usual case: none of the rows exists. Writes nothing and returns `None` if one exists, or if an id occurs twice.
pub(super) async fn insert_new(
    mut work: Work,
    rows: &[LedgerRow<'_>],
) -> Result<Option<u64>, StoreError> {
    let done = async {
        let inserted = INSERT.run(&mut work, rows, ledger_cells).await?;
        if inserted != rows.len() as u64 {
            return Err(sqlx::Error::RowNotFound);
        }
        let mut tally = Tally::new(calendar(&mut work).await?);
        rows.iter().for_each(|row| tally.add(row));
        record(&mut work, &tally).await?;
        Ok(inserted)
    };
    let done = done.await;
    if matches!(done, Err(sqlx::Error::RowNotFound)) {
        return work.undo().await.map(|()| None);
    }
    work.end(done).await.map(Some)
}

/// After a crash, a lost answer, or a journal that another replica carried: inserts row by row, to learn which ones are
/// new. A row that was made from a `started` record alone is replaced by the final one.
pub(super) async fn insert_some(mut work: Work, rows: &[LedgerRow<'_>]) -> Result<u64, StoreError> {
    let done = replace(&mut work, rows).await;
    work.end(done).await
}

async fn replace(work: &mut Work, rows: &[LedgerRow<'_>]) -> sqlx::Result<u64> {
    let mut wanted = HashMap::<RequestId, &LedgerRow<'_>>::new();
    for row in rows {
        let held = wanted.entry(row.request_id).or_insert(row);
        if is_bare(held) && !is_bare(row) {
            *held = row;
        }
    }
    let mut replaced = Vec::new();
    let mut ids: Vec<_> = wanted.keys().copied().collect();
    ids.sort_unstable_by_key(|id| *id.as_bytes());
    for id in ids {
        let select = sqlx::query("SELECT * FROM ledger WHERE request_id = $1").bind(Id(id));
        let Some(found) = work.one(select).await? else {
            continue;
        };
        let gives_way = is_bare(&ledger_row(&found)?) && !is_bare(wanted[&id]);
        if !gives_way {
            wanted.remove(&id);
            continue;
        }
        let delete = sqlx::query("DELETE FROM ledger WHERE request_id = $1").bind(Id(id));
        if work.run(delete).await? == 1 {
            replaced.push(found);
        }
    }
    let replaced: Vec<_> = replaced.iter().map(ledger_row).collect::<Result<_, _>>()?;
    let new: Vec<LedgerRow<'_>> = wanted.into_values().cloned().collect();
    if INSERT.run(work, &new, ledger_cells).await? != new.len() as u64 {
        // Somebody else inserted one of them meanwhile. The next attempt will find it.
        return Err(sqlx::Error::WorkerCrashed);
    }
    let mut tally = Tally::new(calendar(work).await?);
    new.iter().for_each(|row| tally.add(row));
    replaced.iter().for_each(|row| tally.take_back(row));
    record(work, &tally).await?;
    Ok(new.len() as u64 - replaced.len() as u64)
}

const EXPORT: &str = "
    SELECT * FROM ledger WHERE started_at >= $1 AND started_at < $2 AND (started_at, request_id) > ($3, $4)
    ORDER BY started_at, request_id LIMIT $5";

/// See [`ostia_core::Store::rows`].
pub(super) async fn export(
    mut work: Work,
    query: &RowsQuery,
    take: &mut (dyn FnMut(&LedgerRow<'_>) + Send),
) -> Result<Option<RowPlace>, StoreError> {
    let before_all = RowPlace {
        started_at: stamp(query.since),
        request_id: RequestId::from_bytes([0; 16]),
    };
    let after = query.after.unwrap_or(before_all);
    let select = sqlx::query(EXPORT)
        .bind(Stamp(stamp(query.since)))
        .bind(Stamp(query.until.map_or(i64::MAX, stamp)))
        .bind(Stamp(after.started_at))
        .bind(Id(after.request_id))
        .bind(i64::from(query.limit));
    let done = page(&mut work, select, query.limit, take).await;
    work.end(done).await
}

/// Passes each row that a statement finds to `take`. Returns the position of the last one if there may be more.
pub(super) async fn page(
    work: &mut Work,
    select: Query<'_>,
    limit: u32,
    take: &mut (dyn FnMut(&LedgerRow<'_>) + Send),
) -> sqlx::Result<Option<RowPlace>> {
    let found = work.all(select).await?;
    let mut last = None;
    for row in &found {
        let row = ledger_row(row)?;
        take(&row);
        last = Some(RowPlace {
            started_at: row.started_at,
            request_id: row.request_id,
        });
    }
    Ok(last.filter(|_| found.len() >= limit as usize))
}

/// The row as it follows from a `started` record alone: the request may have got further.
fn is_bare(row: &LedgerRow<'_>) -> bool {
    row.outcome == Outcome::Interrupted
        && row.phase == Phase::Connecting
        && row.upstream_status == 0
        && row.response_bytes == 0
}

pub(super) async fn calendar(work: &mut Work) -> sqlx::Result<Calendar> {
    let zone = meta::held_zone(work).await?;
    Calendar::of(&zone).ok_or_else(|| {
        let text = format!("the roll-up is kept in the time zone {zone}, which is unknown here");
        sqlx::Error::Configuration(text.into())
    })
}

async fn record(work: &mut Work, tally: &Tally<'_>) -> sqlx::Result<()> {
    let sums: Vec<(Key<'_>, Sums)> = tally.sums().into_iter().collect();
    ADD_SUMS.run(work, &sums, sum_cells).await?;
    let users: Vec<_> = tally.users.values().copied().collect();
    SEE_USER.run(work, &users, |row| user_cells(row)).await?;
    Ok(())
}

fn user_cells<'a>(row: &'a LedgerRow<'_>) -> impl Iterator<Item = Cell<'a>> + use<'a> {
    let texts = [&row.user_id, &row.username, &row.name, &row.idp];
    let texts = texts.map(|text| Cell::text(text));
    texts
        .into_iter()
        .chain([Cell::Number(stamp(row.started_at))])
}

/// Rebuilds a row as it was written.
pub(super) fn ledger_row(found: &Row) -> sqlx::Result<LedgerRow<'_>> {
    let mut row = LedgerRow::default();
    for column in Column::LEDGER {
        let name = column.name;
        let value = match column.kind {
            Held::Id => Value::Id(found.try_get::<Id, _>(name)?.0),
            Held::Text => Value::Text(found.try_get(name)?),
            Held::Stamp => Value::Stamp(found.try_get::<Stamp, _>(name)?.0),
            Held::Flag => Value::Flag(found.try_get(name)?),
            Held::Number => Value::Number(unsigned(found.try_get(name)?)),
            Held::MaybeNumber => {
                let number = found.try_get::<Option<i64>, _>(name)?;
                number.map_or(Value::Absent, |number| Value::Number(unsigned(number)))
            }
            Held::Word(words) => {
                let word: &str = found.try_get(name)?;
                let place = words.iter().position(|known| *known == word);
                place.map_or(Value::Absent, |place| Value::word(words, place))
            }
        };
        row.set(column.number, value);
    }
    Ok(row)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
