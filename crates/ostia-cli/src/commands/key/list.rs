use std::cmp::Reverse;
use std::num::NonZeroUsize;

use clap::{Args, ValueEnum};
use ostia::people::{key_json, key_state, rfc3339};
use ostia_core::{ApiKey, Clock as _, SystemClock};
use serde_json::Value;

use crate::arguments::{Setup, person};
use crate::commands::desk;
use crate::failure::Failure;
use crate::output::{Look, print};
use crate::span::Moment;
use crate::table::Table;

#[derive(Debug, Args)]
#[command(
    after_help = "Dates are days in UTC, and a line below a key has its groups, project and label; --json has everything \
                  to the second."
)]
pub struct List {
    /// Only this user's keys
    #[arg(long, value_name = "NAME@DOMAIN", value_parser = person)]
    user: Option<String>,
    /// Only keys that end before: a span from now (30d), a date (2026-01-31: its beginning, UTC) or a timestamp
    #[arg(long, value_name = "WHEN")]
    until: Option<Moment>,
    /// What to sort by; with `expires` and `last-used`, keys without such a time come last [default: the oldest key
    /// first]
    #[arg(long)]
    sort: Option<Sort>,
    /// Only the first N keys
    #[arg(long, value_name = "N")]
    top: Option<NonZeroUsize>,
    /// Print an array of objects
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    User,
    State,
    /// The next to end first
    Expires,
    /// The most recently used first
    LastUsed,
}

impl List {
    pub async fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let desk = desk::existing(setup).await?;
        let keys = match &self.user {
            Some(user) => desk.keys_of(user).await?,
            None => desk.all_keys().await?,
        };
        let now = SystemClock.unix_micros();
        let mut keys = self.chosen(keys, now);
        let total = total(&keys, now);
        keys.truncate(self.top.map_or(usize::MAX, NonZeroUsize::get));
        if self.json {
            let keys: Vec<Value> = keys.iter().map(|key| key_json(key, now)).collect();
            return print(&format!("{}\n", Value::from(keys)));
        }
        print(&format!(
            "{}{total}\n",
            table(&keys, now).render(Look::of_stdout())
        ))
    }

    fn chosen(&self, mut keys: Vec<ApiKey>, now: i64) -> Vec<ApiKey> {
        let end = self.until.map(|until| until.after(now));
        keys.retain(|key| end.is_none_or(|end| key.expires_at.is_some_and(|it| it < end)));
        match self.sort {
            None => {}
            Some(Sort::User) => keys.sort_by(|one, other| one.username.cmp(&other.username)),
            Some(Sort::State) => keys.sort_by_key(|key| key_state(key, now)),
            Some(Sort::Expires) => keys.sort_by_key(|key| key.expires_at.unwrap_or(i64::MAX)),
            Some(Sort::LastUsed) => keys.sort_by_key(|key| Reverse(key.last_used_at)),
        }
        keys
    }
}

pub(super) fn table(keys: &[ApiKey], now: i64) -> Table {
    let mut table = Table::new(["ID", "!STATE", "USER", "?CREATED", "EXPIRES", "LAST USED"]);
    let day = |moment: Option<i64>, none: &str| match moment {
        Some(moment) => rfc3339(moment).chars().take(10).collect(),
        None => none.to_owned(),
    };
    for key in keys {
        table.row([
            key.id.to_string(),
            key_state(key, now).to_owned(),
            key.username.to_string(),
            day(Some(key.created_at), ""),
            day(key.expires_at, "never"),
            day(key.last_used_at, "-"),
        ]);
        table.note(&note(key));
    }
    table
}

/// What is true of only some keys.
fn note(key: &ApiKey) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (name, value) in [
        ("groups", &*key.groups.join(",")),
        ("project", &key.project),
        ("label", &key.label),
    ] {
        if !value.is_empty() {
            parts.push(format!("{name} {value}"));
        }
    }
    let rights = &*key.rights;
    for (name, values) in [
        ("models", &rights.models),
        ("from", &rights.addresses),
        ("on behalf of", &rights.on_behalf_of),
    ] {
        if !values.is_empty() {
            parts.push(format!("{name} {}", values.join(",")));
        }
    }
    let words = [
        rights.role.map(|role| role.as_str()),
        rights.batch.then_some("batch"),
        rights.service.then_some("service"),
    ];
    parts.extend(words.into_iter().flatten().map(str::to_owned));
    parts.join("; ")
}

/// `3 keys: 2 active, 1 revoked`
fn total(keys: &[ApiKey], now: i64) -> String {
    let states = ["active", "expired", "revoked"].map(|word| {
        let count = keys
            .iter()
            .filter(|key| key_state(key, now) == word)
            .count();
        (count, word)
    });
    let counts = states.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    match keys.len() {
        0 => "0 keys".to_owned(),
        1 => format!("1 key: {}", counts.join(", ")),
        many => format!("{many} keys: {}", counts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use ostia_core::KeyRights;

    use super::*;

    fn key(id: &str, user: &str, expires_at: Option<i64>) -> ApiKey {
        ApiKey {
            id: id.into(),
            username: user.into(),
            groups: Vec::new().into(),
            label: "".into(),
            project: "".into(),
            rights: KeyRights::default().into(),
            created_at: 1,
            confirmed_at: 1,
            expires_at,
            revoked_at: None,
            last_used_at: None,
            noted_days: None,
        }
    }

    #[test]
    fn the_table_fits_eighty_columns_whatever_is_in_it() {
        let mut long = key("key_abcdefghjkmn", &"u@long.example".repeat(9), Some(5));
        long.groups = (0..9)
            .map(|n| format!("05d1c5a4-0ff0-11ef-9c26-6beda4a3f1c{n}").into())
            .collect();
        long.label = "l".repeat(300).into();
        long.project = "fusion".into();
        let look = Look {
            width: 80,
            colors: false,
        };
        let text = table(&[long], 9).render(look);
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest.unwrap() <= 80, "{text}");
        for shown in ["expired", "6beda4a3f1c8", "project fusion"] {
            assert!(text.contains(shown), "{shown}: {text}");
        }
    }

    #[test]
    fn keys_are_chosen_and_counted() {
        let keys = || {
            vec![
                key("a", "ann@lab.org", None),
                key("b", "bo@lab.org", Some(50)),
                key("c", "ann@lab.org", Some(5)),
            ]
        };
        let ids = |list: &List| -> Vec<String> {
            let chosen = list.chosen(keys(), 9);
            chosen.iter().map(|key| key.id.to_string()).collect()
        };
        let all = || List {
            user: None,
            until: None,
            sort: None,
            top: None,
            json: false,
        };
        assert_eq!(ids(&all()), ["a", "b", "c"]);
        let until = Some(Moment::At(50));
        assert_eq!(ids(&List { until, ..all() }), ["c"]);
        let sort = Some(Sort::Expires);
        assert_eq!(ids(&List { sort, ..all() }), ["c", "b", "a"]);
        let sort = Some(Sort::State);
        assert_eq!(ids(&List { sort, ..all() }), ["a", "b", "c"]);
        assert_eq!(total(&keys(), 9), "3 keys: 2 active, 1 expired");
        assert_eq!(total(&[], 9), "0 keys");
    }
}
