//! SIGKILL at any moment: every request that reached the backend has exactly one final row after the next start, or after the
//! journal was recovered from elsewhere (R88).

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::join_all;
use ostia_core::SystemClock;
use ostia_store::testing::Server;
use ostia_testkit::backend::{FakeBackend, Script, Step};
use ostia_testkit::client::{Ended, RawClient, Request};
use ostia_testkit::gateway::{Process, Row, Site, Subject, TestGateway};
use rustix::process::Signal;

use crate::binary;
use crate::books::{assert_sound, one};

/// Clients that send their next request as soon as they are answered.
const CLIENTS: usize = 12;
/// How many of them are stuck in an answer that does not end.
const STUCK: usize = 4;

/// `scripts/stress.sh kill` sets more.
fn kills() -> usize {
    let wanted = std::env::var("OSTIA_TEST_KILLS").ok();
    wanted.and_then(|count| count.parse().ok()).unwrap_or(5)
}

fn random_below(bound: u64) -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    u64::from_le_bytes(bytes) % bound
}

/// The head of an answer, one event of a stream, and then nothing until either side hangs up.
fn stuck() -> Script {
    Script::by(|request| {
        if !request.wants_stream() {
            return Script::silent();
        }
        let event = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n";
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let begun = format!("{head}{:x}\r\n{event}\r\n", event.len());
        Script::steps([Step::Write(begun.into()), Step::Silence])
    })
}

/// The ids of the answers that arrived completely.
type Whole = Mutex<Vec<String>>;

/// Sends requests until the gateway is gone.
async fn client(gateway: &Process, requests: &[Request; 2], seed: usize, whole: &Whole) {
    let Some(mut client) = RawClient::try_connect(gateway.address()).await else {
        return;
    };
    for number in seed.. {
        let stream = number % 2 == 1;
        client.send(requests[usize::from(stream)].bytes()).await;
        let Ok(reading) = client.begin().await else {
            break;
        };
        assert_eq!(reading.status(), 200);
        let answer = client.rest(reading).await;
        if answer.ended != Ended::Complete {
            break;
        }
        assert_eq!(
            answer.text().ends_with("data: [DONE]\n\n"),
            stream,
            "{}",
            answer.text()
        );
        let id = answer.header("x-request-id").unwrap();
        whole.lock().unwrap().push(id.to_owned());
    }
}

/// Kills a gateway at a random moment of the load that begins now.
async fn kill_under_load(gateway: &Process, backend: &FakeBackend) {
    let seen = backend.records().len();
    for _ in 0..STUCK {
        backend.next(stuck());
    }
    let work = usize::try_from(random_below(400)).unwrap();
    backend.requests(seen + STUCK + 1 + work).await;
    // At a random moment between two requests, so it waits for nothing.
    tokio::time::sleep(Duration::from_micros(random_below(5_000))).await;
    gateway.kill();
}

/// One life of the gateway: under load from the first moment, and killed in the middle of it.
async fn life(site: &Site, backend: &FakeBackend, requests: &[Request; 2], whole: &Whole) {
    let gateway = Process::start(binary(), site).await;
    let clients = join_all((0..CLIENTS).map(|seed| client(&gateway, requests, seed, whole)));
    tokio::join!(kill_under_load(&gateway, backend), clients);
}

#[tokio::test]
async fn after_any_kill_the_books_are_right() {
    let backend = FakeBackend::start().await;
    survive(Site::new().model("m", &backend), backend).await;
}

#[tokio::test]
async fn after_any_kill_the_books_on_postgres_are_right() {
    let backend = FakeBackend::start().await;
    let site = Site::new().model("m", &backend);
    survive(site.on_postgres(&Server::database().await), backend).await;
}

async fn survive(site: Site, backend: FakeBackend) {
    backend.otherwise(Script::completion().chunks(5));
    site.prepare(&SystemClock).await;
    let requests = requests(&site);
    let whole = Whole::default();
    for kill in 0..kills() {
        life(&site, &backend, &requests, &whole).await;
        if kill % 3 == 2 {
            // Once more, while it recovers what the last process left.
            let starting = Process::spawn(binary(), &site);
            tokio::time::sleep(Duration::from_micros(random_below(60_000))).await;
            starting.kill();
        }
    }
    backend.idle().await;
    let process = Process::start(binary(), &site).await;
    settle(site, process, &backend, &whole.into_inner().unwrap()).await;
}

/// Any of three replicas is killed while the others serve. It starts again, or first another machine recovers its journal.
#[tokio::test]
async fn after_any_kill_of_one_of_three_the_books_are_right() {
    let backend = FakeBackend::start().await;
    backend.otherwise(Script::completion().chunks(5));
    let site = || Site::new().model("m", &backend);
    let first = site().on_postgres(&Server::database().await);
    let others = [(); 2].map(|()| site().replica_of(&first));
    let sites = [&first, &others[0], &others[1]];
    for site in sites {
        site.prepare(&SystemClock).await;
    }
    let requests = requests(&first);
    let whole = Whole::default();
    let start = |site| Process::start(binary(), site);
    let mut replicas = join_all(sites.map(start)).await;
    for kill in 0..kills() {
        let victim = usize::try_from(random_below(3)).unwrap();
        // Clients of the others hang up when it dies.
        tokio::select! {
            () = kill_under_load(&replicas[victim], &backend) => {}
            _ = join_all((0..CLIENTS).map(|seed| client(&replicas[seed % 3], &requests, seed, &whole))) => {
                panic!("all replicas are gone");
            }
        }
        let dead = replicas.remove(victim);
        if kill % 2 == 1 {
            // It holds its journal until it is gone.
            dead.ended().await;
            recover(sites[(victim + 1) % 3], sites[victim]);
        }
        replicas.insert(victim, start(sites[victim]).await);
    }
    let others = replicas.split_off(1);
    let kept = replicas.remove(0);
    for replica in others {
        replica.signal(Signal::TERM);
        let (status, log) = replica.ended().await;
        assert!(status.success(), "{log}");
    }
    settle(first, kept, &backend, &whole.into_inner().unwrap()).await;
}

/// Brings what a dead replica left behind into the database.
fn recover(by: &Site, dead: &Site) {
    let mut command = Command::new(binary());
    command.arg("--config").arg(by.config_path());
    command
        .args(["journal", "recover"])
        .arg(dead.folder().join("journal"));
    command.env_clear().envs(by.variables());
    let said = command.output().unwrap();
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
}

/// Stops the last gateway, and compares the ledger with what backend and clients saw.
async fn settle(site: Site, process: Process, backend: &FakeBackend, whole: &[String]) {
    let gateway = TestGateway::around(site, process);
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    let (rows, site) = gateway.finish_keeping(&[backend]).await;

    let seen: BTreeSet<String> = backend
        .records()
        .iter()
        .map(|record| record.received.request_id().unwrap().to_owned())
        .collect();
    let by_id: BTreeMap<&str, &Row> = rows.iter().map(|row| (&*row.request_id, row)).collect();
    assert_eq!(by_id.len(), rows.len(), "an id has two rows");
    let missing: Vec<&String> = seen
        .iter()
        .filter(|id| !by_id.contains_key(&***id))
        .collect();
    assert!(
        missing.is_empty(),
        "reached the backend and have no row: {missing:?}"
    );
    for id in whole {
        assert_eq!(by_id[&**id].outcome, "ok", "the client had all of {id}");
    }
    assert_sums(backend, &rows, &site).await;
    report(&seen, whole, &rows);
}

/// Rows that are `ok` have the tokens that the backend reported, and interrupted ones have estimates.
async fn assert_sums(backend: &FakeBackend, rows: &[Row], site: &Site) {
    let reported: BTreeMap<String, u64> = backend
        .records()
        .iter()
        .filter_map(|record| {
            Some((
                record.received.request_id()?.to_owned(),
                record.reported?.total(),
            ))
        })
        .collect();
    let ok: Vec<&Row> = rows.iter().filter(|row| row.outcome == "ok").collect();
    let said: u64 = ok.iter().map(|row| reported[&row.request_id]).sum();
    let counted: i64 = one(
        &site.database_path(),
        "SELECT sum(total_tokens) FROM ledger WHERE outcome = 'ok'",
    )
    .await;
    assert_eq!(u64::try_from(counted).unwrap(), said);
    for row in rows.iter().filter(|row| row.outcome == "interrupted") {
        assert_eq!(
            (&*row.usage_source, &*row.model),
            ("estimated", "m"),
            "{row:?}"
        );
        assert!(
            row.tokens.prompt > 0 && row.finished_at >= row.started_at,
            "{row:?}"
        );
    }
    assert_sound(site).await;
}

#[expect(clippy::print_stderr, reason = "figures of a stress run")]
fn report(seen: &BTreeSet<String>, whole: &[String], rows: &[Row]) {
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        *outcomes.entry(&row.outcome).or_default() += 1;
    }
    let missing = seen
        .iter()
        .filter(|id| rows.iter().all(|row| row.request_id != **id))
        .count();
    eprintln!(
        "{} SIGKILLs under load: {} requests reached the backend, {} rows {outcomes:?}, {missing} missing, {} answers were whole \
         at the client and all of them are ok",
        kills(),
        seen.len(),
        rows.len(),
        whole.len(),
    );
}

fn requests(site: &Site) -> [Request; 2] {
    let bearer = site.secrets.client_bearer();
    [false, true].map(|stream| {
        let body = serde_json::json!({
            "model": "m", "stream": stream,
            "messages": [{"role": "user", "content": site.secrets.prompt.secret()}],
        });
        Request::post("/v1/chat/completions")
            .bearer(&bearer)
            .json(&body)
    })
}
