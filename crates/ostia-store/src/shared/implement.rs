//! The trait `Store`, which is the same for both databases.

use std::sync::Arc;

use ostia_core::{
    ApiKey, BoxFuture, KeyChanges, LedgerRow, NewApiKey, RowPlace, RowsQuery, Store, StoreError,
    UsageQuery, UsageRow,
};

use super::{Handle, keys, rows, sums, usage};

impl Store for Handle {
    fn insert_rows<'a>(
        &'a self,
        rows: &'a [LedgerRow<'a>],
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            if rows.is_empty() {
                return Ok(0);
            }
            match rows::insert_new(self.write_rows().await?, rows).await? {
                Some(new) => Ok(new),
                None => rows::insert_some(self.write_rows().await?, rows).await,
            }
        })
    }

    fn key_by_hash<'a>(
        &'a self,
        hash: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Option<ApiKey>, StoreError>> {
        Box::pin(async move { keys::by_hash(self.read().await?, hash).await })
    }

    fn create_key<'a>(&'a self, key: &'a NewApiKey) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { keys::create(self.write().await?, key).await })
    }

    fn key_changes(&self, after: Option<i64>) -> BoxFuture<'_, Result<KeyChanges, StoreError>> {
        Box::pin(async move { keys::changes(self.read().await?, after).await })
    }

    fn list_keys(&self) -> BoxFuture<'_, Result<Vec<ApiKey>, StoreError>> {
        Box::pin(async move { keys::list(self.read().await?).await })
    }

    fn expire_key<'a>(
        &'a self,
        id: &'a str,
        expires_at: i64,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move { keys::expire(self.write().await?, id, expires_at).await })
    }

    fn revoke_key<'a>(&'a self, id: &'a str, now: i64) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move { keys::revoke(self.write().await?, id, now).await })
    }

    fn touch_keys<'a>(
        &'a self,
        used: &'a [(Arc<str>, i64)],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            if used.is_empty() {
                return Ok(());
            }
            keys::touch(self.write().await?, used).await
        })
    }

    fn usage<'a>(
        &'a self,
        query: &'a UsageQuery,
    ) -> BoxFuture<'a, Result<Vec<UsageRow>, StoreError>> {
        Box::pin(async move { usage::report(self.read_much().await?, query).await })
    }

    fn rows<'a>(
        &'a self,
        query: &'a RowsQuery,
        take: &'a mut (dyn FnMut(&LedgerRow<'_>) + Send),
    ) -> BoxFuture<'a, Result<Option<RowPlace>, StoreError>> {
        Box::pin(async move { rows::export(self.read_much().await?, query, take).await })
    }

    fn keep_reports_in<'a>(&'a self, zone: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move { sums::keep_in(self.write().await?, zone).await })
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.look_at_the_file().await?;
            let mut work = self.read().await?;
            let found = work.one(sqlx::query("SELECT 1 FROM ledger LIMIT 1")).await;
            work.end(found).await.map(drop)
        })
    }
}
