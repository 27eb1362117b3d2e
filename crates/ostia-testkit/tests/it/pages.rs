//! Everything besides inference: health, identity, lists, and the admin listener.

use ostia_testkit::backend::FakeBackend;
use ostia_testkit::client::{Answer, RawClient, Request};
use ostia_testkit::gateway::{Endpoint, Site, TestGateway, USER, gauges};
use serde_json::json;

async fn rig() -> (FakeBackend, TestGateway) {
    let backend = FakeBackend::start().await;
    let site = Site::new()
        .model("b", &backend)
        .model("A", &backend)
        .endpoint(Endpoint::of("secret", &backend).field("allowed_domains", json!(["other.org"])))
        .endpoint(Endpoint::of("s", &backend).on("lab", "sglang"))
        .endpoint(Endpoint::of("h", &backend).on("hidden", "vllm"))
        .endpoint(
            Endpoint::of("e", &backend)
                .on("emptied", "vllm")
                .field("allowed_domains", json!(["other.org"])),
        )
        .cluster("hidden", "allowed_domains", json!(["other.org"]))
        .cluster(
            "lab",
            "openai_endpoints",
            json!(["chat/completions", "audio/*"]),
        );
    (backend, TestGateway::start(site).await)
}

async fn page(gateway: &TestGateway, path: &str) -> Answer {
    let bearer = gateway.site().secrets.client_bearer();
    gateway.call(&Request::get(path).bearer(&bearer)).await
}

#[tokio::test]
async fn pages_have_the_contracts_shapes_with_and_without_the_base_path() {
    let (backend, gateway) = rig().await;
    let endpoints = json!(["/v1/chat/completions", "/v1/audio/*"]);
    let expected = [
        ("/health", json!({"status": "ok"})),
        (
            "/whoami",
            json!({
                "id": USER, "name": "tests", "username": USER, "user_group_uuids": [], "idp_id": "example.org",
                "idp_name": "example.org", "auth_service": "api_key",
            }),
        ),
        (
            "/list-endpoints",
            json!({"clusters": {
                "emptied": {"base_url": "/resource_server/emptied", "frameworks": {}},
                "lab": {"base_url": "/resource_server/lab", "frameworks": {
                    "sglang": {"models": ["s"], "endpoints": endpoints},
                    "vllm": {"models": ["A", "b"], "endpoints": endpoints},
                }},
            }}),
        ),
    ];
    for (path, body) in expected {
        for prefix in ["", "/resource_server"] {
            let answer = page(&gateway, &format!("{prefix}{path}")).await;
            assert_eq!(
                (answer.status(), answer.header("content-type")),
                (200, Some("application/json")),
                "{path}"
            );
            assert!(answer.header("x-request-id").is_some());
            assert_eq!(answer.json(), body, "{prefix}{path}");
        }
        let queried = page(&gateway, &format!("{path}?x=1")).await;
        assert_eq!(queried.json(), body, "{path} with a query");
    }
    let open = gateway.call(&Request::get("/health")).await;
    assert_eq!(open.json(), json!({"status": "ok"}));
    let rows = gateway.finish(&[&backend]).await;
    assert!(rows.is_empty(), "only inference is in the ledger");
}

#[tokio::test]
async fn lists_follow_whoever_asks() {
    let (backend, gateway) = rig().await;
    let friend = gateway.key_for("friend@other.org", &["g-1", "g-2"]).await;
    let ask = |path: &'static str| Request::get(path).bearer(&friend);
    let me = gateway.call(&ask("/whoami")).await.json();
    assert_eq!(
        (&me["username"], &me["user_group_uuids"]),
        (&json!("friend@other.org"), &json!(["g-1", "g-2"]))
    );
    let list = gateway.call(&ask("/list-endpoints")).await.json();
    let clusters: Vec<_> = list["clusters"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(clusters, ["emptied", "hidden", "lab"]);
    assert_eq!(
        list["clusters"]["lab"]["frameworks"]["vllm"]["models"],
        json!(["A", "b", "secret"])
    );
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_head_request_is_answered_without_a_body() {
    let (backend, gateway) = rig().await;
    let bearer = gateway.site().secrets.client_bearer();
    let mut client = gateway.client().await;
    for path in ["/health", "/whoami", "/list-endpoints"] {
        client
            .send(Request::new("HEAD", path).bearer(&bearer).bytes())
            .await;
        let reading = client.begin().await.unwrap();
        assert_eq!(reading.status(), 200, "{path}");
    }
    // If there had been a body, it would be read in place of this answer.
    let answer = client.call(&Request::get("/health")).await;
    assert_eq!(answer.json(), json!({"status": "ok"}));
    gateway.finish(&[&backend]).await;
}

async fn admin(gateway: &TestGateway, request: &Request) -> Answer {
    RawClient::connect(gateway.admin_address())
        .await
        .call(request)
        .await
}

#[tokio::test]
async fn the_admin_listener_tells_health_and_figures_and_relays_nothing() {
    let (backend, gateway) = rig().await;
    let live = admin(&gateway, &Request::get("/health/live")).await;
    assert_eq!((live.status(), live.json()), (200, json!({"status": "ok"})));
    let ready = admin(&gateway, &Request::get("/health/ready")).await;
    let mut told = ready.json();
    let generation = told
        .as_object_mut()
        .and_then(|told| told.remove("generation"));
    assert!(generation.is_some_and(|generation| generation.as_u64() > Some(0)));
    let well = json!({
        "status": "ok", "db": "up", "journal": "up", "limits": "up", "draining": false, "failing": [], "reload": "served",
    });
    assert_eq!((ready.status(), told), (200, well));
    assert_eq!(gateway.call(&gateway.chat("b")).await.status(), 200);
    let metrics = gauges::at_rest(gateway.admin_address()).await;
    for name in [
        "ostia_endpoint_in_flight",
        "ostia_requests_total",
        "ostia_prompt_tokens_total",
        "ostia_completion_tokens_total",
        "ostia_connections",
        "ostia_backend_connections",
        "ostia_backend_connections_idle",
    ] {
        assert!(
            gauges::sum(&metrics, name).is_some(),
            "{name} is not in\n{metrics}"
        );
    }
    assert_eq!(
        gauges::sum(&metrics, "ostia_prompt_tokens_total"),
        Some(11.0)
    );
    assert!(
        metrics.contains("ostia_requests_total{endpoint=\"lab-vllm-b\",outcome=\"ok\"} 1\n"),
        "{metrics}"
    );
    assert_eq!(gateway.call(&gateway.chat("nowhere")).await.status(), 404);
    let metrics = gauges::at_rest(gateway.admin_address()).await;
    assert!(
        metrics.contains("ostia_requests_total{endpoint=\"\",outcome=\"rejected\"} 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.ends_with("# EOF\n") && !metrics.contains("tester"),
        "{metrics}"
    );
    for path in [
        "/v1/chat/completions",
        "/whoami",
        "/health",
        "/",
        "/admin/x",
    ] {
        let answer = admin(&gateway, &Request::get(path)).await;
        assert!(
            matches!(answer.status(), 401 | 403 | 404),
            "{path}: {}",
            answer.status()
        );
    }
    let relayed = admin(&gateway, &gateway.chat("b")).await;
    assert!(
        matches!(relayed.status(), 404 | 405),
        "{}",
        relayed.status()
    );
    assert_eq!(backend.records().len(), 1);
    gateway.finish(&[&backend]).await;
}
