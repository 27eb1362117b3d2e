use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ostia_core::{
    ApiKey, BoxFuture, KeyChanges, Leases, LedgerRow, MadeResponse, NewApiKey, Notice, NoticeScope,
    Outcome, People, Pruned, RequestId, Retention, RowFilter, RowPlace, RowsQuery, Sessions, Store,
    StoreError, UsageQuery, UsageRow,
};
use parking_lot::Mutex;

/// A store in memory that can be down, or die after it committed.
#[derive(Default)]
pub(super) struct MemoryStore {
    rows: Mutex<HashMap<RequestId, Kept>>,
    pub(super) down: AtomicBool,
    /// The next batch is committed, but its writer is told that it failed.
    pub(super) lose_answer: AtomicBool,
    /// Rows that were brought, including known ones.
    pub(super) brought: AtomicUsize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) user: String,
    pub(super) error_code: String,
    pub(super) slug: String,
    pub(super) outcome: Outcome,
    pub(super) tokens: u64,
    pub(super) count: u32,
    pub(super) finished_at: i64,
    pub(super) duration_ms: u64,
}

impl MemoryStore {
    pub(super) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Another store with the same rows.
    pub(super) fn fork(&self) -> Self {
        Self {
            rows: Mutex::new(self.rows.lock().clone()),
            ..Self::default()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.lock().len()
    }

    pub(super) fn row(&self, id: RequestId) -> Option<Kept> {
        self.rows.lock().get(&id).cloned()
    }

    pub(super) fn tokens(&self) -> HashMap<RequestId, u64> {
        self.map(|row| row.tokens)
    }

    pub(super) fn outcomes(&self) -> HashMap<RequestId, Outcome> {
        self.map(|row| row.outcome)
    }

    pub(super) fn counts(&self, user: &str, error_code: &str) -> Vec<u32> {
        let rows = self.rows.lock();
        rows.values()
            .filter(|row| row.user == user && row.error_code == error_code)
            .map(|row| row.count)
            .collect()
    }

    /// How many requests ended this way, including folded ones.
    pub(super) fn total(&self, outcome: Outcome) -> u32 {
        let rows = self.rows.lock();
        let ended_so = rows.values().filter(|row| row.outcome == outcome);
        ended_so.map(|row| row.count).sum()
    }

    fn map<T>(&self, of: impl Fn(&Kept) -> T) -> HashMap<RequestId, T> {
        let rows = self.rows.lock();
        rows.iter().map(|(&id, row)| (id, of(row))).collect()
    }

    fn insert(&self, rows: &[LedgerRow<'_>]) -> Result<u64, StoreError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("down".into()));
        }
        self.brought.fetch_add(rows.len(), Ordering::SeqCst);
        let mut kept = self.rows.lock();
        let before = kept.len();
        for row in rows {
            kept.entry(row.request_id).or_insert_with(|| Kept {
                user: row.user_id.to_string(),
                error_code: row.error_code.to_string(),
                slug: row.endpoint_slug.to_string(),
                outcome: row.outcome,
                tokens: row.total_tokens,
                count: row.count,
                finished_at: row.finished_at,
                duration_ms: row.duration_ms,
            });
        }
        if self.lose_answer.swap(false, Ordering::SeqCst) {
            return Err(StoreError::Unavailable("connection lost".into()));
        }
        Ok((kept.len() - before) as u64)
    }
}

fn not_here<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, StoreError>> {
    Box::pin(async { Err(StoreError::Broken("rows only".into())) })
}

impl Store for MemoryStore {
    fn insert_rows<'a>(
        &'a self,
        rows: &'a [LedgerRow<'a>],
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move { self.insert(rows) })
    }

    fn key_by_hash<'a>(
        &'a self,
        _: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Option<ApiKey>, StoreError>> {
        not_here()
    }

    fn create_key<'a>(&'a self, _: &'a NewApiKey) -> BoxFuture<'a, Result<(), StoreError>> {
        not_here()
    }

    fn key_changes(&self, _: Option<i64>) -> BoxFuture<'_, Result<KeyChanges, StoreError>> {
        unreachable!("the ledger asks for no keys")
    }

    fn sessions(&self) -> &dyn Sessions {
        unreachable!("the ledger knows no browsers")
    }

    fn find_rows<'a>(
        &'a self,
        _: &'a RowFilter,
        _: &'a mut (dyn FnMut(&LedgerRow<'_>) + Send),
    ) -> BoxFuture<'a, Result<Option<RowPlace>, StoreError>> {
        not_here()
    }

    fn rows<'a>(
        &'a self,
        _: &'a RowsQuery,
        _: &'a mut (dyn FnMut(&LedgerRow<'_>) + Send),
    ) -> BoxFuture<'a, Result<Option<RowPlace>, StoreError>> {
        unreachable!("the ledger reads no rows")
    }

    fn note_responses<'a>(
        &'a self,
        _: &'a [MadeResponse],
        _: i64,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        unreachable!("the ledger knows of no responses")
    }

    fn response<'a>(
        &'a self,
        _: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Option<MadeResponse>, StoreError>> {
        unreachable!("the ledger knows of no responses")
    }

    fn prune<'a>(&'a self, _: &'a Retention) -> BoxFuture<'a, Result<Pruned, StoreError>> {
        unreachable!("the ledger prunes nothing")
    }

    fn keep_reports_in<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        unreachable!("the ledger keeps no reports")
    }

    fn keys_changed(&self) -> BoxFuture<'_, ()> {
        unreachable!("the ledger waits for no keys")
    }

    fn list_keys(&self) -> BoxFuture<'_, Result<Vec<ApiKey>, StoreError>> {
        not_here()
    }

    fn notices(&self) -> BoxFuture<'_, Result<Vec<Notice>, StoreError>> {
        not_here()
    }

    fn set_notice<'a>(&'a self, _: &'a Notice) -> BoxFuture<'a, Result<(), StoreError>> {
        not_here()
    }

    fn clear_notice<'a>(&'a self, _: &'a NoticeScope) -> BoxFuture<'a, Result<bool, StoreError>> {
        not_here()
    }

    fn hold_turns<'a>(
        &'a self,
        _: &'a [String],
        _: &'a str,
        _: i64,
        _: i64,
    ) -> BoxFuture<'a, Result<Vec<bool>, StoreError>> {
        not_here()
    }

    fn touch_keys<'a>(&'a self, _: &'a [(Arc<str>, i64)]) -> BoxFuture<'a, Result<(), StoreError>> {
        not_here()
    }

    fn usage<'a>(&'a self, _: &'a UsageQuery) -> BoxFuture<'a, Result<Vec<UsageRow>, StoreError>> {
        not_here()
    }

    fn people(&self) -> &dyn People {
        unreachable!("rows only")
    }

    fn leases(&self) -> &dyn Leases {
        unreachable!("rows only")
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        not_here()
    }
}
