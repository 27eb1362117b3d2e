//! The ledger's sums over HTTP: callers see their own, administrators see all, and each row counts once.

use std::collections::BTreeSet;

use ostia::identify::hash_key;
use ostia_core::{KeyRights, NewApiKey, Role};
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{Answer, RawClient, Request};
use ostia_testkit::gateway::{Site, TestGateway, USER};
use serde_json::{Value, json};

async fn admin(gateway: &TestGateway, key: &str, path: &str) -> Answer {
    let mut client = RawClient::connect(gateway.admin_address()).await;
    client.call(&Request::get(path).bearer(key)).await
}

async fn admin_key(gateway: &TestGateway) -> String {
    let key = "sk-ostia-of-an-administrator-0123456789012345".to_owned();
    let store = ostia_store::open(&gateway.site().database_url())
        .await
        .unwrap();
    let new = NewApiKey {
        id: "admin".to_owned(),
        hash: hash_key(&key),
        username: "root@example.org".to_owned(),
        rights: KeyRights {
            role: Some(Role::Admin),
            ..KeyRights::default()
        },
        ..NewApiKey::default()
    };
    store.create_key(&new).await.unwrap();
    key
}

fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer.json()["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn callers_read_their_own_usage_and_administrators_all() {
    let backend = FakeBackend::start().await;
    backend.otherwise(Script::completion().prompt_tokens(11, 4));
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    let ann = gateway.key_for("ann@example.org", &[]).await;
    let by_ann = gateway.chat("m").without("authorization").bearer(&ann);
    for _ in 0..3 {
        let answer = gateway.call(&by_ann).await;
        gateway.row_of(&answer).await;
    }
    let answer = gateway.call(&gateway.chat("m")).await;
    gateway.row_of(&answer).await;

    let own = gateway.call(&Request::get("/v1/usage").bearer(&ann)).await;
    let expected = json!({
        "model": "m", "requests": 3, "ok": 3, "refused": 0, "failed": 0, "prompt_tokens": 33, "completion_tokens": 9,
        "total_tokens": 42,
    });
    assert_eq!(lines(&own), [expected]);
    assert_eq!(own.json()["timezone"], "UTC");
    let by_key = Request::get("/v1/usage?since=12h&by=user,key,day").bearer(&ann);
    let by_key = lines(&gateway.call(&by_key).await);
    assert_eq!(
        (&by_key[0]["user"], &by_key[0]["key"]),
        (&json!("ann@example.org"), &json!("key-of-ann@example.org"))
    );
    for wrong in [
        "?user=tester@example.org",
        "?by=colour",
        "?since=yesterday",
        "?since=2026-01-31x",
    ] {
        let refused = Request::get(&format!("/v1/usage{wrong}")).bearer(&ann);
        let refused = gateway.call(&refused).await;
        assert_eq!(
            (refused.status(), refused.error_code().as_deref()),
            (400, Some("invalid_value")),
            "{wrong}"
        );
    }

    let root = admin_key(&gateway).await;
    let all = lines(&admin(&gateway, &root, "/admin/usage?by=user").await);
    let users: Vec<_> = all
        .iter()
        .map(|line| {
            (
                line["user"].as_str().unwrap(),
                line["requests"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(users, [("ann@example.org", 3), (USER, 1)]);
    let one = lines(
        &admin(
            &gateway,
            &root,
            &format!("/admin/usage?by=outcome&user={USER}"),
        )
        .await,
    );
    assert_eq!((one.len(), &one[0]["requests"]), (1, &json!(1)));
    for path in ["/admin/usage", "/admin/usage/rows"] {
        assert_eq!(admin(&gateway, &ann, path).await.status(), 403, "{path}");
    }
    pages(&gateway, &root).await;
    gateway.finish(&[&backend]).await;
}

/// Rows come page by page, each once.
async fn pages(gateway: &TestGateway, root: &str) {
    let (mut ids, mut after) = (BTreeSet::new(), String::new());
    loop {
        let page = admin(gateway, root, &format!("/admin/usage/rows?limit=2{after}")).await;
        for row in lines(&page) {
            assert_eq!(row["outcome"], "ok");
            assert!(ids.insert(row["request_id"].as_str().unwrap().to_owned()));
        }
        let body = page.json();
        match body["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(ids.len(), 4);
    for wrong in ["limit=0", "limit=1001", "after=x", "page=2"] {
        let refused = admin(gateway, root, &format!("/admin/usage/rows?{wrong}")).await;
        assert_eq!(refused.status(), 400, "{wrong}");
    }
}
