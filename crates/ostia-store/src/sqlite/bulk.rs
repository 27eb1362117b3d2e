//! Statements over many rows at a time, because a round trip to SQLite's thread costs more than a row.

use std::sync::{Arc, OnceLock};

use sqlx::error::BoxDynError;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe};

use super::engine::{Id, Stamp};
use super::work::Work;
use crate::cell::{Cell, Kind};

/// Rows per statement, largest first. There are few sizes, so that all statements stay prepared.
const SIZES: [usize; 4] = [64, 16, 4, 1];

/// `INSERT INTO table (...) VALUES (?, ...), (?, ...) tail`.
pub(crate) struct Bulk {
    head: String,
    columns: usize,
    tail: String,
    texts: [OnceLock<Arc<str>>; SIZES.len()],
}

impl Bulk {
    pub(crate) fn new(table: &str, columns: Vec<(String, Kind)>, tail: impl Into<String>) -> Self {
        let names: Vec<_> = columns
            .iter()
            .map(|(name, _)| format!("\"{name}\""))
            .collect();
        Self {
            head: format!("INSERT INTO \"{table}\" ({})", names.join(", ")),
            columns: names.len(),
            tail: tail.into(),
            texts: [const { OnceLock::new() }; SIZES.len()],
        }
    }

    /// Returns how many rows were written. `cells` gives one value per column.
    pub(crate) async fn run<'a, T, C>(
        &self,
        work: &mut Work,
        mut rows: &'a [T],
        cells: impl Fn(&'a T) -> C,
    ) -> sqlx::Result<u64>
    where
        C: Iterator<Item = Cell<'a>>,
    {
        let mut written = 0;
        let mut latest = vec![Arc::default(); self.columns];
        for (text, size) in self.texts.iter().zip(SIZES) {
            while let Some((chunk, rest)) = rows.split_at_checked(size) {
                let sql = text.get_or_init(|| self.sql(size).into());
                let mut values = SqliteArguments::default();
                values.reserve(size * self.columns, 0);
                for row in chunk {
                    for (cell, latest) in cells(row).zip(&mut latest) {
                        add(&mut values, cell, latest).map_err(sqlx::Error::Encode)?;
                    }
                }
                let statement = sqlx::query_with(AssertSqlSafe(Arc::clone(sql)), values);
                written += work.run(statement).await?;
                rows = rest;
            }
        }
        Ok(written)
    }

    fn sql(&self, rows: usize) -> String {
        let marks = format!("({})", vec!["?"; self.columns].join(","));
        let values = vec![marks.as_str(); rows].join(",");
        format!("{} VALUES {values} {}", self.head, self.tail)
    }
}

/// Adds a value. `latest`: the text of the row before in the same column, which is often the same and then shared, as
/// SQLite's thread needs texts of its own.
fn add(
    values: &mut SqliteArguments,
    cell: Cell<'_>,
    latest: &mut Arc<str>,
) -> Result<(), BoxDynError> {
    match cell {
        Cell::Text(text) => {
            if **latest != *text {
                *latest = text.into();
            }
            values.add(Arc::clone(latest))
        }
        Cell::Number(number) => values.add(number),
        Cell::Flag(flag) => values.add(flag),
        Cell::Blob(bytes) => values.add(bytes.into_owned()),
        Cell::Id(id) => values.add(Id(id)),
        Cell::Stamp(micros) => values.add(Stamp(micros)),
        Cell::Absent => values.add(None::<i64>),
    }
}
