//! Which part of a report is read from which source.

use std::collections::BTreeSet;

use ostia_core::{StoreError, UsageQuery};

use crate::calendar::{Calendar, first_day, hour, month_of_day};
use crate::columns::{HOUR_MICROS, stamp};
use crate::levels::{Dimensions, Grain, Level, USER, dimension, level};

/// What a report is made of.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) by: Vec<String>,
    /// Only this user.
    pub(crate) user: Option<String>,
    /// Places in `DIMENSIONS`, in the order of the query, each once.
    pub(crate) dimensions: Vec<usize>,
    pub(crate) time: Time,
    /// What the levels must tell apart.
    needed: Dimensions,
}

/// The finest of the times that a report is grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Time {
    None,
    Month,
    Day,
    Hour,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Sums of this grain, from the blocks of a level.
    Blocks(Level, Grain),
    /// The ledger itself.
    Rows,
}

/// A range in one source; `to` is not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) source: Source,
    /// Numbers of hours, days or months; for rows, timestamps.
    pub(crate) from: i64,
    pub(crate) to: i64,
}

/// Timestamps; the end is not included.
type Range = (i64, i64);

/// What is known of the roll-up.
pub(crate) struct Known {
    pub(crate) calendar: Calendar,
    /// Days whose blocks do not have all of their rows yet.
    pub(crate) stale: BTreeSet<i64>,
}

impl Plan {
    pub(crate) fn of(query: &UsageQuery) -> Result<Self, StoreError> {
        let mut plan = Self {
            by: query.by.clone(),
            user: query.user.clone(),
            dimensions: Vec::new(),
            time: Time::None,
            needed: 0,
        };
        if query.user.is_some() {
            plan.needed |= 1 << USER;
        }
        for name in &query.by {
            let time = match (name.as_str(), dimension(name)) {
                (_, Some(bit)) => {
                    plan.needed |= bit;
                    let place = bit.trailing_zeros() as usize;
                    if !plan.dimensions.contains(&place) {
                        plan.dimensions.push(place);
                    }
                    Time::None
                }
                ("hour", None) => Time::Hour,
                ("day", None) => Time::Day,
                ("month", None) => Time::Month,
                _ => {
                    let text = format!("usage cannot be grouped by {name:?}");
                    return Err(StoreError::Broken(text));
                }
            };
            plan.time = plan.time.max(time);
        }
        Ok(plan)
    }

    /// For each name of the query, where its value stands in a line's key: 0 is the time.
    pub(crate) fn order(&self) -> Vec<usize> {
        let places = self.by.iter().map(|name| {
            let place = dimension(name).map(|bit| bit.trailing_zeros() as usize);
            let known = place.and_then(|place| self.dimensions.iter().position(|at| *at == place));
            known.map_or(0, |at| at + 1)
        });
        places.collect()
    }

    /// Which of the plan's dimensions comes first in blocks.
    pub(crate) fn first_dimension(&self) -> Option<usize> {
        let dimensions = self.dimensions.iter().enumerate();
        dimensions
            .min_by_key(|(_, at)| **at)
            .map(|(place, _)| place)
    }

    /// The time of a block's lines, apart from their hours.
    pub(crate) fn time_of(&self, part: &Part, period: i64) -> u32 {
        let number = match (self.time, part.source) {
            (Time::None | Time::Hour, _) => 0,
            (Time::Month, Source::Blocks(_, Grain::Month)) | (Time::Day, _) => period,
            (Time::Month, _) => month_of_day(period),
        };
        u32::try_from(number).unwrap_or(0)
    }

    /// The coarsest sums that fit into the query's range, and rows for what is left of it.
    pub(crate) fn parts(&self, query: &UsageQuery, known: &Known) -> Vec<Part> {
        let range = (stamp(query.since), query.until.map_or(i64::MAX, stamp));
        let mut parts = Vec::new();
        let grains: &[Grain] = match self.time {
            Time::Hour => &[Grain::Hour],
            Time::Day => &[Grain::Day, Grain::Hour],
            Time::Month | Time::None => &[Grain::Month, Grain::Day, Grain::Hour],
        };
        self.cover(range, grains, known, &mut parts);
        parts
    }

    fn cover(&self, range: Range, grains: &[Grain], known: &Known, parts: &mut Vec<Part>) {
        let (since, until) = range;
        if since >= until {
            return;
        }
        let Some((&grain, finer)) = grains.split_first() else {
            return self.rows(range, known, parts);
        };
        let Some(level) = level(self.needed, grain) else {
            return self.cover(range, finer, known, parts);
        };
        let (mut from, to) = grain.within(range, &known.calendar);
        if from >= to {
            return self.cover(range, finer, known, parts);
        }
        let first = |number| grain.first(number, &known.calendar);
        self.cover((since, first(from)), finer, known, parts);
        while from < to {
            let stale = known.first_stale(grain, from, to);
            let end = stale.unwrap_or(to);
            if from < end {
                let source = Source::Blocks(level, grain);
                let to = end;
                parts.push(Part { source, from, to });
            }
            let Some(stale) = stale else { break };
            // A stale month has days that are not; of a stale day there are only rows.
            let finer = if grain == Grain::Month { finer } else { &[] };
            self.cover((first(stale), first(stale + 1)), finer, known, parts);
            from = stale + 1;
        }
        self.cover((first(to), until), finer, known, parts);
    }

    /// Where lines are told apart by day or month, rows of a part are of one.
    fn rows(&self, (from, to): Range, known: &Known, parts: &mut Vec<Part>) {
        let day = |moment| Grain::Day.number(moment, &known.calendar);
        if let Some(last) = parts.last_mut()
            && last.source == Source::Rows
            && last.to == from
            && (matches!(self.time, Time::None | Time::Hour) || day(last.from) == day(from))
        {
            last.to = to;
            return;
        }
        let source = Source::Rows;
        parts.push(Part { source, from, to });
    }
}

impl Known {
    fn first_stale(&self, grain: Grain, from: i64, to: i64) -> Option<i64> {
        let begin = grain.first(from, &self.calendar);
        // The hour in which a day begins may be one of the day before, too.
        let mut days = self.stale.range(Grain::Day.number(begin, &self.calendar)..);
        let found = days.find_map(|day| match grain {
            Grain::Month => Some(month_of_day(*day)),
            Grain::Day => Some(*day),
            Grain::Hour => {
                let (begin, end) = (
                    hour(self.calendar.first_of_day(*day)),
                    hour(self.calendar.first_of_day(day + 1) - 1),
                );
                (end >= from).then(|| begin.max(from))
            }
        });
        found.filter(|stale| *stale < to)
    }
}

impl Grain {
    pub(crate) fn number(self, micros: i64, calendar: &Calendar) -> i64 {
        let mut calendar = calendar.clone();
        match self {
            Self::Hour => hour(micros),
            Self::Day => calendar.day(micros),
            Self::Month => calendar.month(micros),
        }
    }

    pub(crate) fn first(self, number: i64, calendar: &Calendar) -> i64 {
        if number == i64::MAX {
            return i64::MAX;
        }
        match self {
            Self::Hour => number.saturating_mul(HOUR_MICROS),
            Self::Day => calendar.first_of_day(number),
            Self::Month => calendar.first_of_day(first_day(number)),
        }
    }

    /// The periods that lie completely within the range.
    fn within(self, (since, until): Range, calendar: &Calendar) -> (i64, i64) {
        let first = self.number(since, calendar);
        let begun = self.first(first, calendar) < since;
        let end = match until {
            i64::MAX => i64::MAX,
            until => self.number(until, calendar),
        };
        (first + i64::from(begun), end)
    }
}

impl Part {
    /// The days or months whose blocks are read.
    pub(crate) fn periods(&self, calendar: &Calendar) -> Range {
        let day = |moment| Grain::Day.number(moment, calendar);
        let moment = |hour: i64| Grain::Hour.first(hour, calendar);
        match (self.source, self.to) {
            (Source::Blocks(_, Grain::Hour), i64::MAX) => (day(moment(self.from)), i64::MAX),
            (Source::Blocks(_, Grain::Hour), to) => {
                (day(moment(self.from)), day(moment(to) - 1) + 1)
            }
            _ => (self.from, self.to),
        }
    }

    /// Which hours of its blocks count. `None`: all.
    pub(crate) fn hours(&self) -> Option<Range> {
        matches!(self.source, Source::Blocks(_, Grain::Hour)).then_some((self.from, self.to))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 24 * HOUR_MICROS;
    /// 2026-11-01T00:00Z.
    const NOVEMBER: i64 = 1_793_491_200_000_000;

    fn known(zone: &str, stale: &[i64]) -> Known {
        Known {
            calendar: Calendar::of(zone).unwrap(),
            stale: stale.iter().copied().collect(),
        }
    }

    fn planned(by: &[&str], since: i64, until: Option<i64>, known: &Known) -> Vec<Part> {
        let query = UsageQuery {
            since,
            until,
            by: by.iter().map(|&name| name.to_owned()).collect(),
            ..UsageQuery::default()
        };
        Plan::of(&query).unwrap().parts(&query, known)
    }

    fn parts(by: &[&str], since: i64, until: Option<i64>) -> Vec<(Option<i64>, i64, i64)> {
        let parts = planned(by, since, until, &known("UTC", &[]));
        let shown = parts.into_iter().map(|part| match part.source {
            Source::Blocks(level, _) => (Some(level.number), part.from, part.to),
            Source::Rows => (None, part.from, part.to),
        });
        shown.collect()
    }

    #[test]
    fn whole_periods_come_from_the_roll_up_and_no_moment_twice() {
        let day = NOVEMBER / DAY;
        let month = 2026 * 12 + 10;
        let (before, behind) = (NOVEMBER - DAY - 1, NOVEMBER + 32 * DAY + 1);
        let expected = [
            (None, before, NOVEMBER - DAY),
            (Some(1), day - 1, day),
            (Some(4), month, month + 1),
            (Some(1), day + 30, day + 32),
            (None, behind - 1, behind),
        ];
        assert_eq!(parts(&["user", "model"], before, Some(behind)), expected);
        let open = parts(&["user"], NOVEMBER, None);
        assert_eq!(open, [(Some(4), month, i64::MAX)]);
        // Parts of days are taken by hours.
        let hours = [
            (Some(2), day * 24 + 1, day * 24 + 24),
            (Some(2), day + 1, day + 2),
        ];
        let range = (NOVEMBER + HOUR_MICROS, Some(NOVEMBER + 2 * DAY));
        assert_eq!(parts(&["model"], range.0, range.1), hours);
        let hours = [(None, 7, HOUR_MICROS), (Some(1), 1, i64::MAX)];
        assert_eq!(parts(&["user", "hour"], 7, None), hours);
        assert_eq!(parts(&["model"], 7, Some(7)), []);
    }

    /// Of a day whose blocks are not whole, rows are read, and neither its month nor anything else is read twice.
    #[test]
    fn stale_days_come_from_rows() {
        let day = NOVEMBER / DAY;
        let known = known("UTC", &[day + 3, day + 4]);
        let shown = |by: &[&str]| -> Vec<_> {
            let parts = planned(by, NOVEMBER, None, &known).into_iter();
            parts
                .map(|part| (part.source == Source::Rows, part.from, part.to))
                .collect()
        };
        let month = 2026 * 12 + 11;
        let rows = (true, NOVEMBER + 3 * DAY, NOVEMBER + 5 * DAY);
        let days = [
            (false, day, day + 3),
            rows,
            (false, day + 5, day + 30),
            (false, month, i64::MAX),
        ];
        assert_eq!(shown(&["model"]), days);
        let days = [
            (false, day, day + 3),
            (true, NOVEMBER + 3 * DAY, NOVEMBER + 4 * DAY),
            (true, NOVEMBER + 4 * DAY, NOVEMBER + 5 * DAY),
            (false, day + 5, i64::MAX),
        ];
        assert_eq!(shown(&["model", "day"]), days);
        let hours = [
            (false, day * 24, day * 24 + 72),
            rows,
            (false, day * 24 + 120, i64::MAX),
        ];
        assert_eq!(shown(&["hour"]), hours);
    }

    proptest! {
        /// Whatever is asked for and whatever is stale: each moment is in one part.
        #[test]
        fn parts_follow_each_other(
            since in 0_i64..(100 * DAY),
            length in 1_i64..(100 * DAY),
            round in proptest::bool::ANY,
            stale in proptest::collection::btree_set(0_i64..100, 0..20),
            by in 0_usize..5,
            zone in 0_usize..3,
        ) {
            let grid = if round { HOUR_MICROS } else { 1 };
            let (since, until) = (NOVEMBER + since / grid * grid, NOVEMBER + (since + length) / grid * grid);
            let days: Vec<i64> = stale.iter().map(|day| NOVEMBER / DAY + day).collect();
            let known = known(["UTC", "Europe/Berlin", "Asia/Kolkata"][zone], &days);
            let by = [&["user", "model"][..], &["hour"], &["day"], &["month", "key"], &[]][by];
            let mut at = since;
            for part in planned(by, since, Some(until), &known) {
                let (from, to) = match part.source {
                    Source::Rows => (part.from, part.to),
                    Source::Blocks(_, grain) => {
                        (grain.first(part.from, &known.calendar), grain.first(part.to, &known.calendar))
                    }
                };
                prop_assert_eq!(from, at);
                prop_assert!(to > from);
                at = to;
            }
            prop_assert_eq!(at, until.max(since));
        }
    }
}
