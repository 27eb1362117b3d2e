//! In: a request whose head is sound, and the [`Gateway`]. Out: its answer.
//! Here: the spine: it calls the rooms in the order of a request's way.
//! Not here: decisions of rooms, parts that requests share.

mod front;
mod pages;

use std::sync::Arc;

use http::Response;
use ostia_core::{Standing, UserLimits};

use crate::account::{Visit, close_refused, moved_to};
use crate::admit::{Admission, admit};
use crate::authorize::{Wanted, authorize};
use crate::backend;
use crate::dialect::Api;
use crate::errors::limit_headers;
use crate::gateway::Gateway;
use crate::identify::Principal;
use crate::listen::Inbound;
use crate::live::Snapshot;
use crate::rank::rank;
use crate::read::{Call, read, session};
use crate::refusal::Refusal;
use crate::relay::{self, ClientBody, InFlight};
use crate::resolve::resolve;
use crate::routes::Address;

/// Answers an inference request of a caller who has signed in.
///
/// Dropped at any point (the client went away), it leaves nothing behind but its row.
pub async fn infer(
    gateway: &Gateway,
    inbound: &mut Inbound,
    principal: &Principal,
    address: &Address<'_>,
) -> Result<Response<ClientBody>, Refusal> {
    let snapshot = gateway.snapshot();
    let mut visit = Visit::begin(&gateway.books(), inbound, principal, address.api);
    let admitted = enter(gateway, &snapshot, inbound, principal, address, &mut visit).await;
    let (call, admission) = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => return Err(visit.refused(refusal)),
    };
    let mut standing = admission.standing();
    let receipt = visit.open(&admission)?;
    let request = Request {
        gateway,
        snapshot: &snapshot,
        inbound,
        principal,
        call: &call,
    };
    match dispatch(request, admission, receipt, &mut standing).await {
        Ok(mut response) => {
            response.headers_mut().extend(limit_headers(&standing));
            Ok(response)
        }
        Err(mut refusal) => {
            refusal.headers.extend(limit_headers(&standing));
            Err(refusal)
        }
    }
}

/// From the body in the socket to the right to send it on.
async fn enter(
    gateway: &Gateway,
    snapshot: &Snapshot,
    inbound: &mut Inbound,
    principal: &Principal,
    address: &Address<'_>,
    visit: &mut Visit,
) -> Result<(Call, Admission), Refusal> {
    let limits = &gateway.settings().limits;
    let session = session(
        &inbound.head.headers,
        &gateway.settings().routing.session_headers,
    )?;
    let mut call = read(
        &inbound.head.headers,
        &mut inbound.body,
        Api::parse(address.api),
        gateway.read_limits(),
        gateway.body_budget(),
    )
    .await?;
    call.session = session;
    visit.learn(&call);
    let pool = resolve(&snapshot.catalog, address, &call.model);
    let permit = authorize(principal, pool, &snapshot.notices).map_err(|denied| {
        let wanted = Wanted::Model(address.scope(), &call.model);
        gateway
            .denials()
            .note(denied, wanted, &snapshot.catalog, principal, inbound.id)
    })?;
    visit.found(&permit);
    let permit = permit
        .continuing(
            call.previous_response_id.as_deref(),
            principal,
            gateway.responses(),
        )
        .ok_or_else(Refusal::previous_response_not_found)?;
    let ranked = rank(permit, gateway.clock().unix_micros())?;
    let user_limits = UserLimits {
        requests_per_second: limits.requests_per_second_per_user,
        max_in_flight: limits.max_in_flight_per_user,
    };
    let cost = call.cost(limits.default_output_tokens);
    let admission = admit(gateway.limiter(), principal, user_limits, ranked, cost).await?;
    Ok((call, admission))
}

/// What is read and known of a request that may be sent.
struct Request<'a> {
    gateway: &'a Gateway,
    snapshot: &'a Snapshot,
    inbound: &'a Inbound,
    principal: &'a Principal,
    call: &'a Call,
}

/// Sends it, moves on where that is safe, and relays the answer. `standing` is left as the last endpoint's limits have it.
async fn dispatch(
    request: Request<'_>,
    mut admission: Admission,
    mut receipt: ostia_core::Receipt,
    standing: &mut Standing,
) -> Result<Response<ClientBody>, Refusal> {
    let Request {
        gateway,
        snapshot,
        inbound,
        principal,
        call,
    } = request;
    gateway.retries().earn();
    let request = backend::Request {
        principal,
        call,
        id: inbound.id,
        headers: &inbound.head.headers,
    };
    let answer = loop {
        let called = snapshot
            .backends
            .call(&mut admission, &mut receipt, request);
        let failure = match called.await {
            Ok(answer) => break answer,
            Err(failure) => failure,
        };
        let slug = Arc::clone(&admission.deployment().slug);
        let now = gateway.clock().unix_micros();
        let next = admission.next(failure.retry_safe(), gateway.retries(), now);
        match next.await {
            Some(next) => {
                moved_to(&mut receipt, &next);
                *standing = next.standing();
                admission = next;
            }
            None => {
                let refusal = Refusal::from(failure).at(&slug);
                return Err(close_refused(receipt, refusal));
            }
        }
    };
    let context = gateway.relay_context(inbound, call, &admission, &answer.promise);
    let slug = Arc::clone(&admission.deployment().slug);
    relay::begin(answer, InFlight::new(receipt, admission), context)
        .await
        .map_err(|refusal| refusal.at(&slug))
}
