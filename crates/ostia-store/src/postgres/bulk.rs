//! Statements over many rows at a time, with one array per column.

use std::sync::Arc;

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::{AssertSqlSafe, Encode, Type};

use super::engine::{self, Database};
use super::work::Work;
use crate::cell::{Cell, Kind};

/// Limits the memory of one statement.
const MOST_ROWS: usize = 2_000;

/// `INSERT INTO table (...) SELECT * FROM unnest($1, ...) tail`.
pub(crate) struct Bulk {
    sql: Arc<str>,
    kinds: Vec<Kind>,
}

/// The values of one column, in PostgreSQL's binary form of an array.
struct Array {
    kind: Kind,
    values: Vec<u8>,
    count: i32,
    has_absent: bool,
}

impl Bulk {
    pub(crate) fn new(table: &str, columns: Vec<(String, Kind)>, tail: impl Into<String>) -> Self {
        let names: Vec<_> = columns
            .iter()
            .map(|(name, _)| format!("\"{name}\""))
            .collect();
        let marks: Vec<_> = (1..=columns.len()).map(|at| format!("${at}")).collect();
        let (names, marks, tail) = (names.join(", "), marks.join(", "), tail.into());
        Self {
            sql: format!("INSERT INTO \"{table}\" ({names}) SELECT * FROM unnest({marks}) {tail}")
                .into(),
            kinds: columns.into_iter().map(|(_, kind)| kind).collect(),
        }
    }

    /// Returns how many rows were written. `cells` gives one value per column.
    pub(crate) async fn run<'a, T, C>(
        &self,
        work: &mut Work,
        rows: &'a [T],
        cells: impl Fn(&'a T) -> C,
    ) -> sqlx::Result<u64>
    where
        C: Iterator<Item = Cell<'a>>,
    {
        let mut written = 0;
        for chunk in rows.chunks(MOST_ROWS) {
            let mut arrays: Vec<_> = self.kinds.iter().copied().map(Array::new).collect();
            for row in chunk {
                for (array, cell) in arrays.iter_mut().zip(cells(row)) {
                    array.push(&cell);
                }
            }
            let statement = sqlx::query(AssertSqlSafe(Arc::clone(&self.sql)));
            let statement = arrays
                .into_iter()
                .fold(statement, |statement, array| statement.bind(array));
            written += work.run(statement).await?;
        }
        Ok(written)
    }
}

impl Array {
    const fn new(kind: Kind) -> Self {
        Self {
            kind,
            values: Vec::new(),
            count: 0,
            has_absent: false,
        }
    }

    fn push(&mut self, cell: &Cell<'_>) {
        self.count += 1;
        match cell {
            Cell::Text(text) => self.put(text.as_bytes()),
            Cell::Blob(bytes) => self.put(bytes),
            Cell::Number(number) => self.put(&number.to_be_bytes()),
            Cell::Flag(flag) => self.put(&[u8::from(*flag)]),
            Cell::Id(id) => self.put(id.as_bytes()),
            Cell::Stamp(micros) => self.put(&engine::stamp_bytes(*micros)),
            Cell::Absent => {
                self.has_absent = true;
                self.values.extend_from_slice(&(-1_i32).to_be_bytes());
            }
        }
    }

    fn put(&mut self, value: &[u8]) {
        // The ledger's texts are limited far below this.
        let length = i32::try_from(value.len()).unwrap_or(i32::MAX);
        self.values.extend_from_slice(&length.to_be_bytes());
        self.values.extend_from_slice(value);
    }

    /// PostgreSQL's own type numbers, which never change: of the element and of the array.
    const fn oids(&self) -> (Oid, Oid) {
        match self.kind {
            Kind::Text => (Oid(25), Oid(1009)),
            Kind::Number => (Oid(20), Oid(1016)),
            Kind::Flag => (Oid(16), Oid(1000)),
            Kind::Blob => (Oid(17), Oid(1001)),
            Kind::Id => (engine::UUID, engine::UUID_ARRAY),
            Kind::Stamp => (engine::TIMESTAMPTZ, engine::TIMESTAMPTZ_ARRAY),
        }
    }
}

impl Type<Database> for Array {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1009))
    }
}

impl Encode<'_, Database> for Array {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let dimensions = i32::from(self.count > 0);
        buffer.extend_from_slice(&dimensions.to_be_bytes());
        buffer.extend_from_slice(&i32::from(self.has_absent).to_be_bytes());
        buffer.extend_from_slice(&self.oids().0.0.to_be_bytes());
        if dimensions > 0 {
            buffer.extend_from_slice(&self.count.to_be_bytes());
            buffer.extend_from_slice(&1_i32.to_be_bytes());
            buffer.extend_from_slice(&self.values);
        }
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(self.oids().1))
    }
}
