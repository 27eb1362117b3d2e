//! In: a request whose head is valid, and the [`Gateway`]. Out: its response.
//! Here: the spine. Read [`answer`], then [`infer`]: everything that happens to a request, in order.
//! Not here: decisions of rooms, parts that requests share.

mod edge;
mod lists;

use std::sync::Arc;

use http::Response;

use self::edge::refuse;
use crate::account::Visit;
use crate::admit::{Admission, Attempt, Entry, class_of};
use crate::authorize::{Wanted, authorize};
use crate::backend;
use crate::errors::{limit_headers, queue_header};
use crate::gateway::Gateway;
use crate::identify::{Principal, Sender};
use crate::listen::Inbound;
use crate::live::Live;
use crate::rank::rank;
use crate::read::{Call, Rules, read, session};
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
        Ok(route) if route.is_open() => {
            let limits = &live.settings.limits;
            gateway.admitter().open(inbound.origin_ip, limits)?;
            return Ok(lists::open(live, &route));
        }
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
        Ok(Route::Inference(address)) => infer(gateway, live, inbound, &principal, &address).await,
        Ok(list) => lists::answer(gateway, live, inbound, &principal, &list).await,
        Err(Lost::NoMethod { allow, .. }) => Err(Refusal::method_not_allowed(&allow)),
        Err(Lost::NoPath { astray, .. }) => Err(Refusal::not_found(astray.as_ref())),
    }
}

/// Answers an inference request of a signed-in caller.
///
/// Dropped at any point, because the client went away, it leaves nothing behind but its row.
async fn infer(
    gateway: &Gateway,
    live: &Live,
    inbound: &mut Inbound,
    principal: &Principal,
    address: &Address<'_>,
) -> Result<Response<ClientBody>, Refusal> {
    let mut visit = Visit::begin(&gateway.books(), inbound, principal, &address.api);
    let admitted = enter(gateway, live, inbound, principal, address, &mut visit).await;
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
    let class = class_of(headers)?;
    visit.classed(class);
    let limits = &live.settings.limits;
    let refused = gateway.refused_bytes();
    let mut toll = refused.toll(&principal.user_id, limits.refused_bytes_per_second_per_user)?;
    let rules = Rules {
        limits: &live.read_limits(),
        budget: gateway.body_budget(),
        watch: live.catalog.watch(),
    };
    let mut call = read(headers, body, address, rules, &mut toll).await?;
    call.session = session;
    visit.learn(&call);
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
        .ok_or_else(Refusal::previous_response_not_found)?
        .taking(&call)?;
    let ranked = rank(permit, &call.sightings, gateway.clock().unix_micros())?;
    let entry = Entry {
        principal,
        limits,
        demand: &call.demand(),
        class,
    };
    let admission = gateway.admitter().enter(ranked, entry).await?;
    toll.waive();
    Ok((call, admission))
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
    gateway.figures().took(attempt.own_time());
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
