//! Statements over many rows at a time: a trip to SQLite's thread costs more than a row.

use std::borrow::Cow;
use std::sync::OnceLock;

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Sqlite, SqliteConnection};

/// Rows of one statement, largest first: a few sizes, so that all of them stay prepared.
const SIZES: [usize; 4] = [64, 16, 4, 1];

pub(super) type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;

/// `head VALUES (?, ...), (?, ...) tail`.
pub(super) struct Bulk {
    head: Cow<'static, str>,
    columns: usize,
    tail: &'static str,
    texts: [OnceLock<String>; SIZES.len()],
}

impl Bulk {
    pub(super) const fn new(head: Cow<'static, str>, columns: usize, tail: &'static str) -> Self {
        Self {
            head,
            columns,
            tail,
            texts: [const { OnceLock::new() }; SIZES.len()],
        }
    }

    /// Gives how many rows were written. `bind` binds all columns of one row.
    pub(super) async fn run<T>(
        &'static self,
        connection: &mut SqliteConnection,
        mut rows: &[T],
        bind: impl for<'q> Fn(Statement<'q>, &T) -> Statement<'q>,
    ) -> sqlx::Result<u64> {
        let mut written = 0;
        for (text, size) in self.texts.iter().zip(SIZES) {
            while let Some((chunk, rest)) = rows.split_at_checked(size) {
                let sql = text.get_or_init(|| self.sql(size));
                let statement = chunk.iter().fold(sqlx::query(sql.as_str()), &bind);
                written += statement.execute(&mut *connection).await?.rows_affected();
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
