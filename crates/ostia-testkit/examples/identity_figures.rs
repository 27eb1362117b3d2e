//! Figures on signing in: what a cached credential costs, and what an outage of the provider costs whom. Prints Markdown.
//!
//! `cargo run --release -p ostia-testkit --example identity_figures`
#![expect(
    clippy::expect_used,
    reason = "a small program: what fails here ends it"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::{Request as Head, request};
use ostia::identify::{Authenticator, Identify, Sender, SignInError, Verified};
use ostia_core::{BoxFuture, Clock, Identity, SystemClock};
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::Request;
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Site, TestGateway};
use ostia_testkit::idp::{CLIENT_ID, FakeIdp, Mood};
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
        single_flight().await;
        outage().await;
        slow().await;
    });
}

/// Believes everybody, for an hour.
struct Credulous;

impl Authenticator for Credulous {
    fn recognises(&self, _: &str) -> bool {
        true
    }

    fn verify<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Verified, SignInError>> {
        Box::pin(async {
            Ok(Verified {
                identity: Arc::new(Identity::default()),
                expires_at: Some(i64::MAX),
                fresh_for: Duration::from_secs(3_600),
                usable_for: Duration::from_secs(3_600),
            })
        })
    }
}

async fn cached() {
    let sender = Sender {
        peer_ip: [192, 0, 2, 1].into(),
        origin_ip: [192, 0, 2, 1].into(),
    };
    for (what, length) in [
        ("an API key (52 bytes)", 52),
        ("a JWT (1 KiB)", 1_024),
        ("a JWT (2 KiB)", 2_048),
    ] {
        let door = Identify::new(
            vec![Arc::new(Credulous)],
            None,
            false,
            Arc::new(SystemClock),
        );
        let heads: Vec<_> = (0..1_000)
            .map(|n| head(&format!("{n:0>length$}")))
            .collect();
        for head in &heads {
            door.identify(head, sender).await.expect("a sign-in");
        }
        let before = cpu();
        let rounds = 300;
        for _ in 0..rounds {
            for head in &heads {
                door.identify(head, sender).await.expect("a sign-in");
            }
        }
        let each = (cpu() - before).as_secs_f64() * 1e6 / f64::from(rounds * 1_000);
        row(
            &format!("cached sign-in with {what}, 1,000 users"),
            &format!("{each:.2} us CPU"),
        );
    }
}

fn head(token: &str) -> request::Parts {
    let head = Head::builder().header("authorization", format!("Bearer {token}"));
    head.body(()).expect("a head").into_parts().0
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
    let exp = SystemClock.unix_micros() / 1_000_000 + 3_600;
    let gateway = TestGateway::start(site).await;
    for name in std::iter::once("ann".to_owned()).chain((0..1_000).map(|n| format!("user{n}"))) {
        idp.introspected(
            &name,
            json!({"active": true, "sub": name, "username": format!("{name}@lab.org"), "exp": exp}),
        );
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
        "500 first uses of one token at once: answered 200 / calls to the provider",
        &format!("{good} / {}", idp.calls().len()),
    );
    let names: Vec<_> = (0..500).map(|n| format!("user{n}")).collect();
    idp.be(Mood::Slow(Duration::from_millis(20)));
    let all = join_all(names.iter().map(|name| whoami(&gateway, name))).await;
    let good = all.iter().filter(|(status, _)| *status == 200).count();
    row(
        "500 tokens at once: answered 200 / most calls at once",
        &format!("{good} / {}", idp.most_at_once()),
    );
    gateway.finish(&[]).await;
}

/// R71.
async fn outage() {
    let (idp, _backend, gateway) = rig().await;
    whoami(&gateway, "ann").await;
    for (what, mood) in [
        ("closes connections", Mood::Down),
        ("is silent", Mood::Silent),
    ] {
        idp.be(mood);
        let (status, stranger) = whoami(&gateway, "user1").await;
        let (inside, known) = whoami(&gateway, "ann").await;
        row(
            &format!("provider {what}: new token"),
            &format!("{status} after {} ms", stranger.as_millis()),
        );
        row(
            &format!("provider {what}: cached token"),
            &format!("{inside} after {:.1} ms", known.as_secs_f64() * 1e3),
        );
        idp.be(Mood::Well);
        let (status, _) = whoami(&gateway, "user1").await;
        row(
            &format!("provider {what}: first call after recovery"),
            &status.to_string(),
        );
        while whoami(&gateway, "user2").await.0 != 200 {}
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
            &format!("{STREAMS} streams at 50 events/s, between events, {what}"),
            &value,
        );
    }
    let waits = &loud.1;
    let value = format!(
        "p50 {:.0} ms, longest {:.0} ms",
        percentile(waits, 50),
        percentile(waits, 100)
    );
    row("those 1,000, all answered 503, waited", &value);
    row(
        "calls the slow provider saw, most at once",
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

/// Milliseconds between the events of one stream.
async fn stream(gateway: &TestGateway) -> Vec<f64> {
    let mut client = gateway.client().await;
    let chat = gateway
        .chat_stream("m")
        .without("authorization")
        .bearer("ann");
    client.send(chat.bytes()).await;
    let mut reading = client.begin().await.expect("a head");
    let (mut gaps, mut last) = (Vec::new(), None);
    for _ in 0..EVENTS {
        client.until(&mut reading, b"\n\n").await;
        let now = instant();
        if let Some(last) = last.replace(now) {
            gaps.push((now - last).as_secs_f64() * 1e3);
        }
    }
    client.rest(reading).await;
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

/// The time this process has spent on a processor.
fn cpu() -> Duration {
    let times = std::fs::read_to_string("/proc/self/schedstat").expect("Linux");
    // The main thread's own: it runs all of what is measured here.
    let nanos = times.split(' ').next().and_then(|text| text.parse().ok());
    Duration::from_nanos(nanos.expect("a number"))
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
