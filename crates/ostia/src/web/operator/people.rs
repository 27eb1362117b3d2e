use maud::{Markup, html};
use ostia_core::{Person, PersonState, RowFilter};

use super::Officer;
use crate::people::key_state;
use crate::web::answer::Fault;
use crate::web::layout::{Shell, heading};
use crate::web::pages::{key_pill, narrowed, urlencoded};
use crate::web::show::{maybe_day, maybe_moment, moment, number, pill};
use crate::web::site::Case;
use crate::web::table::Page;

/// Lines of one list; who looks for somebody says whom.
const MOST: usize = 200;
const DAY_MICROS: i64 = 86_400_000_000;

pub(super) async fn list(case: &Case<'_>, officer: &Officer<'_>) -> Result<Markup, Fault> {
    let wanted = case.asked.query("user").unwrap_or_default().to_lowercase();
    let mut people = officer.desk(case).people().await?;
    let has = |text: &str| text.to_lowercase().contains(&wanted);
    people.retain(|person| {
        has(&person.username) || has(&person.name) || has(&person.id) || has(&person.email)
    });
    let count = people.len();
    let body = html! {
        (heading("People", "Everybody who signed in, was listed, made a request or has a key."))
        form.filter method="get" action=(case.to("/ui/people")) {
            div { label for="user" { "Name" } input #user type="search" name="user" value=(wanted) spellcheck="false"; }
            button.plain type="submit" { "Find" }
        }
        @if people.is_empty() { p.empty { "Nobody of this name is known." } } @else {
            div.table { table.stack {
                thead { tr { th { "Who" } th { "State" } th { "Identity provider" } th { "Last seen" } } }
                tbody { @for person in people.iter().take(MOST) { tr {
                    td {
                        a href=(case.to(&format!("/ui/people/{}", urlencoded(&person.id)))) { (shown(person)) }
                        span.sub { (person.name) }
                    }
                    td data-label="State" { (state(person.state)) }
                    td data-label="Identity provider" { (person.idp) }
                    td data-label="Last seen" { (maybe_moment(case.live, (person.last_seen > 0).then_some(person.last_seen))) }
                } } }
            } }
            @if count > MOST { p.small { (number((count - MOST) as u64)) " more: say whom you look for." } }
        }
    };
    Ok(Shell::of(case, officer.visitor, "People", Page::People).page(&body))
}

fn shown(person: &Person) -> &str {
    match person.username.is_empty() {
        true => &person.id,
        false => &person.username,
    }
}

fn state(state: PersonState) -> Markup {
    match state {
        PersonState::Active => pill("good", "active"),
        PersonState::Disabled => pill("bad", "disabled"),
        PersonState::Erased => pill("off", "erased"),
    }
}

/// One person: who they are, why they were refused, what they have, and what can be done about it.
pub(super) async fn person(case: &Case<'_>, officer: &Officer<'_>) -> Result<Markup, Fault> {
    let desk = officer.desk(case);
    let person = desk.person(case.asked.capture(0)).await?;
    desk.note("user.look", &person.id, &serde_json::Value::Null)
        .await?;
    let keys = desk.keys_of(&person.id).await?;
    let now = desk.moment();
    let refused = refusals(case, &person, now).await?;
    let token = &officer.visitor.form_token;
    let to = |what: &str| case.to(&format!("/ui/people/{}/{what}", urlencoded(&person.id)));
    let is_active = person.state == PersonState::Active;
    let (action, word) = if is_active {
        ("disable", "Disable")
    } else {
        ("enable", "Enable")
    };
    let body = html! {
        (heading(shown(&person), &person.name))
        p { (state(person.state)) }
        section.card {
            dl.facts {
                dt { "Id" } dd { code { (person.id) } }
                dt { "E-mail" } dd { (person.email) }
                dt { "Last seen" } dd { (maybe_moment(case.live, (person.last_seen > 0).then_some(person.last_seen))) }
                dt { "Vouched for" } dd { (maybe_moment(case.live, person.confirmed_at().filter(|at| *at > 0))) }
                @for login in &person.logins { dt { (login.auth_service) } dd { (login.id) " " span.faint { (login.groups.as_deref().unwrap_or_default().join(", ")) } } }
            }
        }
        @if person.state != PersonState::Erased {
            section.card {
                h2 { (word) " this account" }
                form.filter method="post" action=(to(action)) {
                    input type="hidden" name="token" value=(token);
                    div { label for="reason" { "Reason, for the audit" } input #reason type="text" name="reason" required; }
                    button.danger type="submit" data-confirm=(format!("{word} {}?", shown(&person))) { (word) }
                }
                @if is_active { p.small { "Keys, sessions, waiting and running requests end within a second." } }
            }
        }
        h2 { "Why refused" }
        @if refused.is_empty() { p.empty { "Nothing was refused in the last 7 days." } } @else {
            div.table { table.stack {
                thead { tr { th { "Code" } th { "When" } th { "Model" } th { "Request" } } }
                tbody { @for (code, at, model, id) in &refused { tr {
                    td { (code) } td data-label="When" { (moment(case.live, *at)) } td data-label="Model" { code { (model) } }
                    td data-label="Request" { a.mono href=(case.to(&format!("/ui/requests/{id}"))) { (id) } }
                } } }
            } }
        }
        h2 { "Keys" }
        @if keys.is_empty() { p.empty { "No key." } } @else {
            div.table { table.stack {
                thead { tr { th { "Key" } th { "State" } th { "Ends" } th { "Last used" } th { "For" } th { span.faint { "" } } } }
                tbody { @for key in &keys { tr {
                    td { (key.label) span.sub { code { (key.id) } } }
                    td data-label="State" { (key_pill(key_state(key, now))) }
                    td data-label="Ends" { (maybe_day(case.live, key.expires_at)) }
                    td data-label="Last used" { (maybe_moment(case.live, key.last_used_at)) }
                    td data-label="For" { (narrowed(key)) }
                    td data-label="" { @if key.revoked_at.is_none() {
                        form method="post" action=(to(&format!("keys/{}/revoke", urlencoded(&key.id)))) {
                            input type="hidden" name="token" value=(token);
                            button.danger.slim type="submit" aria-label=(format!("Revoke key {}", key.id)) data-confirm="Revoke this key?" { "Revoke" }
                        }
                    } }
                } } }
            } }
            form method="post" action=(to("revoke-keys")) {
                input type="hidden" name="token" value=(token);
                button.danger type="submit" data-confirm="Revoke every key of this user?" { "Revoke all keys" }
            }
        }
        p { a href=(case.to(&format!("/ui/requests?user={}", urlencoded(&person.id)))) { "All requests of the last 7 days" } }
    };
    Ok(Shell::of(case, officer.visitor, shown(&person), Page::People).page(&body))
}

type Refused = (String, i64, String, String);

async fn refusals(case: &Case<'_>, person: &Person, now: i64) -> Result<Vec<Refused>, Fault> {
    let mut users: Vec<String> = person.logins.iter().map(|login| login.id.clone()).collect();
    users.push(person.id.to_string());
    let filter = RowFilter {
        users,
        failed: true,
        since: now - 7 * DAY_MICROS,
        limit: 20,
        ..RowFilter::default()
    };
    let mut found = Vec::new();
    let mut take = |row: &ostia_core::LedgerRow<'_>| {
        found.push((
            row.error_code.to_string(),
            row.started_at,
            row.model.to_string(),
            row.request_id.to_string(),
        ));
    };
    case.gateway().store().find_rows(&filter, &mut take).await?;
    Ok(found)
}

pub(super) async fn set_state(
    case: &Case<'_>,
    officer: &Officer<'_>,
    state: PersonState,
) -> Result<String, Fault> {
    let person = named(case, officer).await?;
    officer.desk(case).set_state(&person.id, state).await?;
    // This process reads it at once; the others within a second.
    case.gateway().directory().look().await?;
    Ok(back(case))
}

pub(super) async fn revoke_keys(case: &Case<'_>, officer: &Officer<'_>) -> Result<String, Fault> {
    let person = named(case, officer).await?;
    officer.desk(case).revoke_keys_of(&person.id).await?;
    Ok(back(case))
}

pub(super) async fn revoke_key(case: &Case<'_>, officer: &Officer<'_>) -> Result<String, Fault> {
    officer.desk(case).revoke_key(case.asked.capture(1)).await?;
    Ok(back(case))
}

async fn named(case: &Case<'_>, officer: &Officer<'_>) -> Result<Person, Fault> {
    Ok(officer.desk(case).person(case.asked.capture(0)).await?)
}

fn back(case: &Case<'_>) -> String {
    case.to(&format!("/ui/people/{}", urlencoded(case.asked.capture(0))))
}
