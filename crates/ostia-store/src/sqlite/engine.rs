//! The facts about SQLite that `shared` needs.

use ostia_core::RequestId;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Encode, Type};

use crate::cell::Kind;

pub(crate) use sqlx::Sqlite as Database;
pub(crate) use sqlx::SqliteConnection as Connection;
pub(crate) use sqlx::SqlitePool as Pool;
pub(crate) use sqlx::sqlite::SqliteRow as Row;

pub(crate) type Query<'q> = sqlx::query::Query<'q, Database, sqlx::sqlite::SqliteArguments>;

/// A request's id, as text.
pub(crate) struct Id(pub(crate) RequestId);

/// Unix microseconds.
pub(crate) struct Stamp(pub(crate) i64);

/// Appended to a `SELECT` of rows that nobody may change until the transaction ends.
pub(crate) const SHARED: &str = "";

/// Appended to a `SELECT` of rows that nobody else may read with [`SHARED`] until the transaction ends.
pub(crate) const ALONE: &str = "";

/// Appended to a `SELECT` to skip rows that another transaction has locked.
pub(crate) const SKIPPING: &str = "";

/// The hour in which a row started, counted from 1970-01-01.
pub(crate) const HOUR: &str = "started_at / 3600000000";

/// The username of a key with its ASCII letters in lower case.
pub(crate) const USERNAME: &str = "lower(username)";

/// The present moment in Unix microseconds, by the machine's clock.
pub(crate) const NOW: &str = "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)";

/// Each column of each table: the table, the column, its type, and its position in the primary key (0: none).
pub(crate) const TABLES: &str = "
    SELECT t.name, c.name, c.type, c.pk FROM sqlite_schema AS t JOIN pragma_table_info(t.name) AS c
    WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' ORDER BY t.name, c.cid";

pub(crate) fn kind_of(declared: &str) -> Kind {
    match declared {
        "INTEGER" | "BIGINT" | "BOOLEAN" => Kind::Number,
        "BLOB" => Kind::Blob,
        _ => Kind::Text,
    }
}

/// A sum that cannot overflow, for the roll-up.
pub(crate) fn summed(value: &str) -> String {
    format!("CAST(min(total({value}), 9223372036854774784) AS INTEGER)")
}

impl Type<Database> for Id {
    fn type_info() -> SqliteTypeInfo {
        <String as Type<Database>>::type_info()
    }
}

impl Encode<'_, Database> for Id {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        let mut text = [0; 36];
        let text: std::sync::Arc<str> = self.0.encode(&mut text).into();
        Encode::<Database>::encode(text, buffer)
    }
}

impl<'r> Decode<'r, Database> for Id {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        let text = <&str as Decode<Database>>::decode(value)?;
        Ok(Self(text.parse()?))
    }
}

impl Type<Database> for Stamp {
    fn type_info() -> SqliteTypeInfo {
        <i64 as Type<Database>>::type_info()
    }
}

impl Encode<'_, Database> for Stamp {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Database>::encode(self.0, buffer)
    }
}

impl<'r> Decode<'r, Database> for Stamp {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self(<i64 as Decode<Database>>::decode(value)?))
    }
}
