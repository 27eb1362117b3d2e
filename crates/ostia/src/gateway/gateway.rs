use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use ostia_core::{Clock, Store, StoreError};
use parking_lot::Mutex;

use super::Reloads;
use super::wishes::Wishes;
use crate::account::{self, Books, Ledger};
use crate::admit::{Admitter, Attempt};
use crate::authorize::Denials;
use crate::backend::injects_usage;
use crate::catalog::Deployment;
use crate::fleet::Fleet;
use crate::identify::{Directory, KeyWatch, Present};
use crate::listen::{Drain, Inbound, Options};
use crate::live::{Files, Live, Workbench};
use crate::ownership::Responses;
use crate::people::{Actor, Desk};
use crate::read::{Budget, Call, RefusedBytes};
use crate::register::Board;
use crate::relay;
use crate::runtime::Duties;
use crate::telemetry::{AccessLog, Arrived, ErrorCounts, Figures, Recent, Trace, Traces};
use crate::upstream::{Clients, Promise};

/// A running gateway: the parts that requests use.
pub struct Gateway {
    pub(crate) live: ArcSwap<Live>,
    /// The public listener's options.
    pub(crate) options: Arc<ArcSwap<Options>>,
    pub(crate) workbench: Workbench,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) responses: Arc<Responses>,
    /// Unix seconds.
    pub(crate) started: i64,
    pub(crate) key_watch: Arc<KeyWatch>,
    pub(crate) denials: Denials,
    pub(crate) errors: ErrorCounts,
    pub(crate) figures: Arc<Figures>,
    pub(crate) recent: Recent,
    pub(crate) traces: Arc<Traces>,
    pub(crate) admitter: Admitter,
    pub(crate) body_budget: Arc<Budget>,
    pub(crate) refused_bytes: RefusedBytes,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) store_reached: AtomicBool,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) shutting_down: Arc<AtomicBool>,
    pub(crate) drain: Drain,
    pub(crate) duties: Duties,
    pub(crate) replacing: Mutex<()>,
    pub(crate) files: Option<Files>,
    pub(crate) reloads: Reloads,
    pub(crate) wishes: Wishes,
    /// The journal's folder, and how it is written.
    pub(crate) journal: PathBuf,
    pub(crate) journal_options: account::Options,
}

impl Gateway {
    /// What is served now. Code with several steps should take it once.
    pub fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// From now on serves another reading of the files. The caller must hold `replacing`.
    pub(super) fn swap(&self, live: Live) {
        let server = &live.settings.server;
        let connections = Arc::clone(&self.options.load().connections);
        let options = Options {
            connections,
            ..Options::new(server, live.tls.clone())
        };
        self.options.store(Arc::new(options));
        self.body_budget
            .resize(server.max_buffered_bytes, server.max_body_bytes);
        self.admitter
            .retry_percent(live.settings.upstream.retry_budget_percent);
        let notices = &self.workbench.live_notices;
        notices.keep_sources(&live.settings.maintenance_sources);
        self.fleet
            .remember_prefixes(live.settings.routing.affinity_memory);
        self.live.store(Arc::new(live));
    }

    /// Unix seconds.
    pub fn started(&self) -> i64 {
        self.started
    }

    /// Changes to keys since the start.
    pub fn key_watch(&self) -> &KeyWatch {
        &self.key_watch
    }

    /// Requests that were answered with an error.
    pub fn errors(&self) -> &ErrorCounts {
        &self.errors
    }

    /// How long requests took and how large they were.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// What was counted in the last minutes.
    pub fn recent(&self) -> &Recent {
        &self.recent
    }

    /// Ends a minute of [`Self::recent`].
    pub fn turn_minute(&self) {
        let now = self.clock.now();
        self.recent.turn(now, &self.figures, &self.errors);
    }

    /// Traced requests on their way to a collector.
    pub fn traces(&self) -> &Traces {
        &self.traces
    }

    /// Begins a request's trace. `None`: it has none, as most requests.
    pub(crate) fn trace(
        &self,
        live: &Live,
        inbound: &mut Inbound,
        route: &'static str,
    ) -> Option<Arc<Trace>> {
        let otlp = live.settings.telemetry.otlp.as_ref()?;
        let arrived = Arrived {
            id: inbound.id,
            head: &mut inbound.head,
            route,
            received: inbound.received,
        };
        self.traces.begin(otlp.trace_ratio, arrived)
    }

    /// Refusals of things that exist but that the caller may not use.
    pub fn denials(&self) -> &Denials {
        &self.denials
    }

    /// The desk for managing people, keys and projects, on somebody's behalf.
    pub fn desk(&self, live: &Live, actor: Actor) -> Desk {
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        Desk::new(store, clock, live.settings.keys, actor)
    }

    /// The database's facts about people.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.workbench.directory
    }

    /// The engines of endpoints without a URL.
    pub fn board(&self) -> &Arc<Board> {
        &self.workbench.board
    }

    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Which user made which response.
    pub fn responses(&self) -> &Responses {
        &self.responses
    }

    pub fn admitter(&self) -> &Admitter {
        &self.admitter
    }

    pub fn body_budget(&self) -> &Arc<Budget> {
        &self.body_budget
    }

    /// Bytes of bodies that users sent in vain.
    pub fn refused_bytes(&self) -> &RefusedBytes {
        &self.refused_bytes
    }

    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Background work that lasts as long as the gateway.
    pub fn duties(&self) -> &Duties {
        &self.duties
    }

    /// Asks the store whether it answers, and remembers it if so.
    pub async fn ping_store(&self) -> Result<(), StoreError> {
        self.store.ping().await?;
        self.store_reached.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the store has responded at least once since the start.
    pub fn store_reached(&self) -> bool {
        self.store_reached.load(Ordering::Relaxed)
    }

    /// Connections to backends.
    pub(crate) fn clients(&self) -> &Clients {
        &self.workbench.clients
    }

    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// What is needed to record a request.
    pub(crate) fn books(
        &self,
        present: &Present,
        access: &AccessLog,
        trace: Option<&Arc<Trace>>,
    ) -> Books {
        Books {
            recorder: Arc::clone(&self.ledger) as _,
            witness: Arc::clone(&self.figures) as _,
            access: access.row_observer(),
            trace: trace.map(|trace| Arc::clone(trace) as _),
            clock: Arc::clone(&self.clock),
            shutting_down: Arc::clone(&self.shutting_down),
            dismissed: present.flag(),
        }
    }

    /// What the relay needs for one response.
    pub(crate) fn relay_context(
        &self,
        live: &Live,
        inbound: &Inbound,
        present: &Arc<Present>,
        call: &Call,
        attempt: &Attempt,
        sent: &Promise,
    ) -> relay::Context {
        let deployment = Arc::clone(attempt.deployment());
        let standing = attempt.standing();
        let timeouts = sent.timeouts;
        relay::Context {
            clock: Arc::clone(&self.clock),
            wire: Arc::clone(&inbound.wire),
            present: Arc::clone(present),
            api: call.api.clone(),
            choices: call.choices,
            count_estimate: count_estimate(&deployment, call),
            stream: sent.stream,
            responses: Arc::clone(&self.responses),
            hide_usage: sent.stream && injects_usage(&deployment, call),
            show_backend_limits: standing.requests().is_none() && standing.tokens().is_none(),
            idle_timeout: timeouts.stream_idle,
            deadline: timeouts.total.map(|total| inbound.received + total),
            keepalive: live.settings.upstream.keepalive_comment,
            deployment,
        }
    }
}

/// The prompt's tokens, estimated from earlier prompts of the same clients, for an API that only counts.
fn count_estimate(deployment: &Deployment, call: &Call) -> Option<u64> {
    let api = match call.api.as_str() {
        "messages/count_tokens" => "messages",
        "responses/input_tokens" => "responses",
        _ => return None,
    };
    let expected = deployment.learned.expected(api, call.prompt_estimate);
    Some(expected.prompt_tokens.max(1))
}
