use ostia_core::{ManualClock, Role};

use super::*;

const PATHS: [(&str, &[Role]); 5] = [
    ("/ui/now", &[Role::Admin, Role::Operator, Role::Support]),
    ("/ui/report", &[Role::Admin, Role::Reporter]),
    ("/ui/requests", &[Role::Admin, Role::Support]),
    ("/ui/people", &[Role::Admin, Role::Support]),
    ("/ui/audit", &[Role::Admin]),
];

fn with(role: Role) -> KeyRights {
    KeyRights {
        role: Some(role),
        ..KeyRights::default()
    }
}

/// R99, for every page and role. On the public listener, only from the operators' networks.
#[tokio::test]
async fn each_page_is_for_its_roles_and_nobody_else() {
    let (backend, gateway) = rig("").await;
    let near = Site::new()
        .model("m", &backend)
        .settings(PAGES)
        .settings("[web]\nadmin_networks = [\"127.0.0.1\"]")
        .replica_of(gateway.site());
    let near = TestGateway::start(near).await;
    for role in Role::ALL {
        let name = format!("{}@lab.org", role.as_str());
        let secret = key(&gateway, &name, with(role)).await;
        let mut public = Browser::new(&gateway);
        public.enter(&secret).await;
        let mut admin = Browser::of_admin(&gateway);
        let entered = admin.enter(&secret).await;
        let first = match role {
            Role::Reporter => "/ui/report",
            Role::Registrar => "/ui/models",
            _ => "/ui/now",
        };
        assert_eq!(entered.header("location"), Some(first), "{name}");
        let mut allowed = Browser::new(&near);
        allowed.enter(&secret).await;
        for (path, roles) in PATHS {
            assert_eq!(public.get(path).await.status(), 404, "{name} {path}");
            let wanted = if roles.contains(&role) { 200 } else { 403 };
            assert_eq!(admin.get(path).await.status(), wanted, "{name} {path}");
            assert_eq!(allowed.get(path).await.status(), wanted, "{name} {path}");
        }
    }
    let mut nobody = Browser::of_admin(&gateway);
    for (path, _) in PATHS {
        let answer = nobody.get(path).await;
        assert!(
            answer.header("location").unwrap().starts_with("/ui/login"),
            "{path}"
        );
    }
    let mut named = Browser::of_admin(&gateway);
    "evil.example".clone_into(&mut named.host);
    assert_eq!(named.get("/ui/login").await.status(), 403);
    near.finish(&[]).await;
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn an_operator_drains_and_support_looks_and_disables() {
    let (backend, gateway) = rig("").await;
    let operator = key(&gateway, "op@lab.org", with(Role::Operator)).await;
    let support = key(&gateway, "help@lab.org", with(Role::Support)).await;
    let answer = gateway.call(&gateway.chat("m")).await;
    let row = gateway.row_of(&answer).await;
    let mut one = Browser::of_admin(&gateway);
    one.enter(&operator).await;
    let page = one.get("/ui/now").await.text();
    let slug = &row.endpoint_slug;
    assert!(page.contains(&**slug) && page.contains(">Drain<"), "{page}");
    for (query, words) in [
        ("", "Last 5 minutes"),
        ("?window=1h", "Last hour"),
        ("?window=start", "Since the start"),
        ("?window=%22%3E", "Last 5 minutes"),
    ] {
        let page = one.get(&format!("/ui/now{query}")).await.text();
        let chosen = format!("aria-current=\"true\">{words}<");
        assert!(page.contains(&chosen), "{query}: {page}");
    }
    let drained = one
        .submit("/ui/now", &format!("/ui/now/{slug}/drain"), &[])
        .await;
    assert_eq!(drained.status(), 303);
    assert!(one.get("/ui/now").await.text().contains("Use again"));
    one.submit("/ui/now", &format!("/ui/now/{slug}/undrain"), &[])
        .await;
    let mut two = Browser::of_admin(&gateway);
    two.enter(&support).await;
    let no = two
        .submit("/ui/now", &format!("/ui/now/{slug}/drain"), &[])
        .await;
    assert_eq!(no.status(), 403);
    for query in [
        "",
        "?user=tester%40example.org",
        "?model=m&outcome=ok",
        &format!("?request_id={}", row.request_id),
    ] {
        let found = two.get(&format!("/ui/requests{query}")).await.text();
        assert!(found.contains(&*row.request_id), "{query}: {found}");
    }
    let none = two.get("/ui/requests?user=nobody%40lab.org").await.text();
    assert!(!none.contains(&*row.request_id));
    let story = two
        .get(&format!("/ui/requests/{}", row.request_id))
        .await
        .text();
    for word in [USER, slug, "until the first byte", "Prompt tokens"] {
        assert!(story.contains(word), "{word}: {story}");
    }
    let person = "/ui/people/tester%40example.org";
    assert!(
        two.get(person)
            .await
            .text()
            .contains("Disable this account")
    );
    let out = two
        .submit(person, &format!("{person}/disable"), &[("reason", "left")])
        .await;
    assert_eq!(out.status(), 303);
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 403);
    let audit = desk(&gateway)
        .await
        .audit(&ostia_core::AuditQuery {
            limit: 50,
            ..Default::default()
        })
        .await
        .unwrap();
    let told = |action: &str| audit.iter().find(|row| row.event.action == action).unwrap();
    assert_eq!(told("endpoint.drain").event.actor, "op@lab.org");
    let disabled = &told("user.disable").event;
    assert_eq!(
        (&*disabled.actor, &*disabled.role, &*disabled.reason),
        ("help@lab.org", "support", "left")
    );
    for action in ["requests.find", "requests.look", "user.look"] {
        assert_eq!(told(action).event.actor, "help@lab.org");
    }
    let verified = desk(&gateway).await.verify_audit().await.unwrap();
    assert!(matches!(verified, ostia::people::Chain::Whole(_)));
    gateway.finish(&[&backend]).await;
}

/// Whatever a page shows is also in the admin API, for the same roles.
#[tokio::test]
async fn requests_are_found_by_the_admin_api() {
    let (backend, gateway) = rig("").await;
    let support = key(&gateway, "help@lab.org", with(Role::Support)).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let answer = gateway.call(&gateway.chat("m")).await;
        ids.push(gateway.row_of(&answer).await.request_id);
    }
    let ask = async |path: &str| {
        let mut client = ostia_testkit::client::RawClient::connect(gateway.admin_address()).await;
        client.call(&Request::get(path).bearer(&support)).await
    };
    let first = ask("/admin/requests?limit=2&user=tester@example.org")
        .await
        .json();
    let of = |page: &Value| -> Vec<String> {
        let rows = page["data"].as_array().unwrap().iter();
        rows.map(|row| row["request_id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(of(&first), [&*ids[2], &*ids[1]]);
    let next = first["next"].as_str().unwrap();
    let second = ask(&format!("/admin/requests?limit=2&before={next}"))
        .await
        .json();
    assert_eq!(of(&second), [&*ids[0]]);
    for bad in [
        "outcome=fine",
        "request_id=x",
        "limit=0",
        "since=soon",
        "colour=red",
        "before=1",
    ] {
        assert_eq!(
            ask(&format!("/admin/requests?{bad}")).await.status(),
            400,
            "{bad}"
        );
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn the_pages_of_operators_want_a_fresh_sign_in() {
    let clock = Arc::new(ManualClock::at(SystemClock.unix_micros()));
    let backend = FakeBackend::start().await;
    let site = Site::new()
        .model("m", &backend)
        .settings(PAGES)
        .settings("[web]\nadmin_networks = [\"127.0.0.1\"]\nadmin_session_ttl = \"30m\"");
    let gateway = TestGateway::start_at(site, Arc::clone(&clock) as _).await;
    let secret = key(&gateway, "op@lab.org", with(Role::Operator)).await;
    let mut browser = Browser::new(&gateway);
    browser.enter(&secret).await;
    assert_eq!(browser.get("/ui/now").await.status(), 200);
    clock.advance(Duration::from_secs(31 * 60));
    assert_eq!(browser.get("/ui/now").await.status(), 403);
    assert_eq!(browser.get("/ui/keys").await.status(), 200);
    gateway.finish(&[&backend]).await;
}
