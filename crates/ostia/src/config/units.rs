use std::time::Duration;

use jiff::fmt::friendly::SpanParser;
use jiff::{Span, SpanRelativeTo};

const DAYS_A_YEAR: i64 = 365;

/// Timers add durations to "now": a century keeps that from overflowing.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Reads `250ms`, `10s`, `1h30m`, `7d`, `2w`, `10y`; a bare number is seconds. A day has 24 hours, a year 365 days.
///
/// # Errors
///
/// The text has another form, or means more than 100 years.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let read = match text.parse().map(Duration::from_secs) {
        Ok(seconds) => Some(seconds),
        Err(_) => SpanParser::new()
            .parse_span(text)
            .and_then(with_years_in_days)
            .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
            .and_then(Duration::try_from)
            .ok(),
    };
    match read {
        Some(duration) if duration <= LONGEST => Ok(duration),
        Some(_) => Err(format!("`{text}` is longer than 100 years")),
        None => Err(format!(
            "`{text}` is not a duration: write `250ms`, `10s`, `5m`, `1h`, `1d` or `1y`"
        )),
    }
}

fn with_years_in_days(span: Span) -> Result<Span, jiff::Error> {
    let days = i64::from(span.get_years()) * DAYS_A_YEAR + i64::from(span.get_days());
    span.try_years(0)?.try_days(days)
}

/// Reads a number of bytes: `33554432`, `32MiB`, `64KB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let fault =
        || format!("`{text}` is not a size: write a number of bytes, or `512KiB`, `32MiB`, `2GiB`");
    let (number, unit) = leading_number(text.trim()).ok_or_else(fault)?;
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(fault()),
    };
    number.checked_mul(factor).ok_or_else(fault)
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|next: char| !next.is_ascii_digit() && next != '_')
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let number = digits.replace('_', "").parse().ok()?;
    Some((number, rest))
}

/// Splits a list written as text: at commas, spaces and lines.
pub(super) fn split_list(text: &str) -> impl Iterator<Item = &str> {
    text.split(|next: char| next == ',' || next.is_whitespace())
        .filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{duration, size, split_list};
    use std::time::Duration;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("0", 0),
            ("10", 10_000),
            ("250ms", 250),
            ("10s", 10_000),
            ("1m", 60_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("1.5s", 1_500),
            ("2d", 172_800_000),
            ("2w", 1_209_600_000),
            ("36500d", 3_153_600_000_000),
            ("100y", 3_153_600_000_000),
            ("1y2d", 31_708_800_000),
            ("10 years", 315_360_000_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in [
            "",
            "s",
            "-1s",
            "-1",
            "1s ago",
            "10 parsecs",
            "1m30",
            "1mo",
            "-1y",
            "101y",
            "3é",
            "36501d",
            "99999999999999999999s",
            "99999999999999999d",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("33554432", 33_554_432),
            ("32MiB", 33_554_432),
            ("64 kb", 64_000),
            ("1_000", 1_000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "MiB", "-1", "1K", "18446744073709551615GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists() {
        let parts: Vec<_> = split_list(" a, b\nc\td,,e ").collect();
        assert_eq!(parts, ["a", "b", "c", "d", "e"]);
    }
}
