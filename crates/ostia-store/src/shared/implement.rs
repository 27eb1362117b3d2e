//! The trait `Store`, which is the same for both databases.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ostia_core::{
    ApiKey, AuditEvent, AuditQuery, AuditRow, BoxFuture, Change, Holding, KeyChanges, KeyFilter,
    Lease, LeaseHeld, Leases, LedgerRow, MadeResponse, NewApiKey, Notice, NoticeScope, Owner,
    People, Person, Pruned, RequestId, Retention, Roster, RowFilter, RowPlace, RowsQuery, Session,
    Sessions, Store, StoreError, UsageQuery, UsageRow,
};

use super::{
    Handle, blocks, find, keys, leases, notices, people, prune, responses, rows, sessions, turns,
    usage,
};

/// After so many batches of rows the roll-up is tidied.
const TIDY: u64 = 16;

impl Handle {
    /// A step of what keeps the roll-up small and whole. `true`: there may be another.
    async fn tidy(&self) -> Result<bool, StoreError> {
        let gathered = blocks::gather(self.write_rows().await?).await?;
        let refilled = blocks::refill(self.write_rows().await?, false).await?;
        Ok(gathered || refilled)
    }
}

impl Store for Handle {
    fn insert_rows<'a>(
        &'a self,
        rows: &'a [LedgerRow<'a>],
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            if rows.is_empty() {
                return Ok(0);
            }
            let new = match rows::insert_new(self.write_rows().await?, rows, &self.seen).await? {
                Some(new) => new,
                None => rows::insert_some(self.write_rows().await?, rows).await?,
            };
            if self.batches.fetch_add(1, Ordering::Relaxed) % TIDY == TIDY - 1 {
                // The rows are in the database, whatever becomes of this: pruning tells what fails, and does it again.
                let _ = self.tidy().await;
            }
            Ok(new)
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

    fn keys_changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.listen())
    }

    fn list_keys(&self) -> BoxFuture<'_, Result<Vec<ApiKey>, StoreError>> {
        Box::pin(async move { keys::list(self.read().await?).await })
    }

    fn find_keys<'a>(
        &'a self,
        filter: KeyFilter<'a>,
    ) -> BoxFuture<'a, Result<Vec<ApiKey>, StoreError>> {
        Box::pin(async move {
            if matches!(filter, KeyFilter::Owners([])) {
                return Ok(Vec::new());
            }
            keys::find(self.read().await?, filter).await
        })
    }

    fn notices(&self) -> BoxFuture<'_, Result<Vec<Notice>, StoreError>> {
        Box::pin(async move { notices::list(self.read().await?).await })
    }

    fn set_notice<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { notices::set(self.write().await?, notice).await })
    }

    fn clear_notice<'a>(
        &'a self,
        scope: &'a NoticeScope,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move { notices::clear(self.write().await?, scope).await })
    }

    fn hold_turns<'a>(
        &'a self,
        names: &'a [String],
        holder: &'a str,
        now: i64,
        until: i64,
    ) -> BoxFuture<'a, Result<Vec<bool>, StoreError>> {
        Box::pin(async move { turns::hold(self.write().await?, names, holder, now, until).await })
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

    fn note_responses<'a>(
        &'a self,
        made: &'a [MadeResponse],
        now: i64,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { responses::note(self.write().await?, made, now).await })
    }

    fn response<'a>(
        &'a self,
        id: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Option<MadeResponse>, StoreError>> {
        Box::pin(async move { responses::of(self.read().await?, id).await })
    }

    fn prune<'a>(&'a self, due: &'a Retention) -> BoxFuture<'a, Result<Pruned, StoreError>> {
        Box::pin(async move {
            if self.tidy().await? {
                return Ok(Pruned {
                    goes_on: true,
                    ..Pruned::default()
                });
            }
            let addresses = prune::addresses(self.write().await?, due.addresses).await?;
            let persons = prune::persons(self.write().await?, due.persons).await?;
            let sums = prune::sums(self.write().await?, due).await?;
            let rows = prune::rows(self.write().await?, due.sums).await?;
            self.seen.forget();
            let events = prune::events(self.write().await?, due.audit).await?;
            let steps = [&addresses, &persons, &sums, &rows, &events];
            Ok(Pruned {
                addresses: addresses.rows,
                persons: persons.rows,
                rows: rows.rows,
                events: events.rows,
                goes_on: steps.iter().any(|step| step.goes_on),
            })
        })
    }

    fn keep_reports_in<'a>(&'a self, zone: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            if blocks::is_kept_in(self.read().await?, zone).await? {
                return Ok(true);
            }
            blocks::keep_in(self.write().await?, zone).await
        })
    }

    fn people(&self) -> &dyn People {
        self
    }

    fn sessions(&self) -> &dyn Sessions {
        self
    }

    fn find_rows<'a>(
        &'a self,
        filter: &'a RowFilter,
        take: &'a mut (dyn FnMut(&LedgerRow<'_>) + Send),
    ) -> BoxFuture<'a, Result<Option<RowPlace>, StoreError>> {
        Box::pin(async move { find::rows(self.read_much().await?, filter, take).await })
    }

    fn leases(&self) -> &dyn Leases {
        self
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

impl People for Handle {
    fn change<'a>(
        &'a self,
        changes: &'a [Change],
        events: &'a [AuditEvent],
    ) -> BoxFuture<'a, Result<Vec<u64>, StoreError>> {
        Box::pin(async move {
            let done = people::change(self.write().await?, changes, events).await;
            self.seen.forget();
            done
        })
    }

    fn version(&self) -> BoxFuture<'_, Result<i64, StoreError>> {
        Box::pin(async move { people::version(self.read().await?).await })
    }

    fn roster(&self) -> BoxFuture<'_, Result<Roster, StoreError>> {
        Box::pin(async move { people::roster(self.read().await?).await })
    }

    fn all(&self) -> BoxFuture<'_, Result<Vec<Person>, StoreError>> {
        Box::pin(async move { people::all(self.read_much().await?).await })
    }

    fn owner<'a>(&'a self, username: &'a str) -> BoxFuture<'a, Result<Owner, StoreError>> {
        Box::pin(async move { people::owner(self.read().await?, username).await })
    }

    fn accepted_terms<'a>(
        &'a self,
        person: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        Box::pin(async move { people::accepted_terms(self.read().await?, person).await })
    }

    fn audit<'a>(
        &'a self,
        query: &'a AuditQuery,
    ) -> BoxFuture<'a, Result<Vec<AuditRow>, StoreError>> {
        Box::pin(async move { people::audit(self.read_much().await?, query).await })
    }

    fn rows_of<'a>(
        &'a self,
        user_id: &'a str,
        after: Option<RequestId>,
        limit: u32,
        take: &'a mut (dyn FnMut(&LedgerRow<'_>) + Send),
    ) -> BoxFuture<'a, Result<Option<RequestId>, StoreError>> {
        Box::pin(async move {
            let work = self.read_much().await?;
            people::rows_of(work, user_id, after, limit, take).await
        })
    }
}

impl Sessions for Handle {
    fn open<'a>(&'a self, session: &'a Session) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { sessions::open(self.write().await?, session).await })
    }

    fn session<'a>(
        &'a self,
        id: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Option<Session>, StoreError>> {
        Box::pin(async move { sessions::of(self.read().await?, id).await })
    }

    fn seen<'a>(&'a self, id: &'a [u8; 32], at: i64) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { sessions::seen(self.write().await?, id, at).await })
    }

    fn end<'a>(&'a self, id: &'a [u8; 32]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { sessions::end(self.write().await?, id).await })
    }
}

impl Leases for Handle {
    fn all(&self) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        Box::pin(async move { leases::all(self.read().await?).await })
    }

    fn hold<'a>(&'a self, holding: &'a Holding) -> BoxFuture<'a, Result<LeaseHeld, StoreError>> {
        Box::pin(async move { leases::hold(self.write().await?, holding).await })
    }

    fn give_back<'a>(
        &'a self,
        id: &'a str,
        slug: &'a str,
        key_id: &'a str,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move { leases::give_back(self.write().await?, id, slug, key_id).await })
    }

    fn used<'a>(
        &'a self,
        ids: &'a [Arc<str>],
        believed: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            if ids.is_empty() {
                return Ok(());
            }
            leases::used(self.write().await?, ids, believed).await
        })
    }
}
