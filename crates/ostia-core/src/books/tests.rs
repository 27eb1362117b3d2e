use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use super::{Arrival, Books, JournalFull, Observer, Opening, Place, Receipt, Recorder, Slot};
use crate::{Clock, LedgerRow, ManualClock, Outcome, Phase, RequestId, Usage, UsageSource};

/// A recorded row: its kind, and the columns that these tests check.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Written(&'static str, Outcome, Phase, u16, u64, u32);

/// Records rows. Tests decide whether they are written yet, and whether the journal is full.
#[derive(Default)]
struct Page {
    written: Mutex<Vec<Written>>,
    /// The last row's `queue_ms`, and its usage.
    queued: Mutex<(u64, UsageSource)>,
    waits: AtomicBool,
    full: AtomicBool,
}

impl Page {
    fn note(&self, kind: &'static str, row: &LedgerRow<'_>) {
        *self.queued.lock() = (row.queue_ms, row.usage_source);
        self.written.lock().push(Written(
            kind,
            row.outcome,
            row.phase,
            row.http_status,
            row.total_tokens,
            row.attempts,
        ));
    }
}

#[derive(Clone, Default)]
struct Book(Arc<Page>);

impl Recorder for Book {
    fn started(&self, row: &LedgerRow<'_>) -> Box<dyn Slot> {
        self.0.note("started", row);
        Box::new(self.clone())
    }

    fn rejected(&self, row: &LedgerRow<'_>) {
        self.0.note("rejected", row);
    }
}

impl Slot for Book {
    fn finished(&self, row: &LedgerRow<'_>) {
        self.0.note("finished", row);
    }

    fn poll_written(&self, _: &mut Context<'_>) -> Poll<Result<(), JournalFull>> {
        let Page { waits, full, .. } = &*self.0;
        match (waits.load(Ordering::Relaxed), full.load(Ordering::Relaxed)) {
            (true, _) => Poll::Pending,
            (false, true) => Poll::Ready(Err(JournalFull)),
            (false, false) => Poll::Ready(Ok(())),
        }
    }
}

fn now<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn open(rig: &Rig, place: Place, endpoint: &'static str) -> Receipt {
    match now(rig.begin().open(place, rig.observer(endpoint))) {
        Poll::Ready(Ok(receipt)) => receipt,
        _ => panic!("not opened"),
    }
}

/// Notes its name and the endpoint each time it is told.
struct Told(Arc<Mutex<Vec<String>>>, &'static str);

impl Observer for Told {
    fn closed(&self, row: &LedgerRow<'_>) {
        let text = format!("{} {} {}", self.1, row.endpoint_slug, row.group_id);
        self.0.lock().push(text);
    }
}

struct Nobody;

impl Observer for Nobody {
    fn closed(&self, _: &LedgerRow<'_>) {}
}

struct Rig {
    book: Book,
    clock: Arc<ManualClock>,
    shutting_down: Arc<AtomicBool>,
    told: Arc<Mutex<Vec<String>>>,
}

impl Rig {
    fn new() -> Self {
        Self {
            book: Book::default(),
            clock: Arc::new(ManualClock::at(0)),
            shutting_down: Arc::default(),
            told: Arc::default(),
        }
    }

    fn begin(&self) -> Opening {
        let books = Books {
            recorder: Arc::new(self.book.clone()),
            witness: Arc::new(Nobody),
            access: None,
            trace: None,
            clock: self.clock.clone(),
            shutting_down: self.shutting_down.clone(),
            dismissed: Arc::default(),
        };
        let arrival = Arrival {
            api: "chat/completions".into(),
            ..Arrival::new(RequestId::at(0), self.clock.now(), 0)
        };
        let mut opening = Opening::begin(books, arrival);
        self.clock.advance(Duration::from_secs(1));
        opening.read(true, 300, Some(40));
        opening
    }

    fn observer(&self, name: &'static str) -> Arc<dyn Observer> {
        Arc::new(Told(self.told.clone(), name))
    }

    fn written(&self) -> Vec<Written> {
        self.book.0.written.lock().clone()
    }
}

fn place(slug: &str, group: &str) -> Place {
    Place {
        endpoint_slug: slug.into(),
        group_id: group.into(),
        ..Place::default()
    }
}

const STARTED: Written = Written(
    "started",
    Outcome::Interrupted,
    Phase::Connecting,
    499,
    40,
    1,
);

#[test]
fn a_request_that_reached_no_backend_leaves_one_row() {
    let rig = Rig::new();
    rig.begin().refused(Outcome::Rejected, 429, "tokens".into());
    drop(rig.begin());
    rig.shutting_down.store(true, Ordering::Relaxed);
    drop(rig.begin());
    let row = |outcome, status| Written("rejected", outcome, Phase::Queued, status, 0, 0);
    let expected = [
        row(Outcome::Rejected, 429),
        row(Outcome::ClientClosed, 499),
        row(Outcome::Interrupted, 499),
    ];
    assert_eq!(rig.written(), expected);
    assert_eq!(*rig.told.lock(), [""; 0], "no endpoint had to do with it");
}

#[test]
fn the_time_in_the_queue_is_in_the_row_however_it_ends() {
    let rig = Rig::new();
    let waits = || {
        let mut opening = rig.begin();
        opening.waits();
        rig.clock.advance(Duration::from_secs(3));
        opening
    };
    let queued = || rig.book.0.queued.lock().0;
    drop(waits());
    assert_eq!(queued(), 3_000, "the client left");
    let mut refused = waits();
    refused.waited(Duration::from_millis(2_990));
    refused.refused(Outcome::Rejected, 503, "queue_full".into());
    assert_eq!(queued(), 2_990);
    let mut admitted = waits();
    admitted.waited(Duration::from_millis(2_990));
    let opened = now(admitted.open(Place::default(), rig.observer("one")));
    let Poll::Ready(Ok(mut receipt)) = opened else {
        panic!("not opened");
    };
    assert_eq!(receipt.own_time(), Duration::from_millis(10));
    receipt.waits();
    rig.clock.advance(Duration::from_secs(1));
    receipt.waited(Duration::from_secs(1));
    receipt.waits();
    rig.clock.advance(Duration::from_secs(1));
    drop(receipt);
    assert_eq!(queued(), 4_990, "it waited for a backend, twice");
}

#[test]
fn a_request_that_is_billed_to_its_end_outlasts_its_client() {
    let rig = Rig::new();
    let billed = Place {
        bills_to_end: true,
        ..Place::default()
    };
    let mut receipt = open(&rig, billed, "one");
    assert!(!receipt.leave(), "nothing was sent");
    receipt.sending().reached(Phase::WaitingHeaders);
    receipt.told(200);
    receipt.relayed(Phase::Streaming, 70, receipt.estimate(1));
    assert!(receipt.leave());
    let usage = Usage {
        total_tokens: 90,
        source: UsageSource::Upstream,
        ..Usage::default()
    };
    receipt.relayed(Phase::Done, 4_000, usage);
    receipt.close(Outcome::Ok);
    let (outcome, phase) = (Outcome::ClientClosed, Phase::Streaming);
    let expected = Written("finished", outcome, phase, 200, 90, 1);
    assert_eq!(rig.written(), [STARTED, expected]);
    assert_eq!(rig.book.0.queued.lock().1, UsageSource::Upstream);
    // The endpoint that it moves on to does not bill to the end.
    let mut receipt = open(&rig, place("two", ""), "two");
    receipt.sending().reached(Phase::WaitingHeaders);
    assert!(!receipt.leave());
}

#[test]
fn a_full_journal_lets_nobody_in_and_gets_the_row_of_the_refusal() {
    let rig = Rig::new();
    rig.book.0.full.store(true, Ordering::Relaxed);
    let opening = now(rig.begin().open(Place::default(), rig.observer("one")));
    let Poll::Ready(Err(opening)) = opening else {
        panic!("let in");
    };
    opening.refused(Outcome::Rejected, 503, "store_unavailable".into());
    let refused = Written("finished", Outcome::Rejected, Phase::Connecting, 503, 0, 0);
    assert_eq!(rig.written(), [STARTED, refused]);
    assert_eq!(*rig.told.lock(), [""; 0], "no endpoint had to do with it");
}

#[test]
fn who_leaves_while_the_first_record_is_written_leaves_one_row() {
    let rig = Rig::new();
    rig.book.0.waits.store(true, Ordering::Relaxed);
    let opening = rig.begin().open(Place::default(), rig.observer("one"));
    assert!(now(opening).is_pending());
    let gone = Written(
        "finished",
        Outcome::ClientClosed,
        Phase::Connecting,
        499,
        0,
        0,
    );
    assert_eq!(rig.written(), [STARTED, gone]);
}

#[test]
fn a_receipt_is_settled_when_its_row_is_written() {
    let rig = Rig::new();
    let mut receipt = open(&rig, Place::default(), "one");
    rig.book.0.waits.store(true, Ordering::Relaxed);
    assert!(now(receipt.settled()).is_ready(), "still open");
    receipt.close(Outcome::Ok);
    assert!(now(receipt.settled()).is_pending());
    rig.book.0.waits.store(false, Ordering::Relaxed);
    rig.book.0.full.store(true, Ordering::Relaxed);
    assert!(now(receipt.settled()).is_ready(), "the recorder keeps it");
    rig.book.0.waits.store(true, Ordering::Relaxed);
    assert!(now(receipt.settled()).is_ready(), "once and for all");
}

/// The final row of a request that ended in `phase` with this outcome.
fn ended(prompt: Option<u64>, phase: Phase, outcome: Option<Outcome>) -> Written {
    let rig = Rig::new();
    let mut opening = rig.begin();
    opening.read(true, 300, prompt);
    let opened = now(opening.open(Place::default(), rig.observer("one")));
    let Poll::Ready(Ok(mut receipt)) = opened else {
        panic!("not opened");
    };
    receipt.connecting();
    if phase != Phase::Connecting {
        receipt.sending().reached(phase);
    }
    if let Some(outcome) = outcome {
        receipt.close(outcome);
    }
    drop(receipt);
    rig.written().pop().unwrap()
}

#[test]
fn from_the_first_byte_sent_whoever_gives_up_pays_for_the_prompt() {
    use Outcome::{ClientClosed, Interrupted, Ok, UpstreamError, UpstreamTimeout};
    use Phase::{Connecting, WaitingHeaders};
    let row = |outcome, phase, tokens, attempts| {
        Written("finished", outcome, phase, 499, tokens, attempts)
    };
    for (phase, outcome, tokens) in [
        (WaitingHeaders, ClientClosed, 40),
        (WaitingHeaders, UpstreamTimeout, 40),
        (WaitingHeaders, Interrupted, 40),
        (WaitingHeaders, UpstreamError, 0),
        (WaitingHeaders, Ok, 0),
        (Connecting, ClientClosed, 0),
        (Connecting, UpstreamTimeout, 0),
    ] {
        let attempts = u32::from(phase == WaitingHeaders);
        let expected = row(outcome, phase, tokens, attempts);
        assert_eq!(ended(Some(40), phase, Some(outcome)), expected);
    }
    assert_eq!(
        ended(Some(40), WaitingHeaders, None),
        row(ClientClosed, WaitingHeaders, 40, 1)
    );
    // No model runs for it.
    assert_eq!(
        ended(None, WaitingHeaders, None),
        row(ClientClosed, WaitingHeaders, 0, 1)
    );
}

#[test]
fn the_final_record_is_written_once_and_told_where_it_ended() {
    let rig = Rig::new();
    let mut receipt = open(&rig, place("one", "g1"), "first");
    receipt.tell(Some(rig.observer("witness")));
    receipt.sending().sent(1);
    receipt.moved_to(place("two", "g2"), rig.observer("second"));
    let mut sending = receipt.sending();
    sending.reached(Phase::WaitingHeaders);
    sending.reached(Phase::WaitingHeaders);
    sending.sent(2);
    assert_eq!(receipt.phase(), Phase::WaitingHeaders);
    receipt.answered(200);
    receipt.told(200);
    let usage = Usage {
        total_tokens: 90,
        source: UsageSource::Upstream,
        ..Usage::default()
    };
    receipt.relayed(Phase::Done, 4_000, usage);
    receipt.close(Outcome::Ok);
    assert!(receipt.is_closed());
    receipt.close(Outcome::Interrupted);
    drop(receipt);
    let expected = Written("finished", Outcome::Ok, Phase::Done, 200, 90, 3);
    assert_eq!(rig.written(), [STARTED, expected]);
    assert_eq!(*rig.told.lock(), ["second two g2", "witness two g2"]);
}
