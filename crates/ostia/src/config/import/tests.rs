use std::path::{Path, PathBuf};

use super::{ImportError, Imported, import_first};
use crate::config::{Severity, Sources, load};
use crate::fleet::Fleet;
use crate::settings::Provider;

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
    assert_eq!(settings.limits.requests_per_second_per_user, 7);
    let tokens = (settings.limits.tpm_model, settings.limits.tpm_user);
    assert_eq!(tokens, (100_000, 60_000));
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
