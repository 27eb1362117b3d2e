//! API keys from their first second to their last (R24, R27), and what they give access to (R28, R34).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use ostia::identify::{ApiKeys, Authenticator as _, hash_key};
use ostia_core::{Change, KeyRights, ManualClock, NewApiKey, Role, Store};
use ostia_testkit::client::RawClient;
use ostia_testkit::gateway::gauges;

use super::*;
use crate::store_faults::run;

const NOON: i64 = 1_800_000_000_000_000;

async fn rig() -> (Arc<dyn Store>, Arc<ManualClock>, FakeBackend, TestGateway) {
    let (backend, clock) = (FakeBackend::start().await, Arc::new(ManualClock::at(NOON)));
    let site = Site::new().model("m", &backend);
    let gateway = TestGateway::start_at(site, Arc::clone(&clock) as _).await;
    let url = format!("sqlite://{}", gateway.site().database_path().display());
    let store = ostia_store::open(&url).await.unwrap();
    (store, clock, backend, gateway)
}

/// A key of `ann@lab.org`. Its id is its last word.
fn key(id: &str, expires_at: Option<i64>, admin: bool) -> NewApiKey {
    NewApiKey {
        id: id.to_owned(),
        hash: hash_key(&bearer(id)),
        username: "ann@lab.org".to_owned(),
        groups: vec!["g1".to_owned()],
        label: "laptop".to_owned(),
        rights: KeyRights {
            role: admin.then_some(Role::Admin),
            ..KeyRights::default()
        },
        created_at: NOON,
        expires_at,
        ..NewApiKey::default()
    }
}

fn bearer(id: &str) -> String {
    format!("sk-ostia-{id}")
}

async fn outcome(gateway: &TestGateway, id: &str) -> (u16, String) {
    let answer = gateway.call(&whoami(&bearer(id))).await;
    match answer.status() {
        200 => (200, answer.json()["name"].as_str().unwrap().to_owned()),
        _ => refusal(&answer),
    }
}

#[tokio::test]
async fn the_last_use_of_a_key_is_written_down_at_the_end() {
    let (store, _, backend, gateway) = rig().await;
    store.create_key(&key("used", None, false)).await.unwrap();
    assert_eq!(outcome(&gateway, "used").await.0, 200);
    let (_, _site) = gateway.finish_keeping(&[&backend]).await;
    let keys = store.list_keys().await.unwrap();
    let used = keys.iter().find(|key| &*key.id == "used").unwrap();
    assert_eq!(used.last_used_at, Some(NOON));
}

/// What the store did not accept is sent again with the next call.
#[tokio::test]
async fn the_last_use_of_a_key_outlasts_an_outage() {
    let (store, clock, backend, gateway) = rig().await;
    store.create_key(&key("used", None, false)).await.unwrap();
    let api_keys = ApiKeys::new(Arc::clone(&store), clock);
    api_keys.verify(&bearer("used")).await.unwrap();
    let database = gateway.site().database_path();
    run(&database, "ALTER TABLE api_keys RENAME TO away").await;
    api_keys.flush_last_used().await.unwrap_err();
    run(&database, "ALTER TABLE away RENAME TO api_keys").await;
    api_keys.flush_last_used().await.unwrap();
    let keys = store.list_keys().await.unwrap();
    let used = keys.iter().find(|key| &*key.id == "used").unwrap();
    assert_eq!(used.last_used_at, Some(NOON));
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_key_ends_at_its_second() {
    let (store, clock, backend, gateway) = rig().await;
    let end = NOON + 30_000_000;
    store
        .create_key(&key("ends", Some(end), false))
        .await
        .unwrap();
    clock.advance(Duration::from_micros(29_999_999));
    assert_eq!(outcome(&gateway, "ends").await, (200, "laptop".to_owned()));
    clock.advance(Duration::from_micros(1));
    let expired = (401, "token_expired".to_owned());
    assert_eq!(outcome(&gateway, "ends").await, expired);
    // Without any cache, and with the wall clock set back: the wall clock counts.
    clock.advance(Duration::from_secs(100));
    assert_eq!(outcome(&gateway, "ends").await, expired);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_revoked_key_is_refused_within_a_second() {
    let (store, clock, backend, gateway) = rig().await;
    let invalid = (401, "invalid_api_key".to_owned());
    // The second one is revoked by a machine whose clock is an hour ahead.
    for (id, revoked_at) in [("one", NOON), ("two", NOON + 3_600_000_000)] {
        store.create_key(&key(id, None, false)).await.unwrap();
        assert_eq!(outcome(&gateway, id).await.0, 200);
        let id_of = id.to_owned();
        let revoke = Change::RevokeKey {
            id: id_of,
            at: revoked_at,
        };
        assert_eq!(store.people().change(&[revoke], &[]).await.unwrap(), [1]);
        clock.advance(Duration::from_secs(1));
        assert_eq!(outcome(&gateway, id).await, invalid, "{id}");
    }
    // A rotation: both keys are valid until the old one ends.
    store.create_key(&key("old", None, false)).await.unwrap();
    store.create_key(&key("new", None, false)).await.unwrap();
    let end = ostia_core::Clock::unix_micros(&*clock) + 60_000_000;
    let ending = Change::EndKey {
        id: "old".to_owned(),
        at: end,
    };
    assert_eq!(store.people().change(&[ending], &[]).await.unwrap(), [1]);
    for _ in 0..2 {
        assert_eq!(outcome(&gateway, "old").await.0, 200);
        assert_eq!(outcome(&gateway, "new").await.0, 200);
        clock.advance(Duration::from_micros(29_999_999));
    }
    clock.advance(Duration::from_micros(2));
    assert_eq!(
        outcome(&gateway, "old").await,
        (401, "token_expired".to_owned())
    );
    assert_eq!(outcome(&gateway, "new").await.0, 200);
    gateway.finish(&[&backend]).await;
}

/// R28: what callers claim about themselves besides the credential is ignored, and not passed on.
#[tokio::test]
async fn nobody_becomes_another_by_headers() {
    let (store, _, backend, gateway) = rig().await;
    store.create_key(&key("ann", None, false)).await.unwrap();
    let names = [
        "X-User-Id",
        "X-Forwarded-User",
        "X-Remote-User",
        "Remote-User",
        "X-Auth-Request-Email",
        "X-Groups",
        "Cookie",
    ];
    let mut request = whoami(&bearer("ann"));
    let mut chat = gateway
        .chat("m")
        .without("authorization")
        .bearer(&bearer("ann"));
    for name in names {
        request = request.header(name, "root@evil.org");
        chat = chat.header(name, "root@evil.org");
    }
    let me = gateway.call(&request).await.json();
    assert_eq!(
        (&me["username"], &me["user_group_uuids"]),
        (&json!("ann@lab.org"), &json!(["g1"]))
    );
    assert_eq!(gateway.call(&chat).await.status(), 200);
    let record = &backend.records()[0];
    let head = String::from_utf8_lossy(&record.received.head.raw).into_owned();
    assert!(!head.contains("evil"), "{head}");
    gateway.finish(&[&backend]).await;
}

async fn admin(gateway: &TestGateway, request: Request) -> Answer {
    let mut client = RawClient::connect(gateway.admin_address()).await;
    let answer = client.call(&request).await;
    gateway.note(&answer);
    answer
}

/// R24, R28, R34: only administrators can clear the cache, at once; the public side has no such route.
#[tokio::test]
async fn a_purge_is_for_administrators() {
    let (idp, backend, gateway) = oidc_rig().await;
    idp.introspected("ann", active("ann", &[]));
    assert_eq!(gateway.call(&whoami("ann")).await.status(), 200);
    idp.revoke_all();
    let purge = || Request::post("/admin/purge");
    let key = gateway.site().secrets.client_bearer();
    for (request, expected) in [
        (purge(), 401),
        (purge().bearer("sk-ostia-guess"), 401),
        (purge().bearer(&key), 403),
        (purge().bearer("ann"), 403),
        (Request::get("/admin/purge").bearer(&key), 405),
        (Request::post("/admin/nothing").bearer(&key), 404),
    ] {
        assert_eq!(admin(&gateway, request).await.status(), expected);
    }
    // The cache was not cleared.
    assert_eq!(gateway.call(&whoami("ann")).await.status(), 200);
    let public = gateway.call(&purge().bearer(&key)).await;
    assert_eq!(public.status(), 404);

    let url = format!("sqlite://{}", gateway.site().database_path().display());
    let store = ostia_store::open(&url).await.unwrap();
    store.create_key(&key_of_admin()).await.unwrap();
    let done = admin(&gateway, purge().bearer(&bearer("root"))).await;
    assert_eq!((done.status(), done.json()), (200, json!({"status": "ok"})));
    assert_eq!(
        refusal(&gateway.call(&whoami("ann")).await),
        (401, "invalid_api_key".to_owned())
    );
    gateway.finish(&[&backend]).await;
}

fn key_of_admin() -> NewApiKey {
    key("root", None, true)
}

/// R22 over the wire: two users whose tokens begin alike, on many connections at once.
#[tokio::test]
async fn tokens_that_begin_alike_are_not_mixed_up() {
    let (idp, backend, gateway) = oidc_rig().await;
    let prefix = "x".repeat(500);
    let tokens = [format!("{prefix}a"), format!("{prefix}b")];
    idp.introspected(&tokens[0], active("ann", &[]));
    idp.introspected(&tokens[1], active("bob", &[]));
    let asking = (0..8).map(|_| async {
        let mut client = gateway.client().await;
        for turn in 0..50 {
            let answer = client.call(&whoami(&tokens[turn % 2])).await;
            let expected = ["ann@lab.org", "bob@lab.org"][turn % 2];
            assert_eq!(answer.json()["username"], expected);
        }
    });
    join_all(asking).await;
    assert_eq!(idp.calls_to("/introspect"), 2);
    assert_eq!(
        gateway.call(&whoami(&format!("{prefix}c"))).await.status(),
        401
    );
    gateway.finish(&[&backend]).await;
}

/// Each user's prompts reach the backend under that user's name, and only the user's own answers come back (a small
/// R36).
#[tokio::test]
async fn users_are_not_mixed_up() {
    let (idp, backend, gateway) = oidc_rig().await;
    let users: Vec<String> = (0..40).map(|n| format!("user{n}")).collect();
    for user in &users {
        idp.introspected(user, active(user, &[]));
    }
    let asking = users.iter().map(|user| {
        let gateway = &gateway;
        async move {
            let mut client = gateway.client().await;
            for turn in 0..5 {
                let body = json!({"model": "m", "max_tokens": 4, "user": user, "stream": turn % 2 == 0,
                    "messages": [{"role": "user", "content": format!("marker-of-{user}.")}]});
                let chat = Request::post("/v1/chat/completions").bearer(user).json(&body);
                let answer = client.call(&chat).await;
                assert_eq!(answer.status(), 200, "{}", answer.text());
                let me = client.call(&whoami(user)).await;
                assert_eq!(me.json()["username"], format!("{user}@lab.org"));
            }
        }
    });
    join_all(asking).await;
    let mut said = std::collections::BTreeMap::new();
    for record in backend.records() {
        let id = record
            .received
            .head
            .fields
            .first("x-request-id")
            .unwrap_or_default()
            .to_owned();
        said.insert(
            id,
            String::from_utf8_lossy(&record.received.body).into_owned(),
        );
    }
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!((rows.len(), said.len()), (200, 200));
    for row in rows {
        let name = row.username.strip_suffix("@lab.org").unwrap();
        let body = &said[&row.request_id];
        assert!(
            body.contains(&format!("marker-of-{name}.")),
            "{name}: {body}"
        );
    }
}

/// R25: a thousand bad keys are all counted, and log events show at most eight digits of a key's hash.
#[tokio::test]
async fn failures_are_counted_and_told_in_measure() {
    let (_, _, backend, gateway) = rig().await;
    let mut client = gateway.client().await;
    for n in 0..1_000 {
        let request = whoami(&bearer(&format!("guess{n}"))).header("x-forwarded-for", "192.0.2.7");
        assert_eq!(client.call(&request).await.status(), 401);
    }
    let metrics = gauges::scrape(gateway.admin_address()).await;
    assert!(
        metrics.contains("ostia_sign_ins_failed_total{reason=\"invalid_api_key\"} 1000\n"),
        "{metrics}"
    );
    gateway.finish(&[&backend]).await;
}
