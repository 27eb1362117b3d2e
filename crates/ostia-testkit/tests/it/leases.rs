//! Engines that come and go: who may register one, how long a lease lasts, and that no request is lost.

use ostia_core::{Change, Clock as _, SystemClock};
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{Answer, HangUp, Request};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use ostia_testkit::patience::{until, within};
use serde_json::{Value, json};

const SLUG: &str = "lab-vllm-m";
const LOOPBACK: &str = "127.0.0.0/8";

/// An engine that lists the model, as vLLM does.
async fn engine() -> FakeBackend {
    let engine = FakeBackend::start().await;
    let list = json!({"object": "list", "data": [{"id": "m"}]});
    engine.on_path("/v1/models", Script::json(200, &list));
    engine
}

/// A gateway with one endpoint `m` that has no URL, and the key of its jobs.
struct Rig {
    gateway: TestGateway,
    key: String,
}

impl Rig {
    async fn start() -> Self {
        Self::with(Site::new().endpoint(Endpoint::leased("m"))).await
    }

    async fn with(site: Site) -> Self {
        let gateway = TestGateway::start(site).await;
        let key = gateway.registrar("jobs", &[SLUG], &[LOOPBACK]).await;
        Self { gateway, key }
    }

    async fn put(&self, body: &Value) -> Answer {
        put(&self.gateway, &self.key, SLUG, body).await
    }

    /// Registers an engine, and waits until it serves.
    async fn register(&self, engine: &FakeBackend, more: &Value) -> Value {
        let lease = self.put(&place(engine, more)).await;
        assert_eq!(lease.status(), 201, "{}", lease.text());
        until_state(&self.gateway, "running").await;
        lease.json()
    }

    async fn call(&self) -> Answer {
        self.gateway.call(&self.gateway.chat("m")).await
    }

    async fn finish(self, engines: &[&FakeBackend]) {
        self.gateway.finish(engines).await;
    }
}

async fn put(gateway: &TestGateway, key: &str, slug: &str, body: &Value) -> Answer {
    let request = Request::new("PUT", &format!("/v1/register/{slug}"));
    gateway.call(&request.bearer(key).json(body)).await
}

async fn give_back(gateway: &TestGateway, key: &str, lease: &Value) -> Answer {
    let lease = lease["lease"].as_str().unwrap();
    let request = Request::new("DELETE", &format!("/v1/register/{SLUG}?lease={lease}"));
    gateway.call(&request.bearer(key)).await
}

/// A job's description of an engine.
fn place(engine: &FakeBackend, more: &Value) -> Value {
    let mut body = json!({"url": format!("{}/v1", engine.base_url())});
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    body
}

/// The next call of a lease's holder.
fn renewal(lease: &Value, more: &Value) -> Value {
    let sequence = lease["sequence"].as_i64().unwrap() + 1;
    let mut body = json!({"lease": lease["lease"], "sequence": sequence});
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    body
}

/// The model's state as users see it.
async fn state(gateway: &TestGateway) -> String {
    let request = Request::get("/v1/models/m").bearer(&gateway.site().secrets.client_bearer());
    let answer = gateway.call(&request).await;
    answer.json()["state"].as_str().unwrap().to_owned()
}

async fn until_state(gateway: &TestGateway, wanted: &str) {
    let look = async || (state(gateway).await == wanted).then_some(());
    until(|| format!("the model to be {wanted}"), look).await;
}

#[tokio::test]
async fn an_engine_registers_serves_drains_and_is_given_back() {
    let rig = Rig::start().await;
    assert_eq!(state(&rig.gateway).await, "stopped");
    let refused = rig.call().await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.error_code().as_deref(), Some("model_not_running"));

    let engine = engine().await;
    let lease = rig
        .register(&engine, &json!({"ttl": 60, "max_in_flight": 4}))
        .await;
    assert_eq!(
        (&lease["state"], &lease["sequence"]),
        (&json!("running"), &json!(1))
    );
    assert_eq!(rig.call().await.status(), 200);
    let renewed = rig.put(&renewal(&lease, &json!({"ttl": 60}))).await;
    assert_eq!(
        (renewed.status(), renewed.json()["sequence"].clone()),
        (200, json!(2))
    );

    // Running requests finish while it drains.
    let gate = Gate::closed();
    engine.on_model("m", Script::completion().gate_head(&gate));
    let (answer, drained) = tokio::join!(rig.call(), async {
        engine.requests(3).await;
        let drains = renewal(&renewed.json(), &json!({"state": "draining"}));
        let drains = rig.put(&drains).await.json();
        assert_eq!(
            (&drains["state"], &drains["in_use"]),
            (&json!("draining"), &json!(true))
        );
        assert_eq!(state(&rig.gateway).await, "draining");
        assert_eq!(rig.call().await.status(), 503);
        gate.open();
        drains
    });
    assert_eq!(answer.status(), 200);
    assert_eq!(
        give_back(&rig.gateway, &rig.key, &drained).await.status(),
        204
    );
    let again = give_back(&rig.gateway, &rig.key, &drained).await;
    assert_eq!(
        (again.status(), again.error_code().as_deref()),
        (410, Some("lease_gone"))
    );
    assert_eq!(state(&rig.gateway).await, "stopped");
    rig.finish(&[&engine]).await;
}

#[tokio::test]
async fn a_lease_that_nobody_renews_takes_no_request_after_its_ttl() {
    let rig = Rig::start().await;
    let engine = engine().await;
    rig.register(&engine, &json!({"ttl": 1})).await;
    until_state(&rig.gateway, "stopped").await;
    let seen = engine.records().len();
    assert_eq!(rig.call().await.status(), 503);
    assert_eq!(engine.records().len(), seen, "it got a request");
    rig.finish(&[&engine]).await;
}

#[tokio::test]
async fn leases_of_one_endpoint_are_replicas_and_one_that_died_is_passed_over() {
    let rig = Rig::start().await;
    let (first, second) = (engine().await, engine().await);
    rig.register(&first, &json!({})).await;
    rig.put(&place(&second, &json!({}))).await;
    let served = |engine: &FakeBackend| {
        let records = engine.records().into_iter();
        records.filter(|one| one.received.method == "POST").count()
    };
    let both = async {
        while served(&first) == 0 || served(&second) == 0 {
            assert_eq!(rig.call().await.status(), 200);
        }
    };
    within(|| "requests to both".to_owned(), both).await;
    first.refuse().await;
    for _ in 0..20 {
        assert_eq!(rig.call().await.status(), 200);
    }
    rig.finish(&[&first, &second]).await;
}

#[tokio::test]
async fn an_engine_that_answers_health_and_nothing_else_gets_no_request() {
    let rig = Rig::start().await;
    let hollow = FakeBackend::start().await;
    hollow.on_path("/health", Script::raw(200, ""));
    hollow.otherwise(Script::error(500, "no"));
    let lease = rig.put(&place(&hollow, &json!({}))).await;
    assert_eq!(lease.status(), 201);
    hollow.requests(2).await;
    assert_eq!(state(&rig.gateway).await, "starting");
    assert_eq!(rig.call().await.status(), 503);

    // An engine that serves another model is not used either.
    let other = FakeBackend::start().await;
    let list = json!({"object": "list", "data": [{"id": "another"}]});
    other.on_path("/v1/models", Script::json(200, &list));
    rig.put(&place(&other, &json!({}))).await;
    other.requests(2).await;
    assert_eq!(state(&rig.gateway).await, "starting");
    let asked = |engine: &FakeBackend| {
        engine
            .records()
            .into_iter()
            .all(|one| one.received.method == "GET")
    };
    assert!(asked(&hollow) && asked(&other));
    rig.finish(&[&hollow, &other]).await;
}

#[tokio::test]
async fn a_registrar_names_its_own_endpoints_in_its_own_networks() {
    let site = Site::new()
        .endpoint(Endpoint::leased("m"))
        .endpoint(Endpoint::leased("other"))
        .endpoint(Endpoint::new("plain", "http://127.0.0.1:9/v1"));
    let rig = Rig::with(site).await;
    let body = json!({"url": "http://127.0.0.1:9/v1"});
    let user = rig.gateway.site().secrets.client_bearer();
    let refused = put(&rig.gateway, &user, SLUG, &body).await;
    assert_eq!(
        (refused.status(), refused.error_code().as_deref()),
        (403, Some("policy_denied"))
    );
    let mut texts = Vec::new();
    for slug in ["lab-vllm-other", "lab-vllm-absent"] {
        let refused = put(&rig.gateway, &rig.key, slug, &body).await;
        assert_eq!(refused.status(), 404, "{slug}");
        texts.push(
            refused.json()["error"]["message"]
                .to_string()
                .replace(slug, ""),
        );
    }
    assert_eq!(texts[0], texts[1], "whether a slug exists is not told");
    let plain = rig
        .gateway
        .registrar("plain", &["plain"], &[LOOPBACK])
        .await;
    assert_eq!(
        put(&rig.gateway, &plain, "lab-vllm-plain", &body)
            .await
            .status(),
        404
    );
    let unbound = rig.gateway.registrar("unbound", &[SLUG], &[]).await;
    assert_eq!(put(&rig.gateway, &unbound, SLUG, &body).await.status(), 403);

    for (url, status) in [
        ("http://2130706433/v1", 400),
        ("http://0177.0.0.1/v1", 400),
        ("http://0x7f000001/v1", 400),
        ("http://127.1/v1", 400),
        ("http://0/v1", 400),
        ("http://[fe80::1%25eth0]/v1", 400),
        ("http://%31%30.0.0.1/v1", 400),
        ("http://127。0。0。1/v1", 400),
        ("http://[::]/v1", 403),
        ("http://[::127.0.0.1]/v1", 403),
        ("http://[64:ff9b::a00:1]/v1", 403),
        ("http://[fd00:ec2::254]/v1", 403),
        ("http://127.0.0.1:9/v1#fragment", 400),
        ("http://10.0.0.1\\@127.0.0.1/v1", 400),
        ("http://169.254.169.254/v1", 403),
        ("http://[::1]:8000/v1", 403),
        ("http://[::ffff:169.254.169.254]/v1", 403),
        ("http://0.0.0.0:8000/v1", 403),
        ("http://224.0.0.1/v1", 403),
        ("http://10.0.0.1:8000/v1", 403),
        ("http://no-such-host.invalid/v1", 400),
        ("http://user:pass@127.0.0.1/v1", 400),
        ("file:///etc/passwd", 400),
        ("127.0.0.1:8000", 400),
    ] {
        let refused = rig.put(&json!({ "url": url })).await;
        assert_eq!(refused.status(), status, "{url}: {}", refused.text());
    }
    for body in [
        json!({}),
        json!({"url": 7}),
        json!({"url": "http://127.0.0.1:9", "ttl": "60s"}),
        json!({"url": "http://127.0.0.1:9", "ttl": 0}),
        json!({"url": "http://127.0.0.1:9", "ttl": -1}),
        json!({"url": "http://127.0.0.1:9", "ttl": 1e300}),
        json!({"url": "http://127.0.0.1:9", "sequence": i64::MAX}),
        json!([{"url": "http://127.0.0.1:9"}]),
    ] {
        assert!(
            (400..=410).contains(&rig.put(&body).await.status()),
            "{body}"
        );
    }
    assert_eq!(state(&rig.gateway).await, "stopped");
    rig.finish(&[]).await;
}

#[tokio::test]
async fn old_calls_and_other_keys_do_not_move_a_lease() {
    let rig = Rig::start().await;
    let engine = engine().await;
    let lease = rig.register(&engine, &json!({})).await;
    let second = rig.put(&renewal(&lease, &json!({}))).await.json();
    let repeated = rig
        .put(&renewal(&lease, &json!({"state": "draining"})))
        .await;
    assert_eq!(
        (repeated.status(), repeated.error_code().as_deref()),
        (409, Some("conflict"))
    );
    let thief = rig.gateway.registrar("thief", &[SLUG], &[LOOPBACK]).await;
    let stolen = put(&rig.gateway, &thief, SLUG, &place(&engine, &json!({}))).await;
    assert_eq!(stolen.status(), 409);
    let stolen = put(
        &rig.gateway,
        &thief,
        SLUG,
        &renewal(&second, &json!({"state": "draining"})),
    )
    .await;
    assert_eq!(stolen.status(), 410);
    assert_eq!(give_back(&rig.gateway, &thief, &second).await.status(), 410);
    assert_eq!(state(&rig.gateway).await, "running");

    assert_eq!(
        give_back(&rig.gateway, &rig.key, &second).await.status(),
        204
    );
    let old = rig.put(&renewal(&second, &json!({}))).await;
    assert_eq!(
        (old.status(), old.error_code().as_deref()),
        (410, Some("lease_gone"))
    );
    assert_eq!(state(&rig.gateway).await, "stopped");
    rig.finish(&[&engine]).await;
}

#[tokio::test]
async fn a_flood_of_calls_is_refused_and_others_are_not() {
    let rig = Rig::start().await;
    let engine = engine().await;
    let other = rig.gateway.registrar("other", &[SLUG], &[LOOPBACK]).await;
    let flooding = async {
        loop {
            let refused = rig.put(&json!({"lease": "none"})).await;
            if refused.status() == 429 {
                return refused;
            }
            assert_eq!(refused.status(), 410);
        }
    };
    let calls = (0..8).map(|_| flooding_once(&rig));
    let refused = within(|| "a refusal".to_owned(), async {
        let (refused, _) = tokio::join!(flooding, futures_util::future::join_all(calls));
        refused
    });
    assert_eq!(refused.await.header("retry-after"), Some("1"));
    let place = place(&engine, &json!({}));
    assert_eq!(put(&rig.gateway, &other, SLUG, &place).await.status(), 201);
    rig.finish(&[&engine]).await;
}

async fn flooding_once(rig: &Rig) {
    for _ in 0..40 {
        rig.put(&json!({"lease": "none"})).await;
    }
}

/// A call to another replica, with the key from the database.
async fn call_at(gateway: &TestGateway, rig: &Rig) -> Answer {
    let bearer = rig.gateway.site().secrets.client_bearer();
    let request = gateway.chat("m").without("authorization").bearer(&bearer);
    let answer = gateway.call(&request).await;
    gateway.row_of(&answer).await;
    answer
}

async fn until_state_at(gateway: &TestGateway, rig: &Rig, wanted: &str) {
    let bearer = rig.gateway.site().secrets.client_bearer();
    let request = Request::get("/v1/models/m").bearer(&bearer);
    let look = async || {
        let model = gateway.call(&request).await.json();
        (model["state"] == wanted).then_some(())
    };
    until(|| format!("the model to be {wanted}"), look).await;
}

#[tokio::test]
async fn three_replicas_know_one_lease_and_a_restart_forgets_none() {
    let rig = Rig::start().await;
    let site = || {
        let site = Site::new().endpoint(Endpoint::leased("m"));
        site.replica_of(rig.gateway.site())
    };
    let (second, third) = tokio::join!(TestGateway::start(site()), TestGateway::start(site()));
    let engine = engine().await;
    let lease = rig.register(&engine, &json!({"ttl": 60})).await;
    for gateway in [&second, &third] {
        until_state_at(gateway, &rig, "running").await;
        assert_eq!(call_at(gateway, &rig).await.status(), 200);
    }
    // Another replica learns that it drains, and so does one that has just started.
    let drains = renewal(&lease, &json!({"state": "draining"}));
    assert_eq!(put(&second, &rig.key, SLUG, &drains).await.status(), 200);
    for gateway in [&rig.gateway, &third] {
        until_state_at(gateway, &rig, "draining").await;
        assert_eq!(call_at(gateway, &rig).await.status(), 503);
    }
    third.finish(&[&engine]).await;
    let again = TestGateway::start(site()).await;
    until_state_at(&again, &rig, "draining").await;
    assert_eq!(call_at(&again, &rig).await.status(), 503);
    for gateway in [second, again, rig.gateway] {
        gateway.finish(&[&engine]).await;
    }
}

/// A gateway whose requests wait for an engine to start.
fn waiting(patience: &str) -> Site {
    Site::new().endpoint(Endpoint::leased("m").config("wait_for_start", json!(patience)))
}

#[tokio::test]
async fn requests_wait_for_the_start_and_are_answered_when_an_engine_comes() {
    let rig = Rig::with(waiting("10m").settings("[upstream]\nsend_headers_after = \"1ms\"")).await;
    let engine = engine().await;
    let calls = (0..8).map(|_| rig.call());
    let mut client = rig.gateway.client().await;
    client.send(rig.gateway.chat_stream("m").bytes()).await;
    // A stream has its head and comments while it waits.
    let mut reading = client.begin().await.unwrap();
    let comment = client.until(&mut reading, b"\n").await;
    assert!(comment.starts_with(b":"), "{comment:?}");
    let (answers, _) = tokio::join!(futures_util::future::join_all(calls), async {
        waiters(&rig.gateway, 9).await;
        rig.register(&engine, &json!({})).await;
    });
    assert!(answers.iter().all(|answer| answer.status() == 200));
    let streamed = client.rest(reading).await;
    let text = streamed.text();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    rig.finish(&[&engine]).await;
}

async fn waiters(gateway: &TestGateway, count: usize) {
    let look = async || (gateway.gateway().admitter().waiting() == count).then_some(());
    until(|| format!("{count} to wait"), look).await;
}

#[tokio::test]
async fn who_hangs_up_while_waiting_for_a_start_leaves_the_line() {
    let rig = Rig::with(waiting("10m")).await;
    let mut client = rig.gateway.client().await;
    client.send(rig.gateway.chat("m").bytes()).await;
    waiters(&rig.gateway, 1).await;
    client.hang_up(HangUp::Reset).await;
    waiters(&rig.gateway, 0).await;
    let rows = rig.gateway.finish(&[]).await;
    let outcomes: Vec<_> = rows.iter().map(|row| &*row.outcome).collect();
    assert_eq!(outcomes, ["client_closed"]);
}

#[tokio::test]
async fn who_loses_the_right_to_register_loses_the_lease_on_every_replica() {
    let rig = Rig::start().await;
    let site = Site::new().endpoint(Endpoint::leased("m"));
    let second = TestGateway::start(site.replica_of(rig.gateway.site())).await;
    let engine = engine().await;
    rig.register(&engine, &json!({"ttl": 3600})).await;
    until_state_at(&second, &rig, "running").await;
    let revoke = Change::RevokeKey {
        id: "jobs".to_owned(),
        at: SystemClock.unix_micros(),
    };
    let store = rig.gateway.gateway().store();
    assert_eq!(store.people().change(&[revoke], &[]).await.unwrap(), [1]);
    until_state(&rig.gateway, "stopped").await;
    until_state_at(&second, &rig, "stopped").await;
    assert_eq!(rig.call().await.status(), 503);
    // Nothing of it is left: another key may register the engine at once.
    let next = rig.gateway.registrar("next", &[SLUG], &[LOOPBACK]).await;
    let lease = put(&rig.gateway, &next, SLUG, &place(&engine, &json!({}))).await;
    assert_eq!(lease.status(), 201);
    until_state_at(&second, &rig, "running").await;
    second.finish(&[&engine]).await;
    rig.finish(&[&engine]).await;
}

#[tokio::test]
async fn one_engine_is_one_lease_however_its_url_is_spelt() {
    let rig = Rig::start().await;
    let engine = engine().await;
    let lease = rig.register(&engine, &json!({})).await;
    let base = engine.base_url();
    let thief = rig.gateway.registrar("thief", &[SLUG], &[LOOPBACK]).await;
    for url in [
        format!("{base}/v1/"),
        format!("{base}/v1?"),
        format!("{base}/v1/chat/completions"),
        format!("{}/v1", base.replace("http://", "HTTP://")),
    ] {
        let again = rig.put(&json!({ "url": url })).await;
        assert_eq!(again.status(), 200, "{url}");
        let again = again.json();
        assert_eq!(
            (&again["lease"], &again["url"]),
            (&lease["lease"], &lease["url"])
        );
        let stolen = put(&rig.gateway, &thief, SLUG, &json!({ "url": url })).await;
        assert_eq!(stolen.status(), 409, "{url}");
    }
    rig.finish(&[&engine]).await;
}

#[tokio::test]
async fn many_calls_at_once_make_one_lease() {
    let rig = Rig::start().await;
    let engine = engine().await;
    let body = place(&engine, &json!({}));
    let calls = futures_util::future::join_all((0..16).map(|_| rig.put(&body))).await;
    let taken: Vec<Value> = calls
        .iter()
        .filter(|answer| answer.status() < 300)
        .map(|answer| answer.json()["lease"].clone())
        .collect();
    assert!(!taken.is_empty() && taken.iter().all(|lease| *lease == taken[0]));
    // The others may call again.
    let rest = calls.iter().filter(|answer| answer.status() >= 300);
    for refused in rest {
        let code = refused.error_code();
        assert_eq!(code.as_deref(), Some("lease_gone"), "{}", refused.text());
    }
    rig.finish(&[&engine]).await;
}

#[tokio::test]
async fn who_waits_in_vain_is_told_when_to_come_back() {
    let rig = Rig::with(waiting("1s")).await;
    rig.put(&json!({
        "url": "http://127.0.0.1:9/v1", "state": "queued", "starts_in": 45, "ttl": 60,
    }))
    .await;
    assert_eq!(state(&rig.gateway).await, "queued");
    let calls = futures_util::future::join_all((0..2).map(|_| rig.call()));
    for refused in calls.await {
        let code = refused.error_code();
        assert_eq!(
            (refused.status(), code.as_deref()),
            (503, Some("model_not_running"))
        );
        let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((30..=45).contains(&after), "{after}");
    }
    rig.finish(&[]).await;
}

#[tokio::test]
async fn jobs_show_what_leases_say() {
    let rig = Rig::start().await;
    let user = rig.gateway.site().secrets.client_bearer();
    let jobs = || async {
        let request = Request::get("/lab/jobs").bearer(&user);
        rig.gateway.call(&request).await.json()
    };
    assert_eq!(jobs().await["stopped"][0]["Models"], "m");
    let engine = engine().await;
    let lease = rig
        .put(&place(&engine, &json!({"state": "starting"})))
        .await
        .json();
    assert_eq!(jobs().await["queued"][0]["Model Status"], "starting");
    let running = rig.put(&renewal(&lease, &json!({}))).await.json();
    until_state(&rig.gateway, "running").await;
    let shown = jobs().await;
    assert_eq!(shown["running"][0]["Models"], "m");
    assert_eq!(shown["cluster_status"]["live_models"], 1);
    rig.put(&renewal(&running, &json!({"state": "draining"})))
        .await;
    assert_eq!(jobs().await["others"][0]["Model Status"], "draining");
    rig.finish(&[&engine]).await;
}
