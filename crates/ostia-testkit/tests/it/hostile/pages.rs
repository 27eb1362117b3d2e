//! Web pages that send requests to a gateway on their reader's own machine.

use ostia_testkit::backend::FakeBackend;
use ostia_testkit::client::Request;
use ostia_testkit::gateway::{Site, TestGateway};
use serde_json::json;

fn page(gateway: &TestGateway, headers: &[(&str, &str)]) -> Request {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]}).to_string();
    let mut request = Request::post("/v1/chat/completions")
        .without("host")
        .header("Host", &gateway.address().to_string())
        .header("Content-Type", "text/plain")
        .body(body);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request
}

#[tokio::test]
async fn without_sign_in_pages_of_others_are_refused() {
    let backend = FakeBackend::start().await;
    let site = Site::new().model("m", &backend).settings(
        "[auth]\nproviders = [\"none\"]\n[server]\ncors_origins = [\"https://chat.lab.org\"]",
    );
    let gateway = TestGateway::start(site).await;
    let own = format!("http://{}", gateway.address());
    let (own, other_port) = (own.as_str(), "http://127.0.0.1:1");
    for (headers, status) in [
        (vec![], 200),
        (vec![("Origin", own)], 200),
        (
            vec![("Origin", own), ("Sec-Fetch-Site", "same-origin")],
            200,
        ),
        (
            vec![
                ("Origin", "https://chat.lab.org"),
                ("Sec-Fetch-Site", "cross-site"),
            ],
            200,
        ),
        (vec![("Sec-Fetch-Site", "none")], 200),
        (vec![("Origin", "https://evil.example")], 403),
        (
            vec![
                ("Origin", "https://evil.example"),
                ("Sec-Fetch-Site", "cross-site"),
            ],
            403,
        ),
        (vec![("Origin", "null")], 403),
        (
            vec![("Origin", other_port), ("Sec-Fetch-Site", "same-site")],
            403,
        ),
        (vec![("Sec-Fetch-Site", "cross-site")], 403),
        (
            vec![("Origin", own), ("Origin", "https://evil.example")],
            403,
        ),
    ] {
        let answer = gateway.call(&page(&gateway, &headers)).await;
        assert_eq!(answer.status(), status, "{headers:?}: {}", answer.text());
        if status == 403 {
            assert_eq!(answer.error_code().as_deref(), Some("policy_denied"));
        }
    }
    assert_eq!(backend.records().len(), 5);
    gateway.finish(&[&backend]).await;
}

/// DNS rebinding: a page's own name resolves to the admin listener.
#[tokio::test]
async fn the_admin_listener_answers_only_its_own_names() {
    let backend = FakeBackend::start().await;
    let site = Site::new()
        .model("m", &backend)
        .settings("[server]\nadmin_hosts = [\"ostia.lab.org\"]");
    let gateway = TestGateway::start(site).await;
    let ask = async |path: &str, host: &str| {
        let mut client = ostia_testkit::client::RawClient::connect(gateway.admin_address()).await;
        let request = Request::get(path).without("host").header("Host", host);
        client.call(&request).await.status()
    };
    for path in ["/metrics", "/health/live", "/health/ready"] {
        for host in ["localhost", "127.0.0.1:8001", "[::1]", "Ostia.Lab.Org:8001"] {
            assert_eq!(ask(path, host).await, 200, "{host}{path}");
        }
        for host in [
            "evil.example",
            "evil.example:8001",
            "localhost.evil.example",
            "10.0.0.7",
        ] {
            assert_eq!(ask(path, host).await, 403, "{host}{path}");
        }
    }
    assert_eq!(ask("/admin/purge", "evil.example").await, 403);
    gateway.finish(&[&backend]).await;
}
