use super::{ENDPOINTS, Folder, assert_problem};

/// The fields of one cluster, where the problem stands (behind `clusters.json`), a piece of its text.
const BAD_CLUSTERS: &[(&str, &str, &str)] = &[
    (
        r#""frameworks": ["f"], "openai_endpoints": []"#,
        ":2:11: error",
        "`cluster_name` is missing",
    ),
    (
        r#""cluster_name": 5, "frameworks": ["f"], "openai_endpoints": []"#,
        ":3:17: error",
        "must be a text, not a number",
    ),
    (
        r#""cluster_name": "", "frameworks": ["f"], "openai_endpoints": []"#,
        ":3:17: error",
        "is empty",
    ),
    (
        r#""cluster_name": "c", "openai_endpoints": []"#,
        ":2:11: error",
        "`frameworks` is missing",
    ),
    (
        r#""cluster_name": "c", "frameworks": ["f"]"#,
        ":2:11: error",
        "`openai_endpoints` is missing",
    ),
    (
        r#""cluster_name": "v1", "frameworks": ["f"], "openai_endpoints": []"#,
        ":3:17: error",
        "reserved",
    ),
    (
        r#""cluster_name": "resource_server", "frameworks": ["f"], "openai_endpoints": []"#,
        ":3:17: error",
        "reserved",
    ),
    (
        r#""cluster_name": "a/b", "frameworks": ["f"], "openai_endpoints": []"#,
        ":3:17: error",
        "URL path",
    ),
    (
        r#""cluster_name": "c ", "frameworks": ["f"], "openai_endpoints": []"#,
        ":3:17: error",
        "spaces around it",
    ),
    (
        r#""cluster_name": "c", "frameworks": {"f": 1}, "openai_endpoints": []"#,
        ":3:36: error",
        "must be a list of texts",
    ),
    (
        r#""cluster_name": "c", "frameworks": ["f", 7], "openai_endpoints": []"#,
        ":3:42: error",
        "texts only",
    ),
    (
        r#""cluster_name": "c", "frameworks": [], "openai_endpoints": ["embeddings"]"#,
        ":3:36: warning",
        "is empty",
    ),
    (
        r#""cluster_name": "c", "frameworks": ["f"], "openai_endpoints": ["/chat/completions/"]"#,
        ":3:64: error",
        "write `chat/completions`",
    ),
    (
        r#""cluster_name": "c", "frameworks": ["f"], "openai_endpoints": ["v1/completions"]"#,
        ":3:64: error",
        "write `completions`",
    ),
    (
        r#""cluster_name": "c", "frameworks": ["f"], "openai_endpoints": {"chat": "x"}"#,
        ":3:63: error",
        "must be a list of texts, not an object",
    ),
    (
        r#""cluster_name": "c", "frameworks": ["f"], "openai_endpoints": ["batches"]"#,
        ":3:64: warning",
        "never relayed",
    ),
    (
        r#""cluster_name": "c", "frameworks": ["f"], "openai_endpoints": [], "cluster_adapter": "my.Own""#,
        ":3:86: error",
        r#"[adapters] "my.Own" = "script:"#,
    ),
    (
        r#""cluster_name": "c", "frameworks": ["f"], "openai_endpoints": [], "cluster_adapter": "resource_server_async.clusters.globus_compute.GlobusComputeCluster""#,
        ":3:86: warning",
        "not served by this version",
    ),
    (
        r#""cluster_name": "c", "frameworks": ["f"], "openai_endpoints": [], "cluster_adapter": "status_url""#,
        ":2:11: error",
        "`config.status_url` is missing",
    ),
    (
        r#""cluster_name": "c", "frameworks": ["f"], "openai_endpoints": [], "cluster_adapter": "status_url", "config": {"status_url": "http://u:hunter2@h/"}"#,
        ":3:125: error",
        "user name or password",
    ),
    (
        r#""cluster_name": "c", "frameworks": ["f"], "openai_endpoints": [], "cluster_adapter": "openai_models", "config": {"api_request_timeout": 301}"#,
        ":3:137: warning",
        "300 seconds",
    ),
    (
        r#""cluster_name": "c", "frameworks": ["f"], "openai_endpoints": [], "cluster_adapter": "openai_models", "config": {"api_request_timeout": -1}"#,
        ":3:137: error",
        "seconds",
    ),
    (
        r#""cluster_name": "c", "frameworks": ["f"], "openai_endpoints": [], "allowed_domains": ["@lab.org"]"#,
        ":3:87: error",
        "with an `@`",
    ),
    (
        r#""cluster_name": "c", "frameworks": ["f"], "openai_endpoints": [], "allowed_globus_groups": [null]"#,
        ":3:93: error",
        "texts only, not null",
    ),
    (
        r#""cluster_name": "c", "frameworks": ["f"], "openai_endpoints": [], "colour": 1"#,
        ":3:67: warning",
        "`colour` is not known",
    ),
];

/// The fields of one endpoint after `cluster`, `framework` and `model`; the same.
const BAD_ENDPOINTS: &[(&str, &str, &str)] = &[
    (
        r#""config": {}"#,
        ":4:11: error",
        "`config.api_url` is missing",
    ),
    (
        r#""colour": 1, "config": {"api_url": "http://h"}"#,
        ":4:1: warning",
        "`colour` is not known",
    ),
    (
        r#""priority": 1, "config": {"api_url": "http://h"}"#,
        ":4:1: warning",
        "belongs into `config`",
    ),
    (
        r#""model": "N", "config": {"api_url": "http://h"}"#,
        ":4:1: warning",
        "stands twice",
    ),
    (
        r#""config": {"api_url": 5}"#,
        ":4:23: error",
        "must be a text",
    ),
    (
        r#""config": {"api_url": "ftp://h/v1"}"#,
        ":4:23: error",
        "http://",
    ),
    (
        r#""config": {"api_url": "file:///etc/passwd"}"#,
        ":4:23: error",
        "http://",
    ),
    (
        r#""config": {"api_url": "h/v1"}"#,
        ":4:23: error",
        "is not a URL",
    ),
    (
        r#""config": {"api_url": "https://u:hunter2@h/v1"}"#,
        ":4:23: error",
        "api_key_env_name",
    ),
    (
        r#""config": {"api_url": "https://h:99999/v1"}"#,
        ":4:23: error",
        "port",
    ),
    (
        r#""config": {"api_url": "https://h/v1#x"}"#,
        ":4:23: error",
        "fragment",
    ),
    (
        r#""config": {"api_url": "https://h/a b"}"#,
        ":4:23: error",
        "percent-encoded",
    ),
    (r#""config": []"#, ":4:11: error", "must be an object"),
    (
        r#""config": "{'api_url': open('/etc/passwd')}""#,
        ":4:11: error",
        "at its character 13: a name or call",
    ),
    (
        r#""config": "{'api_key': 'hunter2"#,
        ":4:11: error",
        "not closed",
    ),
    (
        r#""config": "['http://h']""#,
        ":4:11: error",
        "must hold an object",
    ),
    (
        r#""config": {"api_url": "http://h", "api_key_env_name": "NO_SUCH_KEY"}"#,
        ":4:55: error",
        "`NO_SUCH_KEY`, which is not set",
    ),
    (
        r#""config": {"api_url": "http://h", "api_key_env_name": "EMPTY_KEY"}"#,
        ":4:55: error",
        "`EMPTY_KEY`, which is empty",
    ),
    (
        r#""config": {"api_url": "http://h", "api_key_env_name": "BROKEN_KEY"}"#,
        ":4:55: error",
        "cannot stand in a header",
    ),
    (
        r#""config": {"api_url": "http://h", "api_key_env_name": "sk-hunter2"}"#,
        ":4:55: error",
        "not the key itself",
    ),
    (
        r#""config": {"api_url": "http://h", "api_key_env_name": 5}"#,
        ":4:55: error",
        "must be a text",
    ),
    (
        r#""config": {"api_url": "http://h", "api_request_timeout": -1}"#,
        ":4:58: error",
        "seconds",
    ),
    (
        r#""config": {"api_url": "http://h", "api_request_timeout": "2m"}"#,
        ":4:58: error",
        "seconds",
    ),
    (
        r#""config": {"api_url": "http://h", "api_request_timeout": 9999}"#,
        ":4:58: warning",
        "upstream.total_timeout",
    ),
    (
        r#""config": {"api_url": "https://h", "ca_cert_path": "no.pem"}"#,
        ":4:52: error",
        "cannot be read",
    ),
    (
        r#""config": {"api_url": "https://h", "ca_cert_path": "clusters.json"}"#,
        ":4:52: error",
        "no PEM certificate",
    ),
    (
        r#""config": {"api_url": "https://h", "client_cert_path": "no.pem"}"#,
        ":4:56: error",
        "needs `client_key_path`",
    ),
    (
        r#""config": {"api_url": "https://h", "client_key_path": "clusters.json"}"#,
        ":4:55: error",
        "no PEM private key",
    ),
    (
        r#""config": {"api_url": "https://h", "check_hostname": false}"#,
        ":4:54: error",
        "only with `ca_cert_path`",
    ),
    (
        r#""config": {"api_url": "https://h", "check_hostname": "no"}"#,
        ":4:54: error",
        "true or false",
    ),
    (
        r#""config": {"api_url": "https://h", "proxy_url": "socks5://u:hunter2@p:1"}"#,
        ":4:49: error",
        "http://",
    ),
    (
        r#""config": {"api_url": "https://h", "proxy_url": "env:NO_PROXY_URL"}"#,
        ":4:49: error",
        "NO_PROXY_URL",
    ),
    (
        r#""config": {"api_url": "https://h", "trust_env": true}"#,
        ":4:49: error",
        "`HTTPS_PROXY`",
    ),
    (
        r#""config": {"api_url": "http://h", "forward_headers": ["Authorization"]}"#,
        ":4:55: error",
        "never sent on",
    ),
    (
        r#""config": {"api_url": "http://h", "forward_headers": ["x", "X-Client-Request-Id"]}"#,
        ":4:60: error",
        "never sent on",
    ),
    (
        r#""config": {"api_url": "http://h", "forward_headers": ["a b"]}"#,
        ":4:55: error",
        "no header name",
    ),
    (
        r#""config": {"api_url": "http://h", "allowed_hosts": ["http://x"]}"#,
        ":4:53: error",
        "no host",
    ),
    (
        r#""config": {"api_url": "http://h", "paths": {"tokenize": "tokenize"}}"#,
        ":4:57: error",
        "a path from the host's root",
    ),
    (
        r#""config": {"api_url": "http://h", "weight": 0}"#,
        ":4:45: error",
        "from 1 to",
    ),
    (
        r#""config": {"api_url": "http://h", "max_in_flight": -1}"#,
        ":4:52: error",
        "from 0 to",
    ),
    (
        r#""config": {"api_url": "http://h", "priority": 1.5}"#,
        ":4:47: error",
        "whole number",
    ),
    (
        r#""tpm_user": -1, "config": {"api_url": "http://h"}"#,
        ":4:13: error",
        "from 0 to",
    ),
    (
        r#""tpm_user": "60000", "config": {"api_url": "http://h"}"#,
        ":4:13: error",
        "whole number",
    ),
    (
        r#""allowed_globus_groups": [5], "config": {"api_url": "http://h"}"#,
        ":4:27: error",
        "texts only",
    ),
    (
        r#""allowed_globus_groups": [""], "config": {"api_url": "http://h"}"#,
        ":4:27: error",
        "blank",
    ),
    (
        r#""allowed_domains": " , ", "config": {"api_url": "http://h"}"#,
        ":4:20: error",
        "is blank",
    ),
    (
        r#""endpoint_adapter": "my.Own", "config": {"api_url": "http://h"}"#,
        ":4:21: error",
        r#"[adapters] "my.Own" = "#,
    ),
    (
        r#""endpoint_adapter": "script:no.rhai", "config": {"api_url": "http://h"}"#,
        ":4:21: error",
        "cannot be read",
    ),
    (
        r#""endpoint_adapter": "resource_server_async.endpoints.globus_compute.GlobusComputeEndpoint""#,
        ":4:21: warning",
        "503 adapter_unavailable",
    ),
    (
        r#""endpoint_slug": "other", "config": {"api_url": "http://h"}"#,
        ":4:18: warning",
        "differs from `c-f-m`",
    ),
    (
        r#""federated": "no", "config": {"api_url": "http://h"}"#,
        ":4:14: error",
        "true or false",
    ),
    (
        r#""federated": true, "config": {"api_url": "http://h", "federated": false}"#,
        ":4:14: warning",
        "contradicts",
    ),
];

fn cluster(fields: &str) -> String {
    format!("[{{\"model\": \"resource_server_async.cluster\",\n\"fields\": {{\n{fields}}}}}]")
}

fn endpoint(fields: &str) -> String {
    format!(
        "[{{\"model\": \"resource_server_async.endpoint\",\n\"fields\": {{\n\
         \"cluster\": \"c\", \"framework\": \"f\", \"model\": \"M\",\n{fields}}}}}]"
    )
}

fn folder() -> Folder {
    Folder::new()
        .variable("EMPTY_KEY", " ")
        .variable("BROKEN_KEY", "hunter2\nx")
        .variable("HTTPS_PROXY", "socks5://u:hunter2@p")
}

#[test]
fn every_mistake_of_a_cluster_has_its_place() {
    for (fields, place, piece) in BAD_CLUSTERS {
        let problems = folder()
            .file("fixtures/clusters.json", cluster(fields))
            .problems();
        assert_problem(
            &problems,
            &format!("fixtures/clusters.json{place}"),
            piece,
            fields,
        );
        assert!(!problems.concat().contains("hunter2"), "{problems:#?}");
    }
}

#[test]
fn every_mistake_of_an_endpoint_has_its_place() {
    for (fields, place, piece) in BAD_ENDPOINTS {
        let problems = folder()
            .file("fixtures/endpoints.json", endpoint(fields))
            .problems();
        assert_problem(
            &problems,
            &format!("fixtures/endpoints.json{place}"),
            piece,
            fields,
        );
        assert!(!problems.concat().contains("hunter2"), "{problems:#?}");
    }
}

#[test]
fn scripts_are_compiled_and_their_mistakes_have_a_line() {
    let entry = |adapter: &str| {
        ENDPOINTS.replace(
            "\"config\"",
            &format!("\"endpoint_adapter\": \"{adapter}\", \"config\""),
        )
    };
    let folder = Folder::new()
        .file("adapters/bad.rhai", "fn on_request(ctx) {\n  let = 1;\n}")
        .file(
            "fixtures/endpoints.json",
            entry("script:../adapters/bad.rhai"),
        );
    let problems = folder.problems();
    assert_problem(
        &problems,
        "fixtures/endpoints.json:",
        "adapters/bad.rhai:2:7: ",
        "a syntax error",
    );

    let folder = Folder::new()
        .file("adapters/jobs.rhai", "fn jobs(ctx) { #{} }")
        .file(
            "ostia.toml",
            "[adapters]\n\"my.Own\" = \"script:adapters/jobs.rhai\"",
        )
        .file("fixtures/endpoints.json", entry("my.Own"));
    let problems = folder.problems();
    assert_problem(
        &problems,
        "fixtures/endpoints.json:",
        "on_request",
        "a script for clusters",
    );

    let folder = Folder::new()
        .file("adapters/good.rhai", "fn on_request(ctx) {}")
        .file(
            "ostia.toml",
            "[adapters]\n\"my.Own\" = \"script:adapters/good.rhai\"",
        )
        .file("fixtures/endpoints.json", entry("my.Own"));
    assert_eq!(folder.problems(), [""; 0]);
}

#[test]
fn readiness_urls_are_within_reach() {
    let url = |url: &str| {
        ENDPOINTS.replace(
            "\"api_url\"",
            &format!("\"readiness_url\": \"{url}\", \"api_url\""),
        )
    };
    for bad in [
        "http://elsewhere/",
        "https://127.0.0.1:9/",
        "http://a:b@127.0.0.1/",
        "nonsense",
    ] {
        let folder = Folder::new().file("fixtures/endpoints.json", url(bad));
        assert_problem(
            &folder.problems(),
            "fixtures/endpoints.json:",
            "readiness_url",
            bad,
        );
    }
    for good in ["/health", "http://127.0.0.1:10/ready"] {
        let folder = Folder::new().file("fixtures/endpoints.json", url(good));
        assert_eq!(folder.problems(), [""; 0], "{good}");
    }
}
