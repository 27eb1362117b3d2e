//! A request returns to the endpoint that has seen the beginning of its prompt, until that endpoint has too much work.

use futures_util::future::join_all;
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{Answer, Request};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use serde_json::{Value, json};

struct Rig {
    backends: Vec<FakeBackend>,
    gateway: TestGateway,
}

impl Rig {
    async fn start(settings: &str, salt: &str) -> Self {
        let mut backends = Vec::new();
        let mut site = Site::new()
            .settings(settings)
            .variable("HASHED", &"k".repeat(40));
        for number in 0..4 {
            let backend = FakeBackend::start().await;
            let endpoint = Endpoint::of("m", &backend)
                .field("endpoint_slug", json!(format!("e{number}")))
                .config("cache_salt", json!(salt));
            site = site.endpoint(endpoint);
            backends.push(backend);
        }
        let gateway = TestGateway::start(site).await;
        Self { backends, gateway }
    }

    /// The endpoint that answered.
    async fn home(&self, request: &Request) -> String {
        let answer = self.gateway.call(request).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        self.slug(&answer).await
    }

    async fn slug(&self, answer: &Answer) -> String {
        self.gateway.row_of(answer).await.endpoint_slug
    }

    fn ask(&self, key: &str, body: &Value) -> Request {
        Request::post("/lab/vllm/v1/chat/completions")
            .bearer(key)
            .json(body)
    }

    async fn finish(self) {
        let backends: Vec<_> = self.backends.iter().collect();
        self.gateway.finish(&backends).await;
    }
}

fn turn(word: &str) -> Value {
    json!({"role": "user", "content": format!("{word} ").repeat(2_000)})
}

fn body(turns: &[Value]) -> Value {
    json!({"model": "m", "messages": turns})
}

#[tokio::test]
async fn a_conversation_stays_where_it_began() {
    let rig = Rig::start("", "off").await;
    for word in ["alpha", "beta", "gamma", "delta", "epsilon"] {
        let mut turns = vec![turn(word)];
        let key = rig.gateway.key_for("a@example.org", &[]).await;
        let home = rig.home(&rig.ask(&key, &body(&turns))).await;
        for more in ["one", "two", "three", "four"] {
            turns.push(turn(more));
            assert_eq!(rig.home(&rig.ask(&key, &body(&turns))).await, home);
        }
    }
    rig.finish().await;
}

#[tokio::test]
async fn a_session_stays_however_short_its_prompts_are() {
    let rig = Rig::start("", "off").await;
    let key = rig.gateway.key_for("a@example.org", &[]).await;
    let other = rig.gateway.key_for("b@example.org", &[]).await;
    let short = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    let mut homes = Vec::new();
    for session in 0..12 {
        let ask = |key: &str| {
            rig.ask(key, &short)
                .header("x-session-id", &session.to_string())
        };
        let home = rig.home(&ask(&key)).await;
        for _ in 0..3 {
            assert_eq!(rig.home(&ask(&key)).await, home);
        }
        // The same session name of another user is another session.
        homes.push((home, rig.home(&ask(&other)).await));
    }
    assert!(homes.iter().any(|(one, two)| one != two), "{homes:?}");
    rig.finish().await;
}

#[tokio::test]
async fn without_anything_to_return_to_chance_decides_among_the_idle() {
    let rig = Rig::start("[routing]\naffinity_memory = 0", "off").await;
    let key = rig.gateway.key_for("a@example.org", &[]).await;
    let request = rig.ask(&key, &body(&[turn("same")]));
    let mut homes = Vec::new();
    for _ in 0..40 {
        homes.push(rig.home(&request).await);
    }
    homes.sort_unstable();
    homes.dedup();
    assert_eq!(homes, ["e0", "e1", "e2", "e3"]);
    rig.finish().await;
}

#[tokio::test]
async fn who_waits_behind_too_much_work_goes_to_the_idle() {
    let rig = Rig::start("", "off").await;
    let key = rig.gateway.key_for("a@example.org", &[]).await;
    let shared = rig.ask(&key, &body(&[turn("shared")]));
    let home = rig.home(&shared).await;
    let gate = Gate::closed();
    for backend in &rig.backends {
        backend.otherwise(Script::completion().gate_head(&gate));
    }
    // A prompt of 3,000 tokens is worth waiting for a few other requests, but not for dozens.
    let calls = join_all((0..48).map(async |_| rig.gateway.call(&shared).await));
    let opening = async {
        gate.reached(48).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(calls, opening);
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for answer in &answers {
        *counts.entry(rig.slug(answer).await).or_default() += 1;
    }
    let at_home = counts.get(&home).copied().unwrap_or_default();
    assert!(
        counts.len() == 4 && (13..=22).contains(&at_home),
        "{counts:?}"
    );
    rig.finish().await;
}

#[tokio::test]
async fn users_whose_caches_are_apart_do_not_share_a_home() {
    let hashed = "[routing]\nhmac_key = \"env:HASHED\"";
    let rig = Rig::start(hashed, "user").await;
    let mut apart = false;
    for word in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
        let one = rig.gateway.key_for("a@example.org", &[]).await;
        let other = rig.gateway.key_for("b@example.org", &[]).await;
        let body = body(&[turn(word)]);
        let home = rig.home(&rig.ask(&one, &body)).await;
        apart |= rig.home(&rig.ask(&other, &body)).await != home;
        assert_eq!(rig.home(&rig.ask(&one, &body)).await, home);
    }
    assert!(apart);
    rig.finish().await;
}
