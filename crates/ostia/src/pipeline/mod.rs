//! In: a request whose head is valid, and the [`Gateway`]. Out: its response.
//! Here: the spine. Read [`answer`], then [`infer`]: everything that happens to a request, in order.
//! Not here: decisions of rooms, parts that requests share.

mod choose;
mod early;
mod edge;
mod lasting;
mod lists;
mod moved;
mod registering;

use std::sync::Arc;

use http::Response;

use self::choose::choose;
use self::early::Early;
use self::edge::{asks_for_stream, refuse, wants_websocket};
use self::moved::{Moved, moved_on};
use crate::account::Visit;
use crate::admit::{Admission, Attempt, Entry, class_of, own_limits};
use crate::backend;
use crate::errors::{limit_headers, queue_header, served_header};
use crate::gateway::{Gateway, NO_ROUTE};
use crate::identify::{Present, Principal, Sender};
use crate::listen::Inbound;
use crate::live::Live;
use crate::read::{Call, Rules, Stored, read, session};
use crate::refusal::Refusal;
use crate::relay::{self, ClientBody, InFlight};
use crate::routes::{Address, Lost, Route};
use crate::settings::{OwnLimit, OwnLimits};
use crate::telemetry::{AccessLog, Trace};

/// Answers any request to the public listener. `route` is what its path leads to.
async fn answer(
    gateway: &Gateway,
    live: &Live,
    inbound: &mut Inbound,
    route: Result<Route<'_>, Lost>,
    access: &mut AccessLog,
    early: &Early,
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
    access.caller(principal.identity());
    let access = &*access;
    let own = own_limits(&live.settings.limits, principal.identity());
    let name = route.as_ref().map_or(NO_ROUTE, Route::name);
    let case = |address, present| Case {
        gateway,
        live,
        principal: &principal,
        own: &own,
        present,
        address,
        early,
        access,
        route: name,
        trace: None,
    };
    let present = || Arc::new(gateway.directory().enter(&principal.user_id));
    match &route {
        Ok(Route::Inference(address)) => {
            Box::pin(infer(case(address, &present()), inbound, None)).await
        }
        Ok(Route::Stored(address, id)) => {
            Box::pin(infer(case(address, &present()), inbound, Some(*id))).await
        }
        Ok(Route::Register(slug)) => {
            Box::pin(registering::answer(
                gateway, live, inbound, &principal, slug,
            ))
            .await
        }
        Ok(list) => lists::answer(gateway, live, inbound, &principal, list).await,
        Err(Lost::NoMethod { .. }) if wants_websocket(&inbound.head) => {
            Err(Refusal::no_websocket())
        }
        Err(Lost::NoMethod { allow, .. }) => Err(Refusal::method_not_allowed(allow)),
        Err(Lost::NoPath { astray, .. }) => Err(Refusal::not_found(astray.as_ref())),
    }
}

/// A signed-in caller's inference request.
#[derive(Clone, Copy)]
struct Case<'a> {
    gateway: &'a Gateway,
    live: &'a Live,
    principal: &'a Principal,
    own: &'a OwnLimits,
    present: &'a Arc<Present>,
    address: &'a Address<'a>,
    early: &'a Early,
    access: &'a AccessLog,
    route: &'static str,
    trace: Option<&'a Arc<Trace>>,
}

/// Answers an inference request. `stored`: it has no body, and asks for the response with this id.
///
/// Dropped at any point, because the client went away, it leaves nothing behind but its row. Its stages are boxed: a future
/// is moved as a whole, and what is not boxed counts for everything around it.
async fn infer(
    case: Case<'_>,
    inbound: &mut Inbound,
    stored: Option<&str>,
) -> Result<Response<ClientBody>, Refusal> {
    let api = &case.address.api;
    let shared = (&case.early.head_sent, &case.early.outlasting);
    let trace = case.gateway.trace(case.live, inbound, case.route);
    let trace = trace.as_ref();
    let case = Case { trace, ..case };
    let books = case.gateway.books(case.present, case.access, trace);
    let mut visit = Visit::begin(&books, inbound, case.principal, api, shared);
    let entering = Box::pin(async {
        match stored {
            None => enter(case, inbound, &mut visit).await,
            Some(id) => recall(case, inbound, id, &mut visit).await,
        }
    });
    let admitted = tokio::select! {
        biased;
        () = case.present.dismissed() => Err(Refusal::account_disabled()),
        admitted = entering => admitted,
    };
    let (call, admission) = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => return Err(visit.refused(refusal)),
    };
    let attempt = visit.open(admission).await?;
    tokio::select! {
        biased;
        () = case.present.dismissed() => Err(Refusal::account_disabled()),
        answered = Box::pin(dispatch(case, inbound, &call, attempt)) => answered,
    }
}

/// From the body in the socket to the right to send the request on.
async fn enter(
    case: Case<'_>,
    inbound: &mut Inbound,
    visit: &mut Visit,
) -> Result<(Call, Box<Admission>), Refusal> {
    let Case { gateway, live, .. } = case;
    let (headers, body) = (&inbound.head.headers, &mut inbound.body);
    let session = session(headers, &live.settings.routing.session_headers)?;
    visit.classed(class_of(headers, case.principal)?);
    let limits = &live.settings.limits;
    let rate = case.own.of(OwnLimit::RefusedBytes);
    let rate = rate.unwrap_or(limits.of(OwnLimit::RefusedBytes));
    let refused = gateway.refused_bytes();
    let mut toll = refused.toll(&case.principal.user_id, rate)?;
    let rules = Rules {
        limits: &live.read_limits(),
        budget: gateway.body_budget(),
        user: &case.principal.user_id,
        origin: inbound.origin_ip,
        watch: live.catalog.watch(),
    };
    let mut call = read(headers, body, case.address, rules, &mut toll).await?;
    call.session = session;
    let admission = admit(case, inbound, &call, visit).await?;
    toll.waive();
    Ok((call, admission))
}

/// From the id of a stored response to the right to ask its backend for it.
async fn recall(
    case: Case<'_>,
    inbound: &Inbound,
    id: &str,
    visit: &mut Visit,
) -> Result<(Call, Box<Admission>), Refusal> {
    let Case { gateway, live, .. } = case;
    if asks_for_stream(&inbound.head) {
        return Err(Refusal::stored_stream());
    }
    let responses = gateway.responses();
    responses.look_for(id, &case.principal.user_id).await;
    let maker = responses.endpoint_of(id, &case.principal.user_id);
    let maker = maker.and_then(|slug| live.catalog.deployment(&slug));
    let maker = maker.ok_or_else(Refusal::response_not_found)?;
    let stored = Stored {
        method: inbound.head.method.clone(),
        id: id.into(),
    };
    let user = &case.principal.user_id;
    let nothing = gateway.body_budget().begin(user, inbound.origin_ip)?;
    let call = Call::for_stored(&case.address.api, stored, &maker.model, nothing);
    let admission = admit(case, inbound, &call, visit).await?;
    Ok((call, admission))
}

/// From a call to the right to send it on.
async fn admit(
    case: Case<'_>,
    inbound: &Inbound,
    call: &Call,
    visit: &mut Visit,
) -> Result<Box<Admission>, Refusal> {
    let Case {
        gateway,
        live,
        principal,
        own,
        early,
        ..
    } = case;
    visit.learn(call);
    if let Some(previous) = &call.previous_response_id {
        let responses = gateway.responses();
        responses.look_for(previous, &principal.user_id).await;
    }
    let ranked = choose(case, inbound.id, call, visit)?;
    if backend::streams_surely(ranked.candidates(), call) {
        early.allow();
    }
    let entry = Entry {
        principal,
        limits: &live.settings.limits,
        own,
        demand: &call.demand(),
        class: class_of(&inbound.head.headers, principal)?,
    };
    visit.waits();
    let entered = gateway.admitter().enter(ranked, entry).await;
    visit.waited(match &entered {
        Ok(admission) => admission.waited(),
        Err(refused) => refused.waited,
    });
    Ok(entered?)
}

/// Sends the request, moves on to another endpoint if that is safe, and relays the response.
async fn dispatch(
    case: Case<'_>,
    inbound: &Inbound,
    call: &Call,
    mut attempt: Attempt,
) -> Result<Response<ClientBody>, Refusal> {
    let Case {
        gateway,
        live,
        principal,
        present,
        trace,
        ..
    } = case;
    let limits = &live.settings.limits;
    let request = backend::Request {
        principal,
        call,
        id: inbound.id,
        headers: &inbound.head.headers,
    };
    gateway.figures().took(attempt.receipt().own_time());
    if let Some(trace) = trace {
        trace.sent(gateway.clock.now());
    }
    gateway.admitter().begin();
    let answer = loop {
        let failure = match live.backends.call(&mut attempt, request).await {
            Ok(answer) => match moved_on(gateway, attempt, answer, limits).await {
                Moved::Next(next) => {
                    attempt = next;
                    continue;
                }
                Moved::Answered(this, answer) => {
                    attempt = this;
                    break answer;
                }
            },
            Err(failure) => failure,
        };
        let next = Box::pin(attempt.failed(failure.retry_safe(), limits)).await;
        attempt = match next {
            Ok(next) => next,
            Err(last) => return Err(Box::pin(refuse(last, failure.into())).await),
        };
    };
    let context = gateway.relay_context(live, inbound, present, call, &attempt, &answer.promise);
    let slug = Arc::clone(&attempt.deployment().slug);
    let mut told = limit_headers(attempt.standing());
    told.extend(queue_header(attempt.waited()));
    told.extend(attempt.stand_in().and_then(served_header));
    match relay::begin(answer, InFlight::new(attempt), context).await {
        Ok(mut response) => {
            response.headers_mut().extend(told);
            Ok(response)
        }
        Err(refusal) => Err(refusal.at(&slug).with_headers(told)),
    }
}
