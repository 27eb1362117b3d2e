use super::browser::between;
use super::*;

#[tokio::test]
async fn keys_are_made_rotated_and_revoked_and_the_audit_knows() {
    let (idp, backend, gateway) = oidc_rig("").await;
    idp.signs_in(&ann());
    let mut browser = Browser::new(&gateway);
    browser.enter_by(&idp).await;
    let fields = [
        ("label", "cluster job"),
        ("days", "7"),
        ("model", "m"),
        ("addresses", "127.0.0.1 10.0.0.0/8"),
        ("batch", "yes"),
    ];
    let made = browser.submit("/ui/keys", "/ui/keys", &fields).await.text();
    let first = between(&made, "id=\"new-key\">", "<").to_owned();
    let page = browser.get("/ui/keys").await.text();
    assert!(!page.contains(&first), "a key is shown once");
    assert!(page.contains("cluster job") && page.contains("from 127.0.0.1/32, 10.0.0.0/8"));
    let id = between(&page, "/ui/keys/", "/rotate").replace("%5F", "_");
    let rotated = browser
        .submit("/ui/keys", &format!("/ui/keys/{id}/rotate"), &[])
        .await
        .text();
    let second = between(&rotated, "id=\"new-key\">", "<").to_owned();
    assert_ne!(first, second);
    let call = async |key: &str| {
        let request = gateway.chat("m").without("authorization").bearer(key);
        gateway.call(&request).await.status()
    };
    assert_eq!((call(&first).await, call(&second).await), (200, 200));
    let revoked = browser
        .submit("/ui/keys", &format!("/ui/keys/{id}/revoke"), &[])
        .await;
    assert_eq!(revoked.status(), 303);
    let key = desk(&gateway).await.key(&id).await.unwrap();
    assert!(key.revoked_at.is_some());
    let events = desk(&gateway)
        .await
        .audit(&ostia_core::AuditQuery {
            limit: 100,
            ..Default::default()
        })
        .await
        .unwrap();
    let told: Vec<_> = events
        .iter()
        .map(|row| (&*row.event.action, &*row.event.actor))
        .collect();
    for action in ["key.create", "key.rotate", "key.revoke", "user.link"] {
        assert!(told.contains(&(action, "ann@lab.org")), "{told:?}");
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn nobody_touches_the_keys_of_others() {
    let (idp, backend, gateway) = oidc_rig("").await;
    key(&gateway, "root@lab.org", KeyRights::default()).await;
    let all = desk(&gateway).await.all_keys().await.unwrap();
    let theirs = all
        .iter()
        .find(|key| &*key.username == "root@lab.org")
        .unwrap();
    // The provider lets people choose their username, and vouches for a different address.
    let mut eve = ann();
    eve["sub"] = "666".into();
    eve["preferred_username"] = "root@lab.org".into();
    eve["email"] = "eve@lab.org".into();
    eve["email_verified"] = true.into();
    idp.signs_in(&eve);
    let mut browser = Browser::new(&gateway);
    assert_eq!(browser.enter_by(&idp).await.status(), 303);
    assert!(!browser.get("/ui/keys").await.text().contains(&*theirs.id));
    for what in ["rotate", "revoke"] {
        let path = format!("/ui/keys/{}/{what}", theirs.id);
        let answer = browser.submit("/ui/keys", &path, &[]).await;
        assert_eq!(answer.status(), 404, "{what}");
    }
    // Her key gets a name that nobody else can have.
    let fields = [("label", "mine"), ("days", "7")];
    let made = browser.submit("/ui/keys", "/ui/keys", &fields).await;
    assert_eq!(made.status(), 200, "{}", made.text());
    let all = desk(&gateway).await.all_keys().await.unwrap();
    let mine = all.iter().find(|key| &*key.label == "mine").unwrap();
    assert_eq!(&*mine.username, "eve@lab.org");
    assert!(browser.get("/ui/keys").await.text().contains(&*mine.id));
    let mut bob = ann();
    bob["sub"] = "2".into();
    bob["preferred_username"] = "bob@lab.org".into();
    bob["email"] = "bob@lab.org".into();
    idp.signs_in(&bob);
    let mut browser = Browser::new(&gateway);
    browser.enter_by(&idp).await;
    let path = format!("/ui/keys/{}/revoke", theirs.id);
    assert_eq!(browser.submit("/ui/keys", &path, &[]).await.status(), 404);
    assert!(!browser.get("/ui/keys").await.text().contains(&*theirs.id));
    gateway.finish(&[&backend]).await;
}

/// Whoever finds a key cannot use it to make one with more rights or a longer life.
#[tokio::test]
async fn a_key_makes_no_wider_key() {
    let (backend, gateway) = rig("").await;
    let rights = KeyRights {
        models: vec!["m".to_owned()],
        addresses: vec!["127.0.0.1/32".to_owned()],
        batch: true,
        ..KeyRights::default()
    };
    let narrow = key(&gateway, "ann@lab.org", rights).await;
    let mut browser = Browser::new(&gateway);
    browser.enter(&narrow).await;
    let fields = [
        ("label", "wide"),
        ("days", "90"),
        ("addresses", "0.0.0.0/0"),
    ];
    let made = browser.submit("/ui/keys", "/ui/keys", &fields).await;
    assert_eq!(made.status(), 200, "{}", made.text());
    let all = desk(&gateway).await.keys_of("ann@lab.org").await.unwrap();
    let (old, new) = (
        all.iter().find(|key| &*key.label == "one").unwrap(),
        all.iter().find(|key| &*key.label == "wide").unwrap(),
    );
    assert_eq!(new.rights, old.rights);
    assert!(new.expires_at <= old.expires_at);
    let path = format!("/ui/keys/{}/rotate", new.id);
    assert_eq!(browser.submit("/ui/keys", &path, &[]).await.status(), 403);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn terms_stand_before_the_first_key() {
    let backend = FakeBackend::start().await;
    let site = Site::new().model("m", &backend).settings(PAGES);
    std::fs::write(
        site.folder().join("terms.txt"),
        "Be kind.\n\n<b>Always</b>.",
    )
    .unwrap();
    let site = site.settings("[web]\nterms = { file = \"terms.txt\", version = \"2\" }");
    let gateway = TestGateway::start(site).await;
    let mut browser = Browser::new(&gateway);
    browser.enter(&gateway.site().secrets.client_bearer()).await;
    let terms = browser.get("/ui/terms").await.text();
    assert!(
        terms.contains("Be kind.") && terms.contains("&lt;b&gt;Always"),
        "{terms}"
    );
    let fields = [("label", "x"), ("days", "7")];
    let made = browser.submit("/ui/models", "/ui/keys", &fields).await;
    assert_eq!(made.header("location"), Some("/ui/terms"));
    let other = browser
        .submit("/ui/terms", "/ui/terms", &[("version", "1")])
        .await;
    assert_eq!(other.header("location"), Some("/ui/terms"));
    let accepted = browser
        .submit("/ui/terms", "/ui/terms", &[("version", "2")])
        .await;
    assert_eq!(accepted.header("location"), Some("/ui/keys"));
    let made = browser.submit("/ui/keys", "/ui/keys", &fields).await;
    assert!(made.text().contains("id=\"new-key\""), "{}", made.text());
    gateway.finish(&[&backend]).await;
}

/// R99: a page shows what the ledger says, about oneself only.
#[tokio::test]
async fn usage_is_the_ledger_s_and_one_s_own() {
    let (backend, gateway) = rig("").await;
    let other = key(&gateway, "bob@lab.org", KeyRights::default()).await;
    for _ in 0..3 {
        gateway.call(&gateway.chat("m")).await;
    }
    let theirs = gateway
        .call(&gateway.chat("m").without("authorization").bearer(&other))
        .await;
    gateway.row_of(&theirs).await;
    let refused = gateway.call(&gateway.chat("=nothing")).await;
    gateway.row_of(&refused).await;
    let rows = gateway.rows().await;
    let tokens: u64 = rows
        .iter()
        .filter(|row| row.username == USER)
        .map(|row| row.total_tokens)
        .sum();
    let mut browser = Browser::new(&gateway);
    browser.enter(&gateway.site().secrets.client_bearer()).await;
    let csv = browser.get("/ui/usage.csv?by=model").await;
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    let text = csv.text();
    let line = text.lines().find(|line| line.starts_with("m,")).unwrap();
    assert!(
        line.starts_with("m,3,3,0,0,") && line.ends_with(&format!(",{tokens}")),
        "{text}"
    );
    let page = browser.get("/ui/usage?by=model").await.text();
    assert!(
        page.contains(">3</td>") && page.contains("<svg class=\"chart\""),
        "{page}"
    );
    let errors = browser.get("/ui/errors").await.text();
    let id = refused.header("x-request-id").unwrap();
    assert!(
        errors.contains(id) && errors.contains("model_not_found"),
        "{errors}"
    );
    assert!(!errors.contains(theirs.header("x-request-id").unwrap()));
    for path in [
        "/ui/now",
        "/ui/report",
        "/ui/requests",
        "/ui/people",
        "/ui/audit",
    ] {
        assert_eq!(browser.get(path).await.status(), 404, "{path}");
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_project_s_managers_look_after_its_members() {
    let (backend, gateway) = rig("").await;
    let desk = desk(&gateway).await;
    let record = ostia::people::ProjectRecord {
        managers: Some(vec![USER.to_owned()]),
        members: Some(vec!["bob@lab.org".to_owned()]),
        ..Default::default()
    };
    desk.create_project("fusion", &record).await.unwrap();
    desk.create_project("other", &ostia::people::ProjectRecord::default())
        .await
        .unwrap();
    gateway.gateway().directory().look().await.unwrap();
    let mut browser = Browser::new(&gateway);
    browser.enter(&gateway.site().secrets.client_bearer()).await;
    let page = browser.get("/ui/projects/fusion").await.text();
    assert!(page.contains("bob@lab.org"), "{page}");
    let added = browser
        .submit(
            "/ui/projects/fusion",
            "/ui/projects/fusion/add",
            &[("member", "eve@lab.org")],
        )
        .await;
    assert_eq!(added.header("location"), Some("/ui/projects/fusion"));
    let removed = browser
        .submit(
            "/ui/projects/fusion",
            "/ui/projects/fusion/remove",
            &[("member", "bob@lab.org")],
        )
        .await;
    assert_eq!(removed.status(), 303);
    assert_eq!(
        desk.project("fusion").await.unwrap().members,
        ["eve@lab.org"]
    );
    for path in ["/ui/projects/other", "/ui/projects/none"] {
        assert_eq!(browser.get(path).await.status(), 404);
    }
    let no = browser
        .submit(
            "/ui/keys",
            "/ui/projects/other/add",
            &[("member", "x@y.org")],
        )
        .await;
    assert_eq!(no.status(), 404);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn the_status_is_public_where_the_site_says_so() {
    for (settings, is_public) in [("", false), ("[web]\npublic_status = true", true)] {
        let backend = FakeBackend::start().await;
        let site = Site::new()
            .model("m", &backend)
            .endpoint(
                Endpoint::of("secret", &backend).field("allowed_domains", json!(["other.org"])),
            )
            .settings(PAGES)
            .settings(settings);
        let gateway = TestGateway::start(site).await;
        let answer = Browser::new(&gateway).get("/ui/status").await;
        assert_eq!(answer.status() == 200, is_public);
        if is_public {
            let text = answer.text();
            assert!(
                text.contains("<code>m</code>") && !text.contains("secret"),
                "{text}"
            );
        }
        gateway.finish(&[&backend]).await;
    }
}
