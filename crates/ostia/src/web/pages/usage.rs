use std::collections::BTreeMap;

use http::Response;
use maud::{Markup, html};
use ostia_core::{UsageQuery, UsageRow};
use serde_json::Value;

use super::errors::names;
use crate::relay::ClientBody;
use crate::web::answer::{self, Fault};
use crate::web::chart::Bars;
use crate::web::layout::{Shell, heading};
use crate::web::range::Range;
use crate::web::show::{compact, number, title};
use crate::web::site::Case;
use crate::web::table::Page;
use crate::web::visitor::Visitor;

/// What one may group by.
const BY: [&str; 4] = ["day", "model", "key", "project"];

/// What somebody used, and how their limits stand.
pub(super) async fn page(case: &Case<'_>, visitor: &Visitor) -> Result<Markup, Fault> {
    let range = Range::of(case, "30d")?;
    let by = by(case);
    let names = names(visitor);
    let daily = report(case, &names, &range, &["day", "model"]).await?;
    let mut rows = report(case, &names, &range, &[by]).await?;
    if by == "day" {
        rows.reverse();
    }
    let total = rows.iter().fold(UsageRow::default(), |mut sum, row| {
        sum.add(row);
        sum
    });
    let limits = case
        .gateway()
        .limits_of(case.live, &visitor.principal)
        .await;
    let body = html! {
        (heading("Usage", "Your requests and tokens, as they are in the books."))
        (filter(case, &range, by))
        (figures(&total))
        section.card {
            h2 { "Tokens by day" }
            (chart(&range, &daily))
        }
        h2 { "Limits now" }
        (standings(&limits))
        div.between {
            h2 { "By " (by) }
            a.button.plain.slim href=(case.to(&format!("/ui/usage.csv?{}&by={by}", range.query()))) { "Save as CSV" }
        }
        (table(by, &rows))
    };
    Ok(Shell::of(case, visitor, "Usage", Page::Usage).page(&body))
}

pub(super) async fn csv(case: &Case<'_>, visitor: &Visitor) -> Result<Response<ClientBody>, Fault> {
    let range = Range::of(case, "30d")?;
    let by = by(case);
    let rows = report(case, &names(visitor), &range, &[by]).await?;
    Ok(answer::csv("usage.csv", as_csv(&[by], &rows)))
}

/// The same lines for spreadsheets.
pub(in crate::web) fn as_csv(by: &[&str], rows: &[UsageRow]) -> String {
    let counts = "requests,ok,refused,failed,prompt_tokens,completion_tokens,total_tokens";
    let mut text = format!("{},{counts}\r\n", by.join(","));
    for row in rows {
        let keys: Vec<String> = row.keys.iter().map(|key| answer::cell(key)).collect();
        let counts = [
            row.requests,
            row.ok,
            row.refused,
            row.failed,
            row.prompt_tokens,
            row.completion_tokens,
            row.total_tokens,
        ];
        let counts = counts.map(|count| count.to_string()).join(",");
        text += &format!("{},{counts}\r\n", keys.join(","));
    }
    text
}

fn by(case: &Case<'_>) -> &'static str {
    let asked = case.asked.query("by").unwrap_or_default();
    BY.into_iter()
        .find(|known| *known == asked)
        .unwrap_or("day")
}

/// The sums of somebody, under whichever of their names rows stand.
async fn report(
    case: &Case<'_>,
    names: &[String],
    range: &Range,
    by: &[&str],
) -> Result<Vec<UsageRow>, Fault> {
    let mut sums: BTreeMap<Vec<String>, UsageRow> = BTreeMap::new();
    for name in names {
        let query = UsageQuery {
            since: range.since,
            until: range.until,
            user: Some(name.clone()),
            by: by.iter().map(|&word| word.to_owned()).collect(),
        };
        for row in case.gateway().store().usage(&query).await? {
            let sum = sums.entry(row.keys.clone()).or_insert_with(|| UsageRow {
                keys: row.keys.clone(),
                ..UsageRow::default()
            });
            sum.add(&row);
        }
    }
    Ok(sums.into_values().collect())
}

pub(in crate::web) fn figures(total: &UsageRow) -> Markup {
    let share = |part: u64| {
        format!(
            "{}.{} %",
            part * 100 / total.requests.max(1),
            part * 1_000 / total.requests.max(1) % 10
        )
    };
    html! {
        div.cards {
            dl.figure { dt { "Requests" } dd { (compact(total.requests)) small { (share(total.ok)) " answered" } } }
            dl.figure { dt { "Tokens in" } dd { (compact(total.prompt_tokens)) small { (number(total.prompt_tokens)) } } }
            dl.figure { dt { "Tokens out" } dd { (compact(total.completion_tokens)) small { (number(total.completion_tokens)) } } }
            dl.figure { dt { "Refused" } dd { (compact(total.refused)) small { (share(total.refused)) } } }
            dl.figure { dt { "Failed" } dd { (compact(total.failed)) small { (share(total.failed)) } } }
        }
    }
}

pub(in crate::web) fn chart(range: &Range, rows: &[UsageRow]) -> Markup {
    let mut bars = Bars::of(range.days());
    for row in rows {
        if let [day, series] = &row.keys[..] {
            bars.add(day, series, row.total_tokens);
        }
    }
    bars.draw("Tokens")
}

fn filter(case: &Case<'_>, range: &Range, by: &str) -> Markup {
    html! {
        form.filter method="get" action=(case.to("/ui/usage")) {
            (range.fields())
            div {
                label for="by" { "By" }
                select #by name="by" {
                    @for word in BY { option value=(word) selected[word == by] { (word) } }
                }
            }
            button.plain type="submit" { "Show" }
        }
    }
}

fn table(by: &str, rows: &[UsageRow]) -> Markup {
    html! {
        @if rows.is_empty() { p.empty { "No request in this time." } } @else {
            div.table {
                table.stack {
                    thead { tr {
                        th { (title(by)) } th.num { "Requests" } th.num { "Answered" } th.num { "Refused" } th.num { "Failed" } th.num { "Tokens in" } th.num { "Tokens out" }
                    } }
                    tbody {
                        @for row in rows { tr {
                            td { (row.keys.first().filter(|key| !key.is_empty()).map_or("none", String::as_str)) }
                            (counts(row))
                        } }
                    }
                }
            }
        }
    }
}

pub(in crate::web) fn counts(row: &UsageRow) -> Markup {
    html! {
        td.num data-label="Requests" { (number(row.requests)) }
        td.num data-label="Answered" { (number(row.ok)) }
        td.num data-label="Refused" { (number(row.refused)) }
        td.num data-label="Failed" { (number(row.failed)) }
        td.num data-label="Tokens in" { (number(row.prompt_tokens)) }
        td.num data-label="Tokens out" { (number(row.completion_tokens)) }
    }
}

/// Each limit as a bar, with its numbers. `limits`: as `GET /v1/limits` has it.
pub(in crate::web) fn standings(limits: &Value) -> Markup {
    let all = limits["data"].as_array().map_or(&[][..], Vec::as_slice);
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    html! {
        @if all.is_empty() { p.empty { "No limit holds for you." } } @else {
            section.card.limits {
                @for limit in all {
                    @let (used, most) = (count(&limit["used"]) + count(&limit["owed"]), count(&limit["limit"]));
                    @let (what, whose) = limit_words(limit);
                    div {
                        div.line {
                            span { (what) " " span.faint { (whose) }
                                @if let Some(model) = limit["model"].as_str() { " " code { (model) } } }
                            span.faint.num { (number(count(&limit["left"]))) " of " (number(most)) " left"
                                @if count(&limit["owed"]) > 0 { ", " (number(count(&limit["owed"]))) " owed" } }
                        }
                        meter min="0" max=(most.max(1)) value=(used.min(most)) high=(most * 4 / 5) aria-label=(what) {}
                    }
                }
                @if count(&limits["waiting"]) > 0 { p.small { (count(&limits["waiting"])) " of your requests wait." } }
            }
        }
    }
}

/// What a limit counts, and for whom, to whoever it holds for.
fn limit_words(limit: &Value) -> (String, &'static str) {
    let what = match limit["measure"].as_str().unwrap_or_default() {
        "in_flight" => "Requests at a time".to_owned(),
        "tokens" => "Tokens in all".to_owned(),
        word => title(word),
    };
    let whose = match limit["scope"].as_str().unwrap_or_default() {
        "user_model" | "user_endpoint" => "on",
        "endpoint" => "of everybody on",
        "group" => "of your group",
        "project" => "of your project",
        "key" => "of this key",
        _ => "",
    };
    (what, whose)
}
