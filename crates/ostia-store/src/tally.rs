//! What a batch of rows adds to the roll-up and to the table of users, summed before any SQL runs.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ostia_core::LedgerRow;

use crate::block::{Block, Builder, Sums};
use crate::calendar::{Calendar, hour, month_of_day};
use crate::columns::{count, reported_user, stamp, text};
use crate::levels::{FINEST, Grain, LEVELS, Level};

/// The users of a batch, each with the row that started last.
pub(crate) type Users<'a> = BTreeMap<Cow<'a, str>, &'a LedgerRow<'a>>;

pub(crate) struct Tally<'a> {
    calendar: Calendar,
    days: BTreeMap<i64, Builder>,
    pub(crate) users: Users<'a>,
}

impl<'a> Tally<'a> {
    pub(crate) fn new(calendar: Calendar) -> Self {
        Self {
            calendar,
            days: BTreeMap::new(),
            users: Users::new(),
        }
    }

    pub(crate) fn add(&mut self, row: &'a LedgerRow<'a>) {
        self.count(row, sums(row));
        if row.user_id.is_empty() {
            return;
        }
        let seen = self.users.entry(text(&row.user_id)).or_insert(row);
        if stamp(row.started_at) >= stamp(seen.started_at) {
            *seen = row;
        }
    }

    /// Takes back what a row added that another one replaces.
    pub(crate) fn take_back(&mut self, row: &LedgerRow<'_>) {
        self.count(row, sums(row).negated());
    }

    fn count(&mut self, row: &LedgerRow<'_>, sums: Sums) {
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
        let day = self.days.entry(self.calendar.day(started)).or_default();
        day.add(values.each_ref().map(|value| &**value), hour(started), sums);
    }

    /// The blocks of each level, with the numbers of their days or months.
    pub(crate) fn blocks(&mut self) -> Vec<(Level, i64, Block)> {
        let days = std::mem::take(&mut self.days).into_iter();
        let blocks = days.flat_map(|(day, builder)| of_day(day, builder.build()));
        blocks.collect()
    }
}

/// What a day's sums are at each level.
pub(crate) fn of_day(day: i64, finest: Block) -> impl Iterator<Item = (Level, i64, Block)> {
    let blocks = LEVELS.into_iter().map(move |level| {
        let block = match level == FINEST {
            true => finest.clone(),
            false => finest.at(level),
        };
        let period = match level.block() {
            Grain::Month => month_of_day(day),
            _ => day,
        };
        (level, period, block)
    });
    blocks.filter(|(_, _, block)| !block.is_empty())
}

fn sums(row: &LedgerRow<'_>) -> Sums {
    Sums {
        requests: i64::from(row.count),
        prompt_tokens: count(row.prompt_tokens),
        completion_tokens: count(row.completion_tokens),
        total_tokens: count(row.total_tokens),
    }
}
