//! Which PostgreSQL errors are transient.

use ostia_core::StoreError;

/// Classes of SQLSTATE (<https://www.postgresql.org/docs/current/errcodes-appendix.html>) that another attempt may not
/// meet: connection, transaction rollback (deadlock, serialization), insufficient resources, operator intervention,
/// system error.
const PASSING: [&str; 5] = ["08", "40", "53", "57", "58"];
/// A lock that is not available, and a read-only transaction, as on a standby before it takes over.
const PASSING_STATES: [&str; 2] = ["55P03", "25006"];

pub(crate) fn failed(error: sqlx::Error) -> StoreError {
    let text = error.to_string();
    match &error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => StoreError::Unavailable(text),
        _ if state(&error).is_some_and(|state| passes(&state)) => StoreError::Unavailable(text),
        _ => StoreError::Broken(text),
    }
}

/// Whether to replace the connection after this error. An error about a statement leaves the connection usable.
pub(crate) fn spoils(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(_) => state(error).is_some_and(|state| {
            // On a connection to a standby every write fails, even after another server has taken over.
            state.starts_with("08") || state.starts_with("57") || state == "25006"
        }),
        sqlx::Error::RowNotFound
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::Decode(_)
        | sqlx::Error::Configuration(_)
        | sqlx::Error::WorkerCrashed => false,
        _ => true,
    }
}

fn passes(state: &str) -> bool {
    PASSING_STATES.contains(&state) || PASSING.iter().any(|class| state.starts_with(class))
}

fn state(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}
