//! A full or failing disk, and a store that is away: new requests are refused, final records never are.

use std::borrow::Cow;

use ostia_core::{JournalFull, LedgerRow, Outcome, Phase, Recorder};

use super::super::disk::LEAST_BYTES;
use super::{Rig, answered, flushed, refusal, row, serve, small, start, written};

/// The largest final record: another endpoint, an error, numbers at their widest, and texts that should not have changed.
fn largest<'a>(row: &LedgerRow<'a>) -> LedgerRow<'a> {
    let long = || Cow::Owned("\u{1f600}".repeat(5_000));
    LedgerRow {
        cluster: long(),
        framework: long(),
        endpoint_slug: long(),
        error_code: long(),
        user_id: long(),
        username: long(),
        name: long(),
        model: long(),
        client_request_id: long(),
        http_status: u16::MAX,
        upstream_status: u16::MAX,
        phase: Phase::Truncated,
        outcome: Outcome::UpstreamTimeout,
        finished_at: i64::MAX,
        prompt_tokens: u64::MAX,
        completion_tokens: u64::MAX,
        total_tokens: u64::MAX,
        cached_tokens: u64::MAX,
        reasoning_tokens: u64::MAX,
        ttft_ms: Some(u64::MAX),
        duration_ms: u64::MAX,
        queue_ms: u64::MAX,
        request_bytes: u64::MAX,
        response_bytes: u64::MAX,
        attempts: u32::MAX,
        ..row.clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_full_journal_takes_every_final_record() {
    let rig = Rig::new();
    rig.store.set_down(true);
    let ledger = rig.open(small());
    let mut open = Vec::new();
    loop {
        let row = row("ann", 1);
        let slot = ledger.started(&row);
        match written(&*slot) {
            Ok(()) => open.push((slot, row)),
            // The spare segment is made in the background: the journal is full when the last one is in use.
            Err(JournalFull) if ledger.stats().segments == small().max_segments => break,
            Err(JournalFull) => std::thread::yield_now(),
        }
    }
    assert!(open.len() > 40, "{} requests fit", open.len());
    // Refusals use up the room that is left.
    for n in 0..2_000 {
        ledger.rejected(&refusal(&n.to_string(), "requests"));
    }
    ledger.journal().queue.drained().await;
    assert!(ledger.stats().lost_rejected > 0);
    assert!(ledger.stats().journal_down);
    for (slot, row) in &open {
        slot.finished(&largest(row));
        assert_eq!(written(&**slot), Ok(()));
    }
    assert!(
        ledger.journal().stranded.lock().is_empty(),
        "all fit into their segments"
    );
    for path in super::crash::segments(rig.folder.path()) {
        assert!(path.metadata().unwrap().len() <= LEAST_BYTES);
    }

    rig.store.set_down(false);
    flushed(&ledger).await;
    for (_, row) in &open {
        assert_eq!(
            rig.store.row(row.request_id).unwrap().outcome,
            Outcome::UpstreamTimeout
        );
    }
    let row = row("bob", 1);
    serve(&ledger, &row, &answered(&row, 1));
    flushed(&ledger).await;
    assert!(rig.store.row(row.request_id).is_some());
    assert_eq!(ledger.stats().open_receipts, 0);
    assert!(!ledger.stats().journal_down);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_failing_disk_refuses_one_request_and_goes_on_elsewhere() {
    let rig = Rig::new();
    let ledger = rig.open(small());
    rig.disk.set_full(true);
    let slot = ledger.started(&row("ann", 1));
    assert_eq!(written(&*slot), Err(JournalFull));
    drop(slot);
    rig.disk.set_full(false);
    assert_eq!(ledger.stats().refused_started, 1);
    let next = row("ann", 1);
    serve(&ledger, &next, &answered(&next, 1));
    rig.disk.set_full(true);
    ledger.rejected(&refusal("bob", "tokens"));
    ledger.journal().queue.drained().await;
    rig.disk.set_full(false);
    assert_eq!(ledger.stats().lost_rejected, 1);
    flushed(&ledger).await;
    assert_eq!(
        rig.store.outcomes(),
        [(next.request_id, Outcome::Ok)].into()
    );
    assert_eq!(ledger.stats().open_receipts, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_final_record_that_the_disk_refuses_is_kept_in_memory() {
    let rig = Rig::new();
    rig.store.set_down(true);
    let ledger = rig.open(small());
    let rows = [row("ann", 1), row("bob", 2)];
    let slots = [0, 1].map(|n| start(&ledger, &rows[n]));
    rig.disk.set_full(true);
    slots[0].finished(&answered(&rows[0], 10));
    assert_eq!(written(&*slots[0]), Ok(()), "it is kept");
    drop(slots);
    ledger.journal().queue.drained().await;
    rig.disk.set_full(false);
    assert_eq!(ledger.stats().open_receipts, 0);
    rig.store.set_down(false);
    flushed(&ledger).await;
    let expected = [
        (rows[0].request_id, Outcome::Ok),
        (rows[1].request_id, Outcome::Interrupted),
    ];
    assert_eq!(rig.store.outcomes(), expected.into());
    assert_eq!(rig.store.row(rows[0].request_id).unwrap().tokens, 10);
}
