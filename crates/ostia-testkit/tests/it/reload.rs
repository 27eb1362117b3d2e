//! Everything that a reload can change is swapped whole, under running streams and new requests.

use std::fs;
use std::sync::{Arc, Weak};

use futures_util::future::join_all;
use ostia::live::{Live, Unusable};
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{Ended, RawClient, Reading};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use serde_json::json;

const REPLACEMENTS: usize = 1_000;
const STREAMS: usize = 200;

/// `m` says twice which reading of the files it is of: in its path and in the model's name there. `same` never changes.
async fn rig() -> (FakeBackend, FakeBackend, TestGateway) {
    let (changing, same) = (FakeBackend::start().await, FakeBackend::start().await);
    let url = format!("http://{}/version-0/v1", changing.address());
    let site = Site::new()
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

/// Kilobytes resident and open files of this process, for the eye: other tests may run in it.
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
        let generation = gateway.reload().expect("it can be served");
        assert_eq!(generation as usize, version + 1);
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
    for (mut client, reading) in streams {
        assert_eq!(client.rest(reading).await.ended, Ended::Complete);
    }
    for record in changing.records() {
        let path = record.received.path().to_owned();
        let version = path.split('/').nth(1).unwrap();
        assert_eq!(record.received.model().as_deref(), Some(version), "{path}");
    }
    assert_eq!(same.counts().connections, 1, "kept over every reload");
    let rows = gateway.finish(&[&changing, &same]).await;
    assert!(rows.iter().all(|row| row.outcome == "ok"));
    assert!(
        earlier.iter().all(|live| live.upgrade().is_none()),
        "an earlier reading is still held"
    );
}

#[tokio::test]
async fn what_cannot_change_is_named_and_nothing_changes() {
    let (changing, same, gateway) = rig().await;
    let path = gateway.site().config_path();
    let sound = fs::read_to_string(&path).unwrap();
    let moved = sound.replace("ostia.db", "other.db");
    assert_ne!(moved, sound);
    fs::write(&path, moved).unwrap();
    rewrite(&gateway, 0, 1);
    match gateway.reload() {
        Err(Unusable::NeedsRestart(keys)) => assert_eq!(keys, ["store"]),
        other => panic!("{:?}", other.map_err(|error| error.to_string())),
    }
    assert_eq!(gateway.gateway().live().generation, 1);
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    assert_eq!(
        changing.records()[0].received.model().as_deref(),
        Some("version-0")
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
