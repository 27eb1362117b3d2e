use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::app::Gateway;
use crate::fleet::EndpointState;
use crate::listen::Connections;

/// All metrics as OpenMetrics text. Made anew for each scrape from the counters that the rooms keep; labels are
/// endpoint slugs and outcomes, never users.
pub fn metrics_text(gateway: &Arc<Gateway>, public: &Arc<Connections>) -> String {
    let mut registry = Registry::with_prefix("ostia");
    registry.register_collector(Box::new(Scrape {
        gateway: Arc::clone(gateway),
        public: Arc::clone(public),
    }));
    let mut text = String::new();
    match text::encode(&mut text, &registry) {
        Ok(()) => text,
        Err(fmt::Error) => String::new(),
    }
}

struct Scrape {
    gateway: Arc<Gateway>,
    public: Arc<Connections>,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut endpoints = self.gateway.fleet().all();
        endpoints.sort_by(|a, b| a.slug().cmp(b.slug()));
        self.endpoints(&mut encoder, &endpoints)?;
        self.audits(&mut encoder)?;
        self.process(&mut encoder)
    }
}

impl Scrape {
    fn endpoints(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        endpoints: &[Arc<EndpointState>],
    ) -> fmt::Result {
        each(
            encoder,
            endpoints,
            "endpoint_in_flight",
            "Requests on the endpoint now",
            |state| vec![("", ConstGauge::new(u64::from(state.in_flight())))],
        )?;
        each(
            encoder,
            endpoints,
            "requests",
            "Requests that ended, by outcome",
            |state| {
                state
                    .outcomes()
                    .map(|(outcome, count)| (outcome.as_str(), ConstCounter::new(count)))
                    .collect()
            },
        )?;
        each(
            encoder,
            endpoints,
            "prompt_tokens",
            "Prompt tokens",
            |state| vec![("", ConstCounter::new(state.tokens().0))],
        )?;
        each(
            encoder,
            endpoints,
            "completion_tokens",
            "Completion tokens",
            |state| vec![("", ConstCounter::new(state.tokens().1))],
        )?;
        each(
            encoder,
            endpoints,
            "request_duration_milliseconds",
            "Milliseconds of all requests together",
            |state| vec![("", ConstCounter::new(state.duration_ms()))],
        )
    }

    /// What the audit log tells of, counted whole.
    fn audits(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        counts(
            encoder,
            "sign_ins_failed",
            "Requests whose sender could not sign in, by reason",
            "reason",
            self.gateway.identify().failures(),
        )?;
        counts(
            encoder,
            "denials",
            "Requests for what is there but not for their sender",
            "what",
            self.gateway.denials().counts(),
        )?;
        counts(
            encoder,
            "key_changes",
            "Changes of API keys, as seen in the database",
            "kind",
            self.gateway.key_watch().counts(),
        )
    }

    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let ledger = self.gateway.ledger().stats();
        let generation = self.gateway.snapshot().catalog.generation;
        for (name, help, value) in [
            (
                "connections",
                "Open client connections",
                self.public.open() as u64,
            ),
            (
                "request_body_bytes",
                "Bytes of request bodies in flight",
                self.gateway.body_budget().used(),
            ),
            (
                "ledger_open_receipts",
                "Requests that are written down and not over",
                ledger.open_receipts as u64,
            ),
            (
                "ledger_pending_bytes",
                "Journal bytes that the store does not have yet",
                ledger.pending_bytes,
            ),
            (
                "catalog_generation",
                "Readings of the configuration",
                generation,
            ),
        ] {
            one(encoder, name, help, &ConstGauge::new(value))?;
        }
        for (name, help, value) in [
            (
                "connections_refused",
                "Connections refused for their number",
                self.public.refused(),
            ),
            (
                "log_lines_lost",
                "Log lines dropped because standard error was not read",
                crate::telemetry::log::lost_lines(),
            ),
            (
                "ledger_refused",
                "Requests refused because the journal was full",
                ledger.refused_started,
            ),
            (
                "ledger_lost_rejections",
                "Rows of refused requests that found no room",
                ledger.lost_rejected,
            ),
            (
                "ledger_folded_rejections",
                "Refused requests that share a row with others",
                ledger.folded,
            ),
        ] {
            one(encoder, name, help, &ConstCounter::new(value))?;
        }
        Ok(())
    }
}

fn one(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

/// One family of counters with one label.
fn counts(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    counts: impl Iterator<Item = (&'static str, u64)>,
) -> fmt::Result {
    let kind = ConstCounter::new(0_u64).metric_type();
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for (word, count) in counts {
        ConstCounter::new(count).encode(family.encode_family(&[(label, word)])?)?;
    }
    Ok(())
}

/// One family: a sample an endpoint, and an outcome where the texts are not empty.
fn each<M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    endpoints: &[Arc<EndpointState>],
    name: &str,
    help: &str,
    read: impl Fn(&EndpointState) -> Vec<(&'static str, M)>,
) -> fmt::Result {
    let Some(kind) = endpoints
        .first()
        .and_then(|state| read(state).first().map(|(_, metric)| metric.metric_type()))
    else {
        return Ok(());
    };
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for state in endpoints {
        for (outcome, metric) in read(state) {
            let slug = ("endpoint", state.slug().as_ref());
            if outcome.is_empty() {
                metric.encode(family.encode_family(&[slug])?)?;
            } else {
                metric.encode(family.encode_family(&[slug, ("outcome", outcome)])?)?;
            }
        }
    }
    Ok(())
}
