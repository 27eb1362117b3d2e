//! Limits over several replicas, kept in Redis: exact over all of them, and no 5xx when it fails (R37 to R39, R41, R74,
//! R75).

use std::time::Duration;

use ostia_core::{Clock as _, SystemClock};

use futures_util::future::join_all;
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::chaos::{ChaosProxy, Mode};
use ostia_testkit::client::{Answer, Request};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway, gauges};
use ostia_testkit::patience::{until, within};
use ostia_testkit::redis_server::RedisServer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Long enough for a busy machine, so that the fallback is never used.
const SURE: &str = "shared_timeout = \"2s\"";

struct Replica {
    backend: FakeBackend,
    gateway: TestGateway,
}

async fn replica(url: &str, limits: &str, endpoint: impl FnOnce(Endpoint) -> Endpoint) -> Replica {
    let backend = FakeBackend::start().await;
    backend.otherwise(Script::completion().prompt_tokens(17, 0));
    let site = Site::new()
        .endpoint(endpoint(Endpoint::of("m", &backend)))
        .settings(&format!("[limits]\nshared = \"{url}\"\n{limits}"));
    let gateway = TestGateway::start(site).await;
    Replica { backend, gateway }
}

async fn replicas(
    url: &str,
    limits: &str,
    endpoint: impl Fn(Endpoint) -> Endpoint,
) -> [Replica; 3] {
    let all = [(); 3].map(|()| replica(url, limits, &endpoint));
    let all: Vec<_> = join_all(all).await;
    for one in &all {
        gauge(&one.gateway, "ostia_limiter_degraded", 0.0).await;
    }
    all.try_into().unwrap_or_else(|_| panic!("three"))
}

async fn gauge(gateway: &TestGateway, name: &str, wanted: f64) {
    gauges::reaches(gateway.admin_address(), name, wanted).await;
}

async fn finish(replicas: impl IntoIterator<Item = Replica>) {
    for one in replicas {
        one.gateway.finish(&[&one.backend]).await;
    }
}

/// A prompt of 50 tokens, and at most 100 more in the answer.
fn costs_150(gateway: &TestGateway) -> Request {
    let messages = json!([{"role": "user", "content": "x".repeat(196)}]);
    let body = json!({"messages": messages, "max_tokens": 100});
    gateway.request("chat/completions", "m", &body)
}

async fn burst(gateway: &TestGateway, count: usize) -> Vec<Answer> {
    let request = costs_150(gateway);
    join_all((0..count).map(async |_| gateway.call(&request).await)).await
}

fn count(answers: &[Answer], status: u16) -> usize {
    let wanted = answers.iter().filter(|answer| answer.status() == status);
    wanted.count()
}

async fn limit(gateway: &TestGateway, scope: &str, of: &str) -> Value {
    let key = gateway.site().secrets.client_bearer();
    let list = gateway
        .call(&Request::get("/v1/limits").bearer(&key))
        .await
        .json();
    let data = list["data"].as_array().unwrap();
    let found = data
        .iter()
        .find(|limit| limit["scope"] == scope && limit["limit"] == 9_000);
    found.unwrap_or_else(|| panic!("{scope} in {list}"))[of].clone()
}

/// A replica that died as the next in line holds up nobody: it does not hear that it is called.
#[tokio::test]
async fn a_dead_replica_s_turn_passes_at_once() {
    let redis = RedisServer::start().await;
    let limits = format!("{SURE}\nqueue_timeout = \"15s\"");
    let one_place = |endpoint: Endpoint| endpoint.config("max_in_flight", json!(1));
    let one = replica(&redis.url(), &limits, one_place).await;
    gauge(&one.gateway, "ostia_limiter_degraded", 0.0).await;
    let dead = json!({
        "replica": "dead", "pool": "m", "class": "interactive", "project": "", "user": "", "since": 0,
        "ends": 9_000_000_000_000_000_i64,
    });
    let line = "ostia:f:endpoint:lab-vllm-m:line";
    let _: i64 = redis.ask(&["HSET", line, "dead", &dead.to_string()]).await;
    let answer = one.gateway.call(&one.gateway.chat("m")).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let left: i64 = redis.ask(&["HEXISTS", line, "dead"]).await;
    assert_eq!(left, 0);
    finish([one]).await;
}

#[tokio::test]
async fn whoever_guesses_credentials_is_barred_from_all_replicas() {
    let redis = RedisServer::start().await;
    let [one, other, third] = replicas(&redis.url(), SURE, |endpoint| endpoint).await;
    let guess =
        |number: usize| Request::get("/v1/models").bearer(&format!("sk-ostia-{number:043}"));
    for there in [&other, &third] {
        let known = there.gateway.call(&there.gateway.chat("m")).await;
        assert_eq!(known.status(), 200);
    }
    for number in 0..30 {
        assert_eq!(one.gateway.call(&guess(number)).await.status(), 401);
    }
    assert_eq!(one.gateway.call(&guess(30)).await.status(), 429);
    for there in [&other, &third] {
        // Without the others' guesses, each replica would let in 30.
        let mut number = 30;
        let barred = loop {
            number += 1;
            assert!(number < 60, "not barred");
            let answer = there.gateway.call(&guess(number)).await;
            if answer.status() == 429 {
                break answer;
            }
            // Each look is a guess itself, and the replicas tell each other once a second.
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        assert_eq!(
            barred.error_code().as_deref(),
            Some("too_many_failed_sign_ins")
        );
        let valid = there.gateway.call(&there.gateway.chat("m")).await;
        assert_eq!(valid.status(), 200, "a known key is no guess");
    }
    finish([one, other, third]).await;
}

#[tokio::test]
async fn three_replicas_let_in_exactly_what_one_would() {
    let redis = RedisServer::start().await;
    for scope in ["tpm_user", "tpm_model"] {
        let _: String = redis.ask(&["FLUSHALL"]).await;
        // 60 requests of 150 tokens fit.
        let all = replicas(&redis.url(), SURE, |endpoint| {
            endpoint.field(scope, json!(9_000))
        })
        .await;
        let gates = [(); 3].map(|()| Gate::closed());
        for (one, gate) in all.iter().zip(&gates) {
            one.backend
                .otherwise(Script::completion().prompt_tokens(17, 0).gate_head(gate));
        }
        let bursts = join_all(all.iter().map(|one| burst(&one.gateway, 50)));
        let opening = async {
            let decided = async || {
                let mut known = 0.0;
                for one in &all {
                    let metrics = gauges::scrape(one.gateway.admin_address()).await;
                    known += gauges::sum(&metrics, "ostia_endpoint_in_flight").unwrap_or(0.0);
                    known += gauges::sum(&metrics, "ostia_errors_total").unwrap_or(0.0);
                }
                (known >= 150.0).then_some(())
            };
            until(|| "150 decisions".to_owned(), decided).await;
            gates.iter().for_each(Gate::open);
        };
        let (answers, ()) = tokio::join!(bursts, opening);
        let answers = answers.concat();
        assert_eq!(
            (count(&answers, 200), count(&answers, 429)),
            (60, 90),
            "{scope}"
        );
        // Each used 20 tokens of its 150. The rest is free on every replica as soon as it is reported.
        let counter = match scope {
            "tpm_user" => "user_endpoint",
            _ => "endpoint",
        };
        let settled = async || {
            let used = limit(&all[2].gateway, counter, "used").await;
            (used == 1_200).then_some(())
        };
        until(|| "60 times 20 tokens".to_owned(), settled).await;
        let keys = redis.keys().await;
        assert!(!keys.is_empty());
        assert!(keys.iter().all(|(_, ends)| *ends > 0), "{keys:?}");
        finish(all).await;
    }
}

/// The window is a second of the server's clock. If a busy machine did not send its requests within one, they are sent
/// again as another user.
#[tokio::test]
async fn of_a_second_s_requests_three_replicas_let_in_exactly_as_many_as_one_would() {
    const RATE: usize = 20;
    let redis = RedisServer::start().await;
    let limits = format!("{SURE}\nrequests_per_second_per_user = {RATE}");
    let all = replicas(&redis.url(), &limits, |endpoint| endpoint).await;
    let asking = async {
        for round in 0.. {
            let user = format!("user{round}@example.org");
            let keys = join_all(all.iter().map(|one| one.gateway.key_for(&user, &[]))).await;
            let begun = SystemClock.now();
            let bursts = all.iter().zip(&keys).map(async |(one, key)| {
                let request = costs_150(&one.gateway).without("authorization").bearer(key);
                join_all((0..25).map(async |_| one.gateway.call(&request).await)).await
            });
            let answers = join_all(bursts).await.concat();
            let (let_in, refused) = (count(&answers, 200), count(&answers, 429));
            assert_eq!(let_in + refused, 75);
            let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
            assert!(
                (RATE..=RATE * seconds).contains(&let_in),
                "{let_in} in {seconds} s"
            );
            if begun.elapsed() < Duration::from_millis(950) {
                return;
            }
        }
    };
    within(|| "75 answers within a second".to_owned(), asking).await;
    finish(all).await;
}

#[tokio::test]
async fn places_of_a_user_and_of_an_endpoint_count_over_all_replicas() {
    let redis = RedisServer::start().await;
    for (limits, places, refused) in [("max_in_flight_per_user = 5", 0, 429), ("", 5, 503)] {
        let limits = format!("{SURE}\n{limits}");
        let all = replicas(&redis.url(), &limits, |endpoint| {
            endpoint.config("max_in_flight", json!(places))
        })
        .await;
        let gate = Gate::closed();
        for one in &all {
            one.backend.otherwise(Script::completion().gate_head(&gate));
        }
        let bursts = join_all(all.iter().map(|one| burst(&one.gateway, 10)));
        let opening = async {
            gate.reached(5).await;
            let refused = async {
                let mut errors = 0.0;
                while errors < 25.0 {
                    errors = 0.0;
                    for one in &all {
                        let metrics = gauges::scrape(one.gateway.admin_address()).await;
                        errors += gauges::sum(&metrics, "ostia_errors_total").unwrap_or(0.0);
                    }
                }
            };
            within(|| "25 refusals".to_owned(), refused).await;
            gate.open();
        };
        let (answers, ()) = tokio::join!(bursts, opening);
        let answers = answers.concat();
        assert_eq!((count(&answers, 200), count(&answers, refused)), (5, 25));
        finish(all).await;
    }
}

#[tokio::test]
async fn who_waits_on_one_replica_gets_the_place_that_another_gives_back() {
    let redis = RedisServer::start().await;
    let limits = format!("{SURE}\nqueue_timeout = \"60s\"");
    let one_place = |endpoint: Endpoint| endpoint.config("max_in_flight", json!(1));
    let [first, second, third] = replicas(&redis.url(), &limits, one_place).await;
    let gate = Gate::closed();
    first
        .backend
        .otherwise(Script::completion().gate_head(&gate));
    let running = burst(&first.gateway, 1);
    let waiting = async {
        gate.reached(1).await;
        burst(&second.gateway, 1).await
    };
    let opening = async {
        gauge(&second.gateway, "ostia_waiting", 1.0).await;
        gate.open();
    };
    let (running, waiting, ()) = tokio::join!(running, waiting, opening);
    assert_eq!((count(&running, 200), count(&waiting, 200)), (1, 1));
    assert!(waiting[0].header("x-ostia-queue-ms").is_some());
    finish([first, second, third]).await;
}

/// Of those who wait on three replicas, the one who was served least is next, though she came last and is alone on hers.
#[tokio::test]
async fn a_free_place_goes_to_who_was_served_least_on_any_replica() {
    let redis = RedisServer::start().await;
    let limits = format!("{SURE}\nqueue_timeout = \"60s\"");
    let one_place = |endpoint: Endpoint| endpoint.config("max_in_flight", json!(1));
    let [first, second, third] = replicas(&redis.url(), &limits, one_place).await;
    let gate = Gate::closed();
    for one in [&first, &second, &third] {
        one.backend.otherwise(Script::completion().gate_head(&gate));
    }
    let ask = async |one: &Replica, user: &'static str, count: usize| {
        let key = one.gateway.key_for(user, &[]).await;
        let request = costs_150(&one.gateway)
            .without("authorization")
            .bearer(&key);
        join_all((0..count).map(async |_| one.gateway.call(&request).await.status())).await
    };
    // One runs; the others of this user wait behind it, on two replicas.
    let crowd = async {
        let here = ask(&first, "crowd@example.org", 4);
        let there = async {
            gate.reached(1).await;
            ask(&second, "crowd@example.org", 3).await
        };
        tokio::join!(here, there)
    };
    let ada = async {
        gauge(&first.gateway, "ostia_waiting", 3.0).await;
        gauge(&second.gateway, "ostia_waiting", 3.0).await;
        ask(&third, "ada@example.org", 1).await
    };
    let opening = async {
        in_line(&redis, 3).await;
        gate.release(1);
        gate.reached(2).await;
        assert_eq!(third.backend.records().len(), 1, "it is her turn");
        gate.open();
    };
    let ((here, there), ada, ()) = tokio::join!(crowd, ada, opening);
    let statuses = [here, there, ada].concat();
    assert_eq!(statuses, vec![200; 8]);
    finish([first, second, third]).await;
    let keys = redis.keys().await;
    assert!(keys.iter().all(|(_, ends)| *ends > 0), "{keys:?}");
}

/// Until so many replicas have somebody in the server's line.
async fn in_line(redis: &RedisServer, replicas: usize) {
    let look = async || {
        let keys = redis.keys().await;
        let (name, _) = keys.iter().find(|(name, _)| name.ends_with(":line"))?;
        (redis.ask::<usize>(&["HLEN", name]).await == replicas).then_some(())
    };
    until(|| format!("{replicas} replicas in line"), look).await;
}

#[tokio::test]
async fn a_password_and_tls_are_spoken() {
    for redis in [
        RedisServer::with_password().await,
        RedisServer::with_tls().await,
    ] {
        let ca = redis.ca_path();
        let limits = match ca.exists() {
            true => format!("{SURE}\nshared_ca_cert_path = \"{}\"", ca.display()),
            false => SURE.to_owned(),
        };
        let one = replica(&redis.url(), &limits, |endpoint| {
            endpoint.field("tpm_user", json!(9_000))
        })
        .await;
        gauge(&one.gateway, "ostia_limiter_degraded", 0.0).await;
        assert_eq!(count(&burst(&one.gateway, 3).await, 200), 3);
        let names: Vec<String> = redis
            .keys()
            .await
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert!(
            names.iter().any(|name| name.starts_with("ostia:t:")),
            "{names:?}"
        );
        finish([one]).await;
    }
}

/// Whatever happens to the server, requests go on: each replica enforces its part, and later all count together again.
#[tokio::test]
async fn a_server_that_fails_ends_no_request_and_limits_hold_in_parts() {
    let redis = RedisServer::start().await;
    let proxy = ChaosProxy::start(redis.address()).await;
    let url = redis.url_at(proxy.address());
    let limits = "shared_timeout = \"50ms\"";
    let all = replicas(&url, limits, |endpoint| {
        endpoint.field("tpm_user", json!(9_000))
    })
    .await;
    for one in &all {
        gauge(&one.gateway, "ostia_limiter_replicas", 3.0).await;
    }
    let none: [&str; 0] = [];
    for (fault, mend) in [
        (
            vec!["CONFIG", "SET", "maxmemory", "1"],
            vec!["CONFIG", "SET", "maxmemory", "0"],
        ),
        (
            vec!["REPLICAOF", "127.0.0.1", "1"],
            vec!["REPLICAOF", "NO", "ONE"],
        ),
        (none.to_vec(), none.to_vec()),
    ] {
        match fault.is_empty() {
            true => proxy.switch(Mode::BlackHole),
            false => redis.ask::<()>(&fault).await,
        }
        let answers = join_all(all.iter().map(|one| burst(&one.gateway, 25))).await;
        for answers in &answers {
            let statuses: Vec<u16> = answers.iter().map(Answer::status).collect();
            assert!(
                statuses.iter().all(|status| matches!(status, 200 | 429)),
                "{fault:?} {statuses:?}"
            );
            // A third of 9,000 tokens is room for 20 requests that reserve 150, and for more after those used only 20.
            assert!(count(answers, 200) >= 1, "{fault:?}");
        }
        for one in &all {
            gauge(&one.gateway, "ostia_limiter_degraded", 1.0).await;
        }
        match mend.is_empty() {
            true => proxy.switch(Mode::Pass),
            false => redis.ask::<()>(&mend).await,
        }
        for one in &all {
            gauge(&one.gateway, "ostia_limiter_degraded", 0.0).await;
        }
    }
    finish(all).await;
}

#[tokio::test]
async fn a_server_that_is_away_at_the_start_or_talks_nonsense_is_done_without() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let nonsense = ostia::runtime::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            ostia::runtime::spawn(async move {
                let mut bytes = [0; 4096];
                while matches!(socket.read(&mut bytes).await, Ok(count) if count > 0) {
                    // A wrong reply to the opening of a connection, to the probe, and to every question.
                    let _ = socket.write_all(b"+OK\r\n*2\r\n:9\r\n$3\r\nabc\r\n").await;
                }
            });
        }
    });
    let closed = ostia_testkit::ports::ClosedPort::bind();
    for url in [
        format!("redis://{address}"),
        format!("redis://{}", closed.address()),
    ] {
        let limits = "max_in_flight_per_user = 1";
        let one = replica(&url, limits, |endpoint| endpoint).await;
        let answers = burst(&one.gateway, 5).await;
        assert!(count(&answers, 200) >= 1);
        assert_eq!(count(&answers, 200) + count(&answers, 429), 5);
        finish([one]).await;
    }
    nonsense.abort();
}

#[tokio::test]
async fn after_a_restart_without_its_data_nobody_is_locked_out() {
    let redis = RedisServer::start().await;
    let one = replica(&redis.url(), SURE, |endpoint| {
        endpoint.field("tpm_user", json!(9_000))
    })
    .await;
    gauge(&one.gateway, "ostia_limiter_degraded", 0.0).await;
    assert_eq!(count(&burst(&one.gateway, 5).await, 200), 5);
    redis.kill();
    // Only a replica that sends questions notices.
    assert_eq!(count(&burst(&one.gateway, 5).await, 200), 5);
    gauge(&one.gateway, "ostia_limiter_degraded", 1.0).await;
    redis.restart().await;
    gauge(&one.gateway, "ostia_limiter_degraded", 0.0).await;
    let answers = burst(&one.gateway, 100).await;
    assert!(count(&answers, 200) >= 60, "a whole window is there");
    let keys = redis.keys().await;
    assert!(keys.iter().all(|(_, ends)| *ends > 0), "{keys:?}");
    finish([one]).await;
}

#[tokio::test]
async fn what_one_replica_owes_all_of_them_wait_for() {
    let redis = RedisServer::start().await;
    let tokens = |endpoint: Endpoint| endpoint.field("tpm_user", json!(9_000));
    let [first, second, third] = replicas(&redis.url(), SURE, tokens).await;
    first
        .backend
        .next(Script::completion().prompt_tokens(9_000, 0).text(["x"; 50]));
    assert_eq!(count(&burst(&first.gateway, 1).await, 200), 1);
    let owed = async || {
        let owed = limit(&second.gateway, "user_endpoint", "owed").await;
        (owed == 50).then_some(())
    };
    until(|| "a debt of 50".to_owned(), owed).await;
    assert_eq!(limit(&second.gateway, "user_endpoint", "used").await, 9_000);
    let refused = &burst(&third.gateway, 1).await[0];
    assert_eq!(
        (refused.status(), refused.error_code().as_deref()),
        (429, Some("tokens"))
    );
    finish([first, second, third]).await;
}

/// The answer arrives when nobody waits for it any more: its grant is taken back.
#[tokio::test]
async fn an_answer_that_is_too_late_leaves_nothing_taken() {
    let redis = RedisServer::start().await;
    let proxy = ChaosProxy::start(redis.address()).await;
    let url = redis.url_at(proxy.address());
    let limits = "shared_timeout = \"50ms\"\nmax_in_flight_per_user = 9000";
    let one = replica(&url, limits, |endpoint| {
        endpoint.field("tpm_user", json!(9_000))
    })
    .await;
    gauge(&one.gateway, "ostia_limiter_degraded", 0.0).await;
    let gate = Gate::closed();
    proxy.switch(Mode::Hold(gate.clone()));
    assert_eq!(count(&burst(&one.gateway, 1).await, 200), 1, "in parts");
    gate.open();
    proxy.switch(Mode::Pass);
    gauge(&one.gateway, "ostia_limiter_degraded", 0.0).await;
    let free = async || {
        let here = limit(&one.gateway, "user_endpoint", "used").await;
        let everywhere = limit(&one.gateway, "user", "used").await;
        (here == 0 && everywhere == 0).then_some(())
    };
    until(|| "everything to come back".to_owned(), free).await;
    finish([one]).await;
}

/// Shutting down sends what is left to be sent: nothing is in flight afterwards.
#[tokio::test]
async fn a_stop_gives_everything_back_at_once() {
    let redis = RedisServer::start().await;
    let limits = format!("{SURE}\nmax_in_flight_per_user = 50");
    let one = replica(&redis.url(), &limits, |endpoint| endpoint).await;
    gauge(&one.gateway, "ostia_limiter_degraded", 0.0).await;
    assert_eq!(count(&burst(&one.gateway, 20).await, 200), 20);
    finish([one]).await;
    let names: Vec<String> = redis
        .keys()
        .await
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let left = |name: &String| name.starts_with("ostia:f:") || name == "ostia:replicas";
    assert!(!names.iter().any(left), "{names:?}");
}
