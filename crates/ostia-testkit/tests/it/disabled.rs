//! If the variable of a backend's key is not set, its endpoint is disabled, and no other (R78).

use ostia_testkit::backend::FakeBackend;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use serde_json::json;

#[tokio::test]
async fn without_its_key_an_endpoint_is_disabled_and_never_called() {
    let backend = FakeBackend::start().await;
    let site = Site::new()
        .with_faults()
        .model("sound", &backend)
        .endpoint(
            Endpoint::of("unset", &backend).config("api_key_env_name", json!("NOT_SET_ANYWHERE")),
        )
        .endpoint(
            Endpoint::of("empty", &backend).config("api_key_env_name", json!("SET_BUT_EMPTY")),
        )
        .endpoint(Endpoint::of("keyless", &backend).config("api_key_env_name", json!("")))
        .variable("SET_BUT_EMPTY", "");
    let gateway = TestGateway::start(site).await;
    for model in ["unset", "empty"] {
        for path in ["/v1/chat/completions", "/lab/vllm/v1/chat/completions"] {
            let request = gateway.chat(model);
            let bytes = String::from_utf8(request.bytes().to_vec())
                .unwrap()
                .replacen("/v1/chat/completions", path, 1);
            let mut client = gateway.client().await;
            client.send(bytes).await;
            let answer = client.answer().await;
            assert_eq!(
                (answer.status(), answer.error_code().as_deref()),
                (503, Some("endpoint_disabled")),
                "{model}"
            );
            assert_eq!(answer.json()["error"]["type"], "overloaded_error");
            assert_eq!(answer.header("retry-after"), None);
            assert_eq!(answer.header("x-should-retry"), Some("false"));
            assert!(
                !answer.text().contains("NOT_SET") && !answer.text().contains("SET_BUT"),
                "{}",
                answer.text()
            );
        }
    }
    assert_eq!(backend.records().len(), 0);
    for model in ["sound", "keyless"] {
        assert_eq!(
            gateway.call(&gateway.chat(model)).await.status(),
            200,
            "{model}"
        );
    }
    let keyless = backend.records().remove(1).received;
    assert_eq!(keyless.header("authorization"), None);
    let rows = gateway.finish(&[&backend]).await;
    let refused: Vec<_> = rows
        .iter()
        .filter(|row| row.error_code == "endpoint_disabled")
        .collect();
    assert_eq!(refused.len(), 4);
    assert!(
        refused
            .iter()
            .all(|row| row.outcome == "rejected" && row.http_status == 503 && row.attempts == 0)
    );
}

/// If one of two replicas is disabled, the other serves.
#[tokio::test]
async fn a_disabled_replica_leaves_the_work_to_the_other() {
    let (broken, sound) = (FakeBackend::start().await, FakeBackend::start().await);
    let site = Site::new()
        .with_faults()
        .endpoint(
            Endpoint::of("m", &broken)
                .field("endpoint_slug", json!("first"))
                .config("api_key_env_name", json!("NOT_SET_ANYWHERE")),
        )
        .endpoint(Endpoint::of("m", &sound).field("endpoint_slug", json!("second")));
    let gateway = TestGateway::start(site).await;
    for _ in 0..5 {
        assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    }
    assert_eq!((broken.counts().connections, sound.records().len()), (0, 5));
    gateway.finish(&[&broken, &sound]).await;
}
