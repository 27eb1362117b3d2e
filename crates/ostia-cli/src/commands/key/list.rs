use clap::Args;
use ostia_core::{ApiKey, Clock as _, SystemClock};
use serde_json::{Value, json};

use super::rfc3339;
use crate::arguments::Global;
use crate::commands::load::open_store;
use crate::failure::{Failure, chain};
use crate::output::print;
use crate::table::Table;

const HEADINGS: [&str; 10] = [
    "ID",
    "STATE",
    "USER",
    "GROUPS",
    "LABEL",
    "PROJECT",
    "ADMIN",
    "CREATED",
    "EXPIRES",
    "LAST USED",
];

#[derive(Debug, Args)]
pub struct List {
    /// Print an array of objects
    #[arg(long)]
    json: bool,
}

impl List {
    pub async fn run(&self, global: &Global) -> Result<(), Failure> {
        let store = open_store(global).await?;
        let keys = store
            .list_keys()
            .await
            .map_err(|error| Failure::other(chain(&error)))?;
        let now = SystemClock.unix_micros();
        if self.json {
            let keys: Vec<Value> = keys.iter().map(|key| as_json(key, now)).collect();
            return print(&format!("{}\n", Value::from(keys)));
        }
        let mut table = Table::new(&HEADINGS);
        for key in &keys {
            table.row(cells(key, now));
        }
        print(&table.render())
    }
}

fn state(key: &ApiKey, now: i64) -> &'static str {
    let past = |moment: Option<i64>| moment.is_some_and(|moment| moment <= now);
    match (key.revoked_at.is_some(), past(key.expires_at)) {
        (true, _) => "revoked",
        (_, true) => "expired",
        _ => "active",
    }
}

fn as_json(key: &ApiKey, now: i64) -> Value {
    let groups: Vec<&str> = key.groups.iter().map(AsRef::as_ref).collect();
    json!({
        "id": &*key.id,
        "state": state(key, now),
        "user": &*key.username,
        "groups": groups,
        "label": &*key.label,
        "project": &*key.project,
        "admin": key.admin,
        "created_at": rfc3339(key.created_at),
        "expires_at": key.expires_at.map(rfc3339),
        "revoked_at": key.revoked_at.map(rfc3339),
        "last_used_at": key.last_used_at.map(rfc3339),
    })
}

fn cells(key: &ApiKey, now: i64) -> [String; 10] {
    let moment = |moment: Option<i64>| moment.map_or("-".to_owned(), rfc3339);
    [
        key.id.to_string(),
        state(key, now).to_owned(),
        key.username.to_string(),
        key.groups.join(","),
        key.label.to_string(),
        key.project.to_string(),
        if key.admin { "yes" } else { "no" }.to_owned(),
        rfc3339(key.created_at),
        moment(key.expires_at),
        moment(key.last_used_at),
    ]
}
