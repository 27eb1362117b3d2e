//! What a row costs: rows are inserted in batches, as the ledger's thread does it, and nothing else happens.
//!
//! `cargo run --release -p ostia-store --example insert -- [ROWS] [USERS] [BATCH] [URL]`
#![expect(
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "figures for a terminal; whatever is wrong ends it"
)]

#[path = "scale/rows.rs"]
mod rows;

use std::time::Instant;

use ostia_core::LedgerRow;
use ostia_store::{migrate, open};
use rows::{Names, cpu};

/// 2026-01-01T00:00Z.
const START: i64 = 1_767_225_600_000_000;
/// As at 5,000 a second.
const STEP: i64 = 200;

/// CPU time of each thread so far, in ticks of a hundredth of a second.
fn threads() -> Vec<(String, u64)> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let ticks = tasks.flatten().filter_map(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        let mut fields = rest.split_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        Some((name.to_owned(), user + system))
    });
    ticks.collect()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut words = std::env::args().skip(1);
    let mut number = |default| words.next().map_or(default, |word| word.parse().unwrap());
    let (count, users, batch): (usize, usize, usize) =
        (number(500_000), number(2_000), number(500));
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}", folder.path().join("ostia.db").display());
    let url = words.next().unwrap_or(file);
    migrate(&url, "UTC").await.unwrap();
    let store = open(&url).await.unwrap();
    let mut names = Names::new(users);
    let row = |n| names.row(START + i64::try_from(n).unwrap() * STEP);
    let rows: Vec<LedgerRow<'static>> = (0..count).map(row).collect();

    let (begun, before) = (Instant::now(), cpu());
    for batch in rows.chunks(batch) {
        store.insert_rows(batch).await.unwrap();
    }
    let (took, used) = (begun.elapsed(), cpu() - before);
    println!(
        "{count} rows of {users} users in batches of {batch}: {:.2} us of CPU a row, {:.2} us passed",
        used.as_secs_f64() * 1e6 / count as f64,
        took.as_secs_f64() * 1e6 / count as f64,
    );
    for (name, ticks) in threads() {
        println!(
            "  {name}: {:.2} us a row since the start",
            ticks as f64 * 1e4 / count as f64
        );
    }
}
