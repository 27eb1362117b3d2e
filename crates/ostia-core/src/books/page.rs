use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::{Books, HeadSent, JournalFull, Observer, Outlasting, Slot};
use crate::{
    Class, Identity, LedgerRow, Location, Outcome, Phase, RequestId, Usage, UsageSource, ip_text,
    millis,
};

/// What is known about a request once it has passed sign-in.
pub struct Arrival {
    pub request_id: RequestId,
    pub client_request_id: Option<Arc<str>>,
    pub identity: Arc<Identity>,
    pub origin_ip: IpAddr,
    /// When the complete head had arrived.
    pub received: Instant,
    pub received_unix_micros: i64,
    pub api: Cow<'static, str>,
    pub head_sent: HeadSent,
    pub outlasting: Outlasting,
}

/// Where a request goes, and which of the caller's groups allowed it. Unknown fields are empty.
#[derive(Clone, Default)]
pub struct Place {
    pub cluster: Arc<str>,
    pub framework: Arc<str>,
    pub endpoint_slug: Arc<str>,
    pub group_id: Arc<str>,
    pub location: Location,
    /// The model of the endpoint.
    pub served_model: Arc<str>,
    /// The endpoint's provider bills to the end, whether or not the client is still there.
    pub bills_to_end: bool,
}

/// Everything that is recorded about a request, and the guard that hands over exactly one row: by `close`, or by `Drop`
/// if nobody closed it.
pub(super) struct Page {
    pub(super) books: Books,
    pub(super) arrival: Arrival,
    pub(super) stream: bool,
    pub(super) class: Class,
    pub(super) request_bytes: u64,
    /// `None`: no model runs for the request, so it uses no tokens.
    pub(super) prompt_estimate: Option<u64>,
    pub(super) model: Arc<str>,
    pub(super) place: Place,
    pub(super) facts: Facts,
    /// Others to be told how it ended: the endpoint, and one more on request.
    pub(super) observers: [Option<Arc<dyn Observer>>; 2],
    state: State,
}

enum State {
    /// No backend has seen the request.
    Waiting,
    /// Its `started` record was handed over.
    Started(Box<dyn Slot>),
    /// Its row was handed over. The slot is kept until the row is known to be written.
    Closed(Option<Box<dyn Slot>>),
}

/// What is learned while the request runs.
pub(super) struct Facts {
    pub(super) phase: Phase,
    /// 499 until something is sent to the client.
    pub(super) http_status: u16,
    pub(super) error_code: Cow<'static, str>,
    pub(super) usage: Usage,
    pub(super) first_byte: Option<Instant>,
    /// How long it waited for its turn, up to `waits_since`.
    pub(super) queued: Duration,
    /// `Some`: it is waiting for its turn now.
    pub(super) waits_since: Option<Instant>,
    pub(super) response_bytes: u64,
    pub(super) upstream_status: u16,
    pub(super) attempts: u32,
    /// The phase in which the client left a request that went on.
    pub(super) left_in: Option<Phase>,
}

impl Arrival {
    /// A request of which nothing else is known.
    pub fn new(request_id: RequestId, received: Instant, received_unix_micros: i64) -> Self {
        Self {
            request_id,
            client_request_id: None,
            identity: Arc::default(),
            origin_ip: Ipv4Addr::UNSPECIFIED.into(),
            received,
            received_unix_micros,
            api: Cow::Borrowed(""),
            head_sent: HeadSent::default(),
            outlasting: Outlasting::default(),
        }
    }
}

impl Facts {
    fn at(phase: Phase) -> Self {
        Self {
            phase,
            http_status: 499,
            error_code: Cow::Borrowed(""),
            usage: Usage::default(),
            first_byte: None,
            queued: Duration::ZERO,
            waits_since: None,
            response_bytes: 0,
            upstream_status: 0,
            attempts: 0,
            left_in: None,
        }
    }
}

impl Page {
    pub(super) fn new(books: Books, arrival: Arrival) -> Self {
        Self {
            books,
            arrival,
            stream: false,
            class: Class::default(),
            request_bytes: 0,
            prompt_estimate: None,
            model: Arc::default(),
            place: Place::default(),
            facts: Facts::at(Phase::ReadingBody),
            observers: [None, None],
            state: State::Waiting,
        }
    }

    /// Hands over the `started` record.
    pub(super) fn start(&mut self) {
        // The row to be used if no other is ever written. The request may have reached the backend.
        self.facts = Facts {
            usage: self.estimate(0),
            attempts: 1,
            ..Facts::at(Phase::Connecting)
        };
        let row = self.row(Outcome::Interrupted, self.arrival.received);
        let slot = self.books.recorder.started(&row);
        self.facts = Facts::at(Phase::Connecting);
        self.state = State::Started(slot);
    }

    /// Ready once the `started` record is written, or cannot be.
    pub(super) fn poll_started(&self, task: &mut Context<'_>) -> Poll<Result<(), JournalFull>> {
        match &self.state {
            State::Started(slot) => slot.poll_written(task),
            State::Waiting | State::Closed(_) => Poll::Ready(Ok(())),
        }
    }

    /// The request goes on without its client.
    pub(super) fn has_left(&self) -> bool {
        self.arrival.outlasting.has_left()
    }

    pub(super) const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed(_))
    }

    /// Hands over the row. A second call does nothing.
    pub(super) fn close(&mut self, outcome: Outcome) {
        let slot = match std::mem::replace(&mut self.state, State::Closed(None)) {
            State::Waiting => None,
            State::Started(slot) => Some(slot),
            closed @ State::Closed(_) => {
                self.state = closed;
                return;
            }
        };
        let outcome = match outcome {
            Outcome::Interrupted => outcome,
            _ if self.has_left() => Outcome::ClientClosed,
            _ => outcome,
        };
        self.charge(outcome);
        let now = self.books.clock.now();
        if let Some(since) = self.facts.waits_since.take() {
            self.facts.queued += now.saturating_duration_since(since);
        }
        let row = self.row(outcome, now);
        match &slot {
            Some(slot) => slot.finished(&row),
            None => self.books.recorder.rejected(&row),
        }
        self.books.witness.closed(&row);
        for observer in self.observers.iter().chain([&self.books.access]).flatten() {
            observer.closed(&row);
        }
        self.state = State::Closed(slot);
    }

    /// Ready once the row is written, or after the longest wait for it. Also ready before the row is handed over.
    pub(super) fn poll_settled(&mut self, task: &mut Context<'_>) -> Poll<()> {
        if let State::Closed(Some(slot)) = &self.state {
            // In either case the recorder keeps the row.
            let _ = ready!(slot.poll_written(task));
            self.state = State::Closed(None);
        }
        Poll::Ready(())
    }

    /// A backend that has begun to receive a request works on the prompt, whoever gives up later. The prompt is free
    /// only if the backend itself failed.
    fn charge(&mut self, outcome: Outcome) {
        use Phase::{Connecting, Queued, ReadingBody};
        let is_unsent = matches!(self.facts.phase, ReadingBody | Queued | Connecting);
        let is_untold = self.facts.usage.source == UsageSource::None;
        let gives_up = matches!(
            outcome,
            Outcome::ClientClosed | Outcome::UpstreamTimeout | Outcome::Interrupted
        );
        if gives_up && is_untold && !is_unsent {
            self.facts.usage = self.estimate(0);
        }
    }

    /// Closes a request that nobody finished.
    pub(super) fn abandon(&mut self) {
        let is_set = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        let dismissed = is_set(&self.books.dismissed);
        if dismissed && self.facts.error_code.is_empty() {
            self.facts.error_code = "account_disabled".into();
        }
        let given_up = dismissed || is_set(&self.books.shutting_down);
        self.close(Outcome::unfinished(given_up));
    }

    /// Usage if the backend reported none: the estimated prompt, and the counted part of the answer.
    pub(super) fn estimate(&self, completion_tokens: u64) -> Usage {
        let Some(prompt_tokens) = self.prompt_estimate else {
            return Usage::default();
        };
        Usage {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens.saturating_add(completion_tokens),
            source: UsageSource::Estimated,
            ..Usage::default()
        }
    }

    /// The row as it is at `now`.
    fn row(&self, outcome: Outcome, now: Instant) -> LedgerRow<'_> {
        let (arrival, who) = (&self.arrival, &*self.arrival.identity);
        let (place, facts, usage) = (&self.place, &self.facts, &self.facts.usage);
        let duration = now.saturating_duration_since(arrival.received);
        let duration_micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        LedgerRow {
            request_id: arrival.request_id,
            client_request_id: Cow::Borrowed(arrival.client_request_id.as_deref().unwrap_or("")),
            started_at: arrival.received_unix_micros,
            finished_at: arrival.received_unix_micros.saturating_add(duration_micros),
            user_id: Cow::Borrowed(&who.user_id),
            username: Cow::Borrowed(&who.username),
            name: Cow::Borrowed(&who.name),
            auth_service: Cow::Borrowed(&who.auth_service),
            idp: Cow::Borrowed(&who.idp_id),
            domain: Cow::Borrowed(who.domain.as_deref().unwrap_or("")),
            group_id: Cow::Borrowed(&place.group_id),
            key_id: Cow::Borrowed(who.key_id.as_deref().unwrap_or("")),
            project: Cow::Borrowed(&who.project),
            cluster: Cow::Borrowed(&place.cluster),
            framework: Cow::Borrowed(&place.framework),
            model: Cow::Borrowed(&self.model),
            endpoint_slug: Cow::Borrowed(&place.endpoint_slug),
            api: Cow::Borrowed(&arrival.api),
            stream: self.stream,
            http_status: match arrival.head_sent.is_set() {
                true => 200,
                false => facts.http_status,
            },
            outcome,
            phase: match self.has_left() {
                // Before the head, nobody can tell in which phase it is.
                true => facts.left_in.unwrap_or(Phase::WaitingHeaders),
                false => facts.phase,
            },
            error_code: Cow::Borrowed(&facts.error_code),
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.total_tokens,
            cached_tokens: usage.cached_tokens,
            reasoning_tokens: usage.reasoning_tokens,
            usage_source: usage.source,
            ttft_ms: facts.first_byte.map(|at| millis(at - arrival.received)),
            duration_ms: millis(duration),
            queue_ms: millis(facts.queued),
            request_bytes: self.request_bytes,
            response_bytes: facts.response_bytes,
            upstream_status: facts.upstream_status,
            attempts: facts.attempts,
            origin_ip: Cow::Owned(ip_text(arrival.origin_ip)),
            class: self.class,
            location: place.location,
            served_model: Cow::Borrowed(&place.served_model),
            reported_user: Cow::Borrowed(match who.reported_name() {
                name if name == &*who.username => "",
                name => name,
            }),
            count: 1,
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.abandon();
    }
}
