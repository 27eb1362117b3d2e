//! Hooks in Rust and in scripts: what they see, what they may answer, and who is affected by their faults.

use std::sync::Arc;

use async_trait::async_trait;
use http::StatusCode;
use ostia::backend::{AdapterError, EndpointAdapter, RequestContext};
use ostia::cluster::{ClusterAdapter, ClusterContext, Jobs, JobsError};
use ostia::gateway::Gateway;
use ostia_core::LedgerRow;
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::HangUp;
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{CLUSTER, Endpoint, Site, TestGateway};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{get, scripted};
use crate::common::{assert_error, chat_stream_of};

type Change = fn(&mut RequestContext<'_>) -> Result<(), AdapterError>;

/// Does what the test sets, and records every request and how it ended.
#[derive(Clone)]
struct Own {
    change: Change,
    seen: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl EndpointAdapter for Own {
    async fn on_request(&self, context: &mut RequestContext<'_>) -> Result<(), AdapterError> {
        self.seen
            .lock()
            .push(format!("asked {}", context.deployment.slug));
        (self.change)(context)
    }

    fn on_complete(&self, row: &LedgerRow<'_>) {
        let (slug, outcome) = (&*row.endpoint_slug, row.outcome.as_str());
        self.seen
            .lock()
            .push(format!("{outcome} {slug} {}", row.http_status));
    }
}

impl Own {
    fn new(change: Change) -> Self {
        Self {
            change,
            seen: Arc::default(),
        }
    }

    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock())
    }

    async fn start(&self, site: Site) -> TestGateway {
        let builder = Gateway::builder().endpoint_adapter("my.Own", self.clone());
        TestGateway::start_with(site, builder).await
    }
}

fn with_own(model: &str, backend: &FakeBackend) -> Endpoint {
    Endpoint::of(model, backend).field("endpoint_adapter", json!("my.Own"))
}

#[tokio::test]
async fn a_fault_in_rust_is_500_without_a_call_and_hurts_nobody_else() {
    let faults: [(&str, Change); 6] = [
        ("a panic", |_| panic!("as asked")),
        ("a fault", |_| {
            Err(AdapterError::Failed("gpu1.internal".to_owned()))
        }),
        ("a foreign host", |context| {
            let _ = context.set_api_url("http://localhost:1/v1");
            Ok(())
        }),
        ("another scheme", |context| {
            context.set_api_url("https://127.0.0.1/v1")
        }),
        ("no HTTP", |context| {
            context.set_api_url("file:///etc/passwd")
        }),
        ("a stream that nobody asked for", |context| {
            context.set_field("stream", true);
            Ok(())
        }),
    ];
    for (what, change) in faults {
        let backend = FakeBackend::start().await;
        let own = Own::new(change);
        let site = Site::new()
            .model("plain", &backend)
            .endpoint(with_own("m", &backend));
        let gateway = own.start(site).await;
        let answer = gateway.call(&gateway.chat("m")).await;
        assert_error(&answer, 500, "server_error", "adapter_error", what);
        assert!(!answer.text().contains("gpu1"), "{what}: {}", answer.text());
        assert_eq!(
            own.seen(),
            ["asked lab-vllm-m", "rejected lab-vllm-m 500"],
            "{what}"
        );
        assert_eq!(backend.counts().connections, 0, "{what}");
        assert_eq!(
            gateway.call(&gateway.chat("plain")).await.status(),
            200,
            "{what}"
        );
        gateway.finish(&[&backend]).await;
    }
}

struct Hangs;

#[async_trait]
impl EndpointAdapter for Hangs {
    async fn on_request(&self, _: &mut RequestContext<'_>) -> Result<(), AdapterError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_hook_that_hangs_holds_up_its_own_request_only() {
    let backend = FakeBackend::start().await;
    let site = Site::new()
        .model("plain", &backend)
        .endpoint(with_own("m", &backend));
    let builder = Gateway::builder().endpoint_adapter("my.Own", Hangs);
    let gateway = TestGateway::start_with(site, builder).await;
    let mut hanging = Vec::new();
    for _ in 0..20 {
        let mut client = gateway.client().await;
        client.send(gateway.chat("m").bytes()).await;
        hanging.push(client);
    }
    for _ in 0..5 {
        assert_eq!(gateway.call(&gateway.chat("plain")).await.status(), 200);
    }
    for client in hanging {
        client.hang_up(HangUp::Reset).await;
    }
    while gateway.rows().await.len() < 25 {
        tokio::task::yield_now().await;
    }
    let rows = gateway.finish(&[&backend]).await;
    let left: Vec<_> = rows.iter().filter(|row| row.model == "m").collect();
    assert_eq!(left.len(), 20);
    assert!(
        left.iter()
            .all(|row| row.outcome == "client_closed" && row.attempts == 0),
        "{left:?}"
    );
}

#[tokio::test]
async fn refusals_reach_the_caller_as_written() {
    let raw = |status: u16| AdapterError::Refusal {
        status: StatusCode::from_u16(status).unwrap(),
        message: "Not \u{201c}now\u{201d};\nask \"site\".".to_owned(),
        code: "site_down".to_owned(),
    };
    let cases: [(Change, u16, &str); 6] = [
        (
            |_| Err(AdapterError::refusal(503, "x", "site_down")),
            503,
            "overloaded_error",
        ),
        (
            |_| Err(AdapterError::refusal(403, "x", "site_down")),
            403,
            "permission_error",
        ),
        (
            |_| Err(AdapterError::refusal(429, "x", "site_down")),
            429,
            "rate_limit_error",
        ),
        (
            |_| Err(AdapterError::refusal(418, "x", "site_down")),
            418,
            "invalid_request_error",
        ),
        (
            |_| Err(AdapterError::refusal(599, "x", "site_down")),
            599,
            "server_error",
        ),
        (
            |_| Err(AdapterError::refusal(302, "x", "site_down")),
            500,
            "server_error",
        ),
    ];
    for (change, status, kind) in cases {
        let backend = FakeBackend::start().await;
        let own = Own::new(change);
        let gateway = own
            .start(Site::new().endpoint(with_own("m", &backend)))
            .await;
        for request in [gateway.chat("m"), gateway.chat_stream("m")] {
            let answer = gateway.call(&request).await;
            let error = &answer.json()["error"];
            assert_eq!(answer.status(), status, "{}", answer.text());
            assert_eq!(
                (&error["message"], &error["code"]),
                (&json!("x"), &json!("site_down"))
            );
            assert_eq!(error["type"], kind, "{status}");
            assert_eq!(answer.header("retry-after").is_some(), status == 503);
        }
        let rows = gateway.finish(&[&backend]).await;
        assert!(
            rows.iter()
                .all(|row| row.http_status == status && row.error_code == "site_down")
        );
        assert_eq!(backend.records().len(), 0);
    }
    // Made by hand, so that the check of the status is bypassed.
    for status in [200, 101, 304] {
        let refusal = ostia::refusal::Refusal::from(raw(status));
        assert_eq!(
            refusal.status,
            StatusCode::INTERNAL_SERVER_ERROR,
            "{status}"
        );
        assert_eq!(refusal.message, "Not \u{201c}now\u{201d}; ask \"site\".");
    }
}

#[tokio::test]
async fn every_candidate_has_its_own_hook_and_the_last_one_the_receipt() {
    let (dead, alive) = (FakeBackend::start().await, FakeBackend::start().await);
    dead.refuse().await;
    let own = Own::new(|context| {
        let slug = context.deployment.slug.to_string();
        context.set_field("by", slug);
        Ok(())
    });
    let replica = |backend: &FakeBackend, slug: &str, priority: i64| {
        with_own("m", backend)
            .field("endpoint_slug", json!(slug))
            .config("priority", json!(priority))
    };
    let site = Site::new()
        .endpoint(replica(&dead, "first", 0))
        .endpoint(replica(&alive, "second", 1));
    let gateway = own.start(site).await;
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    let rows = gateway.finish(&[&alive]).await;
    assert_eq!(own.seen(), ["asked first", "asked second", "ok second 200"]);
    assert_eq!((rows.len(), rows[0].attempts), (1, 2));
    assert_eq!(alive.records()[0].received.json()["by"], "second");
}

#[tokio::test]
async fn the_receipt_is_seen_however_a_request_ends() {
    let backend = FakeBackend::start().await;
    let own = Own::new(|_| Ok(()));
    let site = Site::new().endpoint(with_own("m", &backend));
    let gateway = own.start(site).await;

    let gate = Gate::closed();
    backend.next(Script::events(chat_stream_of(3)).gate_end(&gate));
    let mut client = gateway.client().await;
    client.send(gateway.chat_stream("m").bytes()).await;
    let mut reading = client.begin().await.unwrap();
    client.piece(&mut reading).await.unwrap();
    client.hang_up(HangUp::Fin).await;
    backend.aborts(1).await;
    while gateway.rows().await.is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        own.seen(),
        ["asked lab-vllm-m", "client_closed lab-vllm-m 200"]
    );

    backend.next(Script::raw(500, "oops"));
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_eq!(answer.status(), 502, "{}", answer.text());
    assert_eq!(
        own.seen(),
        ["asked lab-vllm-m", "upstream_error lab-vllm-m 502"]
    );
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn memory_bombs_and_panics_of_scripts_leave_the_gateway_standing() {
    let backend = FakeBackend::start().await;
    let text = r#"
        fn on_request(ctx) {
            switch ctx.get("bomb") {
                "text" => { let x = ""; x.pad(100000, "x"); let y = x; x.replace("x", y); }
                "values" => { let s = ""; s.pad(4000000, "x"); let n = 0; loop { n += 1; ctx.set("k" + n, s); } }
                "nested" => { let x = []; loop { x = [take(x)]; } }
                "closures" => { let f = |x| x; loop { let g = f; f = |y| g.call(y); } }
                "depth" => on_request(ctx),
                "type" => ctx.set("x", ctx),
                "missing" => ctx.get(1),
                _ => {}
            }
        }"#;
    let site = scripted(text, &backend).model("plain", &backend);
    let gateway = TestGateway::start(site).await;
    let calls = [
        "text", "values", "nested", "closures", "depth", "type", "missing",
    ]
    .map(|bomb| {
        let request = gateway.request("chat/completions", "m", &json!({"bomb": bomb}));
        let gateway = &gateway;
        async move { (bomb, gateway.call(&request).await) }
    });
    let (answers, others) = tokio::join!(futures_util::future::join_all(calls), async {
        let mut statuses = Vec::new();
        for _ in 0..20 {
            statuses.push(gateway.call(&gateway.chat("plain")).await.status());
        }
        statuses
    });
    for (bomb, answer) in answers {
        assert_error(&answer, 500, "server_error", "adapter_error", bomb);
    }
    assert_eq!(others, [200; 20]);
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    gateway.finish(&[&backend]).await;
}

/// Returns the error that the test sets.
struct Says(JobsError);

#[async_trait]
impl ClusterAdapter for Says {
    async fn jobs(&self, _: &ClusterContext) -> Result<Jobs, JobsError> {
        Err(self.0.clone())
    }
}

#[tokio::test]
async fn an_adapters_error_for_jobs_keeps_its_status_where_that_is_an_error() {
    for (given, status) in [(502, 502), (404, 404), (200, 500), (301, 500)] {
        let backend = FakeBackend::start().await;
        let site = Site::new().model("m", &backend).cluster(
            CLUSTER,
            "cluster_adapter",
            json!("my.Cluster"),
        );
        let error = JobsError::new("The page at http://gpu1.internal/x is down.")
            .with_status(StatusCode::from_u16(given).unwrap())
            .with_code("page_down");
        let builder = Gateway::builder().cluster_adapter("my.Cluster", Says(error));
        let gateway = TestGateway::start_with(site, builder).await;
        let answer = get(&gateway, "/lab/jobs").await;
        assert_eq!(answer.status(), status, "{}", answer.text());
        assert_eq!(answer.error_code().as_deref(), Some("page_down"));
        assert_eq!(
            answer.json()["error"]["message"],
            "The page at [...] is down."
        );
        assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
        gateway.finish(&[&backend]).await;
    }
    // Scripts may set any number.
    for given in ["200", "1000", "70000", "-1"] {
        let backend = FakeBackend::start().await;
        let site = Site::new();
        let text = format!("fn jobs(ctx) {{ refuse({given}, \"down\", \"page_down\") }}");
        std::fs::write(site.folder().join("c.rhai"), text).unwrap();
        let site =
            site.model("m", &backend)
                .cluster(CLUSTER, "cluster_adapter", json!("script:c.rhai"));
        let gateway = TestGateway::start(site).await;
        let answer = get(&gateway, "/lab/jobs").await;
        assert_eq!(
            (answer.status(), answer.json()["error"]["code"].clone()),
            (500, Value::from("page_down"))
        );
        gateway.finish(&[&backend]).await;
    }
}
