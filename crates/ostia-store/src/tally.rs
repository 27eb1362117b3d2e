//! What a batch of rows adds to the roll-up and to the table of users, summed before any SQL runs.

use std::collections::BTreeMap;

use ostia_core::{LedgerRow, Outcome};

use crate::columns::{count, day, reported_user, stamp};

/// Day, reported user, model, cluster.
pub(crate) type Key<'a> = (i64, &'a str, &'a str, &'a str);

/// Sums of rows; they stop at `i64::MAX` rather than wrap.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) requests: i64,
    pub(crate) ok: i64,
    /// All outcomes but `ok` and `client_closed`.
    pub(crate) errors: i64,
    /// Those of the errors that no backend saw.
    pub(crate) refused: i64,
    pub(crate) prompt_tokens: i64,
    pub(crate) completion_tokens: i64,
    pub(crate) total_tokens: i64,
}

/// The users seen in a batch, each by the row that started last.
pub(crate) type Users<'a> = BTreeMap<&'a str, &'a LedgerRow<'a>>;

#[derive(Debug, Default)]
pub(crate) struct Tally<'a> {
    pub(crate) sums: BTreeMap<Key<'a>, Sums>,
    pub(crate) users: Users<'a>,
}

impl<'a> Tally<'a> {
    pub(crate) fn add(&mut self, row: &'a LedgerRow<'a>) {
        let key = (
            day(row.started_at),
            reported_user(row),
            &*row.model,
            &*row.cluster,
        );
        self.sums.entry(key).or_default().add(row);
        if row.user_id.is_empty() {
            return;
        }
        let seen = self.users.entry(&row.user_id).or_insert(row);
        if stamp(row.started_at) >= stamp(seen.started_at) {
            *seen = row;
        }
    }
}

impl Sums {
    fn add(&mut self, row: &LedgerRow<'_>) {
        let requests = i64::from(row.count);
        let (ok, errors, refused) = match row.outcome {
            Outcome::Ok => (requests, 0, 0),
            Outcome::ClientClosed => (0, 0, 0),
            Outcome::Rejected => (0, requests, requests),
            _ => (0, requests, 0),
        };
        for (sum, more) in [
            (&mut self.requests, requests),
            (&mut self.ok, ok),
            (&mut self.errors, errors),
            (&mut self.refused, refused),
            (&mut self.prompt_tokens, count(row.prompt_tokens)),
            (&mut self.completion_tokens, count(row.completion_tokens)),
            (&mut self.total_tokens, count(row.total_tokens)),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}
