use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ostia_core::BoxFuture;
use parking_lot::Mutex;

use crate::catalog::{ApiUrl, Deployment, Target};
use crate::fleet::{EndpointState, Replica};
use crate::upstream::{Ask, AskError, Client, Clients, Http, Question, Reply};

/// Connections to the engines of an endpoint that has no URL of its own: one client for each lease, which calls the
/// addresses that were judged when the lease was taken and no others.
pub struct Leased {
    state: Arc<EndpointState>,
    /// How they are called, whatever their URLs are.
    target: Target,
    clients: Arc<Clients>,
    made: Mutex<HashMap<Arc<str>, Option<Made>>>,
}

/// How one engine is called.
#[derive(Clone)]
struct Made {
    client: Arc<Client>,
    target: Arc<Target>,
}

impl Leased {
    /// `None`: the endpoint has its own URL.
    pub(super) fn of(deployment: &Deployment, clients: &Arc<Clients>) -> Option<Self> {
        deployment.register.as_ref()?;
        Some(Self {
            state: Arc::clone(&deployment.state),
            target: deployment.target.clone(),
            clients: Arc::clone(clients),
            made: Mutex::default(),
        })
    }

    /// The connections to an engine, and path and query of a call to `api` there. `None`: its URL or its TLS files cannot be
    /// used.
    pub(super) fn route(&self, replica: &Replica, api: &str) -> Option<(Arc<Client>, String)> {
        let made = self.made(replica)?;
        Some((made.client, made.target.path_and_query(api)))
    }

    /// Small requests to one engine.
    pub fn http(&self, replica: &Replica, limit: Duration) -> Option<Http> {
        let Made { client, target } = self.made(replica)?;
        Some(Http::new(Some(client), &target, limit).with_key())
    }

    /// Path and query of a call to `api` on one engine.
    pub fn path(&self, replica: &Replica, api: &str) -> Option<String> {
        Some(self.made(replica)?.target.path_and_query(api))
    }

    pub(super) fn clients(&self) -> Vec<Arc<Client>> {
        let made = self.made.lock();
        let made = made.values().flatten();
        made.map(|made| Arc::clone(&made.client)).collect()
    }

    fn made(&self, replica: &Replica) -> Option<Made> {
        let mut made = self.made.lock();
        if let Some(known) = made.get(&replica.id) {
            return known.clone();
        }
        let living = self.state.leases().all();
        made.retain(|id, _| living.iter().any(|one| one.id == *id));
        let new = self.make(replica);
        made.insert(Arc::clone(&replica.id), new.clone());
        new
    }

    fn make(&self, replica: &Replica) -> Option<Made> {
        // It was checked when the lease was taken.
        let url = ApiUrl::parse(&replica.url).ok()?;
        let target = Target {
            origin: url.origin,
            base_path: url.base_path,
            query: url.query,
            addresses: Some(Arc::clone(&replica.addresses)),
            ..self.target.clone()
        };
        let client = match self.clients.turned(&replica.id) {
            Some(tunnel) => tunnel,
            // A tunnel that is closed leads nowhere.
            None if replica.addresses.is_empty() => return None,
            None => {
                let client = self.clients.client(&target).map_err(|error| {
                    let endpoint = &**self.state.slug();
                    tracing::error!(endpoint, %error, "an engine cannot be called");
                });
                client.ok()?
            }
        };
        Some(Made {
            client,
            target: Arc::new(target),
        })
    }
}

/// Asks one of the engines.
impl Ask for Leased {
    fn ask(&self, question: Question) -> BoxFuture<'_, Result<Reply, AskError>> {
        Box::pin(async move {
            let place = self.state.leases().take(&[]);
            let made = place.as_ref().and_then(|place| self.made(place));
            match made {
                Some(made) => made.client.ask(question).await,
                None => Err(AskError::Failed("no engine has a lease".to_owned())),
            }
        })
    }
}
