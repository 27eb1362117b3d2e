//! `ostia key`: can be used beside a running gateway, on the same database.

mod create;
mod find;
pub(super) mod list;
mod revoke;
mod rotate;

use clap::Subcommand;
use ostia::people::{MadeKey, rfc3339};

use crate::arguments::Setup;
use crate::failure::Failure;
use crate::output::{note, write};
use crate::runtime;

#[derive(Debug, Subcommand)]
pub enum Key {
    /// Create a key and print it, only this once
    Create(Box<create::Create>),
    /// List keys, including revoked and expired ones
    List(list::List),
    /// Revoke a key, or all keys of a user
    Revoke(revoke::Revoke),
    /// Replace a key with a new one, and let the old one expire
    Rotate(rotate::Rotate),
    /// Show the owner of the key on standard input
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

/// Shows a new key, only this once.
fn show(made: &MadeKey, as_json: bool) -> Result<(), Failure> {
    let text = if as_json {
        format!("{}\n", made.json())
    } else {
        if let Some((old, end)) = &made.replaces {
            note(&format!("The old key {old} ends at {}.", rfc3339(*end)));
        }
        note(&describe(made));
        format!("{}\n", made.key.expose())
    };
    write(&text).map_err(|error| {
        let id = &made.new.id;
        Failure::other(format!(
            "the key was created but could not be shown ({error}): revoke it with `ostia key revoke {id}` and create another"
        ))
    })
}

fn describe(made: &MadeKey) -> String {
    let new = &made.new;
    let role = new
        .rights
        .role
        .map(|role| format!(", with the role {}", role.as_str()));
    let role = role.unwrap_or_default();
    let end = new.expires_at.map_or("never".to_owned(), rfc3339);
    format!(
        "Key {} for {}{role}; expires: {end}. It is shown this once:",
        new.id, new.username
    )
}
