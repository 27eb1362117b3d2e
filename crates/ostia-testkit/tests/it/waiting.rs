//! If a shortage will pass, requests wait in turn; otherwise they are refused at once.

use std::time::Duration;

use futures_util::future::join_all;
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{Answer, RawClient, Request};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway, gauges};
use ostia_testkit::patience::within;
use serde_json::json;

const PATIENT: &str = "[limits]\nqueue_timeout = \"60s\"\nreserve_output = \"estimate\"\n";

async fn rig(
    endpoint: impl FnOnce(Endpoint) -> Endpoint,
    settings: &str,
) -> (FakeBackend, TestGateway) {
    let backend = FakeBackend::start().await;
    let site = Site::new().endpoint(endpoint(Endpoint::of("m", &backend)));
    let gateway = TestGateway::start(site.settings(PATIENT).settings(settings)).await;
    (backend, gateway)
}

async fn waiting(gateway: &TestGateway, wanted: f64) {
    let asking = async {
        loop {
            let metrics = gauges::scrape(gateway.admin_address()).await;
            if gauges::sum(&metrics, "ostia_waiting") == Some(wanted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(|| format!("{wanted} waiting requests"), asking).await;
}

async fn all(gateway: &TestGateway, request: &Request, count: usize) -> Vec<Answer> {
    join_all((0..count).map(async |_| gateway.call(request).await)).await
}

#[tokio::test]
async fn a_burst_beyond_every_limit_is_served_without_a_refusal() {
    let limits = "[limits]\nqueue_timeout = \"15s\"\nrequests_per_second_per_user = 10\nmax_in_flight_per_user = 32";
    let tokens = |endpoint: Endpoint| endpoint.field("tpm_user", json!(60_000));
    let (backend, gateway) = rig(tokens, limits).await;
    backend.otherwise(Script::completion().prompt_tokens(500, 0).text(["x"; 300]));
    let messages = json!([{"role": "user", "content": "x".repeat(1_996)}]);
    let body = json!({"messages": messages, "max_tokens": 32_000});
    let request = gateway.request("chat/completions", "m", &body);
    let answers = all(&gateway, &request, 50).await;
    for answer in &answers {
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }
    let waited = answers
        .iter()
        .filter(|answer| answer.header("x-ostia-queue-ms").is_some());
    assert!(waited.count() >= 40 - 1, "ten a second came in at once");
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.iter().filter(|row| row.outcome == "ok").count(), 50);
}

#[tokio::test]
async fn a_place_is_waited_for_in_turn_and_the_wait_is_told() {
    let one_place = |endpoint: Endpoint| endpoint.config("max_in_flight", json!(1));
    let (backend, gateway) = rig(one_place, "").await;
    let gate = Gate::closed();
    backend.next(Script::completion().gate_head(&gate));
    let chat = gateway.chat("m");
    let first = gateway.call(&chat);
    let second = async {
        gate.reached(1).await;
        gateway.call(&gateway.chat("m")).await
    };
    let opening = async {
        waiting(&gateway, 1.0).await;
        gate.open();
    };
    let (first, second, ()) = tokio::join!(first, second, opening);
    assert_eq!((first.status(), second.status()), (200, 200));
    assert_eq!(first.header("x-ostia-queue-ms"), None);
    let told: u64 = second.header("x-ostia-queue-ms").unwrap().parse().unwrap();
    let rows = gateway.finish(&[&backend]).await;
    let waited = rows.iter().map(|row| row.queue_ms).max().unwrap();
    assert_eq!(waited, told);
}

#[tokio::test]
async fn a_wait_in_vain_is_told_too() {
    let one_place = |endpoint: Endpoint| endpoint.config("max_in_flight", json!(1));
    let (backend, gateway) = rig(one_place, "[limits]\nqueue_timeout = \"50ms\"").await;
    let gate = Gate::closed();
    backend.next(Script::completion().gate_head(&gate));
    let chat = gateway.chat("m");
    let refusing = async {
        gate.reached(1).await;
        let refused = gateway.call(&gateway.chat("m")).await;
        gate.open();
        refused
    };
    let (running, refused) = tokio::join!(gateway.call(&chat), refusing);
    assert_eq!((running.status(), refused.status()), (200, 503));
    let told: u64 = refused.header("x-ostia-queue-ms").unwrap().parse().unwrap();
    let rows = gateway.finish(&[&backend]).await;
    let row = rows.iter().find(|row| row.outcome == "rejected").unwrap();
    assert!(told >= 50);
    assert_eq!((row.queue_ms, &*row.phase), (told, "queued"));
}

#[tokio::test]
async fn who_is_not_first_in_line_waits_as_long_as_it_takes() {
    let settings = "[limits]\nqueue_timeout = \"2s\"\nrequests_per_second_per_user = 2";
    let (backend, gateway) = rig(|endpoint| endpoint, settings).await;
    let answers = all(&gateway, &gateway.chat("m"), 4).await;
    let statuses: Vec<u16> = answers.iter().map(Answer::status).collect();
    assert_eq!(statuses, [200; 4], "two of them a second later");
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_user_may_wait_for_another_time_than_others() {
    let settings = "[limits]\nqueue_timeout = \"0\"\nrequests_per_second_per_user = 1\n\
                    [limits.user.\"ada@lab.org\"]\nqueue_timeout = \"15s\"";
    let (backend, gateway) = rig(|endpoint| endpoint, settings).await;
    let patient = gateway.key_for("ada@lab.org", &[]).await;
    let other = gateway.key_for("bob@lab.org", &[]).await;
    for (key, expected) in [(patient, [200, 200]), (other, [200, 429])] {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        let chat = Request::post("/v1/chat/completions")
            .bearer(&key)
            .json(&body);
        let mut statuses: Vec<u16> = all(&gateway, &chat, 2)
            .await
            .iter()
            .map(Answer::status)
            .collect();
        statuses.sort_unstable();
        assert_eq!(statuses, expected);
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn who_hangs_up_leaves_the_queue_at_once() {
    let one_place = |endpoint: Endpoint| endpoint.config("max_in_flight", json!(1));
    let (backend, gateway) = rig(one_place, "").await;
    let gate = Gate::closed();
    backend.next(Script::completion().gate_head(&gate));
    let chat = gateway.chat("m");
    let running = gateway.call(&chat);
    let leaving = async {
        gate.reached(1).await;
        let mut client: RawClient = gateway.client().await;
        client.send(&gateway.chat("m").bytes()).await;
        waiting(&gateway, 1.0).await;
        drop(client);
        waiting(&gateway, 0.0).await;
        gate.open();
    };
    let (running, ()) = tokio::join!(running, leaving);
    assert_eq!(running.status(), 200);
    let rows = gateway.finish(&[&backend]).await;
    let left = rows
        .iter()
        .find(|row| row.outcome == "client_closed")
        .unwrap();
    assert_eq!((left.phase.as_str(), left.attempts), ("queued", 0));
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_told_at_once() {
    let limits = "[limits]\nqueue_timeout = \"15s\"";
    let tokens = |endpoint: Endpoint| endpoint.field("tpm_user", json!(1_000));
    let (backend, gateway) = rig(tokens, limits).await;
    backend.next(Script::completion().prompt_tokens(900, 0).text(["x"; 200]));
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_eq!(
        (answer.status(), answer.error_code().as_deref()),
        (429, Some("tokens"))
    );
    let message = answer.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    for word in [
        "1000 tokens a minute",
        "1000 are used",
        "100 more are owed",
        "seconds",
    ] {
        assert!(message.contains(word), "{message}");
    }
    let wait = answer
        .header("retry-after")
        .map(|wait| wait.parse::<u64>().unwrap());
    assert!(
        wait.is_none_or(|wait| (16..=60).contains(&wait)),
        "{wait:?}"
    );
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn batch_requests_go_when_nobody_else_waits() {
    let one_place = |endpoint: Endpoint| endpoint.config("max_in_flight", json!(1));
    let (backend, gateway) = rig(one_place, "").await;
    let gate = Gate::closed();
    backend.next(Script::completion().gate_head(&gate));
    let batch = gateway.chat("m").header("x-ostia-class", "batch");
    let chat = gateway.chat("m");
    let running = gateway.call(&chat);
    let waits = async {
        gate.reached(1).await;
        gateway.call(&batch).await
    };
    let jumps = async {
        gate.reached(1).await;
        waiting(&gateway, 1.0).await;
        gateway.call(&gateway.chat("m")).await
    };
    let opening = async {
        waiting(&gateway, 2.0).await;
        gate.open();
    };
    let (running, batch, interactive, ()) = tokio::join!(running, waits, jumps, opening);
    let statuses = [&running, &batch, &interactive].map(Answer::status);
    assert_eq!(statuses, [200, 200, 200]);
    let refused = gateway
        .call(&gateway.chat("m").header("x-ostia-class", "urgent"))
        .await;
    assert_eq!(refused.status(), 400);
    let rows = gateway.finish(&[&backend]).await;
    let finished = |answer: &Answer| {
        let id = answer.header("x-request-id").unwrap();
        rows.iter()
            .find(|row| row.request_id == id)
            .unwrap()
            .finished_at
    };
    assert!(finished(&interactive) <= finished(&batch));
}

#[tokio::test]
async fn limits_of_one_user_project_or_key_hold_before_those_of_all() {
    let limits = "[limits]\nqueue_timeout = \"0\"\nrequests_per_second_per_user = 1000\n[limits.user.\"eve@example.org\"]\nblocked = true\n[limits.user.\"ada@example.org\"]\nrequests_per_second_per_user = 2";
    let (backend, gateway) = rig(|endpoint| endpoint, limits).await;
    let by = async |user: &str| {
        let key = gateway.key_for(user, &[]).await;
        gateway.chat("m").without("authorization").bearer(&key)
    };
    let eve = gateway.call(&by("eve@example.org").await).await;
    assert_eq!(
        (eve.status(), eve.error_code().as_deref()),
        (403, Some("account_disabled"))
    );
    let answers = all(&gateway, &by("ada@example.org").await, 10).await;
    let served = answers
        .iter()
        .filter(|answer| answer.status() == 200)
        .count();
    assert!((2..10).contains(&served), "{served}");
    let answers = all(&gateway, &by("bob@example.org").await, 10).await;
    assert!(answers.iter().all(|answer| answer.status() == 200));
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn callers_see_how_their_limits_stand() {
    let limits = "[limits]\nrequests_per_second_per_user = 50";
    let tokens = |endpoint: Endpoint| endpoint.field("tpm_user", json!(1_000));
    let (backend, gateway) = rig(tokens, limits).await;
    backend.next(Script::completion().prompt_tokens(900, 0).text(["x"; 200]));
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    let key = gateway.site().secrets.client_bearer();
    let ask = Request::get("/v1/limits").bearer(&key);
    let list = gateway.call(&ask).await.json();
    let find = |scope: &str| {
        let data = list["data"].as_array().unwrap();
        let limit = data.iter().find(|limit| limit["scope"] == scope);
        limit.unwrap_or_else(|| panic!("{scope} in {list}")).clone()
    };
    assert_eq!(find("user")["limit"], 50);
    let tokens = find("user_endpoint");
    assert_eq!(
        [
            &tokens["model"],
            &tokens["used"],
            &tokens["owed"],
            &tokens["left"]
        ],
        [&json!("m"), &json!(1_000), &json!(100), &json!(0)]
    );
    assert_eq!(list["waiting"], 0);
    gateway.finish(&[&backend]).await;
}

/// Settings for single users, keys and so on are shown beside the state of the limits.
#[tokio::test]
async fn operators_see_what_is_set_for_groups_and_projects() {
    let limits = "[limits.group.\"g1\"]\ntpm_user = 7\n[limits.project.\"p1\"]\nfair_share = 3\nblocked = true\n[limits.user.\"ada\"]\nin_flight_per_model = 2\n[limits.user.\"bob\"]\nin_flight_per_model = 4";
    let (backend, gateway) = rig(|endpoint| endpoint, limits).await;
    let (_, token) = ostia::admin::published(gateway.site().folder()).unwrap();
    let ask = Request::get("/admin/limits?user=ada").bearer(token.expose());
    let mut admin = RawClient::connect(gateway.admin_address()).await;
    let page = admin.call(&ask).await.json();
    assert_eq!(
        page["overrides"],
        json!([
            {"for": "user", "name": "ada", "in_flight_per_model": 2},
            {"for": "group", "name": "g1", "tpm_user": 7},
            {"for": "project", "name": "p1", "fair_share": 3, "blocked": true},
        ])
    );
    gateway.finish(&[&backend]).await;
}

/// A debt stays with the counter, whatever happens to the settings.
#[tokio::test]
async fn a_debt_outlives_a_reload() {
    let limits = "[limits]\nqueue_timeout = \"0\"";
    let tokens = |endpoint: Endpoint| endpoint.field("tpm_user", json!(1_000));
    let (backend, gateway) = rig(tokens, limits).await;
    backend.next(
        Script::completion()
            .prompt_tokens(900, 0)
            .text(["x"; 2_200]),
    );
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    let path = gateway.site().folder().join("endpoints.json");
    let before = std::fs::read_to_string(&path).unwrap();
    let after = before.replace("1000", "2000");
    assert_ne!(before, after);
    std::fs::write(&path, after).unwrap();
    gateway.reload().expect("it can be served");
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_eq!(
        (answer.status(), answer.error_code().as_deref()),
        (429, Some("tokens"))
    );
    let message = answer.json()["error"]["message"].to_string();
    assert!(message.contains("2000 tokens a minute"), "{message}");
    assert!(message.contains("2100 more are owed"), "{message}");
    gateway.finish(&[&backend]).await;
}

/// If the user's own limit will not have room in time, the request is refused at once, even while others wait.
#[tokio::test]
async fn a_foreseeable_refusal_does_not_wait_behind_others() {
    let limits = "[limits]\nqueue_timeout = \"15s\"";
    let endpoint = |endpoint: Endpoint| {
        endpoint
            .config("max_in_flight", json!(1))
            .field("tpm_user", json!(1_000))
    };
    let (backend, gateway) = rig(endpoint, limits).await;
    let spent = gateway.key_for("spent@example.org", &[]).await;
    let chat = |key: &str| gateway.chat("m").without("authorization").bearer(key);
    backend.next(Script::completion().prompt_tokens(900, 0).text(["x"; 200]));
    assert_eq!(gateway.call(&chat(&spent)).await.status(), 200);
    let gate = Gate::closed();
    backend.next(Script::completion().gate_head(&gate));
    let first = gateway.chat("m");
    let running = gateway.call(&first);
    let others = async {
        gate.reached(1).await;
        let ada = gateway.key_for("ada@example.org", &[]).await;
        gateway.call(&chat(&ada)).await
    };
    let refused = async {
        waiting(&gateway, 1.0).await;
        let refused = gateway.call(&chat(&spent)).await;
        // Nobody's turn came meanwhile.
        waiting(&gateway, 1.0).await;
        gate.open();
        refused
    };
    let (running, other, refused) = tokio::join!(running, others, refused);
    assert_eq!((running.status(), other.status()), (200, 200));
    assert_eq!(
        (refused.status(), refused.error_code().as_deref()),
        (429, Some("tokens"))
    );
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn those_who_are_refused_alike_come_back_in_turn() {
    let limits = "[limits]\nqueue_timeout = \"0\"\nrequests_per_second_per_user = 1";
    let (backend, gateway) = rig(|endpoint| endpoint, limits).await;
    let answers = all(&gateway, &gateway.chat("m"), 12).await;
    let refused = answers.iter().filter(|answer| answer.status() == 429);
    let mut waits: Vec<u64> = refused
        .filter_map(|answer| answer.header("retry-after")?.parse().ok())
        .collect();
    let count = waits.len();
    assert!(count >= 5, "{waits:?}");
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() + 2 >= count, "one a second: {waits:?}");
    assert!(
        waits.iter().all(|wait| (1..=60).contains(wait)),
        "{waits:?}"
    );
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn one_user_has_so_many_places_on_an_endpoint() {
    let places = |endpoint: Endpoint| endpoint.config("in_flight_per_user", json!(2));
    let (backend, gateway) = rig(places, "[limits]\nqueue_timeout = \"0\"").await;
    let gate = Gate::closed();
    backend.otherwise(Script::completion().gate_head(&gate));
    let chat = gateway.chat("m");
    let mine = all(&gateway, &chat, 5);
    let opening = async {
        gate.reached(2).await;
        let ada = gateway.key_for("ada@example.org", &[]).await;
        let other = gateway.chat("m").without("authorization").bearer(&ada);
        let (other, ()) = tokio::join!(gateway.call(&other), async {
            gate.reached(3).await;
            gate.open();
        });
        other
    };
    let (mine, other) = tokio::join!(mine, opening);
    assert_eq!(
        mine.iter().filter(|answer| answer.status() == 200).count(),
        2
    );
    let codes: Vec<_> = mine.iter().filter_map(Answer::error_code).collect();
    assert_eq!(codes, vec!["concurrency"; 3]);
    assert_eq!(other.status(), 200);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn operators_see_who_waits_and_for_what() {
    let one_place = |endpoint: Endpoint| endpoint.config("max_in_flight", json!(1));
    let (backend, gateway) = rig(one_place, "").await;
    let gate = Gate::closed();
    backend.next(Script::completion().gate_head(&gate));
    let chat = gateway.chat("m");
    let running = gateway.call(&chat);
    let waits = async {
        gate.reached(1).await;
        gateway.call(&gateway.chat("m")).await
    };
    let looking = async {
        waiting(&gateway, 1.0).await;
        let waits = gateway.gateway().admitter().waits();
        gate.open();
        waits
    };
    let (running, waited, seen) = tokio::join!(running, waits, looking);
    assert_eq!((running.status(), waited.status()), (200, 200));
    let [one] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(
        (&*one.model, &*one.project, one.class.as_str()),
        ("m", "", "interactive")
    );
    gateway.finish(&[&backend]).await;
}

/// A block is in the store, where each replica sees it.
#[tokio::test]
async fn who_is_blocked_is_refused_until_the_block_ends() {
    use ostia_core::{Blocked, Notice, NoticeScope};
    let (backend, gateway) = rig(|endpoint| endpoint, "").await;
    let store = gateway.gateway().store();
    let until = async |wanted: u16| {
        let asking = async {
            loop {
                let answer = gateway.call(&gateway.chat("m")).await;
                if answer.status() == wanted {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(|| format!("status {wanted}"), asking).await
    };
    for (what, name, status, code) in [
        (
            Blocked::User,
            ostia_testkit::gateway::USER,
            403,
            "account_disabled",
        ),
        (Blocked::Key, "key-of-tester", 403, "account_disabled"),
        (Blocked::Model, "m", 503, "endpoint_disabled"),
    ] {
        until(200).await;
        let scope = NoticeScope::Blocked(what, name.to_owned());
        let block = Notice {
            scope: scope.clone(),
            text: String::new(),
            begins_at: None,
            ends_at: None,
        };
        store.set_notice(&block).await.unwrap();
        let refused = until(status).await;
        assert_eq!(refused.error_code().as_deref(), Some(code));
        assert!(store.clear_notice(&scope).await.unwrap());
    }
    until(200).await;
    gateway.finish(&[&backend]).await;
}

/// Requests that would wait in the engine wait here: with `auto`, and without any setting if the engine reports its
/// load.
#[tokio::test]
async fn an_overloaded_engine_is_brought_back_to_its_best_point() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use ostia_core::SystemClock;
    use ostia_engine::{Curve, Engine, Fault, Pace};

    const PLACES: u32 = 3;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let pace = Pace {
        first_token: Duration::from_millis(30),
        between_tokens: Duration::ZERO,
    };
    let curve = Curve {
        places: PLACES,
        ..Curve::FLAT
    };
    let engine = Engine::new([("m", Fault::None)], pace, Arc::new(SystemClock));
    let engine = ostia::runtime::spawn(engine.with_curve(curve).serve(listener));
    let endpoint = Endpoint::new("m", &url).config("max_in_flight", json!("auto"));
    let site = Site::new().endpoint(endpoint).answered_within("m");
    let gateway = TestGateway::start(site.settings(PATIENT)).await;
    let is_over = AtomicBool::new(false);
    let chat = gateway.chat("m");
    let clients = join_all((0..30).map(async |_| {
        let mut client = gateway.client().await;
        while !is_over.load(Ordering::Relaxed) {
            assert_eq!(client.call(&chat).await.status(), 200);
        }
    }));
    let looking = async {
        let asking = async {
            loop {
                let metrics = gauges::scrape(gateway.admin_address()).await;
                let of = |name: &str| gauges::sum(&metrics, name);
                let best = of("ostia_endpoint_best_in_flight").unwrap_or_default();
                let is_kept = of("ostia_endpoint_in_flight").is_some_and(|now| now <= best);
                if of("ostia_endpoint_tells") == Some(1.0)
                    && (1.0..=f64::from(PLACES) + 1.0).contains(&best)
                    && is_kept
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(|| "the engine's best point".to_owned(), asking).await;
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(clients, looking);
    gateway.finish(&[]).await;
    engine.abort();
}

/// The whole of `queue_timeout`, then a refusal that says so.
#[tokio::test]
async fn who_has_waited_for_the_queue_s_time_is_refused() {
    let one = |endpoint: Endpoint| endpoint.config("max_in_flight", json!(1));
    let (backend, gateway) = rig(one, "[limits]\nqueue_timeout = \"200ms\"").await;
    let gate = Gate::closed();
    backend.next(Script::completion().gate_head(&gate));
    let holder = gateway.chat("m");
    let (held, ()) = tokio::join!(gateway.call(&holder), async {
        gate.reached(1).await;
        let refused = gateway.call(&gateway.chat("m")).await;
        assert_eq!(refused.status(), 503, "{}", refused.text());
        assert_eq!(refused.error_code().as_deref(), Some("queue_full"));
        assert!(refused.header("retry-after").is_some());
        let row = gateway.row_of(&refused).await;
        assert!(row.duration_ms >= 200, "{row:?}");
        assert_eq!((&*row.outcome, row.attempts), ("rejected", 0));
        gate.open();
    });
    assert_eq!(held.status(), 200);
    gateway.finish(&[&backend]).await;
}
