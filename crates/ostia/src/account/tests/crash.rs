//! A crash is simulated by a copy of the folder: SIGKILL keeps what was written, and nothing else.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use ostia_core::{Outcome, Recorder};
use tempfile::TempDir;

use super::super::segment::HEADER;
use super::super::{Ledger, LedgerError, record};
use super::{NOON, Rig, answered, finish, flushed, refusal, row, serve, small, start};

pub(super) fn copy(folder: &Path) -> TempDir {
    let copied = TempDir::new().unwrap();
    for path in segments(folder) {
        // The ledger may delete a file meanwhile: then its rows are in the store.
        if let Ok(bytes) = fs::read(&path) {
            fs::write(copied.path().join(path.file_name().unwrap()), bytes).unwrap();
        }
    }
    copied
}

pub(super) fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "seg"))
        .collect();
    paths.sort();
    paths
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_torn_tail_costs_only_itself_at_every_byte() {
    let rig = Rig::new();
    rig.store.set_down(true);
    let ledger = rig.open(small());
    let file = &segments(rig.folder.path())[0];
    let len = || fs::metadata(file).unwrap().len() as usize;
    let (first, second) = (row("ann", 1), row("bob", 2));
    let slot = start(&ledger, &first);
    let first_started = len();
    let other = start(&ledger, &second);
    let second_started = len();
    finish(&*other, &answered(&second, 20));
    let second_final = len();
    finish(&*slot, &answered(&first, 10));
    let bytes = fs::read(file).unwrap();

    for cut in 0..=bytes.len() {
        let rig = Rig::new();
        fs::write(
            rig.folder.path().join("00000000000000000007.seg"),
            &bytes[..cut],
        )
        .unwrap();
        let ledger = rig.open(small());
        flushed(&ledger).await;
        let mut expected = Vec::new();
        if cut >= first_started {
            let whole = cut == bytes.len();
            expected.push((
                first.request_id,
                if whole {
                    Outcome::Ok
                } else {
                    Outcome::Interrupted
                },
            ));
        }
        if cut >= second_started {
            let whole = cut >= second_final;
            expected.push((
                second.request_id,
                if whole {
                    Outcome::Ok
                } else {
                    Outcome::Interrupted
                },
            ));
        }
        assert_eq!(
            rig.store.outcomes(),
            expected.into_iter().collect(),
            "cut at {cut}"
        );
        let left = segments(rig.folder.path());
        assert!(
            !left
                .iter()
                .any(|path| path.ends_with("00000000000000000007.seg"))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_interrupted_row_ends_with_the_last_sign_of_life() {
    let rig = Rig::new();
    let ledger = rig.open(small());
    let (open, done) = (row("ann", 5), row("bob", 1));
    let slot = start(&ledger, &open);
    serve(&ledger, &done, &answered(&done, 1));
    drop(ledger);
    let copied = copy(rig.folder.path());
    let ledger = rig.open_at(copied.path(), small()).unwrap();
    flushed(&ledger).await;
    let kept = rig.store.row(open.request_id).unwrap();
    assert_eq!((kept.outcome, kept.tokens), (Outcome::Interrupted, 5));
    assert_eq!(
        (kept.finished_at, kept.duration_ms),
        (NOON + 2_000_000, 2_000)
    );
    drop(slot);
}

/// Also when the first process died between its commit and the note of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_folder_may_be_brought_any_number_of_times() {
    let rig = Rig::new();
    let ledger = rig.open(small());
    let _open: Vec<_> = (0..40).map(|_| start(&ledger, &row("ann", 1))).collect();
    for _ in 0..40 {
        let row = row("bob", 1);
        serve(&ledger, &row, &answered(&row, 3));
    }
    rig.store.lose_answer.store(true, Ordering::SeqCst);
    flushed(&ledger).await;
    drop(ledger);
    let before = rig.store.outcomes();
    assert_eq!(before.len(), 40);
    for _ in 0..2 {
        let copied = copy(rig.folder.path());
        flushed(&rig.open_at(copied.path(), small()).unwrap()).await;
        for (id, outcome) in &before {
            assert_eq!(rig.store.row(*id).unwrap().outcome, *outcome);
        }
        assert_eq!(rig.store.len(), 80);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn rows_in_the_store_are_not_brought_again() {
    let rig = Rig::new();
    let ledger = rig.open(small());
    let (early, late) = (row("ann", 1), row("bob", 2));
    let slot = start(&ledger, &late);
    serve(&ledger, &early, &answered(&early, 1));
    flushed(&ledger).await;
    assert_eq!(rig.store.brought.load(Ordering::SeqCst), 1);
    drop(ledger);
    slot.finished(&answered(&late, 2));
    drop(slot);

    let ledger = rig.open(small());
    flushed(&ledger).await;
    assert_eq!(rig.store.brought.load(Ordering::SeqCst), 2);
    assert_eq!(rig.store.row(late.request_id).unwrap().outcome, Outcome::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn recovery_waits_for_the_store() {
    let rig = Rig::new();
    rig.store.set_down(true);
    let ledger = rig.open(small());
    let (old, new) = (row("ann", 1), row("bob", 2));
    let slot = start(&ledger, &old);
    drop(ledger);
    let copied = copy(rig.folder.path());
    let ledger = rig.open_at(copied.path(), small()).unwrap();
    serve(&ledger, &new, &answered(&new, 9));
    assert!(!ledger.flush(std::time::Duration::from_millis(20)).await);
    assert_eq!(rig.store.len(), 0);
    while !ledger.stats().store_down {
        tokio::task::yield_now().await;
    }

    rig.store.set_down(false);
    flushed(&ledger).await;
    assert!(!ledger.stats().store_down);
    let expected = [
        (old.request_id, Outcome::Interrupted),
        (new.request_id, Outcome::Ok),
    ];
    assert_eq!(rig.store.outcomes(), expected.into());
    drop(slot);
}

/// The copy is taken while threads write, and contains every call that had returned by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_crash_under_load_keeps_what_was_written() {
    let rig = Rig::new();
    let ledger = rig.open(super::Options {
        max_segments: 10_000,
        ..small()
    });
    let stop = AtomicBool::new(false);
    let acknowledged = parking_lot::Mutex::new((HashSet::new(), HashSet::new()));
    let copies = std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let row = row("ann", 1);
                    let slot = start(&ledger, &row);
                    acknowledged.lock().0.insert(row.request_id);
                    finish(&*slot, &answered(&row, 2));
                    acknowledged.lock().1.insert(row.request_id);
                }
            });
        }
        let copies: Vec<_> = (0..5)
            .map(|_| {
                let known = acknowledged.lock().clone();
                let copied = copy(rig.folder.path());
                (known, copied, rig.store.fork())
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        copies
    });
    for ((started, finished), copied, store) in copies {
        let store = std::sync::Arc::new(store);
        let again = Ledger::open(copied.path(), small(), store.clone(), rig.clock.clone());
        flushed(&again.unwrap()).await;
        let outcomes = store.outcomes();
        assert!(started.iter().all(|id| outcomes.contains_key(id)));
        assert!(finished.iter().all(|id| outcomes[id] == Outcome::Ok));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn damage_in_the_middle_hides_nothing_behind_it() {
    let rig = Rig::new();
    rig.store.set_down(true);
    let ledger = rig.open(small());
    let file = segments(rig.folder.path())[0].clone();
    let mut appender = OpenOptions::new().append(true).open(&file).unwrap();
    let mut kept = Vec::new();
    // Half a record whose length covers the following bytes, text, zeros.
    let half = [&200_u32.to_le_bytes()[..], &[7; 90]].concat();
    let damages = [&half[..], b"not a record at all", &[0; 600]];
    for damage in damages {
        let row = row("ann", 1);
        serve(&ledger, &row, &answered(&row, 4));
        kept.push((row.request_id, Outcome::Ok));
        appender.write_all(damage).unwrap();
    }
    let last = row("bob", 1);
    let slot = start(&ledger, &last);
    kept.push((last.request_id, Outcome::Interrupted));
    drop(ledger);
    let copied = copy(rig.folder.path());
    rig.store.set_down(false);
    let ledger = rig.open_at(copied.path(), small()).unwrap();
    flushed(&ledger).await;
    assert_eq!(rig.store.outcomes(), kept.into_iter().collect());
    let stats = ledger.stats();
    let damaged: usize = damages.iter().map(|damage| damage.len()).sum();
    assert_eq!(
        (stats.unreadable_segments, stats.unreadable_bytes),
        (1, damaged as u64)
    );
    let name = file.file_name().unwrap();
    let aside = copied.path().join(name).with_extension("unread");
    assert!(aside.is_file(), "for a person to look at");
    drop(slot);
}

/// What a power failure may leave: a block of zeros in the file. Rows before and after it are kept, those in it are
/// counted, and the file is kept for somebody to look at.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_block_of_zeros_costs_only_what_was_in_it() {
    const BLOCK: usize = 4_096;
    let rig = Rig::new();
    rig.store.set_down(true);
    let ledger = rig.open(small());
    let file = segments(rig.folder.path())[0].clone();
    let mut rows = Vec::new();
    let mut ends = Vec::new();
    for n in 0..60 {
        let row = row("ann", n);
        serve(&ledger, &row, &answered(&row, n));
        ends.push(fs::metadata(&file).unwrap().len() as usize);
        rows.push(row);
    }
    drop(ledger);
    let whole = fs::read(&file).unwrap();
    let blocks = whole.len().div_ceil(BLOCK);
    assert!(blocks > 3);
    for block in 1..blocks {
        let rig = Rig::new();
        let mut bytes = whole.clone();
        let (begin, end) = (block * BLOCK, whole.len().min((block + 1) * BLOCK));
        bytes[begin..end].fill(0);
        let path = rig.folder.path().join("00000000000000000007.seg");
        fs::write(&path, &bytes).unwrap();
        let ledger = rig.open(small());
        flushed(&ledger).await;
        let outcomes = rig.store.outcomes();
        let mut start = HEADER;
        for (row, row_end) in rows.iter().zip(&ends) {
            let touched = start < end && *row_end > begin;
            let found = outcomes.get(&row.request_id);
            assert!(touched || found == Some(&Outcome::Ok), "block {block}");
            start = *row_end;
        }
        let stats = ledger.stats();
        assert_eq!(stats.unreadable_segments, 1, "block {block}");
        assert!(stats.unreadable_bytes >= (end - begin) as u64);
        assert!(path.with_extension("unread").is_file(), "block {block}");
    }
}

/// A valid record that only a newer ostia can read.
fn unknown_record(file: &Path) -> Vec<u8> {
    let bytes = fs::read(file).unwrap();
    let mut unknown = vec![0; record::HEAD];
    unknown.extend_from_slice(&[record::VERSION + 1, 1, 0xff]);
    record::seal(&mut unknown, crc32c::crc32c(&bytes[16..24]));
    unknown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_record_of_unknown_kind_keeps_its_file() {
    let rig = Rig::new();
    rig.store.set_down(true);
    let ledger = rig.open(small());
    let row = row("ann", 1);
    serve(&ledger, &row, &answered(&row, 4));
    drop(ledger);
    let file = segments(rig.folder.path())[0].clone();
    let unknown = unknown_record(&file);
    let mut appender = OpenOptions::new().append(true).open(&file).unwrap();
    appender.write_all(&unknown).unwrap();

    rig.store.set_down(false);
    let ledger = rig.open(small());
    flushed(&ledger).await;
    assert_eq!(rig.store.row(row.request_id).unwrap().outcome, Outcome::Ok);
    assert!(!file.exists());
    assert!(file.with_extension("unread").exists());
    assert_eq!(ledger.stats().unreadable_segments, 1);

    // A later segment must not take its name, and then its place.
    drop(ledger);
    for path in segments(rig.folder.path()) {
        fs::remove_file(path).unwrap();
    }
    drop(rig.open(small()));
    assert!(segments(rig.folder.path())[0] > file);
}

/// Its rows are in the store, so nothing waits for it, and it is reported once.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_file_that_cannot_be_given_back_holds_up_nothing() {
    let rig = Rig::new();
    rig.store.set_down(true);
    let ledger = rig.open(small());
    let row = row("ann", 1);
    serve(&ledger, &row, &answered(&row, 4));
    drop(ledger);
    let file = segments(rig.folder.path())[0].clone();
    let unknown = unknown_record(&file);
    let mut appender = OpenOptions::new().append(true).open(&file).unwrap();
    appender.write_all(&unknown).unwrap();
    // A file cannot replace a folder.
    let place = file.with_extension("unread");
    fs::create_dir(&place).unwrap();

    rig.store.set_down(false);
    let ledger = rig.open(small());
    for _ in 0..3 {
        flushed(&ledger).await;
    }
    let stats = ledger.stats();
    assert_eq!((stats.unreadable_segments, stats.store_down), (1, false));
    assert!(file.exists());
    fs::remove_dir(&place).unwrap();
    flushed(&ledger).await;
    assert!(!file.exists() && place.is_file());
    assert_eq!(ledger.stats().unreadable_segments, 1);
}

#[test]
fn the_folder_belongs_to_one_process() {
    let rig = Rig::new();
    let folder = rig.folder.path().join("state/journal");
    let ledger = rig.open_at(&folder, small()).unwrap();
    let second = rig.open_at(&folder, small()).err().unwrap();
    assert!(matches!(&second, LedgerError::InUse { path } if *path == folder));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&segments(&folder)[0]), 0o600);
    drop(ledger);
    rig.open_at(&folder, small()).unwrap();
}

#[test]
fn a_foreign_or_newer_file_is_refused_and_left_alone() {
    let rig = Rig::new();
    drop(rig.open(small()));
    let file = segments(rig.folder.path())[0].clone();
    let change = |bytes: &[u8], at: u64| {
        let file = OpenOptions::new().write(true).open(&file).unwrap();
        file.write_all_at(bytes, at).unwrap();
    };
    let newer = u32::from(record::VERSION) + 1;
    change(&newer.to_le_bytes(), 8);
    let refused = rig.open_at(rig.folder.path(), small()).err().unwrap();
    let told = refused.to_string();
    assert!(told.contains(&format!("format {newer}, newer")), "{told}");
    change(b"MZ", 0);
    let refused = rig.open_at(rig.folder.path(), small()).err().unwrap();
    assert!(matches!(refused, LedgerError::Foreign { .. }), "{refused}");
    assert!(file.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_file_that_a_power_cut_emptied_does_not_stop_the_next_start() {
    let rig = Rig::new();
    let file = |name: &str| rig.folder.path().join(name);
    fs::write(file("1.seg"), [0; 32]).unwrap();
    fs::write(file("2.seg"), [0; 4_096]).unwrap();
    fs::write(file("3.seg"), "").unwrap();
    flushed(&rig.open(small())).await;
    assert!(!file("1.seg").exists() && !file("3.seg").exists());
    assert!(file("2.unread").exists());
}

/// A committed position from a damaged header must not hide rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_impossible_position_is_ignored() {
    let rig = Rig::new();
    rig.store.set_down(true);
    let ledger = rig.open(small());
    let refused = refusal("ann", "requests");
    ledger.rejected(&refused);
    drop(ledger);
    let file = OpenOptions::new()
        .write(true)
        .open(&segments(rig.folder.path())[0])
        .unwrap();
    file.write_all_at(&u64::MAX.to_le_bytes(), 24).unwrap();
    rig.store.set_down(false);
    flushed(&rig.open(small())).await;
    assert_eq!(rig.store.len(), 1);
}
