//! Everything that a reload can change is replaced as a whole, under running streams and new requests.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use ostia::gateway::ReloadRefused;
use ostia::live::Live;
use ostia::settings::OwnLimit;
use ostia_core::{Clock as _, ManualClock, SystemClock};
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{Answer, Ended, RawClient, Reading, Request};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway, gauges};
use serde_json::json;

const REPLACEMENTS: usize = 1_000;
const STREAMS: usize = 200;

/// The entry of `m` shows twice which version of the files it is from: in its path and in the backend's model name.
/// `same` never changes.
async fn rig() -> (FakeBackend, FakeBackend, TestGateway) {
    let (changing, same) = (FakeBackend::start().await, FakeBackend::start().await);
    let url = format!("http://{}/version-0/v1", changing.address());
    let site = Site::new()
        .with_faults()
        .endpoint(Endpoint::new("m", &url).config("upstream_model", json!("version-0")))
        .model("same", &same)
        .settings("[limits]\nrequests_per_second_per_user = 0");
    (changing, same, TestGateway::start(site).await)
}

fn rewrite(gateway: &TestGateway, from: usize, to: usize) {
    let path = gateway.site().folder().join("endpoints.json");
    let text = fs::read_to_string(&path).unwrap();
    let version = |number: usize| {
        [
            format!("/version-{number}/"),
            format!("\"version-{number}\""),
        ]
    };
    let [path_from, name_from] = version(from);
    let [path_to, name_to] = version(to);
    let text = text
        .replace(&path_from, &path_to)
        .replace(&name_from, &name_to);
    fs::write(&path, text).unwrap();
}

async fn begun(gateway: &TestGateway) -> (RawClient, Reading) {
    let mut client = gateway.client().await;
    client.send(gateway.chat_stream("m").bytes()).await;
    let reading = client.begin().await.unwrap();
    assert_eq!(reading.status(), 200);
    (client, reading)
}

/// Resident kilobytes and open files of this process, only to be printed: other tests may run in it.
fn footprint() -> (u64, usize) {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    (pages * 4, fs::read_dir("/proc/self/fd").unwrap().count())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_replacements_cut_no_stream_and_mix_nothing() {
    let (changing, same, gateway) = rig().await;
    let gate = Gate::closed();
    changing.otherwise(Script::completion().gate_end(&gate));
    let streams = join_all((0..STREAMS).map(|_| begun(&gateway))).await;
    changing.otherwise(Script::completion());

    let mut client = gateway.client().await;
    let mut earlier: Vec<Weak<Live>> = Vec::new();
    let before = footprint();
    for version in 1..=REPLACEMENTS {
        earlier.push(Arc::downgrade(&gateway.gateway().live()));
        rewrite(&gateway, version - 1, version);
        let reloaded = gateway.reload().expect("it can be served");
        assert_eq!(reloaded.generation as usize, version + 1);
        if version % 10 == 0 {
            for model in ["m", "same"] {
                assert_eq!(client.call(&gateway.chat(model)).await.status(), 200);
            }
        }
    }
    println!(
        "resident KB and open files: {before:?} before, {:?} after",
        footprint()
    );

    gate.open();
    all_are_whole(streams).await;
    none_was_mixed(&changing);
    assert_eq!(same.counts().connections, 1, "kept over every reload");
    let rows = gateway.finish(&[&changing, &same]).await;
    assert!(rows.iter().all(|row| row.outcome == "ok"));
    assert!(
        earlier.iter().all(|live| live.upgrade().is_none()),
        "an earlier reading is still held"
    );
}

async fn all_are_whole(streams: Vec<(RawClient, Reading)>) {
    for (mut client, reading) in streams {
        assert_eq!(client.rest(reading).await.ended, Ended::Complete);
    }
}

/// Each version of the files has its own path and model name; every request must have both from the same version.
fn none_was_mixed(changing: &FakeBackend) {
    for record in changing.records() {
        let path = record.received.path().to_owned();
        let version = path.split('/').nth(1).unwrap();
        assert_eq!(record.received.model().as_deref(), Some(version), "{path}");
    }
}

/// How many requests a second are sent during the reloads; `scripts/stress.sh R81-load` sets 500.
fn rate() -> u64 {
    let set = std::env::var("OSTIA_TEST_RATE").ok();
    set.map_or(50, |rate| rate.parse().unwrap())
}

/// 100 reloads under 200 streams and a constant rate of new requests: none is refused, cut, or sees a mixture.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r81_reloads_under_streams_and_new_requests() {
    const RELOADS: usize = 100;
    let (changing, same, gateway) = rig().await;
    let gate = Gate::closed();
    changing.otherwise(Script::completion().gate_end(&gate));
    let streams = join_all((0..STREAMS).map(|_| begun(&gateway))).await;
    changing.otherwise(Script::completion());

    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..10)
        .map(|_| {
            let (over, request) = (Arc::clone(&over), gateway.chat("m"));
            let address = gateway.address();
            ostia::runtime::spawn(async move {
                let mut pace = tokio::time::interval(Duration::from_millis(10_000 / rate()));
                let (mut client, mut served) = (RawClient::connect(address).await, 0);
                while !over.load(Ordering::Relaxed) {
                    pace.tick().await;
                    let answer = client.call(&request).await;
                    assert_eq!(answer.status(), 200, "{}", answer.text());
                    served += 1;
                }
                served
            })
        })
        .collect();
    let begun = SystemClock.now();
    for version in 1..=RELOADS {
        rewrite(&gateway, version - 1, version);
        gateway.reload().expect("it can be served");
        let seen = changing.records().len();
        // Some requests must meet each version.
        changing.requests(seen + 5).await;
    }
    let took = begun.elapsed();
    over.store(true, Ordering::Relaxed);
    let mut served = 0;
    for caller in callers {
        served += caller.await.unwrap();
    }
    println!("R81: {RELOADS} reloads, {STREAMS} streams, {served} requests in {took:?}");
    gate.open();
    all_are_whole(streams).await;
    none_was_mixed(&changing);
    let rows = gateway.finish(&[&changing, &same]).await;
    assert_eq!(rows.len(), STREAMS + served);
    assert!(rows.iter().all(|row| row.outcome == "ok"));
}

/// As with other servers, the rest of the files takes effect at once.
#[tokio::test]
async fn what_cannot_change_is_named_and_stays_and_the_rest_changes() {
    let (changing, same, gateway) = rig().await;
    let path = gateway.site().config_path();
    let sound = fs::read_to_string(&path).unwrap();
    let moved = sound.replace("ostia.db", "other.db");
    assert_ne!(moved, sound);
    fs::write(&path, moved).unwrap();
    rewrite(&gateway, 0, 1);
    for generation in [2, 3] {
        let reloaded = gateway.reload().expect("it can be served");
        assert_eq!(reloaded.generation, generation);
        assert_eq!(reloaded.difference.needs_restart, ["store"]);
    }
    let store = &gateway.gateway().live().settings.store;
    assert!(store.url.expose().ends_with("ostia.db"));
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    assert_eq!(
        changing.records()[0].received.model().as_deref(),
        Some("version-1")
    );
    gateway.finish(&[&changing, &same]).await;
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_forgotten() {
    let (changing, same, gateway) = rig().await;
    assert_eq!(gateway.gateway().fleet().all().len(), 2);
    let path = gateway.site().folder().join("endpoints.json");
    let text = fs::read_to_string(&path).unwrap();
    let mut entries: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    entries.retain(|entry| entry["fields"]["model"] != "m");
    fs::write(&path, json!(entries).to_string()).unwrap();
    gateway.reload().expect("it can be served");
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 404);
    assert_eq!(gateway.call(&gateway.chat("same")).await.status(), 200);
    assert_eq!(gateway.gateway().fleet().all().len(), 1);
    gateway.finish(&[&changing, &same]).await;
}

/// A mistake that would stop a start, or that would disable an endpoint in service, refuses the whole reload (R80).
#[tokio::test]
async fn a_bad_reading_is_refused_whole_and_said_everywhere() {
    let (changing, same, gateway) = rig().await;
    let folder = gateway.site().folder().to_owned();
    for (file, what, by, told) in [
        ("ostia.toml", "[limits]", "[limits", "ostia.toml:"),
        ("ostia.toml", "[limits]", "[limits]\ncolour = 1", "colour"),
        ("endpoints.json", "[{", "[{{", "endpoints.json:1:"),
        (
            "endpoints.json",
            "\"m\"",
            "\"m\",\"allowed_people\":[]",
            "allowed_people",
        ),
        (
            "endpoints.json",
            "TESTKIT_BACKEND_KEY",
            "NOWHERE_SET",
            "NOWHERE_SET",
        ),
        (
            "endpoints.json",
            "\"fields\":{",
            "\"other\":{",
            "no `fields`",
        ),
        (
            "endpoints.json",
            "\"cluster\":\"lab\"",
            "\"cluster\":7",
            "cluster",
        ),
        ("endpoints.json", "http://", "gopher://", "http://"),
        (
            "clusters.json",
            "\"cluster_name\":\"lab\"",
            "\"cluster_name\":\"\"",
            "clusters.json",
        ),
    ] {
        let path = folder.join(file);
        let sound = fs::read_to_string(&path).unwrap();
        let bad = sound.replacen(what, by, 1);
        assert_ne!(bad, sound, "{what} is not in {file}");
        fs::write(&path, bad).unwrap();
        match gateway.reload() {
            Err(ReloadRefused::Faults(faults)) => {
                assert!(
                    faults.iter().any(|fault| fault.contains(told)),
                    "{faults:?}"
                );
            }
            other => panic!("{by}: {other:?}"),
        }
        let live = gateway.gateway().live();
        assert_eq!((live.generation, live.catalog.deployments().len()), (1, 2));
        let ready = admin(&gateway, &Request::get("/health/ready")).await;
        assert_eq!(ready.status(), 200);
        assert!(ready.text().contains("refused"), "{}", ready.text());
        let strict = admin(&gateway, &Request::get("/health/ready?strict")).await;
        assert_eq!(strict.status(), 503);
        assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
        fs::write(&path, sound).unwrap();
    }
    let metrics = gauges::scrape(gateway.admin_address()).await;
    assert!(
        metrics.contains("ostia_reloads_total{result=\"refused\"} 9"),
        "{metrics}"
    );
    assert!(metrics.contains("ostia_catalog_generation 1"), "{metrics}");
    gateway.reload().expect("it is as it was");
    let ready = admin(&gateway, &Request::get("/health/ready?strict")).await;
    assert_eq!(ready.status(), 200, "{}", ready.text());
    assert_eq!(
        gateway.gateway().fleet().all().len(),
        2,
        "nothing of what was refused is left"
    );
    gateway.finish(&[&changing, &same]).await;
}

/// A broken entry that never served does not stop a reload.
#[tokio::test]
async fn a_new_entry_with_a_fault_is_added_as_disabled() {
    let (changing, same, gateway) = rig().await;
    let path = gateway.site().folder().join("endpoints.json");
    let text = fs::read_to_string(&path).unwrap();
    let mut entries: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let mut other = entries[0].clone();
    other["fields"]["model"] = json!("other");
    other["fields"]["config"]["api_key_env_name"] = json!("NOWHERE_SET");
    entries.push(other);
    entries.retain(|entry| entry["fields"]["model"] != "same");
    fs::write(&path, json!(entries).to_string()).unwrap();
    for generation in [2, 3] {
        let reloaded = gateway.reload().expect("it can be served");
        assert_eq!(reloaded.generation, generation);
        let told = |warning: &String| warning.contains("NOWHERE_SET");
        assert!(
            reloaded.warnings.iter().any(told),
            "{:?}",
            reloaded.warnings
        );
    }
    let answer = gateway.call(&gateway.chat("other")).await;
    assert_eq!(answer.error_code().as_deref(), Some("endpoint_disabled"));
    gateway.finish(&[&changing, &same]).await;
}

#[tokio::test]
async fn the_difference_is_told_and_a_dry_run_changes_nothing() {
    let (changing, same, gateway) = rig().await;
    let config = gateway.site().config_path();
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("tpm_user = 0", "tpm_user = 7")).unwrap();
    rewrite(&gateway, 0, 1);
    let (_, token) = ostia::admin::published(gateway.site().folder()).unwrap();
    let asked = Request::post("/admin/reload?dry_run").bearer(token.expose());
    for _ in 0..2 {
        let told = admin(&gateway, &asked).await;
        assert_eq!(told.status(), 200, "{}", told.text());
        let told = told.json();
        assert_eq!(told["generation"], 2);
        assert_eq!(
            told["difference"]["endpoints"]["changed"],
            json!([{"name": "lab-vllm-m", "keys": ["config.api_url", "config.upstream_model"]}])
        );
        assert_eq!(
            told["difference"]["settings"],
            json!([{"key": "limits.tpm_user", "before": "0", "after": "7"}])
        );
    }
    assert_eq!(gateway.gateway().live().generation, 1);
    let changed = admin(
        &gateway,
        &Request::post("/admin/reload").bearer(token.expose()),
    )
    .await;
    assert_eq!(changed.json()["generation"], 2);
    let live = gateway.gateway().live();
    assert_eq!(
        (
            live.generation,
            live.settings.limits.of(OwnLimit::TokensPerMinute)
        ),
        (2, 7)
    );

    // Only the token may reload, and no user's key (R34).
    let bearer = gateway.site().secrets.client_bearer();
    for (request, status) in [
        (Request::post("/admin/reload").bearer(&bearer), 403),
        (Request::post("/admin/reload"), 401),
        (
            Request::post("/admin/reload").bearer("ostia-admin-guess"),
            401,
        ),
        (Request::get("/admin/reload").bearer(token.expose()), 405),
        (Request::get("/admin/config").bearer(&bearer), 403),
    ] {
        assert_eq!(
            admin(&gateway, &request).await.status(),
            status,
            "{request:?}"
        );
    }
    let shown = admin(
        &gateway,
        &Request::get("/admin/config").bearer(token.expose()),
    )
    .await;
    assert_eq!(shown.json()["settings"]["limits.tpm_user"]["value"], "7");
    assert_eq!(
        shown.json()["settings"]["server.drain_timeout"]["default"],
        true
    );
    gateway.note(&shown);
    gateway.finish(&[&changing, &same]).await;
}

#[tokio::test]
async fn changed_files_are_read_once_they_are_still() {
    let changing = FakeBackend::start().await;
    let url = format!("http://{}/version-0/v1", changing.address());
    let site = Site::new()
        .endpoint(Endpoint::new("m", &url).config("upstream_model", json!("version-0")))
        .settings("[server]\nauto_reload = true");
    let clock = Arc::new(ManualClock::at(1_795_392_000_000_000));
    let gateway = TestGateway::start_at(site, clock.clone()).await;
    let look = || {
        gateway
            .gateway()
            .reload_if_changed()
            .map(|done| done.is_ok())
    };
    assert_eq!(look(), None);
    rewrite(&gateway, 0, 1);
    assert_eq!(look(), None, "it may not be over");
    clock.advance(Duration::from_secs(5));
    assert_eq!(look(), Some(true));
    assert_eq!(look(), None);
    // A reload that was refused is not repeated.
    fs::write(gateway.site().config_path(), "[server").unwrap();
    assert_eq!(look(), None);
    clock.advance(Duration::from_secs(5));
    assert_eq!(look(), Some(false));
    clock.advance(Duration::from_secs(5));
    assert_eq!(look(), None);
    gateway.finish(&[&changing]).await;
}

/// Whole files are loaded, however often they are replaced meanwhile (R82).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r82_files_that_are_replaced_while_they_are_read_load_whole() {
    let (changing, same, gateway) = rig().await;
    let folder = gateway.site().folder().to_owned();
    let sound = fs::read_to_string(folder.join("endpoints.json")).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let (folder, stop) = (folder.clone(), Arc::clone(&over));
    let replacing = ostia::runtime::spawn_blocking(move || {
        let mut count = 0_u32;
        while !stop.load(Ordering::Relaxed) {
            count += 1;
            // The length differs each time, so that a mixture of two versions is not valid JSON.
            let text = format!("{sound}{}", " ".repeat(count as usize % 97));
            fs::write(folder.join("new.json"), text).unwrap();
            fs::rename(folder.join("new.json"), folder.join("endpoints.json")).unwrap();
        }
        count
    });
    for generation in 2..200 {
        let reloaded = gateway.reload().expect("every file is whole");
        assert_eq!(reloaded.generation, generation);
        assert_eq!(reloaded.difference.endpoints, Default::default());
    }
    over.store(true, Ordering::Relaxed);
    println!("R82: {} replacements", replacing.await.unwrap());
    gateway.finish(&[&changing, &same]).await;
}

async fn admin(gateway: &TestGateway, request: &Request) -> Answer {
    RawClient::connect(gateway.admin_address())
        .await
        .call(request)
        .await
}
