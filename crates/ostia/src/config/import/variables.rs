use std::collections::BTreeMap;

use serde_json::Value;
use toml::{Table, Value as Toml};

/// What becomes of a variable of FIRST.
pub(super) enum Fate {
    /// The key that has its value now, and how to read it.
    Carried(&'static str, Read),
    /// Why it is not carried over.
    Left(&'static str),
}

/// From the slugs of removed endpoints to those of their replacements.
pub(super) const LEGACY_SLUGS: &str = "LEGACY_ENDPOINT_SLUG_MAPPING";
/// The secret for Minerva's affinity headers and cache salts.
pub(super) const AFFINITY_KEY: &str = "MINERVA_AFFINITY_HMAC_KEY";

/// From a variable's name and text to the key's value, or why the text cannot be read.
pub(super) type Read = fn(&str, &str) -> Result<Toml, String>;

const GLOBUS_COMPUTE: &str =
    "for Globus Compute, which is not served yet: such endpoints answer 503 adapter_unavailable";
const BATCHES: &str = "for batches, which are not served yet (501)";
const DATABASE: &str = "for FIRST's database, which Ostia does not read: its own is what store.url names, one SQLite file by default";
const DASHBOARD: &str =
    "for FIRST's dashboard: see /metrics on the admin listener, and `ostia usage`";
const CRON: &str =
    "for a cron job: /metrics and /health/ready on the admin listener take its place";
const V2: &str = "for the bridge to FIRST's second version: each row that it wrote has these certificates, the proxy and \
     the URLs in its own config; keep the bridge running, and export its rows to the fixtures again when they change";
const CONTAINERS: &str = "for other containers of FIRST's compose file";

/// Facts from FIRST's settings module, its example environment and its cron jobs.
const FATES: [(&str, Fate); 60] = [
    (
        "GLOBUS_APPLICATION_ID",
        Fate::Carried("auth.globus.client_id", text),
    ),
    (
        "GLOBUS_APPLICATION_SECRET",
        Fate::Carried("auth.globus.client_secret", by_name),
    ),
    (
        "GLOBUS_POLICIES",
        Fate::Carried("auth.globus.policies", list),
    ),
    (
        "GLOBUS_GROUPS",
        Fate::Carried("auth.globus.required_groups", list),
    ),
    (
        "AUTHORIZED_IDP_DOMAINS",
        Fate::Carried("auth.globus.idp_domains", list),
    ),
    (
        "AUTHORIZED_GROUPS_PER_IDP",
        Fate::Carried("auth.globus.groups_per_domain", lists_by_name),
    ),
    (
        "AUTHORIZED_GLOBUS_SERVICE_USERNAMES",
        Fate::Carried("auth.globus.service_usernames", json_list),
    ),
    (
        "RATE_LIMIT_PER_SEC_PER_USER",
        Fate::Carried("limits.requests_per_second_per_user", number),
    ),
    (
        "MAINTENANCE_ERROR_NOTICES",
        Fate::Carried("maintenance", texts_by_name),
    ),
    (
        "MODEL_DETAILS_KEYS",
        Fate::Carried("catalog.model_details_keys", json_list),
    ),
    (
        LEGACY_SLUGS,
        Fate::Carried("catalog.aliases", words_by_name),
    ),
    (AFFINITY_KEY, Fate::Carried("routing.hmac_key", by_name)),
    ("SECRET_KEY", Fate::Left("Django's: Ostia signs no cookies")),
    ("DEBUG", Fate::Left("Django's: OSTIA_LOG=debug shows more")),
    (
        "ALLOWED_HOSTS",
        Fate::Left("Django's: no answer depends on the Host header; server_name in nginx chooses"),
    ),
    ("DJANGO_SETTINGS_MODULE", Fate::Left("Django's")),
    ("ENV", Fate::Left("Gunicorn's")),
    (
        "LOG_TO_STDOUT",
        Fate::Left("logs always go to stderr, as JSON lines unless that is a terminal"),
    ),
    (
        "RUNNING_AUTOMATED_TEST_SUITE",
        Fate::Left("it switches checks of identities off, which cannot be done here"),
    ),
    ("PROMPT_STORAGE_DIR", Fate::Left("prompts are not stored")),
    (
        "INFERENCE_SERVICE_URL",
        Fate::Left("nothing reads it: every endpoint has its own api_url"),
    ),
    ("SERVICE_ACCOUNT_ID", Fate::Left(GLOBUS_COMPUTE)),
    ("SERVICE_ACCOUNT_SECRET", Fate::Left(GLOBUS_COMPUTE)),
    ("GLOBUS_GROUP_MANAGER_ID", Fate::Left(GLOBUS_COMPUTE)),
    ("GLOBUS_GROUP_MANAGER_SECRET", Fate::Left(GLOBUS_COMPUTE)),
    (
        "GLOBUS_ENDPOINT_CREDENTIALS_OVERRIDES",
        Fate::Left(GLOBUS_COMPUTE),
    ),
    ("GLOBUS_COMPUTE_EXECUTOR_DEBUG", Fate::Left(GLOBUS_COMPUTE)),
    ("GLOBUS_EXECUTOR_BATCH_SIZE", Fate::Left(GLOBUS_COMPUTE)),
    (
        "GLOBUS_EXECUTOR_API_BURST_LIMIT",
        Fate::Left(GLOBUS_COMPUTE),
    ),
    (
        "GLOBUS_EXECUTOR_API_BURST_WINDOW_S",
        Fate::Left(GLOBUS_COMPUTE),
    ),
    (
        "GLOBUS_MANAGEMENT_TASK_GROUP_ID",
        Fate::Left(GLOBUS_COMPUTE),
    ),
    ("STREAMING_SERVER_HOST", Fate::Left(GLOBUS_COMPUTE)),
    ("STREAMING_SERVER_PORT", Fate::Left(GLOBUS_COMPUTE)),
    ("STREAMING_SERVER_PROTOCOL", Fate::Left(GLOBUS_COMPUTE)),
    ("INTERNAL_STREAMING_SECRET", Fate::Left(GLOBUS_COMPUTE)),
    ("ENABLE_BATCHES", Fate::Left(BATCHES)),
    ("GLOBUS_BATCH_TIMEOUT_IN_DAYS", Fate::Left(BATCHES)),
    ("MAX_BATCHES_PER_USER", Fate::Left(BATCHES)),
    (
        "METIS_STATUS_URL",
        Fate::Left("every cluster has its own: write it as status_url into that cluster's config"),
    ),
    (
        "METIS_API_TOKENS",
        Fate::Left(
            "every endpoint has its own key: name its variable in that endpoint's api_key_env_name",
        ),
    ),
    ("USE_SQLITE", Fate::Left(DATABASE)),
    ("PGDATABASE", Fate::Left(DATABASE)),
    ("PGUSER", Fate::Left(DATABASE)),
    ("PGPASSWORD", Fate::Left(DATABASE)),
    ("PGHOST", Fate::Left(DATABASE)),
    ("PGPORT", Fate::Left(DATABASE)),
    ("POSTGRES_DB", Fate::Left(CONTAINERS)),
    ("POSTGRES_USER", Fate::Left(CONTAINERS)),
    ("POSTGRES_PASSWORD", Fate::Left(CONTAINERS)),
    (
        "REDIS_URL",
        Fate::Left(
            "a cache, which is inside the process here; for limits that hold over several replicas see limits.shared",
        ),
    ),
    (
        "USE_REDIS_CACHE",
        Fate::Left("a cache, which is inside the process here"),
    ),
    ("GLOBUS_DASHBOARD_APPLICATION_ID", Fate::Left(DASHBOARD)),
    ("GLOBUS_DASHBOARD_APPLICATION_SECRET", Fate::Left(DASHBOARD)),
    ("GLOBUS_DASHBOARD_REDIRECT_URI", Fate::Left(DASHBOARD)),
    ("GLOBUS_DASHBOARD_GROUP", Fate::Left(DASHBOARD)),
    ("GLOBUS_DASHBOARD_POLICY_ID", Fate::Left(DASHBOARD)),
    ("ENDPOINTS", Fate::Left(CRON)),
    ("CLIENT_ID", Fate::Left(CRON)),
    ("CLIENT_SECRET", Fate::Left(CRON)),
    ("WEBHOOK_URL", Fate::Left(CRON)),
];

/// Families of variables, by what they begin with.
const FAMILIES: [(&str, &str); 7] = [
    ("FIRST_V2_", V2),
    ("ALERT_EMAIL_", CRON),
    ("SMTP_", CRON),
    ("HEALTH_MONITOR_", CRON),
    ("APPLICATION_", CRON),
    ("GF_SECURITY_", CONTAINERS),
    ("SOPHIA_QSTAT_", GLOBUS_COMPUTE),
];

/// A variable of FIRST and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstVariable {
    /// With `*` at its end, all that begin with it.
    pub name: String,
    /// The key that has its value now.
    pub key: Option<&'static str>,
    /// Why there is no key; "" where there is one.
    pub why: &'static str,
}

/// Every variable of FIRST that is known here.
pub fn first_variables() -> Vec<FirstVariable> {
    let mut variables: Vec<FirstVariable> = FATES
        .iter()
        .map(|(name, fate)| {
            let (key, why) = match fate {
                Fate::Carried(key, _) => (Some(*key), ""),
                Fate::Left(why) => (None, *why),
            };
            FirstVariable {
                name: (*name).to_owned(),
                key,
                why,
            }
        })
        .collect();
    variables.extend(FAMILIES.iter().map(|(begins, why)| FirstVariable {
        name: format!("{begins}*"),
        key: None,
        why,
    }));
    variables
}

pub(super) fn fate_of(name: &str) -> Fate {
    if let Some((_, fate)) = FATES.iter().find(|(known, _)| *known == name) {
        return match fate {
            Fate::Carried(key, read) => Fate::Carried(key, *read),
            Fate::Left(why) => Fate::Left(why),
        };
    }
    let lower = name.to_ascii_lowercase();
    if lower.ends_with("_proxy") {
        return Fate::Left(
            "read by endpoints of fixtures unless their config has \"trust_env\": false; keep it in the environment",
        );
    }
    let family = FAMILIES.iter().find(|(begins, _)| name.starts_with(begins));
    Fate::Left(family.map_or(
        "neither a variable of FIRST nor named by a fixture as a backend's key",
        |(_, why)| why,
    ))
}

fn text(_: &str, value: &str) -> Result<Toml, String> {
    Ok(value.trim().into())
}

/// A secret: only where it is.
fn by_name(name: &str, _: &str) -> Result<Toml, String> {
    Ok(format!("env:{name}").into())
}

/// Text parted by white space, semicolons or commas.
fn list(_: &str, value: &str) -> Result<Toml, String> {
    let parts = value.split(|at: char| at.is_whitespace() || at == ';' || at == ',');
    let parts: Vec<Toml> = parts
        .filter(|part| !part.is_empty())
        .map(Toml::from)
        .collect();
    Ok(parts.into())
}

fn number(_: &str, value: &str) -> Result<Toml, String> {
    let number = value.trim().parse::<u32>();
    number
        .map(|number| i64::from(number).into())
        .map_err(|_| "it is not a whole number".to_owned())
}

fn json_list(_: &str, value: &str) -> Result<Toml, String> {
    let texts: Vec<String> = serde_json::from_str(value)
        .map_err(|_| "it is not a JSON list of texts, such as [\"a\", \"b\"]".to_owned())?;
    Ok(texts.into_iter().map(Toml::from).collect::<Vec<_>>().into())
}

const OBJECT: &str = "it is not a JSON object of texts, such as {\"a\": \"b\"}";

/// `{"domain": "group, group"}`; lists are taken too.
fn lists_by_name(name: &str, value: &str) -> Result<Toml, String> {
    let wrong = || OBJECT.to_owned();
    let members: BTreeMap<String, Value> = serde_json::from_str(value).map_err(|_| wrong())?;
    let mut table = Table::new();
    for (key, groups) in members {
        let groups = match groups {
            Value::String(groups) => list(name, &groups)?,
            Value::Array(_) => json_list(name, &groups.to_string())?,
            _ => return Err(wrong()),
        };
        table.insert(key, groups);
    }
    Ok(table.into())
}

fn texts_by_name(_: &str, value: &str) -> Result<Toml, String> {
    let members: BTreeMap<String, String> =
        serde_json::from_str(value).map_err(|_| OBJECT.to_owned())?;
    let members = members.into_iter().map(|(key, text)| (key, text.into()));
    Ok(members.collect::<Table>().into())
}

/// Like [`texts_by_name`], but FIRST converts anything to a text, and trims it.
fn words_by_name(_: &str, value: &str) -> Result<Toml, String> {
    let members: BTreeMap<String, Value> =
        serde_json::from_str(value).map_err(|_| "it is not a JSON object".to_owned())?;
    let word = |value: Value| match value {
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    let members = members
        .into_iter()
        .map(|(key, value)| (key, word(value).into()));
    Ok(members.collect::<Table>().into())
}
