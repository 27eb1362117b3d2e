use std::time::Duration;

/// Reads `10s`, `250ms`, `1h30m`; a bare number is seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let fault = || format!("`{text}` is no duration: write `250ms`, `10s`, `5m`, `1h` or `1d`");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(fault());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, after) = leading_number(rest).ok_or_else(fault)?;
        let end = after
            .find(|next: char| !next.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let part = match unit {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "" if after.is_empty() && total.is_zero() => Duration::from_secs(number),
            "m" => times(number, 60).ok_or_else(fault)?,
            "h" => times(number, 3_600).ok_or_else(fault)?,
            "d" => times(number, 86_400).ok_or_else(fault)?,
            _ => return Err(fault()),
        };
        total = total.checked_add(part).ok_or_else(fault)?;
        rest = after.trim_start();
    }
    // Timers add durations to "now": a century keeps that from overflowing.
    if total > Duration::from_secs(100 * 365 * 86_400) {
        return Err(format!("`{text}` is longer than 100 years"));
    }
    Ok(total)
}

fn times(number: u64, seconds: u64) -> Option<Duration> {
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// Reads a number of bytes: `33554432`, `32MiB`, `64KB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let fault =
        || format!("`{text}` is no size: write a number of bytes, or `512KiB`, `32MiB`, `2GiB`");
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
            ("2d", 172_800_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in [
            "",
            "s",
            "-1s",
            "1.5s",
            "10 parsecs",
            "1m30",
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
