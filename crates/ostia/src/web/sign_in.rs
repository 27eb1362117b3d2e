//! Signing in and out.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use maud::{Markup, html};

use super::answer::{Fault, redirect, with_cookie};
use super::guard::own_path;
use super::layout::{self, Shell};
use super::pages;
use super::session::{Ticket, Way};
use super::site::{Case, Side, check_token, shown};
use super::table::{Desk as Place, Page};
use super::visitor::{Visitor, role_for, session, showing};
use crate::identify::{Attempt, Door, Principal, SignInError};
use crate::relay::ClientBody;

/// How long one may take to sign in.
const DOOR_AGE: Duration = Duration::from_secs(600);

/// Answers what is open to anybody.
pub(super) async fn answer(
    case: &Case<'_>,
    page: Page,
    visitor: Result<Option<Visitor>, Fault>,
) -> Result<Response<ClientBody>, Fault> {
    match page {
        Page::SignInByKey => by_key(case).await,
        Page::SignInOpen => openly(case).await,
        Page::Depart => depart(case).await,
        Page::Return => come_back(case).await,
        Page::Enter => enter(case).await,
        Page::SignOut => sign_out(case, visitor).await,
        Page::Status => pages::status(case, visitor?.as_ref()),
        Page::SignIn => match visitor {
            Ok(Some(visitor)) => {
                let asked = case.asked.query("next");
                Ok(redirect(&next(case, &visitor.principal, asked.as_deref())))
            }
            Ok(None) => choose(case, None),
            Err(fault) => choose(case, Some(&fault)),
        },
        _ => match visitor? {
            Some(visitor) => Ok(redirect(&home(case, &visitor.principal))),
            None => Ok(redirect(&case.to("/ui/login"))),
        },
    }
}

/// Where somebody begins: on the admin listener with the first page that their role opens.
fn home(case: &Case<'_>, principal: &Principal) -> String {
    let desks = [
        (Place::Operations, "/ui/now"),
        (Place::Reports, "/ui/report"),
        (Place::Support, "/ui/requests"),
        (Place::Audit, "/ui/audit"),
    ];
    let mut open = desks
        .iter()
        .filter(|(place, _)| case.side == Side::Admin && role_for(principal, *place).is_some());
    case.to(open.next().map_or("/ui/models", |(_, path)| *path))
}

fn next(case: &Case<'_>, principal: &Principal, asked: Option<&str>) -> String {
    let next = asked.and_then(own_path);
    next.map_or_else(|| home(case, principal), str::to_owned)
}

/// The page where one signs in. `fault`: why somebody who was signed in is not any more.
fn choose(case: &Case<'_>, fault: Option<&Fault>) -> Result<Response<ClientBody>, Fault> {
    let cookie = case.door_cookie();
    let held = case.asked.cookie(cookie.name()).and_then(Ticket::shown);
    let ticket = match held {
        Some(ticket) => ticket,
        None => Ticket::new().map_err(|_| no_randomness())?,
    };
    let next = case
        .asked
        .query("next")
        .filter(|next| own_path(next).is_some());
    let body = form(case, &ticket, next.as_deref().unwrap_or_default(), fault);
    let shell = Shell::bare(case, "Sign in");
    let response = shown(shell.page(&body));
    let response = with_cookie(response, &cookie.set(ticket.text(), DOOR_AGE));
    match fault {
        Some(_) => Ok(with_cookie(response, &case.session_cookie().clear())),
        None => Ok(response),
    }
}

fn form(case: &Case<'_>, ticket: &Ticket, next: &str, fault: Option<&Fault>) -> Markup {
    let identify = &case.live.identify;
    let doors = match case.side {
        Side::Public => identify.doors(),
        // Providers send browsers back to the public address.
        Side::Admin => &[],
    };
    let by_key = identify.takes_keys() && doors.is_empty();
    let query = match next {
        "" => String::new(),
        next => {
            let mut query = form_urlencoded::Serializer::new("?".to_owned());
            query.append_pair("next", next).finish()
        }
    };
    html! {
        section.door {
            (layout::mark(44))
            h1 { "Sign in" }
            p.lead { "Keys, models and usage of " strong { (site_name(case)) } "." }
            @if let Some(Fault::Told(_, text)) = fault { p.note.bad role="alert" { (text) } }
            @for door in doors {
                a.button.wide href=(case.to(&format!("/ui/login/{}{query}", door.id()))) {
                    "Continue with " (door.name())
                }
            }
            @if identify.is_open() {
                form method="post" action=(case.to("/ui/login/open")) {
                    input type="hidden" name="token" value=(ticket.form_token());
                    p { "This gateway runs for you alone on this machine: nobody has to sign in." }
                    button.wide type="submit" { "Continue" }
                }
            }
            @if by_key {
                form method="post" action=(case.to("/ui/login/key")) {
                    input type="hidden" name="token" value=(ticket.form_token());
                    input type="hidden" name="next" value=(next);
                    label for="key" { "Your API key" }
                    input #key type="password" name="key" autocomplete="current-password" required
                        placeholder="sk-ostia-…" spellcheck="false";
                    button.wide type="submit" { "Sign in" }
                }
                p.small {
                    @if case.side == Side::Admin { "A key with a role opens the pages of operators." }
                    @else { "Your key was given to you by whoever runs this gateway." }
                }
            }
            @if doors.is_empty() && !by_key && !identify.is_open() {
                p.note { "Nobody can sign in here: the gateway is no client of an identity provider (" code { "client_id" } ")." }
            }
            (layout::contact(case.live))
        }
    }
}

fn site_name(case: &Case<'_>) -> String {
    let url = case.public_url();
    url.split_once("://")
        .map_or(url.clone(), |(_, host)| host.to_owned())
}

/// A key is shown once more: through the same door as every request, with the same limit on guesses.
async fn by_key(case: &Case<'_>) -> Result<Response<ClientBody>, Fault> {
    check_door(case)?;
    let key = case.asked.field("key");
    let (head, sender) = showing(case.asked, key).ok_or(SignInError::InvalidKey)?;
    let identify = &case.live.identify;
    if !identify.takes_keys() || !key.starts_with(crate::identify::KEY_PREFIX) {
        return choose(case, Some(&SignInError::InvalidKey.into()));
    }
    let principal = match identify.identify(&head, sender).await {
        Ok(principal) => principal,
        Err(error) => return choose(case, Some(&error.into())),
    };
    let way = Way::Key(crate::identify::hash_key(key));
    come_in(case, &principal, &way, case.asked.field("next")).await
}

async fn openly(case: &Case<'_>) -> Result<Response<ClientBody>, Fault> {
    check_door(case)?;
    let identify = &case.live.identify;
    if !identify.is_open() {
        return Err(Fault::not_found());
    }
    let principal = identify
        .identify(&case.asked.head, case.asked.sender)
        .await?;
    come_in(case, &principal, &Way::Open, "").await
}

fn check_door(case: &Case<'_>) -> Result<(), Fault> {
    let held = case
        .asked
        .cookie(case.door_cookie().name())
        .and_then(Ticket::shown);
    let ticket = held.ok_or_else(|| {
        Fault::forbidden("Your browser sent no cookie of this page: allow cookies for this site, and load the page anew.")
    })?;
    check_token(case, &ticket.form_token())
}

/// What the cookie of a sign-in at a provider holds: the secret, and where to go then.
fn door_value(ticket: &Ticket, next: &str) -> String {
    let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
    format!("{}.{next}", ticket.text())
}

fn door_of(case: &Case<'_>, id: &str) -> Result<Arc<dyn Door>, Fault> {
    let mut doors = case.live.identify.doors().iter();
    let found = doors.find(|door| door.id() == id);
    found
        .filter(|_| case.side == Side::Public)
        .cloned()
        .ok_or_else(Fault::not_found)
}

/// The address that providers send browsers back to.
fn redirect_uri(case: &Case<'_>, door: &dyn Door) -> String {
    format!("{}/ui/back/{}", case.public_url(), door.id())
}

/// Each attempt has a secret of its own, so an answer fits one attempt and is of no use afterwards.
async fn depart(case: &Case<'_>) -> Result<Response<ClientBody>, Fault> {
    let door = door_of(case, case.asked.capture(0))?;
    let ticket = Ticket::new().map_err(|_| no_randomness())?;
    let next = case
        .asked
        .query("next")
        .filter(|next| own_path(next).is_some());
    let attempt = Attempt::of(ticket.text(), door.id(), redirect_uri(case, &*door));
    let address = door.address(&attempt).await?;
    let value = door_value(&ticket, next.as_deref().unwrap_or_default());
    Ok(with_cookie(
        redirect(&address),
        &case.door_cookie().set(&value, DOOR_AGE),
    ))
}

async fn come_back(case: &Case<'_>) -> Result<Response<ClientBody>, Fault> {
    let door = door_of(case, case.asked.capture(0))?;
    let held = case.asked.cookie(case.door_cookie().name());
    let (ticket, next) = held
        .and_then(|value| value.split_once('.'))
        .ok_or_else(strange)?;
    let ticket = Ticket::shown(ticket).ok_or_else(strange)?;
    let next = percent_encoding::percent_decode_str(next).decode_utf8_lossy();
    let attempt = Attempt::of(ticket.text(), door.id(), redirect_uri(case, &*door));
    if case.asked.query("state").as_deref() != Some(&*attempt.state) {
        return Err(strange());
    }
    let Some(code) = case.asked.query("code") else {
        let why = case.asked.query("error").unwrap_or_default();
        let text = format!("{} did not sign you in ({why}).", door.name());
        return Err(Fault::forbidden(text));
    };
    let verified = match door.redeem(&attempt, &code).await {
        Ok(verified) => verified,
        Err(SignInError::InvalidKey) => return Err(strange()),
        Err(error) => return Err(error.into()),
    };
    let said = ostia_core::Identity::clone(&verified.identity);
    let principal = case.live.identify.welcome(verified)?;
    // Whoever makes a key at once is known by then.
    if let Err(error) = case.gateway().directory().look().await {
        tracing::warn!(%error, "a sign-in could not be written down yet");
    }
    come_in(case, &principal, &Way::Provider(Box::new(said)), &next).await
}

fn strange() -> Fault {
    Fault::forbidden(
        "This answer belongs to no sign-in of this browser, or to one that is over. Sign in again.",
    )
}

/// A link that the gateway printed where it was started.
async fn enter(case: &Case<'_>) -> Result<Response<ClientBody>, Fault> {
    let spent = || {
        Fault::forbidden(
            "This link was used before, or is not from this gateway. Sign in with your key.",
        )
    };
    let ticket = case.asked.query("link").as_deref().and_then(Ticket::shown);
    let now = case.gateway().clock().now();
    let hash = ticket
        .and_then(|ticket| case.site.links().take(&ticket, now))
        .ok_or_else(spent)?;
    let principal = case.live.identify.holder(&hash, case.asked.sender).await?;
    come_in(case, &principal, &Way::Key(hash), "").await
}

/// Opens a session under a new ticket; the one that this browser had is over.
async fn come_in(
    case: &Case<'_>,
    principal: &Principal,
    way: &Way,
    next: &str,
) -> Result<Response<ClientBody>, Fault> {
    let rights = principal.rights.as_ref();
    if rights.is_some_and(|rights| rights.service || !rights.on_behalf_of.is_empty()) {
        return Err(Fault::forbidden(
            "This key belongs to a program. Sign in with a key of your own.",
        ));
    }
    let sessions = case.gateway().store().sessions();
    let held = case.asked.cookie(case.session_cookie().name());
    if let Some(old) = held.and_then(Ticket::shown) {
        sessions.end(&old.id()).await?;
    }
    let ticket = Ticket::new().map_err(|_| no_randomness())?;
    let (session, ttl) = session(case, principal, way, &ticket);
    sessions.open(&session).await?;
    tracing::info!(
        target: "ostia::audit",
        kind = "signed_in",
        user_id = &*principal.user_id,
        way = way_word(way),
        request_id = &*case.asked.request_id,
        "somebody signed in on the pages"
    );
    let response = redirect(&self::next(case, principal, Some(next)));
    let response = with_cookie(response, &case.session_cookie().set(ticket.text(), ttl));
    Ok(with_cookie(response, &case.door_cookie().clear()))
}

const fn way_word(way: &Way) -> &'static str {
    match way {
        Way::Provider(_) => "provider",
        Way::Key(_) => "key",
        Way::Open => "open",
    }
}

async fn sign_out(
    case: &Case<'_>,
    visitor: Result<Option<Visitor>, Fault>,
) -> Result<Response<ClientBody>, Fault> {
    // Of a session that is over nothing is left but the cookie.
    if let Ok(Some(visitor)) = visitor {
        check_token(case, &visitor.form_token)?;
        visitor.leave(case).await?;
    }
    let response = redirect(&case.to("/ui/login"));
    Ok(with_cookie(response, &case.session_cookie().clear()))
}

fn no_randomness() -> Fault {
    Fault::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "The system has no randomness.",
    )
}
