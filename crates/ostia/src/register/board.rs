use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use ostia_core::{Clock, Holding, Lease, LeaseHeld, LeaseState, Role, Store, StoreError};
use parking_lot::Mutex;

use super::calls::Calls;
use super::{Asked, RegisterFault};
use crate::catalog::{ApiUrl, Catalog, Deployment, Register, Target};
use crate::fleet::ModelState;
use crate::identify::Principal;
use crate::listen::Turning;
use crate::runtime::spawn;
use crate::upstream::Clients;

/// The most leases that one endpoint may have.
const MOST: i64 = 512;
/// How long a replica's report of running requests on a draining lease is trusted.
const BELIEVED: Duration = Duration::from_secs(2);
/// Stands for the engine at the other end of a tunnel, which has no address here (RFC 6761 section 6.4).
const TUNNEL: &str = "tunnel.invalid";
/// While the store does not answer, each look prolongs the leases by this much.
const HELD_ON: Duration = Duration::from_secs(2);
/// The most that leases are prolonged: engines that are gone fail before the first byte, so requests move on meanwhile.
const LONGEST_HELD: Duration = Duration::from_secs(15 * 60);

/// The engines, as all replicas know them.
pub struct Board {
    store: Arc<dyn Store>,
    clients: Arc<Clients>,
    clock: Arc<dyn Clock>,
    calls: Calls,
    /// When the leases were last read from the store.
    read: Mutex<Option<Instant>>,
    /// Leases that are tunnels to this process, for as long as they are open.
    tunnels: Mutex<HashMap<Arc<str>, Lease>>,
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
            leases.update(all.iter().filter(|lease| lease.slug == deployment.slug));
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
        let url = match &asked.url {
            Some(url) => Some((url.clone(), self.judge(url, register, principal).await?)),
            None => None,
        };
        let holding = Holding {
            id: asked.lease,
            new_id: new_id().ok_or(RegisterFault::TooOften(Duration::from_secs(1)))?,
            sequence: asked.sequence,
            slug: slug.to_owned(),
            url,
            key_id: key_id.to_string(),
            state,
            ttl,
            until,
            starts_in,
            max_in_flight: asked.max_in_flight,
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

    /// Takes over a connection that an engine's side opened, and sends the endpoint's requests on it. It is a lease that lasts as
    /// long as the connection, and only this process can use it.
    ///
    /// # Errors
    ///
    /// The caller may not register the endpoint, or not from `origin`.
    pub fn turn(
        self: &Arc<Self>,
        catalog: &Catalog,
        principal: &Principal,
        slug: &str,
        (base_path, max_in_flight): (&str, u32),
        (turning, origin): (Option<Turning>, IpAddr),
    ) -> Result<(), RegisterFault> {
        let (deployment, register, key_id) = self.admit(catalog, principal, slug)?;
        let judged = register.check(origin, &networks(principal));
        judged.map_err(|fault| RegisterFault::From(origin, fault))?;
        let turning = turning.ok_or(RegisterFault::NoTunnel)?;
        let url = format!("http://{TUNNEL}{base_path}");
        let parsed = ApiUrl::parse(&url)?;
        let count = self
            .tunnels
            .lock()
            .values()
            .filter(|one| *one.slug == *slug)
            .count();
        if i64::try_from(count).unwrap_or(i64::MAX) >= MOST {
            return Err(RegisterFault::TooMany);
        }
        let target = Target {
            origin: parsed.origin,
            base_path: parsed.base_path,
            query: None,
            ..deployment.target.clone()
        };
        let id = new_id().ok_or(RegisterFault::TooOften(Duration::from_secs(1)))?;
        let lease = Lease {
            id: id.into(),
            slug: Arc::clone(&deployment.slug),
            url: url.into(),
            addresses: Arc::default(),
            key_id: Arc::clone(key_id),
            state: LeaseState::Running,
            sequence: 1,
            ttl: HELD_ON,
            left: HELD_ON,
            until: None,
            starts_in: None,
            max_in_flight,
            in_use: false,
        };
        let board = Arc::clone(self);
        spawn(async move { board.carry(lease, &target, turning).await });
        Ok(())
    }

    async fn carry(&self, lease: Lease, target: &Target, turning: Turning) {
        let Some(tunnelled) = turning.turned().await else {
            return;
        };
        let (endpoint, id) = (&*lease.slug, Arc::clone(&lease.id));
        match self.clients.turn(&id, target, tunnelled).await {
            Ok(()) => {
                tracing::info!(
                    target: "ostia::audit", kind = "tunnel_opened", endpoint, lease = &*id, key_id = &*lease.key_id,
                    "an engine's side opened a tunnel"
                );
                self.tunnels.lock().insert(id, lease);
            }
            Err(error) => tracing::warn!(endpoint, %error, "a tunnel cannot be used"),
        }
    }

    /// The leases of open tunnels. Leases of closed ones end at once.
    fn open_tunnels(&self, leased: &[&Arc<Deployment>]) -> Vec<Lease> {
        let open = self.clients.tunnels();
        let mut tunnels = self.tunnels.lock();
        let closed = tunnels.extract_if(|id, _| !open.contains(id));
        for (id, lease) in closed {
            let of = leased.iter().filter(|one| one.slug == lease.slug);
            of.for_each(|deployment| deployment.state.leases().end(&id));
            tracing::info!(
                target: "ostia::audit", kind = "tunnel_closed", endpoint = &*lease.slug, lease = &*id, "a tunnel is closed"
            );
        }
        tunnels.values().cloned().collect()
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
    fn admit<'a>(
        &self,
        catalog: &'a Catalog,
        principal: &'a Principal,
        slug: &str,
    ) -> Result<(&'a Arc<Deployment>, &'a Register, &'a Arc<str>), RegisterFault> {
        let key_id = registrar(principal)?;
        let counted = self.calls.count(key_id, self.clock.now());
        counted.map_err(RegisterFault::TooOften)?;
        let bound: &[Arc<str>] = principal.models.as_deref().unwrap_or_default();
        let found = catalog.deployment(slug).filter(|deployment| {
            let is_named = |name: &Arc<str>| **name == *slug || *name == deployment.model;
            bound.iter().any(is_named)
        });
        let found = found.and_then(|deployment| Some((deployment, deployment.register.as_ref()?)));
        let (deployment, register) =
            found.ok_or_else(|| RegisterFault::NoEndpoint(slug.to_owned()))?;
        Ok((deployment, register, key_id))
    }

    /// The addresses of an engine's host, if all of them may be called.
    async fn judge(
        &self,
        url: &str,
        register: &Register,
        principal: &Principal,
    ) -> Result<Vec<IpAddr>, RegisterFault> {
        let url = ApiUrl::parse(url)?;
        let found = self.clients.addresses(&url.origin.host).await;
        let found = found.map_err(RegisterFault::NoAddress)?;
        let networks = networks(principal);
        for address in found.iter() {
            let judged = register.check(*address, &networks);
            judged.map_err(|fault| RegisterFault::Address(*address, fault))?;
        }
        Ok(found.to_vec())
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

/// The networks of a caller's key. Invalid texts were refused at sign-in.
fn networks(principal: &Principal) -> Vec<IpNet> {
    let rights = principal.rights.as_ref();
    let texts = rights.map_or(&[][..], |rights| &rights.addresses);
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

fn leased(catalog: &Catalog) -> impl Iterator<Item = &Arc<Deployment>> {
    let all = catalog.deployments().iter();
    all.filter(|deployment| deployment.register.is_some())
}

/// Cannot be guessed. `None`: the system has no randomness.
fn new_id() -> Option<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(hex::encode(bytes))
}
