use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ostia_core::{Clock, LedgerRow, Observer, Outcome, Phase, SystemClock, UsageSource};
use parking_lot::Mutex;

use super::away::Away;
use super::best_point::{BestPoint, Counts};
use super::breaker::Breaker;
use super::chance::Chance;
use super::timeline::Timeline;
use super::warmth::Warmth;
use super::{EngineFacts, Learned, Leases, Prefixes};

/// A cluster's report on a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelState {
    Running,
    Starting,
    Queued,
    Stopped,
    Unknown,
    /// It finishes its requests, and takes no new ones.
    Draining,
}

/// The state of one endpoint. Many tasks write it, and readers take no lock: everything is atomic, except the
/// measurements for the best point, which only one task uses.
pub struct EndpointState {
    slug: Arc<str>,
    /// Stands for it where a name would be too long; never 0.
    number: u32,
    in_flight: AtomicU32,
    /// Tokens of prompts that are in flight and whose answer has not begun.
    unread: AtomicU64,
    /// Requests that went there since anything came back.
    unheard: AtomicU32,
    model_state: AtomicU8,
    /// Unix seconds; 0 means unknown.
    expected_start: AtomicI64,
    /// A fresh listing of the cluster does not include the model.
    unlisted: AtomicBool,
    /// What a readiness URL last reported, as a [`ModelState`]; `Unknown` if there is none.
    readiness: AtomicU8,
    draining: AtomicBool,
    /// Connections in a row that could not be made.
    unreached: AtomicU32,
    engine: EngineFacts,
    breaker: Breaker,
    away: Away,
    warmth: Warmth,
    counts: [AtomicU64; Outcome::ALL.len()],
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
    duration_ms: AtomicU64,
    estimated: AtomicU64,
    /// The total time to first byte, over answers that had one.
    first_byte_ms: AtomicU64,
    best: BestPoint,
    leases: Leases,
    /// When a job may be started for it again.
    starts_again: AtomicU64,
    timeline: Timeline,
}

/// One request's place on an endpoint, returned on drop.
pub struct InFlightGuard {
    state: Arc<EndpointState>,
    /// Its prompt tokens that the endpoint still has to process.
    unread: u64,
}

/// Where the system has no random numbers, ties break always in the same way, and hashes are the same in each process.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let _ = getrandom::fill(&mut bytes);
    bytes
}

/// How long an endpoint that failed repeatedly ranks after its peers, and how long they wait for the request that
/// probes it.
const REST: Duration = Duration::from_secs(10);

/// After this many requests in a row that could not be sent, or were not answered, an endpoint counts as not running.
const MOST_UNREACHED: u32 = 5;

/// How many requests may wait for a first sign of life from an endpoint without `max_in_flight`: one that accepts
/// connections and never answers would otherwise collect all requests.
const MOST_UNHEARD: u32 = 512;

/// All endpoint states, by slug.
pub struct Fleet {
    clock: Arc<dyn Clock>,
    states: Mutex<HashMap<Arc<str>, Arc<EndpointState>>>,
    /// By model.
    learned: Mutex<HashMap<Arc<str>, Arc<Learned>>>,
    prefixes: Prefixes,
    chance: Chance,
    secret: [u8; 16],
    numbers: AtomicU32,
}

impl Default for Fleet {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock))
    }
}

impl Fleet {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            states: Mutex::default(),
            learned: Mutex::default(),
            prefixes: Prefixes::new(0),
            chance: Chance::new(u64::from_le_bytes(random())),
            secret: random(),
            numbers: AtomicU32::new(1),
        }
    }

    /// Which endpoints have lately seen which beginnings of prompts.
    pub fn prefixes(&self) -> &Prefixes {
        &self.prefixes
    }

    /// How many bytes may be spent on them.
    pub fn remember_prefixes(&self, bytes: u64) {
        self.prefixes
            .resize(usize::try_from(bytes).unwrap_or(usize::MAX));
    }

    /// A number that breaks a tie.
    pub fn chance(&self) -> u64 {
        self.chance.next()
    }

    /// A secret of this process.
    pub fn secret(&self) -> [u8; 16] {
        self.secret
    }

    /// The state of an endpoint, created on first use; later calls return the same one.
    pub fn endpoint(&self, slug: &Arc<str>) -> Arc<EndpointState> {
        let mut states = self.states.lock();
        let state = states.entry(Arc::clone(slug)).or_insert_with(|| {
            Arc::new(EndpointState::new(
                Arc::clone(slug),
                self.numbers.fetch_add(1, Ordering::Relaxed),
                Arc::clone(&self.clock),
            ))
        });
        Arc::clone(state)
    }

    /// What was learned of a model.
    pub fn learned(&self, model: &Arc<str>) -> Arc<Learned> {
        let mut learned = self.learned.lock();
        Arc::clone(learned.entry(Arc::clone(model)).or_default())
    }

    /// Forgets endpoints and models that no catalog and no request holds any more.
    pub fn shrink(&self) {
        self.states
            .lock()
            .retain(|_, state| Arc::strong_count(state) > 1);
        self.learned
            .lock()
            .retain(|_, learned| Arc::strong_count(learned) > 1);
    }

    /// Every endpoint that is served, or that a running request still holds; in no particular order.
    pub fn all(&self) -> Vec<Arc<EndpointState>> {
        self.states.lock().values().cloned().collect()
    }
}

impl EndpointState {
    fn new(slug: Arc<str>, number: u32, clock: Arc<dyn Clock>) -> Self {
        let timeline = Timeline::new(Arc::clone(&clock));
        Self {
            slug,
            number,
            in_flight: AtomicU32::new(0),
            unread: AtomicU64::new(0),
            unheard: AtomicU32::new(0),
            model_state: AtomicU8::new(ModelState::Unknown as u8),
            expected_start: AtomicI64::new(0),
            unlisted: AtomicBool::new(false),
            readiness: AtomicU8::new(ModelState::Unknown as u8),
            draining: AtomicBool::new(false),
            unreached: AtomicU32::new(0),
            engine: EngineFacts::default(),
            breaker: Breaker::new(REST, REST, clock),
            away: Away::new(timeline.clone()),
            warmth: Warmth::new(timeline.clone()),
            leases: Leases::new(timeline.clone()),
            starts_again: AtomicU64::new(0),
            timeline,
            counts: Default::default(),
            prompt_tokens: AtomicU64::new(0),
            completion_tokens: AtomicU64::new(0),
            duration_ms: AtomicU64::new(0),
            estimated: AtomicU64::new(0),
            first_byte_ms: AtomicU64::new(0),
            best: BestPoint::default(),
        }
    }

    /// Whether a request was ever sent to it, or somebody drained it.
    pub fn was_used(&self) -> bool {
        let ended = || self.outcomes().any(|(_, count)| count > 0);
        self.in_flight() > 0 || self.is_draining() || ended()
    }

    pub fn slug(&self) -> &Arc<str> {
        &self.slug
    }

    /// Takes one of `most` places; 0 means no limit except that for silent endpoints. This is the only count of
    /// requests in flight on the endpoint.
    pub fn take_place(self: &Arc<Self>, most: u32) -> Option<InFlightGuard> {
        if most == 0 && self.unheard.load(Ordering::Relaxed) >= MOST_UNHEARD {
            return None;
        }
        let taken = self
            .in_flight
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (most == 0 || taken < most).then_some(taken + 1)
            });
        taken.ok()?;
        self.unheard.fetch_add(1, Ordering::Relaxed);
        Some(InFlightGuard {
            state: Arc::clone(self),
            unread: 0,
        })
    }

    /// A place was taken for a request that is sent there: it probes whether an endpoint that was away is back.
    pub fn probe(&self) {
        self.away.probe();
    }

    /// A request is sent to it.
    pub fn sent(&self) {
        // The endpoint is used even while it rests, because those before it failed too. So the result does not matter
        // here.
        self.breaker.admit();
    }

    /// The head of an answer arrived, whatever its status.
    pub fn heard(&self) {
        self.unheard.store(0, Ordering::Relaxed);
        self.unreached.store(0, Ordering::Relaxed);
    }

    /// It took a request, even if only to refuse what it asks for.
    pub fn answered(&self) {
        if self.away.answered() {
            self.warmth.begin();
        }
    }

    /// It said that it takes no requests for now, and perhaps for how long.
    pub fn turned_away(&self, named: Option<Duration>) {
        self.away.turned_away(named, true);
    }

    /// It could not be reached.
    pub fn unreached(&self) {
        self.unreached.fetch_add(1, Ordering::Relaxed);
        self.away.turned_away(None, false);
    }

    /// Whether it could not be reached, or did not answer, so often in a row that it counts as not running.
    pub fn is_unreachable(&self) -> bool {
        self.unreached.load(Ordering::Relaxed) >= MOST_UNREACHED
    }

    /// Answers whose usage it did not report.
    pub fn estimated(&self) -> u64 {
        self.estimated.load(Ordering::Relaxed)
    }

    /// When requests may go there again; `None`: now.
    pub fn returns_in(&self) -> Option<Duration> {
        self.away.returns_in()
    }

    /// The same, if the endpoint itself said when it is back, so that waiting for it makes sense.
    pub fn is_back_in(&self) -> Option<Duration> {
        self.away.returns_in().filter(|_| self.away.has_told())
    }

    /// A request failed there and moved on.
    pub fn failed(&self) {
        self.breaker.failed();
    }

    /// Whether it failed so often lately that others are tried first.
    pub fn is_suspect(&self) -> bool {
        self.breaker.is_open()
    }

    /// Its share of the work in hundredths: less than the whole while it comes back.
    pub fn share(&self) -> u64 {
        self.warmth.share()
    }

    pub fn number(&self) -> u32 {
        self.number
    }

    /// Tokens of prompts in flight that it still has to process, without those that it probably has in its cache.
    pub fn unread(&self) -> u64 {
        self.unread.load(Ordering::Relaxed)
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub fn model_state(&self) -> ModelState {
        ModelState::of(self.model_state.load(Ordering::Relaxed))
    }

    /// When the scheduler expects a model that is not running to start, in Unix seconds.
    pub fn expected_start(&self) -> Option<i64> {
        match self.expected_start.load(Ordering::Relaxed) {
            0 => None,
            at => Some(at),
        }
    }

    pub fn set_expected_start(&self, unix_seconds: Option<i64>) {
        let at = unix_seconds.unwrap_or(0);
        self.expected_start.store(at, Ordering::Relaxed);
    }

    /// Whether a fresh listing of the cluster omits the model.
    pub fn is_unlisted(&self) -> bool {
        self.unlisted.load(Ordering::Relaxed)
    }

    pub fn set_unlisted(&self, unlisted: bool) {
        self.unlisted.store(unlisted, Ordering::Relaxed);
    }

    /// What the endpoint's readiness URL last reported.
    pub fn readiness(&self) -> ModelState {
        ModelState::of(self.readiness.load(Ordering::Relaxed))
    }

    pub fn set_readiness(&self, state: ModelState) {
        self.readiness.store(state as u8, Ordering::Relaxed);
    }

    pub fn set_model_state(&self, state: ModelState) {
        self.model_state.store(state as u8, Ordering::Relaxed);
    }

    /// What its engine says of itself.
    pub fn engine(&self) -> &EngineFacts {
        &self.engine
    }

    /// The addresses of its engines, if it has no URL of its own.
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Whether a job may be started for it; then not again for so long.
    pub fn may_start(&self, pause: Duration) -> bool {
        let (now, again) = (
            self.timeline.now(),
            self.starts_again.load(Ordering::Relaxed),
        );
        let next = self.timeline.after(pause);
        now >= again
            && self
                .starts_again
                .compare_exchange(again, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    /// Closed requests by outcome.
    pub fn outcomes(&self) -> impl Iterator<Item = (Outcome, u64)> {
        Outcome::ALL
            .iter()
            .zip(&self.counts)
            .map(|(&outcome, count)| (outcome, count.load(Ordering::Relaxed)))
    }

    /// Prompt and completion tokens of closed requests.
    pub fn tokens(&self) -> (u64, u64) {
        (
            self.prompt_tokens.load(Ordering::Relaxed),
            self.completion_tokens.load(Ordering::Relaxed),
        )
    }

    /// How many requests at a time it serves best.
    pub fn best_point(&self) -> &BestPoint {
        &self.best
    }

    /// The counts until `now`, for the search of its best point.
    #[expect(clippy::cast_precision_loss, reason = "counts of tokens")]
    pub fn counts(&self, now: Instant) -> Counts {
        let (prompt, completion) = self.tokens();
        let answers = self.counts[Outcome::Ok as usize].load(Ordering::Relaxed);
        Counts {
            at: now,
            in_flight: self.in_flight(),
            answers,
            service: prompt as f64 + 2.0 * completion as f64,
            first_tokens: Duration::from_millis(self.first_byte_ms.load(Ordering::Relaxed)),
        }
    }

    /// The summed duration of all closed requests, in milliseconds.
    pub fn duration_ms(&self) -> u64 {
        self.duration_ms.load(Ordering::Relaxed)
    }
}

impl InFlightGuard {
    /// The endpoint has to process this many tokens for it.
    pub fn weigh(&mut self, tokens: u64) {
        self.read();
        self.state.unread.fetch_add(tokens, Ordering::Relaxed);
        self.unread = tokens;
    }

    /// Its answer begins: the prompt is read.
    pub fn read(&mut self) {
        let unread = std::mem::take(&mut self.unread);
        self.state.unread.fetch_sub(unread, Ordering::Relaxed);
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.read();
        let state = &self.state;
        let left = state.in_flight.fetch_sub(1, Ordering::Relaxed) - 1;
        // A request that left is no longer waiting.
        if state.unheard.load(Ordering::Relaxed) > left {
            state.unheard.fetch_min(left, Ordering::Relaxed);
        }
    }
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for EndpointState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointState")
            .field("slug", &self.slug)
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}

impl Observer for EndpointState {
    fn closed(&self, row: &LedgerRow<'_>) {
        if let Some(count) = self.counts.get(row.outcome as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.prompt_tokens
            .fetch_add(row.prompt_tokens, Ordering::Relaxed);
        self.completion_tokens
            .fetch_add(row.completion_tokens, Ordering::Relaxed);
        self.duration_ms
            .fetch_add(row.duration_ms, Ordering::Relaxed);
        if row.outcome == Outcome::Ok {
            let waited = row.ttft_ms.unwrap_or_default().saturating_sub(row.queue_ms);
            self.first_byte_ms.fetch_add(waited, Ordering::Relaxed);
        }
        if is_silence(row) {
            self.unreached.fetch_add(1, Ordering::Relaxed);
        }
        match row.outcome {
            Outcome::Ok => {
                let is_guess = row.usage_source == UsageSource::Estimated;
                self.estimated
                    .fetch_add(u64::from(is_guess), Ordering::Relaxed);
                if self.breaker.succeeded() {
                    self.warmth.begin();
                }
            }
            Outcome::UpstreamError | Outcome::UpstreamTimeout if is_own_fault(row) => {
                self.failed();
            }
            _ => {}
        }
    }
}

/// It took the request and answered nothing at all. What could not be connected is counted by
/// [`EndpointState::unreached`].
fn is_silence(row: &LedgerRow<'_>) -> bool {
    let is_failure = matches!(
        row.outcome,
        Outcome::UpstreamError | Outcome::UpstreamTimeout
    );
    is_failure && row.phase == Phase::WaitingHeaders && row.upstream_status == 0
}

/// A refusal that the request itself caused says nothing about the backend: a caller with too long a prompt must not
/// keep others away from it. 401, 403 and 407 concern the gateway's own key. 429, 503 and 529 say that it is busy;
/// [`EndpointState::turned_away`] handles those.
fn is_own_fault(row: &LedgerRow<'_>) -> bool {
    match row.upstream_status {
        401 | 403 | 407 => true,
        400..=499 | 503 | 529 => false,
        // A stream may end in such a refusal.
        _ => row.error_code != "upstream_refused",
    }
}

impl ModelState {
    const fn of(number: u8) -> Self {
        match number {
            0 => Self::Running,
            1 => Self::Starting,
            2 => Self::Queued,
            3 => Self::Stopped,
            5 => Self::Draining,
            _ => Self::Unknown,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Queued => "queued",
            Self::Stopped => "stopped",
            Self::Unknown => "unknown",
            Self::Draining => "draining",
        }
    }

    /// How far it is from serving.
    pub const fn distance(self) -> u8 {
        match self {
            Self::Running => 0,
            Self::Unknown => 1,
            Self::Starting => 2,
            Self::Queued => 3,
            Self::Draining => 4,
            Self::Stopped => 5,
        }
    }
}
