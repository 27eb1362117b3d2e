/// A non-negative count, read as lenient servers do: `20`, ` +20 `, `1_000`, `20.0`, `2e1`, `Infinity`. Fractions are
/// rounded up, and a value that is too large becomes the largest.
pub(super) fn count_in(text: &str) -> Option<u64> {
    let plain = text.trim().replace('_', "");
    if ["inf", "infinity"]
        .iter()
        .any(|word| plain.eq_ignore_ascii_case(word))
    {
        return Some(u64::MAX);
    }
    if !plain.starts_with(|at: char| at.is_ascii_digit() || matches!(at, '+' | '-' | '.')) {
        return None;
    }
    match plain.parse() {
        Ok(count) => Some(count),
        Err(_) => count_of(plain.parse().ok()?),
    }
}

/// The same for a number.
fn count_of(number: f64) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is not negative, and `as` saturates"
    )]
    (number >= 0.0).then(|| number.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::count_in;

    #[test]
    fn counts_in_every_spelling() {
        for (text, count) in [
            ("20", Some(20)),
            (" +20\n", Some(20)),
            ("1_000", Some(1000)),
            ("020", Some(20)),
            ("20.0", Some(20)),
            ("2e1", Some(20)),
            ("2E+1", Some(20)),
            (".5", Some(1)),
            ("19.01", Some(20)),
            ("18446744073709551616", Some(u64::MAX)),
            ("1e999", Some(u64::MAX)),
            ("-1", None),
            ("-0", Some(0)),
            ("", None),
            ("inf", Some(u64::MAX)),
            (" Infinity ", Some(u64::MAX)),
            ("+inf", Some(u64::MAX)),
            ("+Infinity", Some(u64::MAX)),
            ("-Infinity", None),
            ("20_0", Some(200)),
            ("nan", None),
            ("many", None),
            ("0x14", None),
            ("2 0", None),
        ] {
            assert_eq!(count_in(text), count, "{text:?}");
        }
    }
}
