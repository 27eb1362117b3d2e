//! Reads and writes whole tables, whatever tables the schema has.

use ostia_core::{BoxFuture, StoreError};
use sqlx::{AssertSqlSafe, Row as _};

use super::bulk::Bulk;
use super::engine::{Id, Query, Row, Stamp, TABLES, kind_of};
use super::failure::failed;
use super::work::Work;
use crate::cell::{Cell, Kind};
use crate::copy::{Record, Side, Table};

/// One transaction, which sees the database as it was at its beginning.
pub(super) struct Dump(pub(super) Work);

impl Side for Dump {
    fn tables(&mut self) -> BoxFuture<'_, Result<Vec<Table>, StoreError>> {
        Box::pin(async move { tables(&mut self.0).await.map_err(failed) })
    }

    fn page<'a>(
        &'a mut self,
        table: &'a Table,
        after: Option<&'a Record>,
    ) -> BoxFuture<'a, Result<Vec<Record>, StoreError>> {
        Box::pin(async move { page(&mut self.0, table, after).await.map_err(failed) })
    }

    fn fill<'a>(
        &'a mut self,
        table: &'a Table,
        rows: &'a [Record],
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            let bulk = Bulk::new(&table.name, table.columns.clone(), table.conflict());
            let done = bulk.run(&mut self.0, rows, |row| row.iter().cloned()).await;
            done.map_err(failed)
        })
    }

    fn count<'a>(&'a mut self, table: &'a Table) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            let sql = format!("SELECT count(*) FROM \"{}\"", table.name);
            let found = self
                .0
                .one(sqlx::query(AssertSqlSafe(sql)))
                .await
                .map_err(failed)?;
            let count: i64 = found.map_or(Ok(0), |row| row.try_get(0)).map_err(failed)?;
            Ok(count.unsigned_abs())
        })
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(self.0.end(Ok(())))
    }
}

async fn tables(work: &mut Work) -> sqlx::Result<Vec<Table>> {
    let mut tables: Vec<Table> = Vec::new();
    for row in work.all(sqlx::query(TABLES)).await? {
        let (table, column, kind): (String, String, String) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let in_key: i64 = row.try_get(3)?;
        if tables.last().is_none_or(|last| last.name != table) {
            tables.push(Table::named(table));
        }
        if let Some(table) = tables.last_mut() {
            if in_key > 0 {
                table.key.push(table.columns.len());
            }
            table.columns.push((column, kind_of(&kind)));
        }
    }
    Ok(tables)
}

async fn page(work: &mut Work, table: &Table, after: Option<&Record>) -> sqlx::Result<Vec<Record>> {
    let sql = table.select(after.is_some());
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for cell in after
        .into_iter()
        .flat_map(|row| table.key.iter().filter_map(|&at| row.get(at)))
    {
        query = bind(query, cell);
    }
    let rows = work.all(query).await?;
    rows.iter().map(|row| record(row, table)).collect()
}

fn record(row: &Row, table: &Table) -> sqlx::Result<Record> {
    let cells = table.columns.iter().enumerate();
    let cells = cells.map(|(at, (_, kind))| {
        let cell = match kind {
            Kind::Text => row
                .try_get::<Option<String>, _>(at)?
                .map(|text| Cell::Text(text.into())),
            Kind::Number => row.try_get::<Option<i64>, _>(at)?.map(Cell::Number),
            Kind::Flag => row.try_get::<Option<bool>, _>(at)?.map(Cell::Flag),
            Kind::Blob => row
                .try_get::<Option<Vec<u8>>, _>(at)?
                .map(|bytes| Cell::Blob(bytes.into())),
            Kind::Id => row.try_get::<Option<Id>, _>(at)?.map(|id| Cell::Id(id.0)),
            Kind::Stamp => row
                .try_get::<Option<Stamp>, _>(at)?
                .map(|stamp| Cell::Stamp(stamp.0)),
        };
        Ok(cell.unwrap_or(Cell::Absent))
    });
    cells.collect()
}

fn bind<'q>(query: Query<'q>, cell: &Cell<'_>) -> Query<'q> {
    match cell {
        Cell::Text(text) => query.bind(text.clone().into_owned()),
        Cell::Number(number) => query.bind(*number),
        Cell::Flag(flag) => query.bind(*flag),
        Cell::Blob(bytes) => query.bind(bytes.clone().into_owned()),
        Cell::Id(id) => query.bind(Id(*id)),
        Cell::Stamp(micros) => query.bind(Stamp(*micros)),
        Cell::Absent => query.bind(None::<i64>),
    }
}
