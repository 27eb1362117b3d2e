use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use ostia_core::{Clock, Holding, Lease, LeaseHeld, Role, Store, StoreError};
use parking_lot::Mutex;

use super::calls::Calls;
use super::tunnels::TunnelLease;
use super::{Asked, RegisterFault};
use crate::catalog::{ApiUrl, Catalog, Deployment, Register};
use crate::fleet::ModelState;
use crate::identify::Principal;
use crate::upstream::Clients;

/// The most leases that one endpoint may have.
pub(super) const MOST: i64 = 512;
/// How long a replica's report of running requests on a draining lease is trusted.
const BELIEVED: Duration = Duration::from_secs(2);
/// While the store does not answer, each look prolongs the leases by this much.
pub(super) const HELD_ON: Duration = Duration::from_secs(2);
/// The most that leases are prolonged: engines that are gone fail before the first byte, so requests move on meanwhile.
const LONGEST_HELD: Duration = Duration::from_secs(15 * 60);

/// The engines, as all replicas know them.
pub struct Board {
    /// This process among the replicas.
    pub(super) id: Arc<str>,
    pub(super) store: Arc<dyn Store>,
    pub(super) clients: Arc<Clients>,
    clock: Arc<dyn Clock>,
    calls: Calls,
    /// When the leases were last read from the store.
    read: Mutex<Option<Instant>>,
    pub(super) tunnels: Mutex<HashMap<Arc<str>, TunnelLease>>,
}

/// A lease that somebody holds now.
pub struct Given {
    pub lease: Lease,
    pub new: bool,
    /// Requests are running there, sent by this replica or another one.
    pub in_use: bool,
    /// This process has checked that the engine serves the model, and sends requests to it.
    pub serving: bool,
}

impl Board {
    pub fn new(store: Arc<dyn Store>, clients: Arc<Clients>, clock: Arc<dyn Clock>) -> Self {
        Self {
            // Without randomness there are no leases either.
            id: new_id().unwrap_or_default().into(),
            store,
            clients,
            clock,
            calls: Calls::default(),
            read: Mutex::default(),
            tunnels: Mutex::default(),
        }
    }

    /// Takes over the store's leases. Called several times a second in the background.
    ///
    /// # Errors
    ///
    /// The store does not answer; leases that have not ended are prolonged for a while.
    pub async fn look(&self, catalog: &Catalog) -> Result<(), StoreError> {
        let leased: Vec<&Arc<Deployment>> = leased(catalog).collect();
        if leased.is_empty() {
            return Ok(());
        }
        let read = self.store.leases().all().await;
        let now = self.clock.now();
        let tunnels = self.open_tunnels(&leased);
        let all = match read {
            Ok(mut all) => {
                *self.read.lock() = Some(now);
                all.extend(tunnels);
                all
            }
            Err(error) => {
                let last = *self.read.lock();
                if last.is_some_and(|last| now < last + LONGEST_HELD) {
                    for deployment in leased {
                        deployment.state.leases().hold_on(HELD_ON);
                    }
                }
                return Err(error);
            }
        };
        let mut in_use = Vec::new();
        for deployment in leased {
            let leases = deployment.state.leases();
            leases.update(all.iter().filter(|lease| is_of(deployment, lease)));
            let draining = leases.all().into_iter();
            let draining = draining.filter(|one| one.state() == Some(ModelState::Draining));
            in_use.extend(
                draining
                    .filter(|one| one.in_flight() > 0)
                    .map(|one| Arc::clone(&one.id)),
            );
        }
        self.store.leases().used(&in_use, BELIEVED).await
    }

    /// Renews a lease, or gives a new one.
    ///
    /// # Errors
    ///
    /// The caller may not register the endpoint, or not at this address; or a newer call was received before.
    pub async fn hold(
        &self,
        catalog: &Catalog,
        principal: &Principal,
        slug: &str,
        asked: Asked,
    ) -> Result<Given, RegisterFault> {
        let (deployment, register, key_id) = self.admit(catalog, principal, slug)?;
        let (ttl, until, starts_in) = (asked.ttl()?, asked.until()?, asked.starts_in()?);
        let state = asked.state()?;
        let (sequence, max_in_flight) = (asked.sequence()?, asked.max_in_flight()?);
        let url = match &asked.url {
            Some(url) => Some(self.judge(url, register, principal).await?),
            None => None,
        };
        let holding = Holding {
            id: asked.lease,
            new_id: new_id().ok_or(RegisterFault::NO_RANDOMNESS)?,
            sequence,
            slug: slug.to_owned(),
            url,
            key_id: key_id.to_string(),
            state,
            ttl,
            until,
            starts_in,
            max_in_flight,
            most: MOST,
        };
        let (lease, new) = match self.store.leases().hold(&holding).await? {
            LeaseHeld::Yes { lease, new } => (lease, new),
            LeaseHeld::Gone => return Err(RegisterFault::Gone),
            LeaseHeld::Stale(sequence) => return Err(RegisterFault::Stale(sequence)),
            LeaseHeld::Taken => return Err(RegisterFault::Taken),
            LeaseHeld::TooMany => return Err(RegisterFault::TooMany),
        };
        if new {
            tracing::info!(
                target: "ostia::audit", kind = "lease_begun", endpoint = slug, lease = &*lease.id, url = &*lease.url,
                key_id = &**key_id, username = &*principal.username, "an engine was registered"
            );
        }
        self.look(catalog).await?;
        let here = deployment.state.leases().all();
        let replica = here.iter().find(|one| one.id == lease.id);
        Ok(Given {
            in_use: lease.in_use || replica.is_some_and(|one| one.in_flight() > 0),
            serving: replica.is_some_and(|one| one.serves()),
            lease,
            new,
        })
    }

    /// Gives a lease back. `false`: the key does not hold that lease.
    ///
    /// # Errors
    ///
    /// The caller may not register the endpoint, or the store does not answer.
    pub async fn give_back(
        &self,
        catalog: &Catalog,
        principal: &Principal,
        slug: &str,
        id: &str,
    ) -> Result<bool, RegisterFault> {
        let (_, _, key_id) = self.admit(catalog, principal, slug)?;
        let is_given = self.store.leases().give_back(id, slug, key_id).await?;
        if is_given {
            tracing::info!(
                target: "ostia::audit", kind = "lease_ended", endpoint = slug, lease = id,
                key_id = &**key_id, username = &*principal.username, "a lease was given back"
            );
            self.look(catalog).await?;
        }
        Ok(is_given)
    }

    /// Checks that the caller may register engines for the endpoint.
    pub(super) fn admit<'a>(
        &self,
        catalog: &'a Catalog,
        principal: &'a Principal,
        slug: &str,
    ) -> Result<(&'a Arc<Deployment>, &'a Register, &'a Arc<str>), RegisterFault> {
        let key_id = registrar(principal)?;
        let counted = self.calls.count(key_id, self.clock.now());
        counted.map_err(RegisterFault::TooOften)?;
        let found = catalog.deployment(slug);
        let found = found.filter(|deployment| is_bound(principal, deployment));
        let found = found.and_then(|deployment| Some((deployment, deployment.register.as_ref()?)));
        let (deployment, register) =
            found.ok_or_else(|| RegisterFault::NoEndpoint(slug.to_owned()))?;
        Ok((deployment, register, key_id))
    }

    /// An engine's URL, the same however it was spelt, and the addresses of its host, if all of them may be called.
    async fn judge(
        &self,
        url: &str,
        register: &Register,
        principal: &Principal,
    ) -> Result<(String, Vec<IpAddr>), RegisterFault> {
        let url = ApiUrl::parse(url)?;
        let found = self.clients.addresses(&url.origin.host).await;
        let found = found.map_err(RegisterFault::NoAddress)?;
        let networks = networks(principal);
        for address in found.iter() {
            let judged = register.check(*address, &networks);
            judged.map_err(|fault| RegisterFault::Address(*address, fault))?;
        }
        Ok((url.canonical(), found.to_vec()))
    }
}

/// The key of a caller who may register engines.
///
/// # Errors
///
/// The caller has no key with the role.
pub fn registrar(principal: &Principal) -> Result<&Arc<str>, RegisterFault> {
    let key_id = principal.key_id.as_ref();
    key_id
        .filter(|_| principal.roles.has(Role::Registrar))
        .ok_or(RegisterFault::NoRegistrar)
}

/// Whether the caller's key names the endpoint, or its model.
pub(super) fn is_bound(principal: &Principal, deployment: &Deployment) -> bool {
    let bound: &[Arc<str>] = principal.models.as_deref().unwrap_or_default();
    let is_named = |name: &Arc<str>| *name == deployment.slug || *name == deployment.model;
    bound.iter().any(is_named)
}

/// Whether a lease is on the endpoint, at addresses that its entry allows as it is now.
fn is_of(deployment: &Deployment, lease: &Lease) -> bool {
    let allows = |register: &Register| {
        let mut addresses = lease.addresses.iter();
        addresses.all(|address| register.allows(*address).is_ok())
    };
    lease.slug == deployment.slug && deployment.register.as_ref().is_some_and(allows)
}

/// The networks of a caller's key. Invalid texts were refused at sign-in.
pub(super) fn networks(principal: &Principal) -> Vec<IpNet> {
    let rights = principal.rights.as_ref();
    let texts = rights.map_or(&[][..], |rights| &rights.addresses);
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

pub(super) fn leased(catalog: &Catalog) -> impl Iterator<Item = &Arc<Deployment>> {
    let all = catalog.deployments().iter();
    all.filter(|deployment| deployment.register.is_some())
}

/// Cannot be guessed. `None`: the system has no randomness.
pub(super) fn new_id() -> Option<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(hex::encode(bytes))
}
