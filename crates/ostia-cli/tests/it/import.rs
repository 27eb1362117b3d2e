use serde_json::json;

use super::site::Site;

/// What a FIRST installation has that is not served here is reported with its place, and secrets are not shown.
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
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert_eq!(site.run(&["check", "--env-file", ".env"]).code, Some(78));
    for piece in [
        "SMTP_HOST: ",
        "c-api-own: 503 endpoint_disabled",
        "c-api-compute: GlobusComputeEndpoint is not served yet",
        "c-api-direct: ",
    ] {
        assert!(ended.stdout.contains(piece), "{piece}: {}", ended.stdout);
    }
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
    let words = ["import", "first", "--fixtures", ".", "--config", "new.toml"];
    let ended = site.run(&words);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("no .env here"), "{}", ended.stderr);
}

/// The example environment and the two fixtures in FIRST's repository, recreated from their contents.
#[test]
fn firsts_own_example_comes_over_but_for_the_backends_key_that_it_lacks() {
    let site = Site::empty();
    std::fs::create_dir(site.path("fixtures")).unwrap();
    let kind = |kind: &str, fields: serde_json::Value| json!({"model": format!("resource_server_async.{kind}"), "pk": 1, "fields": fields});
    let cluster = |name: &str, adapter: &str, frameworks: &[&str], config: serde_json::Value| {
        kind(
            "cluster",
            json!({"cluster_name": name, "cluster_adapter": format!("resource_server_async.clusters.{adapter}"),
                "frameworks": frameworks, "openai_endpoints": ["chat/completions"], "config": config}),
        )
    };
    let qstat = json!({"qstat_endpoint_uuid": "your-uuid", "qstat_function_uuid": "your-uuid"});
    let page = json!({"status_url": "https://status.example.com/status"});
    let clusters = [
        cluster(
            "your-cluster",
            "globus_compute.GlobusComputeCluster",
            &["vllm", "api"],
            qstat,
        ),
        cluster("your-other-cluster", "metis.MetisCluster", &["api"], page),
    ];
    let endpoint = |cluster: &str, model: &str, adapter: &str, config: serde_json::Value| {
        kind(
            "endpoint",
            json!({"endpoint_slug": format!("{cluster}-api-{}", model.to_lowercase()), "cluster": cluster, "framework": "api",
                "model": model, "endpoint_adapter": format!("resource_server_async.endpoints.{adapter}"), "config": config}),
        )
    };
    let compute =
        json!({"api_port": 8000, "endpoint_uuid": "your-uuid", "function_uuid": "your-uuid"});
    let direct =
        json!({"api_url": "http://127.0.0.1:8080", "api_key_env_name": "YOUR_MODEL_120B_API_KEY"});
    let endpoints = [
        endpoint(
            "your-cluster",
            "Your-Model-70B",
            "globus_compute.GlobusComputeEndpoint",
            compute,
        ),
        endpoint(
            "your-other-cluster",
            "Your-Model-120B",
            "direct_api.DirectAPIEndpoint",
            direct,
        ),
    ];
    site.write("fixtures/clusters.json", &json!(clusters).to_string());
    site.write("fixtures/endpoints.json", &json!(endpoints).to_string());
    let example = r#"# --- Core ---
SECRET_KEY="<a-key>"
DEBUG=True

ALLOWED_HOSTS="
localhost
127.0.0.1
"
RUNNING_AUTOMATED_TEST_SUITE=False
LOG_TO_STDOUT=True
GLOBUS_APPLICATION_ID="<an-id>"
GLOBUS_APPLICATION_SECRET="<a-secret>"
SERVICE_ACCOUNT_ID="<an-id>"
SERVICE_ACCOUNT_SECRET="<a-secret>"
GLOBUS_POLICIES=""
GLOBUS_GROUPS=""
AUTHORIZED_IDP_DOMAINS=""
# Example: AUTHORIZED_GROUPS_PER_IDP='
#          { "uni.edu": "a-group" }
#          '
AUTHORIZED_GROUPS_PER_IDP='{}'
POSTGRES_DB="db"
POSTGRES_USER="dev"
POSTGRES_PASSWORD="change-this"
PGHOST="postgres"
PGPORT=5432
PGUSER="dev"
PGPASSWORD="change-this"
PGDATABASE="db"
REDIS_URL="redis://redis:6379/0"
USE_REDIS_CACHE=true
MAX_BATCHES_PER_USER=2
RATE_LIMIT_PER_SEC_PER_USER=10
STREAMING_SERVER_HOST="localhost:8080"
INTERNAL_STREAMING_SECRET="a-key"
MINERVA_AFFINITY_HMAC_KEY="make-a-random-secret-of-at-least-32-bytes"
MODEL_DETAILS_KEYS='["display_name","description","capabilities"]'
"#;
    site.write(".env", example);
    let ended = site.run(&["import", "first"]);
    assert_eq!(ended.code, Some(78), "{ended:?}");
    let errors: Vec<&str> = ended
        .stderr
        .lines()
        .filter(|line| line.contains(": error: "))
        .collect();
    assert!(
        errors.len() == 2 && errors[0].contains("nothing would be served"),
        "{errors:?}"
    );
    assert!(errors[1].contains("YOUR_MODEL_120B_API_KEY"), "{errors:?}");
    assert!(
        !ended.stdout.contains("neither a variable of FIRST"),
        "{}",
        ended.stdout
    );

    std::fs::remove_file(site.path("ostia.toml")).unwrap();
    site.write(".env", &format!("{example}YOUR_MODEL_120B_API_KEY=a-key\n"));
    let ended = site.run(&["import", "first"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(site.run(&["check", "--env-file", ".env"]).code, Some(0));
    let written = std::fs::read_to_string(site.path("ostia.toml")).unwrap();
    for piece in [
        "match = \"slug\"",
        "trusted_proxies = [",
        "env:MINERVA_AFFINITY_HMAC_KEY",
    ] {
        assert!(written.contains(piece), "{piece}: {written}");
    }
}
