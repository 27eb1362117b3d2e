//! The messages of OTLP 1.x, with the fields that are used here. The numbers are those of opentelemetry-proto.

use super::wire::message;

message! {
    /// What traces are sent as: an `ExportTraceServiceRequest`.
    Traces {
        1 resource_spans: Vec<ResourceSpans>,
    }
}

message! {
    ResourceSpans {
        1 resource: Option<Resource>,
        2 scope_spans: Vec<ScopeSpans>,
    }
}

message! {
    ScopeSpans {
        1 scope: Option<Scope>,
        2 spans: Vec<Span>,
    }
}

message! {
    Span {
        1 trace_id: Vec<u8>,
        2 span_id: Vec<u8>,
        /// Empty: the trace begins here.
        4 parent_span_id: Vec<u8>,
        5 name: String,
        6 kind: i64,
        7 start_time_unix_nano: u64,
        8 end_time_unix_nano: u64,
        9 attributes: Vec<KeyValue>,
        15 status: Option<Status>,
        16 flags: u32,
    }
}

/// [`Span::kind`] of the gateway's own work.
pub const SERVER: i64 = 2;
/// [`Span::kind`] of a call.
pub const CLIENT: i64 = 3;

message! {
    Status {
        3 code: i64,
    }
}

/// [`Status::code`] of what failed.
pub const ERROR: i64 = 2;

message! {
    /// What metrics are sent as: an `ExportMetricsServiceRequest`.
    Metrics {
        1 resource_metrics: Vec<ResourceMetrics>,
    }
}

message! {
    ResourceMetrics {
        1 resource: Option<Resource>,
        2 scope_metrics: Vec<ScopeMetrics>,
    }
}

message! {
    ScopeMetrics {
        1 scope: Option<Scope>,
        2 metrics: Vec<Metric>,
    }
}

message! {
    Metric {
        1 name: String,
        2 description: String,
        3 unit: String,
        9 histogram: Option<Histogram>,
    }
}

message! {
    Histogram {
        1 data_points: Vec<HistogramDataPoint>,
        2 aggregation_temporality: i64,
    }
}

/// [`Histogram::aggregation_temporality`]: each point counts from the start on.
pub const CUMULATIVE: i64 = 2;

message! {
    HistogramDataPoint {
        2 start_time_unix_nano: u64,
        3 time_unix_nano: u64,
        4 count: u64,
        5 sum: Option<f64>,
        /// One more than bounds.
        6 bucket_counts: Vec<u64>,
        7 explicit_bounds: Vec<f64>,
        9 attributes: Vec<KeyValue>,
    }
}

message! {
    Resource {
        1 attributes: Vec<KeyValue>,
    }
}

message! {
    Scope {
        1 name: String,
        2 version: String,
    }
}

message! {
    KeyValue {
        1 key: String,
        2 value: Option<AnyValue>,
    }
}

message! {
    /// One of them is set.
    AnyValue {
        1 text: Option<String>,
        2 flag: Option<bool>,
        3 number: Option<i64>,
        4 fraction: Option<f64>,
    }
}

message! {
    /// A collector's answer to traces.
    TracesTaken {
        1 partial_success: Option<PartialSuccess>,
    }
}

message! {
    PartialSuccess {
        1 rejected_spans: i64,
    }
}

impl From<&str> for AnyValue {
    fn from(text: &str) -> Self {
        Self {
            text: Some(text.to_owned()),
            ..Self::default()
        }
    }
}

impl From<bool> for AnyValue {
    fn from(flag: bool) -> Self {
        Self {
            flag: Some(flag),
            ..Self::default()
        }
    }
}

impl From<u64> for AnyValue {
    fn from(number: u64) -> Self {
        Self {
            number: Some(i64::try_from(number).unwrap_or(i64::MAX)),
            ..Self::default()
        }
    }
}

impl From<f64> for AnyValue {
    fn from(fraction: f64) -> Self {
        Self {
            fraction: Some(fraction),
            ..Self::default()
        }
    }
}

impl KeyValue {
    pub fn new(key: &str, value: impl Into<AnyValue>) -> Self {
        Self {
            key: key.to_owned(),
            value: Some(value.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::wire::Message as _;

    /// Requests that the Python package opentelemetry-proto wrote. `golden.py` beside them makes them again.
    const SPANS: &[u8] = include_bytes!("golden/spans.bin");
    const METRICS: &[u8] = include_bytes!("golden/metrics.bin");

    fn of_each_kind() -> Vec<KeyValue> {
        vec![
            KeyValue::new("text", "value"),
            KeyValue::new("flag", true),
            KeyValue::new("number", 7_u64),
            KeyValue::new("fraction", 0.5),
        ]
    }

    fn resource() -> Option<Resource> {
        let attributes = vec![KeyValue::new("service.name", "ostia")];
        Some(Resource { attributes })
    }

    fn scope() -> Option<Scope> {
        Some(Scope {
            name: "scope".to_owned(),
            version: "1".to_owned(),
        })
    }

    #[test]
    fn spans_are_those_of_the_official_messages() {
        let span = Span {
            trace_id: (0..16).collect(),
            span_id: (16..24).collect(),
            parent_span_id: (24..32).collect(),
            name: "chat m".to_owned(),
            kind: CLIENT,
            start_time_unix_nano: 1_000,
            end_time_unix_nano: 2_000,
            attributes: of_each_kind(),
            status: Some(Status { code: ERROR }),
            flags: 0x301,
        };
        let traces = Traces {
            resource_spans: vec![ResourceSpans {
                resource: resource(),
                scope_spans: vec![ScopeSpans {
                    scope: scope(),
                    spans: vec![span],
                }],
            }],
        };
        assert_eq!(Traces::decode(SPANS).unwrap(), traces);
        assert_eq!(traces.encode(), SPANS);
    }

    #[test]
    fn metrics_are_those_of_the_official_messages() {
        let point = HistogramDataPoint {
            start_time_unix_nano: 1_000,
            time_unix_nano: 2_000,
            count: 3,
            sum: Some(4.5),
            bucket_counts: vec![1, 2, 0],
            explicit_bounds: vec![0.5, 2.5],
            attributes: of_each_kind(),
        };
        let metric = Metric {
            name: "gen_ai.server.request.duration".to_owned(),
            description: "text".to_owned(),
            unit: "s".to_owned(),
            histogram: Some(Histogram {
                data_points: vec![point],
                aggregation_temporality: CUMULATIVE,
            }),
        };
        let metrics = Metrics {
            resource_metrics: vec![ResourceMetrics {
                resource: resource(),
                scope_metrics: vec![ScopeMetrics {
                    scope: scope(),
                    metrics: vec![metric],
                }],
            }],
        };
        assert_eq!(Metrics::decode(METRICS).unwrap(), metrics);
        assert_eq!(metrics.encode(), METRICS);
    }
}
