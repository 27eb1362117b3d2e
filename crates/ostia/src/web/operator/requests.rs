use form_urlencoded::Serializer;
use http::StatusCode;
use maud::{Markup, html};
use ostia_core::Outcome;
use serde_json::Value;

use super::Officer;
use crate::refusal::ERROR_CODES;
use crate::web::answer::Fault;
use crate::web::layout::{Shell, heading};
use crate::web::pages::urlencoded;
use crate::web::show::{millis, moment, number, pill, prose};
use crate::web::site::Case;
use crate::web::table::{Desk as Place, Page};

/// Fields of the search, which are those of `GET /admin/requests`.
const FIELDS: [&str; 6] = ["request_id", "user", "model", "outcome", "code", "since"];

pub(super) async fn find(case: &Case<'_>, officer: &Officer<'_>) -> Result<Markup, Fault> {
    let query = asked(case);
    officer
        .desk(case)
        .note("requests.find", &query, &Value::Null)
        .await?;
    let found = case.gateway().find_requests(&query).await?;
    let rows = found["data"].as_array().map_or(&[][..], Vec::as_slice);
    let body = html! {
        (heading("Requests", "Find one, or those of somebody: refused ones too, never their content."))
        (filter(case))
        @if rows.is_empty() { p.empty { "Nothing was found." } } @else { (table(case, rows)) }
        @if let Some(next) = found["next"].as_str() {
            p { a.button.plain href=(more(case, next)) { "Older ones" } }
        }
    };
    Ok(Shell::of(case, officer.visitor, "Requests", Page::Requests).page(&body))
}

fn asked(case: &Case<'_>) -> String {
    let mut query = Serializer::new(String::new());
    for name in FIELDS.into_iter().chain(["before"]) {
        if let Some(value) = case.asked.query(name) {
            query.append_pair(name, &value);
        }
    }
    query.finish()
}

fn more(case: &Case<'_>, next: &str) -> String {
    let mut query = Serializer::new(String::new());
    for name in FIELDS {
        if let Some(value) = case.asked.query(name) {
            query.append_pair(name, &value);
        }
    }
    query.append_pair("before", next);
    case.to(&format!("/ui/requests?{}", query.finish()))
}

fn filter(case: &Case<'_>) -> Markup {
    let held = |name: &str| case.asked.query(name);
    let field = |name: &'static str, label: &str| {
        html! { div { label for=(name) { (label) } input id=(name) type="text" name=(name) value=[held(name)] spellcheck="false"; } }
    };
    let outcome = held("outcome").unwrap_or_default();
    html! {
        form.filter method="get" action=(case.to("/ui/requests")) {
            (field("request_id", "Request id"))
            (field("user", "User"))
            (field("model", "Model"))
            div {
                label for="outcome" { "Outcome" }
                select #outcome name="outcome" {
                    option value="" { "any" }
                    @for word in Outcome::WORDS { option value=(word) selected[**word == outcome] { (word.replace('_', " ")) } }
                }
            }
            (field("code", "Error code"))
            (field("since", "Since (7d, a date)"))
            button.plain type="submit" { "Find" }
        }
    }
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or_default()
}

fn count(row: &Value, name: &str) -> u64 {
    row[name].as_u64().unwrap_or(0)
}

fn outcome(row: &Value) -> Markup {
    let word = text(row, "outcome");
    let kind = match word {
        "ok" => "good",
        "rejected" | "client_closed" => "fair",
        _ => "bad",
    };
    pill(kind, &word.replace('_', " "))
}

fn table(case: &Case<'_>, rows: &[Value]) -> Markup {
    html! {
        div.table { table.stack {
            thead { tr { th { "Request" } th { "User and model" } th { "Outcome" } th.num { "First byte" } th.num { "In all" } th.num { "Tokens" } } }
            tbody { @for row in rows { tr {
                td {
                    a.mono href=(case.to(&format!("/ui/requests/{}", urlencoded(text(row, "request_id"))))) { (text(row, "request_id")) }
                    span.sub { (moment(case.live, row["started_at"].as_i64().unwrap_or(0))) }
                }
                td data-label="User and model" { (text(row, "username")) span.sub { code { (text(row, "model")) } } }
                td data-label="Outcome" { (outcome(row)) @if !text(row, "error_code").is_empty() { span.sub { (text(row, "error_code")) } } }
                td.num data-label="First byte" { @if let Some(ttft) = row["ttft_ms"].as_u64() { (millis(ttft)) } @else { "–" } }
                td.num data-label="In all" { (millis(count(row, "duration_ms"))) }
                td.num data-label="Tokens" { (number(count(row, "total_tokens"))) }
            } } }
        } }
    }
}

/// Everything that is known of one request.
pub(super) async fn story(case: &Case<'_>, officer: &Officer<'_>) -> Result<Markup, Fault> {
    let id = case.asked.capture(0);
    officer
        .desk(case)
        .note("requests.look", id, &Value::Null)
        .await?;
    let found = case
        .gateway()
        .find_requests(&format!("request_id={}", urlencoded(id)))
        .await?;
    let row = found["data"].get(0);
    let row = row.ok_or_else(|| {
        Fault::new(
            StatusCode::NOT_FOUND,
            "There is no request of this id in the books.",
        )
    })?;
    let body = html! {
        (heading("One request", id))
        p { (outcome(row)) " " span.faint { "status " (count(row, "http_status")) ", phase " (text(row, "phase").replace('_', " ")) } }
        (why(row))
        section.card { h2 { "Stages" } (stages(row)) }
        div.pair {
            section.card { h2 { "Who" } (who(case, officer, row)) }
            section.card { h2 { "Where" } (place(case, row)) }
        }
        section.card { h2 { "What it took" } (amounts(row)) }
    };
    Ok(Shell::of(case, officer.visitor, "One request", Page::Requests).page(&body))
}

fn why(row: &Value) -> Markup {
    let code = text(row, "error_code");
    let known = ERROR_CODES.iter().find(|known| known.code == code);
    html! {
        @if !code.is_empty() {
            div.note.bad {
                strong { (code) }
                @if let Some(known) = known {
                    " – " (prose(known.meaning))
                    p.small { "The user: " (prose(known.caller)) }
                    @if !known.operator.is_empty() { p.small { "You: " (prose(known.operator)) } }
                }
            }
        }
    }
}

/// One bar from the head to the end: the wait, the time to the first byte, the rest.
fn stages(row: &Value) -> Markup {
    let all = count(row, "duration_ms").max(1);
    let queue = count(row, "queue_ms").min(all);
    let first = row["ttft_ms"]
        .as_u64()
        .map_or(all, |ttft| ttft.min(all))
        .max(queue);
    let parts = [
        ("waited for its turn", queue, "s1"),
        ("until the first byte", first - queue, "s0"),
        ("the rest of the answer", all - first, "s2"),
    ];
    let mut at = 0;
    html! {
        svg.stages viewBox="0 0 1000 26" role="img" aria-label="The request's time in parts" {
            @for (_, took, class) in parts {
                @let from = at * 1000 / all;
                @let wide = took * 1000 / all;
                @let () = at += took;
                @if took > 0 { rect class=(class) x=(from) y="0" width=(wide.max(2)) height="26" rx="3" {} }
            }
        }
        ul.legend {
            @for (name, took, class) in parts {
                li { svg viewBox="0 0 10 10" aria-hidden="true" { rect class=(class) width="10" height="10" rx="2" {} } (name) ": " (millis(took)) }
            }
        }
    }
}

fn facts(all: &[(&str, String)]) -> Markup {
    html! { dl.facts { (lines(all)) } }
}

fn lines(all: &[(&str, String)]) -> Markup {
    html! { @for (name, value) in all { @if !value.is_empty() { dt { (name) } dd { (value) } } } }
}

fn who(case: &Case<'_>, officer: &Officer<'_>, row: &Value) -> Markup {
    let group = match text(row, "group_id") {
        "" => "the rule asks for no group".to_owned(),
        group => format!("a member of group {group}"),
    };
    let rule = match text(row, "endpoint_slug") {
        "" => String::new(),
        _ => group,
    };
    let user = text(row, "user_id");
    html! {
        (facts(&[
            ("User", text(row, "username").to_owned()),
            ("Id", user.to_owned()),
            ("Signed in by", text(row, "auth_service").to_owned()),
            ("Domain", text(row, "domain").to_owned()),
            ("Let in as", rule),
            ("Key", text(row, "key_id").to_owned()),
            ("Project", text(row, "project").to_owned()),
            ("Address", text(row, "origin_ip").to_owned()),
            ("The client's own id", text(row, "client_request_id").to_owned()),
        ]))
        @if officer.may(Place::Support) { p { a href=(case.to(&format!("/ui/people/{}", urlencoded(user)))) { "This user's page" } } }
    }
}

fn place(case: &Case<'_>, row: &Value) -> Markup {
    html! { dl.facts {
        dt { "Began" } dd { (moment(case.live, row["started_at"].as_i64().unwrap_or(0))) }
        (lines(&[
            ("API", text(row, "api").to_owned()),
            ("Model", text(row, "model").to_owned()),
            ("Answered by", text(row, "served_model").to_owned()),
            ("Endpoint", text(row, "endpoint_slug").to_owned()),
            ("Cluster", text(row, "cluster").to_owned()),
            ("Framework", text(row, "framework").to_owned()),
            ("Location", text(row, "location").replace('_', " ")),
            ("Class", text(row, "class").to_owned()),
            ("Attempts", count(row, "attempts").to_string()),
            ("The backend's status", match count(row, "upstream_status") { 0 => "none".to_owned(), status => status.to_string() }),
        ]))
    } }
}

fn amounts(row: &Value) -> Markup {
    let many = |name: &str| number(count(row, name));
    facts(&[
        (
            "Prompt tokens",
            format!(
                "{}, of which {} from the cache",
                many("prompt_tokens"),
                many("cached_tokens")
            ),
        ),
        (
            "Completion tokens",
            format!(
                "{}, of which {} for reasoning",
                many("completion_tokens"),
                many("reasoning_tokens")
            ),
        ),
        ("Counted by", text(row, "usage_source").to_owned()),
        (
            "Bytes",
            format!(
                "{} in, {} out",
                many("request_bytes"),
                many("response_bytes")
            ),
        ),
        (
            "Requests in this row",
            match count(row, "count") {
                0 | 1 => String::new(),
                many => many.to_string(),
            },
        ),
    ])
}
