//! Open WebUI with two users behind one key, by the headers that its source writes
//! (`backend/open_webui/utils/headers.py` and `routers/openai.py`).

use std::sync::Arc;
use std::time::Duration;

use ostia::people::{Actor, Desk, KeyRequest};
use ostia::settings::Keys;
use ostia_core::KeyRights;

use super::*;

/// One of Open WebUI's users, by its own id.
struct User {
    id: &'static str,
    name: &'static str,
    email: &'static str,
    role: &'static str,
}

const ANN: User = User {
    id: "7f7c1d9e-06f2-4f5e-9a50-0f3a1c7e2b11",
    name: "Ann Müller",
    email: "ann@lab.org",
    role: "user",
};
const BOB: User = User {
    id: "0b52f0f3-90a4-4d0b-8a44-7d0a5d2a4c22",
    name: "Bob",
    email: "Bob@Lab.org",
    role: "admin",
};

const HEAD: &str = r#"{"alg": "HS256", "typ": "JWT"}"#;

/// What it signs where `FORWARD_USER_INFO_HEADER_JWT_SECRET` is set: 300 seconds, no audience, no id.
fn claims(user: &User) -> Value {
    json!({
        "sub": user.id, "email": user.email, "name": user.name, "role": user.role, "iss": "open-webui",
        "iat": now(), "exp": now() + 300,
    })
}

fn jwt(key: &str, claims: &Value) -> String {
    signed(key, &serde_json::from_str(HEAD).unwrap(), claims)
}

/// A chat as its backend sends one, before it says for whom.
fn chat(gateway: &TestGateway, key: &str, stream: bool) -> Request {
    let more = json!({
        "stream": stream, "metadata": {"chat_id": "c-1", "variables": {"{{USER_NAME}}": "Ann"}}, "features": {},
    });
    let request = gateway.request("chat/completions", "m", &more);
    request
        .without("authorization")
        .bearer(key)
        .header("X-OpenWebUI-Chat-Id", "c-1")
        .header("X-OpenWebUI-Message-Id", "m-1")
}

/// The same by `ENABLE_FORWARD_USER_INFO_HEADERS` alone.
fn plainly(request: Request, user: &User) -> Request {
    request
        .header("X-OpenWebUI-User-Name", "Ann%20M%C3%BCller")
        .header("X-OpenWebUI-User-Id", user.id)
        .header("X-OpenWebUI-User-Email", user.email)
        .header("X-OpenWebUI-User-Role", user.role)
}

struct Rig {
    backend: FakeBackend,
    gateway: TestGateway,
    /// Of Open WebUI, bound to its address.
    front: String,
    /// Of another front end, of another domain.
    other: String,
    /// Of somebody who is not a front end.
    plain: String,
    /// Of a front end that may come from anywhere.
    loose: String,
}

async fn rig() -> Rig {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    let store = ostia_store::open(&gateway.site().database_url())
        .await
        .unwrap();
    let day = Duration::from_secs(86_400);
    let keys = Keys {
        default_age: day,
        max_age: day,
        per_user: 0,
        owner_ttl: None,
    };
    let desk = Desk::new(store, Arc::new(SystemClock), keys, Actor::default());
    let make = async |user: &str, domains: &[&str], addresses: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let asked = KeyRequest {
            user: user.to_owned(),
            rights: KeyRights {
                on_behalf_of: owned(domains),
                addresses: owned(addresses),
                ..KeyRights::default()
            },
            ..KeyRequest::default()
        };
        desk.create_key(asked).await.unwrap().key.expose().clone()
    };
    let here = ["127.0.0.1/32"];
    Rig {
        front: make("webui@lab.org", &["lab.org"], &here).await,
        other: make("chat@uni.edu", &["uni.edu"], &here).await,
        plain: make("eve@lab.org", &[], &[]).await,
        loose: make("loose@lab.org", &["lab.org"], &[]).await,
        backend,
        gateway,
    }
}

#[tokio::test]
async fn each_row_is_of_the_user_who_asked() {
    let rig = rig().await;
    let (gateway, key) = (&rig.gateway, &rig.front);
    // Before anybody asks, it lists models for itself and for each of them.
    let list = Request::get("/v1/models").bearer(key);
    assert_eq!(gateway.call(&list).await.status(), 200);
    for round in 0..5 {
        for user in [&ANN, &BOB] {
            let signed = chat(gateway, key, round % 2 == 0)
                .header("X-OpenWebUI-User-Jwt", &jwt(key, &claims(user)));
            let plain = plainly(chat(gateway, key, round % 2 == 1), user);
            for request in [signed, plain] {
                let answer = gateway.call(&request).await;
                assert_eq!(answer.status(), 200, "{}", answer.text());
                let row = gateway.row_of(&answer).await;
                assert_eq!(row.username, user.email.to_lowercase());
            }
        }
    }
    for record in rig.backend.records() {
        let head = String::from_utf8_lossy(&record.received.head.raw).to_lowercase();
        assert!(!head.contains("openwebui"), "{head}");
    }
    let rows = rig.gateway.finish(&[&rig.backend]).await;
    let of = |name: &str| rows.iter().filter(|row| row.username == name).count();
    assert_eq!(
        (rows.len(), of("ann@lab.org"), of("bob@lab.org")),
        (20, 10, 10)
    );
}

#[tokio::test]
async fn no_forged_name_is_accepted() {
    let rig = rig().await;
    let (gateway, key) = (&rig.gateway, &rig.front);
    let changed = |name: &str, value: Value| {
        let mut claims = claims(&ANN);
        claims[name] = value;
        claims
    };
    let head = |alg: &str| json!({"alg": alg, "typ": "JWT"});
    let good = jwt(key, &claims(&ANN));
    let (message, seal) = good.rsplit_once('.').unwrap();
    let bob = jwt("x", &claims(&BOB));
    let forged = [
        jwt("another secret", &claims(&ANN)),
        jwt("", &claims(&ANN)),
        jwt(&rig.other, &claims(&ANN)),
        signed(key, &head("none"), &claims(&ANN)),
        signed(key, &head("HS512"), &claims(&ANN)),
        signed(key, &head("RS256"), &claims(&ANN)),
        format!("{message}."),
        message.to_owned(),
        format!("{}.{seal}", bob.rsplit_once('.').unwrap().0),
        format!("{good}="),
        format!("{good} {good}"),
        jwt(key, &changed("exp", json!(now() - 1))),
        jwt(key, &changed("exp", json!(now() + 3_600))),
        jwt(key, &changed("exp", json!(null))),
        jwt(key, &changed("iat", json!(now() + 600))),
        jwt(key, &changed("email", json!("ann@evil.org"))),
        jwt(key, &changed("email", json!("ann@lab.org@evil.org"))),
        jwt(key, &changed("email", json!("ann@evil.org, ann@lab.org"))),
        jwt(key, &changed("email", json!("ann"))),
        jwt(key, &changed("email", json!("@lab.org"))),
        jwt(key, &changed("email", json!(null))),
        jwt(key, &changed("email", json!(["ann@lab.org"]))),
        jwt(key, &changed("email", json!("ann@lab.org\n"))),
    ];
    for (n, token) in forged.iter().enumerate() {
        let request = chat(gateway, key, false).header("X-OpenWebUI-User-Jwt", token);
        let answer = gateway.call(&request).await;
        assert_eq!(refusal(&answer), (403, "policy_denied".to_owned()), "{n}");
    }
    // A signed name goes before a plain one beside it; two of a kind are nobody's.
    let both = plainly(chat(gateway, key, false), &BOB).header("X-OpenWebUI-User-Jwt", &good);
    let answer = gateway.call(&both).await;
    assert_eq!(gateway.row_of(&answer).await.username, "ann@lab.org");
    let twice = plainly(plainly(chat(gateway, key, false), &ANN), &BOB);
    assert_eq!(gateway.call(&twice).await.status(), 403);
    // A key that may come from anywhere takes no name of this kind, and one that is not a front end's accepts none.
    for request in [
        chat(gateway, &rig.loose, false)
            .header("X-OpenWebUI-User-Jwt", &jwt(&rig.loose, &claims(&ANN))),
        plainly(chat(gateway, &rig.loose, false), &ANN),
    ] {
        assert_eq!(gateway.call(&request).await.status(), 403);
    }
    for request in [
        chat(gateway, &rig.plain, false)
            .header("X-OpenWebUI-User-Jwt", &jwt(&rig.plain, &claims(&ANN))),
        plainly(chat(gateway, &rig.plain, false), &ANN),
    ] {
        let answer = gateway.call(&request).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(gateway.row_of(&answer).await.username, "eve@lab.org");
    }
    let rows = rig.gateway.finish(&[&rig.backend]).await;
    let of_ann = rows.iter().filter(|row| row.username == "ann@lab.org");
    assert_eq!(of_ann.count(), 1);
}
