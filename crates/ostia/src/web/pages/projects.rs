use std::sync::Arc;

use http::StatusCode;
use maud::{Markup, html};
use ostia_core::{Project, UsageQuery};

use super::keys::{key_pill, narrowed, urlencoded};
use super::usage::{counts, standings};
use crate::people::{Members, key_state};
use crate::web::answer::Fault;
use crate::web::layout::{Shell, heading};
use crate::web::range::Range;
use crate::web::show::{maybe_day, number};
use crate::web::site::Case;
use crate::web::table::Page;
use crate::web::visitor::Visitor;

/// Whether somebody looks after a project.
pub(in crate::web) fn manages_any(case: &Case<'_>, visitor: &Visitor) -> bool {
    !managed(case, visitor).is_empty()
}

fn managed(case: &Case<'_>, visitor: &Visitor) -> Vec<Arc<Project>> {
    let directory = case.gateway().directory();
    let mut projects = directory.projects_of(&visitor.principal);
    projects.retain(|project| directory.manages(&visitor.principal, project));
    projects
}

fn the_project(case: &Case<'_>, visitor: &Visitor) -> Result<Arc<Project>, Fault> {
    let name = case.asked.capture(0);
    let found = managed(case, visitor)
        .into_iter()
        .find(|project| *project.name == *name);
    found.ok_or_else(|| {
        Fault::new(
            StatusCode::NOT_FOUND,
            "You look after no project of this name.",
        )
    })
}

pub(super) fn list(case: &Case<'_>, visitor: &Visitor) -> Markup {
    let projects = managed(case, visitor);
    let body = html! {
        (heading("Projects", "The projects that you look after."))
        @if projects.is_empty() { p.empty { "You look after no project." } }
        @else {
            div.table { table.stack {
                thead { tr { th { "Project" } th.num { "Members" } th { "Groups" } } }
                tbody { @for project in &projects { tr {
                    td {
                        a href=(case.to(&format!("/ui/projects/{}", urlencoded(&project.name)))) { (project.name) }
                        span.sub { (project.title) }
                    }
                    td.num data-label="Members" { (number((project.members.len() + project.managers.len()) as u64)) }
                    td data-label="Groups" { (project.groups.join(", ")) }
                } } }
            } }
        }
    };
    Shell::of(case, visitor, "Projects", Page::Projects).page(&body)
}

pub(super) async fn page(case: &Case<'_>, visitor: &Visitor) -> Result<Markup, Fault> {
    let project = the_project(case, visitor)?;
    let range = Range::of(case, "30d")?;
    let desk = visitor.desk(case, None);
    let mut keys = desk.all_keys().await?;
    keys.retain(|key| key.project == project.name);
    let rows = usage(case, &project, &range).await?;
    let now = desk.moment();
    let limits = case
        .gateway()
        .limits_of(case.live, &visitor.principal)
        .await;
    let body = html! {
        (heading(&project.name, &project.title))
        section.card { (facts(&project)) }
        h2 { "Members" }
        (members(case, visitor, &project))
        h2 { "Keys" }
        @if keys.is_empty() { p.empty { "No key is made for this project." } } @else {
            div.table { table.stack {
                thead { tr { th { "Key" } th { "Owner" } th { "State" } th { "Ends" } th { "For" } } }
                tbody { @for key in &keys { tr {
                    td { (key.label) span.sub { code { (key.id) } } }
                    td data-label="Owner" { (key.username) }
                    td data-label="State" { (key_pill(key_state(key, now))) }
                    td data-label="Ends" { (maybe_day(case.live, key.expires_at)) }
                    td data-label="For" { (narrowed(key)) }
                } } }
            } }
        }
        h2 { "Usage" }
        form.filter method="get" { (range.fields()) button.plain type="submit" { "Show" } }
        @if rows.is_empty() { p.empty { "No request in this time." } } @else {
            div.table { table.stack {
                thead { tr { th { "Member" } th.num { "Requests" } th.num { "Answered" } th.num { "Refused" } th.num { "Failed" } th.num { "Tokens in" } th.num { "Tokens out" } } }
                tbody { @for row in &rows { tr { td { (row.keys.last().map_or("", String::as_str)) } (counts(row)) } } }
            } }
        }
        h2 { "Limits, as they stand for you" }
        (standings(&limits))
    };
    Ok(Shell::of(case, visitor, &project.name, Page::Projects).page(&body))
}

async fn usage(
    case: &Case<'_>,
    project: &Project,
    range: &Range,
) -> Result<Vec<ostia_core::UsageRow>, Fault> {
    let query = UsageQuery {
        since: range.since,
        until: range.until,
        user: None,
        by: vec!["project".to_owned(), "user".to_owned()],
    };
    let mut rows = case.gateway().store().usage(&query).await?;
    rows.retain(|row| row.keys.first().is_some_and(|name| **name == *project.name));
    Ok(rows)
}

fn facts(project: &Project) -> Markup {
    let fact =
        |name: &str, value: &str| html! { @if !value.is_empty() { dt { (name) } dd { (value) } } };
    html! {
        dl.facts {
            (fact("Field", &project.field))
            (fact("Institution", &project.institution))
            (fact("Cost centre", &project.cost_centre))
            (fact("Managers", &project.managers.join(", ")))
            (fact("Groups", &project.groups.join(", ")))
            (fact("Models", &project.models.join(", ")))
            @if let Some(share) = project.fair_share { (fact("Fair share", &share.to_string())) }
        }
    }
}

fn members(case: &Case<'_>, visitor: &Visitor, project: &Project) -> Markup {
    let to = |what: &str| {
        case.to(&format!(
            "/ui/projects/{}/{what}",
            urlencoded(&project.name)
        ))
    };
    html! {
        form.filter method="post" action=(to("add")) {
            input type="hidden" name="token" value=(visitor.form_token);
            div { label for="member" { "Add a member" } input #member type="text" name="member" required placeholder="name@lab.org" spellcheck="false"; }
            button.plain type="submit" { "Add" }
        }
        @if project.members.is_empty() { p.empty { "No member by name." } } @else {
            div.table { table {
                thead { tr { th { "Member" } th { } } }
                tbody { @for member in &project.members { tr {
                    td { (member) }
                    td.right { form method="post" action=(to("remove")) {
                        input type="hidden" name="token" value=(visitor.form_token);
                        input type="hidden" name="member" value=(member);
                        button.danger.slim type="submit" aria-label=(format!("Remove {member}")) { "Remove" }
                    } }
                } } }
            } }
        }
    }
}

pub(super) async fn add(case: &Case<'_>, visitor: &Visitor) -> Result<String, Fault> {
    let project = the_project(case, visitor)?;
    let who = Members {
        members: vec![case.asked.field("member").to_owned()],
        ..Members::default()
    };
    visitor
        .desk(case, None)
        .add_to_project(&project.name, &who)
        .await?;
    back(case, &project).await
}

/// Members only: who looks after a project is for the operators to say.
pub(super) async fn remove(case: &Case<'_>, visitor: &Visitor) -> Result<String, Fault> {
    let project = the_project(case, visitor)?;
    let member = case.asked.field("member").to_owned();
    if !project.members.contains(&member) || project.managers.contains(&member) {
        return Err(Fault::new(
            StatusCode::NOT_FOUND,
            "This is no member by name, or a manager.",
        ));
    }
    visitor
        .desk(case, None)
        .remove_from_project(&project.name, &[member])
        .await?;
    back(case, &project).await
}

/// The page shows what was done: this process reads it again at once.
async fn back(case: &Case<'_>, project: &Project) -> Result<String, Fault> {
    case.gateway().directory().look().await?;
    Ok(case.to(&format!("/ui/projects/{}", urlencoded(&project.name))))
}
