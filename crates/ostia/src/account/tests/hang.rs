//! A disk that does not answer: waits and memory are bounded, and nothing is lost except by a SIGKILL meanwhile.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::join_all;
use ostia_core::{JournalFull, LedgerRow, Outcome, Recorder, Slot};

use super::super::Ledger;
use super::super::queue::PATIENCE;
use super::crash::copy;
use super::disk::{Call, Hang};
use super::{Rig, answered, finish, flushed, refusal, row, small, start, written};

/// The test controls the clock of the waits.
fn rig() -> (Rig, Arc<Ledger>) {
    let rig = Rig::new();
    let ledger = rig.open(small());
    (rig, ledger)
}

/// From here on the disk hangs, while it writes a record.
fn hang(rig: &Rig, ledger: &Ledger) -> (Hang, Box<dyn Slot>, LedgerRow<'static>) {
    let hang = rig.disk.hang(Call::Write);
    let stuck = row("stuck", 1);
    let slot = ledger.started(&stuck);
    rig.disk.reached(Call::Write);
    (hang, slot, stuck)
}

fn poll(slot: &dyn Slot) -> Poll<Result<(), JournalFull>> {
    slot.poll_written(&mut Context::from_waker(Waker::noop()))
}

/// Advances the clock, and waits until the waits were checked.
fn pass(rig: &Rig, ledger: &Ledger, time: Duration) {
    rig.clock.advance(time);
    ledger.journal().watch_disk();
}

/// Waking the writer costs more than a record does.
#[tokio::test]
async fn records_of_one_moment_are_written_together() {
    let (rig, ledger) = rig();
    let requests = join_all((0..10).map(async |_| {
        let row = row("ann", 1);
        let slot = ledger.started(&row);
        let started = poll_fn(|task| slot.poll_written(task)).await;
        slot.finished(&answered(&row, 1));
        (started, poll_fn(|task| slot.poll_written(task)).await)
    }));
    assert_eq!(requests.await, [(Ok(()), Ok(())); 10]);
    assert_eq!(rig.disk.writes(), 2);
    flushed(&ledger).await;
    assert_eq!(rig.store.len(), 10);
}

/// The row of a request that the journal did not take.
fn unavailable<'a>(row: &LedgerRow<'a>) -> LedgerRow<'a> {
    LedgerRow {
        outcome: Outcome::Rejected,
        ..row.clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn requests_are_refused_after_two_seconds_and_leave_one_row_each() {
    let (rig, ledger) = rig();
    let (hang, in_hand, first) = hang(&rig, &ledger);
    let second = row("ann", 1);
    let waiting = ledger.started(&second);
    pass(&rig, &ledger, PATIENCE - Duration::from_micros(1));
    assert_eq!(
        (poll(&*in_hand), poll(&*waiting)),
        (Poll::Pending, Poll::Pending)
    );
    assert!(ledger.stats().waiting_bytes > 0);
    pass(&rig, &ledger, Duration::from_micros(1));
    for slot in [&in_hand, &waiting] {
        assert_eq!(poll(&**slot), Poll::Ready(Err(JournalFull)));
    }
    assert_eq!(ledger.stats().refused_started, 2);
    in_hand.finished(&unavailable(&first));
    waiting.finished(&unavailable(&second));
    drop((in_hand, waiting));
    assert_eq!(ledger.stats().open_receipts, 0);

    drop(hang);
    flushed(&ledger).await;
    let expected = [first, second].map(|row| (row.request_id, Outcome::Rejected));
    assert_eq!(rig.store.outcomes(), expected.into());
    assert_eq!(ledger.stats().waiting_bytes, 0);
    assert_eq!(ledger.stats().refused_started, 2);
    let next = row("ann", 1);
    finish(&*start(&ledger, &next), &answered(&next, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_disk_that_answers_in_time_refuses_nobody() {
    let (rig, ledger) = rig();
    let (hang, in_hand, first) = hang(&rig, &ledger);
    let second = row("ann", 1);
    let waiting = ledger.started(&second);
    pass(&rig, &ledger, PATIENCE - Duration::from_micros(1));
    drop(hang);
    for (slot, row) in [(in_hand, first), (waiting, second)] {
        assert_eq!(written(&*slot), Ok(()));
        finish(&*slot, &answered(&row, 3));
    }
    flushed(&ledger).await;
    assert_eq!(rig.store.len(), 2);
    assert_eq!(ledger.stats().refused_started, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn final_records_wait_in_memory_and_their_answers_no_longer_than_two_seconds() {
    let (rig, ledger) = rig();
    let rows = ["ann", "bob", "cid"].map(|user| row(user, 1));
    let slots = [0, 1, 2].map(|n| start(&ledger, &rows[n]));
    let (hang, in_hand, _) = hang(&rig, &ledger);
    slots[0].finished(&answered(&rows[0], 10));
    pass(&rig, &ledger, PATIENCE - Duration::from_micros(1));
    assert_eq!(poll(&*slots[0]), Poll::Pending);
    slots[1].finished(&answered(&rows[1], 11));
    pass(&rig, &ledger, Duration::from_micros(1));
    assert_eq!(poll(&*slots[0]), Poll::Ready(Ok(())));
    assert_eq!(
        poll(&*slots[1]),
        Poll::Pending,
        "it has waited for a moment"
    );
    slots[2].finished(&answered(&rows[2], 12));
    assert_eq!(
        poll(&*slots[2]),
        Poll::Ready(Ok(())),
        "the disk is known to hang"
    );
    drop((slots, in_hand));
    assert_eq!(ledger.stats().open_receipts, 0);

    // A SIGKILL now: the answers were sent, but the rows say interrupted.
    let copied = copy(rig.folder.path());
    let store = Arc::new(rig.store.fork());
    let again = Ledger::open(copied.path(), small(), store.clone(), rig.clock.clone()).unwrap();
    flushed(&again).await;
    let interrupted = rows
        .each_ref()
        .map(|row| (row.request_id, Outcome::Interrupted));
    assert_eq!(store.outcomes(), interrupted.into());

    drop(hang);
    flushed(&ledger).await;
    let tokens = rows
        .each_ref()
        .map(|row| rig.store.row(row.request_id).unwrap().tokens);
    assert_eq!(tokens, [10, 11, 12]);
}

/// The client hangs up while its request waits for the disk: the request reached no backend.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_leaves_while_the_disk_hangs_leaves_one_row() {
    let (rig, ledger) = rig();
    let (hang, in_hand, first) = hang(&rig, &ledger);
    let [second, third] = [row("ann", 1), row("bob", 1)];
    let gone = |row: &LedgerRow<'static>| LedgerRow {
        outcome: Outcome::ClientClosed,
        ..row.clone()
    };
    let waiting = ledger.started(&second);
    in_hand.finished(&gone(&first));
    waiting.finished(&gone(&second));
    drop((in_hand, waiting));
    // Without a record there is nothing to abandon.
    drop(ledger.started(&third));
    drop(hang);
    flushed(&ledger).await;
    let expected = [first, second].map(|row| (row.request_id, Outcome::ClientClosed));
    assert_eq!(rig.store.outcomes(), expected.into());
    assert_eq!(ledger.stats().open_receipts, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_waits_is_bounded_and_takes_every_final_record() {
    const MOST: usize = 4 << 20;
    let rig = Rig::new();
    let ledger = rig.open(super::Options {
        segment_bytes: 1 << 20,
        ..small()
    });
    let open: Vec<_> = (0..50)
        .map(|_| {
            let row = row("ann", 1);
            (start(&ledger, &row), row)
        })
        .collect();
    let (hang, in_hand, _) = hang(&rig, &ledger);
    let mut waiting = Vec::new();
    let refused = loop {
        let slot = ledger.started(&row("eve", 1));
        match poll(&*slot) {
            Poll::Pending => waiting.push(slot),
            Poll::Ready(refused) => break refused,
        }
    };
    assert_eq!(refused, Err(JournalFull));
    let full = ledger.stats();
    assert!(
        (MOST..MOST + 1_000).contains(&full.waiting_bytes),
        "{full:?}"
    );
    assert_eq!(full.refused_started, 1);
    ledger.rejected(&refusal("eve", "requests"));
    assert_eq!(ledger.stats().lost_rejected, 1);
    for (slot, row) in &open {
        slot.finished(&answered(row, 2));
    }
    drop((waiting, in_hand));
    drop(hang);
    flushed(&ledger).await;
    assert_eq!(ledger.stats().waiting_bytes, 0);
    let [interrupted, ok] =
        [Outcome::Interrupted, Outcome::Ok].map(|outcome| rig.store.total(outcome));
    assert_eq!(
        (interrupted, ok),
        (1, 50),
        "who left before its turn came is not written"
    );
    for (_, row) in &open {
        assert_eq!(rig.store.row(row.request_id).unwrap().outcome, Outcome::Ok);
    }
}

/// A disk may also take minutes to make a new file. The thread that makes one in advance and the writer both wait for
/// it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_disk_that_makes_no_file_refuses_requests_and_takes_final_records() {
    // More than two files hold.
    const MANY: usize = 50;
    let (rig, ledger) = rig();
    let early = row("ann", 1);
    let slot = start(&ledger, &early);
    let (hang, in_hand, _) = hang(&rig, &ledger);
    let rows: Vec<_> = (0..MANY).map(|_| row("bob", 1)).collect();
    let late: Vec<_> = rows.iter().map(|row| ledger.started(row)).collect();
    let reserving = rig.disk.hang(Call::Reserve);
    drop(hang);
    assert_eq!(written(&*in_hand), Ok(()));
    rig.disk.reached(Call::Reserve);

    pass(&rig, &ledger, PATIENCE);
    for (late, row) in late.iter().zip(&rows) {
        assert_eq!(poll(&**late), Poll::Ready(Err(JournalFull)));
        late.finished(&unavailable(row));
    }
    slot.finished(&answered(&early, 9));
    assert_eq!(poll(&*slot), Poll::Ready(Ok(())));
    drop((late, in_hand));
    drop(reserving);
    flushed(&ledger).await;
    assert_eq!(rig.store.row(early.request_id).unwrap().tokens, 9);
    assert_eq!(rig.store.total(Outcome::Rejected) as usize, MANY);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_waited_together_is_written_together() {
    let (rig, ledger) = rig();
    let (hang, in_hand, _) = hang(&rig, &ledger);
    let slots: Vec<_> = (0..10).map(|_| ledger.started(&row("ann", 1))).collect();
    let before = rig.disk.writes();
    drop(hang);
    for slot in &slots {
        assert_eq!(written(&**slot), Ok(()));
    }
    assert_eq!(
        rig.disk.writes() - before,
        2,
        "the one that hung, and one for all others"
    );
    drop(in_hand);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_flush_says_that_the_disk_did_not_take_everything() {
    let (rig, ledger) = rig();
    let done = row("ann", 1);
    finish(&*start(&ledger, &done), &answered(&done, 1));
    let (hang, in_hand, _) = hang(&rig, &ledger);
    assert!(!ledger.flush(Duration::from_millis(20)).await);
    // Written records are carried to the store meanwhile.
    while rig.store.row(done.request_id).is_none() {
        tokio::task::yield_now().await;
    }
    drop(hang);
    flushed(&ledger).await;
    drop(in_hand);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_was_handed_in_is_written_before_the_ledger_ends() {
    let (rig, ledger) = rig();
    rig.store.set_down(true);
    let rows: Vec<_> = (0..30).map(|_| row("ann", 1)).collect();
    let slots: Vec<_> = rows.iter().map(|row| start(&ledger, row)).collect();
    for (slot, row) in slots.iter().zip(&rows) {
        slot.finished(&answered(row, 4));
    }
    drop(ledger);
    drop(slots);
    rig.store.set_down(false);
    flushed(&rig.open(small())).await;
    assert!(
        rows.iter()
            .all(|row| rig.store.row(row.request_id).unwrap().tokens == 4)
    );
}
