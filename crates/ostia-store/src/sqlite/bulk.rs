//! Statements over many rows at a time, because a round trip to SQLite's thread costs more than a row.

use std::sync::{Arc, OnceLock};

use sqlx::AssertSqlSafe;

use super::engine::{Id, Query, Stamp};
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
        for (text, size) in self.texts.iter().zip(SIZES) {
            while let Some((chunk, rest)) = rows.split_at_checked(size) {
                let sql = text.get_or_init(|| self.sql(size).into());
                let statement = sqlx::query(AssertSqlSafe(Arc::clone(sql)));
                let statement = chunk.iter().flat_map(&cells).fold(statement, bind);
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

fn bind<'q>(statement: Query<'q>, cell: Cell<'_>) -> Query<'q> {
    match cell {
        Cell::Text(text) => statement.bind(text.into_owned()),
        Cell::Number(number) => statement.bind(number),
        Cell::Flag(flag) => statement.bind(flag),
        Cell::Blob(bytes) => statement.bind(bytes.into_owned()),
        Cell::Id(id) => statement.bind(Id(id)),
        Cell::Stamp(micros) => statement.bind(Stamp(micros)),
        Cell::Absent => statement.bind(None::<i64>),
    }
}
