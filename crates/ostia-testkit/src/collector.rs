//! A collector of OpenTelemetry: it records and decodes what it is sent.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use ostia::otlp::Message as _;
use ostia::otlp::proto::{HistogramDataPoint, KeyValue, Metric, Metrics, Resource, Span, Traces};

use crate::backend::{Ending, FakeBackend, Received, Record, Script};

/// What it does is scripted as for any backend; it takes everything if nothing else is said.
pub struct Collector {
    pub backend: FakeBackend,
}

impl Collector {
    pub async fn start() -> Self {
        let backend = FakeBackend::start().await;
        backend.otherwise(Script::raw(200, ""));
        Self { backend }
    }

    /// The lines of `ostia.toml` that send everything here. `more`: further keys of the section.
    pub fn settings(&self, more: &str) -> String {
        let url = self.backend.base_url();
        format!("[telemetry]\notlp_endpoint = \"{url}\"\n{more}\n")
    }

    /// Answers the first message with traces like this, and takes the others.
    pub fn answers_first_traces(&self, first: Script) {
        let is_first = AtomicBool::new(true);
        let decide = move |_: &Received| match is_first.swap(false, Ordering::Relaxed) {
            true => first.clone(),
            false => Script::raw(200, ""),
        };
        self.backend.on_path("/v1/traces", Script::by(decide));
    }

    /// Waits until it has at least `count` spans. In the order of their sending.
    pub async fn spans(&self, count: usize) -> Vec<Span> {
        let mut messages = 0;
        loop {
            let spans = self.spans_so_far();
            if spans.len() >= count {
                return spans;
            }
            messages += 1;
            self.backend.ended(messages).await;
        }
    }

    pub fn spans_so_far(&self) -> Vec<Span> {
        let messages = self.sent("/v1/traces").into_iter().map(|record| {
            Traces::decode(&*record.received.body).expect("traces that can be decoded")
        });
        let resources = messages.flat_map(|message| message.resource_spans);
        let resources = resources.inspect(|one| assert_is_ostia(one.resource.as_ref()));
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// The metrics of the last message, by name.
    pub fn metrics(&self) -> BTreeMap<String, Metric> {
        let messages = self.sent("/v1/metrics");
        let last = messages.last().expect("a message with metrics");
        let message = Metrics::decode(&*last.received.body).expect("metrics that can be decoded");
        let resources = message.resource_metrics.into_iter();
        let resources = resources.inspect(|one| assert_is_ostia(one.resource.as_ref()));
        let scopes = resources.flat_map(|resource| resource.scope_metrics);
        let metrics = scopes.flat_map(|scope| scope.metrics);
        metrics
            .map(|metric| (metric.name.clone(), metric))
            .collect()
    }

    /// The messages that arrived whole.
    fn sent(&self, path: &str) -> Vec<Record> {
        let mut records = self.backend.records();
        records.retain(|record| {
            record.received.target == path && record.ending == Some(Ending::Answered)
        });
        records
    }

    /// Everything that was sent, to look for what must not be in it.
    pub fn bytes(&self) -> Vec<u8> {
        let records = self.backend.records().into_iter();
        records.flat_map(|record| record.received.body).collect()
    }
}

fn assert_is_ostia(resource: Option<&Resource>) {
    let attributes = attributes(&resource.expect("a resource").attributes);
    assert_eq!(attributes["service.name"], "ostia");
    assert!(!attributes["service.instance.id"].is_empty());
}

/// Names and values, as texts.
pub fn attributes(all: &[KeyValue]) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::new();
    for one in all {
        let value = one.value.clone().expect("a value");
        let texts = [
            value.text,
            value.flag.map(|flag| flag.to_string()),
            value.number.map(|number| number.to_string()),
            value.fraction.map(|fraction| fraction.to_string()),
        ];
        let [text] = <[String; 1]>::try_from(texts.into_iter().flatten().collect::<Vec<_>>())
            .expect("one value");
        let before = attributes.insert(one.key.clone(), text);
        assert_eq!(before, None, "{} stands twice", one.key);
    }
    attributes
}

/// The points of a metric that have these attributes among others.
pub fn points<'a>(metric: &'a Metric, wanted: &[(&str, &str)]) -> Vec<&'a HistogramDataPoint> {
    let all = metric.histogram.iter().flat_map(|one| &one.data_points);
    let is_wanted = |point: &&HistogramDataPoint| {
        let has = attributes(&point.attributes);
        let mut wanted = wanted.iter();
        wanted.all(|(key, value)| has.get(*key).is_some_and(|found| found == value))
    };
    all.filter(is_wanted).collect()
}
