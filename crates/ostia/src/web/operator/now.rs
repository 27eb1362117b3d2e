use http::StatusCode;
use maud::{Markup, html};
use ostia_core::Role;
use serde_json::{Value, json};

use super::Officer;
use crate::admin::{self, EndpointReport, Quantiles, Window};
use crate::telemetry::Counted;
use crate::web::answer::Fault;
use crate::web::layout::{Shell, heading};
use crate::web::pages::urlencoded;
use crate::web::show::{compact, millis, number, pill};
use crate::web::site::Case;
use crate::web::table::Page;

/// What goes on: requests, waits, errors, endpoints.
pub(super) async fn page(case: &Case<'_>, officer: &Officer<'_>) -> Markup {
    let gateway = case.gateway();
    let endpoints = admin::reports(gateway);
    let waiting = admin::waiting_of(gateway, None);
    let window = case.asked.query("window");
    let window = window
        .and_then(|text| Window::parse(&text))
        .unwrap_or_default();
    let (counted, seconds) = window.counted(gateway);
    let body = html! {
        (heading("Now", "This process: requests, who waits, what is slow, and each endpoint."))
        (windows(case, window))
        div #live data-live {
            p.faint { "Counted over the last " (span_of(seconds)) "." }
            (figures(case, &counted, &endpoints))
            (latencies(&counted))
            div.pair {
                section { h2 { "Waiting" } (waits(&waiting)) }
                section { h2 { "Errors by code" } (errors(&counted)) }
            }
            h2 { "Endpoints" }
            (table(case, officer, &endpoints))
        }
    };
    Shell::of(case, officer.visitor, "Now", Page::Now).page(&body)
}

/// Which time the figures are of.
fn windows(case: &Case<'_>, chosen: Window) -> Markup {
    let words = |window: Window| match window {
        Window::FiveMinutes => "Last 5 minutes",
        Window::Hour => "Last hour",
        Window::Start => "Since the start",
    };
    let to = |window: Window| case.to(&format!("/ui/now?window={}", window.word()));
    html! {
        nav.choice aria-label="Time" {
            @for window in Window::ALL {
                a href=(to(window)) aria-current=[(window == chosen).then_some("true")] { (words(window)) }
            }
        }
    }
}

fn span_of(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} minutes", seconds / 60),
        _ => format!("{} hours", seconds / 3_600),
    }
}

fn figures(case: &Case<'_>, counted: &Counted, endpoints: &[EndpointReport]) -> Markup {
    let total = counted.total();
    let in_flight = endpoints.iter().map(|one| u64::from(one.in_flight)).sum();
    let serving = endpoints.iter().filter(|one| one.serves()).count();
    let waiting = case.gateway().admitter().waiting() as u64;
    html! {
        div.cards {
            dl.figure { dt { "Requests" } dd { (compact(total.requests())) small { (number(total.answered())) " answered" } } }
            dl.figure { dt { "In flight" } dd { (number(in_flight)) } }
            dl.figure { dt { "Waiting" } dd { (number(waiting)) } }
            dl.figure { dt { "Tokens" } dd { (compact(total.prompt_tokens + total.completion_tokens)) small { (compact(total.completion_tokens)) " out" } } }
            dl.figure { dt { "Endpoints serving" } dd { (serving) small { "of " (endpoints.len()) } } }
        }
    }
}

/// Time to first token by model: half, 95 and 99 of 100 requests were faster.
fn latencies(counted: &Counted) -> Markup {
    let models: Vec<_> = counted
        .models
        .iter()
        .filter_map(|(model, counts)| Some((model, counts, Quantiles::of(&counts.first_token)?)))
        .collect();
    html! {
        @if !models.is_empty() {
            h2 { "Time to first token" }
            div.table { table.stack {
                thead { tr { th { "Model" } th.num { "Requests" } th.num { "p50" } th.num { "p95" } th.num { "p99" } } }
                tbody { @for (model, counts, times) in &models { tr {
                    td { code { (model) } }
                    td.num data-label="Requests" { (number(counts.first_token.count())) }
                    td.num data-label="p50" { (millis(times.p50 as u64)) }
                    td.num data-label="p95" { (millis(times.p95 as u64)) }
                    td.num data-label="p99" { (millis(times.p99 as u64)) }
                } } }
            } }
        }
    }
}

fn waits(waiting: &Value) -> Markup {
    let all = waiting["data"].as_array().map_or(&[][..], Vec::as_slice);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    html! {
        @if all.is_empty() { p.empty { "Nobody waits." } } @else {
            div.table { table.stack {
                thead { tr { th { "Model" } th { "User" } th { "Waits for" } th.num { "Since" } th.num { "Expected" } } }
                tbody { @for one in all { tr {
                    td { code { (text(&one["model"])) } }
                    td data-label="User" { (text(&one["user"])) }
                    td data-label="Waits for" { (text(&one["waits_for"])) }
                    td.num data-label="Since" { (millis(one["waited_ms"].as_u64().unwrap_or(0))) }
                    td.num data-label="Expected" { @if let Some(left) = one["expected_ms"].as_u64() { (millis(left)) } @else { "–" } }
                } } }
            } }
        }
    }
}

fn errors(counted: &Counted) -> Markup {
    let mut counts: Vec<_> = counted.errors.iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    html! {
        @if counts.is_empty() { p.empty { "No request was answered with an error." } } @else {
            div.table { table {
                thead { tr { th { "Code" } th.num { "Answers" } } }
                tbody { @for (code, count) in &counts { tr { td { code { (code) } } td.num { (number(**count)) } } } }
            } }
        }
    }
}

fn table(case: &Case<'_>, officer: &Officer<'_>, endpoints: &[EndpointReport]) -> Markup {
    let may_drain = matches!(officer.role, Role::Admin | Role::Operator);
    html! {
        div.table { table.stack {
            thead { tr { th { "Endpoint" } th { "State" } th.num { "In flight" } th.num { "Answered" } th.num { "Failed" } th.num { "Mean time" } th { span.faint { "" } } } }
            tbody { @for one in endpoints { tr {
                td { code { (one.slug) } span.sub { (one.model) " on " (one.cluster) } }
                td data-label="State" { (state(one)) @if let Some(reason) = &one.reason { span.sub { (reason) } } }
                td.num data-label="In flight" { (one.in_flight) @if one.max_in_flight > 0 { " of " (one.max_in_flight) } }
                td.num data-label="Answered" { (number(count(one, |outcome| outcome == "ok"))) }
                td.num data-label="Failed" { (number(count(one, |outcome| outcome.starts_with("upstream")))) }
                td.num data-label="Mean time" { @if let Some(mean) = one.mean_duration_ms { (millis(mean)) } @else { "–" } }
                td data-label="" { @if may_drain { (drain_form(case, officer, one)) } }
            } } }
        } }
    }
}

fn count(one: &EndpointReport, is_meant: impl Fn(&str) -> bool) -> u64 {
    let counts = one.requests.iter().filter(|(outcome, _)| is_meant(outcome));
    counts.map(|(_, count)| count).sum()
}

fn state(one: &EndpointReport) -> Markup {
    let kind = match &*one.state {
        "served" => "good",
        "failing" | "disabled" | "not_ready" => "bad",
        "draining" | "maintenance" => "fair",
        _ => "off",
    };
    pill(kind, &one.state.replace('_', " "))
}

fn drain_form(case: &Case<'_>, officer: &Officer<'_>, one: &EndpointReport) -> Markup {
    let what = if one.draining { "undrain" } else { "drain" };
    let word = if one.draining { "Use again" } else { "Drain" };
    let action = case.to(&format!("/ui/now/{}/{what}", urlencoded(&one.slug)));
    html! {
        form method="post" action=(action) {
            input type="hidden" name="token" value=(officer.visitor.form_token);
            button.plain.slim type="submit" aria-label=(format!("{word} {}", one.slug)) { (word) }
        }
    }
}

pub(super) async fn drain(
    case: &Case<'_>,
    officer: &Officer<'_>,
    draining: bool,
) -> Result<String, Fault> {
    if !matches!(officer.role, Role::Admin | Role::Operator) {
        return Err(Fault::new(
            StatusCode::FORBIDDEN,
            "Draining needs the role operator.",
        ));
    }
    let slug = case.asked.capture(0);
    admin::drain_endpoint(case.gateway(), slug, draining)?;
    let action = if draining {
        "endpoint.drain"
    } else {
        "endpoint.undrain"
    };
    officer
        .desk(case)
        .note(action, slug, &json!({"draining": draining}))
        .await?;
    Ok(case.to("/ui/now"))
}
