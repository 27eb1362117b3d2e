use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Parts, StartError, duties};
use crate::account::{self, Ledger};
use crate::admin;
use crate::admit::{Admitter, RetryBudget, SharedLimiter};
use crate::authorize::Denials;
use crate::gateway::{Gateway, Reloads};
use crate::identify::{ApiKeys, KeyWatch};
use crate::listen::{self, Connections, Drain, Listener};
use crate::live::{Live, Registry, Workbench};
use crate::ownership::Responses;
use crate::read::{Budget, RefusedBytes};
use crate::runtime::{Duties, spawn};
use crate::settings::ListenAddress;
use crate::telemetry::ErrorCounts;
use crate::web::{Front, Site};

/// How long the ledger may take at the end to carry its last rows to the store. What is left waits in the journal. The last
/// use of keys has as long.
const LAST_FLUSH: Duration = Duration::from_secs(10);

/// For the answer of a limiter that was handed in. After that, limits are held in this process.
const LIMITER_PATIENCE: Duration = Duration::from_millis(50);

/// A gateway that listens. Dropping it does not stop it: call [`Running::shut_down`].
pub struct Running {
    gateway: Arc<Gateway>,
    site: Arc<Site>,
    address: Option<SocketAddr>,
    admin_address: Option<SocketAddr>,
    connections: Arc<Connections>,
    api_keys: Arc<ApiKeys>,
    listener: JoinHandle<()>,
    admin: JoinHandle<()>,
}

impl Running {
    /// Opens the ledger (which recovers what an earlier process left), binds both listeners and serves.
    pub async fn start(parts: Parts) -> Result<Self, StartError> {
        Self::start_with(parts, Registry::default()).await
    }

    /// The same with adapters that are written in Rust.
    pub async fn start_with(parts: Parts, registry: Registry) -> Result<Self, StartError> {
        let gateway = Arc::new(build(parts, registry)?);
        let live = gateway.live();
        let listener = bind(&live.settings.server.listen).await?;
        let admin_listener = bind(&live.settings.server.admin_listen).await?;
        let connections = Arc::clone(&gateway.options.load().connections);
        let api_keys = Arc::clone(&gateway.workbench.api_keys);
        let (address, admin_address) = (listener.local_address(), admin_listener.local_address());
        let server = &live.settings.server;
        let token = admin::Token::new(&server.state_dir).map_err(StartError::Token)?;
        duties::first_look(&gateway).await;
        duties::begin(&gateway);
        let shown = shown_address(&server.admin_listen, admin_address);
        token.publish(&shown).map_err(StartError::Token)?;
        let site = Arc::new(Site::new(Arc::clone(&gateway)));
        let admin = admin::serve(
            admin_listener,
            Arc::clone(&gateway),
            Arc::clone(&connections),
            token,
            {
                let site = Arc::clone(&site);
                move |admin| Front::admin(site, admin)
            },
        );
        let serving = listen::serve(
            listener,
            Arc::clone(&gateway.options),
            Arc::new(Front::public(Arc::clone(&site), Arc::clone(&gateway))),
            gateway.drain.clone(),
            Arc::clone(&gateway.clock),
        );
        Ok(Self {
            listener: spawn(serving),
            gateway,
            site,
            address,
            admin_address,
            connections,
            api_keys,
            admin: spawn(admin),
        })
    }

    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// The pages.
    pub fn site(&self) -> &Site {
        &self.site
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

    /// Says that it is not ready, goes on accepting for `grace`, lets requests finish for `drain_timeout`, ends the rest
    /// honestly, and carries the last rows to the store. Once `hurry` resolves, the waits are over. `true`: nothing had to
    /// be cut off.
    pub async fn shut_down(mut self, grace: Duration, hurry: impl Future<Output = ()>) -> bool {
        let drain = self.gateway.drain.clone();
        drain.leave();
        let limit = self.gateway.live().settings.server.drain_timeout;
        let ending = async {
            tokio::time::sleep(grace).await;
            drain.begin();
            tokio::time::timeout(limit, &mut self.listener)
                .await
                .is_ok()
        };
        let in_time = tokio::select! {
            in_time = ending => in_time,
            () = hurry => false,
        };
        drain.begin();
        // Connections on which nothing is asked are no requests, however they end.
        let is_cut = !in_time && self.gateway.ledger.stats().open_receipts > 0;
        if !in_time {
            self.gateway.shutting_down.store(true, Ordering::Relaxed);
            drain.give_up();
            // The listener drops what is left after its own grace.
            let _ = (&mut self.listener).await;
        }
        self.gateway.duties.stop();
        self.admin.abort();
        // With it goes the token.
        let _ = (&mut self.admin).await;
        self.gateway.admitter.shutdown().await;
        let touching = tokio::time::timeout(LAST_FLUSH, self.api_keys.flush_last_used());
        let (touched, _) = tokio::join!(touching, self.gateway.ledger.flush(LAST_FLUSH));
        if !matches!(touched, Ok(Ok(()))) {
            tracing::warn!("the last use of keys could not be written down");
        }
        !is_cut
    }
}

fn build(parts: Parts, registry: Registry) -> Result<Gateway, StartError> {
    let Parts {
        settings,
        catalog,
        fleet,
        store,
        clock,
        limiter,
        disk,
        files,
    } = parts;
    let options = account::Options::default();
    let ledger = Ledger::open(
        &settings.server.state_dir.join("journal"),
        account::Options {
            fsync: settings.journal.fsync,
            disk: disk.unwrap_or(options.disk),
            ..options
        },
        Arc::clone(&store),
        Arc::clone(&clock),
    )?;
    let workbench = Workbench::new(registry, Arc::clone(&store), Arc::clone(&clock));
    workbench.live_notices.refresh(&settings.server.state_dir);
    let live = Live::build(settings, catalog, &workbench, None)?;
    let retries = RetryBudget::new(
        live.settings.upstream.retry_budget_percent,
        Arc::clone(&clock),
    );
    let options = listen::Options::new(&live.settings.server, live.tls.clone());
    let server = &live.settings.server;
    let body_budget = Budget::new(server.max_buffered_bytes);
    body_budget.resize(server.max_buffered_bytes, server.max_body_bytes);
    fleet.remember_prefixes(live.settings.routing.affinity_memory);
    let admitter = match &live.settings.limits.shared {
        Some(shared) => {
            let shared = SharedLimiter::new(shared, Arc::clone(&clock))?;
            Admitter::sharing(Arc::new(shared), retries, Arc::clone(&clock))
        }
        None => Admitter::new(limiter, LIMITER_PATIENCE, retries, Arc::clone(&clock)),
    };
    admitter.blocks().refresh(&live.settings.server.state_dir);
    Ok(Gateway {
        body_budget,
        refused_bytes: RefusedBytes::new(Arc::clone(&clock)),
        options: options.swappable(),
        live: ArcSwap::from_pointee(live),
        workbench,
        fleet,
        responses: Arc::new(Responses::new(Arc::clone(&store), Arc::clone(&clock))),
        started: clock.unix_micros() / 1_000_000,
        key_watch: Arc::new(KeyWatch::new(Arc::clone(&store), Arc::clone(&clock))),
        denials: Denials::new(Arc::clone(&clock)),
        errors: ErrorCounts::default(),
        admitter,
        figures: Arc::default(),
        ledger,
        store,
        store_reached: AtomicBool::new(false),
        clock,
        shutting_down: Arc::new(AtomicBool::new(false)),
        drain: Drain::new(),
        duties: Duties::default(),
        replacing: Mutex::default(),
        files,
        reloads: Reloads::default(),
        stop_asked: watch::Sender::default(),
    })
}

async fn bind(address: &ListenAddress) -> Result<Listener, StartError> {
    Listener::bind(address)
        .await
        .map_err(|source| StartError::Listen {
            address: shown_address(address, None),
            source,
        })
}

/// Where a listener is: `bound` knows the real port.
fn shown_address(configured: &ListenAddress, bound: Option<SocketAddr>) -> String {
    match (configured, bound) {
        (_, Some(address)) | (&ListenAddress::Tcp(address), None) => address.to_string(),
        (ListenAddress::Unix(path), None) => format!("unix:{}", path.display()),
    }
}
