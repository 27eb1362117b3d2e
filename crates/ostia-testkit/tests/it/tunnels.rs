//! Engines that open a connection to the gateway and answer requests on it: streamed, cancelled, and counted as usual.

#![expect(
    clippy::disallowed_methods,
    reason = "the far end of a tunnel runs beside the test"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use ostia::catalog::{ApiUrl, Target, Timeouts};
use ostia::upstream::{Clients, Tunnel, TunnelFault};
use ostia_core::{Change, Clock as _, PersonState, Secret, SystemClock};
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{Answer, HangUp, RawClient, Reading, Request};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use ostia_testkit::patience::{until, within};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::common::{DONE, chat_events, chat_stream_of};

const SLUG: &str = "lab-vllm-m";
const STREAMS: usize = 200;

struct Rig {
    gateway: TestGateway,
    engine: FakeBackend,
    key: String,
}

/// The engine's side of a tunnel, until it is dropped or told to end.
struct Open {
    end: oneshot::Sender<()>,
    served: JoinHandle<Result<(), TunnelFault>>,
    is_ready: Arc<AtomicBool>,
    replica: Arc<str>,
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
        let tunnel = self.tunnel(&self.gateway, &[]).await.unwrap();
        self.until("running").await;
        tunnel
    }

    /// Opens a tunnel to a replica of the gateway. `held`: the replicas that have one already.
    async fn tunnel(&self, gateway: &TestGateway, held: &[Arc<str>]) -> Result<Open, TunnelFault> {
        let target = |url: &str| {
            let origin = ApiUrl::parse(url).unwrap().origin;
            Target::plain(origin, Timeouts::default())
        };
        let engine = Clients::new(Arc::new(SystemClock)).client(&target(&self.engine.base_url()));
        let gateway = target(&format!("http://{}", gateway.address()));
        let path = format!("/v1/register/{SLUG}?path=/v1");
        let key = Secret::new(self.key.clone());
        let clock = Arc::new(SystemClock);
        let is_ready = Arc::new(AtomicBool::new(true));
        let engine = (engine.unwrap(), Arc::clone(&is_ready));
        let tunnel = Tunnel::new(gateway, &path, &key, engine, clock).unwrap();
        let (end, ended) = oneshot::channel();
        let open = tunnel.open(held).await?;
        let replica = Arc::clone(&open.replica);
        let served = tokio::spawn(async move {
            let ended = async {
                let _ = ended.await;
            };
            open.serve(ended, || {}).await
        });
        Ok(Open {
            end,
            served,
            is_ready,
            replica,
        })
    }

    async fn until(&self, wanted: &str) {
        self.until_at(&self.gateway, wanted).await;
    }

    async fn until_at(&self, gateway: &TestGateway, wanted: &str) {
        let user = self.gateway.site().secrets.client_bearer();
        let request = Request::get("/v1/models/m").bearer(&user);
        let look = async || {
            let model = gateway.call(&request).await.json();
            (model["state"] == wanted).then_some(())
        };
        until(|| format!("the model to be {wanted}"), look).await;
    }

    async fn call(&self) -> Answer {
        self.gateway.call(&self.gateway.chat("m")).await
    }

    async fn stream(&self) -> Answer {
        self.gateway.call(&self.gateway.chat_stream("m")).await
    }

    /// Begins a stream, and reads it until this text has come.
    async fn begin(&self, text: &str) -> (RawClient, Reading) {
        let mut client = self.gateway.client().await;
        client.send(self.gateway.chat_stream("m").bytes()).await;
        let mut reading = client.begin().await.unwrap();
        let mut read = String::new();
        while !read.contains(text) {
            let more = client.until(&mut reading, b"\n\n").await;
            read.push_str(&String::from_utf8_lossy(&more));
        }
        (client, reading)
    }

    /// A change that an administrator makes.
    async fn change(&self, change: Change) {
        let store = self.gateway.gateway().store();
        assert_eq!(store.people().change(&[change], &[]).await.unwrap(), [1]);
    }
}

/// Every stream that runs is told that it broke, and none looks whole.
async fn all_broken(streams: Vec<(RawClient, Reading)>) {
    let broken = streams
        .into_iter()
        .map(|(mut client, mut reading)| async move {
            let mut rest = Vec::new();
            while let Ok(Some(piece)) = client.piece(&mut reading).await {
                rest.extend_from_slice(&piece);
            }
            let rest = String::from_utf8_lossy(&rest).into_owned();
            assert!(rest.contains("\"error\"") && !rest.contains(DONE), "{rest}");
        });
    join_all(broken).await;
}

#[tokio::test]
async fn requests_go_back_on_it_and_bytes_come_as_they_are() {
    let rig = Rig::start().await;
    let open = rig.open().await;
    let answer = rig.call().await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let events = chat_stream_of(50);
    rig.engine.on_model("m", Script::events(events.clone()));
    assert_eq!(rig.stream().await.text(), events.concat());
    let refusal = json!({"error": {"message": "no", "type": "invalid_request_error"}});
    rig.engine.on_model("m", Script::json(400, &refusal));
    assert_eq!(rig.call().await.status(), 400);

    // A client that hangs up ends the work at the engine.
    let gate = Gate::closed();
    rig.engine
        .on_model("m", Script::events(chat_events(5)).gate_end(&gate));
    let (client, _) = rig.begin("piece4").await;
    client.hang_up(HangUp::Reset).await;
    rig.engine.aborts(1).await;

    // Told to end, it ends what runs and takes nothing new.
    let gate = Gate::closed();
    rig.engine
        .on_model("m", Script::completion().gate_head(&gate));
    let before = rig.engine.records().len();
    let (answer, ()) = tokio::join!(rig.call(), async {
        rig.engine.requests(before + 1).await;
        open.end.send(()).unwrap();
        rig.until("stopped").await;
        assert_eq!(rig.call().await.status(), 503);
        gate.open();
    });
    assert_eq!(answer.status(), 200);
    let served = within(|| "the tunnel to end".to_owned(), open.served);
    served.await.unwrap().unwrap();
    rig.gateway.finish(&[&rig.engine]).await;
}

#[tokio::test]
async fn two_hundred_streams_on_one_tunnel_cut_and_back() {
    let rig = Rig::start().await;
    let open = rig.open().await;
    let gate = Gate::closed();
    rig.engine
        .on_model("m", Script::events(chat_events(5)).gate_end(&gate));
    let streams = join_all((0..STREAMS).map(|_| rig.begin("piece4"))).await;
    open.served.abort();
    all_broken(streams).await;
    rig.until("stopped").await;
    gate.open();
    rig.engine.idle().await;

    let events = chat_stream_of(5);
    rig.engine.on_model("m", Script::events(events.clone()));
    let back = rig.open().await;
    let whole = join_all((0..STREAMS).map(|_| rig.stream())).await;
    assert!(whole.iter().all(|answer| answer.text() == events.concat()));
    let rows = rig.gateway.finish(&[&rig.engine]).await;
    let count = |outcome: &str| rows.iter().filter(|row| row.outcome == outcome).count();
    assert_eq!(rows.len(), 2 * STREAMS);
    assert_eq!((count("ok"), count("upstream_error")), (STREAMS, STREAMS));
    drop(back);
}

#[tokio::test]
async fn who_loses_the_right_to_register_loses_the_tunnel() {
    let revoke = Change::RevokeKey {
        id: "jobs".to_owned(),
        at: SystemClock.unix_micros(),
    };
    let expire = Change::EndKey {
        id: "jobs".to_owned(),
        at: SystemClock.unix_micros() - 1,
    };
    let disable = Change::SetState {
        person: "jobs@example.org".to_owned(),
        username: "jobs@example.org".to_owned(),
        state: PersonState::Disabled,
    };
    for change in [revoke, expire, disable] {
        let rig = Rig::start().await;
        let open = rig.open().await;
        let gate = Gate::closed();
        rig.engine
            .on_model("m", Script::events(chat_events(5)).gate_end(&gate));
        let running = rig.begin("piece4").await;
        rig.change(change.clone()).await;
        all_broken(vec![running]).await;
        let served = within(|| "the tunnel to end".to_owned(), open.served);
        // The socket is closed, which the other side may take for a good end.
        let _ended = served.await.unwrap();
        rig.until("stopped").await;
        assert_eq!(rig.call().await.status(), 503);
        // A sign-in is remembered for a second, in which a key may also ask too often.
        let look = async || match rig.tunnel(&rig.gateway, &[]).await {
            Ok(_) | Err(TunnelFault::Refused(429, _)) => None,
            Err(fault) => Some(fault),
        };
        let refused = until(|| "a refusal".to_owned(), look).await;
        assert!(
            matches!(refused, TunnelFault::Refused(401 | 403, _)),
            "{change:?}: {refused:?}"
        );
        gate.open();
        rig.gateway.finish(&[&rig.engine]).await;
    }
}

#[tokio::test]
async fn an_endpoint_that_the_catalogue_no_longer_has_loses_its_tunnels() {
    let rig = Rig::start().await;
    let open = rig.open().await;
    let path = rig.gateway.site().folder().join("endpoints.json");
    let entries = std::fs::read_to_string(&path).unwrap();
    let others = entries.replace(r#""model":"m""#, r#""model":"n""#);
    assert_ne!(others, entries);
    std::fs::write(&path, others).unwrap();
    rig.gateway.reload().unwrap();
    let served = within(|| "the tunnel to end".to_owned(), open.served);
    // Nothing runs on it, so it may also end in good order.
    let _ended = served.await.unwrap();
    rig.gateway.finish(&[&rig.engine]).await;
}

#[tokio::test]
async fn each_of_three_replicas_takes_one_tunnel_and_says_if_it_has_it() {
    let rig = Rig::start().await;
    let site = || {
        let site = Site::new().endpoint(Endpoint::leased("m"));
        site.replica_of(rig.gateway.site())
    };
    let (second, third) = tokio::join!(TestGateway::start(site()), TestGateway::start(site()));
    let mut held = Vec::new();
    let mut open = Vec::new();
    for gateway in [&rig.gateway, &second, &third] {
        let tunnel = rig.tunnel(gateway, &held).await.unwrap();
        held.push(Arc::clone(&tunnel.replica));
        open.push(tunnel);
        let again = rig.tunnel(gateway, &held).await.err();
        assert!(matches!(again, Some(TunnelFault::Held)), "{again:?}");
    }
    for gateway in [&rig.gateway, &second, &third] {
        rig.until_at(gateway, "running").await;
        let user = rig.gateway.site().secrets.client_bearer();
        let chat = gateway.chat("m").without("authorization").bearer(&user);
        let answer = gateway.call(&chat).await;
        assert_eq!(answer.status(), 200);
        gateway.row_of(&answer).await;
    }
    drop(open);
    for gateway in [second, third, rig.gateway] {
        gateway.finish(&[&rig.engine]).await;
    }
}

#[tokio::test]
async fn what_a_tunnel_refuses_moves_on_to_another_engine() {
    let rig = Rig::start().await;
    let open = rig.open().await;
    let other = FakeBackend::start().await;
    let list = json!({"object": "list", "data": [{"id": "m"}]});
    other.on_path("/v1/models", Script::json(200, &list));
    let place = json!({"url": format!("{}/v1", other.base_url())});
    let registering = Request::new("PUT", &format!("/v1/register/{SLUG}"));
    let registering = registering.bearer(&rig.key).json(&place);
    assert_eq!(rig.gateway.call(&registering).await.status(), 201);
    let posts = |engine: &FakeBackend| {
        let records = engine.records().into_iter();
        records.filter(|one| one.received.method == "POST").count()
    };
    let both = async {
        while posts(&rig.engine) == 0 || posts(&other) == 0 {
            assert_eq!(rig.call().await.status(), 200);
        }
    };
    within(|| "requests to both".to_owned(), both).await;

    // Its side says that the engine is not ready, or the engine cannot be reached: nobody notices.
    let before = posts(&rig.engine);
    open.is_ready.store(false, Ordering::Relaxed);
    for _ in 0..4 {
        assert_eq!(rig.call().await.status(), 200);
    }
    open.is_ready.store(true, Ordering::Relaxed);
    rig.engine.refuse().await;
    for _ in 0..4 {
        assert_eq!(rig.call().await.status(), 200);
    }
    assert_eq!(posts(&rig.engine), before);
    rig.gateway.finish(&[&rig.engine, &other]).await;
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
