//! `scripts/stress.sh scale [ROWS] [URL]`: how long it takes to write, open, report on and prune a ledger of that size.
//!
//! Reports run while rows are being written. With 0 rows, of what the URL has already.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "figures for a terminal; whatever is wrong ends it"
)]

mod rows;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ostia_core::{Retention, Store, UsageQuery};
use ostia_store::{migrate, open};
use rows::{Names, cpu};

const USERS: usize = 2_000;
const DAYS: i64 = 365;
const DAY: i64 = 86_400_000_000;
/// 2026-01-01T00:00Z.
const START: i64 = 1_767_225_600_000_000;
const BATCH: usize = 500;
/// The longest time that a report may take.
const AIM: Duration = Duration::from_millis(200);

async fn write(store: &dyn Store, names: &mut Names, rows: usize) {
    let (begun, cpu_before) = (Instant::now(), cpu());
    let step = DAYS * DAY / i64::try_from(rows).unwrap();
    let mut written = 0;
    while written < rows {
        let count = BATCH.min(rows - written);
        let batch: Vec<_> = (written..written + count)
            .map(|n| names.row(START + i64::try_from(n).unwrap() * step))
            .collect();
        store.insert_rows(&batch).await.unwrap();
        written += count;
        if written % (rows / 10).max(1) < BATCH {
            let each = begun.elapsed().as_nanos() / written as u128;
            println!("  {written} rows, {each} ns each");
        }
    }
    let (took, used) = (begun.elapsed(), cpu() - cpu_before);
    println!(
        "wrote {rows} rows in {took:.1?}: {:?} of CPU a row here",
        used / u32::try_from(rows).unwrap()
    );
}

async fn report(store: &dyn Store, title: &str) {
    for (days, by) in [
        (365, &["user"][..]),
        (365, &["group"]),
        (365, &["project"]),
        (365, &["key"]),
        (365, &["model"]),
        (365, &["cluster"]),
        (365, &["endpoint"]),
        (365, &["api"]),
        (365, &["outcome"]),
        (365, &["day"]),
        (365, &["month"]),
        (365, &["user", "month"]),
        (365, &["model", "month"]),
        (365, &["hour"]),
        (365, &["user", "model"]),
        (365, &["user", "day"]),
        (365, &["model", "day", "outcome"]),
        (30, &["user", "model"]),
        (30, &["hour"]),
        (7, &["user", "model"]),
        (7, &["model", "hour"]),
    ] {
        let query = UsageQuery {
            since: START + (DAYS - days) * DAY + 5 * 3_600_000_000,
            by: by.iter().map(|&name| name.to_owned()).collect(),
            ..UsageQuery::default()
        };
        let begun = Instant::now();
        let lines = store.usage(&query).await.unwrap().len();
        let took = begun.elapsed();
        let mark = if took > AIM { "  over the aim" } else { "" };
        println!(
            "{title}: {days:3} days by {:12} {lines:6} lines in {took:8.1?}{mark}",
            by.join(",")
        );
    }
}

#[tokio::main]
async fn main() {
    let mut words = std::env::args().skip(1);
    let rows: usize = words.next().map_or(1_000_000, |rows| rows.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ostia.db");
    let url = words
        .next()
        .unwrap_or_else(|| format!("sqlite://{}", file.display()));
    migrate(&url, "UTC").await.unwrap();
    let mut names = Names::new(USERS);
    if rows > 0 {
        let store = open(&url).await.unwrap();
        write(&*store, &mut names, rows).await;
    }
    if let Ok(found) = std::fs::metadata(&file) {
        println!("{} bytes a row", found.len() / rows.max(1) as u64);
    }

    let begun = Instant::now();
    let store = open(&url).await.unwrap();
    store.ping().await.unwrap();
    println!("opened in {:.1?}", begun.elapsed());
    let (stop, written) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let writing = tokio::spawn({
        let (store, stop, written) = (Arc::clone(&store), Arc::clone(&stop), Arc::clone(&written));
        async move {
            while !stop.load(Ordering::Relaxed) {
                let now =
                    START + DAYS * DAY + i64::try_from(written.load(Ordering::Relaxed)).unwrap();
                let batch: Vec<_> = (0..BATCH)
                    .map(|n| names.row(now + i64::try_from(n).unwrap()))
                    .collect();
                store.insert_rows(&batch).await.unwrap();
                written.fetch_add(BATCH as u64, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    });
    report(&*store, "first").await;
    report(&*store, "again").await;
    stop.store(true, Ordering::Relaxed);
    writing.await.unwrap();
    println!(
        "{} rows were written meanwhile",
        written.load(Ordering::Relaxed)
    );
    prune(&*store).await;
}

/// Removes the addresses of one month.
async fn prune(store: &dyn Store) {
    let due = Retention {
        addresses: START + 30 * DAY,
        persons: 0,
        sums: 0,
        audit: 0,
    };
    let (mut longest, begun, mut rows) = (Duration::ZERO, Instant::now(), 0);
    loop {
        let step = Instant::now();
        let done = store.prune(&due).await.unwrap();
        longest = longest.max(step.elapsed());
        rows += done.addresses;
        if !done.goes_on {
            break;
        }
    }
    println!(
        "pruned {rows} rows in {:.1?}, {longest:.1?} the longest step",
        begun.elapsed()
    );
}
