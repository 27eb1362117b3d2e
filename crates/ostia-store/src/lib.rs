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
            let path = rest.strip_prefix("//").unwrap_or(rest);
            let store = sqlite::SqliteStore::open(path).await?;
            Ok(Arc::new(store))
        }
        _ => Err(StoreError::Broken(refusal(scheme))),
    }
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
    use super::open;

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
}
