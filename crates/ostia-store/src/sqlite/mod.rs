//! In: a path, ledger rows, keys, questions. Out: what the SQLite file says.
//! Here: opening the file, migrations, a writer for the ledger, one for keys, and a few readers.
//! Not here: anything another database would do the same way (`columns`, `tally`).

mod bulk;
mod failure;
mod keys;
mod notices;
mod rows;
mod usage;
mod writer;

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ostia_core::{
    ApiKey, BoxFuture, LedgerRow, NewApiKey, Notice, NoticeScope, Store, StoreError, UsageQuery,
    UsageRow,
};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection, SqlitePool};
use tokio::time::{Instant, sleep};

use failure::{broken, busy, failed};
use writer::Writer;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// How long a statement waits for another process that holds the file's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const BUSY_PAUSE: Duration = Duration::from_millis(10);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;
/// Negative: KiB, not pages. The inner pages of the ledger's trees stay in memory.
const WRITER_CACHE_KIB: &str = "-16384";

/// A ledger in one SQLite file, in write-ahead mode: readers never wait for a writer.
pub struct SqliteStore {
    /// For rows alone, so that nothing else waits behind a batch of them.
    ledger: Writer,
    keys: Writer,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens or creates (mode 0600) the file at `path` and brings its schema up to date.
    ///
    /// # Errors
    ///
    /// `Broken` if the folder is missing, the file is not a SQLite database, or its schema is newer than this binary's.
    pub async fn open(path: &str) -> Result<Self, StoreError> {
        create_file(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(BUSY_TIMEOUT)
            .journal_mode(SqliteJournalMode::Wal)
            // A commit must be on disk before the journal forgets its rows.
            .synchronous(SqliteSynchronous::Full)
            .disable_statement_logging();
        let writing = options
            .clone()
            // Statements over many rows keep an undo log, by default in a temporary file.
            .pragma("temp_store", "MEMORY")
            .pragma("cache_size", WRITER_CACHE_KIB);
        // The ledger's thread connects when it inserts the first row, so that SQLite's thread inherits its priority.
        let ledger = Writer::new(pool(1).connect_lazy_with(writing.clone()));
        let keys = connect(pool(1), writing).await.map_err(failed);
        let keys = Writer::new(keys.map_err(|error| about(path, error))?);
        let migrated = migrate(&mut *keys.lend().await?).await;
        migrated.map_err(|error| about(path, error))?;
        let readers = pool(READERS).connect_lazy_with(options.pragma("query_only", "ON"));
        Ok(Self {
            ledger,
            keys,
            readers,
        })
    }
}

/// SQLite's own texts do not say which file they mean.
fn about(path: &str, error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(text) => StoreError::Unavailable(format!("{path}: {text}")),
        StoreError::Broken(text) => StoreError::Broken(format!("{path}: {text}")),
    }
}

/// SQLite does not call the busy handler while it switches a new file to write-ahead mode
/// (<https://www.sqlite.org/rescode.html#busy>): when several processes open it at once, one wins and the others retry.
async fn connect(
    pool: SqlitePoolOptions,
    options: SqliteConnectOptions,
) -> Result<SqlitePool, sqlx::Error> {
    let patience = Instant::now() + BUSY_TIMEOUT;
    loop {
        match pool.clone().connect_with(options.clone()).await {
            Err(error) if busy(&error) && Instant::now() < patience => sleep(BUSY_PAUSE).await,
            outcome => return outcome,
        }
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        // A disk that fails or is full makes SQLite end a transaction by itself; sqlx's own ROLLBACK then fails, and sqlx
        // would believe for ever that the connection is inside that transaction and refuse to begin another.
        .before_acquire(|connection, _| {
            let usable = !connection.is_in_transaction();
            Box::pin(async move { Ok(usable) })
        })
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
}

/// SQLite would create the file with the umask's mode; its `-wal` and `-shm` files take the mode of the file.
fn create_file(path: &str) -> Result<(), StoreError> {
    if path.is_empty() || path.starts_with(':') || path.contains(['?', '\0']) {
        return Err(broken(
            "store.url: expected sqlite://PATH, a file without options",
        ));
    }
    let folder = match Path::new(path).parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(broken(format!(
            "store.url: the folder {} does not exist",
            folder.display()
        )));
    }
    // Never opened when it is there: closing it would drop every lock that this process has on it (POSIX, fcntl).
    let created = OpenOptions::new()
        .create_new(true)
        .append(true)
        .mode(0o600)
        .open(path);
    match created {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(StoreError::Unavailable(format!("{path}: {error}")))
        }
        _ => Ok(()),
    }
}

/// All pending migrations in one transaction, which begins by taking the write lock: a crash leaves the old schema, and of
/// two processes that start together one waits for the other.
async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let mut transaction = connection
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(failed)?;
    let latest = MIGRATIONS.iter().map(|one| one.version).max().unwrap_or(0);
    MIGRATIONS
        .run_direct(None, &mut *transaction, false)
        .await
        .map_err(|error| match error {
            MigrateError::VersionMissing(version) if version > latest => broken(format!(
                "the database has schema {version}, this ostia knows {latest}: use the newer ostia that wrote it"
            )),
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => failed(error),
            other => broken(other.to_string()),
        })?;
    transaction.commit().await.map_err(failed)
}

impl Store for SqliteStore {
    fn insert_rows<'a>(
        &'a self,
        rows: &'a [LedgerRow<'a>],
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            let mut connection = self.ledger.lend().await?;
            let done = rows::insert(&mut connection, rows).await;
            connection.end(done)
        })
    }

    fn key_by_hash<'a>(
        &'a self,
        hash: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Option<ApiKey>, StoreError>> {
        Box::pin(keys::by_hash(&self.readers, hash))
    }

    fn create_key<'a>(&'a self, key: &'a NewApiKey) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(keys::create(&self.keys, key))
    }

    fn list_keys(&self) -> BoxFuture<'_, Result<Vec<ApiKey>, StoreError>> {
        Box::pin(keys::list(&self.readers))
    }

    fn expire_key<'a>(
        &'a self,
        id: &'a str,
        expires_at: i64,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(keys::expire(&self.keys, id, expires_at))
    }

    fn revoke_key<'a>(&'a self, id: &'a str, now: i64) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(keys::revoke(&self.keys, id, now))
    }

    fn notices(&self) -> BoxFuture<'_, Result<Vec<Notice>, StoreError>> {
        Box::pin(notices::list(&self.readers))
    }

    fn set_notice<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(notices::set(&self.keys, notice))
    }

    fn clear_notice<'a>(
        &'a self,
        scope: &'a NoticeScope,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(notices::clear(&self.keys, scope))
    }

    fn touch_keys<'a>(
        &'a self,
        used: &'a [(Arc<str>, i64)],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(keys::touch(&self.keys, used))
    }

    fn usage<'a>(
        &'a self,
        query: &'a UsageQuery,
    ) -> BoxFuture<'a, Result<Vec<UsageRow>, StoreError>> {
        Box::pin(usage::report(&self.readers, query))
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            sqlx::query("SELECT 1 FROM ledger LIMIT 1")
                .fetch_optional(&self.readers)
                .await
                .map(drop)
                .map_err(failed)
        })
    }
}

#[cfg(test)]
mod tests;
