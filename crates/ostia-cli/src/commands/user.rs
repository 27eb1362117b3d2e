use std::cell::RefCell;
use std::io::{self, Write as _};

use clap::{Args, Subcommand};
use ostia::people::{Desk, key_json, person_json, rfc3339};
use ostia_core::{Clock as _, Person, PersonState, SystemClock};
use serde_json::Value;

use super::desk;
use crate::arguments::{Setup, person};
use crate::failure::Failure;
use crate::output::{Look, note, print};
use crate::runtime;
use crate::table::Table;

#[derive(Debug, Subcommand)]
pub enum User {
    /// List everybody who signed in, was listed, made a request or has a key
    List {
        /// Print an array of objects
        #[arg(long)]
        json: bool,
    },
    /// Show a user, with all identities and keys
    Show {
        #[command(flatten)]
        who: Who,
        /// Print an array of objects
        #[arg(long)]
        json: bool,
    },
    /// Shut a user out: sessions, keys, waiting and running requests end within a second
    Disable {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        why: Why,
    },
    /// Let a disabled user in again
    Enable {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        why: Why,
    },
    /// Declare two identities one person: B becomes A
    Link {
        /// The person
        #[arg(value_parser = person)]
        a: String,
        /// Another identity of the same person, or the username of their keys
        #[arg(value_parser = person)]
        b: String,
    },
    /// Write everything that is stored about a user to standard output, as JSON
    Export {
        #[command(flatten)]
        who: Who,
    },
    /// Replace a user by a pseudonym, and revoke their keys; sums stay as they are
    Erase {
        #[command(flatten)]
        who: Who,
    },
}

#[derive(Debug, Args)]
pub struct Who {
    /// A username, an id, or an identity, as `ostia user list` shows them
    #[arg(value_parser = person)]
    user: String,
}

#[derive(Debug, Args)]
pub struct Why {
    /// The reason, for the audit log
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    reason: String,
}

impl User {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        runtime::run(self.perform(setup))
    }

    async fn perform(&self, setup: &Setup) -> Result<(), Failure> {
        match self {
            Self::List { json } => list(&desk::existing(setup).await?, *json).await,
            Self::Show { who, json } => {
                let desk = desk::existing(setup).await?;
                show(&desk, &who.user, *json).await
            }
            Self::Disable { who, why } => {
                let desk = desk::because(setup, &why.reason).await?;
                set_state(&desk, &who.user, PersonState::Disabled).await
            }
            Self::Enable { who, why } => {
                let desk = desk::because(setup, &why.reason).await?;
                set_state(&desk, &who.user, PersonState::Active).await
            }
            Self::Link { a, b } => {
                let desk = desk::existing(setup).await?;
                let (person, other) = desk.link(a, b).await?;
                note(&format!("{other} is {person} from now on."));
                Ok(())
            }
            Self::Export { who } => export(&desk::existing(setup).await?, &who.user).await,
            Self::Erase { who } => {
                let pseudonym = desk::existing(setup).await?.erase(&who.user).await?;
                note(&format!(
                    "In the database the user is {pseudonym} from now on. Backups and logs are yours to clear."
                ));
                Ok(())
            }
        }
    }
}

async fn list(desk: &Desk, json: bool) -> Result<(), Failure> {
    let people = desk.people().await?;
    if json {
        let people: Vec<Value> = people.iter().map(person_json).collect();
        return print(&format!("{}\n", Value::from(people)));
    }
    print(&table(&people).render(Look::of_stdout()))
}

async fn show(desk: &Desk, user: &str, json: bool) -> Result<(), Failure> {
    let now = SystemClock.unix_micros();
    let people = desk.people_named(user).await?;
    let mut shown = Vec::new();
    for person in &people {
        let keys = desk.keys_of(&person.id).await?;
        let keys: Vec<Value> = keys.iter().map(|key| key_json(key, now)).collect();
        let mut one = person_json(person);
        one["keys"] = keys.into();
        shown.push(one);
    }
    if json {
        return print(&format!("{}\n", Value::from(shown)));
    }
    print(&table(&people).render(Look::of_stdout()))?;
    for one in &shown {
        for identity in one["identities"].as_array().into_iter().flatten() {
            print(&line(
                "identity",
                identity,
                &["id", "auth_service", "confirmed_at"],
            ))?;
        }
        for key in one["keys"].as_array().into_iter().flatten() {
            print(&line("key", key, &["id", "state", "expires_at"]))?;
        }
    }
    Ok(())
}

/// `key key_7f...: active, 2026-01-31T00:00:00Z`, safe for a terminal.
fn line(what: &str, object: &Value, names: &[&str]) -> String {
    let texts = names.iter().filter_map(|name| object[*name].as_str());
    let texts: Vec<String> = texts.map(|text| text.escape_debug().to_string()).collect();
    match texts.split_first() {
        Some((first, rest)) => format!("{what} {first}: {}\n", rest.join(", ")),
        None => String::new(),
    }
}

async fn set_state(desk: &Desk, user: &str, state: PersonState) -> Result<(), Failure> {
    let changed = desk.set_state(user, state).await?;
    for person in &changed {
        note(&match state {
            PersonState::Active => format!("{} may come in again.", person.id),
            _ => format!(
                "{} is disabled; within a second no running gateway lets them in, and what they run ends.",
                person.id
            ),
        });
    }
    if changed.is_empty() {
        note("Nothing changed: that was so already.");
    }
    Ok(())
}

async fn export(desk: &Desk, user: &str) -> Result<(), Failure> {
    let failed: RefCell<Option<io::Error>> = RefCell::new(None);
    let mut write = |piece: &str| {
        if failed.borrow().is_none()
            && let Err(error) = io::stdout().lock().write_all(piece.as_bytes())
        {
            *failed.borrow_mut() = Some(error);
        }
    };
    desk.export(user, &mut write).await?;
    match failed.into_inner().or_else(|| io::stdout().flush().err()) {
        Some(error) => Err(Failure::other(format!("stdout: {error}"))),
        None => Ok(()),
    }
}

fn table(people: &[Person]) -> Table {
    let mut table = Table::new(["USER", "!STATE", "?NAME", "?IDENTITIES", "LAST SEEN"]);
    for person in people {
        let seen = match person.last_seen {
            0 => "-".to_owned(),
            at => rfc3339(at).chars().take(10).collect(),
        };
        table.row([
            person.username.clone(),
            person.state.word().to_owned(),
            person.name.clone(),
            person.logins.len().to_string(),
            seen,
        ]);
        if *person.id != *person.username {
            table.note(&format!("id {}", person.id));
        }
    }
    table
}
