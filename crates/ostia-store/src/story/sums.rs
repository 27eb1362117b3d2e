//! Reports are the sums of their rows, from whatever they are read.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ostia_core::{LedgerRow, Outcome, Retention, Store, UsageQuery, UsageRow};

use super::{DAY, HOUR, NOON, row};
use crate::calendar::{day_name, hour, hour_name, month_name, month_of_day};
use crate::columns::reported_user;

/// Rows of some months, and none of other tests.
const BEGIN: i64 = NOON + 600 * DAY;
const LENGTH: i64 = 75 * DAY;

/// xorshift: the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn moment(&mut self) -> i64 {
        let grid = self.pick(&[1, HOUR, DAY]);
        let at = i64::try_from(self.below(usize::try_from(LENGTH).unwrap())).unwrap();
        (BEGIN + at) / grid * grid
    }

    fn row(&mut self) -> LedgerRow<'static> {
        // Most come in the order of time, as in life; some come late.
        let mut row = row(
            self.pick(&["hal", "ida", "joe", "kim", ""]),
            self.moment(),
            1,
        );
        row.group_id = Cow::Borrowed(self.pick(&["", "g1", "g2"]));
        row.project = Cow::Borrowed(self.pick(&["", "fusion"]));
        row.key_id = Cow::Borrowed(self.pick(&["k1", "k2", "k3"]));
        row.model = Cow::Borrowed(self.pick(&["m1", "m2", "m\u{e9}"]));
        row.cluster = Cow::Borrowed(self.pick(&["sophia", "metis"]));
        row.api = Cow::Borrowed(self.pick(&["chat/completions", "embeddings"]));
        row.outcome = self.pick(Outcome::ALL);
        row.count = u32::try_from(1 + self.below(3) * self.below(2)).unwrap();
        row.prompt_tokens = self.below(100_000) as u64;
        row.completion_tokens = self.below(300) as u64;
        row.total_tokens = row.prompt_tokens + row.completion_tokens + self.below(2) as u64;
        row
    }

    fn query(&mut self) -> UsageQuery {
        let (one, other) = (self.moment(), self.moment());
        let by = (0..self.below(4)).map(|_| self.pick(&UsageQuery::BY));
        let by: std::collections::BTreeSet<_> = by.collect();
        UsageQuery {
            since: one.min(other),
            until: Some(one.max(other)),
            user: self
                .pick(&[None, None, Some("ida@lab.org")])
                .map(str::to_owned),
            by: by.into_iter().map(str::to_owned).collect(),
        }
    }
}

/// In batches of all sizes, so that blocks of several tiers are there; then once more with everything gathered.
pub(super) async fn reports_are_the_sums_of_their_rows(store: &dyn Store) {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut rows: Vec<_> = (0..700).map(|_| dice.row()).collect();
    rows[..600].sort_by_key(|row| row.started_at);
    let mut rest = &rows[..];
    while !rest.is_empty() {
        let (batch, behind) = rest.split_at((1 + dice.below(12)).min(rest.len()));
        let written = store.insert_rows(batch).await.unwrap();
        assert_eq!(written, batch.len() as u64);
        rest = behind;
    }
    for _ in 0..2 {
        for _ in 0..150 {
            let query = dice.query();
            let lines = store.usage(&query).await.unwrap();
            assert_eq!(lines, summed(&rows, &query), "{query:?}");
        }
        let nothing = Retention {
            addresses: 0,
            persons: 0,
            sums: 0,
            audit: 0,
        };
        while store.prune(&nothing).await.unwrap().goes_on {}
    }
}

/// After an upgrade, and where a replica of the release before this one wrote rows: their days are stale, reports are right
/// all the same, and stay so once they are made anew. `forget` has all blocks go, and notes the days as that release does.
pub(crate) async fn stale_days_are_reported_and_made_anew(
    store: &dyn Store,
    forget: impl AsyncFn(&[i64]),
) {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut rows: Vec<_> = (0..400).map(|_| dice.row()).collect();
    store.insert_rows(&rows).await.unwrap();
    let days: std::collections::BTreeSet<_> = rows.iter().map(|row| row.started_at / DAY).collect();
    forget(&days.into_iter().collect::<Vec<_>>()).await;
    // What is written from now on is in the ledger, too.
    let more: Vec<_> = (0..50).map(|_| dice.row()).collect();
    store.insert_rows(&more).await.unwrap();
    rows.extend(more);
    let mut compare = async |when: &str| {
        for _ in 0..100 {
            let query = dice.query();
            let lines = store.usage(&query).await.unwrap();
            assert_eq!(lines, summed(&rows, &query), "{when}: {query:?}");
        }
    };
    compare("stale").await;
    let nothing = Retention {
        addresses: 0,
        persons: 0,
        sums: 0,
        audit: 0,
    };
    // Some, then all but the newest, which may still be written to.
    for _ in 0..20 {
        assert!(store.prune(&nothing).await.unwrap().goes_on);
    }
    compare("in part").await;
    while store.prune(&nothing).await.unwrap().goes_on {}
    compare("made anew").await;
}

/// A month of which the first days are deleted keeps their sums when another of its days is made anew. `note`: that day is
/// stale.
pub(crate) async fn a_cut_month_keeps_what_was_summed(store: &dyn Store, note: impl AsyncFn(i64)) {
    let first = NOON + 10 * DAY;
    let rows: Vec<_> = (0..10)
        .map(|day| row("lou", first + day * DAY, 1 << day))
        .collect();
    store.insert_rows(&rows).await.unwrap();
    // In the middle of a day, of which the rows before noon are deleted.
    let cut = first + 4 * DAY + 1;
    let due = Retention {
        addresses: 0,
        persons: 0,
        sums: cut,
        audit: 0,
    };
    let prune = async || while store.prune(&due).await.unwrap().goes_on {};
    prune().await;
    let report = async |by: &str| super::usage(store, 0, &[by]).await;
    let (months, days) = (report("month").await, report("day").await);
    assert_eq!(months[0].requests, 10);
    assert_eq!(days[0].requests, 1);
    for stale in [2, 4, 7] {
        note(first / DAY + stale).await;
        prune().await;
        assert_eq!(report("month").await, months, "day {stale}");
        assert_eq!(report("day").await, days, "day {stale}");
    }
}

/// The report as anybody would do it by hand.
fn summed(rows: &[LedgerRow<'_>], query: &UsageQuery) -> Vec<UsageRow> {
    let mut lines = BTreeMap::<Vec<String>, UsageRow>::new();
    if query.by.is_empty() {
        lines.insert(Vec::new(), UsageRow::default());
    }
    let until = query.until.unwrap_or(i64::MAX);
    for row in rows {
        let is_asked = query
            .user
            .as_ref()
            .is_none_or(|user| user == reported_user(row));
        if !(query.since..until).contains(&row.started_at) || !is_asked {
            continue;
        }
        let keys: Vec<String> = query.by.iter().map(|by| key(row, by)).collect();
        let count = u64::from(row.count);
        let (ok, refused, failed) = match row.outcome {
            Outcome::Ok => (count, 0, 0),
            Outcome::Rejected => (0, count, 0),
            Outcome::ClientClosed => (0, 0, 0),
            _ => (0, 0, count),
        };
        let line = UsageRow {
            keys: keys.clone(),
            requests: count,
            ok,
            refused,
            failed,
            prompt_tokens: row.prompt_tokens,
            completion_tokens: row.completion_tokens,
            total_tokens: row.total_tokens,
        };
        let held = lines.entry(keys.clone()).or_insert_with(|| UsageRow {
            keys,
            ..UsageRow::default()
        });
        held.add(&line);
    }
    lines.into_values().collect()
}

fn key(row: &LedgerRow<'_>, by: &str) -> String {
    let at = row.started_at;
    match by {
        "user" => reported_user(row).to_owned(),
        "group" => row.group_id.to_string(),
        "project" => row.project.to_string(),
        "key" => row.key_id.to_string(),
        "model" => row.model.to_string(),
        "cluster" => row.cluster.to_string(),
        "endpoint" => row.endpoint_slug.to_string(),
        "api" => row.api.to_string(),
        "outcome" => row.outcome.as_str().to_owned(),
        "hour" => hour_name(hour(at)),
        "day" => day_name(at / DAY),
        _ => month_name(month_of_day(at / DAY)),
    }
}
