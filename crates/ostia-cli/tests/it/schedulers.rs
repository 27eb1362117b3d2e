use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::serve::answer;
use super::site::Site;

/// A running gateway's `/sophia/jobs`, if `program` on its PATH prints `listing`.
fn jobs(adapter: &str, program: &str, listing: &Value) -> Value {
    let site = Site::new();
    let fields = json!({
        "cluster_name": "sophia", "frameworks": ["vllm"], "openai_endpoints": ["chat/completions"],
        "cluster_adapter": adapter,
    });
    let entry = json!([{"model": "resource_server_async.cluster", "fields": fields}]);
    site.write("clusters.json", &entry.to_string());
    std::fs::create_dir(site.path("bin")).unwrap();
    let script = format!("#!/bin/sh\necho '{listing}'\n");
    let path = format!("bin/{program}");
    site.write(&path, &script);
    std::fs::set_permissions(site.path(&path), std::fs::Permissions::from_mode(0o755)).unwrap();

    let folder = site.path("bin").display().to_string();
    let gateway = site.serve_with(&[("PATH", &folder)], &[]);
    let ready = gateway.event("ostia listens");
    let made = site.json(&["key", "create", "--user", "ann@lab.org", "--json"]);
    let address = ready["listen"].as_str().unwrap();
    let whole = answer(address, "/sophia/jobs", made["key"].as_str().unwrap());
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.code(), Some(0));
    let (head, body) = whole.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{whole}");
    serde_json::from_str(body).unwrap()
}

#[test]
fn slurm_is_asked_by_the_squeue_on_the_path() {
    let job = json!({
        "job_id": 7, "name": "model", "job_state": ["RUNNING"], "partition": "gpu", "comment": "ostia:org/model",
    });
    let jobs = jobs("slurm", "squeue", &json!({"jobs": [job], "errors": []}));
    assert_eq!(jobs["running"][0]["Models"], "org/model");
    assert_eq!(jobs["cluster_status"]["live_models"], 1);
}

#[test]
fn pbs_is_asked_by_the_qstat_on_the_path() {
    let job = json!({"Job_Name": "model", "job_state": "Q", "queue": "prod"});
    let jobs = jobs("pbs", "qstat", &json!({"Jobs": {"7.pbs": job}}));
    assert_eq!(jobs["queued"][0]["Models"], "org/model");
    assert_eq!(jobs["cluster_status"]["live_models"], 0);
}
