use form_urlencoded::Serializer;
use maud::{Markup, html};
use ostia_core::{AuditQuery, AuditRow};

use super::Officer;
use crate::web::answer::Fault;
use crate::web::layout::{Shell, heading};
use crate::web::show::moment;
use crate::web::site::Case;
use crate::web::table::Page;

const MOST: i64 = 100;
const FIELDS: [(&str, &str); 3] = [
    ("actor", "Who"),
    ("action", "Did what"),
    ("object", "To what"),
];

/// What was done about users, keys, projects and the gateway.
pub(super) async fn page(case: &Case<'_>, officer: &Officer<'_>) -> Result<Markup, Fault> {
    let query = AuditQuery {
        actor: case.asked.query("actor"),
        action: case.asked.query("action"),
        object: case.asked.query("object"),
        before: case
            .asked
            .query("before")
            .and_then(|text| text.parse().ok()),
        limit: MOST,
        ..AuditQuery::default()
    };
    let rows = officer.desk(case).audit(&query).await?;
    let body = html! {
        (heading("Audit", "What was done about users, keys, projects and the gateway, the newest first. Each event holds the hash of the one before; ostia audit verify looks at all."))
        form.filter method="get" action=(case.to("/ui/audit")) {
            @for (name, label) in FIELDS {
                div { label for=(name) { (label) } input id=(name) type="text" name=(name) value=[case.asked.query(name)] spellcheck="false"; }
            }
            button.plain type="submit" { "Find" }
        }
        @if rows.is_empty() { p.empty { "Nothing was found." } } @else { (table(case, &rows)) }
        @if let Some(last) = rows.last().filter(|_| rows.len() as i64 == MOST) {
            p { a.button.plain href=(older(case, last.number)) { "Older ones" } }
        }
    };
    Ok(Shell::of(case, officer.visitor, "Audit", Page::Audit).page(&body))
}

fn older(case: &Case<'_>, before: i64) -> String {
    let mut query = Serializer::new(String::new());
    for (name, _) in FIELDS {
        if let Some(value) = case.asked.query(name) {
            query.append_pair(name, &value);
        }
    }
    query.append_pair("before", &before.to_string());
    case.to(&format!("/ui/audit?{}", query.finish()))
}

fn table(case: &Case<'_>, rows: &[AuditRow]) -> Markup {
    html! {
        div.table { table.stack {
            thead { tr { th { "What" } th { "When" } th { "Who" } th { "To what" } th { "Reason" } th { "Change" } } }
            tbody { @for row in rows {
                @let event = &row.event;
                tr {
                    td { strong { (event.action) } span.sub { "#" (row.number) } }
                    td data-label="When" { (moment(case.live, event.at)) }
                    td data-label="Who" { (event.actor) span.sub { (event.role) " " (event.address) } }
                    td data-label="To what" { (event.object) }
                    td data-label="Reason" { (event.reason) }
                    td data-label="Change" { @if !(event.before.is_empty() && event.after.is_empty()) {
                        details { summary { "show" } @if !event.before.is_empty() { p.small { "before: " code { (event.before) } } } @if !event.after.is_empty() { p.small { "after: " code { (event.after) } } } }
                    } }
                }
            } }
        } }
    }
}
