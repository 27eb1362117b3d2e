//! The spine: calls the rooms in the order of a request's way, and decides nothing itself.

use std::sync::Arc;

use http::Response;
use ostia_core::UserLimits;

use crate::account::{Visit, close_refused, moved_to};
use crate::admit::{Admission, admit};
use crate::app::{Gateway, Snapshot};
use crate::authorize::{Permit, authorize};
use crate::endpoint::adapt;
use crate::error::{Refusal, limit_headers};
use crate::identify::Principal;
use crate::listen::Inbound;
use crate::rank::rank;
use crate::read::{Api, Call, read};
use crate::relay::{self, ClientBody, InFlight};
use crate::resolve::{Address, resolve};
use crate::upstream;

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
    let standing = admission.standing();
    let receipt = visit.open(&admission)?;
    let answer = dispatch(
        gateway, &snapshot, inbound, principal, &call, admission, receipt,
    );
    match answer.await {
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
    let call = read(
        &inbound.head.headers,
        &mut inbound.body,
        Api::parse(address.api),
        gateway.read_limits(),
        gateway.body_budget(),
    )
    .await?;
    visit.learn(&call);
    let pool = resolve(&snapshot.catalog, address, &call.model);
    let permit = authorize(principal, pool, &snapshot.notices)?;
    visit.found(&permit);
    let permit = continued(gateway, principal, &call, permit)
        .ok_or_else(Refusal::previous_response_not_found)?;
    let ranked = rank(permit, gateway.clock().unix_micros())?;
    let user_limits = UserLimits {
        requests_per_second: limits.requests_per_second_per_user,
        max_in_flight: limits.max_in_flight_per_user,
    };
    let tokens = call.tokens_to_reserve(limits.default_output_tokens);
    let admission = admit(gateway.limiter(), principal, user_limits, ranked, tokens).await?;
    Ok((call, admission))
}

/// A call that continues a response goes to the endpoint that made it for the same user, or nowhere.
fn continued(
    gateway: &Gateway,
    principal: &Principal,
    call: &Call,
    permit: Permit,
) -> Option<Permit> {
    let Some(previous) = &call.previous_response_id else {
        return Some(permit);
    };
    gateway
        .responses()
        .endpoint_of(previous, &principal.user_id)
        .and_then(|endpoint| permit.only(&endpoint))
}

/// Sends it, moves on where that is safe, and relays the answer.
async fn dispatch(
    gateway: &Gateway,
    snapshot: &Arc<Snapshot>,
    inbound: &Inbound,
    principal: &Principal,
    call: &Call,
    mut admission: Admission,
    mut receipt: ostia_core::Receipt,
) -> Result<Response<ClientBody>, Refusal> {
    gateway.retries().earn();
    let adapters = &snapshot.adapters;
    let (answer, promise) = loop {
        receipt.tell(adapters.observer(admission.deployment()));
        let adapted = adapt(
            adapters,
            &admission,
            principal,
            call,
            inbound.id,
            &inbound.head.headers,
        );
        let outgoing = match adapted.await {
            Ok(outgoing) => outgoing,
            Err(error) => return Err(close_refused(receipt, error.into())),
        };
        let promise = outgoing.promise();
        admission.dispatched();
        let sent = upstream::send(&snapshot.upstreams, &admission, &mut receipt, outgoing);
        let failure = match sent.await {
            Ok(answer) => break (answer, promise),
            Err(failure) => failure,
        };
        match admission.next(failure.retry_safe, gateway.retries()).await {
            Some(next) => {
                moved_to(&mut receipt, &next);
                admission = next;
            }
            None => return Err(close_refused(receipt, failure.into())),
        }
    };
    adapters.answered(admission.deployment(), principal, &answer.head);
    let context = gateway.relay_context(inbound, call, &admission, &promise);
    relay::begin(answer, InFlight::new(receipt, admission), context).await
}
