use std::time::Duration;

use lettre::message::Mailbox;
use ostia_core::Secret;

use super::super::reader::{Reading, Section};
use crate::catalog::HttpUrl;
use crate::settings::{Alerts, Smtp};

const DAILY: Duration = Duration::from_secs(86_400);

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
    let smtp = smtp(&section, reading);
    let heartbeat_url = section.secret(
        "heartbeat_url",
        "A URL that is fetched every minute while the gateway runs, for a service that misses it.",
    );
    let report = section.duration_or_zero(
        "report",
        DAILY,
        "How often the webhook and the mail addresses get a full report: each endpoint with its requests and tokens, and what fires. \"0\" means never.",
    );
    let asks_for_reports = section.node("report").is_some() && !report.is_zero();
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
        smtp,
        heartbeat_url: url("heartbeat_url", heartbeat_url),
        report: (!report.is_zero()).then_some(report),
    };
    if asks_for_reports && alerts.webhook.is_none() && alerts.smtp.is_none() {
        let text = "has no effect without `alerts.webhook` or `alerts.smtp`";
        reading.warning("alerts.report", text);
    }
    alerts
}

fn smtp(section: &Section<'_>, reading: &Reading<'_>) -> Option<Smtp> {
    let url = section.secret(
        "smtp",
        "A mail server: `smtps://USER:PASSWORD@HOST`, `smtp://HOST?tls=required` for STARTTLS, or `smtp://HOST`.",
    );
    let from = section.text("smtp_from", "", "The sender of mails.");
    let to = section.texts(
        "smtp_to",
        &[],
        "Who gets a mail when an alert fires and when it resolves. Owners of keys that end get theirs from the same server.",
    );
    if url.expose().is_empty() {
        return None;
    }
    let schemes = ["smtp://", "smtps://"];
    if !schemes
        .iter()
        .any(|scheme| url.expose().starts_with(scheme))
    {
        reading.fatal("alerts.smtp", "must begin with smtp:// or smtps://");
    }
    if from.parse::<Mailbox>().is_err() {
        reading.fatal(
            "alerts.smtp_from",
            "must be an address, such as ostia@lab.org",
        );
    }
    if to.is_empty() || to.iter().any(|one| one.parse::<Mailbox>().is_err()) {
        reading.fatal(
            "alerts.smtp_to",
            "must be addresses, such as [\"ops@lab.org\"]",
        );
    }
    Some(Smtp { url, from, to })
}
