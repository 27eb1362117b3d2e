use std::time::Duration;

use http::HeaderMap;
use ostia_core::{Role, Session, StoreError};

use super::answer::Fault;
use super::asked::Asked;
use super::session::{Cookie, Ticket, Way, is_over};
use super::site::{Case, Side};
use super::table::Desk as Place;
use crate::identify::{Principal, Sender, SignInError};
use crate::people::{Actor, Desk};

/// How often it is noted that somebody is still there, in microseconds.
const NOTED_EVERY: i64 = 60_000_000;

/// Somebody who is signed in.
pub(super) struct Visitor {
    pub principal: Principal,
    pub way: Way,
    /// What forms have to hold.
    pub form_token: String,
    session: Session,
}

impl Visitor {
    /// Who asks. `None`: nobody who is signed in.
    pub async fn of(case: &Case<'_>) -> Result<Option<Self>, Fault> {
        let cookie = case.session_cookie();
        let Some(ticket) = case.asked.cookie(cookie.name()).and_then(Ticket::shown) else {
            return Ok(None);
        };
        let sessions = case.gateway().store().sessions();
        let id = ticket.id();
        let Some(session) = sessions.session(&id).await? else {
            return Ok(None);
        };
        let now = case.gateway().clock().unix_micros();
        let web = &case.live.settings.web;
        let way = Way::of(&session.login).filter(|_| !is_over(&session, now, web.session_idle));
        let Some(way) = way else {
            sessions.end(&id).await?;
            return Ok(None);
        };
        let principal = match who(case, &way).await {
            Ok(principal) => principal,
            Err(error) if error.is_outage() => return Err(error.into()),
            // Disabled, no longer admitted, a key that is over: the session is over with it.
            Err(error) => {
                sessions.end(&id).await?;
                return Err(error.into());
            }
        };
        if now - session.seen_at >= NOTED_EVERY {
            sessions.seen(&id, now).await?;
        }
        Ok(Some(Self {
            principal,
            way,
            form_token: ticket.form_token(),
            session,
        }))
    }

    /// Ends the session, here and in every other process.
    pub async fn leave(&self, case: &Case<'_>) -> Result<(), StoreError> {
        case.gateway()
            .store()
            .sessions()
            .end(&self.session.id)
            .await
    }

    /// Whether the pages of operators are shown so long after the sign-in.
    pub fn is_fresh(&self, now: i64, ttl: Duration) -> bool {
        let ttl = i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX);
        now < self.session.created_at.saturating_add(ttl)
    }

    /// The role that opens a page of operators.
    pub fn role_for(&self, place: Place) -> Option<Role> {
        role_for(&self.principal, place)
    }

    /// Where things are done on behalf of this visitor. `role`: in which they ask; `None`: for themselves.
    pub fn desk(&self, case: &Case<'_>, role: Option<Role>) -> Desk {
        let actor = Actor {
            name: self.principal.reported_name().to_owned(),
            role: role.map_or("", Role::as_str).to_owned(),
            address: ostia_core::ip_text(case.asked.origin_ip()),
            request_id: case.asked.request_id.clone(),
            reason: case.asked.field("reason").to_owned(),
        };
        case.gateway().desk(case.live, actor)
    }
}

/// The role by which somebody is let in.
pub(super) fn role_for(principal: &Principal, place: Place) -> Option<Role> {
    let enough: &[Role] = match place {
        Place::Operations => &[Role::Operator, Role::Support],
        Place::Support => &[Role::Support],
        Place::Reports => &[Role::Reporter],
        Place::Audit => &[],
    };
    let mut enough = std::iter::once(Role::Admin).chain(enough.iter().copied());
    enough.find(|role| principal.roles.has(*role))
}

async fn who(case: &Case<'_>, way: &Way) -> Result<Principal, SignInError> {
    let identify = &case.live.identify;
    match way {
        Way::Open if identify.is_open() => {
            identify.identify(&case.asked.head, case.asked.sender).await
        }
        _ if identify.is_open() => Err(SignInError::InvalidKey),
        Way::Open => Err(SignInError::InvalidKey),
        Way::Provider(said) => identify.returning(said),
        Way::Key(hash) => identify.holder(hash, case.asked.sender).await,
    }
}

/// The head of a request that shows a key, for the door that everybody goes through.
pub(super) fn showing(asked: &Asked, key: &str) -> Option<(http::request::Parts, Sender)> {
    let mut headers = HeaderMap::new();
    for (name, value) in &asked.head.headers {
        if name.as_str().starts_with("x-forwarded")
            || name == "forwarded"
            || name == http::header::HOST
        {
            headers.append(name, value.clone());
        }
    }
    let mut value = http::HeaderValue::from_str(&format!("Bearer {key}")).ok()?;
    value.set_sensitive(true);
    headers.insert(http::header::AUTHORIZATION, value);
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.headers = headers;
    Some((head, asked.sender))
}

/// What opens the session of somebody who just signed in: the ticket, and what the database gets.
pub(super) fn session(
    case: &Case<'_>,
    principal: &Principal,
    way: &Way,
    ticket: &Ticket,
) -> (Session, Duration) {
    let web = &case.live.settings.web;
    let ttl = match case.side {
        Side::Public => web.session_ttl,
        Side::Admin => web.admin_session_ttl,
    };
    let now = case.gateway().clock().unix_micros();
    let age = i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX);
    let session = Session {
        id: ticket.id(),
        person: principal.user_id.to_string(),
        login: way.kept().to_string(),
        created_at: now,
        seen_at: now,
        expires_at: now.saturating_add(age),
    };
    (session, ttl)
}

impl Case<'_> {
    pub fn session_cookie(&self) -> Cookie {
        Cookie::session(self.side, self.is_secure())
    }

    pub fn door_cookie(&self) -> Cookie {
        Cookie::door(self.side, self.is_secure())
    }
}
