//! Leases on endpoints, by the database's own clock.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ostia_core::{Holding, Lease, LeaseHeld, LeaseState, StoreError};
use sqlx::Row as _;

use super::engine::{ALONE, NOW, Row};
use super::work::Work;

const COLUMNS: &str = "id, slug, url, addresses, key_id, state, sequence, ttl, expires_at, drains_at, starts_at, max_in_flight, \
                       used_until";

pub(super) async fn all(mut work: Work) -> Result<Vec<Lease>, StoreError> {
    let done = async {
        let now = now(&mut work).await?;
        let select =
            format!("SELECT {COLUMNS} FROM leases WHERE expires_at > $1 ORDER BY slug, id");
        let rows = work.all(sqlx::query(sqlx::AssertSqlSafe(select)).bind(now));
        let rows = rows.await?;
        rows.iter().map(|row| lease_of(row, now)).collect()
    };
    let done = done.await;
    work.end(done).await
}

pub(super) async fn hold(mut work: Work, holding: &Holding) -> Result<LeaseHeld, StoreError> {
    let done = hold_in(&mut work, holding).await;
    work.end(done).await
}

async fn hold_in(work: &mut Work, holding: &Holding) -> sqlx::Result<LeaseHeld> {
    let now = now(work).await?;
    let over = "DELETE FROM leases WHERE expires_at <= $1";
    work.run(sqlx::query(over).bind(now)).await?;
    if let Some(id) = &holding.id {
        return match one(work, id, now).await? {
            Some(known) => renew(work, holding, known, now).await,
            None => Ok(LeaseHeld::Gone),
        };
    }
    let Some((url, _)) = &holding.url else {
        return Ok(LeaseHeld::Gone);
    };
    let of_url = format!(
        "SELECT {COLUMNS} FROM leases WHERE slug = $1 AND url = $2 AND expires_at > $3{ALONE}"
    );
    let of_url = sqlx::query(sqlx::AssertSqlSafe(of_url));
    let known = work.one(of_url.bind(&holding.slug).bind(url).bind(now));
    match known.await?.map(|row| lease_of(&row, now)).transpose()? {
        Some(known) if *known.key_id != *holding.key_id => return Ok(LeaseHeld::Taken),
        // The next job runs on the same node.
        Some(known) if known.state == LeaseState::Draining => delete(work, &known.id).await?,
        Some(known) => return renew(work, holding, known, now).await,
        None => {}
    }
    let count = "SELECT count(*) FROM leases WHERE slug = $1 AND expires_at > $2";
    let count = work.one(sqlx::query(count).bind(&holding.slug).bind(now));
    let count: i64 = count.await?.map_or(Ok(0), |row| row.try_get(0))?;
    if count >= holding.most {
        return Ok(LeaseHeld::TooMany);
    }
    begin(work, holding, now).await
}

/// If another call for the same URL was faster, the caller is told to try again.
async fn begin(work: &mut Work, holding: &Holding, now: i64) -> sqlx::Result<LeaseHeld> {
    let insert = format!(
        "INSERT INTO leases ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0) ON CONFLICT DO NOTHING"
    );
    let (url, addresses) = holding.url.clone().unwrap_or_default();
    let insert = sqlx::query(sqlx::AssertSqlSafe(insert))
        .bind(&holding.new_id)
        .bind(&holding.slug)
        .bind(url)
        .bind(joined(&addresses))
        .bind(&holding.key_id)
        .bind(holding.state.as_str())
        .bind(holding.sequence.unwrap_or(1))
        .bind(micros(holding.ttl))
        .bind(after(now, holding.ttl))
        .bind(holding.until.map(|until| after(now, until)))
        .bind(holding.starts_in.map(|start| after(now, start)))
        .bind(i64::from(holding.max_in_flight));
    work.run(insert).await?;
    let lease = one(work, &holding.new_id, now).await?;
    Ok(lease.map_or(LeaseHeld::Gone, |lease| LeaseHeld::Yes { lease, new: true }))
}

/// A lease that drains keeps draining, whatever its holder says.
async fn renew(
    work: &mut Work,
    holding: &Holding,
    known: Lease,
    now: i64,
) -> sqlx::Result<LeaseHeld> {
    let is_other = |url: &(String, Vec<IpAddr>)| *url.0 != *known.url;
    if *known.slug != *holding.slug
        || *known.key_id != *holding.key_id
        || holding.url.as_ref().is_some_and(is_other)
    {
        return Ok(LeaseHeld::Gone);
    }
    let sequence = holding.sequence.unwrap_or(known.sequence.saturating_add(1));
    if sequence <= known.sequence {
        return Ok(LeaseHeld::Stale(known.sequence));
    }
    let state = match known.state {
        LeaseState::Draining => LeaseState::Draining,
        _ => holding.state,
    };
    let update = "UPDATE leases SET state = $1, sequence = $2, ttl = $3, expires_at = $4, drains_at = $5, starts_at = $6, \
                  max_in_flight = $7 WHERE id = $8";
    let update = sqlx::query(update)
        .bind(state.as_str())
        .bind(sequence)
        .bind(micros(holding.ttl))
        .bind(after(now, holding.ttl))
        .bind(holding.until.map(|until| after(now, until)))
        .bind(holding.starts_in.map(|start| after(now, start)))
        .bind(i64::from(holding.max_in_flight))
        .bind(known.id.to_string());
    work.run(update).await?;
    let lease = one(work, &known.id, now).await?;
    Ok(lease.map_or(LeaseHeld::Gone, |lease| LeaseHeld::Yes {
        lease,
        new: false,
    }))
}

pub(super) async fn give_back(
    mut work: Work,
    id: &str,
    slug: &str,
    key_id: &str,
) -> Result<bool, StoreError> {
    let delete = "DELETE FROM leases WHERE id = $1 AND slug = $2 AND key_id = $3";
    let delete = sqlx::query(delete).bind(id).bind(slug).bind(key_id);
    let done = work.run(delete).await;
    work.end(done).await.map(|gone| gone > 0)
}

pub(super) async fn used(
    mut work: Work,
    ids: &[Arc<str>],
    believed: Duration,
) -> Result<(), StoreError> {
    let done = async {
        let until = after(now(&mut work).await?, believed);
        for id in ids {
            let update = "UPDATE leases SET used_until = $1 WHERE id = $2 AND used_until < $1";
            work.run(sqlx::query(update).bind(until).bind(id.to_string()))
                .await?;
        }
        Ok(())
    };
    let done = done.await;
    work.end(done).await
}

async fn one(work: &mut Work, id: &str, now: i64) -> sqlx::Result<Option<Lease>> {
    let select = format!("SELECT {COLUMNS} FROM leases WHERE id = $1 AND expires_at > $2{ALONE}");
    let select = sqlx::query(sqlx::AssertSqlSafe(select));
    let row = work.one(select.bind(id.to_owned()).bind(now)).await?;
    row.map(|row| lease_of(&row, now)).transpose()
}

async fn delete(work: &mut Work, id: &str) -> sqlx::Result<()> {
    let delete = sqlx::query("DELETE FROM leases WHERE id = $1");
    work.run(delete.bind(id.to_owned())).await.map(drop)
}

async fn now(work: &mut Work) -> sqlx::Result<i64> {
    let select = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT {NOW}")));
    work.one(select)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?
        .try_get(0)
}

fn lease_of(row: &Row, now: i64) -> sqlx::Result<Lease> {
    let text = |at: usize| row.try_get::<String, _>(at);
    let number = |at: usize| row.try_get::<i64, _>(at);
    let moment = |at: usize| row.try_get::<Option<i64>, _>(at);
    let left = |at: i64| Duration::from_micros(u64::try_from(at - now).unwrap_or(0));
    let addresses = text(3)?;
    let addresses = addresses.split(',').filter_map(|text| text.parse().ok());
    let ttl = Duration::from_micros(u64::try_from(number(7)?).unwrap_or(0));
    Ok(Lease {
        id: text(0)?.into(),
        slug: text(1)?.into(),
        url: text(2)?.into(),
        addresses: addresses.collect(),
        key_id: text(4)?.into(),
        // A state that another version wrote takes no new requests here.
        state: LeaseState::of_word(&text(5)?).unwrap_or(LeaseState::Draining),
        sequence: number(6)?,
        ttl,
        left: left(number(8)?).min(ttl),
        until: moment(9)?.map(left),
        starts_in: moment(10)?.map(left),
        max_in_flight: u32::try_from(number(11)?).unwrap_or(u32::MAX),
        in_use: number(12)? > now,
    })
}

fn joined(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(",")
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn after(now: i64, time: Duration) -> i64 {
    now.saturating_add(micros(time))
}
