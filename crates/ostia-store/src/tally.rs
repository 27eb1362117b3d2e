//! What a batch of rows adds to the roll-up and to the table of users, summed before any SQL runs.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use ostia_core::{LedgerRow, Outcome};

use crate::calendar::{Calendar, hour, month_of_day};
use crate::cell::{Cell, Kind};
use crate::columns::{count, reported_user, stamp, text};
use crate::levels::{DIMENSIONS, Grain, LEVELS, Level};

type Values<'a> = [Cow<'a, str>; DIMENSIONS.len()];

/// The key of a row of the roll-up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key<'a> {
    level: i64,
    period: i64,
    values: Values<'a>,
}

/// Sums of rows. They saturate at `i64::MAX` rather than wrap.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sums {
    requests: i64,
    ok: i64,
    refused: i64,
    /// Neither `ok`, nor refused, nor given up by the client.
    failed: i64,
    prompt_tokens: i64,
    completion_tokens: i64,
    total_tokens: i64,
}

pub(crate) const SUMS: [&str; 7] = [
    "requests",
    "ok",
    "refused",
    "failed",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
];

/// The users of a batch, each with the row that started last.
pub(crate) type Users<'a> = BTreeMap<Cow<'a, str>, &'a LedgerRow<'a>>;

pub(crate) struct Tally<'a> {
    calendar: Calendar,
    /// Sums by hour, day and all dimensions. The levels are computed from these, which are often far fewer than rows.
    finest: HashMap<(i64, i64, Values<'a>), Sums>,
    pub(crate) users: Users<'a>,
}

impl<'a> Tally<'a> {
    pub(crate) fn new(calendar: Calendar) -> Self {
        Self {
            calendar,
            finest: HashMap::new(),
            users: Users::new(),
        }
    }

    pub(crate) fn add(&mut self, row: &'a LedgerRow<'a>) {
        self.sums_of(row).change(row, i64::saturating_add);
        if row.user_id.is_empty() {
            return;
        }
        let seen = self.users.entry(text(&row.user_id)).or_insert(row);
        if stamp(row.started_at) >= stamp(seen.started_at) {
            *seen = row;
        }
    }

    /// Subtracts a row that another one replaces.
    pub(crate) fn take_back(&mut self, row: &'a LedgerRow<'a>) {
        self.sums_of(row).change(row, i64::saturating_sub);
    }

    fn sums_of(&mut self, row: &'a LedgerRow<'a>) -> &mut Sums {
        let started = stamp(row.started_at);
        let values = [
            reported_user(row),
            &*row.group_id,
            &*row.project,
            &*row.key_id,
            &*row.model,
            &*row.cluster,
            &*row.endpoint_slug,
            &*row.api,
            row.outcome.as_str(),
        ]
        .map(text);
        let key = (hour(started), self.calendar.day(started), values);
        self.finest.entry(key).or_default()
    }

    /// The rows of the roll-up, in the order in which every writer locks them.
    pub(crate) fn sums(&self) -> BTreeMap<Key<'a>, Sums> {
        let mut sums = BTreeMap::<Key<'a>, Sums>::new();
        for ((hour, day, values), more) in &self.finest {
            for level in LEVELS {
                let key = Key {
                    level: level.number,
                    period: level.period(*hour, *day),
                    values: level.keep(values.clone()),
                };
                sums.entry(key).or_default().add(more);
            }
        }
        sums
    }
}

impl Level {
    fn period(self, hour: i64, day: i64) -> i64 {
        match self.grain {
            Grain::Hour => hour,
            Grain::Day => day,
            Grain::Month => month_of_day(day),
        }
    }

    fn keep<'a>(self, mut values: Values<'a>) -> Values<'a> {
        for (place, value) in values.iter_mut().enumerate() {
            if self.dimensions & (1 << place) == 0 {
                *value = Cow::Borrowed("");
            }
        }
        values
    }
}

impl Sums {
    fn change(&mut self, row: &LedgerRow<'_>, by: fn(i64, i64) -> i64) {
        let requests = i64::from(row.count);
        let (ok, refused, failed) = match row.outcome {
            Outcome::Ok => (requests, 0, 0),
            Outcome::ClientClosed => (0, 0, 0),
            Outcome::Rejected => (0, requests, 0),
            _ => (0, 0, requests),
        };
        let more = Self {
            requests,
            ok,
            refused,
            failed,
            prompt_tokens: count(row.prompt_tokens),
            completion_tokens: count(row.completion_tokens),
            total_tokens: count(row.total_tokens),
        };
        self.each(&more, by);
    }

    fn add(&mut self, more: &Self) {
        self.each(more, i64::saturating_add);
    }

    fn each(&mut self, other: &Self, by: fn(i64, i64) -> i64) {
        for (sum, other) in [
            (&mut self.requests, other.requests),
            (&mut self.ok, other.ok),
            (&mut self.refused, other.refused),
            (&mut self.failed, other.failed),
            (&mut self.prompt_tokens, other.prompt_tokens),
            (&mut self.completion_tokens, other.completion_tokens),
            (&mut self.total_tokens, other.total_tokens),
        ] {
            *sum = by(*sum, other);
        }
    }

    const fn values(&self) -> [i64; SUMS.len()] {
        [
            self.requests,
            self.ok,
            self.refused,
            self.failed,
            self.prompt_tokens,
            self.completion_tokens,
            self.total_tokens,
        ]
    }
}

/// The columns of the roll-up.
pub(crate) fn sum_columns() -> Vec<(String, Kind)> {
    let numbers = ["level", "period"]
        .into_iter()
        .map(|name| (name, Kind::Number));
    let texts = DIMENSIONS.iter().map(|(_, name, _)| (*name, Kind::Text));
    let sums = SUMS.into_iter().map(|name| (name, Kind::Number));
    let columns = numbers.chain(texts).chain(sums);
    columns
        .map(|(name, kind)| (name.to_owned(), kind))
        .collect()
}

/// In the order of [`sum_columns`].
pub(crate) fn sum_cells<'a>(
    (key, sums): &'a (Key<'_>, Sums),
) -> impl Iterator<Item = Cell<'a>> + use<'a> {
    let numbers = [key.level, key.period].into_iter().map(Cell::Number);
    let texts = key.values.iter().map(|value| Cell::text(value));
    let sums = sums.values().into_iter().map(Cell::Number);
    numbers.chain(texts).chain(sums)
}
