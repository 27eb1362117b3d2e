use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use ostia_core::Clock;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::{Parts, StartError};
use crate::account::{self, Ledger};
use crate::admin;
use crate::admit::{Admitter, Patience, RetryBudget};
use crate::authorize::Denials;
use crate::gateway::Gateway;
use crate::identify::{ApiKeys, KeyWatch};
use crate::listen::{self, Connections, Drain, Listener};
use crate::live::{Live, Registry, Workbench};
use crate::ownership::Responses;
use crate::read::Budget;
use crate::runtime::{spawn, spawn_blocking};
use crate::settings::{ListenAddress, MaintenanceSource};

/// How often idle connections are looked through.
const SWEEP: Duration = Duration::from_secs(1);
/// How often clusters are looked through for one that is due, and `ostia maintenance` is looked for.
const POLL: Duration = Duration::from_secs(1);
/// How long the start waits for what clusters say.
const FIRST_LOOK: Duration = Duration::from_secs(3);
/// How often the last use of keys is written down.
const TOUCH: Duration = Duration::from_secs(30);
/// How often it is looked for changes of keys, for the audit log.
const KEY_LOOK: Duration = Duration::from_secs(10);
/// How long the ledger may take at the end to carry its last rows to the store. What is left waits in the journal. The last
/// use of keys has as long.
const LAST_FLUSH: Duration = Duration::from_secs(10);

/// A gateway that listens. Dropping it does not stop it: call [`Running::shut_down`].
pub struct Running {
    gateway: Arc<Gateway>,
    address: Option<SocketAddr>,
    admin_address: Option<SocketAddr>,
    connections: Arc<Connections>,
    api_keys: Arc<ApiKeys>,
    listener: JoinHandle<()>,
    beside: Vec<JoinHandle<()>>,
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
        let mut beside = watch(&gateway).await;
        beside.extend([
            spawn(sweep(Arc::clone(&gateway))),
            spawn(touch_keys(Arc::clone(&api_keys))),
            spawn(watch_keys(
                Arc::clone(&gateway.key_watch),
                Arc::clone(&gateway.clock),
            )),
            spawn(admin::serve(
                admin_listener,
                Arc::clone(&gateway),
                Arc::clone(&connections),
            )),
        ]);
        let serving = listen::serve(
            listener,
            Arc::clone(&gateway.options),
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
            api_keys,
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
        let limit = self.gateway.live().settings.server.drain_timeout;
        let in_time = tokio::select! {
            _ = &mut self.listener => true,
            () = tokio::time::sleep(limit) => false,
            () = hurry => false,
        };
        // Connections on which nothing is asked are no requests, however they end.
        let is_cut = !in_time && self.gateway.ledger.stats().open_receipts > 0;
        if !in_time {
            self.gateway.shutting_down.store(true, Ordering::Relaxed);
            drain.give_up();
            // The listener drops what is left after its own grace.
            let _ = (&mut self.listener).await;
        }
        for task in &self.beside {
            task.abort();
        }
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
    Ok(Gateway {
        body_budget: Budget::new(live.settings.server.max_buffered_bytes),
        options: options.swappable(),
        live: ArcSwap::from_pointee(live),
        workbench,
        fleet,
        responses: Arc::new(Responses::new(Arc::clone(&clock))),
        started: clock.unix_micros() / 1_000_000,
        key_watch: Arc::new(KeyWatch::new(Arc::clone(&store), Arc::clone(&clock))),
        denials: Denials::new(Arc::clone(&clock)),
        admitter: Admitter::new(limiter, retries, Patience::default(), Arc::clone(&clock)),
        ledger,
        store,
        clock,
        shutting_down: Arc::new(AtomicBool::new(false)),
        drain: Drain::new(),
        replacing: Mutex::default(),
    })
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

/// Asks clusters, readiness URLs and maintenance sources once, so that the first requests find something known, and
/// keeps asking in the background. A source that is dead holds the start up for [`FIRST_LOOK`] and no longer.
async fn watch(gateway: &Arc<Gateway>) -> Vec<JoinHandle<()>> {
    let live = gateway.live();
    let sources = live.settings.maintenance_sources.iter();
    let asking = join_all(sources.map(|(cluster, source)| ask_source(gateway, cluster, source)));
    let first = async { tokio::join!(live.clusters.first_look(FIRST_LOOK), asking) };
    // What did not answer by then is not known, and changes nothing.
    let _ = tokio::time::timeout(FIRST_LOOK, first).await;
    vec![
        spawn(poll_clusters(Arc::clone(gateway))),
        spawn(poll_notices(Arc::clone(gateway))),
        spawn(poll_readiness(Arc::clone(gateway))),
        spawn(poll_sources(Arc::clone(gateway))),
    ]
}

async fn poll_clusters(gateway: Arc<Gateway>) {
    loop {
        tokio::time::sleep(POLL).await;
        gateway.live().clusters.poll();
    }
}

async fn poll_notices(gateway: Arc<Gateway>) {
    loop {
        tokio::time::sleep(POLL).await;
        let notices = Arc::clone(&gateway.workbench.live_notices);
        let folder = gateway.live().settings.server.state_dir.clone();
        // A panic in it was logged where it happened; the next look is in a second.
        let _ = spawn_blocking(move || notices.refresh(&folder)).await;
    }
}

async fn poll_readiness(gateway: Arc<Gateway>) {
    loop {
        let interval = gateway.live().clusters.readiness_interval();
        tokio::time::sleep(interval.unwrap_or(POLL)).await;
        gateway.live().clusters.look_at_readiness().await;
    }
}

/// Asks each maintenance source that is listed now as often as it says.
async fn poll_sources(gateway: Arc<Gateway>) {
    let mut asked: HashMap<String, Instant> = HashMap::new();
    loop {
        tokio::time::sleep(POLL).await;
        let live = gateway.live();
        let sources = &live.settings.maintenance_sources;
        let now = gateway.clock.now();
        asked.retain(|cluster, _| sources.contains_key(cluster));
        for (cluster, source) in sources {
            let last = asked.entry(cluster.clone()).or_insert(now);
            if now.saturating_duration_since(*last) < source.interval {
                continue;
            }
            *last = now;
            let (gateway, cluster, source) =
                (Arc::clone(&gateway), cluster.clone(), source.clone());
            // One that hangs holds up no other; each question ends by itself.
            spawn(async move { ask_source(&gateway, &cluster, &source).await });
        }
    }
}

async fn ask_source(gateway: &Gateway, cluster: &str, source: &MaintenanceSource) {
    let notices = &gateway.workbench.live_notices;
    notices
        .ask(cluster, source, &gateway.workbench.clients)
        .await;
}

async fn sweep(gateway: Arc<Gateway>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        gateway.workbench.clients.sweep();
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

async fn watch_keys(watch: Arc<KeyWatch>, clock: Arc<dyn Clock>) {
    loop {
        let begun = clock.now();
        if let Err(error) = watch.look().await {
            tracing::warn!(%error, "keys could not be looked at for changes");
        }
        // However many keys there are, looking takes at most a hundredth of the time.
        let took = clock.now().saturating_duration_since(begun);
        tokio::time::sleep(KEY_LOOK.max(took * 100)).await;
    }
}
