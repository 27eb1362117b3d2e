use std::fmt;
use std::sync::Arc;

use crate::{BoxFuture, LedgerRow};

/// Why the store could not answer. The text is for the log, never for a caller.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached or is too slow; trying again may help.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// The schema is not the one of this binary, or a statement is wrong; trying again does not help.
    #[error("store error: {0}")]
    Broken(String),
}

/// An API key as the store knows it: the key itself is not there, only its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: Arc<str>,
    pub username: Arc<str>,
    pub groups: Arc<[Arc<str>]>,
    pub label: Arc<str>,
    pub project: Arc<str>,
    pub admin: bool,
    /// Unix microseconds.
    pub created_at: i64,
    pub expires_at: Option<i64>,
    pub revoked_at: Option<i64>,
    pub last_used_at: Option<i64>,
}

/// What `key create` writes.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    pub id: String,
    /// SHA-256 of the whole key.
    pub hash: [u8; 32],
    pub username: String,
    pub groups: Vec<String>,
    pub label: String,
    /// Empty: none.
    pub project: String,
    pub admin: bool,
    pub created_at: i64,
    pub expires_at: Option<i64>,
}

/// What `ostia usage` asks for.
#[derive(Debug, Clone, Default)]
pub struct UsageQuery {
    /// Unix microseconds; rows that started earlier do not count.
    pub since: i64,
    /// Rows that started at this moment or later do not count.
    pub until: Option<i64>,
    /// Only this user, as `by` names users.
    pub user: Option<String>,
    /// Some of [`UsageQuery::BY`].
    pub by: Vec<String>,
}

impl UsageQuery {
    /// What a report can be grouped by.
    pub const BY: [&'static str; 12] = [
        "user", "group", "project", "key", "model", "cluster", "endpoint", "api", "outcome",
        "hour", "day", "month",
    ];
}

/// One line of a usage report: `keys` in the order of `UsageQuery::by`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    pub keys: Vec<String>,
    pub requests: u64,
    pub ok: u64,
    /// By the gateway or by an adapter.
    pub refused: u64,
    /// Neither `ok` nor refused, nor given up by the client.
    pub failed: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub total_tokens: u64,
}

/// What users are told while something is under maintenance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub scope: NoticeScope,
    pub text: String,
    /// Unix microseconds; `None`: from ever.
    pub begins_at: Option<i64>,
    /// `None`: until it is cleared.
    pub ends_at: Option<i64>,
}

/// What is under maintenance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NoticeScope {
    All,
    Cluster(String),
    Model(String),
}

impl Notice {
    /// Whether it holds at this moment.
    pub fn holds_at(&self, unix_micros: i64) -> bool {
        self.begins_at.is_none_or(|at| at <= unix_micros)
            && self.ends_at.is_none_or(|at| unix_micros < at)
    }
}

/// As the store has it: `all`, `cluster:NAME`, `model:NAME`.
impl fmt::Display for NoticeScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Cluster(name) => write!(f, "cluster:{name}"),
            Self::Model(name) => write!(f, "model:{name}"),
        }
    }
}

impl NoticeScope {
    /// `None`: a newer ostia wrote it.
    pub fn stored(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if text == "all" => Some(Self::All),
            Some(("cluster", name)) => Some(Self::Cluster(name.to_owned())),
            Some(("model", name)) => Some(Self::Model(name.to_owned())),
            _ => None,
        }
    }
}

/// Everything Ostia keeps in a database. `ostia-store` has one implementation for each database.
pub trait Store: Send + Sync + 'static {
    /// Writes final rows in one transaction; a row whose id exists already is left alone. Gives how many were new.
    fn insert_rows<'a>(
        &'a self,
        rows: &'a [LedgerRow<'a>],
    ) -> BoxFuture<'a, Result<u64, StoreError>>;

    /// The key with this SHA-256, revoked and expired ones included.
    fn key_by_hash<'a>(
        &'a self,
        hash: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Option<ApiKey>, StoreError>>;

    fn create_key<'a>(&'a self, key: &'a NewApiKey) -> BoxFuture<'a, Result<(), StoreError>>;

    fn list_keys(&self) -> BoxFuture<'_, Result<Vec<ApiKey>, StoreError>>;

    /// Sets the expiry of a key that is not revoked: the old key of a rotation, or a shorter life. `false`: no such key.
    fn expire_key<'a>(
        &'a self,
        id: &'a str,
        expires_at: i64,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// `false`: no such key, or revoked before.
    fn revoke_key<'a>(&'a self, id: &'a str, now: i64) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// What is under maintenance, now or later, in the order of scopes.
    fn notices(&self) -> BoxFuture<'_, Result<Vec<Notice>, StoreError>>;

    /// Takes the place of an earlier one of the same scope.
    fn set_notice<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Result<(), StoreError>>;

    /// `false`: there was none.
    fn clear_notice<'a>(
        &'a self,
        scope: &'a NoticeScope,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Notes the last use of keys, in batches and never on a request's path.
    fn touch_keys<'a>(
        &'a self,
        used: &'a [(Arc<str>, i64)],
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    fn usage<'a>(
        &'a self,
        query: &'a UsageQuery,
    ) -> BoxFuture<'a, Result<Vec<UsageRow>, StoreError>>;

    /// A cheap question that shows whether the database answers.
    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}
