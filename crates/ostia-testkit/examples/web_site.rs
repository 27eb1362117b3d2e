//! A whole site for a browser: a gateway with its pages, a simulated engine, an identity provider, and a month of usage.
//! Prints where everything is as one line of JSON, and serves until its stdin ends.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a small program: what fails here ends it"
)]

use std::borrow::Cow;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use ostia::demo::{Demo, Pace};
use ostia::people::{Actor, Desk, KeyRequest, ProjectRecord};
use ostia::settings::Keys;
use ostia_core::{
    Clock, KeyRights, LedgerRow, Outcome, Phase, RequestId, Role, Store, SystemClock, UsageSource,
};
use ostia_store::testing::ReservedPort;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use ostia_testkit::idp::FakeIdp;
use serde_json::json;

const DAY: i64 = 86_400_000_000;
const HOUR: i64 = 3_600_000_000;
const MODELS: [&str; 4] = [
    "meta-llama/Llama-3.3-70B-Instruct",
    "Qwen/Qwen3-Coder-480B",
    "mistralai/Mistral-Small-3.2",
    "google/gemma-3-27b-it",
];
const PEOPLE: [&str; 6] = ["ann", "bob", "cleo", "dan", "eve", "finn"];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(serve());
}

async fn serve() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let pace = Pace::tokens_per_second(60);
    let demo = Demo::start(pace, Arc::clone(&clock)).await.unwrap();
    let idp = FakeIdp::start().await;
    idp.signs_in(&json!({
        "sub": "ann", "name": "Ann Arbor", "preferred_username": "ann@lab.org", "email": "ann@lab.org",
        "email_verified": true, "groups": ["physics"],
    }));
    let port = ReservedPort::bind();
    let address = format!("127.0.0.1:{}", port.number());
    let gateway = TestGateway::start(site(&demo, &idp, &address)).await;
    let store = ostia_store::open(&gateway.site().database_url())
        .await
        .unwrap();
    let keys = people(&store, &clock).await;
    history(&*store, clock.unix_micros()).await;
    traffic(&gateway, keys["bob"].as_str().unwrap()).await;
    let about = json!({
        "url": format!("http://{address}"),
        "admin": format!("http://{}", gateway.admin_address()),
        "keys": keys,
        "database": gateway.site().database_path(),
    });
    let mut out = std::io::stdout();
    writeln!(out, "{about}").and_then(|()| out.flush()).unwrap();
    let mut rest = Vec::new();
    let ended = tokio::task::spawn_blocking(move || std::io::stdin().read_to_end(&mut rest));
    ended.await.unwrap().expect("stdin");
    // The process ends with everything in it; there are no books to check.
    std::process::exit(0);
}

fn site(demo: &Demo, idp: &FakeIdp, address: &str) -> Site {
    let engine = |model: &str| {
        Endpoint::new(model, &demo.api_url())
            .on("sophia", "vllm")
            .config("upstream_model", json!("demo"))
            .config("context_window", json!(131_072))
            .config("max_output_tokens", json!(16_384))
    };
    let dead = |model: &str| Endpoint::new(model, "http://127.0.0.1:9/v1").on("polaris", "sglang");
    let mut site = Site::new();
    for model in MODELS {
        site = site.endpoint(engine(model).config("display_name", json!(model.rsplit('/').next())));
    }
    let site = site
        .endpoint(dead("openai/gpt-oss-120b"))
        .endpoint(
            engine("secret/Weights-1T")
                .on("vault", "vllm")
                .field("allowed_globus_groups", json!(["insiders"]))
                .config(
                    "access_hint",
                    json!("Ask your project's manager for the group \"insiders\"."),
                ),
        )
        .cluster(
            "sophia",
            "openai_endpoints",
            json!(["chat/completions", "embeddings", "responses", "messages"]),
        );
    std::fs::write(
        site.folder().join("terms.txt"),
        "Use this service for research of the laboratory.\n\nDo not send personal data of others.\n\nThe operators may look at who used what, never at what was said.",
    )
    .unwrap();
    let base = idp.base_url();
    site.settings(&format!(
        r#"
        [server]
        listen = "{address}"
        public_url = "http://{address}"
        [auth]
        providers = ["api_key", "oidc"]
        admit = ["domain:lab.org"]
        [auth.oidc]
        name = "The Laboratory"
        issuer = "{base}"
        audience = "ostia"
        client_id = "pages"
        client_secret = "env:IDP_SECRET"
        domains = ["lab.org"]
        [web]
        contact = "help@lab.org"
        public_status = true
        terms = {{ file = "terms.txt", version = "2026-11" }}
        [limits]
        requests_per_second_per_user = 20
        max_in_flight_per_user = 16
        tpm_user = 200000
        [maintenance]
        polaris = "New switches until 18:00."
        "#
    ))
    .variable("IDP_SECRET", idp.secret().secret())
}

/// Keys of operators, and a project that Ann looks after.
async fn people(store: &Arc<dyn Store>, clock: &Arc<dyn Clock>) -> serde_json::Value {
    let month = Duration::from_secs(30 * 86_400);
    let keys = Keys {
        default_age: month,
        max_age: month,
        per_user: 0,
        owner_ttl: None,
    };
    let actor = Actor {
        name: "root".to_owned(),
        role: "admin".to_owned(),
        ..Actor::default()
    };
    let desk = Desk::new(Arc::clone(store), Arc::clone(clock), keys, actor);
    let mut made = json!({});
    for role in Role::ALL {
        let asked = KeyRequest {
            user: format!("{}@lab.org", role.as_str()),
            label: "pages".to_owned(),
            rights: KeyRights {
                role: Some(role),
                ..KeyRights::default()
            },
            ..KeyRequest::default()
        };
        let key = desk.create_key(asked).await.unwrap();
        made[role.as_str()] = key.key.expose().clone().into();
    }
    let record = ProjectRecord {
        title: Some("Plasma edge simulations".to_owned()),
        field: Some("Fusion".to_owned()),
        institution: Some("The Laboratory".to_owned()),
        managers: Some(vec!["ann@lab.org".to_owned()]),
        members: Some(vec!["bob@lab.org".to_owned(), "cleo@lab.org".to_owned()]),
        ..ProjectRecord::default()
    };
    desk.create_project("fusion", &record).await.unwrap();
    let asked = KeyRequest {
        user: "bob@lab.org".to_owned(),
        label: "edge runs".to_owned(),
        project: "fusion".to_owned(),
        ..KeyRequest::default()
    };
    let key = desk.create_key(asked).await.unwrap();
    made["bob"] = key.key.expose().clone().into();
    made
}

/// What the page of operators shows of this process: some answers, and some errors.
async fn traffic(gateway: &TestGateway, key: &str) {
    let answered = MODELS
        .iter()
        .flat_map(|model| [gateway.chat_stream(model), gateway.chat_stream(model)]);
    let refused =
        ["absent", "secret/Weights-1T", "openai/gpt-oss-120b"].map(|model| gateway.chat(model));
    let all: Vec<_> = answered
        .chain(refused)
        .map(|request| request.without("authorization").bearer(key))
        .collect();
    join_all(all.iter().map(|request| gateway.call(request))).await;
}

/// A month of requests, the same on every run but for the day that it ends with.
async fn history(store: &dyn Store, now: i64) {
    let mut rows = Vec::new();
    let mut seed = 7_u64;
    let mut next = |most: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % most
    };
    for day in 0..30_i64 {
        for _ in 0..(6 + next(12)) {
            let at = now - day * DAY - HOUR - i64::try_from(next(20 * 3_600_000_000)).unwrap();
            let (user, model) = (PEOPLE[next(6) as usize], MODELS[next(4) as usize]);
            let mut row = request(user, model, at);
            row.prompt_tokens = 200 + next(9_000);
            row.completion_tokens = 50 + next(2_500);
            row.total_tokens = row.prompt_tokens + row.completion_tokens;
            row.ttft_ms = Some(80 + next(900));
            row.duration_ms = 1_500 + next(9_000);
            if next(9) == 0 {
                let way = next(4);
                refuse(&mut row, way);
            }
            rows.push(row);
        }
    }
    store.insert_rows(&rows).await.unwrap();
}

fn request(user: &'static str, model: &'static str, at: i64) -> LedgerRow<'static> {
    LedgerRow {
        request_id: RequestId::at(at),
        started_at: at,
        finished_at: at + 2_000_000,
        user_id: Cow::Owned(format!("{user}@lab.org")),
        username: Cow::Owned(format!("{user}@lab.org")),
        auth_service: Cow::Borrowed("api_key"),
        idp: Cow::Borrowed("lab.org"),
        domain: Cow::Borrowed("lab.org"),
        project: Cow::Borrowed(if user < "d" { "fusion" } else { "" }),
        cluster: Cow::Borrowed("sophia"),
        framework: Cow::Borrowed("vllm"),
        model: Cow::Borrowed(model),
        api: Cow::Borrowed("chat/completions"),
        http_status: 200,
        outcome: Outcome::Ok,
        phase: Phase::Done,
        usage_source: UsageSource::Upstream,
        upstream_status: 200,
        attempts: 1,
        origin_ip: Cow::Borrowed("192.0.2.7"),
        count: 1,
        ..LedgerRow::default()
    }
}

/// One of the ways in which requests are answered with an error.
fn refuse(row: &mut LedgerRow<'static>, way: u64) {
    let (outcome, phase, code, status) = match way {
        0 => (
            Outcome::Rejected,
            Phase::ReadingBody,
            "model_not_found",
            404,
        ),
        1 => (
            Outcome::UpstreamTimeout,
            Phase::WaitingHeaders,
            "upstream_timeout",
            504,
        ),
        _ => (Outcome::Rejected, Phase::Queued, "tokens", 429),
    };
    row.outcome = outcome;
    row.phase = phase;
    row.error_code = Cow::Borrowed(code);
    row.http_status = status;
    row.upstream_status = 0;
    row.attempts = u32::from(outcome == Outcome::UpstreamTimeout);
    row.ttft_ms = None;
    row.prompt_tokens = 0;
    row.completion_tokens = 0;
    row.total_tokens = 0;
}
