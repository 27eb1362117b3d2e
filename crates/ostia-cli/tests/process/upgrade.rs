//! Replacing a running process by another (R90): nothing is refused or cut, and limits are kept.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ostia_core::SystemClock;
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{Ended, RawClient, Request};
use ostia_testkit::gateway::{Process, Site, Subject as _, TestGateway};
use ostia_testkit::patience::until;
use serde_json::json;

use crate::{binary, hold_after_first_event};

/// How often another process takes over; `scripts/stress.sh upgrade` sets more.
fn upgrades() -> usize {
    let set = std::env::var("OSTIA_TEST_UPGRADES").ok();
    set.map_or(3, |count| count.parse().unwrap())
}

/// Installs the binary as a link, as package managers do.
fn install(site: &Site, target: &Path) -> PathBuf {
    let link = site.folder().join("ostia");
    let new = site.folder().join("ostia.new");
    symlink(target, &new).unwrap();
    std::fs::rename(&new, &link).unwrap();
    link
}

fn chat(site: &Site, model: &str, stream: bool) -> Request {
    let body = json!({
        "model": model, "max_tokens": 64, "stream": stream,
        "messages": [{"role": "user", "content": site.secrets.prompt.secret()}],
    });
    Request::post("/v1/chat/completions")
        .bearer(&site.secrets.client_bearer())
        .json(&body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r90_upgrades_under_load_refuse_nothing_and_cut_nothing() {
    let (backend, slow) = (FakeBackend::start().await, FakeBackend::start().await);
    let site = Site::new().model("m", &backend).model("slow", &slow);
    site.prepare(&SystemClock).await;
    let mut process = Process::start(&install(&site, binary()), &site).await;
    let address = process.address();

    // A stream that begins with each process, and ends after all of them.
    let mut streams = Vec::new();
    let (over, served) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (over, served) = (Arc::clone(&over), Arc::clone(&served));
            let request = chat(&site, "m", false).header("Connection", "close");
            ostia::runtime::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let answer = RawClient::connect(address).await.call(&request).await;
                    assert_eq!(answer.status(), 200, "{}", answer.text());
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..upgrades() {
        let gate = hold_after_first_event(&slow);
        let mut client = RawClient::connect(address).await;
        client.send(chat(&site, "slow", true).bytes()).await;
        let reading = client.begin().await.unwrap();
        streams.push((client, reading, gate));
        process.upgrade().await;
        assert_eq!(process.address(), address);
    }
    // A version that does not start changes nothing.
    let broken = site.folder().join("broken");
    std::fs::write(&broken, "#!/bin/sh\nexit 3\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&broken, mode).unwrap();
    install(&site, &broken);
    process.signal(rustix::process::Signal::USR2);
    process.said("no other process took over").await;
    let before = served.load(Ordering::Relaxed);
    while served.load(Ordering::Relaxed) < before + 10 {
        tokio::task::yield_now().await;
    }
    over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    for (mut client, reading, gate) in streams {
        gate.open();
        assert_eq!(client.rest(reading).await.ended, Ended::Complete);
    }
    println!(
        "R90: {} upgrades, {} requests",
        upgrades(),
        served.load(Ordering::Relaxed)
    );
    let rows = TestGateway::around(site, process)
        .finish(&[&backend, &slow])
        .await;
    assert!(rows.iter().all(|row| row.outcome == "ok"), "{rows:#?}");
}

#[tokio::test]
async fn limits_hold_over_two_processes() {
    let backend = FakeBackend::start().await;
    let site = Site::new()
        .model("m", &backend)
        .settings("[limits]\nmax_in_flight_per_user = 2");
    site.prepare(&SystemClock).await;
    let mut process = Process::start(binary(), &site).await;
    let address = process.address();
    let mut streams = Vec::new();
    for _ in 0..2 {
        let gate = hold_after_first_event(&backend);
        let mut client = RawClient::connect(address).await;
        client.send(chat(&site, "m", true).bytes()).await;
        let reading = client.begin().await.unwrap();
        streams.push((client, reading, gate));
    }
    process.upgrade().await;
    backend.otherwise(Script::completion());
    let one = chat(&site, "m", false).header("Connection", "close");
    let refused = RawClient::connect(address).await.call(&one).await;
    assert_eq!(refused.status(), 429, "{}", refused.text());
    for (mut client, reading, gate) in streams {
        gate.open();
        assert_eq!(client.rest(reading).await.ended, Ended::Complete);
    }
    // The old process logs their end.
    process
        .said("the process that served before has ended")
        .await;
    let served = RawClient::connect(address).await.call(&one).await;
    assert_eq!(served.status(), 200, "{}", served.text());
    TestGateway::around(site, process).finish(&[&backend]).await;
}

/// If a process dies while it drains, its records are in its own folder, and the running process recovers them.
#[tokio::test]
async fn the_rows_of_a_killed_predecessor_are_not_lost() {
    let backend = FakeBackend::start().await;
    let site = Site::new().model("m", &backend);
    site.prepare(&SystemClock).await;
    let mut process = Process::start(binary(), &site).await;
    let gate = hold_after_first_event(&backend);
    let mut client = RawClient::connect(process.address()).await;
    client.send(chat(&site, "m", true).bytes()).await;
    let reading = client.begin().await.unwrap();
    process.upgrade().await;
    process.kill_predecessor();
    assert_ne!(client.rest(reading).await.ended, Ended::Complete);
    let gateway = TestGateway::around(site, process);
    let recovered = async || {
        let rows = gateway.rows().await;
        rows.iter()
            .any(|row| row.outcome == "interrupted")
            .then_some(())
    };
    until(
        || "the row of the interrupted request".to_owned(),
        recovered,
    )
    .await;
    gate.open();
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.len(), 1, "{rows:#?}");
}
