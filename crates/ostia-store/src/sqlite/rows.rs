//! Ledger rows into the ledger, and what they add to users and to the roll-up, in one transaction.

use std::borrow::Cow;
use std::sync::LazyLock;

use ostia_core::{Column, LedgerRow, Value};
use sqlx::{Connection, SqliteConnection};

use super::bulk::{Bulk, Statement};
use crate::columns::{count, stamp, text};
use crate::tally::{Key, Sums, Tally};

/// One column for each of the table in `ostia_core::ledger`.
static INSERT: LazyLock<Bulk> = LazyLock::new(|| {
    let names: Vec<_> = Column::LEDGER.iter().map(|column| column.name).collect();
    let head = format!("INSERT INTO ledger ({})", names.join(", "));
    Bulk::new(
        Cow::Owned(head),
        names.len(),
        "ON CONFLICT (request_id) DO NOTHING",
    )
});

static ADD_USAGE: Bulk = Bulk::new(
    Cow::Borrowed(
        "INSERT INTO usage_by_day (day, user, model, cluster, requests, ok, errors, refused, prompt_tokens, \
         completion_tokens, total_tokens)",
    ),
    11,
    "ON CONFLICT (day, user, model, cluster) DO UPDATE SET
        requests = min(requests + excluded.requests, 9223372036854775807),
        ok = min(ok + excluded.ok, 9223372036854775807),
        errors = min(errors + excluded.errors, 9223372036854775807),
        refused = min(refused + excluded.refused, 9223372036854775807),
        prompt_tokens = min(prompt_tokens + excluded.prompt_tokens, 9223372036854775807),
        completion_tokens = min(completion_tokens + excluded.completion_tokens, 9223372036854775807),
        total_tokens = min(total_tokens + excluded.total_tokens, 9223372036854775807)",
);

static SEE_USER: Bulk = Bulk::new(
    Cow::Borrowed("INSERT INTO users (id, username, name, idp, last_seen)"),
    5,
    "ON CONFLICT (id) DO UPDATE SET
        username = excluded.username, name = excluded.name, idp = excluded.idp, last_seen = excluded.last_seen
    WHERE excluded.last_seen >= last_seen",
);

/// Gives how many rows were new.
pub(super) async fn insert(
    writer: &mut SqliteConnection,
    rows: &[LedgerRow<'_>],
) -> sqlx::Result<u64> {
    if rows.is_empty() {
        return Ok(0);
    }
    if insert_new(writer, rows).await? {
        return Ok(rows.len() as u64);
    }
    insert_some(writer, rows).await
}

/// The usual case: no row is there yet. `false`: one is, or an id stands twice, and nothing was written.
async fn insert_new(writer: &mut SqliteConnection, rows: &[LedgerRow<'_>]) -> sqlx::Result<bool> {
    // The write lock first: a transaction that begins by reading may find that it can never write.
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    let inserted = INSERT.run(&mut transaction, rows, bind_row).await?;
    if inserted != rows.len() as u64 {
        transaction.rollback().await?;
        return Ok(false);
    }
    let mut tally = Tally::default();
    rows.iter().for_each(|row| tally.add(row));
    record(&mut transaction, &tally).await?;
    transaction.commit().await?;
    Ok(true)
}

/// After a crash or a lost answer: row by row, to learn which ones count.
async fn insert_some(writer: &mut SqliteConnection, rows: &[LedgerRow<'_>]) -> sqlx::Result<u64> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    let mut tally = Tally::default();
    let mut new = 0;
    for row in rows {
        let one = std::slice::from_ref(row);
        if INSERT.run(&mut transaction, one, bind_row).await? == 1 {
            tally.add(row);
            new += 1;
        }
    }
    record(&mut transaction, &tally).await?;
    transaction.commit().await?;
    Ok(new)
}

async fn record(connection: &mut SqliteConnection, tally: &Tally<'_>) -> sqlx::Result<()> {
    let sums: Vec<_> = tally.sums.iter().collect();
    ADD_USAGE.run(connection, &sums, bind_sums).await?;
    let users: Vec<_> = tally.users.values().copied().collect();
    SEE_USER.run(connection, &users, bind_user).await?;
    Ok(())
}

fn bind_sums<'q>(
    statement: Statement<'q>,
    &(&(day, user, model, cluster), sums): &(&Key<'_>, &Sums),
) -> Statement<'q> {
    statement
        .bind(day)
        .bind(text(user))
        .bind(text(model))
        .bind(text(cluster))
        .bind(sums.requests)
        .bind(sums.ok)
        .bind(sums.errors)
        .bind(sums.refused)
        .bind(sums.prompt_tokens)
        .bind(sums.completion_tokens)
        .bind(sums.total_tokens)
}

fn bind_user<'q>(statement: Statement<'q>, row: &&LedgerRow<'_>) -> Statement<'q> {
    statement
        .bind(text(&row.user_id))
        .bind(text(&row.username))
        .bind(text(&row.name))
        .bind(text(&row.idp))
        .bind(stamp(row.started_at))
}

/// In the order of `INSERT`.
fn bind_row<'q>(statement: Statement<'q>, row: &LedgerRow<'_>) -> Statement<'q> {
    let columns = Column::LEDGER.iter().zip(row.values());
    columns.fold(statement, |statement, (_, value)| match value {
        Value::Id(id) => statement.bind(id.to_string()),
        Value::Text(held) => statement.bind(text(held)),
        Value::Stamp(micros) => statement.bind(stamp(micros)),
        Value::Flag(flag) => statement.bind(flag),
        Value::Number(number) => statement.bind(count(number)),
        Value::Word { text, .. } => statement.bind(text),
        Value::Absent => statement.bind(None::<i64>),
    })
}
