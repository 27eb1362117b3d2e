//! The examples in docs/adapters.md: each does what the text beside it says.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ostia::config::Sources;
use ostia::fleet::Fleet;
use ostia::gateway::Gateway;
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::gateway::{CLUSTER, Endpoint, Site, TestGateway};
use serde_json::{Value, json};

use super::get;

const GUIDE: &str = include_str!("../../../../../docs/adapters.md");
const BACKEND: &str = include_str!("../../../../../examples/custom-adapters/src/backend.rs");
const MAIN: &str = include_str!("../../../../../examples/custom-adapters/src/main.rs");

/// The examples in a language.
fn examples(language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}\n");
    let blocks = GUIDE.split(opening.as_str()).skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

#[tokio::test]
async fn the_scripts_run_as_printed() {
    let [endpoint, signing, cluster] = examples("rhai").try_into().unwrap();
    let (backend, page) = (FakeBackend::start().await, FakeBackend::start().await);
    page.otherwise(Script::json(200, &json!({"models": ["m", "signed"]})));
    let site = Site::new();
    std::fs::write(site.folder().join("endpoint.rhai"), endpoint).unwrap();
    std::fs::write(site.folder().join("signing.rhai"), signing).unwrap();
    std::fs::write(site.folder().join("cluster.rhai"), cluster).unwrap();
    let scripted = |model: &str| {
        Endpoint::of(model, &backend).field("endpoint_adapter", json!("script:endpoint.rhai"))
    };
    let site = site
        .endpoint(scripted("m"))
        .endpoint(scripted("idle"))
        .endpoint(
            Endpoint::of("signed", &backend)
                .field("endpoint_adapter", json!("script:signing.rhai"))
                .config("secrets", json!(["SITE_KEY"])),
        )
        .variable("SITE_KEY", "hunter2")
        .cluster(CLUSTER, "cluster_adapter", json!("script:cluster.rhai"))
        .cluster(
            CLUSTER,
            "config",
            json!({"status_url": format!("{}/s", page.base_url())}),
        );
    let gateway = TestGateway::start(site).await;
    let jobs = get(&gateway, "/lab/jobs").await.json();
    assert_eq!(jobs["running"][0]["Models"], "m");
    let request = gateway.request("chat/completions", "m", &json!({"api_port": 1}));
    assert_eq!(gateway.call(&request).await.status(), 200);
    assert_eq!(backend.records()[0].received.json().get("api_port"), None);
    signed(&gateway, &backend).await;
    let answer = gateway.call(&gateway.chat("idle")).await;
    assert_eq!(
        (answer.status(), answer.error_code().as_deref()),
        (503, Some("model_not_live"))
    );
    assert_eq!(answer.json()["error"]["message"], "`idle` is not live.");
    gateway.finish(&[&backend]).await;
}

/// What the guide says about the script that signs requests.
async fn signed(gateway: &TestGateway, backend: &FakeBackend) {
    let before = backend.records().len();
    let request = gateway.chat("signed").header("X-Tenant", "physics");
    let request = request.header("X-Session-ID", "abc");
    assert_eq!(gateway.call(&request).await.status(), 200);
    let seen = backend.records()[before].received.clone();
    assert_eq!(seen.json()["metadata"]["tenant"], "physics");
    let id = seen.request_id().map(str::to_owned);
    assert_eq!(seen.json()["metadata"]["request"].as_str(), id.as_deref());
    let session = ring::digest::digest(&ring::digest::SHA256, b"abc");
    assert_eq!(seen.header("x-site-session"), Some(&*hex::encode(session)));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"hunter2");
    let signature = seen.header("x-site-signature").unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    ring::hmac::verify(&key, &seen.body, &signature).unwrap();
    backend.next(Script::completion().header("x-site-state", "draining"));
    let answer = gateway.call(&gateway.chat("signed")).await;
    assert_eq!(answer.status(), 503, "{}", answer.text());
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((5..10).contains(&wait), "{wait}");
}

#[tokio::test]
async fn the_settings_and_fixtures_are_read_as_printed() {
    let [adapters, maintenance] = examples("toml").try_into().unwrap();
    let [_request, cluster, endpoint] = examples("json").try_into().unwrap();
    let [jobs, ready]: [Value; 2] =
        [cluster, endpoint].map(|text| serde_json::from_str(text).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("adapters")).unwrap();
    write("adapters/custom.rhai", examples("rhai")[0]);
    let own = |kind: &str, mut fields: Value, name: &str, value: &str| {
        fields[name] = json!(value);
        json!({"model": format!("resource_server_async.{kind}"), "fields": fields})
    };
    let more = json!({"cluster_name": "sophia", "frameworks": ["vllm"], "openai_endpoints": ["chat/completions"],
                      "config": {"status_url": "http://s.example/"}});
    let more = own(
        "cluster",
        more,
        "cluster_adapter",
        "my_app.custom.CustomCluster",
    );
    let model = json!({"cluster": "sophia", "framework": "vllm", "model": "m", "config": {"api_url": "http://g.example/v1"}});
    let model = own(
        "endpoint",
        model,
        "endpoint_adapter",
        "my_app.custom.CustomEndpoint",
    );
    write("clusters.json", &json!([jobs[0], more]).to_string());
    write("endpoints.json", &json!([ready[0], model]).to_string());
    let fixtures = "[fixtures]\nclusters = \"clusters.json\"\nendpoints = \"endpoints.json\"\n";
    write("ostia.toml", &format!("{fixtures}{adapters}{maintenance}"));
    let sources = Sources {
        config: Some(folder.path().join("ostia.toml")),
        environment: [("SLURM_JWT".to_owned(), "token".to_owned())]
            .into_iter()
            .collect(),
        ..Sources::default()
    };
    let loaded = Gateway::builder().load(&sources, &Fleet::default());
    assert!(loaded.problems.is_empty(), "{:#?}", loaded.problems);
    assert_eq!(loaded.catalog.deployments().len(), 2);
}

#[test]
fn the_rust_is_that_of_the_example() {
    let [backend, main] = examples("rust").try_into().unwrap();
    for (printed, file) in [(backend, BACKEND), (main, MAIN)] {
        for line in printed.lines() {
            let mut known = file.lines();
            assert!(known.any(|known| known.trim() == line.trim()), "{line}");
        }
    }
}
