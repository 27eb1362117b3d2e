//! The job scripts of docs/hpc.md, run as schedulers run them, from job to job and through outages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use ostia_core::{Clock as _, SystemClock};
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::chaos::{ChaosProxy, Mode};
use ostia_testkit::client::Request;
use ostia_testkit::gate::Gate;
use ostia_testkit::patience::within;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Rig, SLUG, client, engine, posted, program};
use crate::site::{Gateway, Site};

/// Models, and how often each of them goes from one job to the next.
const MODELS: usize = 10;
const RENEWALS: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_request_is_lost_over_a_hundred_renewals() {
    let rig = Rig::with(&json!({}), |site| {
        let names: Vec<String> = (0..MODELS).map(model).collect();
        site.write("endpoints.json", &leased(&names));
        program(site, "vllm", "exec sleep 300");
        let binary = env!("CARGO_BIN_EXE_ostia");
        std::os::unix::fs::symlink(binary, site.path("bin/ostia")).unwrap();
        program(
            site,
            "qstat",
            r#"echo "{\"Jobs\": {\"$4\": {\"Resource_List\": {\"walltime\": \"00:20:00\"}}}}""#,
        );
    });
    let slugs: Vec<String> = (0..MODELS)
        .map(|nth| format!("sophia-vllm-orgmodel{nth}"))
        .collect();
    let mut words = vec!["key", "create", "--json", "--user", "jobs@lab.org"];
    words.extend(["--role", "registrar", "--allow-ip", "127.0.0.0/8"]);
    for slug in &slugs {
        words.extend(["--model", slug.as_str()]);
    }
    let key = rig.site.json(&words)["key"].as_str().unwrap().to_owned();
    rig.site.write(".ostia-key", &key);
    let chains = slugs.iter().enumerate();
    let chains = chains.map(|(nth, slug)| renewed(&rig, nth, slug));
    let calls: Vec<usize> = join_all(chains).await;
    assert!(calls.iter().all(|calls| *calls > 2 * RENEWALS), "{calls:?}");
    rig.end();
}

fn model(nth: usize) -> String {
    format!("org/model{nth}")
}

fn leased(models: &[String]) -> String {
    let entry = |model: &String| {
        let config = json!({"register": true, "register_networks": ["127.0.0.0/8"]});
        let fields =
            json!({"cluster": "sophia", "framework": "vllm", "model": model, "config": config});
        json!({"model": "resource_server_async.endpoint", "fields": fields})
    };
    Value::Array(models.iter().map(entry).collect()).to_string()
}

/// Takes one model from job to job while requests for it go on. Returns how many were answered; none failed.
async fn renewed(rig: &Rig, nth: usize, slug: &str) -> usize {
    let name = model(nth);
    let engines = join_all((0..2).map(|_| engine_of(&name))).await;
    let scripts = engines.iter().enumerate().map(|(which, engine)| {
        let script = format!("job-{nth}-{which}.sh");
        rig.site.write(&script, &job_script(rig, slug, engine));
        script
    });
    let scripts: Vec<String> = scripts.collect();
    let mut job = submitted(rig, &scripts[0], nth * 100).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let (answered, mut count) = watch::channel(0);
    let load = {
        let (address, user) = (rig.address.clone(), rig.user.clone());
        let is_over = Arc::clone(&is_over);
        tokio::spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                let status = call_model(&address, &user, &name).await;
                assert_eq!(status, 200, "{name}");
                answered.send_modify(|count| *count += 1);
            }
        })
    };
    for renewal in 1..=RENEWALS {
        let next = submitted(rig, &scripts[renewal % 2], nth * 100 + renewal).await;
        // As with `#SBATCH --signal=B:TERM@300`: the script gets it before the wall limit.
        job.signal(Signal::TERM);
        assert_eq!(aside(move || job.code()).await, Some(0));
        job = next;
        // Each job gets requests while it serves alone.
        let goal = *count.borrow() + 2;
        let served = count.wait_for(|count| *count >= goal);
        within(
            || format!("answers behind renewal {renewal} of {slug}"),
            served,
        )
        .await
        .unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    load.await.unwrap();
    job.signal(Signal::TERM);
    assert_eq!(aside(move || job.code()).await, Some(0));
    *count.borrow()
}

/// The next job of a model, once the gateway sends requests to it.
async fn submitted(rig: &Rig, script: &str, id: usize) -> Gateway {
    let job = submit(&rig.site, script, id);
    let serving = move || {
        job.line("the gateway sends requests to the engine");
        job
    };
    aside(serving).await
}

/// Waits for a process without holding the other models' jobs.
async fn aside<T: Send + 'static>(wait: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(wait).await.unwrap()
}

/// The first script of the page, as a site would fill it in.
fn job_script(rig: &Rig, slug: &str, engine: &FakeBackend) -> String {
    let page = include_str!("../../../../../docs/hpc.md");
    let block = page
        .split("```bash\n")
        .find(|block| block.contains("#SBATCH --signal"))
        .unwrap();
    let script = block.split("```").next().unwrap().to_owned();
    let port = engine.base_url().rsplit(':').next().unwrap().to_owned();
    let changes = [
        (
            "https://inference.lab.org",
            format!("http://{}", rig.address),
        ),
        ("north-vllm-orgmodel", slug.to_owned()),
        ("$(hostname -f):8000", format!("127.0.0.1:{port}")),
    ];
    changes.iter().fold(script, |script, (theirs, ours)| {
        assert!(script.contains(theirs), "{theirs} in {script}");
        script.replace(theirs, ours)
    })
}

/// What `sbatch` and `qsub` lead to, in turn.
fn submit(site: &Site, script: &str, id: usize) -> Gateway {
    let now = SystemClock.unix_micros() / 1_000_000;
    let (id, end) = (id.to_string(), (now + 1200).to_string());
    let slurm = [
        ("SLURM_JOB_ID", id.as_str()),
        ("SLURM_JOB_END_TIME", end.as_str()),
    ];
    let pbs = [("PBS_JOBID", id.as_str())];
    match id.ends_with(['1', '3', '5', '7', '9']) {
        true => site.start_script(&pbs, script),
        false => site.start_script(&slurm, script),
    }
}

async fn engine_of(model: &str) -> FakeBackend {
    let engine = FakeBackend::start().await;
    let list = json!({"object": "list", "data": [{"id": model}]});
    engine.on_path("/v1/models", Script::json(200, &list));
    engine
}

async fn call_model(address: &str, user: &str, model: &str) -> u16 {
    let body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
    let request = Request::post("/v1/chat/completions").bearer(user);
    client(address)
        .await
        .call(&request.json(&body))
        .await
        .status()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_job_outlives_a_gateway_that_cannot_be_reached() {
    let rig = Rig::start();
    let engine = engine().await;
    let way = ChaosProxy::start(rig.address.parse().unwrap()).await;
    way.switch(Mode::Reset);
    let url = format!("http://{}", way.address());
    let job = rig.job_at(&url, &engine, &[], &["--ttl", "2s"]);
    way.until("a try", |counts| counts.accepted > 0).await;
    assert_eq!(rig.state().await, "stopped");
    way.switch(Mode::Pass);
    rig.until("running").await;
    // For longer than the lease lasts: the next one is a new one.
    way.switch(Mode::Reset);
    rig.until("stopped").await;
    way.switch(Mode::Pass);
    rig.until("running").await;
    assert_eq!(rig.call().await, 200);
    job.signal(Signal::TERM);
    assert_eq!(job.code(), Some(0));
    rig.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_signal_ends_the_wait_for_running_requests() {
    let rig = Rig::start();
    for more in [&[][..], &["--tunnel"]] {
        let engine = engine().await;
        let gate = Gate::closed();
        engine.on_model("org/model", Script::completion().gate_head(&gate));
        let job = rig.job(&engine, &[], more);
        rig.until("running").await;
        let (address, user) = (rig.address.clone(), rig.user.clone());
        let running = tokio::spawn(async move { super::call(&address, &user).await });
        posted(&engine).await;
        job.signal(Signal::TERM);
        job.line("no new requests");
        rig.until(if more.is_empty() {
            "draining"
        } else {
            "stopped"
        })
        .await;
        job.signal(Signal::TERM);
        job.line("asked again");
        assert_eq!(job.code(), Some(0));
        gate.open();
        // A lease's engine may answer on; a tunnel is gone.
        let status = running.await.unwrap();
        assert_eq!(status == 200, more.is_empty(), "{status}");
        rig.until("stopped").await;
    }
    rig.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_engine_that_dies_while_it_drains_does_not_hold_the_job() {
    let rig = Rig::start();
    let engine = engine().await;
    let gate = Gate::closed();
    engine.on_model("org/model", Script::completion().gate_head(&gate));
    let job = rig.job(&engine, &[], &[]);
    rig.until("running").await;
    let (address, user) = (rig.address.clone(), rig.user.clone());
    let running = tokio::spawn(async move { super::call(&address, &user).await });
    posted(&engine).await;
    job.signal(Signal::TERM);
    rig.until("draining").await;
    engine.refuse().await;
    drop(engine);
    assert!(running.await.unwrap() >= 500);
    assert_eq!(job.code(), Some(0));
    assert_eq!(rig.state().await, "stopped", "{SLUG}");
    rig.end();
}
