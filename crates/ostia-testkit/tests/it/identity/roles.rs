//! Every route with every role and every kind of credential (R19, R28, R34): without a line in the table that lets it
//! in, it is refused.

use std::sync::Arc;
use std::time::Duration;

use ostia::people::{Actor, Desk, KeyRequest};
use ostia::routes::{ADMIN_ROUTES, AdminKind, ROUTES, Who};
use ostia::settings::Keys;
use ostia_core::{KeyRights, PersonState, Role};
use ostia_testkit::client::RawClient;
use ostia_testkit::gateway::gauges;

use super::*;

/// A credential, and the roles that it has. `None`: it gives no access at all, and gets this status.
struct Shown {
    what: String,
    request: fn(&str, &str) -> Request,
    credential: String,
    roles: Result<Vec<Role>, u16>,
}

fn bearer(method: &str, path: &str) -> Request {
    Request::new(method, path)
}

async fn desk(gateway: &TestGateway) -> Desk {
    let url = gateway.site().database_url();
    let store = ostia_store::open(&url).await.unwrap();
    let keys = Keys {
        default_age: Duration::from_secs(86_400),
        max_age: Duration::from_secs(86_400),
        per_user: 0,
        owner_ttl: None,
    };
    Desk::new(store, Arc::new(SystemClock), keys, Actor::default())
}

async fn key(desk: &Desk, user: &str, groups: &[&str], rights: KeyRights) -> String {
    let asked = KeyRequest {
        user: user.to_owned(),
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
        rights,
        ..KeyRequest::default()
    };
    desk.create_key(asked).await.unwrap().key.expose().clone()
}

fn shown(what: &str, credential: &str, roles: Result<Vec<Role>, u16>) -> Shown {
    Shown {
        what: what.to_owned(),
        request: bearer,
        credential: credential.to_owned(),
        roles,
    }
}

/// Every kind of credential that a gateway can get.
async fn credentials(idp: &FakeIdp, gateway: &TestGateway) -> Vec<Shown> {
    let desk = desk(gateway).await;
    let plain = || KeyRights::default();
    let mut all = vec![
        shown("nothing", "", Err(401)),
        shown("a forged key", "sk-ostia-forged", Err(401)),
        shown("quotes", "' OR '1'='1", Err(401)),
        shown(
            "a forged token of the state folder",
            "ostia-admin-forged",
            Err(401),
        ),
    ];
    for role in Role::ALL {
        let rights = KeyRights {
            role: Some(role),
            ..plain()
        };
        let made = key(&desk, "staff@lab.org", &[], rights).await;
        all.push(shown(role.as_str(), &made, Ok(vec![role])));
    }
    let user = key(&desk, "ann@lab.org", &["users"], plain()).await;
    all.push(shown("a user's key", &user, Ok(vec![])));
    let ops = key(&desk, "bob@lab.org", &["ops"], plain()).await;
    all.push(shown("a group's role", &ops, Ok(vec![Role::Operator])));
    let gone = key(&desk, "gone@lab.org", &["ops"], plain()).await;
    desk.set_state("gone@lab.org", PersonState::Disabled)
        .await
        .unwrap();
    all.push(shown("a disabled operator", &gone, Err(403)));
    let revoked = key(&desk, "old@lab.org", &["ops"], plain()).await;
    desk.revoke_keys_of("old@lab.org").await.unwrap();
    all.push(shown("a revoked key", &revoked, Err(401)));
    let away = KeyRights {
        role: Some(Role::Admin),
        addresses: vec!["192.0.2.0/24".to_owned()],
        ..plain()
    };
    let away = key(&desk, "away@lab.org", &[], away).await;
    all.push(shown("an admin key from elsewhere", &away, Err(403)));
    // A front end that names an operator does not get a role by that.
    let front = KeyRights {
        on_behalf_of: vec!["lab.org".to_owned()],
        addresses: vec!["127.0.0.1/32".to_owned()],
        ..plain()
    };
    let front = key(&desk, "front@lab.org", &[], front).await;
    all.push(Shown {
        request: |method, path| {
            Request::new(method, path).header("X-OpenWebUI-User-Email", "bob@lab.org")
        },
        ..shown("a front end for an operator", &front, Ok(vec![]))
    });
    let mut claims = idp.claims(AUDIENCE, "carl", now());
    claims["groups"] = json!(["desk"]);
    let token = idp
        .minter()
        .mint(ostia_testkit::idp::Signing::Es256, &claims);
    all.push(shown(
        "a token with a role by group",
        &token,
        Ok(vec![Role::Support]),
    ));
    claims["groups"] = json!(["admin", "operator", "root"]);
    let token = idp
        .minter()
        .mint(ostia_testkit::idp::Signing::Es256, &claims);
    all.push(shown(
        "a token that names roles as groups",
        &token,
        Ok(vec![]),
    ));
    all
}

async fn rig() -> (FakeIdp, FakeBackend, TestGateway, Vec<Shown>) {
    let (idp, backend) = (FakeIdp::start().await, FakeBackend::start().await);
    let base = idp.base_url();
    let settings = format!(
        r#"
        [auth]
        providers = ["api_key", "oidc"]
        admit = ["*"]
        [auth.oidc]
        issuer = "{base}"
        audience = "{AUDIENCE}"
        [roles]
        operator = ["group:ops", "user:bob@lab.org"]
        support = ["group:desk"]
        "#
    );
    let site = Site::new().model("m", &backend).settings(&settings);
    let gateway = TestGateway::start(site).await;
    let all = credentials(&idp, &gateway).await;
    // The replica must have learned who is disabled.
    let gone = &all
        .iter()
        .find(|one| one.what.contains("disabled"))
        .unwrap()
        .credential;
    gateway.call_until(&whoami(gone), 403).await;
    (idp, backend, gateway, all)
}

fn filled(pattern: &str) -> String {
    let parts = pattern.split('/');
    let filled = parts.map(|part| {
        if part.starts_with('{') {
            "absent"
        } else {
            part
        }
    });
    filled.collect::<Vec<_>>().join("/")
}

fn ask(one: &Shown, method: &str, path: &str) -> Request {
    // Bad guesses of callers behind a proxy on this machine are not counted.
    let request = (one.request)(method, path).header("x-forwarded-for", "192.0.2.9");
    match &*one.credential {
        "" => request,
        credential => request.bearer(credential),
    }
}

#[tokio::test]
async fn each_admin_route_lets_in_its_roles_and_nobody_else() {
    let (_idp, backend, gateway, all) = rig().await;
    for route in ADMIN_ROUTES {
        for one in &all {
            let enough: &[Role] = match route.who {
                Who::Anybody => continue,
                Who::Roles(roles) => roles,
                // There is no manager here; `managers_add_members` tests them.
                Who::Managers => &[],
            };
            let may = |role: &Role| *role == Role::Admin || enough.contains(role);
            let (expected, lets_in) = match &one.roles {
                Err(status) => (*status, false),
                Ok(roles) => (403, roles.iter().any(may)),
            };
            if lets_in && route.kind == AdminKind::Drain {
                // This would end the gateway. Another test covers it.
                continue;
            }
            let mut client = RawClient::connect(gateway.admin_address()).await;
            let request = ask(one, route.method, &filled(route.pattern));
            let answer = client.call(&request).await;
            let at = format!("{} {} with {}", route.method, route.pattern, one.what);
            match lets_in {
                true => assert!(
                    !matches!(answer.status(), 401 | 403),
                    "{at}: {}",
                    answer.text()
                ),
                false => assert_eq!(answer.status(), expected, "{at}: {}", answer.text()),
            }
        }
    }
    let metrics = gauges::scrape(gateway.admin_address()).await;
    assert!(metrics.contains("ostia_sign_ins_failed_total{reason=\"account_disabled\"}"));
    gateway.finish(&[&backend]).await;
}

/// Without a valid credential, only the open public routes answer.
#[tokio::test]
async fn each_public_route_asks_who_it_is() {
    let (_idp, backend, gateway, all) = rig().await;
    for route in ROUTES.iter().filter(|route| !route.open) {
        for one in all.iter().filter(|one| one.roles.is_err()) {
            for method in route.methods.iter().filter(|method| **method != "HEAD") {
                let answer = gateway
                    .call(&ask(one, method, &filled(route.pattern)))
                    .await;
                let at = format!("{method} {} with {}", route.pattern, one.what);
                assert_eq!(
                    Err(answer.status()),
                    one.roles.as_ref().map(|_| ()).map_err(|status| *status),
                    "{at}"
                );
            }
        }
    }
    assert!(backend.records().is_empty());
    gateway.finish(&[&backend]).await;
}

/// What allocation systems and helpdesks do over HTTP, and what the audit log records.
#[tokio::test]
async fn records_are_put_once_and_everything_is_told() {
    let (_idp, backend, gateway, all) = rig().await;
    let of = |what: &str| all.iter().find(|one| one.what == what).unwrap();
    let (admin, support) = (of("admin"), of("support"));
    let mut client = RawClient::connect(gateway.admin_address()).await;
    let project = json!({"title": "Fusion", "members": ["ann@lab.org"], "state": "open"});
    for status in [201, 200] {
        let put = ask(admin, "PUT", "/admin/projects/A-7").json(&project);
        let answer = client.call(&put).await;
        assert_eq!(answer.status(), status, "{}", answer.text());
        assert_eq!(answer.json()["name"], "A-7");
    }
    let users = json!({"users": [{"user": "ann@lab.org", "name": "Ann", "groups": ["g1"]}]});
    for changed in [true, false] {
        let put = ask(admin, "PUT", "/admin/users").json(&users);
        let answer = client.call(&put).await;
        assert_eq!(
            answer.json()["data"][0]["changed"],
            changed,
            "{}",
            answer.text()
        );
    }
    for wrong in [
        json!({"user": "ann"}),
        json!({"user": "ann@lab.org", "admin": true}),
        json!({"users": [{"user": "ann@lab.org", "state": "root"}]}),
    ] {
        let put = ask(admin, "PUT", "/admin/users").json(&wrong);
        assert_eq!(client.call(&put).await.status(), 400, "{wrong}");
    }
    let disable = "/admin/users/ann%40lab.org/disable?reason=left";
    let answer = client.call(&ask(support, "POST", disable)).await;
    assert_eq!(answer.json()["data"][0]["state"], "disabled");
    let ann = client
        .call(&ask(support, "GET", "/admin/users/ann%40lab.org"))
        .await;
    assert_eq!(ann.json()["data"][0]["state"], "disabled");
    assert_eq!(ann.json()["data"][0]["keys"].as_array().unwrap().len(), 1);
    let audit = client
        .call(&ask(admin, "GET", "/admin/audit?limit=3"))
        .await
        .json();
    let events = audit["data"].as_array().unwrap();
    let actions: Vec<_> = events
        .iter()
        .map(|event| event["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["user.disable", "user.put", "project.create"]);
    assert_eq!(
        (
            &events[0]["actor"],
            &events[0]["role"],
            &events[0]["reason"]
        ),
        (&json!("staff@lab.org"), &json!("support"), &json!("left"))
    );
    assert_eq!(events[0]["address"], "127.0.0.1");
    let reporter = ask(of("reporter"), "GET", "/admin/usage?by=user");
    assert_eq!(client.call(&reporter).await.status(), 400);
    gateway.finish(&[&backend]).await;
}
