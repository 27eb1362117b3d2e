//! Dashboards and alerting rules name only metrics that a scrape has.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ostia::admin::{FamilyKind, families};

fn known() -> BTreeSet<String> {
    let names = families().flat_map(|family| {
        let name = family.full_name();
        match family.kind {
            FamilyKind::Histogram => ["bucket", "count", "sum"]
                .map(|part| format!("{name}_{part}"))
                .to_vec(),
            FamilyKind::Counter | FamilyKind::Gauge => vec![name],
        }
    });
    names.collect()
}

#[test]
fn every_metric_that_is_drawn_is_there() {
    let contrib = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib");
    let known = known();
    let mut drawn = 0;
    for file in ["grafana/ostia.json", "prometheus/ostia-alerts.yaml"] {
        let text = fs::read_to_string(contrib.join(file)).unwrap();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in words.filter(|word| word.starts_with("ostia_")) {
            assert!(known.contains(name), "{file} names {name}");
            drawn += 1;
        }
    }
    assert!(drawn > 20, "{drawn}");
}
