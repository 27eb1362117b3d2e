use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method};
use ostia_core::{Lease, LeaseState};

use super::board::{Board, HELD_ON, MOST, networks, new_id};
use super::fault::RegisterFault;
use crate::catalog::{ApiUrl, Catalog, Deployment, Target};
use crate::identify::Principal;
use crate::listen::{LOOK_AGAIN, Turning};
use crate::runtime::spawn;

/// Stands for the engine at the other end of a tunnel, which has no address here (RFC 6761 section 6.4).
const TUNNEL: &str = "tunnel.invalid";
const LONGEST_ANSWER: usize = 1024;

/// A lease that is a tunnel to this process, for as long as it is open.
pub(super) struct TunnelLease {
    pub lease: Lease,
    /// Where the connection comes from.
    pub origin: IpAddr,
}

/// What an engine's side says when it asks for a tunnel.
pub struct TunnelAsked {
    /// The path of the engine's base URL.
    pub path: String,
    /// 0: no limit.
    pub max_in_flight: u32,
    /// The replicas to which it has a tunnel already.
    pub held: Vec<String>,
    /// Where the request comes from.
    pub origin: IpAddr,
}

impl Board {
    /// Takes over a connection that an engine's side opened, and sends the endpoint's requests on it. It is a lease that lasts as
    /// long as the connection, and only this process can use it. Gives this replica's name.
    ///
    /// # Errors
    ///
    /// The caller may not register the endpoint, or not from where the request comes; or there is a tunnel already.
    pub fn turn(
        self: &Arc<Self>,
        catalog: &Catalog,
        principal: &Principal,
        slug: &str,
        asked: &TunnelAsked,
        turning: Option<Turning>,
    ) -> Result<Arc<str>, RegisterFault> {
        let (deployment, register, key_id) = self.admit(catalog, principal, slug)?;
        let judged = register.check(asked.origin, &networks(principal));
        judged.map_err(|fault| RegisterFault::From(asked.origin, fault))?;
        let turning = turning.ok_or(RegisterFault::NoTunnel)?;
        if asked.held.iter().any(|replica| **replica == *self.id) {
            return Err(RegisterFault::Held(Arc::clone(&self.id)));
        }
        let url = format!("http://{TUNNEL}{}", asked.path);
        let parsed = ApiUrl::parse(&url)?;
        let count = {
            let tunnels = self.tunnels.lock();
            let of_slug = tunnels.values().filter(|one| *one.lease.slug == *slug);
            of_slug.count()
        };
        if i64::try_from(count).unwrap_or(i64::MAX) >= MOST {
            return Err(RegisterFault::TooMany);
        }
        let target = Target {
            origin: parsed.origin,
            base_path: parsed.base_path,
            query: None,
            ..deployment.target.clone()
        };
        let id = new_id().ok_or(RegisterFault::NO_RANDOMNESS)?;
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
            max_in_flight: asked.max_in_flight,
            in_use: false,
        };
        let origin = asked.origin;
        let (board, tunnel) = (Arc::clone(self), TunnelLease { lease, origin });
        spawn(async move { board.carry(tunnel, &target, turning).await });
        Ok(Arc::clone(&self.id))
    }

    async fn carry(&self, tunnel: TunnelLease, target: &Target, turning: Turning) {
        let Some(tunnelled) = turning.turned().await else {
            return;
        };
        let lease = &tunnel.lease;
        let (endpoint, id) = (&*lease.slug, Arc::clone(&lease.id));
        match self.clients.turn(&id, target, tunnelled).await {
            Ok(()) => {
                tracing::info!(
                    target: "ostia::audit", kind = "tunnel_opened", endpoint, lease = &*id, key_id = &*lease.key_id,
                    "an engine's side opened a tunnel"
                );
                self.tunnels.lock().insert(id, tunnel);
            }
            Err(error) => tracing::warn!(endpoint, %error, "a tunnel cannot be used"),
        }
    }

    /// Tells the other sides of all tunnels that another process answers at this gateway's address.
    pub fn ask_to_look_again(&self) {
        let open: Vec<_> = {
            let tunnels = self.tunnels.lock();
            let open = tunnels.keys().filter_map(|id| self.clients.turned(id));
            open.collect()
        };
        for client in open {
            spawn(async move {
                let headers = HeaderMap::new();
                let told = client.fetch(Method::OPTIONS, LOOK_AGAIN, headers, None, LONGEST_ANSWER);
                if let Err(error) = told.await {
                    tracing::debug!(%error, "the other side of a tunnel could not be told to look again");
                }
            });
        }
    }

    /// The leases of open tunnels. Leases of closed ones end at once.
    pub(super) fn open_tunnels(&self, leased: &[&Arc<Deployment>]) -> Vec<Lease> {
        let open = self.clients.tunnels();
        let mut tunnels = self.tunnels.lock();
        let closed = tunnels.extract_if(|id, _| !open.contains(id));
        for (id, TunnelLease { lease, .. }) in closed {
            let of = leased.iter().filter(|one| one.slug == lease.slug);
            of.for_each(|deployment| deployment.state.leases().end(&id));
            tracing::info!(
                target: "ostia::audit", kind = "tunnel_closed", endpoint = &*lease.slug, lease = &*id, "a tunnel is closed"
            );
        }
        tunnels
            .values()
            .map(|tunnel| tunnel.lease.clone())
            .collect()
    }
}
