//! In: ledger rows, API keys, questions about usage. Out: what a database says about them.
//! Here: all SQL, one folder for each database, with its own migrations under `migrations/`.
//! Not here: what a row means, when rows are written (the gateway's `account` room), hashing of keys.
//!
//! To add a database: 1. a folder beside `sqlite/` with a type that implements [`Store`]; 2. its migrations;
//! 3. an arm in [`open`]; 4. a test that runs `story::run` on it.

#[cfg(feature = "sqlite")]
pub mod sqlite;

mod columns;
#[cfg(test)]
mod story;
mod tally;

use std::sync::Arc;

use ostia_core::{Store, StoreError};

/// Opens the store that `url` names, and brings its schema up to date.
///
/// `sqlite://PATH`, where the folder of PATH must exist.
///
/// # Errors
///
/// `Broken` for a URL of another kind, a schema that is newer than this binary, or a folder that is missing; `Unavailable`
/// when the database cannot be reached. No message holds more of the URL than its scheme and, for SQLite, the path.
pub async fn open(url: &str) -> Result<Arc<dyn Store>, StoreError> {
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(StoreError::Broken(
            "store.url has no scheme: expected sqlite://PATH".into(),
        ));
    };
    match scheme {
        #[cfg(feature = "sqlite")]
        "sqlite" => {
            let store = sqlite::SqliteStore::open(without_slashes(rest)).await?;
            Ok(Arc::new(store))
        }
        _ => Err(StoreError::Broken(refusal(scheme))),
    }
}

/// The same for a store that is only looked at: one that does not exist is not created.
///
/// # Errors
///
/// As [`open`], and `Broken` with the file's path where there is none.
pub async fn open_existing(url: &str) -> Result<Arc<dyn Store>, StoreError> {
    if let Some(rest) = url.strip_prefix("sqlite:") {
        let path = without_slashes(rest);
        if !std::path::Path::new(path).exists() {
            return Err(StoreError::Broken(format!("{path} does not exist")));
        }
    }
    open(url).await
}

fn without_slashes(rest: &str) -> &str {
    rest.strip_prefix("//").unwrap_or(rest)
}

fn refusal(scheme: &str) -> String {
    match scheme {
        "postgres" | "postgresql" => {
            format!("store.url: {scheme} databases are not served yet: use sqlite://PATH")
        }
        // An unknown text before the colon may be part of a secret that was put in the wrong place.
        _ => "store.url: unknown scheme: expected sqlite://PATH".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{open, open_existing};

    #[tokio::test]
    async fn a_refused_url_shows_its_scheme_and_nothing_else() {
        for (url, expected) in [
            (
                "postgres://ostia:hunter2@db.lab.org/ledger",
                "postgres databases are not served yet",
            ),
            (
                "postgresql://ostia:hunter2@db.lab.org/ledger",
                "postgresql databases are not served yet",
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
