use ostia::admin::{FamilyKind, families};

use super::{code, head, table};

const INTRODUCTION: &str = "\
`GET /metrics` on the admin listener (`server.admin_listen`), as OpenMetrics text. Labels never name users: `endpoint` is
the endpoint's slug, `outcome` and `reason` are fixed words; 1,000 combinations of `model`, `cluster`, `api` and `outcome` are
kept apart, and later ones are counted as `other`. Counters start from zero with the process; metrics of endpoints appear once
there is an endpoint, those of requests with the first request. Times are in seconds.
";

pub(super) fn page() -> String {
    let rows: Vec<Vec<String>> = families()
        .map(|family| {
            let kind = match family.kind {
                FamilyKind::Counter => "counter",
                FamilyKind::Gauge => "gauge",
                FamilyKind::Histogram => "histogram",
            };
            let labels: Vec<String> = family.labels().iter().map(|label| code(label)).collect();
            vec![
                code(&family.full_name()),
                kind.to_owned(),
                labels.join(", "),
                family.help.to_owned(),
            ]
        })
        .collect();
    let table = table(&["metric", "type", "labels", "meaning"], &rows);
    format!("{}{table}", head("Metrics", INTRODUCTION))
}
