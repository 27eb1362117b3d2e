//! `scripts/stress.sh scale [ROWS] [URL]`: how long it takes to write, open, report on and prune a ledger of that size.
//!
//! 2,000 users, 40 models and 365 days; users and models follow Zipf's law. Reports run while rows are being written.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "figures for a terminal; whatever is wrong ends it"
)]

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ostia_core::{LedgerRow, Outcome, Phase, RequestId, Retention, Store, UsageQuery, UsageSource};
use ostia_store::{migrate, open};

const USERS: usize = 2_000;
const MODELS: usize = 40;
const DAYS: i64 = 365;
const DAY: i64 = 86_400_000_000;
/// 2026-01-01T00:00Z.
const START: i64 = 1_767_225_600_000_000;
const BATCH: usize = 500;
/// The longest time that a report may take.
const AIM: Duration = Duration::from_millis(200);

struct Names {
    users: Vec<String>,
    keys: Vec<String>,
    groups: Vec<String>,
    models: Vec<String>,
    slugs: Vec<String>,
    user_shares: Vec<f64>,
    model_shares: Vec<f64>,
    state: u64,
}

impl Names {
    fn new() -> Self {
        let named = |count: usize, name: &dyn Fn(usize) -> String| (0..count).map(name).collect();
        Self {
            users: named(USERS, &|n| format!("user{n}@lab.example.org")),
            keys: named(USERS, &|n| format!("k{n:012}")),
            groups: named(60, &|n| format!("05d1c5a4-0ff0-11ef-9c26-6beda4a3f{n:03}")),
            models: named(MODELS, &|n| format!("meta-llama/Model-{n}-Instruct")),
            slugs: named(MODELS, &|n| {
                format!("sophia-vllm-meta-llamamodel-{n}-instruct")
            }),
            user_shares: zipf(USERS),
            model_shares: zipf(MODELS),
            state: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// xorshift: the same rows each time.
    fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn pick(&mut self, users: bool) -> usize {
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more")]
        let share = (self.random() >> 11) as f64 / (1_u64 << 53) as f64;
        let shares = if users {
            &self.user_shares
        } else {
            &self.model_shares
        };
        shares
            .partition_point(|&sum| sum < share)
            .min(shares.len() - 1)
    }

    fn row(&mut self, started_at: i64) -> LedgerRow<'static> {
        let (user, model) = (self.pick(true), self.pick(false));
        let dice = self.random() % 100;
        let outcome = match dice {
            0..3 => Outcome::Rejected,
            3..5 => Outcome::ClientClosed,
            5 => Outcome::UpstreamError,
            _ => Outcome::Ok,
        };
        let owned = |text: &str| Cow::Owned(text.to_owned());
        LedgerRow {
            request_id: RequestId::at(started_at),
            started_at,
            finished_at: started_at + 2_000_000,
            user_id: owned(&self.users[user]),
            username: owned(&self.users[user]),
            auth_service: Cow::Borrowed("api_key"),
            idp: Cow::Borrowed("lab.example.org"),
            domain: Cow::Borrowed("lab.example.org"),
            group_id: owned(&self.groups[user % 60]),
            key_id: owned(&self.keys[user]),
            project: Cow::Borrowed(["", "fusion", "climate"][user % 3]),
            cluster: Cow::Borrowed(["sophia", "metis"][model % 2]),
            framework: Cow::Borrowed("vllm"),
            model: owned(&self.models[model]),
            endpoint_slug: owned(&self.slugs[model]),
            api: Cow::Borrowed(if dice.is_multiple_of(10) {
                "embeddings"
            } else {
                "chat/completions"
            }),
            stream: dice.is_multiple_of(2),
            http_status: 200,
            outcome,
            phase: Phase::Done,
            prompt_tokens: self.random() % 4_000,
            completion_tokens: self.random() % 900,
            total_tokens: 2_000,
            usage_source: UsageSource::Upstream,
            ttft_ms: Some(120),
            duration_ms: 2_000,
            request_bytes: 3_000,
            response_bytes: 9_000,
            upstream_status: 200,
            attempts: 1,
            origin_ip: Cow::Borrowed("192.0.2.17"),
            count: 1,
            ..LedgerRow::default()
        }
    }
}

fn zipf(count: usize) -> Vec<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more")]
    let weights: Vec<f64> = (1..=count).map(|rank| 1.0 / rank as f64).collect();
    let all: f64 = weights.iter().sum();
    let mut sum = 0.0;
    let sums = weights.iter().map(|weight| {
        sum += weight / all;
        sum
    });
    sums.collect()
}

/// The process's CPU time, user and system, in steps of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

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
        (365, &["user", "model"]),
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
    let store = open(&url).await.unwrap();
    let mut names = Names::new();
    write(&*store, &mut names, rows).await;
    if let Ok(found) = std::fs::metadata(&file) {
        println!("{} bytes a row", found.len() / rows as u64);
    }
    drop(store);

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
    report(&*store, "cold").await;
    report(&*store, "warm").await;
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
