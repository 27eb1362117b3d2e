//! `ostia register` beside an engine, in jobs of simulated schedulers.

#![expect(clippy::disallowed_methods, reason = "callers run beside the test")]

mod jobs;
mod tunnels;

use std::os::unix::fs::PermissionsExt as _;

use ostia_core::{Clock as _, SystemClock};
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{RawClient, Request};
use ostia_testkit::patience::until;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::site::{Gateway, Site};

const SLUG: &str = "sophia-vllm-orgmodel";

/// A gateway whose only endpoint has no URL, and what its job needs.
struct Rig {
    site: Site,
    gateway: Gateway,
    address: String,
    registrar: String,
    user: String,
}

impl Rig {
    fn start() -> Self {
        Self::with(&json!({}), |_| ())
    }

    /// The same, with more in the endpoint's `config`, and further changes to the site.
    fn with(more: &Value, prepare: impl FnOnce(&Site)) -> Self {
        let site = Site::new();
        let mut fields = json!({
            "cluster": "sophia", "framework": "vllm", "model": "org/model",
            "config": {"register": true, "register_networks": ["127.0.0.0/8"]},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            fields["config"][key] = value.clone();
        }
        let entry = json!([{"model": "resource_server_async.endpoint", "fields": fields}]);
        site.write("endpoints.json", &entry.to_string());
        std::fs::create_dir(site.path("bin")).unwrap();
        prepare(&site);
        let gateway = site.serve(&[]);
        let ready = gateway.event("ostia listens");
        let key = |words: &[&str]| {
            let words = [&["key", "create", "--json", "--user"], words].concat();
            site.json(&words)["key"].as_str().unwrap().to_owned()
        };
        let registrar = key(&[
            "jobs@lab.org",
            "--role",
            "registrar",
            "--model",
            SLUG,
            "--allow-ip",
            "127.0.0.0/8",
        ]);
        Self {
            address: ready["listen"].as_str().unwrap().to_owned(),
            user: key(&["ann@lab.org"]),
            registrar,
            gateway,
            site,
        }
    }

    /// A job that registers `engine`; `variables`: the scheduler's environment.
    fn job(&self, engine: &FakeBackend, variables: &[(&str, &str)], words: &[&str]) -> Gateway {
        let gateway = format!("http://{}", self.address);
        self.job_at(&gateway, engine, variables, words)
    }

    /// The same, for whatever listens at this URL.
    fn job_at(
        &self,
        gateway: &str,
        engine: &FakeBackend,
        variables: &[(&str, &str)],
        words: &[&str],
    ) -> Gateway {
        let url = format!("{}/v1", engine.base_url());
        let own = [
            "register",
            "--slug",
            SLUG,
            "--url",
            &url,
            "--gateway",
            gateway,
        ];
        let key = [("OSTIA_API_KEY", self.registrar.as_str())];
        let words = [&own, words].concat();
        self.site.start(&[&key, variables].concat(), &words)
    }

    /// A program that jobs find on their PATH.
    fn program(&self, name: &str, prints: &str) -> String {
        program(&self.site, name, &format!("cat <<'END'\n{prints}\nEND"));
        let path = std::env::var("PATH").unwrap();
        format!("{}:{path}", self.site.path("bin").display())
    }

    async fn state(&self) -> String {
        self.state_at(&self.address).await
    }

    /// The model's state at one replica.
    async fn state_at(&self, address: &str) -> String {
        let request = Request::get("/v1/models/org%2Fmodel").bearer(&self.user);
        let answer = client(address).await.call(&request).await;
        answer.json()["state"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    async fn until(&self, wanted: &str) {
        self.until_at(&self.address, wanted).await;
    }

    async fn until_at(&self, address: &str, wanted: &str) {
        let look = async || (self.state_at(address).await == wanted).then_some(());
        until(|| format!("the model to be {wanted} at {address}"), look).await;
    }

    async fn call(&self) -> u16 {
        call(&self.address, &self.user).await
    }

    fn end(self) {
        self.gateway.signal(Signal::TERM);
        assert_eq!(self.gateway.code(), Some(0));
    }
}

fn program(site: &Site, name: &str, script: &str) {
    let path = site.path(&format!("bin/{name}"));
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

async fn call(address: &str, user: &str) -> u16 {
    let body = json!({"model": "org/model", "messages": [{"role": "user", "content": "hi"}]});
    let request = Request::post("/v1/chat/completions")
        .bearer(user)
        .json(&body);
    client(address).await.call(&request).await.status()
}

/// Waits until the engine has got a request for an answer.
async fn posted(engine: &FakeBackend) {
    let look = async || {
        let mut records = engine.records().into_iter();
        records.find(|one| one.received.method == "POST")
    };
    until(|| "a request at the engine".to_owned(), look).await;
}

async fn client(address: &str) -> RawClient {
    RawClient::connect(address.parse().unwrap()).await
}

async fn engine() -> FakeBackend {
    let engine = FakeBackend::start().await;
    let list = json!({"object": "list", "data": [{"id": "org/model"}]});
    engine.on_path("/v1/models", Script::json(200, &list));
    engine
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_job_waits_for_its_engine_serves_and_gives_its_lease_back() {
    let rig = Rig::start();
    let engine = engine().await;
    engine.on_path("/v1/models", Script::error(503, "loading"));
    let job = rig.job(&engine, &[], &[]);
    rig.until("starting").await;
    assert_eq!(rig.call().await, 503);
    let list: Value = json!({"object": "list", "data": [{"id": "org/model"}]});
    engine.on_path("/v1/models", Script::json(200, &list));
    rig.until("running").await;
    assert_eq!(rig.call().await, 200);
    job.signal(Signal::TERM);
    assert_eq!(job.code(), Some(0));
    assert_eq!(rig.state().await, "stopped");
    rig.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_job_drains_before_the_wall_limit_that_its_scheduler_says() {
    let rig = Rig::start();
    let engine = engine().await;
    let path = rig.program("squeue", "0:04");
    let slurm = [("SLURM_JOB_ID", "7"), ("PATH", path.as_str())];
    let job = json!({"Jobs": {"7.pbs": {
        "Resource_List": {"walltime": "00:10:00"}, "resources_used": {"walltime": "00:09:56"},
    }}});
    rig.program("qstat", &job.to_string());
    let pbs = [("PBS_JOBID", "7.pbs"), ("PATH", path.as_str())];
    // A task of an array asks for itself, because one of them has the id of the whole array.
    let asked = r#"test "$3" = "7${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}" && echo 0:04"#;
    program(&rig.site, "squeue", asked);
    let array = [
        ("SLURM_JOB_ID", "7"),
        ("SLURM_ARRAY_JOB_ID", "7"),
        ("SLURM_ARRAY_TASK_ID", "2"),
        // From before the limit was extended.
        ("SLURM_JOB_END_TIME", "1000"),
        ("PATH", path.as_str()),
    ];
    for scheduler in [&slurm[..], &array, &[("SLURM_JOB_END_TIME", "soon")], &pbs] {
        let now = SystemClock.unix_micros() / 1_000_000;
        let soon = (now + 5).to_string();
        let scheduler: Vec<_> = scheduler
            .iter()
            .map(|(name, value)| (*name, if *value == "soon" { &*soon } else { *value }))
            .collect();
        let job = rig.job(&engine, &scheduler, &["--ttl", "30s"]);
        job.line("a lease is held, and the engine is running");
        // It ends without a signal.
        assert_eq!(job.code(), Some(0));
        assert_eq!(rig.state().await, "stopped", "{scheduler:?}");
    }
    rig.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_job_gets_nothing_after_its_ttl() {
    let rig = Rig::start();
    let engine = engine().await;
    let job = rig.job(&engine, &[], &["--ttl", "2s"]);
    rig.until("running").await;
    job.signal(Signal::KILL);
    rig.until("stopped").await;
    let posts = || {
        engine
            .records()
            .iter()
            .filter(|one| one.received.method == "POST")
            .count()
    };
    let before = posts();
    assert_eq!(rig.call().await, 503);
    assert_eq!(posts(), before);
    rig.end();
}

#[test]
fn what_cannot_be_registered_is_told_at_once() {
    let rig = Rig::start();
    let gateway = format!("http://{}", rig.address);
    let words = [
        "register",
        "--url",
        "http://127.0.0.1:9/v1",
        "--gateway",
        &gateway,
        "--slug",
    ];
    let register = |key: &str, slug: &str| {
        rig.site
            .run_with(&[("OSTIA_API_KEY", key)], &[&words[..], &[slug]].concat())
    };
    let ended = register(&rig.registrar, "another");
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("no endpoint 'another'"),
        "{}",
        ended.stderr
    );
    let ended = register(&rig.user, SLUG);
    assert!(ended.stderr.contains("role registrar"), "{}", ended.stderr);
    // Before the engine answers: a job finds out at once, whatever time its engine takes to load.
    let wrong = [("OSTIA_API_KEY", "sk-ostia-wrong")];
    for more in [&[][..], &["--tunnel"]] {
        let words = [&words[..], &[SLUG], more].concat();
        let ended = rig.site.run_with(&wrong, &words);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("401"), "{}", ended.stderr);
    }
    for (ttl, text) in [
        ("2h", "from 1s to 1h"),
        ("100ms", "from 1s to 1h"),
        ("0", "longer"),
    ] {
        let words = [&words[..], &[SLUG, "--ttl", ttl]].concat();
        let ended = rig.site.run_with(&wrong, &words);
        assert_eq!(ended.code, Some(64), "{ttl}");
        assert!(ended.stderr.contains(text), "{}", ended.stderr);
    }
    rig.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_job_is_started_when_its_model_is_asked_for_and_the_request_waits() {
    let rig = Rig::with(&json!({"wait_for_start": "10m"}), |site| {
        let bin = |name: &str| site.path(&format!("bin/{name}")).display().to_string();
        program(site, "squeue", r#"echo '{"jobs": [], "errors": []}'"#);
        let log = site.path("asked").display().to_string();
        program(site, "sbatch", &format!("echo \"$1 $2\" >> {log}"));
        let fields = json!({
            "cluster_name": "sophia", "frameworks": ["vllm"], "openai_endpoints": ["chat/completions"],
            "cluster_adapter": "slurm", "config": {"command": [bin("squeue")], "on_demand": [bin("sbatch")]},
        });
        let entry = json!([{"model": "resource_server_async.cluster", "fields": fields}]);
        site.write("clusters.json", &entry.to_string());
    });
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let (address, user) = (rig.address.clone(), rig.user.clone());
            tokio::spawn(async move { call(&address, &user).await })
        })
        .collect();
    let asked = || std::fs::read_to_string(rig.site.path("asked")).unwrap_or_default();
    let look = async || (!asked().is_empty()).then_some(());
    until(|| "a job to be started".to_owned(), look).await;
    let engine = engine().await;
    let job = rig.job(&engine, &[], &[]);
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert_eq!(asked(), format!("{SLUG} org/model\n"), "once");
    job.signal(Signal::TERM);
    assert_eq!(job.code(), Some(0));
    rig.end();
}

/// The gateway keeps no record of jobs that it submits: whatever kills it, the scheduler's list has them, and they are not
/// submitted again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r89_a_job_submitted_before_a_kill_is_found_and_not_submitted_again() {
    let mut rig = Rig::with(&json!({}), |site| {
        let bin = |name: &str| site.path(&format!("bin/{name}")).display().to_string();
        let log = site.path("asked").display().to_string();
        // Only what the shell can do itself: the gateway has no PATH here.
        let job = r#"{"job_id": 7, "name": "x", "comment": "ostia:org/model", "job_state": "PENDING", "partition": "gpu"}"#;
        let listing = format!(
            "if [ -e {log} ]; then echo '{{\"jobs\": [{job}], \"errors\": []}}'\n\
             else echo '{{\"jobs\": [], \"errors\": []}}'; fi"
        );
        program(site, "squeue", &listing);
        program(site, "sbatch", &format!("echo \"$1 $2\" >> {log}"));
        let fields = json!({
            "cluster_name": "sophia", "frameworks": ["vllm"], "openai_endpoints": ["chat/completions"],
            "cluster_adapter": "slurm", "config": {"command": [bin("squeue")], "on_demand": [bin("sbatch")]},
        });
        let entry = json!([{"model": "resource_server_async.cluster", "fields": fields}]);
        site.write("clusters.json", &entry.to_string());
    });
    let log = rig.site.path("asked");
    let asked = || std::fs::read_to_string(&log).unwrap_or_default();
    assert_eq!(rig.call().await, 503);
    let look = async || (!asked().is_empty()).then_some(());
    until(|| "a job to be submitted".to_owned(), look).await;
    rig.gateway.signal(Signal::KILL);
    assert_eq!(rig.gateway.code(), None);
    rig.gateway = rig.site.serve(&[]);
    let ready = rig.gateway.event("ostia listens");
    rig.address = ready["listen"].as_str().unwrap().to_owned();
    rig.until("queued").await;
    assert_eq!(rig.call().await, 503);
    let engine = engine().await;
    let job = rig.job(&engine, &[], &[]);
    rig.until("running").await;
    assert_eq!(rig.call().await, 200);
    assert_eq!(asked(), format!("{SLUG} org/model\n"), "once");
    job.signal(Signal::TERM);
    assert_eq!(job.code(), Some(0));
    rig.end();
}
