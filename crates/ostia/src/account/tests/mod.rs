mod crash;
mod disk;
mod full;
mod hang;
mod machine;
mod recover;
mod store;
mod upgrade;

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::Duration;

use ostia_core::{
    JournalFull, LedgerRow, ManualClock, Outcome, Phase, Recorder, RequestId, Slot, UsageSource,
};
use tempfile::TempDir;

use self::disk::{Call, TestDisk};
use self::store::MemoryStore;
use super::segment::Segment;
use super::{Ledger, LedgerError, Options, Stats};

pub(super) const NOON: i64 = 1_795_435_200_000_000;
/// Long enough for a busy machine; reached only if something is wrong.
const LIMIT: Duration = Duration::from_secs(60);

/// A row as `started` writes it.
pub(super) fn row(user: &str, tokens: u64) -> LedgerRow<'_> {
    LedgerRow {
        request_id: RequestId::at(NOON),
        started_at: NOON,
        finished_at: NOON,
        user_id: Cow::Borrowed(user),
        username: Cow::Owned(format!("{user}@lab.org")),
        name: Cow::Borrowed("Some One"),
        auth_service: Cow::Borrowed("api_key"),
        idp: Cow::Borrowed("lab.org"),
        domain: Cow::Borrowed("lab.org"),
        key_id: Cow::Borrowed("k1"),
        cluster: Cow::Borrowed("sophia"),
        framework: Cow::Borrowed("vllm"),
        model: Cow::Borrowed("m"),
        endpoint_slug: Cow::Borrowed("sophia-vllm-m"),
        api: Cow::Borrowed("chat/completions"),
        stream: true,
        http_status: 499,
        outcome: Outcome::Interrupted,
        phase: Phase::Connecting,
        prompt_tokens: tokens,
        total_tokens: tokens,
        usage_source: UsageSource::Estimated,
        request_bytes: 300,
        origin_ip: Cow::Borrowed("192.0.2.7"),
        count: 1,
        ..LedgerRow::default()
    }
}

/// The same row with a complete answer of `tokens`.
pub(super) fn answered<'a>(row: &LedgerRow<'a>, tokens: u64) -> LedgerRow<'a> {
    LedgerRow {
        finished_at: row.started_at + 2_000_000,
        duration_ms: 2_000,
        outcome: Outcome::Ok,
        phase: Phase::Done,
        http_status: 200,
        upstream_status: 200,
        attempts: 1,
        total_tokens: tokens,
        usage_source: UsageSource::Upstream,
        ..row.clone()
    }
}

/// A refusal of `user`.
fn refusal<'a>(user: &'a str, error_code: &'a str) -> LedgerRow<'a> {
    LedgerRow {
        outcome: Outcome::Rejected,
        http_status: 429,
        error_code: Cow::Borrowed(error_code),
        usage_source: UsageSource::None,
        ..row(user, 0)
    }
}

fn small() -> Options {
    Options {
        segment_bytes: 32 << 10,
        max_segments: 4,
        poll: Duration::from_millis(1),
        fsync: None,
        ..Options::default()
    }
}

struct Rig {
    folder: TempDir,
    disk: Arc<TestDisk>,
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
}

impl Rig {
    fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            disk: Arc::default(),
            store: Arc::default(),
            clock: Arc::new(ManualClock::at(NOON + 60_000_000)),
        }
    }

    fn open(&self, options: Options) -> Arc<Ledger> {
        self.open_at(self.folder.path(), options).unwrap()
    }

    fn open_at(&self, folder: &Path, options: Options) -> Result<Arc<Ledger>, LedgerError> {
        let options = Options {
            disk: Arc::clone(&self.disk) as _,
            ..options
        };
        Ledger::open(folder, options, self.store.clone(), self.clock.clone())
    }
}

/// Waits until the record that was handed over last is on disk.
fn written(slot: &dyn Slot) -> Result<(), JournalFull> {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Arc::new(Unpark(thread::current())).into();
    loop {
        match slot.poll_written(&mut Context::from_waker(&waker)) {
            Poll::Ready(written) => return written,
            Poll::Pending => thread::park(),
        }
    }
}

fn start(ledger: &Ledger, row: &LedgerRow<'_>) -> Box<dyn Slot> {
    let slot = ledger.started(row);
    assert_eq!(written(&*slot), Ok(()));
    slot
}

fn finish(slot: &dyn Slot, row: &LedgerRow<'_>) {
    slot.finished(row);
    assert_eq!(written(slot), Ok(()));
}

/// A request from its beginning to its end.
fn serve(ledger: &Ledger, row: &LedgerRow<'_>, end: &LedgerRow<'_>) {
    finish(&*start(ledger, row), end);
}

async fn flushed(ledger: &Ledger) {
    assert!(ledger.flush(LIMIT).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_row_arrives() {
    let rig = Rig::new();
    let ledger = rig.open(small());
    let (first, second) = (row("ann", 5), row("bob", 7));
    let slot = start(&ledger, &first);
    let other = start(&ledger, &second);
    ledger.rejected(&refusal("cid", "requests"));
    flushed(&ledger).await;
    assert_eq!(rig.store.len(), 1, "a started record is no row");
    assert_eq!(ledger.stats().open_receipts, 2);

    slot.finished(&answered(&first, 90));
    slot.finished(&answered(&first, 91));
    let mut moved = answered(&second, 30);
    moved.endpoint_slug = Cow::Borrowed("polaris-vllm-m");
    other.finished(&moved);
    drop((slot, other));
    flushed(&ledger).await;
    assert_eq!(rig.store.len(), 3);
    let kept = rig.store.row(first.request_id).unwrap();
    assert_eq!(
        (kept.outcome, kept.tokens),
        (Outcome::Ok, 90),
        "the first final record counts"
    );
    let kept = rig.store.row(second.request_id).unwrap();
    assert_eq!((&*kept.slug, kept.tokens), ("polaris-vllm-m", 30));
    let stats = ledger.stats();
    assert_eq!(
        stats,
        Stats {
            segments: 2,
            // One of them was turned away.
            unsent: Outcome::ALL
                .iter()
                .map(|one| u64::from(*one == Outcome::Rejected))
                .collect::<Vec<_>>()
                .try_into()
                .unwrap(),
            ..Stats::default()
        }
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_slot_that_is_dropped_is_an_interrupted_row() {
    let rig = Rig::new();
    let ledger = rig.open(small());
    let lost = row("ann", 5);
    drop(start(&ledger, &lost));
    flushed(&ledger).await;
    let kept = rig.store.row(lost.request_id).unwrap();
    assert_eq!((kept.outcome, kept.tokens), (Outcome::Interrupted, 5));
    assert_eq!(
        (kept.finished_at, kept.duration_ms),
        (NOON + 60_000_000, 60_000)
    );
    assert_eq!(ledger.stats().open_receipts, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn refusals_beyond_ten_a_second_become_one_row() {
    let rig = Rig::new();
    let ledger = rig.open(small());
    let refuse = |user: &str, code: &str, times: u32| {
        (0..times).for_each(|_| ledger.rejected(&refusal(user, code)));
    };
    refuse("ann", "requests", 25);
    refuse("ann", "tokens", 10);
    refuse("bob", "requests", 11);
    rig.clock.advance(Duration::from_secs(1));
    refuse("ann", "requests", 12);
    flushed(&ledger).await;

    let counts = |user: &str, code: &str| {
        let mut counts = rig.store.counts(user, code);
        counts.sort_unstable();
        counts
    };
    let ones = |n: usize, folded: &[u32]| [vec![1; n], folded.to_vec()].concat();
    assert_eq!(counts("ann", "requests"), ones(20, &[2, 15]));
    assert_eq!(counts("ann", "tokens"), ones(10, &[]));
    assert_eq!(
        counts("bob", "requests"),
        ones(11, &[]),
        "one folded refusal counts one"
    );
    assert_eq!(ledger.stats().folded, 18);
    assert_eq!(ledger.stats().lost_rejected, 0);
}

/// Neither a caller who hung up nor one who was cut off has an error code.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn rows_of_different_outcomes_are_not_folded_together() {
    let rig = Rig::new();
    let ledger = rig.open(small());
    let outcomes = [Outcome::ClientClosed, Outcome::Interrupted];
    for outcome in outcomes.into_iter().cycle().take(24) {
        ledger.rejected(&LedgerRow {
            outcome,
            ..refusal("ann", "")
        });
    }
    flushed(&ledger).await;
    for outcome in outcomes {
        assert_eq!(rig.store.total(outcome), 12);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn many_threads_lose_nothing() {
    const THREADS: u64 = 8;
    const EACH: u64 = 400;
    let rig = Rig::new();
    // Small segments, so that rotation happens all the time while the writer gives room back.
    let ledger = rig.open(Options {
        max_segments: 10_000,
        ..small()
    });
    let work = |thread: u64| {
        let mut tokens = HashMap::new();
        let mut waiting: Option<(Box<dyn Slot>, LedgerRow<'static>)> = None;
        for n in 0..EACH {
            let row = row("ann", 1);
            let slot = start(&ledger, &row);
            tokens.insert(row.request_id, thread * EACH + n);
            // Each ends after the next began.
            if let Some((slot, before)) = waiting.replace((slot, row)) {
                slot.finished(&answered(&before, tokens[&before.request_id]));
            }
        }
        let (slot, last) = waiting.unwrap();
        slot.finished(&answered(&last, tokens[&last.request_id]));
        tokens
    };
    let expected: HashMap<_, _> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || work(n))).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    flushed(&ledger).await;
    assert_eq!(rig.store.tokens(), expected);
    assert_eq!(ledger.stats().open_receipts, 0);
    assert!(
        ledger.stats().segments <= 3,
        "finished segments are deleted"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn synced_segments_hold_the_same_rows() {
    let rig = Rig::new();
    let ledger = rig.open(Options {
        fsync: Some(Duration::ZERO),
        ..small()
    });
    let row = row("ann", 5);
    serve(&ledger, &row, &answered(&row, 9));
    flushed(&ledger).await;
    assert_eq!(rig.store.tokens(), HashMap::from([(row.request_id, 9)]));
}

/// What a disk failed to sync once does not count as synced.
#[test]
fn a_sync_that_failed_is_tried_again() {
    let rig = Rig::new();
    let create = |name| {
        let disk = Arc::clone(&rig.disk) as _;
        Segment::create(&rig.folder.path().join(name), 0, &disk).unwrap()
    };
    let segment = create("1.seg");
    segment.sync().unwrap();
    segment.sync().unwrap();
    let segment = create("2.seg");
    rig.disk.set_full(true);
    for _ in 0..3 {
        assert!(segment.sync().is_err());
    }
}

/// Files and folded rows go on while a sync takes long.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_sync_that_hangs_stops_nothing_else() {
    let rig = Rig::new();
    let ledger = rig.open(Options {
        fsync: Some(Duration::ZERO),
        ..small()
    });
    let _hang = rig.disk.hang(Call::Sync);
    ledger.rejected(&refusal("bob", "requests"));
    rig.disk.reached(Call::Sync);
    for _ in 0..12 {
        ledger.rejected(&refusal("ann", "requests"));
    }
    rig.clock.advance(Duration::from_secs(1));
    while rig.store.counts("ann", "requests").len() < 11 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
