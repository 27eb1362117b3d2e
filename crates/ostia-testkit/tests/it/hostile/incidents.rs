//! What broke other gateways in 2026, as tests: attacks in credentials, unguarded routes, names that are paths.

use http::Method;
use ostia::identify::hash_key;
use ostia::routes::{ROUTES, RouteEntry, RouteKind};
use ostia_core::{Change, KeyRights, NewApiKey, Role};
use ostia_testkit::backend::FakeBackend;
use ostia_testkit::client::{Answer, Request};
use ostia_testkit::gateway::{Site, TestGateway};
use serde_json::json;

const MODEL: &str = "org/m";

async fn rig() -> (FakeBackend, TestGateway) {
    let backend = FakeBackend::start().await;
    let site = Site::new().model(MODEL, &backend);
    (backend, TestGateway::start(site).await)
}

/// Every place for a credential, as a header line.
const PLACES: [&str; 5] = [
    "Authorization: Bearer ",
    "authorization: bearer ",
    "Authorization: Basic ",
    "x-api-key: ",
    "api-key: ",
];

fn attacks(good: &str) -> Vec<Vec<u8>> {
    let mut attacks: Vec<Vec<u8>> = [
        "'",
        "\"",
        "\\",
        "''",
        "' OR '1'='1",
        "' OR 1=1 --",
        "x'); DROP TABLE keys; --",
        "1 UNION SELECT hash FROM keys",
        "%27%20OR%201=1",
        "{{7*7}}",
        "${jndi:ldap://x}",
        "../../etc/passwd",
        "null",
        "undefined",
        "Bearer",
        "sk-ostia-",
        "sk-ostia-' OR '1'='1",
        "*",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    attacks.extend([
        b"sk-ostia-\xff\xfe".to_vec(),
        b"\xc0\xaf".to_vec(),
        "\u{212a}ey".as_bytes().to_vec(),
        good.as_bytes()[..good.len() - 1].to_vec(),
        good.as_bytes()[..20].to_vec(),
        format!("{good}x").into_bytes(),
        format!("{good} x").into_bytes(),
        format!("{good},{good}").into_bytes(),
        good.to_uppercase().into_bytes(),
        format!("sk-ostia-{}", "a".repeat(40_000)).into_bytes(),
    ]);
    attacks
}

#[tokio::test]
async fn attacks_in_every_place_of_a_credential_are_refused_and_not_repeated() {
    let (backend, gateway) = rig().await;
    let good = gateway.site().secrets.client_bearer();
    for place in PLACES {
        // A text that could be a key is looked up, and bad guesses are counted by address, so each has an address of
        // its own.
        for attack in attacks(&good) {
            let mut client = gateway.client().await;
            let mut bytes =
                format!("GET /whoami HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{place}")
                    .into_bytes();
            bytes.extend_from_slice(&attack);
            bytes.extend_from_slice(b"\r\n\r\n");
            client.send(bytes).await;
            let answer = client.answer().await;
            gateway.note(&answer);
            let shown = String::from_utf8_lossy(&attack).into_owned();
            let status = answer.status();
            assert!(
                matches!(status, 400 | 401 | 429),
                "{place}{shown}: {status} {}",
                answer.text()
            );
            let said = format!(
                "{}{}",
                String::from_utf8_lossy(&answer.head.raw),
                answer.text()
            );
            assert!(
                attack.len() < 8 || !said.contains(&shown),
                "{place}{shown}: {said}"
            );
            assert!(
                status != 401 || answer.header("www-authenticate").is_some(),
                "{place}{shown}"
            );
        }
    }
    // Bytes that are not allowed in headers, and heads that are too large.
    for (attack, statuses) in [
        (b"a\0b".to_vec(), [400, 400]),
        (b"a\rb".to_vec(), [400, 400]),
        (vec![b'a'; 70_000], [431, 400]),
    ] {
        for place in PLACES {
            let mut client = gateway.client().await;
            let mut bytes = format!("GET /whoami HTTP/1.1\r\nHost: a\r\n{place}").into_bytes();
            bytes.extend_from_slice(&attack);
            bytes.extend_from_slice(b"\r\n\r\n");
            client.send(bytes).await;
            let status = client.answer().await.status();
            assert!(statuses.contains(&status), "{place}: {status}");
        }
    }
    assert!(backend.records().is_empty());
    gateway.finish(&[&backend]).await;
}

/// A path that fits an entry's pattern.
fn sample(entry: &RouteEntry) -> String {
    let path = entry
        .pattern
        .replace("{cluster}", "lab")
        .replace("{framework}", "vllm");
    let path = path
        .replace("{reserved}", "files")
        .replace("{model}", "org%2Fm");
    let path = path
        .replace("{*api}", "chat/completions")
        .replace("{*id}", MODEL);
    path.replace("{*rest}", "x/y")
}

async fn key_of(gateway: &TestGateway, id: &str, expires_at: Option<i64>) -> String {
    let key = format!("sk-ostia-{id}-{}", "k".repeat(32));
    let url = format!("sqlite://{}", gateway.site().database_path().display());
    let store = ostia_store::open(&url).await.unwrap();
    let new = NewApiKey {
        id: id.to_owned(),
        hash: hash_key(&key),
        username: format!("{id}@lab.org"),
        groups: Vec::new(),
        label: id.to_owned(),
        project: String::new(),
        rights: KeyRights {
            role: (id == "admin").then_some(Role::Admin),
            ..KeyRights::default()
        },
        created_at: 0,
        expires_at,
    };
    store.create_key(&new).await.unwrap();
    if id == "revoked" {
        let revoke = Change::RevokeKey {
            id: id.to_owned(),
            at: 1,
        };
        store.people().change(&[revoke], &[]).await.unwrap();
    }
    key
}

/// Each class of credential, and whether it opens routes that are not open to all.
async fn classes(gateway: &TestGateway) -> Vec<(&'static str, Option<String>, bool)> {
    let good = gateway.site().secrets.client_bearer();
    let bearer = |key: &str| Some(format!("Authorization: Bearer {key}"));
    vec![
        ("none", None, false),
        ("an empty one", bearer(""), false),
        (
            "another scheme",
            Some(format!("Authorization: Basic {good}")),
            false,
        ),
        ("no key at all", bearer("hello"), false),
        (
            "a key that nobody has",
            bearer("sk-ostia-0000000000000000000000000000000000000000000"),
            false,
        ),
        (
            "a token",
            bearer("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0."),
            false,
        ),
        (
            "an expired key",
            bearer(&key_of(gateway, "expired", Some(1)).await),
            false,
        ),
        (
            "a revoked key",
            bearer(&key_of(gateway, "revoked", None).await),
            false,
        ),
        (
            "a key in a cookie",
            Some(format!("Cookie: key={good}; authorization=Bearer {good}")),
            false,
        ),
        ("a user's key", bearer(&good), true),
        (
            "the same elsewhere",
            Some(format!("x-api-key: {good}")),
            true,
        ),
        (
            "an administrator's key",
            bearer(&key_of(gateway, "admin", None).await),
            true,
        ),
    ]
}

/// The table is the router's own, so a new route is denied by default, or fails here.
#[tokio::test]
async fn each_route_times_each_class_of_credential() {
    let (backend, gateway) = rig().await;
    let mut tried = 0;
    let classes = classes(&gateway).await;
    // Bad ones are counted, which does not affect those that were known to be good.
    for line in classes
        .iter()
        .filter(|(_, _, opens)| *opens)
        .filter_map(|(_, line, _)| line.as_deref())
    {
        let (name, value) = line.split_once(": ").unwrap();
        assert_eq!(
            gateway
                .call(&Request::get("/whoami").header(name, value))
                .await
                .status(),
            200
        );
    }
    for (class, line, opens) in classes {
        for entry in ROUTES {
            for method in entry
                .methods
                .iter()
                .filter(|method| **method != Method::HEAD.as_str())
            {
                for base in ["", "/resource_server"] {
                    let path = format!("{base}{}", sample(entry));
                    let mut request = Request::new(method, &path);
                    if let Some((name, value)) =
                        line.as_deref().and_then(|line| line.split_once(": "))
                    {
                        request = request.header(name, value);
                    }
                    if entry.kind == RouteKind::Inference {
                        request = request.json(&json!({"model": MODEL, "messages": [{"role": "user", "content": "x"}]}));
                    }
                    let answer = gateway.call(&request).await;
                    let what = format!("{class}: {method} {path}: {}", answer.text());
                    let denied = matches!(answer.status(), 401 | 429);
                    assert_eq!(denied, !entry.open && !opens, "{what}");
                    let is_refused = opens && entry.kind == RouteKind::Register;
                    assert_eq!(answer.status() == 403, is_refused, "{what}");
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 500, "{tried}");
    gateway.finish(&[&backend]).await;
}

const NAMES: [&str; 14] = [
    "../admin",
    "..%2fadmin",
    "%2e%2e/admin",
    "..;/admin",
    "..\\admin",
    "a?b=c",
    "a&b=c",
    "a#b",
    "a%0d%0aX-Evil:1",
    "a%00b",
    ".",
    "..",
    "a;b",
    "%252e%252e",
];

fn assert_nothing_there(answer: &Answer, what: &str) {
    let status = answer.status();
    assert!(
        matches!(status, 400 | 404 | 405 | 501),
        "{what}: {status} {}",
        answer.text()
    );
    assert_eq!(answer.header("x-evil"), None, "{what}");
}

#[tokio::test]
async fn names_that_are_paths_lead_nowhere() {
    let (backend, gateway) = rig().await;
    let bearer = gateway.site().secrets.client_bearer();
    let body =
        json!({"model": MODEL, "messages": [{"role": "user", "content": "x"}], "input": "x"});
    for name in NAMES {
        for path in [
            format!("/v1/audio/{name}"),
            format!("/v1/images/{name}/edits"),
            format!("/lab/vllm/v1/audio/{name}"),
            format!("/{name}/vllm/v1/chat/completions"),
            format!("/lab/{name}/v1/chat/completions"),
            format!("/openai/deployments/{name}/chat/completions"),
            format!("/v1/{name}"),
            format!("/v1/messages/batches/{name}"),
        ] {
            let request = Request::post(&path).bearer(&bearer).json(&body);
            let answer = gateway.call(&request).await;
            // A query is not part of the path, and is dropped.
            let is_plain = path
                .split(['?', '#'])
                .next()
                .is_some_and(|path| path.ends_with("/a"));
            if !is_plain {
                assert_nothing_there(&answer, &path);
            }
        }
        let path = format!("/v1/models/{name}");
        let answer = gateway.call(&Request::get(&path).bearer(&bearer)).await;
        assert!(
            answer.status() >= 400 || name == ".",
            "{path}: {}",
            answer.status()
        );
    }
    for record in backend.records() {
        let path = record.received.path();
        let is_plain = path
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
        assert!(is_plain && !path.contains(".."), "{path}");
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn names_in_bodies_and_headers_stay_what_they_are() {
    let (backend, gateway) = rig().await;
    for name in NAMES
        .iter()
        .copied()
        .chain(["a\r\nX-Evil: 1", "a\0b", "\u{202e}m", "org/m\n"])
    {
        let answer = gateway
            .call(&gateway.request("chat/completions", name, &json!({})))
            .await;
        assert_eq!(answer.status(), 404, "{name}: {}", answer.text());
        assert_eq!(answer.header("x-evil"), None, "{name}");
        assert_eq!(
            answer.error_code().as_deref(),
            Some("model_not_found"),
            "{name}"
        );
    }
    for name in NAMES {
        for header in [
            "X-Request-Id",
            "X-Client-Request-Id",
            "X-Session-ID",
            "User-Agent",
            "traceparent",
        ] {
            let answer = gateway
                .call(&gateway.chat(MODEL).header(header, name))
                .await;
            assert_eq!(answer.status(), 200, "{header}: {name}");
        }
    }
    for record in backend.records() {
        let received = &record.received;
        assert_eq!(received.path(), "/v1/chat/completions");
        assert_eq!(received.request_id().map(str::len), Some(36));
        assert!(received.header("x-evil").is_none());
    }
    gateway.finish(&[&backend]).await;
}

/// A Host that is a path, a query or another's name changes neither the route nor who may use it.
#[tokio::test]
async fn no_host_leads_elsewhere() {
    let (backend, gateway) = rig().await;
    let bearer = gateway.site().secrets.client_bearer();
    for host in [
        "a/health?",
        "a?x=/health",
        "a#/health",
        "user@a",
        "a/../health",
        "a\\health",
        "a b",
        "[::1",
        "a:99999",
        "",
    ] {
        for (target, with_key) in [
            ("/v1/models", false),
            ("/v1/models", true),
            ("/health", false),
        ] {
            let mut request = Request::get(target).without("host").header("Host", host);
            if with_key {
                request = request.bearer(&bearer);
            }
            assert_eq!(gateway.call(&request).await.status(), 400, "{host}{target}");
        }
    }
    for host in [
        "health",
        "localhost",
        "evil.example",
        "%2fhealth",
        "a%3fb",
        "v1.models",
    ] {
        let request = Request::get("/v1/models")
            .without("host")
            .header("Host", host);
        assert_eq!(gateway.call(&request).await.status(), 401, "{host}");
    }
    gateway.finish(&[&backend]).await;
}
