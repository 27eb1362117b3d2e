use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use ostia_core::Outcome;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeMetric as _, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::process::Process;
use crate::catalog::Deployment;
use crate::fleet::{EndpointState, ModelState};
use crate::gateway::Gateway;
use crate::listen::Connections;
use crate::telemetry::{Histogram, Reading, Series};

/// One metric: what a scrape says of it, and where its numbers are.
#[derive(Debug)]
pub struct Family {
    /// Without the prefix `ostia_`, and without the `_total` of a counter.
    name: &'static str,
    pub kind: FamilyKind,
    /// The HELP line.
    pub help: &'static str,
    read: Read,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyKind {
    /// Grows only; starts anew with the process.
    Counter,
    Gauge,
    /// How often values fell into which buckets; starts anew with the process.
    Histogram,
}

#[derive(Debug)]
enum Read {
    /// One number.
    One(fn(&Scrape) -> u64),
    /// One number an endpoint.
    Endpoint(fn(&EndpointState) -> u64),
    /// One number an endpoint that is in the catalogue.
    Deployment(fn(&Deployment) -> u64),
    /// One number a model.
    Models(fn(&Scrape) -> BTreeMap<Arc<str>, u64>),
    /// One number an endpoint and outcome.
    Outcomes,
    /// One histogram a combination of labels, in this many parts of its unit.
    Series(fn(&Series) -> &Histogram, u64),
    /// One histogram.
    Distribution(fn(&Scrape) -> &Histogram, u64),
    /// One number an HTTP status.
    Statuses,
    /// One number a word of this label.
    Words([&'static str; 1], fn(&Scrape) -> Words),
}

type Words = Vec<(&'static str, u64)>;

/// Every metric, in the order of the scrape. The page docs/reference/metrics.md is made of it.
pub static FAMILIES: &[Family] = &[
    series(
        "request_duration_seconds",
        "From a request's head to its end",
        |series| &series.duration,
        MILLIS,
    ),
    series(
        "time_to_first_token_seconds",
        "From a request's head to the first byte of its answer",
        |series| &series.first_token,
        MILLIS,
    ),
    series(
        "time_per_output_token_seconds",
        "Between two tokens of a stream",
        |series| &series.token_gap,
        MICROS,
    ),
    series(
        "queue_duration_seconds",
        "How long requests that were sent waited for their turn",
        |series| &series.queued,
        MILLIS,
    ),
    series(
        "request_prompt_tokens",
        "Prompt tokens of a request",
        |series| &series.prompt_tokens,
        1,
    ),
    series(
        "request_completion_tokens",
        "Completion tokens of a request",
        |series| &series.completion_tokens,
        1,
    ),
    Family {
        name: "gateway_duration_seconds",
        kind: FamilyKind::Histogram,
        help: "What the gateway itself took before a request was sent, from the end of its body, without its wait",
        read: Read::Distribution(|scrape| scrape.gateway.figures().own_time(), MICROS),
    },
    Family {
        name: "responses",
        kind: FamilyKind::Counter,
        help: "Requests that passed sign-in, by the HTTP status of their answer; 499: the client left before",
        read: Read::Statuses,
    },
    Family {
        name: "build_info",
        kind: FamilyKind::Gauge,
        help: "1, with the version of ostia",
        read: Read::Words(["version"], |_| vec![(env!("CARGO_PKG_VERSION"), 1)]),
    },
    endpoint(
        FamilyKind::Gauge,
        "endpoint_in_flight",
        "Requests on the endpoint now",
        |state| state.in_flight().into(),
    ),
    endpoint(
        FamilyKind::Gauge,
        "endpoint_best_in_flight",
        "Requests at a time that the endpoint serves best; 0: not known yet",
        |state| state.best_point().known().unwrap_or_default().into(),
    ),
    endpoint(
        FamilyKind::Gauge,
        "endpoint_tells",
        "1 while the endpoint's engine says in its own metrics what it has to do",
        |state| state.best_point().is_reported().into(),
    ),
    endpoint(
        FamilyKind::Gauge,
        "endpoint_full",
        "1 while the endpoint has as many requests as it serves best, or its engine says that its KV cache is full",
        |state| state.best_point().is_full(state.in_flight()).into(),
    ),
    endpoint(
        FamilyKind::Gauge,
        "endpoint_failing",
        "1 while the endpoint's last five requests failed",
        |state| state.is_suspect().into(),
    ),
    endpoint(
        FamilyKind::Gauge,
        "endpoint_up",
        "1 while the endpoint answers: neither its last five requests nor its last connection failed",
        |state| (!state.is_suspect() && !state.is_unreachable()).into(),
    ),
    endpoint(
        FamilyKind::Gauge,
        "endpoint_ready",
        "1 while nothing says that the endpoint's model does not run: its cluster, its readiness URL, an operator who drains it",
        |state| {
            let may_run = |state| matches!(state, ModelState::Running | ModelState::Unknown);
            (may_run(state.model_state()) && may_run(state.readiness()) && !state.is_draining())
                .into()
        },
    ),
    Family {
        name: "endpoint_max_in_flight",
        kind: FamilyKind::Gauge,
        help: "Requests that the endpoint gets at a time; 0: no limit",
        read: Read::Deployment(|deployment| deployment.places().into()),
    },
    endpoint(
        FamilyKind::Gauge,
        "endpoint_unread_tokens",
        "Prompt tokens that the endpoint has still to read, as far as they are likely to be new to it",
        EndpointState::unread,
    ),
    endpoint(
        FamilyKind::Gauge,
        "endpoint_away_milliseconds",
        "Until the endpoint gets requests again, after it took none",
        |state| {
            let wait = state.returns_in().unwrap_or_default();
            u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
        },
    ),
    Family {
        name: "requests",
        kind: FamilyKind::Counter,
        help: "Requests that ended, by outcome; without an endpoint those that reached none, refusals above all",
        read: Read::Outcomes,
    },
    endpoint(
        FamilyKind::Counter,
        "prompt_tokens",
        "Prompt tokens",
        |state| state.tokens().0,
    ),
    endpoint(
        FamilyKind::Counter,
        "completion_tokens",
        "Completion tokens",
        |state| state.tokens().1,
    ),
    endpoint(
        FamilyKind::Counter,
        "request_duration_milliseconds",
        "Milliseconds of all requests together",
        EndpointState::duration_ms,
    ),
    words(
        "sign_ins_failed",
        "Requests whose sender could not sign in, by reason",
        "reason",
        |scrape| scrape.gateway.live().identify.failures().collect(),
    ),
    words(
        "errors",
        "Requests that were answered with an error, by its code",
        "code",
        |scrape| scrape.gateway.errors().all(),
    ),
    words(
        "denials",
        "Requests for what is there but not for their sender",
        "what",
        |scrape| scrape.gateway.denials().counts().collect(),
    ),
    words(
        "key_changes",
        "Changes of API keys, as seen in the database",
        "kind",
        |scrape| scrape.gateway.key_watch().counts().collect(),
    ),
    one(
        FamilyKind::Gauge,
        "connections",
        "Open client connections",
        |scrape| scrape.public.open() as u64,
    ),
    one(
        FamilyKind::Gauge,
        "backend_connections",
        "Open connections to backends",
        |scrape| scrape.gateway.live().backends.stats().open as u64,
    ),
    one(
        FamilyKind::Gauge,
        "backend_connections_idle",
        "Connections to backends that serve no request",
        |scrape| scrape.gateway.live().backends.stats().idle as u64,
    ),
    one(
        FamilyKind::Gauge,
        "backend_connections_in_use",
        "Requests that hold a connection to a backend, or a stream on one",
        |scrape| scrape.gateway.live().backends.stats().in_use as u64,
    ),
    one(
        FamilyKind::Counter,
        "backend_connections_opened",
        "Connections opened to backends",
        |scrape| scrape.gateway.live().backends.stats().opened_total,
    ),
    one(
        FamilyKind::Gauge,
        "request_body_bytes",
        "Bytes of request bodies in flight",
        |scrape| scrape.gateway.body_budget().used(),
    ),
    one(
        FamilyKind::Gauge,
        "ledger_open_receipts",
        "Requests that are written down and not over",
        |scrape| scrape.gateway.ledger().stats().open_receipts as u64,
    ),
    one(
        FamilyKind::Gauge,
        "ledger_pending_bytes",
        "Journal bytes that the store does not have yet",
        |scrape| scrape.gateway.ledger().stats().pending_bytes,
    ),
    one(
        FamilyKind::Gauge,
        "ledger_waiting_bytes",
        "Bytes in memory that the journal's disk does not have yet",
        |scrape| scrape.gateway.ledger().stats().waiting_bytes as u64,
    ),
    one(
        FamilyKind::Counter,
        "ledger_unreadable_bytes",
        "Bytes of damaged journal files whose rows are missing",
        |scrape| scrape.gateway.ledger().stats().unreadable_bytes,
    ),
    one(
        FamilyKind::Gauge,
        "catalog_generation",
        "The number of the reading of the files that is served",
        |scrape| scrape.gateway.live().generation,
    ),
    words(
        "reloads",
        "Readings of the files after the start, by what came of them",
        "result",
        |scrape| scrape.gateway.reloads().counts().to_vec(),
    ),
    one(
        FamilyKind::Gauge,
        "waiting",
        "Requests that wait for their turn",
        |scrape| scrape.gateway.admitter().waiting() as u64,
    ),
    Family {
        name: "model_waiting",
        kind: FamilyKind::Gauge,
        help: "Requests that wait for their turn, by the model that they wait for",
        read: Read::Models(|scrape| {
            let mut models = BTreeMap::<Arc<str>, u64>::new();
            for waits in scrape.gateway.admitter().waits() {
                *models.entry(waits.model).or_default() += 1;
            }
            models
        }),
    },
    one(
        FamilyKind::Gauge,
        "store_up",
        "0 while the database does not take rows",
        |scrape| (!scrape.gateway.ledger().stats().store_down).into(),
    ),
    one(
        FamilyKind::Gauge,
        "journal_up",
        "0 while the journal has no room, or its disk does not answer: requests are refused",
        |scrape| (!scrape.gateway.ledger().stats().journal_down).into(),
    ),
    Family {
        name: "identity_provider_up",
        kind: FamilyKind::Gauge,
        help: "0 while an identity provider is not called because it failed",
        read: Read::Words(["provider"], |scrape| {
            let health = scrape.gateway.live().identify.health();
            health
                .into_iter()
                .map(|one| (one.provider, one.is_up.into()))
                .collect()
        }),
    },
    words(
        "identity_provider_failures",
        "Calls that an identity provider did not answer properly",
        "provider",
        |scrape| {
            let health = scrape.gateway.live().identify.health();
            health
                .into_iter()
                .map(|one| (one.provider, one.failures))
                .collect()
        },
    ),
    one(
        FamilyKind::Gauge,
        "limiter_degraded",
        "1 while limits are shared and held in this process alone, as their server does not answer",
        |scrape| scrape.gateway.admitter().is_degraded().into(),
    ),
    one(
        FamilyKind::Gauge,
        "limiter_replicas",
        "Replicas that share their limits, as they were seen last",
        |scrape| scrape.gateway.admitter().replicas(),
    ),
    words(
        "background_panics",
        "Panics of background work, which then starts again",
        "task",
        |scrape| {
            let reports = scrape.gateway.duties().report().into_iter();
            reports.map(|duty| (duty.name, duty.panics)).collect()
        },
    ),
    one(
        FamilyKind::Counter,
        "connections_refused",
        "Connections refused for their number",
        |scrape| scrape.public.refused(),
    ),
    words(
        "http2_connections_abused",
        "HTTP/2 connections closed because their client abused the protocol",
        "abuse",
        |scrape| scrape.public.abused().collect(),
    ),
    one(
        FamilyKind::Counter,
        "access_events_untold",
        "Requests of unknown callers that the access log only counted",
        |scrape| scrape.public.untold(),
    ),
    one(
        FamilyKind::Counter,
        "traces_sent",
        "Traced requests that the collector took",
        |scrape| scrape.gateway.traces().sent(),
    ),
    one(
        FamilyKind::Counter,
        "traces_dropped",
        "Traced requests that the collector did not want, or that found no room while it took none",
        |scrape| scrape.gateway.traces().dropped(),
    ),
    one(
        FamilyKind::Counter,
        "telemetry_failures",
        "Messages that the collector did not take",
        |scrape| scrape.gateway.traces().failures(),
    ),
    one(
        FamilyKind::Counter,
        "log_lines_lost",
        "Log lines dropped because standard error was not read",
        |_| crate::telemetry::log::lost_lines(),
    ),
    one(
        FamilyKind::Counter,
        "ledger_refused",
        "Requests refused because the journal was full or its disk did not answer",
        |scrape| scrape.gateway.ledger().stats().refused_started,
    ),
    one(
        FamilyKind::Counter,
        "ledger_lost_rejections",
        "Rows of refused requests that found no room",
        |scrape| scrape.gateway.ledger().stats().lost_rejected,
    ),
    one(
        FamilyKind::Counter,
        "ledger_folded_rejections",
        "Refused requests that share a row with others",
        |scrape| scrape.gateway.ledger().stats().folded,
    ),
];

const PREFIX: &str = "ostia";
/// Models of one family.
const MOST_MODELS: usize = 1_000;
const MILLIS: u64 = 1_000;
const MICROS: u64 = 1_000_000;

impl Family {
    /// As a scrape shows it.
    pub fn full_name(&self) -> String {
        let ending = match self.kind {
            FamilyKind::Counter => "_total",
            FamilyKind::Gauge | FamilyKind::Histogram => "",
        };
        format!("{PREFIX}_{}{ending}", self.name)
    }

    /// The family's labels with these values.
    fn with<'a>(&self, values: &[&'a str]) -> Vec<(&'static str, &'a str)> {
        let names = self.labels().iter().copied();
        names.zip(values.iter().copied()).collect()
    }

    pub const fn labels(&self) -> &[&'static str] {
        match &self.read {
            Read::One(_) | Read::Distribution(..) => &[],
            Read::Series(..) => &["model", "cluster", "api", "outcome"],
            Read::Statuses => &["status"],
            Read::Endpoint(_) | Read::Deployment(_) => &["endpoint"],
            Read::Models(_) => &["model"],
            Read::Outcomes => &["endpoint", "outcome"],
            Read::Words(label, _) => label,
        }
    }
}

/// All metrics as OpenMetrics text. Made anew for each scrape from the counters that the rooms keep; labels are
/// endpoint slugs and outcomes, never users.
pub fn metrics_text(gateway: &Arc<Gateway>, public: &Arc<Connections>) -> String {
    let mut registry = Registry::default();
    let scrape = Scrape {
        gateway: Arc::clone(gateway),
        public: Arc::clone(public),
    };
    let own = registry.sub_registry_with_prefix(PREFIX);
    own.register_collector(Box::new(scrape));
    let started = gateway.started();
    registry.register_collector(Box::new(Process { started }));
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
        // A catalogue may list thousands that nobody calls.
        endpoints.retain(|endpoint| endpoint.was_used());
        endpoints.sort_by(|a, b| a.slug().cmp(b.slug()));
        for family in FAMILIES {
            self.family(&mut encoder, family, &endpoints)?;
        }
        Ok(())
    }
}

impl Scrape {
    fn family(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        family: &Family,
        endpoints: &[Arc<EndpointState>],
    ) -> fmt::Result {
        // A family without samples is not announced.
        if endpoints.is_empty() && matches!(family.read, Read::Endpoint(_) | Read::Deployment(_)) {
            return Ok(());
        }
        let kind = match family.kind {
            FamilyKind::Counter => MetricType::Counter,
            FamilyKind::Gauge => MetricType::Gauge,
            FamilyKind::Histogram => MetricType::Histogram,
        };
        let mut out = encoder.encode_descriptor(family.name, family.help, None, kind)?;
        match family.read {
            Read::One(read) => encode(family.kind, read(self), out)?,
            Read::Endpoint(read) => {
                for state in endpoints {
                    labelled(&mut out, family, &[state.slug()], read(state))?;
                }
            }
            Read::Deployment(read) => {
                let live = self.gateway.live();
                let all = live.catalog.deployments().iter();
                // As many as have series of their own already.
                for one in all.filter(|one| one.state.was_used()) {
                    labelled(&mut out, family, &[&one.slug], read(one))?;
                }
            }
            Read::Models(read) => {
                let mut models: Vec<_> = read(self).into_iter().collect();
                models.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
                for (model, count) in models.into_iter().take(MOST_MODELS) {
                    labelled(&mut out, family, &[&model], count)?;
                }
            }
            Read::Outcomes => {
                let unsent = self.gateway.ledger().stats().unsent;
                for (outcome, count) in Outcome::ALL.iter().zip(unsent) {
                    labelled(&mut out, family, &["", outcome.as_str()], count)?;
                }
                for state in endpoints {
                    for (outcome, count) in state.outcomes() {
                        labelled(&mut out, family, &[state.slug(), outcome.as_str()], count)?;
                    }
                }
            }
            Read::Series(read, parts) => {
                for series in self.gateway.figures().series() {
                    let reading = read(&series).read();
                    if reading.count() > 0 {
                        let labels = family.with(&series.labels());
                        distribution(&reading, parts, out.encode_family(&labels)?)?;
                    }
                }
            }
            Read::Distribution(read, parts) => distribution(&read(self).read(), parts, out)?,
            Read::Statuses => {
                for (status, count) in self.gateway.figures().statuses() {
                    labelled(&mut out, family, &[&status.to_string()], count)?;
                }
            }
            Read::Words(_, read) => {
                for (word, count) in read(self) {
                    labelled(&mut out, family, &[word], count)?;
                }
            }
        }
        Ok(())
    }
}

/// One sample; `values` are those of the family's labels, in order.
fn labelled(
    out: &mut MetricEncoder<'_>,
    family: &Family,
    values: &[&str],
    value: u64,
) -> fmt::Result {
    encode(family.kind, value, out.encode_family(&family.with(values))?)
}

/// A histogram whose values are parts of its unit.
fn distribution(reading: &Reading, parts: u64, mut out: MetricEncoder<'_>) -> fmt::Result {
    let in_units = |value: u64| value as f64 / parts as f64;
    let bounds = reading.bounds.iter().map(|bound| in_units(*bound));
    let buckets: Vec<(f64, u64)> = bounds
        .chain([f64::MAX])
        .zip(reading.counts.iter().copied())
        .collect();
    let no_examples = None::<&HashMap<usize, Exemplar<NoLabelSet, f64>>>;
    out.encode_histogram(
        in_units(reading.sum),
        reading.count(),
        &buckets,
        no_examples,
    )
}

fn encode(kind: FamilyKind, value: u64, out: MetricEncoder<'_>) -> fmt::Result {
    match kind {
        FamilyKind::Counter => ConstCounter::new(value).encode(out),
        FamilyKind::Gauge | FamilyKind::Histogram => ConstGauge::new(value).encode(out),
    }
}

/// Counters with one label of few words.
const fn words(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    read: fn(&Scrape) -> Words,
) -> Family {
    Family {
        name,
        kind: FamilyKind::Counter,
        help,
        read: Read::Words([label], read),
    }
}

const fn series(
    name: &'static str,
    help: &'static str,
    read: fn(&Series) -> &Histogram,
    parts: u64,
) -> Family {
    Family {
        name,
        kind: FamilyKind::Histogram,
        help,
        read: Read::Series(read, parts),
    }
}

const fn one(
    kind: FamilyKind,
    name: &'static str,
    help: &'static str,
    read: fn(&Scrape) -> u64,
) -> Family {
    Family {
        name,
        kind,
        help,
        read: Read::One(read),
    }
}

const fn endpoint(
    kind: FamilyKind,
    name: &'static str,
    help: &'static str,
    read: fn(&EndpointState) -> u64,
) -> Family {
    Family {
        name,
        kind,
        help,
        read: Read::Endpoint(read),
    }
}
