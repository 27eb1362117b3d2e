//! In: ledger rows, API keys, queries about usage. Out: what a database answers.
//! Here: all SQL, one folder for each database, with its own migrations under `migrations/`.
//! Not here: what a row means, when rows are written (the gateway's `account` room), hashing of keys.
//!
//! To add a database: 1. a folder beside `sqlite/` with `engine`, `bulk`, `failure` and a `Handle`, which includes the files
//! of `shared/`; 2. its migrations; 3. its arms in [`Address`]; 4. a test that runs `story::run` on it. To add a table:
//! `shared/mod.rs`.

mod block;
mod calendar;
mod cell;
mod columns;
mod copy;
mod levels;
mod lines;
mod migrations;
mod postgres;
mod pseudonym;
mod release;
mod report;
mod seen;
mod shared;
mod sqlite;
#[cfg(test)]
mod story;
mod tally;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

use std::sync::Arc;

use ostia_core::{Store, StoreError};

pub use copy::Copied;
pub use release::{RELEASE, Schema, Standing};

/// Which database a `store.url` names.
enum Address<'a> {
    Sqlite(&'a str),
    Postgres(&'a str),
}

/// Opens the store that `url` names.
///
/// `sqlite://PATH`: brings the schema up to date. The folder of PATH must exist. `postgres://...`: does not connect before
/// the first query, and leaves the schema to [`migrate`].
///
/// # Errors
///
/// `Broken` for a URL of another kind, a schema that is newer than this binary, or a missing folder; `Unavailable` if the
/// file cannot be opened. Messages contain no more of the URL than its scheme and, for SQLite, the path.
pub async fn open(url: &str) -> Result<Arc<dyn Store>, StoreError> {
    match Handle::open(url).await? {
        Handle::Sqlite(store) => Ok(Arc::new(store)),
        Handle::Postgres(store) => Ok(Arc::new(store)),
    }
}

/// The same for a store that is only read: if it does not exist, it is not created.
///
/// # Errors
///
/// As [`open`], and `Broken` with the file's path if the file does not exist.
pub async fn open_existing(url: &str) -> Result<Arc<dyn Store>, StoreError> {
    if let Address::Sqlite(path) = Address::parse(url)?
        && !std::path::Path::new(path).exists()
    {
        return Err(StoreError::Broken(format!("{path} does not exist")));
    }
    open(url).await
}

/// Brings the schema up to date, and rebuilds the roll-up if its time zone changes.
///
/// # Errors
///
/// `Broken` if the schema is newer than this binary, or if a migration fails; then nothing was changed.
pub async fn migrate(url: &str, zone: &str) -> Result<(), StoreError> {
    if let Address::Postgres(url) = Address::parse(url)? {
        postgres::migrate(url).await?;
    }
    let handle = Handle::open(url).await?;
    if handle.store().keep_reports_in(zone).await? {
        return match &handle {
            Handle::Sqlite(store) => store.refill().await,
            Handle::Postgres(store) => store.refill().await,
        };
    }
    match &handle {
        Handle::Sqlite(store) => store.rebuild(zone).await,
        Handle::Postgres(store) => store.rebuild(zone).await,
    }
}

/// The schema of the database, and the version that this ostia knows. For SQLite, this brings the file up to date first.
///
/// # Errors
///
/// As [`open_existing`].
pub async fn schema(url: &str) -> Result<(Schema, i64), StoreError> {
    match Address::parse(url)? {
        Address::Sqlite(path) => {
            let store = sqlite::Handle::open(path).await?;
            Ok((store.schema().await?, sqlite::latest()))
        }
        Address::Postgres(url) => postgres::schema(url).await,
    }
}

/// Copies everything from one database into another, which must be empty, in one transaction.
///
/// # Errors
///
/// One of them cannot be reached or is not up to date, or the target is not empty. Then nothing was changed.
pub async fn copy(from: &str, to: &str) -> Result<Copied, StoreError> {
    let (from, to) = (Handle::open(from).await?, Handle::open(to).await?);
    let copied = copy::copy(from.source().await?, to.target().await?).await;
    to.close().await;
    copied
}

/// A store of any kind.
enum Handle {
    Sqlite(sqlite::Handle),
    Postgres(postgres::Handle),
}

impl Handle {
    async fn open(url: &str) -> Result<Self, StoreError> {
        match Address::parse(url)? {
            Address::Sqlite(path) => sqlite::Handle::open(path).await.map(Self::Sqlite),
            Address::Postgres(url) => postgres::Handle::open(url).map(Self::Postgres),
        }
    }

    fn store(&self) -> &dyn Store {
        match self {
            Self::Sqlite(store) => store,
            Self::Postgres(store) => store,
        }
    }

    async fn close(&self) {
        match self {
            Self::Sqlite(store) => store.close().await,
            Self::Postgres(store) => store.close().await,
        }
    }

    async fn source(&self) -> Result<Box<dyn copy::Side>, StoreError> {
        match self {
            Self::Sqlite(store) => store.source().await,
            Self::Postgres(store) => store.source().await,
        }
    }

    async fn target(&self) -> Result<Box<dyn copy::Side>, StoreError> {
        match self {
            Self::Sqlite(store) => store.target().await,
            Self::Postgres(store) => store.target().await,
        }
    }
}

impl<'a> Address<'a> {
    fn parse(url: &'a str) -> Result<Self, StoreError> {
        let known = "expected sqlite://PATH or postgres://USER:PASSWORD@HOST/DATABASE";
        match url.split_once(':') {
            Some(("sqlite", rest)) => Ok(Self::Sqlite(rest.strip_prefix("//").unwrap_or(rest))),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(url)),
            // The text before the colon may be part of a secret that was put in the wrong place.
            Some(_) => Err(StoreError::Broken(format!(
                "store.url: unknown scheme: {known}"
            ))),
            None => Err(StoreError::Broken(format!(
                "store.url has no scheme: {known}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{open, open_existing};

    #[tokio::test]
    async fn a_refused_url_shows_its_scheme_and_nothing_else() {
        for (url, expected) in [
            (
                "postgres://ostia:hunter2@db.lab.org/ledger?hunter2=1",
                "not known",
            ),
            (
                "postgres://ostia:hunter2@[db.lab.org/ledger",
                "cannot be understood",
            ),
            (
                "postgresql://ostia:hunter2@db.lab.org:port/ledger",
                "cannot be understood",
            ),
            ("hunter2:5432", "unknown scheme"),
            ("hunter2", "no scheme"),
        ] {
            let error = open(url).await.err().expect("refused").to_string();
            assert!(error.contains(expected), "{error}");
            for private in ["hunter2", "db.lab.org", "ostia:"] {
                assert!(!error.contains(private), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn a_store_that_is_only_looked_at_is_not_created() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ostia.db");
        let url = format!("sqlite://{}", path.display());
        let error = open_existing(&url).await.err().expect("refused");
        assert!(error.to_string().contains("ostia.db does not exist"));
        assert!(!path.exists());
        drop(open(&url).await.unwrap());
        open_existing(&url).await.unwrap().ping().await.unwrap();
    }
}
