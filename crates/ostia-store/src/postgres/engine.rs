//! The facts about PostgreSQL that `shared` needs.

use ostia_core::RequestId;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef};
use sqlx::{Decode, Encode, Type};

use crate::cell::Kind;

pub(crate) use sqlx::PgConnection as Connection;
pub(crate) use sqlx::PgPool as Pool;
pub(crate) use sqlx::Postgres as Database;
pub(crate) use sqlx::postgres::PgRow as Row;

pub(crate) type Query<'q> = sqlx::query::Query<'q, Database, sqlx::postgres::PgArguments>;

/// A request's id, as UUID.
pub(crate) struct Id(pub(crate) RequestId);

/// Unix microseconds, as TIMESTAMPTZ.
pub(crate) struct Stamp(pub(crate) i64);

/// PostgreSQL counts from 2000-01-01.
const EPOCH: i64 = 946_684_800_000_000;

/// The numbers that PostgreSQL gives its own types never change.
pub(super) const UUID: Oid = Oid(2950);
pub(super) const UUID_ARRAY: Oid = Oid(2951);
pub(super) const TIMESTAMPTZ: Oid = Oid(1184);
pub(super) const TIMESTAMPTZ_ARRAY: Oid = Oid(1185);

pub(super) fn stamp_bytes(micros: i64) -> [u8; 8] {
    micros.saturating_sub(EPOCH).to_be_bytes()
}

/// Appended to a `SELECT` of rows that nobody may change until the transaction ends.
pub(crate) const SHARED: &str = " FOR SHARE";

/// Appended to a `SELECT` of rows that nobody else may read with [`SHARED`] until the transaction ends.
pub(crate) const ALONE: &str = " FOR UPDATE";

/// The hour in which a row started, counted from 1970-01-01.
pub(crate) const HOUR: &str = "CAST(floor(extract(epoch FROM started_at) / 3600) AS BIGINT)";

/// The present moment in Unix microseconds, by the server's clock, which all replicas share.
pub(crate) const NOW: &str = "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)";

/// Each column of each table: the table, the column, its type, and its position in the primary key (0: none).
pub(crate) const TABLES: &str = "
    SELECT t.relname::text, c.attname::text, format_type(c.atttypid, NULL),
        coalesce(array_position(k.indkey::smallint[], c.attnum) + 1, 0)::bigint
    FROM pg_class AS t JOIN pg_attribute AS c ON c.attrelid = t.oid AND c.attnum > 0 AND NOT c.attisdropped
        LEFT JOIN pg_index AS k ON k.indrelid = t.oid AND k.indisprimary
    WHERE t.relkind = 'r' AND t.relnamespace = current_schema()::regnamespace ORDER BY 1, c.attnum";

pub(crate) fn kind_of(declared: &str) -> Kind {
    match declared {
        "bigint" => Kind::Number,
        "boolean" => Kind::Flag,
        "bytea" => Kind::Blob,
        "uuid" => Kind::Id,
        "timestamp with time zone" => Kind::Stamp,
        _ => Kind::Text,
    }
}

/// A sum that cannot overflow, for the roll-up.
pub(crate) fn summed(value: &str) -> String {
    format!("CAST(LEAST(sum({value}), 9223372036854775807) AS BIGINT)")
}

/// How an upsert adds to a sum. Sums saturate at the largest number.
pub(crate) fn added(table: &str, sum: &str) -> String {
    format!(
        "{sum} = CAST(LEAST(CAST({table}.{sum} AS NUMERIC) + excluded.{sum}, 9223372036854775807) AS BIGINT)"
    )
}

fn is(info: &PgTypeInfo, oid: Oid) -> bool {
    info.oid() == Some(oid)
}

impl Type<Database> for Id {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(UUID)
    }

    fn compatible(info: &PgTypeInfo) -> bool {
        is(info, UUID)
    }
}

impl PgHasArrayType for Id {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(UUID_ARRAY)
    }
}

impl Encode<'_, Database> for Id {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
}

impl Decode<'_, Database> for Id {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        Ok(Self(RequestId::from_bytes(value.as_bytes()?.try_into()?)))
    }
}

impl Type<Database> for Stamp {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ)
    }

    fn compatible(info: &PgTypeInfo) -> bool {
        is(info, TIMESTAMPTZ)
    }
}

impl PgHasArrayType for Stamp {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ_ARRAY)
    }
}

impl Encode<'_, Database> for Stamp {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&stamp_bytes(self.0));
        Ok(IsNull::No)
    }
}

impl Decode<'_, Database> for Stamp {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        let micros = i64::from_be_bytes(value.as_bytes()?.try_into()?);
        Ok(Self(micros.saturating_add(EPOCH)))
    }
}
