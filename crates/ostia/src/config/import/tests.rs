use std::path::{Path, PathBuf};

use super::{ImportError, Imported, import_first};
use crate::config::{Severity, Sources, load};
use crate::fleet::Fleet;
use crate::settings::{OwnLimit, Provider};

const CLUSTERS: &str = r#"[{"model": "resource_server_async.cluster", "pk": 1, "fields": {
    "cluster_name": "sophia", "frameworks": ["vllm"], "openai_endpoints": ["chat/completions"]}}]"#;
const ENDPOINTS: &str = r#"[{"model": "resource_server_async.endpoint", "pk": 1, "fields": {
    "cluster": "sophia", "framework": "vllm", "model": "a/b",
    "config": "{'api_url': 'https://backend.lab.org/v1', 'api_key_env_name': 'SOPHIA_KEY'}"}}]"#;
const ENV: &str = r#"
SECRET_KEY="django-secret"
GLOBUS_APPLICATION_ID="11111111-2222-3333-4444-555555555555"
GLOBUS_APPLICATION_SECRET='globus-secret'
GLOBUS_POLICIES="p1,p2"
GLOBUS_GROUPS="
  g1
  g2; g3
"
AUTHORIZED_IDP_DOMAINS="Lab.org other.org"
AUTHORIZED_GROUPS_PER_IDP='{"other.org": "g7, g8"}'
AUTHORIZED_GLOBUS_SERVICE_USERNAMES='["svc@clients.auth.globus.org"]'
RATE_LIMIT_PER_SEC_PER_USER=7
MAINTENANCE_ERROR_NOTICES='{"sophia": "Back \"soon\""}'
SOPHIA_KEY=backend-secret
PGPASSWORD=database-secret
SMTP_HOST=mail
MAX_BATCHES_PER_USER=
ODD_ONE=x
"#;

fn installation(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("fixtures")).unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn import(folder: &Path, fixtures: &str) -> Result<Imported, ImportError> {
    let env: PathBuf = folder.join(".env");
    import_first(&folder.join(fixtures), &[env], &folder.join("ostia.toml"))
}

#[test]
fn an_installation_comes_over_whole() {
    let folder = installation(&[
        ("fixtures/clusters.json", CLUSTERS),
        ("fixtures/endpoints.json", ENDPOINTS),
        (".env", ENV),
    ]);
    let imported = import(folder.path(), "fixtures").unwrap();
    for secret in [
        "django-secret",
        "globus-secret",
        "backend-secret",
        "database-secret",
    ] {
        assert!(!imported.toml.contains(secret), "{}", imported.toml);
    }
    let target = folder.path().join("ostia.toml");
    std::fs::write(&target, &imported.toml).unwrap();
    let sources = Sources {
        config: Some(target),
        env_files: vec![folder.path().join(".env")],
        ..Sources::default()
    };
    let loaded = load(&sources, &Fleet::default());
    assert!(loaded.errors().next().is_none(), "{:?}", loaded.problems);
    let settings = loaded.settings.unwrap();
    let globus = &settings.auth.globus;
    assert_eq!(settings.auth.providers, [Provider::Globus]);
    assert_eq!(globus.client_secret.expose(), "globus-secret");
    assert_eq!(globus.policies, ["p1", "p2"]);
    assert_eq!(globus.required_groups, ["g1", "g2", "g3"]);
    assert_eq!(globus.idp_domains, ["lab.org", "other.org"]);
    assert_eq!(globus.groups_per_domain["other.org"], ["g7", "g8"]);
    assert_eq!(globus.service_usernames, ["svc@clients.auth.globus.org"]);
    assert_eq!(settings.limits.of(OwnLimit::RequestsPerSecond), 7);
    let tokens = (
        settings.limits.tpm_model,
        settings.limits.of(OwnLimit::TokensPerMinute),
    );
    assert_eq!(tokens, (100_000, 60_000));
    assert_eq!(settings.limits.of(OwnLimit::InFlight), 0);
    assert!(settings.catalog.match_slug);
    let nginx = &settings.server.trusted_proxies;
    assert!(
        nginx
            .iter()
            .any(|net| net.contains(&std::net::IpAddr::from([127, 0, 0, 1])))
    );
    assert_eq!(settings.maintenance["sophia"], "Back \"soon\"");
    assert_eq!(loaded.catalog.deployments().len(), 1);

    let why = |name: &str| {
        let found = imported.left.iter().find(|(left, _)| left == name);
        found.map(|(_, why)| why.clone()).unwrap_or_default()
    };
    assert!(why("PGPASSWORD").contains("store.url"));
    assert!(why("SMTP_HOST").contains("cron"));
    assert!(why("MAX_BATCHES_PER_USER").contains("501"));
    assert!(why("ODD_ONE").contains("neither"));
    assert!(
        imported
            .carried
            .iter()
            .any(|(name, _)| name == "SOPHIA_KEY")
    );
    assert_eq!(imported.carried.len() + imported.left.len(), 15);
}

#[test]
fn a_dump_of_the_database_is_pointed_at_as_it_is() {
    let log = r#"{"model": "resource_server_async.accesslog", "pk": 9, "fields": {}}"#;
    let inner = |text: &str| {
        text.trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned()
    };
    let dump = format!("[{}, {log}, {}]", inner(CLUSTERS), inner(ENDPOINTS));
    let folder = installation(&[("fixtures/dump.json", &dump), (".env", "SOPHIA_KEY=k")]);
    for fixtures in ["fixtures", "fixtures/dump.json"] {
        let imported = import(folder.path(), fixtures).unwrap();
        let target = folder.path().join("ostia.toml");
        std::fs::write(&target, &imported.toml).unwrap();
        let sources = Sources {
            config: Some(target),
            env_files: vec![folder.path().join(".env")],
            ..Sources::default()
        };
        let loaded = load(&sources, &Fleet::default());
        assert!(loaded.errors().next().is_none(), "{:?}", loaded.problems);
        assert_eq!(loaded.catalog.deployments().len(), 1);
        assert_eq!(loaded.settings.unwrap().auth.providers, [Provider::ApiKey]);
    }
}

/// FIRST admits nobody without domains; here an empty list admits every domain.
#[test]
fn what_would_be_open_here_and_is_shut_there_is_told() {
    for (line, told) in [
        ("GLOBUS_APPLICATION_ID=id", true),
        (
            "GLOBUS_APPLICATION_ID=id\nAUTHORIZED_IDP_DOMAINS=\"\n\"",
            true,
        ),
        (
            "GLOBUS_APPLICATION_ID=id\nAUTHORIZED_IDP_DOMAINS=lab.org",
            false,
        ),
        ("AUTHORIZED_IDP_DOMAINS=", false),
    ] {
        let folder = installation(&[("fixtures/dump.json", CLUSTERS), (".env", line)]);
        let imported = import(folder.path(), "fixtures").unwrap();
        let warned = imported.problems.iter().any(|problem| {
            problem.severity == Severity::Warning && problem.text.contains("idp_domains")
        });
        assert_eq!(warned, told, "{line}: {:?}", imported.problems);
    }
}

#[test]
fn a_rule_that_cannot_be_read_stops_everything() {
    for line in [
        "AUTHORIZED_GROUPS_PER_IDP='{broken'",
        "AUTHORIZED_GROUPS_PER_IDP='{\"a\": 1}'",
        "AUTHORIZED_GLOBUS_SERVICE_USERNAMES=ann",
        "RATE_LIMIT_PER_SEC_PER_USER=many",
        "MODEL_DETAILS_KEYS=display_name",
        "LEGACY_ENDPOINT_SLUG_MAPPING='[]'",
    ] {
        let folder = installation(&[("fixtures/dump.json", CLUSTERS), (".env", line)]);
        let error = import(folder.path(), "fixtures").unwrap_err();
        assert!(
            matches!(error, ImportError::Variable(..)),
            "{line}: {error}"
        );
    }
    let folder = installation(&[(".env", "")]);
    let none = import(folder.path(), "fixtures").unwrap_err();
    assert!(matches!(none, ImportError::NoFixtures(_)));
    let missing = import_first(
        folder.path(),
        &["nowhere/.env".into()],
        Path::new("ostia.toml"),
    );
    assert!(matches!(missing, Err(ImportError::File(_))));
}

const METIS: &str = r#"[
    {"model": "resource_server_async.cluster", "pk": 1, "fields": {"cluster_name": "metis", "frameworks": ["api"],
        "openai_endpoints": ["chat/completions", "responses"], "cluster_adapter": "resource_server_async.clusters.metis.MetisCluster",
        "config": {"status_url": "https://status.lab.org/metis"}}},
    {"model": "resource_server_async.endpoint", "pk": 2, "fields": {"cluster": "metis", "framework": "api", "model": "Org/New-3.1",
        "endpoint_adapter": "resource_server_async.endpoints.metis.MetisEndpoint", "config": {"api_url": "https://metis.lab.org"}}},
    {"model": "resource_server_async.endpoint", "pk": 3, "fields": {"cluster": "metis", "framework": "api", "model": "Org/Kept",
        "endpoint_adapter": "resource_server_async.endpoints.direct_api.DirectAPIEndpoint",
        "config": {"api_url": "https://kept.lab.org", "api_request_timeout": 60}}},
    {"model": "resource_server_async.endpoint", "pk": 4, "fields": {"cluster": "metis", "framework": "api", "model": "Org/Compute",
        "endpoint_adapter": "resource_server_async.endpoints.globus_compute.GlobusComputeEndpoint", "config": {"api_port": 1}}}
]"#;

fn loaded(folder: &Path, imported: &Imported) -> crate::config::Loaded {
    let target = folder.join("ostia.toml");
    std::fs::write(&target, &imported.toml).unwrap();
    let sources = Sources {
        config: Some(target),
        env_files: vec![folder.join(".env")],
        ..Sources::default()
    };
    load(&sources, &Fleet::default())
}

/// Users may go on using a name that FIRST maps elsewhere, in any spelling that FIRST treats as equal.
#[test]
fn old_slugs_become_aliases() {
    let env = r#"LEGACY_ENDPOINT_SLUG_MAPPING='{"metis-api-goneold-30": " metis-api-orgnew-31 ", "metis-api-orgkept": "metis-api-orgnew-31",
        "metis-api-x": "nowhere", "sophia-vllm-y": "metis-api-orgnew-31", "metis-api-": "metis-api-orgnew-31", "metis-api-n": 7}'"#;
    let folder = installation(&[("fixtures/dump.json", METIS), (".env", env)]);
    let imported = import(folder.path(), "fixtures").unwrap();
    let loaded = loaded(folder.path(), &imported);
    let scope = crate::catalog::Scope::Framework {
        cluster: "metis",
        framework: "api",
    };
    for name in ["Gone/Old-3.0", "goneold-30", "GONE/old-3.0", "org/new-3.1"] {
        let (model, _) = loaded.catalog.lookup(scope, name).unwrap();
        assert_eq!(&*model, "Org/New-3.1", "{name}");
    }
    let kept = loaded.catalog.lookup(scope, "org/kept").unwrap();
    assert_eq!(&*kept.0, "Org/Kept");
    let why: Vec<&str> = imported.left.iter().map(|(_, why)| &**why).collect();
    for piece in [
        "`metis-api-orgkept` is an endpoint of its own",
        "`metis-api-x`: no endpoint has the slug `nowhere`",
        "`sophia-vllm-y` is not of metis/api",
        "`metis-api-` is not of metis/api",
        "no endpoint has the slug `7`",
    ] {
        assert!(
            why.iter().any(|why| why.contains(piece)),
            "{piece}: {why:?}"
        );
    }
    assert_eq!(why.len(), 5);
}

#[test]
fn what_only_some_of_firsts_endpoints_read_comes_over() {
    let long = "a-secret-of-more-than-thirty-two-bytes";
    for (key, expected) in [(long, Some(long)), ("short", None), ("", None)] {
        let env = format!(
            "MINERVA_AFFINITY_HMAC_KEY={key}\nMODEL_DETAILS_KEYS='[\"display_name\",\"capabilities\"]'\n\
             GLOBUS_BATCH_TIMEOUT_IN_DAYS=7\nFIRST_V2_REDIS_URL=redis://v2\nFIRST_V2_CA_CERT_PATH=/ca\n"
        );
        let folder = installation(&[("fixtures/dump.json", METIS), (".env", &env)]);
        let imported = import(folder.path(), "fixtures").unwrap();
        assert!(!imported.toml.contains(long), "{}", imported.toml);
        let settings = loaded(folder.path(), &imported).settings.unwrap();
        let hmac = settings.routing.hmac_key.as_ref();
        assert_eq!(hmac.map(|key| &**key.expose()), expected);
        let shown = &settings.catalog.model_details_keys;
        assert_eq!(*shown, ["display_name", "capabilities"]);
        let left: Vec<&str> = imported.left.iter().map(|(name, _)| &**name).collect();
        for name in [
            "GLOBUS_BATCH_TIMEOUT_IN_DAYS",
            "FIRST_V2_REDIS_URL",
            "FIRST_V2_CA_CERT_PATH",
        ] {
            assert!(left.contains(&name), "{name}");
        }
        assert_eq!(
            left.contains(&"MINERVA_AFFINITY_HMAC_KEY"),
            expected.is_none()
        );
    }
}

#[test]
fn each_endpoint_is_told_what_changes_for_its_users() {
    let folder = installation(&[("fixtures/dump.json", METIS), (".env", "")]);
    let imported = import(folder.path(), "fixtures").unwrap();
    let told = super::changes(&loaded(folder.path(), &imported));
    let of = |slug: &str| {
        let found = told.iter().find(|(known, _)| &**known == slug);
        found.unwrap().1.join("; ")
    };
    let metis = of("metis-api-orgnew-31");
    for piece in ["503 model_not_running", "10 minutes", "streamed"] {
        assert!(metis.contains(piece), "{piece}: {metis}");
    }
    assert_eq!(
        of("metis-api-orgkept"),
        "responses and messages may be streamed"
    );
    let compute = of("metis-api-orgcompute");
    assert!(compute.contains("GlobusComputeEndpoint is not served yet: 503 adapter_unavailable"));
    assert_eq!(told.len(), 3);
}
