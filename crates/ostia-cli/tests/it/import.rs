use serde_json::json;

use super::site::Site;

/// What a FIRST installation has that is not served here is told with its place, and no secret is.
#[test]
fn what_is_not_carried_over_is_told() {
    let site = Site::empty();
    let entry = |kind: &str, fields: serde_json::Value| json!({"model": format!("resource_server_async.{kind}"), "pk": 1, "fields": fields});
    let cluster = json!({
        "cluster_name": "c", "frameworks": ["api"], "openai_endpoints": ["chat/completions"],
        "cluster_adapter": "resource_server_async.clusters.globus_compute.GlobusComputeCluster",
    });
    let endpoint = |model: &str, adapter: &str| {
        entry(
            "endpoint",
            json!({
                "cluster": "c", "framework": "api", "model": model, "endpoint_adapter": adapter,
                "config": {"api_url": "http://127.0.0.1:8080", "api_key_env_name": "BACKEND_KEY"},
            }),
        )
    };
    std::fs::create_dir(site.path("fixtures")).unwrap();
    site.write(
        "fixtures/clusters.json",
        &json!([entry("cluster", cluster)]).to_string(),
    );
    let endpoints = json!([
        endpoint(
            "direct",
            "resource_server_async.endpoints.direct_api.DirectAPIEndpoint"
        ),
        endpoint("own", "my_app.custom.CustomEndpoint"),
        endpoint(
            "compute",
            "resource_server_async.endpoints.globus_compute.GlobusComputeEndpoint"
        ),
    ]);
    site.write("fixtures/endpoints.json", &endpoints.to_string());
    site.write(
        ".env",
        "BACKEND_KEY=canary\nGLOBUS_APPLICATION_ID=id\nGLOBUS_APPLICATION_SECRET=canary\nSMTP_HOST=mail\n",
    );
    let ended = site.run(&["import", "first"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("SMTP_HOST: "), "{}", ended.stdout);
    for piece in [
        "AUTHORIZED_IDP_DOMAINS: warning: ",
        "fixtures/clusters.json:1:",
        "`c-api-compute`",
        "[adapters] \"my_app.custom.CustomEndpoint\" = ",
    ] {
        assert!(ended.stderr.contains(piece), "{piece}: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("c-api-direct"), "{}", ended.stderr);
    let written = std::fs::read_to_string(site.path("ostia.toml")).unwrap();
    for text in [&ended.stdout, &ended.stderr, &written] {
        assert!(!text.contains("canary"), "{text}");
    }
    assert_eq!(site.run(&["import", "first"]).code, Some(64));
}

#[test]
fn without_variables_that_is_said() {
    let site = Site::new();
    let dump = site.path("clusters.json").display().to_string();
    let words = [
        "import",
        "first",
        "--fixtures",
        &dump,
        "--config",
        "new.toml",
    ];
    let ended = site.run(&words);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("no .env here"), "{}", ended.stderr);
}
