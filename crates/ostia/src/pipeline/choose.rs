//! From a call to the endpoints that may answer it: resolve, authorize, rank.

use ostia_core::RequestId;

use super::Case;
use crate::account::Visit;
use crate::authorize::{Denied, Permit, Wanted, authorize};
use crate::cluster::start_on_demand;
use crate::gateway::Gateway;
use crate::identify::Principal;
use crate::rank::{Ranked, Trail, rank};
use crate::read::Call;
use crate::refusal::Refusal;
use crate::resolve::{Reach, resolve};

/// The endpoints that may answer a call, best first, the model's own before those of stand-ins.
pub(super) fn choose(
    case: Case<'_>,
    id: RequestId,
    call: &Call,
    visit: &mut Visit,
) -> Result<Ranked, Refusal> {
    let permit = permit(case, id, call, visit)?;
    let Case {
        gateway,
        live,
        principal,
        ..
    } = case;
    let key = live.catalog.watch().print_key();
    let trail = Trail::of(call, principal.identity(), key, permit.deployments());
    let now = gateway.clock().unix_micros();
    let startable = permit
        .tiers()
        .take(1)
        .flatten()
        .filter(|one| !one.cluster.scheduler.on_demand.is_empty());
    let startable: Vec<_> = startable.cloned().collect();
    let ranked = rank(permit, &call.sightings, trail, &gateway.fleet, now);
    if !matches!(&ranked, Ok(ranked) if ranked.starting().is_none()) {
        startable.iter().for_each(start_on_demand);
    }
    Ok(ranked?)
}

/// The endpoints that the caller may use for the call, and their stand-ins.
fn permit(
    case: Case<'_>,
    id: RequestId,
    call: &Call,
    visit: &mut Visit,
) -> Result<Permit, Refusal> {
    let Case {
        gateway,
        live,
        principal,
        address,
        ..
    } = case;
    let of_model = |name: &str| resolve(&live.catalog, address, name);
    let pool = of_model(&call.model);
    let [reach, of_stand_ins] = match (case.own.allow_external, pool.is_on_site()) {
        (true, _) => [Reach::Anywhere; 2],
        (false, true) => [Reach::OnSite; 2],
        (false, false) => [Reach::Anywhere, Reach::OnSiteFirst],
    };
    let stand_in = |name: &str| of_model(name).within(of_stand_ins);
    let may_stand_in = call.previous_response_id.is_none();
    let denied = match authorize(principal, pool.within(reach), &live.notices) {
        Ok(permit) => {
            visit.found(&permit);
            let permit = for_call(permit, gateway, principal, call)?;
            return Ok(match may_stand_in {
                true => permit.with_fallbacks(principal, call, &live.notices, stand_in),
                false => permit,
            });
        }
        Err(denied) => denied,
    };
    if may_stand_in && matches!(denied, Denied::Maintenance(_)) {
        let pool = of_model(&call.model).within(reach);
        let permit = Permit::of_stand_ins(principal, pool, call, &live.notices, stand_in);
        if let Some(permit) = permit {
            visit.found(&permit);
            return Ok(permit);
        }
    }
    let wanted = Wanted::Model(address.scope, &call.model, address.api.as_str());
    let denials = gateway.denials();
    Err(denials
        .note(denied, wanted, &live.catalog, principal, id)
        .into())
}

/// The endpoints that know what the call continues, and take its fields.
fn for_call(
    permit: Permit,
    gateway: &Gateway,
    principal: &Principal,
    call: &Call,
) -> Result<Permit, Refusal> {
    let previous = call.previous_response_id.as_deref();
    let permit = permit
        .continuing(previous, principal, gateway.responses())
        .ok_or_else(|| match call.stored {
            None => Refusal::previous_response_not_found(),
            Some(_) => Refusal::response_not_found(),
        })?;
    Ok(permit.taking(call)?)
}
