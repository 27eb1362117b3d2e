//! Both examples, in Rust and as scripts: the same tests.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use custom_adapters::{CustomCluster, CustomEndpoint, Greeter};
use ostia::gateway::Gateway;
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{Answer, Request};
use ostia_testkit::gateway::{CLUSTER, Endpoint, Site, TestGateway};
use serde_json::{Value, json};

const ENDPOINT: &str = "my_site.adapters.CustomEndpoint";
const CUSTOM_CLUSTER: &str = "my_site.adapters.CustomCluster";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Rust,
    Script,
}

const KINDS: [Kind; 2] = [Kind::Rust, Kind::Script];

/// A gateway whose one endpoint and one cluster have the site's own adapters.
async fn gateway(kind: Kind, backend: &FakeBackend, page: &FakeBackend) -> TestGateway {
    let status_url = format!("{}/models", page.base_url());
    let site = Site::new()
        .endpoint(Endpoint::of("m", backend).field("endpoint_adapter", json!(ENDPOINT)))
        .endpoint(Endpoint::of("idle", backend).field("endpoint_adapter", json!(ENDPOINT)))
        .cluster(CLUSTER, "cluster_adapter", json!(CUSTOM_CLUSTER))
        .cluster(CLUSTER, "config", json!({"status_url": status_url}));
    if kind == Kind::Rust {
        let builder = Gateway::builder()
            .endpoint_adapter(ENDPOINT, CustomEndpoint)
            .cluster_adapter(CUSTOM_CLUSTER, CustomCluster);
        return TestGateway::start_with(site, builder).await;
    }
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts");
    let meaning = |name: &str| format!("script:{}", scripts.join(name).display());
    let settings = format!(
        "[adapters]\n\"{ENDPOINT}\" = \"{}\"\n\"{CUSTOM_CLUSTER}\" = \"{}\"",
        meaning("custom_endpoint.rhai"),
        meaning("custom_cluster.rhai")
    );
    TestGateway::start(site.settings(&settings)).await
}

fn live(live: bool) -> Script {
    Script::json(200, &json!({"live": live}))
}

/// The bodies of the inference requests that a backend saw.
fn bodies(backend: &FakeBackend) -> Vec<Value> {
    let records = backend.records();
    let posts = records
        .iter()
        .filter(|record| record.received.method == "POST");
    posts.map(|record| record.received.json()).collect()
}

async fn jobs(gateway: &TestGateway) -> Answer {
    let bearer = gateway.site().secrets.client_bearer();
    let request = Request::get(&format!("/{CLUSTER}/jobs")).bearer(&bearer);
    gateway.call(&request).await
}

#[tokio::test]
async fn a_live_model_is_called_with_the_edited_body() {
    for kind in KINDS {
        let (backend, page) = (FakeBackend::start().await, FakeBackend::start().await);
        backend.on_path("/status", live(true));
        let gateway = gateway(kind, &backend, &page).await;
        for stream in [false, true] {
            let more = json!({"stream": stream, "api_port": 8001, "seed": 7});
            let answer = gateway
                .call(&gateway.request("chat/completions", "m", &more))
                .await;
            assert_eq!(answer.status(), 200, "{kind:?}: {}", answer.text());
            assert_eq!(answer.events().is_empty(), !stream, "{kind:?}");
        }
        // The field is forced where the client left it out, too.
        gateway.call(&gateway.chat("m")).await;
        let streams: Vec<_> = bodies(&backend)
            .iter()
            .map(|body| body["stream"].clone())
            .collect();
        assert_eq!(streams, [false, true, false], "{kind:?}");
        for body in &bodies(&backend)[..2] {
            assert_eq!(
                (body.get("api_port"), &body["seed"]),
                (None, &json!(7)),
                "{kind:?}"
            );
        }
        let rows = gateway.finish(&[&backend]).await;
        assert!(
            rows.iter().all(|row| row.outcome == "ok"),
            "{kind:?}: {rows:#?}"
        );
    }
}

#[tokio::test]
async fn a_model_that_is_not_live_is_refused_and_not_called() {
    for kind in KINDS {
        let (backend, page) = (FakeBackend::start().await, FakeBackend::start().await);
        backend.on_path("/status", live(false));
        let gateway = gateway(kind, &backend, &page).await;
        let answer = gateway.call(&gateway.chat("m")).await;
        assert_eq!(answer.status(), 503, "{kind:?}: {}", answer.text());
        assert_eq!(answer.error_code().as_deref(), Some("model_not_live"));
        assert_eq!(
            answer.json()["error"]["message"],
            "'m' is not currently live."
        );
        assert_eq!(bodies(&backend), [Value::Null; 0], "{kind:?}");
        let rows = gateway.finish(&[&backend]).await;
        assert_eq!(
            (&*rows[0].outcome, rows[0].http_status),
            ("rejected", 503),
            "{kind:?}"
        );
    }
}

#[tokio::test]
async fn the_clusters_page_becomes_jobs() {
    for kind in KINDS {
        let (backend, page) = (FakeBackend::start().await, FakeBackend::start().await);
        let models = json!({"models": [
            {"name": "m", "up": true, "note": "the big one", "url": "http://gpu1"},
            {"name": "idle", "up": false, "note": ""},
            {"name": "not-ours", "up": true, "note": ""},
        ]});
        page.on_path("/models", Script::json(200, &models));
        let gateway = gateway(kind, &backend, &page).await;
        let answer = jobs(&gateway).await;
        assert_eq!(answer.status(), 200, "{kind:?}: {}", answer.text());
        let jobs = answer.json();
        let entry = |model: &str, note: &str, status: &str| {
            json!([{"Models": model, "Framework": "vllm", "Cluster": "lab",
                    "Description": note, "Model Status": status}])
        };
        assert_eq!(
            jobs["running"],
            entry("m", "the big one", "running"),
            "{kind:?}"
        );
        assert_eq!(jobs["stopped"], entry("idle", "", "stopped"), "{kind:?}");
        let counts =
            json!({"cluster": "lab", "total_models": 2, "live_models": 1, "stopped_models": 1});
        assert_eq!(jobs["cluster_status"], counts, "{kind:?}");
        gateway.finish(&[&backend]).await;
    }
}

#[tokio::test]
async fn errors_of_the_clusters_page_have_a_code_and_stop_no_inference() {
    for kind in KINDS {
        let cases = [
            (Script::raw(500, "oops"), 502, "site_status_down"),
            (
                Script::json(200, &json!({})),
                500,
                "failed_to_get_cluster_jobs",
            ),
            (
                Script::raw(200, "no json"),
                500,
                "failed_to_get_cluster_jobs",
            ),
        ];
        for (script, status, code) in cases {
            let (backend, page) = (FakeBackend::start().await, FakeBackend::start().await);
            backend.on_path("/status", live(true));
            page.on_path("/models", script);
            let gateway = gateway(kind, &backend, &page).await;
            let answer = jobs(&gateway).await;
            assert_eq!(answer.status(), status, "{kind:?}: {}", answer.text());
            assert_eq!(answer.error_code().as_deref(), Some(code), "{kind:?}");
            assert!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
            assert_eq!(
                gateway.call(&gateway.chat("m")).await.status(),
                200,
                "{kind:?}"
            );
            gateway.finish(&[&backend]).await;
        }
    }
}

#[tokio::test]
async fn the_greeter_answers_by_itself() {
    let greeter = |model: &str| {
        Endpoint::new(model, "http://nobody.invalid/v1")
            .field("endpoint_adapter", json!("my_site.backends.Greeter"))
    };
    let word = json!({"word": "Salve"});
    let site = Site::new()
        .endpoint(greeter("m").config("greeter", word))
        .answered_within("m");
    let builder = Gateway::builder().backend::<Greeter>("my_site.backends.Greeter");
    let gateway = TestGateway::start_with(site, builder).await;
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "Salve");
    let rows = gateway.finish(&[]).await;
    assert_eq!((rows.len(), &*rows[0].outcome), (1, "ok"));
}

/// The site's own binary: everything that `ostia` can, with the adapters in it.
fn binary(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_custom-adapters"));
    command
        .args(words)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear();
    command
}

#[test]
fn the_command_line_knows_the_adapters() {
    let told = |words: &[&str]| {
        let ended = binary(words).output().unwrap();
        assert!(ended.status.success(), "{words:?}: {ended:?}");
        String::from_utf8(ended.stdout).unwrap()
    };
    assert!(told(&["check"]).contains("greeting"));
    let tested = told(&["test", "greeting"]);
    assert!(
        tested.contains("Salve") && tested.contains("not as a stream"),
        "{tested}"
    );
    assert!(told(&["key", "create", "--help"]).contains("--user"));
    let unknown = binary(&["nothing"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(64), "{unknown:?}");
}

#[test]
fn sigterm_ends_it_cleanly() {
    let state = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}", state.path().join("ostia.db").display());
    let mut child = binary(&["serve", "--listen", "127.0.0.1:0"])
        .env("OSTIA_SERVER__ADMIN_LISTEN", "127.0.0.1:0")
        .env("OSTIA_SERVER__STATE_DIR", state.path())
        .env("OSTIA_STORE__URL", database)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut seen = |text: &str| log.any(|line| line.unwrap().contains(text));
    assert!(seen("ostia listens"));
    let id = child.id().to_string();
    assert!(
        Command::new("/bin/kill")
            .arg(&id)
            .status()
            .unwrap()
            .success()
    );
    assert!(seen("stopping") && seen("stopped"));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
