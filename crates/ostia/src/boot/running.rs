use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinHandle;

use super::handover::{self, Handed, LastWord};
use super::{HandoverError, Parts, Predecessor, Sockets, StartError, Successor, duties, sockets};
use crate::account::{self, Ledger};
use crate::admin;
use crate::admit::{Admitter, RetryBudget, SharedLimiter};
use crate::authorize::Denials;
use crate::gateway::{Gateway, Reloads, Wishes};
use crate::identify::{ApiKeys, KeyWatch};
use crate::listen::{self, Connections, Drain};
use crate::live::{Live, Registry, Workbench};
use crate::otlp::Exporter;
use crate::ownership::Responses;
use crate::read::{Budget, RefusedBytes};
use crate::runtime::{Duties, spawn};
use crate::settings::ListenAddress;
use crate::telemetry::{ErrorCounts, Recent};
use crate::web::{Front, Site};

/// How long the ledger may take at the end to carry its last rows to the store; the rest stays in the journal. Also the
/// limit for recording the last use of keys.
const LAST_FLUSH: Duration = Duration::from_secs(10);

/// How long the admin listener may take to finish its answers at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// If the store takes longer, it is asked again once this process serves.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// How long to wait for a limiter that was passed in. After that, this process enforces limits itself.
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
    admin_drain: Drain,
    exporter: Arc<Exporter>,
    /// Both sockets again, for a process that takes over.
    handed: Option<[Handed; 2]>,
}

impl Running {
    /// Opens the ledger (which recovers what an earlier process left), binds both listeners and serves.
    pub async fn start(parts: Parts) -> Result<Self, StartError> {
        Self::start_with(parts, Registry::default()).await
    }

    /// The same, with adapters written in Rust.
    pub async fn start_with(parts: Parts, registry: Registry) -> Result<Self, StartError> {
        let mut parts = parts;
        let mut sockets = std::mem::take(&mut parts.sockets);
        let beside = matches!(sockets, Sockets::Inherited(_));
        let gateway = Arc::new(build(parts, registry, beside)?);
        let live = gateway.live();
        let (listener, admin_listener) = sockets::open(&mut sockets, &live.settings.server).await?;
        let connections = Arc::clone(&gateway.options.load().connections);
        let api_keys = Arc::clone(&gateway.workbench.api_keys);
        let (address, admin_address) = (listener.local_address(), admin_listener.local_address());
        let server = &live.settings.server;
        let token = admin::Token::new(&server.state_dir).map_err(StartError::Token)?;
        duties::first_look(&gateway).await;
        if let Sockets::Inherited(predecessor) = sockets {
            take_over(predecessor, &gateway).await;
        }
        let exporter = Arc::new(Exporter::new(Arc::clone(&gateway)));
        duties::begin(&gateway, &exporter);
        let shown = shown_address(&server.admin_listen, admin_address);
        token.publish(&shown).map_err(StartError::Token)?;
        let handed = [
            sockets::shared(&listener, &server.listen)?,
            sockets::shared(&admin_listener, &server.admin_listen)?,
        ];
        let admin_drain = Drain::new();
        let site = Arc::new(Site::new(Arc::clone(&gateway)));
        let admin = admin::serve(
            admin_listener,
            Arc::clone(&gateway),
            Arc::clone(&connections),
            token,
            admin_drain.clone(),
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
            admin_drain,
            exporter,
            handed: Some(handed),
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

    /// Starts `command` as the process to take over, and waits until it is ready. Nothing changes until
    /// [`Running::give_way`].
    pub async fn offer(&self, command: Command) -> Result<Successor, HandoverError> {
        match &self.handed {
            Some([public, admin]) => handover::offer(command, public, admin).await,
            None => Err(HandoverError::Socket(
                std::io::ErrorKind::NotConnected.into(),
            )),
        }
    }

    /// Stops accepting, and lets the other process serve. Call [`Running::shut_down`] next.
    pub async fn give_way(&self, mut successor: Successor) {
        self.gateway.drain.hand_over();
        self.admin_drain.hand_over();
        let states = self.gateway.fleet.all();
        let drained = states.iter().filter(|state| state.is_draining());
        let (told, changes) = unbounded_channel();
        let word = LastWord {
            counters: self.gateway.admitter.local().give_away(told),
            drained: drained.map(|state| state.slug().to_string()).collect(),
        };
        if let Err(error) = successor.go(&word).await {
            // It serves all the same, after a while.
            tracing::warn!(%error, "the new process could not be told to serve");
        }
        self.gateway.board().ask_to_look_again();
        spawn(successor.report(changes, Arc::clone(&self.gateway.fleet)));
    }

    /// Finishes the admin listener's running answers.
    async fn end_admin(&mut self) {
        self.admin_drain.begin();
        if tokio::time::timeout(LAST_ANSWERS, &mut self.admin)
            .await
            .is_err()
        {
            self.admin.abort();
            // Ends the token too.
            let _ = (&mut self.admin).await;
        }
    }

    /// Reports that it is not ready, goes on accepting for `grace`, lets requests finish for `drain_timeout`, ends the
    /// rest honestly, and carries the last rows to the store. Once `hurry` resolves, the waits end. `true`: nothing had
    /// to be cut off.
    pub async fn shut_down(mut self, grace: Duration, hurry: impl Future<Output = ()>) -> bool {
        let drain = self.gateway.drain.clone();
        drain.leave();
        let handed = self.handed.take();
        let limit = self.gateway.live().settings.server.drain.limit;
        let ending = async {
            tokio::time::sleep(grace).await;
            drop(handed);
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
        // Connections without a request do not count, however they end.
        let is_cut = !in_time && self.gateway.ledger.stats().open_receipts > 0;
        if !in_time {
            self.gateway.shutting_down.store(true, Ordering::Relaxed);
            drain.give_up();
            // The listener drops what is left after its own grace period.
            let _ = (&mut self.listener).await;
        }
        self.gateway.duties.stop();
        self.end_admin().await;
        self.gateway.admitter.shutdown().await;
        let touching = tokio::time::timeout(LAST_FLUSH, self.api_keys.flush_last_used());
        let (touched, _, ()) = tokio::join!(
            touching,
            self.gateway.ledger.flush(LAST_FLUSH),
            self.exporter.finish()
        );
        if !matches!(touched, Ok(Ok(()))) {
            tracing::warn!("the last use of keys could not be written down");
        }
        !is_cut
    }
}

/// This process is ready: waits for the last word of the one that served until now.
async fn take_over(mut predecessor: Predecessor, gateway: &Gateway) {
    // Readiness must not fall back: a store that does not answer now was reached by the other process.
    let _ = tokio::time::timeout(STORE_PATIENCE, gateway.ping_store()).await;
    gateway.store_reached.store(true, Ordering::Relaxed);
    let word = predecessor.ready().await;
    let live = gateway.live();
    for slug in &word.drained {
        if let Some(deployment) = live.catalog.deployment(slug) {
            deployment.state.set_draining(true);
        }
    }
    let limiter = gateway.admitter.local();
    limiter.take_over(word.counters);
    let (limiter, fleet) = (Arc::clone(limiter), Arc::clone(&gateway.fleet));
    spawn(handover::follow(predecessor, limiter, fleet));
}

/// `beside`: another process may be running on this state folder.
fn build(parts: Parts, registry: Registry, beside: bool) -> Result<Gateway, StartError> {
    let Parts {
        settings,
        catalog,
        fleet,
        store,
        clock,
        limiter,
        disk,
        files,
        ..
    } = parts;
    let options = account::Options::default();
    let journal_options = account::Options {
        fsync: settings.journal.fsync,
        disk: disk.unwrap_or(options.disk),
        ..options
    };
    let journal = account::journal_folder(&settings.server.state_dir, beside)?;
    let (for_rows, by) = (Arc::clone(&store), Arc::clone(&clock));
    let ledger = Ledger::open(&journal, journal_options.clone(), for_rows, by)?;
    let workbench = Workbench::new(registry, Arc::clone(&store), Arc::clone(&clock));
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
        recent: Recent::default(),
        traces: Arc::default(),
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
        wishes: Wishes::default(),
        journal,
        journal_options,
    })
}

/// A listener's address: `bound` has the real port.
pub(super) fn shown_address(configured: &ListenAddress, bound: Option<SocketAddr>) -> String {
    match (configured, bound) {
        (_, Some(address)) | (&ListenAddress::Tcp(address), None) => address.to_string(),
        (ListenAddress::Unix(path), None) => format!("unix:{}", path.display()),
    }
}
