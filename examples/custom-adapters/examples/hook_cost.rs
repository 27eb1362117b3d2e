//! What a hook that does nothing costs, in CPU microseconds a request of the whole process: gateway, client and backend
//! together, so that only the differences mean something. `cargo run --release --example hook_cost`
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that people run and read"
)]

use async_trait::async_trait;
use ostia::app::Gateway;
use ostia::endpoint::{AdapterError, EndpointAdapter, RequestContext};
use ostia_testkit::backend::FakeBackend;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use serde_json::json;

const ROUNDS: usize = 9;
const REQUESTS: usize = 2_000;

struct NoOp;

#[async_trait]
impl EndpointAdapter for NoOp {
    async fn on_request(&self, _: &mut RequestContext<'_>) -> Result<(), AdapterError> {
        Ok(())
    }
}

#[tokio::main]
async fn main() {
    let backend = FakeBackend::start().await;
    let site = Site::new();
    std::fs::write(site.folder().join("noop.rhai"), "fn on_request(ctx) {}").unwrap();
    let with = |model: &str, adapter: &str| {
        Endpoint::of(model, &backend).field("endpoint_adapter", json!(adapter))
    };
    let site = site
        .endpoint(with("direct", "direct_api"))
        .endpoint(with("rust", "noop.Rust"))
        .endpoint(with("script", "script:noop.rhai"));
    let builder = Gateway::builder().endpoint_adapter("noop.Rust", NoOp);
    let gateway = TestGateway::start_with(site, builder).await;
    let models = ["direct", "rust", "script"];
    let mut costs = models.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (model, costs) in models.iter().zip(&mut costs) {
            costs.push(round(&gateway, model).await);
        }
    }
    let medians = costs.map(|mut costs| {
        costs.sort_by(f64::total_cmp);
        costs[ROUNDS / 2]
    });
    for (model, cost) in models.iter().zip(medians) {
        println!("{model:8} {cost:8.2} us  {:+8.2} us", cost - medians[0]);
    }
    gateway.finish(&[&backend]).await;
}

/// CPU microseconds a request.
async fn round(gateway: &TestGateway, model: &str) -> f64 {
    let request = gateway.chat(model);
    let mut client = gateway.client().await;
    let before = cpu_seconds();
    for _ in 0..REQUESTS {
        assert_eq!(client.call(&request).await.status(), 200);
    }
    (cpu_seconds() - before) * 1e6 / REQUESTS as f64
}

/// User and system time of this process (proc_pid_stat(5)), in hundredths of a second.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: f64 = fields[11..13]
        .iter()
        .map(|field| field.parse::<f64>().unwrap())
        .sum();
    ticks / 100.0
}
