//! Usage reports. Whole days come from the roll-up and parts of days from the ledger, so that both are exact and quick.
//! What the roll-up does not know (keys, projects, hours, ...) comes from the ledger alone.

use ostia_core::{StoreError, UsageQuery, UsageRow};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqlitePool};

use super::failure::{broken, failed};
use crate::columns::{day, first_micros, stamp};

/// What a report can be grouped by: how the ledger says it, and how the roll-up does.
const KEYS: [(&str, &str, Option<&str>); 12] = [
    (
        "user",
        "iif(username = '', user_id, username)",
        Some("user"),
    ),
    ("group", "group_id", None),
    ("project", "project", None),
    ("key", "key_id", None),
    ("model", "model", Some("model")),
    ("cluster", "cluster", Some("cluster")),
    ("endpoint", "endpoint_slug", None),
    ("api", "api", None),
    ("outcome", "outcome", None),
    (
        "hour",
        "strftime('%Y-%m-%dT%H:00Z', started_at / 1000000, 'unixepoch')",
        None,
    ),
    (
        "day",
        "strftime('%Y-%m-%d', started_at / 1000000, 'unixepoch')",
        Some("strftime('%Y-%m-%d', day * 86400, 'unixepoch')"),
    ),
    (
        "month",
        "strftime('%Y-%m', started_at / 1000000, 'unixepoch')",
        Some("strftime('%Y-%m', day * 86400, 'unixepoch')"),
    ),
];

/// Of whole days; `?1` and `?2` bound them, `?7` is the user.
const FROM_DAYS: &str = "requests, ok, refused, errors - refused AS failed, prompt_tokens, completion_tokens, \
    total_tokens FROM usage_by_day WHERE day >= ?1 AND day < ?2 AND (?7 IS NULL OR user = ?7)";

/// Of single rows. It stands twice, with bounds behind it: one range each is what the index serves.
const FROM_ROWS: &str = "count AS requests, iif(outcome = 'ok', count, 0) AS ok, \
    iif(outcome = 'rejected', count, 0) AS refused, \
    iif(outcome IN ('ok', 'client_closed', 'rejected'), 0, count) AS failed, \
    prompt_tokens, completion_tokens, total_tokens \
    FROM ledger WHERE (?7 IS NULL OR iif(username = '', user_id, username) = ?7)";

/// SQLite's `sum` fails on overflow, and a backend may claim any number of tokens: the halves are summed apart.
const SUMS: &str = "coalesce(sum(requests), 0), coalesce(sum(ok), 0), coalesce(sum(refused), 0), \
    coalesce(sum(failed), 0), \
    coalesce(sum(prompt_tokens >> 32), 0), coalesce(sum(prompt_tokens & 4294967295), 0), \
    coalesce(sum(completion_tokens >> 32), 0), coalesce(sum(completion_tokens & 4294967295), 0), \
    coalesce(sum(total_tokens >> 32), 0), coalesce(sum(total_tokens & 4294967295), 0)";
const SUMMED: usize = 10;

/// Which part of a report comes from where. Ends are not included.
#[derive(Debug, PartialEq, Eq)]
struct Ranges {
    days: (i64, i64),
    head: (i64, i64),
    tail: (i64, i64),
}

pub(super) async fn report(
    readers: &SqlitePool,
    query: &UsageQuery,
) -> Result<Vec<UsageRow>, StoreError> {
    let keys = query
        .by
        .iter()
        .map(|name| key(name))
        .collect::<Result<Vec<_>, _>>()?;
    let from_days: Option<Vec<&str>> = keys.iter().map(|(_, day)| *day).collect();
    let from_rows: Vec<&str> = keys.iter().map(|(row, _)| *row).collect();
    let ranges = Ranges::of(query, from_days.is_some());
    let rows = sqlx::query(AssertSqlSafe(sql(from_days.as_deref(), &from_rows)))
        .bind(ranges.days.0)
        .bind(ranges.days.1)
        .bind(ranges.head.0)
        .bind(ranges.head.1)
        .bind(ranges.tail.0)
        .bind(ranges.tail.1)
        .bind(query.user.as_deref())
        .fetch_all(readers)
        .await
        .map_err(failed)?;
    rows.iter()
        .map(|row| usage_row(row, keys.len()).map_err(failed))
        .collect()
}

impl Ranges {
    fn of(query: &UsageQuery, by_days: bool) -> Self {
        const NOTHING: (i64, i64) = (0, 0);
        let since = stamp(query.since);
        let until = query.until.map_or(i64::MAX, stamp);
        let first = day(since.saturating_add(first_micros(1) - 1));
        let end = query.until.map_or(i64::MAX, day);
        if !by_days || first >= end {
            return Self {
                days: NOTHING,
                head: (since, until),
                tail: NOTHING,
            };
        }
        Self {
            days: (first, end),
            head: (since, first_micros(first)),
            tail: (first_micros(end), until),
        }
    }
}

/// Only the expressions of [`KEYS`] ever reach the SQL text.
fn key(name: &str) -> Result<(&'static str, Option<&'static str>), StoreError> {
    let found = KEYS.iter().find(|(known, ..)| *known == name);
    found
        .map(|(_, row, day)| (*row, *day))
        .ok_or_else(|| broken(format!("usage cannot be grouped by {name:?}")))
}

fn sql(from_days: Option<&[&str]>, from_rows: &[&str]) -> String {
    let columns = |expressions: &[&str]| -> String {
        let named = expressions.iter().enumerate();
        named
            .map(|(at, expression)| format!("{expression} AS k{at}, "))
            .collect()
    };
    let rows = columns(from_rows);
    let mut lines = format!(
        "SELECT {rows}{FROM_ROWS} AND started_at >= ?3 AND started_at < ?4 \
         UNION ALL SELECT {rows}{FROM_ROWS} AND started_at >= ?5 AND started_at < ?6"
    );
    if let Some(days) = from_days {
        lines.push_str(&format!(" UNION ALL SELECT {}{FROM_DAYS}", columns(days)));
    } else {
        // Every parameter has to be named once.
        lines.push_str(" AND ?1 = ?2");
    }
    if from_rows.is_empty() {
        return format!("SELECT {SUMS} FROM ({lines})");
    }
    let keys: Vec<String> = (0..from_rows.len()).map(|at| format!("k{at}")).collect();
    let keys = keys.join(", ");
    format!("SELECT {SUMS}, {keys} FROM ({lines}) GROUP BY {keys} ORDER BY {keys}")
}

fn usage_row(row: &SqliteRow, keys: usize) -> sqlx::Result<UsageRow> {
    let number = |index: usize| {
        row.try_get::<i64, _>(index)
            .map(|value| u64::try_from(value).unwrap_or(0))
    };
    let whole = |index: usize| Ok::<_, sqlx::Error>(join(number(index)?, number(index + 1)?));
    Ok(UsageRow {
        requests: number(0)?,
        ok: number(1)?,
        refused: number(2)?,
        failed: number(3)?,
        prompt_tokens: whole(4)?,
        completion_tokens: whole(6)?,
        total_tokens: whole(8)?,
        keys: (SUMMED..SUMMED + keys)
            .map(|index| row.try_get(index))
            .collect::<sqlx::Result<_>>()?,
    })
}

fn join(high: u64, low: u64) -> u64 {
    let whole = (u128::from(high) << 32) + u128::from(low);
    u64::try_from(whole).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use ostia_core::UsageQuery;

    use super::{KEYS, Ranges};
    use crate::columns::first_micros;

    #[test]
    fn every_key_of_a_query_is_known() {
        assert_eq!(KEYS.map(|(name, ..)| name), UsageQuery::BY);
    }

    #[test]
    fn whole_days_come_from_the_roll_up_and_no_moment_twice() {
        let hour = 3_600_000_000;
        let ranges = |since, until, by_days| {
            let query = UsageQuery {
                since,
                until,
                ..UsageQuery::default()
            };
            Ranges::of(&query, by_days)
        };
        let (second, fifth) = (first_micros(2), first_micros(5));
        let expected = Ranges {
            days: (2, 5),
            head: (second - hour, second),
            tail: (fifth, fifth + hour),
        };
        assert_eq!(ranges(second - hour, Some(fifth + hour), true), expected);
        let within = ranges(second + 1, Some(second + hour), true);
        assert_eq!(within.head, (second + 1, second + hour));
        assert_eq!((within.days, within.tail), ((0, 0), (0, 0)));
        let open = ranges(second, None, true);
        assert_eq!((open.days, open.head), ((2, i64::MAX), (second, second)));
        assert_eq!(open.tail.0, i64::MAX);
        let rows = ranges(second, Some(fifth), false);
        assert_eq!((rows.head, rows.days), ((second, fifth), (0, 0)));
    }
}
