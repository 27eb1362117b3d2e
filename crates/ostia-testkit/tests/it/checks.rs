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
            let permanent = status < 500 || matches!(code, "endpoint_disabled" | "not_implemented");
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

/// Whoever may not use an endpoint with an `access_hint` is told how to get it, by every way that names the model. Lists
/// do not name it, and a cluster that is for others stays hidden.
#[tokio::test]
async fn a_hint_is_told_to_those_who_are_kept_out() {
    const HINT: &str = "Ask \"ada@lab.org\" for the group vision.\nIt takes a day.";
    let backend = FakeBackend::start().await;
    let hidden =
        |model: &str| Endpoint::of(model, &backend).field("allowed_domains", json!(["other.org"]));
    let site = Site::new()
        .model("m", &backend)
        .endpoint(hidden("org/vision").config("access_hint", json!(format!(" {HINT} "))))
        .endpoint(hidden("plain").config("access_hint", json!(" \t")))
        .endpoint(hidden("both").config("access_hint", json!(HINT)))
        .endpoint(Endpoint::of("both", &backend).on("open", "vllm"))
        .endpoint(
            Endpoint::of("far", &backend)
                .on("hidden", "vllm")
                .config("access_hint", json!(HINT)),
        )
        .endpoint(Endpoint::of("mine", &backend).config("access_hint", json!(HINT)))
        .cluster("hidden", "allowed_domains", json!(["other.org"]));
    let gateway = TestGateway::start(site).await;
    let key = gateway.site().secrets.client_bearer();
    let told = Some("model_access_denied");
    let unknown = Some("model_not_found");
    for (path, model, status, code) in [
        ("/v1", "org/vision", 403, told),
        ("/lab/vllm/v1", "org/vision", 403, told),
        ("/lab/vllm/v1", "both", 403, told),
        ("/v1", "both", 200, None),
        ("/v1", "mine", 200, None),
        ("/v1", "plain", 404, unknown),
        ("/v1", "far", 403, told),
        ("/hidden/vllm/v1", "far", 404, Some("cluster_not_found")),
        ("/v1", "org/vision ", 404, unknown),
    ] {
        for api in ["chat/completions", "messages"] {
            let mut body = chat(model);
            body["max_tokens"] = json!(5);
            let path = format!("{path}/{api}");
            let answer = gateway
                .call(&Request::post(&path).bearer(&key).json(&body))
                .await;
            assert_eq!(answer.status(), status, "{path} {model}: {}", answer.text());
            if code == told {
                let error = &answer.json()["error"];
                assert_eq!(
                    (&error["message"], &error["type"]),
                    (&json!(HINT), &json!("permission_error"))
                );
                assert_eq!(
                    gateway.row_of(&answer).await.error_code,
                    "model_access_denied"
                );
            }
            if api == "chat/completions" {
                assert_eq!(answer.error_code().as_deref(), code, "{path} {model}");
            }
        }
    }
    for (path, status) in [
        ("/v1/models/org/vision", 403),
        ("/lab/vllm/v1/models/org/vision", 403),
        ("/lab/models?model_id=org/vision", 403),
        ("/v1/models/plain", 404),
        ("/lab/models?model_id=plain", 404),
    ] {
        let answer = gateway.call(&Request::get(path).bearer(&key)).await;
        assert_eq!(answer.status(), status, "{path}: {}", answer.text());
        assert_eq!(
            answer.text().contains("group vision"),
            status == 403,
            "{path}"
        );
    }
    for path in [
        "/v1/models",
        "/lab/vllm/v1/models",
        "/lab/models",
        "/list-endpoints",
    ] {
        let answer = gateway.call(&Request::get(path).bearer(&key)).await;
        assert_eq!(answer.status(), 200, "{path}");
        let text = answer.text();
        assert!(
            !text.contains("vision") && text.contains("mine"),
            "{path}: {text}"
        );
    }
    gateway.finish(&[&backend]).await;
}
