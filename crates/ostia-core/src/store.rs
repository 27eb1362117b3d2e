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
    /// The schema does not fit this binary, or a statement is wrong. Trying again does not help.
    #[error("store error: {0}")]
    Broken(String),
}

/// The query of `ostia usage`.
#[derive(Debug, Clone, Default)]
pub struct UsageQuery {
    /// Unix microseconds. Earlier rows do not count.
    pub since: i64,
    /// The end, not included.
    pub until: Option<i64>,
    /// Only this user, by the name that `by` uses.
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

/// The rows to export, by the time they started.
#[derive(Debug, Clone, Default)]
pub struct RowsQuery {
    /// Unix microseconds.
    pub since: i64,
    /// Not included.
    pub until: Option<i64>,
    /// Only rows after this one.
    pub after: Option<RowPlace>,
    /// The most rows to return.
    pub limit: u32,
}

/// A search for rows. Fields that are `None` do not restrict it.
#[derive(Debug, Clone, Default)]
pub struct RowFilter {
    pub request_id: Option<RequestId>,
    /// Any of these user ids or usernames; empty: everybody.
    pub users: Vec<String>,
    pub model: Option<String>,
    pub outcome: Option<Outcome>,
    pub error_code: Option<String>,
    /// Only rows that were answered with an error.
    pub failed: bool,
    /// Unix microseconds.
    pub since: i64,
    /// Not included.
    pub until: Option<i64>,
    /// Only rows before this one, to get the next page.
    pub before: Option<RowPlace>,
    /// The most rows to return.
    pub limit: u32,
}

/// The position of a row in an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowPlace {
    pub started_at: i64,
    pub request_id: RequestId,
}

/// A response that a backend made and stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeResponse {
    /// A hash of the response's id and the user who asked for it.
    pub id: [u8; 32],
    /// The slug of the endpoint.
    pub endpoint: Arc<str>,
    /// Unix microseconds.
    pub until: i64,
}

/// What is old enough to be pruned. Each is the first moment to be kept, in Unix microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Older rows lose the client's address.
    pub addresses: i64,
    /// In older rows, persons become pseudonyms.
    pub persons: i64,
    /// Older rows and sums are deleted.
    pub sums: i64,
    /// Older audit events are deleted, but never the last one.
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
    /// Whether there may be more to do.
    pub goes_on: bool,
}

/// A line of a usage report, with `keys` in the order of `UsageQuery::by`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageRow {
    pub keys: Vec<String>,
    pub requests: u64,
    pub ok: u64,
    /// Refused by the gateway or by an adapter.
    pub refused: u64,
    /// Neither `ok`, nor refused, nor given up by the client.
    pub failed: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub total_tokens: u64,
}

/// Something that applies for a while on all replicas: maintenance, or a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub scope: NoticeScope,
    /// The text that users see; empty for a block.
    pub text: String,
    /// Unix microseconds; `None`: it has already begun.
    pub begins_at: Option<i64>,
    /// `None`: until it is cleared.
    pub ends_at: Option<i64>,
}

/// What is under maintenance, or who is blocked.
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
    /// Whether it applies at this moment.
    pub fn holds_at(&self, unix_micros: i64) -> bool {
        self.begins_at.is_none_or(|at| at <= unix_micros)
            && self.ends_at.is_none_or(|at| unix_micros < at)
    }
}

/// The form in the store: `all`, `cluster:NAME`, `model:NAME`, `block-user:NAME`, ...
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

/// Everything that Ostia keeps in a database. `ostia-store` has one implementation for each database.
pub trait Store: Send + Sync + 'static {
    /// Writes final rows in one transaction. A row whose id exists already is left alone. Returns the number of new
    /// rows.
    fn insert_rows<'a>(
        &'a self,
        rows: &'a [LedgerRow<'a>],
    ) -> BoxFuture<'a, Result<u64, StoreError>>;

    /// The key with this SHA-256, even if it is revoked or expired.
    fn key_by_hash<'a>(
        &'a self,
        hash: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Option<ApiKey>, StoreError>>;

    fn create_key<'a>(&'a self, key: &'a NewApiKey) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The changes to keys after `after`, at most a thousand, whoever made them. `None`: no changes, only where to
    /// begin.
    fn key_changes(&self, after: Option<i64>) -> BoxFuture<'_, Result<KeyChanges, StoreError>>;

    /// Resolves when another process has changed keys. Never resolves on a database without notifications; callers then
    /// poll.
    fn keys_changed(&self) -> BoxFuture<'_, ()>;

    fn list_keys(&self) -> BoxFuture<'_, Result<Vec<ApiKey>, StoreError>>;

    /// Maintenance and blocks, present and future, sorted by scope.
    fn notices(&self) -> BoxFuture<'_, Result<Vec<Notice>, StoreError>>;

    /// Replaces an earlier notice of the same scope.
    fn set_notice<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Result<(), StoreError>>;

    /// `false`: there was none to clear.
    fn clear_notice<'a>(
        &'a self,
        scope: &'a NoticeScope,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Takes those of these names that no other process holds, and says for each whether `holder` has it now. Times are
    /// Unix microseconds; `until` = `now` gives them up.
    fn hold_turns<'a>(
        &'a self,
        names: &'a [String],
        holder: &'a str,
        now: i64,
        until: i64,
    ) -> BoxFuture<'a, Result<Vec<bool>, StoreError>>;

    /// Records the last use of keys. Called for many keys at once, and never while a request waits.
    fn touch_keys<'a>(
        &'a self,
        used: &'a [(Arc<str>, i64)],
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    fn usage<'a>(
        &'a self,
        query: &'a UsageQuery,
    ) -> BoxFuture<'a, Result<Vec<UsageRow>, StoreError>>;

    /// People, and what was done to them.
    fn people(&self) -> &dyn People;

    /// Sessions of browsers.
    fn sessions(&self) -> &dyn Sessions;

    /// Passes the rows that match a search to `take`, the newest first. Returns the position of the last row if there
    /// may be more.
    fn find_rows<'a>(
        &'a self,
        filter: &'a RowFilter,
        take: &'a mut (dyn FnMut(&LedgerRow<'_>) + Send),
    ) -> BoxFuture<'a, Result<Option<RowPlace>, StoreError>>;

    /// Leases: where the engines of endpoints without a URL are.
    fn leases(&self) -> &dyn Leases;

    /// Passes rows to `take`, the oldest first. Returns the position of the last row if there may be more.
    fn rows<'a>(
        &'a self,
        query: &'a RowsQuery,
        take: &'a mut (dyn FnMut(&LedgerRow<'_>) + Send),
    ) -> BoxFuture<'a, Result<Option<RowPlace>, StoreError>>;

    /// Records who made responses, and forgets those that have expired.
    fn note_responses<'a>(
        &'a self,
        made: &'a [MadeResponse],
        now: i64,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    fn response<'a>(
        &'a self,
        id: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Option<MadeResponse>, StoreError>>;

    /// Does a part of the pruning, in short transactions. Call it until nothing is left to do.
    fn prune<'a>(&'a self, due: &'a Retention) -> BoxFuture<'a, Result<Pruned, StoreError>>;

    /// Sets the time zone of the days and months in reports. `false`: there are rows already, and their reports are in
    /// another zone.
    fn keep_reports_in<'a>(&'a self, zone: &'a str) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// A cheap query that shows whether the database answers.
    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}
