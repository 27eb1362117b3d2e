//! A value to be written to a table, for any database.

use std::borrow::Cow;

use ostia_core::{Column, Kind as Held, LedgerRow, RequestId, Value};

use crate::columns::{count, stamp, text};

/// The type of a table's column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    Flag,
    Blob,
    Id,
    Stamp,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell<'a> {
    Text(Cow<'a, str>),
    Number(i64),
    Flag(bool),
    Blob(Cow<'a, [u8]>),
    Id(RequestId),
    /// Unix microseconds.
    Stamp(i64),
    Absent,
}

impl<'a> Cell<'a> {
    pub(crate) fn text(value: &'a str) -> Self {
        Self::Text(text(value))
    }

    /// Converts the value for a column of that kind. Databases differ in flags, ids and timestamps.
    pub(crate) fn into_kind(self, kind: Kind) -> Self {
        match (self, kind) {
            (Self::Number(number), Kind::Flag) => Self::Flag(number != 0),
            (Self::Flag(flag), Kind::Number) => Self::Number(flag.into()),
            (Self::Number(micros), Kind::Stamp) => Self::Stamp(micros),
            (Self::Stamp(micros), Kind::Number) => Self::Number(micros),
            (Self::Id(id), Kind::Text) => Self::Text(id.to_string().into()),
            (Self::Text(text), Kind::Id) => match text.parse() {
                Ok(id) => Self::Id(id),
                Err(_) => Self::Text(text),
            },
            (cell, _) => cell,
        }
    }

    pub(crate) fn of(value: Value<'a>) -> Self {
        match value {
            Value::Id(id) => Self::Id(id),
            Value::Text(held) => Self::text(held),
            Value::Stamp(micros) => Self::Stamp(stamp(micros)),
            Value::Flag(flag) => Self::Flag(flag),
            Value::Number(number) => Self::Number(count(number)),
            Value::Word { text, .. } => Self::Text(Cow::Borrowed(text)),
            Value::Absent => Self::Absent,
        }
    }
}

/// The columns of the table `ledger`.
pub(crate) fn ledger_columns() -> Vec<(String, Kind)> {
    let columns = Column::LEDGER.iter().map(|column| {
        let kind = match column.kind {
            Held::Id => Kind::Id,
            Held::Text | Held::Word(_) => Kind::Text,
            Held::Stamp => Kind::Stamp,
            Held::Flag => Kind::Flag,
            Held::Number | Held::MaybeNumber => Kind::Number,
        };
        (column.name.to_owned(), kind)
    });
    columns.collect()
}

/// In the order of [`ledger_columns`].
pub(crate) fn ledger_cells<'a>(row: &'a LedgerRow<'_>) -> impl Iterator<Item = Cell<'a>> {
    let values = row.values().into_iter();
    values.take(Column::LEDGER.len()).map(Cell::of)
}
