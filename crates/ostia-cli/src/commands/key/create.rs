use clap::Args;
use ostia::identify::{generate_key, hash_key};
use ostia_core::{Clock as _, Identity, NewApiKey, SystemClock};
use serde_json::{Value, json};

use super::{audit, rfc3339};
use crate::arguments::Setup;
use crate::commands::load::open_store;
use crate::failure::{Failure, chain};
use crate::output::{note, write};
use crate::span::Span;

/// Lower case without `i`, `l`, `o`, `u`: nothing to confuse, and no words (Crockford's base 32).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const ID_CHARACTERS: usize = 12;
/// The ledger cuts longer names.
const LONGEST_PROJECT: usize = 128;

#[derive(Debug, Args)]
pub struct Create {
    /// Who uses the key: rules on domains look at what follows the @
    #[arg(long, value_name = "NAME@DOMAIN", value_parser = user)]
    user: String,
    /// A group that the key is in; repeatable
    #[arg(long = "group", value_name = "ID", value_parser = text)]
    groups: Vec<String>,
    /// How long the key is valid [default: for ever]
    #[arg(long, value_name = "30d")]
    expires: Option<Span>,
    /// What the key is for
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, value_parser = label)]
    label: String,
    /// A project to count the key's requests under, beside its user
    #[arg(long, value_name = "NAME", value_parser = project)]
    project: Option<String>,
    /// Let the key call the admin routes
    #[arg(long)]
    admin: bool,
    /// Print {"id","key","user","groups","project","expires_at"}
    #[arg(long)]
    json: bool,
}

impl Create {
    pub async fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let store = open_store(setup).await?;
        let key = generate_key().map_err(no_randomness)?;
        let new = self.describe(new_id().map_err(no_randomness)?, hash_key(key.expose()));
        store.create_key(&new).await.map_err(|error| {
            Failure::other(format!("the key was not created: {}", chain(&error)))
        })?;
        audit("key_created", &new.id, &new.username, "");
        let shown = match self.json {
            true => format!("{}\n", as_json(&new, key.expose())),
            false => {
                note(&describe(&new));
                format!("{}\n", key.expose())
            }
        };
        write(&shown).map_err(|error| {
            let id = &new.id;
            Failure::other(format!(
                "the key was created but could not be shown ({error}): revoke it with `ostia key revoke {id}` and create another"
            ))
        })
    }

    fn describe(&self, id: String, hash: [u8; 32]) -> NewApiKey {
        let now = SystemClock.unix_micros();
        let mut groups: Vec<String> = Vec::new();
        for group in self.groups.iter().map(|group| Identity::group(group)) {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        NewApiKey {
            id,
            hash,
            username: self.user.clone(),
            groups,
            label: self.label.clone(),
            project: self.project.clone().unwrap_or_default(),
            admin: self.admin,
            created_at: now,
            expires_at: self.expires.map(|span| whole_second(now + span.micros())),
        }
    }
}

pub(super) fn no_randomness(error: getrandom::Error) -> Failure {
    Failure::other(format!("the system has no randomness: {error}"))
}

pub(super) fn as_json(new: &NewApiKey, key: &str) -> Value {
    json!({
        "id": new.id,
        "key": key,
        "user": new.username,
        "groups": new.groups,
        "project": new.project,
        "expires_at": new.expires_at.map(rfc3339),
    })
}

pub(super) fn describe(new: &NewApiKey) -> String {
    let admin = if new.admin { ", an admin key" } else { "" };
    let end = new.expires_at.map_or("never".to_owned(), rfc3339);
    format!(
        "Key {} for {}{admin}; expires: {end}. It is shown this once:",
        new.id, new.username
    )
}

/// Rounded up, so that the moment that is shown is the one that holds.
pub(super) fn whole_second(micros: i64) -> i64 {
    micros.saturating_add(999_999) / 1_000_000 * 1_000_000
}

pub(super) fn new_id() -> Result<String, getrandom::Error> {
    let mut random = [0_u8; ID_CHARACTERS];
    getrandom::fill(&mut random)?;
    let characters = random.map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
    Ok(format!("key_{}", characters.iter().collect::<String>()))
}

fn user(text: &str) -> Result<String, String> {
    if Identity::domain_of(text).is_none() {
        return Err("write NAME@DOMAIN, with one @ and text on both sides of it".to_owned());
    }
    if text.contains(|character: char| character.is_whitespace() || character.is_control()) {
        return Err("it contains a space or a control character".to_owned());
    }
    Ok(text.to_owned())
}

fn text(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    label(text)
}

fn label(text: &str) -> Result<String, String> {
    if text.contains(char::is_control) {
        return Err("it contains a control character".to_owned());
    }
    Ok(text.to_owned())
}

fn project(name: &str) -> Result<String, String> {
    if name.len() > LONGEST_PROJECT {
        return Err(format!("it is longer than {LONGEST_PROJECT} bytes"));
    }
    text(name)
}

#[cfg(test)]
mod tests {
    use super::{new_id, project, user, whole_second};

    #[test]
    fn a_user_has_a_name_and_one_domain() {
        assert_eq!(user("ann@lab.org").as_deref(), Ok("ann@lab.org"));
        for wrong in ["", "ann", "@lab.org", "ann@", "a@b@c", "a b@c", "a@b\n"] {
            assert!(user(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_project_fits_its_column() {
        assert_eq!(project("fusion 2026").as_deref(), Ok("fusion 2026"));
        assert!(project(&"x".repeat(128)).is_ok());
        for wrong in ["", " ", "a\nb", &"x".repeat(129)] {
            assert!(project(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn ids_are_short_and_distinct() {
        let (one, two) = (new_id().unwrap(), new_id().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), "key_".len() + 12);
    }

    #[test]
    fn expiry_is_on_a_whole_second() {
        assert_eq!(whole_second(1_000_000), 1_000_000);
        assert_eq!(whole_second(1_000_001), 2_000_000);
    }
}
