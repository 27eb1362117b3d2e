//! Days and months of a time zone, as numbers.

use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::columns::{DAY_MICROS, HOUR_MICROS, stamp};

const EPOCH: Date = date(1970, 1, 1);

/// Numbers of hours, days and months. Hours count from 1970-01-01 in UTC, days from that date in the zone, months from
/// the year 0.
#[derive(Debug, Clone)]
pub(crate) struct Calendar {
    zone: TimeZone,
    /// The last day that was asked for: its first moment, its end (not included) and its number.
    last: (i64, i64, i64),
}

impl Calendar {
    /// `None`: the zone does not exist.
    pub(crate) fn of(zone: &str) -> Option<Self> {
        let zone = TimeZone::get(zone).ok()?;
        Some(Self {
            zone,
            last: (0, 0, 0),
        })
    }

    pub(crate) fn day(&mut self, micros: i64) -> i64 {
        let micros = stamp(micros);
        let (start, end, day) = self.last;
        if (start..end).contains(&micros) {
            return day;
        }
        // jiff's range ends a day before the last moment that databases can represent.
        let day = match Timestamp::from_microsecond(micros) {
            Ok(moment) => number(self.zone.to_datetime(moment).date()),
            Err(_) => micros / DAY_MICROS,
        };
        self.last = (self.first_of_day(day), self.first_of_day(day + 1), day);
        day
    }

    pub(crate) fn month(&mut self, micros: i64) -> i64 {
        month_of_day(self.day(micros))
    }

    /// The first moment of a day.
    pub(crate) fn first_of_day(&self, day: i64) -> i64 {
        let begun = self.zone.to_zoned(civil(day).at(0, 0, 0, 0));
        begun.map_or(day.saturating_mul(DAY_MICROS), |begun| {
            begun.timestamp().as_microsecond()
        })
    }

    /// The first moment of a month.
    pub(crate) fn first_of_month(&self, month: i64) -> i64 {
        self.first_of_day(first_day(month))
    }
}

pub(crate) fn month_of_day(day: i64) -> i64 {
    let civil = civil(day);
    i64::from(civil.year()) * 12 + i64::from(civil.month()) - 1
}

pub(crate) fn first_day(month: i64) -> i64 {
    let year = i16::try_from(month.div_euclid(12)).unwrap_or(i16::MAX);
    let month = i8::try_from(month.rem_euclid(12)).unwrap_or(0) + 1;
    Date::new(year, month, 1).map_or(i64::MAX, number)
}

pub(crate) const fn hour(micros: i64) -> i64 {
    micros.div_euclid(HOUR_MICROS)
}

/// `2026-01-31T23:00Z`.
pub(crate) fn hour_name(hour: i64) -> String {
    let (day, hour) = (hour.div_euclid(24), hour.rem_euclid(24));
    format!("{}T{hour:02}:00Z", civil(day))
}

/// `2026-01-31`.
pub(crate) fn day_name(day: i64) -> String {
    civil(day).to_string()
}

/// `2026-01`.
pub(crate) fn month_name(month: i64) -> String {
    format!(
        "{:04}-{:02}",
        month.div_euclid(12),
        month.rem_euclid(12) + 1
    )
}

fn civil(day: i64) -> Date {
    let date = i32::try_from(day)
        .ok()
        .and_then(|day| EPOCH.checked_add(day.days()).ok());
    date.unwrap_or(Date::MAX)
}

fn number(date: Date) -> i64 {
    EPOCH
        .until(date)
        .map_or(0, |span| i64::from(span.get_days()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_at_midnight_of_the_zone() {
        let noon = 1_795_435_200_000_000;
        let mut utc = Calendar::of("UTC").unwrap();
        let mut berlin = Calendar::of("Europe/Berlin").unwrap();
        assert_eq!(day_name(utc.day(noon)), "2026-11-23");
        assert_eq!(
            utc.first_of_day(utc.clone().day(noon)),
            noon - DAY_MICROS / 2
        );
        assert_eq!(berlin.first_of_day(utc.day(noon)), noon - 13 * HOUR_MICROS);
        let late = noon + 23 * HOUR_MICROS / 2;
        assert_eq!(day_name(utc.day(late)), "2026-11-23");
        assert_eq!(day_name(berlin.day(late)), "2026-11-24");
        assert_eq!(Calendar::of("Mars/Olympus").map(|_| ()), None);
    }

    /// A day on which clocks go back has 25 hours.
    #[test]
    fn a_day_has_as_many_hours_as_it_has() {
        let berlin = Calendar::of("Europe/Berlin").unwrap();
        let day = number(date(2026, 10, 25));
        let hours = (berlin.first_of_day(day + 1) - berlin.first_of_day(day)) / HOUR_MICROS;
        assert_eq!(hours, 25);
    }

    #[test]
    fn months_and_names() {
        let mut utc = Calendar::of("UTC").unwrap();
        let last = utc.day(i64::MAX);
        assert_eq!(
            (day_name(last), day_name(0)),
            ("9999-12-31".into(), "1970-01-01".into())
        );
        assert_eq!(month_name(month_of_day(0)), "1970-01");
        assert_eq!(month_name(month_of_day(last)), "9999-12");
        let month = utc.month(1_795_435_200_000_000);
        assert_eq!(month_name(month), "2026-11");
        assert_eq!(day_name(first_day(month)), "2026-11-01");
        assert_eq!(month_of_day(first_day(month + 2)), month + 2);
        assert_eq!(hour_name(hour(1_795_435_200_000_000)), "2026-11-23T12:00Z");
    }
}
