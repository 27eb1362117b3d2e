//! `GET /{cluster}/jobs` and `/{cluster}/models`, for every adapter and for every kind of bad source.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use ostia_core::ManualClock;
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::gateway::{CLUSTER, Endpoint, Site, TestGateway};
use serde_json::{Value, json};

use super::{get, with_status_page};

const LISTS: [&str; 6] = [
    "running",
    "queued",
    "stopped",
    "others",
    "private_batch_running",
    "private_batch_queued",
];

/// Models `run`, `wait` and `stop`, and `hidden`, which the caller may not use.
fn site(backend: &FakeBackend, folder_holds: &[(&str, String)]) -> Site {
    let site = Site::new();
    for (name, text) in folder_holds {
        let path = site.folder().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    ["run", "wait", "stop"]
        .into_iter()
        .fold(site, |site, model| site.model(model, backend))
        .endpoint(Endpoint::of("hidden", backend).field("allowed_domains", json!(["other.org"])))
}

fn printing(listing: &Value) -> String {
    format!("#!/bin/sh\ncat <<'END'\n{listing}\nEND\n")
}

fn adapter(site: Site, name: &str, config: Value) -> Site {
    site.cluster(CLUSTER, "cluster_adapter", json!(name))
        .cluster(CLUSTER, "config", config)
}

/// Checks the form that every answer of `jobs` has, and returns the models of each list.
fn models_of(jobs: &Value) -> Vec<(&'static str, Vec<String>)> {
    let members = jobs.as_object().unwrap();
    assert_eq!(members.len(), LISTS.len() + 1, "{jobs}");
    let status = jobs["cluster_status"].as_object().unwrap();
    assert_eq!(status["cluster"], "lab");
    let lists = LISTS.map(|list| {
        let jobs = jobs[list]
            .as_array()
            .unwrap_or_else(|| panic!("{list}: {jobs}"));
        let names = jobs.iter().map(|job| {
            assert_eq!(
                (&job["Framework"], &job["Cluster"]),
                (&json!("vllm"), &json!("lab")),
                "{job}"
            );
            job["Models"].as_str().unwrap().to_owned()
        });
        (list, names.collect::<Vec<_>>())
    });
    let of = |list: &str| -> usize {
        lists
            .iter()
            .filter(|(name, _)| *name == list)
            .map(|(_, names)| names.len())
            .sum()
    };
    let counts = (
        of("running"),
        of("stopped"),
        lists.iter().map(|(_, names)| names.len()).sum::<usize>(),
    );
    let told = ["live_models", "stopped_models", "total_models"]
        .map(|key| status[key].as_u64().unwrap() as usize);
    assert_eq!(told, [counts.0, counts.1, counts.2], "{jobs}");
    lists.into()
}

async fn states(gateway: &TestGateway) -> Vec<(String, String)> {
    let models = get(gateway, "/lab/models").await.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let models = models.as_array().unwrap().iter();
    models
        .map(|model| (text(&model["id"]), text(&model["state"])))
        .collect()
}

fn squeue() -> Value {
    let job = |name: &str, state: &str| {
        json!({"name": name, "job_state": [state], "partition": "gpu", "user_name": "svc-secret",
               "command": "/secret/run.sh --key=secret"})
    };
    json!({"jobs": [job("run", "RUNNING"), job("wait", "PENDING"), job("hidden", "RUNNING"), job("secret", "RUNNING")],
           "meta": {"plugin": {"data_parser": "data_parser/v0.0.41"}}, "errors": []})
}

fn qstat() -> Value {
    json!({"pbs_version": "23.06.06", "pbs_server": "secret-server", "Jobs": {
        "1.s": {"Job_Name": "run", "job_state": "R", "queue": "gpu", "Job_Owner": "secret@login"},
        "2.s": {"Job_Name": "wait", "job_state": "Q", "queue": "gpu", "qtime": 1_700_000_000},
        "3.s": {"Job_Name": "hidden", "job_state": "R", "queue": "gpu"},
    }})
}

const SCRIPT: &str = r##"
    fn jobs(ctx) {
        #{ running: [#{ Models: "run" }, #{ Models: "hidden" }], queued: [#{ Models: "wait" }], stopped: [#{ Models: "stop" }] }
    }"##;

#[tokio::test]
async fn every_adapter_answers_in_one_shape() {
    let three = [("running", "run"), ("queued", "wait"), ("stopped", "stop")];
    for kind in [
        "static",
        "status_url",
        "openai_models",
        "slurm",
        "slurmrestd",
        "pbs",
        "script",
    ] {
        let (backend, page) = (FakeBackend::start().await, FakeBackend::start().await);
        let files = [
            ("squeue", printing(&squeue())),
            ("qstat", printing(&qstat())),
            ("c.rhai", SCRIPT.to_owned()),
        ];
        let site = site(&backend, &files);
        let path = json!({"command_path": site.folder().display().to_string()});
        page.on_path("/slurm/v0.0.41/jobs/", Script::json(200, &squeue()));
        page.on_path(
            "/status.json",
            Script::json(
                200,
                &json!({
                    "secret-1": {"status": "LIVE", "model": "run", "experts": []},
                    "secret-2": {"status": "Warming", "model": "x", "experts": ["wait"]},
                    "secret-3": {"status": "STOPPED", "model": "stop"},
                    "secret-4": {"status": "Live", "model": "hidden", "url": "http://secret"},
                }),
            ),
        );
        backend.on_path("/health", Script::raw(200, ""));
        backend.on_path(
            "/v1/models",
            Script::json(200, &json!({"data": [{"id": "run"}, {"id": "hidden"}]})),
        );
        let (site, expected): (_, &[(&str, &str)]) = match kind {
            "static" => (
                site,
                &[("running", "run"), ("running", "wait"), ("running", "stop")],
            ),
            "status_url" => (with_status_page(site, &page), &three),
            "openai_models" => (
                adapter(site, kind, json!({})),
                &[("running", "run"), ("stopped", "wait"), ("stopped", "stop")],
            ),
            "slurm" | "pbs" => (adapter(site, kind, path), &three),
            "slurmrestd" => {
                let url = format!("{}/slurm/v0.0.41/jobs/", page.base_url());
                (
                    adapter(site, "slurm", json!({"slurmrestd_url": url})),
                    &three,
                )
            }
            _ => (adapter(site, "script:c.rhai", json!({})), &three),
        };
        let gateway = TestGateway::start(site).await;
        let answer = get(&gateway, "/lab/jobs").await;
        assert_eq!(answer.status(), 200, "{kind}: {}", answer.text());
        for private in ["hidden", "secret"] {
            assert!(
                !answer.text().contains(private),
                "{kind}: {}",
                answer.text()
            );
        }
        let mut told: Vec<(&str, String)> = models_of(&answer.json())
            .into_iter()
            .flat_map(|(list, names)| names.into_iter().map(move |name| (list, name)))
            .collect();
        let mut expected: Vec<_> = expected
            .iter()
            .map(|(list, name)| (*list, (*name).to_owned()))
            .collect();
        told.sort();
        expected.sort();
        assert_eq!(told, expected, "{kind}");
        let mut by_model: Vec<_> = expected
            .into_iter()
            .map(|(state, model)| (model, state.to_owned()))
            .collect();
        by_model.sort();
        assert_eq!(states(&gateway).await, by_model, "{kind}");
        for model in ["run", "wait", "stop"] {
            let path = format!("/lab/models?model_id={model}");
            assert_eq!(get(&gateway, &path).await.json()[0]["id"], model, "{kind}");
        }
        assert_eq!(
            get(&gateway, "/lab/models?model_id=hidden").await.status(),
            404,
            "{kind}"
        );
        gateway.finish(&[&backend]).await;
    }
}

#[tokio::test]
async fn pages_of_every_sort_are_read_or_told_and_never_stop_inference() {
    let names = |names: &[&str]| json!({"models": names}).to_string();
    let huge = "x".repeat(1 << 20);
    let gzip: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\x56\xca\xcd\x4f\x49\xcd";
    let live = |more: Value| {
        let mut entry = json!({"status": "lIvE", "model": "run"});
        for (key, value) in more.as_object().unwrap() {
            entry[key] = value.clone();
        }
        json!({"1": entry}).to_string()
    };
    let mixed = [
        &b"\xef\xbb\xbf{\"1\": \"soon\", \"2\": {\"load\": NaN, \"by\": \"M\xfcller\", \"status\": \"Stopped\", \"model\": \"stop\"}, "[..],
        b"\"3\": {\"status\": \"Live\", \"model\": \"run\"}}",
    ]
    .concat();
    let cases: [(&str, Script, u16, &[&str]); 18] = [
        (
            "another type",
            Script::raw(200, names(&["run"])).header("content-type", "text/html"),
            200,
            &["run"],
        ),
        (
            "gzip",
            Script::raw(200, gzip).header("content-encoding", "gzip"),
            500,
            &[],
        ),
        (
            "a redirect",
            Script::raw(307, "").header("location", "/other"),
            500,
            &[],
        ),
        ("no content", Script::raw(204, ""), 500, &[]),
        ("nothing", Script::raw(200, ""), 500, &[]),
        (
            "names that are none",
            Script::raw(200, "{\"models\": [\"run\", 7]}"),
            200,
            &["run"],
        ),
        (
            "nothing but names that are none",
            Script::raw(200, "{\"models\": [7, null]}"),
            500,
            &[],
        ),
        (
            "a byte order mark, an entry that is none, NaN and Latin-1",
            Script::raw(200, mixed),
            200,
            &["run"],
        ),
        (
            "a page in HTML",
            Script::raw(200, "<html><script>x = {\"a\": {\"b\": 1}}</script></html>"),
            500,
            &[],
        ),
        (
            "a list of models in an entry",
            Script::raw(200, live(json!({"model": ["run"]}))),
            200,
            &["run"],
        ),
        (
            "no experts",
            Script::raw(200, live(json!({"experts": []}))),
            200,
            &["run"],
        ),
        (
            "experts that are not a list",
            Script::raw(200, live(json!({"experts": "stop"}))),
            200,
            &["run"],
        ),
        (
            "experts that are not names",
            Script::raw(200, live(json!({"experts": [null, 7, ""]}))),
            200,
            &["run"],
        ),
        (
            "experts",
            Script::raw(200, live(json!({"model": null, "experts": ["stop"]}))),
            200,
            &["stop"],
        ),
        (
            "a status that is not a text",
            Script::raw(200, live(json!({"status": 7}))),
            200,
            &[],
        ),
        (
            "a huge name",
            Script::raw(200, names(&[&huge, "run"])),
            200,
            &["run"],
        ),
        ("deep", Script::raw(200, "[".repeat(100_000)), 500, &[]),
        (
            "1 GiB of one text",
            Script::repeated(vec![b'"'; 1 << 20], 1024),
            500,
            &[],
        ),
    ];
    for (what, script, status, running) in cases {
        let (backend, page) = (FakeBackend::start().await, FakeBackend::start().await);
        page.otherwise(script);
        let gateway = TestGateway::start(with_status_page(site(&backend, &[]), &page)).await;
        let answer = get(&gateway, "/lab/jobs").await;
        assert_eq!(answer.status(), status, "{what}: {}", answer.text());
        if status == 200 {
            assert!(answer.text().len() < 2000, "{what}");
            assert_eq!(
                models_of(&answer.json())[0],
                (
                    "running",
                    running.iter().map(|it| (*it).to_owned()).collect()
                ),
                "{what}"
            );
        } else {
            assert_eq!(
                answer.error_code().as_deref(),
                Some("failed_to_get_cluster_jobs"),
                "{what}"
            );
            assert!(!answer.text().contains("status.json"), "{what}");
        }
        assert_eq!(get(&gateway, "/lab/models").await.status(), 200, "{what}");
        assert_eq!(
            gateway.call(&gateway.chat("run")).await.status(),
            200,
            "{what}"
        );
        gateway.finish(&[&backend]).await;
    }
}

#[tokio::test]
async fn what_was_known_is_served_with_its_age_and_inference_goes_by_it() {
    let (backend, page) = (FakeBackend::start().await, FakeBackend::start().await);
    let known = json!({"1": {"status": "Live", "model": "run"}, "2": {"status": "Stopped", "model": "stop"}});
    page.otherwise(Script::json(200, &known));
    let clock = Arc::new(ManualClock::at(1_700_000_000_000_000));
    let running =
        |model: &str| Endpoint::of(model, &backend).config("require_running", json!(true));
    let site = Site::new()
        .endpoint(running("run"))
        .endpoint(running("stop"));
    let gateway =
        TestGateway::start_at(with_status_page(site, &page), Arc::clone(&clock) as _).await;
    let fresh = get(&gateway, "/lab/jobs").await.json();
    assert_eq!(fresh["cluster_status"].get("stale_seconds"), None);
    let asked = page.records().len();
    page.otherwise(Script::raw(500, "down"));
    clock.advance(Duration::from_secs(59));
    get(&gateway, "/lab/jobs").await;
    assert_eq!(
        page.records().len(),
        asked,
        "what is fresh is not asked for"
    );
    for age in [61, 90] {
        clock.advance(
            Duration::from_secs(age) - Duration::from_secs(if age == 61 { 59 } else { 61 }),
        );
        let mut answer = get(&gateway, "/lab/jobs").await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let mut jobs = answer.json();
        assert_eq!(jobs["cluster_status"]["stale_seconds"], age);
        jobs["cluster_status"]
            .as_object_mut()
            .unwrap()
            .remove("stale_seconds");
        assert_eq!(jobs, fresh);
        assert_eq!(gateway.call(&gateway.chat("run")).await.status(), 200);
        answer = gateway.call(&gateway.chat("stop")).await;
        assert_eq!(answer.error_code().as_deref(), Some("model_not_running"));
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_backend_that_is_only_busy_is_not_stopped() {
    let (busy, dead) = (FakeBackend::start().await, FakeBackend::start().await);
    busy.on_path("/health", Script::silent());
    dead.refuse().await;
    let running = |model: &str, backend: &FakeBackend| {
        Endpoint::of(model, backend).config("require_running", json!(true))
    };
    let site = Site::new()
        .endpoint(running("busy", &busy))
        .endpoint(running("dead", &dead))
        .cluster(CLUSTER, "cluster_adapter", json!("openai_models"))
        .cluster(CLUSTER, "config", json!({"api_request_timeout": 0.5}));
    let gateway = TestGateway::start(site).await;
    let jobs = get(&gateway, "/lab/jobs").await.json();
    assert_eq!(
        (&jobs["others"][0]["Models"], &jobs["stopped"][0]["Models"]),
        (&json!("busy"), &json!("dead"))
    );
    assert_eq!(gateway.call(&gateway.chat("busy")).await.status(), 200);
    let answer = gateway.call(&gateway.chat("dead")).await;
    assert_eq!(answer.error_code().as_deref(), Some("model_not_running"));
    gateway.finish(&[&busy]).await;
}

#[tokio::test]
async fn a_queue_of_a_big_machine_fits() {
    let (backend, slurm) = (FakeBackend::start().await, FakeBackend::start().await);
    let mut jobs = squeue();
    let filler = json!({"name": "other", "job_state": ["RUNNING"], "comment": "x".repeat(1000)});
    for _ in 0..6000 {
        jobs["jobs"].as_array_mut().unwrap().push(filler.clone());
    }
    slurm.on_path("/jobs/", Script::json(200, &jobs));
    let config = json!({"slurmrestd_url": format!("{}/jobs/", slurm.base_url())});
    let gateway = TestGateway::start(adapter(site(&backend, &[]), "slurm", config)).await;
    let jobs = get(&gateway, "/lab/jobs").await;
    assert_eq!(jobs.status(), 200, "{}", jobs.text());
    assert_eq!(jobs.json()["running"][0]["Models"], "run");
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_script_that_asks_without_end_ends() {
    let (backend, page) = (FakeBackend::start().await, FakeBackend::start().await);
    page.otherwise(Script::silent());
    let endless = "fn jobs(ctx) { loop { try { ctx.status_page(); } catch { } } }";
    let site = site(&backend, &[("c.rhai", endless.to_owned())]);
    let config =
        json!({"status_url": format!("{}/s", page.base_url()), "api_request_timeout": 0.3});
    let gateway = TestGateway::start(adapter(site, "script:c.rhai", config)).await;
    let answer = get(&gateway, "/lab/jobs").await;
    assert!([500, 504].contains(&answer.status()), "{}", answer.text());
    assert_eq!(gateway.call(&gateway.chat("run")).await.status(), 200);
    gateway.finish(&[&backend]).await;
}
