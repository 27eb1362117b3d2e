//! Takes a place on an endpoint, and everything else that the limits ask for.

use std::sync::Arc;
use std::time::Duration;

use ostia_core::{Ask, Claim, Cost, Grant, Identity, Reserving, Scope, Turn};

use super::super::admission::Leased;
use super::super::cost::{cost, likely_service};
use super::super::fair::Party;
use super::super::limits::{claims, places};
use super::super::{Refused, Shortage};
use super::line::WhenAway;
use super::{SHORTLY, Shared};
use crate::catalog::Deployment;
use crate::rank::{NotServing, Ranked};
use crate::read::Demand;
use crate::settings::{Limits, OwnLimits};

/// The claims of one request on limits, for any endpoint.
#[derive(Clone, Copy)]
pub(in super::super) struct Asking<'a> {
    pub(in super::super) limits: &'a Limits,
    pub(in super::super) own: OwnLimits,
    pub(in super::super) identity: &'a Identity,
    pub(in super::super) demand: &'a Demand,
    /// Its pool, and for whom it asks; `None`: it was let in before, and changes its endpoint.
    pub(in super::super) party: Option<(&'a Arc<str>, &'a Party)>,
    /// It waits in line.
    pub(in super::super) waits: bool,
}

impl Asking<'_> {
    /// What is reserved there, by what is known now: while it waits, others end and say what such requests need.
    pub(in super::super) fn cost(&self, deployment: &Deployment) -> Cost {
        cost(self.limits, &deployment.learned, self.demand)
    }

    fn claims(&self, deployment: &Deployment, is_wanted: impl Fn(Scope) -> bool) -> Vec<Claim> {
        claims(self.limits, &self.own, self.identity, deployment, is_wanted)
    }
}

impl Shared {
    /// Takes a place and everything `is_wanted` on the first endpoint that has both. Endpoints that are away are
    /// skipped while another one is available.
    pub(in super::super) async fn lease(
        &self,
        ranked: &Ranked,
        asking: &Asking<'_>,
        is_wanted: fn(Scope) -> bool,
        away: WhenAway,
    ) -> Result<Leased, Refused> {
        if let Some(starting) = ranked.starting() {
            return Err(Refused::not_yet(starting.fault.clone(), SHORTLY));
        }
        let candidates = ranked.candidates();
        let is_away = |one: &Deployment| one.state.returns_in().is_some();
        let sends = match (away, earliest(candidates)) {
            _ if !candidates.iter().all(|one| is_away(one)) => false,
            (WhenAway::Send(left) | WhenAway::GiveUp(left), Some(wait)) if wait <= left => {
                return Err(Refused::full(wait));
            }
            (WhenAway::Send(_), _) => true,
            (WhenAway::GiveUp(_) | WhenAway::Skip, _) => {
                return Err(Refused::now(Shortage::NotServing(NotServing::NoneReady)));
            }
        };
        let mut refused: Option<Refused> = None;
        let here = candidates.iter().enumerate();
        for (at, deployment) in here.filter(|(_, one)| sends || !is_away(one)) {
            let this = match self.lease_one(deployment, asking, is_wanted).await {
                Ok(leased) => return Ok(Leased { at, ..leased }),
                Err(this) => this,
            };
            refused = Some(match refused {
                Some(before) => before.milder(this),
                None => this,
            });
        }
        Err(refused.unwrap_or_else(|| Refused::full(SHORTLY)))
    }

    async fn lease_one(
        &self,
        deployment: &Deployment,
        asking: &Asking<'_>,
        is_wanted: fn(Scope) -> bool,
    ) -> Result<Leased, Refused> {
        let shared_place = places(deployment).filter(|_| self.spans_replicas);
        let most = match shared_place {
            // The limiter counts, and has to know who waits here.
            Some(_) => u32::MAX,
            None => deployment.places(),
        };
        let place = deployment.state.take_place(most);
        let place = place.ok_or_else(|| Refused::full(SHORTLY))?;
        let mut claims = asking.claims(deployment, is_wanted);
        let cost = asking.cost(deployment);
        let turn = shared_place
            .as_ref()
            .and_then(|_| self.turn(deployment, asking, cost));
        let is_charged = turn.is_some();
        claims.extend(shared_place);
        let grant = self.reserve(Ask { claims, cost, turn }).await?;
        deployment.state.probe();
        Ok(Leased {
            at: 0,
            place,
            grant,
            cost,
            is_charged,
        })
    }

    /// Who asks, for the limiter that decides between replicas.
    fn turn(&self, deployment: &Deployment, asking: &Asking<'_>, cost: Cost) -> Option<Turn> {
        let (pool, party) = asking.party?;
        let service = likely_service(asking.demand, cost);
        let next = match asking.waits {
            true => self.queues.behind(pool, party, service, &deployment.slug),
            false => None,
        };
        let (is_new_project, is_new_user) = self.queues.is_new(pool, party);
        Some(Turn {
            pool: Arc::clone(pool),
            class: party.class,
            project: Arc::clone(&party.project),
            project_share: party.project_share,
            user: Arc::clone(&party.user),
            user_share: party.user_share,
            service,
            is_new_project,
            is_new_user,
            waits: asking.waits,
            next: next.map(|next| (next.class, next.project, next.user)),
        })
    }

    /// The limit of the caller's own that will still hold it back on every endpoint, while others wait.
    pub(super) fn foresee(&self, ranked: &Ranked, asking: &Asking<'_>) -> Option<Refused> {
        let foreseen = ranked.candidates().iter().map(|deployment| {
            let claims = asking.claims(deployment, |scope| scope != Scope::Endpoint);
            let cost = asking.cost(deployment);
            let ask = Ask {
                claims,
                cost,
                turn: None,
            };
            self.limiter.foresee(&ask).map(Refused::from)
        });
        let foreseen: Option<Vec<Refused>> = foreseen.collect();
        foreseen?.into_iter().reduce(Refused::milder)
    }

    async fn reserve(&self, ask: Ask) -> Result<Grant, Refused> {
        let answer = match Arc::clone(&self.limiter).reserve(&ask) {
            Reserving::Now(answer) => Some(answer),
            Reserving::Later(answer) => tokio::time::timeout(self.limiter_patience, answer)
                .await
                .ok(),
        };
        let answer = match answer {
            Some(answer) => answer,
            None => match Arc::clone(&self.fallback).reserve(&ask) {
                Reserving::Now(answer) => answer,
                Reserving::Later(answer) => answer.await,
            },
        };
        answer.map_err(Refused::from)
    }
}

/// When the first endpoint that refused is back.
pub(super) fn earliest(candidates: &[Arc<Deployment>]) -> Option<Duration> {
    let rests = candidates.iter().map(|one| one.state.is_back_in());
    rests.flatten().min()
}
