use ostia_core::{ManualClock, PersonState};
use ostia_testkit::client::RawClient;

use super::browser::{between, cookies_of, form, token};
use super::*;

#[tokio::test]
async fn a_stranger_has_a_key_and_a_first_answer() {
    let (idp, backend, gateway) = oidc_rig("").await;
    idp.signs_in(&ann());
    let mut browser = Browser::new(&gateway);
    let home = browser.get("/").await;
    assert_eq!(
        (home.status(), home.header("location")),
        (303, Some("/ui/login"))
    );
    let page = browser.get("/ui/login").await.text();
    assert!(page.contains("Continue with The Lab") && !page.contains("name=\"key\""));
    let entered = browser.enter_by(&idp).await;
    assert_eq!(
        (entered.status(), entered.header("location")),
        (303, Some("/ui/models")),
        "{}",
        entered.text()
    );
    let models = browser.get("/ui/models").await.text();
    assert!(models.contains("<code>m</code>") && models.contains("ann@lab.org"));
    let made = browser
        .submit(
            "/ui/keys",
            "/ui/keys",
            &[("label", "laptop"), ("days", "7")],
        )
        .await
        .text();
    let key = between(&made, "id=\"new-key\">", "<").to_owned();
    let answer = gateway
        .call(&gateway.chat("m").without("authorization").bearer(&key))
        .await;
    assert_eq!(answer.status(), 200);
    let row = gateway.row_of(&answer).await;
    assert_eq!(row.username, "ann@lab.org");
    // The client sent its secret and its proof to the token endpoint.
    let calls = idp.calls();
    let asked = calls.iter().find(|call| call.path == "/token").unwrap();
    assert!(
        asked
            .authorization
            .as_deref()
            .unwrap()
            .starts_with("Basic ")
    );
    assert_eq!(asked.form.get("code_verifier").unwrap().len(), 43);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn what_userinfo_adds_counts_and_its_failure_keeps_out() {
    let (idp, backend, gateway) = oidc_rig("[auth]\nadmit = [\"group:staff\"]").await;
    idp.signs_in(&ann());
    let mut browser = Browser::new(&gateway);
    let out = browser.enter_by(&idp).await;
    assert_eq!(out.status(), 403);
    assert!(out.text().contains("not admitted"), "{}", out.text());
    let mut more = ann();
    more.as_object_mut().unwrap().remove("groups");
    idp.signs_in(&more);
    idp.userinfo(&json!({"sub": "1", "groups": ["staff"]}));
    assert_eq!(browser.enter_by(&idp).await.status(), 303);
    idp.userinfo(&json!({"sub": "2", "groups": ["staff"]}));
    assert_eq!(Browser::new(&gateway).enter_by(&idp).await.status(), 403);
    gateway.finish(&[&backend]).await;
}

/// R100: state, PKCE and nonce, replayed or exchanged.
#[tokio::test]
async fn an_answer_fits_one_attempt_of_one_browser() {
    let (idp, backend, gateway) = oidc_rig("").await;
    idp.signs_in(&ann());
    let (mut mine, mut other) = (Browser::new(&gateway), Browser::new(&gateway));
    let back = mine.back_from(&idp).await;
    let _ = other.back_from(&idp).await;
    // Somebody else's answer, an answer without a browser, and one with a changed state.
    assert_eq!(other.get(&back).await.status(), 403);
    assert_eq!(Browser::new(&gateway).get(&back).await.status(), 403);
    let (start, _) = back.split_once("&state=").unwrap();
    assert_eq!(mine.get(&format!("{start}&state=x")).await.status(), 403);
    let held = mine.cookies.clone();
    assert_eq!(mine.get(&back).await.status(), 303);
    // A replay fails even with the browser's cookie, because the code is spent.
    let mut replayed = Browser::new(&gateway);
    replayed.cookies = held;
    assert_eq!(replayed.get(&back).await.status(), 403);
    // ID tokens for another attempt, another client, another issuer, another time.
    for wrong in [
        json!({"nonce": "other"}),
        json!({"aud": "other"}),
        json!({"iss": "https://evil.example"}),
        json!({"exp": 1_000}),
        json!({"azp": "other"}),
    ] {
        let mut claims = ann();
        for (name, value) in wrong.as_object().unwrap() {
            claims[name] = value.clone();
        }
        idp.signs_in(&claims);
        let mut browser = Browser::new(&gateway);
        let answer = browser.enter_by(&idp).await;
        assert!(answer.status() >= 401, "{wrong}");
        assert!(!browser.cookies.contains_key("ostia"), "{wrong}");
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn globus_by_the_same_way() {
    let (idp, backend) = (FakeIdp::start().await, FakeBackend::start().await);
    let base = idp.base_url();
    let site = Site::new()
        .model("m", &backend)
        .settings(PAGES)
        .settings(&format!(
            r#"
        [auth]
        providers = ["api_key", "globus"]
        [auth.globus]
        client_id = "{CLIENT_ID}"
        client_secret = "env:IDP_SECRET"
        auth_url = "{base}"
        groups_url = "{base}"
        "#
        ));
    let site = site
        .variable("IDP_SECRET", idp.secret().secret())
        .guard(idp.secret());
    let gateway = TestGateway::start(site).await;
    idp.globus(
        "Agtoken",
        GlobusUser::new("uuid-1", "ann@lab.org").groups(&["g"]),
    );
    idp.globus_gives("Agtoken");
    let mut browser = Browser::new(&gateway);
    assert_eq!(browser.enter_by(&idp).await.status(), 303);
    let page = browser.get("/ui/keys").await.text();
    assert!(page.contains("ann@lab.org"), "{page}");
    idp.globus_gives("Agunknown");
    assert_eq!(Browser::new(&gateway).enter_by(&idp).await.status(), 403);
    gateway.finish(&[&backend]).await;
}

/// R98.
#[tokio::test]
async fn a_session_changes_at_sign_in_and_dies_on_both_sides() {
    let (backend, gateway) = rig("").await;
    let secret = gateway.site().secrets.client_bearer();
    let mut browser = Browser::new(&gateway);
    let entered = browser.enter(&secret).await;
    assert_eq!(entered.status(), 303);
    let set = cookies_of(&entered);
    assert!(
        set.iter().any(|line| line.starts_with("ostia=")
            && line.contains("HttpOnly")
            && line.contains("SameSite=Lax")
            && line.contains("Path=/;")),
        "{set:?}"
    );
    let first = browser.cookies["ostia"].clone();
    let cookies = browser.cookies.clone();
    assert_eq!(browser.get("/ui/keys").await.status(), 200);
    // Signing in again ends the earlier session.
    let mut again = Browser::new(&gateway);
    again.cookies = cookies.clone();
    let page = Browser::new(&gateway).get("/ui/login").await;
    let door = cookies_of(&page)[0].split(';').next().unwrap().to_owned();
    let (name, value) = door.split_once('=').unwrap();
    again.cookies.insert(name.to_owned(), value.to_owned());
    let token = token(&page.text());
    let entered = again
        .send(form(
            "/ui/login/key",
            &[("key", &secret), ("token", &token)],
        ))
        .await;
    assert_eq!(entered.status(), 303);
    assert_ne!(again.cookies["ostia"], first);
    let old = browser.get("/ui/keys").await;
    assert!(old.header("location").unwrap().starts_with("/ui/login"));
    // Signing out works only by a form; then the cookie is worthless.
    let cookies = again.cookies.clone();
    assert_eq!(again.get("/ui/logout").await.status(), 405);
    let out = again.submit("/ui/keys", "/ui/logout", &[]).await;
    assert_eq!(out.status(), 303);
    assert!(!again.cookies.contains_key("ostia"));
    again.cookies = cookies;
    let replayed = again.get("/ui/keys").await;
    assert!(
        replayed
            .header("location")
            .unwrap()
            .starts_with("/ui/login")
    );
    // What is in the database gives no access either.
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn sessions_end_by_age_by_rest_and_with_the_account() {
    let clock = Arc::new(ManualClock::at(SystemClock.unix_micros()));
    let backend = FakeBackend::start().await;
    let site = Site::new()
        .model("m", &backend)
        .settings(PAGES)
        .settings("[web]\nsession_ttl = \"10h\"\nsession_idle = \"1h\"\n");
    let gateway = TestGateway::start_at(site, Arc::clone(&clock) as _).await;
    let secret = gateway.site().secrets.client_bearer();
    let is_in = async |browser: &mut Browser<'_>| browser.get("/ui/keys").await.status() == 200;
    let mut browser = Browser::new(&gateway);
    browser.enter(&secret).await;
    for _ in 0..11 {
        assert!(is_in(&mut browser).await);
        clock.advance(Duration::from_secs(50 * 60));
    }
    clock.advance(Duration::from_secs(50 * 60));
    assert!(!is_in(&mut browser).await, "ten hours are over");
    browser.enter(&secret).await;
    clock.advance(Duration::from_secs(3_600));
    assert!(
        !is_in(&mut browser).await,
        "an hour without a request is over"
    );
    browser.enter(&secret).await;
    assert!(is_in(&mut browser).await);
    let held = browser.cookies.clone();
    let desk = desk(&gateway).await;
    desk.set_state(USER, PersonState::Disabled).await.unwrap();
    assert!(!is_in(&mut browser).await);
    desk.set_state(USER, PersonState::Active).await.unwrap();
    gateway.gateway().directory().look().await.unwrap();
    browser.cookies = held;
    assert!(!is_in(&mut browser).await, "an ended session comes back");
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_revoked_key_ends_what_was_opened_with_it() {
    let (backend, gateway) = rig("").await;
    let key = key(&gateway, "ann@lab.org", KeyRights::default()).await;
    let mut browser = Browser::new(&gateway);
    browser.enter(&key).await;
    assert_eq!(browser.get("/ui/keys").await.status(), 200);
    desk(&gateway)
        .await
        .revoke_keys_of("ann@lab.org")
        .await
        .unwrap();
    assert_eq!(browser.get("/ui/keys").await.status(), 401);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn wrong_keys_and_keys_of_programs_stay_outside() {
    let (backend, gateway) = rig("").await;
    let service = KeyRights {
        on_behalf_of: vec!["lab.org".to_owned()],
        ..KeyRights::default()
    };
    let front = key(&gateway, "front@lab.org", service).await;
    for wrong in [
        "",
        "nonsense",
        "sk-ostia-unknown",
        "sk-ostia-<b>x</b>",
        &front,
    ] {
        let mut browser = Browser::new(&gateway);
        let answer = browser.enter(wrong).await;
        assert!(!browser.cookies.contains_key("ostia"), "{wrong}");
        assert!(!answer.text().contains("<b>x"), "{wrong}");
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn replicas_share_sessions() {
    let (backend, first) = rig("").await;
    let site = Site::new()
        .model("m", &backend)
        .settings(PAGES)
        .replica_of(first.site());
    let second = TestGateway::start(site).await;
    let secret = first.site().secrets.client_bearer();
    let mut browser = Browser::new(&first);
    browser.enter(&secret).await;
    let mut other = Browser::new(&second);
    other.cookies = browser.cookies.clone();
    assert_eq!(other.get("/ui/keys").await.status(), 200);
    other.submit("/ui/keys", "/ui/logout", &[]).await;
    let here = browser.get("/ui/keys").await;
    assert!(here.header("location").unwrap().starts_with("/ui/login"));
    second.finish(&[]).await;
    first.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_link_signs_in_once() {
    let (backend, gateway) = rig("").await;
    let site = ostia::web::Site::new(Arc::clone(gateway.gateway()));
    let link = site.link(&gateway.site().secrets.client_bearer()).unwrap();
    // A link of another process, and one that was never issued.
    for path in [&*link, "/ui/enter?link=x", "/ui/enter"] {
        let mut browser = Browser::new(&gateway);
        assert_eq!(browser.get(path).await.status(), 403);
        assert!(browser.cookies.is_empty());
    }
    let mut client = RawClient::connect(gateway.address()).await;
    let answer = client
        .call(&Request::get("/ui/enter").header("Accept", "text/html"))
        .await;
    assert_eq!(answer.status(), 403);
    gateway.finish(&[&backend]).await;
}
