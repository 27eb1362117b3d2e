//! Who may use what: every user with every rule on every route, against one table of a few lines (R30, R31).

use std::collections::{BTreeMap, BTreeSet};

use ostia_core::{Clock, SystemClock};
use ostia_testkit::backend::FakeBackend;
use ostia_testkit::client::{Answer, RawClient, Request};
use ostia_testkit::gateway::{Endpoint, FRAMEWORK, Row, Site, TestGateway, gauges};
use ostia_testkit::idp::{CLIENT_ID, FakeIdp};
use serde_json::{Value, json};

use crate::names::essence;

/// Every route exists twice.
const BASES: [&str; 2] = ["", "/resource_server"];
/// A model on every cluster, with a different rule on each.
const SHARED: &str = "shared";
const APIS: [&str; 5] = [
    "chat/completions",
    "completions",
    "embeddings",
    "responses",
    "messages",
];
const GROUPS: [&[&str]; 3] = [&[], &["g2"], &["g1", "g3"]];
/// The last user has no domain.
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
    /// The reference: an empty list allows everybody; otherwise one of its entries must match; both lists must allow.
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

/// The rule with an endpoint's number. For the shared model, one that differs from its cluster's.
fn rule_of(cluster: usize, endpoint: Option<usize>) -> Rule {
    RULES[endpoint.unwrap_or((cluster + 2) % RULES.len())]
}

/// All endpoints: cluster, model and number; `None` is the shared model.
fn endpoints() -> Vec<(usize, String, Option<usize>)> {
    let numbers = || (0..RULES.len()).map(Some).chain([None]);
    let all = (0..RULES.len()).flat_map(|c| numbers().map(move |e| (c, e)));
    all.map(|(c, e)| (c, e.map_or(SHARED.to_owned(), |e| model(c, e)), e))
        .collect()
}

/// Cluster to models, by the reference.
fn permitted(user: &User) -> BTreeMap<String, BTreeSet<String>> {
    let mut permitted = BTreeMap::new();
    for (c, name, e) in endpoints() {
        if RULES[c].admits(user) {
            let models: &mut BTreeSet<String> = permitted.entry(cluster(c)).or_default();
            if rule_of(c, e).admits(user) {
                models.insert(name);
            }
        }
    }
    permitted
}

async fn rig(users: &[User]) -> (FakeIdp, FakeBackend, TestGateway) {
    let (idp, backend) = (FakeIdp::start().await, FakeBackend::start().await);
    let mut site = Site::new().settings(&format!(
        "[auth]\nproviders = [\"introspection\"]\n[auth.introspection]\nurl = \"{}/introspect\"\nclient_id = \"{CLIENT_ID}\"\nclient_secret = \"env:IDP_SECRET\"\nclaims.user = \"username\"",
        idp.base_url()
    ));
    for (c, name, e) in endpoints() {
        let rule = rule_of(c, e);
        let endpoint = Endpoint::of(&name, &backend)
            .on(&cluster(c), FRAMEWORK)
            .field("allowed_globus_groups", json!(rule.groups))
            .field("allowed_domains", json!(rule.domains));
        site = site.endpoint(endpoint);
    }
    for (c, rule) in RULES.iter().enumerate() {
        site = site
            .cluster(&cluster(c), "allowed_globus_groups", json!(rule.groups))
            .cluster(&cluster(c), "allowed_domains", json!(rule.domains));
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

/// The status, and all that a caller can see of a refusal, except the requested name and the names suggested instead.
type Seen = (u16, Option<(String, Vec<(String, String)>, Value)>);

struct Caller<'a> {
    client: RawClient,
    user: &'a User,
}

impl Caller<'_> {
    async fn ask(&mut self, request: Request) -> Answer {
        let answer = self.client.call(&request.bearer(&self.user.token)).await;
        if answer.status() >= 400 {
            self.check_names(&answer);
        }
        answer
    }

    /// Only models that the user may use are suggested.
    fn check_names(&self, answer: &Answer) {
        let message = answer.json()["error"]["message"].to_string();
        let may = permitted(self.user);
        let quoted = message.split('`').skip(1).step_by(2).skip(1);
        for name in quoted.filter(|name| !name.starts_with("GET ")) {
            let known = may.values().any(|models| models.contains(name));
            assert!(known, "{} may not know of it: {message}", self.user.token);
        }
    }

    async fn post(&mut self, path: &str, api: &str, model: &str) -> Seen {
        let answer = self.ask(Request::post(path).json(&body(api, model))).await;
        seen(&answer)
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.ask(Request::get(path)).await
    }
}

fn seen(answer: &Answer) -> Seen {
    let refused = (answer.status() >= 400).then(|| {
        let (line, mut fields, _) = essence(answer);
        fields.retain(|(name, _)| !name.eq_ignore_ascii_case("content-length"));
        let mut body = answer.json();
        let message = body["error"]["message"].as_str().unwrap_or_default();
        let (said, hint) = message.split_once("`GET").unwrap_or((message, ""));
        let said = said.split('`').next().unwrap_or_default();
        body["error"]["message"] = format!("{said}|{hint}").into();
        (line, fields, body)
    });
    (answer.status(), refused)
}

/// Each request is allowed by the reference, or gets the same bytes as a request for a model that does not exist.
/// Requests that reached a backend went to endpoints that the user may use, and each denied one is counted once.
#[tokio::test]
async fn every_inference_route_decides_alike() {
    let users = users();
    let (_idp, backend, gateway) = rig(&users).await;
    let mut denied: BTreeMap<&str, u64> = BTreeMap::new();
    let mut decisions = 0;
    for user in &users {
        let may = permitted(user);
        let may_anywhere: BTreeSet<&String> = may.values().flatten().collect();
        let client = gateway.client().await;
        let mut caller = Caller { client, user };
        for base in BASES {
            for api in APIS {
                let nowhere = format!("{base}/cluster9/{FRAMEWORK}/v1/{api}");
                let nowhere = caller.post(&nowhere, api, "model").await;
                let everywhere = format!("{base}/v1/{api}");
                let nothing = caller.post(&everywhere, api, "no-such-model").await;
                assert_eq!((nowhere.0, nothing.0), (404, 404));
                for (c, name, _) in endpoints() {
                    let scoped = format!("{base}/{}/{FRAMEWORK}/v1/{api}", cluster(c));
                    let scoped = caller.post(&scoped, api, &name).await;
                    let bare = caller.post(&everywhere, api, &name).await;
                    let what = format!(
                        "{} {:?} {}: {base} {api} {c} {name}",
                        user.token, user.groups, user.domain
                    );
                    match may.get(&cluster(c)) {
                        None => {
                            *denied.entry("cluster").or_default() += 1;
                            assert_eq!(scoped, nowhere, "{what}");
                        }
                        Some(models) if models.contains(&name) => {
                            assert_eq!(scoped.0, 200, "{what}")
                        }
                        Some(_) => {
                            *denied.entry("model").or_default() += 1;
                            assert_eq!(scoped, nothing, "{what}");
                        }
                    }
                    if may_anywhere.contains(&name) {
                        assert_eq!(bare.0, 200, "{what}");
                    } else {
                        *denied.entry("model").or_default() += 1;
                        assert_eq!(bare, nothing, "{what}");
                    }
                    decisions += 2;
                }
            }
        }
    }
    assert_eq!(decisions, 9 * 2 * 5 * 30 * 2);
    let metrics = gauges::scrape(gateway.admin_address()).await;
    for (what, count) in denied {
        let line = format!("ostia_denials_total{{what=\"{what}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    for row in gateway.finish(&[&backend]).await {
        assert!(was_permitted(&users, &row), "{row:?}");
    }
}

/// Whether an answered request went where its user may go.
fn was_permitted(users: &[User], row: &Row) -> bool {
    let name = row.username.split('@').next().unwrap();
    let user = users.iter().find(|user| user.token == name).unwrap();
    let slug = |c: usize| format!("{}-{FRAMEWORK}-{}", cluster(c), row.model);
    let c = (0..RULES.len()).find(|c| slug(*c) == row.endpoint_slug);
    row.outcome != "ok" || c.is_some_and(|c| permitted(user)[&cluster(c)].contains(&row.model))
}

/// Every list has what the reference allows. Everything else gets the same bytes as what does not exist.
#[tokio::test]
async fn every_list_decides_alike() {
    let users = users();
    let (_idp, backend, gateway) = rig(&users).await;
    for user in &users {
        let client = gateway.client().await;
        let mut caller = Caller { client, user };
        let may = permitted(user);
        let anywhere: BTreeSet<String> = may.values().flatten().cloned().collect();
        for base in BASES {
            let listed = caller.get(&format!("{base}/list-endpoints")).await.json();
            assert_eq!(endpoints_of(&listed), may, "{base} {}", user.token);
            assert_eq!(
                ids(&caller.get(&format!("{base}/v1/models")).await),
                anywhere
            );
            let nothing = seen(&caller.get(&format!("{base}/v1/models/no-such-model")).await);
            for (c, name, _) in endpoints() {
                let one = caller.get(&format!("{base}/v1/models/{name}")).await;
                alike(&one, anywhere.contains(&name), &nothing);
                let of_cluster = may
                    .get(&cluster(c))
                    .is_some_and(|models| models.contains(&name));
                check_one(
                    &mut caller,
                    base,
                    c,
                    &name,
                    of_cluster,
                    may.contains_key(&cluster(c)),
                )
                .await;
            }
            for c in 0..RULES.len() {
                check_lists(&mut caller, base, c, may.get(&cluster(c))).await;
            }
        }
    }
    // What is open to all is visible to all; the existence of everything else is hidden here.
    for base in BASES {
        let open = gateway.call(&Request::get(&format!("{base}/status"))).await;
        assert_eq!(open.json(), json!({"cluster0": true}));
    }
    gateway.finish(&[&backend]).await;
}

/// One model of a cluster, on routes that name both.
async fn check_one(
    caller: &mut Caller<'_>,
    base: &str,
    c: usize,
    name: &str,
    may: bool,
    sees: bool,
) {
    for route in [
        "/{cluster}/{framework}/v1/models/{model}",
        "/{cluster}/models?model_id={model}",
    ] {
        let route = |cluster: &str, model: &str| {
            let path = route
                .replace("{cluster}", cluster)
                .replace("{framework}", FRAMEWORK);
            format!("{base}{}", path.replace("{model}", model))
        };
        let absent = match sees {
            true => route(&cluster(c), "no-such-model"),
            false => route("cluster9", name),
        };
        let absent = seen(&caller.get(&absent).await);
        let one = caller.get(&route(&cluster(c), name)).await;
        alike(&one, may, &absent);
    }
}

/// A cluster's lists; `None`: it must seem not to exist.
async fn check_lists(
    caller: &mut Caller<'_>,
    base: &str,
    c: usize,
    may: Option<&BTreeSet<String>>,
) {
    for list in [
        format!("{FRAMEWORK}/v1/models"),
        "models".to_owned(),
        "jobs".to_owned(),
    ] {
        let absent = seen(&caller.get(&format!("{base}/cluster9/{list}")).await);
        let answer = caller.get(&format!("{base}/{}/{list}", cluster(c))).await;
        alike(&answer, may.is_some(), &absent);
        let Some(may) = may else { continue };
        let shown = match &*list {
            "jobs" => job_models(&answer.json()),
            _ => ids(&answer),
        };
        assert_eq!(&shown, may, "{} {base} {c} {list}", caller.user.token);
    }
}

#[track_caller]
fn alike(answer: &Answer, may: bool, absent: &Seen) {
    assert_eq!(absent.0, 404);
    match may {
        true => assert_eq!(answer.status(), 200, "{}", answer.text()),
        false => assert_eq!(&seen(answer), absent),
    }
}

/// The ids of OpenAI's list, or of a bare array.
fn ids(answer: &Answer) -> BTreeSet<String> {
    let all = answer.json();
    let entries = all.as_array().or_else(|| all["data"].as_array()).unwrap();
    let ids = entries
        .iter()
        .map(|one| one["id"].as_str().unwrap().to_owned());
    ids.collect()
}

/// The models of all lists. Checks the counts too.
fn job_models(jobs: &Value) -> BTreeSet<String> {
    let lists = jobs
        .as_object()
        .unwrap()
        .values()
        .filter_map(Value::as_array);
    let models: BTreeSet<String> = lists
        .flatten()
        .flat_map(|job| job["Models"].as_str().unwrap().split(','))
        .map(str::to_owned)
        .collect();
    assert_eq!(jobs["cluster_status"]["total_models"], models.len());
    models
}

/// Cluster to models, from `/list-endpoints`.
fn endpoints_of(listed: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let all = listed["clusters"].as_object().unwrap().iter();
    all.map(|(name, cluster)| {
        let frameworks = cluster["frameworks"].as_object().unwrap();
        let models = frameworks
            .values()
            .flat_map(|one| one["models"].as_array().unwrap());
        let models = models.map(|one| one.as_str().unwrap().to_owned());
        (name.clone(), models.collect())
    })
    .collect()
}
