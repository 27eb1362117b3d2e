//! Who is let in: forms of the credential (R17), keys that look valid (R18), and the provider `none`.

use ostia_testkit::backend::FakeBackend;
use ostia_testkit::client::Request;
use ostia_testkit::gateway::{Site, TestGateway};
use serde_json::json;

#[tokio::test]
async fn forms_of_the_credential() {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    let key = gateway.site().secrets.client_bearer();
    let chat = gateway.chat("m").without("authorization");
    let with = |name: &str, value: &str| chat.clone().header(name, value);
    let good = [
        ("bearer", with("Authorization", &format!("bearer {key}"))),
        ("BEARER", with("Authorization", &format!("BEARER  {key}"))),
        ("x-api-key", with("x-api-key", &key)),
        ("api-key", with("api-key", &key)),
        (
            "an x-api-key beside it is not read",
            with("Authorization", &format!("Bearer {key}")).header("x-api-key", "sk-no"),
        ),
    ];
    for (what, request) in good {
        assert_eq!(gateway.call(&request).await.status(), 200, "{what}");
    }
    let twice = with("Authorization", &format!("Bearer {key}"))
        .header("Authorization", &format!("Bearer {key}"));
    let long = format!("Bearer sk-ostia-{}", "k".repeat(20_000));
    let bad = [
        (
            "nothing",
            chat.clone(),
            401,
            Some("missing_credentials"),
            None,
        ),
        (
            "basic",
            with("Authorization", "Basic eDp5"),
            401,
            Some("invalid_api_key"),
            None,
        ),
        (
            "bearer alone",
            with("Authorization", "Bearer"),
            401,
            Some("invalid_api_key"),
            Some("invalid_request"),
        ),
        (
            "two words",
            with("Authorization", "Bearer a b"),
            401,
            Some("invalid_api_key"),
            Some("invalid_request"),
        ),
        (
            "twice",
            twice,
            400,
            Some("invalid_request"),
            Some("invalid_request"),
        ),
        (
            "20 KB",
            with("Authorization", &long),
            401,
            Some("invalid_api_key"),
            Some("invalid_token"),
        ),
        (
            "1 MB",
            with("Authorization", &format!("Bearer {}", "k".repeat(1 << 20))),
            431,
            None,
            None,
        ),
        (
            "not ASCII",
            with("Authorization", "Bearer schlüssel"),
            401,
            Some("invalid_api_key"),
            Some("invalid_token"),
        ),
        (
            "a changed last byte",
            with(
                "Authorization",
                &format!("Bearer {}x", &key[..key.len() - 1]),
            ),
            401,
            Some("invalid_api_key"),
            Some("invalid_token"),
        ),
        (
            "one byte short",
            with(
                "Authorization",
                &format!("Bearer {}", &key[..key.len() - 1]),
            ),
            401,
            Some("invalid_api_key"),
            Some("invalid_token"),
        ),
        (
            "a basic before an x-api-key",
            with("Authorization", "Basic x").header("x-api-key", &key),
            401,
            Some("invalid_api_key"),
            None,
        ),
    ];
    for (what, request, status, code, word) in bad {
        let answer = gateway.call(&request).await;
        assert_eq!(answer.status(), status, "{what}: {}", answer.text());
        let Some(code) = code else { continue };
        assert_eq!(answer.error_code().as_deref(), Some(code), "{what}");
        let challenge = answer
            .header("www-authenticate")
            .unwrap_or_else(|| panic!("{what}: no challenge"));
        assert!(
            challenge.starts_with("Bearer realm="),
            "{what}: {challenge}"
        );
        let error = word.map_or(String::new(), |word| format!("error=\"{word}\""));
        assert!(challenge.contains(&error), "{what}: {challenge}");
        assert_eq!(
            challenge.contains("error="),
            word.is_some(),
            "{what}: {challenge}"
        );
    }
    assert_eq!(backend.records().len(), 5);
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.len(), 5, "who was not let in leaves no row");
}

/// The value must not be in a log either: `finish` searches for it.
#[tokio::test]
async fn a_key_in_the_query_opens_nothing() {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    let key = gateway.site().secrets.client_bearer();
    for name in ["key", "api_key", "access_token", "token"] {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]});
        let request = Request::post(&format!("/v1/chat/completions?{name}={key}")).json(&body);
        assert_eq!(gateway.call(&request).await.status(), 401, "{name}");
    }
    gateway.finish(&[&backend]).await;
    assert_eq!(backend.records().len(), 0);
}

#[tokio::test]
async fn attacks_in_a_credential_are_401_and_nothing_else() {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    let mut client = gateway.client().await;
    let mut shapes = std::collections::BTreeSet::new();
    for attack in [
        "' OR 1=1 --",
        "\"; DROP TABLE api_keys;--",
        "%s%n%x",
        "*)(uid=*",
        "../../etc/passwd",
        "${jndi:ldap://x}",
        "%00",
    ] {
        for prefix in ["", "sk-ostia-"] {
            let token = format!("{prefix}{attack}").replace(' ', "/**/");
            let request = gateway.chat("m").without("authorization").bearer(&token);
            let answer = client.call(&request).await;
            assert_eq!(answer.status(), 401, "{token}");
            shapes.insert(answer.text());
        }
    }
    assert_eq!(shapes.len(), 1, "{shapes:?}");
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    gateway.finish(&[&backend]).await;
}

/// Every route but the open ones needs a credential, and near misses of routes do not exist (R19).
#[tokio::test]
async fn nothing_else_is_open() {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    for path in [
        "/whoami",
        "/list-endpoints",
        "/v1/chat/completions",
        "/v1/embeddings",
        "/lab/vllm/v1/chat/completions",
        "/v1/models",
        "/v1/files",
        "/v1/batches",
        "/v1/responses/r1",
        "/resource_server/whoami",
        "/resource_server/v1/chat/completions",
    ] {
        for method in ["GET", "POST"] {
            let answer = gateway.call(&Request::new(method, path)).await;
            assert_eq!(answer.status(), 401, "{method} {path}");
        }
    }
    for path in [
        "//v1/chat/completions",
        "/v1/../admin",
        "/v1/%2e%2e/admin",
        "/v1%2fchat/completions",
        "/v1/chat/completions/",
        "/admin/reload",
        "/metrics",
        "/health/",
        "/health/live",
        "/Health",
        "/api",
        "/.env",
        "/resource_server",
        "/resource_server/",
    ] {
        let answer = gateway.call(&Request::get(path)).await;
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(answer.error_code().as_deref(), Some("not_found"), "{path}");
    }
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!((rows.len(), backend.records().len()), (0, 0));
}

#[tokio::test]
async fn without_sign_in_only_what_is_plainly_local_is_served() {
    let backend = FakeBackend::start().await;
    let site = Site::new()
        .model("m", &backend)
        .settings("[auth]\nproviders = [\"none\"]");
    let gateway = TestGateway::start(site).await;
    let plain = gateway.chat("m").without("authorization");
    for host in [
        "localhost",
        "LOCALHOST:8000",
        "127.0.0.1:8000",
        "[::1]:8000",
        "127.8.9.1",
    ] {
        let request = plain.clone().without("host").header("Host", host);
        assert_eq!(gateway.call(&request).await.status(), 200, "{host}");
    }
    // A credential is neither needed nor read.
    assert_eq!(
        gateway
            .call(&plain.clone().bearer("anything"))
            .await
            .status(),
        200
    );
    let served = backend.records().len();
    for host in [
        "example.org",
        "10.0.0.1",
        "localhost.example.org",
        "localhost.",
        "[::2]",
        "0.0.0.0",
    ] {
        let request = plain.clone().without("host").header("Host", host);
        let answer = gateway.call(&request).await;
        assert_eq!(
            (answer.status(), answer.error_code().as_deref()),
            (403, Some("policy_denied")),
            "{host}"
        );
    }
    for name in [
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Real-IP",
    ] {
        let answer = gateway.call(&plain.clone().header(name, "127.0.0.1")).await;
        assert_eq!(
            (answer.status(), answer.error_code().as_deref()),
            (403, Some("policy_denied")),
            "{name}"
        );
        assert_eq!(answer.json()["error"]["type"], "permission_error", "{name}");
    }
    let me = gateway.call(&Request::get("/whoami")).await.json();
    assert_eq!(me["auth_service"], "none");
    assert_eq!(backend.records().len(), served);
    let rows = gateway.finish(&[&backend]).await;
    assert!(rows.iter().all(|row| row.outcome == "ok"), "{rows:#?}");
}
