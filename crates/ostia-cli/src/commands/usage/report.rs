use std::cmp::Reverse;
use std::num::NonZeroUsize;

use ostia_core::UsageRow;

use crate::failure::Failure;

pub(super) type Count = fn(&UsageRow) -> u64;

/// The numbers of a line, in the order of CSV and JSON.
pub(super) const COUNTS: [(&str, Count); 8] = [
    ("requests", |row| row.requests),
    ("ok", |row| row.ok),
    ("errors", |row| row.refused.saturating_add(row.failed)),
    ("prompt_tokens", |row| row.prompt_tokens),
    ("completion_tokens", |row| row.completion_tokens),
    ("total_tokens", |row| row.total_tokens),
    ("refused", |row| row.refused),
    ("failed", |row| row.failed),
];

/// A report, ready to be shown.
pub(super) struct Report {
    pub(super) by: Vec<String>,
    pub(super) rows: Vec<UsageRow>,
    /// What `--top` left out: how many lines, and their sums.
    pub(super) rest: Option<(usize, UsageRow)>,
    /// Of all lines.
    pub(super) total: UsageRow,
}

/// How to sort the lines.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    /// By their keys, as the store returns them.
    Keys,
    Key(usize),
    Count(usize),
}

impl Order {
    pub(super) fn parse(sort: Option<&str>, by: &[String]) -> Result<Self, Failure> {
        let Some(sort) = sort else {
            return Ok(Self::Keys);
        };
        let key = by.iter().position(|name| name == sort).map(Self::Key);
        let count = || COUNTS.iter().position(|(name, _)| *name == sort);
        key.or_else(|| count().map(Self::Count)).ok_or_else(|| {
            let counts = COUNTS.map(|(name, _)| name).join(", ");
            let shown = sort.escape_debug();
            Failure::usage(format!(
                "--sort {shown}: the report has the columns {}, {counts}",
                by.join(", ")
            ))
        })
    }
}

impl Report {
    pub(super) fn new(
        by: Vec<String>,
        mut rows: Vec<UsageRow>,
        order: Order,
        top: Option<NonZeroUsize>,
    ) -> Self {
        match order {
            Order::Keys => {}
            Order::Key(at) => rows.sort_by(|one, other| one.keys.get(at).cmp(&other.keys.get(at))),
            Order::Count(at) => rows.sort_by_key(|row| Reverse(COUNTS[at].1(row))),
        }
        let total = sum(&rows);
        let shown = top.map_or(rows.len(), NonZeroUsize::get).min(rows.len());
        let left = rows.split_off(shown);
        let rest = (!left.is_empty()).then(|| (left.len(), sum(&left)));
        Self {
            by,
            rows,
            rest,
            total,
        }
    }
}

fn sum(rows: &[UsageRow]) -> UsageRow {
    let add = |read: Count| rows.iter().map(read).fold(0, u64::saturating_add);
    UsageRow {
        keys: Vec::new(),
        requests: add(|row| row.requests),
        ok: add(|row| row.ok),
        refused: add(|row| row.refused),
        failed: add(|row| row.failed),
        prompt_tokens: add(|row| row.prompt_tokens),
        completion_tokens: add(|row| row.completion_tokens),
        total_tokens: add(|row| row.total_tokens),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(user: &str, requests: u64) -> UsageRow {
        UsageRow {
            keys: vec![user.to_owned()],
            requests,
            ..sum(&[])
        }
    }

    #[test]
    fn lines_are_sorted_and_what_is_left_out_is_summed() {
        let by = || vec!["user".to_owned()];
        let rows = || vec![row("ann", 1), row("bo", 30), row("cid", 2)];
        let order = Order::parse(Some("requests"), &by()).unwrap();
        let report = Report::new(by(), rows(), order, NonZeroUsize::new(1));
        assert_eq!(report.rows, [row("bo", 30)]);
        assert_eq!(report.total.requests, 33);
        let (lines, rest) = report.rest.unwrap();
        assert_eq!((lines, rest.requests), (2, 3));
        let whole = Report::new(by(), rows(), Order::Keys, NonZeroUsize::new(3));
        assert!(whole.rest.is_none() && whole.rows == rows());
        assert!(matches!(
            Order::parse(Some("user"), &by()),
            Ok(Order::Key(0))
        ));
        let unknown = Order::parse(Some("model"), &by()).unwrap_err();
        assert!(unknown.text().contains("user, requests"), "{unknown:?}");
    }
}
