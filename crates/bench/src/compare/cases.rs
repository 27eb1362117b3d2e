//! One round: every case, through every target in turn.

use super::Site;
use super::process::{hold, load};
use super::results::{Metric, Results};
use super::target::{Kind, Running, launch};
use crate::Result;
use crate::cpu::Usage;
use std::time::Duration;

/// Chunks of a measured stream.
const CHUNKS: u64 = 64;
const LONG_CHUNKS: u64 = 1000;
const AGENT_CHUNKS: u64 = 300;
/// Between the chunks of a paced stream.
const PAUSE_MS: u64 = 50;
/// Chunks of a stream that must stay open, one a second.
const OPEN_CHUNKS: u64 = 600;
/// Deferred work (a ledger, a log) counts too, so CPU time is read only after this pause.
const SETTLE: Duration = Duration::from_secs(1);

#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    Plain,
    /// Streams of 64 chunks
    Stream,
    /// The same, with the usage chunk asked for
    Usage,
    /// Streams of 1,000 chunks
    Long,
    #[value(name = "32k")]
    Prompt32k,
    #[value(name = "300k")]
    Prompt300k,
    #[value(name = "1m")]
    Prompt1m,
    #[value(name = "3400k")]
    Prompt3400k,
    /// A coding agent's turns, streamed, with the usage chunk asked for
    Agent,
    /// 1,000 streams at 20 chunks a second
    Paced,
    #[value(name = "1000")]
    Rate1000,
    #[value(name = "5000")]
    Rate5000,
    /// Open streams and idle connections.
    Memory,
    /// 5,000 open streams
    Streams5000,
}

struct Case {
    name: Name,
    args: &'static [&'static str],
    measures: Measures,
}

enum Measures {
    /// CPU time per request, and requests per second if wanted.
    Cpu(Metric, Option<Metric>),
    /// Median and 99th percentile of the total latency.
    Latency(Metric, Metric),
    /// CPU time per request, and the 99th percentile of the time between chunks.
    Gaps(Metric, Metric),
}

const CASES: [Case; 12] = [
    Case {
        name: Name::Plain,
        args: &["-c16"],
        measures: Measures::Cpu(Metric::Plain, Some(Metric::PerSecond)),
    },
    Case {
        name: Name::Stream,
        args: &["-c16", "--stream"],
        measures: Measures::Cpu(Metric::Stream, None),
    },
    Case {
        name: Name::Usage,
        args: &["-c16", "--stream", "--usage"],
        measures: Measures::Cpu(Metric::StreamUsage, None),
    },
    Case {
        name: Name::Long,
        args: &["-c16", "--stream", "--chunks=1000"],
        measures: Measures::Cpu(Metric::StreamLong, None),
    },
    Case {
        name: Name::Prompt32k,
        args: &["-c16", "--prompt=32k"],
        measures: Measures::Cpu(Metric::Prompt32k, None),
    },
    Case {
        name: Name::Prompt300k,
        args: &["-c4", "--prompt=300k"],
        measures: Measures::Cpu(Metric::Prompt300k, None),
    },
    Case {
        name: Name::Prompt1m,
        args: &["-c4", "--prompt=1m"],
        measures: Measures::Cpu(Metric::Prompt1m, None),
    },
    Case {
        name: Name::Prompt3400k,
        args: &["-c2", "--prompt=3400k"],
        measures: Measures::Cpu(Metric::Prompt3400k, None),
    },
    Case {
        name: Name::Agent,
        args: &["-c4", "--agent", "--stream", "--usage", "--chunks=300"],
        measures: Measures::Cpu(Metric::Agent, None),
    },
    Case {
        name: Name::Paced,
        args: &["-c1000", "--stream"],
        measures: Measures::Gaps(Metric::Paced, Metric::PacedP99Gap),
    },
    Case {
        name: Name::Rate1000,
        args: &["-c32", "--rate=1000"],
        measures: Measures::Latency(Metric::P50At1000, Metric::P99At1000),
    },
    Case {
        name: Name::Rate5000,
        args: &["-c64", "--rate=5000"],
        measures: Measures::Latency(Metric::P50At5000, Metric::P99At5000),
    },
];

/// Goes case by case, not target by target. Compared figures are then measured within seconds of each other, and a
/// noisy neighbour slows all targets.
pub async fn round(site: &Site, kinds: &[Kind], results: &mut Results) -> Result<()> {
    let mut targets = Vec::new();
    for &kind in kinds {
        let failed = |error| format!("{kind}: {error}");
        targets.push((kind, start(site, kind, results).await.map_err(failed)?));
    }
    for case in CASES.iter().filter(|case| site.cases.contains(&case.name)) {
        let (chunks, pause) = match case.name {
            Name::Long => (LONG_CHUNKS, 0),
            Name::Agent => (AGENT_CHUNKS, 0),
            Name::Paced => (CHUNKS, PAUSE_MS),
            _ => (CHUNKS, 0),
        };
        site.mock.stream_as(chunks, pause).await?;
        for (kind, running) in &targets {
            measure(site, *kind, running, case, results).await?;
        }
    }
    Ok(())
}

/// What memory each client needs: a new process each, because allocators keep what they once needed.
const MEMORY: [(Name, Metric, &[&str]); 3] = [
    (Name::Memory, Metric::IdleMib, &["-c1000"]),
    (Name::Memory, Metric::OpenMib, &["-c1000", "--stream"]),
    (
        Name::Streams5000,
        Metric::Open5000Mib,
        &["-c5000", "--stream"],
    ),
];

/// Measures memory, and leaves a process running.
async fn start(site: &Site, kind: Kind, results: &mut Results) -> Result<Running> {
    if kind != Kind::Direct {
        let wanted = MEMORY.iter().filter(|(name, ..)| site.cases.contains(name));
        for (_, metric, args) in wanted {
            let running = fresh(site, kind, results).await?;
            site.mock.stream_as(OPEN_CHUNKS, 1000).await?;
            let mib = memory(site, &running, args).await?;
            results.add(kind, *metric, mib);
        }
    }
    fresh(site, kind, results).await
}

/// Starts a target and warms it up with a few requests of each kind.
async fn fresh(site: &Site, kind: Kind, results: &mut Results) -> Result<Running> {
    let running = launch(site, kind).await?;
    if kind != Kind::Direct {
        results.add(
            kind,
            Metric::FirstAnswerMs,
            running.started_in.as_secs_f64() * 1e3,
        );
    }
    site.mock.stream_as(CHUNKS, 0).await?;
    for extra in [&[][..], &["--stream".to_owned()][..]] {
        let args = [&["-c4".to_owned(), "--count=50".to_owned()][..], extra].concat();
        let report = load(&site.cores, &running.target, &args).await?;
        results.check(kind, "warm-up", &report);
    }
    Ok(running)
}

/// The memory that these connections add, in MiB.
async fn memory(site: &Site, running: &Running, args: &[&str]) -> Result<f64> {
    let Some(process) = &running.process else {
        return Err("has no process".into());
    };
    let rest = Usage::of(process.pid)?.rss_kib;
    let clients = hold(&site.cores, &running.target, args).await?;
    // Time for a chunk or two on each stream, and for what is allocated only then.
    tokio::time::sleep(SETTLE * 2).await;
    let full = Usage::of(process.pid)?.rss_kib;
    drop(clients);
    tokio::time::sleep(SETTLE / 2).await;
    Ok(full.saturating_sub(rest) as f64 / 1024.0)
}

async fn measure(
    site: &Site,
    kind: Kind,
    running: &Running,
    case: &Case,
    results: &mut Results,
) -> Result<()> {
    // Without a proxy, this measures the mock, to show that it is not the bottleneck.
    let pid = running.process.as_ref().unwrap_or(&site.mock.process).pid;
    let mut args: Vec<String> = case.args.iter().map(|arg| (*arg).into()).collect();
    args.push(format!("--seconds={}", site.seconds));
    let before = Usage::of(pid)?;
    let report = load(&site.cores, &running.target, &args).await?;
    let name = format!("{:?}", case.name);
    results.check(kind, &name, &report);
    let requests = report["requests"].as_f64().unwrap_or_default();
    if let Measures::Cpu(cpu, _) | Measures::Gaps(cpu, _) = &case.measures {
        tokio::time::sleep(SETTLE).await;
        let micros = Usage::of(pid)?.since(&before) as f64 / 1e3;
        if requests > 0.0 {
            results.add(kind, *cpu, micros / requests);
        }
    }
    match &case.measures {
        Measures::Cpu(_, per_second) => {
            let rate = per_second.zip(report["per_second"].as_f64());
            rate.into_iter()
                .for_each(|(metric, rate)| results.add(kind, metric, rate));
        }
        Measures::Gaps(_, p99) => {
            let micros = report["gap_us"]["p99"].as_f64();
            micros
                .into_iter()
                .for_each(|micros| results.add(kind, *p99, micros));
        }
        Measures::Latency(p50, p99) => {
            for (metric, share) in [(p50, "p50"), (p99, "p99")] {
                let micros = report["latency_us"][share].as_f64();
                micros
                    .into_iter()
                    .for_each(|micros| results.add(kind, *metric, micros));
            }
        }
    }
    results.keep(kind, &name, report);
    Ok(())
}
