//! What clusters report, what adapters may do, and maintenance, through the whole gateway.

mod documented;
mod head;
mod hooks;
mod listings;
mod upkeep;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use ostia::backend::{AdapterError, EndpointAdapter, RequestContext, ResponseContext};
use ostia::gateway::Gateway;
use ostia_core::{Clock as _, LedgerRow, SystemClock};
use ostia_core::{Notice, NoticeScope};
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{Answer, Request};
use ostia_testkit::gateway::{CLUSTER, Endpoint, Site, TestGateway};
use serde_json::{Value, json};

async fn get(gateway: &TestGateway, path: &str) -> Answer {
    let bearer = gateway.site().secrets.client_bearer();
    gateway.call(&Request::get(path).bearer(&bearer)).await
}

fn with_status_page(site: Site, page: &FakeBackend) -> Site {
    let url = format!("{}/status.json?token=hush", page.base_url());
    site.cluster(CLUSTER, "cluster_adapter", json!("status_url"))
        .cluster(
            CLUSTER,
            "config",
            json!({"status_url": url, "api_request_timeout": 1}),
        )
}

fn status_page() -> Value {
    json!({
        "1": {"status": "Live", "model": "up", "experts": ["x", "hidden"], "description": "both up and hidden",
              "url": "http://gpu1.internal:8000", "endpoint_id": "0ffd-1234"},
        "2": {"status": "Stopped", "model": "down"},
        "3": {"status": "Loading", "model": "wait-on-disk", "model_version": 2, "description": "soon"},
        "4": {"status": "Live", "model": "nobodys"},
    })
}

async fn site_with_models(backend: &FakeBackend) -> Site {
    Site::new()
        .model("up", backend)
        .endpoint(Endpoint::of("down", backend).config("require_running", json!(true)))
        .endpoint(
            Endpoint::of("wait", backend)
                .config("upstream_model", json!("wait-on-disk"))
                .config("require_running", json!(true)),
        )
        .endpoint(Endpoint::of("hidden", backend).field("allowed_domains", json!(["other.org"])))
}

#[tokio::test]
async fn jobs_are_cut_to_what_the_caller_may_use() {
    let (backend, page) = (FakeBackend::start().await, FakeBackend::start().await);
    page.on_path("/status.json", Script::json(200, &status_page()));
    let site = with_status_page(site_with_models(&backend).await, &page);
    let gateway =
        TestGateway::start(site.settings("[catalog]\nmodel_details_keys = [\"upstream_model\"]"))
            .await;
    let answer = get(&gateway, "/lab/jobs").await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let job = |models: &str, status: &str| json!({"Models": models, "Framework": "vllm", "Cluster": "lab", "Model Status": status});
    let mut waiting = job("wait", "loading");
    waiting["Description"] = json!("wait - soon");
    waiting["Model Version"] = json!(2);
    let expected = json!({
        "running": [job("up", "running")], "queued": [waiting], "stopped": [job("down", "stopped")],
        "others": [], "private_batch_running": [], "private_batch_queued": [],
        "cluster_status": {"cluster": "lab", "total_models": 3, "live_models": 1, "stopped_models": 1},
    });
    assert_eq!(answer.json(), expected);

    let models = get(&gateway, "/resource_server/lab/models").await.json();
    let states: Vec<_> = models
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (&it["id"], &it["state"]))
        .collect();
    let expected = [("down", "stopped"), ("up", "running"), ("wait", "queued")];
    assert_eq!(
        format!("{states:?}"),
        format!(
            "{:?}",
            expected.map(|(id, state)| (json!(id), json!(state)))
        )
    );
    let expected = json!([{"id": "wait", "object": "model", "cluster": "lab", "framework": "vllm",
                           "upstream_model": "wait-on-disk", "state": "queued"}]);
    for query in [
        "model_id=wait",
        "x=1&model_id=%77ait",
        "model%5Fid=wait&model_id=none",
    ] {
        let path = format!("/lab/models?{query}");
        assert_eq!(get(&gateway, &path).await.json(), expected, "{query}");
    }
    for path in [
        "/lab/models?model_id=hidden",
        "/lab/models?model_id=none",
        "/lab/models?model_id=wait+",
        "/lab/models?model_id=%zz%4%ff",
        "/lab/models?model_id",
        "/none/jobs",
        "/none/models",
    ] {
        assert_eq!(get(&gateway, path).await.status(), 404, "{path}");
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn what_does_not_run_is_refused_before_any_backend_is_called() {
    let (backend, page) = (FakeBackend::start().await, FakeBackend::start().await);
    page.on_path("/status.json", Script::json(200, &status_page()));
    let gateway =
        TestGateway::start(with_status_page(site_with_models(&backend).await, &page)).await;
    for (model, state) in [("down", "stopped"), ("wait", "queued")] {
        let answer = gateway.call(&gateway.chat(model)).await;
        assert_eq!(answer.status(), 503, "{}", answer.text());
        assert_eq!(answer.error_code().as_deref(), Some("model_not_running"));
        assert!(answer.text().contains(state), "{}", answer.text());
        assert!(answer.header("retry-after").is_some());
        let again = answer.header("x-should-retry");
        assert_eq!(again, (state == "stopped").then_some("false"));
    }
    assert_eq!(gateway.call(&gateway.chat("up")).await.status(), 200);
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(backend.records().len(), 1);
    assert_eq!(
        rows.iter().filter(|row| row.outcome == "rejected").count(),
        2
    );
}

#[tokio::test]
async fn a_broken_status_page_is_told_and_stops_no_inference() {
    let cases = [
        (Script::raw(500, "oops"), 500),
        (Script::raw(200, "{\"a\":"), 500),
        (Script::raw(200, "[1, 2]"), 500),
        (
            Script::raw(302, "").header("location", "http://127.0.0.1:1/elsewhere"),
            500,
        ),
        (Script::repeated(vec![b'x'; 1 << 20], 1024), 500),
        (Script::silent(), 504),
    ];
    for (script, status) in cases {
        let (backend, page) = (FakeBackend::start().await, FakeBackend::start().await);
        page.otherwise(script);
        let site = with_status_page(
            Site::new()
                .endpoint(Endpoint::of("m", &backend).config("require_running", json!(true))),
            &page,
        );
        let gateway = TestGateway::start(site).await;
        let answer = get(&gateway, "/lab/jobs").await;
        assert_eq!(answer.status(), status, "{}", answer.text());
        assert_eq!(
            answer.error_code().as_deref(),
            Some("failed_to_get_cluster_jobs")
        );
        for private in ["127.0.0.1", "status.json", "hush"] {
            assert!(!answer.text().contains(private), "{}", answer.text());
        }
        assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
        gateway.finish(&[&backend]).await;
    }
}

#[tokio::test]
async fn a_listing_that_names_no_model_refuses_what_must_be_listed() {
    let (backend, page) = (FakeBackend::start().await, FakeBackend::start().await);
    page.on_path(
        "/status.json",
        Script::json(200, &json!({"models": ["other"]})),
    );
    let metis = "resource_server_async.endpoints.metis.MetisEndpoint";
    let site = Site::new()
        .endpoint(Endpoint::of("m", &backend).field("endpoint_adapter", json!(metis)))
        .endpoint(Endpoint::of("other", &backend).field("endpoint_adapter", json!(metis)));
    let gateway = TestGateway::start(with_status_page(site, &page)).await;
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_eq!(
        answer.error_code().as_deref(),
        Some("model_not_running"),
        "{}",
        answer.text()
    );
    assert_eq!(gateway.call(&gateway.chat("other")).await.status(), 200);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn backends_are_asked_for_their_models_and_health() {
    let good = FakeBackend::start().await;
    let loading = FakeBackend::start().await;
    let empty = FakeBackend::start().await;
    let list = |ids: &[&str]| {
        let data: Vec<_> = ids.iter().map(|id| json!({"id": id})).collect();
        Script::json(200, &json!({"object": "list", "data": data}))
    };
    for backend in [&good, &loading, &empty] {
        backend.on_path("/health", Script::raw(200, ""));
        backend.on_path("/v1/models", list(&["good", "loading"]));
    }
    loading.on_path("/health", Script::raw(503, ""));
    let dead = "http://127.0.0.1:1/v1";
    let site = Site::new()
        .model("good", &good)
        .model("loading", &loading)
        .model("unknown-to-it", &empty)
        .endpoint(Endpoint::new("dead", dead))
        .cluster(CLUSTER, "cluster_adapter", json!("openai_models"));
    let gateway = TestGateway::start(site).await;
    let jobs = get(&gateway, "/lab/jobs").await.json();
    let names = |list: &str| -> Vec<Value> {
        let jobs = jobs[list].as_array().unwrap();
        jobs.iter().map(|job| job["Models"].clone()).collect()
    };
    assert_eq!(names("running"), ["good"]);
    assert_eq!(names("queued"), ["loading"]);
    assert_eq!(names("stopped"), ["unknown-to-it", "dead"]);
    gateway.finish(&[&good, &loading, &empty]).await;
}

#[tokio::test]
async fn a_readiness_url_is_asked_before_requests_come() {
    let backend = FakeBackend::start().await;
    backend.on_path("/ready", Script::raw(503, "loading"));
    let site = Site::new()
        .endpoint(Endpoint::of("m", &backend).config("readiness_url", json!("/ready")))
        .endpoint(Endpoint::of("n", &backend).config("readiness_url", json!("/v1/models")));
    backend.on_path("/v1/models", Script::json(200, &json!({})));
    let gateway = TestGateway::start(site).await;
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_eq!(
        answer.error_code().as_deref(),
        Some("model_not_running"),
        "{}",
        answer.text()
    );
    assert!(answer.text().contains("starting"), "{}", answer.text());
    assert_eq!(gateway.call(&gateway.chat("n")).await.status(), 200);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_static_clusters_endpoints_run_unless_disabled() {
    let backend = FakeBackend::start().await;
    let site = Site::new().model("m", &backend).model("n", &backend);
    let gateway = TestGateway::start(site).await;
    let jobs = get(&gateway, "/lab/jobs").await.json();
    assert_eq!(jobs["cluster_status"]["live_models"], 2);
    assert_eq!(jobs["running"][0]["Models"], "m");
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn maintenance_comes_and_goes_while_the_gateway_runs() {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    let store = gateway.site().store().await;
    let until = async |status: u16| {
        let request = Request::post("/lab/vllm/v1/chat/completions")
            .bearer(&gateway.site().secrets.client_bearer())
            .json(&json!({"model": "m", "messages": [{}]}));
        gateway.call_until(&request, status).await
    };
    let scope = NoticeScope::Cluster(CLUSTER.to_owned());
    store.set_notice(&notice(&scope)).await.unwrap();
    let answer = until(503).await;
    assert_eq!(
        answer.error_code().as_deref(),
        Some("cluster_under_maintenance")
    );
    assert!(answer.text().contains("back on Monday"));
    let jobs = get(&gateway, "/lab/jobs").await.json();
    assert_eq!(jobs["stopped"][0]["Models"], "m");
    assert_eq!(jobs["cluster_status"]["maintenance"], "back on Monday");
    store.clear_notice(&scope).await.unwrap();
    until(200).await;
    for scope in [NoticeScope::All, NoticeScope::Model("m".to_owned())] {
        store.set_notice(&notice(&scope)).await.unwrap();
        assert!(
            until(503).await.text().contains("back on Monday"),
            "{scope}"
        );
        store.clear_notice(&scope).await.unwrap();
        until(200).await;
    }
    // A user who may not use a model learns nothing about its maintenance: the answer is as if there were none.
    let other = NoticeScope::Model("nothing".to_owned());
    store.set_notice(&notice(&other)).await.unwrap();
    let planned = Notice {
        begins_at: Some(i64::MAX),
        ..notice(&NoticeScope::All)
    };
    store.set_notice(&planned).await.unwrap();
    until(200).await;
    let unknown = gateway.call(&gateway.chat("nothing")).await;
    assert_eq!(unknown.status(), 404, "{}", unknown.text());
    gateway.finish(&[&backend]).await;
}

pub(crate) fn notice(scope: &NoticeScope) -> Notice {
    Notice {
        scope: scope.clone(),
        text: "back on Monday".to_owned(),
        begins_at: None,
        ends_at: None,
    }
}

#[tokio::test]
async fn a_status_source_says_what_is_down() {
    for (script, down) in [
        (Script::json(200, &json!({"current_status": "DOWN"})), true),
        (Script::json(200, &json!({"current_status": "up"})), false),
        (Script::raw(500, "down"), false),
        (Script::raw(200, "down"), false),
    ] {
        let (backend, page) = (FakeBackend::start().await, FakeBackend::start().await);
        page.otherwise(script);
        let settings = format!(
            "[maintenance.source.lab]\nurl = \"{}/s\"\ndown = [\"down\"]",
            page.base_url()
        );
        let gateway =
            TestGateway::start(Site::new().model("m", &backend).settings(&settings)).await;
        let status = gateway.call(&gateway.chat("m")).await.status();
        assert_eq!(status, if down { 503 } else { 200 });
        gateway.finish(&[&backend]).await;
    }
}

/// A site whose only model has this script as its adapter.
fn scripted(text: &str, backend: &FakeBackend) -> Site {
    let site = Site::new();
    std::fs::write(site.folder().join("a.rhai"), text).unwrap();
    site.endpoint(Endpoint::of("m", backend).field("endpoint_adapter", json!("script:a.rhai")))
}

#[tokio::test]
async fn a_script_that_misbehaves_ends_its_own_request() {
    let (backend, foreign) = (FakeBackend::start().await, FakeBackend::start().await);
    let elsewhere = format!("http://localhost:{}/v1", foreign.address().port());
    let cases = [
        "loop {}".to_owned(),
        "let x = \"aaaaaaaa\"; loop { x += x; }".to_owned(),
        "ctx.get(1)".to_owned(),
        "ctx.set(\"stream\", true)".to_owned(),
        format!("ctx.set_api_url(\"{elsewhere}\")"),
        format!("ctx.http_get(\"{elsewhere}/key\")"),
        "ctx.set_api_url(\"http://169.254.169.254/latest/\")".to_owned(),
        "ctx.set_api_url(\"nonsense\")".to_owned(),
    ];
    for text in cases {
        let gateway = TestGateway::start(scripted(
            &format!("fn on_request(ctx) {{ {text} }}"),
            &backend,
        ))
        .await;
        let answer = gateway.call(&gateway.chat("m")).await;
        assert_eq!(answer.status(), 500, "{text}: {}", answer.text());
        assert_eq!(
            answer.error_code().as_deref(),
            Some("adapter_error"),
            "{text}"
        );
        gateway.finish(&[&backend]).await;
    }
    assert_eq!(backend.records().len(), 0);
    assert_eq!(foreign.records().len(), 0);
}

#[tokio::test]
async fn a_client_whose_stream_was_turned_off_gets_json() {
    let backend = FakeBackend::start().await;
    let site = scripted(
        "fn on_request(ctx) { ctx.set(\"stream\", false); }",
        &backend,
    );
    let gateway = TestGateway::start(site).await;
    let answer = gateway.call(&gateway.chat_stream("m")).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(answer.json()["object"], "chat.completion");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(
        (&*rows[0].outcome, &*rows[0].usage_source),
        ("ok", "upstream")
    );
}

#[tokio::test]
async fn another_url_in_reach_gets_the_request_with_the_endpoints_key() {
    let (backend, other) = (FakeBackend::start().await, FakeBackend::start().await);
    let url = format!("{}/v1", other.base_url());
    let site = scripted(
        &format!("fn on_request(ctx) {{ ctx.set_api_url(\"{url}\"); }}"),
        &backend,
    );
    let gateway = TestGateway::start(site).await;
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    let seen = other.requests(1).await;
    let key = gateway.site().secrets.backend_key.secret().to_owned();
    assert_eq!(seen[0].received.bearer(), Some(&*key));
    assert_eq!(backend.records().len(), 0);
    gateway.finish(&[&other]).await;
}

#[derive(Clone, Default)]
struct Watching(Arc<[AtomicUsize; 3]>);

#[async_trait]
impl EndpointAdapter for Watching {
    async fn on_request(&self, _: &mut RequestContext<'_>) -> Result<(), AdapterError> {
        self.0[0].fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn on_response(&self, context: &mut ResponseContext<'_>) {
        assert_eq!(context.status(), 200);
        self.0[1].fetch_add(1, Ordering::SeqCst);
    }

    fn on_complete(&self, row: &LedgerRow<'_>) {
        assert_eq!(row.outcome.as_str(), "ok");
        self.0[2].fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn every_hook_runs_once_a_request() {
    let backend = FakeBackend::start().await;
    let site = Site::new()
        .endpoint(Endpoint::of("m", &backend).field("endpoint_adapter", json!("own.Watching")));
    let watching = Watching::default();
    let builder = Gateway::builder().endpoint_adapter("own.Watching", watching.clone());
    let gateway = TestGateway::start_with(site, builder).await;
    gateway.call(&gateway.chat("m")).await;
    gateway.call(&gateway.chat_stream("m")).await;
    gateway.finish(&[&backend]).await;
    let counts = watching
        .0
        .each_ref()
        .map(|count| count.load(Ordering::SeqCst));
    assert_eq!(counts, [2, 2, 2]);
}

#[tokio::test]
async fn a_queued_model_is_refused_until_its_expected_start() {
    let (backend, slurm) = (FakeBackend::start().await, FakeBackend::start().await);
    let start = SystemClock.unix_micros() / 1_000_000 + 900;
    let jobs = json!({"jobs": [
        {"name": "m", "job_state": ["PENDING"], "partition": "gpu", "job_id": 7,
         "start_time": {"set": true, "infinite": false, "number": start}},
    ]});
    slurm.on_path("/slurm/v0.0.40/jobs/", Script::json(200, &jobs));
    let url = format!("{}/slurm/v0.0.40/jobs/", slurm.base_url());
    let config =
        json!({"slurmrestd_url": url, "slurm_user": "svc", "api_key_env_name": "SLURM_JWT"});
    let running = json!(true);
    let site = Site::new()
        .variable("SLURM_JWT", "token-of-slurm")
        .endpoint(Endpoint::of("m", &backend).config("require_running", running.clone()))
        .endpoint(Endpoint::of("n", &backend).config("require_running", running))
        .cluster(CLUSTER, "cluster_adapter", json!("slurm"))
        .cluster(CLUSTER, "config", config);
    let gateway = TestGateway::start(site).await;
    let seen = &slurm.records()[0].received;
    assert_eq!(seen.header("x-slurm-user-name"), Some("svc"));
    assert_eq!(seen.header("x-slurm-user-token"), Some("token-of-slurm"));
    assert_eq!(seen.header("authorization"), None);

    let answer = gateway.call(&gateway.chat("m")).await;
    assert_eq!(
        answer.error_code().as_deref(),
        Some("model_not_running"),
        "{}",
        answer.text()
    );
    // Nobody is told to wait for longer than a minute, but when it is expected.
    assert_eq!(answer.header("retry-after"), None);
    assert!(
        answer.text().contains("expected to start in about 15 min"),
        "{}",
        answer.text()
    );
    let answer = gateway.call(&gateway.chat("n")).await;
    assert_eq!(
        answer.error_code().as_deref(),
        Some("model_not_running"),
        "{}",
        answer.text()
    );
    assert!(answer.text().contains("stopped"), "{}", answer.text());
    let jobs = get(&gateway, "/lab/jobs").await.json();
    assert_eq!(jobs["queued"][0]["Queue Position"], 1);
    assert_eq!(jobs["stopped"][0]["Models"], "n");
    gateway.finish(&[&backend]).await;
    assert_eq!(backend.records().len(), 0);
}
