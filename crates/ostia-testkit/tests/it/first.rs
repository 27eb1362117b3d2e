//! Features of FIRST's sites: Minerva's isolation and affinity, pilots with several URLs, and clusters whose other
//! endpoints run on Globus Compute.

use std::collections::BTreeSet;

use ostia_testkit::backend::{FakeBackend, Record, Script};
use ostia_testkit::client::{Answer, Request};
use ostia_testkit::gateway::{CLUSTER, Endpoint, Site, TestGateway};
use serde_json::{Value, json};

const SECRET: &str = "an affinity secret of the site, long enough";
const HEADER: &str = "x-minerva-affinity-key";
const SALT: &str = "cache_salt";

fn adapter(name: &str) -> Value {
    json!(format!("resource_server_async.endpoints.{name}"))
}

fn site() -> Site {
    Site::new().variable("MINERVA_AFFINITY_HMAC_KEY", SECRET)
}

/// A cluster whose status page lists these models as live.
fn with_live(site: Site, page: &FakeBackend, models: &[&str]) -> Site {
    page.on_path("/status", Script::json(200, &json!({"models": models})));
    let url = format!("{}/status", page.base_url());
    site.cluster(
        CLUSTER,
        "cluster_adapter",
        json!("resource_server_async.clusters.minerva.MinervaCluster"),
    )
    .cluster(CLUSTER, "config", json!({"status_url": url}))
}

fn salt(record: &Record) -> String {
    let body = record.received.json();
    let salt = body[SALT].as_str().unwrap_or_default();
    assert!(salt.is_empty() || salt.len() == 43, "{body}");
    salt.to_owned()
}

fn affinity(record: &Record) -> String {
    let all: Vec<_> = record.received.head.fields.all(HEADER).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].len(), 43, "{all:?}");
    all[0].to_owned()
}

async fn last(backend: &FakeBackend, count: usize) -> Record {
    backend.requests(count).await.remove(count - 1)
}

#[tokio::test]
async fn minervas_callers_are_kept_apart_and_their_conversations_together() {
    let (backend, page) = (FakeBackend::start().await, FakeBackend::start().await);
    let minerva = |model: &str| {
        Endpoint::of(model, &backend).field("endpoint_adapter", adapter("minerva.MinervaEndpoint"))
    };
    let site = site()
        .endpoint(minerva("m"))
        .endpoint(minerva("n"))
        .endpoint(minerva("gone"))
        .model("plain", &backend);
    let gateway = TestGateway::start(with_live(site, &page, &["m", "n", "plain"])).await;
    let other = gateway.key_for("other@example.org", &[]).await;
    let mut seen = 0;
    let mut ask = async |request: Request| {
        let answer = gateway.call(&request).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        seen += 1;
        last(&backend, seen).await
    };
    let session = |request: Request, id: &str| request.header("X-ALCF-Session-ID", id);
    let first = ask(session(gateway.chat("m"), "one")).await;
    // The caller's own header is ignored, and session ids are not passed on as they are.
    let again = ask(session(gateway.chat("m"), "one").header(HEADER, "mine")).await;
    assert_eq!(
        (salt(&first), affinity(&first)),
        (salt(&again), affinity(&again))
    );
    assert_eq!(first.received.header("x-alcf-session-id"), None);
    assert!(!salt(&first).is_empty() && salt(&first) != affinity(&first));
    let elsewhere = ask(session(gateway.chat("m"), "two")).await;
    assert_eq!(salt(&elsewhere), salt(&first));
    let without = ask(gateway.chat("m")).await;
    let stream = ask(gateway.chat_stream("m")).await;
    assert_eq!(affinity(&without), affinity(&stream));
    assert_eq!(salt(&without), salt(&stream));
    let neighbour = ask(session(
        gateway.chat("m").without("authorization").bearer(&other),
        "one",
    ))
    .await;
    let sibling = ask(session(gateway.chat("n"), "one")).await;
    let all = [&first, &elsewhere, &without, &neighbour, &sibling];
    let affinities: BTreeSet<String> = all.map(affinity).into_iter().collect();
    assert_eq!(affinities.len(), 5);
    let salts: BTreeSet<String> = all.map(salt).into_iter().collect();
    assert_eq!(salts.len(), 3);

    // vLLM's `messages` has no salt.
    let message = gateway.request(
        "messages",
        "m",
        &json!({"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}),
    );
    let record = ask(message).await;
    assert_eq!(salt(&record), "");
    assert_eq!(affinity(&record), affinity(&without));
    let plain = ask(session(gateway.chat("plain"), "one")).await;
    assert!(salt(&plain).is_empty() && plain.received.header(HEADER).is_none());

    let gone = gateway.call(&gateway.chat("gone")).await;
    assert_eq!(gone.error_code().as_deref(), Some("model_not_running"));
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn the_rest_of_a_salted_body_keeps_its_bytes() {
    let backend = FakeBackend::start().await;
    let endpoint = Endpoint::of("m", &backend).config(SALT, json!("user"));
    let gateway = TestGateway::start(site().endpoint(endpoint)).await;
    let body =
        r#"{ "temperature" : 1.50, "model": "m","messages":[{"role":"user","content":"\u00e9"}] }"#;
    let bearer = gateway.site().secrets.client_bearer();
    let request = Request::post("/v1/chat/completions")
        .bearer(&bearer)
        .body(body);
    assert_eq!(gateway.call(&request).await.status(), 200);
    let record = last(&backend, 1).await;
    let sent = String::from_utf8(record.received.body.to_vec()).unwrap();
    let inserted = format!(r#""{SALT}":"{}","#, salt(&record));
    assert_eq!(sent.replacen(&inserted, "", 1), body);
    gateway.finish(&[&backend]).await;
}

/// A field that only the gateway may set is refused in any spelling, unless a replica accepts it.
#[tokio::test]
async fn callers_may_not_set_what_the_gateway_sets() {
    let (backend, page) = (FakeBackend::start().await, FakeBackend::start().await);
    let minerva =
        Endpoint::of("m", &backend).field("endpoint_adapter", adapter("minerva.MinervaEndpoint"));
    let salted = Endpoint::of("salted", &backend).config(SALT, json!("project"));
    let both = |slug: &str| Endpoint::of("both", &backend).field("endpoint_slug", json!(slug));
    let site = site()
        .endpoint(minerva)
        .endpoint(salted)
        .endpoint(both("b1").config(SALT, json!("user")))
        .endpoint(both("b2"))
        .model("plain", &backend);
    let gateway =
        TestGateway::start(with_live(site, &page, &["m", "salted", "both", "plain"])).await;
    let ask = async |model: &str, field: &str| {
        let more = json!({"messages": [{"role": "user", "content": "hi"}], field: "x"});
        gateway
            .call(&gateway.request("chat/completions", model, &more))
            .await
    };
    let first = [
        SALT,
        "api_port",
        "openai_endpoint",
        "stream_task_id",
        "stream_task_token",
        "streaming_server_host",
        "streaming_server_port",
        "streaming_server_protocol",
    ];
    for field in first {
        let answer = ask("m", field).await;
        assert_eq!(answer.status(), 422, "{field} {}", answer.text());
        assert_eq!(answer.json()["error"]["param"], field);
        assert_eq!(ask("plain", field).await.status(), 200, "{field}");
    }
    for field in [SALT, "Cache_Salt"] {
        let answer = ask("salted", field).await;
        assert_eq!(answer.status(), 400, "{field} {}", answer.text());
        assert_eq!(answer.json()["error"]["param"], SALT);
    }
    assert_eq!(ask("salted", "api_port").await.status(), 200);
    // Only the replica without a salt accepts it.
    for _ in 0..3 {
        let answer = ask("both", SALT).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        assert_eq!(gateway.row_of(&answer).await.endpoint_slug, "b2");
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_project_shares_its_salt_and_who_has_none_is_alone() {
    let backend = FakeBackend::start().await;
    let endpoint = Endpoint::of("m", &backend).config(SALT, json!("project"));
    let gateway = TestGateway::start(site().endpoint(endpoint)).await;
    let keys = [
        gateway.key_in("a@example.org", &[], "fusion").await,
        gateway.key_in("b@example.org", &[], "fusion").await,
        gateway.key_in("a@example.org", &[], "climate").await,
        gateway.key_for("a@example.org", &[]).await,
        gateway.key_for("b@example.org", &[]).await,
    ];
    let mut salts = Vec::new();
    for key in &keys {
        let request = gateway.chat("m").without("authorization").bearer(key);
        assert_eq!(gateway.call(&request).await.status(), 200);
        salts.push(salt(&last(&backend, salts.len() + 1).await));
    }
    assert_eq!(salts[0], salts[1]);
    let different: BTreeSet<&String> = salts.iter().collect();
    assert_eq!(different.len(), 4);
    gateway.finish(&[&backend]).await;
}

/// A pilot's row, as FIRST's bridge writes it.
fn pilot(urls: &[String]) -> Endpoint {
    Endpoint::new("m", "unused")
        .field("endpoint_adapter", adapter("first_v2.FirstV2Endpoint"))
        .config("api_key_env_name", Value::Null)
        .config("model_urls", json!(urls))
        .config("backend_model_name", json!("on-disk"))
        .config("proxy_url", Value::Null)
        .config("check_hostname", json!(true))
        .config("trust_env", json!(false))
}

#[tokio::test]
async fn pilots_take_turns_and_a_dead_one_is_passed_over() {
    let (one, two, dead) = (
        FakeBackend::start().await,
        FakeBackend::start().await,
        FakeBackend::start().await,
    );
    dead.refuse().await;
    let urls = [
        dead.base_url(),
        one.base_url(),
        format!("{}/", two.base_url()),
    ];
    let gateway = TestGateway::start(Site::new().endpoint(pilot(&urls))).await;
    for _ in 0..6 {
        let answer = gateway.call(&gateway.chat("m")).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }
    for backend in [&one, &two] {
        let records = backend.records();
        assert!(records.len() >= 2, "{}", records.len());
        for record in records {
            assert_eq!(record.received.path(), "/v1/chat/completions");
            assert_eq!(record.received.model().as_deref(), Some("on-disk"));
            assert_eq!(record.received.header("authorization"), None);
        }
    }
    let rows = gateway.finish(&[&one, &two]).await;
    assert!(
        rows.iter()
            .all(|row| row.endpoint_slug == "lab-vllm-m" && row.model == "m")
    );
}

#[tokio::test]
async fn a_pilot_that_fails_after_it_had_the_request_is_not_followed_by_another() {
    let (one, two) = (FakeBackend::start().await, FakeBackend::start().await);
    for backend in [&one, &two] {
        backend.otherwise(Script::raw(500, "broken"));
    }
    let urls = [one.base_url(), two.base_url()];
    let gateway = TestGateway::start(Site::new().endpoint(pilot(&urls))).await;
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_eq!(answer.status(), 502);
    assert_eq!(one.records().len() + two.records().len(), 1);
    gateway.finish(&[&one, &two]).await;
}

async fn get(gateway: &TestGateway, path: &str) -> Answer {
    let bearer = gateway.site().secrets.client_bearer();
    gateway.call(&Request::get(path).bearer(&bearer)).await
}

#[tokio::test]
async fn a_cluster_with_globus_compute_lists_its_other_endpoints() {
    let backend = FakeBackend::start().await;
    let globus = Endpoint::of("far", &backend).field(
        "endpoint_adapter",
        adapter("globus_compute.GlobusComputeEndpoint"),
    );
    for kind in ["globus_compute.GlobusComputeCluster", "tara.TaraCluster"] {
        let site = Site::new()
            .model("near", &backend)
            .endpoint(globus.clone())
            .cluster(
                CLUSTER,
                "cluster_adapter",
                json!(format!("resource_server_async.clusters.{kind}")),
            );
        let gateway = TestGateway::start(site).await;
        let answer = get(&gateway, "/lab/jobs").await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!(answer["running"][0]["Models"], "near", "{answer}");
        assert_eq!(answer["stopped"][0]["Models"], "far", "{answer}");
        assert_eq!(answer["cluster_status"]["live_models"], 1);
        let models = get(&gateway, "/lab/models").await.json();
        let states: Vec<_> = models
            .as_array()
            .unwrap()
            .iter()
            .map(|model| &model["state"])
            .collect();
        assert_eq!(states, ["stopped", "running"]);
        gateway.finish(&[&backend]).await;
    }
}

/// SDKs retry each 5xx for ten seconds and more, unless they are told not to.
#[tokio::test]
async fn what_no_retry_can_help_says_so() {
    let backend = FakeBackend::start().await;
    backend.on_model(
        "locked",
        Script::json(401, &json!({"error": {"message": "bad key"}})),
    );
    backend.on_model("broken", Script::raw(500, "broken"));
    let site = Site::new()
        .with_faults()
        .endpoint(Endpoint::of("far", &backend).field(
            "endpoint_adapter",
            adapter("globus_compute.GlobusComputeEndpoint"),
        ))
        .endpoint(
            Endpoint::of("unset", &backend).config("api_key_env_name", json!("NOT_SET_ANYWHERE")),
        )
        .endpoint(
            Endpoint::of("minerva", &backend)
                .field("endpoint_adapter", adapter("minerva.MinervaEndpoint")),
        )
        .model("locked", &backend)
        .model("broken", &backend);
    let gateway = TestGateway::start(site).await;
    for (model, status, code) in [
        ("far", 503, "adapter_unavailable"),
        ("unset", 503, "endpoint_disabled"),
        ("minerva", 503, "endpoint_disabled"),
        ("locked", 502, "upstream_auth"),
    ] {
        for api in ["chat/completions", "messages"] {
            let more = json!({"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
            let answer = gateway.call(&gateway.request(api, model, &more)).await;
            assert_eq!(answer.status(), status, "{}", answer.text());
            if api == "chat/completions" {
                assert_eq!(answer.error_code().as_deref(), Some(code));
            }
            assert_eq!(
                answer.header("x-should-retry"),
                Some("false"),
                "{model} {api}"
            );
            assert_eq!(answer.header("retry-after"), None, "{model} {api}");
        }
    }
    for path in [
        "/v1/batches",
        "/data/staging",
        "/sophia/sam3service/tasks/t",
        "/sophia/triton/amsc-d3/tasks/t",
    ] {
        let answer = get(&gateway, path).await;
        assert_eq!(
            (answer.status(), answer.header("x-should-retry")),
            (501, Some("false")),
            "{path}"
        );
    }
    let answer = gateway.call(&gateway.chat("broken")).await;
    assert_eq!(
        (answer.status(), answer.header("x-should-retry")),
        (502, None)
    );
    gateway.finish(&[&backend]).await;
}
