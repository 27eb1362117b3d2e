//! How numbers and moments look.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use maud::{Markup, html};

use crate::fleet::ModelState;
use crate::live::Live;

/// `1 234 567`, with narrow spaces.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push('\u{202f}');
        }
        shown.push(digit);
    }
    shown
}

/// `1.2 M`: for axes and large figures.
pub(super) fn compact(number: u64) -> String {
    let units = [(1_000_000_000_u64, "G"), (1_000_000, "M"), (10_000, "k")];
    for (unit, word) in units {
        if number >= unit {
            let unit = if word == "k" { 1_000 } else { unit };
            let tenths = number / (unit / 10);
            return match tenths % 10 {
                0 => format!("{}\u{202f}{word}", tenths / 10),
                rest => format!("{}.{rest}\u{202f}{word}", tenths / 10),
            };
        }
    }
    self::number(number)
}

/// A moment in the zone of the site's reports; the exact one is in the element.
pub(super) fn moment(live: &Live, unix_micros: i64) -> Markup {
    let (time, local) = in_zone(live, unix_micros);
    html! {
        time datetime=(format!("{time:.0}")) title=(local.strftime("%Y-%m-%d %H:%M:%S %Z").to_string()) {
            (local.strftime("%Y-%m-%d %H:%M").to_string())
        }
    }
}

/// The day of a moment; the exact one is in the element.
pub(super) fn day(live: &Live, unix_micros: i64) -> Markup {
    let (time, local) = in_zone(live, unix_micros);
    html! {
        time datetime=(format!("{time:.0}")) title=(local.strftime("%Y-%m-%d %H:%M:%S %Z").to_string()) {
            (local.strftime("%Y-%m-%d").to_string())
        }
    }
}

fn in_zone(live: &Live, unix_micros: i64) -> (Timestamp, Zoned) {
    let time = Timestamp::from_microsecond(unix_micros).unwrap_or(Timestamp::UNIX_EPOCH);
    let zone = TimeZone::get(&live.settings.reports.timezone).unwrap_or(TimeZone::UTC);
    (time, time.to_zoned(zone))
}

pub(super) fn maybe_day(live: &Live, unix_micros: Option<i64>) -> Markup {
    match unix_micros {
        Some(at) => day(live, at),
        None => html! { span.faint { "–" } },
    }
}

pub(super) fn maybe_moment(live: &Live, unix_micros: Option<i64>) -> Markup {
    match unix_micros {
        Some(at) => moment(live, at),
        None => html! { span.faint { "–" } },
    }
}

/// `850 ms`, `1.3 s`, `2 min`, `3 h`.
pub(super) fn span(span: Duration) -> String {
    let millis = span.as_millis();
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis / 100 % 10),
        60_000..7_200_000 => format!("{} min", millis / 60_000),
        7_200_000..172_800_000 => format!("{} h", millis / 3_600_000),
        _ => format!("{} days", millis / 86_400_000),
    }
}

pub(super) fn millis(millis: u64) -> String {
    span(Duration::from_millis(millis))
}

/// A word of an API as the head of a column: `total_tokens` is `Total tokens`.
pub(super) fn title(word: &str) -> String {
    let mut letters = word.chars();
    let first: String = letters
        .next()
        .map_or_else(String::new, |letter| letter.to_uppercase().collect());
    format!("{first}{}", letters.as_str().replace('_', " "))
}

/// A text of the documentation: what stands between backticks is code.
pub(super) fn prose(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// A word with a dot of its colour: the word alone tells as much.
pub(super) fn pill(kind: &str, word: &str) -> Markup {
    html! { span class=(format!("pill {kind}")) { (word) } }
}

pub(super) fn state(state: ModelState) -> Markup {
    match state {
        ModelState::Running => pill("good", "live"),
        ModelState::Starting => pill("fair", "starting"),
        ModelState::Draining => pill("fair", "draining"),
        ModelState::Queued => pill("fair", "queued"),
        ModelState::Stopped => pill("off", "stopped"),
        ModelState::Unknown => pill("off", "not known"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(number(0), "0");
        assert_eq!(number(1_234_567), "1\u{202f}234\u{202f}567");
        for (count, shown) in [
            (999, "999"),
            (9_999, "9\u{202f}999"),
            (12_000, "12\u{202f}k"),
            (12_345, "12.3\u{202f}k"),
            (1_500_000, "1.5\u{202f}M"),
            (2_000_000_000, "2\u{202f}G"),
        ] {
            assert_eq!(compact(count), shown);
        }
        assert_eq!(title("total_tokens"), "Total tokens");
        assert_eq!(
            prose("Send `Retry-After` <b>.").into_string(),
            "Send <code>Retry-After</code> &lt;b&gt;."
        );
        assert_eq!(millis(850), "850 ms");
        assert_eq!(millis(1_350), "1.3 s");
        assert_eq!(millis(120_000), "2 min");
    }
}
