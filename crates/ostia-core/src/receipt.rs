use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::{Clock, Identity, LedgerRow, Outcome, Phase, RequestId, Usage, UsageSource, ip_text};

/// The journal has no room for a request's final record, so the request may not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal is full or cannot be written")]
pub struct JournalFull;

/// Where receipts are written before anything is in a database. None of its calls waits.
pub trait Journal: Send + Sync + 'static {
    /// Writes down that a request is about to reach a backend, and keeps room for its final record.
    fn started(&self, row: &LedgerRow<'_>) -> Result<Arc<dyn Slot>, JournalFull>;

    /// Writes a row that reached no backend. Rows may be folded (`count`) or, when there is no room, only counted.
    fn rejected(&self, row: &LedgerRow<'_>);
}

/// The room that `Journal::started` kept.
pub trait Slot: Send + Sync + 'static {
    /// Writes the final record. Called exactly once for each `started`.
    fn finished(&self, row: &LedgerRow<'_>);
}

/// Told about every receipt that closes, for metrics and the endpoint's health. Must not wait.
pub trait Observer: Send + Sync + 'static {
    fn closed(&self, row: &LedgerRow<'_>);
}

/// What is known of a request when it passed sign-in. Texts that are not known (yet) are empty.
#[derive(Clone)]
pub struct Opening {
    pub request_id: RequestId,
    pub client_request_id: Option<Arc<str>>,
    pub identity: Arc<Identity>,
    pub origin_ip: IpAddr,
    /// When the head had arrived.
    pub received: Instant,
    pub received_unix_micros: i64,
    pub api: Cow<'static, str>,
    pub stream: bool,
    pub cluster: Arc<str>,
    pub framework: Arc<str>,
    pub model: Arc<str>,
    pub endpoint_slug: Arc<str>,
    pub request_bytes: u64,
    /// Tokens that the prompt is estimated to hold: what a row says when the backend could not say more.
    pub prompt_estimate: u64,
}

/// The proof that a request is written down, and the guard that writes how it ended.
///
/// Exactly one final record: by `close`, or by `Drop` if nobody closed it.
pub struct Receipt {
    slot: Option<Arc<dyn Slot>>,
    clock: Arc<dyn Clock>,
    /// Set when the process gives up on what still runs: an unclosed receipt is then `interrupted`.
    shutting_down: Arc<AtomicBool>,
    observer: Option<Arc<dyn Observer>>,
    /// Whoever else wants to know how it ended.
    witness: Option<Arc<dyn Observer>>,
    opening: Opening,
    pub facts: Facts,
}

/// What is learnt while the request runs.
#[derive(Debug, Clone)]
pub struct Facts {
    pub phase: Phase,
    /// What the client was sent; 499 as long as nothing was.
    pub http_status: u16,
    pub error_code: Cow<'static, str>,
    pub usage: Usage,
    pub first_byte: Option<Instant>,
    pub queued: Duration,
    pub response_bytes: u64,
    pub upstream_status: u16,
    pub attempts: u32,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            phase: Phase::Connecting,
            http_status: 499,
            error_code: Cow::Borrowed(""),
            usage: Usage::default(),
            first_byte: None,
            queued: Duration::ZERO,
            response_bytes: 0,
            upstream_status: 0,
            attempts: 0,
        }
    }
}

impl Receipt {
    /// Writes the `started` record. Call it before the first attempt to reach a backend.
    pub fn open(
        journal: &dyn Journal,
        clock: Arc<dyn Clock>,
        shutting_down: Arc<AtomicBool>,
        observer: Option<Arc<dyn Observer>>,
        opening: Opening,
    ) -> Result<Self, JournalFull> {
        // What the row says if nothing more is ever written: it may have reached the backend.
        let facts = Facts {
            usage: opening.estimate(0),
            attempts: 1,
            ..Facts::default()
        };
        let slot = journal.started(&opening.row(&facts, Outcome::Interrupted, opening.received))?;
        Ok(Self {
            slot: Some(slot),
            clock,
            shutting_down,
            observer,
            witness: None,
            facts: Facts::default(),
            opening,
        })
    }

    pub fn request_id(&self) -> RequestId {
        self.opening.request_id
    }

    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// The request moved on to another endpoint (a retry).
    pub fn moved_to(
        &mut self,
        cluster: &Arc<str>,
        framework: &Arc<str>,
        slug: &Arc<str>,
        observer: Option<Arc<dyn Observer>>,
    ) {
        self.opening.cluster = Arc::clone(cluster);
        self.opening.framework = Arc::clone(framework);
        self.opening.endpoint_slug = Arc::clone(slug);
        self.observer = observer;
    }

    /// Has somebody besides the endpoint's own observer told how the request ends, in the place of whoever was before.
    pub fn tell(&mut self, witness: Option<Arc<dyn Observer>>) {
        self.witness = witness;
    }

    pub fn usage(&self) -> Usage {
        self.facts.usage
    }

    /// What the client is told instead of an answer.
    pub fn refused(&mut self, http_status: u16, code: Cow<'static, str>) {
        self.facts.http_status = http_status;
        self.facts.error_code = code;
    }

    pub fn is_closed(&self) -> bool {
        self.slot.is_none()
    }

    /// Closes a request that nobody finished.
    pub fn abandon(&mut self) {
        self.close(Outcome::unfinished(
            self.shutting_down.load(Ordering::Relaxed),
        ));
    }

    /// Writes the final record. A second call does nothing.
    pub fn close(&mut self, outcome: Outcome) {
        let Some(slot) = self.slot.take() else { return };
        let row = self.opening.row(&self.facts, outcome, self.clock.now());
        slot.finished(&row);
        for observer in self.observer.iter().chain(&self.witness) {
            observer.closed(&row);
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl Opening {
    /// Usage when the backend said nothing: the prompt's estimate and what was counted of the answer.
    pub fn estimate(&self, completion_tokens: u64) -> Usage {
        Usage {
            prompt_tokens: self.prompt_estimate,
            completion_tokens,
            total_tokens: self.prompt_estimate.saturating_add(completion_tokens),
            source: UsageSource::Estimated,
            ..Usage::default()
        }
    }

    /// The ledger row as it stands at `now`.
    pub fn row<'a>(&'a self, facts: &'a Facts, outcome: Outcome, now: Instant) -> LedgerRow<'a> {
        let who = &*self.identity;
        let duration = now.saturating_duration_since(self.received);
        let duration_micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        LedgerRow {
            request_id: self.request_id,
            client_request_id: Cow::Borrowed(self.client_request_id.as_deref().unwrap_or("")),
            started_at: self.received_unix_micros,
            finished_at: self.received_unix_micros.saturating_add(duration_micros),
            user_id: Cow::Borrowed(&who.user_id),
            username: Cow::Borrowed(&who.username),
            name: Cow::Borrowed(&who.name),
            auth_service: Cow::Borrowed(&who.auth_service),
            idp: Cow::Borrowed(&who.idp_id),
            domain: Cow::Borrowed(who.domain.as_deref().unwrap_or("")),
            group_id: Cow::Borrowed(""),
            key_id: Cow::Borrowed(who.key_id.as_deref().unwrap_or("")),
            project: Cow::Borrowed(""),
            cluster: Cow::Borrowed(&self.cluster),
            framework: Cow::Borrowed(&self.framework),
            model: Cow::Borrowed(&self.model),
            endpoint_slug: Cow::Borrowed(&self.endpoint_slug),
            api: Cow::Borrowed(&self.api),
            stream: self.stream,
            http_status: facts.http_status,
            outcome,
            phase: facts.phase,
            error_code: Cow::Borrowed(&facts.error_code),
            usage: facts.usage,
            ttft_ms: facts.first_byte.map(|at| millis(at - self.received)),
            duration_ms: millis(duration),
            queue_ms: millis(facts.queued),
            request_bytes: self.request_bytes,
            response_bytes: facts.response_bytes,
            upstream_status: facts.upstream_status,
            attempts: facts.attempts,
            origin_ip: Cow::Owned(ip_text(self.origin_ip)),
            count: 1,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
