use std::borrow::Cow;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::page::{Page, Place};
use super::{Arrival, Books, Observer, Receipt};
use crate::{Class, Identity, Outcome, Phase};

/// Whether the client was sent the head of an answer early, with status 200, before the outcome was known. The row then
/// says 200, whatever happens later.
#[derive(Debug, Clone, Default)]
pub struct HeadSent(Arc<AtomicBool>);

impl HeadSent {
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether a request goes on when its client leaves; shared by the request and whoever waits for its answer.
#[derive(Debug, Clone, Default)]
pub struct Outlasting(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    /// A backend that bills to the end has begun to receive it.
    is_billed: AtomicBool,
    has_left: AtomicBool,
}

impl Outlasting {
    pub(super) fn set(&self, is_billed: bool) {
        self.0.is_billed.store(is_billed, Ordering::Relaxed);
    }

    /// The client leaves. Returns whether the request goes on.
    pub fn leave(&self) -> bool {
        let goes_on = self.0.is_billed.load(Ordering::Relaxed);
        self.0.has_left.fetch_or(goes_on, Ordering::Relaxed);
        goes_on
    }

    /// The request goes on without its client.
    pub fn has_left(&self) -> bool {
        self.0.has_left.load(Ordering::Relaxed)
    }
}

/// A request that no backend has seen yet. It leaves one row: of its refusal, of a hang-up if it is dropped, or, after
/// `open`, the row of the receipt.
pub struct Opening {
    /// Boxed, because it is handed on many times until its request has ended.
    page: Box<Page>,
    /// When the complete body had been read.
    read: Instant,
}

impl Opening {
    pub fn begin(books: Books, arrival: Arrival) -> Self {
        Self {
            read: arrival.received,
            page: Box::new(Page::new(books, arrival)),
        }
    }

    pub fn identity(&self) -> &Identity {
        &self.page.arrival.identity
    }

    /// Sets how long the request may wait.
    pub fn classed(&mut self, class: Class) {
        self.page.class = class;
    }

    /// The body was read. `prompt_estimate` is the estimated number of prompt tokens, which the row gets if the backend
    /// does not report usage; `None` if no model runs for this request.
    pub fn read(&mut self, stream: bool, request_bytes: u64, prompt_estimate: Option<u64>) {
        self.read = self.page.books.clock.now();
        self.page.facts.phase = Phase::Queued;
        self.page.stream = stream;
        self.page.request_bytes = request_bytes;
        self.page.prompt_estimate = prompt_estimate;
    }

    /// The model exists for this caller. `place` holds what is already known.
    pub fn found(&mut self, model: &Arc<str>, place: Place) {
        self.page.model = Arc::clone(model);
        self.page.place = place;
    }

    /// From now on it waits for its turn.
    pub fn waits(&mut self) {
        self.page.facts.waits_since = Some(self.page.books.clock.now());
    }

    /// It has waited, for this long.
    pub fn waited(&mut self, time: Duration) {
        self.page.facts.waits_since = None;
        self.page.facts.queued = time;
    }

    /// Writes the row of a refusal.
    pub fn refused(mut self, outcome: Outcome, status: u16, code: Cow<'static, str>) {
        self.page.facts.http_status = status;
        self.page.facts.error_code = code;
        self.page.close(outcome);
    }

    /// Hands over the `started` record and waits until it is written. After that the request may be sent to the backend at
    /// `place`.
    ///
    /// # Errors
    ///
    /// The journal is full or its disk does not answer. The opening is returned, so that the caller's refusal can be recorded.
    pub async fn open(
        mut self,
        place: Place,
        endpoint: Arc<dyn Observer>,
    ) -> Result<Receipt, Self> {
        self.page.place = place;
        let queued = self.page.facts.queued;
        self.page.start();
        self.page.facts.queued = queued;
        if poll_fn(|task| self.page.poll_started(task)).await.is_err() {
            return Err(self);
        }
        let now = self.page.books.clock.now();
        let own_time = now
            .saturating_duration_since(self.read)
            .saturating_sub(queued);
        Ok(Receipt::of(self.page, endpoint, own_time))
    }
}
