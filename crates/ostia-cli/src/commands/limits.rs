//! `ostia limits`: the state of limits in the running gateway, and which requests wait.

use clap::Args;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::admin::ask;
use crate::arguments::{Setup, person};
use crate::failure::Failure;
use crate::output::{Look, print};
use crate::table::Table;

#[derive(Debug, Args)]
pub struct Limits {
    /// All limits that apply to this user [default: those of endpoints]
    #[arg(long, value_parser = person)]
    user: Option<String>,
    /// Print everything as JSON, for programs
    #[arg(long)]
    json: bool,
}

impl Limits {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let query = self.user.as_ref().map_or_else(String::new, |user| {
            format!("?user={}", utf8_percent_encode(user, NON_ALPHANUMERIC))
        });
        let limits = ask(setup, Method::GET, &format!("/admin/limits{query}"), None)?;
        let waiting = ask(setup, Method::GET, &format!("/admin/waiting{query}"), None)?;
        if self.json {
            let all = json!({"limits": limits["data"], "overrides": limits["overrides"], "waiting": waiting["data"]});
            return print(&format!("{all:#}\n"));
        }
        let look = Look::of_stdout();
        let standing = limits_table(&limits, look);
        let overrides = overrides_table(&limits, look);
        let waiting = waiting_table(&waiting, look);
        print(&format!("{standing}\n{overrides}{waiting}"))
    }
}

/// What ostia.toml sets for single users, groups, projects and keys; empty if it sets nothing.
fn overrides_table(limits: &Value, look: Look) -> String {
    let rows = limits["overrides"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new(["FOR", "NAME", "SET"]);
    for row in rows {
        let keys = row.as_object().into_iter().flatten();
        let set = keys.filter(|(key, _)| !matches!(key.as_str(), "for" | "name"));
        let set: Vec<String> = set.map(|(key, value)| format!("{key} = {value}")).collect();
        table.row([text(&row["for"]), text(&row["name"]), set.join(", ")]);
    }
    format!("{}\n", table.render(look))
}

fn limits_table(limits: &Value, look: Look) -> String {
    let rows = limits["data"].as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        return "no limit holds\n".to_owned();
    }
    let headings = [
        "?ENDPOINT",
        "LIMIT",
        ">OF",
        ">USED",
        ">?OWED",
        ">LEFT",
        ">?RESET",
    ];
    let mut table = Table::new(headings);
    for row in rows {
        let reset = row["reset_seconds"].as_f64().unwrap_or_default();
        table.row([
            text(&row["endpoint"]),
            format!("{} a {}", text(&row["measure"]), text(&row["scope"])).replace('_', " "),
            row["limit"].to_string(),
            row["used"].to_string(),
            row["owed"].to_string(),
            row["left"].to_string(),
            format!("{reset:.1}s"),
        ]);
    }
    table.render(look)
}

fn waiting_table(waiting: &Value, look: Look) -> String {
    let rows = waiting["data"].as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        return "nobody waits\n".to_owned();
    }
    let headings = ["USER", "MODEL", "?CLASS", ">WAITED", ">?EXPECTED", "FOR"];
    let mut table = Table::new(headings);
    for row in rows {
        table.row([
            text(&row["user"]),
            text(&row["model"]),
            text(&row["class"]),
            seconds(&row["waited_ms"]),
            seconds(&row["expected_ms"]),
            text(&row["waits_for"]),
        ]);
    }
    table.render(look)
}

fn seconds(millis: &Value) -> String {
    millis
        .as_f64()
        .map_or_else(String::new, |millis| format!("{:.1}s", millis / 1e3))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
