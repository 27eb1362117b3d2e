"""Writes spans.bin and metrics.bin with the messages of the package opentelemetry-proto, for the tests of proto.rs."""

from pathlib import Path

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    Histogram,
    HistogramDataPoint,
    Metric,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

here = Path(__file__).parent
resource = Resource(attributes=[KeyValue(key="service.name", value=AnyValue(string_value="ostia"))])
scope = InstrumentationScope(name="scope", version="1")
attributes = [
    KeyValue(key="text", value=AnyValue(string_value="value")),
    KeyValue(key="flag", value=AnyValue(bool_value=True)),
    KeyValue(key="number", value=AnyValue(int_value=7)),
    KeyValue(key="fraction", value=AnyValue(double_value=0.5)),
]
span = Span(
    trace_id=bytes(range(16)),
    span_id=bytes(range(16, 24)),
    parent_span_id=bytes(range(24, 32)),
    name="chat m",
    kind=Span.SPAN_KIND_CLIENT,
    start_time_unix_nano=1000,
    end_time_unix_nano=2000,
    attributes=attributes,
    status=Status(code=Status.STATUS_CODE_ERROR),
    flags=0x301,
)
spans = ResourceSpans(resource=resource, scope_spans=[ScopeSpans(scope=scope, spans=[span])])
request = ExportTraceServiceRequest(resource_spans=[spans])
(here / "spans.bin").write_bytes(request.SerializeToString(deterministic=True))

point = HistogramDataPoint(
    start_time_unix_nano=1000,
    time_unix_nano=2000,
    count=3,
    sum=4.5,
    bucket_counts=[1, 2, 0],
    explicit_bounds=[0.5, 2.5],
    attributes=attributes,
)
histogram = Histogram(data_points=[point], aggregation_temporality=AGGREGATION_TEMPORALITY_CUMULATIVE)
metric = Metric(name="gen_ai.server.request.duration", description="text", unit="s", histogram=histogram)
metrics = ResourceMetrics(resource=resource, scope_metrics=[ScopeMetrics(scope=scope, metrics=[metric])])
request = ExportMetricsServiceRequest(resource_metrics=[metrics])
(here / "metrics.bin").write_bytes(request.SerializeToString(deterministic=True))
