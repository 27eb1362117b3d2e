//! The figures of all rounds, and the failures.

use super::target::Kind;
use crate::stats::median;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    Plain,
    Stream,
    StreamUsage,
    StreamLong,
    Prompt32k,
    Prompt300k,
    Prompt1m,
    Prompt3400k,
    Agent,
    Paced,
    PacedP99Gap,
    PerSecond,
    P50At1000,
    P99At1000,
    P50At5000,
    P99At5000,
    OpenMib,
    Open5000Mib,
    IdleMib,
    FirstAnswerMs,
}

#[derive(Default)]
pub struct Results {
    figures: BTreeMap<(Kind, Metric), Vec<f64>>,
    reports: Vec<Value>,
    pub problems: Vec<String>,
}

impl Results {
    pub fn add(&mut self, kind: Kind, metric: Metric, value: f64) {
        self.figures.entry((kind, metric)).or_default().push(value);
    }

    /// Records a report's failures.
    pub fn check(&mut self, kind: Kind, case: &str, report: &Value) {
        if report["errors"] != 0 || report["requests"] == 0 {
            let problem = format!(
                "{kind}, {case}: {} answered, failures {}",
                report["requests"], report["error_kinds"]
            );
            eprintln!("{problem}");
            self.problems.push(problem);
        }
    }

    pub fn keep(&mut self, kind: Kind, case: &str, report: Value) {
        self.reports
            .push(json!({"target": kind.to_string(), "case": case, "report": report}));
    }

    pub fn median(&self, kind: Kind, metric: Metric) -> Option<f64> {
        median(self.figures.get(&(kind, metric))?)
    }

    /// The ratio to nginx's figure, computed in each round, because both were measured on a machine in the same state.
    /// Two medians may come from different rounds.
    pub fn ratio(&self, kind: Kind, metric: Metric) -> Option<f64> {
        let own = self.compared(kind, metric)?;
        let nginx = self.figures.get(&(Kind::Nginx, metric))?;
        let ratios: Vec<f64> = own
            .iter()
            .zip(nginx)
            .map(|(own, nginx)| own / nginx)
            .collect();
        median(&ratios).filter(|ratio| ratio.is_finite())
    }

    /// What a proxy adds to a direct call, computed in each round.
    pub fn added(&self, kind: Kind, metric: Metric) -> Option<f64> {
        let (own, direct) = (
            self.figures.get(&(kind, metric))?,
            self.figures.get(&(Kind::Direct, metric))?,
        );
        let added: Vec<f64> = own
            .iter()
            .zip(direct)
            .map(|(own, direct)| own - direct)
            .collect();
        median(&added)
    }

    /// Computed from the medians: in a noisy round nginx may seem to add nothing, and a ratio to nothing is
    /// meaningless.
    pub fn added_ratio(&self, kind: Kind, metric: Metric) -> Option<f64> {
        self.compared(kind, metric)?;
        let nginx = self
            .added(Kind::Nginx, metric)
            .filter(|nginx| *nginx > 0.0)?;
        Some(self.added(kind, metric)? / nginx)
    }

    /// nginx and the mock are not compared with anything.
    fn compared(&self, kind: Kind, metric: Metric) -> Option<&Vec<f64>> {
        self.figures
            .get(&(kind, metric))
            .filter(|_| !matches!(kind, Kind::Nginx | Kind::Direct))
    }

    pub fn json(&self) -> Value {
        let figures = self.figures.iter().map(|((kind, metric), values)| {
            json!({"target": kind.to_string(), "metric": format!("{metric:?}"), "rounds": values})
        });
        json!({"figures": figures.collect::<Vec<_>>(), "reports": self.reports, "problems": self.problems})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_latency_is_the_median_of_the_differences_of_each_round() {
        let mut results = Results::default();
        for (direct, nginx) in [(100.0, 150.0), (500.0, 560.0), (110.0, 400.0)] {
            results.add(Kind::Direct, Metric::P50At1000, direct);
            results.add(Kind::Nginx, Metric::P50At1000, nginx);
        }
        assert_eq!(results.added(Kind::Nginx, Metric::P50At1000), Some(60.0));
        assert_eq!(results.median(Kind::Nginx, Metric::P50At1000), Some(400.0));
        assert_eq!(results.added(Kind::Ostia, Metric::P50At1000), None);
    }

    #[test]
    fn ratios_are_medians_of_the_ratios_of_each_round() {
        let mut results = Results::default();
        for (nginx, ostia) in [(10.0, 20.0), (40.0, 120.0), (20.0, 80.0)] {
            results.add(Kind::Nginx, Metric::Plain, nginx);
            results.add(Kind::Ostia, Metric::Plain, ostia);
        }
        assert_eq!(results.ratio(Kind::Ostia, Metric::Plain), Some(3.0));
        assert_eq!(results.ratio(Kind::Nginx, Metric::Plain), None);
        assert_eq!(results.added_ratio(Kind::Ostia, Metric::Plain), None);
    }

    #[test]
    fn failures_and_silence_are_problems() {
        let mut results = Results::default();
        results.check(
            Kind::Ostia,
            "plain",
            &json!({"requests": 5, "errors": 0, "error_kinds": {}}),
        );
        assert!(results.problems.is_empty());
        results.check(
            Kind::Ostia,
            "plain",
            &json!({"requests": 5, "errors": 1, "error_kinds": {"x": 1}}),
        );
        results.check(
            Kind::Ostia,
            "plain",
            &json!({"requests": 0, "errors": 0, "error_kinds": {}}),
        );
        assert_eq!(results.problems.len(), 2);
    }
}
