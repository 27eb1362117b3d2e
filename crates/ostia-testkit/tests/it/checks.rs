//! The order of checks: if a request has several faults, the caller is told the contract's first.

use ostia_testkit::backend::FakeBackend;
use ostia_testkit::client::Request;
use ostia_testkit::gateway::{BACKEND_KEY_VARIABLE, Endpoint, Site, TestGateway};
use serde_json::{Value, json};

/// Cluster `lab` serves; `down` is in maintenance; so is `hidden`, which is for other users. On `lab`, `off` is
/// disabled.
async fn rig() -> (FakeBackend, TestGateway) {
    let backend = FakeBackend::start().await;
    let hidden = |endpoint: Endpoint| endpoint.field("allowed_domains", json!(["other.org"]));
    let site = Site::new()
        .with_faults()
        .model("m", &backend)
        .endpoint(
            Endpoint::of("off", &backend).config("api_key_env_name", json!("NOT_SET_ANYWHERE")),
        )
        .endpoint(hidden(Endpoint::of("secret", &backend)))
        .endpoint(Endpoint::of("d", &backend).on("down", "vllm"))
        .endpoint(Endpoint::of("m", &backend).on("down", "vllm"))
        .endpoint(Endpoint::of("h", &backend).on("hidden", "vllm"))
        .endpoint(Endpoint::of("chatty", &backend).on("narrow", "vllm"))
        .cluster("hidden", "allowed_domains", json!(["other.org"]))
        .cluster("narrow", "openai_endpoints", json!(["chat/completions"]))
        .settings("[maintenance]\ndown = \"back on Friday\"\nhidden = \"nobody may know\"")
        .settings("[limits]\nrequests_per_second_per_user = 1000000\n");
    assert!(site.variables().contains_key(BACKEND_KEY_VARIABLE));
    (backend, TestGateway::start(site).await)
}

fn chat(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "x"}]})
}

#[tokio::test]
async fn of_several_faults_the_first_is_told() {
    let (backend, gateway) = rig().await;
    let key = gateway.site().secrets.client_bearer();
    let table = [
        // path, model, status, code: each line is also wrong in everything that is checked later.
        ("/absent/no/v1/no", "absent", 404, "cluster_not_found"),
        ("/hidden/no/v1/no", "absent", 404, "cluster_not_found"),
        (
            "/hidden/vllm/v1/chat/completions",
            "h",
            404,
            "cluster_not_found",
        ),
        ("/down/no/v1/no", "absent", 503, "cluster_under_maintenance"),
        (
            "/down/vllm/v1/chat/completions",
            "d",
            503,
            "cluster_under_maintenance",
        ),
        ("/lab/no/v1/no", "absent", 400, "unsupported_framework"),
        (
            "/narrow/vllm/v1/embeddings",
            "absent",
            400,
            "unsupported_endpoint",
        ),
        (
            "/lab/vllm/v1/chat/completions",
            "absent",
            404,
            "model_not_found",
        ),
        (
            "/lab/vllm/v1/chat/completions",
            "secret",
            404,
            "model_not_found",
        ),
        ("/lab/vllm/v1/chat/completions", "d", 404, "model_not_found"),
        (
            "/lab/vllm/v1/chat/completions",
            "off",
            503,
            "endpoint_disabled",
        ),
        ("/v1/chat/completions", "absent", 404, "model_not_found"),
        ("/v1/chat/completions", "secret", 404, "model_not_found"),
        ("/v1/chat/completions", "h", 404, "model_not_found"),
        ("/v1/rerank", "chatty", 400, "unsupported_endpoint"),
        ("/v1/no-such", "d", 400, "unsupported_endpoint"),
        (
            "/v1/chat/completions",
            "d",
            503,
            "cluster_under_maintenance",
        ),
        ("/v1/files", "m", 501, "not_implemented"),
        ("/v1/batches/b1", "m", 501, "not_implemented"),
        ("/lab/vllm/v1/files", "m", 501, "not_implemented"),
    ];
    for (path, model, status, code) in table {
        let body = match path.ends_with("embeddings") {
            true => json!({"model": model, "input": "x"}),
            false => chat(model),
        };
        for prefix in ["", "/resource_server"] {
            let path = format!("{prefix}{path}");
            let plain = Request::post(&path);
            let stranger = gateway.call(&plain.clone().json(&json!({}))).await;
            assert_eq!(stranger.status(), 401, "{path}");
            let answer = gateway.call(&plain.clone().bearer(&key).json(&body)).await;
            assert_eq!(
                (answer.status(), answer.error_code().as_deref()),
                (status, Some(code)),
                "{path} {model}"
            );
            assert_eq!(
                answer.header("retry-after").is_some(),
                status == 503 && code != "endpoint_disabled",
                "{path}"
            );
            let permanent = matches!(code, "endpoint_disabled" | "not_implemented");
            assert_eq!(
                answer.header("x-should-retry") == Some("false"),
                permanent,
                "{path}"
            );
            if code == "cluster_under_maintenance" {
                assert_eq!(answer.json()["error"]["message"], "back on Friday");
            }
            if status == 501 {
                continue;
            }
            for (wrong, code) in [("{", "invalid_json"), ("{}", "missing_model")] {
                let answer = gateway.call(&plain.clone().bearer(&key).body(wrong)).await;
                assert_eq!(
                    (answer.status(), answer.error_code().as_deref()),
                    (400, Some(code)),
                    "{path} {wrong}"
                );
            }
        }
    }
    assert_eq!(backend.records().len(), 0);
    // A model of two clusters is served by the one without maintenance.
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    assert_eq!(
        gateway
            .row_of(&gateway.call(&gateway.chat("m")).await)
            .await
            .endpoint_slug,
        "lab-vllm-m"
    );
    gateway.finish(&[&backend]).await;
}

/// Limits are checked last: a request with another fault is told about that, even if a limit is exhausted.
#[tokio::test]
async fn an_exhausted_limit_hides_no_other_fault() {
    let backend = FakeBackend::start().await;
    let site = Site::new()
        .with_faults()
        .model("m", &backend)
        .settings("[limits]\nrequests_per_second_per_user = 1");
    let clock = std::sync::Arc::new(ostia_core::ManualClock::at(1_700_000_000_000_000));
    let gateway = TestGateway::start_at(site, clock).await;
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    assert_eq!(
        gateway
            .call(&gateway.chat("m"))
            .await
            .error_code()
            .as_deref(),
        Some("requests")
    );
    assert_eq!(gateway.call(&gateway.chat("absent")).await.status(), 404);
    assert_eq!(
        gateway.call(&gateway.chat("m").body("{")).await.status(),
        400
    );
    assert_eq!(
        gateway
            .call(&gateway.chat("m").without("authorization"))
            .await
            .status(),
        401
    );
    // Lists do not count as inference.
    let bearer = gateway.site().secrets.client_bearer();
    assert_eq!(
        gateway
            .call(&Request::get("/whoami").bearer(&bearer))
            .await
            .status(),
        200
    );
    gateway.finish(&[&backend]).await;
}
