//! The table of results.

use super::Site;
use super::results::{Metric, Results};
use super::target::Kind;
use std::fmt::Write;
use std::process::Command;

const HEADER: &str = "\
| | plain, CPU us | stream, CPU us | 32 KB prompt | 1 MB prompt (4 conn.) | added p50 / p99 at 1,000/s, us | added p50 / p99 at 5,000/s, us | plain, requests/s | 1,000 open streams, MiB over rest | 1,000 idle connections, MiB over rest | start to first answer, ms |
|---|---|---|---|---|---|---|---|---|---|---|
";

pub fn markdown(kinds: &[Kind], results: &Results) -> String {
    let mut table = String::from(HEADER);
    for kind in kinds {
        let _ = writeln!(
            table,
            "| {} | {} |",
            name(*kind),
            row(*kind, results).join(" | ")
        );
    }
    table
}

fn name(kind: Kind) -> String {
    match kind {
        Kind::Direct => "direct (the mock's own CPU)".into(),
        kind => kind.to_string(),
    }
}

fn row(kind: Kind, results: &Results) -> Vec<String> {
    let cell = |metric| with_ratio(results.median(kind, metric), results.ratio(kind, metric));
    let added = |p50, p99| {
        let of = |metric| {
            with_ratio(
                results.added(kind, metric),
                results.added_ratio(kind, metric),
            )
        };
        match kind {
            Kind::Direct => "0".into(),
            _ => format!("{} / {}", of(p50), of(p99)),
        }
    };
    vec![
        cell(Metric::Plain),
        cell(Metric::Stream),
        cell(Metric::Prompt32k),
        cell(Metric::Prompt1m),
        added(Metric::P50At1000, Metric::P99At1000),
        added(Metric::P50At5000, Metric::P99At5000),
        cell(Metric::PerSecond),
        cell(Metric::OpenMib),
        cell(Metric::IdleMib),
        cell(Metric::FirstAnswerMs),
    ]
}

/// "22.6 (2.00)": the figure, and its ratio to nginx's.
fn with_ratio(value: Option<f64>, ratio: Option<f64>) -> String {
    let Some(value) = value else {
        return "–".into();
    };
    let digits = if value.abs() < 100.0 { 1 } else { 0 };
    match ratio {
        Some(ratio) => format!("{value:.digits$} ({ratio:.2})"),
        None => format!("{value:.digits$}"),
    }
}

/// What was measured, and how.
pub fn caption(kinds: &[Kind], site: &Site, rounds: u32) -> String {
    let versions: Vec<String> = kinds
        .iter()
        .filter_map(|kind| version(*kind, site))
        .collect();
    format!(
        "{}. {rounds} interleaved rounds of {} s a case, medians; in brackets: times nginx.",
        versions.join(", "),
        site.seconds,
    )
}

fn version(kind: Kind, site: &Site) -> Option<String> {
    let output = match kind {
        Kind::Direct => return None,
        Kind::Nginx => Command::new("nginx").arg("-v").output(),
        Kind::Haproxy => Command::new("haproxy").arg("-v").output(),
        Kind::Ostia => Command::new(&site.ostia).arg("--version").output(),
    };
    let output = output.ok()?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Some(format!("{kind} {}", number(&text)))
}

/// The first word that starts with a digit, after a prefix like "nginx/".
fn number(text: &str) -> &str {
    let words = text.split([' ', '/', '\n']);
    words
        .into_iter()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .unwrap_or("of unknown version")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_hold_figure_and_ratio() {
        assert_eq!(with_ratio(Some(22.6), Some(2.0)), "22.6 (2.00)");
        assert_eq!(with_ratio(Some(1234.5), None), "1234");
        assert_eq!(with_ratio(None, Some(1.0)), "–");
    }

    #[test]
    fn rows_have_as_many_cells_as_the_header() {
        let mut results = Results::default();
        results.add(Kind::Nginx, Metric::Plain, 10.0);
        results.add(Kind::Ostia, Metric::Plain, 13.0);
        let table = markdown(&[Kind::Direct, Kind::Nginx, Kind::Ostia], &results);
        let cells: Vec<_> = table
            .lines()
            .map(|line| line.matches('|').count())
            .collect();
        assert!(cells.iter().all(|count| *count == cells[0]), "{table}");
        assert!(table.contains("| Ostia | 13.0 (1.30) |"));
    }

    #[test]
    fn versions_are_found_in_what_programs_say() {
        assert_eq!(number("nginx version: nginx/1.22.1\n"), "1.22.1");
        assert_eq!(
            number("HAProxy version 2.6.12-1+deb12u4 2026/10/17"),
            "2.6.12-1+deb12u4"
        );
        assert_eq!(number("ostia 0.1.0"), "0.1.0");
    }
}
