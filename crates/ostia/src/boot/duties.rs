//! Background work that lasts as long as the gateway.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::account;
use crate::admit::Heard;
use crate::alerts::Alerts;
use crate::gateway::Gateway;
use crate::live::move_former_notices;
use crate::otlp::Exporter;
use crate::runtime::{spawn, spawn_blocking};
use crate::settings::MaintenanceSource;

/// How often idle connections are swept.
const SWEEP: Duration = Duration::from_secs(1);
/// How often clusters are checked for due refreshes, and notices are read.
const POLL: Duration = Duration::from_secs(1);
/// How often the load of endpoints is read.
const LOOK: Duration = Duration::from_millis(250);
/// How long the start waits for clusters to answer.
const FIRST_LOOK: Duration = Duration::from_secs(3);
/// How often the last use of keys is recorded.
const TOUCH: Duration = Duration::from_secs(30);
/// How often changes of people are looked for, so that a disabled account is shut out within a second.
const PEOPLE_LOOK: Duration = Duration::from_millis(250);
/// How soon replicas learn of another replica's lease.
const LEASE_LOOK: Duration = Duration::from_millis(250);
/// How soon leases and tunnels end whose holders lost their rights.
const REGISTRAR_LOOK: Duration = Duration::from_millis(500);
/// How often changes of keys are looked for, for the audit log.
const KEY_LOOK: Duration = Duration::from_secs(10);
/// How soon other replicas may continue a response.
const TELL_RESPONSES: Duration = Duration::from_millis(200);
/// How often the figures of the last minutes are kept.
const MINUTE: Duration = Duration::from_secs(60);
const FIRST_PRUNING: Duration = Duration::from_secs(60 * 60);
const PRUNING: Duration = Duration::from_secs(24 * 60 * 60);
/// A pause in which others can use the database.
const BETWEEN_STEPS: Duration = Duration::from_millis(100);
/// How often journals of ended processes are looked for.
const JOURNAL_LOOK: Duration = Duration::from_secs(5);
/// How long a look may wait for the store.
const JOURNAL_LIMIT: Duration = Duration::from_secs(60);

/// How often files are checked, if `auto_reload` is on.
const FILE_LOOK: Duration = Duration::from_secs(2);

/// Asks clusters, readiness URLs and maintenance sources once, so that the first requests know their states. A source
/// that does not answer delays the start by at most [`FIRST_LOOK`].
pub(super) async fn first_look(gateway: &Gateway) {
    let live = gateway.live();
    let sources = live.settings.maintenance_sources.iter();
    let asking = join_all(sources.map(|(cluster, source)| ask_source(gateway, cluster, source)));
    let people = gateway.directory().look();
    let leases = gateway.board().look(&live.catalog);
    let first = async {
        tokio::join!(
            live.clusters.first_look(FIRST_LOOK),
            asking,
            people,
            leases,
            read_notices(gateway)
        )
    };
    // Sources that did not answer by then stay unknown, which changes nothing.
    let _ = tokio::time::timeout(FIRST_LOOK, first).await;
}

/// Starts all of it. Each duty has a name in readiness and metrics.
pub(super) fn begin(gateway: &Arc<Gateway>, exporter: &Arc<Exporter>) {
    start(gateway, "clusters", poll_clusters);
    start(gateway, "maintenance", poll_notices);
    start(gateway, "maintenance_sources", poll_sources);
    start(gateway, "readiness", poll_readiness);
    start(gateway, "engines", ask_engines);
    start(gateway, "best_points", look_at_best_points);
    start(gateway, "store", reach_store);
    start(gateway, "idle_connections", sweep);
    start(gateway, "key_use", touch_keys);
    start(gateway, "people", watch_people);
    start(gateway, "leases", watch_leases);
    start(gateway, "registrars", review_registrars);
    start(gateway, "key_changes", watch_keys);
    start(gateway, "retention", prune);
    start(gateway, "responses", tell_responses);
    if gateway.live().settings.limits.shared.is_some() {
        start(gateway, "shared_limits", share_limits);
        start(gateway, "shared_guesses", share_guesses);
    }
    start(gateway, "auto_reload", watch_files);
    start(gateway, "left_journals", adopt_journals);
    start(gateway, "health", check_health);
    start(gateway, "alerts", send_alerts);
    gateway.turn_minute();
    start(gateway, "figures", turn_minutes);
    let exporter = Arc::clone(exporter);
    gateway.duties.begin("telemetry", move || {
        let exporter = Arc::clone(&exporter);
        async move { exporter.work().await }
    });
}

fn start<W>(gateway: &Arc<Gateway>, name: &'static str, work: fn(Arc<Gateway>) -> W)
where
    W: Future<Output = Infallible> + Send + 'static,
{
    let duties = &gateway.duties;
    let gateway = Arc::clone(gateway);
    duties.begin(name, move || work(Arc::clone(&gateway)));
}

async fn share_limits(gateway: Arc<Gateway>) -> Infallible {
    gateway.admitter().work().await
}

/// Whoever guesses credentials is barred from all replicas together.
async fn share_guesses(gateway: Arc<Gateway>) -> Infallible {
    let mut heard = Heard::default();
    loop {
        let own = gateway.live().identify.take_guesses();
        let others = gateway.admitter().tell_guesses(&mut heard, own).await;
        gateway.live().identify.guessed_elsewhere(others);
        tokio::time::sleep(POLL).await;
    }
}

async fn poll_clusters(gateway: Arc<Gateway>) -> Infallible {
    loop {
        tokio::time::sleep(POLL).await;
        gateway.live().clusters.poll();
    }
}

/// Once the store has been reached, the ledger and the keys show its state.
async fn reach_store(gateway: Arc<Gateway>) -> Infallible {
    while gateway.ping_store().await.is_err() {
        tokio::time::sleep(POLL).await;
    }
    std::future::pending().await
}

async fn check_health(gateway: Arc<Gateway>) -> Infallible {
    loop {
        let now = gateway.clock.now();
        gateway.live().clusters.check_health(now);
        tokio::time::sleep(POLL).await;
    }
}

async fn send_alerts(gateway: Arc<Gateway>) -> Infallible {
    let mut alerts = Alerts::default();
    loop {
        tokio::time::sleep(Alerts::EVERY).await;
        alerts.look(&gateway).await;
    }
}

async fn turn_minutes(gateway: Arc<Gateway>) -> Infallible {
    loop {
        tokio::time::sleep(MINUTE).await;
        gateway.turn_minute();
    }
}

/// If the store does not answer, nothing changes here; other places report it.
async fn poll_notices(gateway: Arc<Gateway>) -> Infallible {
    loop {
        read_notices(&gateway).await;
        tokio::time::sleep(POLL).await;
    }
}

async fn read_notices(gateway: &Gateway) {
    let store = &*gateway.store;
    let folder = gateway.live().settings.server.state_dir.clone();
    let moved = move_former_notices(&folder, store).await;
    match store.notices().await {
        Ok(notices) => {
            gateway.workbench.live_notices.take(&notices);
            gateway.admitter().blocks().take(&notices);
        }
        Err(error) => tracing::debug!(%error, "maintenance and blocks could not be read"),
    }
    if let Err(error) = moved {
        tracing::debug!(%error, "files of an earlier version could not be carried to the store");
    }
}

async fn poll_readiness(gateway: Arc<Gateway>) -> Infallible {
    loop {
        let interval = gateway.live().clusters.readiness_interval();
        tokio::time::sleep(interval.unwrap_or(POLL)).await;
        gateway.live().clusters.look_at_readiness().await;
    }
}

async fn ask_engines(gateway: Arc<Gateway>) -> Infallible {
    loop {
        tokio::time::sleep(POLL).await;
        let now = gateway.clock.now();
        gateway.live().clusters.look_at_engines(now).await;
    }
}

/// Wakes waiting requests when an endpoint may take more than before.
async fn look_at_best_points(gateway: Arc<Gateway>) -> Infallible {
    loop {
        tokio::time::sleep(LOOK).await;
        let now = gateway.clock.now();
        let mut has_grown = false;
        for deployment in gateway.live().catalog.deployments() {
            let before = deployment.places();
            let is_held = deployment.max_in_flight.is_auto(&deployment.state);
            let counts = deployment.state.counts(now);
            deployment.state.best_point().look(counts, is_held);
            has_grown |= deployment.places() > before;
        }
        if has_grown {
            gateway.admitter().came_back();
        }
    }
}

/// Asks each maintenance source in the present configuration at its interval.
async fn poll_sources(gateway: Arc<Gateway>) -> Infallible {
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
            // A question that hangs does not delay the others, and ends by its own time limit.
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

async fn sweep(gateway: Arc<Gateway>) -> Infallible {
    loop {
        tokio::time::sleep(SWEEP).await;
        gateway.workbench.clients.sweep();
    }
}

async fn watch_people(gateway: Arc<Gateway>) -> Infallible {
    loop {
        tokio::time::sleep(PEOPLE_LOOK).await;
        if let Err(error) = gateway.directory().look().await {
            tracing::debug!(%error, "the database does not say what changed of people");
        }
    }
}

async fn review_registrars(gateway: Arc<Gateway>) -> Infallible {
    loop {
        tokio::time::sleep(REGISTRAR_LOOK).await;
        let live = gateway.live();
        let board = gateway.board();
        if let Err(error) = board.review(&live.catalog, &live.identify).await {
            tracing::debug!(%error, "the database does not say whose leases are over");
        }
    }
}

/// Takes over leases, has their engines checked, and wakes waiting requests when there are more.
async fn watch_leases(gateway: Arc<Gateway>) -> Infallible {
    let mut serving = 0;
    loop {
        let live = gateway.live();
        if let Err(error) = gateway.board().look(&live.catalog).await {
            tracing::debug!(%error, "the database does not say which leases there are");
        }
        live.clusters.check_leased(gateway.clock.now());
        let deployments = live.catalog.deployments().iter();
        let replicas = deployments.flat_map(|one| one.state.leases().all());
        let now = replicas.filter(|replica| replica.serves()).count();
        if now > serving {
            gateway.admitter().came_back();
        }
        serving = now;
        tokio::time::sleep(LEASE_LOOK).await;
    }
}

async fn touch_keys(gateway: Arc<Gateway>) -> Infallible {
    loop {
        tokio::time::sleep(TOUCH).await;
        if let Err(error) = gateway.workbench.api_keys.flush_last_used().await {
            tracing::warn!(%error, "the last use of keys could not be written down");
        }
    }
}

/// Once a day, starting an hour after the start. Replicas may prune at the same time, because each step is a
/// transaction.
async fn prune(gateway: Arc<Gateway>) -> Infallible {
    tokio::time::sleep(FIRST_PRUNING).await;
    loop {
        let due = gateway
            .live()
            .settings
            .retention
            .due(gateway.clock.unix_micros());
        loop {
            match gateway.store().prune(&due).await {
                Ok(step) if step.goes_on => tokio::time::sleep(BETWEEN_STEPS).await,
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "what is older than [retention] says could not be pruned");
                    break;
                }
            }
        }
        tokio::time::sleep(PRUNING).await;
    }
}

async fn tell_responses(gateway: Arc<Gateway>) -> Infallible {
    loop {
        tokio::time::sleep(TELL_RESPONSES).await;
        gateway.responses.tell().await;
    }
}

async fn watch_keys(gateway: Arc<Gateway>) -> Infallible {
    loop {
        match gateway.key_watch.look().await {
            Ok(true) => gateway.live().identify.purge(),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "keys could not be looked at for changes"),
        }
        tokio::select! {
            () = tokio::time::sleep(KEY_LOOK) => {}
            () = gateway.key_watch.changed() => {}
        }
    }
}

/// A reading that was refused is not repeated before the files change again.
async fn watch_files(gateway: Arc<Gateway>) -> Infallible {
    loop {
        tokio::time::sleep(FILE_LOOK).await;
        if !gateway.live().settings.server.auto_reload {
            continue;
        }
        let gateway = Arc::clone(&gateway);
        // A panic was logged where it happened, a refusal by the reload.
        let _ = spawn_blocking(move || gateway.reload_if_changed()).await;
    }
}

/// A process that handed over, or that was killed beside this one, may have left rows that are not in the store.
async fn adopt_journals(gateway: Arc<Gateway>) -> Infallible {
    loop {
        let folder = gateway.live().settings.server.state_dir.clone();
        let (own, options) = (&gateway.journal, &gateway.journal_options);
        let (store, clock) = (&gateway.store, &gateway.clock);
        let adopting = account::adopt_journals(&folder, own, options, store, clock, JOURNAL_LIMIT);
        if !adopting.await {
            tracing::warn!("a journal that another process left is not yet in the store");
        }
        tokio::time::sleep(JOURNAL_LOOK).await;
    }
}
