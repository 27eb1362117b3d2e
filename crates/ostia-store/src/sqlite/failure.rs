//! Which SQLite errors pass by themselves.

use ostia_core::StoreError;

/// SQLite's primary result codes (<https://www.sqlite.org/rescode.html>) that another attempt may not meet: BUSY, LOCKED,
/// NOMEM, READONLY (a file system that turned read-only), IOERR, FULL, CANTOPEN.
const PASSING: [i32; 7] = [5, 6, 7, 8, 10, 13, 14];

pub(crate) fn failed(error: sqlx::Error) -> StoreError {
    let text = error.to_string();
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => StoreError::Unavailable(text),
        sqlx::Error::Database(ref inner) => {
            let code = inner.code().and_then(|code| code.parse::<i32>().ok());
            // The low byte of an extended code is the primary one.
            if code.is_some_and(|code| PASSING.contains(&(code & 0xff))) {
                StoreError::Unavailable(text)
            } else {
                StoreError::Broken(text)
            }
        }
        _ => StoreError::Broken(text),
    }
}

pub(crate) fn broken(text: impl Into<String>) -> StoreError {
    StoreError::Broken(text.into())
}
