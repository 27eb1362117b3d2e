//! The table of results.

use super::Site;
use super::results::{Metric, Results};
use super::target::Kind;
use std::fmt::Write;
use std::process::Command;

/// What a row shows of each target.
enum Shows {
    /// The figure itself.
    Own(Metric),
    /// What the target adds to a direct call.
    Added(Metric),
}

const ROWS: [(&str, Shows); 20] = [
    ("plain, CPU us", Shows::Own(Metric::Plain)),
    ("stream of 64 chunks, CPU us", Shows::Own(Metric::Stream)),
    ("the same, usage asked", Shows::Own(Metric::StreamUsage)),
    ("stream of 1,000 chunks", Shows::Own(Metric::StreamLong)),
    ("32 KB prompt", Shows::Own(Metric::Prompt32k)),
    (
        "300 KB prompt (4 connections)",
        Shows::Own(Metric::Prompt300k),
    ),
    ("1 MB prompt (4 connections)", Shows::Own(Metric::Prompt1m)),
    (
        "3.4 MB prompt (2 connections)",
        Shows::Own(Metric::Prompt3400k),
    ),
    (
        "coding agent's turns (4 connections)",
        Shows::Own(Metric::Agent),
    ),
    (
        "1,000 streams, 20 chunks a second, CPU us a stream",
        Shows::Own(Metric::Paced),
    ),
    (
        "the same, added to the p99 between chunks, us",
        Shows::Added(Metric::PacedP99Gap),
    ),
    ("added p50 at 1,000/s, us", Shows::Added(Metric::P50At1000)),
    ("added p99 at 1,000/s, us", Shows::Added(Metric::P99At1000)),
    ("added p50 at 5,000/s, us", Shows::Added(Metric::P50At5000)),
    ("added p99 at 5,000/s, us", Shows::Added(Metric::P99At5000)),
    ("plain, requests/s", Shows::Own(Metric::PerSecond)),
    (
        "1,000 open streams, MiB over rest",
        Shows::Own(Metric::OpenMib),
    ),
    (
        "5,000 open streams, MiB over rest",
        Shows::Own(Metric::Open5000Mib),
    ),
    (
        "1,000 idle connections, MiB over rest",
        Shows::Own(Metric::IdleMib),
    ),
    (
        "start to first answer, ms",
        Shows::Own(Metric::FirstAnswerMs),
    ),
];

/// A column for each target, a row for each figure.
pub fn markdown(kinds: &[Kind], results: &Results) -> String {
    let names: Vec<String> = kinds.iter().map(|kind| name(*kind)).collect();
    let mut table = format!(
        "| | {} |\n|---|{}\n",
        names.join(" | "),
        "---|".repeat(kinds.len())
    );
    for (title, shows) in &ROWS {
        let cells: Vec<String> = kinds
            .iter()
            .map(|kind| cell(*kind, shows, results))
            .collect();
        let _ = writeln!(table, "| {title} | {} |", cells.join(" | "));
    }
    table
}

fn name(kind: Kind) -> String {
    match kind {
        Kind::Direct => "direct (the mock's own CPU)".into(),
        kind => kind.to_string(),
    }
}

fn cell(kind: Kind, shows: &Shows, results: &Results) -> String {
    match shows {
        Shows::Own(metric) => {
            with_ratio(results.median(kind, *metric), results.ratio(kind, *metric))
        }
        Shows::Added(_) if kind == Kind::Direct => "0".into(),
        Shows::Added(metric) => with_ratio(
            results.added(kind, *metric),
            results.added_ratio(kind, *metric),
        ),
    }
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
        Kind::Direct | Kind::Hyper | Kind::Before => return None,
        Kind::Nginx => Command::new("nginx").arg("-v").output(),
        Kind::Haproxy => Command::new("haproxy").arg("-v").output(),
        Kind::VllmRouter | Kind::SglangRouter | Kind::LiteLlm => {
            let program = kind.program().unwrap_or_default();
            Command::new(program).arg("--version").output()
        }
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
        assert!(
            table.contains("| plain, CPU us | – | 10.0 | 13.0 (1.30) |"),
            "{table}"
        );
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
