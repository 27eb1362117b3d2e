//! `ostia key`: works beside a running gateway, on the same database.

mod create;
mod list;
mod revoke;

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
}

impl Key {
    pub fn run(&self, global: &Global) -> Result<(), Failure> {
        match self {
            Self::Create(create) => runtime::run(create.run(global)),
            Self::List(list) => runtime::run(list.run(global)),
            Self::Revoke(revoke) => runtime::run(revoke.run(global)),
        }
    }
}

/// RFC 3339 in UTC, to the second.
fn rfc3339(unix_micros: i64) -> String {
    let time = Timestamp::from_microsecond(unix_micros).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{time:.0}")
}
