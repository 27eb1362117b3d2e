use ostia_core::Secret;

use super::super::reader::{Reading, Section};
use crate::catalog::HttpUrl;
use crate::settings::Alerts;

pub(super) fn read(root: &Section<'_>, reading: &Reading<'_>) -> Alerts {
    let section = root.section("alerts", "Who is told what is wrong with the gateway.");
    let webhook = section.secret(
        "webhook",
        "A URL that gets each alert as JSON when it fires and when it resolves: `status`, `fingerprint`, `name`, `subject`, `severity`, `summary`, `starts_at`, `ends_at`.",
    );
    let alertmanager = section.secret(
        "alertmanager",
        "The base URL of a Prometheus Alertmanager; `/api/v2/alerts` there is told what fires, every minute.",
    );
    let heartbeat_url = section.secret(
        "heartbeat_url",
        "A URL that is fetched every minute while the gateway runs, for a service that misses it.",
    );
    let report = section.duration_or_zero(
        "report",
        std::time::Duration::ZERO,
        "How often the webhook gets a full report: each endpoint with its requests and tokens, and what fires. \"0\" is never.",
    );
    section.finish();
    let url = |key: &str, text: Secret<String>| {
        if text.expose().is_empty() {
            return None;
        }
        // The URL may contain a token, so the message does not repeat it.
        if let Err(fault) = HttpUrl::parse_bare(text.expose()) {
            reading.fatal(&format!("alerts.{key}"), &fault.to_string());
        }
        Some(text)
    };
    let alerts = Alerts {
        webhook: url("webhook", webhook),
        alertmanager: url("alertmanager", alertmanager),
        heartbeat_url: url("heartbeat_url", heartbeat_url),
        report: (!report.is_zero()).then_some(report),
    };
    if alerts.report.is_some() && alerts.webhook.is_none() {
        reading.warning("alerts.report", "has no effect without `alerts.webhook`");
    }
    alerts
}
