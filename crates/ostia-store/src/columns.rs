//! How a ledger row's values fit into a database's columns: the same rules for every database.

use std::borrow::Cow;

use ostia_core::LedgerRow;

/// The end of the year 9999, the last moment that the date functions of all databases can represent.
const LAST_MICROS: i64 = 253_402_300_799_999_999;
pub(crate) const HOUR_MICROS: i64 = 3_600_000_000;
pub(crate) const DAY_MICROS: i64 = 24 * HOUR_MICROS;

/// Counters are unsigned here and signed in databases. A value that is too large becomes the largest possible.
pub(crate) fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Limits a timestamp to the years 1970 to 9999.
pub(crate) fn stamp(micros: i64) -> i64 {
    micros.clamp(0, LAST_MICROS)
}

/// PostgreSQL's text cannot hold NUL, and SQLite's functions stop at one.
pub(crate) fn text(value: &str) -> Cow<'_, str> {
    if value.contains('\0') {
        Cow::Owned(value.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(value)
    }
}

/// The name in a usage report: the username, unless the row names another one; pseudonyms are ids without a username.
pub(crate) fn reported_user<'a>(row: &'a LedgerRow<'_>) -> &'a str {
    let names = [&row.reported_user, &row.username, &row.user_id];
    names
        .into_iter()
        .find(|name| !name.is_empty())
        .map_or("", |name| name)
}

#[cfg(test)]
mod tests {
    use super::{LAST_MICROS, count, stamp, text};

    #[test]
    fn values_beyond_a_column_are_cut_to_it() {
        assert_eq!(count(u64::MAX), i64::MAX);
        assert_eq!(count(7), 7);
        assert_eq!((stamp(-1), stamp(i64::MAX)), (0, LAST_MICROS));
        assert_eq!(text("a\0b"), "a\u{fffd}b");
    }
}
