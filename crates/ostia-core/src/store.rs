use std::fmt;
use std::sync::Arc;

use crate::{
    ApiKey, BoxFuture, KeyChanges, Leases, LedgerRow, NewApiKey, Outcome, People, RequestId,
    Sessions,
};

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

/// Which rows of the ledger an export gives, by the moment they started.
#[derive(Debug, Clone, Default)]
pub struct RowsQuery {
    /// Unix microseconds.
    pub since: i64,
    /// Not included.
    pub until: Option<i64>,
    /// Only those behind this row.
    pub after: Option<RowPlace>,
    /// How many at most.
    pub limit: u32,
}

/// Which rows of the ledger somebody looks for. What is `None` does not matter.
#[derive(Debug, Clone, Default)]
pub struct RowFilter {
    pub request_id: Option<RequestId>,
    /// Any of these, as user ids or as usernames; empty: everybody.
    pub users: Vec<String>,
    pub model: Option<String>,
    pub outcome: Option<Outcome>,
    pub error_code: Option<String>,
    /// Only those that were answered with an error.
    pub failed: bool,
    /// Unix microseconds.
    pub since: i64,
    /// Not included.
    pub until: Option<i64>,
    /// Only those before this row, to read on.
    pub before: Option<RowPlace>,
    /// How many at most.
    pub limit: u32,
}

/// Which keys somebody looks for: of a million, few are read.
#[derive(Debug, Clone, Copy)]
pub enum KeyFilter<'a> {
    Id(&'a str),
    /// Made for one of these names, in any case of ASCII letters.
    Owners(&'a [String]),
    Project(&'a str),
    /// Not revoked, and ending within these moments; the last is not included.
    Ending(i64, i64),
}

/// Where a row stands in an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowPlace {
    pub started_at: i64,
    pub request_id: RequestId,
}

/// A response that a backend made, and keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeResponse {
    /// A hash of who asked for it and of its id.
    pub id: [u8; 32],
    /// The slug of the endpoint.
    pub endpoint: Arc<str>,
    /// Unix microseconds.
    pub until: i64,
}

/// What is old enough to go. Unix microseconds, each the first moment that stays.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Before it, rows lose the client's address.
    pub addresses: i64,
    /// Before it, persons become pseudonyms.
    pub persons: i64,
    /// Before it, rows and sums are deleted.
    pub sums: i64,
    /// Before it, events of the audit are deleted, but never the last one.
    pub audit: i64,
}

/// What one step of pruning did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Rows that lost their address.
    pub addresses: u64,
    /// Rows whose person became a pseudonym.
    pub persons: u64,
    /// Rows that were deleted.
    pub rows: u64,
    /// Events of the audit that were deleted.
    pub events: u64,
    /// There may be more to do.
    pub goes_on: bool,
}

/// One line of a usage report: `keys` in the order of `UsageQuery::by`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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

/// What holds for a while, on every replica: something is under maintenance, or somebody is blocked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub scope: NoticeScope,
    /// What users are told; of a block nothing.
    pub text: String,
    /// Unix microseconds; `None`: from ever.
    pub begins_at: Option<i64>,
    /// `None`: until it is cleared.
    pub ends_at: Option<i64>,
}

/// What is under maintenance, or blocked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NoticeScope {
    All,
    Cluster(String),
    Model(String),
    Blocked(Blocked, String),
}

/// What a block names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Blocked {
    User,
    Key,
    Model,
}

impl Blocked {
    pub const ALL: [Self; 3] = [Self::User, Self::Key, Self::Model];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Key => "key",
            Self::Model => "model",
        }
    }
}

impl Notice {
    /// Whether it holds at this moment.
    pub fn holds_at(&self, unix_micros: i64) -> bool {
        self.begins_at.is_none_or(|at| at <= unix_micros)
            && self.ends_at.is_none_or(|at| unix_micros < at)
    }
}

/// As the store has it: `all`, `cluster:NAME`, `model:NAME`, `block-user:NAME`, ...
impl fmt::Display for NoticeScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Cluster(name) => write!(f, "cluster:{name}"),
            Self::Model(name) => write!(f, "model:{name}"),
            Self::Blocked(what, name) => write!(f, "block-{}:{name}", what.as_str()),
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
            Some((kind, name)) => {
                let what = kind.strip_prefix("block-")?;
                let what = Blocked::ALL.into_iter().find(|one| one.as_str() == what)?;
                Some(Self::Blocked(what, name.to_owned()))
            }
            None => None,
        }
    }

    pub const fn is_block(&self) -> bool {
        matches!(self, Self::Blocked(..))
    }
}

impl UsageRow {
    /// Adds the sums of a line with the same keys.
    pub fn add(&mut self, more: &Self) {
        for (sum, more) in [
            (&mut self.requests, more.requests),
            (&mut self.ok, more.ok),
            (&mut self.refused, more.refused),
            (&mut self.failed, more.failed),
            (&mut self.prompt_tokens, more.prompt_tokens),
            (&mut self.completion_tokens, more.completion_tokens),
            (&mut self.total_tokens, more.total_tokens),
        ] {
            *sum = sum.saturating_add(more);
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

    /// What happened to keys behind `after`, up to a thousand changes, whoever made them. `None`: nothing but where to begin.
    fn key_changes(&self, after: Option<i64>) -> BoxFuture<'_, Result<KeyChanges, StoreError>>;

    /// Resolves when another process changed keys. A database that tells nobody never resolves it: keys are then asked for
    /// now and then.
    fn keys_changed(&self) -> BoxFuture<'_, ()>;

    /// All of them: for those who want all.
    fn list_keys(&self) -> BoxFuture<'_, Result<Vec<ApiKey>, StoreError>>;

    /// In the order in which they were made, as [`Store::list_keys`] gives them.
    fn find_keys<'a>(
        &'a self,
        filter: KeyFilter<'a>,
    ) -> BoxFuture<'a, Result<Vec<ApiKey>, StoreError>>;

    /// What is under maintenance or blocked, now or later, in the order of scopes.
    fn notices(&self) -> BoxFuture<'_, Result<Vec<Notice>, StoreError>>;

    /// Takes the place of an earlier one of the same scope.
    fn set_notice<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Result<(), StoreError>>;

    /// `false`: there was none.
    fn clear_notice<'a>(
        &'a self,
        scope: &'a NoticeScope,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Which of these names `holder` has from now on: those that nobody else holds. Times are Unix microseconds; with
    /// `until` = `now` they are given up.
    fn hold_turns<'a>(
        &'a self,
        names: &'a [String],
        holder: &'a str,
        now: i64,
        until: i64,
    ) -> BoxFuture<'a, Result<Vec<bool>, StoreError>>;

    /// Notes the last use of keys, in batches and never on a request's path.
    fn touch_keys<'a>(
        &'a self,
        used: &'a [(Arc<str>, i64)],
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    fn usage<'a>(
        &'a self,
        query: &'a UsageQuery,
    ) -> BoxFuture<'a, Result<Vec<UsageRow>, StoreError>>;

    /// Who people are and what was done about them.
    fn people(&self) -> &dyn People;

    /// Browsers that people signed in with.
    fn sessions(&self) -> &dyn Sessions;

    /// Hands out rows of the ledger that somebody looks for, the newest first. Gives the place of the last, where there may
    /// be more.
    fn find_rows<'a>(
        &'a self,
        filter: &'a RowFilter,
        take: &'a mut (dyn FnMut(&LedgerRow<'_>) + Send),
    ) -> BoxFuture<'a, Result<Option<RowPlace>, StoreError>>;

    /// Where engines of endpoints without a URL are.
    fn leases(&self) -> &dyn Leases;

    /// Hands out rows of the ledger, the oldest first. Gives the place of the last, where there may be more.
    fn rows<'a>(
        &'a self,
        query: &'a RowsQuery,
        take: &'a mut (dyn FnMut(&LedgerRow<'_>) + Send),
    ) -> BoxFuture<'a, Result<Option<RowPlace>, StoreError>>;

    /// Notes who made responses, and forgets those that are over.
    fn note_responses<'a>(
        &'a self,
        made: &'a [MadeResponse],
        now: i64,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    fn response<'a>(
        &'a self,
        id: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Option<MadeResponse>, StoreError>>;

    /// Does a part of what is due, in short transactions. To be called until nothing is left.
    fn prune<'a>(&'a self, due: &'a Retention) -> BoxFuture<'a, Result<Pruned, StoreError>>;

    /// Keeps the days and months of reports in this time zone from the first row on. `false`: there are rows, and reports
    /// are in another zone.
    fn keep_reports_in<'a>(&'a self, zone: &'a str) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// A cheap question that shows whether the database answers.
    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}
