//! The messages of OTLP 1.x, with the fields that are used here. The numbers are those of opentelemetry-proto.

use prost::Message;

/// What traces are sent as: an `ExportTraceServiceRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct Traces {
    #[prost(message, repeated, tag = "1")]
    pub resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    /// Empty: the trace begins here.
    #[prost(bytes = "vec", tag = "4")]
    pub parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub name: String,
    #[prost(int32, tag = "6")]
    pub kind: i32,
    #[prost(fixed64, tag = "7")]
    pub start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    pub end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    pub status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    pub flags: u32,
}

/// [`Span::kind`] of the gateway's own work.
pub const SERVER: i32 = 2;
/// [`Span::kind`] of a call.
pub const CLIENT: i32 = 3;

#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(int32, tag = "3")]
    pub code: i32,
}

/// [`Status::code`] of what failed.
pub const ERROR: i32 = 2;

/// What metrics are sent as: an `ExportMetricsServiceRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct Metrics {
    #[prost(message, repeated, tag = "1")]
    pub resource_metrics: Vec<ResourceMetrics>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ResourceMetrics {
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub scope_metrics: Vec<ScopeMetrics>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ScopeMetrics {
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Metric {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub description: String,
    #[prost(string, tag = "3")]
    pub unit: String,
    #[prost(message, optional, tag = "9")]
    pub histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Histogram {
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<HistogramDataPoint>,
    #[prost(int32, tag = "2")]
    pub aggregation_temporality: i32,
}

/// [`Histogram::aggregation_temporality`]: each point counts from the start on.
pub const CUMULATIVE: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub struct HistogramDataPoint {
    #[prost(fixed64, tag = "2")]
    pub start_time_unix_nano: u64,
    #[prost(fixed64, tag = "3")]
    pub time_unix_nano: u64,
    #[prost(fixed64, tag = "4")]
    pub count: u64,
    #[prost(double, optional, tag = "5")]
    pub sum: Option<f64>,
    /// One more than bounds.
    #[prost(fixed64, repeated, tag = "6")]
    pub bucket_counts: Vec<u64>,
    #[prost(double, repeated, tag = "7")]
    pub explicit_bounds: Vec<f64>,
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Scope {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub version: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct KeyValue {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

/// One of them is set.
#[derive(Clone, PartialEq, Message)]
pub struct AnyValue {
    #[prost(string, optional, tag = "1")]
    pub text: Option<String>,
    #[prost(bool, optional, tag = "2")]
    pub flag: Option<bool>,
    #[prost(int64, optional, tag = "3")]
    pub number: Option<i64>,
    #[prost(double, optional, tag = "4")]
    pub fraction: Option<f64>,
}

/// A collector's answer to traces.
#[derive(Clone, PartialEq, Message)]
pub struct TracesTaken {
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub rejected_spans: i64,
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
        assert_eq!(traces.encode_to_vec(), SPANS);
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
        assert_eq!(metrics.encode_to_vec(), METRICS);
    }
}
