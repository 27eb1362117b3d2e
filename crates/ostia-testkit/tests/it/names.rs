//! Models by name (R29), what a stranger can learn (R31), and attempts to choose the backend (R33).

use std::collections::BTreeSet;

use ostia_testkit::backend::FakeBackend;
use ostia_testkit::client::{Answer, Request};
use ostia_testkit::gateway::{Endpoint, Site, TestGateway, gauges};
use serde_json::{Value, json};

/// `m` has an alias; `secret` and its alias are for other users; so is the whole cluster `closed`.
async fn rig() -> (FakeBackend, TestGateway) {
    let backend = FakeBackend::start().await;
    let site = Site::new()
        .endpoint(Endpoint::of("Org/Model-1", &backend).field("aliases", json!(["m"])))
        .endpoint(
            Endpoint::of("secret", &backend)
                .field("aliases", json!(["secret-alias"]))
                .field("allowed_domains", json!(["other.org"])),
        )
        .endpoint(Endpoint::of("elsewhere", &backend).on("closed", "vllm"))
        .cluster("closed", "allowed_domains", json!(["other.org"]));
    (backend, TestGateway::start(site).await)
}

fn ask(gateway: &TestGateway, path: &str, model: &str) -> Request {
    let body = json!({"model": model, "messages": [{"role": "user", "content": "x"}]});
    Request::post(path)
        .bearer(&gateway.site().secrets.client_bearer())
        .json(&body)
}

/// Everything except what differs between any two answers.
pub fn essence(answer: &Answer) -> (String, Vec<(String, String)>, Vec<u8>) {
    let fields = answer
        .head
        .fields
        .0
        .iter()
        .filter(|(name, _)| !["x-request-id", "date"].contains(&&*name.to_lowercase()));
    (
        answer.head.first_line.clone(),
        fields.cloned().collect(),
        answer.body.to_vec(),
    )
}

/// The same, without the requested name, which the message repeats, and without its effect on the length.
pub fn nameless(answer: &Answer, name: &str) -> (String, Vec<(String, String)>, String) {
    let (line, mut fields, body) = essence(answer);
    fields.retain(|(name, _)| !name.eq_ignore_ascii_case("content-length"));
    let body = String::from_utf8(body).unwrap();
    (line, fields, body.replace(&format!(" `{name}`"), ""))
}

fn series(metrics: &str) -> BTreeSet<String> {
    let lines = metrics.lines().filter_map(|line| line.rsplit_once(' '));
    lines.map(|(name, _)| name.to_owned()).collect()
}

#[tokio::test]
async fn a_model_is_its_exact_name_or_an_alias() {
    let (backend, gateway) = rig().await;
    for name in ["Org/Model-1", "m"] {
        for path in ["/v1/chat/completions", "/lab/vllm/v1/chat/completions"] {
            assert_eq!(
                gateway.call(&ask(&gateway, path, name)).await.status(),
                200,
                "{path} {name}"
            );
        }
    }
    for record in backend.records() {
        assert_eq!(record.received.model().as_deref(), Some("Org/Model-1"));
    }
    let unknown = ask(&gateway, "/v1/chat/completions", "unknown");
    assert_eq!(gateway.call(&unknown).await.status(), 404);
    let before = series(&gauges::scrape(gateway.admin_address()).await);
    let long = "m".repeat(10_000);
    let odd = [
        "org/model-1",
        "Org/Model-1 ",
        " Org/Model-1",
        "OrgModel-1",
        "Org/Model1",
        "Org/Model-l",
        "Org/Mo\u{501}el-1",
        "Org\u{2215}Model-1",
        "Org/Model-1\u{0}",
        "Org/Model-1\u{200b}",
        "M",
        "lab-vllm-orgmodel-1",
        "../Org/Model-1",
        "Org/Model-1/",
        "\u{202e}m",
        "*",
        &*long,
    ];
    for name in odd {
        for path in ["/v1/chat/completions", "/lab/vllm/v1/chat/completions"] {
            let answer = gateway.call(&ask(&gateway, path, name)).await;
            assert_eq!(
                answer.error_code().as_deref(),
                Some("model_not_found"),
                "{path} {name:?}"
            );
            assert_eq!(answer.status(), 404);
            assert_eq!(answer.json()["error"]["param"], "model");
        }
    }
    let after = series(&gauges::scrape(gateway.admin_address()).await);
    assert_eq!(
        before, after,
        "names of a caller's making are in the metrics"
    );
    let rows = gateway.finish(&[&backend]).await;
    let names: BTreeSet<&str> = rows.iter().map(|row| &*row.model).collect();
    assert_eq!(
        names,
        BTreeSet::from(["", "Org/Model-1"]),
        "a row names a model that does not exist"
    );
    assert_eq!(backend.records().len(), 4);
}

#[tokio::test]
async fn what_is_forbidden_and_what_is_absent_are_the_same_bytes() {
    let (backend, gateway) = rig().await;
    let pairs = [
        (
            "/v1/chat/completions",
            "secret",
            "/v1/chat/completions",
            "absent",
        ),
        (
            "/v1/chat/completions",
            "secret-alias",
            "/v1/chat/completions",
            "absent",
        ),
        (
            "/v1/chat/completions",
            "elsewhere",
            "/v1/chat/completions",
            "absent",
        ),
        (
            "/lab/vllm/v1/chat/completions",
            "secret",
            "/lab/vllm/v1/chat/completions",
            "absent",
        ),
        (
            "/lab/vllm/v1/chat/completions",
            "secret-alias",
            "/lab/vllm/v1/chat/completions",
            "absent",
        ),
        (
            "/closed/vllm/v1/chat/completions",
            "elsewhere",
            "/absent/vllm/v1/chat/completions",
            "elsewhere",
        ),
        (
            "/closed/no/v1/no",
            "elsewhere",
            "/absent/no/v1/no",
            "elsewhere",
        ),
        // An API that the forbidden model's cluster does not serve reveals nothing either.
        ("/v1/no-such-api", "elsewhere", "/v1/no-such-api", "absent"),
    ];
    for (forbidden_path, forbidden, absent_path, absent) in pairs {
        let one = gateway
            .call(&ask(&gateway, forbidden_path, forbidden))
            .await;
        let other = gateway.call(&ask(&gateway, absent_path, absent)).await;
        assert_eq!(one.status(), 404, "{forbidden_path} {forbidden}");
        assert_eq!(
            nameless(&one, forbidden),
            nameless(&other, absent),
            "{forbidden_path} {forbidden}"
        );
        assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
    }
    // Those who may use them can.
    let friend = gateway.key_for("friend@other.org", &[]).await;
    for model in ["secret", "secret-alias", "elsewhere"] {
        let request = ask(&gateway, "/v1/chat/completions", model)
            .without("authorization")
            .bearer(&friend);
        assert_eq!(gateway.call(&request).await.status(), 200, "{model}");
    }
    let rows = gateway.finish(&[&backend]).await;
    let refused: Vec<_> = rows
        .iter()
        .filter(|row| row.outcome == "rejected")
        .collect();
    assert!(
        refused
            .iter()
            .all(|row| row.model.is_empty() && row.endpoint_slug.is_empty()),
        "{refused:#?}"
    );
}

#[tokio::test]
async fn nobody_chooses_the_backend_himself() {
    let (backend, gateway) = rig().await;
    let canary = FakeBackend::start().await;
    let url = format!("{}/v1", canary.base_url());
    let fields: Value = json!({
        "api_base": url, "base_url": url, "api_url": url, "endpoint": url, "api_key": "x", "host": url,
        "extra_headers": {"Authorization": "Bearer x", "Host": "evil"},
        "streaming_server_host": canary.address().to_string(), "upstream_model": "secret", "custom_llm_provider": "openai",
        "metadata": {"api_base": url},
    });
    let mut request = gateway.request("chat/completions", "m", &fields);
    for name in [
        "x-portkey-custom-host",
        "x-custom-host",
        "x-api-base",
        "x-base-url",
        "x-upstream-host",
        "x-forwarded-host",
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
        "x-host",
        "api-base",
    ] {
        request = request.header(name, &url);
    }
    let answer = gateway.call(&request).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let absolute = format!("http://localhost/v1/chat/completions?api_base={url}");
    let bytes = request.bytes();
    let text = String::from_utf8_lossy(&bytes).replacen("/v1/chat/completions", &absolute, 1);
    let mut client = gateway.client().await;
    client.send(text).await;
    assert_eq!(client.answer().await.status(), 200);
    for record in backend.records() {
        let seen = record.received;
        assert_eq!(seen.target, "/v1/chat/completions");
        assert_eq!(seen.header("host"), Some(&*backend.address().to_string()));
        assert_eq!(
            seen.bearer(),
            Some(gateway.site().secrets.backend_key.secret())
        );
        assert_eq!(
            seen.json()["api_base"],
            url,
            "unknown fields are the backend's business"
        );
        assert!(
            seen.head
                .fields
                .names()
                .iter()
                .all(|name| !name.starts_with("x-") || name == "x-request-id")
        );
    }
    assert_eq!(
        (backend.records().len(), canary.counts().connections),
        (2, 0)
    );
    gateway.finish(&[&backend, &canary]).await;
}
