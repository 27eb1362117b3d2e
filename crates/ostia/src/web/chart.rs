//! Charts, drawn here: they need no script, and no library.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::show::compact;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 52.0;
const BOTTOM: f64 = 22.0;
/// Series that have a colour of their own; the rest is one.
const SERIES: usize = 5;
pub(super) const OTHERS: &str = "all others";

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

    /// `what`: what is counted, for those who do not see it.
    pub fn draw(&self, what: &str) -> Markup {
        let series = self.series();
        let most = self
            .periods
            .values()
            .map(|all| all.values().sum::<u64>())
            .max()
            .unwrap_or(0);
        let top = ceiling(most);
        let step = (WIDTH - LEFT) / (self.periods.len().max(1) as f64);
        let label = format!("{what} by period, at most {}", compact(most));
        html! {
            svg.chart viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(label) {
                @for part in 0..=4_u64 {
                    @let y = height(top / 4 * part, top);
                    line.grid x1=(LEFT) x2=(WIDTH) y1=(point(y)) y2=(point(y)) {}
                    text x=(LEFT - 8.0) y=(point(y + 4.0)) text-anchor="end" { (compact(top / 4 * part)) }
                }
                @for (at, (period, counts)) in self.periods.iter().enumerate() {
                    (bar(LEFT + step * at as f64, step, period, counts, &series, top))
                    @if is_labelled(at, self.periods.len()) {
                        text x=(point(LEFT + step * (at as f64 + 0.5))) y=(HEIGHT - 5.0) text-anchor="middle" { (short(period)) }
                    }
                }
            }
            (legend(&series))
        }
    }
}

fn bar(
    x: f64,
    step: f64,
    period: &str,
    counts: &BTreeMap<String, u64>,
    series: &[String],
    top: u64,
) -> Markup {
    let gap = (step * 0.18).min(6.0);
    let mut below = 0;
    let mut parts = Vec::new();
    for (place, name) in series.iter().enumerate() {
        let count = counts.get(name).copied().unwrap_or(0);
        if count > 0 {
            let (from, to) = (height(below, top), height(below + count, top));
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

fn height(count: u64, top: u64) -> f64 {
    let room = HEIGHT - BOTTOM - 8.0;
    HEIGHT - BOTTOM - room * (count as f64) / (top.max(1) as f64)
}

/// As many labels as there is room for.
fn is_labelled(at: usize, of: usize) -> bool {
    at.is_multiple_of(of.div_ceil(12).max(1))
}

/// `2026-11-30` is `11-30`, and of an hour only that.
fn short(period: &str) -> &str {
    match period.len() {
        10 => period.get(5..).unwrap_or(period),
        16.. => period.get(11..16).unwrap_or(period),
        _ => period,
    }
}

/// The next number that is good to read, whose quarters are too.
fn ceiling(most: u64) -> u64 {
    let mut unit = 4_u64;
    loop {
        for factor in [1, 2, 3, 5, 7] {
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
        assert_eq!(drawn.matches("<rect class=\"s0\"").count(), 2);
        assert!(drawn.contains(">11-29<"));
        assert!(!drawn.contains("style="));
    }

    #[test]
    fn an_axis_ends_at_a_round_number() {
        for (most, top) in [
            (0, 4),
            (5, 8),
            (12, 12),
            (13, 20),
            (29, 40),
            (41, 80),
            (99, 120),
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
