//! In: a request whose head is valid, and the [`Gateway`]. Out: its response.
//! Here: the spine. Read [`answer`], then [`infer`]: everything that happens to a request, in order.
//! Not here: decisions of rooms, parts that requests share.

mod edge;
mod lists;

use std::sync::Arc;

use http::Response;

use self::edge::{asks_for_stream, refuse, wants_websocket};
use crate::account::Visit;
use crate::admit::{Admission, Attempt, Class, Entry};
use crate::authorize::{Wanted, authorize};
use crate::backend;
use crate::errors::{limit_headers, queue_header};
use crate::gateway::Gateway;
use crate::identify::{Principal, Sender};
use crate::listen::Inbound;
use crate::live::Live;
use crate::rank::rank;
use crate::read::{Call, ReadError, Rules, Stored, read, session};
use crate::refusal::Refusal;
use crate::relay::{self, ClientBody, InFlight};
use crate::resolve::resolve;
use crate::routes::{Address, Lost, Route};
use crate::telemetry::AccessLog;

/// Answers any request to the public listener. `route` is what its path leads to.
async fn answer(
    gateway: &Gateway,
    live: &Live,
    inbound: &mut Inbound,
    route: Result<Route<'_>, Lost>,
    access: &mut AccessLog,
) -> Result<Response<ClientBody>, Refusal> {
    let route = match route {
        Ok(route) if route.is_open() => return Ok(lists::open(live, &route)),
        Err(Lost::NoPath { astray, .. }) => return Err(Refusal::not_found(astray.as_ref())),
        Err(Lost::NoMethod {
            allow, open: true, ..
        }) => {
            return Err(Refusal::method_not_allowed(&allow));
        }
        closed => closed,
    };
    let identifying = live.identify.identify(&inbound.head, Sender::of(inbound));
    let principal = identifying.await?;
    access.user(&principal.user_id);
    match route {
        Ok(Route::Inference(address)) => {
            infer(gateway, live, inbound, &principal, &address, None).await
        }
        Ok(Route::Stored(address, id)) => {
            infer(gateway, live, inbound, &principal, &address, Some(id)).await
        }
        Ok(list) => lists::answer(gateway, live, inbound, &principal, &list).await,
        Err(Lost::NoMethod { .. }) if wants_websocket(&inbound.head) => {
            Err(Refusal::no_websocket())
        }
        Err(Lost::NoMethod { allow, .. }) => Err(Refusal::method_not_allowed(&allow)),
        Err(Lost::NoPath { astray, .. }) => Err(Refusal::not_found(astray.as_ref())),
    }
}

/// Answers an inference request of a signed-in caller. `stored`: it has no body, and asks for the response with this id.
///
/// Dropped at any point, because the client went away, it leaves nothing behind but its row.
async fn infer(
    gateway: &Gateway,
    live: &Live,
    inbound: &mut Inbound,
    principal: &Principal,
    address: &Address<'_>,
    stored: Option<&str>,
) -> Result<Response<ClientBody>, Refusal> {
    let mut visit = Visit::begin(&gateway.books(), inbound, principal, &address.api);
    let admitted = match stored {
        None => enter(gateway, live, inbound, principal, address, &mut visit).await,
        Some(id) => recall(gateway, live, inbound, principal, address, id, &mut visit).await,
    };
    let (call, admission) = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => return Err(visit.refused(refusal)),
    };
    let attempt = visit.open(admission).await?;
    dispatch(gateway, live, inbound, principal, &call, attempt).await
}

/// From the body in the socket to the right to send the request on.
async fn enter(
    gateway: &Gateway,
    live: &Live,
    inbound: &mut Inbound,
    principal: &Principal,
    address: &Address<'_>,
    visit: &mut Visit,
) -> Result<(Call, Admission), Refusal> {
    let (headers, body) = (&inbound.head.headers, &mut inbound.body);
    let session = session(headers, &live.settings.routing.session_headers)?;
    Class::of(headers)?;
    let rate = live.settings.limits.refused_bytes_per_second_per_user;
    let mut toll = gateway.refused_bytes().toll(&principal.user_id, rate)?;
    let rules = Rules {
        limits: &live.read_limits(),
        budget: gateway.body_budget(),
        watch: live.catalog.watch(),
    };
    let mut call = read(headers, body, address, rules, &mut toll).await?;
    call.session = session;
    let admission = admit(gateway, live, inbound, principal, address, &call, visit).await?;
    toll.waive();
    Ok((call, admission))
}

/// From the id of a stored response to the right to ask its backend for it.
async fn recall(
    gateway: &Gateway,
    live: &Live,
    inbound: &Inbound,
    principal: &Principal,
    address: &Address<'_>,
    id: &str,
    visit: &mut Visit,
) -> Result<(Call, Admission), Refusal> {
    if asks_for_stream(&inbound.head) {
        return Err(Refusal::stored_stream());
    }
    let maker = gateway.responses().endpoint_of(id, &principal.user_id);
    let maker = maker.and_then(|slug| live.catalog.deployment(&slug));
    let maker = maker.ok_or_else(Refusal::response_not_found)?;
    let stored = Stored {
        method: inbound.head.method.clone(),
        id: id.into(),
    };
    let nothing = gateway.body_budget().reserve(0).ok_or(ReadError::Busy)?;
    let call = Call::for_stored(&address.api, stored, &maker.model, nothing);
    let admission = admit(gateway, live, inbound, principal, address, &call, visit).await?;
    Ok((call, admission))
}

/// From a call to the right to send it on.
async fn admit(
    gateway: &Gateway,
    live: &Live,
    inbound: &Inbound,
    principal: &Principal,
    address: &Address<'_>,
    call: &Call,
    visit: &mut Visit,
) -> Result<Admission, Refusal> {
    visit.learn(call);
    let pool = resolve(&live.catalog, address, &call.model);
    let permit = authorize(principal, pool, &live.notices).map_err(|denied| {
        let wanted = Wanted::Model(address.scope, &call.model, address.api.as_str());
        gateway
            .denials()
            .note(denied, wanted, &live.catalog, principal, inbound.id)
    })?;
    visit.found(&permit);
    let previous = call.previous_response_id.as_deref();
    let permit = permit
        .continuing(previous, principal, gateway.responses())
        .ok_or_else(|| match call.stored {
            None => Refusal::previous_response_not_found(),
            Some(_) => Refusal::response_not_found(),
        })?
        .taking(call)?;
    let ranked = rank(permit, &call.sightings, gateway.clock().unix_micros())?;
    let entry = Entry {
        principal,
        limits: &live.settings.limits,
        demand: &call.demand(),
        class: Class::of(&inbound.head.headers)?,
    };
    Ok(gateway.admitter().enter(ranked, entry).await?)
}

/// Sends the request, moves on to another endpoint if that is safe, and relays the response.
async fn dispatch(
    gateway: &Gateway,
    live: &Live,
    inbound: &Inbound,
    principal: &Principal,
    call: &Call,
    mut attempt: Attempt,
) -> Result<Response<ClientBody>, Refusal> {
    let limits = &live.settings.limits;
    let request = backend::Request {
        principal,
        call,
        id: inbound.id,
        headers: &inbound.head.headers,
    };
    gateway.admitter().begin();
    let answer = loop {
        match live.backends.call(&mut attempt, request).await {
            Ok(answer) => break answer,
            Err(failure) => {
                let next = attempt.failed(failure.retry_safe(), limits).await;
                attempt = match next {
                    Ok(next) => next,
                    Err(last) => return Err(refuse(last, failure.into()).await),
                };
            }
        }
    };
    let context = gateway.relay_context(live, inbound, call, &attempt, &answer.promise);
    let slug = Arc::clone(&attempt.deployment().slug);
    let mut limits = limit_headers(attempt.standing());
    limits.extend(queue_header(attempt.waited()));
    match relay::begin(answer, InFlight::new(attempt), context).await {
        Ok(mut response) => {
            response.headers_mut().extend(limits);
            Ok(response)
        }
        Err(refusal) => Err(refusal.at(&slug).with_headers(limits)),
    }
}
