use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::site::Site;

#[test]
fn what_would_be_served_is_shown_without_the_query() {
    let site = Site::new();
    let ended = site.run(&["check"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for shown in [
        "sophia-vllm-orgmodel",
        "org/model",
        "served",
        "http://127.0.0.1:9/v1/chat/completions",
        "http://127.0.0.1:9/v1/embeddings",
    ] {
        assert!(ended.stdout.contains(shown), "{shown}: {}", ended.stdout);
    }
    assert!(!ended.stdout.contains("canary"), "{}", ended.stdout);
    assert!(
        ended.stderr.contains("nothing was called: `ostia test`"),
        "{ended:?}"
    );

    let all = site.json(&["check", "--json"]);
    assert_eq!(all["ok"], true);
    assert_eq!(all["endpoints"][0]["endpoint_slug"], "sophia-vllm-orgmodel");
    let urls = json!({
        "chat/completions": "http://127.0.0.1:9/v1/chat/completions",
        "embeddings": "http://127.0.0.1:9/v1/embeddings",
    });
    assert_eq!(all["endpoints"][0]["urls"], urls);
    assert_eq!(
        site.names(),
        ["clusters.json", "endpoints.json", "ostia.toml", "state"]
    );
}

#[test]
fn proxies_and_replicas_are_shown() {
    let site = Site::new();
    site.write(
        "endpoints.json",
        r#"[{"model": "resource_server_async.endpoint", "pk": 1, "fields": {
            "cluster": "sophia", "framework": "vllm", "model": "org/model",
            "config": {"api_url": "https://api.example.org/v1", "proxy_url": "socks5h://u:hunter2@proxy:1080"}}},
           {"model": "resource_server_async.endpoint", "pk": 2, "fields": {
            "cluster": "sophia", "framework": "vllm", "model": "org/pilot",
            "endpoint_adapter": "resource_server_async.endpoints.first_v2.FirstV2Endpoint",
            "config": {"model_urls": ["http://127.0.0.1:8", "http://127.0.0.1:9"], "backend_model_name": "pilot"}}}]"#,
    );
    let ended = site.run(&["check"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for shown in [
        "PROXY",
        "socks5h://proxy:1080",
        "http://127.0.0.1:8/v1/chat/completions",
        "http://127.0.0.1:9/v1/embeddings",
    ] {
        assert!(ended.stdout.contains(shown), "{shown}: {}", ended.stdout);
    }
    let all = site.json(&["check", "--json"]);
    assert_eq!(all["endpoints"][0]["proxy"], "socks5h://proxy:1080");
    assert_eq!(all["endpoints"][1]["proxy"], json!(null));
    assert_eq!(all["endpoints"][1]["upstream_model"], "pilot");
    let replicas = [
        "http://127.0.0.1:9/v1/chat/completions",
        "http://127.0.0.1:9/v1/embeddings",
    ];
    assert_eq!(all["endpoints"][1]["replica_urls"], json!(replicas));
    assert!(!format!("{ended:?}{all}").contains("hunter2"));
}

#[test]
fn why_an_endpoint_is_disabled_stands_among_the_problems_and_not_in_the_table() {
    let site = Site::new();
    site.write(
        "endpoints.json",
        r#"[{"model": "resource_server_async.endpoint", "pk": 1, "fields": {
            "cluster": "sophia", "framework": "vllm", "model": "org/model",
            "config": {"api_url": "http://127.0.0.1:9/v1"}}},
           {"model": "resource_server_async.endpoint", "pk": 2, "fields": {
            "cluster": "sophia", "framework": "vllm", "model": "org/other",
            "config": {"api_url": "http://127.0.0.1:9/v1", "api_key_env_name": "NOT_SET"}}}]"#,
    );
    let ended = site.run(&["check"]);
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(ended.stderr.contains("NOT_SET"), "{}", ended.stderr);
    let line = ended
        .stdout
        .lines()
        .find(|line| line.contains("org/other"))
        .unwrap();
    let cells: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(cells[4..], ["disabled", "-", "-"], "{line}");
}

#[test]
fn every_problem_has_its_place_and_the_exit_code_is_78() {
    let site = Site::new();
    let fixtures = "clusters = \"clusters.json\"\nendpoints = \"endpoints.json\"\n";
    let text =
        format!("[server]\ncolour = 1\n[fixtures]\n{fixtures}[auth]\nproviders = [\"magic\"]\n");
    site.write("ostia.toml", &text);
    site.write(
        "clusters.json",
        "[{\"model\": \"resource_server_async.cluster\",\n \"fields\": }]",
    );
    let ended = site.run(&["check"]);
    assert_eq!(ended.code, Some(78), "{ended:?}");
    for place in ["ostia.toml:2:1", "ostia.toml:7:", "clusters.json:2:"] {
        assert!(ended.stderr.contains(place), "{place}: {}", ended.stderr);
    }
    let ended = site.run(&["check", "--json"]);
    assert_eq!(ended.code, Some(78));
    let all: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(all["ok"], false);
    let problems = all["problems"].as_array().unwrap();
    assert!(
        problems
            .iter()
            .any(|one| one["line"] == 2 && one["column"] == 1),
        "{problems:?}"
    );
}

#[test]
fn the_state_is_one_word_and_its_reason_a_problem_above() {
    let site = Site::new();
    let config =
        json!({"api_url": "http://127.0.0.1:9/v1", "api_key_env_name": "NOT_SET_ANYWHERE"});
    let fields =
        json!({"cluster": "sophia", "framework": "vllm", "model": "org/model", "config": config});
    let entry = json!([{"model": "resource_server_async.endpoint", "fields": fields}]);
    site.write("endpoints.json", &entry.to_string());
    let ended = site.run(&["check"]);
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(ended.stderr.contains("NOT_SET_ANYWHERE"), "{ended:?}");
    assert!(ended.stdout.contains("disabled"), "{ended:?}");
    assert!(!ended.stdout.contains("NOT_SET_ANYWHERE"), "{ended:?}");
}

#[test]
fn a_schedulers_command_is_looked_for_on_the_path() {
    let site = Site::new();
    let fields = json!({
        "cluster_name": "sophia", "frameworks": ["vllm"], "openai_endpoints": ["chat/completions"],
        "cluster_adapter": "slurm",
    });
    let entry = json!([{"model": "resource_server_async.cluster", "fields": fields}]);
    site.write("clusters.json", &entry.to_string());
    site.write("squeue", "#!/bin/sh\n");
    let program = site.path("squeue");
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let folder = site.path("").display().to_string();
    let found = site.run_with(&[("PATH", &folder)], &["check"]);
    assert_eq!(found.code, Some(0), "{found:?}");
    let missing = site.run_with(&[("PATH", "/nowhere")], &["check"]);
    assert_eq!(missing.code, Some(78), "{missing:?}");
    assert!(missing.stderr.contains("`squeue`"), "{missing:?}");
}
