//! In: a path, ledger rows, keys, queries. Out: what the SQLite file holds.
//! Here: opening the file, migrations, a writer for the ledger, one for keys, and a few readers.
//! Not here: anything that is the same for other databases (`shared`, `columns`, `tally`).

mod bulk;
mod engine;
mod failure;
mod file;
mod holder;
mod schema;

#[path = "../shared/dump.rs"]
mod dump;
#[path = "../shared/find.rs"]
mod find;
#[path = "../shared/implement.rs"]
mod implement;
#[path = "../shared/keys.rs"]
mod keys;
#[path = "../shared/leases.rs"]
mod leases;
#[path = "../shared/meta.rs"]
mod meta;
#[path = "../shared/notices.rs"]
mod notices;
#[path = "../shared/people/mod.rs"]
mod people;
#[path = "../shared/prune.rs"]
mod prune;
#[path = "../shared/responses.rs"]
mod responses;
#[path = "../shared/rows.rs"]
mod rows;
#[path = "../shared/sessions.rs"]
mod sessions;
#[path = "../shared/sums.rs"]
mod sums;
#[path = "../shared/turns.rs"]
mod turns;
#[path = "../shared/usage.rs"]
mod usage;
#[path = "../shared/work.rs"]
mod work;

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ostia_core::StoreError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqlitePool};
use tokio::time::{Instant, sleep};

use crate::copy::Side;
use crate::release::Schema;
use dump::Dump;
use failure::{broken, busy, failed};
use file::File;
use holder::holder;
pub(crate) use schema::latest;
use work::Work;

/// How long a statement waits if another process holds the file's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const BUSY_PAUSE: Duration = Duration::from_millis(10);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;
const REPORTS: u32 = 2;
/// The longest statement of a sign-in, or of something as small.
const STATEMENT: Duration = Duration::from_secs(30);
/// Negative: in KiB, not pages. Enough to keep the inner pages of the ledger's trees in memory.
const REPORT_CACHE_KIB: &str = "-32768";
const WRITER_CACHE_KIB: &str = "-16384";

/// A store in one SQLite file, in write-ahead mode: readers never wait for a writer. SQLite allows one writer at a
/// time. A pool of one connection queues the writers fairly, while several connections would spin on the lock.
pub(crate) struct Handle {
    /// For ledger rows only, so that nothing else waits behind a batch of them.
    file: Arc<File>,
    ledger: SqlitePool,
    keys: SqlitePool,
    readers: SqlitePool,
    reports: SqlitePool,
}

impl Handle {
    /// Opens or creates (mode 0600) the file at `path` and brings its schema up to date.
    ///
    /// # Errors
    ///
    /// `Broken` if the folder is missing, the file is not a SQLite database, or its schema is newer than this binary's.
    pub(crate) async fn open(path: &str) -> Result<Self, StoreError> {
        create_file(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(BUSY_TIMEOUT)
            .journal_mode(SqliteJournalMode::Wal)
            // A commit must be on disk before the journal drops its rows.
            .synchronous(SqliteSynchronous::Full)
            .disable_statement_logging();
        let writing = options
            .clone()
            // Statements over many rows keep an undo log, which would go to a temporary file.
            .pragma("temp_store", "MEMORY")
            .pragma("cache_size", WRITER_CACHE_KIB);
        // Connects when the ledger's thread inserts its first row, so that SQLite's thread inherits that thread's
        // priority.
        let file = Arc::new(File::new(path));
        let pool = |connections| pool(connections, &file);
        let ledger = pool(1).connect_lazy_with(writing.clone());
        let keys = connect(pool(1), writing).await.map_err(failed);
        let keys = keys.map_err(|error| about(path, error))?;
        let migrated = schema::bring_up_to_date(&mut *keys.acquire().await.map_err(failed)?).await;
        migrated.map_err(|error| about(path, error))?;
        let reading = options.pragma("query_only", "ON");
        let readers = pool(READERS).connect_lazy_with(reading.clone());
        let reports =
            pool(REPORTS).connect_lazy_with(reading.pragma("cache_size", REPORT_CACHE_KIB));
        Ok(Self {
            file: Arc::clone(&file),
            ledger,
            keys,
            readers,
            reports,
        })
    }

    async fn read(&self) -> Result<Work, StoreError> {
        let begun = Work::begin(&self.readers, true, "BEGIN").await?;
        Ok(begun.within(STATEMENT))
    }

    /// For reports and exports, which may take long and must not delay sign-in.
    async fn read_much(&self) -> Result<Work, StoreError> {
        Work::begin(&self.reports, true, "BEGIN").await
    }

    /// Takes the write lock at the start: a transaction that begins by reading might never get it.
    async fn write(&self) -> Result<Work, StoreError> {
        self.wait_for(&self.keys).await
    }

    /// The file as it is now, to copy from.
    pub(crate) async fn source(&self) -> Result<Box<dyn Side>, StoreError> {
        Ok(Box::new(Dump(self.read_much().await?)))
    }

    /// The file to copy to. Nobody else can write to it meanwhile.
    pub(crate) async fn target(&self) -> Result<Box<dyn Side>, StoreError> {
        Ok(Box::new(Dump(self.write().await?)))
    }

    /// Rebuilds the roll-up with the days and months of a time zone.
    pub(crate) async fn rebuild(&self, zone: &str) -> Result<(), StoreError> {
        sums::rebuild(self.write_rows().await?, zone).await
    }

    pub(crate) async fn schema(&self) -> Result<Schema, StoreError> {
        let mut work = self.read().await?;
        let found = schema::found(work.connection()).await;
        work.end(found).await
    }

    /// Closes the connections. What was committed is in the file.
    pub(crate) async fn close(&self) {
        self.ledger.close().await;
        self.keys.close().await;
        self.readers.close().await;
        self.reports.close().await;
    }

    async fn write_rows(&self) -> Result<Work, StoreError> {
        self.look_at_the_file().await?;
        self.wait_for(&self.ledger).await
    }

    /// If the wait was in vain, the error names the process that holds the lock.
    async fn wait_for(&self, pool: &SqlitePool) -> Result<Work, StoreError> {
        let begun = Work::begin(pool, true, "BEGIN IMMEDIATE").await;
        begun.map_err(|error| match error {
            StoreError::Unavailable(text) if text.contains("locked") => {
                let holder = holder(self.file.path());
                StoreError::Unavailable(match holder {
                    Some(holder) => format!("{text}, {holder}"),
                    None => text,
                })
            }
            error => error,
        })
    }

    /// SQLite has no notifications.
    async fn listen(&self) {
        std::future::pending().await
    }

    /// If the file was replaced, the new one is migrated before anything is written to it.
    async fn look_at_the_file(&self) -> Result<(), StoreError> {
        if !self.file.is_new().await? {
            return Ok(());
        }
        let mut connection = self.keys.acquire().await.map_err(failed)?;
        schema::bring_up_to_date(&mut connection).await
    }
}

/// Adds the path, because SQLite's own messages do not name the file.
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

fn pool(connections: u32, file: &Arc<File>) -> SqlitePoolOptions {
    let file = Arc::clone(file);
    SqlitePoolOptions::new()
        .before_acquire(move |_, connection| {
            let has = file.has(connection.age);
            Box::pin(async move { Ok(has) })
        })
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
}

/// SQLite would create the file with the umask's mode. Its `-wal` and `-shm` files take the mode of the file.
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
    // An existing file is never opened here: closing it would drop every lock that this process has on it (POSIX,
    // fcntl).
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

#[cfg(test)]
mod tests;
