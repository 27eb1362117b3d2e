//! In: nothing. Out: [`Settings`]: a validated `ostia.toml`, with every value typed, every default filled in and every
//! secret resolved. Fields have the names of the file's keys.
//! Not here: reading and checking files; `config` does that.

mod limits;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use ostia_core::{Retention, Role, Secret};

pub use limits::{LimitKey, Limits, OtherLimits, OwnLimit, OwnLimits, ReserveOutput, SharedLimits};

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
    pub reports: Reports,
    pub retention: RetentionSettings,
    pub auth: Auth,
    pub keys: Keys,
    /// Additional roles, besides those that keys have.
    pub roles: Vec<(Role, Who)>,
    pub web: Web,
    pub limits: Limits,
    pub routing: Routing,
    pub alerts: Alerts,
    pub upstream: Upstream,
    pub journal: JournalSettings,
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
    /// Further names that the admin listener answers to.
    pub admin_hosts: Vec<String>,
    /// Without a trailing slash; "" if there is none.
    pub base_path: String,
    pub max_body_bytes: u64,
    /// For all request bodies in flight together.
    pub max_buffered_bytes: u64,
    pub client_timeouts: ClientTimeouts,
    pub connections: ConnectionLimits,
    pub drain: DrainTimes,
    pub trusted_proxies: Vec<IpNet>,
    /// The URL under which people reach it, without a trailing slash; "": not set.
    pub public_url: String,
    pub cors_origins: Vec<String>,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub state_dir: PathBuf,
    /// Reload changed files automatically, once they have not changed for a while.
    pub auto_reload: bool,
}

/// How long a client may take.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientTimeouts {
    pub header: Duration,
    /// Between two requests on a connection.
    pub idle: Duration,
    pub body_idle: Duration,
    pub write_idle: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionLimits {
    pub all: usize,
    /// Of one address, or one IPv6 network of 64 bits; not of loopback and trusted proxies.
    pub per_address: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DrainTimes {
    /// How long connections are still accepted after the request to stop.
    pub grace: Duration,
    /// How long running requests may then take.
    pub limit: Duration,
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

/// How long data is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct RetentionSettings {
    pub ledger_personal: Duration,
    pub addresses: Duration,
    pub rollups: Duration,
    pub audit: Duration,
}

impl RetentionSettings {
    /// What is due at this moment, in Unix microseconds.
    pub fn due(&self, now: i64) -> Retention {
        let before =
            |age: Duration| now.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
        Retention {
            addresses: before(self.addresses),
            persons: before(self.ledger_personal),
            sums: before(self.rollups),
            audit: before(self.audit),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Reports {
    /// The name of a time zone.
    pub timezone: String,
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
    /// Who may use the gateway at all; empty: everybody who can sign in.
    pub admit: Vec<Who>,
    /// How long a cached sign-in is used while its source does not answer.
    pub max_stale: Duration,
    pub globus: Globus,
    pub introspection: Introspection,
    pub oidc: Vec<Oidc>,
}

/// Whom a rule names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    Everybody,
    Group(String),
    /// In lower case.
    Domain(String),
    /// A name for which a provider or the site answers, or a user id.
    User(String),
    Key(String),
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Everybody => f.write_str("everybody"),
            Self::Group(id) => write!(f, "members of group {id}"),
            Self::Domain(name) => write!(f, "users of {name}"),
            Self::User(name) => write!(f, "{name}"),
            Self::Key(id) => write!(f, "key {id}"),
        }
    }
}

/// How long keys live, and how many a user may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    pub default_age: Duration,
    pub max_age: Duration,
    /// 0 means unlimited.
    pub per_user: u32,
    /// How recently somebody must have vouched for a key's owner; `None`: not required.
    pub owner_ttl: Option<Duration>,
}

/// The pages for people and operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Web {
    pub enabled: bool,
    /// The longest session.
    pub session_ttl: Duration,
    /// The longest session without a request.
    pub session_idle: Duration,
    /// How long after sign-in the operators' pages can be used.
    pub admin_session_ttl: Duration,
    /// Networks from which the operators' pages are shown on the public listener too.
    pub admin_networks: Vec<IpNet>,
    /// Whether anybody may look at the status page.
    pub public_status: bool,
    pub terms: Option<Terms>,
    /// Whom to ask for help: an address or a URL.
    pub contact: String,
}

/// The terms that people accept before their first key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    pub text: String,
    pub version: String,
}

/// Settings that all identity providers have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vouching {
    /// Our word (`id`, `user`, `domain`, `groups`, ...) -> the provider's claim.
    pub claims: BTreeMap<String, String>,
    /// The domains that the provider may vouch for, in lower case; empty: any.
    pub domains: Vec<String>,
    /// The prefix of each of the provider's groups.
    pub groups_prefix: String,
    /// The prefixes of the other providers: groups that begin with one of them do not count.
    pub foreign_prefixes: Vec<String>,
    /// Users must be in one of these.
    pub required_groups: Vec<String>,
    /// `acr` or `eduperson_assurance` must contain one of these.
    pub required_acr: Vec<String>,
    /// The claim whose value is the same for one person at all providers; "": none.
    pub link_claim: String,
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
    pub groups_prefix: String,
    pub link_claim: String,
    /// The scope for signing in on pages; "": the service's own scope `action_all`.
    pub scope: String,
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
    pub audience: Vec<String>,
    pub scope: String,
    pub vouching: Vouching,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Oidc {
    /// The name that users see when they choose a provider.
    pub name: String,
    pub issuer: String,
    /// A token's `aud` must name one of these.
    pub audience: Vec<String>,
    /// If not empty, a token's `azp` (or `client_id`, `appid`) must be one of these.
    pub authorized_parties: Vec<String>,
    /// For signing in on the pages.
    pub client_id: String,
    pub client_secret: Secret<String>,
    pub scopes: Vec<String>,
    pub vouching: Vouching,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Routing {
    pub session_headers: Vec<http::HeaderName>,
    /// Memory for the prompts that each endpoint has seen, in bytes.
    pub affinity_memory: u64,
    /// The key from which affinity headers and cache salts are derived; at least 32 bytes.
    pub hmac_key: Option<Secret<String>>,
}

/// Who is alerted, and how. URLs may contain tokens.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Alerts {
    pub webhook: Option<Secret<String>>,
    pub alertmanager: Option<Secret<String>>,
    pub smtp: Option<Smtp>,
    pub heartbeat_url: Option<Secret<String>>,
    pub report: Option<Duration>,
}

/// A mail server, the sender and the recipients.
#[derive(Debug, Clone, PartialEq)]
pub struct Smtp {
    /// With the password.
    pub url: Secret<String>,
    pub from: String,
    pub to: Vec<String>,
}

impl Alerts {
    /// Whether anybody is to be alerted.
    pub fn is_wanted(&self) -> bool {
        let targets = [&self.webhook, &self.alertmanager, &self.heartbeat_url];
        self.smtp.is_some() || targets.iter().any(|target| target.is_some())
    }
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
    /// How long a stream waits for the backend's head before the client gets one.
    pub send_headers_after: Option<Duration>,
    pub retry_budget_percent: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct JournalSettings {
    /// How often segments are synced to disk; `None` leaves it to the kernel.
    pub fsync: Option<Duration>,
}

impl Settings {
    /// Keeps the running values of settings that cannot change while the process runs. Returns the keys that differed.
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
