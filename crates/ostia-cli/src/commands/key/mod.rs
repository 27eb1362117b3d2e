//! `ostia key`: works beside a running gateway, on the same database.

mod create;
mod list;
mod revoke;
mod rotate;

use clap::Subcommand;
use jiff::Timestamp;

use crate::arguments::Global;
use crate::failure::Failure;
use crate::runtime;

#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make a key and print it: it is shown this once
    Create(create::Create),
    /// Show all keys, revoked ones included
    List(list::List),
    /// Refuse a key from now on
    Revoke(revoke::Revoke),
    /// Make a key in another's place, and let the old one end
    Rotate(rotate::Rotate),
}

impl Key {
    pub fn run(&self, global: &Global) -> Result<(), Failure> {
        match self {
            Self::Create(create) => runtime::run(create.run(global)),
            Self::List(list) => runtime::run(list.run(global)),
            Self::Revoke(revoke) => runtime::run(revoke.run(global)),
            Self::Rotate(rotate) => runtime::run(rotate.run(global)),
        }
    }
}

/// RFC 3339 in UTC, to the second.
fn rfc3339(unix_micros: i64) -> String {
    let time = Timestamp::from_microsecond(unix_micros).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{time:.0}")
}

/// Tells the log who made, revoked or rotated a key. A running gateway sees the change by itself and tells of it too.
fn audit(kind: &'static str, key_id: &str, username: &str, replaces: &str) {
    let uid = rustix::process::getuid().as_raw();
    tracing::info!(target: "ostia::audit", kind, key_id, username, replaces, uid, "a key was changed");
}
