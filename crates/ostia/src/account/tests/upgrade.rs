//! Files that another version left.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ostia_core::{Outcome, RequestId};

use super::super::disk::Disk;
use super::super::record::{self, Kind};
use super::super::segment::Segment;
use super::super::tail::Tail;
use super::{Rig, answered, crash, flushed, row, serve, small};

/// Made by the ostia that wrote records of version 1: an answer, a lost slot, a running request, a refusal.
const VERSION_1: &[u8] = include_bytes!("version-1.seg");

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_journal_of_version_1_is_brought_to_the_store() {
    let rig = Rig::new();
    fs::write(
        rig.folder.path().join("00000000000000000000.seg"),
        VERSION_1,
    )
    .unwrap();
    let ledger = rig.open(small());
    flushed(&ledger).await;
    let rows = [1, 2, 3, 4].map(|n| rig.store.row(RequestId::from_bytes([n; 16])).unwrap());
    let told = rows
        .each_ref()
        .map(|row| (&*row.user, row.outcome, row.tokens));
    let expected = [
        ("ann", Outcome::Ok, 90),
        ("bob", Outcome::Interrupted, 7),
        ("cid", Outcome::Interrupted, 9),
        ("dan", Outcome::Rejected, 0),
    ];
    assert_eq!(told, expected);
    assert_eq!((&*rows[3].error_code, rows[3].count), ("requests", 1));
    assert_eq!(rows[0].duration_ms, 2_000);
    assert_eq!(rig.store.len(), 4);
    assert_eq!(ledger.stats().unreadable_segments, 0);
}

/// A file with the row of one answer, followed by a record in another ostia's form.
async fn file_with(rig: &Rig, version: u8, more: &[u8]) -> PathBuf {
    rig.store.set_down(true);
    let ledger = rig.open(small());
    let known = row("ann", 1);
    serve(&ledger, &known, &answered(&known, 4));
    drop(ledger);
    rig.store.set_down(false);
    let file = crash::segments(rig.folder.path())[0].clone();
    let mut record = Vec::new();
    record::encode(&mut record, Kind::Final, &answered(&row("bob", 1), 5));
    record[record::HEAD] = version;
    record.extend_from_slice(more);
    append(&file, record);
    file
}

fn append(file: &Path, mut record: Vec<u8>) {
    let header = fs::read(file).unwrap();
    record::seal(&mut record, crc32c::crc32c(&header[16..24]));
    let mut file = OpenOptions::new().append(true).open(file).unwrap();
    file.write_all(&record).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_record_with_a_later_column_is_a_row() {
    let rig = Rig::new();
    // A text of column 1000.
    let file = file_with(&rig, record::VERSION, &[0xd1, 0x0f, 3, b'n', b'e', b'w']).await;
    let ledger = rig.open(small());
    flushed(&ledger).await;
    let mut tokens: Vec<_> = rig.store.tokens().into_values().collect();
    tokens.sort_unstable();
    assert_eq!(tokens, [4, 5]);
    assert!(!file.exists());
    assert_eq!(ledger.stats().unreadable_segments, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn records_of_a_newer_version_are_told_by_their_version() {
    let rig = Rig::new();
    let file = file_with(&rig, record::VERSION + 3, &[]).await;
    let disk = Arc::clone(&rig.disk) as Arc<dyn Disk>;
    let (segment, committed) = Segment::recover(&file, &disk).unwrap().unwrap();
    let mut tail = Tail::new(Arc::new(segment), committed);
    let mut buffer = Vec::new();
    let read = tail.read(&mut buffer).unwrap().into_read();
    tail.commit(read).unwrap();
    assert!(!tail.is_readable());
    assert_eq!(tail.unreadable().newer, Some(record::VERSION + 3));
}
