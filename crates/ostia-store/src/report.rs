//! Which part of a report is read from which source.

use ostia_core::{StoreError, UsageQuery};

use crate::calendar::{Calendar, day_name, first_day, hour, hour_name, month_name, month_of_day};
use crate::columns::{HOUR_MICROS, stamp};
use crate::levels::{Dimensions, Grain, Level, dimension, holding, level};

/// The plan of a report.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Indexes in `DIMENSIONS`, in the order of the query, without duplicates.
    pub(crate) dimensions: Vec<usize>,
    /// The dimensions that the levels must distinguish.
    held: Dimensions,
    by_hour: bool,
    by_day: bool,
    by_month: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Sums(Level),
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

impl Plan {
    pub(crate) fn of(query: &UsageQuery) -> Result<Self, StoreError> {
        let mut plan = Self {
            dimensions: Vec::new(),
            held: 0,
            by_hour: false,
            by_day: false,
            by_month: false,
        };
        let mut needed = 0;
        if query.user.is_some() {
            needed |= 1;
        }
        for name in &query.by {
            match (name.as_str(), dimension(name)) {
                (_, Some(bit)) => {
                    needed |= bit;
                    let place = bit.trailing_zeros() as usize;
                    if !plan.dimensions.contains(&place) {
                        plan.dimensions.push(place);
                    }
                }
                ("hour", None) => plan.by_hour = true,
                ("day", None) => plan.by_day = true,
                ("month", None) => plan.by_month = true,
                _ => {
                    let text = format!("usage cannot be grouped by {name:?}");
                    return Err(StoreError::Broken(text));
                }
            }
        }
        plan.held = holding(needed);
        Ok(plan)
    }

    /// Whether the lines of a part are grouped by its hours, days or months.
    pub(crate) fn is_by_time(&self, part: &Part) -> bool {
        match part.source {
            // Rows cover parts of a day, unless the report reads only rows.
            Source::Rows => self.by_hour,
            Source::Sums(_) => self.by_hour || self.by_day || self.by_month,
        }
    }

    /// The coarsest sums that fit into the query's range, and rows for the rest of it.
    pub(crate) fn parts(&self, query: &UsageQuery, calendar: &Calendar) -> Vec<Part> {
        let range = (stamp(query.since), query.until.map_or(i64::MAX, stamp));
        let mut parts = Vec::new();
        let grains: &[Grain] = match (self.by_hour, self.by_day) {
            (true, _) => &[Grain::Hour],
            (false, true) => &[Grain::Day, Grain::Hour],
            (false, false) => &[Grain::Month, Grain::Day, Grain::Hour],
        };
        self.cover(range, grains, calendar, &mut parts);
        parts
    }

    fn cover(&self, range: Range, grains: &[Grain], calendar: &Calendar, parts: &mut Vec<Part>) {
        let (since, until) = range;
        if since >= until {
            return;
        }
        let Some((&grain, finer)) = grains.split_first() else {
            parts.push(Part {
                source: Source::Rows,
                from: since,
                to: until,
            });
            return;
        };
        let Some(level) = level(self.held, grain) else {
            return self.cover(range, finer, calendar, parts);
        };
        let (from, to) = grain.within(range, calendar);
        if from >= to {
            return self.cover(range, finer, calendar, parts);
        }
        let (begin, end) = (grain.first(from, calendar), grain.first(to, calendar));
        self.cover((since, begin), finer, calendar, parts);
        parts.push(Part {
            source: Source::Sums(level),
            from,
            to,
        });
        self.cover((end, until), finer, calendar, parts);
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

    fn first(self, number: i64, calendar: &Calendar) -> i64 {
        if number == i64::MAX {
            return i64::MAX;
        }
        match self {
            Self::Hour => number.saturating_mul(HOUR_MICROS),
            Self::Day => calendar.first_of_day(number),
            Self::Month => calendar.first_of_month(number),
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
    /// The name of a line of this part by `hour`, `day` or `month`. `period`: the hour, day or month of the line.
    pub(crate) fn time_name(
        &self,
        by: &str,
        period: Option<i64>,
        calendar: &mut Calendar,
    ) -> String {
        let day = match (self.source, period) {
            (Source::Sums(level), Some(period)) => match level.grain {
                Grain::Month => first_day(period),
                Grain::Day => period,
                Grain::Hour => calendar.day(period.saturating_mul(HOUR_MICROS)),
            },
            (Source::Rows, Some(hour)) => calendar.day(hour.saturating_mul(HOUR_MICROS)),
            // The part lies within one day.
            (_, None) => calendar.day(self.from),
        };
        match by {
            "hour" => hour_name(period.unwrap_or(0)),
            "day" => day_name(day),
            _ => month_name(month_of_day(day)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * HOUR_MICROS;
    /// 2026-11-01T00:00Z.
    const NOVEMBER: i64 = 1_793_491_200_000_000;

    fn parts(by: &[&str], since: i64, until: Option<i64>) -> Vec<(Option<i64>, i64, i64)> {
        let query = UsageQuery {
            since,
            until,
            by: by.iter().map(|&name| name.to_owned()).collect(),
            ..UsageQuery::default()
        };
        let calendar = Calendar::of("UTC").unwrap();
        let parts = Plan::of(&query).unwrap().parts(&query, &calendar);
        let shown = parts.into_iter().map(|part| match part.source {
            Source::Sums(level) => (Some(level.number), part.from, part.to),
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
            (Some(4), day - 1, day),
            (Some(6), month, month + 1),
            (Some(4), day + 30, day + 32),
            (None, behind - 1, behind),
        ];
        assert_eq!(parts(&["user", "model"], before, Some(behind)), expected);
        let open = parts(&["user"], NOVEMBER, None);
        assert_eq!(open, [(Some(5), month, i64::MAX)]);
        // Parts of a day are read from sums of hours, if there are any.
        let hours = [
            (Some(1), day * 24 + 1, day * 24 + 24),
            (Some(2), day + 1, day + 2),
        ];
        let range = (NOVEMBER + HOUR_MICROS, Some(NOVEMBER + 2 * DAY));
        assert_eq!(parts(&["model"], range.0, range.1), hours);
        assert_eq!(parts(&["user", "hour"], 7, None), [(None, 7, i64::MAX)]);
        assert_eq!(parts(&["model"], 7, Some(7)), []);
    }
}
