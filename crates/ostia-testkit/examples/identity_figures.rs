//! Figures on signing in: what a cached credential costs, and what an outage of the provider costs whom. Prints Markdown.
//!
//! `cargo run --release -p ostia-testkit --example identity_figures`
#![expect(
    clippy::expect_used,
    reason = "a small program: what fails here ends it"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::{Request as Head, request};
use ostia::identify::{
    ApiKeys, Authenticator, Globus, Identify, Introspection, KEY_PREFIX, Oidc, Sender, Web,
    hash_key,
};
use ostia::live::IdentityWeb;
use ostia::settings;
use ostia_core::{Clock, NewApiKey, Secret, SystemClock};
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::Request;
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use ostia_testkit::idp::{CLIENT_ID, FakeIdp, GlobusUser, Mood, Signing};
use serde_json::json;

const STREAMS: usize = 50;
const EVENTS: usize = 150;
const PACE: Duration = Duration::from_millis(20);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        say("| figure | value |\n|---|---|");
        cached().await;
        alike().await;
        single_flight().await;
        flood().await;
        forbidden().await;
        outage().await;
        slow().await;
        hostile().await;
    });
}

const SENDER: Sender = Sender {
    peer_ip: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
    origin_ip: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
};
const USERS: usize = 1_000;

/// A provider, and what its users show.
type Door = (Arc<dyn Authenticator>, Vec<String>);

async fn cached() {
    let idp = FakeIdp::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let doors: [(&str, Door); 4] = [
        ("api_key", api_keys(folder.path()).await),
        ("oidc", oidc(&idp)),
        ("introspection", introspection(&idp)),
        ("globus", globus(&idp)),
    ];
    for (name, (provider, tokens)) in doors {
        let clock = Arc::new(SystemClock);
        let door = Identify::new(vec![provider], None, false, clock);
        let length = tokens[0].len();
        let heads: Vec<_> = tokens.iter().map(|token| head(token)).collect();
        for head in &heads {
            door.identify(head, SENDER).await.expect("a sign-in");
        }
        // Three seconds, so that keys, which are looked up again every second, bring that cost with them.
        let (begun, before, mut signed_in) = (instant(), cpu(), 0_u32);
        while begun.elapsed() < Duration::from_secs(3) {
            for head in &heads {
                door.identify(head, SENDER).await.expect("a sign-in");
            }
            signed_in += 1_000;
        }
        let each = (cpu() - before).as_secs_f64() * 1e6 / f64::from(signed_in);
        row(
            &format!("cached sign-in, `{name}`, {length} bytes, {USERS} users in turn"),
            &format!("{each:.2} us CPU"),
        );
    }
}

async fn api_keys(folder: &std::path::Path) -> Door {
    let url = format!("sqlite://{}", folder.join("keys.db").display());
    let store = ostia_store::open(&url).await.expect("a store");
    let tokens: Vec<_> = (0..USERS)
        .map(|n| format!("{KEY_PREFIX}{n:0>43}"))
        .collect();
    for (n, token) in tokens.iter().enumerate() {
        let key = NewApiKey {
            id: format!("key_{n}"),
            hash: hash_key(token),
            username: format!("user{n}@lab.org"),
            ..NewApiKey::default()
        };
        store.create_key(&key).await.expect("a key");
    }
    let provider = ApiKeys::new(store, Arc::new(SystemClock));
    (Arc::new(provider), tokens)
}

fn oidc(idp: &FakeIdp) -> Door {
    let settings = settings::Oidc {
        issuer: idp.base_url(),
        audience: vec!["ostia".to_owned()],
        ..settings::Oidc::default()
    };
    let now = SystemClock.unix_micros() / 1_000_000;
    let mint = |n: usize| {
        let mut claims = idp.claims("ostia", &format!("user{n}"), now);
        claims["groups"] = json!(vec!["11111111-0000-4000-8000-000000000001"; 10]);
        idp.minter().mint(Signing::Rs256, &claims)
    };
    let provider = Oidc::new(&settings, web(), Arc::new(SystemClock)).expect("a provider");
    (Arc::new(provider), (0..USERS).map(mint).collect())
}

fn introspection(idp: &FakeIdp) -> Door {
    let settings = settings::Introspection {
        url: format!("{}/introspect", idp.base_url()),
        client_id: CLIENT_ID.to_owned(),
        client_secret: Secret::new(idp.secret().secret().to_owned()),
        ..settings::Introspection::default()
    };
    let exp = SystemClock.unix_micros() / 1_000_000 + 3_600;
    let token = |n: usize| {
        let token = format!("{n:0>64}");
        let said = json!({"active": true, "sub": token, "username": format!("user{n}@lab.org"), "exp": exp});
        idp.introspected(&token, said);
        token
    };
    let tokens = (0..USERS).map(token).collect();
    let provider = Introspection::new(&settings, Vec::new(), web(), Arc::new(SystemClock));
    (Arc::new(provider.expect("a provider")), tokens)
}

fn globus(idp: &FakeIdp) -> Door {
    let settings = settings::Globus {
        scope: String::new(),
        client_id: CLIENT_ID.to_owned(),
        client_secret: Secret::new(idp.secret().secret().to_owned()),
        policies: Vec::new(),
        required_groups: Vec::new(),
        idp_domains: Vec::new(),
        groups_per_domain: BTreeMap::new(),
        service_usernames: Vec::new(),
        groups_prefix: String::new(),
        link_claim: String::new(),
        auth_url: idp.base_url(),
        groups_url: idp.base_url(),
        cache_ttl: Duration::from_secs(60),
        groups_ttl: Duration::from_secs(600),
    };
    let token = |n: usize| {
        let token = format!("Ag{n:0>90}");
        idp.globus(
            &token,
            GlobusUser::new(&format!("id{n}"), &format!("user{n}@lab.org")),
        );
        token
    };
    let tokens = (0..USERS).map(token).collect();
    let provider = Globus::new(&settings, false, &web(), Arc::new(SystemClock));
    (Arc::new(provider.expect("a provider")), tokens)
}

fn web() -> Arc<dyn Web> {
    Arc::new(IdentityWeb::standalone(Arc::new(SystemClock)))
}

fn head(token: &str) -> request::Parts {
    let head = Head::builder().header("authorization", format!("Bearer {token}"));
    head.body(()).expect("a head").into_parts().0
}

/// R22.
async fn alike() {
    let (idp, _backend, gateway) = rig().await;
    for shared in [20, 64, 500] {
        let tokens = ["a", "b"].map(|end| format!("{}{end}", "x".repeat(shared)));
        let names = ["ann", "bob"];
        for (token, name) in tokens.iter().zip(names) {
            idp.introspected(token, active(name));
        }
        let asking = join_all((0..1_000).map(|turn| {
            let (gateway, token, name) = (&gateway, &tokens[turn % 2], names[turn % 2]);
            async move {
                let answer = gateway.call(&Request::get("/whoami").bearer(token)).await;
                answer.json()["username"] == format!("{name}@lab.org")
            }
        }));
        let matched = asking.await.into_iter().filter(|matched| *matched).count();
        row(
            &format!(
                "R22: two tokens alike in {shared} characters, 1,000 requests at once: answered as their own user"
            ),
            &matched.to_string(),
        );
    }
    gateway.finish(&[]).await;
}

/// R26.
async fn flood() {
    let (idp, _backend, gateway) = rig().await;
    whoami(&gateway, "ann").await;
    let before = idp.calls().len();
    let bad: Vec<_> = (0..2_000).map(|n| format!("bad{n}")).collect();
    let flooding = join_all(bad.iter().map(|token| whoami(&gateway, token)));
    let user = async {
        let mut waits = Vec::new();
        for _ in 0..200 {
            let (status, wait) = whoami(&gateway, "ann").await;
            assert_eq!(status, 200);
            waits.push(wait.as_secs_f64() * 1e3);
        }
        sorted(waits.into_iter())
    };
    let (answers, waits) = tokio::join!(flooding, user);
    let count = |wanted: u16| {
        answers
            .iter()
            .filter(|(status, _)| *status == wanted)
            .count()
    };
    row(
        "R26: 2,000 bad tokens at once from one address: 401 / 429 / calls to the provider",
        &format!(
            "{} / {} / {}",
            count(401),
            count(429),
            idp.calls().len() - before
        ),
    );
    let value = format!("200 of 200, p99 {:.1} ms", percentile(&waits, 99));
    row("R26: a cached user at the same address meanwhile", &value);
    gateway.finish(&[]).await;
}

/// R31.
async fn forbidden() {
    let backend = FakeBackend::start().await;
    let secret = Endpoint::of("secret", &backend).field("allowed_domains", json!(["other.org"]));
    let site = Site::new().model("m", &backend).endpoint(secret);
    let gateway = TestGateway::start(site).await;
    let mut client = gateway.client().await;
    let mut waits = [Vec::new(), Vec::new()];
    for turn in 0..10_000 {
        let name = ["secret", "absent"][turn % 2];
        let chat = gateway.chat(name);
        let begun = instant();
        assert_eq!(client.call(&chat).await.status(), 404);
        waits[turn % 2].push(begun.elapsed().as_secs_f64() * 1e6);
    }
    let [secret, absent] = waits.map(|waits| percentile(&sorted(waits.into_iter()), 50));
    row(
        "R31: a forbidden model / one that does not exist, 5,000 requests each in turn, median",
        &format!(
            "{secret:.0} us / {absent:.0} us ({:+.1} %)",
            (secret / absent - 1.0) * 100.0
        ),
    );
    gateway.finish(&[]).await;
}

/// R73.
async fn hostile() {
    for (what, mood) in [
        ("that never end", Mood::Endless),
        ("of 64 MiB", Mood::Huge(64 * 1024 * 1024)),
        ("nested 10,000 deep", Mood::Deep(10_000)),
    ] {
        let (idp, _backend, gateway) = rig().await;
        idp.be(mood);
        let before = resident();
        let mut told = BTreeMap::new();
        for n in 0..20 {
            let (status, _) = whoami(&gateway, &format!("user{n}")).await;
            *told.entry(status).or_insert(0) += 1;
        }
        let grown = resident().saturating_sub(before) as f64 / 1_024.0;
        row(
            &format!("R73: 20 sign-ins before answers {what}: statuses, growth of memory"),
            &format!("{told:?}, {grown:.1} MiB, provider's own buffers included"),
        );
        gateway.finish(&[]).await;
    }
}

/// KiB of this process in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|text| text.parse().ok()).expect("a number")
}

fn active(name: &str) -> serde_json::Value {
    let exp = SystemClock.unix_micros() / 1_000_000 + 3_600;
    json!({"active": true, "sub": name, "username": format!("{name}@lab.org"), "exp": exp})
}

async fn rig() -> (FakeIdp, FakeBackend, TestGateway) {
    let (idp, backend) = (FakeIdp::start().await, FakeBackend::start().await);
    let settings = format!(
        "[auth]\nproviders = [\"introspection\"]\n[auth.introspection]\nurl = \"{}/introspect\"\nclient_id = \"{CLIENT_ID}\"\nclient_secret = \"env:IDP_SECRET\"",
        idp.base_url()
    );
    let site = Site::new()
        .model("m", &backend)
        .settings(&settings)
        .variable("IDP_SECRET", idp.secret().secret());
    let gateway = TestGateway::start(site).await;
    for name in std::iter::once("ann".to_owned()).chain((0..1_000).map(|n| format!("user{n}"))) {
        idp.introspected(&name, active(&name));
    }
    (idp, backend, gateway)
}

/// R23.
async fn single_flight() {
    let (idp, _backend, gateway) = rig().await;
    idp.be(Mood::Slow(Duration::from_millis(200)));
    let all = join_all((0..500).map(|_| whoami(&gateway, "ann"))).await;
    let good = all.iter().filter(|(status, _)| *status == 200).count();
    row(
        "R23: 500 first uses of one token at once: answered 200 / calls to the provider",
        &format!("{good} / {}", idp.calls().len()),
    );
    let names: Vec<_> = (0..500).map(|n| format!("user{n}")).collect();
    idp.be(Mood::Slow(Duration::from_millis(20)));
    let all = join_all(names.iter().map(|name| whoami(&gateway, name))).await;
    let good = all.iter().filter(|(status, _)| *status == 200).count();
    row(
        "R23: 500 tokens at once: answered 200 / most calls at once",
        &format!("{good} / {}", idp.most_at_once()),
    );
    gateway.finish(&[]).await;
}

/// R71.
async fn outage() {
    let (idp, _backend, gateway) = rig().await;
    whoami(&gateway, "ann").await;
    for (what, mood, new) in [
        ("closes connections", Mood::Down, "user1"),
        ("is silent", Mood::Silent, "user2"),
    ] {
        idp.be(mood);
        let (status, stranger) = whoami(&gateway, new).await;
        let (inside, known) = whoami(&gateway, "ann").await;
        row(
            &format!("R71: provider {what}: new token"),
            &format!("{status} after {} ms", stranger.as_millis()),
        );
        row(
            &format!("R71: provider {what}: cached token"),
            &format!("{inside} after {:.1} ms", known.as_secs_f64() * 1e3),
        );
        idp.be(Mood::Well);
        let (status, _) = whoami(&gateway, new).await;
        row(
            &format!("R71: provider {what}: first call after recovery"),
            &status.to_string(),
        );
    }
    gateway.finish(&[]).await;
}

/// R72.
async fn slow() {
    let quiet = gaps(false).await;
    let loud = gaps(true).await;
    for (what, gaps) in [
        ("alone", &quiet.0),
        (
            "while 1,000 new tokens wait for a provider that takes 10 s",
            &loud.0,
        ),
    ] {
        let value = format!(
            "p50 {:.1} ms, p99 {:.1} ms",
            percentile(gaps, 50),
            percentile(gaps, 99)
        );
        row(
            &format!("R72: {STREAMS} streams at 50 events/s, between events, {what}"),
            &value,
        );
    }
    let waits = &loud.1;
    let value = format!(
        "p50 {:.0} ms, longest {:.0} ms",
        percentile(waits, 50),
        percentile(waits, 100)
    );
    row("R72: those 1,000, all answered 503, waited", &value);
    row(
        "R72: calls the slow provider saw, most at once",
        &format!("{}, {}", loud.2.0, loud.2.1),
    );
}

type Slow = (Vec<f64>, Vec<f64>, (usize, usize));

async fn gaps(strangers: bool) -> Slow {
    let (idp, backend, gateway) = rig().await;
    whoami(&gateway, "ann").await;
    let gate = Gate::closed();
    backend.otherwise(Script::completion().chunks(EVENTS).gate_events(&gate));
    let streams = join_all((0..STREAMS).map(|_| stream(&gateway)));
    let pacing = async {
        gate.reached(STREAMS).await;
        for _ in 0..EVENTS + 10 {
            gate.release(STREAMS);
            tokio::time::sleep(PACE).await;
        }
        gate.open();
    };
    idp.be(Mood::Slow(Duration::from_secs(10)));
    let names: Vec<_> = (0..1_000).map(|n| format!("user{n}")).collect();
    let knocking = async {
        if !strangers {
            return Vec::new();
        }
        gate.reached(STREAMS).await;
        join_all(names.iter().map(|name| whoami(&gateway, name))).await
    };
    let (gaps, (), answers) = tokio::join!(streams, pacing, knocking);
    assert!(answers.iter().all(|(status, _)| *status == 503));
    let seen = (idp.calls().len() - 1, idp.most_at_once());
    gateway.finish(&[&backend]).await;
    let waits = answers.iter().map(|(_, wait)| wait.as_secs_f64() * 1e3);
    (sorted(gaps.into_iter().flatten()), sorted(waits), seen)
}

/// Milliseconds between the reads of one stream. Events that waited together come in one read.
async fn stream(gateway: &TestGateway) -> Vec<f64> {
    let mut client = gateway.client().await;
    let chat = gateway
        .chat_stream("m")
        .without("authorization")
        .bearer("ann");
    client.send(chat.bytes()).await;
    let mut reading = client.begin().await.expect("a head");
    let (mut gaps, mut last) = (Vec::new(), None);
    while let Ok(Some(_)) = client.piece(&mut reading).await {
        let now = instant();
        if let Some(last) = last.replace(now) {
            gaps.push((now - last).as_secs_f64() * 1e3);
        }
    }
    gaps
}

async fn whoami(gateway: &TestGateway, token: &str) -> (u16, Duration) {
    let begun = instant();
    let answer = gateway.call(&Request::get("/whoami").bearer(token)).await;
    (answer.status(), begun.elapsed())
}

fn instant() -> Instant {
    SystemClock.now()
}

/// The time that all threads of this process have spent on processors.
fn cpu() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux");
    let nanos = threads.flatten().filter_map(|thread| {
        let times = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        times.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted
        .get(last * percent / 100)
        .copied()
        .unwrap_or_default()
}

fn row(figure: &str, value: &str) {
    say(&format!("| {figure} | {value} |"));
}

fn say(line: &str) {
    use std::io::Write;
    writeln!(std::io::stdout(), "{line}").expect("stdout");
}
