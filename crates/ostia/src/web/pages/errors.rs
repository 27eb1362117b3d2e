use maud::{Markup, html};
use ostia_core::RowFilter;

use crate::refusal::ERROR_CODES;
use crate::web::answer::Fault;
use crate::web::layout::{Shell, heading};
use crate::web::show::{moment, prose};
use crate::web::site::Case;
use crate::web::table::Page;
use crate::web::visitor::Visitor;

const MOST: u32 = 50;
/// Older ones are for the operators, in microseconds.
const AGE: i64 = 30 * 86_400_000_000;

/// What of a row is shown.
struct Line {
    at: i64,
    id: String,
    model: String,
    code: String,
    status: u16,
    count: u32,
}

/// The last requests that were answered with an error, and what helps.
pub(super) async fn page(case: &Case<'_>, visitor: &Visitor) -> Result<Markup, Fault> {
    let filter = RowFilter {
        users: names(visitor),
        failed: true,
        since: case.gateway().clock().unix_micros() - AGE,
        limit: MOST,
        ..RowFilter::default()
    };
    let mut lines = Vec::new();
    let mut take = |row: &ostia_core::LedgerRow<'_>| {
        lines.push(Line {
            at: row.started_at,
            id: row.request_id.to_string(),
            model: row.model.to_string(),
            code: row.error_code.to_string(),
            status: row.http_status,
            count: row.count,
        });
    };
    case.gateway().store().find_rows(&filter, &mut take).await?;
    let body = html! {
        (heading("My errors", "Your last 50 requests of the past 30 days that were answered with an error, and what helps. Name the request id when you ask for help."))
        @if lines.is_empty() { p.empty { "Nothing went wrong." } } @else { (groups(case, &lines)) }
    };
    Ok(Shell::of(case, visitor, "My errors", Page::Errors).page(&body))
}

/// How the ledger names somebody.
pub(super) fn names(visitor: &Visitor) -> Vec<String> {
    let principal = &visitor.principal;
    let mut names = vec![principal.user_id.to_string()];
    if *principal.reported_name() != *principal.user_id {
        names.push(principal.reported_name().to_owned());
    }
    names
}

/// What is wrong and what helps once for all requests with the same code, in the order of the newest one.
fn groups(case: &Case<'_>, lines: &[Line]) -> Markup {
    let mut codes: Vec<&str> = Vec::new();
    for line in lines {
        if !codes.contains(&&*line.code) {
            codes.push(&line.code);
        }
    }
    html! {
        @for code in codes {
            @let of_code: Vec<&Line> = lines.iter().filter(|line| line.code == code).collect();
            (group(case, code, &of_code))
        }
    }
}

fn group(case: &Case<'_>, code: &str, lines: &[&Line]) -> Markup {
    let known = ERROR_CODES.iter().find(|known| known.code == code);
    let status = lines.first().map_or(0, |line| line.status);
    html! {
        section.card.flush {
            div.inner {
                h2 { code { (code) } " " span.faint { (status) } }
                @if let Some(known) = known {
                    p { (prose(known.meaning)) }
                    @if !known.caller.is_empty() { p.cure { strong { "What helps: " } (prose(known.caller)) } }
                }
            }
            table.stack {
                thead { tr { th { "When" } th { "Model" } th { "Request id" } } }
                tbody {
                    @for line in lines { tr {
                        td {
                            (moment(case.live, line.at))
                            @if line.count > 1 { " " span.pill { (line.count) " times" } }
                        }
                        td data-label="Model" { @if line.model.is_empty() { span.faint { "–" } } @else { code { (line.model) } } }
                        td data-label="Request id" { code { (line.id) } }
                    } }
                }
            }
        }
    }
}
