use super::browser::{form, token};
use super::*;

/// R97: the content of every field is shown as text.
#[tokio::test]
async fn markup_is_text_in_every_field() {
    const EVIL: &str = "<img src=x onerror=alert(1)></script>'\"{{7*7}}";
    let (idp, backend) = (FakeIdp::start().await, FakeBackend::start().await);
    let site = oidc_site(&idp, &backend)
        .endpoint(
            Endpoint::of(&format!("m/{EVIL}"), &backend)
                .config("display_name", json!(EVIL))
                .config("access_hint", json!(EVIL)),
        )
        .endpoint(
            Endpoint::of("closed", &backend)
                .field("allowed_domains", json!(["other.org"]))
                .config("access_hint", json!(EVIL)),
        )
        .settings(&format!(
            "[web]\ncontact = '''{EVIL}'''\n[maintenance]\nlab = '''{EVIL}'''\n[roles]\noperator = [\"user:ann@lab.org\"]\nsupport = [\"user:ann@lab.org\"]\nreporter = [\"user:ann@lab.org\"]"
        ))
        .settings("[web]\nadmin_networks = [\"127.0.0.0/8\"]");
    let gateway = TestGateway::start(site).await;
    let mut who = ann();
    who["name"] = EVIL.into();
    who["groups"] = json!([EVIL]);
    idp.signs_in(&who);
    let mut browser = Browser::new(&gateway);
    assert_eq!(browser.enter_by(&idp).await.status(), 303);
    let made = browser
        .submit(
            "/ui/keys",
            "/ui/keys",
            &[
                ("label", EVIL),
                ("days", "7"),
                ("model", &format!("m/{EVIL}")),
            ],
        )
        .await;
    let mut pages = vec![("the new key".to_owned(), made.text())];
    assert!(pages[0].1.contains("&lt;img"), "{}", pages[0].1);
    let key = super::browser::between(&pages[0].1, "id=\"new-key\">", "<").to_owned();
    let refused = gateway
        .chat(EVIL)
        .without("authorization")
        .header("X-Request-Id", "<b>id</b>")
        .bearer(&key);
    let refused = gateway.call(&refused).await;
    assert_eq!(refused.status(), 404);
    let row = gateway.row_of(&refused).await;
    let query: String = form_urlencoded::byte_serialize(EVIL.as_bytes()).collect();
    for path in [
        "/ui/models".to_owned(),
        "/ui/keys".to_owned(),
        "/ui/usage?by=key".to_owned(),
        "/ui/errors".to_owned(),
        "/ui/start".to_owned(),
        "/ui/try".to_owned(),
        "/ui/status".to_owned(),
        "/ui/now".to_owned(),
        format!("/ui/report?user={query}&by=user"),
        "/ui/requests".to_owned(),
        format!("/ui/requests?user={query}&model={query}&code={query}"),
        format!("/ui/requests/{}", row.request_id),
        format!("/ui/requests/{query}"),
        "/ui/people".to_owned(),
        format!("/ui/people?user={query}"),
        "/ui/people/ann%40lab.org".to_owned(),
        format!("/ui/people/{query}"),
        format!("/ui/nothing/{query}"),
        format!("/ui/login?next={query}"),
    ] {
        let answer = browser.get(&path).await;
        assert!(answer.status() < 500, "{path}: {}", answer.text());
        pages.push((path, answer.text()));
    }
    for (path, page) in &pages {
        for word in ["<img", "</script>'", "onerror=alert(1)>", "<b>id"] {
            assert!(!page.contains(word), "{path}: {page}");
        }
    }
    let has = |path: &str| {
        let found = pages.iter().find(|(one, _)| one == path).unwrap();
        found.1.contains("&lt;img")
    };
    for path in [
        "/ui/models",
        "/ui/keys",
        "/ui/status",
        "/ui/people",
        "/ui/people/ann%40lab.org",
    ] {
        assert!(has(path), "{path} does not show it at all");
    }
    gateway.finish(&[&backend]).await;
}

/// R100, and the same from a name that resolves to this address.
#[tokio::test]
async fn other_sites_change_and_read_nothing() {
    let (backend, gateway) = rig("").await;
    let mut browser = Browser::new(&gateway);
    browser.enter(&gateway.site().secrets.client_bearer()).await;
    let page = browser.get("/ui/keys").await;
    let token = token(&page.text());
    let fields = [("label", "x"), ("days", "7"), ("token", &*token)];
    for (name, value) in [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Origin", "http://127.0.0.1:9999"),
        ("Origin", "http://localhost:9999"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ] {
        let answer = browser
            .send(form("/ui/keys", &fields).header(name, value))
            .await;
        assert_eq!(answer.status(), 403, "{name}: {value}");
    }
    for token in ["", "x", &browser.cookies["ostia"].clone()] {
        let fields = [("label", "x"), ("days", "7"), ("token", token)];
        assert_eq!(
            browser.send(form("/ui/keys", &fields)).await.status(),
            403,
            "{token}"
        );
    }
    let json = Request::post("/ui/keys").json(&json!({"label": "x", "token": token}));
    assert_eq!(browser.send(json).await.status(), 415);
    assert_eq!(desk(&gateway).await.all_keys().await.unwrap().len(), 1);
    // A page whose own name resolves to this address sends that name.
    for host in [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
    ] {
        browser.host = host.to_owned();
        assert_eq!(browser.get("/ui/keys").await.status(), 403, "{host}");
        assert_eq!(browser.get("/ui/login").await.status(), 403, "{host}");
    }
    "127.0.0.1:8000".clone_into(&mut browser.host);
    let good = [("label", "x"), ("days", "7"), ("token", &*token)];
    let own = form("/ui/keys", &good)
        .header("Origin", "http://127.0.0.1:8000")
        .header("Sec-Fetch-Site", "same-origin");
    assert_eq!(browser.send(own).await.status(), 200);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn answers_say_what_browsers_have_to_keep_from_others() {
    let (backend, gateway) = rig("[server]\ncors_origins = [\"https://chat.example\"]").await;
    let mut browser = Browser::new(&gateway);
    browser.enter(&gateway.site().secrets.client_bearer()).await;
    for path in [
        "/ui/keys",
        "/ui/login",
        "/ui/nothing",
        "/ui/assets/style.css",
        "/",
    ] {
        let request = Request::get(path).header("Origin", "https://chat.example");
        let answer = browser.send(request).await;
        let policy = answer.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(
            answer.header("cross-origin-resource-policy"),
            Some("same-origin")
        );
        // Origins that may call the API may not read the pages.
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
        let text = answer.text();
        for word in [" style=", "<style", "onclick", "http://cdn", "<script>"] {
            assert!(!text.contains(word), "{path}: {word}");
        }
    }
    let kept = browser.get("/ui/keys").await;
    assert_eq!(kept.header("cache-control"), Some("no-store"));
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn the_way_on_leads_nowhere_else() {
    let (backend, gateway) = rig("").await;
    let secret = gateway.site().secrets.client_bearer();
    for next in [
        "//evil",
        "https:evil",
        "/\\evil",
        "%2f%2fevil",
        "/v1/models",
        "javascript:alert(1)",
    ] {
        let mut browser = Browser::new(&gateway);
        let fields = [("key", &*secret), ("next", next)];
        let answer = browser.submit("/ui/login", "/ui/login/key", &fields).await;
        assert_eq!(answer.header("location"), Some("/ui/models"), "{next}");
    }
    let mut browser = Browser::new(&gateway);
    let asked = browser.get("/ui/usage?since=7d").await;
    let login = asked.header("location").unwrap().to_owned();
    let page = browser.get(&login).await.text();
    assert!(page.contains("value=\"/ui/usage?since=7d\""), "{page}");
    gateway.finish(&[&backend]).await;
}

/// Without a public URL there are no pages. With one, programs see nothing of them.
#[tokio::test]
async fn where_pages_are_off_nothing_has_changed() {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    let mut browser = Browser::new(&gateway);
    for path in ["/ui", "/ui/login", "/ui/keys", "/login"] {
        let answer = browser.get(path).await;
        assert_eq!(
            (answer.status(), answer.error_code().as_deref()),
            (404, Some("not_found")),
            "{path}"
        );
    }
    assert_eq!(browser.get("/").await.json()["name"], "ostia");
    gateway.finish(&[&backend]).await;
    let (backend, gateway) = rig("").await;
    let home = gateway.call(&Request::get("/")).await;
    assert_eq!(home.json()["name"], "ostia");
    for path in ["/resource_server/ui/login", "/resource_server/ui"] {
        let answer = Browser::new(&gateway).get(path).await;
        assert!(answer.status() < 400, "{path}");
        if let Some(to) = answer.header("location") {
            assert!(to.starts_with("/resource_server/ui/"), "{to}");
        }
    }
    gateway.finish(&[&backend]).await;
}
