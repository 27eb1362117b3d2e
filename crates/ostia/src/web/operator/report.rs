use form_urlencoded::Serializer;
use http::Response;
use maud::{Markup, html};
use ostia_core::{Role, UsageRow};
use serde_json::Value;

use super::Officer;
use crate::relay::ClientBody;
use crate::web::answer::{self, Fault};
use crate::web::layout::{Shell, heading};
use crate::web::pages::usage::{as_csv, chart, counts, figures};
use crate::web::range::Range;
use crate::web::show::title;
use crate::web::site::Case;
use crate::web::table::Page;

const PERSONAL: [&str; 2] = ["user", "key"];
const BY: [&str; 11] = [
    "user", "project", "model", "cluster", "endpoint", "group", "key", "api", "outcome", "day",
    "month",
];
const SORTS: [&str; 7] = [
    "total_tokens",
    "prompt_tokens",
    "completion_tokens",
    "requests",
    "refused",
    "failed",
    "name",
];

/// What a report is made of.
struct Wanted {
    range: Range,
    by: Vec<&'static str>,
    sort: &'static str,
    user: Option<String>,
}

pub(super) async fn page(case: &Case<'_>, officer: &Officer<'_>) -> Result<Markup, Fault> {
    let wanted = wanted(case, officer)?;
    let rows = rows(case, officer, &wanted, &wanted.by).await?;
    let daily = rows_by_day(case, officer, &wanted).await?;
    let total = rows.iter().fold(UsageRow::default(), |mut sum, row| {
        sum.add(row);
        sum
    });
    let body = html! {
        (heading("Usage of all", "Requests and tokens of everybody, from the books."))
        @if officer.role == Role::Reporter { p.note { "You see sums only: no persons, and no group of fewer than five." } }
        (filter(case, officer, &wanted))
        (figures(&total))
        section.card {
            h2 { "Tokens by day" }
            @if daily.is_empty() { p.faint { "Nothing to draw: no request, or on no day of enough people to be told." } }
            @else { (chart(&wanted.range, &daily)) }
        }
        div.between {
            h2 { "By " (wanted.by.join(" and ")) }
            a.button.plain.slim href=(case.to(&format!("/ui/report.csv?{}", wanted.query()))) { "Save as CSV" }
        }
        (table(&wanted.by, &rows))
    };
    Ok(Shell::of(case, officer.visitor, "Usage of all", Page::Report).page(&body))
}

pub(super) async fn csv(
    case: &Case<'_>,
    officer: &Officer<'_>,
) -> Result<Response<ClientBody>, Fault> {
    let wanted = wanted(case, officer)?;
    let rows = rows(case, officer, &wanted, &wanted.by).await?;
    Ok(answer::csv("usage.csv", as_csv(&wanted.by, &rows)))
}

fn wanted(case: &Case<'_>, officer: &Officer<'_>) -> Result<Wanted, Fault> {
    let known = choices(officer);
    let of = |name: &str| {
        let asked = case.asked.query(name)?;
        known.iter().copied().find(|word| **word == *asked)
    };
    let mut by = vec![of("by").unwrap_or(if officer.role == Role::Reporter {
        "model"
    } else {
        "user"
    })];
    by.extend(of("then").filter(|then| *then != by[0]));
    let sort = case.asked.query("sort").unwrap_or_default();
    Ok(Wanted {
        range: Range::of(case, "7d")?,
        by,
        sort: SORTS
            .into_iter()
            .find(|word| *word == sort)
            .unwrap_or("total_tokens"),
        user: case
            .asked
            .query("user")
            .filter(|_| officer.role != Role::Reporter),
    })
}

fn choices(officer: &Officer<'_>) -> Vec<&'static str> {
    let is_reporter = officer.role == Role::Reporter;
    BY.into_iter()
        .filter(|word| !(is_reporter && PERSONAL.contains(word)))
        .collect()
}

impl Wanted {
    /// What the admin API is asked.
    fn asked(&self, by: &[&str], officer: &Officer<'_>) -> String {
        let mut query = Serializer::new(String::new());
        let moment = |micros: i64| {
            let at = jiff::Timestamp::from_microsecond(micros);
            at.map_or_else(|_| String::new(), |at| at.to_string())
        };
        query.append_pair("since", &moment(self.range.since));
        if let Some(until) = self.range.until {
            query.append_pair("until", &moment(until));
        }
        query.append_pair("by", &by.join(","));
        if let Some(user) = self
            .user
            .as_ref()
            .filter(|_| officer.role != Role::Reporter)
        {
            query.append_pair("user", user);
        }
        query.finish()
    }

    fn query(&self) -> String {
        let mut query = Serializer::new(self.range.query());
        query.append_pair("by", self.by.first().copied().unwrap_or_default());
        if let Some(then) = self.by.get(1) {
            query.append_pair("then", then);
        }
        query.append_pair("sort", self.sort);
        if let Some(user) = &self.user {
            query.append_pair("user", user);
        }
        query.finish()
    }
}

/// The lines of the same report that the admin API gives.
async fn rows(
    case: &Case<'_>,
    officer: &Officer<'_>,
    wanted: &Wanted,
    by: &[&str],
) -> Result<Vec<UsageRow>, Fault> {
    let query = wanted.asked(by, officer);
    let gateway = case.gateway();
    let said = match officer.role {
        Role::Reporter => gateway.usage_without_persons(&query).await?,
        _ => gateway.usage(&query, None).await?,
    };
    let data = said["data"].as_array().map_or(&[][..], Vec::as_slice);
    let mut rows: Vec<UsageRow> = data.iter().map(|line| row(line, by)).collect();
    let value = |row: &UsageRow| match wanted.sort {
        "prompt_tokens" => row.prompt_tokens,
        "completion_tokens" => row.completion_tokens,
        "requests" => row.requests,
        "refused" => row.refused,
        "failed" => row.failed,
        _ => row.total_tokens,
    };
    match wanted.sort {
        "name" => rows.sort_by(|one, other| one.keys.cmp(&other.keys)),
        _ => rows.sort_by_key(|row| std::cmp::Reverse(value(row))),
    }
    Ok(rows)
}

async fn rows_by_day(
    case: &Case<'_>,
    officer: &Officer<'_>,
    wanted: &Wanted,
) -> Result<Vec<UsageRow>, Fault> {
    let first = wanted.by.first().copied().unwrap_or("model");
    let series = if matches!(first, "day" | "month") {
        "model"
    } else {
        first
    };
    rows(case, officer, wanted, &["day", series]).await
}

fn row(line: &Value, by: &[&str]) -> UsageRow {
    let count = |name: &str| line[name].as_u64().unwrap_or(0);
    UsageRow {
        keys: by
            .iter()
            .map(|name| line[*name].as_str().unwrap_or_default().to_owned())
            .collect(),
        requests: count("requests"),
        ok: count("ok"),
        refused: count("refused"),
        failed: count("failed"),
        prompt_tokens: count("prompt_tokens"),
        completion_tokens: count("completion_tokens"),
        total_tokens: count("total_tokens"),
    }
}

fn filter(case: &Case<'_>, officer: &Officer<'_>, wanted: &Wanted) -> Markup {
    let choices = choices(officer);
    let select = |name: &'static str, label: &str, held: &str, words: &[&str], none: bool| {
        html! {
            div {
                label for=(name) { (label) }
                select id=(name) name=(name) {
                    @if none { option value="" { "–" } }
                    @for word in words { option value=(word) selected[*word == held] { (word.replace('_', " ")) } }
                }
            }
        }
    };
    html! {
        form.filter method="get" action=(case.to("/ui/report")) {
            (wanted.range.fields())
            (select("by", "By", wanted.by.first().copied().unwrap_or_default(), &choices, false))
            (select("then", "Then by", wanted.by.get(1).copied().unwrap_or_default(), &choices, true))
            (select("sort", "Sorted by", wanted.sort, &SORTS, false))
            @if officer.role != Role::Reporter {
                div { label for="user" { "User" } input #user type="text" name="user" value=[wanted.user.as_deref()] spellcheck="false"; }
            }
            button.plain type="submit" { "Show" }
        }
    }
}

fn table(by: &[&str], rows: &[UsageRow]) -> Markup {
    html! {
        @if rows.is_empty() { p.empty { "Nothing in this time, or of too few people to be told." } } @else {
            div.table { table.stack {
                thead { tr {
                    @for word in by { th { (title(word)) } }
                    th.num { "Requests" } th.num { "Answered" } th.num { "Refused" } th.num { "Failed" } th.num { "Tokens in" } th.num { "Tokens out" }
                } }
                tbody { @for row in rows { tr {
                    @for (word, key) in by.iter().zip(&row.keys) { td data-label=(title(word)) { @if key.is_empty() { span.faint { "none" } } @else { (key) } } }
                    (counts(row))
                } } }
            } }
        }
    }
}
