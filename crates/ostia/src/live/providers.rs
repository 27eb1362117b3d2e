use std::sync::Arc;

use super::{IdentityWeb, Live, Unusable, Workbench};
use crate::identify::{
    Authenticator, Door, Globus, GlobusDoor, House, Identify, Introspection, Oidc, OidcDoor, Open,
    Web,
};
use crate::routes::Cors;
use crate::settings::{Provider, Settings};

impl Workbench {
    /// Builds the identification of callers. A provider that did not change keeps its cache.
    pub(super) fn identify(
        &self,
        settings: &Settings,
        earlier: Option<&Live>,
    ) -> Result<Arc<Identify>, Unusable> {
        let behind_proxies = |settings: &Settings| !settings.server.trusted_proxies.is_empty();
        let pages = |settings: &Settings| {
            let server = &settings.server;
            (server.cors_origins.clone(), server.tls_cert.is_some())
        };
        if let Some(earlier) = earlier
            && earlier.settings.auth == settings.auth
            && earlier.settings.keys == settings.keys
            && earlier.settings.roles == settings.roles
            && behind_proxies(&earlier.settings) == behind_proxies(settings)
            && (pages(&earlier.settings) == pages(settings)
                || !settings.auth.providers.contains(&Provider::None))
        {
            return Ok(Arc::clone(&earlier.identify));
        }
        let Providers {
            providers,
            doors,
            open,
        } = providers(settings, self)?;
        let clock = Arc::clone(&self.clock);
        let identify = Identify::new(providers, open, behind_proxies(settings), clock);
        let house = House::new(
            Arc::clone(&self.directory),
            settings.auth.admit.clone(),
            settings.roles.clone(),
        );
        Ok(Arc::new(identify.with_house(house).with_doors(doors)))
    }
}

#[derive(Default)]
struct Providers {
    providers: Vec<Arc<dyn Authenticator>>,
    /// The ways to sign in on pages.
    doors: Vec<Arc<dyn Door>>,
    open: Option<Open>,
}

/// The providers in the order in which they are asked whether a credential is theirs: first those that recognize their
/// credentials by their form, then the one that accepts the rest.
fn providers(settings: &Settings, bench: &Workbench) -> Result<Providers, Unusable> {
    let Workbench {
        api_keys,
        clients,
        clock,
        ..
    } = bench;
    let auth = &settings.auth;
    let listed = |provider| auth.providers.contains(&provider);
    let web: Arc<dyn Web> = Arc::new(IdentityWeb::new(Arc::clone(clients)));
    let mut found = Providers::default();
    let providers = &mut found.providers;
    if listed(Provider::ApiKey) {
        providers.push(Arc::new(api_keys.vouched_within(settings.keys.owner_ttl)));
    }
    if listed(Provider::Oidc) {
        for issuer in &auth.oidc {
            let oidc = Oidc::new(issuer, Arc::clone(&web), Arc::clone(clock));
            let oidc = oidc.map_err(|fault| Unusable::Provider("oidc", fault))?;
            let oidc = Arc::new(oidc);
            if let Some(door) = OidcDoor::new(issuer, &oidc) {
                found.doors.push(Arc::new(door));
            }
            providers.push(oidc);
        }
    }
    if listed(Provider::Globus) {
        let beside = listed(Provider::Introspection);
        let unusable = |fault| Unusable::Provider("globus", fault);
        let globus = Globus::new(&auth.globus, beside, &web, Arc::clone(clock));
        let globus = Arc::new(globus.map_err(unusable)?);
        let door = GlobusDoor::new(&auth.globus, &globus, &web, clock);
        found.doors.push(Arc::new(door.map_err(unusable)?));
        providers.push(globus);
    }
    if listed(Provider::Introspection) {
        let issuers = auth.oidc.iter().filter(|_| listed(Provider::Oidc));
        let others = issuers.map(|oidc| oidc.issuer.clone()).collect();
        let server = Introspection::new(&auth.introspection, others, web, Arc::clone(clock));
        providers.push(Arc::new(
            server.map_err(|fault| Unusable::Provider("introspection", fault))?,
        ));
    }
    let server = &settings.server;
    let open = || Open::new(Cors::new(&server.cors_origins), server.tls_cert.is_some());
    found.open = listed(Provider::None).then(open);
    Ok(found)
}
