use ostia_core::Outcome;

use super::names::{Kind, operation, provider};
use super::proto;
use super::proto::{HistogramDataPoint, KeyValue, Metric, Resource, ResourceMetrics, ScopeMetrics};
use super::resource::scope;
use crate::telemetry::{Histogram, Series};

/// One metric of the conventions: which requests it counts, and which histogram of theirs has its numbers.
struct Family {
    name: &'static str,
    unit: &'static str,
    description: &'static str,
    counts: fn(&Series) -> bool,
    read: fn(&Series) -> &Histogram,
    /// The histogram counts in this many parts of the unit.
    parts: u64,
    /// One more attribute, where the name does not say it all.
    token_type: Option<&'static str>,
}

const MILLIS: u64 = 1_000;
const MICROS: u64 = 1_000_000;

/// Those of version 0.1.0 first. The last three have the names of conventions before it, which most dashboards use.
static FAMILIES: &[Family] = &[
    duration(
        "gen_ai.client.inference.duration",
        "From a request's head to its end",
        is_inference,
    ),
    tokens(
        "gen_ai.client.inference.operation.input_tokens",
        "Prompt tokens of a request",
        is_inference,
        |series| &series.prompt_tokens,
        None,
    ),
    tokens(
        "gen_ai.client.inference.operation.output_tokens",
        "Completion tokens of a request",
        is_inference,
        |series| &series.completion_tokens,
        None,
    ),
    duration(
        "gen_ai.client.embeddings.duration",
        "From a request's head to its end",
        is_embeddings,
    ),
    tokens(
        "gen_ai.client.embeddings.operation.input_tokens",
        "Prompt tokens of a request",
        is_embeddings,
        |series| &series.prompt_tokens,
        None,
    ),
    duration(
        "gen_ai.server.request.duration",
        "From a request's head to its end",
        |_| true,
    ),
    Family {
        name: "gen_ai.server.time_to_first_token",
        unit: "s",
        description: "From a request's head to the first byte of its answer",
        counts: is_answered,
        read: |series| &series.first_token,
        parts: MILLIS,
        token_type: None,
    },
    Family {
        name: "gen_ai.server.time_per_output_token",
        unit: "s",
        description: "Between two tokens of a stream",
        counts: is_answered,
        read: |series| &series.token_gap,
        parts: MICROS,
        token_type: None,
    },
    duration(
        "gen_ai.client.operation.duration",
        "From a request's head to its end",
        |_| true,
    ),
    tokens(
        "gen_ai.client.token.usage",
        "Tokens of a request",
        |_| true,
        |series| &series.prompt_tokens,
        Some("input"),
    ),
    tokens(
        "gen_ai.client.token.usage",
        "Tokens of a request",
        |_| true,
        |series| &series.completion_tokens,
        Some("output"),
    ),
];

/// When the counting began, and now; Unix nanoseconds.
pub(super) type Period = (u64, u64);

/// All figures as they are now.
pub(super) fn metrics<'a>(
    series: impl Iterator<Item = &'a Series> + Clone,
    period: Period,
    resource: Resource,
) -> proto::Metrics {
    let mut metrics = Vec::<Metric>::new();
    for family in FAMILIES {
        let counted = series.clone().filter(|series| (family.counts)(series));
        let points: Vec<_> = counted
            .filter_map(|series| point(family, series, period))
            .collect();
        if points.is_empty() {
            continue;
        }
        // Rows of one name are one metric.
        let before = metrics
            .last_mut()
            .filter(|metric| metric.name == family.name);
        match before.and_then(|metric| metric.histogram.as_mut()) {
            Some(histogram) => histogram.data_points.extend(points),
            None => metrics.push(metric(family, points)),
        }
    }
    proto::Metrics {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope()),
                metrics,
            }],
        }],
    }
}

fn metric(family: &Family, data_points: Vec<HistogramDataPoint>) -> Metric {
    Metric {
        name: family.name.to_owned(),
        description: family.description.to_owned(),
        unit: family.unit.to_owned(),
        histogram: Some(proto::Histogram {
            data_points,
            aggregation_temporality: proto::CUMULATIVE,
        }),
    }
}

/// `None`: nothing was counted yet.
fn point(family: &Family, series: &Series, (began, now): Period) -> Option<HistogramDataPoint> {
    let reading = (family.read)(series).read();
    let count = reading.count();
    let in_units = |value: u64| value as f64 / family.parts as f64;
    (count > 0).then(|| HistogramDataPoint {
        start_time_unix_nano: began,
        time_unix_nano: now,
        count,
        sum: Some(in_units(reading.sum)),
        explicit_bounds: reading
            .bounds
            .iter()
            .map(|bound| in_units(*bound))
            .collect(),
        bucket_counts: reading.counts,
        attributes: attributes(family, series),
    })
}

/// With the API, so that two that are one operation stay apart.
fn attributes(family: &Family, series: &Series) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("gen_ai.operation.name", operation(&series.api)),
        KeyValue::new("gen_ai.provider.name", provider(&series.api)),
        KeyValue::new("ostia.api", &*series.api),
    ];
    let names = [
        ("gen_ai.request.model", &series.model),
        ("ostia.cluster", &series.cluster),
    ];
    // A request may be refused before its model is known.
    let known = names.into_iter().filter(|(_, name)| !name.is_empty());
    attributes.extend(known.map(|(key, name)| KeyValue::new(key, &**name)));
    if let Some(kind) = family.token_type {
        attributes.push(KeyValue::new("gen_ai.token.type", kind));
    }
    if series.outcome != Outcome::Ok {
        attributes.push(KeyValue::new("error.type", series.outcome.as_str()));
    }
    attributes
}

fn is_inference(series: &Series) -> bool {
    Kind::of(&series.api) == Kind::Inference
}

fn is_embeddings(series: &Series) -> bool {
    Kind::of(&series.api) == Kind::Embeddings
}

/// The conventions' times of tokens are those of successful answers.
fn is_answered(series: &Series) -> bool {
    is_inference(series) && series.outcome == Outcome::Ok
}

const fn duration(
    name: &'static str,
    description: &'static str,
    counts: fn(&Series) -> bool,
) -> Family {
    Family {
        name,
        unit: "s",
        description,
        counts,
        read: |series| &series.duration,
        parts: MILLIS,
        token_type: None,
    }
}

const fn tokens(
    name: &'static str,
    description: &'static str,
    counts: fn(&Series) -> bool,
    read: fn(&Series) -> &Histogram,
    token_type: Option<&'static str>,
) -> Family {
    Family {
        name,
        unit: "{token}",
        description,
        counts,
        read,
        parts: 1,
        token_type,
    }
}
