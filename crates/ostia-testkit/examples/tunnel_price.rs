//! What a tunnel costs the gateway: CPU of its one thread for a plain request and for a stream, through a tunnel and on a direct
//! connection, in interleaved rounds. Prints the medians and their ratios.
//!
//! `cargo run --release -p ostia-testkit --example tunnel_price -- [ROUNDS]`
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement that people run and read"
)]

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;
use std::time::Duration;

use futures_util::future::join_all;
use ostia::catalog::{ApiUrl, Target, Timeouts};
use ostia::upstream::{Clients, Tunnel};
use ostia_core::{Secret, SystemClock};
use ostia_engine::{Engine, Fault, Pace};
use ostia_testkit::client::{RawClient, Request};
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

const CONNECTIONS: usize = 8;
const REQUESTS: usize = 50;
/// Tokens of every answer, an event each.
const TOKENS: u32 = 64;

/// A gateway on a thread of its own, whose CPU time is its own.
struct Subject {
    address: SocketAddr,
    thread: u32,
    user: String,
    registrar: String,
}

fn main() {
    let rounds = std::env::args().nth(1);
    let rounds = rounds.and_then(|text| text.parse().ok()).unwrap_or(9);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let engine = runtime.block_on(engine());
    let (subject, end, thread) = serve(&engine);
    runtime.block_on(async {
        let _tunnel = tunnel(&subject, &engine).await;
        measure(&subject, rounds).await;
    });
    end.send(()).expect("a gateway that runs");
    runtime.shutdown_timeout(Duration::from_millis(100));
    thread.join().expect("sound books");
}

async fn measure(subject: &Subject, rounds: usize) {
    for (name, stream) in [("request", false), ("stream", true)] {
        let mut seen = [Vec::new(), Vec::new()];
        round(subject, "leased", stream).await;
        for _ in 0..rounds {
            for (model, seen) in ["direct", "leased"].into_iter().zip(&mut seen) {
                seen.push(round(subject, model, stream).await);
            }
        }
        let [direct, tunnel] = seen.map(median);
        println!(
            "{name}: {direct:.1} us of CPU on a direct connection, {tunnel:.1} us through a tunnel, ratio {:.2}",
            tunnel / direct
        );
    }
}

/// Microseconds of the gateway's CPU for one request, over many.
#[expect(clippy::cast_precision_loss, reason = "a measurement")]
async fn round(subject: &Subject, model: &str, stream: bool) -> f64 {
    let body = json!({
        "model": model, "stream": stream, "max_tokens": TOKENS,
        "messages": [{"role": "user", "content": "hi"}],
    });
    let request = Request::post("/v1/chat/completions")
        .bearer(&subject.user)
        .json(&body);
    let before = cpu(subject.thread);
    join_all((0..CONNECTIONS).map(|_| async {
        let mut client = RawClient::connect(subject.address).await;
        for _ in 0..REQUESTS {
            let answer = client.call(&request).await;
            assert_eq!(answer.status(), 200, "{}", answer.text());
        }
    }))
    .await;
    (cpu(subject.thread) - before) as f64 / 1_000.0 / (CONNECTIONS * REQUESTS) as f64
}

/// Nanoseconds that a thread has run.
fn cpu(thread: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat"));
    let text = text.expect("a thread that runs");
    let first = text.split(' ').next().and_then(|text| text.parse().ok());
    first.expect("a number")
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}

async fn engine() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let pace = Pace {
        first_token: Duration::ZERO,
        between_tokens: Duration::ZERO,
    };
    let models = [("direct", Fault::None), ("leased", Fault::None)];
    let engine = Engine::new(models, pace, Arc::new(SystemClock));
    ostia::runtime::spawn(engine.serve(listener));
    format!("http://{address}/v1")
}

fn serve(engine: &str) -> (Subject, oneshot::Sender<()>, std::thread::JoinHandle<()>) {
    let (told, subject) = channel();
    let (end, ended) = oneshot::channel();
    let site = Site::new()
        .endpoint(Endpoint::new("direct", engine))
        .endpoint(Endpoint::leased("leased").config("health", json!("/v1/models")))
        .answered_within("direct")
        .answered_within("leased");
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let gateway = TestGateway::start(site).await;
            let slugs = ["lab-vllm-leased"];
            let registrar = gateway.registrar("jobs", &slugs, &["127.0.0.0/8"]).await;
            let id = rustix::thread::gettid().as_raw_nonzero().get();
            told.send(Subject {
                address: gateway.address(),
                thread: u32::try_from(id).expect("a thread"),
                user: gateway.site().secrets.client_bearer(),
                registrar,
            })
            .expect("somebody who measures");
            let _ = ended.await;
            gateway.finish(&[]).await;
        });
    });
    (subject.recv().expect("a gateway"), end, thread)
}

async fn tunnel(subject: &Subject, engine: &str) -> tokio::task::JoinHandle<()> {
    let target = |url: &str| {
        let origin = ApiUrl::parse(url).expect("a URL").origin;
        Target::plain(origin, Timeouts::default())
    };
    let client = Clients::new(Arc::new(SystemClock)).client(&target(engine));
    let gateway = target(&format!("http://{}", subject.address));
    let path = "/v1/register/lab-vllm-leased?path=/v1";
    let key = Secret::new(subject.registrar.clone());
    let clock = Arc::new(SystemClock);
    let engine = (client.expect("a client"), Arc::new(AtomicBool::new(true)));
    let tunnel = Tunnel::new(gateway, path, &key, engine, clock).expect("a tunnel");
    let open = tunnel.open(&[]).await.expect("a gateway that takes it");
    let serving = ostia::runtime::spawn(async move {
        let closed = open.serve(std::future::pending(), || {}).await;
        println!("the tunnel is closed: {closed:?}");
    });
    let request = Request::get("/v1/models/leased").bearer(&subject.user);
    loop {
        let mut client = RawClient::connect(subject.address).await;
        let shown: Value = client.call(&request).await.json();
        if shown["state"] == "running" {
            return serving;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
