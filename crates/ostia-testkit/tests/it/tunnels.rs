//! Engines that open a connection to the gateway and answer requests on it: streamed, cancelled, and counted as usual.

#![expect(
    clippy::disallowed_methods,
    reason = "the far end of a tunnel runs beside the test"
)]

use std::sync::Arc;

use futures_util::future::join_all;
use ostia::catalog::{ApiUrl, Target, Timeouts};
use ostia::upstream::{Clients, Tunnel, TunnelFault};
use ostia_core::{Secret, SystemClock};
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{Answer, HangUp, Request};
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use ostia_testkit::patience::{until, within};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const SLUG: &str = "lab-vllm-m";

struct Rig {
    gateway: TestGateway,
    engine: FakeBackend,
    key: String,
}

/// The engine's side of a tunnel, until it is dropped or told to end.
struct Open {
    _end: oneshot::Sender<()>,
    _served: JoinHandle<Result<(), TunnelFault>>,
}

impl Rig {
    async fn start() -> Self {
        let engine = FakeBackend::start().await;
        let list = json!({"object": "list", "data": [{"id": "m"}]});
        engine.on_path("/v1/models", Script::json(200, &list));
        let gateway = TestGateway::start(Site::new().endpoint(Endpoint::leased("m"))).await;
        let key = gateway.registrar("jobs", &[SLUG], &["127.0.0.0/8"]).await;
        Self {
            gateway,
            engine,
            key,
        }
    }

    /// Opens a tunnel, and waits until the model is running.
    async fn open(&self) -> Open {
        let target = |url: &str| {
            let origin = ApiUrl::parse(url).unwrap().origin;
            Target::plain(origin, Timeouts::default())
        };
        let engine = Clients::new(Arc::new(SystemClock)).client(&target(&self.engine.base_url()));
        let gateway = target(&format!("http://{}", self.gateway.address()));
        let path = format!("/v1/register/{SLUG}?path=/v1");
        let key = Secret::new(self.key.clone());
        let clock = Arc::new(SystemClock);
        let tunnel = Tunnel::new(gateway, &path, &key, engine.unwrap(), clock).unwrap();
        let (end, ended) = oneshot::channel();
        let served = tokio::spawn(async move {
            let ended = async {
                let _ = ended.await;
            };
            tunnel.serve(ended, || {}).await
        });
        self.until("running").await;
        Open {
            _end: end,
            _served: served,
        }
    }

    async fn until(&self, wanted: &str) {
        let user = self.gateway.site().secrets.client_bearer();
        let request = Request::get("/v1/models/m").bearer(&user);
        let look = async || {
            let model = self.gateway.call(&request).await.json();
            (model["state"] == wanted).then_some(())
        };
        until(|| format!("the model to be {wanted}"), look).await;
    }

    async fn call(&self) -> Answer {
        self.gateway.call(&self.gateway.chat("m")).await
    }
}

#[tokio::test]
async fn a_slow_reader_holds_nobody_else() {
    let rig = Rig::start().await;
    let open = rig.open().await;
    let event = format!("data: {}\n\n", json!({"x": "y".repeat(60_000)}));
    rig.engine
        .next(Script::repeated(event, 100).header("content-type", "text/event-stream"));
    let mut slow = ostia_testkit::client::RawClient::connect_narrow(rig.gateway.address()).await;
    slow.send(rig.gateway.chat_stream("m").bytes()).await;
    rig.engine.requests(2).await;
    rig.engine.otherwise(Script::completion());
    let others = join_all((0..20).map(|_| rig.call()));
    let others = within(|| "the others".to_owned(), others).await;
    assert!(others.iter().all(|answer| answer.status() == 200));
    slow.hang_up(HangUp::Reset).await;
    rig.gateway.finish(&[&rig.engine]).await;
    drop(open);
}

#[tokio::test]
async fn a_tunnel_needs_the_right_key_and_has_to_speak() {
    let rig = Rig::start().await;
    let path = format!("/v1/register/{SLUG}");
    let ask = |key: &str, path: &str| {
        let request = Request::get(path).bearer(key);
        request
            .header("connection", "upgrade")
            .header("upgrade", "ostia-tunnel")
    };
    let user = rig.gateway.site().secrets.client_bearer();
    assert_eq!(rig.gateway.call(&ask(&user, &path)).await.status(), 403);
    let other = ask(&rig.key, "/v1/register/another");
    assert_eq!(rig.gateway.call(&other).await.status(), 404);
    let plain = Request::get(&path).bearer(&rig.key);
    assert_eq!(rig.gateway.call(&plain).await.status(), 400);
    let elsewhere = rig.gateway.registrar("far", &[SLUG], &["10.0.0.0/8"]).await;
    assert_eq!(
        rig.gateway.call(&ask(&elsewhere, &path)).await.status(),
        403
    );

    // A client that gets a tunnel but speaks another protocol, or nothing, does not count as an engine.
    let mut client = rig.gateway.client().await;
    client.send(ask(&rig.key, &path).bytes()).await;
    let head = client.take(12).await;
    assert_eq!(&head[..], b"HTTP/1.1 101");
    client
        .send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await;
    within(|| "the tunnel to be closed".to_owned(), client.closed()).await;
    let mut silent = rig.gateway.client().await;
    silent.send(ask(&rig.key, &path).bytes()).await;
    silent.take(12).await;
    rig.until("stopped").await;
    assert_eq!(rig.call().await.status(), 503);
    silent.hang_up(HangUp::Reset).await;
    rig.gateway.finish(&[&rig.engine]).await;
}
