//! `ostia register --tunnel`: one gateway, several replicas behind one address, a proxy, a gateway that is replaced.

use std::sync::{Arc, Mutex};

use ostia_testkit::backend::Script;
use ostia_testkit::gate::Gate;
use ostia_testkit::patience::within;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use super::{Rig, call, engine, posted};
use crate::site::Gateway;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_tunnel_needs_no_port_of_the_cluster_and_drains_like_a_lease() {
    let rig = Rig::start();
    let engine = engine().await;
    let job = rig.job(&engine, &[], &["--tunnel"]);
    job.line("is open");
    rig.until("running").await;
    assert_eq!(rig.call().await, 200);
    let second = super::engine().await;
    let next = rig.job(&second, &[], &["--tunnel"]);
    let served = || {
        second
            .records()
            .iter()
            .any(|one| one.received.method == "POST")
    };
    let serving = async {
        while !served() {
            assert_eq!(rig.call().await, 200);
        }
    };
    within(|| "requests to the next job".to_owned(), serving).await;
    job.signal(Signal::TERM);
    assert_eq!(job.code(), Some(0));
    assert_eq!(rig.call().await, 200);
    next.signal(Signal::TERM);
    assert_eq!(next.code(), Some(0));
    rig.until("stopped").await;
    rig.end();
}

/// One address for several gateways: each connection goes to the next of those that answer.
struct Balancer {
    address: String,
    behind: Arc<Mutex<Vec<String>>>,
}

impl Balancer {
    async fn start(behind: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let behind = Arc::new(Mutex::new(behind));
        let known = Arc::clone(&behind);
        tokio::spawn(async move {
            let mut turn = 0;
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let gateways = known.lock().unwrap().clone();
                turn += 1;
                tokio::spawn(async move {
                    for nth in 0..gateways.len() {
                        let gateway = &gateways[(turn + nth) % gateways.len()];
                        if let Ok(mut there) = TcpStream::connect(gateway).await {
                            let _ = tokio::io::copy_bidirectional(&mut client, &mut there).await;
                            return;
                        }
                    }
                });
            }
        });
        Self { address, behind }
    }
}

/// One more replica of the rig's gateway, and where it listens.
fn replica(rig: &Rig, name: &str) -> (Gateway, String) {
    let first = std::fs::read_to_string(rig.site.path("ostia.toml")).unwrap();
    std::fs::create_dir(rig.site.path(name)).unwrap();
    let own = first.replace("state_dir = \"state\"", &format!("state_dir = \"{name}\""));
    assert_ne!(own, first);
    let database = rig.site.path("ostia.db");
    let store = format!("[store]\nurl = \"sqlite://{}\"\n", database.display());
    let file = format!("{name}.toml");
    rig.site.write(&file, &format!("{own}{store}"));
    let gateway = rig.site.serve(&["--config", file.as_str()]);
    let ready = gateway.event("ostia listens");
    (gateway, ready["listen"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_address_leads_to_a_tunnel_at_each_of_three_replicas() {
    let rig = Rig::start();
    let (second, second_at) = replica(&rig, "second");
    let (third, third_at) = replica(&rig, "third");
    let addresses = vec![rig.address.clone(), second_at.clone(), third_at.clone()];
    let balancer = Balancer::start(addresses.clone()).await;
    let engine = engine().await;
    let url = format!("http://{}", balancer.address);
    let job = rig.job_at(&url, &engine, &[], &["--tunnel"]);
    for address in &addresses {
        rig.until_at(address, "running").await;
    }
    for _ in 0..30 {
        assert_eq!(call(&balancer.address, &rig.user).await, 200);
    }

    // One is killed, and another one takes its place: it gets its tunnel without anybody's doing.
    third.signal(Signal::KILL);
    assert_eq!(third.code(), None);
    balancer
        .behind
        .lock()
        .unwrap()
        .retain(|address| *address != third_at);
    for _ in 0..10 {
        assert_eq!(call(&balancer.address, &rig.user).await, 200);
    }
    let (fourth, fourth_at) = replica(&rig, "fourth");
    balancer.behind.lock().unwrap().push(fourth_at.clone());
    rig.until_at(&fourth_at, "running").await;
    assert_eq!(call(&fourth_at, &rig.user).await, 200);

    job.signal(Signal::TERM);
    assert_eq!(job.code(), Some(0));
    for address in [&rig.address, &second_at, &fourth_at] {
        rig.until_at(address, "stopped").await;
    }
    for gateway in [second, fourth] {
        gateway.signal(Signal::TERM);
        assert_eq!(gateway.code(), Some(0));
    }
    rig.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_revoked_key_ends_the_tunnel_and_the_command() {
    let rig = Rig::start();
    let engine = engine().await;
    let job = rig.job(&engine, &[], &["--tunnel"]);
    rig.until("running").await;
    let ended = rig.site.run(&["key", "revoke", "--user", "jobs@lab.org"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    rig.until("stopped").await;
    job.line("answered 401");
    assert_eq!(job.code(), Some(1));
    rig.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_model_that_loads_behind_a_tunnel_is_starting() {
    let rig = Rig::start();
    let engine = engine().await;
    engine.on_path("/v1/models", Script::error(503, "loading"));
    let job = rig.job(&engine, &[], &["--tunnel"]);
    rig.until("starting").await;
    assert_eq!(rig.call().await, 503);
    let list = json!({"object": "list", "data": [{"id": "org/model"}]});
    engine.on_path("/v1/models", Script::json(200, &list));
    rig.until("running").await;
    assert_eq!(rig.call().await, 200);
    job.signal(Signal::TERM);
    assert_eq!(job.code(), Some(0));
    rig.until("stopped").await;
    rig.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_gateway_that_takes_over_gets_a_tunnel_while_the_last_one_ends() {
    let rig = Rig::with(&json!({"wait_for_start": "1m"}), |_| ());
    let engine = engine().await;
    let gate = Gate::closed();
    engine.on_model("org/model", Script::completion().gate_head(&gate));
    let job = rig.job(&engine, &[], &["--tunnel"]);
    job.line("is open");
    rig.until("running").await;
    let (address, user) = (rig.address.clone(), rig.user.clone());
    let running = tokio::spawn(async move { call(&address, &user).await });
    posted(&engine).await;
    rig.gateway.signal(Signal::USR2);
    let next = rig.gateway.event("ostia listens")["pid"].as_i64().unwrap();
    job.line("is open");
    engine.on_model("org/model", Script::completion());
    assert_eq!(rig.call().await, 200);
    gate.open();
    assert_eq!(running.await.unwrap(), 200);
    job.signal(Signal::TERM);
    assert_eq!(job.code(), Some(0));
    let next = Pid::from_raw(i32::try_from(next).unwrap()).unwrap();
    kill_process(next, Signal::TERM).unwrap();
    assert_eq!(rig.gateway.code(), Some(0));
}

/// A proxy that understands `CONNECT` and nothing else, and keeps what it was asked.
async fn connect_proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let told = Arc::clone(&told);
            tokio::spawn(async move {
                let mut client = BufReader::new(client);
                let mut first = String::new();
                client.read_line(&mut first).await.unwrap();
                let mut line = String::new();
                while client.read_line(&mut line).await.unwrap() > 2 {
                    line.clear();
                }
                told.lock().unwrap().push(first.clone());
                let Some(target) = first.strip_prefix("CONNECT ") else {
                    return;
                };
                let target = target.split(' ').next().unwrap();
                let mut there = TcpStream::connect(target).await.unwrap();
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut there).await;
            });
        }
    });
    (address, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_tunnel_passes_a_proxy_of_the_cluster() {
    let rig = Rig::start();
    let engine = engine().await;
    let (proxy, asked) = connect_proxy().await;
    let proxy = format!("http://{proxy}");
    let job = rig.job(&engine, &[], &["--tunnel", "--proxy", &proxy]);
    rig.until("running").await;
    assert_eq!(rig.call().await, 200);
    let expected = format!("CONNECT {} ", rig.address);
    let asked: Vec<String> = asked.lock().unwrap().clone();
    assert!(
        !asked.is_empty() && asked.iter().all(|line| line.starts_with(&expected)),
        "{asked:?}"
    );
    job.signal(Signal::TERM);
    assert_eq!(job.code(), Some(0));
    rig.end();
}
