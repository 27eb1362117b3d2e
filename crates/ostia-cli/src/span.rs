use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use ostia::config::duration;

/// A length of time as people write it: `30d`, `12h`, `90m`, `45s`, `2w`. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(Duration);

/// A point in time: a span from now, the beginning of a day, or a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Span(Span),
    /// Unix microseconds.
    At(i64),
    Day(Date),
}

impl Span {
    pub const fn duration(self) -> Duration {
        self.0
    }

    pub fn micros(self) -> i64 {
        i64::try_from(self.0.as_micros()).unwrap_or(i64::MAX)
    }
}

impl Moment {
    /// Unix microseconds; a span counts back from now. Days are in `zone`.
    pub fn before(self, now: i64, zone: &TimeZone) -> i64 {
        match self {
            Self::Span(span) => now.saturating_sub(span.micros()),
            Self::At(moment) => moment,
            Self::Day(day) => midnight(day, zone),
        }
    }

    /// Unix microseconds; a span counts from now.
    pub fn after(self, now: i64) -> i64 {
        match self {
            Self::Span(span) => now.saturating_add(span.micros()),
            Self::At(moment) => moment,
            Self::Day(day) => midnight(day, &TimeZone::UTC),
        }
    }
}

impl FromStr for Span {
    type Err = String;

    /// As in `ostia.toml`, but a unit is required, because `--expires 90` hardly means seconds.
    fn from_str(text: &str) -> Result<Self, String> {
        match duration(text) {
            Ok(span) if span.is_zero() => Err("it must be longer than zero".to_owned()),
            Ok(span) if !text.ends_with(|last: char| last.is_ascii_digit()) => Ok(Self(span)),
            Ok(_) => Err("write a number and a unit: 45s, 90m, 12h, 30d, 2w".to_owned()),
            Err(fault) => Err(fault),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(span) = text.parse() {
            return Ok(Self::Span(span));
        }
        if let Ok(moment) = text.parse::<Timestamp>() {
            return Ok(Self::At(moment.as_microsecond()));
        }
        // jiff would read the date at the start of a longer text and ignore the rest.
        let day = (text.len() == "2026-01-31".len()).then(|| text.parse::<Date>().ok());
        match day.flatten() {
            Some(day) => Ok(Self::Day(day)),
            None => Err("write 7d, 12h or 30m, or a date such as 2026-01-31".to_owned()),
        }
    }
}

fn midnight(day: Date, zone: &TimeZone) -> i64 {
    let begun = day.to_zoned(zone.clone());
    begun.map_or(i64::MAX, |begun| begun.timestamp().as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::{Moment, Span};

    #[test]
    fn spans() {
        for (text, seconds) in [
            ("45s", 45),
            ("90m", 5_400),
            ("12h", 43_200),
            ("30d", 2_592_000),
            ("2w", 1_209_600),
            ("1d2h", 93_600),
            ("1y", 31_536_000),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.micros(), seconds * 1_000_000, "{text}");
        }
        for wrong in [
            "",
            "d",
            "30",
            "0d",
            "-1d",
            "101y",
            "3é",
            "99999999999999999999d",
            "36501d",
        ] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn moments() {
        let now = 1_795_392_000_000_000;
        for (text, expected) in [
            ("7d", now - 7 * 86_400_000_000),
            ("30m", now - 1_800_000_000),
            ("2026-11-22", now - 86_400_000_000),
            ("2026-11-22T12:00:00Z", now - 43_200_000_000),
            ("2026-11-22T12:00:00+01:00", now - 46_800_000_000),
        ] {
            let moment: Moment = text.parse().unwrap();
            assert_eq!(
                moment.before(now, &jiff::tz::TimeZone::UTC),
                expected,
                "{text}"
            );
            let ahead = if text.contains('-') {
                expected
            } else {
                2 * now - expected
            };
            assert_eq!(moment.after(now), ahead, "{text}");
        }
        for wrong in [
            "",
            "yesterday",
            "2026-13-01",
            "2026-02-30",
            "20261122",
            "2026-11-22 noon",
        ] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong:?}");
        }
    }
}
