//! What a hook that does nothing costs, in CPU microseconds a request: alone, and over the whole gateway. Prints Markdown.
//!
//! `cargo run --release -p ostia-testkit --example hook_cost`
//!
//! Every round measures all three, one after the other; shown are the medians of what a hook adds within a round, with
//! their 95 % confidence intervals. CPU time is that of this process: over the whole gateway the client and the backend
//! are in it, so that only the differences mean something.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement that people run and read"
)]

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::Full;
use ostia::admit::{Admission, Admitter, Entry, RetryBudget, own_limits};
use ostia::authorize::authorize;
use ostia::backend::{AdapterError, EndpointAdapter, Request, RequestContext};
use ostia::boot::Builder;
use ostia::catalog::Scope;
use ostia::config::Sources;
use ostia::dialect::Api;
use ostia::fleet::Fleet;
use ostia::gateway::Gateway;
use ostia::identify::{Identify, Open, Principal, Sender};
use ostia::live::{Live, Workbench};
use ostia::rank::{Trail, rank};
use ostia::read::{Budget, Call, Demand, ReadLimits, RefusedBytes, Rules, read};
use ostia::resolve::resolve;
use ostia::routes::{Address, Cors};
use ostia::scan::Watch;
use ostia_core::{Class, Clock, RequestId, SystemClock};
use ostia_testkit::backend::FakeBackend;
use ostia_testkit::gateway::{CLUSTER, Endpoint, Site, TestGateway};
use serde_json::json;

const MODELS: [&str; 3] = ["direct", "rust", "script"];
/// Rounds, and requests in each. The kernel counts a running thread's time in ticks of milliseconds: the short calls need
/// many in a round.
const ALONE: (usize, usize) = (40, 20_000);
const WHOLE: (usize, usize) = (400, 50);

struct NoOp;

#[async_trait]
impl EndpointAdapter for NoOp {
    async fn on_request(&self, _: &mut RequestContext<'_>) -> Result<(), AdapterError> {
        Ok(())
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    println!("| hook that does nothing | alone | 95 % | whole gateway | 95 % |");
    println!("|---|---|---|---|---|");
    let (alone, whole) = runtime.block_on(async { (alone().await, whole().await) });
    for (at, kind) in ["none (`direct_api`)", "in Rust", "script"]
        .iter()
        .enumerate()
    {
        println!("| {kind} | {} | {} |", shown(&alone, at), shown(&whole, at));
    }
}

/// Rounds of CPU microseconds a request, by [`MODELS`].
type Rounds = Vec<[f64; 3]>;

/// For the first its own cost, for the others what they add to it.
fn shown(rounds: &Rounds, at: usize) -> String {
    let mut costs: Vec<f64> = rounds
        .iter()
        .map(|costs| {
            if at == 0 {
                costs[0]
            } else {
                costs[at] - costs[0]
            }
        })
        .collect();
    costs.sort_by(f64::total_cmp);
    // The ranks between which the median lies, by the normal approximation of the binomial distribution.
    let half = costs.len() / 2;
    let off = (0.98 * (costs.len() as f64).sqrt()) as usize;
    let (middle, low, high) = (costs[half], costs[half - off], costs[half + off]);
    match at {
        0 => format!("{middle:.2} | {low:.2} to {high:.2}"),
        _ => format!("{middle:+.2} | {low:+.2} to {high:+.2}"),
    }
}

fn site(backend: &FakeBackend) -> (Site, Builder) {
    let site = Site::new();
    fs::write(site.folder().join("noop.rhai"), "fn on_request(ctx) {}").expect("a script");
    let adapters = ["direct_api", "noop.Rust", "script:noop.rhai"];
    let site = MODELS
        .iter()
        .zip(adapters)
        .fold(site, |site, (model, adapter)| {
            site.endpoint(Endpoint::of(model, backend).field("endpoint_adapter", json!(adapter)))
        });
    let builder = Gateway::builder().endpoint_adapter("noop.Rust", NoOp);
    (site, builder)
}

/// From an admitted call to the request that would be sent.
async fn alone() -> Rounds {
    let backend = FakeBackend::start().await;
    let (site, builder) = site(&backend);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = site.prepare(&*clock).await;
    let sources = Sources {
        config: Some(site.config_path()),
        environment: site.variables().clone().into_iter().collect(),
        ..Sources::default()
    };
    let loaded = builder.load(&sources, &Fleet::default());
    let settings = loaded.settings.expect("sound settings");
    let bench = Workbench::new(builder.registry().clone(), store, Arc::clone(&clock));
    let live = Live::build(settings, loaded.catalog, &bench, None).expect("what can be served");
    let principal = anybody(&clock).await;
    let mut cases = Vec::new();
    for model in MODELS {
        let admission = admission(&live, &principal, model, &clock).await;
        cases.push((admission, call(model).await));
    }
    let (id, headers) = (RequestId::at(0), HeaderMap::new());
    let mut rounds = Rounds::new();
    for _ in 0..=ALONE.0 {
        let mut costs = [0.0; 3];
        for ((admission, call), cost) in cases.iter().zip(&mut costs) {
            let before = cpu_micros();
            for _ in 0..ALONE.1 {
                let request = Request {
                    principal: &principal,
                    call,
                    id,
                    headers: &headers,
                };
                let prepared = live.backends.prepare(admission.deployment(), request);
                prepared.await.expect("a request");
            }
            *cost = (cpu_micros() - before) / ALONE.1 as f64;
        }
        rounds.push(costs);
    }
    rounds.split_off(1)
}

/// From the client's bytes to the client's answer, one request after the other.
async fn whole() -> Rounds {
    let backend = FakeBackend::start().await;
    let (site, builder) = site(&backend);
    let gateway = TestGateway::start_with(site, builder).await;
    let mut client = gateway.client().await;
    let mut rounds = Rounds::new();
    for _ in 0..=WHOLE.0 {
        let mut costs = [0.0; 3];
        for (model, cost) in MODELS.iter().zip(&mut costs) {
            let request = gateway.chat(model);
            let before = cpu_micros();
            for _ in 0..WHOLE.1 {
                assert_eq!(client.call(&request).await.status(), 200);
            }
            *cost = (cpu_micros() - before) / WHOLE.1 as f64;
        }
        rounds.push(costs);
    }
    gateway.finish(&[&backend]).await;
    rounds.split_off(1)
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
            framework: "vllm",
        },
        api: Api::parse("chat/completions"),
        model: None,
    }
}

async fn call(model: &str) -> Call {
    let body = json!({"model": model, "messages": [{"role": "user", "content": "hello"}]});
    let limits = ReadLimits {
        max_body_bytes: 1 << 20,
        body_idle_timeout: Duration::from_secs(10),
    };
    let body = Full::new(Bytes::from(body.to_string()));
    let user = "user".into();
    let rules = Rules {
        limits: &limits,
        budget: &Budget::new(1 << 20),
        user: &user,
        origin: std::net::Ipv4Addr::LOCALHOST.into(),
        watch: &Watch::default(),
    };
    let refused = RefusedBytes::new(Arc::new(SystemClock));
    let mut toll = refused.toll(&user, 0).expect("no limit");
    read(&HeaderMap::new(), body, &address(), rules, &mut toll)
        .await
        .expect("a call")
}

async fn admission(
    live: &Live,
    principal: &Principal,
    model: &str,
    clock: &Arc<dyn Clock>,
) -> Box<Admission> {
    let pool = resolve(&live.catalog, &address(), model);
    let permit = authorize(principal, pool, &live.notices).expect("a permit");
    let ranked = rank(
        permit,
        &Default::default(),
        Trail::default(),
        &Arc::default(),
        clock.unix_micros(),
    )
    .expect("an endpoint");
    let budget = RetryBudget::new(0, Arc::clone(clock));
    let admitter = Admitter::new(None, Duration::ZERO, budget, Arc::clone(clock));
    let entry = Entry {
        principal,
        limits: &live.settings.limits,
        own: &own_limits(&live.settings.limits, principal.identity()),
        demand: &Demand::default(),
        class: Class::Interactive,
    };
    admitter.enter(ranked, entry).await.expect("an admission")
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
