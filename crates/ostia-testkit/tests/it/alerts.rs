//! What operators are alerted to, and what lists say about a backend that fails.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ostia::alerts::Alerts;
use ostia_core::{ManualClock, NewApiKey};
use ostia_testkit::backend::{FakeBackend, Script, Step};
use ostia_testkit::client::Request;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use ostia_testkit::patience::until;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The bodies that a fake service got on a path.
fn sent(service: &FakeBackend, path: &str) -> Vec<Value> {
    let records = service.records().into_iter();
    records
        .filter(|record| record.received.target == path)
        .map(|record| serde_json::from_slice(&record.received.body).unwrap_or_default())
        .collect()
}

fn told(service: &FakeBackend) -> BTreeSet<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = sent(service, "/hook").into_iter();
    all.map(|one| (text(&one["status"]), text(&one["name"])))
        .collect()
}

fn pair(status: &str, name: &str) -> (String, String) {
    (status.to_owned(), name.to_owned())
}

async fn state(gateway: &TestGateway, key: &str, model: &str) -> String {
    let request = Request::get(&format!("/v1/models/{model}")).bearer(key);
    let answer = gateway.call(&request).await;
    answer.json()["state"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

struct Rig {
    backend: FakeBackend,
    service: FakeBackend,
    clock: Arc<ManualClock>,
    gateway: TestGateway,
    key: String,
    alerts: Alerts,
}

impl Rig {
    async fn start(settings: &str) -> Self {
        let (backend, service) = (FakeBackend::start().await, FakeBackend::start().await);
        service.otherwise(Script::raw(200, ""));
        let url = service.base_url();
        let alerts = format!(
            "[alerts]\nwebhook = \"{url}/hook\"\nalertmanager = \"{url}/am\"\nheartbeat_url = \"{url}/beat\"\nreport = \"24h\"\n"
        );
        let site = Site::new()
            .model("m", &backend)
            .settings(&alerts)
            .settings(settings);
        let clock = Arc::new(ManualClock::at(1_795_392_000_000_000));
        let gateway = TestGateway::start_at(site, Arc::clone(&clock) as _).await;
        Self {
            backend,
            service,
            clock,
            key: gateway.key_for("reader@example.org", &[]).await,
            gateway,
            alerts: Alerts::default(),
        }
    }

    async fn look_after(&mut self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.alerts.look(self.gateway.gateway()).await;
    }
}

#[tokio::test]
async fn a_backend_that_refuses_connections_is_told_of_and_so_is_its_return() {
    let mut rig = Rig::start("").await;
    assert_eq!(state(&rig.gateway, &rig.key, "m").await, "running");
    rig.backend.refuse().await;
    rig.backend.close_idle();
    rig.backend.open_connections(0).await;
    for _ in 0..8 {
        assert_eq!(rig.gateway.call(&rig.gateway.chat("m")).await.status(), 502);
    }
    assert_eq!(state(&rig.gateway, &rig.key, "m").await, "stopped");
    rig.look_after(0).await;
    assert!(told(&rig.service).is_empty(), "it may be over at once");
    rig.look_after(15).await;
    let fires = [
        pair("firing", "endpoint_down"),
        pair("firing", "model_unserved"),
    ];
    assert_eq!(told(&rig.service), BTreeSet::from(fires));
    let alerts = sent(&rig.service, "/am/api/v2/alerts");
    let alerts = alerts.iter().flat_map(|all| all.as_array().unwrap());
    let names: BTreeSet<_> = alerts
        .map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        BTreeSet::from(["ostia_endpoint_down", "ostia_model_unserved"].map(str::to_owned))
    );
    assert!(!sent(&rig.service, "/beat").is_empty());

    rig.backend.accept().await;
    assert_eq!(rig.gateway.call(&rig.gateway.chat("m")).await.status(), 200);
    assert_eq!(state(&rig.gateway, &rig.key, "m").await, "running");
    rig.look_after(1).await;
    rig.look_after(60).await;
    let told = told(&rig.service);
    assert!(
        told.contains(&pair("resolved", "endpoint_down")),
        "{told:?}"
    );
    assert!(
        told.contains(&pair("resolved", "model_unserved")),
        "{told:?}"
    );
    rig.look_after(86_400).await;
    let reports = sent(&rig.service, "/hook");
    let report = reports
        .iter()
        .find(|one| one["status"] == "report")
        .unwrap();
    assert_eq!(report["endpoints"][0]["model"], "m");
    rig.gateway.finish(&[&rig.backend]).await;
}

#[tokio::test]
async fn a_webhook_that_was_away_gets_what_it_missed() {
    let mut rig = Rig::start("").await;
    rig.service.otherwise(Script::raw(500, ""));
    rig.backend.refuse().await;
    for _ in 0..5 {
        rig.gateway.call(&rig.gateway.chat("m")).await;
    }
    rig.look_after(0).await;
    rig.look_after(15).await;
    rig.service.otherwise(Script::raw(200, ""));
    let before = sent(&rig.service, "/hook").len();
    assert!(before > 0);
    rig.look_after(5).await;
    let after: BTreeSet<_> = sent(&rig.service, "/hook")[before..]
        .iter()
        .map(|one| one["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        after,
        BTreeSet::from(["endpoint_down", "model_unserved"].map(str::to_owned))
    );
    rig.gateway.finish(&[&rig.backend]).await;
}

#[tokio::test]
async fn under_maintenance_nobody_is_told() {
    let mut rig = Rig::start("[maintenance]\nlab = \"back soon\"").await;
    rig.backend.refuse().await;
    let state = &rig.gateway.gateway().live().catalog.deployments()[0]
        .state
        .clone();
    (0..8).for_each(|_| state.unreached());
    rig.look_after(0).await;
    rig.look_after(15).await;
    assert!(told(&rig.service).is_empty());
    rig.gateway.finish(&[&rig.backend]).await;
}

/// Two processes on one database see the same trouble, and one of them reports it.
#[tokio::test]
async fn of_processes_that_see_the_same_one_tells() {
    let mut rig = Rig::start("").await;
    let mut other = Alerts::default();
    rig.backend.refuse().await;
    for _ in 0..5 {
        rig.gateway.call(&rig.gateway.chat("m")).await;
    }
    for seconds in [0, 15, 5, 5] {
        rig.look_after(seconds).await;
        other.look(rig.gateway.gateway()).await;
    }
    let count = |rig: &Rig| sent(&rig.service, "/hook").len();
    assert_eq!(count(&rig), 2, "one endpoint, one model");
    // The process that reported is gone: the other one goes on after the first one's turn has ended.
    rig.clock.advance(Duration::from_secs(31));
    other.look(rig.gateway.gateway()).await;
    assert_eq!(count(&rig), 4);
    rig.gateway.finish(&[&rig.backend]).await;
}

/// A mail server that accepts everything; returns the mails in order.
async fn mail_server() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let mails = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&mails);
    ostia::runtime::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            take_mails(stream, &taken).await;
        }
    });
    (url, mails)
}

async fn take_mails(mut stream: TcpStream, mails: &Mutex<Vec<String>>) {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read).lines();
    let (mut mail, mut in_data) = (String::new(), false);
    write.write_all(b"220 test\r\n").await.unwrap();
    while let Ok(Some(line)) = lines.next_line().await {
        let answer: &[u8] = match (in_data, &*line) {
            (true, ".") => {
                in_data = false;
                mails.lock().push(std::mem::take(&mut mail));
                b"250 taken\r\n"
            }
            (true, _) => {
                mail.push_str(&line);
                mail.push('\n');
                continue;
            }
            (false, "DATA") => {
                in_data = true;
                b"354 go on\r\n"
            }
            (false, "QUIT") => b"221 bye\r\n",
            (false, _) => b"250 test\r\n",
        };
        write.write_all(answer).await.unwrap();
    }
}

#[tokio::test]
async fn mails_go_to_operators_and_to_owners_of_keys_that_end() {
    let (url, mails) = mail_server().await;
    let settings = format!(
        "[alerts]\nsmtp = \"{url}\"\nsmtp_from = \"ostia@lab.org\"\nsmtp_to = [\"ops@lab.org\"]\n"
    );
    let mut rig = Rig::start(&settings).await;
    rig.backend.refuse().await;
    for _ in 0..5 {
        rig.gateway.call(&rig.gateway.chat("m")).await;
    }
    rig.look_after(0).await;
    rig.look_after(15).await;
    let subjects = |mails: &Mutex<Vec<String>>| -> Vec<String> {
        let mails = mails.lock();
        let lines = mails.iter().flat_map(|mail| mail.lines());
        let subjects = lines.filter_map(|line| line.strip_prefix("Subject: "));
        let mut subjects: Vec<String> = subjects.map(str::to_owned).collect();
        subjects.sort();
        subjects
    };
    assert_eq!(
        subjects(&mails),
        [
            "[ostia] firing: endpoint_down lab-vllm-m",
            "[ostia] firing: model_unserved m"
        ]
    );
    assert!(
        mails
            .lock()
            .iter()
            .all(|mail| mail.contains("To: ops@lab.org"))
    );
    mails.lock().clear();

    // A key valid for 90 days, on its 88th.
    let store = rig.gateway.site().store().await;
    let day = 86_400_000_000;
    let now = rig.gateway.gateway().clock().unix_micros();
    let key = NewApiKey {
        id: "key-that-ends".into(),
        hash: [9; 32],
        username: "ann@lab.org".into(),
        created_at: now - 88 * day,
        expires_at: Some(now + 2 * day),
        ..NewApiKey::default()
    };
    store.create_key(&key).await.unwrap();
    rig.look_after(600).await;
    rig.look_after(600).await;
    let told = mails.lock().concat();
    assert!(told.contains("To: ann@lab.org"), "{told}");
    assert!(told.contains("key-that-ends"), "{told}");
    assert_eq!(subjects(&mails).len(), 1, "once");
    let hook = sent(&rig.service, "/hook");
    let notices: Vec<_> = hook
        .iter()
        .filter(|one| one["status"] == "notice")
        .collect();
    assert_eq!(notices.len(), 1);
    assert_eq!(
        (&notices[0]["name"], &notices[0]["days"]),
        (&json!("key_ends"), &json!(3))
    );
    rig.gateway.finish(&[&rig.backend]).await;
}

/// Connections are accepted, and nothing comes: as good as refused.
#[tokio::test]
async fn a_backend_that_never_answers_is_not_running() {
    for nothing in [
        Script::reset(),
        Script::hang_up(),
        Script::steps([Step::Silence]),
    ] {
        let backend = FakeBackend::start().await;
        let site = Site::new()
            .model("m", &backend)
            .settings("[upstream]\nresponse_header_timeout = \"50ms\"");
        let gateway = TestGateway::start(site).await;
        let key = gateway.key_for("reader@example.org", &[]).await;
        backend.otherwise(nothing);
        for _ in 0..8 {
            let answer = gateway.call(&gateway.chat("m")).await;
            assert!(matches!(answer.status(), 502 | 504), "{}", answer.text());
        }
        assert_eq!(state(&gateway, &key, "m").await, "stopped");
        backend.otherwise(Script::completion());
        assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
        assert_eq!(state(&gateway, &key, "m").await, "running");
        gateway.finish(&[&backend]).await;
    }
}

async fn becomes(gateway: &TestGateway, key: &str, model: &str, wanted: &str) {
    let look = async || (state(gateway, key, model).await == wanted).then_some(());
    until(|| format!("{model} {wanted}"), look).await;
}

#[tokio::test]
async fn health_is_seen_without_any_request_of_a_user() {
    let backend = FakeBackend::start().await;
    let checked = |model: &str, health: &str| {
        Endpoint::of(model, &backend)
            .config("health", json!(health))
            .config("health_interval", json!(1))
    };
    let site = Site::new()
        .endpoint(checked("plain", "/health"))
        .endpoint(checked("listed", "/v1/models"))
        .endpoint(checked("asked", "prompt"));
    backend.on_path("/health", Script::raw(200, ""));
    backend.on_path(
        "/v1/models",
        Script::json(200, &json!({"data": [{"id": "listed"}]})),
    );
    let gateway = TestGateway::start(site).await;
    let key = gateway.key_for("reader@example.org", &[]).await;
    for model in ["plain", "listed", "asked"] {
        becomes(&gateway, &key, model, "running").await;
    }
    backend.on_path("/health", Script::raw(500, ""));
    backend.on_path(
        "/v1/models",
        Script::json(200, &json!({"data": [{"id": "other"}]})),
    );
    backend.on_model("asked", Script::json(200, &json!({"choices": []})));
    for model in ["plain", "listed", "asked"] {
        becomes(&gateway, &key, model, "stopped").await;
    }
    backend.on_path("/health", Script::raw(503, ""));
    becomes(&gateway, &key, "plain", "starting").await;
    backend.on_path("/health", Script::raw(200, ""));
    becomes(&gateway, &key, "plain", "running").await;
    gateway.finish(&[]).await;
}
