use std::time::Duration;

use http::StatusCode;
use maud::{Markup, html};
use ostia_core::{ApiKey, KeyRights};

use super::snippets::snippets;
use super::terms;
use super::try_out::chat;
use crate::authorize::may_use;
use crate::people::{KeyRequest, MadeKey, key_state};
use crate::settings::Provider;
use crate::web::answer::Fault;
use crate::web::layout::{Shell, contact, heading};
use crate::web::session::Way;
use crate::web::show::{day, maybe_day, maybe_moment, moment, pill};
use crate::web::site::Case;
use crate::web::table::Page;
use crate::web::visitor::Visitor;

const DAY: u64 = 86_400;
/// How long a key may be asked to live, in days.
const AGES: [u64; 5] = [1, 7, 30, 90, 365];
/// How long the old key of a rotation goes on.
const OVERLAP: Duration = Duration::from_secs(24 * 3_600);
const LONGEST_LABEL: usize = 80;

pub(super) async fn page(case: &Case<'_>, visitor: &Visitor) -> Result<Markup, Fault> {
    let keys = theirs(case, visitor).await?;
    let must_accept = terms::are_due(case, visitor).await?;
    let takes_keys = case
        .live
        .settings
        .auth
        .providers
        .contains(&Provider::ApiKey);
    let now = case.gateway().clock().unix_micros();
    let body = html! {
        (heading("Keys", "A key stands for you in programs. It is shown once, when it is made."))
        @if !takes_keys {
            p.note { "This gateway takes no API keys: sign in with " code { "ostia login" } " and use " code { "ostia token" } "." }
            (contact(case.live))
        } @else if must_accept {
            p.note { "Before your first key, please read and accept the terms of this site. "
                a href=(case.to("/ui/terms")) { "Read the terms" } }
        } @else { (form(case, visitor)) }
        h2 { "Your keys" }
        @if keys.is_empty() { p.empty { "You have no key yet." } } @else { (table(case, visitor, &keys, now)) }
    };
    Ok(Shell::of(case, visitor, "Keys", Page::Keys).page(&body))
}

fn form(case: &Case<'_>, visitor: &Visitor) -> Markup {
    let projects = case.gateway().directory().projects_of(&visitor.principal);
    let most = case.live.settings.keys.max_age.as_secs() / DAY;
    let usual = case.live.settings.keys.default_age.as_secs() / DAY;
    let ages = AGES.iter().filter(|days| **days <= most.max(1));
    let mut models: Vec<&str> = case
        .live
        .catalog
        .deployments()
        .iter()
        .filter(|one| may_use(one, &visitor.principal))
        .map(|one| &*one.model)
        .collect();
    models.sort_unstable();
    models.dedup();
    html! {
        section.card {
            h2 { "Make a key" }
            form.form method="post" action=(case.to("/ui/keys")) {
                input type="hidden" name="token" value=(visitor.form_token);
                div {
                    label for="label" { "Name " span.hint { "so that you know it again" } }
                    input #label type="text" name="label" maxlength=(LONGEST_LABEL) required placeholder="laptop";
                }
                div {
                    label for="days" { "Ends after" }
                    select #days name="days" {
                        @for days in ages {
                            option value=(days) selected[*days == usual] { (days) @if *days == 1 { " day" } @else { " days" } }
                        }
                    }
                }
                @if !projects.is_empty() {
                    div {
                        label for="project" { "Project " span.hint { "that pays for it" } }
                        select #project name="project" {
                            option value="" { "none in particular" }
                            @for project in &projects { option value=(project.name) { (project.name) } }
                        }
                    }
                }
                details.full {
                    summary { "Narrow it" }
                    div.form {
                        fieldset {
                            legend { "Only these models " span.hint { "none ticked: all that you may use" } }
                            @for model in &models {
                                label.check { input type="checkbox" name="model" value=(model); code { (model) } }
                            }
                        }
                        div {
                            label for="addresses" { "Only from these networks " span.hint { "empty: from anywhere" } }
                            input #addresses type="text" name="addresses" placeholder="192.0.2.7 10.0.0.0/8" spellcheck="false";
                            label.check { input type="checkbox" name="batch" value="yes"; "For batch work: waits behind everybody" }
                        }
                    }
                }
                div.full { button type="submit" { "Make key" } }
            }
        }
    }
}

fn table(case: &Case<'_>, visitor: &Visitor, keys: &[ApiKey], now: i64) -> Markup {
    html! {
        div.table {
            table.stack {
                thead { tr { th { "Key" } th { "State" } th { "Made" } th { "Ends" } th { "Last used" } th { "For" } th { span.faint { "" } } } }
                tbody {
                    @for key in keys {
                        @let state = key_state(key, now);
                        tr.over[state != "active"] {
                            td {
                                @if key.label.is_empty() { span.faint { "without a name" } } @else { strong { (key.label) } }
                                span.sub { code { (key.id) } }
                            }
                            td data-label="State" { (key_pill(state)) }
                            td data-label="Made" { (day(case.live, key.created_at)) }
                            td data-label="Ends" { (maybe_day(case.live, key.expires_at)) }
                            td data-label="Last used" { (maybe_moment(case.live, key.last_used_at)) }
                            td data-label="For" { (narrowed(key)) }
                            td data-label="" { @if state == "active" { (actions(case, visitor, key)) } }
                        }
                    }
                }
            }
        }
    }
}

fn actions(case: &Case<'_>, visitor: &Visitor, key: &ApiKey) -> Markup {
    let id = urlencoded(&key.id);
    html! {
        div.row.tight {
            form method="post" action=(case.to(&format!("/ui/keys/{id}/rotate"))) {
                input type="hidden" name="token" value=(visitor.form_token);
                button.plain.slim type="submit" aria-label=(format!("Rotate key {}", key.label))
                    data-confirm="Make a successor? This key goes on for one day." { "Rotate" }
            }
            form method="post" action=(case.to(&format!("/ui/keys/{id}/revoke"))) {
                input type="hidden" name="token" value=(visitor.form_token);
                button.danger.slim type="submit" aria-label=(format!("Revoke key {}", key.label))
                    data-confirm="Revoke this key? Programs that use it stop at once." { "Revoke" }
            }
        }
    }
}

pub(in crate::web) fn key_pill(state: &str) -> Markup {
    match state {
        "active" => pill("good", "active"),
        "expired" => pill("off", "expired"),
        _ => pill("bad", "revoked"),
    }
}

/// What a key is restricted to.
pub(in crate::web) fn narrowed(key: &ApiKey) -> Markup {
    let rights = &key.rights;
    let mut parts = Vec::new();
    if !key.project.is_empty() {
        parts.push(format!("project {}", key.project));
    }
    if !rights.models.is_empty() {
        parts.push(rights.models.join(", "));
    }
    if !rights.addresses.is_empty() {
        parts.push(format!("from {}", rights.addresses.join(", ")));
    }
    if rights.batch {
        parts.push("batch".to_owned());
    }
    if let Some(role) = rights.role {
        parts.push(format!("role {}", role.as_str()));
    }
    html! {
        @if parts.is_empty() { span.faint { "everything" } } @else { span.small { (parts.join(" · ")) } }
    }
}

pub(super) async fn make(case: &Case<'_>, visitor: &Visitor) -> Result<Markup, Fault> {
    if !case
        .live
        .settings
        .auth
        .providers
        .contains(&Provider::ApiKey)
    {
        return Err(Fault::not_found());
    }
    if terms::are_due(case, visitor).await? {
        return Err(Fault::Elsewhere(case.to("/ui/terms")));
    }
    let desk = visitor.desk(case, None);
    let directory = case.gateway().directory();
    let (name, is_new) = desk.key_name(&visitor.principal, directory).await?;
    let mut asked = asked_for(case, visitor, &name)?;
    if let Way::Key(hash) = &visitor.way {
        narrow(case, hash, &mut asked).await?;
    }
    if is_new {
        desk.claim_name(&visitor.principal.user_id, &name).await?;
    }
    let made = desk.create_key(asked).await?;
    Ok(made_page(case, visitor, &made))
}

fn asked_for(case: &Case<'_>, visitor: &Visitor, name: &str) -> Result<KeyRequest, Fault> {
    let asked = case.asked;
    let bad = |text: &str| Fault::new(StatusCode::BAD_REQUEST, text);
    let label = asked.field("label");
    if label.is_empty() || label.chars().count() > LONGEST_LABEL || label.contains(char::is_control)
    {
        return Err(bad(
            "Give the key a name of 1 to 80 characters, without line breaks or other control characters.",
        ));
    }
    let project = asked.field("project");
    let projects = case.gateway().directory().projects_of(&visitor.principal);
    if !project.is_empty() && !projects.iter().any(|one| *one.name == *project) {
        return Err(bad("You are not in this project."));
    }
    let age = match asked.field("days") {
        "" => None,
        days => {
            let days: u64 = days
                .parse()
                .map_err(|_| bad("The number of days is not a number."))?;
            Some(Duration::from_secs(days.saturating_mul(DAY)))
        }
    };
    Ok(KeyRequest {
        user: name.to_owned(),
        groups: vec![ApiKey::ALL_GROUPS.to_owned()],
        label: label.to_owned(),
        project: project.to_owned(),
        age,
        rights: KeyRights {
            models: asked.fields("model").map(str::to_owned).collect(),
            addresses: asked.words("addresses"),
            batch: asked.field("batch") == "yes",
            ..KeyRights::default()
        },
    })
}

/// Whoever signed in with a key gets none that may do more, or lives longer: a key that somebody else found must not grow.
async fn narrow(case: &Case<'_>, hash: &[u8; 32], asked: &mut KeyRequest) -> Result<(), Fault> {
    let own = case.gateway().store().key_by_hash(hash).await?;
    let own = own.ok_or(Fault::SignInFirst)?;
    asked.groups = own.groups.iter().map(ToString::to_string).collect();
    if !own.project.is_empty() {
        asked.project = own.project.to_string();
    }
    let rights = &own.rights;
    if !rights.models.is_empty() {
        let wanted = std::mem::take(&mut asked.rights.models);
        let kept: Vec<_> = wanted
            .iter()
            .filter(|model| rights.models.contains(model))
            .cloned()
            .collect();
        if kept.is_empty() && !wanted.is_empty() {
            return Err(Fault::forbidden("Your own key is not for these models."));
        }
        asked.rights.models = if wanted.is_empty() {
            rights.models.clone()
        } else {
            kept
        };
    }
    if !rights.addresses.is_empty() {
        asked.rights.addresses.clone_from(&rights.addresses);
    }
    asked.rights.batch |= rights.batch;
    asked.rights.limits.clone_from(&rights.limits);
    if let Some(end) = own.expires_at {
        let left = end
            .saturating_sub(case.gateway().clock().unix_micros())
            .max(0);
        let left = Duration::from_micros(left.unsigned_abs());
        let wanted = asked.age.unwrap_or(case.live.settings.keys.default_age);
        // Ends are whole seconds, rounded up.
        asked.age = Some(wanted.min(left).saturating_sub(Duration::from_secs(1)));
    }
    Ok(())
}

pub(super) async fn rotate(case: &Case<'_>, visitor: &Visitor) -> Result<Markup, Fault> {
    let key = own(case, visitor).await?;
    if let Way::Key(hash) = &visitor.way
        && case
            .gateway()
            .store()
            .key_by_hash(hash)
            .await?
            .is_none_or(|own| own.id != key.id)
    {
        return Err(Fault::forbidden(
            "You signed in with a key, and that one alone can be rotated here. Make a new key instead.",
        ));
    }
    let made = visitor
        .desk(case, None)
        .rotate_key(&key.id, OVERLAP, None)
        .await?;
    Ok(made_page(case, visitor, &made))
}

pub(super) async fn revoke(case: &Case<'_>, visitor: &Visitor) -> Result<(), Fault> {
    let key = own(case, visitor).await?;
    visitor.desk(case, None).revoke_key(&key.id).await?;
    Ok(())
}

/// The key that the path names, if it is the visitor's.
async fn own(case: &Case<'_>, visitor: &Visitor) -> Result<ApiKey, Fault> {
    let keys = theirs(case, visitor).await?;
    let id = case.asked.capture(0);
    let found = keys.into_iter().find(|key| *key.id == *id);
    found.ok_or_else(|| Fault::new(StatusCode::NOT_FOUND, "You have no such key."))
}

/// The newest first.
async fn theirs(case: &Case<'_>, visitor: &Visitor) -> Result<Vec<ApiKey>, Fault> {
    let directory = case.gateway().directory();
    let desk = visitor.desk(case, None);
    let mut keys = desk.own_keys(&visitor.principal, directory).await?;
    keys.sort_by_key(|key| std::cmp::Reverse(key.created_at));
    Ok(keys)
}

/// The one time that a key is shown, with all that can be done with it.
fn made_page(case: &Case<'_>, visitor: &Visitor, made: &MadeKey) -> Markup {
    let key = made.key.expose();
    let body = html! {
        (heading("Your new key", "Copy it now: it is shown this once, and nobody can look it up again."))
        section.card {
            div.secret {
                code #new-key { (key) }
                button type="button" data-copy="new-key" { "Copy" }
            }
            p.small {
                (made.new.label) " · ends " (maybe_moment(case.live, made.new.expires_at))
                @if let Some((old, end)) = &made.replaces { " · " code { (old) } " goes on until " (moment(case.live, *end)) }
            }
        }
        (chat(case, visitor, key))
        h2 { "In your client" }
        (snippets(case, visitor, key))
        p { a.button.plain href=(case.to("/ui/keys")) { "All keys" } }
    };
    Shell::of(case, visitor, "Your new key", Page::Keys).page(&body)
}

pub(in crate::web) fn urlencoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
