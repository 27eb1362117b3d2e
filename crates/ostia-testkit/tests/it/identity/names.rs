//! Names that somebody chose, and names for which a provider answers: only these open anything.

use std::sync::Arc;
use std::time::Duration;

use ostia::people::{Actor, Desk, KeyRequest, ProjectRecord};
use ostia::settings::Keys;
use ostia_testkit::client::RawClient;
use ostia_testkit::idp::Signing;

use super::*;

async fn desk(gateway: &TestGateway) -> Desk {
    let url = gateway.site().database_url();
    let store = ostia_store::open(&url).await.unwrap();
    let day = Duration::from_secs(86_400);
    let keys = Keys {
        default_age: day,
        max_age: day,
        per_user: 0,
        owner_ttl: None,
    };
    Desk::new(store, Arc::new(SystemClock), keys, Actor::default())
}

/// A gateway with two issuers that both speak for `lab.org`: `choosing`, at which people choose usernames, and `naming`,
/// whose claim `upn` the site trusts. `root@lab.org` has every role, a project and a key.
struct Rig {
    backend: FakeBackend,
    choosing: FakeIdp,
    naming: FakeIdp,
    gateway: TestGateway,
    desk: Desk,
}

async fn rig() -> Rig {
    let backend = FakeBackend::start().await;
    let (choosing, naming) = (FakeIdp::start().await, FakeIdp::start().await);
    let issuer = |idp: &FakeIdp, more: &str| {
        format!(
            "[[auth.oidc]]\nissuer = \"{}\"\naudience = [\"{AUDIENCE}\"]\ndomains = [\"lab.org\"]\n{more}\n",
            idp.base_url()
        )
    };
    let settings = [
        "[auth]\nproviders = [\"api_key\", \"oidc\"]\nadmit = [\"user:root@lab.org\", \"domain:lab.org\"]\n".to_owned(),
        issuer(&choosing, ""),
        issuer(&naming, "claims = { user = \"upn\" }"),
    ];
    let roles = "[roles]\noperator = [\"user:root@lab.org\"]\nsupport = [\"user:root@lab.org\"]\n";
    let settings = format!("{}{}{}{roles}", settings[0], settings[1], settings[2]);
    let site = Site::new().model("m", &backend).settings(&settings);
    let gateway = TestGateway::start(site).await;
    let desk = desk(&gateway).await;
    let key = KeyRequest {
        user: "root@lab.org".to_owned(),
        label: "of root".to_owned(),
        ..KeyRequest::default()
    };
    let key = desk.create_key(key).await.unwrap().key.expose().clone();
    let record = ProjectRecord {
        managers: Some(vec!["root@lab.org".to_owned()]),
        ..ProjectRecord::default()
    };
    desk.create_project("fusion", &record).await.unwrap();
    // Projects are read a little later.
    let reading = async {
        let me = Request::get("/v1/me").bearer(&key);
        while gateway.call(&me).await.json()["projects"] == json!([]) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    ostia_testkit::patience::within(|| "the project".to_owned(), reading).await;
    Rig {
        backend,
        choosing,
        naming,
        gateway,
        desk,
    }
}

impl Rig {
    fn token(&self, idp: &FakeIdp, subject: &str, more: &Value) -> String {
        let mut claims = idp.claims(AUDIENCE, subject, now());
        let more = more.as_object().unwrap().clone();
        claims.as_object_mut().unwrap().extend(more);
        idp.minter().mint(Signing::Es256, &claims)
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        self.gateway.call(&Request::get(path).bearer(token)).await
    }

    /// Asks until `/v1/me` shows so many keys: what is written about people is read a little later.
    async fn shows_keys(&self, token: &str, count: usize) {
        let showing = async {
            loop {
                let me = self.get("/v1/me", token).await.json();
                if me["keys"].as_array().map(Vec::len) == Some(count) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        ostia_testkit::patience::within(|| format!("{count} keys"), showing).await;
    }

    async fn add_member(&self, token: &str) -> u16 {
        let mut client = RawClient::connect(self.gateway.admin_address()).await;
        let body = json!({"members": ["friend@lab.org"]});
        let request = Request::post("/admin/projects/fusion/members")
            .bearer(token)
            .json(&body);
        client.call(&request).await.status()
    }
}

#[tokio::test]
async fn a_username_that_somebody_chose_opens_nothing() {
    let rig = rig().await;
    let mallory = json!({
        "preferred_username": "root@lab.org", "email": "mallory@lab.org", "email_verified": true, "upn": "root@lab.org",
    });
    let mallory = rig.token(&rig.choosing, "mallory", &mallory);
    let me = rig.get("/v1/me", &mallory).await.json();
    assert_eq!(me["username"], "root@lab.org", "{me}");
    for nothing in ["roles", "keys", "projects"] {
        assert_eq!(me[nothing], json!([]), "{me}");
    }
    assert_eq!(rig.add_member(&mallory).await, 403);
    // The provider that may say so does.
    let root = rig.token(&rig.naming, "r", &json!({"upn": "root@lab.org"}));
    let me = rig.get("/v1/me", &root).await.json();
    assert_eq!(me["roles"], json!(["operator", "support"]), "{me}");
    assert_eq!(me["keys"][0]["label"], "of root", "{me}");
    assert_eq!(me["projects"][0]["manager"], true, "{me}");
    assert_eq!(rig.add_member(&root).await, 200);
    // So does an address that a provider verified, whatever else its user is called.
    let verified =
        json!({"preferred_username": "boss", "email": "root@lab.org", "email_verified": true});
    let verified = rig.token(&rig.choosing, "other", &verified);
    let me = rig.get("/v1/me", &verified).await.json();
    assert_eq!(me["roles"], json!(["operator", "support"]), "{me}");
    rig.gateway.finish(&[&rig.backend]).await;
}

/// Two providers answer for one name. Until the site says whose it is, neither sees what belongs to it.
#[tokio::test]
async fn two_persons_of_one_name_do_not_see_each_other() {
    let rig = rig().await;
    let one = rig.token(&rig.naming, "r", &json!({"upn": "root@lab.org"}));
    rig.shows_keys(&one, 1).await;
    let other = json!({"preferred_username": "root@lab.org", "email": "root@lab.org", "email_verified": true});
    let other = rig.token(&rig.choosing, "x", &other);
    rig.shows_keys(&other, 0).await;
    rig.shows_keys(&one, 0).await;
    for token in [&one, &other] {
        let usage = rig.get("/v1/usage", token).await;
        assert_eq!(refusal(&usage), (409, "conflict".to_owned()));
    }
    let id = format!("{}#r", rig.naming.base_url());
    rig.desk.link(&id, "root@lab.org").await.unwrap();
    rig.shows_keys(&one, 1).await;
    rig.shows_keys(&other, 0).await;
    assert_eq!(rig.get("/v1/usage", &one).await.status(), 200);
    assert_eq!(refusal(&rig.get("/v1/usage", &other).await).0, 409);
    rig.gateway.finish(&[&rig.backend]).await;
}

/// Usernames that somebody chose are nobody's own, so sums are kept by the names for which providers answer.
#[tokio::test]
async fn what_somebody_uses_under_a_chosen_name_is_counted_as_their_own() {
    let rig = rig().await;
    let claims = |username: &str, address: &str| json!({"preferred_username": username, "email": address, "email_verified": true, "upn": "root@lab.org"});
    let unproven =
        json!({"preferred_username": "root@lab.org", "email": "eve@lab.org", "domain": "lab.org"});
    let people = [
        (
            rig.token(&rig.choosing, "1", &claims("ann", "ann@lab.org")),
            1,
        ),
        (
            rig.token(&rig.choosing, "2", &claims("ann", "anna@lab.org")),
            2,
        ),
        (
            rig.token(
                &rig.choosing,
                "3",
                &claims("root@lab.org", "mallory@lab.org"),
            ),
            3,
        ),
        (
            rig.token(&rig.naming, "r", &claims("anybody", "r@lab.org")),
            4,
        ),
    ];
    for (token, requests) in &people {
        for _ in 0..*requests {
            let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
            let chat = Request::post("/v1/chat/completions")
                .bearer(token)
                .json(&body);
            assert_eq!(rig.gateway.call(&chat).await.status(), 200);
        }
    }
    for (token, requests) in &people {
        let counted = async {
            loop {
                let usage = rig.get("/v1/usage?by=user", token).await;
                assert_eq!(usage.status(), 200, "{}", usage.text());
                let usage = usage.json();
                let [line] = &usage["data"].as_array().unwrap()[..] else {
                    continue;
                };
                assert!(line["requests"].as_u64() <= Some(*requests), "{line}");
                if line["requests"] == *requests {
                    return line["user"].as_str().unwrap().to_owned();
                }
            }
        };
        let user =
            ostia_testkit::patience::within(|| format!("{requests} requests"), counted).await;
        let names = [
            "ann@lab.org",
            "anna@lab.org",
            "mallory@lab.org",
            "root@lab.org",
        ];
        assert_eq!(user, names[usize::try_from(*requests).unwrap() - 1]);
    }
    // Who is of no domain is not even let in here; nothing of it is counted anywhere.
    let eve = rig.token(&rig.choosing, "4", &unproven);
    assert_eq!(rig.get("/v1/usage", &eve).await.status(), 403);
    // Whoever is erased leaves the sums of the one whose name they used.
    let id = format!("{}#3", rig.choosing.base_url());
    rig.desk.erase(&id).await.unwrap();
    let (root, _) = &people[3];
    let usage = rig.get("/v1/usage?by=user", root).await.json();
    assert_eq!(usage["data"][0]["requests"], 4, "{usage}");
    rig.gateway.finish(&[&rig.backend]).await;
}
