use std::collections::HashMap;
use std::sync::Arc;

use ostia_core::StoreError;

use super::board::{Board, is_bound, leased, networks, registrar};
use crate::catalog::{Catalog, Deployment, Register};
use crate::fleet::Replica;
use crate::identify::{Identify, Principal};

impl Board {
    /// Ends the leases and tunnels whose holders may no longer register: a key that was revoked or has expired, or whose owner
    /// was disabled, and rights that were taken away. Called every second in the background.
    ///
    /// # Errors
    ///
    /// The store does not answer. Nothing is ended for that reason.
    pub async fn review(&self, catalog: &Catalog, identify: &Identify) -> Result<(), StoreError> {
        let mut keepers = HashMap::new();
        for deployment in leased(catalog) {
            let Some(register) = &deployment.register else {
                continue;
            };
            for replica in deployment.state.leases().all() {
                let keeper = match keepers.get(&replica.key_id) {
                    Some(known) => Option::clone(known),
                    None => {
                        let found = match identify.keeper(&replica.key_id).await {
                            Err(error) if error.is_outage() => return Ok(()),
                            found => found.ok(),
                        };
                        keepers.insert(Arc::clone(&replica.key_id), found.clone());
                        found
                    }
                };
                let may_stay = keeper
                    .is_some_and(|keeper| self.may_hold(&keeper, (deployment, register), &replica));
                if !may_stay {
                    self.revoke(deployment, &replica).await?;
                }
            }
        }
        self.hang_up_left_over(catalog);
        Ok(())
    }

    fn may_hold(
        &self,
        keeper: &Principal,
        (deployment, register): (&Deployment, &Register),
        replica: &Replica,
    ) -> bool {
        let networks = networks(keeper);
        let may_be_at = |address| register.check(address, &networks).is_ok();
        let comes_from = {
            let tunnels = self.tunnels.lock();
            tunnels.get(&replica.id).map(|tunnel| tunnel.origin)
        };
        registrar(keeper).is_ok()
            && is_bound(keeper, deployment)
            && comes_from.is_none_or(may_be_at)
            && replica.addresses.iter().copied().all(may_be_at)
    }

    /// Requests that run on a tunnel end as when it breaks; those that run at an address may finish.
    async fn revoke(&self, deployment: &Deployment, replica: &Replica) -> Result<(), StoreError> {
        let (slug, id, key_id) = (&*deployment.slug, &*replica.id, &*replica.key_id);
        deployment.state.leases().end(id);
        let is_tunnel = self.tunnels.lock().contains_key(id);
        self.clients.hang_up(id);
        // Another replica may have been faster.
        if is_tunnel || self.store.leases().give_back(id, slug, key_id).await? {
            tracing::info!(
                target: "ostia::audit", kind = "lease_revoked", endpoint = slug, lease = id, key_id,
                "the holder of a lease may not hold it any more"
            );
        }
        Ok(())
    }

    /// Closes the tunnels on endpoints that the catalogue no longer has.
    fn hang_up_left_over(&self, catalog: &Catalog) {
        let is_known = |slug: &str| leased(catalog).any(|one| *one.slug == *slug);
        let mut tunnels = self.tunnels.lock();
        for (id, tunnel) in tunnels.extract_if(|_, one| !is_known(&one.lease.slug)) {
            self.clients.hang_up(&id);
            tracing::info!(
                target: "ostia::audit", kind = "tunnel_closed", endpoint = &*tunnel.lease.slug, lease = &*id,
                "the endpoint of a tunnel is gone"
            );
        }
    }
}
