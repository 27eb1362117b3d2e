//! Maintenance and readiness, while a gateway runs and across restarts.

use ostia_core::{NoticeScope, SystemClock};
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::Answer;
use ostia_testkit::gateway::{CLUSTER, Endpoint, Site, TestGateway};
use serde_json::json;

use super::{get, notice};
use crate::common::assert_error;

async fn chat_until(gateway: &TestGateway, status: u16) -> Answer {
    gateway.call_until(&gateway.chat("m"), status).await
}

#[tokio::test]
async fn a_notice_survives_restarts() {
    let backend = FakeBackend::start().await;
    let mut site = Site::new().model("m", &backend);
    let scope = NoticeScope::Cluster(CLUSTER.to_owned());
    // The file of an earlier version, which is carried over.
    let former = json!({CLUSTER: "back on Monday"}).to_string();
    std::fs::write(site.folder().join("maintenance.json"), former).unwrap();
    for _ in 0..2 {
        let gateway = TestGateway::start(site).await;
        let answer = gateway.call(&gateway.chat("m")).await;
        assert_error(
            &answer,
            503,
            "overloaded_error",
            "cluster_under_maintenance",
            "set",
        );
        assert!(
            answer.json()["error"]["message"]
                .as_str()
                .unwrap()
                .contains("back on Monday")
        );
        assert_eq!(get(&gateway, "/status").await.json(), json!({"lab": false}));
        assert_eq!(
            get(&gateway, "/lab/models").await.json()[0]["state"],
            "stopped"
        );
        assert_eq!(
            get(&gateway, "/v1/models").await.json()["data"][0]["state"],
            "stopped"
        );
        let jobs = get(&gateway, "/lab/jobs").await.json();
        assert_eq!(jobs["cluster_status"]["maintenance"], "back on Monday");
        assert_eq!(
            (&jobs["running"], &jobs["stopped"][0]["Models"]),
            (&json!([]), &json!("m"))
        );
        site = gateway.finish_keeping(&[&backend]).await.1;
        assert!(!site.folder().join("maintenance.json").exists());
    }
    let store = site.prepare(&SystemClock).await;
    assert_eq!(store.notices().await.unwrap(), [notice(&scope)]);
    assert!(store.clear_notice(&scope).await.unwrap());
    assert!(!store.clear_notice(&scope).await.unwrap());
    let gateway = TestGateway::start(site).await;
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    assert_eq!(
        get(&gateway, "/lab/models").await.json()[0]["state"],
        "running"
    );
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_source_that_cannot_be_asked_changes_nothing() {
    let (backend, page) = (FakeBackend::start().await, FakeBackend::start().await);
    let says = |word: &str| Script::json(200, &json!({"current_status": word}));
    page.otherwise(says("down"));
    let settings = format!(
        "[maintenance.source.lab]\nurl = \"{}/s?key=hush\"\ninterval = \"50ms\"",
        page.base_url()
    );
    let site = Site::new().model("m", &backend).settings(&settings);
    let gateway = TestGateway::start(site).await;
    let answer = chat_until(&gateway, 503).await;
    assert_error(
        &answer,
        503,
        "overloaded_error",
        "cluster_under_maintenance",
        "down",
    );
    for bad in [
        Script::raw(500, "down"),
        Script::raw(200, "no json"),
        Script::json(200, &json!({"other": "up"})),
        Script::json(200, &json!({"current_status": {"up": true}})),
        Script::raw(302, "").header("location", "/up"),
    ] {
        page.otherwise(bad);
        page.requests(page.records().len() + 2).await;
        assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 503);
    }
    page.otherwise(says("up"));
    chat_until(&gateway, 200).await;
    page.refuse().await;
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn what_is_not_ready_is_not_listed_as_running() {
    let backend = FakeBackend::start().await;
    backend.on_path("/ready", Script::raw(503, "loading"));
    let site = Site::new()
        .endpoint(Endpoint::of("m", &backend).config("readiness_url", json!("/ready")))
        .model("n", &backend);
    let gateway = TestGateway::start(site).await;
    let models = get(&gateway, "/lab/models").await.json();
    assert_eq!(
        (&models[0]["state"], &models[1]["state"]),
        (&json!("starting"), &json!("running"))
    );
    let models = get(&gateway, "/v1/models").await.json();
    assert_eq!(models["data"][0]["state"], "starting");
    gateway.finish(&[&backend]).await;
}
