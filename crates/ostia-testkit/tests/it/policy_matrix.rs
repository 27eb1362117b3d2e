//! Who may use what: every user before every rule, on every route, against one table of a few lines (R30, R31).

use std::collections::BTreeMap;

use ostia_core::{Clock, SystemClock};
use ostia_testkit::backend::FakeBackend;
use ostia_testkit::client::Request;
use ostia_testkit::gateway::{Endpoint, FRAMEWORK, Site, TestGateway};
use ostia_testkit::idp::{CLIENT_ID, FakeIdp};
use serde_json::{Value, json};

const APIS: [&str; 5] = [
    "chat/completions",
    "completions",
    "embeddings",
    "responses",
    "messages",
];
const GROUPS: [&[&str]; 3] = [&[], &["g2"], &["g1", "g3"]];
/// The last one has none.
const DOMAINS: [&str; 3] = ["one.org", "two.org", ""];

#[derive(Clone, Copy)]
struct Rule {
    groups: &'static [&'static str],
    domains: &'static [&'static str],
}

const RULES: [Rule; 5] = [
    Rule {
        groups: &[],
        domains: &[],
    },
    Rule {
        groups: &["g1"],
        domains: &[],
    },
    Rule {
        groups: &["g1", "g2"],
        domains: &[],
    },
    Rule {
        groups: &[],
        domains: &["one.org", "two.org"],
    },
    Rule {
        groups: &["g1"],
        domains: &["two.org"],
    },
];

struct User {
    token: String,
    groups: &'static [&'static str],
    domain: &'static str,
}

impl Rule {
    /// The reference: an empty list is no rule, else one of it is needed, and both must hold.
    fn admits(self, user: &User) -> bool {
        let group =
            self.groups.is_empty() || self.groups.iter().any(|one| user.groups.contains(one));
        let domain = self.domains.is_empty() || self.domains.contains(&user.domain);
        group && domain
    }
}

fn users() -> Vec<User> {
    let all = GROUPS
        .iter()
        .flat_map(|groups| DOMAINS.iter().map(move |domain| (groups, domain)));
    all.enumerate()
        .map(|(n, (groups, domain))| User {
            token: format!("user{n}"),
            groups,
            domain,
        })
        .collect()
}

fn cluster(rule: usize) -> String {
    format!("cluster{rule}")
}

fn model(cluster: usize, endpoint: usize) -> String {
    format!("model-{cluster}-{endpoint}")
}

async fn rig(users: &[User]) -> (FakeIdp, FakeBackend, TestGateway) {
    let (idp, backend) = (FakeIdp::start().await, FakeBackend::start().await);
    let mut site = Site::new().settings(&format!(
        "[auth]\nproviders = [\"introspection\"]\n[auth.introspection]\nurl = \"{}/introspect\"\nclient_id = \"{CLIENT_ID}\"\nclient_secret = \"env:IDP_SECRET\"",
        idp.base_url()
    ));
    for (c, on_cluster) in RULES.iter().enumerate() {
        for (e, on_endpoint) in RULES.iter().enumerate() {
            let endpoint = Endpoint::of(&model(c, e), &backend)
                .on(&cluster(c), FRAMEWORK)
                .field("allowed_globus_groups", json!(on_endpoint.groups))
                .field("allowed_domains", json!(on_endpoint.domains));
            site = site.endpoint(endpoint);
        }
        site = site
            .cluster(
                &cluster(c),
                "allowed_globus_groups",
                json!(on_cluster.groups),
            )
            .cluster(&cluster(c), "allowed_domains", json!(on_cluster.domains));
    }
    for user in users {
        let name = match user.domain {
            "" => user.token.clone(),
            domain => format!("{}@{domain}", user.token),
        };
        let exp = SystemClock.unix_micros() / 1_000_000 + 3_600;
        idp.introspected(&user.token, json!({"active": true, "sub": user.token, "username": name, "groups": user.groups, "exp": exp}));
    }
    let site = site
        .variable("IDP_SECRET", idp.secret().secret())
        .guard(idp.secret());
    (idp, backend, TestGateway::start(site).await)
}

fn body(api: &str, model: &str) -> Value {
    match api {
        "completions" => json!({"model": model, "prompt": "hi", "max_tokens": 4}),
        "embeddings" | "responses" => json!({"model": model, "input": "hi"}),
        _ => {
            json!({"model": model, "max_tokens": 4, "messages": [{"role": "user", "content": "hi"}]})
        }
    }
}

/// Status, code and all bytes of an answer's body that are no completion.
type Seen = (u16, String, Option<String>);

struct Caller<'a> {
    gateway: &'a TestGateway,
    client: ostia_testkit::client::RawClient,
}

impl Caller<'_> {
    async fn post(&mut self, user: &User, path: &str, api: &str, model: &str) -> Seen {
        let request = Request::post(path)
            .bearer(&user.token)
            .json(&body(api, model));
        let answer = self.client.call(&request).await;
        self.gateway.note(&answer);
        let refused = (answer.status() >= 400).then(|| answer.text());
        (
            answer.status(),
            answer.error_code().unwrap_or_default(),
            refused,
        )
    }
}

#[tokio::test]
async fn every_route_decides_alike() {
    let users = users();
    let (_idp, backend, gateway) = rig(&users).await;
    let mut caller = Caller {
        gateway: &gateway,
        client: gateway.client().await,
    };
    let mut decisions = 0;
    for user in &users {
        assert_eq!(
            listed(&gateway, user).await,
            permitted(user),
            "list-endpoints of {}",
            user.token
        );
        for api in APIS {
            let nowhere = caller
                .post(
                    user,
                    &format!("/cluster9/{FRAMEWORK}/v1/{api}"),
                    api,
                    "model",
                )
                .await;
            let nothing = caller
                .post(user, &format!("/v1/{api}"), api, "no-such-model")
                .await;
            assert_eq!((nowhere.0, &*nowhere.1), (404, "cluster_not_found"));
            assert_eq!((nothing.0, &*nothing.1), (404, "model_not_found"));
            for (c, on_cluster) in RULES.iter().enumerate() {
                for (e, on_endpoint) in RULES.iter().enumerate() {
                    let may = (on_cluster.admits(user), on_endpoint.admits(user));
                    let scoped_path = format!("/{}/{FRAMEWORK}/v1/{api}", cluster(c));
                    let scoped = caller.post(user, &scoped_path, api, &model(c, e)).await;
                    let bare = caller
                        .post(user, &format!("/v1/{api}"), api, &model(c, e))
                        .await;
                    let what = format!(
                        "{} ({:?} {}) {api} {}",
                        user.token,
                        user.groups,
                        user.domain,
                        model(c, e)
                    );
                    match may {
                        (true, true) => assert_eq!((scoped.0, bare.0), (200, 200), "{what}"),
                        // What is forbidden looks to the byte like what is not there.
                        (false, _) => assert_eq!((&scoped, &bare), (&nowhere, &nothing), "{what}"),
                        (true, false) => {
                            assert_eq!((&scoped, &bare), (&nothing, &nothing), "{what}")
                        }
                    }
                    decisions += 2;
                }
            }
        }
    }
    assert_eq!(decisions, 9 * 25 * 5 * 2);
    drop(caller);
    gateway.finish(&[&backend]).await;
}

/// Cluster to models, by the reference.
fn permitted(user: &User) -> BTreeMap<String, Vec<String>> {
    let clusters = RULES
        .iter()
        .enumerate()
        .filter(|(_, rule)| rule.admits(user));
    clusters
        .map(|(c, _)| {
            let endpoints = RULES
                .iter()
                .enumerate()
                .filter(|(_, rule)| rule.admits(user));
            (cluster(c), endpoints.map(|(e, _)| model(c, e)).collect())
        })
        .collect()
}

/// Cluster to models, by `/list-endpoints`.
async fn listed(gateway: &TestGateway, user: &User) -> BTreeMap<String, Vec<String>> {
    let answer = gateway
        .call(&Request::get("/list-endpoints").bearer(&user.token))
        .await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let all = answer.json()["clusters"].as_object().unwrap().clone();
    all.into_iter()
        .map(|(name, cluster)| {
            let models = cluster["frameworks"][FRAMEWORK]["models"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            (
                name,
                models
                    .iter()
                    .map(|one| one.as_str().unwrap().to_owned())
                    .collect(),
            )
        })
        .collect()
}
