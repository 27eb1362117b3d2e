//! What operators see and do on the admin listener.

use std::sync::Arc;
use std::time::Duration;

use ostia_core::ManualClock;
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{Answer, RawClient, Request};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway, gauges};
use serde_json::{Value, json};

async fn admin(gateway: &TestGateway, request: Request) -> Answer {
    let (_, token) = ostia::admin::published(gateway.site().folder()).unwrap();
    let request = request.bearer(token.expose());
    let answer = RawClient::connect(gateway.admin_address())
        .await
        .call(&request)
        .await;
    gateway.note(&answer);
    answer
}

async fn read(gateway: &TestGateway, path: &str) -> Value {
    let answer = admin(gateway, Request::get(path)).await;
    assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
    answer.json()
}

#[tokio::test]
async fn endpoints_are_listed_a_page_at_a_time_with_what_they_do() {
    let backend = FakeBackend::start().await;
    let mut site = Site::new().with_faults();
    for number in 0..5 {
        let endpoint = Endpoint::of("m", &backend);
        site = site.endpoint(endpoint.field("endpoint_slug", json!(format!("e{number}"))));
    }
    let broken = Endpoint::of("n", &backend).config("api_key_env_name", json!("NOWHERE_SET"));
    let site = site.endpoint(broken.field("endpoint_slug", json!("broken")));
    let gateway = TestGateway::start(site).await;
    let gate = Gate::closed();
    gate.release(1);
    backend.otherwise(Script::completion().gate_events(&gate));
    let mut client = gateway.client().await;
    client.send(gateway.chat_stream("m").bytes()).await;
    let reading = client.begin().await.unwrap();

    let (mut slugs, mut in_flight, mut after) = (Vec::new(), 0, String::new());
    loop {
        let page = read(&gateway, &format!("/admin/endpoints?limit=2&after={after}")).await;
        assert_eq!(page["total"], 6);
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= 2);
        for endpoint in data {
            slugs.push(endpoint["slug"].as_str().unwrap().to_owned());
            in_flight += endpoint["in_flight"].as_u64().unwrap();
        }
        if page["has_more"] == false {
            break;
        }
        after = page["last"].as_str().unwrap().to_owned();
    }
    assert_eq!(slugs, ["broken", "e0", "e1", "e2", "e3", "e4"]);
    assert_eq!(in_flight, 1);
    let broken = read(&gateway, "/admin/endpoints/broken").await;
    assert_eq!(broken["state"], "disabled");
    assert!(broken["reason"].as_str().unwrap().contains("NOWHERE_SET"));
    let of_model = read(&gateway, "/admin/endpoints?model=n").await;
    assert_eq!(of_model["total"], 1);
    let clusters = read(&gateway, "/admin/clusters").await;
    assert_eq!(clusters["data"][0]["endpoints_serving"], 5);
    let status = read(&gateway, "/admin/status").await;
    assert_eq!(
        (&status["requests"], &status["ready"]["status"]),
        (&json!(1), &json!("ok"))
    );
    for (path, status) in [
        ("/admin/endpoints/none", 404),
        ("/admin/endpoints?limit=0", 400),
        ("/admin/endpoints?limit=1001", 400),
        ("/admin/endpoints?limit=x", 400),
    ] {
        assert_eq!(
            admin(&gateway, Request::get(path)).await.status(),
            status,
            "{path}"
        );
    }
    gate.open();
    client.rest(reading).await;
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_drained_endpoint_gets_nothing_new_until_it_is_used_again() {
    let (one, other) = (FakeBackend::start().await, FakeBackend::start().await);
    let named =
        |slug: &str, backend| Endpoint::of("m", backend).field("endpoint_slug", json!(slug));
    let site = Site::new()
        .endpoint(named("one", &one))
        .endpoint(named("other", &other));
    let gateway = TestGateway::start(site).await;
    let gate = Gate::closed();
    gate.release(1);
    one.otherwise(Script::completion().gate_events(&gate));
    // A request runs there, and finishes.
    other.otherwise(Script::completion());
    admin(&gateway, Request::post("/admin/endpoints/other/drain")).await;
    let mut client = gateway.client().await;
    client.send(gateway.chat_stream("m").bytes()).await;
    let reading = client.begin().await.unwrap();
    admin(&gateway, Request::post("/admin/endpoints/other/undrain")).await;
    let drained = admin(&gateway, Request::post("/admin/endpoints/one/drain")).await;
    assert_eq!(drained.json()["in_flight"], 1);
    // The drain survives a reload.
    gateway.reload().expect("it can be served");
    for _ in 0..5 {
        assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    }
    assert_eq!((one.records().len(), other.records().len()), (1, 5));
    assert_eq!(
        read(&gateway, "/admin/endpoints/one").await["state"],
        "draining"
    );
    admin(&gateway, Request::post("/admin/endpoints/other/drain")).await;
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_eq!(answer.error_code().as_deref(), Some("no_healthy_backend"));
    let gone = admin(&gateway, Request::post("/admin/endpoints/nobody/drain")).await;
    assert_eq!(gone.status(), 404);
    admin(&gateway, Request::post("/admin/endpoints/other/undrain")).await;
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    gate.open();
    client.rest(reading).await;
    gateway.finish(&[&one, &other]).await;
}

#[tokio::test]
async fn maintenance_is_set_and_cleared_over_the_api() {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("org/m", &backend)).await;
    let put = |scope: &str, body: Value| {
        admin(
            &gateway,
            Request::new("PUT", &format!("/admin/maintenance/{scope}")).json(&body),
        )
    };
    let set = put(
        "model:org%2Fm",
        json!({"text": "moves", "until": 4_102_444_800_i64}),
    )
    .await;
    assert_eq!(set.status(), 200, "{}", set.text());
    assert_eq!(set.json()["holds"], true);
    let listed = read(&gateway, "/admin/maintenance").await;
    assert_eq!(listed["data"][0]["scope"], "model:org/m");
    for (scope, body, status) in [
        ("nowhere", json!({"text": "x"}), 404),
        ("all", json!({}), 400),
        ("all", json!({"text": "x", "from": "soon"}), 400),
        ("all", json!({"text": "x", "until": 1}), 400),
        ("all", json!([]), 400),
    ] {
        assert_eq!(
            put(scope, body.clone()).await.status(),
            status,
            "{scope} {body}"
        );
    }
    for status in [200, 404] {
        let request = Request::new("DELETE", "/admin/maintenance/model:org%2Fm");
        assert_eq!(admin(&gateway, request).await.status(), status);
    }
    gateway.finish(&[&backend]).await;
}

/// A catalog may list thousands of endpoints that are never called.
#[tokio::test]
async fn a_scrape_has_series_of_endpoints_that_were_used() {
    let backend = FakeBackend::start().await;
    let site = (0..500).fold(Site::new(), |site, number| {
        site.model(&format!("m{number}"), &backend)
    });
    let gateway = TestGateway::start(site).await;
    let labelled = async || {
        let metrics = gauges::scrape(gateway.admin_address()).await;
        let lines = metrics.lines().filter(|line| line.contains("endpoint=\""));
        let mut slugs: Vec<String> = lines
            .filter_map(|line| line.split('"').nth(1).map(str::to_owned))
            .collect();
        // Requests that reached no endpoint have a series too.
        slugs.retain(|slug| !slug.is_empty());
        slugs.sort();
        slugs.dedup();
        slugs
    };
    assert_eq!(labelled().await, Vec::<String>::new());
    assert_eq!(gateway.call(&gateway.chat("m7")).await.status(), 200);
    gauges::at_rest(gateway.admin_address()).await;
    assert_eq!(labelled().await, ["lab-vllm-m7"]);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn what_goes_on_is_counted_over_the_last_minutes() {
    let backend = FakeBackend::start().await;
    backend.otherwise(Script::completion().prompt_tokens(11, 4));
    let clock = Arc::new(ManualClock::at(1_795_392_000_000_000));
    let site = Site::new().model("m", &backend);
    let gateway = TestGateway::start_at(site, Arc::clone(&clock) as _).await;
    for _ in 0..2 {
        assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    }
    assert_eq!(gateway.call(&gateway.chat("absent")).await.status(), 404);
    gauges::at_rest(gateway.admin_address()).await;
    let now = read(&gateway, "/admin/now").await;
    assert_eq!((&now["window"], &now["seconds"]), (&json!("5m"), &json!(0)));
    assert_eq!((&now["in_flight"], &now["waiting"]), (&json!(0), &json!(0)));
    assert_eq!(now["total"]["requests"], 3);
    assert_eq!(now["total"]["outcomes"]["rejected"], 1);
    let model = &now["models"]["m"];
    assert_eq!(
        (&model["requests"], &model["prompt_tokens"]),
        (&json!(2), &json!(22))
    );
    assert!(model["time_to_first_token_ms"]["p99"].is_number(), "{now}");
    assert_eq!(now["errors"], json!({"model_not_found": 1}));

    for _ in 0..6 {
        clock.advance(Duration::from_secs(60));
        gateway.gateway().turn_minute();
    }
    let now = read(&gateway, "/admin/now?window=5m").await;
    assert_eq!(
        (&now["seconds"], &now["total"]["requests"]),
        (&json!(300), &json!(0))
    );
    assert_eq!((&now["models"], &now["errors"]), (&json!({}), &json!({})));
    for window in ["1h", "start"] {
        let now = read(&gateway, &format!("/admin/now?window={window}")).await;
        assert_eq!(
            (&now["seconds"], &now["total"]["requests"]),
            (&json!(360), &json!(3))
        );
        assert_eq!(now["errors"], json!({"model_not_found": 1}), "{window}");
    }
    let bad = admin(&gateway, Request::get("/admin/now?window=2h")).await;
    assert_eq!(
        (bad.status(), bad.json()["error"]["param"].as_str()),
        (400, Some("window"))
    );
    gateway.finish(&[&backend]).await;
}
