//! Which SQLite errors are transient.

use ostia_core::StoreError;

/// SQLite's primary result codes (<https://www.sqlite.org/rescode.html>) that another attempt may not meet: BUSY,
/// LOCKED, NOMEM, READONLY (a file system that became read-only), IOERR, FULL, CANTOPEN.
const PASSING: [i32; 7] = [5, 6, 7, 8, 10, 13, 14];

pub(crate) fn failed(error: sqlx::Error) -> StoreError {
    let text = error.to_string();
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => StoreError::Unavailable(text),
        _ if primary_code(&error).is_some_and(|code| PASSING.contains(&code)) => {
            StoreError::Unavailable(text)
        }
        _ => StoreError::Broken(text),
    }
}

/// Whether another connection holds the lock.
pub(crate) fn busy(error: &sqlx::Error) -> bool {
    primary_code(error) == Some(5)
}

/// Whether to replace the connection after this error. A connection opened while the file system was read-only stays
/// read-only for ever, and after a disk fault (IOERR, FULL, CANTOPEN) a connection's open files cannot be trusted.
pub(crate) fn spoils(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_))
        || primary_code(error).is_some_and(|code| matches!(code, 8 | 10 | 13 | 14))
}

fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    // The low byte of an extended code is its primary code.
    Some(code & 0xff)
}

pub(crate) fn broken(text: impl Into<String>) -> StoreError {
    StoreError::Broken(text.into())
}
