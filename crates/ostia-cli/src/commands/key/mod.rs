//! `ostia key`: works beside a running gateway, on the same database.

mod create;
mod find;
pub(super) mod list;
mod revoke;
mod rotate;

use clap::Subcommand;
use jiff::Timestamp;

use crate::arguments::Setup;
use crate::failure::Failure;
use crate::runtime;

#[derive(Debug, Subcommand)]
pub enum Key {
    /// Create a key and print it, this one time
    Create(create::Create),
    /// List keys, revoked and expired ones included
    List(list::List),
    /// Revoke a key
    Revoke(revoke::Revoke),
    /// Replace a key with a new one and give the old one an end
    Rotate(rotate::Rotate),
    /// Show whose key it is that standard input holds
    Find(find::Find),
}

impl Key {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        match self {
            Self::Create(create) => runtime::run(create.run(setup)),
            Self::List(list) => runtime::run(list.run(setup)),
            Self::Revoke(revoke) => runtime::run(revoke.run(setup)),
            Self::Rotate(rotate) => runtime::run(rotate.run(setup)),
            Self::Find(find) => runtime::run(find.run(setup)),
        }
    }
}

/// RFC 3339 in UTC, to the second.
pub(super) fn rfc3339(unix_micros: i64) -> String {
    let time = Timestamp::from_microsecond(unix_micros).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{time:.0}")
}

/// Logs who made, revoked or rotated a key. A running gateway notices the change by itself and logs it too.
fn audit(kind: &'static str, key_id: &str, username: &str, replaces: &str) {
    let uid = rustix::process::getuid().as_raw();
    tracing::info!(target: "ostia::audit", kind, key_id, username, replaces, uid, "a key was changed");
}
