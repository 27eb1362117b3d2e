//! What a collector of OpenTelemetry gets, and what it cannot do to requests.

use std::collections::BTreeMap;

use ostia::otlp::proto::{CLIENT, ERROR, SERVER, Span};
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::collector::{Collector, attributes, points};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Log, Site, TestGateway, gauges};
use ostia_testkit::patience::within;
use ostia_testkit::ports::ClosedPort;
use serde_json::json;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

struct Rig {
    backend: FakeBackend,
    collector: Collector,
    gateway: TestGateway,
}

impl Rig {
    async fn start(more: &str) -> Self {
        let (backend, collector) = (FakeBackend::start().await, Collector::start().await);
        backend.otherwise(Script::completion().prompt_tokens(11, 4));
        let settings = collector.settings(more);
        let site = Site::new().model("Org/m", &backend).settings(&settings);
        Self {
            backend,
            collector,
            gateway: TestGateway::start(site).await,
        }
    }

    /// Ends the gateway, and checks that the collector was sent no secret.
    async fn finish(self) -> Collector {
        let secrets = self.gateway.site().secrets.clone();
        self.gateway.finish(&[&self.backend]).await;
        let bytes = self.collector.bytes();
        for secret in [secrets.prompt, secrets.client_key, secrets.backend_key] {
            assert_eq!(secret.find(&bytes), None, "a secret is in the telemetry");
        }
        self.collector
    }
}

fn of_kind(spans: &[Span], kind: i32) -> &Span {
    let mut of_kind = spans.iter().filter(|span| span.kind == kind);
    let (first, next) = (of_kind.next(), of_kind.next());
    assert!(next.is_none(), "{spans:?}");
    first.unwrap()
}

fn expected(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// Removes what differs from run to run.
fn take(attributes: &mut BTreeMap<String, String>, key: &str) -> String {
    let value = attributes.remove(key);
    value.unwrap_or_else(|| panic!("no {key} in {attributes:?}"))
}

#[tokio::test]
async fn a_caller_s_trace_goes_on_through_the_gateway_to_the_backend() {
    let rig = Rig::start("trace_ratio = 0").await;
    let request = rig.gateway.chat_stream("Org/m");
    let request = request
        .header("traceparent", &traceparent("01"))
        .header("tracestate", "vendor=a, other=b");
    let answer = rig.gateway.call(&request).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let spans = rig.collector.spans(2).await;
    let (server, client) = (of_kind(&spans, SERVER), of_kind(&spans, CLIENT));
    for span in [server, client] {
        assert_eq!(hex::encode(&span.trace_id), TRACE);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        assert_eq!(span.status.as_ref().unwrap().code, 0);
    }
    assert_eq!(hex::encode(&server.parent_span_id), CALLER);
    assert_eq!(client.parent_span_id, server.span_id);
    assert_ne!(client.span_id, server.span_id);
    assert!(server.start_time_unix_nano <= client.start_time_unix_nano);
    assert_eq!((server.flags, client.flags), (0x301, 0x101));

    let seen = &rig.backend.requests(1).await[0].received.head.fields;
    let call = hex::encode(&client.span_id);
    assert_eq!(
        seen.first("traceparent"),
        Some(&*format!("00-{TRACE}-{call}-01"))
    );
    assert_eq!(seen.first("tracestate"), Some("vendor=a, other=b"));

    assert_eq!(server.name, "POST /v1/chat/completions");
    let mut told = attributes(&server.attributes);
    assert_eq!(
        take(&mut told, "ostia.request_id"),
        answer.header("x-request-id").unwrap()
    );
    take(&mut told, "ostia.queue_duration");
    let of_server = [
        ("http.request.method", "POST"),
        ("http.route", "/v1/chat/completions"),
        ("http.response.status_code", "200"),
        ("url.path", "/v1/chat/completions"),
        ("url.scheme", "http"),
        ("ostia.outcome", "ok"),
    ];
    assert_eq!(told, expected(&of_server));

    assert_eq!(client.name, "chat Org/m");
    let mut told = attributes(&client.attributes);
    let row = rig.gateway.row_of(&answer).await;
    assert_eq!(
        take(&mut told, "gen_ai.usage.output_tokens"),
        row.tokens.completion.to_string()
    );
    let first: f64 = take(&mut told, "gen_ai.response.time_to_first_chunk")
        .parse()
        .unwrap();
    assert!((0.0..60.0).contains(&first), "in seconds: {first}");
    let port = rig.backend.address().port().to_string();
    let of_client = [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.request.model", "Org/m"),
        ("gen_ai.request.stream", "true"),
        ("gen_ai.response.model", "Org/m"),
        ("gen_ai.usage.input_tokens", "11"),
        ("gen_ai.usage.cache_read.input_tokens", "4"),
        ("server.address", "127.0.0.1"),
        ("server.port", &*port),
        ("ostia.api", "chat/completions"),
        ("ostia.cluster", "lab"),
        ("ostia.endpoint", &row.endpoint_slug),
        ("ostia.attempts", "1"),
    ];
    assert_eq!(told, expected(&of_client));
    rig.finish().await;
}

#[tokio::test]
async fn a_request_that_is_not_sampled_has_no_span_and_its_headers_pass() {
    let rig = Rig::start("trace_ratio = 1").await;
    let silent = traceparent("00");
    let request = rig.gateway.chat("Org/m").header("traceparent", &silent);
    let request = request.header("tracestate", "a=b");
    assert_eq!(rig.gateway.call(&request).await.status(), 200);
    let seen = &rig.backend.requests(1).await[0].received.head.fields;
    assert_eq!(seen.first("traceparent"), Some(&*silent));
    assert_eq!(seen.first("tracestate"), Some("a=b"));
    let collector = rig.finish().await;
    assert_eq!(collector.spans_so_far(), []);
    assert!(
        !collector.metrics().is_empty(),
        "metrics count every request"
    );

    let rig = Rig::start("trace_ratio = 0").await;
    assert_eq!(
        rig.gateway.call(&rig.gateway.chat("Org/m")).await.status(),
        200
    );
    let seen = &rig.backend.requests(1).await[0].received.head.fields;
    assert_eq!(seen.first("traceparent"), None);
    assert_eq!(rig.finish().await.spans_so_far(), []);
}

#[tokio::test]
async fn a_trace_that_begins_here_has_the_request_s_id() {
    let rig = Rig::start("").await;
    let answer = rig.gateway.call(&rig.gateway.chat("Org/m")).await;
    let id = answer.header("x-request-id").unwrap().replace('-', "");
    let spans = rig.collector.spans(2).await;
    let server = of_kind(&spans, SERVER);
    assert_eq!(hex::encode(&server.trace_id), id);
    assert_eq!((&*server.parent_span_id, server.flags), (&[][..], 0x101));
    let seen = &rig.backend.requests(1).await[0].received.head.fields;
    assert!(seen.first("traceparent").unwrap().contains(&id));
    rig.finish().await;
}

#[tokio::test]
async fn a_refusal_has_no_call_and_a_failure_says_what_failed() {
    let rig = Rig::start("").await;
    let refused = rig.gateway.call(&rig.gateway.chat("absent")).await;
    assert_eq!(refused.status(), 404);
    let spans = rig.collector.spans(1).await;
    let server = of_kind(&spans, SERVER);
    assert_eq!(spans.len(), 1, "no backend was called");
    let told = attributes(&server.attributes);
    assert_eq!(told["http.response.status_code"], "404");
    assert_eq!(told["error.type"], "model_not_found");
    assert_eq!(
        server.status.as_ref().unwrap().code,
        0,
        "the client's fault"
    );

    rig.backend
        .otherwise(Script::json(500, &json!({"error": {"message": "no"}})));
    let failed = rig.gateway.call(&rig.gateway.chat("Org/m")).await;
    assert!(failed.status() >= 500, "{}", failed.text());
    let spans = rig.collector.spans(3).await;
    for span in &spans[1..] {
        assert_eq!(span.status.as_ref().unwrap().code, ERROR, "{span:?}");
        assert!(attributes(&span.attributes).contains_key("error.type"));
    }
    rig.finish().await;
}

#[tokio::test]
async fn the_end_sends_what_is_left() {
    let rig = Rig::start("metrics_interval = \"1h\"").await;
    for _ in 0..3 {
        assert_eq!(
            rig.gateway
                .call(&rig.gateway.chat_stream("Org/m"))
                .await
                .status(),
            200
        );
    }
    let vectors =
        json!({"object": "list", "data": [], "usage": {"prompt_tokens": 5, "total_tokens": 5}});
    rig.backend
        .on_path("/v1/embeddings", Script::json(200, &vectors));
    assert_eq!(
        rig.gateway
            .call(&rig.gateway.request("embeddings", "Org/m", &json!({})))
            .await
            .status(),
        200
    );
    let collector = rig.finish().await;
    assert_eq!(collector.spans_so_far().len(), 8);
    let metrics = collector.metrics();
    let model = ("gen_ai.request.model", "Org/m");
    for (name, unit, count) in [
        ("gen_ai.client.inference.duration", "s", 3),
        (
            "gen_ai.client.inference.operation.input_tokens",
            "{token}",
            3,
        ),
        (
            "gen_ai.client.inference.operation.output_tokens",
            "{token}",
            3,
        ),
        ("gen_ai.client.embeddings.duration", "s", 1),
        ("gen_ai.server.time_to_first_token", "s", 3),
        ("gen_ai.server.time_per_output_token", "s", 3),
    ] {
        let metric = &metrics[name];
        assert_eq!(metric.unit, unit, "{name}");
        let [point] = &points(metric, &[model])[..] else {
            panic!("{name}: {metric:?}")
        };
        assert_eq!(point.count, count, "{name}");
        assert_eq!(point.bucket_counts.iter().sum::<u64>(), count, "{name}");
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert!(point.explicit_bounds.is_sorted());
        assert!(point.start_time_unix_nano < point.time_unix_nano);
    }
    for name in [
        "gen_ai.server.request.duration",
        "gen_ai.client.operation.duration",
    ] {
        let chats = points(&metrics[name], &[model, ("gen_ai.operation.name", "chat")]);
        assert_eq!(
            chats.iter().map(|point| point.count).sum::<u64>(),
            3,
            "{name}"
        );
        let wanted = expected(&[
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.provider.name", "openai"),
            model,
            ("ostia.api", "chat/completions"),
            ("ostia.cluster", "lab"),
        ]);
        assert_eq!(attributes(&chats[0].attributes), wanted, "{name}");
    }
    let usage = &metrics["gen_ai.client.token.usage"];
    let input = points(
        usage,
        &[
            ("gen_ai.token.type", "input"),
            ("ostia.api", "chat/completions"),
        ],
    );
    assert_eq!(input[0].sum, Some(33.0));
    assert_eq!(
        points(usage, &[("gen_ai.token.type", "output"), model])[0].count,
        3
    );
}

/// The figures are those of `/metrics`.
#[tokio::test]
async fn a_failed_request_counts_with_its_outcome() {
    let rig = Rig::start("").await;
    rig.backend
        .otherwise(Script::json(500, &json!({"error": {"message": "no"}})));
    let failed = rig.gateway.call(&rig.gateway.chat("Org/m")).await;
    assert!(failed.status() >= 500, "{}", failed.text());
    assert_eq!(
        rig.gateway.call(&rig.gateway.chat("absent")).await.status(),
        404
    );
    let metrics = rig.finish().await.metrics();
    let durations = &metrics["gen_ai.client.inference.duration"];
    for kind in ["upstream_error", "rejected"] {
        let found = points(durations, &[("error.type", kind)]);
        assert_eq!(found.len(), 1, "{kind}: {durations:?}");
        assert_eq!(found[0].count, 1);
    }
    assert!(
        !metrics.contains_key("gen_ai.server.time_to_first_token"),
        "no answer succeeded"
    );
}

#[tokio::test]
async fn what_a_collector_cannot_take_now_it_gets_later_and_once() {
    let rig = Rig::start("").await;
    rig.collector
        .answers_first_traces(Script::raw(503, "busy").header("retry-after", "0"));
    assert_eq!(
        rig.gateway.call(&rig.gateway.chat("Org/m")).await.status(),
        200
    );
    let again = rig.collector.spans(4).await;
    assert_eq!(again[..2], again[2..], "the same spans");
    assert_eq!(
        rig.gateway.call(&rig.gateway.chat("Org/m")).await.status(),
        200
    );
    let all = rig.collector.spans(6).await;
    assert_ne!(all[4..], all[..2]);
    let metrics = gauges::scrape(rig.gateway.admin_address()).await;
    assert_eq!(
        gauges::sum(&metrics, "ostia_traces_dropped_total"),
        Some(0.0)
    );
    assert!(gauges::sum(&metrics, "ostia_telemetry_failures_total") >= Some(1.0));
    let collector = rig.finish().await;
    assert_eq!(collector.spans_so_far().len(), 6);
}

#[tokio::test]
async fn what_a_collector_refuses_is_counted_and_not_sent_again() {
    let rig = Rig::start("").await;
    rig.collector
        .answers_first_traces(Script::raw(400, "not protobuf"));
    assert_eq!(
        rig.gateway.call(&rig.gateway.chat("Org/m")).await.status(),
        200
    );
    assert_eq!(rig.collector.spans(2).await.len(), 2);
    assert_eq!(
        rig.gateway.call(&rig.gateway.chat("Org/m")).await.status(),
        200
    );
    assert_eq!(rig.collector.spans(4).await.len(), 4);
    let metrics = gauges::scrape(rig.gateway.admin_address()).await;
    assert_eq!(
        gauges::sum(&metrics, "ostia_traces_dropped_total"),
        Some(1.0)
    );
    let collector = rig.finish().await;
    assert_eq!(collector.spans_so_far().len(), 4);
}

#[tokio::test]
async fn a_collector_that_never_answers_delays_no_request() {
    let rig = Rig::start("").await;
    let gate = Gate::closed();
    rig.collector
        .backend
        .otherwise(Script::raw(200, "").gate_head(&gate));
    for _ in 0..20 {
        assert_eq!(
            rig.gateway.call(&rig.gateway.chat("Org/m")).await.status(),
            200
        );
    }
    gate.reached(1).await;
    assert_eq!(
        rig.gateway.call(&rig.gateway.chat("Org/m")).await.status(),
        200
    );
    gate.open();
    let collector = rig.finish().await;
    assert!(collector.spans_so_far().len() >= 42);
}

#[tokio::test]
async fn a_collector_that_is_not_there_costs_one_line_in_the_log() {
    let backend = FakeBackend::start().await;
    let dead = ClosedPort::bind();
    let settings = format!(
        "[telemetry]\notlp_endpoint = \"http://{}\"\notlp_headers = \"authorization=Bearer%20token-in-header\"\n",
        dead.address()
    );
    let site = Site::new().model("m", &backend).settings(&settings);
    let log = Log::capture();
    let gateway = TestGateway::start(site).await;
    for _ in 0..5 {
        assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    }
    let failed = async {
        loop {
            let metrics = gauges::scrape(gateway.admin_address()).await;
            if gauges::sum(&metrics, "ostia_telemetry_failures_total") >= Some(2.0) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    within(|| "two failures".to_owned(), failed).await;
    let log = String::from_utf8(log.bytes()).unwrap();
    // Other tests write to the same log.
    let (said, address) = ("telemetry cannot be sent", dead.address().to_string());
    let lines = log.lines().filter(|line| {
        [said, "traces", &address]
            .iter()
            .all(|word| line.contains(word))
    });
    assert_eq!(lines.count(), 1, "{log}");
    assert!(!log.contains("token-in-header"));
    gateway.finish(&[&backend]).await;
}
