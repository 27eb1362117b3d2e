//! The gauges that must be zero when idle, read from `/metrics`.

use std::net::SocketAddr;

use parking_lot::Mutex;

use crate::client::{RawClient, Request};
use crate::patience::{until, within};

/// Gauges that count what a request holds. Every series of each must come back to zero.
const HELD: [&str; 4] = [
    "ostia_backend_connections_in_use",
    "ostia_endpoint_in_flight",
    "ostia_ledger_open_receipts",
    "ostia_request_body_bytes",
];

const OF_ENDPOINTS: &str = "ostia_endpoint_in_flight";

/// Waits until nothing is held, and returns the metrics text that showed it.
pub async fn at_rest(admin: SocketAddr) -> String {
    let last = Mutex::new(String::new());
    let awaited = || format!("{:?} to be given back", held(&last.lock()));
    let look = async || {
        let metrics = scrape(admin).await;
        let is_idle = held(&metrics).is_empty();
        *last.lock() = metrics;
        is_idle.then_some(())
    };
    until(awaited, look).await;
    last.into_inner()
}

/// Waits until all series of a metric add up to this.
pub async fn reaches(admin: SocketAddr, name: &str, wanted: f64) {
    let look = async || (sum(&scrape(admin).await, name) == Some(wanted)).then_some(());
    until(|| format!("{name} = {wanted}"), look).await;
}

/// All metrics as text.
pub async fn scrape(admin: SocketAddr) -> String {
    let asking = async {
        RawClient::connect(admin)
            .await
            .call(&Request::get("/metrics").header("Connection", "close"))
            .await
    };
    let answer = within(|| "metrics".to_owned(), asking).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer.text()
}

/// Sum of all series of a metric; `None` if there is none.
pub fn sum(metrics: &str, name: &str) -> Option<f64> {
    let values: Vec<f64> = series(metrics)
        .filter(|(named, _)| named.split('{').next() == Some(name))
        .map(|(_, value)| value)
        .collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

/// Series of held things that are not zero; a missing gauge counts, or a rename would switch the check off.
fn held(metrics: &str) -> Vec<String> {
    let mut held = Vec::new();
    for name in HELD {
        match sum(metrics, name) {
            Some(0.0) => {}
            // Only endpoints that were used have series.
            None if name == OF_ENDPOINTS && !names_endpoints(metrics) => {}
            other => held.push(format!("{name} {other:?}")),
        }
    }
    held
}

/// Whether any series is of an endpoint. Requests that reached none have an empty label.
fn names_endpoints(metrics: &str) -> bool {
    let count = |text| metrics.matches(text).count();
    count("{endpoint=\"") > count("{endpoint=\"\"")
}

fn series(metrics: &str) -> impl Iterator<Item = (&str, f64)> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name, value.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::{held, sum};

    #[test]
    fn what_is_held_or_missing_is_named() {
        let rest = "# TYPE ostia_endpoint_in_flight gauge\nostia_endpoint_in_flight{endpoint=\"a b\"} 0\n\
                    ostia_backend_connections_in_use 0\nostia_ledger_open_receipts 0\nostia_request_body_bytes 0\n# EOF\n";
        assert_eq!(held(rest), Vec::<String>::new());
        let unused = rest.replace(
            "ostia_endpoint_in_flight{endpoint=\"a b\"} 0",
            "ostia_requests_total{endpoint=\"\",outcome=\"ok\"} 1",
        );
        assert_eq!(held(&unused), Vec::<String>::new());
        let renamed = rest.replace("ostia_endpoint_in_flight", "renamed");
        assert_eq!(held(&renamed).len(), 1);
        let busy = rest
            .replace(
                "in_flight{endpoint=\"a b\"} 0",
                "in_flight{endpoint=\"a b\"} 2",
            )
            .replace("ostia_request_body_bytes", "renamed");
        assert_eq!(held(&busy).len(), 2);
        assert_eq!(sum(&busy, "ostia_endpoint_in_flight"), Some(2.0));
    }
}
