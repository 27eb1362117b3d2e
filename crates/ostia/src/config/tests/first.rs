//! Rows of FIRST that mean more than `direct_api`, and the keys that any endpoint may have for the same.

use super::{CLUSTERS, Folder, assert_problem};
use crate::catalog::{CacheSalt, Deployment, Proxy, Serving, TlsVersion};
use crate::config::Loaded;

const KEY: &str = "MINERVA_AFFINITY_HMAC_KEY";
const LONG: &str = "0123456789abcdef0123456789abcdef";

/// One endpoint with this adapter (of FIRST's module) and this `config`, beside a plain one.
fn folder(adapter: &str, config: &str) -> Folder {
    let adapter = match adapter {
        "" => String::new(),
        name => format!(r#""endpoint_adapter": "resource_server_async.endpoints.{name}","#),
    };
    let entry = |model: &str, adapter: &str, config: &str| {
        format!(
            r#"{{"model": "resource_server_async.endpoint", "fields": {{
  "cluster": "c", "framework": "f", "model": "{model}", {adapter} "config": {{{config}}}}}}}"#
        )
    };
    let plain = entry("plain", "", r#""api_url": "http://127.0.0.1:9/v1""#);
    let endpoints = format!("[{}, {plain}]", entry("M", &adapter, config));
    Folder::new().file("fixtures/endpoints.json", endpoints)
}

fn first(loaded: &Loaded) -> &Deployment {
    &loaded.catalog.deployments()[0]
}

const MINERVA: &str = "minerva.MinervaEndpoint";
const MINERVA_URL: &str = r#""api_url": "https://minerva/models/m/v1", "trust_env": false"#;

#[test]
fn minerva_is_a_live_check_a_salt_and_an_affinity_header() {
    let folder = folder(MINERVA, MINERVA_URL).variable(KEY, LONG);
    let loaded = folder.load();
    assert_eq!(folder.shown(&loaded), Vec::<String>::new());
    let minerva = first(&loaded);
    assert!(minerva.require_running && minerva.require_listed);
    assert_eq!(minerva.isolation.cache_salt, CacheSalt::User);
    let header = minerva.isolation.affinity_header.as_ref();
    assert_eq!(header.unwrap(), "x-minerva-affinity-key");
    assert!(minerva.isolation.reserves_fields && minerva.isolation.key.is_some());
    let plain = &loaded.catalog.deployments()[1].isolation;
    assert!(plain.key.is_none() && plain.cache_salt == CacheSalt::Off && !plain.reserves_fields);
    assert!(!format!("{minerva:?}").contains(LONG));
}

#[test]
fn without_its_secret_minerva_is_disabled_and_told_how_to_get_one() {
    let short = folder(MINERVA, MINERVA_URL).variable(KEY, "too short");
    for folder in [folder(MINERVA, MINERVA_URL), short] {
        let loaded = folder.load();
        let problems = folder.shown(&loaded);
        assert_problem(
            &problems,
            "fixtures/endpoints.json:2:",
            "openssl rand -base64 48",
            KEY,
        );
        assert_problem(&problems, "fixtures/endpoints.json:2:", KEY, KEY);
        assert!(!loaded.fatal(false) && problems.len() == 1, "{problems:#?}");
        assert!(matches!(first(&loaded).serving, Serving::Disabled(_)));
    }
    let settings = format!("[routing]\nhmac_key = \"{LONG}\"");
    let folder = folder(MINERVA, MINERVA_URL).file("ostia.toml", settings);
    assert_eq!(folder.problems(), Vec::<String>::new());
}

#[test]
fn any_endpoint_may_have_a_salt_and_an_affinity_header() {
    let keys = r#""api_url": "http://127.0.0.1:9/v1", "cache_salt": "project", "affinity_header": "X-Route""#;
    let folder = folder("", keys).variable(KEY, LONG);
    let loaded = folder.load();
    assert_eq!(folder.shown(&loaded), Vec::<String>::new());
    let isolation = &first(&loaded).isolation;
    assert_eq!(isolation.cache_salt, CacheSalt::Project);
    assert_eq!(isolation.affinity_header.as_ref().unwrap(), "x-route");
    assert!(!isolation.reserves_fields && !first(&loaded).require_running);
}

#[test]
fn mistakes_in_these_keys_have_their_place() {
    let local = r#""api_url": "http://127.0.0.1:9/v1""#;
    for (config, piece) in [
        (
            r#""cache_salt": "everybody""#,
            "`config.cache_salt` must be `off`, `project` or `user`",
        ),
        (r#""affinity_header": "a b""#, "is not a header's name"),
        (
            r#""affinity_header": "Authorization""#,
            "the gateway itself sets",
        ),
        (
            r#""affinity_header": "X-Request-Id""#,
            "the gateway itself sets",
        ),
        (
            r#""min_tls": "1.1""#,
            "`config.min_tls` must be \"1.2\" or \"1.3\"",
        ),
    ] {
        let folder = folder("", &format!("{local}, {config}")).variable(KEY, LONG);
        assert_problem(
            &folder.problems(),
            "fixtures/endpoints.json:2:",
            piece,
            config,
        );
    }
    let keyless = folder("", &format!(r#"{local}, "cache_salt": "user""#));
    assert_problem(
        &keyless.problems(),
        "fixtures/endpoints.json:2:",
        "`config.cache_salt` needs a secret",
        "",
    );
    let short = folder("", local).file("ostia.toml", "[routing]\nhmac_key = \"short\"");
    assert_problem(
        &short.problems(),
        "ostia.toml:2:",
        "`routing.hmac_key` is shorter than 32 bytes",
        "",
    );
}

#[test]
fn pilots_of_the_second_version() {
    let config = r#""model_urls": ["https://10.0.0.1:8443/r/m", "https://10.0.0.2:8443/", "https://10.0.0.1:8443/r/m/v1"],
        "backend_model_name": "on-disk", "ca_cert_path": "ca.pem", "client_cert_path": null, "client_key_path": null,
        "proxy_url": "socks5h://localhost:1080", "check_hostname": false, "trust_env": false"#;
    let made = rcgen::generate_simple_self_signed(vec!["h".to_owned()]).unwrap();
    let folder =
        folder("first_v2.FirstV2Endpoint", config).file("fixtures/ca.pem", made.cert.pem());
    let loaded = folder.load();
    assert_eq!(folder.shown(&loaded), Vec::<String>::new());
    let pilot = first(&loaded);
    assert_eq!(
        (&*pilot.upstream_model, &pilot.serving),
        ("on-disk", &Serving::Yes)
    );
    let target = &pilot.target;
    assert_eq!(
        (&*target.origin.host, &*target.base_path),
        ("10.0.0.1", "/r/m/v1")
    );
    // The third is the first, written otherwise.
    let [replica] = &target.replicas[..] else {
        panic!("{:?}", target.replicas);
    };
    assert_eq!(
        (&*replica.origin.host, &*replica.base_path),
        ("10.0.0.2", "/v1")
    );
    assert_eq!(target.replica_path(replica, "embeddings"), "/v1/embeddings");
    assert!(target.tls.skip_host_check && target.key.is_none());
    assert!(matches!(&target.proxy, Proxy::Url(url) if url.expose() == "socks5h://localhost:1080"));
    assert!(!pilot.require_running);
}

#[test]
fn pilots_need_urls_of_one_kind() {
    for (config, piece) in [
        (
            r#""backend_model_name": "m""#,
            "`config.model_urls` is missing",
        ),
        (r#""model_urls": []"#, "`config.model_urls` is missing"),
        (
            r#""model_urls": ["https://a", "http://b"]"#,
            "mixes http:// and https://",
        ),
        (
            r#""model_urls": ["https://a", "b"]"#,
            "`config.model_urls` holds a text that is not a URL",
        ),
        (
            r#""model_urls": ["https://u:hunter2@a"]"#,
            "user name or password",
        ),
    ] {
        let folder = folder("first_v2.FirstV2Endpoint", config);
        let problems = folder.problems();
        assert_problem(&problems, "fixtures/endpoints.json:2:", piece, config);
        assert!(!format!("{problems:?}").contains("hunter2"));
    }
}

fn proxy_of(loaded: &Loaded) -> Option<String> {
    match &first(loaded).target.proxy {
        Proxy::None => None,
        Proxy::Url(url) => Some(url.expose().clone()),
    }
}

#[test]
fn fixtures_take_the_proxies_of_the_environment_as_in_first() {
    let through = Some("http://proxy:3128");
    for (config, proxy) in [
        (r#""api_url": "https://api.example.org/v1""#, through),
        (
            r#""api_url": "https://api.example.org/v1", "trust_env": true"#,
            through,
        ),
        (
            r#""api_url": "https://api.example.org/v1", "trust_env": false"#,
            None,
        ),
        (r#""api_url": "https://inside.example.org/v1""#, None),
        (
            r#""api_url": "https://localhost/v1", "trust_env": true"#,
            None,
        ),
        (
            r#""api_url": "https://127.0.0.2/v1", "trust_env": true"#,
            None,
        ),
        (r#""api_url": "https://[::1]/v1""#, None),
    ] {
        let folder = folder("", config)
            .variable("HTTPS_PROXY", "http://proxy:3128")
            .variable("NO_PROXY", "elsewhere, inside.example.org");
        let loaded = folder.load();
        assert_eq!(folder.shown(&loaded), Vec::<String>::new(), "{config}");
        assert_eq!(proxy_of(&loaded).as_deref(), proxy, "{config}");
    }
    // Not so in ostia.toml.
    let settings = "[[clusters]]\ncluster_name = \"c\"\nframeworks = \"f\"\nopenai_endpoints = \"embeddings\"\n\
        [[endpoints]]\ncluster = \"c\"\nframework = \"f\"\nmodel = \"M\"\napi_url = \"https://api.example.org/v1\"\n";
    for (more, proxy) in [("", None), ("trust_env = true\n", through)] {
        let folder = Folder::new()
            .without("fixtures/clusters.json")
            .without("fixtures/endpoints.json")
            .file("ostia.toml", format!("{settings}{more}"))
            .variable("ALL_PROXY", "http://proxy:3128");
        let loaded = folder.load();
        assert_eq!(proxy_of(&loaded).as_deref(), proxy, "{more}");
    }
}

#[test]
fn a_proxy_to_a_machine_of_the_site_is_warned_of() {
    for (url, said) in [
        ("https://10.1.2.3/v1", true),
        ("https://gpu1/v1", true),
        ("https://gpu1.cluster.local/v1", true),
        ("http://api.example.org/v1", true),
        ("https://api.example.org/v1", false),
    ] {
        let folder = folder("", &format!(r#""api_url": "{url}""#))
            .variable("ALL_PROXY", "http://u:hunter2@proxy:3128");
        let problems = folder.problems();
        assert_eq!(problems.len(), usize::from(said), "{url} {problems:#?}");
        if said {
            assert_problem(&problems, "fixtures/endpoints.json:2:", "ALL_PROXY", url);
            assert_problem(&problems, "fixtures/endpoints.json:2:", "NO_PROXY", url);
        }
        assert!(!format!("{problems:?}").contains("hunter2"));
    }
}

#[test]
fn the_oldest_tls_is_a_key_of_endpoints_and_clusters() {
    for (written, version) in [
        ("", TlsVersion::V1_2),
        (r#", "min_tls": "1.2""#, TlsVersion::V1_2),
        (r#", "min_tls": "1.3""#, TlsVersion::V1_3),
    ] {
        let clusters = CLUSTERS.replace(
            r#""frameworks""#,
            &format!(r#""cluster_adapter": "status_url", "config": {{"status_url": "https://s/x"{written}}}, "frameworks""#),
        );
        let folder = folder("", &format!(r#""api_url": "https://h/v1"{written}"#))
            .file("fixtures/clusters.json", clusters);
        let loaded = folder.load();
        assert_eq!(folder.shown(&loaded), Vec::<String>::new());
        assert_eq!(first(&loaded).target.tls.min_version, version);
        let status = loaded.catalog.clusters()[0].status.as_ref().unwrap();
        assert_eq!(status.target.tls.min_version, version);
    }
}

#[test]
fn a_key_whose_variable_is_not_set_is_told_with_the_cure() {
    for value in [None, Some("")] {
        let mut folder = folder(
            "",
            r#""api_url": "https://h/v1", "api_key_env_name": "VLLM_KEY""#,
        );
        if let Some(value) = value {
            folder = folder.variable("VLLM_KEY", value);
        }
        let problems = folder.problems();
        assert_problem(
            &problems,
            "fixtures/endpoints.json:2:",
            "set it, or name its file with --env-file; if the backend needs no key, remove `api_key_env_name`",
            "",
        );
    }
}
