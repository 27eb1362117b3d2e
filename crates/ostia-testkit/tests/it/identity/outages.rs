use std::time::Duration;

use futures_util::future::join_all;
use ostia_testkit::backend::Script;
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::gauges;
use ostia_testkit::idp::{Mood, Signing};
use ostia_testkit::patience::within;

use super::*;

fn unavailable() -> (u16, String) {
    (503, "identity_unavailable".to_owned())
}

/// R70, R71: an outage from the start, then one later.
#[tokio::test]
async fn an_outage_denies_nobody_and_ends_with_itself() {
    let (idp, backend, gateway) = oidc_rig().await;
    idp.be(Mood::Down);
    for name in ["ann", "bob"] {
        idp.introspected(name, active(name, &[]));
    }
    let jwt = idp
        .minter()
        .mint(Signing::Rs256, &idp.claims(AUDIENCE, "cay", now()));
    assert_eq!(refusal(&gateway.call(&whoami("ann")).await), unavailable());
    assert_eq!(refusal(&gateway.call(&whoami(&jwt)).await), unavailable());
    let key = gateway.site().secrets.client_bearer();
    assert_eq!(gateway.call(&whoami(&key)).await.status(), 200);

    idp.be(Mood::Well);
    assert_eq!(gateway.call(&whoami("ann")).await.status(), 200);

    for mood in [Mood::Down, Mood::Status(500), Mood::Html, Mood::Silent] {
        idp.be(mood.clone());
        assert_eq!(gateway.call(&whoami("ann")).await.status(), 200, "{mood:?}");
        assert_eq!(
            refusal(&gateway.call(&whoami("bob")).await),
            unavailable(),
            "{mood:?}"
        );
    }
    idp.be(Mood::Well);
    // Four failures in a row do not open the breaker: the next call is answered.
    assert_eq!(gateway.call(&whoami("bob")).await.status(), 200);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_scrape_says_which_provider_is_down() {
    let (idp, backend, gateway) = oidc_rig().await;
    let of = |metrics: &str, name: &str| {
        let series = format!("ostia_identity_provider_{name}{{provider=\"introspection\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&*series));
        line.unwrap_or_else(|| panic!("no {series} in {metrics}"))
            .to_owned()
    };
    let scrape = async || gauges::scrape(gateway.admin_address()).await;
    let before = scrape().await;
    assert_eq!(
        (of(&before, "up"), of(&before, "failures_total")),
        ("1".to_owned(), "0".to_owned())
    );
    idp.be(Mood::Status(500));
    let down = async {
        for n in 0.. {
            let answer = gateway.call(&whoami(&format!("stranger{n}"))).await;
            assert_eq!(refusal(&answer), unavailable());
            if of(&scrape().await, "up") == "0" {
                return;
            }
        }
    };
    within(|| "a provider that is down".to_owned(), down).await;
    let after = scrape().await;
    let failures: u64 = of(&after, "failures_total").parse().unwrap();
    assert!(failures >= 5, "{failures}");
    // The other provider is another series.
    assert!(after.contains("ostia_identity_provider_up{provider=\"oidc\"} 1"));
    gateway.finish(&[&backend]).await;
}

/// R73: malicious answers. None is believed, none is kept in memory, none redirects the gateway.
#[tokio::test]
async fn hostile_answers_are_bounded() {
    let elsewhere = FakeIdp::start().await;
    let moods = [
        Mood::Endless,
        Mood::Huge(2 * 1024 * 1024),
        Mood::Deep(10_000),
        Mood::Redirect(format!("{}/introspect", elsewhere.base_url())),
    ];
    for mood in moods {
        let (idp, backend, gateway) = oidc_rig().await;
        idp.introspected("ann", active("ann", &[]));
        elsewhere.introspected("ann", active("mallory", &[]));
        idp.be(mood.clone());
        let answer = gateway.call(&whoami("ann")).await;
        assert_eq!(refusal(&answer), unavailable(), "{mood:?}");
        let jwt = idp
            .minter()
            .mint(Signing::Es256, &idp.claims(AUDIENCE, "cay", now()));
        assert_eq!(
            refusal(&gateway.call(&whoami(&jwt)).await),
            unavailable(),
            "{mood:?}"
        );
        idp.be(Mood::Well);
        let ann = gateway.call(&whoami("ann")).await.json();
        assert_eq!(ann["username"], "ann@lab.org", "{mood:?}");
        gateway.finish(&[&backend]).await;
    }
    assert!(elsewhere.calls().is_empty());
}

/// A small R72: unknown users wait for a slow provider, those already known do not.
#[tokio::test]
async fn a_slow_provider_holds_up_strangers_only() {
    let (idp, backend, gateway) = oidc_rig().await;
    idp.introspected("ann", active("ann", &[]));
    assert_eq!(gateway.call(&whoami("ann")).await.status(), 200);
    let gate = Gate::closed();
    backend.otherwise(Script::completion().gate_events(&gate));
    let mut streaming = gateway.client().await;
    let chat = gateway
        .chat_stream("m")
        .without("authorization")
        .bearer("ann");
    streaming.send(chat.bytes()).await;

    idp.be(Mood::Slow(Duration::from_secs(3_600)));
    let strangers: Vec<_> = (0..100).map(|n| format!("stranger{n}")).collect();
    let knocking = join_all(strangers.iter().map(|token| {
        // Users behind a proxy, because a single address would not get all places.
        let request = whoami(token).header("x-forwarded-for", "192.0.2.1");
        let gateway = &gateway;
        async move { gateway.call(&request).await }
    }));
    let inside = async {
        // All places are taken, and known users do not notice.
        idp.reached(1 + 32).await;
        assert_eq!(idp.most_at_once(), 32);
        assert_eq!(gateway.call(&whoami("ann")).await.status(), 200);
        gate.open();
        streaming.answer().await
    };
    let (answers, stream) = tokio::join!(knocking, inside);
    assert!(
        answers
            .iter()
            .all(|answer| refusal(answer) == unavailable())
    );
    assert!(stream.text().contains("[DONE]"));
    idp.be(Mood::Well);
    let recovered = async { while gateway.call(&whoami("ann")).await.status() != 200 {} };
    within(|| "recovery".to_owned(), recovered).await;
    gateway.finish(&[&backend]).await;
}

/// R26 over the wire: the number of bad tokens from one address that reach the provider is limited.
#[tokio::test]
async fn a_flood_of_bad_tokens_stops_at_the_door() {
    let (idp, backend, gateway) = oidc_rig().await;
    idp.introspected("ann", active("ann", &[]));
    assert_eq!(gateway.call(&whoami("ann")).await.status(), 200);
    let mut seen = std::collections::BTreeMap::new();
    for n in 0..200 {
        let answer = gateway.call(&whoami(&format!("bad{n}"))).await;
        *seen.entry(refusal(&answer)).or_insert(0) += 1;
    }
    let expected = [
        ((401, "invalid_api_key".to_owned()), 30),
        ((429, "too_many_failed_sign_ins".to_owned()), 170),
    ];
    assert_eq!(seen, expected.into());
    assert_eq!(idp.calls().len(), 31);
    assert_eq!(gateway.call(&whoami("ann")).await.status(), 200);
    // All are counted. The log has a limited number, with an address and no credential.
    let metrics = gauges::scrape(gateway.admin_address()).await;
    for (reason, count) in [("invalid_api_key", 30), ("too_many_failures", 170)] {
        let line = format!("ostia_sign_ins_failed_total{{reason=\"{reason}\"}} {count}");
        assert!(metrics.contains(&line), "{metrics}");
    }
    // Behind a local proxy that was not declared, all callers share one address: the limit would hit all of them.
    let proxied = whoami("bad-again").header("x-forwarded-for", "192.0.2.1");
    assert_eq!(gateway.call(&proxied).await.status(), 401);
    gateway.finish(&[&backend]).await;
}
