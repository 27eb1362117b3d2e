//! In: nothing. Out: [`Settings`]: a validated `ostia.toml`, with every value typed, every default filled in and every
//! secret resolved. Fields have the names of the file's keys.
//! Not here: reading and checking files; `config` does that.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use ostia_core::Secret;

#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub server: Server,
    pub fixtures: Fixtures,
    /// Adapter name in fixtures -> what it means here (`script:PATH`, `direct_api`, ...).
    pub adapters: BTreeMap<String, String>,
    pub catalog: CatalogSettings,
    /// Cluster -> text for its users.
    pub maintenance: BTreeMap<String, String>,
    pub maintenance_sources: BTreeMap<String, MaintenanceSource>,
    pub store: StoreSettings,
    pub auth: Auth,
    pub limits: Limits,
    pub routing: Routing,
    pub upstream: Upstream,
    pub journal: JournalSettings,
    pub telemetry: Telemetry,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    pub listen: ListenAddress,
    pub admin_listen: ListenAddress,
    /// Without a trailing slash; "" if there is none.
    pub base_path: String,
    pub max_body_bytes: u64,
    /// For all request bodies in flight together.
    pub max_buffered_bytes: u64,
    pub header_timeout: Duration,
    /// How long a client connection may be idle between two requests.
    pub idle_timeout: Duration,
    pub body_idle_timeout: Duration,
    pub write_idle_timeout: Duration,
    pub max_connections: usize,
    pub drain_timeout: Duration,
    /// How long after the wish to stop connections are still accepted.
    pub drain_grace: Duration,
    pub trusted_proxies: Vec<IpNet>,
    pub cors_origins: Vec<String>,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub state_dir: PathBuf,
    /// Read changed files again once they have been still for a while.
    pub auto_reload: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Fixtures {
    pub clusters: PathBuf,
    pub endpoints: PathBuf,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CatalogSettings {
    /// `match = "slug"`: if there is no exact match, look up the slug of the lower-cased name.
    pub match_slug: bool,
    pub model_details_keys: Vec<String>,
    /// Other name -> canonical model.
    pub aliases: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct MaintenanceSource {
    pub url: String,
    pub field: String,
    pub down: Vec<String>,
    pub interval: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StoreSettings {
    /// `sqlite://PATH` (made absolute) or `postgres://...`; it may contain a password.
    pub url: Secret<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    ApiKey,
    Globus,
    Introspection,
    Oidc,
    None,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Auth {
    /// Never empty. The provider `None` is the only one if it is present.
    pub providers: Vec<Provider>,
    pub globus: Globus,
    pub introspection: Introspection,
    pub oidc: Oidc,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Globus {
    pub client_id: String,
    pub client_secret: Secret<String>,
    pub policies: Vec<String>,
    pub required_groups: Vec<String>,
    pub idp_domains: Vec<String>,
    pub groups_per_domain: BTreeMap<String, Vec<String>>,
    pub service_usernames: Vec<String>,
    pub auth_url: String,
    pub groups_url: String,
    pub cache_ttl: Duration,
    pub groups_ttl: Duration,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Introspection {
    pub url: String,
    pub client_id: String,
    pub client_secret: Secret<String>,
    pub audience: String,
    pub scope: String,
    /// Our name (`username`, `groups`, ...) -> the provider's claim.
    pub claims: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Oidc {
    pub issuer: String,
    pub audience: String,
    pub claims: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    pub requests_per_second_per_user: u32,
    pub max_in_flight_per_user: u32,
    pub in_flight_per_model: u32,
    /// 0 is no limit.
    pub refused_bytes_per_second_per_user: u64,
    pub tpm_model: u64,
    pub tpm_user: u64,
    /// Output tokens reserved for a request while too little is known of its model.
    pub default_output_tokens: u64,
    pub reserve_output: ReserveOutput,
    /// How long a shortage that will pass is waited for; zero refuses at once.
    pub queue_timeout: Duration,
    pub shared: Option<SharedLimits>,
    pub others: OtherLimits,
}

/// Where limits are kept that hold over several replicas.
#[derive(Debug, Clone, PartialEq)]
pub struct SharedLimits {
    /// `redis://` or `rediss://`, with user and password.
    pub url: Secret<String>,
    /// How long one admission waits for its answer.
    pub timeout: Duration,
    /// In place of the machine's own certificates.
    pub ca_cert_path: Option<PathBuf>,
}

/// What is reserved of a limit of tokens for an output that is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReserveOutput {
    /// What outputs of this model mostly needed, at most the request's own cap.
    Estimate,
    /// The request's own cap.
    MaxTokens,
}

/// Limits of single subjects, by name. The first that sets a limit holds: of key, user, project, group.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OtherLimits {
    pub key: BTreeMap<String, OwnLimits>,
    pub user: BTreeMap<String, OwnLimits>,
    pub project: BTreeMap<String, OwnLimits>,
    pub group: BTreeMap<String, OwnLimits>,
}

/// `None`: what else holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnLimits {
    pub requests_per_second_per_user: Option<u32>,
    pub max_in_flight_per_user: Option<u32>,
    pub in_flight_per_model: Option<u32>,
    pub tpm_user: Option<u64>,
    /// The share of a queue beside others of the same kind.
    pub fair_share: Option<u32>,
    pub blocked: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Routing {
    pub session_headers: Vec<http::HeaderName>,
    /// What affinity headers and cache salts are made with; at least 32 bytes.
    pub hmac_key: Option<Secret<String>>,
}

/// A timeout of `None` is disabled.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    pub connect_timeout: Option<Duration>,
    pub response_header_timeout: Option<Duration>,
    pub stream_idle_timeout: Option<Duration>,
    pub total_timeout: Option<Duration>,
    pub pool_idle_timeout: Option<Duration>,
    pub keepalive_comment: Option<Duration>,
    pub retry_budget_percent: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct JournalSettings {
    /// How often segments are synced to disk; `None` leaves it to the kernel.
    pub fsync: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Telemetry {
    pub otlp_endpoint: String,
    pub log_prompts: bool,
}

impl Settings {
    /// Puts back what cannot change while the process runs, as `running` has it. The keys that differed.
    pub fn keep_fixed(&mut self, running: &Self) -> Vec<&'static str> {
        let mut differing = Vec::new();
        let (here, there) = (&mut self.server, &running.server);
        keep(
            "server.listen",
            &mut here.listen,
            &there.listen,
            &mut differing,
        );
        let key = "server.admin_listen";
        keep(
            key,
            &mut here.admin_listen,
            &there.admin_listen,
            &mut differing,
        );
        let key = "server.state_dir";
        keep(key, &mut here.state_dir, &there.state_dir, &mut differing);
        keep("store", &mut self.store, &running.store, &mut differing);
        keep(
            "journal",
            &mut self.journal,
            &running.journal,
            &mut differing,
        );
        keep(
            "limits.shared",
            &mut self.limits.shared,
            &running.limits.shared,
            &mut differing,
        );
        differing
    }
}

fn keep<T: PartialEq + Clone>(
    key: &'static str,
    new: &mut T,
    running: &T,
    differing: &mut Vec<&'static str>,
) {
    if *new != *running {
        new.clone_from(running);
        differing.push(key);
    }
}
