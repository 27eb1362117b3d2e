use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ostia_core::Secret;
use serde_json::{Value, json};

use super::rules::Rules;
use super::*;
use crate::identify::tests::{FakeWeb, NOW, answer, clock, field};
use crate::identify::{WebAnswer, WebFault, WebRequest};

fn settings() -> settings::Globus {
    settings::Globus {
        client_id: "gw".to_owned(),
        client_secret: Secret::new("secret".to_owned()),
        policies: vec!["p1".to_owned(), "p2".to_owned()],
        required_groups: Vec::new(),
        idp_domains: vec!["lab.org".to_owned(), "uni.edu".to_owned()],
        groups_per_domain: BTreeMap::new(),
        service_usernames: vec!["bot@clients.auth.globus.org".to_owned()],
        groups_prefix: String::new(),
        link_claim: String::new(),
        auth_url: "https://auth.example".to_owned(),
        scope: String::new(),
        groups_url: "https://groups.example".to_owned(),
        cache_ttl: Duration::from_secs(60),
        groups_ttl: Duration::from_secs(600),
    }
}

/// A session of three sign-ins; the token's own subject is none of them that count.
fn session() -> Value {
    let detail = |field: &str, id: &str, username: &str| {
        json!({field: id, "username": username, "name": format!("Name {id}"), "identity_provider": format!("idp-{id}"),
            "identity_provider_display_name": format!("IdP {id}")})
    };
    json!({
        "active": true, "sub": "primary", "username": "ann@gmail.com", "name": "Primary", "exp": NOW + 3_600,
        "client_id": "some-app", "iss": "https://auth.globus.org", "aud": ["gw"],
        "identity_set_detail": [
            detail("sub", "primary", "ann@gmail.com"), detail("sub", "unused", "ann@lab.org"),
            detail("id", "second", "ann@Uni.edu"), detail("sub", "third", "ann@lab.org"),
        ],
        "session_info": {"session_id": "s", "authentications": {
            "unknown": {}, "primary": {"idp": "idp-primary", "auth_time": 1}, "second": {"auth_time": 9}, "third": {"auth_time": 2},
        }},
        "policy_evaluations": {"p1": {"evaluation": true}, "p2": {"evaluation": true}},
    })
}

fn with(path: &[&str], value: Value) -> Value {
    let mut said = session();
    let place = path.iter().fold(&mut said, |level, part| &mut level[*part]);
    *place = value;
    said
}

fn person(said: &Value) -> Result<String, SignInError> {
    Rules::new(&settings())
        .person(said)
        .map(|found| found.id.to_string())
}

#[test]
fn the_first_authorised_sign_in_of_the_session_is_the_user() {
    let found = Rules::new(&settings()).person(&session()).unwrap();
    assert_eq!((&*found.id, &*found.username), ("second", "ann@Uni.edu"));
    assert_eq!(
        (&*found.name, &*found.idp_id, &*found.idp_name),
        ("Name second", "idp-second", "IdP second")
    );
    // In the order of the session: neither of the alphabet, nor of the identities, nor of the time.
    let turned = json!({"third": {"auth_time": 2}, "second": {"auth_time": 9}});
    let turned = with(&["session_info", "authentications"], turned);
    assert_eq!(person(&turned).as_deref(), Ok("third"));
    // An identity that is linked but did not sign in counts for nothing.
    let alone = with(&["session_info", "authentications"], json!({"primary": {}}));
    let Err(SignInError::PolicyDenied(text)) = person(&alone) else {
        panic!()
    };
    assert!(
        text.contains("ann@gmail.com")
            && text.contains("lab.org, uni.edu")
            && text.contains("ostia login"),
        "{text}"
    );
    for nobody in [json!({}), json!([]), json!(null), json!({"unknown": {}})] {
        let said = with(&["session_info", "authentications"], nobody);
        assert!(matches!(person(&said), Err(SignInError::PolicyDenied(_))));
    }
    let mut anyone = settings();
    anyone.idp_domains.clear();
    assert_eq!(
        &*Rules::new(&anyone).person(&session()).unwrap().id,
        "primary"
    );
}

#[test]
fn usernames_that_are_no_addresses_have_no_authorised_domain() {
    for username in [
        "ann",
        "ann@",
        "@uni.edu",
        "ann@lab.org@uni.edu",
        "ann@uni.edu@lab.org",
        "",
        "ann@uni.edu.evil.org",
        "ann@xuni.edu",
    ] {
        let mut said = with(&["session_info", "authentications"], json!({"second": {}}));
        said["identity_set_detail"][2]["username"] = json!(username);
        assert!(
            matches!(person(&said), Err(SignInError::PolicyDenied(_))),
            "{username}"
        );
    }
}

#[test]
fn every_policy_must_have_been_met() {
    for evaluations in [
        json!(null),
        json!({}),
        json!({"p1": {"evaluation": true}}),
        json!({"p1": {"evaluation": true}, "p2": {"evaluation": false}}),
        json!({"p1": {"evaluation": true}, "p2": {"evaluation": "true"}}),
        json!({"p1": {"evaluation": true}, "p3": {"evaluation": true}}),
        json!({"p1": {"evaluation": true}, "p2": {"evaluation": true}, "p3": {"evaluation": false}}),
        json!({"p1": {"evaluation": true}, "p2": {"evaluation": true}, "p3": {}}),
        json!({"p1": {"evaluation": true}, "p2": true}),
        json!([true, true]),
        json!("p1,p2"),
    ] {
        let said = with(&["policy_evaluations"], evaluations.clone());
        assert!(
            matches!(person(&said), Err(SignInError::Reauthenticate(_))),
            "{evaluations}"
        );
    }
    let more =
        json!({"p3": {"evaluation": true}, "p2": {"evaluation": true}, "p1": {"evaluation": true}});
    assert!(person(&with(&["policy_evaluations"], more)).is_ok());
    // Told before the question who it is.
    let mut both = with(&["policy_evaluations"], json!({}));
    both["session_info"] = json!({});
    assert!(matches!(person(&both), Err(SignInError::Reauthenticate(_))));
}

#[test]
fn programs_need_no_session_and_no_policy() {
    let said = json!({"active": true, "client_id": "bot-id", "sub": "bot-id", "username": "bot@clients.auth.globus.org",
        "name": "Bot", "exp": NOW + 10, "iss": "https://auth.globus.org"});
    let bot = Rules::new(&settings()).person(&said).unwrap();
    assert_eq!((&*bot.id, &*bot.name), ("bot-id", "Bot"));
    assert_eq!(
        (&*bot.idp_id, &*bot.idp_name),
        ("clients.auth.globus.org", "https://auth.globus.org")
    );
    let mut other = said;
    other["username"] = json!("other@clients.auth.globus.org");
    assert!(Rules::new(&settings()).person(&other).is_err());
}

#[test]
fn groups_are_required_of_all_and_by_domain() {
    let mut rules = settings();
    rules.required_groups = vec!["A".to_owned(), "B".to_owned()];
    rules.groups_per_domain = [("uni.edu".to_owned(), vec!["C".to_owned()])].into();
    let rules = Rules::new(&rules);
    let ann = |domain: &str| rules::Person {
        id: "i".into(),
        name: "n".into(),
        username: format!("ann@{domain}").into(),
        idp_id: "".into(),
        idp_name: "".into(),
        email: "".into(),
        link: None,
    };
    let admit = |domain: &str, groups: &[&str]| {
        let groups: Vec<Arc<str>> = groups.iter().map(|one| (*one).into()).collect();
        rules.admit(&ann(domain), &groups)
    };
    assert_eq!(admit("lab.org", &["B"]), Ok(()));
    assert_eq!(admit("Uni.EDU", &["A", "C"]), Ok(()));
    for (domain, groups, needed) in [
        ("lab.org", &[][..], "A, B"),
        ("lab.org", &["C"], "A, B"),
        ("uni.edu", &["A"], "C"),
        ("clients.auth.globus.org", &["AB"], "A, B"),
    ] {
        let Err(SignInError::PolicyDenied(text)) = admit(domain, groups) else {
            panic!("{domain} {groups:?}")
        };
        assert!(
            text.contains(needed) && text.contains("sign in again"),
            "{text}"
        );
    }
}

fn globus_site(request: &WebRequest) -> Result<WebAnswer, WebFault> {
    match &*request.url.path {
        "/v2/oauth2/token/introspect" => answer(200, &session()),
        "/v2/oauth2/token" => answer(
            200,
            &json!([
                {"resource_server": "other", "access_token": "x", "scope": "s", "token_type": "Bearer", "expires_in": 9},
                {"resource_server": "groups.api.globus.org", "access_token": "dependent", "scope": "s", "token_type": "bearer", "expires_in": 9},
            ]),
        ),
        "/v2/groups/my_groups" => answer(
            200,
            &json!([
                {"id": "g1", "name": "one"},
                {"id": "05D1C5A4-0FF0-11EF-9C26-6BEDA4A3F1CB", "my_memberships": [{"status": "invited"}, {"status": "active"}]},
                {"id": "g3", "my_memberships": [{"status": "invited"}]},
            ]),
        ),
        other => panic!("{other}"),
    }
}

fn provider(web: &Arc<FakeWeb>, clock: &Arc<ostia_core::ManualClock>) -> Globus {
    let web = Arc::clone(web) as Arc<dyn Web>;
    Globus::new(&settings(), false, &web, Arc::clone(clock) as _).unwrap()
}

#[tokio::test]
async fn the_calls_are_those_of_the_sdk() {
    let (web, clock) = (FakeWeb::new(globus_site), clock());
    let verified = provider(&web, &clock).verify("Agtoken").await.unwrap();
    let user = &verified.identity;
    assert_eq!(
        (&*user.user_id, user.domain.as_deref()),
        ("second", Some("uni.edu"))
    );
    assert_eq!(
        user.groups.iter().map(|one| &**one).collect::<Vec<_>>(),
        ["g1", "05d1c5a4-0ff0-11ef-9c26-6beda4a3f1cb"]
    );
    assert_eq!(verified.expires_at, Some((NOW + 3_600) * 1_000_000));
    let calls = web.calls();
    assert_eq!(
        calls[0].form.as_ref().unwrap().expose(),
        "token=Agtoken&authentication_policies=p1%2Cp2&include=session_info%2Cidentity_set_detail"
    );
    assert_eq!(
        calls[0].authorization.as_ref().unwrap().expose(),
        "Basic Z3c6c2VjcmV0"
    );
    assert_eq!(
        calls[1].form.as_ref().unwrap().expose(),
        "grant_type=urn%3Aglobus%3Aauth%3Agrant_type%3Adependent_token&token=Agtoken"
    );
    assert_eq!(
        calls[2].authorization.as_ref().unwrap().expose(),
        "Bearer dependent"
    );
    assert!(calls[2].form.is_none() && field(&calls[1], "scope").is_none());
}

/// An identity has its id under `sub`, under `id`, or under both; another's id in one of them is not believed twice.
#[test]
fn identities_are_found_by_either_name_of_the_id() {
    let detail = |id: Value| {
        let mut detail = json!({"username": "ann@lab.org", "name": "Ann"});
        for (field, value) in id.as_object().unwrap() {
            detail[field] = value.clone();
        }
        let mut said = with(&["session_info", "authentications"], json!({"i": {}}));
        said["identity_set_detail"] = json!([detail]);
        person(&said)
    };
    for id in [
        json!({"sub": "i"}),
        json!({"id": "i"}),
        json!({"sub": "i", "id": "i"}),
    ] {
        assert_eq!(detail(id.clone()).as_deref(), Ok("i"), "{id}");
    }
    for id in [
        json!({}),
        json!({"sub": null}),
        json!({"sub": "j", "id": 7}),
        json!({"sub": ["i"]}),
        json!({"uuid": "i"}),
    ] {
        assert!(
            matches!(detail(id.clone()), Err(SignInError::PolicyDenied(_))),
            "{id}"
        );
    }
    // Details that are none.
    for details in [json!(null), json!({}), json!("i"), json!(["i", null, 7])] {
        let mut said = with(&["session_info", "authentications"], json!({"i": {}}));
        said["identity_set_detail"] = details.clone();
        assert!(
            matches!(person(&said), Err(SignInError::PolicyDenied(_))),
            "{details}"
        );
    }
}

/// What Globus learnt before a purge is not kept after it.
#[tokio::test]
async fn groups_that_were_asked_for_before_a_purge_are_not_kept() {
    let (web, clock) = (FakeWeb::new(globus_site), clock());
    let provider = Arc::new(provider(&web, &clock));
    let purging = Arc::clone(&provider);
    web.now(move |request| {
        if *request.url.path == *"/v2/groups/my_groups" {
            purging.purge();
        }
        globus_site(request)
    });
    provider.verify("Agtoken").await.unwrap();
    web.now(globus_site);
    provider.verify("Agtoken").await.unwrap();
    assert_eq!(web.count(), 6);
}

#[tokio::test]
async fn groups_live_longer_than_the_token_s_answer() {
    let (web, clock) = (FakeWeb::new(globus_site), clock());
    let provider = provider(&web, &clock);
    for _ in 0..3 {
        provider.verify("Agtoken").await.unwrap();
    }
    assert_eq!(web.count(), 5);
    clock.advance(Duration::from_secs(600));
    provider.verify("Agtoken").await.unwrap();
    assert_eq!(web.count(), 8);
    provider.purge();
    provider.verify("Agtoken").await.unwrap();
    assert_eq!(web.count(), 11);
}

#[tokio::test]
async fn trouble_with_groups_denies_nobody_and_admits_nobody() {
    let (web, clock) = (FakeWeb::new(globus_site), clock());
    let outcome = |path: &'static str, status: u16, body: Value| {
        web.now(move |request| {
            if *request.url.path == *path {
                answer(status, &body)
            } else {
                globus_site(request)
            }
        });
        let provider = provider(&web, &clock);
        async move {
            provider
                .verify("Agtoken")
                .await
                .map(|found| found.identity.groups.len())
        }
    };
    let (token, groups) = ("/v2/oauth2/token", "/v2/groups/my_groups");
    assert_eq!(
        outcome(groups, 500, json!({})).await,
        Err(SignInError::IdentityUnavailable)
    );
    assert_eq!(
        outcome(groups, 403, json!({})).await,
        Err(SignInError::IdentityUnavailable)
    );
    assert_eq!(
        outcome(groups, 200, json!({})).await,
        Err(SignInError::IdentityUnavailable)
    );
    // An object, as other grants return it, is not a list of tokens: nobody loses their groups over it.
    let object = json!({"resource_server": "groups.api.globus.org", "access_token": "x", "other_tokens": []});
    for answer in [json!({}), object, json!(null), json!("x")] {
        assert_eq!(
            outcome(token, 200, answer).await,
            Err(SignInError::IdentityUnavailable)
        );
    }
    assert_eq!(
        outcome(
            token,
            200,
            json!([{"resource_server": "groups.api.globus.org", "access_token": "a b"}])
        )
        .await,
        Err(SignInError::IdentityUnavailable)
    );
    assert_eq!(
        outcome(token, 401, json!({})).await,
        Err(SignInError::InvalidKey)
    );
    assert_eq!(
        outcome(token, 400, json!({"error": "invalid_grant"})).await,
        Err(SignInError::InvalidKey)
    );
    assert!(matches!(
        outcome(token, 403, json!({})).await,
        Err(SignInError::PolicyDenied(_))
    ));
    assert_eq!(outcome(token, 200, json!([])).await, Ok(0));
    assert_eq!(
        outcome("/v2/oauth2/token/introspect", 200, json!({"active": false})).await,
        Err(SignInError::InvalidKey)
    );
    assert_eq!(
        outcome("/v2/oauth2/token/introspect", 401, json!({})).await,
        Err(SignInError::IdentityUnavailable)
    );
}
