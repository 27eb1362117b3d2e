//! Figures of admission that need seconds of load: fair shares, bursts, goodput, and what it costs. Prints lines of text.
//!
//! `cargo run --release -p ostia-testkit --example admission -- fair|fair3|burst|agent|goodput|cpu [SECONDS]`, or
//! `scripts/stress.sh`, which names the cases by their numbers.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement that people run and read"
)]

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use ostia::admit::{Entry, own_limits};
use ostia::authorize::authorize;
use ostia::catalog::Scope;
use ostia::dialect::Api;
use ostia::identify::{Identify, Open, Principal, Sender};
use ostia::rank::{Trail, rank};
use ostia::read::Demand;
use ostia::resolve::resolve;
use ostia::routes::{Address, Cors};
use ostia::runtime::spawn;
use ostia_core::{Class, Clock, SystemClock};
use ostia_engine::{Curve, Engine, Fault, Pace};
use ostia_testkit::client::{Answer, RawClient, Request};
use ostia_testkit::gateway::{CLUSTER, Endpoint, FRAMEWORK, Site, TestGateway};
use ostia_testkit::redis_server::RedisServer;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const MODEL: &str = "m";
/// Nobody gives up while a figure is taken.
const PATIENT: &str = "\"60s\"\n";
/// Tokens of every answer.
const TOKENS: u32 = 20;
const PACE: Pace = Pace {
    first_token: Duration::from_millis(20),
    between_tokens: Duration::from_millis(4),
};
/// Calls whose CPU time is measured.
const CALLS: usize = 20_000;

fn main() {
    let mut words = std::env::args().skip(1);
    let case = words.next().unwrap_or_default();
    let seconds = words
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20);
    let time = Duration::from_secs(seconds);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        match &*case {
            "fair" => fair(1, time).await,
            "fair3" => fair(3, time).await,
            "burst" => burst().await,
            "agent" => agent().await,
            "goodput" => goodput(time).await,
            "cpu" => cpu().await,
            _ => println!("fair, fair3, burst, agent, goodput or cpu"),
        }
    });
}

async fn engine(curve: Curve) -> String {
    engine_at(curve, PACE).await
}

async fn engine_at(curve: Curve, pace: Pace) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let engine = Engine::new([(MODEL, Fault::None)], pace, Arc::new(SystemClock));
    spawn(engine.with_curve(curve).serve(listener));
    format!("http://{address}/v1")
}

/// `limits`: how long is waited, and what else stands in `[limits]`.
async fn gateway(url: &str, places: Value, limits: &str) -> TestGateway {
    let endpoint = Endpoint::new(MODEL, url).config("max_in_flight", places);
    let site = Site::new()
        .endpoint(endpoint)
        .answered_within(MODEL)
        .settings(&format!(
            "[limits]\nreserve_output = \"estimate\"\nqueue_timeout = {limits}"
        ));
    TestGateway::start(site).await
}

fn ask(key: &str, prompt: &str, most: u32, stream: bool) -> Request {
    let messages = json!([{"role": "user", "content": prompt}]);
    let body = json!({"model": MODEL, "messages": messages, "max_tokens": most, "stream": stream});
    Request::post("/v1/chat/completions")
        .bearer(key)
        .json(&body)
}

/// A prompt that is answered with more than `TOKENS` words.
fn prompt() -> String {
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen ".repeat(4)
}

/// One answer: how long it took, and how long of that in the queue.
struct Taken {
    whole: Duration,
    queued: Duration,
}

/// Asks one after the other until `end`; gives the answers that ended after `begin`.
async fn client(
    gateway: &TestGateway,
    request: &Request,
    begin: Instant,
    end: Instant,
) -> Vec<Taken> {
    let mut taken = Vec::new();
    let mut client = gateway.client().await;
    while Instant::now() < end {
        let asked = Instant::now();
        let answer = client.call(request).await;
        if answer.status() != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            client = RawClient::connect(gateway.address()).await;
            continue;
        }
        // Also what was asked earlier: with 100 connections one waits long for each.
        if (begin..=end).contains(&Instant::now()) {
            taken.push(Taken {
                whole: asked.elapsed(),
                queued: queued(&answer),
            });
        }
    }
    taken
}

fn queued(answer: &Answer) -> Duration {
    let told = answer.header("x-ostia-queue-ms");
    let millis = told.and_then(|told| told.parse().ok());
    Duration::from_millis(millis.unwrap_or_default())
}

/// Places of the engine whose shares are measured, and what it takes for an answer: long beside what this process does for
/// one, and short enough that the last of 100 connections of one user is answered before the client gives up, also on the slowest of three replicas.
const PLACES: u32 = 4;
const SERVICE: Duration = Duration::from_millis(40);

/// One user with 100 connections and nine with one each, beside as many connections of one user, who is served in the order of
/// arrival.
async fn fair(replicas: usize, time: Duration) {
    let served = crowd(replicas, time, |user| user).await;
    let in_turn = crowd(replicas, time, |_| 0).await;
    let counts: Vec<f64> = served.iter().map(|taken| taken.len() as f64).collect();
    let total: f64 = counts.iter().sum();
    let squares: f64 = counts.iter().map(|count| count.powi(2)).sum();
    let first_come: usize = in_turn.iter().map(Vec::len).sum();
    let most = f64::from(PLACES) * time.as_secs_f64() / SERVICE.as_secs_f64();
    println!("{replicas} replica(s), answers by user: {counts:?}");
    println!(
        "Jain's index {:.4}; throughput {:.3} of first come first served, {:.3} of what the engine could answer",
        total * total / (10.0 * squares),
        total / first_come as f64,
        total / most
    );
    let longest = served[0].iter().map(|taken| taken.queued.as_secs_f64());
    println!(
        "the one with 100 connections waited at most {:.1} s",
        longest.fold(0.0, f64::max)
    );
    let mut waits: Vec<f64> = served[1..]
        .iter()
        .flatten()
        .map(|taken| taken.queued.as_secs_f64() / SERVICE.as_secs_f64())
        .collect();
    waits.sort_by(f64::total_cmp);
    println!(
        "the nine waited (service times): median {:.2}, p99 {:.2}, longest {:.2}",
        part(&waits, 0.5),
        part(&waits, 0.99),
        part(&waits, 1.0)
    );
}

/// What each user got of an engine of four places behind so many replicas. `who`: the user of a connection.
async fn crowd(replicas: usize, time: Duration, who: fn(usize) -> usize) -> Vec<Vec<Taken>> {
    let curve = Curve {
        places: PLACES,
        ..Curve::FLAT
    };
    let pace = Pace {
        first_token: SERVICE,
        ..PACE
    };
    let url = engine_at(curve, pace).await;
    let redis = RedisServer::start().await;
    let shared = format!(
        "{PATIENT}shared = \"{}\"\nshared_timeout = \"2s\"",
        redis.url()
    );
    let limits = if replicas > 1 { &*shared } else { PATIENT };
    let gateways = join_all((0..replicas).map(|_| gateway(&url, json!(PLACES), limits))).await;
    let mut keys: Vec<Vec<String>> = Vec::new();
    for gateway in &gateways {
        let names = (0..10).map(|user| format!("user{user}@example.org"));
        let all = names.map(async |name| gateway.key_for(&name, &[]).await);
        keys.push(join_all(all).await);
    }
    let begin = Instant::now() + Duration::from_secs(3);
    let end = begin + time;
    let connections = (0..100).map(|_| 0).chain(1..10).map(who);
    let work = connections.enumerate().map(|(at, user)| {
        let (gateway, keys) = (&gateways[at % replicas], &keys[at % replicas]);
        let request = ask(&keys[user], &prompt(), TOKENS, false);
        async move { (user, client(gateway, &request, begin, end).await) }
    });
    let mut served: Vec<Vec<Taken>> = (0..10).map(|_| Vec::new()).collect();
    for (user, taken) in join_all(work).await {
        served[user].extend(taken);
    }
    for gateway in gateways {
        gateway.finish(&[]).await;
    }
    served
}

/// 50 requests of 500-token prompts and 300-token answers at once, 10 a second and 60,000 tokens a minute for their user.
async fn burst() {
    let url = engine(Curve::FLAT).await;
    let limits =
        "\"15s\"\nrequests_per_second_per_user = 10\ntpm_user = 60000\nmax_in_flight_per_user = 32";
    let gateway = gateway(&url, json!(0), limits).await;
    let key = gateway.site().secrets.client_bearer();
    let request = ask(&key, &"word ".repeat(400), 32_000, false);
    let begun = Instant::now();
    let answers = join_all((0..50).map(|_| gateway.call(&request))).await;
    let served = answers
        .iter()
        .filter(|answer| answer.status() == 200)
        .count();
    println!(
        "{served} of 50 answered, all of them within {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    gateway.finish(&[]).await;
}

/// The first two requests of a coding agent under 60,000 tokens a minute and user.
async fn agent() {
    let url = engine(Curve::FLAT).await;
    let gateway = gateway(
        &url,
        json!(0),
        "\"15s\"\nrequests_per_second_per_user = 10\ntpm_user = 60000",
    )
    .await;
    let key = gateway.site().secrets.client_bearer();
    let tool = |number: usize| json!({"name": format!("tool_{number}"), "description": "Reads a file and gives its lines with their numbers. ".repeat(20), "input_schema": {"type": "object", "properties": {"path": {"type": "string", "description": "An absolute path"}}}});
    let tools: Vec<Value> = (0..100).map(tool).collect();
    let body = json!({"model": MODEL, "max_tokens": 32_000, "stream": true, "tools": tools, "messages": [{"role": "user", "content": "hello"}]});
    println!("{} bytes a request", body.to_string().len());
    let request = Request::post("/v1/messages").bearer(&key).json(&body);
    let answers = join_all((0..2).map(|_| gateway.call(&request))).await;
    let told: Vec<_> = answers
        .iter()
        .map(|answer| (answer.status(), queued(answer)))
        .collect();
    println!("status and time in the queue: {told:?}");
    gateway.finish(&[]).await;
}

/// Answers a second at five times what the engine serves best, with fixed numbers of requests at a time and `auto`.
async fn goodput(time: Duration) {
    let curves: [(&str, u32, Curve); 3] = [
        (
            "thrashing beyond 16",
            16,
            Curve {
                places: u32::MAX,
                slowdown: |n| 1.0 + (f64::from(n.saturating_sub(16)) / 16.0).powi(2),
            },
        ),
        (
            "shared, falling beyond 40",
            24,
            Curve {
                places: u32::MAX,
                slowdown: |n| (1.0 + f64::from(n) / 24.0) * (1.0 + (f64::from(n) / 60.0).powi(3)),
            },
        ),
        (
            "a cliff at 10",
            10,
            Curve {
                places: u32::MAX,
                slowdown: |n| if n <= 10 { 1.0 } else { f64::from(n) / 4.0 },
            },
        ),
    ];
    for (name, best, curve) in curves {
        let load = best * 5;
        let idle = run(curve, json!(1), 1, time / 4).await;
        let direct = run(curve, json!(0), load, time).await;
        let mut fixed = (0.0, 0);
        for cap in [best / 2, best * 3 / 4, best, best * 5 / 4, best * 2] {
            let of = run(curve, json!(cap), load, time / 2).await;
            println!("  {name}, {cap} at a time: {:.1}/s", of.0);
            if of.0 > fixed.0 {
                fixed = (of.0, cap);
            }
        }
        let auto = run(curve, json!("auto"), load, time).await;
        println!(
            "{name}: auto {:.1}/s, best fixed {:.1}/s (at {}), direct {:.1}/s: {:.2} of the best, {:.2} times direct; p99 from admission on {:.2} times the idle one",
            auto.0,
            fixed.0,
            fixed.1,
            direct.0,
            auto.0 / fixed.0,
            auto.0 / direct.0,
            auto.1 / idle.1
        );
    }
}

/// Answers a second, and the p99 of what they took without the queue, in seconds.
async fn run(curve: Curve, places: Value, clients: u32, time: Duration) -> (f64, f64) {
    let url = engine(curve).await;
    let gateway = gateway(&url, places, PATIENT).await;
    let key = gateway.site().secrets.client_bearer();
    let request = ask(&key, &prompt(), TOKENS, true);
    let begin = Instant::now() + Duration::from_secs(10).min(time / 2);
    let end = begin + time;
    let work = (0..clients).map(|_| client(&gateway, &request, begin, end));
    let taken: Vec<Taken> = join_all(work).await.into_iter().flatten().collect();
    let rate = taken.len() as f64 / time.as_secs_f64();
    let mut times: Vec<f64> = taken
        .iter()
        .map(|taken| taken.whole.saturating_sub(taken.queued).as_secs_f64())
        .collect();
    times.sort_by(f64::total_cmp);
    gateway.finish(&[]).await;
    (rate, part(&times, 0.99))
}

/// CPU microseconds of this process for an admission and its end: limits in this process, and in Redis.
async fn cpu() {
    let redis = RedisServer::start().await;
    let shared = format!("shared = \"{}\"\nshared_timeout = \"2s\"", redis.url());
    for (name, more) in [("local", ""), ("Redis", &*shared)] {
        let limits = format!(
            "{PATIENT}requests_per_second_per_user = 1000000\ntpm_user = 1000000000\nmax_in_flight_per_user = 100\n{more}"
        );
        let gateway = gateway("http://127.0.0.1:1/v1", json!(100), &limits).await;
        let subject = gateway.gateway();
        while subject.admitter().is_degraded() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let clock = subject.clock();
        let principal = anybody(&clock).await;
        let live = subject.live();
        let before = cpu_micros();
        for _ in 0..CALLS {
            let pool = resolve(&live.catalog, &address(), MODEL);
            let permit = authorize(&principal, pool, &live.notices).expect("a permit");
            let now = clock.unix_micros();
            let (trail, fleet) = (Trail::default(), Arc::default());
            let ranked =
                rank(permit, &Default::default(), trail, &fleet, now).expect("an endpoint");
            let entry = Entry {
                principal: &principal,
                limits: &live.settings.limits,
                own: &own_limits(&live.settings.limits, principal.identity()),
                demand: &Demand {
                    api: "chat/completions".into(),
                    prompt: 100,
                    ..Demand::default()
                },
                class: Class::Interactive,
            };
            drop(subject.admitter().enter(ranked, entry).await.expect("room"));
        }
        println!(
            "{name}: {:.2} us of CPU an admission and its end",
            (cpu_micros() - before) / CALLS as f64
        );
        gateway.finish(&[]).await;
    }
}

fn part(sorted: &[f64], share: f64) -> f64 {
    let at = ((sorted.len() as f64 - 1.0) * share).max(0.0) as usize;
    sorted.get(at).copied().unwrap_or_default()
}

async fn anybody(clock: &Arc<dyn Clock>) -> Principal {
    let identify = Identify::new(
        Vec::new(),
        Some(Open::new(Cors::default(), false)),
        false,
        Arc::clone(clock),
    );
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let sender = Sender {
        peer_ip: here,
        origin_ip: here,
    };
    let head = http::Request::builder()
        .header("host", "localhost")
        .body(());
    let (head, ()) = head.expect("a request").into_parts();
    identify.identify(&head, sender).await.expect("anybody")
}

fn address() -> Address<'static> {
    Address {
        scope: Scope::Framework {
            cluster: CLUSTER,
            framework: FRAMEWORK,
        },
        api: Api::parse("chat/completions"),
        model: None,
    }
}

/// Microseconds that this process's threads were on a CPU (schedstat in the kernel's documentation).
fn cpu_micros() -> f64 {
    let threads = fs::read_dir("/proc/self/task").expect("/proc");
    let nanos = threads.flatten().filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanos.sum::<f64>() / 1e3
}
