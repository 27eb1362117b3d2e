//! Charts, drawn here: they need no script, and no library.

use std::collections::BTreeMap;

use jiff::civil::Date;
use maud::{Markup, html};

use super::show::compact;

/// Room for what is counted, above the bars, and for half of the last label, beside them.
const TOP: f64 = 26.0;
const RIGHT: f64 = 14.0;
const BOTTOM: f64 = 24.0;
/// A chart is drawn twice, so that its text is as large on a phone as on a desk. The style shows one of them.
const FRAMES: [Frame; 2] = [
    Frame {
        class: "chart",
        width: 900.0,
        height: 250.0,
        left: 56.0,
        labels: 10,
    },
    Frame {
        class: "chart narrow",
        width: 340.0,
        height: 220.0,
        left: 50.0,
        labels: 4,
    },
];
/// Series that have a colour of their own; the rest is one.
const SERIES: usize = 5;
pub(super) const OTHERS: &str = "all others";

/// How large a chart is, in pixels where it has the room.
struct Frame {
    class: &'static str,
    width: f64,
    height: f64,
    /// For the numbers of the axis.
    left: f64,
    /// Periods that are named, at most.
    labels: usize,
}

/// Bars of one period each, made of series that stand on each other.
#[derive(Default)]
pub(super) struct Bars {
    /// Period -> series -> count.
    periods: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Bars {
    /// Periods without anything are there too, in the order of their names.
    pub fn of(periods: impl IntoIterator<Item = String>) -> Self {
        let periods = periods.into_iter().map(|period| (period, BTreeMap::new()));
        Self {
            periods: periods.collect(),
        }
    }

    pub fn add(&mut self, period: &str, series: &str, count: u64) {
        let all = self.periods.entry(period.to_owned()).or_default();
        let sum = all.entry(series.to_owned()).or_default();
        *sum = sum.saturating_add(count);
    }

    /// The largest first.
    fn series(&self) -> Vec<String> {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for (name, count) in self.periods.values().flatten() {
            *sums.entry(name).or_default() += count;
        }
        let mut names: Vec<_> = sums.into_iter().filter(|(_, sum)| *sum > 0).collect();
        names.sort_by_key(|(_, sum)| std::cmp::Reverse(*sum));
        names.into_iter().map(|(name, _)| name.to_owned()).collect()
    }

    /// `what`: what is counted.
    pub fn draw(&self, what: &str) -> Markup {
        let series = self.series();
        let most = self
            .periods
            .values()
            .map(|all| all.values().sum::<u64>())
            .max()
            .unwrap_or(0);
        let top = ceiling(most);
        let label = format!("{what} by period, at most {}", compact(most));
        html! {
            @for frame in &FRAMES {
                svg class=(frame.class) viewBox=(format!("0 0 {} {}", frame.width, frame.height)) role="img" aria-label=(label) {
                    text.unit x="0" y="12" { (what) }
                    (frame.axis(top))
                    @for (at, (period, counts)) in self.periods.iter().enumerate() {
                        (frame.bar(at, self.periods.len(), period, counts, &series, top))
                    }
                }
            }
            (legend(&series))
        }
    }
}

impl Frame {
    fn axis(&self, top: u64) -> Markup {
        html! {
            @for part in 0..=4_u64 {
                @let y = self.height_of(top / 4 * part, top);
                line.grid x1=(self.left) x2=(self.width - RIGHT) y1=(point(y)) y2=(point(y)) {}
                text x=(self.left - 8.0) y=(point(y + 4.0)) text-anchor="end" { (compact(top / 4 * part)) }
            }
        }
    }

    /// The `at`th of so many periods, and its name where there is room.
    fn bar(
        &self,
        at: usize,
        of: usize,
        period: &str,
        counts: &BTreeMap<String, u64>,
        series: &[String],
        top: u64,
    ) -> Markup {
        let step = (self.width - self.left - RIGHT) / (of.max(1) as f64);
        let x = self.left + step * at as f64;
        let gap = (step * 0.22).min(6.0);
        let mut below = 0;
        let mut parts = Vec::new();
        for (place, name) in series.iter().enumerate() {
            let count = counts.get(name).copied().unwrap_or(0);
            if count > 0 {
                let (from, to) = (
                    self.height_of(below, top),
                    self.height_of(below + count, top),
                );
                parts.push((place.min(SERIES), to, from - to));
                below += count;
            }
        }
        html! {
            g {
                title { (period) ": " (compact(below)) }
                @for (place, y, tall) in parts {
                    rect class=(format!("s{place}")) x=(point(x + gap / 2.0)) y=(point(y)) width=(point(step - gap))
                        height=(point(tall)) {}
                }
            }
            @if self.is_labelled(at, of) {
                text x=(point(x + step / 2.0)) y=(self.height - 6.0) text-anchor="middle" { (short(period)) }
            }
        }
    }

    fn height_of(&self, count: u64, top: u64) -> f64 {
        let room = self.height - BOTTOM - TOP;
        self.height - BOTTOM - room * (count as f64) / (top.max(1) as f64)
    }

    fn is_labelled(&self, at: usize, of: usize) -> bool {
        at.is_multiple_of(of.div_ceil(self.labels).max(1))
    }
}

fn legend(series: &[String]) -> Markup {
    html! {
        @if series.len() > 1 {
            ul.legend {
                @for (place, name) in series.iter().take(SERIES).enumerate() {
                    li { (swatch(place)) @if name.is_empty() { "none" } @else { (name) } }
                }
                @if series.len() > SERIES { li { (swatch(SERIES)) (OTHERS) } }
            }
        }
    }
}

fn swatch(place: usize) -> Markup {
    html! {
        svg viewBox="0 0 10 10" aria-hidden="true" { rect class=(format!("s{place}")) width="10" height="10" rx="2" {} }
    }
}

/// `2026-11-03` is `Nov 3`.
fn short(period: &str) -> String {
    match period.parse::<Date>() {
        Ok(date) => date.strftime("%b %-d").to_string(),
        Err(_) => period.to_owned(),
    }
}

/// The next number that is good to read, whose quarters are too.
fn ceiling(most: u64) -> u64 {
    let mut unit = 4_u64;
    loop {
        for factor in [1, 2, 3, 5, 6, 8] {
            if most <= unit.saturating_mul(factor) {
                return unit.saturating_mul(factor);
            }
        }
        match unit.checked_mul(10) {
            Some(larger) => unit = larger,
            None => return most,
        }
    }
}

fn point(number: f64) -> String {
    format!("{number:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_on_each_other_and_names_are_text() {
        let mut bars = Bars::of(["2026-11-29".to_owned(), "2026-11-30".to_owned()]);
        bars.add("2026-11-30", "<b>m</b>", 6);
        bars.add("2026-11-30", "n", 2);
        let drawn = bars.draw("Requests").into_string();
        assert!(
            drawn.contains("&lt;b&gt;m&lt;/b&gt;") && !drawn.contains("<b>"),
            "{drawn}"
        );
        // Two charts, and their legend.
        assert_eq!(drawn.matches("<rect class=\"s0\"").count(), 3);
        assert!(drawn.contains(">Nov 29<") && drawn.contains(">Requests</text>"));
        assert!(!drawn.contains("style="));
    }

    #[test]
    fn an_axis_ends_at_a_round_number() {
        for (most, top) in [
            (0, 4),
            (5, 8),
            (12, 12),
            (13, 20),
            (29, 32),
            (41, 80),
            (99, 120),
            (24_000, 24_000),
            (25_000, 32_000),
        ] {
            assert_eq!(ceiling(most), top);
        }
        assert!(ceiling(u64::MAX) >= u64::MAX / 2);
    }

    #[test]
    fn nothing_to_draw_is_drawn_all_the_same() {
        assert!(
            Bars::default()
                .draw("Requests")
                .into_string()
                .contains("<svg")
        );
    }
}
