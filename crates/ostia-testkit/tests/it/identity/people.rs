//! People: who counts as one person, who is shut out, what their keys may do, which project they work for.

use std::sync::Arc;
use std::time::Duration;

use ostia::people::{Actor, Desk, KeyRequest, Members, ProjectRecord, UserRecord};
use ostia::settings::Keys;
use ostia_core::{AuditQuery, KeyRights, ManualClock, PersonState, Role};
use ostia_testkit::backend::Script;
use ostia_testkit::client::{Ended, RawClient};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::Endpoint;
use ostia_testkit::idp::Signing;
use ostia_testkit::patience;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

/// The command line's view, on the gateway's database.
async fn desk(gateway: &TestGateway, clock: Arc<dyn Clock>) -> Desk {
    let url = gateway.site().database_url();
    let store = ostia_store::open(&url).await.unwrap();
    let keys = Keys {
        default_age: 90 * DAY,
        max_age: 365 * DAY,
        per_user: 0,
        owner_ttl: None,
    };
    Desk::new(store, clock, keys, Actor::default())
}

async fn make(desk: &Desk, user: &str, rights: KeyRights) -> String {
    let asked = KeyRequest {
        user: user.to_owned(),
        rights,
        ..KeyRequest::default()
    };
    let made = desk.create_key(asked).await.unwrap();
    made.key.expose().clone()
}

/// Repeats the request until the answer is right: replicas read changes several times a second.
async fn until(gateway: &TestGateway, request: &Request, status: u16) -> Answer {
    gateway.call_until(request, status).await
}

async fn until_waiting(gateway: &TestGateway, count: usize) {
    let look = async || (gateway.gateway().admitter().waiting() >= count).then_some(());
    patience::until(|| "a waiter".to_owned(), look).await;
}

fn chat(gateway: &TestGateway, model: &str, key: &str) -> Request {
    gateway.chat(model).without("authorization").bearer(key)
}

#[tokio::test]
async fn a_key_is_for_its_models_and_addresses() {
    let backend = FakeBackend::start().await;
    let hinted = Endpoint::of("hinted", &backend)
        .field("allowed_domains", json!(["other.org"]))
        .config("access_hint", json!("Ask for it."));
    let site = Site::new()
        .model("m", &backend)
        .model("other", &backend)
        .endpoint(hinted);
    let gateway = TestGateway::start(site).await;
    let desk = desk(&gateway, Arc::new(SystemClock)).await;
    let narrow = KeyRights {
        models: vec!["m".to_owned()],
        addresses: vec!["127.0.0.0/8".to_owned()],
        ..KeyRights::default()
    };
    let key = make(&desk, "ann@lab.org", narrow).await;
    assert_eq!(gateway.call(&chat(&gateway, "m", &key)).await.status(), 200);
    let other = gateway.call(&chat(&gateway, "other", &key)).await;
    let absent = gateway.call(&chat(&gateway, "absent", &key)).await;
    assert_eq!(refusal(&other), (404, "model_not_found".to_owned()));
    assert_eq!(refusal(&absent), refusal(&other));
    // Not even how to get it: the key is for other models, whatever its owner may use.
    let hinted = gateway.call(&chat(&gateway, "hinted", &key)).await;
    assert_eq!(refusal(&hinted), refusal(&other));
    let listed = gateway.call(&Request::get("/v1/models").bearer(&key)).await;
    assert_eq!(listed.json()["data"].as_array().unwrap().len(), 1);

    let elsewhere = KeyRights {
        addresses: vec!["192.0.2.0/24".to_owned()],
        ..KeyRights::default()
    };
    let key = make(&desk, "ann@lab.org", elsewhere).await;
    let refused = gateway
        .call(&whoami(&key).header("x-forwarded-for", "192.0.2.1"))
        .await;
    assert_eq!(refusal(&refused), (403, "policy_denied".to_owned()));
    gateway.finish(&[&backend]).await;
}

/// Waiting, running and streamed requests end with the account, with rows that say so. Those of others go on.
#[tokio::test]
async fn disabled_users_are_out_at_once() {
    let backend = FakeBackend::start().await;
    let site = Site::new()
        .model("slow", &backend)
        .model("stream", &backend)
        .endpoint(Endpoint::of("full", &backend).config("max_in_flight", json!(1)))
        .settings("[limits]\nqueue_timeout = \"60s\"");
    let gateway = TestGateway::start(site).await;
    let desk = desk(&gateway, Arc::new(SystemClock)).await;
    let (ann, bob) = (
        make(&desk, "ann@lab.org", KeyRights::default()).await,
        make(&desk, "bob@lab.org", KeyRights::default()).await,
    );
    backend.on_model("slow", Script::silent());
    backend.on_model("full", Script::silent());
    let gate = Gate::closed();
    gate.release(1);
    backend.on_model("stream", Script::completion().gate_events(&gate));
    let mut silent = gateway.client().await;
    silent.send(chat(&gateway, "slow", &ann).bytes()).await;
    let mut theirs = gateway.client().await;
    theirs.send(chat(&gateway, "full", &bob).bytes()).await;
    backend.requests(2).await;
    let mut waiting = gateway.client().await;
    waiting.send(chat(&gateway, "full", &ann).bytes()).await;
    let mut streamed = gateway.client().await;
    let stream = gateway
        .chat_stream("stream")
        .without("authorization")
        .bearer(&ann);
    streamed.send(stream.bytes()).await;
    let reading = streamed.begin().await.unwrap();
    gate.reached(2).await;
    until_waiting(&gateway, 1).await;

    let disabled = desk
        .set_state("ann@lab.org", PersonState::Disabled)
        .await
        .unwrap();
    assert_eq!(disabled.len(), 1);
    for client in [&mut silent, &mut waiting] {
        let ended = client.answer().await;
        gateway.note(&ended);
        assert_eq!(refusal(&ended), (403, "account_disabled".to_owned()));
    }
    let broken = streamed.rest(reading).await;
    assert_eq!(broken.ended, Ended::Fin, "{}", broken.text());
    assert!(broken.text().contains("account_disabled") && !broken.text().contains("[DONE]"));
    let out = until(&gateway, &whoami(&ann), 403).await;
    assert_eq!(refusal(&out), (403, "account_disabled".to_owned()));
    assert_eq!(gateway.call(&whoami(&bob)).await.status(), 200);
    desk.set_state("ann@lab.org", PersonState::Active)
        .await
        .unwrap();
    until(&gateway, &whoami(&ann), 200).await;
    drop(theirs);
    let rows = gateway.finish(&[&backend]).await;
    for (model, outcome) in [
        ("slow", "interrupted"),
        ("stream", "interrupted"),
        ("full", "rejected"),
    ] {
        let mut theirs = rows.iter().filter(|row| row.username == "ann@lab.org");
        let row = theirs.find(|row| row.model == model).unwrap();
        let said = (&*row.outcome, &*row.error_code);
        assert_eq!(said, (outcome, "account_disabled"), "{model}");
    }
}

/// Disabling an account on one machine ends the person's requests on three gateways.
#[tokio::test]
async fn disabled_users_are_out_on_every_replica() {
    let backend = FakeBackend::start().await;
    let site = || Site::new().model("m", &backend);
    let mut gateways = vec![TestGateway::start(site()).await];
    for _ in 0..2 {
        let replica = site().replica_of(gateways[0].site());
        gateways.push(TestGateway::start(replica).await);
    }
    let desk = desk(&gateways[0], Arc::new(SystemClock)).await;
    let ann = make(&desk, "ann@lab.org", KeyRights::default()).await;
    let mut streams = Vec::new();
    for gateway in &gateways {
        let stream = gateway
            .chat_stream("m")
            .without("authorization")
            .bearer(&ann);
        let mut client = gateway.client().await;
        let gate = Gate::closed();
        gate.release(1);
        backend.next(Script::completion().gate_events(&gate));
        client.send(stream.bytes()).await;
        let reading = client.begin().await.unwrap();
        gate.reached(2).await;
        streams.push((client, reading));
    }
    let asked = SystemClock.now();
    desk.set_state("ann@lab.org", PersonState::Disabled)
        .await
        .unwrap();
    for (client, reading) in &mut streams {
        // The error event is the last one.
        client.until(reading, b"\"account_disabled\"}}\n\n").await;
    }
    println!(
        "three streams on three gateways ended after {:?}",
        asked.elapsed()
    );
    for (mut client, reading) in streams {
        assert_eq!(client.rest(reading).await.ended, Ended::Fin);
    }
    for gateway in &gateways {
        let refused = until(gateway, &whoami(&ann), 403).await;
        assert_eq!(refusal(&refused), (403, "account_disabled".to_owned()));
    }
    let carried = async || (gateways[0].rows().await.len() >= 3).then_some(());
    patience::until(|| "three rows".to_owned(), carried).await;
    // The first gateway's folder has the database.
    for gateway in gateways.into_iter().rev() {
        gateway.finish(&[&backend]).await;
    }
}

/// A key works as long as somebody vouches for its owner.
#[tokio::test]
async fn a_leaver_s_key_is_dead_within_the_owner_s_time() {
    let (backend, clock) = (
        FakeBackend::start().await,
        Arc::new(ManualClock::at(1_800_000_000_000_000)),
    );
    let site = Site::new()
        .model("m", &backend)
        .settings("[keys]\nowner_ttl = \"30d\"");
    let gateway = TestGateway::start_at(site, Arc::clone(&clock) as _).await;
    let desk = desk(&gateway, Arc::clone(&clock) as _).await;
    let ann = make(&desk, "ann@lab.org", KeyRights::default()).await;
    clock.advance(29 * DAY);
    assert_eq!(gateway.call(&whoami(&ann)).await.status(), 200);
    clock.advance(DAY);
    let dead = gateway.call(&whoami(&ann)).await;
    assert_eq!(
        refusal(&dead),
        (401, "reauthentication_required".to_owned())
    );
    let record = UserRecord {
        user: "ann@lab.org".to_owned(),
        groups: Some(vec!["g1".to_owned()]),
        ..UserRecord::default()
    };
    desk.put_user(&record).await.unwrap();
    clock.advance(Duration::from_secs(11));
    assert_eq!(gateway.call(&whoami(&ann)).await.status(), 200);
    gateway.finish(&[&backend]).await;
}

/// One person with three ways to sign in: two issuers and a key. A provider that does not own the domain links nobody.
#[tokio::test]
async fn a_person_is_one_whichever_way_they_come() {
    let (kc, uni, liar) = (
        FakeIdp::start().await,
        FakeIdp::start().await,
        FakeIdp::start().await,
    );
    let backend = FakeBackend::start().await;
    let issuer = |idp: &FakeIdp, domains: &str, prefix: &str| {
        format!(
            "[[auth.oidc]]\nissuer = \"{}\"\naudience = [\"other\", \"{AUDIENCE}\"]\ndomains = [\"{domains}\"]\n\
             groups_prefix = \"{prefix}\"\nlink_claim = \"eppn\"\nclaims = {{ user = \"preferred_username\" }}\n",
            idp.base_url()
        )
    };
    let settings = format!(
        "[auth]\nproviders = [\"api_key\", \"oidc\"]\nadmit = [\"domain:example.org\", \"group:kc:vip\"]\n{}{}{}",
        issuer(&kc, "example.org", "kc:"),
        issuer(&uni, "example.org", "uni:"),
        issuer(&liar, "evil.org", "liar:"),
    );
    let site = Site::new().model("m", &backend).settings(&settings);
    let gateway = TestGateway::start(site).await;
    let desk = desk(&gateway, Arc::new(SystemClock)).await;
    let token = |idp: &FakeIdp, name: &str, subject: &str| {
        let mut claims = idp.claims(AUDIENCE, subject, now());
        claims["preferred_username"] = json!(name);
        claims["eppn"] = json!("Ann@example.org");
        claims["groups"] = json!(["staff", "kc:vip"]);
        idp.minter().mint(Signing::Es256, &claims)
    };
    let key = make(&desk, "ann@example.org", KeyRights::default()).await;
    let ways = [
        (
            token(&kc, "ann@example.org", "s1"),
            json!(["kc:staff", "kc:kc:vip"]),
        ),
        (
            token(&uni, "a.nn@example.org", "s2"),
            json!(["uni:staff", "uni:kc:vip"]),
        ),
        (key.clone(), json!([])),
    ];
    for (credential, groups) in &ways {
        let me = gateway.call(&whoami(credential)).await.json();
        assert_eq!(me["id"], "ann@example.org", "{me}");
        assert_eq!(&me["user_group_uuids"], groups);
    }
    for name in ["ann@example.org", "ann@evil.org"] {
        let lie = gateway.call(&whoami(&token(&liar, name, "s3"))).await;
        assert_eq!(refusal(&lie), (403, "policy_denied".to_owned()), "{name}");
    }
    // Both sign-ins are recorded for one person, and disabling the person ends all three ways.
    let both = async || {
        let people = desk.people().await.unwrap();
        let are_one = people.iter().any(|person| person.logins.len() == 2);
        are_one.then_some(people)
    };
    let people = patience::until(|| "two sign-ins".to_owned(), both).await;
    assert_eq!(
        people
            .iter()
            .filter(|one| &*one.id == "ann@example.org")
            .count(),
        1
    );
    desk.set_state("ann@example.org", PersonState::Disabled)
        .await
        .unwrap();
    for (credential, _) in &ways {
        until(&gateway, &whoami(credential), 403).await;
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn only_members_work_for_a_project() {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    let desk = desk(&gateway, Arc::new(SystemClock)).await;
    let ann = make(&desk, "ann@lab.org", KeyRights::default()).await;
    for name in ["fusion", "climate", "closed"] {
        desk.create_project(name, &ProjectRecord::default())
            .await
            .unwrap();
    }
    let members = Members {
        members: vec!["ann@lab.org".to_owned()],
        ..Members::default()
    };
    for name in ["fusion", "climate"] {
        desk.add_to_project(name, &members).await.unwrap();
    }
    let with = |project: &str| chat(&gateway, "m", &ann).header("X-Ostia-Project", project);
    until(&gateway, &with("climate"), 200).await;
    let (closed, absent) = (
        gateway.call(&with("closed")).await,
        gateway.call(&with("absent")).await,
    );
    assert_eq!(refusal(&closed), (403, "policy_denied".to_owned()));
    assert_eq!(
        closed.text().replace("closed", "absent"),
        absent.text(),
        "what is not there and what one is not in look the same"
    );
    let me = gateway
        .call(&Request::get("/v1/me").bearer(&ann))
        .await
        .json();
    assert_eq!(me["projects"].as_array().unwrap().len(), 2);
    assert_eq!((&me["roles"], &me["project"]), (&json!([]), &json!("")));
    assert_eq!(me["keys"].as_array().unwrap().len(), 1);
    // With two projects the choice is unclear; with one it is clear.
    assert_eq!(gateway.call(&chat(&gateway, "m", &ann)).await.status(), 200);
    desk.end_project("climate").await.unwrap();
    until(&gateway, &with("climate"), 403).await;
    assert_eq!(gateway.call(&chat(&gateway, "m", &ann)).await.status(), 200);
    let rows = gateway.finish(&[&backend]).await;
    let projects: Vec<_> = rows.iter().map(|row| &*row.project).collect();
    assert_eq!(projects.last(), Some(&"fusion"), "{projects:?}");
    assert!(projects.contains(&"") && projects.contains(&"climate"));
}

/// A manager can add members to his or her own project while it is open, and to no other. The audit log records it.
#[tokio::test]
async fn managers_add_members() {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    let desk = desk(&gateway, Arc::new(SystemClock)).await;
    let pi = make(&desk, "pi@lab.org", KeyRights::default()).await;
    let ann = make(&desk, "ann@lab.org", KeyRights::default()).await;
    for (name, manager) in [("fusion", "pi@lab.org"), ("climate", "cid@lab.org")] {
        let record = ProjectRecord {
            managers: Some(vec![manager.to_owned()]),
            ..ProjectRecord::default()
        };
        desk.create_project(name, &record).await.unwrap();
    }
    let mut client = RawClient::connect(gateway.admin_address()).await;
    let mut add = async |key: &str, project: &str, body: Value| {
        let path = format!("/admin/projects/{project}/members");
        let request = Request::post(&path).bearer(key).json(&body);
        client.call(&request).await
    };
    let members = json!({"members": ["ann@lab.org"]});
    let refused = add(&ann, "fusion", members.clone()).await;
    assert_eq!(refusal(&refused), (403, "policy_denied".to_owned()));
    for project in ["climate", "absent", ""] {
        let answer = add(&pi, project, members.clone()).await;
        assert!(matches!(answer.status(), 403 | 404), "{project}");
        assert!(project.is_empty() || answer.text() == refused.text());
    }
    let managers = json!({"members": [], "managers": ["ann@lab.org"]});
    assert_eq!(add(&pi, "fusion", managers).await.status(), 400);
    let added = add(&pi, "fusion", members.clone()).await;
    assert_eq!(added.status(), 200, "{}", added.text());
    assert_eq!(added.json()["members"], json!(["ann@lab.org"]));
    // A member is not a manager.
    assert_eq!(add(&ann, "fusion", members.clone()).await.status(), 403);
    desk.end_project("fusion").await.unwrap();
    assert_eq!(add(&pi, "fusion", members).await.status(), 403);
    let query = AuditQuery {
        action: Some("project.add".to_owned()),
        limit: 9,
        ..AuditQuery::default()
    };
    let events = desk.audit(&query).await.unwrap();
    assert_eq!(events.len(), 1);
    let event = &events[0].event;
    assert_eq!((&*event.actor, &*event.role), ("pi@lab.org", "manager"));
    gateway.finish(&[&backend]).await;
}

/// Two users of a front end get rows of their own. A name is accepted only from a front end, and gives no role.
#[tokio::test]
async fn a_front_end_s_users_have_their_own_rows() {
    let backend = FakeBackend::start().await;
    let site = Site::new()
        .model("m", &backend)
        .settings("[roles]\noperator = [\"user:ann@lab.org\"]");
    let gateway = TestGateway::start(site).await;
    let desk = desk(&gateway, Arc::new(SystemClock)).await;
    let front = KeyRights {
        on_behalf_of: vec!["lab.org".to_owned()],
        addresses: vec!["127.0.0.1/32".to_owned()],
        ..KeyRights::default()
    };
    let key = make(&desk, "webui@lab.org", front).await;
    let other = make(&desk, "eve@lab.org", KeyRights::default()).await;
    let plain = |key: &str, user: &str| {
        chat(&gateway, "m", key)
            .header("X-OpenWebUI-User-Email", user)
            .header("X-OpenWebUI-User-Role", "admin")
    };
    for user in ["ann@lab.org", "bob@lab.org"] {
        assert_eq!(gateway.call(&plain(&key, user)).await.status(), 200);
        let claims =
            json!({"aud": "ostia", "jti": user, "iat": now(), "exp": now() + 60, "sub": user});
        let token = signed(&key, &json!({"alg": "HS256"}), &claims);
        let request = chat(&gateway, "m", &key).header("X-Ostia-User-Jwt", &token);
        assert_eq!(gateway.call(&request).await.status(), 200);
        assert_eq!(gateway.call(&request).await.status(), 403, "used before");
    }
    assert_eq!(
        gateway.call(&plain(&key, "ann@evil.org")).await.status(),
        403
    );
    assert_eq!(
        gateway.call(&plain(&other, "ann@lab.org")).await.status(),
        200
    );
    let me = Request::get("/v1/me")
        .bearer(&key)
        .header("X-OpenWebUI-User-Email", "ann@lab.org");
    let me = gateway.call(&me).await.json();
    assert_eq!(
        (&me["id"], &me["roles"]),
        (&json!("ann@lab.org"), &json!([]))
    );
    // The last use is recorded a little later.
    let disabling = async || {
        let done = desk.set_state("bob@lab.org", PersonState::Disabled).await;
        done.ok().map(|_| ())
    };
    patience::until(|| "bob is known".to_owned(), disabling).await;
    until(&gateway, &plain(&key, "bob@lab.org"), 403).await;
    for record in backend.records() {
        let head = String::from_utf8_lossy(&record.received.head.raw).to_ascii_lowercase();
        assert!(
            !head.contains("openwebui") && !head.contains("user-jwt"),
            "{head}"
        );
    }
    let rows = gateway.finish(&[&backend]).await;
    let mut users: Vec<_> = rows.iter().map(|row| &*row.username).collect();
    users.truncate(5);
    let expected = [
        "ann@lab.org",
        "ann@lab.org",
        "bob@lab.org",
        "bob@lab.org",
        "eve@lab.org",
    ];
    assert_eq!(users, expected);
    assert!(rows[..4].iter().all(|row| row.key_id == rows[0].key_id));
}

#[tokio::test]
async fn roles_come_by_key_by_group_and_by_name() {
    let backend = FakeBackend::start().await;
    let settings = "[roles]\noperator = [\"group:ops\"]\nsupport = [\"user:ann@lab.org\"]";
    let site = Site::new().model("m", &backend).settings(settings);
    let gateway = TestGateway::start(site).await;
    let desk = desk(&gateway, Arc::new(SystemClock)).await;
    let reporter = KeyRights {
        role: Some(Role::Reporter),
        ..KeyRights::default()
    };
    let ann = make(&desk, "ann@lab.org", reporter).await;
    let ops = gateway.key_for("bob@lab.org", &["ops"]).await;
    for (key, roles) in [
        (ann, json!(["support", "reporter"])),
        (ops, json!(["operator"])),
    ] {
        let me = gateway
            .call(&Request::get("/v1/me").bearer(&key))
            .await
            .json();
        assert_eq!(me["roles"], roles);
    }
    gateway.finish(&[&backend]).await;
}
