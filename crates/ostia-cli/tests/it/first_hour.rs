//! From a backend's address to an answer: `ostia init`, `serve --backend`, `test`.

use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{RawClient, Request};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::site::{Ended, Site};

/// A backend that lists these models.
async fn backend(models: &[&str], owner: &str) -> FakeBackend {
    let backend = FakeBackend::start().await;
    let list: Vec<Value> = models
        .iter()
        .map(|model| json!({"id": model, "object": "model", "owned_by": owner}))
        .collect();
    let list = json!({"object": "list", "data": list});
    backend.on_path("/v1/models", Script::json(200, &list));
    backend
}

/// Runs beside the backends on this thread's runtime.
async fn run(site: &Site, words: &[&str]) -> Ended {
    run_with(site, &[], words).await
}

async fn run_with(site: &Site, variables: &[(&str, &str)], words: &[&str]) -> Ended {
    tokio::task::block_in_place(|| site.run_with(variables, words))
}

#[tokio::test(flavor = "multi_thread")]
async fn init_writes_what_backends_list_and_check_and_test_agree() {
    let one = backend(&["org/Model-8B", "small"], "vllm").await;
    let two = backend(&["org/Model-8B"], "vllm").await;
    let site = Site::empty();
    // With /v1 and without, with a slash at the end, and as the list itself.
    let (first, second) = (
        format!("{}/v1/models", one.base_url()),
        format!("{}/", two.base_url()),
    );
    let words = ["init", "--backend", &first, "--backend", &second];
    let made = run(&site, &words).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(made.stdout.contains("org/Model-8B, small"), "{made:?}");
    assert_eq!(site.names(), ["ostia.toml"]);

    let checked = tokio::task::block_in_place(|| site.json(&["check", "--json"]));
    assert_eq!(checked["problems"], json!([]), "{checked:#}");
    let slugs: Vec<&str> = checked["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|endpoint| endpoint["endpoint_slug"].as_str().unwrap())
        .collect();
    assert_eq!(
        slugs,
        [
            "main-vllm-orgmodel-8b",
            "main-vllm-small",
            "main-vllm-orgmodel-8b-2"
        ]
    );

    let tested = run(&site, &["test"]).await;
    assert_eq!(tested.code, Some(0), "{tested:?}");
    for part in [
        "org/Model-8B, on endpoint main-vllm-orgmodel-8b",
        "chat/completions, answer: 200",
        "chat/completions, stream: 200",
        "a proper end",
    ] {
        assert!(tested.stdout.contains(part), "{part}: {tested:?}");
    }
    assert!(tested.stderr.contains("Other models: small"), "{tested:?}");
    assert_eq!(site.names(), ["ostia.toml"]);

    // An existing file is left alone.
    let before = std::fs::read(site.path("ostia.toml")).unwrap();
    let again = run(&site, &words).await;
    assert_eq!(again.code, Some(64), "{again:?}");
    assert_eq!(std::fs::read(site.path("ostia.toml")).unwrap(), before);
    let other = [&["--config", "other.toml"][..], &words].concat();
    assert_eq!(run(&site, &other).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_with_a_key_is_asked_with_it() {
    let backend = backend(&["m"], "someone").await;
    let site = Site::empty();
    site.write("secrets.env", "LAB_KEY=sk-lab-canary\n");
    let url = backend.base_url();
    let words = [
        "--env-file",
        "secrets.env",
        "init",
        "--backend",
        &url,
        "--key-env",
        "LAB_KEY",
    ];
    let made = run(&site, &words).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let text = std::fs::read_to_string(site.path("ostia.toml")).unwrap();
    assert!(text.contains("api_key_env_name = \"LAB_KEY\""), "{text}");
    assert!(!text.contains("sk-lab-canary") && !format!("{made:?}").contains("sk-lab-canary"));
    let bearer = |path: &str| {
        let records = backend.records();
        let record = records
            .iter()
            .rfind(|record| record.received.target == path);
        record
            .unwrap()
            .received
            .header("authorization")
            .map(str::to_owned)
    };
    assert_eq!(
        bearer("/v1/models").as_deref(),
        Some("Bearer sk-lab-canary")
    );
    let tested = run(&site, &["--env-file", "secrets.env", "test", "m", "--json"]).await;
    assert_eq!(tested.code, Some(0), "{tested:?}");
    assert_eq!(
        bearer("/v1/chat/completions").as_deref(),
        Some("Bearer sk-lab-canary")
    );
    let unset = run(
        &Site::empty(),
        &["init", "--backend", &url, "--key-env", "LAB_KEY"],
    )
    .await;
    assert_eq!(unset.code, Some(64), "{unset:?}");
    assert!(unset.stderr.contains("LAB_KEY"), "{unset:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_writes_nothing() {
    let refusing = FakeBackend::start().await;
    refusing.on_path("/v1/models", Script::json(401, &json!({})));
    refusing.on_path("/models", Script::json(404, &json!({})));
    let empty = backend(&[], "vllm").await;
    for (url, said) in [
        (refusing.base_url(), "--key-env"),
        (empty.base_url(), "lists no model"),
        ("http://127.0.0.1:1".to_owned(), "127.0.0.1:1"),
    ] {
        let site = Site::empty();
        let ended = run(&site, &["init", "--backend", &url]).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(said), "{ended:?}");
        assert!(site.names().is_empty());
    }
    let ended = run(&Site::empty(), &["init", "--backend", "10.0.0.1:8000"]).await;
    assert_eq!(ended.code, Some(64), "{ended:?}");
    // Without a backend the file has an example, which is valid.
    let site = Site::empty();
    assert_eq!(run(&site, &["init"]).await.code, Some(0));
    let checked = run(&site, &["check"]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stdout.contains("my-model"), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_is_served_without_any_file() {
    let backend = backend(&["org/Model-8B"], "vllm").await;
    let site = Site::empty();
    let url = backend.base_url();
    let gateway = site.serve(&["--backend", &url]);
    let address = gateway.event("ostia listens")["listen"].clone();
    let address: std::net::SocketAddr = address.as_str().unwrap().parse().unwrap();
    assert!(address.ip().is_loopback());
    let printed = gateway.printed_until("Routes: ");
    assert!(printed.contains(&format!("{url}/v1")), "{printed}");
    let (_, rest) = printed.split_once("Bearer ").unwrap();
    let key = &rest[..rest.find('"').unwrap()];
    let mut client = RawClient::connect(address).await;
    let body = json!({"model": "org/Model-8B", "messages": [{"role": "user", "content": "Hello"}]});
    let request = Request::post("/v1/chat/completions")
        .json(&body)
        .bearer(key);
    assert_eq!(client.call(&request).await.status(), 200);

    // The same from outside, by a user with a key.
    let base = format!("http://{address}/v1");
    let variables = [("OPENAI_API_KEY", key)];
    let tested = run_with(&site, &variables, &["test", "--url", &base]).await;
    assert_eq!(tested.code, Some(0), "{tested:?}");
    assert!(
        tested.stdout.contains("org/Model-8B, by the gateway at"),
        "{tested:?}"
    );
    let wrong = [("OSTIA_API_KEY", "sk-ostia-wrong")];
    let refused = run_with(&site, &wrong, &["test", "org/Model-8B", "--url", &base]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stdout.contains("invalid_api_key"), "{refused:?}");
    assert_eq!(run(&site, &["test", "--url", &base]).await.code, Some(64));
    assert_eq!(
        run(&site, &["test", "--url", "http://192.0.2.7/v1"])
            .await
            .code,
        Some(64)
    );
    gateway.signal(Signal::HUP);
    assert_eq!(gateway.code(), Some(0));
    assert!(site.names().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn test_says_what_went_wrong_and_meets_the_rules() {
    let site = Site::new();
    let backend = FakeBackend::start().await;
    let endpoint = |model: &str, url: &str| {
        json!({"model": "resource_server_async.endpoint", "pk": 1, "fields": {
            "cluster": "sophia", "framework": "vllm", "model": model, "allowed_globus_groups": ["g1"],
            "allowed_domains": ["lab.org"], "config": {"api_url": url}}})
    };
    let entries = json!([
        endpoint("good", &format!("{}/v1", backend.base_url())),
        endpoint("gone", "http://127.0.0.1:1/v1"),
    ]);
    site.write("endpoints.json", &entries.to_string());
    site.write(
        "ostia.toml",
        &(std::fs::read_to_string(site.path("ostia.toml")).unwrap()
            + "[maintenance]\nsophia = \"down\"\n[auth]\nproviders = [\"none\"]\n"),
    );
    let good = run(&site, &["test", "good"]).await;
    assert_eq!(good.code, Some(0), "{good:?}");
    assert!(good.stdout.contains("as ostia-test@lab.org"), "{good:?}");
    let vector = run(&site, &["test", "good", "--api", "embeddings"]).await;
    assert!(vector.stdout.contains("a vector of"), "{vector:?}");
    let gone = run(&site, &["test", "gone"]).await;
    assert_eq!(gone.code, Some(1), "{gone:?}");
    assert!(
        gone.stdout.contains("502") && gone.stdout.contains("upstream_unreachable"),
        "{gone:?}"
    );
    let stranger = run(&site, &["test", "good", "--user", "eve@lab.org"]).await;
    assert!(stranger.stdout.contains("model_not_found"), "{stranger:?}");
    let unknown = run(&site, &["test", "goood"]).await;
    assert_eq!(unknown.code, Some(64), "{unknown:?}");
    assert!(unknown.stderr.contains("gone, good"), "{unknown:?}");
    assert!(!site.path("ostia.db").exists());
}
