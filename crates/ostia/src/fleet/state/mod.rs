mod ended;
mod place;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use ostia_core::{Clock, Outcome};

use super::away::Away;
use super::best_point::BestPoint;
use super::breaker::Breaker;
use super::timeline::Timeline;
use super::warmth::Warmth;
use super::{EngineFacts, Leases, ModelState};

pub use self::place::InFlightGuard;

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

/// How long an endpoint that failed repeatedly ranks after its peers, and how long they wait for the request that
/// probes it.
const REST: Duration = Duration::from_secs(10);

/// After this many requests in a row that could not be sent, or were not answered, an endpoint counts as not running.
const MOST_UNREACHED: u32 = 5;

impl EndpointState {
    pub(super) fn new(slug: Arc<str>, number: u32, clock: Arc<dyn Clock>) -> Self {
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

    /// How many requests at a time it serves best.
    pub fn best_point(&self) -> &BestPoint {
        &self.best
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
