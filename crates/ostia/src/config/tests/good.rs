use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::{Loaded, Sources, load};
use super::{Folder, assert_problem};
use crate::catalog::{Scope, Serving};
use crate::fleet::Fleet;
use crate::settings::{ListenAddress, OwnLimit, Provider};

#[test]
fn an_empty_file_is_all_defaults() {
    let folder = Folder::new();
    let loaded = folder.load();
    assert_eq!(folder.shown(&loaded), Vec::<String>::new());
    assert!(!loaded.fatal(true));
    let settings = loaded.settings.unwrap();
    let server = &settings.server;
    assert_eq!(
        server.listen,
        ListenAddress::Tcp("127.0.0.1:8000".parse().unwrap())
    );
    assert_eq!(
        server.admin_listen,
        ListenAddress::Tcp("127.0.0.1:8001".parse().unwrap())
    );
    assert_eq!(server.base_path, "/resource_server");
    assert_eq!(server.max_body_bytes, 33_554_432);
    assert!(server.max_buffered_bytes >= server.max_body_bytes);
    assert_eq!(server.client_timeouts.header, Duration::from_secs(10));
    assert_eq!(server.drain.limit, Duration::from_secs(120));
    assert_eq!(settings.auth.providers, [Provider::ApiKey]);
    assert_eq!(settings.limits.of(OwnLimit::RequestsPerSecond), 10);
    assert_eq!(
        (
            settings.limits.tpm_model,
            settings.limits.of(OwnLimit::TokensPerMinute)
        ),
        (0, 0)
    );
    assert_eq!(settings.limits.of(OwnLimit::InFlight), 32);
    assert_eq!(settings.limits.queue_timeout, Duration::from_secs(15));
    assert_eq!(settings.limits.default_output_tokens, 1024);
    assert!(settings.limits.shared.is_none());
    assert_eq!(
        settings.upstream.total_timeout,
        Some(Duration::from_secs(3600))
    );
    assert_eq!(
        settings.upstream.pool_idle_timeout,
        Some(Duration::from_secs(4))
    );
    assert_eq!(
        settings.routing.session_headers,
        [
            "x-session-id",
            "x-alcf-session-id",
            "x-claude-code-session-id",
            "session-id",
            "session_id",
            "x-session-affinity",
        ]
    );
    assert!(!settings.catalog.match_slug);
    let store = format!("sqlite://{}/ostia.db", folder.path().display());
    assert_eq!(settings.store.url.expose(), &store);
}

#[test]
fn no_file_at_all_is_fine_but_serves_nothing() {
    let loaded = load(&Sources::default(), &Fleet::default());
    assert!(loaded.settings.is_some());
    assert!(loaded.fatal(false));
    let problems: Vec<_> = loaded.problems.iter().map(ToString::to_string).collect();
    assert_problem(
        &problems,
        "fixtures/clusters.json: warning",
        "does not exist",
        "",
    );
    assert_problem(
        &problems,
        "fixtures/clusters.json: error",
        "nothing would be served",
        "",
    );
}

#[test]
fn values_from_everywhere() {
    let mut folder = Folder::new()
        .file(
            "ostia.toml",
            r#"
            [server]
            listen = "[::1]:9000"
            base_path = "/"
            max_body_bytes = "1MiB"
            trusted_proxies = "10.0.0.0/8, 192.168.1.1"
            header_timeout = 5
            [store]
            url = "env:STORE_URL"
            [auth]
            providers = ["api_key", "globus"]
            [auth.globus]
            client_id = "env:GLOBUS_ID"
            client_secret = "file:secrets/globus"
            idp_domains = """
            Lab.org
            other.org"""
            groups_per_domain = { "Lab.org" = ["g1", "05D1C5A4-0FF0-11EF-9C26-6BEDA4A3F1CB"] }
            required_groups = "05D1C5A4-0FF0-11EF-9C26-6BEDA4A3F1CB"
            policies = "05D1C5A4-0FF0-11EF-9C26-6BEDA4A3F1CC"
            [limits]
            tpm_user = "env:TPM"
            [upstream]
            total_timeout = "0"
            keepalive_comment = 0
            [maintenance]
            c = "closed until noon"
            source = "text"
            d = "env:NOTICE"
            [catalog.aliases]
            "small" = "M"
            [journal]
            fsync = "0"
            "#,
        )
        .file("secrets/globus", "hunter2\n")
        .file("one.env", "STORE_URL=sqlite://one.db\nTPM=1\n")
        .file("two.env", "STORE_URL='sqlite:///srv/hunter3.db'\n")
        .variable("GLOBUS_ID", "id")
        .variable("TPM", "5")
        .variable("NOTICE", "")
        .variable("OSTIA_SERVER__LISTEN", "127.0.0.1:9001")
        .variable("OSTIA_CATALOG__MATCH", "slug")
        .variable("OSTIA_SERVER__CORS_ORIGINS", "https://a.org https://b.org");
    folder.env_files = vec!["one.env", "two.env"];
    let loaded = folder.load();
    let problems = folder.shown(&loaded);
    assert_problem(
        &problems,
        "ostia.toml:28:22: warning",
        "no cluster has the name `source`",
        "",
    );
    assert_eq!(problems.len(), 1, "{problems:#?}");
    let shown = format!("{loaded:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("hunter3"));
    let settings = loaded.settings.unwrap();
    assert_eq!(
        settings.server.listen,
        ListenAddress::Tcp("127.0.0.1:9001".parse().unwrap())
    );
    assert_eq!(settings.server.base_path, "");
    assert_eq!(settings.server.max_body_bytes, 1 << 20);
    assert_eq!(settings.server.trusted_proxies.len(), 2);
    assert_eq!(
        settings.server.client_timeouts.header,
        Duration::from_secs(5)
    );
    assert_eq!(
        settings.server.cors_origins,
        ["https://a.org", "https://b.org"]
    );
    assert_eq!(settings.store.url.expose(), "sqlite:///srv/hunter3.db");
    assert_eq!(settings.auth.globus.client_id, "id");
    assert_eq!(settings.auth.globus.client_secret.expose(), "hunter2");
    assert_eq!(settings.auth.globus.idp_domains, ["lab.org", "other.org"]);
    assert_eq!(
        settings.auth.globus.required_groups,
        ["05d1c5a4-0ff0-11ef-9c26-6beda4a3f1cb"]
    );
    assert_eq!(
        settings.auth.globus.policies,
        ["05d1c5a4-0ff0-11ef-9c26-6beda4a3f1cc"]
    );
    assert_eq!(
        settings.auth.globus.groups_per_domain["lab.org"],
        ["g1", "05d1c5a4-0ff0-11ef-9c26-6beda4a3f1cb"]
    );
    assert_eq!(settings.limits.of(OwnLimit::TokensPerMinute), 1);
    assert_eq!(settings.upstream.total_timeout, None);
    assert_eq!(settings.upstream.keepalive_comment, None);
    assert_eq!(settings.journal.fsync, None);
    assert_eq!(settings.maintenance["c"], "closed until noon");
    assert_eq!(settings.maintenance.get("d"), None);
    assert!(settings.catalog.match_slug);
    assert!(loaded.catalog.lookup(Scope::Everywhere, "small").is_some());
    for name in [
        "one.env",
        "two.env",
        "secrets/globus",
        "ostia.toml",
        "fixtures/clusters.json",
    ] {
        assert!(loaded.files.contains(&folder.path().join(name)), "{name}");
    }
}

fn example(keys: &[(&str, &str)]) -> Loaded {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    let mut environment: Vec<(String, String)> = vec![
        (
            "OSTIA_FIXTURES__CLUSTERS".into(),
            root.join("clusters.json").display().to_string(),
        ),
        (
            "OSTIA_FIXTURES__ENDPOINTS".into(),
            root.join("endpoints.json").display().to_string(),
        ),
    ];
    environment.extend(
        keys.iter()
            .map(|(name, value)| ((*name).into(), (*value).into())),
    );
    let sources = Sources {
        environment: environment.into_iter().collect(),
        ..Sources::default()
    };
    load(&sources, &Fleet::default())
}

const KEYS: [(&str, &str); 2] = [
    ("HARBOR_API_KEY", "hunter2"),
    ("LIGHTHOUSE_API_KEY", "hunter3"),
];

#[test]
fn the_worked_example_is_sound_once_its_variables_are_set() {
    let loaded = example(&KEYS);
    assert_eq!(loaded.problems, []);
    assert!(!loaded.fatal(true));
    let (model, deployments) = loaded
        .catalog
        .lookup(Scope::Everywhere, "llama-70b")
        .unwrap();
    assert_eq!(&*model, "meta-llama/Meta-Llama-3.1-70B-Instruct");
    assert_eq!(deployments.len(), 3);
    assert_eq!(&*deployments[1].upstream_model, "llama-3.1-70b");
    let lighthouse = &deployments[2];
    assert!(lighthouse.require_running && lighthouse.require_listed);
    assert_eq!(lighthouse.priority, 1);
    assert_eq!(
        lighthouse.target.path_and_query("chat/completions"),
        "/llama/chat/completions?api-version=2"
    );
    assert_eq!(
        lighthouse.target.timeouts.stream_idle,
        Some(Duration::from_secs(120))
    );
    assert_eq!(lighthouse.target.key.as_ref().unwrap().expose(), "hunter3");
    let status = lighthouse.cluster.status.as_ref().unwrap();
    assert_eq!(status.path_and_query, "/lighthouse");
    assert_eq!(status.target.timeouts.total, Some(Duration::from_secs(10)));
    assert!(!format!("{loaded:?}").contains("hunter"));
}

#[test]
fn a_variable_that_is_not_set_disables_its_endpoints_only() {
    let loaded = example(&KEYS[..1]);
    let problems: Vec<_> = loaded.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].contains("endpoints.json:59:29: error"),
        "{problems:?}"
    );
    assert!(
        problems[0].contains("`LIGHTHOUSE_API_KEY`, which is not set"),
        "{problems:?}"
    );
    assert!(!loaded.fatal(false) && loaded.fatal(true));
    let serving = |index: usize| &loaded.catalog.deployments()[index].serving;
    assert_eq!(serving(0), &Serving::Yes);
    assert!(matches!(serving(3), Serving::Disabled(why) if why.contains("LIGHTHOUSE_API_KEY")));
}

/// The same entries in a fixture and in `ostia.toml` mean the same, and both add up.
#[test]
fn the_catalogue_may_stand_in_the_settings_file() {
    let cluster = r#"
        [[clusters]]
        cluster_name = "d"
        frameworks = "f"
        openai_endpoints = ["chat/completions", "embeddings"]
        allowed_domains = "Lab.org"
        own = { deep = [1, 0.5, true] }
        [[endpoints]]
        cluster = "d"
        framework = "f"
        model = "N"
        tpm_user = "env:TPM"
        aliases = ["n"]
        api_url = "env:N_URL"
        api_key_env_name = "KEY"
        forward_headers = "X-Tenant"
        weight = 3
        own = "env:TPM"
        "#;
    let fixture = r#"[
        {"model": "resource_server_async.cluster", "fields": {"cluster_name": "d", "frameworks": ["f"],
         "openai_endpoints": ["chat/completions", "embeddings"], "allowed_domains": ["lab.org"],
         "config": {"own": {"deep": [1, 0.5, true]}}}},
        {"model": "resource_server_async.endpoint", "fields": {"cluster": "d", "framework": "f", "model": "N",
         "tpm_user": 7, "aliases": ["n"],
         "config": {"api_url": "http://127.0.0.1:9/n", "api_key_env_name": "KEY", "forward_headers": ["x-tenant"],
                    "weight": 3, "own": "env:TPM"}}}]"#;
    let folder = |toml: &str, clusters: &str| {
        let sound = super::CLUSTERS.trim_end_matches(']');
        Folder::new()
            .file("ostia.toml", toml)
            .file("fixtures/clusters.json", format!("{sound}{clusters}"))
            .variable("TPM", "7")
            .variable("KEY", "hunter2")
            .variable("N_URL", "http://127.0.0.1:9/n")
    };
    let with_comma = fixture.replacen('[', ",", 1);
    let seen = [folder(cluster, "]"), folder("", &with_comma)].map(|folder| {
        let loaded = folder.load();
        assert_eq!(folder.shown(&loaded), Vec::<String>::new());
        let catalog = loaded.catalog;
        assert_eq!(catalog.deployments().len(), 2);
        let cluster = Arc::clone(catalog.cluster("d").unwrap());
        let (_, found) = catalog.lookup(Scope::Everywhere, "n").unwrap();
        let it = &found[0];
        let limits = (it.tpm_user, it.weight, it.slug.to_string());
        assert_eq!(limits, (7, 3, "d-f-n".to_owned()));
        let access = (cluster.access.clone(), it.access.clone());
        let of_cluster = (cluster.openai_endpoints.clone(), cluster.config.clone());
        let config = it.config["own"].clone();
        (it.target.clone(), access, of_cluster, config)
    });
    assert_eq!(seen[0], seen[1]);
}
