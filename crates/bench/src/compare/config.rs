//! The configuration of each proxy: as good as its administrator would make it, and no better.

use std::net::SocketAddr;
use std::path::Path;

/// One worker, one header to compare, a pool of upstream connections, and chunks passed on at once. Bodies stay in
/// memory, because writing them to disk would make nginx look worse than it is.
pub fn nginx(folder: &Path, listen: SocketAddr, upstream: SocketAddr, key: &str) -> String {
    let folder = folder.display();
    format!(
        r#"daemon off;
worker_processes 1;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 100000000;
  client_max_body_size 32m;
  client_body_buffer_size 8m;
  tcp_nodelay on;
  upstream mock {{ server {upstream}; keepalive 256; keepalive_requests 100000000; }}
  map $http_authorization $admitted {{ default 0; "Bearer {key}" 1; }}
  server {{
    listen {listen} backlog=4096;
    location / {{
      if ($admitted = 0) {{ return 401; }}
      proxy_pass http://mock;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"#
    )
}

pub fn haproxy(listen: SocketAddr, upstream: SocketAddr, key: &str) -> String {
    format!(
        r#"global
  nbthread 1
  maxconn 16384
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  option http-no-delay
  http-reuse always
frontend clients
  bind {listen} backlog 4096
  http-request deny deny_status 401 unless {{ req.hdr(authorization) -m str "Bearer {key}" }}
  default_backend mock
backend mock
  server mock {upstream} pool-max-conn 256
"#
    )
}

/// One worker, a key, and no database.
pub fn litellm(upstream: SocketAddr, key: &str) -> String {
    format!(
        r#"model_list:
  - model_name: bench-model
    litellm_params:
      model: openai/bench-model
      api_base: http://{upstream}/v1
      api_key: none
general_settings:
  master_key: {key}
"#
    )
}

/// Everything is on: sign-in, each kind of limit (too high to be reached), metering, the ledger.
pub fn ostia(listen: SocketAddr, admin: SocketAddr) -> String {
    format!(
        r#"[server]
listen = "{listen}"
admin_listen = "{admin}"
[fixtures]
clusters = "clusters.json"
endpoints = "endpoints.json"
[store]
url = "sqlite://ostia.db"
[auth]
providers = ["api_key"]
[limits]
requests_per_second_per_user = 1000000
max_in_flight_per_user = 100000
tpm_model = 1000000000000
tpm_user = 1000000000000
"#
    )
}

pub const CLUSTERS: &str = r#"[{"model": "resource_server_async.cluster", "pk": 1, "fields": {
  "cluster_name": "bench", "frameworks": ["mock"], "openai_endpoints": ["chat/completions", "embeddings"]}}]
"#;

pub fn endpoints(upstream: SocketAddr) -> String {
    format!(
        r#"[{{"model": "resource_server_async.endpoint", "pk": 1, "fields": {{
  "cluster": "bench", "framework": "mock", "model": "bench-model", "endpoint_slug": "bench-mock-bench-model",
  "endpoint_adapter": "resource_server_async.endpoints.direct_api.DirectAPIEndpoint",
  "config": {{"api_url": "http://{upstream}/v1"}}}}}}]
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixtures_are_json_and_configurations_name_their_addresses() {
        let (a, b) = (
            SocketAddr::from(([127, 0, 0, 1], 81)),
            SocketAddr::from(([127, 0, 0, 1], 82)),
        );
        serde_json::from_str::<serde_json::Value>(CLUSTERS).unwrap();
        let fixture: serde_json::Value = serde_json::from_str(&endpoints(b)).unwrap();
        assert_eq!(
            fixture[0]["fields"]["config"]["api_url"],
            "http://127.0.0.1:82/v1"
        );
        for text in [
            nginx(Path::new("/tmp/x"), a, b, "secret"),
            haproxy(a, b, "secret"),
        ] {
            assert!(
                text.contains("127.0.0.1:81")
                    && text.contains("127.0.0.1:82")
                    && text.contains("Bearer secret")
            );
        }
        assert!(ostia(a, b).contains("listen = \"127.0.0.1:81\""));
    }
}
