use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use ostia_core::Limiter;
use tokio::task::JoinHandle;

use super::{Gateway, Parts, Snapshot, StartError};
use crate::account::Ledger;
use crate::admin;
use crate::admit::{LocalLimiter, RetryBudget};
use crate::config::{ListenAddress, Provider, Settings};
use crate::fleet::Responses;
use crate::identify::{ApiKeys, Authenticator, Identify, Open};
use crate::listen::{self, Connections, Drain, Listener, Tls};
use crate::read::{Budget, ReadLimits};
use crate::routes::Cors;
use crate::runtime::spawn;
use crate::upstream::Resolver;

/// How often idle connections are looked through.
const SWEEP: Duration = Duration::from_secs(1);
/// How often the last use of keys is written down.
const TOUCH: Duration = Duration::from_secs(30);
/// How long the ledger may take at the end to carry its last rows to the store. What is left waits in the journal.
const LAST_FLUSH: Duration = Duration::from_secs(10);

/// A gateway that listens. Dropping it does not stop it: call [`Running::shut_down`].
pub struct Running {
    gateway: Arc<Gateway>,
    address: Option<SocketAddr>,
    admin_address: Option<SocketAddr>,
    connections: Arc<Connections>,
    listener: JoinHandle<()>,
    beside: Vec<JoinHandle<()>>,
}

impl Running {
    /// Opens the ledger (which recovers what an earlier process left), binds both listeners and serves.
    pub async fn start(parts: Parts) -> Result<Self, StartError> {
        let settings = parts.settings.clone();
        let api_keys = Arc::new(ApiKeys::new(
            Arc::clone(&parts.store),
            Arc::clone(&parts.clock),
        ));
        let gateway = Arc::new(build(parts, &api_keys)?);
        let listener = bind(&settings.server.listen).await?;
        let admin_listener = bind(&settings.server.admin_listen).await?;
        let tls = match (&settings.server.tls_cert, &settings.server.tls_key) {
            (Some(cert), Some(key)) => Some(Arc::new(Tls::load(cert, key)?)),
            _ => None,
        };
        let options = listen::Options::new(&settings.server, tls);
        let connections = Arc::clone(&options.connections);
        let (address, admin_address) = (listener.local_address(), admin_listener.local_address());
        let beside = vec![
            spawn(sweep(Arc::clone(&gateway))),
            spawn(touch_keys(api_keys)),
            spawn(admin::serve(
                admin_listener,
                Arc::clone(&gateway),
                Arc::clone(&connections),
            )),
        ];
        let serving = listen::serve(
            listener,
            options,
            Arc::clone(&gateway),
            gateway.drain.clone(),
            Arc::clone(&gateway.clock),
        );
        Ok(Self {
            listener: spawn(serving),
            gateway,
            address,
            admin_address,
            connections,
            beside,
        })
    }

    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Where the public listener is bound; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Stops accepting, lets requests finish for `drain_timeout` (or until `hurry` resolves), ends the rest honestly,
    /// and carries the last rows to the store. `true`: nothing had to be cut off.
    pub async fn shut_down(mut self, hurry: impl Future<Output = ()>) -> bool {
        let drain = &self.gateway.drain;
        drain.begin();
        let limit = self.gateway.settings.server.drain_timeout;
        let in_time = tokio::select! {
            _ = &mut self.listener => true,
            () = tokio::time::sleep(limit) => false,
            () = hurry => false,
        };
        if !in_time {
            self.gateway.shutting_down.store(true, Ordering::Relaxed);
            drain.give_up();
            // The listener drops what is left after its own grace.
            let _ = (&mut self.listener).await;
        }
        for task in &self.beside {
            task.abort();
        }
        self.gateway.ledger.flush(LAST_FLUSH).await;
        in_time
    }
}

fn build(parts: Parts, api_keys: &Arc<ApiKeys>) -> Result<Gateway, StartError> {
    let Parts {
        settings,
        catalog,
        fleet,
        store,
        clock,
        limiter,
    } = parts;
    let ledger = Ledger::open(
        &settings.server.state_dir,
        crate::account::Options {
            fsync: settings.journal.fsync,
            ..Default::default()
        },
        Arc::clone(&store),
        Arc::clone(&clock),
    )?;
    let resolver = Arc::new(Resolver::new(Arc::clone(&clock)));
    let snapshot = Snapshot::build(catalog, &settings.maintenance, &resolver, &clock);
    let (providers, open) = providers(&settings, api_keys)?;
    let limiter = limiter
        .unwrap_or_else(|| Arc::new(LocalLimiter::new(Arc::clone(&clock))) as Arc<dyn Limiter>);
    Ok(Gateway {
        snapshot: ArcSwap::from_pointee(snapshot),
        fleet,
        responses: Arc::new(Responses::new(Arc::clone(&clock))),
        cors: Cors::new(&settings.server.cors_origins),
        started: clock.unix_micros() / 1_000_000,
        identify: Identify::new(providers, open, Arc::clone(&clock)),
        limiter,
        retries: RetryBudget::new(settings.upstream.retry_budget_percent, Arc::clone(&clock)),
        body_budget: Budget::new(settings.server.max_buffered_bytes),
        read_limits: ReadLimits {
            max_body_bytes: settings.server.max_body_bytes,
            body_idle_timeout: settings.server.body_idle_timeout,
        },
        ledger,
        store,
        clock,
        shutting_down: Arc::new(AtomicBool::new(false)),
        drain: Drain::new(),
        settings,
    })
}

type Providers = (Vec<Arc<dyn Authenticator>>, Option<Open>);

fn providers(settings: &Settings, api_keys: &Arc<ApiKeys>) -> Result<Providers, StartError> {
    let mut providers: Vec<Arc<dyn Authenticator>> = Vec::new();
    let mut open = None;
    for provider in &settings.auth.providers {
        match provider {
            Provider::ApiKey => providers.push(Arc::clone(api_keys) as _),
            Provider::None => open = Some(Open::default()),
            Provider::Globus => return Err(StartError::Provider("globus")),
            Provider::Introspection => return Err(StartError::Provider("introspection")),
            Provider::Oidc => return Err(StartError::Provider("oidc")),
        }
    }
    Ok((providers, open))
}

async fn bind(address: &ListenAddress) -> Result<Listener, StartError> {
    Listener::bind(address)
        .await
        .map_err(|source| StartError::Listen {
            address: match address {
                ListenAddress::Tcp(address) => address.to_string(),
                ListenAddress::Unix(path) => format!("unix:{}", path.display()),
            },
            source,
        })
}

async fn sweep(gateway: Arc<Gateway>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        gateway.snapshot().upstreams.sweep();
    }
}

async fn touch_keys(api_keys: Arc<ApiKeys>) {
    loop {
        tokio::time::sleep(TOUCH).await;
        if let Err(error) = api_keys.flush_last_used().await {
            tracing::warn!(%error, "the last use of keys could not be written down");
        }
    }
}
